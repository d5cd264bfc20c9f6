"""Proximal policy optimisation (Schulman et al. 2017) on a page: rollout -> advantages -> update.

The choices follow Andrychowicz et al. (2021) and Huang et al. (2022): observations normalised, advantages normalised a
minibatch, orthogonal weights, a small last policy layer, gradients clipped by their global norm.
"""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from palaestra.envs.autoreset import AutoReset, BatchState, Sampler
from palaestra.envs.env import Env
from palaestra.envs.types import row
from palaestra.policies.networks import (
    ActorCritic,
    Network,
    Outputs,
    Policy,
    Statistics,
    blank,
    entropy,
    forward,
    initial,
    log_prob,
    recall,
    wiped,
)
from palaestra.policies.returns import generalised_advantages
from palaestra.sim.engines import compiler_options

_REFRESH = 0x72656672  # folded into a rollout's key for the sampler's own draws


class Hyper(struct.PyTreeNode, kw_only=True):
    """Numbers that set no shapes."""

    learning_rate: float = 1e-3  # at the start; it falls linearly to a tenth
    gamma: float = 0.98  # discount
    lam: float = 0.95  # λ of the advantages
    clip: float = 0.2  # how far the probability ratio may go from 1
    entropy: float = 2e-3  # weight of the entropy bonus
    value: float = 0.5  # weight of the value loss
    reward_scale: float = 0.02  # rewards are multiplied by this; with rewards in [0, 1], 1 - gamma keeps values in [0, 1]


@dataclass(frozen=True)
class PPO:
    """The hyper-parameters; those that set shapes are its own fields, the rest is `hyper`."""

    name: ClassVar[str] = "ppo"

    num_envs: int = 1024  # environments stepped at once
    num_steps: int = 16  # control steps of each between updates
    epochs: int = 4  # passes over a rollout
    minibatches: int = 8  # gradient steps a pass
    max_grad_norm: float = 0.5  # gradients are scaled down to this global norm
    hidden: tuple[int, ...] = (128, 128)  # units of the layers of policy and value
    hyper: Hyper = Hyper()

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.num_envs * self.num_steps % self.minibatches:
            raise ValueError(
                f"minibatches: got {self.minibatches}, expected a divisor of num_envs * num_steps = {self.num_envs * self.num_steps}"
            )

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps

    def core(self, env: Env) -> "Core":
        """The network, and what it learns from."""
        return Steps(ActorCritic(env.action_size, self.hidden))

    def make(self, env: Env, total_updates: int, sampler: Sampler | None = None) -> "Learner":
        return Learner(env, self, total_updates, sampler)


class Transition(struct.PyTreeNode, kw_only=True):
    """One step of every environment [T, B, ...]."""

    observation: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array  # as the policy saw it then
    reward: jax.Array  # scaled
    next_observation: jax.Array  # what the action led to, an episode's last one included
    terminated: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    learn: jax.Array | None  # bool: of an episode that the policy may learn from; None where it may from all
    memory: Any  # the network's, before it sees `observation`


class Core(Protocol):
    """A network, and what of a rollout is one example to it."""

    network: Network

    def examples(self, batch: dict[str, jax.Array], done: jax.Array, memory: Any) -> dict[str, Any]:
        """A rollout [T, B, ...] as examples [N, ...]; `done` [T, B], and `memory` [B, ...] with which the rollout began."""
        ...

    def outputs(self, params: Any, part: dict[str, Any]) -> Outputs:
        """What the network says of some of the examples."""
        ...


@dataclass(frozen=True)
class Steps:
    """Every step is an example: for networks without memory."""

    network: ActorCritic

    def examples(self, batch: dict[str, jax.Array], done: jax.Array, memory: Any) -> dict[str, Any]:
        del memory
        return jax.tree.map(lambda x: x.reshape(done.size, *x.shape[2:]), batch)

    def outputs(self, params: Any, part: dict[str, Any]) -> Outputs:
        return forward(self.network, params, part["observation"])


class TrainState(struct.PyTreeNode, kw_only=True):
    """Everything that the next update needs: a checkpoint of it resumes to the same numbers."""

    params: Any
    optimiser: Any
    statistics: Statistics
    batch: BatchState
    key: jax.Array
    update: jax.Array  # [] int32, updates made
    returns: jax.Array  # [B] undiscounted, unscaled return of the running episodes
    memory: Any = ()  # [B, ...] the network's, blank where an episode begins


