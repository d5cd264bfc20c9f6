"""How far it is at least: the heuristics of the oracle's search, which never say too much."""

import functools
import operator
from collections import Counter
from typing import NamedTuple

from palaestra.envs.mechanics import Rule
from palaestra.envs.names import ROBOT
from palaestra.envs.types import DOORS
from palaestra.envs.words.references import RECEPTACLES
from palaestra.skills.planners.space import House, Space, ones

NEVER = 1_000_000  # steps: it cannot be reached any more


class Remaining:
    """At least how many steps are left: literals that any plan has to make true yet, no two of them by the same operator.

    A literal is such if it is part of the goal, or if every operator that makes such a literal needs it, and it does not hold.
    Literals of several stages count together, of a stage with several ways those that all ways share. Where it is more, it is one
    such stage alone, by the way with the least. Every stage has a way.
    """

    def __init__(self, space: Space):
        self.space = space
        self._sources: dict[int, tuple[int, int]] = {}
        shared = [functools.reduce(operator.and_, ways, -1) for ways in space.ways]
        self._shared = [functools.reduce(operator.or_, shared[k:], 0) for k in range(len(shared) + 1)]  # by all stages from k on
        self._choices = [[ways for ways in space.ways[k:] if len(ways) > 1] for k in range(len(shared) + 1)]

    def __call__(self, state: int, stage: int) -> int:
        holds = self.space.literals(state)
        left = self._left(self._shared[stage] & ~holds, holds)
        return max([left, *(min(self._left(way & ~holds, holds) for way in ways) for ways in self._choices[stage])])

    def _left(self, todo: int, holds: int) -> int:
        seen, used, count = 0, 0, 0
        while todo:
            low = todo & -todo
            seen |= low
            makers, needs = self._sources.get(low) or self.sources(low)
            todo = (todo ^ low) | needs & ~holds & ~seen
            if not makers & used:
                used |= makers
                count += 1
        return count

    def sources(self, low: int) -> tuple[int, int]:
        """The actions that make a literal, and what they all need."""
        if low not in self._sources:
            common = self.space.common
            makers, needs = 0, -1
            for k in ones(common.makers(low.bit_length() - 1)):
                action = common.actions[k]
                if self.space.usable(action):
                    makers |= 1 << k
                    needs &= action.needs
            self._sources[low] = makers, needs if makers else 0
        return self._sources[low]


Bound = tuple[int, int]  # a number of steps, and the actions of which they are


class Known(NamedTuple):
    """What is known of a literal whatever the state."""

    lost: int  # where a thing would have to be that nothing can make again, for the literal to come about
    made: tuple[int, int, bool] | None  # of a thing that rules make: where it is, what all of them need, and whether it can be made twice
    place: int  # of near(robot, x): where x may be
    goes: int  # of what says itself where the robot goes
    spots: list[int]  # what each rule needs that makes a thing just there; nothing if none does
    free: int  # of a hand that lets go of x: holding(robot, x)


class Cause(NamedTuple):
    """How a literal comes about."""

    makers: int  # actions, themselves or by rules
    needs: int  # literals that they all need
    by_rules: bool  # by rules alone
    users: int  # actions that need the literal
    hands: int  # facts of `holding` that must be false for it
    driving: int  # the actions that can be what gets the robot near to what has to be near: with a hand that is empty, or holds that
    held: int  # holding(robot, x) if it must be true, and driving there with x is the only way


