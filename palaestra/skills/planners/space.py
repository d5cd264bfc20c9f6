"""What the oracle searches: facts as bits of an integer, operators as masks, doors and rules state by state.

Operators are grounded once for all scenes with as many things of each kind, in houses of which nothing else is known. Where doors
are and what rules do is added here: doors by the room in which the robot is, rules where a call changes what they watch.
"""

import functools
import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from palaestra.envs.goals import PLACING, Option, alternatives, describe
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import DOORS
from palaestra.skills.operators import PUSHED, Call, Operator, Skills, fact_text, ground, universe
from palaestra.skills.plan import Failure, Fault, PlanError
from palaestra.skills.planners.base import Problem
from palaestra.skills.record import ROBOT
from palaestra.skills.rules import OPENED, Rulebook, has_mechanics


@dataclass(frozen=True, eq=False)
class Action:
    """An operator in bits. Bit i of a state: fact i holds. In literals bit n + i stands for "fact i is false" besides."""

    number: int
    call: Call
    pre: int
    neg: int
    add: int
    delete: int
    needs: int  # literals
    makes: int  # literals
    breaks: int  # literals
    crowd: int  # facts that say that where it puts something there is something already


class Step(NamedTuple):
    """One action, or a drive and what is done there, where the robot is now."""

    pre: int
    neg: int
    add: int
    delete: int
    crowd: int
    actions: tuple[Action, ...]
    numbers: int  # of the actions, as bits

    @classmethod
    def of(cls, action: Action, way: int = 0, against: int = 0) -> "Step":
        """A step of one action; `way`: the doors that must be open for it; `against`: facts that must not hold besides."""
        pre = action.pre | way
        return cls(pre, action.neg | against, action.add, action.delete, action.crowd, (action,), 1 << action.number)

    def then(self, other: "Step") -> "Step | None":
        """Both, one after the other; None where the first makes the other impossible."""
        if other.pre & self.delete & ~self.add or other.neg & self.add:
            return None
        return Step(
            self.pre | other.pre & ~self.add,
            self.neg | other.neg & ~self.delete,
            other.add | self.add & ~other.delete,
            other.delete | self.delete & ~other.add,
            self.crowd | other.crowd,
            self.actions + other.actions,
            self.numbers | other.numbers,
        )


class Condition(NamedTuple):
    """A conjunction of terms: facts that must be true, and false, and how many of others may hold."""

    yes: int
    no: int
    counts: list[tuple[int, int, int]]  # facts, at least, at most

    def holds(self, state: int) -> bool:
        yes, no, counts = self
        if state & yes != yes or state & no:
            return False
        return not counts or all(low <= (state & facts).bit_count() <= high for facts, low, high in counts)


