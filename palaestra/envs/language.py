"""Tasks in English: instructions with many wordings, scenes in sentences, goals in short phrases.

Everything is phrased from facts, (predicate, subject's name, target's name) as in `palaestra.envs.names`, and a wording is a row
of a table here. What `render` writes, `palaestra.envs.parser` reads back.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals, house
from palaestra.envs.names import ROBOT, Entity, Fact, entities
from palaestra.envs.types import Scene, Task, receptacle_boxes
from palaestra.sim.world import WorldSpec

PLACING = ("on", "inside")  # predicates about where an object is

# {x} is what is moved, {y} where to, or what the robot is to be near, in or holding; {it} and {is} agree with {x} in number.
# The first of each row is the plain one.
WORDINGS: dict[str, tuple[str, ...]] = {
    "on": (
        "put {x} on {y}",
        "place {x} on {y}",
        "place {x} on top of {y}",
        "set {x} down on {y}",
        "move {x} to {y}",
        "move {x} onto {y}",
        "bring {x} to {y}",
        "take {x} to {y}",
        "carry {x} over to {y}",
        "get {x} onto {y}",
        "leave {x} on {y}",
        "make sure that {x} {is} on {y}",
        "pick up {x} and put {it} on {y}",
        "take {x} and set {it} on {y}",
        "grab {x} and place {it} on {y}",
    ),
    "inside": (
        "put {x} in {y}",
        "put {x} into {y}",
        "place {x} in {y}",
        "place {x} inside {y}",
        "drop {x} in {y}",
        "drop {x} into {y}",
        "move {x} into {y}",
        "bring {x} to {y}",
        "take {x} to {y}",
        "get {x} into {y}",
        "make sure that {x} {is} in {y}",
        "pick up {x} and drop {it} into {y}",
        "take {x} and put {it} in {y}",
        "grab {x} and put {it} into {y}",
    ),
    "near": (
        "go to {y}",
        "go over to {y}",
        "drive to {y}",
        "drive up to {y}",
        "head to {y}",
        "move next to {y}",
        "stand next to {y}",
        "stop beside {y}",
        "park by {y}",
        "end up next to {y}",
    ),
    "in_room": (
        "go into {y}",
        "go to {y}",
        "drive to {y}",
        "drive into {y}",
        "enter {y}",
        "move into {y}",
        "head to {y}",
        "make your way to {y}",
        "be in {y} at the end",
        "end up in {y}",
    ),
    "holding": (
        "pick up {y}",
        "grab {y}",
        "take hold of {y}",
        "hold {y}",
        "end up holding {y}",
        "be holding {y} at the end",
        "pick up {y} and keep holding it",
    ),
}


class Join(NamedTuple):
    """How clauses are joined: what comes first, between two, and between more, before the last one and before the others."""

    opening: str
    pair: str
    between: str
    last: str


JOINS = (
    Join("", ", then ", ", then ", ", and then "),
    Join("", " and ", ", ", " and "),
    Join("", " and then ", ", ", ", and finally "),
    Join("", ". ", ". ", ". "),
    Join("", ". Then ", ". Then ", ". Finally, "),
    Join("", ". After that, ", ". Next, ", ". After that, "),
    Join("first ", ", then ", ", then ", ", and finally "),
    Join("first ", ". Then ", ", then ", ". After that, "),
)
ADDRESSES = ("", "please ", "robot, ")
_ONE, _MANY = {"it": "it", "is": "is"}, {"it": "them", "is": "are"}
_DETAIL = 0.12  # the probability of a true but needless size, and of where a thing is


@dataclass(frozen=True)
class Place:
    """Where a thing is at the start."""

    room: str
    receptacle: str = ""  # the table or bin that it lies on or in


def start_places(spec: WorldSpec, scene: Scene) -> dict[str, Place]:
    """Where everything but the rooms is at the start, by name; on the host."""
    things = entities(spec, scene)
    layout, first_receptacle = scene.layout, 1 + spec.objects
    centre, half, height = (np.asarray(a) for a in receptacle_boxes(spec, scene))
    at = np.concatenate([np.asarray(layout.robot_q)[None, :2], np.asarray(layout.object_pos)[:, :2], centre])
    room = np.asarray(house.room_of(scene, jnp.asarray(at))) + first_receptacle + spec.receptacles
    names = {e.index: e.name for e in things}
    places = {}
    for e in things:
        if e.kind == "room":
            continue
        receptacle = ""
        if e.type == "object":
            above = np.asarray(layout.object_pos)[e.index - 1, 2] < height + 2 * np.asarray(layout.object_half)[e.index - 1]
            over = (np.abs(at[e.index] - centre) <= half).all(-1) & above
            receptacle = names[first_receptacle + int(over.argmax())] if over.any() else ""
        places[e.name] = Place(names[int(room[e.index])], receptacle)
    return places


# --- phrases ------------------------------------------------------------------------------------------------------


def noun_phrase(name: str) -> str:
    """`small_red_cube` -> "the small red cube"."""
    return "the " + name.replace("_", " ")


def _relation(receptacle: str) -> str:
    return "in" if receptacle.endswith("bin") else "on"


def describe_goal(spec: WorldSpec, task: Task) -> list[str]:
    """A short phrase a term: "red_cube on blue_table", "robot in kitchen"."""
    return goals.describe(goals.formula(spec, task))


def clauses(fact: Fact) -> list[str]:
    """All wordings of a literal, the plain one first: "put the red cube on the blue table"."""
    predicate, subject, target = fact
    return [wording.format(x=noun_phrase(subject), y=noun_phrase(target), **_ONE) for wording in WORDINGS[predicate]]


def sentence(parts: list[str], join: Join = JOINS[0], address: str = "") -> str:
    """Clauses as an instruction: joined, with capitals and a full stop."""
    *most, last = parts
    link = join.pair if len(most) == 1 else join.last
    text = join.opening + join.between.join(most) + link + last if most else last
    return re.sub(r"(^|\. )([a-z])", lambda m: m[1] + m[2].upper(), address + text) + "."


def listing(words: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


# --- instructions -------------------------------------------------------------------------------------------------


def render(spec: WorldSpec, task: Task, seed: int = 0) -> str:
    """An English instruction for the task's goal; `seed` chooses among the many.

    Objects are placed first, in any order; what the robot itself is to do comes last.
    """
    rng = np.random.default_rng(seed)
    things = {e.name: e for e in entities(spec, task.scene)}
    places = start_places(spec, task.scene)
    facts = goals.formula(spec, task).literals or []
    placing = [fact for fact in facts if fact[0] in PLACING]
    order = [placing[i] for i in rng.permutation(len(placing))] + [fact for fact in facts if fact[0] not in PLACING]
    parts = [_clause(rng, group, things, places) for group in _groups(rng, order)]
    joins = [join for join in JOINS if join.pair != " and " or not any(" and " in part for part in parts)]
    return sentence(parts, joins[rng.integers(len(joins))], str(rng.choice(ADDRESSES, p=(0.7, 0.2, 0.1))))


def _groups(rng: np.random.Generator, facts: list[Fact]) -> list[list[Fact]]:
    """What goes to the same place may share a clause: "put the red cube and the green ball in the blue bin"."""
    groups: list[list[Fact]] = []
    together = rng.random() < 0.5
    for fact in facts:
        same = [g for g in groups if fact[0] in PLACING and g[0][::2] == fact[::2]]
        if together and same:
            same[0].append(fact)
        else:
            groups.append([fact])
    return groups


def _clause(rng: np.random.Generator, group: list[Fact], things: dict[str, Entity], places: dict[str, Place]) -> str:
    predicate, _, target = group[0]
    template = WORDINGS[predicate][rng.integers(len(WORDINGS[predicate]))]
    objects = [_reference(rng, things[subject], places, "from") for _, subject, _ in group if subject != ROBOT]
    y = _reference(rng, things[target], places, "from" if predicate == "holding" else "in")
    return template.format(x=listing(objects) if objects else "", y=y, **(_ONE if len(group) == 1 else _MANY))


def _reference(rng: np.random.Generator, thing: Entity, places: dict[str, Place], link: str) -> str:
    """A noun phrase, at times with a true detail: "the small red cube from the kitchen"; `link` is "from" or "in"."""
    detail_size, detail_place, by_table = rng.random(3) < (_DETAIL, _DETAIL, 0.5)
    name = thing.name
    if detail_size and thing.size and not name.startswith(thing.size):
        name = f"{thing.size}_{name}"
    phrase, place = noun_phrase(name), places.get(thing.name)
    if place is None or not detail_place:
        return phrase
    if place.receptacle and by_table:
        return f"{phrase} {link if link == 'from' else _relation(place.receptacle)} {noun_phrase(place.receptacle)}"
    return f"{phrase} {link} {noun_phrase(place.room)}" if len({p.room for p in places.values()}) > 1 else phrase


# --- scenes -------------------------------------------------------------------------------------------------------


def describe(spec: WorldSpec, scene: Scene) -> str:
    """The scene at the start in a few plain sentences: rooms, and what is where."""
    rooms = [e.name for e in entities(spec, scene) if e.kind == "room"]
    places = start_places(spec, scene)
    count = "one room" if len(rooms) == 1 else f"{len(rooms)} rooms"
    lines = [f"The house has {count}: {listing([noun_phrase(room) for room in rooms])}."]
    lines.append(f"The robot is in {noun_phrase(places[ROBOT].room)}.")
    for room in rooms:
        here = [noun_phrase(name) for name, place in places.items() if place.room == room and name != ROBOT]
        verb = "are" if len(here) > 1 else "is"
        lines.append(f"In {noun_phrase(room)} {verb} {listing(here) if here else 'nothing'}.")
    resting = {name: place.receptacle for name, place in places.items() if place.receptacle}
    for name, receptacle in resting.items():
        lines.append(f"{noun_phrase(name).capitalize()} is {_relation(receptacle)} {noun_phrase(receptacle)}.")
    objects = [e.name for e in entities(spec, scene) if e.type == "object"]
    if len(resting) < len(objects):
        rest = "The other objects are" if resting else "All objects are" if len(objects) > 1 else "The object is"
        lines.append(f"{rest} on the floor.")
    return " ".join(lines)
