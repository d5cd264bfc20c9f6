"""press(button), turn_on(toggle), turn_off(toggle): push a button down from above, with an empty hand. One form for all; each has weights
of its own. What springs back has to be let go of: a hand, or an arm, that stays on a toggle would push it again on its way."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from palaestra.envs import observation
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.types import PRESSED, button_entity
from palaestra.sim.world import BUTTON_HALF, World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.library.ways import to_reach
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_OVER = 0.025  # m, nearer than this in the plane the hand is over the cap
_HOVER = 0.06  # m above the cap, while not yet over it
_CLEAR = 0.04  # m above the cap, from where the hand has let go of it
_FINGER = 0.027  # m, from the grip point to the fingers' undersides


@dataclass(frozen=True)
class _Push:
    """Which of the three it is."""

    toggles: bool = False
    on: bool = True  # what it turns a toggle, and makes a button


def _relative(view: View) -> jax.Array:
    """The cap's top relative to the fingers' undersides, base frame [3] m."""
    under = view.geo.grip - jnp.array([0.0, 0.0, _FINGER])
    return observation.to_base(view.geo.yaw, view.geo.position[view.args[0]] - under)


def _done(push: _Push, view: View) -> jax.Array:
    pressed = view.table[PRESSED, view.args[0], view.args[0]]
    return pressed if push.on else ~pressed


def observe(push: _Push, world: World, view: View) -> jax.Array:
    rel = _relative(view)
    turn = 4 * view.geo.yaw
    _, up = world.mechanism_q(view.physics.qpos)
    sunk = -up[view.args[0] - button_entity(world.spec, 0)]
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(2 * rel, -3, 3),
            jnp.tanh(12 * rel),
            jnp.stack([jnp.cos(turn), jnp.sin(turn), 100 * sunk, _done(push, view).astype(jnp.float32)]),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(push: _Push, world: World, view: View) -> jax.Array:
    rel = _relative(view)
    aside = to_reach(world, view.geo, view.geo.position[view.args[0], :2])
    height = jnp.where(aside > _OVER, 0.5 * jnp.abs(rel[2] + _HOVER) + 0.06, jnp.maximum(-rel[2], 0.0))
    come = 0.5 * tolerance(aside, 1.0) + 0.5 * tolerance(aside + height, 0.125)
    closed = jnp.clip(view.ctrl[4] / 0.05, 0.0, 1.0)
    raised = jnp.clip(-rel[2] / (_CLEAR + 0.01), 0.0, 1.0) if push.toggles else 1.0
    return jnp.where(_done(push, view), 0.8 + 0.2 * raised, come * (0.5 + 0.2 * closed))


def finished(push: _Push, world: World, view: View) -> jax.Array:
    del world
    return _relative(view)[2] <= -_CLEAR if push.toggles else jnp.asarray(True)


def failed(world: World, view: View) -> jax.Array:
    del world
    return jnp.linalg.norm(view.geo.position[view.args[0], :2] - view.geo.robot) > 1.6


def start(push: _Push, key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a button, hand empty; toggles that are to be turned off are on. Easy ones: the closed hand above the cap."""
    k_scene, k_which, k_pose, k_easy, k_jitter = jax.random.split(key, 5)
    scene = sample_scene(k_scene, world, SceneRange.make(world.spec))
    lay, none = scene.layout.replace(toggle_on=jnp.full(world.spec.toggles, not push.on)), jnp.asarray(-1)
    number, plain = jnp.arange(world.spec.buttons), world.spec.buttons - world.spec.toggles
    mine = scene.button_used & (number >= plain if push.toggles else number < plain)
    index = starts.choose(k_which, mine)
    centre = lay.button_pos[index]
    q, found = starts.pose_near(k_pose, world, scene, centre, jnp.full(2, BUTTON_HALF), none)
    jitter = jax.random.uniform(k_jitter, (4,), minval=-1.0, maxval=1.0)
    yaw = jnp.pi * jitter[2]
    over = centre - world.body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)]) + 0.03 * jitter[:2]
    simple = jnp.stack([over[0], over[1], yaw, 0.0 + 0.03 * jitter[3], jnp.asarray(0.05), jnp.asarray(0.05)])
    use_simple = jax.random.bernoulli(k_easy, easy) & ~starts.collides(world, scene, simple, none)
    q = jnp.where(use_simple, simple, q)
    scene = scene.replace(layout=lay.replace(robot_q=q))
    args = jnp.stack([button_entity(world.spec, index), jnp.zeros((), jnp.int32)])
    return Start(scene=scene, ctrl=starts.set_points(world, scene, q, none), args=args, valid=found | use_simple)


def _skill(name: str, push: _Push, doc: str) -> Skill:
    kind = "toggle" if push.toggles else "button"
    near, empty = Literal(("near",), ROBOT, kind), Literal(("holding",), ROBOT, "_", negated=True)
    before, after = (Literal(("pressed",), kind, kind, negated=negated) for negated in (push.on, not push.on))
    return Skill(
        name=name,
        version=1,
        doc=doc,
        params=(Param(kind, (kind,)),),
        precondition=(near, empty, before) if push.toggles else (near, empty),
        effect=(after,),
        horizon=200,
        commands=(0, 1, 2, 3, 4),
        observation_size=observation.PROPRIOCEPTION + 10 + observation.SURROUNDINGS,
        observe=functools.partial(observe, push),
        reward=functools.partial(reward, push),
        finished=functools.partial(finished, push),
        failed=failed,
        start=functools.partial(start, push),
        flags=(observation.PROPRIOCEPTION + 9,),
        train_spec=WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1, buttons=1, toggles=int(push.toggles)),
    )


PRESS = _skill("press", _Push(), "Push a button down with the empty hand. It stays down. Needs the robot near the button.")
TURN_ON = _skill(
    "turn_on",
    _Push(toggles=True),
    "Push a toggle that is off, with the empty hand, so that it is on: it is pressed as long as it is on. Needs the robot near the toggle.",
)
TURN_OFF = _skill(
    "turn_off",
    _Push(toggles=True, on=False),
    "Push a toggle that is on, with the empty hand, so that it is off. Needs the robot near the toggle.",
)
