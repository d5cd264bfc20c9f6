"""Success rates that can be trusted: every episode has its own key, whatever the batch, and a rate comes with its interval."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.env import Env, Levelled
from palaestra.envs.types import TimeStep
from palaestra.policies.networks import Network, Policy, blank, wiped

# Training splits the seed's key; evaluation folds this into it, so that the two never meet (a test compares the keys).
_EVALUATION = 0x6576616C


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson 1927): (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes of n: got {successes} of {n}, expected 0 <= successes <= n and n >= 1")
    p = successes / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def rate(successes: int, n: int) -> dict[str, Any]:
    """`value`, `n` and its 95% `interval`, as every command prints them."""
    return {"value": successes / n, "n": n, "interval": list(wilson(successes, n))}


def evaluation_keys(seed: int, episodes: int) -> jax.Array:
    """[episodes] keys that no training run draws from."""
    base = jax.random.fold_in(jax.random.key(seed), _EVALUATION)
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.arange(episodes))


@dataclass(frozen=True)
class Result:
    """Episodes of one evaluation, in the order of their numbers."""

    success: np.ndarray  # [n] bool
    steps: np.ndarray  # [n] int
    total: np.ndarray  # [n] undiscounted return
    metrics: dict[str, np.ndarray]  # [n] each, at the end of the episode

    def summary(self) -> dict[str, Any]:
        won = int(self.success.sum())
        return {
            **rate(won, len(self.success)),
            "median_steps": float(np.median(self.steps[self.success])) if won else None,
            "mean_return": float(self.total.mean()),
        }


def joined(parts: Sequence[Result]) -> Result:
    """The evaluation of which these are the shares, in order."""
    metrics = jax.tree.map(lambda *xs: np.concatenate(xs), *(part.metrics for part in parts))
    success, steps, total = (np.concatenate([getattr(part, name) for part in parts]) for name in ("success", "steps", "total"))
    return Result(success=success, steps=steps, total=total, metrics=metrics)


def evaluate(
    env: Env,
    network: Network,
    policy: Policy,
    episodes: int,
    *,
    seed: int = 0,
    batch: int = 500,
    noise: int | None = None,
    wipe: bool = False,
    first: int = 0,
) -> Result:
    """Run `episodes` episodes of the deterministic policy, each once to its end.

    With `noise`, the policy explores as it does in training: trials with other numbers are the same episodes with other actions.
    With `wipe`, a policy's memory is blank not only where an episode begins but at the beginning of each of its trials
    (`palaestra.envs.trials`). With `first`, they are the episodes from that number on: shares of one evaluation, see `joined`.
    """
    keys = evaluation_keys(seed, first + episodes)[first:]
    size = min(batch, episodes)
    padded = jnp.concatenate([keys, keys[: -episodes % size]])  # whole batches, so that one program serves
    run = _program(env, network, noise is not None, wipe)  # type: ignore[arg-type]  # environments are told apart by identity
    number = jnp.asarray(noise or 0)
    return _result([run(policy, padded[i : i + size], number) for i in range(0, len(padded), size)], episodes)


def evaluate_random(env: Levelled[Any], levels: Any, numbers: Sequence[int], *, seed: int = 0, batch: int = 500) -> Result:
    """One episode from each of the levels (leading axis n, numbered), in which every action is drawn uniformly from [-1, 1]."""
    size = min(batch, len(numbers))
    padded = [*numbers, *[numbers[0]] * (-len(numbers) % size)]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(evaluation_keys(seed, 1)[0], jnp.asarray(padded))
    levels = jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[:1], -len(numbers) % size, 0)]), levels)
    run = _random_program(env)  # type: ignore[arg-type]  # environments are told apart by identity
    parts = [run(keys[i : i + size], jax.tree.map(lambda x, i=i: x[i : i + size], levels)) for i in range(0, len(padded), size)]
    return _result(parts, len(numbers))


def _result(parts: Sequence[dict[str, Any]], episodes: int) -> Result:
    """Records of batches as the evaluation of the first `episodes` of them."""
    whole = jax.tree.map(lambda *xs: np.concatenate(xs)[:episodes], *jax.device_get(parts))
    return Result(success=whole["metrics"]["success"], steps=whole["steps"], total=whole["total"], metrics=whole["metrics"])


@functools.lru_cache(maxsize=4)  # a curve evaluates many policies, and compiles once
def _program(env: Env, network: Network, explores: bool, wipes: bool) -> Callable[[Policy, jax.Array, jax.Array], dict[str, Any]]:
    """A batch of episodes by keys, with this number of noise."""

    def run(policy: Policy, keys: jax.Array, noise: jax.Array) -> dict[str, Any]:
        def act(memory: Any, obs: jax.Array, count: jax.Array) -> tuple[Any, jax.Array]:
            memory, (action, log_std, _) = policy.recall(network, memory, obs)
            if not explores:
                return memory, action
            draw = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, noise), count), action.shape[-1:]))
            return memory, action + jnp.exp(log_std) * draw(keys)

        return _episodes(env, jax.vmap(env.begin)(keys), act, blank(network, len(keys)), wipes)

    return jax.jit(run)


@functools.lru_cache(maxsize=1)
def _random_program(env: Levelled[Any]) -> Callable[[jax.Array, Any], dict[str, Any]]:
    """A batch of episodes by keys and levels."""

    def run(keys: jax.Array, levels: Any) -> dict[str, Any]:
        def act(memory: Any, obs: jax.Array, count: jax.Array) -> tuple[Any, jax.Array]:
            draw = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1 + count), (env.action_size,), minval=-1, maxval=1))
            return memory, draw(keys)

        begun = jax.vmap(env.reset)(jax.vmap(jax.random.fold_in, (0, None))(keys, 0), levels)
        return _episodes(env, begun, act, ())

    return jax.jit(run)


Act = Callable[[Any, jax.Array, jax.Array], tuple[Any, jax.Array]]  # memory, observations, number of the step -> memory, actions


def _episodes(env: Env, begun: tuple[Any, TimeStep], act: Act, memory: Any, wipes: bool = False) -> dict[str, Any]:
    """From these beginnings, each episode once to its end."""
    state, timestep = begun
    zero = jnp.zeros(len(timestep.observation))
    record = {"steps": zero.astype(jnp.int32), "total": zero, "metrics": timestep.metrics}

    def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        state, obs, over, record, count, memory = carry
        memory, action = act(memory, obs, count)
        state, timestep = jax.vmap(env.step)(state, action)
        if wipes:
            memory = wiped(memory, timestep.metrics["trial"] != record["metrics"]["trial"])
        record = {
            "steps": record["steps"] + ~over,
            "total": record["total"] + jnp.where(over, 0.0, timestep.reward),
            "metrics": jax.tree.map(lambda new, old: jnp.where(over, old, new), timestep.metrics, record["metrics"]),
        }
        return state, timestep.observation, over | timestep.done, record, count + 1, memory

    first = (state, timestep.observation, jnp.zeros(len(zero), bool), record, jnp.zeros((), jnp.int32), memory)
    return jax.lax.while_loop(lambda carry: ~carry[2].all(), one, first)[3]
