"""How far it is at least: the heuristic of the oracle's search, which never says too much."""

from palaestra.envs.mechanics import Rule
from palaestra.envs.names import ROBOT
from palaestra.skills.planners.space import House, Space, ones

NEVER = 1_000_000  # steps: it cannot be reached any more


class Remaining:
    """At least how many steps are left: literals that any plan has to make true yet, no two of them by the same operator.

    A literal is such if it is part of the goal, or if every operator that makes such a literal needs it, and it does not hold.
    With several ways to reach a stage it is the way with the least, with several stages the stage with the most.
    """

    def __init__(self, space: Space):
        self.space = space
        self._sources: dict[int, tuple[int, int]] = {}

    def __call__(self, state: int, stage: int) -> int:
        holds = self.space.literals(state)
        return max((min(self.left(way & ~holds, holds) for way in ways) for ways in self.space.ways[stage:]), default=0)

    def left(self, todo: int, holds: int) -> int:
        """The steps to make all of the literals in `todo` true at some time."""
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


class RemainingInHouse(Remaining):
    """The same where there are doors and rules.

    A rule is one more source of what it brings about. It needs its condition, and the actions that can set it off stand for it. To
    get near a thing takes the doors on the way to where it is; and what is said of a thing that does not exist takes what makes it.
    """

    def __init__(self, space: Space, house: House):
        super().__init__(space)
        self.house = house
        rules, self.n = house.book.mechanics.rules, space.n
        self.everything = (1 << space.n) - 1
        made, ended = {r.product for r in rules if r.product}, {x for r in rules for x in r.consumes}
        about = {x: self._about(x) for x in made | ended}
        there = {x: space.those("in_room", x) for x in made | ended}
        self.lost = [(about[x], there[x]) for x in sorted(ended - made)]
        self.made = [(about[x], there[x], self._all_need(x), x in ended) for x in sorted(made)]
        # near(robot, x): all rooms for x, which stays where it is until the robot comes.
        self.places = {
            space.bits([("near", ROBOT, t.name)]): space.those("in_room", t.name)
            for t in space.problem.things
            if t.type not in ("robot", "room", "door") and not (t.name in made and t.name in ended)
        }
        self.going = (space.those("in_room") | space.bits(("near", ROBOT, door) for door in house.open)) & ~sum(about[x] for x in made)
        self.brings = [self._brings(rule, about) for rule in rules]  # literals
        self.starts = self._starts()  # actions
        self._doors: dict[tuple[int, int], int | None] = {}
        self._causes: dict[tuple[int, bool], tuple[int, int, bool]] = {}

    def left(self, todo: int, holds: int) -> int:
        state = holds & self.everything
        robot = state & self.house.robot_rooms
        seen, used, count = 0, 0, 0
        while todo:
            low = todo & -todo
            seen |= low
            more, makes_it = 0, True  # what it needs besides, and whether rules that make the thing can bring it about
            for about, there in self.lost:
                if low & about and not state & there:
                    return NEVER
            for about, there, needs, again in self.made:
                if low & about:
                    exists = bool(state & there)
                    more, makes_it = (0, again) if exists else (needs, True)
            makers, needs, by_rules = self._causes.get((low, makes_it)) or self.causes(low, makes_it)
            goes = state & self.places[low] if low in self.places else low & self.going
            doors = self.doors(robot, goes) if goes else 0
            if doors is None or not makers:
                return NEVER
            lacking = (needs | more | doors) & ~holds
            todo = (todo ^ low) | lacking & ~seen
            if not makers & used and not (by_rules and lacking):  # what is lacking is counted itself
                used |= makers
                count += 1
        return count

    def doors(self, robot: int, goes: int) -> int | None:
        """The doors between the robot's room and a fact that says where it goes."""
        if (robot, goes) not in self._doors:
            house, (predicate, _, target) = self.house, self.space.facts[goes.bit_length() - 1]
            sides = [target] if predicate == "in_room" else house.book.rooms
            to_door = goes if predicate == "near" else 0
            ways = [house.way(robot, self.space.bits([("in_room", ROBOT, side)]), to_door) for side in sides]
            self._doors[robot, goes] = next((way for way in ways if way is not None), None)
        return self._doors[robot, goes]

    def causes(self, low: int, makes_it: bool) -> tuple[int, int, bool]:
        """The actions that make a literal, themselves or by rules; what they all need; and whether rules alone do it."""
        makers, needs, plain = self._by_actions(low)
        rules = self.house.book.mechanics.rules
        for k, rule in enumerate(rules):
            if self.brings[k] & low and (makes_it or low >> self.n or (rule.opens and low & self.house.open[rule.opens])):
                makers |= self.starts[k]
                needs &= self.house.conditions[k]
        self._causes[low, makes_it] = found = makers, needs if makers else 0, not plain
        return found

    def _by_actions(self, low: int) -> tuple[int, int, bool]:
        """The actions that make a literal, plates included, what they all need, and whether there are any."""
        if any(low == door << self.n for door in self.house.open.values()):
            return -1, 0, True  # a door shuts when something ends, whatever ends it
        parts = low
        for loads, pressed in self.house.plates:
            parts = loads if low == pressed else loads << self.n if low == pressed << self.n else parts
        makers, needs = 0, -1
        for i in ones(parts):
            some, need = self.sources(1 << i)
            makers, needs = makers | some, needs & need if some else needs
        return makers, needs, bool(makers)

    def _about(self, name: str) -> int:
        """All facts about an object."""
        those = self.space.those
        return those("near", "", name) | those("holding", "", name) | those("on", name) | those("inside", name) | those("in_room", name)

    def _all_need(self, product: str) -> int:
        """What all rules need that make an object."""
        needs = -1
        for rule, condition in zip(self.house.book.mechanics.rules, self.house.conditions, strict=True):
            needs &= condition if rule.product == product else -1
        return needs

    def _brings(self, rule: Rule, about: dict[str, int]) -> int:
        """The literals that a rule may bring about."""
        space, found = self.space, self.house.open[rule.opens] if rule.opens else 0
        plates = self.house.plates
        for name in rule.consumes:
            found |= (about[name] | sum(pressed for loads, pressed in plates if about[name] & loads)) << self.n
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

    def _starts(self) -> list[int]:
        """The actions that can set off each rule, maybe by way of others."""
        found = []
        for condition in self.house.conditions:
            parts = condition | sum(loads for loads, pressed in self.house.plates if condition & pressed)
            found.append(0)
            for i in ones(parts):
                found[-1] |= self.space.common.makers(i)
        for _ in found:
            for k, condition in enumerate(self.house.conditions):
                for j, brings in enumerate(self.brings):
                    found[k] |= found[j] if brings & condition else 0
        return found
