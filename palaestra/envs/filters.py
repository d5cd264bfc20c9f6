"""Parts of a task set: a sampler of tasks that draws until one is wanted. On device, so that it can run inside a reset.

    sample = filtered(env.sample_task, lambda task: (num_rooms(task) == 3) & (num_terms(task) >= 2))

`palaestra tasks --rooms 3 --terms 2 3` does the same by number, and by length of plan (`--lengths 8`).
"""

from collections.abc import Callable

import jax

from palaestra.envs.generation.generator import draw_until, not_needed
from palaestra.envs.types import Task


def num_rooms(task: Task) -> jax.Array:
    """Of its house [] int."""
    return task.scene.room_used.sum(-1)


def num_terms(task: Task) -> jax.Array:
    """Of its goal [] int."""
    return task.goal.used.sum(-1)


def num_spare(task: Task) -> jax.Array:
    """Of the objects that its goal does not name [] int."""
    return not_needed(task).sum(-1)


def filtered(sample: Callable[[jax.Array], Task], keep: Callable[[Task], jax.Array]) -> Callable[[jax.Array], Task]:
    """`sample(key) -> Task` over the tasks for which `keep(task)` [] bool is true; it never ends where there are none."""

    def attempt(key: jax.Array) -> tuple[Task, jax.Array]:
        task = sample(key)
        return task, keep(task)

    return lambda key: draw_until(key, attempt)
