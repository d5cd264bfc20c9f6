"""Judges of our PDDL that share no code with us: Unified Planning reads it and validates our plans, Fast Downward plans for it.

The only module that imports unified_planning; it comes with the extra `pddl`, since Fast Downward is under the GPL.
"""

from dataclasses import dataclass
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
            import unified_planning.environment
            import up_fast_downward  # noqa: F401
        except ImportError as error:
            package = "up-fast-downward" if "up_fast" in str(error) else "unified-planning"
            raise MissingExtraError("an independent check of PDDL", package, "pddl") from error
        self.seconds = seconds  # for one search
        unified_planning.environment.get_environment().credits_stream = None  # else it prints who made the planner, each time

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

    def shortest(self, problem: Any) -> int | None:
        """How many calls the other planner needs; None where it finds no plan in time."""
        for search in _SEARCHES:
            options = {"fast_downward_search_config": search, "log_level": "warning"}
            with problem.environment.factory.OneshotPlanner(name="fast-downward", params=options) as planner:
                result = planner.solve(problem, timeout=self.seconds)
            if result.plan is not None:
                return sum(not action.action.name.startswith(REACH) for action in result.plan.actions)
        return None

    def judge(self, domain: str, problem: str, plan: str) -> Verdict:
        """All three."""
        read = self.read(domain, problem)
        return Verdict(self.validates(read, plan), self.shortest(read))
