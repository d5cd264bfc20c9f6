"""The planner that is always right: A* over the grounded operators, with states as bits of an integer.

Where a short search finds nothing it works out which pairs of literals can hold together at all (the h² relaxation: Haslum and
Geffner, "Admissible Heuristics for Optimal Planning", 2000). That tells why a goal is impossible, and which operators never apply.
"""

import contextlib
import heapq
import itertools
from collections.abc import Callable

from palaestra.skills.operators import Call, Skills
from palaestra.skills.plan import Failure, Fault, Plan, PlanError
from palaestra.skills.planners.base import Problem, library
from palaestra.skills.planners.remaining import NEVER, Remaining, RemainingInHouse
from palaestra.skills.planners.space import Action, Space, ones

STEP = 1 << 10  # what a step costs; putting something where something is already costs one more
_SHORT = 500  # states of a search that takes less time than to work out what can hold together


class OraclePlanner:
    """Shortest plans for goals, by search. Needs no network and no weights."""

    name = "oracle"

    def __init__(self, skills: Skills | None = None, max_nodes: int = 50_000):
        self.skills, self.max_nodes = skills or library(), max_nodes

    def plan(self, problem: Problem) -> Plan:
        """The shortest plan. Raises PlanError: impossible (with the reason), limit, or goal if there is none to plan for."""
        return cheapest(Space(problem, self.skills), self.max_nodes)


Price = Callable[[tuple[Action, ...], Action | None], int]


def cheapest(space: Space, max_nodes: int, price: Price | None = None) -> Plan:
    """The plan with the fewest steps or, with a price, that of the least steps and prices together.

    `price`: what actions, one right after the other, cost beside the steps that they are, in parts of STEP, 0 or more; the second argument
    is the action before them, None at the start. Of the ways to a state the best so far says which that is.
    """
    if all(space.ways) and space.allowed(space.start):
        with contextlib.suppress(PlanError):
            return _search(space, min(max_nodes, _SHORT), price)
    pairs = _pairs(space)
    fault = _obstacle(space, pairs)
    if fault:
        raise PlanError(fault)
    space.keep(a for a in space.actions if _together(a, pairs) is not None)
    return _search(space, max_nodes, price)


def why_impossible(problem: Problem, skills: Skills | None = None) -> Fault | None:
    """Which part of the goal can never hold, or which two never together; None if no such reason is found."""
    space = Space(problem, skills or library())
    return _obstacle(space, _pairs(space))


# --- what can hold together ---------------------------------------------------------------------------------------


def _together(action: Action, pairs: list[int]) -> int | None:
    """The literals that can hold together with each thing that an action needs; None if its needs exclude each other."""
    common = sum(1 << i for i, others in enumerate(pairs) if others) if not action.needs else -1
    for i in ones(action.needs):
        common &= pairs[i]
    return common if action.needs & ~common == 0 else None


def _pairs(space: Space) -> list[int]:
    """For each literal those that may hold together with it, itself included; 0 for one that never holds."""
    start = space.literals(space.start)
    pairs = [start if start >> i & 1 else 0 for i in range(2 * len(space.facts))]
    changed = True
    while changed:
        changed = False
        for action in space.actions:
            common = _together(action, pairs)
            if common is None:
                continue
            after = action.makes | common & ~action.breaks
            for i in ones(action.makes):
                fresh = after & ~pairs[i]
                if fresh:
                    changed = True
                    pairs[i] |= fresh
                    for j in ones(fresh):
                        pairs[j] |= 1 << i
    return pairs


def _obstacle(space: Space, pairs: list[int]) -> Fault | None:
    """Why some stage can never be reached: in each way to reach it, a literal never holds, or two never hold together."""
    if not space.allowed(space.start):
        return Fault(Failure.IMPOSSIBLE, "no plan exists", "what must always hold does not now", "a rule that holds", "drop the rule")
    for ways in space.ways:
        faults = [_way_obstacle(space, pairs, way) for way in ways]
        if all(faults):
            fix = "ask for something that the skills can bring about in this scene"
            return faults[0] if faults else Fault(Failure.IMPOSSIBLE, "no plan exists", "a count that nothing meets", "goals in reach", fix)
    return None


