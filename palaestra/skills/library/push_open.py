"""push_open(door): push a swing door open with base or hand, away from the room where the robot is, and stay in that room."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from palaestra.envs import observation
from palaestra.envs.generation import poses
from palaestra.envs.generation.doors import hang_swings
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.types import leaf_entity
from palaestra.sim.world import LEAF_LENGTH, LEAF_OPEN, SWING_MOST, World, WorldSpec, leaf_axis
from palaestra.skills.library import starts
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_WIDE = 1.40  # rad, from where a leaf stands open with a margin
_STANDS = 0.15  # rad, from where it is clear into which room a leaf turns
_BACK = 0.12  # m before the doorway's middle, where the robot is in its own room
_CLEAR = 0.13  # m, from the hand to the leaf
_STILL = 0.1  # rad/s
_SLOW = 0.3  # m/s
_FREE_END = 0.75  # of the leaf's length, where it is pushed best


class _Way(NamedTuple):
    """The doorway, as who pushes the door open sees it. World frame."""

    hinge: jax.Array  # [2] m
    axis: jax.Array  # [2] from the hinge along the leaf
    push: jax.Array  # [2] across the leaf, to where it is pushed
    centre: jax.Array  # [2] m, of the doorway
    far: jax.Array  # [2] through the doorway: into the room where the leaf stands, or if it is shut, out of the robot's
    angle: jax.Array  # [] rad, how far it is open into there
    speed: jax.Array  # [] rad/s
    depth: jax.Array  # [] m, how far the robot is in there; less than 0 in its own room

    def in_leaf(self, point: jax.Array) -> jax.Array:
        """A point [2] m along the leaf and before it, in the frame of the leaf."""
        offset = point - self.hinge
        return jnp.stack([offset @ self.axis, offset @ self.push])


def _way(world: World, view: View) -> _Way:
    which = view.args[0] - leaf_entity(world.spec, 0)
    lay = view.scene.layout
    quat, hinge = lay.leaf_quat[which], lay.leaf_pos[which]
    angle, speed = (world.mechanism_q(q)[0][which] for q in (view.physics.qpos, view.physics.qvel))
    swing = leaf_axis(quat, LEAF_OPEN)  # to where it turns by angles above 0
    centre = view.scene.door[view.scene.leaf_doorway[which]]
    side = jnp.where((view.geo.robot - centre) @ swing >= 0, 1.0, -1.0)
    sign = jnp.where(jnp.abs(angle) > _STANDS, jnp.where(angle > 0, 1.0, -1.0), -side)
    return _Way(
        hinge=hinge,
        axis=leaf_axis(quat, angle),
        push=leaf_axis(quat, angle + sign * LEAF_OPEN),
        centre=centre,
        far=sign * swing,
        angle=sign * angle,
        speed=sign * speed,
        depth=(view.geo.robot - centre) @ (sign * swing),
    )


def _hand_off(view: View, way: _Way) -> jax.Array:
    """How far the hand is from the leaf [] m."""
    hand = way.in_leaf(view.geo.grip[:2])
    return jnp.linalg.norm(hand - jnp.stack([jnp.clip(hand[0], 0.0, LEAF_LENGTH), jnp.zeros(())]))


def observe(world: World, view: View) -> jax.Array:
    way, yaw, held = _way(world, view), view.geo.yaw, view.geo.grasped
    points = jnp.stack([way.hinge, way.hinge + LEAF_LENGTH / 2 * way.axis, way.hinge + LEAF_LENGTH * way.axis, way.centre])
    to_go = SWING_MOST - way.angle
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            observation.to_base(yaw, points - view.geo.robot).ravel(),
            observation.to_base(yaw, way.far),
            way.in_leaf(view.geo.robot),
            way.in_leaf(view.geo.grip[:2]),
            jnp.stack([way.depth, jnp.tanh(5 * way.depth), way.angle, jnp.tanh(5 * way.angle), jnp.tanh(4 * to_go), way.speed]),
            jnp.stack([held.any().astype(jnp.float32), 20 * jnp.max(jnp.where(held, view.scene.layout.object_half, 0.0))]),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    way = _way(world, view)
    pushed_at = way.hinge + _FREE_END * LEAF_LENGTH * way.axis
    come = tolerance(jnp.maximum(jnp.linalg.norm(pushed_at - view.geo.robot) - 0.2, 0.0), 0.6)
    under_way = 0.15 * come + 0.55 * jnp.clip(way.angle / _WIDE, 0.0, 1.0) - 0.1 * jnp.clip(way.depth / 0.5, 0.0, 1.0)
    back = tolerance(jnp.maximum(way.depth + _BACK + 0.05, 0.0), 0.3)
    off = jnp.clip(_hand_off(view, way) / (_CLEAR + 0.05), 0.0, 1.0)
    kept = jnp.where((view.ctrl[4] > 0.02) & ~view.geo.grasped.any(), 0.5, 1.0)
    return jnp.where(way.angle >= _WIDE, 0.6 + 0.25 * back + 0.15 * off, jnp.maximum(under_way, 0.0)) * kept


def finished(world: World, view: View) -> jax.Array:
    way = _way(world, view)
    still = (jnp.abs(way.speed) < _STILL) & (jnp.linalg.norm(view.physics.qvel[:2]) < _SLOW)
    return (way.angle >= _WIDE) & still & (way.depth <= -_BACK) & (_hand_off(view, way) >= _CLEAR)


def failed(world: World, view: View) -> jax.Array:
    return jnp.linalg.norm(_way(world, view).centre - view.geo.robot) > 2.0


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a swing door, on either side, in two of five cases with an object in the hand; the door is shut, or in three
    of ten cases ajar to either side. Easy ones: it is open by half already, away from the robot."""
    k_scene, k_doors, k_which, k_held, k_object, k_ajar, k_angle, k_pose, k_shut, k_hand, k_easy = jax.random.split(key, 11)
    spec = world.spec
    scene, _, hung = hang_swings(k_doors, spec, sample_scene(k_scene, world, SceneRange.make(spec, min_rooms=2)), 1, spec.swings)
    number = jnp.arange(spec.leaves)
    which = starts.choose(k_which, scene.leaf_used & (number >= spec.locks))
    held = jnp.where(jax.random.bernoulli(k_held, 0.4), starts.choose(k_object, scene.layout.object_used), -1)
    simple = jax.random.bernoulli(k_easy, easy)
    ajar = jnp.where(jax.random.bernoulli(k_ajar, 0.3), jax.random.uniform(k_angle, minval=-1.25, maxval=1.25), 0.0)
    ajar = jnp.where(simple, jax.random.uniform(k_angle, minval=0.4, maxval=1.25), ajar)
    # An easy one is open to where positive angles turn: the robot is in the other room.
    lay = scene.layout.replace(leaf_angle=jnp.where(number == which, ajar, 0.0))
    q, found = starts.pose_by_door(k_pose, world, scene.replace(layout=lay), which, held, simple)
    q = jnp.where(held < 0, starts.hand_shut(k_shut, q, 0.2), q)
    scene = poses.in_hand(k_hand, world, scene.replace(layout=lay.replace(robot_q=q)), q, held)
    args = jnp.stack([leaf_entity(spec, which), jnp.zeros((), jnp.int32)])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, held), args=args, valid=found & hung)


PUSH_OPEN = Skill(
    name="push_open",
    version=1,
    doc="Push a swing door open, into the other room; the robot stays in its own, and keeps what the hand holds. The door stays open. "
    "Needs the robot near the door, on either side.",
    params=(Param("door", ("swing",)),),
    precondition=(Literal(("near",), ROBOT, "door"), Literal(("open",), "door", "door", negated=True)),
    effect=(Literal(("open",), "door", "door"),),
    horizon=300,
    commands=(0, 1, 2, 3),
    observation_size=observation.PROPRIOCEPTION + 22 + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    failed=failed,
    start=start,
    flags=(observation.PROPRIOCEPTION + 20,),
    gate=0.95,
    train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=2, leaves=1, swings=1),
)
