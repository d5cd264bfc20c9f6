"""The planner that goes by the cards: of the ways to do something that which is likely to succeed, unless it is much longer."""

import functools
import math

from palaestra.skills.chances import Chances, shipped_chances
from palaestra.skills.contexts import OF_THE_ROBOT
from palaestra.skills.operators import Call, Skills
from palaestra.skills.plan import Failure, Plan, PlanError
from palaestra.skills.planners.base import Labels, Problem, chance_of, library
from palaestra.skills.planners.oracle import STEP, cheapest
from palaestra.skills.planners.space import Action, Space


class CarefulPlanner:
    """The oracle's search, in which a call costs more the likelier it fails.

    A call with chance P costs 1 + (ln P* - ln P) / `step` steps, P* being the best chance of any call here: one more call is worth it where
    it raises the whole plan's chance of going through by a factor of e^step. Where all chances are equal the plan is the oracle's. The
    search is longer; where it gives up, the plan is the oracle's as well.

    Args:
        chances: of calls; by the cards that come with the package without any.
        step: nats that a call is worth.
    """

    name = "careful"

    def __init__(self, skills: Skills | None = None, max_nodes: int = 50_000, chances: Chances | None = None, step: float = 0.1):
        self.skills, self.max_nodes, self.step = skills or library(), max_nodes, step
        self.chances = chances or shipped_chances()

    def plan(self, problem: Problem) -> Plan:
        """The likeliest plan among short ones. Raises PlanError as the oracle does."""
        space = Space(problem, self.skills)
        try:
            return cheapest(space, self.max_nodes, Prices(space, self.chances, self.step))
        except PlanError as error:
            if error.failure is not Failure.LIMIT:
                raise
            return cheapest(space, self.max_nodes)


class Prices:
    """What calls cost beside the steps that they are.

    Of the first call all contexts are known; of later ones those that are not about the robot, as things are now.
    """

    def __init__(self, space: Space, chances: Chances, step: float):
        self.space, self.chances, self.step = space, chances, step
        problem = space.problem
        calls = list(dict.fromkeys(space.own(a.call) for a in space.common.actions if space.usable(a)))
        found = problem.labels(calls) if problem.labels else [{} for _ in calls]
        self.labels: dict[Call, Labels] = dict(zip(calls, found, strict=True))
        befores = [None, "", *dict.fromkeys(call.skill for call in calls)]
        self.best = max((self._chance(call, before) for call in calls for before in befores), default=1.0)
        self._price = functools.cache(self._priced)

    def __call__(self, actions: tuple[Action, ...], last: Action | None) -> int:
        total = 0
        for action in actions:
            total += self._price(action.number, last.call.skill if last else None)
            last = action
        return total

    def _priced(self, number: int, before: str | None) -> int:
        call = self.space.own(self.space.common.actions[number].call)
        return round(STEP * math.log(self.best / self._chance(call, before)) / self.step)

    def _chance(self, call: Call, before: str | None) -> float:
        """Of a call after a skill of the plan, or now (None)."""
        tried, labels = self.space.problem.tried, self.labels[call]
        if before is not None:
            labels = {what: group for what, group in labels.items() if what not in OF_THE_ROBOT}
        return chance_of(self.chances, call, labels, tried, before)
