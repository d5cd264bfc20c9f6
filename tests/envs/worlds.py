"""Generated tasks on the host, shared by tests."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.generation import styles
from palaestra.envs.generation.generator import SceneRange, attempt_task, draw_until
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import TASK_SETS, TaskRange, TaskSetEnv
from palaestra.envs.types import Scene, Task
from palaestra.sim.world import WorldSpec, world

NINE = WorldSpec(cubes=6, balls=2, tables=3, bins=2, rooms=9)


@functools.cache
def env(name: str = "rearrange", split: str = "train") -> TaskSetEnv:
    return TaskSetEnv(name, split)


@functools.cache
def tasks(name: str = "rearrange", split: str = "train", count: int = 256) -> Task:
    """`count` tasks as numpy arrays, leading axis `count`: the first of those of another count."""
    ranges, sample = env(name, split).task_range, _sampler(name, split if TASK_SETS[name].axis or split == "larger" else "train")
    return _some_at_a_time(lambda keys: sample(ranges, keys), jax.random.split(jax.random.key(7), count))


def tables(spec: WorldSpec, scene: Scene) -> np.ndarray:
    """The truth tables of scenes [B, ...] at the start: [B, predicates, E, E] bool."""
    return _some_at_a_time(_perceiver(spec), scene)


# Compiling is what takes time: one program serves all splits of a set that differ by traced ranges, and all numbers of tasks.
@functools.cache
def _sampler(name: str, split: str) -> Callable[[TaskRange, jax.Array], Task]:
    e = env(name, split)
    return jax.jit(lambda ranges, keys: e.within(ranges).sample_tasks(keys))


@functools.cache
def _perceiver(spec: WorldSpec) -> Callable[[Scene], jax.Array]:
    return jax.jit(jax.vmap(functools.partial(table_at_start, world(spec))))


def _some_at_a_time(made: Callable, batch, at_once: int = 128):
    """What a program makes of a batch, in parts of one size, on the host."""
    count = len(jax.tree.leaves(batch)[0])
    parts = [np.arange(at, at + at_once) % count for at in range(0, count, at_once)]
    done = [jax.device_get(made(jax.tree.map(lambda x: x[part], batch))) for part in parts]  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *done)


@functools.cache
def large_tasks(count: int = 60) -> Task:
    """Tasks in a world of nine rooms, as `tasks` gives them: houses of five to nine in turn."""
    ranges, goals = SceneRange.make(NINE), (jnp.asarray(1), jnp.asarray(3))

    def sample(key: jax.Array, n: jax.Array) -> Task:
        return draw_until(key, lambda k: attempt_task(k, world(NINE), ranges.replace(min_rooms=n, max_rooms=n), *goals))

    return jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(7), count), 5 + jnp.arange(count) % 5))


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
    draw = jax.jit(jax.vmap(sample))
    return jax.device_get(draw(keys, least + number // len(names) % (NINE.rooms + 1 - least), weights))


def one(batch, index: int):
    return jax.tree.map(lambda x: np.asarray(x)[index], batch)
