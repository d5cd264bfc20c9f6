"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018b): rollout -> replay -> updates.

For where steps are dear: it learns from each many times. Truncated episodes bootstrap from the observation that they were cut at.
Observations are normalised as PPO's are, when they are used: the replay keeps them as they came.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from palaestra.envs.autoreset import AutoReset, BatchState, Sampler
from palaestra.envs.env import Env
from palaestra.policies.networks import Critics, Policy, SquashedActor, Statistics, squashed_log_prob
from palaestra.policies.replay import Experience, ReplayBuffer
from palaestra.policies.rollouts import average, refreshed, report_overflow, tally
from palaestra.sim.engines import compiler_options


class Hyper(struct.PyTreeNode, kw_only=True):
    """Numbers that set no shapes."""

    learning_rate: float = 3e-4  # of policy, critics and temperature
    gamma: float = 0.98  # discount
    tau: float = 0.005  # the share of the critics that their targets take on in a gradient step
    temperature: float = 0.1  # α at the start
    target_entropy: float = -1.0  # nats a component of the action, which α is to hold
    reward_scale: float = 0.02  # rewards are multiplied by this, as in PPO


@dataclass(frozen=True)
class SAC:
    """The hyper-parameters; those that set shapes are its own fields, the rest is `hyper`."""

    name: ClassVar[str] = "sac"

    num_envs: int = 64  # environments stepped at once
    num_steps: int = 16  # control steps of each between two rounds of updates
    replay: int = 262_144  # steps held; in a checkpoint each takes four bytes a number of two observations and an action
    warmup: int = 5_000  # steps of actions drawn at random before anything is learned
    minibatch: int = 256  # steps that a gradient is computed from
    updates_to_data: float = 1.0  # gradient steps a step of an environment
    hidden: tuple[int, ...] = (256, 256)  # units of the layers of policy and critics
    hyper: Hyper = Hyper()

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "minibatch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.replay < self.batch_size or self.replay < self.warmup:
            least = max(self.batch_size, self.warmup)
            raise ValueError(f"replay: got {self.replay}, expected room for num_envs * num_steps and warmup: {least} steps or more")
        if self.gradient_steps < 1:
            share = 1 / self.batch_size
            raise ValueError(f"updates_to_data: got {self.updates_to_data}, expected {share:g} or more: a gradient step a rollout")

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps

    @property
    def gradient_steps(self) -> int:
        """Between two rollouts."""
        return round(self.batch_size * self.updates_to_data)

    def make(self, env: Env, total_updates: int, sampler: Sampler | None = None) -> "Learner":
        del total_updates  # nothing is annealed
        return Learner(env, self, sampler)


class Parameters(struct.PyTreeNode, kw_only=True):
    """What gradients go to. Each loss goes to one of them alone, so that one optimiser, which works number by number, serves all."""

    actor: Any
    critics: Any
    log_temperature: jax.Array  # []


class TrainState(struct.PyTreeNode, kw_only=True):
    """Everything that the next update needs: a checkpoint of it resumes to the same numbers."""

    params: Parameters
    target: Any  # slow copies of the critics
    optimiser: Any
    statistics: Statistics
    replay: Any  # ReplayBuffer; None while environments are stepped, which have no need of it
    batch: BatchState
    key: jax.Array
    update: jax.Array  # [] int32, rounds of updates made
    returns: jax.Array  # [B] undiscounted, unscaled return of the running episodes


