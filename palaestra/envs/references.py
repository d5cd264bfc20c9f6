"""What words can mean in one scene: its things, where they are at the start, and the descriptions that fit exactly some of them."""

import itertools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from palaestra.envs import house
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import Scene, receptacle_boxes
from palaestra.envs.wordings import NOUNS, SIZES, Taste
from palaestra.sim import bodies
from palaestra.sim.world import WorldSpec

OBJECTS, RECEPTACLES = ("cube", "ball"), ("table", "bin")


@dataclass(frozen=True)
class Place:
    """Where a thing is at the start."""

    room: str
    receptacle: str = ""  # the table or bin that it lies on or in
    held: bool = False  # in the robot's hand


def start_places(spec: WorldSpec, scene: Scene) -> dict[str, Place]:
    """Where everything but the rooms is at the start, by name; on the host."""
    things = entities(spec, scene)
    layout, first_receptacle = scene.layout, 1 + spec.objects
    centre, half, height = (np.asarray(a) for a in receptacle_boxes(spec, scene))
    at = np.concatenate([np.asarray(layout.robot_q)[None, :2], np.asarray(layout.object_pos)[:, :2], centre])
    room = np.asarray(house.room_of(scene, jnp.asarray(at))) + first_receptacle + spec.receptacles
    names = {e.index: e.name for e in things}
    holding = held(spec, scene)
    places = {}
    for e in things:
        if e.kind == "room":
            continue
        receptacle = ""
        if e.type == "object":
            above = np.asarray(layout.object_pos)[e.index - 1, 2] < height + 2 * np.asarray(layout.object_half)[e.index - 1]
            over = (np.abs(at[e.index] - centre) <= half).all(-1) & above
            receptacle = names[first_receptacle + int(over.argmax())] if over.any() else ""
        places[e.name] = Place(names[int(room[e.index])], receptacle, e.index == holding)
    return places


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

    @classmethod
    def of(cls, spec: WorldSpec, scene: Scene) -> "Things":
        return cls(entities(spec, scene), start_places(spec, scene))

    def __getitem__(self, name: str) -> Entity:
        return next(e for e in self.entities if e.name == name)

    def names(self, *kinds: str) -> tuple[str, ...]:
        return tuple(e.name for e in self.entities if e.kind in kinds)

    def descriptions(self, names: tuple[str, ...]) -> list["Description"]:
        """All descriptions that fit these things and nothing else, the shortest first."""
        meant = [self[name] for name in names]
        rooms = {self.places[e.name].room if e.name in self.places else "" for e in meant}
        receptacles = {self.places[e.name].receptacle if e.type == "object" else "" for e in meant}
        choices = [
            [noun for noun in NOUNS if all(e.kind in noun.split() for e in meant)],
            sorted({"", *({e.colour for e in meant} if len({e.colour for e in meant}) == 1 else ())}),
            sorted({"", *({e.size for e in meant} if len({e.size for e in meant}) == 1 else ())}),
            sorted({"", *(rooms if len(rooms) == 1 else ()), *(receptacles if len(receptacles) == 1 else ())}),
        ]
        found = [Description(noun, colour, size, place) for noun, colour, size, place in itertools.product(*choices)]
        exact = [d for d in found if {e.name for e in self.entities if self.fits(e, d)} == set(names)]
        return sorted(exact, key=lambda d: (sum(map(bool, (d.colour, d.size, d.place))), bool(d.place), len(d.noun)))

    def vague(self, name: str) -> list[tuple["Description", tuple[str, ...]]]:
        """Descriptions of an object that fit other objects, too, and all that they fit."""
        thing = self[name]
        choices = itertools.product((thing.kind, " ".join(OBJECTS)), ("", thing.colour), ("", thing.size))
        objects = [e for e in self.entities if e.kind in OBJECTS]
        found = {d: tuple(e.name for e in objects if self.fits(e, d)) for d in itertools.starmap(Description, choices)}
        return [(description, fits) for description, fits in found.items() if len(fits) > 1]

    def fits(self, thing: Entity, description: "Description") -> bool:
        place = self.places.get(thing.name)
        return (
            thing.kind in description.noun.split()
            and description.colour in ("", thing.colour)
            and description.size in ("", thing.size)
            and (not description.place or (place is not None and description.place in (place.room, place.receptacle)))
        )


@dataclass(frozen=True)
class Description:
    """What is said of one or several things."""

    noun: str  # a key of NOUNS
    colour: str = ""
    size: str = ""
    place: str = ""  # the room, table or bin where it is at the start

    def phrase(self, taste: Taste, plural: bool = False) -> str:
        """Without an article: "small red cubes from the kitchen", "table in the study"."""
        size = taste.row(SIZES[self.size]) if self.size else ""
        noun = taste.row(NOUNS[self.noun]) + ("s" if plural else "")
        words = [word for word in (size, self.colour, noun) if word]
        if self.place:
            link = "in" if set(self.noun.split()) <= set(RECEPTACLES) else "from"
            words.append(f"{link} {noun_phrase(self.place)}")
        return " ".join(words)


def noun_phrase(name: str) -> str:
    """`small_red_cube` -> "the small red cube"."""
    return "the " + name.replace("_", " ")


def listing(words: list[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
