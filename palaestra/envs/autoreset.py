"""Auto-reset, as one wrapper over a batch: a fresh task every episode, and the terminal observation is never lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.env import Env
from palaestra.envs.types import TimeStep

Act = Callable[[jax.Array, jax.Array], jax.Array]  # (key, observations [B, obs]) -> actions [B, a] of the policy as it explores


class Sampler(Protocol):
    """Says what episodes begin from. Pure functions over a state on device, which rides in the batch's and so in checkpoints."""

    def init(self, env: Env, keys: jax.Array) -> tuple[Any, Any, TimeStep]:
        """The first episode of every environment, by keys [B]: the sampler's state, the environments' and their TimeSteps."""
        ...

    def refresh(self, env: Env, state: Any, key: jax.Array, act: Act) -> Any:
        """The state before the next rollout; key is consumed."""
        ...

    def watch(self, state: Any, value: jax.Array, timestep: TimeStep) -> Any:
        """The state after a step of every environment; `value` [B] is what the policy expected before it, in units of reward."""
        ...

    def turn(self, env: Env, state: Any, ids: jax.Array, keys: jax.Array) -> tuple[Any, Any, TimeStep]:
        """The episodes of environments `ids` [k] are over, and others begin by keys [k]. An id of B stands for none."""
        ...

    def learns(self, state: Any) -> jax.Array | None:
        """Whose present episode the policy may learn from [B] bool; None is everyone's."""
        ...

    def renew(self, env: Env, state: Any, rollouts: int, folder: Path) -> Any:
        """The state after so many rollouts; on the host, where what is no program for the device can be done. What is worth keeping
        goes to the run's folder."""
        ...

    def cost(self, env: Env, rollouts: int) -> int:
        """Environment steps that `refresh` has made before this many rollouts were."""
        ...


class Randomise:
    """Domain randomisation: every episode begins from a fresh level of the environment's own distribution."""

    def init(self, env: Env, keys: jax.Array) -> tuple[Any, Any, TimeStep]:
        return (), *jax.vmap(env.begin)(keys)

    def refresh(self, env: Env, state: Any, key: jax.Array, act: Act) -> Any:
        del env, key, act
        return state

    def watch(self, state: Any, value: jax.Array, timestep: TimeStep) -> Any:
        del value, timestep
        return state

    def turn(self, env: Env, state: Any, ids: jax.Array, keys: jax.Array) -> tuple[Any, Any, TimeStep]:
        del ids
        return state, *jax.vmap(env.begin)(keys)

    def learns(self, state: Any) -> None:
        del state

    def renew(self, env: Env, state: Any, rollouts: int, folder: Path) -> Any:
        del env, rollouts, folder
        return state

    def cost(self, env: Env, rollouts: int) -> int:
        del env, rollouts
        return 0


class BatchState(struct.PyTreeNode, kw_only=True):
    """The state of B environments, and what the policy should look at next."""

    env: Any  # the environments' states, leading axis B
    observation: jax.Array  # [B, obs]: of the new episode where one has just begun
    key: jax.Array  # [B] an environment's own stream of episodes
    episode: jax.Array  # [B] int32, episodes begun
    sampler: Any = ()  # what the sampler remembers


class AutoReset:
    """`num_envs` copies of an environment. Environment i's n-th episode depends on its key, n and the sampler's state alone.

    Ended episodes are replaced in the same step, a few at a time, until none is left: the cost of making tasks is paid for
    those that ended, not for the whole batch. With the default sampler no episode ever starts from a cached state; curricula begin
    some from levels that they remember.
    """

    def __init__(self, env: Env, num_envs: int, sampler: Sampler | None = None):
        if num_envs < 1:
            raise ValueError(f"num_envs: got {num_envs}, expected 1 or more")
        self.env, self.num_envs = env, num_envs
        self.sampler = sampler or Randomise()
        self._chunk = max(1, num_envs // 128)  # about as many as end in a step

    def reset(self, keys: jax.Array) -> tuple[BatchState, TimeStep]:
        """Start every environment; keys [B]."""
        episode = jnp.zeros(self.num_envs, jnp.int32)
        sampler, env, timestep = self.sampler.init(self.env, jax.vmap(jax.random.fold_in)(keys, episode))
        return BatchState(env=env, observation=timestep.observation, key=keys, episode=episode + 1, sampler=sampler), timestep

    def step(self, state: BatchState, action: jax.Array, value: jax.Array | None = None) -> tuple[BatchState, TimeStep]:
        """Step all; the TimeStep is of the episode that the action belongs to, its terminal observation included.

        `value` [B]: what the policy expects from here, in units of reward, for samplers that score levels by it.
        """
        env, timestep = jax.vmap(self.env.step)(state.env, action)
        sampler = self.sampler.watch(state.sampler, jnp.zeros(self.num_envs) if value is None else value, timestep)
        return self.replace(state.replace(env=env, observation=timestep.observation, sampler=sampler), timestep.done), timestep

    def replace(self, state: BatchState, done: jax.Array) -> BatchState:
        """Begin a new episode where `done` [B] holds.

        Under vmap, with the default sampler, R batches are one of R · B: a loop for each, with the others waiting, would write all
        states over and over. Curricula keep what their batch remembers apart.
        """
        if not isinstance(self.sampler, Randomise):
            return self._replace(state, done)
        folded = jax.custom_batching.custom_vmap(self._replace)

        @folded.def_vmap
        def fold(runs: int, batched: list[Any], state: BatchState, done: jax.Array) -> tuple[BatchState, BatchState]:
            def rows(x: jax.Array, has: bool) -> jax.Array:
                return (x if has else jnp.broadcast_to(x, (runs, *x.shape))).reshape(runs * self.num_envs, *x.shape[1 + has :])

            flat = jax.tree.map(rows, (state, done), tuple(batched))
            new = AutoReset(self.env, runs * self.num_envs, self.sampler).replace(*flat)
            return jax.tree.map(lambda x: x.reshape(runs, self.num_envs, *x.shape[1:]), new), jax.tree.map(lambda _: True, new)

        return folded(state, done)

    def _replace(self, state: BatchState, done: jax.Array) -> BatchState:
        def some(carry: tuple[BatchState, jax.Array]) -> tuple[BatchState, jax.Array]:
            state, pending = carry
            (ids,) = jnp.nonzero(pending, size=self._chunk, fill_value=self.num_envs)
            at = jnp.minimum(ids, self.num_envs - 1)
            keys = jax.vmap(jax.random.fold_in)(state.key[at], state.episode[at])
            sampler, env, timestep = self.sampler.turn(self.env, state.sampler, ids, keys)

            def put(old: jax.Array, new: jax.Array) -> jax.Array:
                return old.at[ids].set(new, mode="drop")

            new = state.replace(
                env=jax.tree.map(put, state.env, env),
                observation=put(state.observation, timestep.observation),
                episode=state.episode.at[ids].add(1, mode="drop"),
                sampler=sampler,
            )
            return new, pending.at[ids].set(False, mode="drop")

        return jax.lax.while_loop(lambda carry: carry[1].any(), some, (state, done))[0]