def ones(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def in_bits(operators: Iterable[Operator], bit: Mapping[Fact, int]) -> list[Action]:
    """Operators as actions."""
    n, actions = len(bit), []
    full: dict[tuple[str, str], int] = {}  # of each place, all facts that something is there
    for (predicate, _, target), one in bit.items():
        full[predicate, target] = full.get((predicate, target), 0) | one
    for number, o in enumerate(operators):
        crowd = sum(full[f[0], f[2]] & ~bit[f] for f in o.add if f[0] in PLACING)
        pre, neg, add, delete = (sum(bit[f] for f in part) for part in (o.pre, o.neg, o.add, o.delete))
        actions.append(Action(number, o.call, pre, neg, add, delete, pre | neg << n, add | delete << n, delete | add << n, crowd))
    return actions


@dataclass(frozen=True, eq=False)
class Ground:
    """Facts and actions over things that are named by kind and number, so that scenes with as many things of each kind share them."""

    bit: dict[Fact, int]
    actions: list[Action]
    fixed: int  # facts that no action changes
    _makers: dict[int, int] = field(default_factory=dict)
    _users: dict[int, int] = field(default_factory=dict)
    _for_load: dict[int, list[Action]] = field(default_factory=dict)
    _drives: dict[int, tuple[list[Action], list[tuple[int, int, Action]], list[tuple[int, int, Action]]]] = field(default_factory=dict)
    _those: dict[Fact, int] = field(default_factory=dict)

    def those(self, predicate: str, subject: str = "", target: str = "") -> int:
        """All facts of a predicate; of one subject or target, where they are given."""
        key = predicate, subject, target
        if key not in self._those:
            self._those[key] = sum(b for (p, s, t), b in self.bit.items() if p == predicate and subject in ("", s) and target in ("", t))
        return self._those[key]

    def makers(self, literal: int) -> int:
        """The actions that make a literal true that was not: their numbers as bits."""
        if literal not in self._makers:
            self._makers[literal] = sum(1 << a.number for a in self.actions if (a.makes & ~a.needs) >> literal & 1)
        return self._makers[literal]

    def users(self, low: int) -> int:
        """The actions that need a literal, given as a bit: their numbers as bits."""
        if low not in self._users:
            self._users[low] = sum(1 << a.number for a in self.actions if a.needs & low)
        return self._users[low]

    def for_load(self, load: int) -> list[Action]:
        """The actions of a robot that holds this: the facts of `holding` that are true."""
        if load not in self._for_load:
            other = self.those("holding") & ~load
            self._for_load[load] = [a for a in self.actions if not a.pre & other and not a.neg & load]
        return self._for_load[load]

    def drives_for_load(self, load: int) -> tuple[list[Action], list[tuple[int, int, Action]], list[tuple[int, int, Action]]]:
        """The same in three lists: those that stay; those that drive, with the facts in which room that ends, and near what; and
        those that push what the robot is near, with the facts in which room that ends, and near what it begins."""
        if load not in self._drives:
            rooms, near = self.those("in_room", ROBOT), self.those("near", ROBOT)
            some = [(a.add & rooms, a.add & near, a) for a in self.for_load(load)]
            drives = [drive for drive in some if drive[0] and not drive[2].pre & near]
            pushes = [(goes, a.pre & near, a) for goes, _, a in some if goes and a.pre & near]
            self._drives[load] = [a for goes, _, a in some if not goes], drives, pushes
        return self._drives[load]


@functools.lru_cache(maxsize=64)
def _ground(skills: Skills, kinds: tuple[str, ...], more: frozenset[Fact]) -> Ground:
    """`more`: facts to be numbered that kinds do not allow."""
    things = [Entity(i, name, kind) for i, (name, kind) in enumerate(zip(_plain_names(kinds), kinds, strict=True))]
    bit = {fact: 1 << i for i, fact in enumerate(sorted({*universe(things), *more}))}
    actions = in_bits(ground(skills, things, None), bit)
    return Ground(bit, actions, functools.reduce(lambda rest, a: rest & ~(a.add | a.delete), actions, (1 << len(bit)) - 1))


def _plain_names(kinds: Iterable[str]) -> list[str]:
    return [ROBOT if kind == "robot" else f"{kind}{i}" for i, kind in enumerate(kinds)]


class Space:
    """A problem in bits: where it starts, what is to be reached, and what can be done.

    Raises PlanError where there is no goal.
    """

    def __init__(self, problem: Problem, skills: Skills):
        goal = problem.goal
        if goal is None:
            fix = "word the instruction as the tasks are worded, or use a planner that reads language"
            got = f"no goal for {problem.instruction!r}"
            raise PlanError(Fault(Failure.GOAL, "nothing to plan for", got, "facts to make true", fix))
        self.problem, self.skills, self.goal = problem, skills, goal
        self.kinds = tuple(t.type for t in problem.things)
        self.kinds_of = {t.name: t.type for t in problem.things}
        self.plain = dict(zip((t.name for t in problem.things), _plain_names(self.kinds), strict=True))
        self.names = {there: here for here, there in self.plain.items()}  # of things, by their names in actions
        things, mechanics = problem.things, problem.mechanics
        book = Rulebook(things, mechanics) if has_mechanics(things, mechanics) else None
        facts = book.settled(problem.facts) if book else problem.facts
        options = [*(option for stage in goal.stages for option in stage), goal.always]
        asked = (pair for option in options for term in option for pair in term.pairs)
        named = self._renamed({*facts, *asked, *(book.watched if book else ())}, self.plain)
        self.common = _ground(skills, self.kinds, frozenset())
        more = frozenset(fact for fact in named if fact not in self.common.bit)
        self.common = _ground(skills, self.kinds, more) if more else self.common
        self.n = len(self.common.bit)
        self.house = House(self, book) if book else None
        self.start = self.bits(facts)
        fixed = self.common.fixed & ~(self.house.moved if self.house else 0)
        self.false, self.true = fixed & ~self.start, fixed & self.start  # for good
        self.alive = -1  # numbers, as bits, of the actions of which nothing is known that keeps them from ever being applied
        self.stages = [[self._condition(option) for option in stage] for stage in goal.stages]
        # Of each stage, the literals that must hold, for each way to reach it.
        self.ways = [
            [self.bits(yes) | self.bits(no) << self.n for option in stage for yes, no in alternatives(option)] for stage in goal.stages
        ]
        self.always = self._condition(goal.always)
        terms = [t for option in options for t in option]
        self._near = self.those("near", ROBOT)
        self._asked = self.bits({pair for t in terms for pair in t.pairs}) | (self.house.watched if self.house else 0)
        leaving = book is not None and any(f[0] == "near" for rules in book.fickle.values() for rule in rules for f in rule.condition)
        where = any(t.predicate == "in_room" and any(self.kinds_of[s] != PUSHED for s in t.subjects) for t in terms)
        self._rooms_matter = leaving or where or any(t.at_most < len(t.pairs) for t in terms)
        self._steps: dict[int, list[Step]] = {}

    def _renamed(self, facts: Iterable[Fact], names: Mapping[str, str]) -> list[Fact]:
        return [(p, names.get(s, s), names.get(t, t)) for p, s, t in facts]

    def bits(self, facts: Iterable[Fact]) -> int:
        """Facts about things by their own names."""
        bit = self.common.bit
        return sum(bit[fact] for fact in {*self._renamed(facts, self.plain)})

    def those(self, predicate: str, subject: str = "", target: str = "") -> int:
        """All facts of a predicate; of one subject or target, where they are given, by their own names."""
        return self.common.those(predicate, self.plain.get(subject, ""), self.plain.get(target, ""))

    @functools.cached_property
    def facts(self) -> list[Fact]:
        """By their numbers."""
        return self._renamed(self.common.bit, self.names)

    def _condition(self, option: Option) -> Condition:
        yes, no, counts = 0, 0, []
        for term in option:
            facts = self.bits(term.pairs)
            if len(term.pairs) == 1 and term.at_least == 1:
                yes |= facts
            elif term.at_most == 0:
                no |= facts
            else:
                counts.append((facts, term.at_least, term.at_most))
        return Condition(yes, no, counts)

    def literals(self, state: int) -> int:
        """The literals that hold in a state."""
        return state | (~state & (1 << self.n) - 1) << self.n

    def allowed(self, state: int) -> bool:
        """Whether what must always hold does."""
        return self.always.holds(state)

    def onward(self, stage: int, state: int) -> int:
        """How many stages are reached, `stage` of them before."""
        for options in self.stages[stage:]:
            for option in options:
                if option.holds(state):
                    break
            else:
                break
            stage += 1
        return stage

    def text(self, literal: int) -> str:
        """A literal, by its number."""
        return fact_text(self.facts[literal]) if literal < self.n else f"{fact_text(self.facts[literal - self.n])} being false"

    @property
    def goal_text(self) -> str:
        return ", ".join(describe(self.goal))

    def own(self, call: Call) -> Call:
        """A call by the things' own names."""
        return Call(call.skill, {param: self.names[value] for param, value in call.args.items()})

    def usable(self, action: Action) -> bool:
        """Whether nothing is known that keeps an action from ever being applied."""
        return not action.pre & self.false and not action.neg & self.true and bool(self.alive >> action.number & 1)

    @functools.cached_property
    def actions(self) -> list[Action]:
        """All actions that may be applicable at some time, with everything that doors and rules make of them."""
        if self.house is None:
            return [a for a in self.common.actions if self.usable(a)]
        things, bit = self.problem.things, {fact: 1 << i for i, fact in enumerate(self.facts)}
        found = in_bits(ground(self.skills, things, self.problem.mechanics), bit)
        return [a for a in found if not a.pre & self.false and not a.neg & self.true]

    def keep(self, found: Iterable[Action]) -> None:
        """From now on use those of `actions` alone."""
        if self.house is None:
            self.alive = sum(1 << a.number for a in found)
        else:
            cases: dict[Call, list[Action]] = {}
            for a in found:
                cases.setdefault(a.call, []).append(a)
            self.alive = sum(
                1 << a.number
                for a in self.common.actions
                if any(a.pre & ~case.pre == 0 and a.neg & ~case.neg == 0 for case in cases.get(self.own(a.call), ()))
            )
        self._steps.clear()

    def named(self, state: int) -> frozenset[Fact]:
        """The facts that hold in a state."""
        return frozenset(self.facts[i] for i in ones(state))

    def calls(self, state: int) -> dict[Call, Step]:
        """Every single call that can be made in a state."""
        load = state & self.common.those("holding")
        stays, drives, pushes = self.common.drives_for_load(load)
        steps = [Step.of(a) for a in stays]
        for goes, near, a in drives:
            way = self.house.way(state, goes, near) if self.house else 0
            steps += [Step.of(a, way)] if way is not None else []
        steps += [step for goes, _, a in pushes if (step := self._push(state, goes, a))]
        return {self.own(s.actions[0].call): s for s in steps if state & s.pre == s.pre and not state & s.neg}

    def after(self, state: int, call: Call) -> int:
        """The state after a call that can be made, with all that rules do then."""
        return self.made(state, self.calls(state)[call])

    def made(self, state: int, step: Step) -> int:
        """The same of one of `calls`."""
        after = state & ~step.delete | step.add
        return self.house.settled(state, after) if self.house else after

    def steps(self, state: int) -> list[Step]:
        """What can be done by a robot that holds what it holds and is where it is, other preconditions aside."""
        load = state & self.common.those("holding")
        key = load | (state & self.house.robot_rooms if self.house else 0)
        if key not in self._steps:
            self._steps[key] = self._from(load, state)
        return self._steps[key]

    def _from(self, load: int, state: int) -> list[Step]:
        """The steps of a robot that holds this (facts of `holding`) in a state: with the doors on the way, and no useless drives.

        To drive to a thing is of use where the goal or a rule asks for being near it, or an action that does not drive, with what
        is held now. Whatever else it brings about ends with the next drive, and the way there is open from here as well. So where
        only such an action asks for it, both are one step; stages that are reached in between, and what must always hold, are the
        search's to see. Only to a goal that speaks of rooms, or of what must not hold, or where a door shuts as soon as the robot
        leaves something, may it matter where else the robot was; and there one can drive into the room itself.
        """
        stays, drives, pushes = self.common.drives_for_load(load)
        found = [Step.of(a) for a in stays if self.usable(a)]
        there = [(step.pre & self._near, step) for step in found]
        pushes = [push for push in pushes if self.usable(push[2])]
        acting = functools.reduce(operator.or_, (near for near, _ in itertools.chain(there, (push[1:] for push in pushes))), 0)
        found += [step for goes, _, a in pushes if (step := self._push(state, goes, a))]
        anywhere = self._rooms_matter and all(near for _, near, _ in drives)  # no skill drives into rooms themselves
        for goes, near, a in drives:
            asked = near & self._asked or anywhere or (self._rooms_matter and not near)
            if not (asked or near & acting) or not self.usable(a):
                continue
            way = self.house.way(state, goes, near) if self.house else 0
            if way is not None:
                drive = Step.of(a, way)
                both = [drive] if asked else [drive.then(step) for at, step in there if at & near]
                if not asked:  # where it drives to the way begins on which it pushes
                    both += [drive.then(step) for to, at, p in pushes if at & near and (step := self._push(goes, to, p))]
                found += [step for step in both if step]
        return found

    def _push(self, start: int, goes: int, action: Action) -> Step | None:
        """A step that pushes something from the room where the robot is to another (facts), if there is a way."""
        if self.house is None:
            return Step.of(action)
        way = self.house.way(start, goes)
        return None if way is None else Step.of(action, way, self.house.kept_open(self.own(action.call), way))


@dataclass
class _Facts:
    """A state as a set of facts."""

    state: int
    bit: Mapping[Fact, int]

    def __contains__(self, fact: Fact) -> bool:
        return bool(self.state & self.bit[fact])

    def add(self, fact: Fact) -> None:
        self.state |= self.bit[fact]

    def discard(self, fact: Fact) -> None:
        self.state &= ~self.bit[fact]


class House:
    """The doors and rules of a problem in bits."""

    def __init__(self, space: Space, book: Rulebook):
        self.space, self.book = space, book
        rules = book.mechanics.rules
        self.open = {t.name: space.bits([("open", t.name, t.name)]) for t in space.problem.things if t.type in {*DOORS, *OPENED}}
        self.plates = [(space.those("on", "", p), space.bits([("pressed", p, p)])) for p in book.plates]
        self.conditions = [space.bits(rule.condition) for rule in rules]
        self.moved = sum(pressed for _, pressed in self.plates) | sum(self.open.values())  # by no action itself
        self.watched = space.bits(book.watched)
        both = list(zip(self.conditions, rules, strict=True))
        # Conditions, with what is open once they held; with nothing where objects end.
        self._firing = [(c, 0 if r.consumes else self.open[r.opens]) for c, r in both if r.consumes or r.opens not in book.fickle]
        self._fickle = [(self.open[door], [c for c, r in both if r.opens == door]) for door in book.fickle]
        # Hampers that may shut as soon as the robot leaves something: what is put into one must find it open after the drive as well.
        fleeting = {lid for lid, some in book.fickle.items() if any(f[0] == "near" for rule in some for f in rule.condition)}
        self.fleeting = sum(self.open[t.name] for t in space.problem.things if t.type == "hamper" and t.name in fleeting)
        self.robot_rooms = space.those("in_room", ROBOT)
        self._room = {space.bits([("in_room", ROBOT, room)]): room for room in book.rooms}
        self.beside_doors = {space.bits([("near", ROBOT, t.name)]): t.name for t in space.problem.things if t.type in DOORS}
        self._ways: dict[tuple[int, int, int], int | None] = {}
        self._bit = {fact: 1 << i for i, fact in enumerate(space.facts)}

    def settled(self, state: int, after: int) -> int:
        """The state after a call with all that rules do then; `state` is that before it."""
        if not (state ^ after) & self.watched or not self._unsettled(after):
            return after
        facts, now = self.space.facts, _Facts(after, self._bit)
        self.book.settle(now, [facts[i] for i in ones(after & ~state)], [facts[i] for i in ones(state & ~after)])
        return now.state

    def _unsettled(self, state: int) -> bool:
        """Whether rules may have something to do."""
        for loads, pressed in self.plates:
            if bool(state & loads) != bool(state & pressed):
                return True
        for condition, done in self._firing:
            if state & condition == condition and not state & done:
                return True
        return any(bool(state & door) != any(state & c == c for c in conditions) for door, conditions in self._fickle)

    def kept_open(self, call: Call, way: int) -> int:
        """What must not hold where something is pushed through these doors (facts): that it keeps one of them open itself."""
        if not way or not self.book.fickle:
            return 0
        pushed = next(name for name in call.args.values() if self.space.kinds_of[name] == PUSHED)
        return self.space.bits(self.book.kept_open(pushed, (self.space.facts[i][1] for i in ones(way))))

    def way(self, state: int, goes: int, near: int = 0) -> int | None:
        """The doors that must be open on the robot's way to a room, up to a door there if `near` is one: facts; None without a way."""
        to_door = near if near in self.beside_doors else 0
        here = state & self.robot_rooms
        key = here, goes, to_door
        if key not in self._ways:
            doors = self.book.doors(self._room[here], self._room[goes], self.beside_doors.get(to_door, "")) if here else None
            self._ways[key] = None if doors is None else sum(self.open[door] for door in doors)
        return self._ways[key]
