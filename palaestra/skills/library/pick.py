"""pick(object): take hold of an object that stands on the floor or on a table, and lift it."""

import jax
import jax.numpy as jnp

from palaestra.envs import observation
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.types import INSIDE
from palaestra.sim.world import World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.library.ways import to_reach
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
    ball = jnp.asarray(world.spec.are("ball"))[index].astype(jnp.float32)
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
    aside = to_reach(world, view.geo, view.geo.position[view.args[0], :2])
    height = jnp.where(aside > _OVER, 0.5 * jnp.abs(rel[2] + _HOVER) + 0.06, jnp.abs(rel[2]))
    reach = 0.5 * tolerance(aside, 1.0) + 0.5 * tolerance(aside + height, 0.125)
    turn = observation.quarter_turn(world, view.physics, view.geo)[index, 0]
    aligned = jnp.where(jnp.asarray(world.spec.are("ball"))[index], 1.0, 0.5 + 0.5 * turn)
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
    """The robot anywhere near an object, hand empty: about the room, reaching over a table or into a bin as other skills end, or
    with the hand at the object, as after putting it there; the latter are the easy ones. In half of the cases the object lies
    where the generator puts objects, in the others wherever a hand may have put or dropped it."""
    k_scene, k_which, k_laid, k_lay, k_near, k_reach, k_over, k_how, k_easy, k_shut = jax.random.split(key, 10)
    scene = sample_scene(k_scene, world, SceneRange.make(world.spec, on_table=0.5))
    none, index = jnp.asarray(-1), starts.choose(k_which, scene.layout.object_used)
    elsewhere, can_lie = starts.lay_down(k_lay, world, scene, index)
    laid = jax.random.bernoulli(k_laid) & can_lie
    scene = jax.tree.map(lambda new, old: jnp.where(laid, new, old), elsewhere, scene)
    at = scene.layout.object_pos[index, :2]
    poses, found = zip(
        starts.pose_near(k_near, world, scene, at, jnp.zeros(2), none),
        starts.pose_reaching(k_reach, world, scene, none),
        starts.pose_over(k_over, world, scene, index),
        strict=True,
    )
    how = jax.random.choice(k_how, 3, p=jnp.array([0.6, 0.25, 0.15]))
    how = jnp.where(jax.random.bernoulli(k_easy, easy), 2, how)
    q = jnp.stack(poses)[how]
    q = jnp.where(how < 2, starts.hand_shut(k_shut, q, 0.2), q)
    scene = scene.replace(layout=scene.layout.replace(robot_q=q))
    args = jnp.stack([1 + index, jnp.zeros((), jnp.int32)])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, none), args=args, valid=jnp.stack(found)[how])


PICK = Skill(
    name="pick",
    version=3,
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
    train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=2, buttons=1),
)
