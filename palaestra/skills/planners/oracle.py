"""The planner that is always right: A* over the grounded operators, with states as bits of an integer.

Where a short search finds nothing it works out which pairs of literals can hold together at all (the h² relaxation: Haslum and
Geffner, "Admissible Heuristics for Optimal Planning", 2000). That tells why a goal is impossible, and which operators never apply.
"""

import contextlib
import functools
import heapq
import itertools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from palaestra.envs.goals import Option, alternatives, describe
from palaestra.envs.names import Entity, Fact
from palaestra.skills.operators import Call, Operator, Skills, fact_text, ground, universe
from palaestra.skills.plan import Failure, Fault, Plan, PlanError
from palaestra.skills.planners.base import LIBRARY, Problem
from palaestra.skills.record import ROBOT

_SHORT = 500  # states of a search that takes less time than to work out what can hold together


class OraclePlanner:
    """Shortest plans for goals, by search. Needs no network and no weights."""

    name = "oracle"

    def __init__(self, skills: Skills = LIBRARY, max_nodes: int = 50_000):
        self.skills, self.max_nodes = skills, max_nodes

    def plan(self, problem: Problem) -> Plan:
        """The shortest plan. Raises PlanError: impossible (with the reason), limit, or goal if there is none to plan for."""
        space = _space(problem, self.skills)
        if all(space.ways) and space.allowed(space.start):
            with contextlib.suppress(PlanError):
                return _search(space, space.actions, min(self.max_nodes, _SHORT))
        pairs = _pairs(space)
        fault = _obstacle(space, pairs)
        if fault:
            raise PlanError(fault)
        return _search(space, [a for a in space.actions if _together(a, pairs) is not None], self.max_nodes)


def why_impossible(problem: Problem, skills: Skills = LIBRARY) -> Fault | None:
    """Which part of the goal can never hold, or which two never together; None if no such reason is found."""
    space = _space(problem, skills)
    return _obstacle(space, _pairs(space))


# --- bits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Action:
    """An operator in bits. Bit i of a state: fact i holds. In literals bit n + i stands for "fact i is false" besides."""

    call: Call
    pre: int
    neg: int
    add: int
    delete: int
    needs: int  # literals
    makes: int  # literals
    breaks: int  # literals


@dataclass(frozen=True)
class _Term:
    """How many of the facts in `pairs` may hold."""

    pairs: int
    at_least: int
    at_most: int

    def holds(self, state: int) -> bool:
        return self.at_least <= (state & self.pairs).bit_count() <= self.at_most


@dataclass(frozen=True)
class _Ground:
    """Facts and actions over things that are named by kind and number, so that scenes with as many things of each kind share them."""

    bit: dict[Fact, int]
    actions: list[_Action]
    fixed: int  # facts that no action changes


@functools.lru_cache(maxsize=64)
def _ground(skills: Skills, kinds: tuple[str, ...], more: frozenset[Fact]) -> _Ground:
    """`more`: facts to be numbered that kinds do not allow."""
    things = [Entity(i, name, kind) for i, (name, kind) in enumerate(zip(_plain_names(kinds), kinds, strict=True))]
    bit = {fact: 1 << i for i, fact in enumerate(sorted({*universe(things), *more}))}
    n = len(bit)

    def action(o: Operator) -> _Action:
        pre, neg, add, delete = (sum(bit[f] for f in part) for part in (o.pre, o.neg, o.add, o.delete))
        return _Action(o.call, pre, neg, add, delete, pre | neg << n, add | delete << n, delete | add << n)

    actions = [action(o) for o in ground(skills, things)]
    return _Ground(bit, actions, functools.reduce(lambda rest, a: rest & ~(a.add | a.delete), actions, (1 << n) - 1))


def _plain_names(kinds: Iterable[str]) -> list[str]:
    return [ROBOT if kind == "robot" else f"{kind}{i}" for i, kind in enumerate(kinds)]


