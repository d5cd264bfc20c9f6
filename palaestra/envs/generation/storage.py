"""Tasks of storage: things put away in drawers, and drawers open or shut at the end."""

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.drawers import DRAWN
from palaestra.envs.generation import generator
from palaestra.envs.generation.generator import SceneRange
from palaestra.envs.types import INSIDE, OPEN, Goal, Scene
from palaestra.sim.drawers import DRAWER_TRAVEL
from palaestra.sim.world import World

_LEFT_OPEN = 0.4  # the probability that a drawer is open at the start,
_BARE = 0.25  # that a goal is about drawers alone,
_SHUT_AFTER = 0.6  # that a drawer is to be shut in the end that gets something,
_SHUT, _OPENED = 0.5, 0.3  # and of one that gets nothing, that it is to be shut where it is open, and opened where it is shut


def attempt_scene(key: jax.Array, world: World, ranges: SceneRange) -> tuple[Scene, jax.Array]:
    """A house in which some drawers are open, and whether everything found a place in it [] bool; key is consumed."""
    k_scene, k_open = jax.random.split(key)
    scene, fits = generator.attempt_scene(k_scene, world, ranges)
    out = jnp.where(jax.random.bernoulli(k_open, _LEFT_OPEN, (world.spec.drawers,)), DRAWER_TRAVEL, 0.0)
    return scene.replace(layout=scene.layout.replace(drawer_out=out)), fits


def attempt_goal(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Goal, jax.Array]:
    """`min_goals` to `max_goals` literals as elsewhere, or none of them, and how drawers are to be in the end; whether the goal may be
    used [] bool: it is about a drawer. Key is consumed.

    Nothing of it but a shut drawer holds at the start, and that of one which has to be opened first.
    """
    spec = world.spec
    k_literals, k_bare, k_state = jax.random.split(key, 3)
    literals = generator.sample_literals(k_literals, world, scene, min_goals, max_goals)
    bare = jax.random.bernoulli(k_bare, _BARE)
    used = literals.used & ~bare
    drawer = 1 + spec.objects + spec.receptacles - spec.drawers + jnp.arange(spec.drawers)
    gets = ((literals.target == drawer[:, None]) & (used & (literals.predicate == INSIDE))).any(-1)
    chance = jax.random.uniform(k_state, (spec.drawers,))
    is_open = scene.layout.drawer_out >= DRAWN
    shut = jnp.where(gets, chance < _SHUT_AFTER, is_open & (chance < _SHUT))
    opened = ~gets & ~is_open & (chance < _OPENED)
    goal = goals.conjunction(
        spec,
        jnp.append(literals.predicate, jnp.full(spec.drawers, OPEN)),
        jnp.append(literals.subject, drawer),
        jnp.append(literals.target, drawer),
        jnp.append(used, shut | opened),
        denied=jnp.append(jnp.zeros(len(used), bool), shut),
    )
    enough = bare | ((literals.used.sum() >= min_goals) & literals.used[0])
    return goal, enough & (gets | shut | opened).any()
