"""`palaestra bench reset`: what a fresh task for every episode costs.

Two environments of 200-step episodes whose ends are spread evenly over the steps: one makes a new task whenever an episode
ends, the other goes on for ever. Both write, step and observe the same; what differs is the resets.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.bench.vector import Functional
from palaestra.envs.tasksets import TaskSetEnv, task_set
from palaestra.sim.engines import make_engine
from palaestra.sim.world import world

_LENGTH = 200  # control steps an episode


def bench(settings: Settings) -> dict[str, Any]:
    """The share of the step time that resets add."""
    num_envs, steps = settings.num_envs or 512, settings.steps or 100
    env = TaskSetEnv(
        "rearrange", engine=make_engine(settings.engine or "native", world(task_set("rearrange").spec), threads=settings.threads)
    )
    env.horizon = _LENGTH
    fresh, forever = Functional(env, num_envs, steps), Functional(env, num_envs, steps, reset=False)
    for each in (fresh, forever):
        each.state = each.state.replace(env=each.state.env.replace(step=jnp.arange(num_envs, dtype=jnp.int32) % _LENGTH))
    seconds = take_turns({"fresh tasks": fresh.run, "no resets": forever.run}, settings.repetitions)
    shares = seconds["fresh tasks"] / seconds["no resets"] - 1
    return {
        "value": float(np.median(shares)),
        "spread": spread(shares),
        "control_steps_per_second": rates(seconds, num_envs * steps),
        "episodes_a_run": fresh.episodes,
        "episode_length": _LENGTH,
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
    }
