"""A functional environment seen from the host: compiled once a process, numbers, words and pictures out.

Gymnasium and Stable-Baselines3 stand on this. Episodes begin one at a time, by one program that single and batched
environments share, so that an episode's start never depends on how many others there are.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import arguments
from palaestra.envs.env import Env
from palaestra.envs.tasksets import TaskSetEnv, task_set
from palaestra.envs.types import Scene, State, TimeStep, row


class Host:
    """The compiled functions of one environment. Its states are handed in and out; nothing is kept."""

    def __init__(self, env: Env[Any]):
        self.env = env
        self.step = jax.jit(env.step)
        self.step_all = jax.jit(jax.vmap(env.step))
        self.put = jax.jit(lambda batch, i, one: jax.tree.map(lambda rows, row: rows.at[i].set(row), batch, one))
        self._begin = jax.jit(lambda seed: env.begin(jax.random.key(seed)))
        self._pictures: Any = None

    @property
    def options(self) -> tuple[str, ...]:
        """What a reset can ask for: `task`, where tasks have numbers."""
        return ("task",) if isinstance(self.env, TaskSetEnv) else ()

    def begin(self, seed: int, task: int | None = None) -> tuple[Any, TimeStep]:
        """The episode of this seed; of task number `task` where one is given. Both are below 2³¹."""
        if task is None:
            return self._begin(np.int32(seed))
        return self._begin_numbered(np.int32(seed), np.int32(task))

    @staticmethod
    def tile(state: Any, count: int) -> Any:
        """A batch that holds `state` in every row."""
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), state)

    row = staticmethod(row)

    @staticmethod
    def metrics(timestep: TimeStep) -> dict[str, Any]:
        """The metrics of one environment as Python's own numbers."""
        return {key: np.asarray(value).item() for key, value in timestep.metrics.items()}

    @staticmethod
    def columns(timestep: TimeStep) -> dict[str, np.ndarray]:
        """The metrics of a batch, each [num_envs], in the types that Python's numbers have."""
        wide = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
        return {key: np.array(value, wide[np.asarray(value).dtype.kind]) for key, value in timestep.metrics.items()}

    def words(self, state: Any, seed: int) -> dict[str, str]:
        """The task in words chosen by `seed`, as `instruction`; nothing where an environment has no words."""
        if not isinstance(state, State):
            return {}
        env: Any = self.env
        return {"instruction": env.instruction(jax.tree.map(np.asarray, state.task), seed)}

    def frame(self, state: Any, title: str = "") -> np.ndarray:
        """The state from above [H, W, 3] uint8."""
        if self._pictures is None:
            from palaestra.envs.display.render import TopDown

            self._pictures = TopDown(self.env.world)  # type: ignore[attr-defined]
        if not isinstance(state, State):
            scene: Scene = state.scene
            return self._pictures.frame(scene, state.physics, title=title)
        holds = np.asarray(self._holds(state))
        shown: bool = getattr(self.env, "show_rules", False)
        return self._pictures.frame(state.task.scene, state.physics, goal=state.task.goal, holds=holds, title=title, rules=shown)

    @cached_property
    def _begin_numbered(self) -> Any:
        env: Any = self.env
        return jax.jit(lambda seed, task: env.reset(jax.random.key(seed), env.task(task)))

    @cached_property
    def _holds(self) -> Any:
        env: Any = self.env
        return jax.jit(env.terms)


# The one `Host` of a functional environment: however many wrap it, it compiles once.
host: Callable[[Env[Any]], Host] = cast(Any, lru_cache(maxsize=16)(Host))


def task_set_env(name: str, split: str, horizon: int | None = None, at_most: int | None = None) -> TaskSetEnv:
    """The one object for a set, a split and a horizon; `horizon` and `at_most` as in `arguments.horizon`."""
    return _task_set_env(name, split, arguments.horizon(task_set(name).of(split).horizon, horizon, at_most))


@lru_cache(maxsize=16)
def _task_set_env(name: str, split: str, horizon: int) -> TaskSetEnv:
    env = TaskSetEnv(name, split)
    env.horizon = horizon
    return env
