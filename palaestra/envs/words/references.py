"""What words can mean in one scene: its things, where they are at the start, and the descriptions that fit exactly some of them."""

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import house
from palaestra.envs.names import ROBOT, Entity, entities
from palaestra.envs.types import BUTTONS, DOORS, Scene, receptacle_boxes
from palaestra.envs.words import compass
from palaestra.envs.words.compass import Point
from palaestra.envs.words.wordings import MORE_KINDS, NOUNS, PLURALS, RELATIONS, SIZES, Taste
from palaestra.sim import bodies
from palaestra.sim.world import WorldSpec

OBJECTS, RECEPTACLES = ("cube", "ball"), ("table", "shelf", "plate", "bin", "hamper", "drawer")
FIXED = (*RECEPTACLES, *BUTTONS)  # kinds of things that stay where they are, in one room
MOVED = (*OBJECTS, "crate")  # and of those that are carried or pushed elsewhere


@dataclass(frozen=True)
class Place:
    """Where a thing is at the start."""

    room: str = ""  # doors are in none,
    receptacle: str = ""  # the receptacle that it lies on or in
    held: bool = False  # in the robot's hand
    between: tuple[str, ...] = ()  # but between two
    at: Point = (0.0, 0.0)  # m, world


def _start_places(spec: WorldSpec, scene: Scene, things: tuple[Entity, ...]) -> dict[str, Place]:
    """Where everything but the rooms is at the start, by name, in a scene of NumPy's. Objects that rules make are nowhere yet."""
    layout, names = scene.layout, {e.index: e.name for e in things}
    centre, half, height = receptacle_boxes(spec, scene)
    doorways, objects = scene.leaf_doorway, layout.object_pos
    at: Any = np.concatenate([layout.robot_q[None, :2], objects[:, :2], centre, scene.door[doorways], layout.button_pos])
    rooms = dict(zip(np.flatnonzero(scene.room_used).tolist(), _rooms(things), strict=True))
    room = house.room_of(scene, at).tolist()
    there = {1 + i for i in np.flatnonzero(layout.object_used).tolist()} - {1 + i for i in scene.rules.product.tolist()}
    above = objects[:, None, 2] < height + 2 * layout.object_half[:, None]
    over = (abs(objects[:, None, :2] - centre) <= half).all(-1) & above  # [O, receptacles]
    first_leaf = 1 + spec.objects + spec.receptacles
    holding = held(spec, scene)
    places = {}
    for e in (e for e in things if e.kind != "room"):
        x, y = at[e.index].tolist()
        if e.type == "object" and e.index not in there:
            continue
        if e.kind in DOORS:
            first, second = scene.door_rooms[doorways[e.index - first_leaf]].tolist()
            places[e.name] = Place(between=(rooms[first], rooms[second]), at=(x, y))
            continue
        below = over[e.index - 1] if e.kind in MOVED else ()
        receptacle = names[1 + spec.objects + int(np.argmax(below))] if np.any(below) else ""
        places[e.name] = Place(rooms[room[e.index]], receptacle, e.index == holding, at=(x, y))
    return places


def _rooms(things: tuple[Entity, ...]) -> list[str]:
    return [e.name for e in things if e.kind == "room"]


def held(spec: WorldSpec, scene: Scene) -> int:
    """The object in the robot's hand at the start, as an entity; -1 where the fingers are open. On the host, for one scene."""
    lay, q = scene.layout, np.asarray(scene.layout.robot_q)
    if q[4] <= 0:
        return -1
    offset = np.asarray(lay.object_pos) - np.asarray(bodies.body(spec.body).grip_position(jnp.asarray(q)))
    distance = np.where(np.asarray(lay.object_used), np.linalg.norm(offset, axis=-1), np.inf)
    return 1 + int(distance.argmin())


