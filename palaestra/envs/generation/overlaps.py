"""Whether things overlap at the start of a task, by geometry alone: an independent check of what the generator promises.

NumPy over boxes turned about the vertical; balls and the robot's base are taken as the boxes around them.
"""

from typing import NamedTuple

import jax
import numpy as np

from palaestra.envs.types import Scene, leaf_entity
from palaestra.sim import bodies
from palaestra.sim.drawers import drawer_boxes
from palaestra.sim.world import (
    BIN_FLOOR,
    BIN_INNER,
    BIN_RIM,
    BIN_SIDE,
    BUTTON_CAP,
    BUTTON_HALF,
    BUTTON_POST,
    BUTTON_TRAVEL,
    LEAF_CLEARANCE,
    LEAF_HALF,
    LEAF_HEIGHT,
    LEAF_LENGTH,
    LID_BACK,
    LID_HALF,
    LID_HEIGHT,
    LID_ROOM,
    WorldSpec,
    leaf_axis,
)

_ROBOT = -1  # the robot's group
TOLERANCE = 1e-4  # m: things that stand on each other touch


class Boxes(NamedTuple):
    """Boxes of a batch of scenes; those of one group are parts of one thing."""

    centre: np.ndarray  # [N, M, 3] m
    half: np.ndarray  # [N, M, 3] m
    yaw: np.ndarray  # [N, M] rad
    used: np.ndarray  # [N, M] bool
    group: np.ndarray  # [M] int: -1 the robot, 0 the walls, then tables, bins, drawers, objects, leaves and buttons


def overlaps(spec: WorldSpec, scenes: Scene) -> np.ndarray:
    """How many pairs of things overlap in each scene [N] int; `scenes` has one leading axis."""
    return _deep(spec, scenes)[1].sum(1)


def overlapping(spec: WorldSpec, scene: Scene) -> list[tuple[int, int]]:
    """Which things overlap in one scene: pairs of entities, the smaller number first; -1 stands for the walls."""
    pairs, deep = _deep(spec, jax.tree.map(lambda x: np.asarray(x)[None], scene))
    r, o = spec.receptacles, spec.objects
    entity = {_ROBOT: 0, 0: -1} | {1 + j: 1 + o + j for j in range(r)} | {1 + r + i: 1 + i for i in range(o)}
    entity |= {1 + r + o + k: leaf_entity(spec, k) for k in range(spec.leaves + spec.buttons)}
    found = {tuple(sorted(entity[int(group)] for group in pair)) for pair in pairs[deep[0]]}
    return sorted((a, b) for a, b in found)


