"""Generated tasks on the host, shared by tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.generation import styles
from palaestra.envs.generation.generator import SceneRange, attempt_task, draw_until
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Task
from palaestra.sim.world import WorldSpec, world

QUICK: dict = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # to compile; such code runs slowly
NINE = WorldSpec(cubes=6, balls=2, tables=3, bins=2, rooms=9)


@functools.cache
def env(name: str = "rearrange", split: str = "train") -> TaskSetEnv:
    return TaskSetEnv(name, split)


@functools.cache
def tasks(name: str = "rearrange", split: str = "train", count: int = 256) -> Task:
    """`count` tasks as numpy arrays, leading axis `count`."""
    keys = jax.random.split(jax.random.key(7), count)
    return jax.device_get(jax.jit(env(name, split).sample_tasks, compiler_options=QUICK)(keys))


@functools.cache
def large_tasks(count: int = 60) -> Task:
    """Tasks in a world of nine rooms, as `tasks` gives them: houses of five to nine in turn."""
    ranges, goals = SceneRange.make(NINE), (jnp.asarray(1), jnp.asarray(3))

    def sample(key: jax.Array, n: jax.Array) -> Task:
        return draw_until(key, lambda k: attempt_task(k, world(NINE), ranges.replace(min_rooms=n, max_rooms=n), *goals))

    return jax.device_get(
        jax.jit(jax.vmap(sample), compiler_options=QUICK)(jax.random.split(jax.random.key(7), count), 5 + jnp.arange(count) % 5)
    )


@functools.cache
def styled_tasks(count: int = 60) -> Task:
    """Tasks in the world of nine rooms, as `tasks` gives them: all styles of layout in turn, each in all its sizes from two rooms on."""
    ranges, goals, names = SceneRange.make(NINE), (jnp.asarray(1), jnp.asarray(3)), styles.STYLES
    number = np.arange(count)
    least = np.array([max(2, styles.LEAST_ROOMS[name]) for name in names])[number % len(names)]

    def sample(key: jax.Array, n: jax.Array, weight: jax.Array) -> Task:
        these = ranges.replace(min_rooms=n, max_rooms=n, styles=weight)
        return draw_until(key, lambda k: attempt_task(k, world(NINE), these, *goals))

    keys = jax.random.split(jax.random.key(11), count)
    weights = jnp.eye(len(names))[number % len(names)]
    draw = jax.jit(jax.vmap(sample), compiler_options=QUICK)
    return jax.device_get(draw(keys, least + number // len(names) % (NINE.rooms + 1 - least), weights))


def one(batch, index: int):
    return jax.tree.map(lambda x: np.asarray(x)[index], batch)