class Learner:
    """PPO on one environment. `init`, `rollout` and `update` are pure; `collect` and `improve` are the latter two, jitted."""

    def __init__(self, env: Env, config: PPO, total_updates: int, sampler: Sampler | None = None):
        self.env, self.config, self.total_updates = env, config, max(total_updates, 1)
        self.envs = AutoReset(env, config.num_envs, sampler)
        self.core = config.core(env)
        self.network = self.core.network
        self.collect = jax.jit(self.rollout, compiler_options=compiler_options())
        self.improve = jax.jit(self.update, compiler_options=compiler_options())

    def _optimiser(self, hyper: Hyper) -> optax.GradientTransformation:
        steps = self.total_updates * self.config.epochs * self.config.minibatches
        rate = optax.linear_schedule(hyper.learning_rate, 0.1 * hyper.learning_rate, steps)
        return optax.chain(optax.clip_by_global_norm(self.config.max_grad_norm), optax.adam(rate, eps=1e-5))

    def init(self, key: jax.Array) -> TrainState:
        """A fresh run; key is consumed."""
        k_params, k_envs, k_run = jax.random.split(key, 3)
        params = initial(self.network, k_params, self.env.observation_size)
        batch, _ = jax.jit(self.envs.reset)(jax.random.split(k_envs, self.config.num_envs))
        return TrainState(
            params=params,
            optimiser=self._optimiser(self.config.hyper).init(params),
            statistics=Statistics.new(self.env.observation_size),
            batch=batch,
            key=k_run,
            update=jnp.zeros((), jnp.int32),
            returns=jnp.zeros(self.config.num_envs),
            memory=blank(self.network, self.config.num_envs),
        )

    def train_step(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """One rollout and one update."""
        state, transitions, metrics = self.collect(state)
        if metrics.get("overflow", 0):
            ids = np.flatnonzero(np.asarray(transitions.metrics["overflow"]).any(0)).tolist()
            warnings.warn(
                f"environments {ids}: more contacts than the engine has room for; these episodes were ended. Fix: more max_contacts",
                stacklevel=2,
            )
        state, losses = self.improve(state, transitions)
        return state, metrics | losses

    def iterate(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """Rollout and update as one pure function: jitted, or scanned, it is one program on the device."""
        state, transitions, metrics = self.rollout(state)
        state, losses = self.update(state, transitions)
        return state, metrics | losses

    def policy(self, state: TrainState) -> Policy:
        return Policy(params=state.params, statistics=state.statistics)

    def rollout(self, state: TrainState) -> tuple[TrainState, Transition, dict[str, jax.Array]]:
        """`num_steps` steps of every environment with the present policy, and what the finished episodes came to."""
        hyper = self.config.hyper

        def act(key: jax.Array, memory: Any, observation: jax.Array) -> tuple[Any, ...]:
            memory, (mean, log_std, value) = recall(self.network, state.params, memory, state.statistics.normalise(observation))
            return memory, mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape), mean, log_std, value

        def try_out(key: jax.Array, observation: jax.Array) -> jax.Array:
            """For samplers that try levels out; they know of no memory, so it is blank at every step."""
            return act(key, blank(self.network, len(observation)), observation)[1]

        def one(carry: tuple[BatchState, jax.Array, Any], key: jax.Array) -> tuple[tuple[BatchState, jax.Array, Any], Any]:
            batch, returns, memory = carry
            after, action, mean, log_std, value = act(key, memory, batch.observation)
            seen, learn = batch.observation, self.envs.sampler.learns(batch.sampler)
            batch, timestep = self.envs.step(batch, action, value / hyper.reward_scale)
            returns = returns + timestep.reward
            step = Transition(
                observation=seen,
                action=action,
                log_prob=log_prob(mean, log_std, action),
                value=value,
                reward=timestep.reward * hyper.reward_scale,
                next_observation=timestep.observation,
                terminated=timestep.terminated,
                done=timestep.done,
                metrics=timestep.metrics,
                learn=learn,
                memory=memory,
            )
            done = timestep.done
            ended = {name: (value & done).sum() for name, value in timestep.metrics.items() if value.dtype == bool}
            ended |= {"episodes": done.sum(), "return": jnp.where(done, returns, 0.0).sum()}
            return (batch, jnp.where(done, 0.0, returns), wiped(after, done)), (step, ended)

        k_refresh = jax.random.fold_in(state.key, _REFRESH)
        sampler = self.envs.sampler.refresh(self.env, state.batch.sampler, k_refresh, try_out)
        key, k_steps = jax.random.split(state.key)
        keys = jax.random.split(k_steps, self.config.num_steps)
        first = state.batch.replace(sampler=sampler), state.returns, state.memory
        (batch, returns, memory), (transitions, ended) = jax.lax.scan(one, first, keys)
        sums = jax.tree.map(lambda x: x.sum(0), ended)
        return state.replace(batch=batch, returns=returns, memory=memory, key=key), transitions, sums

    def update(self, state: TrainState, transitions: Transition) -> tuple[TrainState, dict[str, jax.Array]]:
        """The policy and value improved on one rollout. Statistics are renewed after it, so that ratios compare like with like."""
        config, hyper = self.config, self.config.hyper
        optimiser = self._optimiser(hyper)
        normalise = state.statistics.normalise
        value = transitions.value
        after, _ = recall(self.network, state.params, transitions.memory, normalise(transitions.observation))
        _, (_, _, next_value) = recall(self.network, state.params, after, normalise(transitions.next_observation))
        advantage = jax.vmap(generalised_advantages, in_axes=(1, 1, 1, 1, 1, None, None), out_axes=1)(
            transitions.reward, value, next_value, transitions.terminated, transitions.done, hyper.gamma, hyper.lam
        )
        batch = {
            "observation": normalise(transitions.observation),
            "action": transitions.action,
            "log_prob": transitions.log_prob,
            "advantage": advantage,
            "target": advantage + value,
        }
        if transitions.learn is not None:
            batch["learn"] = transitions.learn.astype(jnp.float32)
        examples = self.core.examples(batch, transitions.done, row(transitions.memory, 0))
        count = len(jax.tree.leaves(examples)[0])

        def loss(params: Any, part: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
            def average(x: jax.Array) -> jax.Array:
                """Over what may be learned from; 0 where that is nothing."""
                return x.mean() if "learn" not in part else (x * part["learn"]).sum() / jnp.maximum(part["learn"].sum(), 1.0)

            mean, log_std, value = self.core.outputs(params, part)
            log_ratio = log_prob(mean, log_std, part["action"]) - part["log_prob"]
            ratio = jnp.exp(log_ratio)
            adv = part["advantage"]
            adv = adv - average(adv)
            adv = adv / (jnp.sqrt(average(jnp.square(adv))) + 1e-8)
            surrogate = average(jnp.minimum(ratio * adv, jnp.clip(ratio, 1 - hyper.clip, 1 + hyper.clip) * adv))
            error = average(jnp.square(value - part["target"]))
            info = {
                "value_loss": error,
                "entropy": entropy(log_std),
                "kl": average(ratio - 1 - log_ratio),
                "clipped": average((jnp.abs(ratio - 1) > hyper.clip).astype(jnp.float32)),
            }
            bonus = average(jnp.broadcast_to(entropy(log_std), adv.shape)) if "learn" in part else entropy(log_std)
            return -surrogate + hyper.value * error - hyper.entropy * bonus, info

        def minibatch(carry: tuple[Any, Any], ids: jax.Array) -> tuple[tuple[Any, Any], dict[str, jax.Array]]:
            params, opt = carry
            grads, info = jax.grad(loss, has_aux=True)(params, row(examples, ids))
            updates, opt = optimiser.update(grads, opt, params)
            return (optax.apply_updates(params, updates), opt), info

        key, k_epochs = jax.random.split(state.key)

        def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], dict[str, jax.Array]]:
            ids = jax.random.permutation(key, count).reshape(config.minibatches, -1)
            return jax.lax.scan(minibatch, carry, ids)

        (params, opt), info = jax.lax.scan(epoch, (state.params, state.optimiser), jax.random.split(k_epochs, config.epochs))
        target = batch["target"].reshape(-1)
        info = jax.tree.map(lambda x: x.mean(), info)
        info["explained_variance"] = 1 - jnp.var(target - value.reshape(-1)) / (jnp.var(target) + 1e-8)
        statistics = state.statistics.update(transitions.observation.reshape(config.batch_size, -1))
        return state.replace(params=params, optimiser=opt, statistics=statistics, key=key, update=state.update + 1), info
