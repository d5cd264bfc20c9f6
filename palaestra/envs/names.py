"""Names of the entities of a scene, for people, plans and logs: `red_cube`, `small_red_cube`, `blue_table`, `kitchen`.

A name is unique in its scene: a size word is there only where another object shares kind and colour.
"""

from dataclasses import dataclass

import numpy as np

from palaestra.envs.types import (
    COLOURS,
    IN_ROOM,
    KINDS,
    LARGE,
    PREDICATES,
    ROOMS,
    Scene,
    button_entity,
    entity_kinds,
    leaf_entity,
    room_entity,
)
from palaestra.sim.world import WorldSpec

ROBOT = "robot"


@dataclass(frozen=True)
class Entity:
    """One thing that exists in a scene, on the host."""

    index: int  # its number among the entities
    name: str  # unique in the scene
    kind: str  # robot, cube, ball, table, plate, bin, drawer, door, button or room
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
    used, half = np.array(lay.object_used), np.asarray(lay.object_half)
    for changed in (np.asarray(scene.rules.product), np.asarray(scene.rules.consumes)):
        used[changed[changed >= 0]] = True
    colour, receptacle_colour = np.asarray(scene.object_colour), np.asarray(scene.receptacle_colour)
    kinds = ["cube"] * spec.cubes + ["ball"] * spec.balls
    pairs = [(kinds[i], int(colour[i])) for i in range(spec.objects) if used[i]]
    found = [Entity(0, ROBOT, "robot")]
    for i in range(spec.objects):
        if not used[i]:
            continue
        shade, size = COLOURS[colour[i]], "large" if half[i] > LARGE else "small"
        twin = pairs.count((kinds[i], int(colour[i]))) > 1
        name = f"{size}_{shade}_{kinds[i]}" if twin else f"{shade}_{kinds[i]}"
        found.append(Entity(1 + i, name, kinds[i], shade, size))
    for i, number in enumerate(entity_kinds(spec)[spec.objects : spec.objects + spec.receptacles]):
        kind = KINDS[number]
        shade = COLOURS[receptacle_colour[i]]
        found.append(Entity(1 + spec.objects + i, f"{shade}_{kind}", kind, shade))
    for kind, first, there, colours in (
        ("door", leaf_entity(spec, 0), scene.leaf_used, scene.leaf_colour),
        ("button", button_entity(spec, 0), scene.button_used, scene.button_colour),
    ):
        for i in map(int, np.flatnonzero(there)):
            shade = COLOURS[int(np.asarray(colours)[i])]
            found.append(Entity(first + i, f"{shade}_{kind}", kind, shade))
    for i in range(spec.rooms):
        if np.asarray(scene.room_used)[i]:
            found.append(Entity(room_entity(spec, i), ROOMS[int(np.asarray(scene.room_name)[i])], "room"))
    return tuple(found)


Fact = tuple[str, str, str]  # (predicate, subject's name, target's name)


def facts(things: tuple[Entity, ...], table: np.ndarray) -> frozenset[Fact]:
    """The literals that hold, by name; `table` [predicates, E, E] bool, as `truth_table` makes it."""
    table = np.asarray(table)
    return frozenset(
        (predicate, a.name, b.name)
        for p, predicate in enumerate(PREDICATES)
        for a in things
        for b in things
        if table[p, a.index, b.index] and not (p == IN_ROOM and a.kind == "room")
    )
