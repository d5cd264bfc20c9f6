"""What learners that step environments share: what is done around a rollout, and the steps down a gradient."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from palaestra.envs.autoreset import Act, AutoReset, BatchState
from palaestra.envs.types import TimeStep

_REFRESH = 0x72656672  # folded into a rollout's key for the sampler's own draws


def refreshed(envs: AutoReset, batch: BatchState, key: jax.Array, act: Act) -> BatchState:
    """The environments before a rollout with this key, which is not consumed."""
    sampler = envs.sampler.refresh(envs.env, batch.sampler, jax.random.fold_in(key, _REFRESH), act)
    return batch.replace(sampler=sampler)


def tally(timestep: TimeStep, returns: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """What the episodes that end with this step [B] came to, as sums, and the returns [B] of those that run on."""
    done, returns = timestep.done, returns + timestep.reward
    ended = {name: (value & done).sum() for name, value in timestep.metrics.items() if value.dtype == bool}
    ended |= {"episodes": done.sum(), "return": jnp.where(done, returns, 0.0).sum()}
    return ended, jnp.where(done, 0.0, returns)


def report_overflow(sums: dict[str, jax.Array], metrics: dict[str, Any]) -> None:
    """Warn of environments in which contacts found no room; `metrics` are those of every step [..., T, B]."""
    if np.any(sums.get("overflow", 0)):
        seen = np.asarray(metrics["overflow"])
        ids = np.flatnonzero(seen.any(tuple(range(seen.ndim - 1)))).tolist()
        warnings.warn(
            f"environments {ids}: more contacts than the engine has room for; these episodes were ended. Fix: more max_contacts",
            stacklevel=3,
        )


def annealed_adam(learning_rate: float | jax.Array, max_grad_norm: float, steps: int) -> optax.GradientTransformation:
    """Adam with clipped gradients, the rate falling linearly to a tenth in so many gradient steps."""
    rate = optax.linear_schedule(learning_rate, 0.1 * learning_rate, max(steps, 1))
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(rate, eps=1e-5))


def average(x: jax.Array, learn: jax.Array | None) -> jax.Array:
    """The mean [] of x over the steps that may be learned from, where `learn` is not 0; 0 where there are none. None is all."""
    return x.mean() if learn is None else (x * learn).sum() / jnp.maximum(learn.sum(), 1.0)
