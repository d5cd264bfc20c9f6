"""open(drawer), close(drawer): pull a drawer out by its handle, or push it back in. One form for both; each has weights of its own."""

import functools

import jax
import jax.numpy as jnp

from palaestra.envs import drawers, observation
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.predicates import GRASP_FORCE
from palaestra.sim.drawers import DRAWER_FLOOR, DRAWER_HEIGHT, DRAWER_RIM, DRAWER_TRAVEL
from palaestra.sim.world import Layout, World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_HOVER = 0.065  # m above where the handle is taken, while not yet over it
_OVER = 0.03  # m, nearer than this in the plane the hand is over the handle
_SHUT = 0.015  # m, out by no more than this a drawer is shut to the end
_OUT = 0.19  # m, out by as much it is open with a margin
_CLEAR = drawers.HANDLE_TOP + 0.030  # m, the height of the hand above which the fingers are off the handle
_LOOSE = 0.02  # m, a finger's set point when it lets go
_SLOW = 0.05  # m/s
_PALM = (0.035, 0.075)  # m, half of what hand and fingers take along and across
_FINGERTIPS = 0.03  # m, below the grip point
_ARM = 0.03  # m, half its width, and a little


def _drawer(world: World, view: View) -> jax.Array:
    """Which drawer it is, from 0 []."""
    return view.args[0] - (1 + world.spec.objects + world.spec.receptacles - world.spec.drawers)


def _out(world: World, view: View) -> tuple[jax.Array, jax.Array]:
    """How far out it is [] m, and how fast it goes outwards [] m/s."""
    which = _drawer(world, view)
    return world.drawer_q(view.physics.qpos)[which], world.drawer_q(view.physics.qvel)[which]


def _relative(world: World, view: View) -> jax.Array:
    """Where the handle is taken, relative to the grip point, base frame [3] m."""
    handle = drawers.handles(view.scene.layout, world.drawer_q(view.physics.qpos))[_drawer(world, view)]
    return observation.to_base(view.geo.yaw, jnp.append(handle, drawers.HANDLE_HEIGHT) - view.geo.grip)


def _enclosed(rel: jax.Array) -> jax.Array:
    """Whether the handle is between the fingers [] bool."""
    return (jnp.linalg.norm(rel[:2]) < _OVER) & (jnp.abs(rel[2]) < 0.03)


def _around(world: World, view: View) -> jax.Array:
    """How far the base has to go, around the cabinet, to where it reaches the handle from the front [] m.

    In polar coordinates about the cabinet: the straight way to the handle leads those who stand behind it to where they get stuck.
    """
    lay, which = view.scene.layout, _drawer(world, view)
    front = drawers.fronts(lay)[which]
    cabinet = lay.fixture_pos[world.spec.fixtures - world.spec.drawers + which, :2]
    stand = drawers.handles(lay, world.drawer_q(view.physics.qpos))[which] + world.body.reach * front - cabinet
    off = view.geo.robot - cabinet
    away, goal = jnp.linalg.norm(off), jnp.linalg.norm(stand)
    turn = jnp.arctan2(off[0] * front[1] - off[1] * front[0], off @ front)
    return jnp.hypot(away - goal, turn * (away + goal) / 2)


def _done(opened: bool, out: jax.Array) -> jax.Array:
    return out >= _OUT if opened else out <= _SHUT


def observe(world: World, view: View) -> jax.Array:
    rel = _relative(world, view)
    out, speed = _out(world, view)
    front = observation.to_base(view.geo.yaw, drawers.fronts(view.scene.layout)[_drawer(world, view)])
    held = _enclosed(rel) & (world.body.squeeze(view.physics.qpos, view.ctrl) >= GRASP_FORCE)
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(2 * rel, -3, 3),
            jnp.tanh(12 * rel),
            front,
            jnp.stack([10 * out - 1, jnp.tanh(20 * out), jnp.tanh(20 * (DRAWER_TRAVEL - out)), 5 * speed, held.astype(jnp.float32)]),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(opened: bool, world: World, view: View) -> jax.Array:
    rel = _relative(world, view)
    out, _ = _out(world, view)
    aside = jnp.linalg.norm(rel[:2])
    height = jnp.where(aside > _OVER, 0.5 * jnp.abs(rel[2] + _HOVER) + 0.06, jnp.abs(rel[2]))
    come = 0.5 * tolerance(_around(world, view), 1.0) + 0.5 * tolerance(aside + height, 0.125)
    closing = jnp.where(_enclosed(rel), jnp.clip(view.ctrl[4] / 0.045, 0.0, 1.0), 0.0)
    way = jnp.clip(out / _OUT, 0.0, 1.0)
    under_way = 0.15 * come + 0.1 * closing + 0.5 * (way if opened else 1.0 - way)
    raised = jnp.clip((view.geo.grip[2] - drawers.HANDLE_HEIGHT) / (_CLEAR + 0.03 - drawers.HANDLE_HEIGHT), 0.0, 1.0)
    loose = 1.0 - jnp.clip((view.ctrl[4] - _LOOSE) / 0.03, 0.0, 1.0)
    return jnp.where(_done(opened, out), 0.8 + 0.1 * raised + 0.1 * loose, under_way)


def finished(opened: bool, world: World, view: View) -> jax.Array:
    out, speed = _out(world, view)
    off = (view.geo.grip[2] >= _CLEAR) & (view.ctrl[4] <= _LOOSE)
    return _done(opened, out) & (jnp.abs(speed) < _SLOW) & off


def failed(world: World, view: View) -> jax.Array:
    return jnp.linalg.norm(_relative(world, view)[:2]) > 2.0


