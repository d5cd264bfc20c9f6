"""A functional environment that compiles in no time and whose every number is known: episodes of 2 to 6 steps."""

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.types import TimeStep, restart, select, termination, transition, truncation


class ToyState(struct.PyTreeNode, kw_only=True):
    mark: jax.Array  # [] in [-1, 1], names the episode
    length: jax.Array  # [] int32, steps until it ends
    step: jax.Array  # [] int32


class Toy:
    """Observation: (mark, step). Reward: the first action. Ends after `length` steps: terminated where mark > 0, else truncated."""

    name = "toy"
    observation_size = 2
    action_size = 3
    horizon = 6

    def begin(self, key: jax.Array) -> tuple[ToyState, TimeStep]:
        k_mark, k_length = jax.random.split(key)
        state = ToyState(
            mark=jax.random.uniform(k_mark, minval=-1.0, maxval=1.0),
            length=jax.random.randint(k_length, (), 2, 7),
            step=jnp.zeros((), jnp.int32),
        )
        return state, restart(self._observe(state), self._metrics(state, jnp.asarray(False)))

    def step(self, state: ToyState, action: jax.Array) -> tuple[ToyState, TimeStep]:
        diverged = ~jnp.isfinite(action).all()
        state = state.replace(step=state.step + 1)
        obs, reward, metrics = self._observe(state), jnp.where(diverged, 0.0, action[0]), self._metrics(state, diverged)
        over = state.step >= state.length
        return state, select(
            over & (state.mark > 0) & ~diverged,
            over | diverged,
            termination(obs, reward, metrics),
            truncation(obs, reward, metrics),
            transition(obs, reward, metrics),
        )

    @staticmethod
    def _observe(state: ToyState) -> jax.Array:
        return jnp.stack([state.mark, state.step.astype(jnp.float32)])

    @staticmethod
    def _metrics(state: ToyState, diverged: jax.Array) -> dict[str, jax.Array]:
        return {"success": (state.step >= state.length) & (state.mark > 0), "diverged": diverged}
