"""Several trials of one task as one episode: what is hidden in a task can be found out in a trial and used in the next.

The setting of RL² (Duan et al. 2016) and of AdA (2023): the task, its rules and its physical context stay, the world begins anew.
"""

from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.env import Levelled
from palaestra.envs.types import TimeStep, restart, select, termination, transition, truncation

S = TypeVar("S")


class TrialState(struct.PyTreeNode, Generic[S], kw_only=True):
    """One environment in one of its trials."""

    env: S
    start: S  # the environment's state at the beginning of every trial
    seen: jax.Array  # [obs] what it observes then
    action: jax.Array  # [a] the last one, clipped; 0 before the first
    reward: jax.Array  # [] the last one
    trial: jax.Array  # [] int32, from 0
    won: jax.Array  # [K] bool, by trial
    ever: dict[str, jax.Array]  # of the other yes-or-no metrics, whether they held at some trial's end


class Trials(Generic[S]):
    """An `Env` that plays each task `trials` times as one episode.

    Observation: that of the environment, then the last action [a], the last reward, whether a trial begins, and the share of the trials
    that is left, this one included. Action and reward: the environment's. When a trial ends the next one begins in the same step, from
    the same start; the step's reward is still of the trial that ended. The episode ends with the last trial, as that one does.
    Metrics: those of the environment; `trial` (number of the trial that is observed), `trial_1`, .., success by trial; `success` is
    that of the last trial, and other yes-or-no metrics say whether they held at the end of any.
    `remembers=False` blanks the last action and reward where a trial begins, for agents whose memory is wiped there.
    """

    def __init__(self, env: Levelled[S], trials: int, *, remembers: bool = True):
        if trials < 1:
            raise ValueError(f"trials: got {trials}, expected 1 or more")
        self.env, self.trials, self.remembers = env, trials, remembers
        self.name = f"{env.name}/trials-{trials}"
        self.observation_size = env.observation_size + env.action_size + 3
        self.action_size = env.action_size
        self.horizon = trials * env.horizon

    def begin(self, key: jax.Array) -> tuple[TrialState[S], TimeStep]:
        return self._begun(*self.env.begin(key))

    def level(self, key: jax.Array) -> Any:
        return self.env.level(key)

    def reset(self, key: jax.Array, level: Any) -> tuple[TrialState[S], TimeStep]:
        """The first trial of this level; key is consumed."""
        return self._begun(*self.env.reset(key, level))

    def _begun(self, env: S, first: TimeStep) -> tuple[TrialState[S], TimeStep]:
        state: TrialState[S] = TrialState(
            env=env,
            start=env,
            seen=first.observation,
            action=jnp.zeros(self.action_size),
            reward=jnp.zeros(()),
            trial=jnp.zeros((), jnp.int32),
            won=jnp.zeros(self.trials, bool),
            ever={name: jnp.zeros_like(x) for name, x in _flags(first.metrics).items()},
        )
        return state, restart(self._observe(state, first.observation, jnp.asarray(True)), self._metrics(state, first.metrics))

    def step(self, state: TrialState[S], action: jax.Array) -> tuple[TrialState[S], TimeStep]:
        env, inner = self.env.step(state.env, action)
        won = state.won | (inner.metrics["success"] & (jnp.arange(self.trials) == state.trial))
        ever = {name: state.ever[name] | (x & inner.done) for name, x in _flags(inner.metrics).items()}
        over = inner.done & (state.trial == self.trials - 1)
        anew = inner.done & ~over
        state = state.replace(
            env=jax.tree.map(lambda first, now: jnp.where(anew, first, now), state.start, env),
            action=jnp.clip(jnp.where(jnp.isfinite(action), action, 0.0), -1.0, 1.0),
            reward=inner.reward,
            trial=state.trial + anew.astype(jnp.int32),
            won=won,
            ever=ever,
        )
        obs = self._observe(state, jnp.where(anew, state.seen, inner.observation), anew)
        metrics = self._metrics(state, inner.metrics)
        at_end, cut, onward = (make(obs, inner.reward, metrics) for make in (termination, truncation, transition))
        return state, select(over & inner.terminated, over, at_end, cut, onward)

    def _observe(self, state: TrialState[S], seen: jax.Array, begins: jax.Array) -> jax.Array:
        blank = begins & (not self.remembers)
        left = 1.0 - state.trial.astype(jnp.float32) / self.trials
        last = jnp.where(blank, 0.0, jnp.append(state.action, jnp.clip(state.reward, -10.0, 10.0)))
        return jnp.concatenate([seen, last, jnp.stack([begins.astype(jnp.float32), left])])

    def _metrics(self, state: TrialState[S], inner: dict[str, jax.Array]) -> dict[str, jax.Array]:
        by_trial = {f"trial_{k + 1}": state.won[k] for k in range(self.trials)}
        return inner | state.ever | by_trial | {"success": state.won[-1], "trial": state.trial}


def _flags(metrics: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The yes-or-no metrics but success."""
    return {name: x for name, x in metrics.items() if x.dtype == bool and name != "success"}
