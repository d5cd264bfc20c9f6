"""Doors in doorways: where a leaf can hang, which way it swings, and what it parts from the robot."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from palaestra.envs import house
from palaestra.envs.generation.generator import random_order, standing
from palaestra.envs.predicates import NEAR_DISTANCE
from palaestra.envs.types import Scene
from palaestra.sim.world import LEAF_HALF, LEAF_LENGTH, LEAF_OPEN, WorldSpec, leaf_axis, parked_mechanism

_SWING = LEAF_LENGTH + 0.06  # m, the side of the square that a leaf swings through, and a margin
_BESIDE = 0.80  # m, from a leaf that stands open to a doorway beside it: room for the robot and its arm
_ARM = 0.50  # m, from a leaf that stands open at the start to the robot's axis


class Doors(NamedTuple):
    """What the shut doors part, of one kind."""

    shut: jax.Array  # [L] bool
    behind: jax.Array  # [L, R] bool: the rooms that a door parts from the robot
    near: jax.Array  # [L] int32, the room before it

    @staticmethod
    def none(rooms: int) -> "Doors":
        return Doors(jnp.zeros(0, bool), jnp.zeros((0, rooms), bool), jnp.zeros(0, jnp.int32))


class Hinges(NamedTuple):
    """For every doorway the leaf that could hang there."""

    fits: jax.Array  # [D] bool: it is a doorway, and the leaf has the room to swing
    pos: jax.Array  # [D, 2] m, the hinge
    quat: jax.Array  # [D, 4]
    behind: jax.Array  # [D, R] bool: the rooms that the door would part from the robot
    near: jax.Array  # [D] int32, the room before it


def hinges(spec: WorldSpec, scene: Scene, side: jax.Array, both: bool = False) -> Hinges:
    """Leaves that swing away from the robot, or to both sides; `side` [D, 1], 1 or -1: where the hinge is if both ends leave room."""
    # For every doorway, then a choice of those in which a leaf has the room to swing.
    others = scene.door_used & ~jnp.eye(spec.doors, dtype=bool)  # [D, D]
    behind = ~jax.vmap(house.reachable, (None, None, 0))(scene, scene.layout.robot_q[:2], others) & scene.room_used  # [D, R]
    joins = scene.door_rooms
    near_first = ~jnp.take_along_axis(behind, joins, -1)[:, 0]
    near, far = jnp.where(near_first, joins[:, 0], joins[:, 1]), jnp.where(near_first, joins[:, 1], joins[:, 0])
    centre = scene.door
    through = jnp.where(scene.door_along_x[:, None], jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    middle = 0.5 * (scene.room[far, :2] + scene.room[far, 2:])
    swing = through * jnp.sign(((middle - centre) * through).sum(-1, keepdims=True))  # [D, 2], into the far room
    first = side * through[:, ::-1]
    ends = ((centre - first * LEAF_LENGTH / 2, first), (centre + first * LEAF_LENGTH / 2, -first))
    free, other_free = (_swings(spec, scene, far, *end, swing) for end in ends)
    if both:
        ways = [_swings(spec, scene, near, *end, -swing) & _clear_of_doorways(scene, *end, swing) for end in ends]
        free, other_free = free & ways[0], other_free & ways[1]
    along = jnp.where(free[:, None], first, -first)  # from the hinge to the other edge
    mirrored = along[:, 0] * swing[:, 1] - along[:, 1] * swing[:, 0] < 0
    yaw = 0.5 * jnp.arctan2(along[:, 1], along[:, 0])
    cos, sin, zero = jnp.cos(yaw), jnp.sin(yaw), jnp.zeros(spec.doors)
    upright = jnp.stack([cos, zero, zero, sin], -1)
    upside_down = jnp.stack([zero, cos, sin, zero], -1)  # opens the other way round
    quat = jnp.where(mirrored[:, None], upside_down, upright)
    return Hinges((free | other_free) & scene.door_used, centre - along * LEAF_LENGTH / 2, quat, behind, near)


def hang_doors(key: jax.Array, spec: WorldSpec, scene: Scene, least: int, most: int) -> tuple[Scene, Doors, jax.Array]:
    """`least` to `most` shut doors, which swing away from the robot's side, and whether so many have the room; key is consumed."""
    if not spec.locks:
        return scene, Doors.none(spec.rooms), jnp.asarray(True)
    return _hang(key, spec, scene, (0, spec.locks), least, most)


def hang_swings(key: jax.Array, spec: WorldSpec, scene: Scene, least: int, most: int) -> tuple[Scene, Doors, jax.Array]:
    """`least` to `most` shut swing doors where no other door hangs, with room to both sides, and whether so many have it; key is
    consumed."""
    if not spec.swings:
        return scene, Doors.none(spec.rooms), jnp.asarray(True)
    return _hang(key, spec, scene, (spec.locks, spec.leaves), least, most)


