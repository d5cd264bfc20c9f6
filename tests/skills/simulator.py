"""Doors of both kinds, hampers, buttons, toggles, plates and rules once more, from their description alone: for tests to compare with.

And random houses that have them.
"""

import random
from collections import deque
from dataclasses import dataclass, replace

from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Door, Mechanics, Rule
from palaestra.envs.names import ROBOT, Entity, Fact
from palaestra.skills.operators import Call


class Endless(Exception):
    """Rules that set each other off for ever."""


@dataclass(frozen=True)
class House:
    things: tuple[Entity, ...]
    mechanics: Mechanics
    facts: frozenset[Fact]  # at the start

    @property
    def kinds(self) -> dict[str, str]:
        return {t.name: t.type for t in self.things}

    def of(self, *kinds: str) -> list[str]:
        return [t.name for t in self.things if t.type in kinds]

    def calls(self) -> list[Call]:
        found = [Call("navigate", {"target": t.name}) for t in self.things[1:]]
        found += [Call("pick", {"object": x}) for x in self.of("object")]
        receptacles = self.of("table", "bin", "plate", "hamper", "shelf")
        found += [Call("place", {"object": x, "receptacle": r}) for x in self.of("object") for r in receptacles]
        found += [Call("push_open", {"door": d}) for d in self.of("swing")]
        to = self.of("table", "shelf", "bin", "hamper", "button", "toggle", "plate", "room")
        found += [Call("push", {"crate": x, "target": t}) for x in self.of("crate") for t in to]
        found += [Call(skill, {"toggle": b}) for b in self.of("toggle") for skill in ("turn_on", "turn_off")]
        return found + [Call("press", {"button": b}) for b in self.of("button")]


def make(rooms: dict[str, str], robot: str, mechanics: Mechanics, *more: Fact, objects: tuple[str, ...] = (), others: str = "") -> House:
    """A house: which thing is in which room, where the robot is, what else holds, which objects do not exist yet, and rooms with
    nothing in them."""
    names = {ROBOT: "robot"} | {name: name.rpartition("_")[2] for name in (*rooms, *objects, *(d.name for d in mechanics.doors))}
    names |= dict.fromkeys(sorted({*rooms.values(), robot, *others.split()}), "room")
    things = tuple(Entity(i, name, kind) for i, (name, kind) in enumerate(names.items()))
    facts = {("in_room", name, room) for name, room in rooms.items()} | {("in_room", ROBOT, robot), *more}
    return House(things, mechanics, frozenset(facts))


# --- the simulator ------------------------------------------------------------------------------------------------


def reachable(house: House, facts: frozenset[Fact], start: str) -> set[str]:
    """The rooms that can be driven to."""
    ways = [*house.mechanics.passages, *(d.rooms for d in house.mechanics.doors if ("open", d.name, d.name) in facts)]
    if not house.mechanics.doors:
        return set(house.of("room"))
    found = {start}
    while more := {b for way in ways for a, b in (way, way[::-1]) if a in found and b not in found}:
        found |= more
    return found