@dataclass(frozen=True)
class _Space:
    facts: list[Fact]
    names: dict[str, str]  # of things, by their names in actions
    actions: list[_Action]
    start: int
    stages: list[list[list[_Term]]]  # options of terms
    ways: list[list[int]]  # of each stage, the literals that must hold, for each way to reach it
    always: list[_Term]
    goal: str  # in words

    def literals(self, state: int) -> int:
        """The literals that hold in a state."""
        n = len(self.facts)
        return state | (~state & (1 << n) - 1) << n

    def allowed(self, state: int) -> bool:
        """Whether what must always hold does."""
        return all(term.holds(state) for term in self.always)

    def onward(self, stage: int, state: int) -> int:
        """How many stages are reached, `stage` of them before."""
        while stage < len(self.stages) and any(all(t.holds(state) for t in option) for option in self.stages[stage]):
            stage += 1
        return stage

    def text(self, literal: int) -> str:
        """A literal, by its number."""
        n = len(self.facts)
        return fact_text(self.facts[literal]) if literal < n else f"{fact_text(self.facts[literal - n])} being false"


def _space(problem: Problem, skills: Skills) -> _Space:
    goal = problem.goal
    if goal is None:
        fix = "word the instruction as the tasks are worded, or use a planner that reads language"
        raise PlanError(Fault(Failure.GOAL, "nothing to plan for", f"no goal for {problem.instruction!r}", "facts to make true", fix))
    kinds = tuple(t.type for t in problem.things)
    plain = dict(zip((t.name for t in problem.things), _plain_names(kinds), strict=True))
    names = {there: here for here, there in plain.items()}

    def renamed(facts: Iterable[Fact], names: dict[str, str]) -> list[Fact]:
        return [(p, names.get(s, s), names.get(t, t)) for p, s, t in facts]

    options = [option for stage in goal.stages for option in stage]
    named = renamed({*problem.facts, *(pair for option in [*options, goal.always] for term in option for pair in term.pairs)}, plain)
    common = _ground(skills, kinds, frozenset())
    more = frozenset(fact for fact in named if fact not in common.bit)
    common = _ground(skills, kinds, more) if more else common
    facts, n = renamed(common.bit, names), len(common.bit)
    bit = dict(zip(facts, common.bit.values(), strict=True))

    def bits(part: Iterable[Fact]) -> int:
        return sum(bit[f] for f in part)

    start = bits(problem.facts)
    false, true = common.fixed & ~start, common.fixed & start

    def option_terms(option: Option) -> list[_Term]:
        return [_Term(bits(term.pairs), term.at_least, term.at_most) for term in option]

    return _Space(
        facts,
        names,
        [a for a in common.actions if not a.pre & false and not a.neg & true],
        start,
        [[option_terms(option) for option in stage] for stage in goal.stages],
        [[bits(yes) | bits(no) << n for option in stage for yes, no in alternatives(option)] for stage in goal.stages],
        option_terms(goal.always),
        ", ".join(describe(goal)),
    )