def _hang(key: jax.Array, spec: WorldSpec, scene: Scene, slots: tuple[int, int], least: int, most: int) -> tuple[Scene, Doors, jax.Array]:
    """Shut doors in these slots of leaves."""
    k_count, k_which, k_side = jax.random.split(key, 3)
    first, end = slots
    mine, lay = slice(first, end), scene.layout
    hung = hinges(spec, scene, jnp.where(jax.random.bernoulli(k_side, shape=(spec.doors, 1)), 1.0, -1.0), both=first >= spec.locks)
    taken = ((jnp.arange(spec.doors)[:, None] == scene.leaf_doorway[:first]) & scene.leaf_used[:first]).any(-1)
    fits = hung.fits & ~taken
    doorway = random_order(k_which, spec.doors, fits)[: end - first]
    count = jnp.minimum(jax.random.randint(k_count, (), least, most + 1), fits.sum())
    pos, quat, behind, near = (x[doorway] for x in (hung.pos, hung.quat, hung.behind, hung.near))
    shut = jnp.arange(end - first) < count
    parked = jnp.stack([jnp.asarray(parked_mechanism(i)) for i in range(first, end)])
    layout = lay.replace(
        leaf_pos=lay.leaf_pos.at[mine].set(jnp.where(shut[:, None], pos, parked)), leaf_quat=lay.leaf_quat.at[mine].set(quat)
    )
    scene = scene.replace(
        layout=layout,
        leaf_doorway=scene.leaf_doorway.at[mine].set(doorway.astype(jnp.int32)),
        leaf_used=scene.leaf_used.at[mine].set(shut),
    )
    return scene, Doors(shut, behind & shut[:, None], near), count >= least


def opened(key: jax.Array, spec: WorldSpec, scene: Scene, often: float) -> Scene:
    """The scene with each swing door open with the probability `often`, to either side, where the robot is not in the way and no other
    leaf; key is consumed."""
    k_which, k_side = jax.random.split(key)
    lay, n = scene.layout, spec.leaves
    side = jnp.where(jax.random.bernoulli(k_side, shape=(n,)), LEAF_OPEN, -LEAF_OPEN)
    angle = lay.leaf_angle
    for leaf in range(spec.locks, n):
        turned = angle.at[leaf].set(side[leaf])
        may = jax.random.bernoulli(jax.random.fold_in(k_which, leaf), often) & stands_clear(spec, scene, turned, leaf)
        angle = jnp.where(may, turned, angle)
    return scene.replace(layout=lay.replace(leaf_angle=angle))


def stands_clear(spec: WorldSpec, scene: Scene, angle: jax.Array, leaf: int) -> jax.Array:
    """Whether a leaf hangs, and of leaves that are open by `angle` [L] rad is in the way of no other and not of the robot [] bool."""
    lay = scene.layout
    reach = LEAF_LENGTH / 2 * leaf_axis(lay.leaf_quat, angle)
    middle, half = lay.leaf_pos + reach, jnp.abs(reach) + LEAF_HALF
    others = (jnp.arange(spec.leaves) != leaf) & scene.leaf_used
    apart = ((jnp.abs(middle - middle[leaf]) > half + half[leaf]).any(-1) | ~others).all()
    away = jnp.linalg.norm(jnp.maximum(jnp.abs(lay.robot_q[:2] - middle[leaf]) - half[leaf], 0.0)) >= _ARM
    return scene.leaf_used[leaf] & apart & away


def room_to_swing(spec: WorldSpec, scene: Scene) -> jax.Array:
    """Whether nothing is in the way of the leaves that hang [L] bool; of swing doors, to neither side."""
    lay = scene.layout
    along, swing = leaf_axis(lay.leaf_quat, jnp.zeros(spec.leaves)), leaf_axis(lay.leaf_quat, jnp.full(spec.leaves, LEAF_OPEN))
    free = []
    for way in (swing, -swing):
        into = lay.leaf_pos + LEAF_LENGTH / 2 * (along + way)
        free.append(_swings(spec, scene, house.room_of(scene, into), lay.leaf_pos, along, way))
    return free[0] & (free[1] | (jnp.arange(spec.leaves) < spec.locks))


def _swings(spec: WorldSpec, scene: Scene, room: jax.Array, hinge: jax.Array, along: jax.Array, swing: jax.Array) -> jax.Array:
    """Whether in a room [D] nothing is in the way of a leaf that swings from `along` to `swing` [D, 2], unit vectors: [D] bool.

    Behind an open leaf nothing is in reach of a robot before it: it would be near, and could not come to it.
    """
    lay = scene.layout
    first, last = hinge - NEAR_DISTANCE * along - 0.02 * swing, hinge + _SWING * (along + swing)
    low, high = jnp.minimum(first, last)[:, None], jnp.maximum(first, last)[:, None]
    centre, half = standing(spec, scene)
    centre = jnp.concatenate([centre, lay.object_pos[:, :2]])
    half = jnp.concatenate([half, jnp.repeat(1.42 * lay.object_half[:, None], 2, -1)])
    here = house.room_of(scene, centre) == room[:, None]
    return ~(here & ((centre + half > low) & (centre - half < high)).all(-1)).any(-1)


def _clear_of_doorways(scene: Scene, hinge: jax.Array, along: jax.Array, swing: jax.Array) -> jax.Array:
    """Whether a leaf in each doorway that swings from `along` to both sides, `swing` [D, 2], stands open before no other one: [D] bool.

    Locked doors need not be: they open for good, into one room; which way a swing door is pushed is not known.
    """
    first, last = hinge - _BESIDE * along - _SWING * swing, hinge + _SWING * (along + swing)
    low, high = jnp.minimum(first, last)[:, None], jnp.maximum(first, last)[:, None]
    wide = 0.5 * scene.door_width[:, None] * jnp.where(scene.door_along_x[:, None], jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))
    covers = ((scene.door + wide > low) & (scene.door - wide < high)).all(-1) & scene.door_used
    return ~(covers & ~jnp.eye(len(hinge), dtype=bool)).any(-1)
