"""Tasks about shelves: things put on them, and taken from them to somewhere else."""

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation.generator import sample_literals
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import ON, Goal, Scene, shelf_entity
from palaestra.sim.world import World


def attempt_goal(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Goal, jax.Array]:
    """`min_goals` to `max_goals` literals as elsewhere, and whether the goal may be used [] bool: some object goes to a shelf or
    starts on one. Key is consumed."""
    spec = world.spec
    literals = sample_literals(key, world, scene, min_goals, max_goals)
    shelf = shelf_entity(spec, jnp.arange(spec.shelves))
    laid = table_at_start(world, scene)[ON][:, shelf].any(-1)  # [E]
    object_ = 1 + jnp.arange(spec.objects)
    moved = ((literals.subject[:, None] == object_) | (literals.target[:, None] == object_)) & laid[object_]
    about = (literals.target[:, None] == shelf).any(-1) | moved.any(-1)
    good = (literals.used.sum() >= min_goals) & literals.used[0] & (about & literals.used).any()
    return goals.conjunction(spec, *literals), good
