"""place(object, receptacle): put what is held on a table or into a bin, and let go of it."""

import jax
import jax.numpy as jnp

from palaestra.envs import observation
from palaestra.envs.generation import poses
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.types import INSIDE, ON
from palaestra.sim.world import World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_ABOVE = 0.05  # m above table or rim, while not yet over it
_MARGIN = 0.06  # m from the edge, where it should be put down


def _to_target(world: World, view: View) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Offset from object to receptacle's centre, base frame [2] m; distance to where it may be put down, and height of the
    object's underside above table top or rim, [] m."""
    obj, recep = view.args[0], view.args[1]
    offset = view.geo.position[recep, :2] - view.geo.position[obj, :2]
    aside = jnp.linalg.norm(jnp.maximum(jnp.abs(offset) - (view.geo.half[recep] - _MARGIN), 0.0))
    height = view.geo.position[obj, 2] - view.scene.layout.object_half[obj - 1] - view.geo.position[recep, 2]
    return observation.to_base(view.geo.yaw, offset), aside, height


def _is_bin(world: World, view: View) -> jax.Array:
    return view.args[1] >= 1 + world.spec.objects + world.spec.tables


def _placed(view: View) -> jax.Array:
    return view.table[ON, view.args[0], view.args[1]] | view.table[INSIDE, view.args[0], view.args[1]]


def observe(world: World, view: View) -> jax.Array:
    obj, recep = view.args[0], view.args[1]
    offset, aside, height = _to_target(world, view)
    in_hand = observation.to_base(view.geo.yaw, view.geo.position[obj] - view.geo.grip)
    from_base = observation.to_base(view.geo.yaw, view.geo.position[recep, :2] - view.geo.robot)
    turn = 4 * view.geo.yaw
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(20 * in_hand, -3, 3),
            jnp.clip(2 * offset, -3, 3),
            jnp.tanh(8 * offset),
            2 * from_base,
            10 * view.geo.half[recep] - 1.5,
            jnp.stack(
                [
                    jnp.cos(turn),
                    jnp.sin(turn),
                    jnp.tanh(8 * aside),
                    jnp.clip(4 * height, -2, 2),
                    jnp.tanh(15 * height),
                    5 * view.geo.position[recep, 2],
                    _is_bin(world, view).astype(jnp.float32),
                    jnp.asarray(world.spec.are("ball"))[obj - 1].astype(jnp.float32),
                    40 * (view.scene.layout.object_half[obj - 1] - 0.03),
                    view.geo.grasped[obj - 1].astype(jnp.float32),
                    _placed(view).astype(jnp.float32),
                ]
            ),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    _, aside, height = _to_target(world, view)
    over = aside < 0.02
    low = jnp.where(_is_bin(world, view), -0.01, 0.005)  # m, from where it may be let go
    up = jnp.where(over, jnp.maximum(height - low, 0.0), jnp.maximum(_ABOVE - height, 0.0) + 0.05)
    come = 0.5 * tolerance(aside, 0.5) + 0.5 * tolerance(aside + up, 0.15)
    ready = over & (height <= low + 0.015)
    opening = jnp.where(ready, jnp.clip(1.0 - view.ctrl[4] / 0.053, 0.0, 1.0), 0.0)
    held = view.geo.grasped[view.args[0] - 1]
    return jnp.where(_placed(view), 1.0, jnp.where(held | ready, 0.6 * come + 0.2 * opening, 0.0))


def finished(world: World, view: View) -> jax.Array:
    return world.object_speed(view.physics.qvel)[view.args[0] - 1] < 0.1


def failed(world: World, view: View) -> jax.Array:
    del world
    return view.geo.released[view.args[0] - 1] & ~_placed(view)


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a receptacle, an object in the hand. Easy ones: the object above the receptacle."""
    k_scene, k_obj, k_recep, k_pose, k_easy, k_jitter, k_hand = jax.random.split(key, 7)
    spec = world.spec
    scene = sample_scene(k_scene, world, SceneRange.make(spec, on_table=0.1))
    lay = scene.layout
    held = starts.choose(k_obj, lay.object_used)
    others = lay.object_used & (jnp.arange(spec.objects) != held)
    pos, half = lay.fixture_pos[spec.walls :], lay.fixture_half[spec.walls :]
    over = (jnp.abs(lay.object_pos[:, None, :2] - pos[None, :, :2]) <= half[None, :, :2]).all(-1) & others[:, None]
    recep = starts.choose(k_recep, ~over.any(0))
    centre, side = pos[recep, :2], half[recep, :2]
    q, found = starts.pose_near(k_pose, world, scene, centre, side, held)
    jitter = jax.random.uniform(k_jitter, (5,), minval=-1.0, maxval=1.0)
    yaw = jnp.pi * jitter[2]
    at = centre - world.body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)]) + 0.08 * jitter[:2]
    lift = pos[recep, 2] + half[recep, 2] - world.body.grip_height + 0.12 + 0.05 * jitter[3]
    finger = poses.held_finger(world, scene, held)
    simple = jnp.stack([at[0], at[1], yaw, jnp.clip(lift, *world.body.lift_range), finger, finger])
    use_simple = jax.random.bernoulli(k_easy, easy) & ~starts.collides(world, scene, simple, held)
    q = jnp.where(use_simple, simple, q)
    scene = poses.in_hand(k_hand, world, scene, q, held)
    scene = scene.replace(layout=scene.layout.replace(robot_q=q))
    args = jnp.stack([1 + held, 1 + spec.objects + recep])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, held), args=args, valid=found | use_simple)


PLACE = Skill(
    name="place",
    version=1,
    doc="Put the object that the hand holds on a table or into a bin, and let go of it. Needs the robot near the receptacle.",
    params=(Param("object", ("object",)), Param("receptacle", ("table", "bin", "plate", "drawer", "shelf", "hamper"))),
    precondition=(Literal(("holding",), ROBOT, "object"), Literal(("near",), ROBOT, "receptacle")),
    effect=(Literal(("on", "inside"), "object", "receptacle"), Literal(("holding",), ROBOT, "object", negated=True)),
    horizon=200,
    commands=(0, 1, 2, 3, 4),
    observation_size=observation.PROPRIOCEPTION + 22 + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    flags=tuple(observation.PROPRIOCEPTION + i for i in (17, 18, 20, 21)),
    failed=failed,
    start=start,
    train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1),
)
