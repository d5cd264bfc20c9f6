"""Generated tasks on the host, shared by tests."""

import functools

import jax
import numpy as np

from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Task


@functools.cache
def env(name: str = "rearrange", split: str = "train") -> TaskSetEnv:
    return TaskSetEnv(name, split)


@functools.cache
def tasks(name: str = "rearrange", split: str = "train", count: int = 256) -> Task:
    """`count` tasks as numpy arrays, leading axis `count`."""
    keys = jax.random.split(jax.random.key(7), count)
    return jax.device_get(jax.jit(jax.vmap(env(name, split).sample_task))(keys))


def one(batch, index: int):
    return jax.tree.map(lambda x: np.asarray(x)[index], batch)