class Learner:
    """SAC on one environment. `rollout` and `learn` are pure; `collect` and `improve` are these, jitted."""

    def __init__(self, env: Env, config: SAC, sampler: Sampler | None = None):
        self.env, self.config = env, config
        self.envs = AutoReset(env, config.num_envs, sampler)
        self.network, self.critics = SquashedActor(env.action_size, config.hidden), Critics(config.hidden)
        self.collect = jax.jit(self.rollout, compiler_options=compiler_options())
        self.improve = jax.jit(self.learn, donate_argnums=0, compiler_options=compiler_options())  # the replay is written in place

    def init(self, key: jax.Array) -> TrainState:
        """A fresh run; key is consumed."""
        k_actor, k_critics, k_envs, k_run = jax.random.split(key, 4)
        observation, action = jnp.zeros((1, self.env.observation_size)), jnp.zeros((1, self.env.action_size))
        params = Parameters(
            actor=self.network.init(k_actor, observation),
            critics=self.critics.init(k_critics, observation, action),
            log_temperature=jnp.log(jnp.asarray(self.config.hyper.temperature, jnp.float32)),
        )
        batch, _ = jax.jit(self.envs.reset)(jax.random.split(k_envs, self.config.num_envs))
        flag, masks = jnp.asarray(False), self.envs.sampler.learns(batch.sampler) is not None
        step = Experience(
            observation=observation[0],
            action=action[0],
            reward=jnp.zeros(()),
            next_observation=observation[0],
            terminated=flag,
            learn=flag if masks else None,
        )
        return TrainState(
            params=params,
            target=params.critics,
            optimiser=self._optimiser().init(params),
            statistics=Statistics.new(self.env.observation_size),
            replay=ReplayBuffer.empty(self.config.replay, step),
            batch=batch,
            key=k_run,
            update=jnp.zeros((), jnp.int32),
            returns=jnp.zeros(self.config.num_envs),
        )

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.config.hyper.learning_rate)

    def train_step(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """One rollout, and updates for it."""
        after, steps, metrics, sums = self.collect(state.replace(replay=None))
        report_overflow(sums, metrics)
        after, losses = self.improve(state.replay, after, steps)
        return after, sums | losses

    def policy(self, state: TrainState) -> Policy:
        return Policy(params=state.params.actor, statistics=state.statistics)

    def draw(self, actor: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Actions [..., a] for normalised observations, and their log probability [...]; key is consumed."""
        mean, log_std = self._gaussian(actor, x)
        u = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        return jnp.tanh(u), squashed_log_prob(mean, log_std, u)

    def _gaussian(self, actor: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found: tuple[jax.Array, jax.Array] = self.network.apply(actor, x, method="gaussian")  # type: ignore[assignment]
        return found

    def values(self, critics: Any, x: jax.Array, action: jax.Array) -> jax.Array:
        """What both critics say [2, ...]."""
        q: jax.Array = self.critics.apply(critics, x, action)  # type: ignore[assignment]
        return q

    def rollout(self, state: TrainState) -> tuple[TrainState, Experience, dict[str, jax.Array], dict[str, jax.Array]]:
        """`num_steps` steps of every environment: what was seen [T, B, ...], its metrics, and what finished episodes came to."""
        config, warm = self.config, state.update * self.config.batch_size < self.config.warmup

        def act(key: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = state.statistics.normalise(observation)
            k_policy, k_random = jax.random.split(key)
            chosen, _ = self.draw(state.params.actor, x, k_policy)
            action = jnp.where(warm, jax.random.uniform(k_random, chosen.shape, minval=-1.0, maxval=1.0), chosen)
            return action, self.values(state.params.critics, x, action).min(0)

        def one(carry: tuple[BatchState, jax.Array], key: jax.Array) -> tuple[tuple[BatchState, jax.Array], Any]:
            batch, returns = carry
            action, value = act(key, batch.observation)
            seen, learn = batch.observation, self.envs.sampler.learns(batch.sampler)
            batch, timestep = self.envs.step(batch, action, value / config.hyper.reward_scale)
            step = Experience(
                observation=seen,
                action=action,
                reward=timestep.reward,
                next_observation=timestep.observation,
                terminated=timestep.terminated,
                learn=learn,
            )
            ended, returns = tally(timestep, returns)
            return (batch, returns), (step, timestep.metrics, ended)

        ready = refreshed(self.envs, state.batch, state.key, lambda key, seen: act(key, seen)[0])
        key, k_steps = jax.random.split(state.key)
        keys = jax.random.split(k_steps, config.num_steps)
        (batch, returns), (steps, metrics, ended) = jax.lax.scan(one, (ready, state.returns), keys)
        return state.replace(batch=batch, returns=returns, key=key), steps, metrics, jax.tree.map(lambda x: x.sum(0), ended)

    def learn(self, replay: ReplayBuffer, state: TrainState, steps: Experience) -> tuple[TrainState, dict[str, jax.Array]]:
        """Policy, critics and temperature improved, once the replay holds enough, with the steps of a rollout [T, B, ...] in it."""
        config = self.config
        replay = replay.add(jax.tree.map(lambda x: x.reshape(config.batch_size, *x.shape[2:]), steps))
        statistics = state.statistics.update(steps.observation.reshape(config.batch_size, -1))
        key, k_updates = jax.random.split(state.key)
        keys = jax.random.split(k_updates, config.gradient_steps)
        start = state.params, state.target, state.optimiser

        def one(carry: tuple[Any, ...], key: jax.Array) -> tuple[tuple[Any, ...], dict[str, jax.Array]]:
            params, target, optimiser = carry
            k_sample, k_loss = jax.random.split(key)
            part = replay.sample(k_sample, config.minibatch)
            grads, info = jax.grad(self.loss, has_aux=True)(params, target, statistics, part, k_loss)
            updates, optimiser = self._optimiser().update(grads, optimiser, params)
            params = optax.apply_updates(params, updates)
            return (params, polyak(target, params.critics, config.hyper.tau), optimiser), info

        shape = jax.eval_shape(lambda: jax.lax.scan(one, start, keys)[1])
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)
        ready = replay.filled >= config.warmup
        (params, target, optimiser), info = jax.lax.cond(ready, lambda: jax.lax.scan(one, start, keys), lambda: (start, nothing))
        new = state.replace(params=params, target=target, optimiser=optimiser, statistics=statistics, replay=replay, key=key)
        return new.replace(update=state.update + 1), jax.tree.map(lambda x: x.mean(), info)

    def loss(
        self, params: Parameters, target: Any, statistics: Statistics, part: Experience, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The sum of the three losses on some steps [n, ...], and figures; key is consumed.

        y = r + γ (1 − terminated) (min Q̄(s', a') − α log π(a'|s')) with a' ~ π(s') and target critics Q̄. The losses are
        Σ ½ (Q(s, a) − y)² over both critics (Haarnoja et al. 2018b, eq. 5 and 6), α log π(a|s) − min Q(s, a) with a ~ π(s) (eq. 9), and
        −log α (log π(a|s) + H̄) (eq. 18, with log α in the place of α, as the authors' own code has it).
        """
        hyper, stop = self.config.hyper, jax.lax.stop_gradient
        k_next, k_now = jax.random.split(key)
        x, x_next = statistics.normalise(part.observation), statistics.normalise(part.next_observation)
        alpha = stop(jnp.exp(params.log_temperature))

        a_next, log_next = self.draw(params.actor, x_next, k_next)
        v_next = self.values(target, x_next, a_next).min(0) - alpha * log_next
        y = stop(part.reward * hyper.reward_scale + hyper.gamma * jnp.where(part.terminated, 0.0, v_next))
        q = self.values(params.critics, x, part.action)
        learn = None if part.learn is None else part.learn.astype(jnp.float32)
        error = average(0.5 * jnp.square(q - y).sum(0), learn)

        action, log_now = self.draw(params.actor, x, k_now)
        of_policy = average(alpha * log_now - self.values(stop(params.critics), x, action).min(0), learn)
        bound = hyper.target_entropy * self.env.action_size
        of_temperature = -params.log_temperature * stop(average(log_now + bound, learn))
        info = {
            "critic_loss": error,
            "q": q.mean(),
            "policy_loss": of_policy,
            "entropy": -average(log_now, learn),
            "temperature": alpha,
        }
        return error + of_policy + of_temperature, info


def polyak(target: Any, new: Any, tau: float | jax.Array) -> Any:
    """θ̄ ← (1 − τ) θ̄ + τ θ."""
    return jax.tree.map(lambda slow, x: (1.0 - tau) * slow + tau * x, target, new)
