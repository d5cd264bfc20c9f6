"""Names of the entities of a scene, for people, plans and logs: `red_cube`, `small_red_cube`, `blue_table`, `kitchen`.

A name is unique in its scene: a size word is there only where another object shares kind and colour.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from palaestra.envs import vocabulary
from palaestra.envs.types import (
    BUTTONS,
    COLOURS,
    DOORS,
    IN_ROOM,
    KINDS,
    LARGE,
    ROOMS,
    Scene,
    button_entity,
    entity_kinds,
    leaf_entity,
    room_entity,
)
from palaestra.sim.world import WorldSpec

ROBOT = "robot"
_NOUNS = {"swing": "swing_door"}  # kinds of which the kind itself is no noun


@dataclass(frozen=True)
class Entity:
    """One thing that exists in a scene, on the host."""

    index: int  # its number among the entities
    name: str  # unique in the scene
    kind: str  # robot, cube, ball, crate, table, shelf, plate, bin, hamper, drawer, door, swing, button, toggle or room
    colour: str = ""
    size: str = ""  # small or large, for cubes and balls

    @property
    def type(self) -> str:
        """What skills' parameters speak of: cubes and balls are objects."""
        return "object" if self.kind in ("cube", "ball") else self.kind


def entities(spec: WorldSpec, scene: Scene) -> tuple[Entity, ...]:
    """All entities in use, in the order of their indices; `scene` is one scene, without a batch axis.

    Objects that rules make or take have names before they are there and after they were: an episode has one set of names.
    """
    lay = scene.layout
    used, large = np.array(lay.object_used), (np.asarray(lay.object_half) > LARGE).tolist()
    for changed in (np.asarray(scene.rules.product), np.asarray(scene.rules.consumes)):
        used[changed[changed >= 0]] = True
    objects, kinds = _where(used), spec.object_kinds
    shades = _shades(scene.object_colour)
    looks = [(kinds[i], shades[i]) for i in objects]
    found = [Entity(0, ROBOT, "robot")]
    for i, (kind, shade) in zip(objects, looks, strict=True):
        size = "" if kind == "crate" else "large" if large[i] else "small"
        name = f"{size}_{shade}_{kind}" if looks.count((kind, shade)) > 1 else f"{shade}_{kind}"
        found.append(Entity(1 + i, name, kind, shade, size))
    stands = slice(spec.objects, spec.objects + spec.receptacles)
    numbers, kind_numbers = range(1 + stands.start, 1 + stands.stop), entity_kinds(spec)[stands].tolist()
    fixed = list(zip(numbers, (KINDS[kind] for kind in kind_numbers), _shades(scene.receptacle_colour), strict=True))
    doors, buttons = _shades(scene.leaf_colour), _shades(scene.button_colour)
    fixed += [(leaf_entity(spec, i), DOORS[i >= spec.locks], doors[i]) for i in _where(scene.leaf_used)]
    fixed += [(button_entity(spec, i), BUTTONS[i >= spec.buttons - spec.toggles], buttons[i]) for i in _where(scene.button_used)]
    found += [Entity(number, f"{shade}_{_NOUNS.get(kind, kind)}", kind, shade) for number, kind, shade in fixed]
    rooms = np.asarray(scene.room_name).tolist()
    return (*found, *(Entity(room_entity(spec, i), ROOMS[rooms[i]], "room") for i in _where(scene.room_used)))


def _where(mask: Any) -> list[int]:
    return np.flatnonzero(mask).tolist()


def _shades(colours: Any) -> list[str]:
    return [COLOURS[colour] for colour in np.asarray(colours).tolist()]


Fact = tuple[str, str, str]  # (predicate, subject's name, target's name)


def facts(things: tuple[Entity, ...], table: np.ndarray) -> frozenset[Fact]:
    """The literals that hold, by name; `table` [predicates, E, E] bool, as `truths` makes it."""
    there, predicates = {e.index: e for e in things}, vocabulary.predicates()
    return frozenset(
        (predicates[p], there[a].name, there[b].name)
        for p, a, b in np.argwhere(table).tolist()
        if a in there and b in there and not (p == IN_ROOM and there[a].kind == "room")
    )
