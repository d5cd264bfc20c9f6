"""`palaestra bench reset`: what a fresh task for every episode costs.

Two runs from the same states with the same actions, in episodes of 200 steps whose ends are spread evenly over the steps. Where an
episode ends, one makes a new task; the other takes one of 512 that were made before, as environments with cached starts do.
(Without any resets everything would come to rest and be solved sooner: that is no part of the price of a task.) What both pay,
writing the new task into the model's fields, is timed alone and added.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.bench.vector import Functional
from palaestra.envs.tasksets import TaskSetEnv, task_set
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import world

_LENGTH = 200  # control steps an episode
_STORED = 512


class _Stored:
    """An environment whose episodes begin in one of the given states, drawn at random."""

    def __init__(self, env: Any, starts: Any):
        self.env, self.starts = env, starts
        self.name, self.horizon = env.name, env.horizon
        self.observation_size, self.action_size = env.observation_size, env.action_size
        self.step: Callable[..., Any] = env.step

    def begin(self, key: jax.Array) -> Any:
        i = jax.random.randint(key, (), 0, _STORED)
        return jax.tree.map(lambda x: x[i], self.starts)


def bench(settings: Settings) -> dict[str, Any]:
    """The share of the step time that fresh tasks add."""
    num_envs, steps = settings.num_envs or 512, settings.steps or 100
    engine = NativeEngine(world(task_set("rearrange").spec), settings.threads)
    env = TaskSetEnv("rearrange", engine=engine)
    env.horizon = _LENGTH
    starts = jax.jit(jax.vmap(env.begin))(jax.random.split(jax.random.key(2), _STORED))
    fresh, stored = Functional(env, num_envs, steps), Functional(_Stored(env, starts), num_envs, steps)
    fresh.state = fresh.state.replace(env=fresh.state.env.replace(step=jnp.arange(num_envs, dtype=jnp.int32) % _LENGTH))
    stored.state, stored.key = fresh.run(), fresh.key
    seconds = take_turns({"fresh tasks": fresh.again, "stored tasks": stored.again}, settings.repetitions)
    writing = _write(engine, np.asarray(starts[0].physics.parameters), num_envs, max(1, round(num_envs / _LENGTH)))
    added = writing * steps / np.median(seconds["stored tasks"])
    shares = seconds["fresh tasks"] / seconds["stored tasks"] - 1 + added
    return {
        "value": float(np.median(shares)),
        "spread": spread(shares),
        "of_which_writing": float(added),
        "control_steps_per_second": rates(seconds, num_envs * steps),
        "episode_length": _LENGTH,
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
    }


def _write(engine: NativeEngine, parameters: np.ndarray, num_envs: int, changed: int) -> float:
    """Seconds a step to write the tasks of `changed` environments of a batch into the model's fields."""
    sims = engine.simulations(num_envs)
    rows = np.resize(parameters, (num_envs, parameters.shape[1]))
    other = rows.copy()
    other[:changed] = np.roll(parameters, 1, axis=0)[:changed]
    pair = take_turns({"a": lambda: sims.write(rows), "b": lambda: sims.write(other)}, 50)
    return float(np.median(np.concatenate(list(pair.values()))))
