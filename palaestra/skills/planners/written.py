"""The planner `program`: what a person, or anybody else, has written down; see docs/planners.md for the language."""

from pathlib import Path

from palaestra.sim.errors import PalaestraError
from palaestra.skills.operators import Skills
from palaestra.skills.planners.base import Problem, library
from palaestra.skills.programs.running import Program
from palaestra.skills.programs.syntax import MAX_TEXT


class WrittenPlanner:
    """Gives the program of a file, and gives it again where it did not help. Raises PlanError (parse) where the file holds none."""

    name = "program"

    def __init__(self, file: Path, skills: Skills | None = None):
        try:
            with file.open(encoding="utf-8") as text:
                self.program = Program.parse(text.read(MAX_TEXT + 1), skills or library())
        except (OSError, UnicodeDecodeError) as error:
            raise PalaestraError(f"{file}: got {error}, expected a text file with a program. Fix: --program FILE") from None

    def plan(self, problem: Problem) -> Program:
        return self.program
