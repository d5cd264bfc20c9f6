"""Whether the robot can drive up to everything in a house: what plans take for granted, and a person may block with a table.

A flood over a grid, in NumPy on the host. Objects on the floor are no obstacles: the robot carries or pushes them away.
"""

from typing import Any

import numpy as np

from palaestra.envs import drawers, hampers, house
from palaestra.envs.names import entities
from palaestra.envs.predicates import NEAR_DISTANCE
from palaestra.envs.types import DOORS, Scene, obstructs
from palaestra.sim import bodies
from palaestra.sim.world import BUTTON_HALF, WorldSpec

_STEP = 0.05  # m, between the grid's points


def out_of_reach(spec: WorldSpec, scene: Scene) -> list[int]:
    """The objects, receptacles, buttons and rooms of one scene (their entities' numbers) that the robot cannot drive up to, or into.

    Shut doors are taken to be open, and objects that rules make to be anywhere: what opens and makes them is for planners to find.
    """
    at, reached = _drivable(spec, scene)
    at, lay = at[reached], scene.layout
    room = house.room_of(scene, at)
    doors, posts = np.zeros((spec.leaves, 2)), np.full((spec.buttons, 2), BUTTON_HALF)
    where: Any = np.concatenate([lay.object_pos[:, :2], lay.fixture_pos[spec.walls :, :2], doors, lay.button_pos])
    half = np.concatenate([np.repeat(lay.object_half[:, None], 2, 1), lay.fixture_half[spec.walls :, :2], doors, posts])
    theirs = house.room_of(scene, where)
    first_room, found = 1 + len(where), []
    for e in entities(spec, scene)[1:]:
        if e.kind in DOORS or (e.index <= spec.objects and not lay.object_used[e.index - 1]):
            continue
        if e.index >= first_room:
            near = room == e.index - first_room
        else:
            k = e.index - 1
            gap = np.linalg.norm(np.maximum(np.abs(at - where[k]) - half[k], 0.0), axis=-1)
            near = (gap <= NEAR_DISTANCE) & (room == theirs[k])
        if not np.any(near):
            found.append(e.index)
    return found


def _drivable(spec: WorldSpec, scene: Scene) -> tuple[Any, np.ndarray]:
    """A grid over the house [x, y, 2] m, and at which of its points the robot's axis can come from where it starts [x, y] bool."""
    lay, rooms = scene.layout, np.asarray(scene.room)[scene.room_used]
    low, high = rooms[:, :2].min(0), rooms[:, 2:].max(0)
    at = np.stack(np.meshgrid(*(np.arange(a, b, _STEP) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
    free = ((at[:, :, None] >= rooms[:, :2]) & (at[:, :, None] <= rooms[:, 2:])).all(-1).any(-1)
    solid = np.asarray(scene.fixture_used & obstructs(spec, lay))
    for pos, half in zip(lay.fixture_pos[solid], lay.fixture_half[solid], strict=True):
        free &= np.linalg.norm(np.maximum(np.abs(at - pos[:2]) - half[:2], 0.0), axis=-1) >= bodies.body(spec.body).base_radius
    posts = [(pos, BUTTON_HALF) for pos in lay.button_pos] + list(zip(*drawers.reaching(lay, lay.drawer_out), strict=True))
    posts += list(zip(*hampers.lids(spec, lay, lay.lid_angle)[:2], strict=True))
    for pos, half in posts:
        free &= np.linalg.norm(np.maximum(np.abs(at - pos) - half, 0.0), axis=-1) >= bodies.body(spec.body).base_radius
    away = np.where(free, np.linalg.norm(at - lay.robot_q[:2], axis=-1), np.inf)
    reached = away <= max(_STEP, float(away.min()))  # the points around the robot; where it stands in something, the nearest free one
    while True:
        grown = reached.copy()
        grown[1:] |= reached[:-1]
        grown[:-1] |= reached[1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= free
        if (grown == reached).all():
            return at, reached
        reached = grown