def _ones(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


# --- what can hold together ---------------------------------------------------------------------------------------


def _together(action: _Action, pairs: list[int]) -> int | None:
    """The literals that can hold together with each thing that an action needs; None if its needs exclude each other."""
    common = sum(1 << i for i, others in enumerate(pairs) if others) if not action.needs else -1
    for i in _ones(action.needs):
        common &= pairs[i]
    return common if action.needs & ~common == 0 else None


def _pairs(space: _Space) -> list[int]:
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
            for i in _ones(action.makes):
                fresh = after & ~pairs[i]
                if fresh:
                    changed = True
                    pairs[i] |= fresh
                    for j in _ones(fresh):
                        pairs[j] |= 1 << i
    return pairs


def _obstacle(space: _Space, pairs: list[int]) -> Fault | None:
    """Why some stage can never be reached: in each way to reach it, a literal never holds, or two never hold together."""
    if not space.allowed(space.start):
        return Fault(Failure.IMPOSSIBLE, "no plan exists", "what must always hold does not now", "a rule that holds", "drop the rule")
    for ways in space.ways:
        faults = [_way_obstacle(space, pairs, way) for way in ways]
        if all(faults):
            fix = "ask for something that the skills can bring about in this scene"
            return faults[0] if faults else Fault(Failure.IMPOSSIBLE, "no plan exists", "a count that nothing meets", "goals in reach", fix)
    return None


def _way_obstacle(space: _Space, pairs: list[int], way: int) -> Fault | None:
    """A literal that never holds, or two that never hold together, with the reason."""
    for i in _ones(way):
        if not pairs[i]:
            fix = "ask for something that the skills can bring about in this scene"
            return Fault(
                Failure.IMPOSSIBLE, "no plan exists", f"the goal {space.text(i)}", "goals in reach", f"{_reason(space, pairs, i)}; {fix}"
            )
    for i, j in itertools.combinations(_ones(way), 2):
        if not pairs[i] >> j & 1:
            got = f"{space.text(i)} and {space.text(j)} at the same time"
            return Fault(Failure.IMPOSSIBLE, "no plan exists", got, "goals that do not exclude each other", "drop one of the two")
    return None


def _reason(space: _Space, pairs: list[int], literal: int) -> str:
    """Why a literal can never hold: back along what it takes, to what nothing can make so."""
    chain = [literal]
    while True:
        makers = [a for a in space.actions if a.makes >> chain[-1] & 1]
        lacking = [i for a in makers[:1] for i in _ones(a.needs) if not pairs[i] and i not in chain]
        if not lacking:
            break
        chain.append(lacking[0])
    takes = ", which takes ".join(space.text(i) for i in chain)
    return f"{takes}, and nothing can make that so" if len(chain) > 1 else f"nothing can make {takes} true"


# --- search -------------------------------------------------------------------------------------------------------


class _Remaining:
    """At least how many steps are left: literals that any plan has to make true yet, no two of them by the same operator.

    A literal is such if it is part of the goal, or if every operator that makes such a literal needs it, and it does not hold.
    With several ways to reach a stage it is the way with the least, with several stages the stage with the most, or what all
    the stages with one way take together.
    """

    def __init__(self, space: _Space, actions: list[_Action]):
        self.space = space
        count = 2 * len(space.facts)
        self.makers, self.needs = [0] * count, [0] * count  # of a literal: the actions that make it, and what they all need
        for k, action in enumerate(actions):
            for i in _ones(action.makes):
                self.needs[i] = self.needs[i] & action.needs if self.makers[i] else action.needs
                self.makers[i] |= 1 << k
        sure = [ways[0] if len(ways) == 1 else 0 for ways in space.ways]
        self.together = [functools.reduce(operator.or_, sure[stage:], 0) for stage in range(len(sure) + 1)]

    def __call__(self, state: int, stage: int) -> int:
        holds = self.space.literals(state)
        single = (min(self._left(way & ~holds, holds) for way in ways) for ways in self.space.ways[stage:])
        return max(self._left(self.together[stage] & ~holds, holds), *single, 0)

    def _left(self, todo: int, holds: int) -> int:
        seen, used, count = 0, 0, 0
        while todo:
            low = todo & -todo
            i = low.bit_length() - 1
            seen |= low
            todo = (todo ^ low) | self.needs[i] & ~holds & ~seen
            if not self.makers[i] & used:
                used |= self.makers[i]
                count += 1
        return count


_Node = tuple[int, int]  # a state, and how many stages are reached


def _search(space: _Space, actions: list[_Action], max_nodes: int) -> Plan:
    """A*: shortest first; of equals, the one that is further along."""
    remaining = _Remaining(space, actions)
    start = (space.start, space.onward(0, space.start))
    best = {start: 0}
    came: dict[_Node, tuple[_Node, Call]] = {}
    order = itertools.count()
    queue = [(remaining(*start), 0, next(order), start)]
    for _ in range(max_nodes):
        if not queue:
            got = f"{space.goal}, of which no state in reach has all"
            raise PlanError(Fault(Failure.IMPOSSIBLE, "no plan exists", got, "goals that can hold all at once", "drop one of them"))
        _, back, _, node = heapq.heappop(queue)
        state, stage = node
        if stage == len(space.stages):
            return _plan(node, came, space.names)
        if -back > best[node]:
            continue
        for a in actions:
            if state & a.pre == a.pre and not state & a.neg:
                after = state & ~a.delete | a.add
                reached, cost = (after, space.onward(stage, after)), 1 - back
                if cost < best.get(reached, cost + 1) and space.allowed(after):
                    best[reached], came[reached] = cost, (node, a.call)
                    heapq.heappush(queue, (cost + remaining(*reached), -cost, next(order), reached))
    got, fix = f"no plan after {max_nodes} states", "split the goal, or raise max_nodes"
    raise PlanError(Fault(Failure.LIMIT, "the search gave up", got, "one within that many", fix))


def _plan(node: _Node, came: dict[_Node, tuple[_Node, Call]], names: dict[str, str]) -> Plan:
    steps = []
    while node in came:
        node, call = came[node]
        steps.append(Call(call.skill, {param: names[value] for param, value in call.args.items()}))
    return Plan(tuple(reversed(steps)))