def start(opened: bool, key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a drawer, hand empty; at times something lies in it. Drawers to be opened are shut or ajar; those to be
    shut are open, and at times the hand is over the tray, as placing ends. Easy ones: the robot before the drawer, the open hand above
    the handle or around it."""
    k_scene, k_which, k_out, k_ajar, k_pose, k_easy, k_jitter, k_over, k_lies = jax.random.split(key, 9)
    spec = world.spec
    scene = sample_scene(k_scene, world, SceneRange.make(spec))
    which, none = starts.choose(k_which, scene.fixture_used[spec.fixtures - spec.drawers :]), jnp.asarray(-1)
    low, high, usual = (0.0, drawers.DRAWN - 0.01, 0.0) if opened else (drawers.DRAWN + 0.005, DRAWER_TRAVEL, DRAWER_TRAVEL)
    other = jax.random.uniform(k_out, (spec.drawers,), minval=low, maxval=high)
    out = jnp.where(jax.random.bernoulli(k_ajar, 0.4, (spec.drawers,)), other, usual)
    lay = scene.layout.replace(drawer_out=out)
    tray, inner = drawers.trays(lay, out)
    jitter = jax.random.uniform(k_jitter, (7,), minval=-1.0, maxval=1.0)
    lies = (jnp.arange(spec.objects) == 0) & jax.random.bernoulli(k_lies, 0.4) & lay.object_used
    inside = jnp.append(tray[which] + 0.05 * jitter[5:7], DRAWER_FLOOR + lay.object_half[0])
    lay = lay.replace(object_pos=jnp.where(lies[:, None], inside, lay.object_pos))
    scene = scene.replace(layout=lay)
    q, found = starts.pose_near(k_pose, world, scene, tray[which], inner[which], none)
    if not opened:
        k_use, *k_hand = jax.random.split(k_over, 4)
        over, fits = starts.pose_over_receptacle(tuple(k_hand), world, scene, none, spec.receptacles - spec.drawers + which)
        use_over = jax.random.bernoulli(k_use, 0.3) & fits & _clear(world, lay, which, over, tray[which], inner[which])
        q, found = jnp.where(use_over, over, q), found | use_over
    front = drawers.fronts(lay)[which]
    yaw = jnp.arctan2(-front[1], -front[0]) + 0.6 * jitter[2]
    forward = jnp.stack([jnp.cos(yaw), jnp.sin(yaw)])
    above = drawers.handles(lay, out)[which] - world.body.reach * forward + 0.015 * jitter[:2]
    lift = drawers.HANDLE_HEIGHT + 0.05 * (1 + jitter[3]) - world.body.grip_height
    simple = jnp.stack([above[0], above[1], yaw, lift, jnp.zeros(()), jnp.zeros(())])
    use_simple = jax.random.bernoulli(k_easy, easy) & ~starts.collides(world, scene, simple, none, spec.fixtures - spec.drawers + which)
    q = jnp.where(use_simple, simple, q)
    scene = scene.replace(layout=lay.replace(robot_q=q))
    args = jnp.stack([1 + spec.objects + spec.receptacles - spec.drawers + which, jnp.zeros((), jnp.int32)])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, none), args=args, valid=found | use_simple)


def _clear(world: World, lay: Layout, which: jax.Array, q: jax.Array, tray: jax.Array, inner: jax.Array) -> jax.Array:
    """Whether, with the robot at q [6], the hand is above the rim or within it with all that is as wide as the palm, and the arm above
    the cabinet or beside it [] bool."""
    body, cabinet = world.body, world.spec.fixtures - world.spec.drawers + which
    forward, left = jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])]), jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2])])
    corners = jnp.asarray([[x * _PALM[0], y * _PALM[1]] for x in (-1, 1) for y in (-1, 1)])
    at = q[:2] + body.reach * forward + corners @ jnp.stack([forward, left])
    height = body.grip_height + q[3]
    arm = q[:2] + jnp.linspace(0.0, body.reach, 9)[:, None] * forward - lay.fixture_pos[cabinet, :2]
    crosses = (jnp.abs(arm) < lay.fixture_half[cabinet, :2] + _ARM).all(-1).any()
    return ((height - _FINGERTIPS > DRAWER_RIM) | (jnp.abs(at - tray) < inner).all()) & ((height > DRAWER_HEIGHT) | ~crosses)


def _skill(name: str, opened: bool, doc: str) -> Skill:
    is_open = Literal(("open",), "drawer", "drawer")
    is_not = Literal(("open",), "drawer", "drawer", negated=True)
    return Skill(
        name=name,
        version=1,
        doc=doc,
        params=(Param("drawer", ("drawer",)),),
        precondition=(
            Literal(("near",), ROBOT, "drawer"),
            Literal(("holding",), ROBOT, "_", negated=True),
            is_not if opened else is_open,
        ),
        effect=(is_open if opened else is_not,),
        horizon=200,
        commands=(0, 1, 2, 3, 4),
        observation_size=observation.PROPRIOCEPTION + 13 + observation.SURROUNDINGS,
        observe=observe,
        reward=functools.partial(reward, opened),
        finished=functools.partial(finished, opened),
        failed=failed,
        start=functools.partial(start, opened),
        flags=(observation.PROPRIOCEPTION + 12,),
        gate=0.95,
        train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1, drawers=1),
    )


OPEN = _skill("open", True, "Pull a drawer out by its handle, with the empty hand. It stays open. Needs the robot near the drawer.")
CLOSE = _skill(
    "close", False, "Push an open drawer back in, with the empty hand; what lies in it stays there. Needs the robot near the drawer."
)
