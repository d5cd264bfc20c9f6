"""Tiny environments with known answers: each isolates one thing that a learner must get right."""

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.types import TimeStep, restart, select, termination, transition, truncation


class ProbeState(struct.PyTreeNode, kw_only=True):
    step: jax.Array
    sign: jax.Array  # ±1, drawn at reset


class Probe:
    """An `Env` of `length` steps whose reward is `reward(sign, step, action)`; the observation is (sign or 0, step)."""

    name = "probe"
    observation_size = 2
    action_size = 1

    def __init__(self, reward, length: int = 1, *, shows_sign: bool = True, truncates: bool = False):
        self._reward, self.horizon = reward, length
        self.shows_sign, self.truncates = shows_sign, truncates

    def _observe(self, state: ProbeState) -> jax.Array:
        step = jnp.zeros(()) if self.truncates else state.step.astype(jnp.float32)
        return jnp.stack([jnp.where(self.shows_sign, state.sign, 0.0), step])

    def begin(self, key: jax.Array) -> tuple[ProbeState, TimeStep]:
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        state = ProbeState(step=jnp.zeros((), jnp.int32), sign=sign)
        return state, restart(self._observe(state), {"success": jnp.asarray(False)})

    def step(self, state: ProbeState, action: jax.Array) -> tuple[ProbeState, TimeStep]:
        reward = self._reward(state.sign, state.step, action[0])
        state = state.replace(step=state.step + 1)
        over = state.step >= self.horizon
        obs, metrics = self._observe(state), {"success": over & (state.sign > 0)}
        cut = over & self.truncates
        return state, select(
            over & ~cut, cut, termination(obs, reward, metrics), truncation(obs, reward, metrics), transition(obs, reward, metrics)
        )


class LevelProbe(Probe):
    """A `Probe` whose level is its sign; an edit makes it a tenth larger, so that edited levels can be told."""

    def level(self, key: jax.Array) -> jax.Array:
        return self.begin(key)[0].sign

    def reset(self, key: jax.Array, level: jax.Array) -> tuple[ProbeState, TimeStep]:
        del key
        state = ProbeState(step=jnp.zeros((), jnp.int32), sign=level)
        return state, restart(self._observe(state), {"success": jnp.asarray(False)})

    def edit(self, key: jax.Array, level: jax.Array) -> jax.Array:
        del key
        return level * 1.1


class HiddenSign(LevelProbe):
    """One step, success where the action has the sign, which is not observed: by chance one in two.

    Over trials the best that can be done is chance in the first, and after that always: one trial tells.
    """

    def __init__(self):
        super().__init__(lambda sign, step, action: (sign * action > 0).astype(jnp.float32), shows_sign=False)

    def begin(self, key: jax.Array) -> tuple[ProbeState, TimeStep]:
        state, timestep = super().begin(key)
        return state, self._told(timestep)

    def step(self, state: ProbeState, action: jax.Array) -> tuple[ProbeState, TimeStep]:
        state, timestep = super().step(state, action)
        return state, self._told(timestep)

    @staticmethod
    def _told(timestep: TimeStep) -> TimeStep:
        return timestep.replace(metrics={"success": timestep.reward > 0, "diverged": jnp.asarray(False)})