def step(house: House, facts: frozenset[Fact], call: Call) -> frozenset[Fact] | None:
    """What holds after a call; None if it cannot be made."""
    kinds, state = house.kinds, set(facts)
    room = {s: t for p, s, t in facts if p == "in_room"}
    held = next((t for p, _, t in facts if p == "holding"), None)
    near = {t for p, s, t in facts if (p, s) == ("near", ROBOT)}
    args = list(call.args.values())
    if call.skill == "navigate":
        (target,) = args
        rooms = reachable(house, facts, room[ROBOT])
        if kinds[target] == "room":
            ends_in = target
        elif kinds[target] in ("door", "swing"):
            (door,) = (d for d in house.mechanics.doors if d.name == target)
            sides = [r for r in door.rooms if r in rooms]
            if ("open", target, target) in facts or not sides:
                return None
            (ends_in,) = sides
        else:
            if target not in room or target == held:
                return None
            ends_in = room[target]
        if ends_in not in rooms:
            return None
        for mover in (ROBOT, held) if held else (ROBOT,):
            state -= {("in_room", mover, r) for r in house.of("room")}
            state.add(("in_room", mover, ends_in))
        state -= {("near", ROBOT, x) for x in near if x != held}
        if kinds[target] != "room":
            state.add(("near", ROBOT, target))
    elif call.skill == "pick":
        (x,) = args
        if held or x not in near or any(p == "inside" and s == x for p, s, _ in facts):
            return None
        state = {f for f in state if not (f[0] == "on" and f[1] == x)} | {("holding", ROBOT, x)}
    elif call.skill == "place":
        x, receptacle = args
        if held != x or receptacle not in near or (kinds[receptacle] == "hamper" and ("open", receptacle, receptacle) not in facts):
            return None
        state -= {("holding", ROBOT, x)}
        state.add(("inside" if kinds[receptacle] in ("bin", "hamper") else "on", x, receptacle))
    elif call.skill == "push_open":
        (door,) = args
        if door not in near or ("open", door, door) in facts:
            return None
        state.add(("open", door, door))
    elif call.skill == "push":
        x, target = args
        ends_in = target if kinds[target] == "room" else room[target]
        if held or x not in near or ends_in not in reachable(house, facts, room[ROBOT]):
            return None
        # A door on the way that is open only because the crate lies on a plate shuts before the crate is there.
        for door in house.mechanics.doors:
            rules = [rule for rule in house.mechanics.rules if rule.opens == door.name]
            its = {("on", x, p) for p in house.of("plate") if ("on", x, p) in facts}
            its |= {("pressed", p, p) for _, _, p in its}
            held_open = not all(rule.lasting for rule in rules) and any(its & set(rule.condition) for rule in rules)
            if held_open and ends_in not in reachable(house, facts - {("open", door.name, door.name)}, room[ROBOT]):
                return None
        state = {
            f for f in state if not (f[1] == x and f[0] in ("near", "on", "in_room")) and f[:2] not in (("near", ROBOT), ("in_room", ROBOT))
        }
        state |= {("near", ROBOT, x), ("in_room", ROBOT, ends_in), ("in_room", x, ends_in)}
        if kinds[target] != "room":
            state.add(("on" if kinds[target] == "plate" else "near", x, target))
    else:
        (button,) = args
        if held or button not in near:
            return None
        if call.skill != "press" and (("pressed", button, button) in facts) == (call.skill == "turn_on"):
            return None
        state ^= {("pressed", button, button)} if call.skill == "turn_off" else {("pressed", button, button)} - state
    return settle(house, frozenset(state))


def settle(house: House, facts: frozenset[Fact]) -> frozenset[Fact]:
    """What rules make of the facts."""
    state, rules = set(facts), house.mechanics.rules
    fickle = {rule.opens for rule in rules if not rule.lasting}

    def exists(name: str) -> bool:
        return any(p == "in_room" and s == name for p, s, _ in state)

    def plates() -> None:
        for plate in house.of("plate"):
            state.discard(("pressed", plate, plate))
            if any(p == "on" and t == plate for p, _, t in state):
                state.add(("pressed", plate, plate))

    plates()
    for _ in range(20):
        firing = [
            rule
            for rule in rules
            if all(fact in state for fact in rule.condition)
            and all(map(exists, rule.consumes))
            and not (rule.product and exists(rule.product))
            and (rule.consumes or (rule.opens not in fickle and ("open", rule.opens, rule.opens) not in state))
        ]
        if not firing:
            break
        for rule in firing:
            if not all(map(exists, rule.consumes)) or (rule.product and exists(rule.product)):
                continue  # another rule was first
            if rule.opens and rule.opens not in fickle:
                state.add(("open", rule.opens, rule.opens))
            if rule.consumes:
                last = rule.consumes[-1]
                place = {(p, rule.product, t) for p, s, t in state if s == last and p in ("in_room", "on", "inside")}
                place |= {("near", ROBOT, rule.product) for p, _, t in state if p in ("near", "holding") and t == last}
                state = {f for f in state if not {*f[1:]} & {*rule.consumes}} | (place if rule.product else set())
        plates()
    else:
        raise Endless
    for door in fickle:
        state.discard(("open", door, door))
        if any(rule.opens == door and all(fact in state for fact in rule.condition) for rule in rules):
            state.add(("open", door, door))
    return frozenset(state)


def shortest(house: House, goal: Formula, most: int = 30_000) -> int | None:
    """The length of the shortest plan, by breadth-first search; None if there is none. Raises Endless after `most` states."""
    calls, facts = house.calls(), settle(house, house.facts)
    start = (facts, goal.onward(0, facts))
    queue, seen = deque([(start, 0)]), {start}
    while queue:
        (facts, stage), steps = queue.popleft()
        if stage == len(goal.stages):
            return steps
        if len(seen) > most:
            raise Endless
        for call in calls:
            after = step(house, facts, call)
            if after is not None and goal.allowed(after):
                node = (after, goal.onward(stage, after))
                if node not in seen:
                    seen.add(node)
                    queue.append((node, steps + 1))
    return None