def _deep(spec: WorldSpec, scenes: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of boxes of different groups, as these groups [P, 2], and of which the boxes overlap in each scene [N, P] bool."""
    boxes = solids(spec, scenes)
    first, second = np.triu_indices(len(boxes.group), 1)
    apart = boxes.group[first] != boxes.group[second]
    first, second = first[apart], second[apart]
    both = boxes.used[:, first] & boxes.used[:, second]
    held = _held(spec, scenes)
    in_hand = (boxes.group[first] == held[:, None]) & (boxes.group[second] == _ROBOT)
    # A door's leaf hangs between two walls: when it turns, the edge at the hinge turns into the frame by half its thickness.
    leaf = 1 + spec.receptacles + spec.objects
    in_frame = (boxes.group[first] == 0) & (boxes.group[second] >= leaf) & (boxes.group[second] < leaf + spec.leaves)
    allowed = np.where(in_frame, LEAF_HALF, TOLERANCE)
    # What is flush with the floor takes in the crates that stand on it.
    crate = 1 + spec.receptacles + np.flatnonzero(spec.are("crate"))
    plate = 1 + spec.tables - spec.plates + np.arange(spec.plates)
    flush = np.isin(boxes.group[first], plate) & np.isin(boxes.group[second], crate)
    return boxes.group[np.stack([first, second], 1)], both & ~in_hand & ~flush & (depth(boxes, first, second) > allowed)


def _held(spec: WorldSpec, scenes: Scene) -> np.ndarray:
    """The group of the object between fingers that are not open, in each scene [N] int; no group's number where there is none."""
    lay, body = scenes.layout, bodies.body(spec.body)
    q, at = np.asarray(lay.robot_q, float), np.asarray(lay.object_pos, float)
    grip = np.stack([q[:, 0] + body.reach * np.cos(q[:, 2]), q[:, 1] + body.reach * np.sin(q[:, 2]), body.grip_height + q[:, 3]], -1)
    between = (np.linalg.norm(at - grip[:, None], axis=-1) < body.half_gap) & np.asarray(lay.object_used) & (q[:, 4:5] > 0)
    return np.where(between.any(1), 1 + spec.receptacles + between.argmax(1), _ROBOT - 1)


def depth(boxes: Boxes, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How deep boxes `first` [P] reach into boxes `second` [P], along the axis on which they do so least [N, P] m."""
    offset = boxes.centre[:, second] - boxes.centre[:, first]
    a, b = boxes.half[:, first], boxes.half[:, second]
    turn = boxes.yaw[:, second] - boxes.yaw[:, first]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    found = a[..., 2] + b[..., 2] - np.abs(offset[..., 2])
    for mine, other, index in ((a, b, first), (b, a, second)):
        x, y = np.cos(boxes.yaw[:, index]), np.sin(boxes.yaw[:, index])
        along = np.abs(x * offset[..., 0] + y * offset[..., 1]), np.abs(x * offset[..., 1] - y * offset[..., 0])
        found = np.minimum(found, mine[..., 0] + cos * other[..., 0] + sin * other[..., 1] - along[0])
        found = np.minimum(found, mine[..., 1] + sin * other[..., 0] + cos * other[..., 1] - along[1])
    return found


def solids(spec: WorldSpec, scenes: Scene) -> Boxes:
    """Robot, objects, walls, tables, bins with their lids, drawers, leaves and buttons of each scene."""
    r = spec.receptacles
    lay, w, t = scenes.layout, spec.walls, spec.tables
    pos, half = (np.asarray(x, float) for x in (lay.fixture_pos, lay.fixture_half))
    count = len(pos)
    centres, halves, yaws = [pos[:, : w + t]], [half[:, : w + t]], [np.zeros((count, w + t))]
    used, groups = [np.asarray(scenes.fixture_used)[:, : w + t]], [0] * w + list(range(1, 1 + t))
    inner, side, rim = BIN_INNER, BIN_SIDE, BIN_RIM / 2
    parts = [((0.0, 0.0, BIN_FLOOR / 2), (inner + 2 * side, inner + 2 * side, BIN_FLOOR / 2))]
    parts += [((s * (inner + side), 0.0, rim), (side, inner + 2 * side, rim)) for s in (-1, 1)]
    parts += [((0.0, s * (inner + side), rim), (inner + 2 * side, side, rim)) for s in (-1, 1)]
    for i in range(spec.bins):
        _add(centres, halves, yaws, pos[:, w + t + i], np.zeros(count), parts)
        used.append(np.repeat(np.asarray(scenes.fixture_used)[:, w + t + i, None], len(parts), 1))
        groups += [1 + t + i] * len(parts)
    front, shut = np.asarray(leaf_axis(np.asarray(lay.lid_quat, float), 0.0)), np.asarray(lay.lid_angle) <= 0
    (long, wide, thick), outer = LID_HALF, inner + 2 * side
    # A lid over its bin where it is shut, and all that it takes when it stands, whether it does or not.
    lid = [((long - outer - LID_BACK, 0.0, LID_HEIGHT + thick), LID_HALF)]
    lid += [((-outer - LID_ROOM / 2, 0.0, LID_HEIGHT + long), (LID_ROOM / 2, wide, LID_HEIGHT + long))]
    for i in range(spec.hampers):
        which = spec.bins - spec.hampers + i
        _add(centres, halves, yaws, pos[:, w + t + which], np.arctan2(front[:, i, 1], front[:, i, 0]), lid)
        there = np.asarray(scenes.fixture_used)[:, w + t + which]
        used.append(np.stack([there & shut[:, i], there], 1))
        groups += [1 + t + which] * len(lid)
    front, out = np.asarray(leaf_axis(np.asarray(lay.drawer_quat, float), 0.0)), np.asarray(lay.drawer_out, float)
    for i in range(spec.drawers):
        yaw, first = np.arctan2(front[:, i, 1], front[:, i, 0]), r - spec.drawers
        cabinet, tray = drawer_boxes()
        floor = pos[:, w + first + i] * np.array([1, 1, 0])
        _add(centres, halves, yaws, floor, yaw, cabinet)
        _add(centres, halves, yaws, floor + np.pad(out[:, i, None] * front[:, i], ((0, 0), (0, 1))), yaw, tray)
        count_of = len(cabinet) + len(tray)
        used.append(np.repeat(np.asarray(scenes.fixture_used)[:, w + first + i, None], count_of, 1))
        groups += [1 + first + i] * count_of
    centres.append(np.asarray(lay.object_pos, float))
    halves.append(np.repeat(np.asarray(lay.object_half, float)[..., None], 3, -1))
    yaws.append(np.asarray(lay.object_yaw, float))
    used.append(np.asarray(lay.object_used))
    groups += [1 + r + i for i in range(spec.objects)]
    hinge, hung, angle = (np.asarray(x, float) for x in (lay.leaf_pos, lay.leaf_quat, lay.leaf_angle))
    turn = np.arctan2(*np.moveaxis(leaf_axis(hung, angle), -1, 0)[::-1])
    leaf = ((LEAF_LENGTH / 2, 0.0, LEAF_CLEARANCE + LEAF_HEIGHT / 2), (LEAF_LENGTH / 2, LEAF_HALF, LEAF_HEIGHT / 2))
    for i in range(spec.leaves):
        _add(centres, halves, yaws, np.pad(hinge[:, i], ((0, 0), (0, 1))), turn[:, i], [leaf])
    used.append(np.asarray(scenes.leaf_used))
    groups += [1 + r + spec.objects + i for i in range(spec.leaves)]
    (side, thick), post = BUTTON_CAP, BUTTON_POST / 2
    button = [((0.0, 0.0, post), (BUTTON_HALF, BUTTON_HALF, post)), ((0.0, 0.0, BUTTON_POST + BUTTON_TRAVEL), (side, side, thick))]
    for i in range(spec.buttons):
        _add(centres, halves, yaws, np.pad(np.asarray(lay.button_pos, float)[:, i], ((0, 0), (0, 1))), np.zeros(count), button)
    used.append(np.repeat(np.asarray(scenes.button_used), 2, 1))
    groups += [1 + r + spec.objects + spec.leaves + i for i in range(spec.buttons) for _ in button]
    body, q = bodies.body(spec.body), np.asarray(lay.robot_q, float)
    round_, low, long = body.base_radius, body.grip_height - 0.027, (body.reach + 0.035) / 2
    base, arm = ((0, 0, 0.01 + round_), (round_, round_, round_)), ((long, 0, 0.042), (long, body.half_gap + 0.02, 0.042))
    _add(centres, halves, yaws, np.pad(q[:, :2], ((0, 0), (0, 1))), q[:, 2], [base])
    _add(centres, halves, yaws, np.c_[q[:, :2], low + q[:, 3]], q[:, 2], [arm])
    used.append(np.ones((count, 2), bool))
    groups += [_ROBOT, _ROBOT]
    centre, half, yaw, there = (np.concatenate(x, 1) for x in (centres, halves, yaws, used))
    return Boxes(centre, half, yaw, there, np.asarray(groups))


def _add(centres: list, halves: list, yaws: list, at: np.ndarray, yaw: np.ndarray, parts: list) -> None:
    """Add boxes given in the frame of a thing at `at` [N, 3] that is turned by `yaw` [N]."""
    offset, half = (np.asarray(x, float) for x in zip(*parts, strict=True))  # [parts, 3]
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    turned = np.stack([cos * offset[:, 0] - sin * offset[:, 1], sin * offset[:, 0] + cos * offset[:, 1], offset[:, 2] + 0 * cos], -1)
    centres.append(at[:, None] + turned)
    halves.append(np.broadcast_to(half, (len(at), *half.shape)))
    yaws.append(np.repeat(yaw[:, None], len(parts), 1))
