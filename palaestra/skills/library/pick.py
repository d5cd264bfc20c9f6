"""pick(object): take hold of an object that stands on the floor or on a table, and lift it."""

import jax
import jax.numpy as jnp

from palaestra.envs import observation
from palaestra.envs.generator import SceneRange, sample_scene
from palaestra.envs.types import INSIDE
from palaestra.sim.world import World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_HOVER = 0.12  # m above the object, while not yet over it
_OVER = 0.05  # m, nearer than this in the plane counts as over it
_HIGH = 0.10  # m, the lift that earns the full reward


def _relative(view: View) -> jax.Array:
    """The object's centre relative to the grip point, base frame [3] m."""
    return observation.to_base(view.geo.yaw, view.geo.position[view.args[0]] - view.geo.grip)


def _rise(view: View) -> jax.Array:
    """Height of the object's underside above what is under it [] m."""
    index = view.args[0] - 1
    return view.geo.position[view.args[0], 2] - view.scene.layout.object_half[index] - view.geo.support[index]


def observe(world: World, view: View) -> jax.Array:
    index = view.args[0] - 1
    rel = _relative(view)
    ball = (index >= world.spec.cubes).astype(jnp.float32)
    turn = observation.quarter_turn(world, view.physics, view.geo)[index] * (1 - ball)
    velocity = world.object_velocity(view.physics.qvel)[index]
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(2 * rel, -3, 3),
            jnp.tanh(12 * rel),
            turn,
            observation.to_base(view.geo.yaw, velocity),
            jnp.stack(
                [
                    ball,
                    40 * (view.scene.layout.object_half[index] - 0.03),
                    5 * _rise(view),
                    5 * view.geo.support[index],
                    view.geo.grasped[index].astype(jnp.float32),
                ]
            ),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    index = view.args[0] - 1
    rel = _relative(view)
    aside = jnp.linalg.norm(rel[:2])
    height = jnp.where(aside > _OVER, 0.5 * jnp.abs(rel[2] + _HOVER) + 0.06, jnp.abs(rel[2]))
    reach = 0.5 * tolerance(aside, 0.5) + 0.5 * tolerance(aside + height, 0.125)
    turn = observation.quarter_turn(world, view.physics, view.geo)[index, 0]
    aligned = jnp.where(index >= world.spec.cubes, 1.0, 0.5 + 0.5 * turn)
    enclosed = (jnp.abs(rel[0]) < 0.03) & (jnp.abs(rel[1]) < 0.03) & (jnp.abs(rel[2]) < 0.03)
    closing = jnp.clip(view.ctrl[4] / 0.05, 0.0, 1.0)
    lifted = jnp.where(view.geo.grasped[index], jnp.clip(_rise(view) / _HIGH, 0.0, 1.0), 0.0)
    return 0.15 * reach + 0.05 * reach * aligned + 0.15 * jnp.where(enclosed, closing, 0.0) + 0.65 * lifted


def finished(world: World, view: View) -> jax.Array:
    del world
    return _rise(view) >= 0.06


def failed(world: World, view: View) -> jax.Array:
    far = jnp.linalg.norm(view.geo.position[view.args[0], :2] - view.geo.robot) > 1.6
    return far | view.table[INSIDE, view.args[0]].any()


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near an object, hand empty. Easy ones: the open hand above the object and turned like it."""
    k_scene, k_which, k_pose, k_easy, k_jitter = jax.random.split(key, 5)
    scene = sample_scene(k_scene, world, SceneRange.make(world.spec, on_table=0.5))
    lay = scene.layout
    index = starts.choose(k_which, lay.object_used)
    none = jnp.asarray(-1)
    q, found = starts.pose_near(k_pose, world, scene, lay.object_pos[index, :2], jnp.zeros(2), none)
    jitter = jax.random.uniform(k_jitter, (6,), minval=-1.0, maxval=1.0)
    yaw = lay.object_yaw[index] + 0.3 * jitter[2] + 0.5 * jnp.pi * jnp.round(3 * jitter[5])
    over = lay.object_pos[index, :2] - world.body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)]) + 0.03 * jitter[:2]
    lift = lay.object_pos[index, 2] - world.body.grip_height + 0.06 + 0.06 * jitter[3]
    simple = jnp.stack([over[0], over[1], yaw, jnp.clip(lift, *world.body.lift_range), jnp.zeros(()), jnp.zeros(())])
    use_simple = jax.random.bernoulli(k_easy, easy) & ~starts.collides(world, scene, simple, index)
    q = jnp.where(use_simple, simple, q)
    scene = scene.replace(layout=lay.replace(robot_q=q))
    args = jnp.stack([1 + index, jnp.zeros((), jnp.int32)])
    return Start(scene=scene, ctrl=starts.set_points(scene, q, none), args=args, valid=found | use_simple)


PICK = Skill(
    name="pick",
    version=1,
    doc="Grasp an object that stands on the floor or on a table, and lift it. Needs an empty hand and the robot near the object.",
    params=(Param("object", ("object",)),),
    precondition=(
        Literal(("near",), ROBOT, "object"),
        Literal(("holding",), ROBOT, "_", negated=True),
        Literal(("inside",), "object", "_", negated=True),
    ),
    effect=(Literal(("holding",), ROBOT, "object"),),
    horizon=200,
    commands=(0, 1, 2, 3, 4),
    observation_size=observation.PROPRIOCEPTION + 16 + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    flags=tuple(observation.PROPRIOCEPTION + i for i in (11, 15)),
    failed=failed,
    start=start,
    train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1),
)