def _way_obstacle(space: Space, pairs: list[int], way: int) -> Fault | None:
    """A literal that never holds, or two that never hold together, with the reason."""
    for i in ones(way):
        if not pairs[i]:
            fix = "ask for something that the skills can bring about in this scene"
            return Fault(
                Failure.IMPOSSIBLE, "no plan exists", f"the goal {space.text(i)}", "goals in reach", f"{_reason(space, pairs, i)}; {fix}"
            )
    for i, j in itertools.combinations(ones(way), 2):
        if not pairs[i] >> j & 1:
            got = f"{space.text(i)} and {space.text(j)} at the same time"
            return Fault(Failure.IMPOSSIBLE, "no plan exists", got, "goals that do not exclude each other", "drop one of the two")
    return None


def _reason(space: Space, pairs: list[int], literal: int) -> str:
    """Why a literal can never hold: back along what it takes, to what nothing can make so."""
    chain = [literal]
    rooms = space.those("in_room") * (1 + (1 << space.n))

    def for_other_rooms(action: Action) -> bool:
        return any(not pairs[i] for i in ones(action.needs & rooms))

    while True:
        makers = sorted((a for a in space.actions if a.makes >> chain[-1] & 1), key=for_other_rooms)
        lacking = [i for a in makers[:1] for i in ones(a.needs) if not pairs[i] and i not in chain]
        if not lacking:
            break
        chain.append(lacking[0])
    takes = ", which takes ".join(space.text(i) for i in chain)
    return f"{takes}, and nothing can make that so" if len(chain) > 1 else f"nothing can make {takes} true"


# --- search -------------------------------------------------------------------------------------------------------


_Node = tuple[int, int]  # a state, and how many stages are reached


def _search(space: Space, max_nodes: int, price: Price | None = None) -> Plan:
    """A*: shortest first; of equals, the one that puts fewer things where something is already, then the one that is further along.

    In houses with doors and rules the heuristic takes most of the time, so nodes wait with what is known from those before them.
    """
    house = space.house
    remaining = RemainingInHouse(space, house) if house else Remaining(space)
    start = (space.start, space.onward(0, space.start))
    best = {start: 0}
    came: dict[_Node, tuple[_Node, tuple[Action, ...]]] = {}
    order = itertools.count()
    between_matters = len(space.stages) > 1 or bool(space.goal.always)  # else what holds after a step alone
    queue = [(remaining(*start) * STEP, 0, next(order), start, True)]
    for _ in range(max_nodes):
        if not queue:
            got = f"{space.goal_text}, of which no state in reach has all"
            raise PlanError(Fault(Failure.IMPOSSIBLE, "no plan exists", got, "goals that can hold all at once", "drop one of them"))
        least, back, number, node, looked_at = heapq.heappop(queue)
        state, stage = node
        if stage == len(space.stages):
            return _plan(space, node, came)
        if -back > best[node]:
            continue
        if not looked_at and (left := remaining(*node)) * STEP - back > least:
            if left < NEVER:
                heapq.heappush(queue, (left * STEP - back, back, number, node, True))
            continue
        last = came[node][1][-1] if node in came else None
        for pre, neg, add, delete, crowd, actions, numbers in space.steps(state):
            if state & pre == pre and not state & neg:
                after = state & ~delete | add
                after = house.settled(state, after) if house else after
                before = stage
                fleeting = pre & house.fleeting if house else 0
                if (between_matters or fleeting) and len(actions) > 1:  # a drive, and what is done there
                    between = state & ~actions[0].delete | actions[0].add
                    between = house.settled(state, between) if house else between
                    if not space.allowed(between) or fleeting & ~between:
                        continue
                    before = space.onward(stage, between)
                reached, cost = (after, space.onward(before, after)), len(actions) * STEP + bool(state & crowd) - back
                cost += price(actions, last) if price else 0
                if cost < best.get(reached, cost + 1) and space.allowed(after):
                    best[reached], came[reached] = cost, (node, actions)
                    if isinstance(remaining, RemainingInHouse):
                        left = remaining.after(state, stage, numbers, reached[1])
                    else:
                        left = remaining(*reached)
                    if left < NEVER:
                        heapq.heappush(queue, (cost + left * STEP, -cost, next(order), reached, house is None))
    got, fix = f"no plan after {max_nodes} states", "split the goal, or raise max_nodes"
    raise PlanError(Fault(Failure.LIMIT, "the search gave up", got, "one within that many", fix))


def _plan(space: Space, node: _Node, came: dict[_Node, tuple[_Node, tuple[Action, ...]]]) -> Plan:
    steps: list[Call] = []
    while node in came:
        node, actions = came[node]
        steps += (space.own(action.call) for action in reversed(actions))
    return Plan(tuple(reversed(steps)))
