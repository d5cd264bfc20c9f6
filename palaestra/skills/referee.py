"""Judges of our PDDL that share no code with us: Unified Planning reads it and validates our plans, Fast Downward plans for it.

The only module that imports unified_planning; it comes with the extra `pddl`, since Fast Downward is under the GPL.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaestra.sim.errors import MissingExtraError
from palaestra.skills.pddl import REACH

# The first that can take the problem: lmcut knows no disjunctive goals. Both give shortest plans.
_SEARCHES = ("astar(lmcut())", "astar(blind())")


@dataclass(frozen=True)
class Verdict:
    """What they say of one task."""

    valid: bool  # our plan reaches the goal
    shortest: int | None  # calls in their plan; None where they found none


class Referee:
    """Reads, validates and plans. Raises MissingExtraError where the packages are not installed."""

    def __init__(self, seconds: float = 120.0):
        try:
            import unified_planning  # noqa: F401
            import up_fast_downward
        except ImportError as error:
            package = "up-fast-downward" if "up_fast" in str(error) else "unified-planning"
            raise MissingExtraError("an independent check of PDDL", package, "pddl") from error
        self.seconds = seconds  # for one plan of theirs
        self._driver = Path(up_fast_downward.__file__).parent / "downward" / "fast-downward.py"

    def read(self, domain: str, problem: str) -> Any:
        """The problem as Unified Planning understands it; its own exceptions where the text is not PDDL."""
        from unified_planning.io import PDDLReader

        return PDDLReader().parse_problem_string(domain, problem)  # in the shared environment: with another, `forall` fails (1.3)

    def validates(self, problem: Any, plan: str) -> bool:
        """Whether a plan, as `pddl.plan_text` writes it, runs and reaches the goal."""
        from unified_planning.engines import SequentialPlanValidator, ValidationResultStatus
        from unified_planning.io import PDDLReader

        actions = PDDLReader(problem.environment).parse_plan_string(problem, plan)
        return SequentialPlanValidator(environment=problem.environment).validate(problem, actions).status is ValidationResultStatus.VALID

    def shortest(self, domain: str, problem: str) -> int | None:
        """How many calls the other planner needs; None where it finds no plan, in time or at all."""
        with tempfile.TemporaryDirectory() as folder:  # one for each: the planner's files have fixed names
            files = {name: Path(folder) / name for name in ("domain.pddl", "problem.pddl", "plan", "task.sas")}
            files["domain.pddl"].write_text(domain)
            files["problem.pddl"].write_text(problem)
            command = [sys.executable, str(self._driver), "--plan-file", str(files["plan"]), "--sas-file", str(files["task.sas"])]
            command += ["--overall-time-limit", f"{self.seconds:.0f}s"]
            command += [str(files["domain.pddl"]), str(files["problem.pddl"]), "--search"]
            for search in _SEARCHES:
                subprocess.run([*command, search], capture_output=True, cwd=folder, check=False)
                if files["plan"].exists():
                    steps = [line for line in files["plan"].read_text().splitlines() if not line.startswith(";")]
                    return sum(not line.startswith(f"({REACH}") for line in steps)
        return None

    def judge(self, domain: str, problem: str, plan: str) -> Verdict:
        """Both."""
        return Verdict(self.validates(self.read(domain, problem), plan), self.shortest(domain, problem))