class RemainingInHouse(Remaining):
    """The same where there are doors and rules, and with more of what any plan has to do.

    It collects sets of actions of which any plan has one each, and counts as many as have no action in common, small sets first.
    - A rule is one more source of what it brings about. It needs its condition, and the actions that can set it off stand for it.
      A product may come to be where it is wanted, or be put there: the less of both counts.
    - To get near a thing takes the doors on the way to where it is; what is said of a thing that does not exist takes what makes it.
    - What has to come first is done by actions that do not need what comes later.
    - Who is to pick something drives there with an empty hand, who is to put something somewhere with that in the hand.
    - What is held for something that comes before is let go of in between.
    """

    def __init__(self, space: Space, house: House):
        super().__init__(space)
        self.house = house
        rules, those, bits = house.book.mechanics.rules, space.those, space.bits
        self._all = (1 << space.n) - 1
        made, ended = {r.product for r in rules if r.product}, {x for r in rules for x in r.consumes}
        self._about = {x: those("near", "", x) | those("holding", "", x) | those("on", x) | those("inside", x) for x in made | ended}
        self._there = {x: those("in_room", x) for x in made | ended}
        for x, there in self._there.items():
            self._about[x] |= there
        self._lost, self._made, self._twice = sorted(ended - made), sorted(made), (made & ended) - self._once(ended - made)
        self._born = sum(self._about[x] for x in made)
        self._near, self._hold = those("near", ROBOT), those("holding")
        self._spots = sum(bits([("near", ROBOT, t.name)]) for t in space.problem.things if t.type in RECEPTACLES)
        objects = [t.name for t in space.problem.things if t.type == "object"]
        self._mates = {bits([("holding", ROBOT, x)]): bits([("near", ROBOT, x)]) for x in objects}
        self._births = {bits([("holding", ROBOT, x)]): self._birthplaces(x) for x in made}
        self._fixed = self._near & ~sum(self._mates.values())
        self._tidy = self._is_tidy()
        self._going = (those("in_room") | sum(house.beside_doors)) & ~self._born
        self._brings = [self._effects(rule) for rule in rules]  # literals
        self._starts = self._triggers()  # actions
        self._pressed = sum(p for _, p in house.plates if not any(brings & p for brings in self._brings))
        eaten = sum(self._about[x] for x in ended) & self._hold
        self._empty, self._drives = -1, 0
        for held in self._mates:
            self._empty &= -1 if held & eaten else ~space.common.users(held)
        for i in ones(self._spots):
            self._drives |= space.common.makers(i)
        self._doors: dict[tuple[int, int], int | None] = {}
        self._known: dict[int, Known] = {}
        self._causes: dict[tuple[int, bool, bool | None], Cause] = {}
        self._loads: dict[int, list[tuple[int, int, int]]] = {}
        self._bounds: dict[tuple[int, int], list[list[Bound]]] = {}  # of stages, from the one to reach on

    def __call__(self, state: int, stage: int) -> int:
        holds = self.space.literals(state)
        bounds = [[b for way in ways for b in self._events(way & ~holds, holds)] for ways in self.space.ways[stage:]]
        self._bounds[state, stage] = bounds
        return max((min((count for count, _ in some), default=NEVER) for some in bounds), default=0)

    def after(self, state: int, stage: int, actions: int, reached: int) -> int:
        """At least how many steps are left after actions (numbers, as bits) in a state that was looked at, with `reached` stages then."""
        bounds = self._bounds[state, stage][reached - stage :]
        return max((min((count - (used & actions).bit_count() for count, used in some), default=NEVER) for some in bounds), default=0)

    def _events(self, todo: int, holds: int, by_hand: int = 0, by_rule: int = 0) -> list[Bound]:
        """The bounds for what is left to do, one for each way to get products where they are needed; none where there is no way.

        `by_hand` and `by_rule`: of literals about products, how they are to come about.
        """
        state = holds & self._all
        robot = state & self.house.robot_rooms
        untidy = not self._tidy or (state & self._fixed).bit_count() > 1
        found: set[tuple[int, int]] = set()
        sets: dict[tuple[int, int], int] = {}  # of actions: any plan has one of each
        # Literals, the actions that may bring them about, those that come later, and what must not be held later.
        queue = [(1 << i, -1, 0, 0) for i in ones(todo)]
        for low, driving, later, hands in queue:
            key = low, driving
            if key in found:
                continue
            found.add(key)
            known = self._known.get(low) or self.known(low)
            if known.lost and not state & known.lost:
                return []
            there: bool | None = False
            more, ruled = 0, True
            if known.made:
                there = bool(state & known.made[0])
                more, ruled = (0, known.made[2]) if there else (known.made[1], True)
                if ruled and known.spots and not low & by_hand:
                    if low & by_rule:
                        continue
                    ways = [self._events((todo | needs) & ~holds, holds, by_hand, by_rule | low) for needs in known.spots]
                    return [*self._events(todo, holds, by_hand | low, by_rule), *(b for bounds in ways for b in bounds)]
                ruled = ruled and not low & by_hand
            if not there and untidy:
                there = None
            cause = self._causes.get((low, ruled, there)) or self.cause(low, ruled, there)
            goes = state & known.place or known.goes
            doors = self._doors[robot, goes] if (robot, goes) in self._doors else self.doors(robot, goes)
            makers = cause.makers & driving & ~later
            if doors is None or not makers:
                return []
            lacking = (cause.needs | more | doors) & ~holds
            if cause.held and not state & self._mates[cause.held]:  # whatever it is near now, it will not be when it has picked that
                lacking |= cause.needs & self._near & ~self._mates[cause.held]
            if not (cause.by_rules and lacking):  # else what is lacking counts
                sets[key] = makers
            if low & hands:  # to be held before something that it must not be held for
                queue.append((low << self.space.n, -1, 0, 0))
            if known.free and not (state & self._mates[known.free] and state & self._spots):
                sets[low, -2] = self.space.common.users(known.free) & self._drives | self._eaters(low)
            if low & self._pressed:
                self._load(low, state, makers, later, sets)
            later = later if holds & low else later | cause.users
            drivable = self._near & ~self._born & ~self._mates.get(cause.held, 0)
            while lacking:
                need = lacking & -lacking
                lacking ^= need
                queue.append((need, cause.driving if need & drivable else -1, later, hands | cause.hands))
        used, count = 0, 0
        for makers in sorted(sets.values(), key=int.bit_count):
            if not makers & used:
                used |= makers
                count += 1
        return [(count, used)]

    def _load(self, low: int, state: int, makers: int, later: int, sets: dict[tuple[int, int], int]) -> None:
        """To press a plate, some object is picked up, unless one is held; and driven to, unless one is near."""
        some = [(held, mate) for placing, held, mate in self._loads.get(low) or self.loads(low) if placing & makers]
        if not some or any(state & held for held, _ in some):
            return
        sets[low, -3] = sum(self.sources(held)[0] for held, _ in some) & ~later
        if not any(state & mate or mate & self._born for _, mate in some):
            sets[low, -4] = sum(self.sources(mate)[0] for _, mate in some) & self._empty & ~later

    def doors(self, robot: int, goes: int) -> int | None:
        """The doors between the robot's room and a fact that says where it goes."""
        ways: list[int | None] = [0]
        if goes:
            predicate, _, target = self.space.facts[goes.bit_length() - 1]
            sides = [target] if predicate == "in_room" else self.house.book.rooms
            to_door = goes if predicate == "near" else 0
            ways = [self.house.way(robot, self.space.bits([("in_room", ROBOT, side)]), to_door) for side in sides]
        self._doors[robot, goes] = found = next((way for way in ways if way is not None), None)
        return found

    def known(self, low: int) -> Known:
        """What is known of a literal whatever the state."""
        space, rules = self.space, self.house.book.mechanics.rules
        fact = space.facts[(low.bit_length() - 1) % space.n]
        name = next((x for x, about in self._about.items() if low & about), "")
        made = (self._there[name], self._all_need(name), name in self._twice) if name in self._made else None
        spots = [
            condition | space.bits([(fact[0], rule.consumes[-1], fact[2])])
            for rule, condition, brings in zip(rules, self.house.conditions, self._brings, strict=True)
            if low & brings and made and fact[0] in ("on", "inside")
        ]
        stays = fact[0] == "near" and low <= self._all and space.kinds_of[fact[2]] not in DOORS and name not in self._twice
        self._known[low] = known = Known(
            lost=self._there[name] if name in self._lost else 0,
            made=made,
            place=space.those("in_room", fact[2]) if stays else 0,
            goes=low & self._going,
            spots=spots,
            free=low >> space.n & self._hold & ~self._born,
        )
        return known

    def cause(self, low: int, ruled: bool, there: bool | None) -> Cause:
        """How a literal comes about; `ruled`: by rules too, `there`: of a thing that has been made; None if nobody knows."""
        makers, needs, plain = self._by_actions(low)
        for k, rule in enumerate(self.house.book.mechanics.rules):
            if self._brings[k] & low and (ruled or (rule.opens and low & self.house.open[rule.opens])):
                makers |= self._starts[k]
                needs &= self.house.conditions[k]
        needs = needs if makers else 0
        held, hands, driving = needs & self._hold, needs >> self.space.n & self._hold, -1
        if held:
            hands = self._hold & ~held
            beside = needs & self._near & ~self._mates.get(held, 0)
            carried = not held & self._born or (there is not None and (not ruled if there else self._carried(held, beside)))
            held = held if held in self._mates and carried else 0
            driving = self.space.common.users(held) if held else -1
        elif hands == self._hold and not needs & self._near & self._spots:  # else the hand may be emptied there
            driving = self._empty
        users = self.space.common.users(low)
        self._causes[low, ruled, there] = found = Cause(makers, needs, not plain, users, hands, driving, held)
        return found

    def _once(self, raw: set[str]) -> set[str]:
        """What is made once at most: by one rule alone, of things some of which are there but once. `raw`: those that none makes."""
        rules = [rule for rule in self.house.book.mechanics.rules if rule.product]
        count = Counter(rule.product for rule in rules)
        once: set[str] = set()
        for rule in rules * len(rules):
            new = count[rule.product] == 1 and not self.space.start & self._there[rule.product]
            once |= {rule.product} if new and not (raw | once).isdisjoint(rule.consumes) else set()
        return once

    def _is_tidy(self) -> bool:
        """Whether the robot is near no object on or inside what it is not near, while it is near another fixed thing.

        If that is so it remains so: driving ends all but the target and what is held, which is put where the robot is near.
        """
        things = [self.space.facts[i][2] for i in ones(self.space.start & self._near)]
        placed = {t for p, x, t in (self.space.facts[i] for i in ones(self.space.start)) if p in ("on", "inside") and x in things}
        return not self.space.start & self._fixed or placed <= {*things}

    def _birthplaces(self, product: str) -> int:
        """Near what the robot is if it is near a product that appears: facts, all where rules do not tell."""
        found = 0
        for rule in self.house.book.mechanics.rules:
            if rule.product == product:
                spots = [("near", ROBOT, t) for p, x, t in rule.condition if (p, x) == ("on", rule.consumes[-1])]
                found |= self.space.bits(spots) if spots else self._near
        return found

    def _carried(self, held: int, beside: int) -> bool:
        """Whether what does not exist is carried to what has to be near: it appears elsewhere, and the robot is near one of both.

        `held`: the fact that it is held; `beside`: those of what has to be near, but the product itself.
        """
        return bool(beside) and not beside & (self._births[held] | ~self._fixed)

    def _by_actions(self, low: int) -> tuple[int, int, bool]:
        """The actions that make a literal, plates included, what they all need, and whether there are any."""
        n = self.space.n
        if any(low == door << n for door in self.house.open.values()):
            return -1, 0, True  # a door or a lid shuts when something ends, whatever ends it
        parts = low
        for loads, pressed in self.house.plates:
            parts = loads if low == pressed else loads << n if low == pressed << n else parts
        makers, needs = 0, -1
        for i in ones(parts):
            some, need = self.sources(1 << i)
            makers, needs = makers | some, needs & need if some else needs
        return makers, needs, bool(makers)

    def _eaters(self, low: int) -> int:
        """The actions that can set off rules that bring a literal about."""
        found = 0
        for brings, starts in zip(self._brings, self._starts, strict=True):
            found |= starts if brings & low else 0
        return found

    def loads(self, pressed: int) -> list[tuple[int, int, int]]:
        """For each object that can be put on a plate: the actions, and the facts that it is held, and that the robot is near.

        Nothing where something can be pushed on it instead."""
        found, pushed = [], False
        for i in ones(next(loads for loads, p in self.house.plates if p == pressed)):
            placing, needs = self.sources(1 << i)
            pushed |= bool(placing) and not needs & self._hold
            if needs & self._hold in self._mates:
                found.append((placing, needs & self._hold, self._mates[needs & self._hold]))
        self._loads[pressed] = found = [] if pushed else found
        return found

    def _all_need(self, product: str) -> int:
        """What all rules need that make an object."""
        needs = -1
        for rule, condition in zip(self.house.book.mechanics.rules, self.house.conditions, strict=True):
            needs &= condition if rule.product == product else -1
        return needs

    def _effects(self, rule: Rule) -> int:
        """The literals that a rule may bring about."""
        space, found = self.space, self.house.open[rule.opens] if rule.opens else 0
        plates = self.house.plates
        for name in rule.consumes:
            about = self._about[name]
            found |= (about | sum(pressed for loads, pressed in plates if about & loads)) << space.n
        if rule.product:
            spots = space.those("on", rule.product) | space.those("inside", rule.product)
            for predicate, subject, target in rule.condition:  # where the last one is, the product will be
                if subject == rule.consumes[-1]:
                    spots = space.bits([("on", rule.product, target)])
                elif (predicate, target) == ("holding", rule.consumes[-1]):
                    spots = 0
            found |= space.those("in_room", rule.product) | space.those("near", "", rule.product) | spots
            found |= sum(pressed for loads, pressed in plates if spots & loads)
        return found

    def _triggers(self) -> list[int]:
        """The actions that can set off each rule, maybe by way of others."""
        found = []
        for condition in self.house.conditions:
            parts = condition | sum(loads for loads, pressed in self.house.plates if condition & pressed)
            found.append(0)
            for i in ones(parts):
                found[-1] |= self.space.common.makers(i)
        for _ in found:
            for k, condition in enumerate(self.house.conditions):
                for j, brings in enumerate(self._brings):
                    found[k] |= found[j] if brings & condition else 0
        return found
