"""Judges of our PDDL that share no code with us: Unified Planning reads it and validates our plans, Fast Downward plans for it.

Fast Downward reads the whole domain. Unified Planning, whose reader takes ten seconds and more for that of a house with rules, reads
the actions of our plan alone: no other has a say in whether a plan is valid.

The only module that imports unified_planning; it comes with the extra `pddl`, since Fast Downward is under the GPL.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaestra.sim.errors import MissingExtraError
from palaestra.skills.pddl import REACH, excerpt

# The first that can take the problem: lmcut knows no disjunctive goals. Both give shortest plans.
_SEARCHES = ("astar(lmcut())", "astar(blind())")
_UNSOLVABLE = (10, 11)  # exit codes of Fast Downward: it has proved that there is no plan


@dataclass(frozen=True)
class Verdict:
    """What they say of one task."""

    valid: bool  # our plan reaches the goal
    shortest: int | None  # calls in their plan; None where they found none and proved, unless undecided, that there is none
    undecided: bool = False  # they gave up, for want of time, before they knew


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
        """How many calls the other planner needs; None where it has proved that there is no plan.

        Raises TimeoutError where it gives up before it knows.
        """
        unsolvable = False
        with tempfile.TemporaryDirectory() as folder:  # one for each: the planner's files have fixed names
            files = {name: Path(folder) / name for name in ("domain.pddl", "problem.pddl", "plan", "task.sas")}
            files["domain.pddl"].write_text(domain)
            files["problem.pddl"].write_text(problem)
            command = [sys.executable, str(self._driver), "--plan-file", str(files["plan"]), "--sas-file", str(files["task.sas"])]
            command += ["--overall-time-limit", f"{self.seconds:.0f}s"]
            command += [str(files["domain.pddl"]), str(files["problem.pddl"]), "--search"]
            for search in _SEARCHES:
                status = subprocess.run([*command, search], capture_output=True, cwd=folder, check=False).returncode
                unsolvable |= status in _UNSOLVABLE
                if files["plan"].exists():
                    steps = [line for line in files["plan"].read_text().splitlines() if not line.startswith(";")]
                    return sum(not line.startswith(f"({REACH}") for line in steps)
        if not unsolvable:
            raise TimeoutError(f"no plan and no proof that there is none in {self.seconds:.0f} s")
        return None

    def judge(self, domain: str, problem: str, plan: str) -> Verdict:
        """Both."""
        valid = self.validates(self.read(excerpt(domain, plan), problem), plan)
        try:
            return Verdict(valid, self.shortest(domain, problem))
        except TimeoutError:
            return Verdict(valid, None, undecided=True)
