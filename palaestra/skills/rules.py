"""What doors, lids and rules do, by name: which doors are on the way from room to room, and what happens once a call has ended.

`operators.ground` goes through this case by case, the oracle state by state, so neither can differ from the other. In short:

- A rule fires after a call after which its whole condition holds, of which something began. All rules that then hold fire
  at once; of two that take the same object the first one has it. What they bring about may complete further rules: these fire next.
- What is consumed must exist, that is, be in a room; what is made must not. All facts about consumed things end.
- `pressed(plate)` holds exactly while an object lies on the plate; `pressed(button)` never ends, and `pressed(toggle)` when a call ends it.
- A door or a hamper stays open for good, whoever opened it, unless one of its rules is not lasting: then it is open exactly while the
  condition of any of them holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

from palaestra.envs.mechanics import Mechanics, Rule
from palaestra.envs.names import ROBOT, Entity, Fact
from palaestra.envs.types import DOORS
from palaestra.envs.vocabulary import OWN
from palaestra.sim.errors import PalaestraError

PLAIN = Mechanics()  # of a house without doors and rules
CONDITIONS = ("near", "holding", "on", "pressed")  # what conditions speak of
OPENED = ("door", "hamper")  # kinds of what rules open


def has_mechanics(things: Sequence[Entity], mechanics: Mechanics) -> bool:
    """Whether there is anything in the house that doors and rules have a say in."""
    return bool(mechanics.doors or mechanics.rules) or any(t.type in ("plate", *DOORS) for t in things)


class Facts(Protocol):
    """A set of facts, or what stands for one."""

    def __contains__(self, fact: Fact, /) -> bool: ...

    def add(self, fact: Fact, /) -> None: ...

    def discard(self, fact: Fact, /) -> None: ...


class Rulebook:
    """The doors and rules of one house.

    Raises PalaestraError where a rule names what does not exist, or is of a form that has no meaning.
    """

    def __init__(self, things: Sequence[Entity], mechanics: Mechanics):
        self.kinds = {t.name: t.type for t in things}
        self.mechanics = mechanics
        self.rooms, self.plates = self._named("room"), self._named("plate")
        named = {name for way in mechanics.passages for name in way}.union(*({door.name, *door.rooms} for door in mechanics.doors))
        if unknown := sorted(named - self.kinds.keys()):
            raise PalaestraError(f"mechanics: got {', '.join(unknown)}, expected names of things in the house: {', '.join(self.kinds)}")
        for rule in mechanics.rules:
            self._check(rule)
        self.fickle: dict[str, list[Rule]] = {rule.opens: [] for rule in mechanics.rules if rule.opens and not rule.lasting}
        for rule in mechanics.rules:
            self.fickle.get(rule.opens, []).append(rule)
        self._on = {plate: [("on", x, plate) for x in self._named("object", "crate")] for plate in self.plates}
        self.loads = frozenset(fact for facts in self._on.values() for fact in facts)  # objects on plates
        self.watched = self.loads.union(*(rule.condition for rule in mechanics.rules))  # facts that something depends on

    def _named(self, *kinds: str) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def _check(self, rule: Rule) -> None:
        named = {name: ("object",) for name in (*rule.consumes, rule.product) if name} | ({rule.opens: OPENED} if rule.opens else {})
        for name, kinds in named.items():
            if self.kinds.get(name) not in kinds:
                fitting = ", ".join(self._named(*kinds)) or f"no {' or '.join(kinds)} is here"
                raise PalaestraError(f"{rule}: got {name!r}, expected one of: {fitting}")
        for predicate, *names in rule.condition:
            if predicate not in CONDITIONS or not self.kinds.keys() >= set(names):
                got = f"{predicate}({', '.join(names)})"
                raise PalaestraError(f"{rule}: got the condition {got}, expected {', '.join(CONDITIONS)} of things in the house")
        forms = {
            "a condition that always holds": not rule.condition,
            "nothing that it does": not named,
            "a product made of nothing": bool(rule.product) and not rule.consumes,
            "what is open for a while, and things that end for good": bool(rule.consumes) and not rule.lasting,
        }
        for got in (form for form, is_so in forms.items() if is_so):
            raise PalaestraError(f"{rule}: got {got}, expected facts, and a door, a hamper or objects that turn into another one")

    # --- doors ----------------------------------------------------------------------------------------------------

    def doors(self, start: str, room: str, target: str = "") -> frozenset[str] | None:
        """The doors on the way from a room to `target` in another; None where there is no way.

        A door is driven up to on the robot's own side, so it is a target in that of its two rooms alone.
        Without doors there is nothing in the way from any room to any other.
        """
        way = self._ways[start].get(room) if self.mechanics.doors else frozenset()
        if way is None or self.kinds.get(target) not in DOORS:
            return way
        sides = {door.name: door.rooms for door in self.mechanics.doors}
        return way if room in sides.get(target, ()) and target not in way else None

    @cached_property
    def _ways(self) -> dict[str, dict[str, frozenset[str]]]:
        """The doors on the way, from each room to each that can be got to."""
        beside: dict[str, list[tuple[str, frozenset[str]]]] = {room: [] for room in self.rooms}
        ways = [(a, b, frozenset[str]()) for a, b in self.mechanics.passages]
        for a, b, door in [*ways, *((*door.rooms, frozenset({door.name})) for door in self.mechanics.doors)]:
            beside[a].append((b, door))
            beside[b].append((a, door))
        found = {}
        for start in self.rooms:
            reached, queue = {start: frozenset[str]()}, [start]
            for room in queue:
                for other, door in beside[room]:
                    if other not in reached:
                        reached[other] = reached[room] | door
                        queue.append(other)
            found[start] = reached
        return found

    def kept_open(self, crate: str, doors: Iterable[str]) -> frozenset[Fact]:
        """The facts by which a crate itself keeps some of these doors open: pushed off its plate it cannot be pushed through them."""
        conditions = {fact for door in doors for rule in self.fickle.get(door, ()) for fact in rule.condition}
        loads = {("on", crate, plate): ("pressed", plate, plate) for plate in self.plates}
        return frozenset(load for load, pressed in loads.items() if not conditions.isdisjoint((load, pressed)))

    # --- rules ----------------------------------------------------------------------------------------------------

    def settled(self, facts: frozenset[Fact]) -> frozenset[Fact]:
        """The facts with all that rules make of them, before any call."""
        state = set(facts)
        self.settle(state, facts, self.watched - facts)
        return frozenset(state)

    def settle(self, state: Facts, began: Iterable[Fact], ended: Iterable[Fact]) -> None:
        """Let rules do their work on the state after a call; `began` and `ended` are the facts that may have changed.

        Raises PalaestraError where rules go on for ever.
        """
        fresh, over = set(began), set(ended)
        touched: set[Fact] = set()
        for _ in range(len(self.mechanics.rules) + 2):
            self._press(state, fresh, over)
            touched |= fresh | over
            fresh, over = self._fire(state, fresh)
            if not fresh and not over:
                break
        else:
            all_rules = "\n".join(map(str, self.mechanics.rules))
            raise PalaestraError(f"rules: got some that set each other off for ever, expected an end. Fix: drop one of\n{all_rules}")
        for door, rules in self.fickle.items():
            if any(fact in touched for rule in rules for fact in rule.condition):
                change = state.add if any(_holds(rule, state) for rule in rules) else state.discard
                change(("open", door, door))

    def _press(self, state: Facts, fresh: set[Fact], over: set[Fact]) -> None:
        """Plates go down and up; `fresh` and `over`, what began and ended, get to know."""
        for plate, loads in self._on.items():
            pressed = ("pressed", plate, plate)
            if any(fact in fresh and fact in state for fact in loads):
                state.add(pressed)
                fresh.add(pressed)
            elif any(fact in over for fact in loads) and not any(fact in state for fact in loads):
                state.discard(pressed)
                over.add(pressed)

    def _fire(self, state: Facts, fresh: set[Fact]) -> tuple[set[Fact], set[Fact]]:
        """Fire the rules that `fresh` facts complete; what begins and what ends by that."""
        begins: set[Fact] = set()
        ends: set[Fact] = set()
        gone: set[str] = set()
        able = [rule for rule in self.mechanics.rules if not fresh.isdisjoint(rule.condition) and _holds(rule, state)]
        for rule in able:
            place = self._place(rule, state) if rule.consumes and gone.isdisjoint(rule.consumes) else None
            if rule.consumes and place is None:
                continue
            if rule.opens and rule.opens not in self.fickle:
                state.add(("open", rule.opens, rule.opens))
            for name in rule.consumes:
                gone.add(name)
                for fact in self.about[name]:
                    if fact not in self.loads or fact in state:
                        ends.add(fact)
                    state.discard(fact)
            for fact in place or ():
                state.add(fact)
                begins.add(fact)
        return begins, ends - begins

    def _place(self, rule: Rule, state: Facts) -> list[Fact] | None:
        """What will hold of the product, which appears where the last of the consumed things is; None if the rule cannot fire."""
        named = {name for fact in rule.condition for name in fact[1:]}
        makers = sum(other.product == rule.product for other in self.mechanics.rules)
        if not all(name in named or self._room(name, state) for name in rule.consumes):
            return None
        if not rule.product:
            return []
        if makers > 1 and self._room(rule.product, state):
            return None
        last, product = rule.consumes[-1], rule.product
        held = ("holding", ROBOT, last) in state
        under = None if held else next((f for f in self.about[last] if f[0] in ("on", "inside") and f in state), None)
        room = self._room(ROBOT if held else under[2] if under else last, state)
        if room is None:
            return None
        place = [("in_room", product, room)] + ([(under[0], product, under[2])] if under else [])
        return [*place, ("near", ROBOT, product)] if held or ("near", ROBOT, last) in state else place

    def _room(self, name: str, state: Facts) -> str | None:
        return next((room for room in self.rooms if ("in_room", name, room) in state), None)

    @cached_property
    def about(self) -> Mapping[str, list[Fact]]:
        """All facts about each object that rules consume."""
        names = dict.fromkeys(name for rule in self.mechanics.rules for name in rule.consumes)
        own = [(p, s, t) for p, d in OWN.items() for s in self._named(*d.subjects) for t in self._named(*d.targets)]
        tables, bins = self._named("table", "plate", "shelf"), self._named("bin", "drawer", "hamper")
        return {
            x: [
                ("holding", ROBOT, x),
                ("near", ROBOT, x),
                *(("on", x, t) for t in tables),
                *(("inside", x, b) for b in bins),
                *(("in_room", x, r) for r in self.rooms),
                *(fact for fact in own if x in fact[1:]),
            ]
            for x in names
        }


def _holds(rule: Rule, state: Facts) -> bool:
    return all(fact in state for fact in rule.condition)
