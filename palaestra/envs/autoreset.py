"""Auto-reset, as one wrapper over a batch: a fresh task every episode, and the terminal observation is never lost."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.env import Env
from palaestra.envs.types import TimeStep


class BatchState(struct.PyTreeNode, kw_only=True):
    """The state of B environments, and what the policy should look at next."""

    env: Any  # the environments' states, leading axis B
    observation: jax.Array  # [B, obs]: of the new episode where one has just begun
    key: jax.Array  # [B] an environment's own stream of episodes
    episode: jax.Array  # [B] int32, episodes begun


class AutoReset:
    """`num_envs` copies of an environment. Environment i's n-th episode depends on its key and n alone.

    Ended episodes are replaced in the same step, a few at a time, until none is left: the cost of making tasks is paid for
    those that ended, not for the whole batch, and no episode ever starts from a cached state.
    """

    def __init__(self, env: Env, num_envs: int):
        if num_envs < 1:
            raise ValueError(f"num_envs: got {num_envs}, expected 1 or more")
        self.env, self.num_envs = env, num_envs
        self._chunk = max(1, num_envs // 128)  # about as many as end in a step

    def reset(self, keys: jax.Array) -> tuple[BatchState, TimeStep]:
        """Start every environment; keys [B]."""
        episode = jnp.zeros(self.num_envs, jnp.int32)
        env, timestep = jax.vmap(self._begin)(keys, episode)
        return BatchState(env=env, observation=timestep.observation, key=keys, episode=episode + 1), timestep

    def step(self, state: BatchState, action: jax.Array) -> tuple[BatchState, TimeStep]:
        """Step all; the TimeStep is of the episode that the action belongs to, its terminal observation included."""
        env, timestep = jax.vmap(self.env.step)(state.env, action)
        return self.replace(state.replace(env=env, observation=timestep.observation), timestep.done), timestep

    def replace(self, state: BatchState, done: jax.Array) -> BatchState:
        """Begin a new episode where `done` [B] holds."""

        def some(carry: tuple[BatchState, jax.Array]) -> tuple[BatchState, jax.Array]:
            state, pending = carry
            (ids,) = jnp.nonzero(pending, size=self._chunk, fill_value=self.num_envs)
            at = jnp.minimum(ids, self.num_envs - 1)
            env, timestep = jax.vmap(self._begin)(state.key[at], state.episode[at])

            def put(old: jax.Array, new: jax.Array) -> jax.Array:
                return old.at[ids].set(new, mode="drop")

            new = state.replace(
                env=jax.tree.map(put, state.env, env),
                observation=put(state.observation, timestep.observation),
                episode=state.episode.at[ids].add(1, mode="drop"),
            )
            return new, pending.at[ids].set(False, mode="drop")

        return jax.lax.while_loop(lambda carry: carry[1].any(), some, (state, done))[0]

    def _begin(self, key: jax.Array, episode: jax.Array) -> tuple[Any, TimeStep]:
        return self.env.begin(jax.random.fold_in(key, episode))