@dataclass(frozen=True)
class Things:
    """What there is in a scene, on the host."""

    entities: tuple[Entity, ...]
    places: dict[str, Place]
    rooms: dict[str, Point] = field(default_factory=dict)  # m, their middles

    @classmethod
    def of(cls, spec: WorldSpec, scene: Scene) -> "Things":
        """What there is in one scene, without a batch axis, at the start."""
        scene = jax.tree.map(np.asarray, scene)
        things = entities(spec, scene)
        corners = scene.room[scene.room_used]
        middles = [(x, y) for x, y in ((corners[:, :2] + corners[:, 2:]) / 2).tolist()]
        return cls(things, _start_places(spec, scene, things), dict(zip(_rooms(things), middles, strict=True)))

    def __getitem__(self, name: str) -> Entity:
        return next(e for e in self.entities if e.name == name)

    def names(self, *kinds: str) -> tuple[str, ...]:
        return tuple(e.name for e in self.entities if e.kind in kinds)

    @cached_property
    def sides(self) -> dict[str, tuple[str, ...]]:
        """On which sides of the house each room may be said to be: "north", "south east"."""
        return compass.sides(self.rooms)

    def related(self, relation: str, anchor: str, names: tuple[str, ...]) -> tuple[str, ...]:
        """Which of these things may be said to be so to the anchor: "west" of it, in the same room, or the "nearest" to it of all."""
        if anchor not in self.places:
            return ()
        to, others = self.places[anchor], {name: self.places[name] for name in names if name in self.places and name != anchor}
        near = {name: place.at for name, place in others.items() if relation == "nearest" or place.room == to.room != ""}
        return compass.related(relation, to.at, near)

    def descriptions(self, names: tuple[str, ...]) -> list["Description"]:
        """All descriptions that fit these things and nothing else, the shortest first, without relations."""
        meant = [self[name] for name in names]
        rooms = {self.places[e.name].room if e.name in self.places else "" for e in meant}
        receptacles = {self.places[e.name].receptacle if e.kind in MOVED and e.name in self.places else "" for e in meant}
        choices = [
            [noun for noun in NOUNS if all(e.kind in kinds_of(noun) for e in meant)],
            sorted({"", *({e.colour for e in meant} if len({e.colour for e in meant}) == 1 else ())}),
            sorted({"", *({e.size for e in meant} if len({e.size for e in meant}) == 1 else ())}),
            sorted({"", *(rooms if len(rooms) == 1 else ()), *(receptacles if len(receptacles) == 1 else ())}),
        ]
        found = itertools.starmap(Description, itertools.product(*choices))
        exact = [d for d in found if set(self.fitting(d)) == set(names)]
        return sorted(exact, key=lambda d: (sum(map(bool, (d.colour, d.size, d.place))), bool(d.place), len(d.noun)))

    def relations(self, name: str) -> list["Description"]:
        """Descriptions of one thing by its relation to another one that is fixed in its room, which fit it clearly and alone.

        Only those of which the relation is the point: without it, they would fit other things, too.
        """
        thing, place = self[name], self.places.get(name)
        if place is None or not place.room or name == ROBOT:
            return []
        found = []
        for noun, colour, size in itertools.product((thing.kind,), ("", thing.colour), sorted({"", thing.size})):
            alike = self.fitting(Description(noun, colour, size))
            if len(alike) == 1:
                continue
            for anchor, relation in itertools.product(self.names(*FIXED), RELATIONS):
                to = self.places[anchor]
                clear = to.room == place.room and anchor != place.receptacle and compass.clear(relation, to.at, place.at)
                if clear and self.related(relation, anchor, alike) == (name,):
                    found.append(Description(noun, colour, size, "", relation, anchor))
        return found

    def vague(self, name: str) -> list[tuple["Description", tuple[str, ...]]]:
        """Descriptions of an object that fit other objects, too, and all that they fit."""
        thing = self[name]
        choices = itertools.product((thing.kind, " ".join(OBJECTS)), ("", thing.colour), ("", thing.size))
        found = {d: self.fitting(d) for d in itertools.starmap(Description, choices)}
        return [(description, fits) for description, fits in found.items() if len(fits) > 1]

    def fitting(self, description: "Description") -> tuple[str, ...]:
        """The names of all things that a description fits, its relation left aside."""
        return tuple(e.name for e in self.entities if self._fits(e, description))

    def _fits(self, thing: Entity, description: "Description") -> bool:
        place = self.places.get(thing.name)
        return (
            thing.kind in kinds_of(description.noun)
            and description.colour in ("", thing.colour)
            and description.size in ("", thing.size)
            and (not description.place or (place is not None and description.place in (place.room, place.receptacle, *place.between)))
        )


@dataclass(frozen=True)
class Description:
    """What is said of one or several things."""

    noun: str  # a key of NOUNS
    colour: str = ""
    size: str = ""
    place: str = ""  # the room or receptacle where it is at the start
    relation: str = ""  # a key of RELATIONS: how it is to
    anchor: str = ""  # another thing of its room

    def phrase(self, taste: Taste, plural: bool = False, where: str = "") -> str:
        """Without an article: "small red cubes from the kitchen", "table in the study"; `where` instead of the place's name."""
        size = taste.row(SIZES[self.size]) if self.size else ""
        noun = taste.row(NOUNS[self.noun])
        noun = PLURALS.get(noun, f"{noun}s") if plural else noun
        words = [word for word in (size, self.colour, noun) if word]
        if self.relation:
            words.append(f"{taste.row(RELATIONS[self.relation])} {noun_phrase(self.anchor)}")
        if self.place:
            fixed = set(self.noun.split()) <= set(FIXED) or self.relation
            words.append(f"{'in' if fixed else 'from'} {where or noun_phrase(self.place)}")
        return " ".join(words)


def kinds_of(noun: str) -> tuple[str, ...]:
    """The kinds of things that a key of NOUNS stands for: a swing door is a door."""
    return tuple(kind for said in noun.split() for kind in (said, *MORE_KINDS.get(said, ())))


def noun_phrase(name: str) -> str:
    """`small_red_cube` -> "the small red cube"."""
    return "the " + name.replace("_", " ")


def listing(words: list[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