# --- random houses ------------------------------------------------------------------------------------------------


def random_house(
    rng: random.Random,
    rooms: int = 3,
    objects: int = 3,
    rules: int = 3,
    hampers: int = 0,
    swings: float = 0.0,
    crates: int = 0,
    toggles: int = 0,
) -> House:
    """A tree of rooms, some doorways with doors, things anywhere, rules of all kinds, solvable or not; with hampers, a shelf as well.

    `swings`: the share of doors that are swing doors.
    """
    names = ["kitchen", "study", "lounge", "pantry"][:rooms]
    ways = [(names[rng.randrange(i)], names[i]) for i in range(1, rooms)]
    colours = ["red", "blue", "green", "yellow"]
    shut = [way for way in ways if rng.random() < 0.6]
    kinds = ["swing" if swings and rng.random() < swings else "door" for _ in shut]
    doors = tuple(Door(f"{colour}_{kind}", way) for colour, kind, way in zip(colours, kinds, shut, strict=False))
    locked = [door for door in doors if door.name.endswith("door")]
    here = [f"{c}_object" for c in colours[:objects]]
    unmade = ["purple_object", "white_object"][: rng.randint(0, 2)]
    fixed = rng.sample(["red_table", "blue_table", "red_plate", "green_plate", "red_bin", "red_button", "blue_button"], rng.randint(3, 5))
    lidded = ["red_hamper", "blue_hamper"][:hampers]
    fixed += [*lidded, "red_shelf"] if hampers else []
    fixed += ["red_toggle", "blue_toggle"][:toggles]
    where = {name: rng.choice(names) for name in (*here, *fixed)}
    more: list[Fact] = [("pressed", t, t) for t in fixed if t.endswith("toggle") and rng.random() < 0.4]
    for x in here:
        spot = rng.choice([None, *(f for f in fixed if not f.endswith(("button", "toggle")))])
        if spot and rng.random() < 0.4:
            where[x] = where[spot]
            more.append(("inside" if spot.endswith(("bin", "hamper")) else "on", x, spot))
    for x in [f"{c}_crate" for c in colours[:crates]]:
        where[x] = rng.choice(names)
        spot = rng.choice([None, *(f for f in fixed if not f.endswith("button"))])
        if spot and rng.random() < 0.6:
            where[x] = where[spot]
            more.append(("on" if spot.endswith("plate") else "near", x, spot))
    robot = rng.choice(names)
    free = [x for x in here if not any(f[1] == x for f in more)]
    if free and rng.random() < 0.3:
        where[free[0]] = robot
        more += [("near", ROBOT, free[0])] + ([("holding", ROBOT, free[0])] if rng.random() < 0.5 else [])
    tables = [f for f in fixed if f.endswith(("table", "plate", "shelf"))]
    conditions: list[Fact] = [("pressed", b, b) for b in fixed if b.endswith(("button", "plate"))] * 2
    conditions += [("pressed", t, t) for t in fixed if t.endswith("toggle")] * 4
    conditions += [("holding", ROBOT, x) for x in here] + [("near", ROBOT, x) for x in (*here, *unmade, *(d.name for d in doors))]
    conditions += [("on", x, t) for x in here for t in tables] + [("near", ROBOT, h) for h in lidded]
    more += [("open", h, h) for h in lidded if rng.random() < 0.3]
    opened = [*(d.name for d in locked), *lidded * 2]
    made = []
    for _ in range(rng.randint(1, rules)):
        condition = tuple(rng.sample(conditions, min(rng.randint(1, 2), len(conditions))))
        eaten = list(dict.fromkeys(name for f in condition for name in f[1:] if name in here))
        if opened and (not eaten or rng.random() < 0.6):
            door = rng.choice(opened)
            lasting = rng.random() < 0.6
            made.append(Rule(condition, opens=door, lasting=lasting, consumes=tuple(eaten) if lasting and rng.random() < 0.2 else ()))
        elif eaten:
            rng.shuffle(eaten)
            made.append(Rule(condition, consumes=tuple(eaten), product=rng.choice([*unmade, *unmade, ""])))
    mechanics = Mechanics(tuple(way for way in ways if way not in shut), doors, tuple(made))
    house = make(where, robot, mechanics, *more, objects=tuple(unmade), others=" ".join(names))
    return replace(house, facts=settle(house, house.facts))
