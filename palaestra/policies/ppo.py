"""Proximal policy optimisation (Schulman et al. 2017) on a page: rollout -> advantages -> update.

The choices follow Andrychowicz et al. (2021) and Huang et al. (2022): observations normalised, advantages normalised a
minibatch, orthogonal weights, a small last policy layer, gradients clipped by their global norm.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct

from palaestra.envs.autoreset import AutoReset, BatchState, Sampler
from palaestra.envs.env import Env
from palaestra.envs.types import row
from palaestra.policies.imitation import apart, fading, load_teacher, said
from palaestra.policies.networks import (
    ActorCritic,
    Network,
    Outputs,
    Policy,
    Statistics,
    blank,
    divergence,
    entropy,
    forward,
    initial,
    log_prob,
    recall,
    wiped,
)
from palaestra.policies.objectives import DRIFTS, entropy_price, entropy_weight, penalty_weight
from palaestra.policies.returns import generalised_advantages
from palaestra.policies.rollouts import annealed_adam, average, refreshed, report_overflow, tally
from palaestra.policies.shares import ALONE, Share
from palaestra.policies.trust import bounded
from palaestra.sim.engines import compiler_options
from palaestra.sim.errors import UnknownNameError


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
    """The hyper-parameters; those that set shapes or choose the program are its own fields, the rest is `hyper`.

    All from `drift` on is off as it stands. `drift`: what keeps the policy near the one that collected the data. "clip" (Schulman et al.
    2017, eq. 7); "penalty", a price on the KL divergence that adapts until an update comes to `kl_target` (ibid., section 4); "dpo",
    the drift function of Discovered Policy Optimisation (Lu et al. 2022). `kl_bound`: a trust region (Schulman et al. 2015), whose
    bound is measured after every epoch on the whole rollout. `target_entropy`: the weight of the entropy bonus adapts to hold it
    (Haarnoja et al. 2018b, section 5), from `hyper.entropy` on. `teachers`: kickstarting (Schmitt et al. 2018). `objectives`, `trust` and
    `imitation` have the equations.
    """

    name: ClassVar[str] = "ppo"

    num_envs: int = 1024  # environments stepped at once
    num_steps: int = 16  # control steps of each between updates
    epochs: int = 4  # passes over a rollout
    minibatches: int = 8  # gradient steps a pass
    max_grad_norm: float = 0.5  # gradients are scaled down to this global norm
    hidden: tuple[int, ...] = (128, 128)  # units of the layers of policy and value
    hyper: Hyper = Hyper()
    drift: str = "clip"  # clip, penalty or dpo
    kl_target: float = 0.01  # nats, of an update, for the drift "penalty"
    kl_bound: float | None = None  # nats, the most that an update may come to
    target_entropy: float | None = None  # nats a component of the action, the least that the policy is to keep
    teachers: tuple[str, ...] = ()  # files of weights for this environment, whose policies it is to stay near at first
    taught: float = 1.0  # what the mean KL divergence from the teachers costs at the start,
    taught_until: float = 0.5  # and the share of the updates in which that falls linearly to nothing

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.drift not in DRIFTS:
            raise UnknownNameError("drift", self.drift, DRIFTS)
        for name in ("kl_target", "kl_bound"):
            if (bound := getattr(self, name)) is not None and bound <= 0:
                raise ValueError(f"{name}: got {bound}, expected more than 0 nats")
        if self.num_envs * self.num_steps % self.minibatches:
            raise ValueError(
                f"minibatches: got {self.minibatches}, expected a divisor of num_envs * num_steps = {self.num_envs * self.num_steps}"
            )

    @property
    def batch_size(self) -> int:
        return self.num_envs * self.num_steps

    @property
    def measures(self) -> bool:
        """Whether an update's KL divergence has to be known."""
        return self.drift == "penalty" or self.kl_bound is not None

    def core(self, env: Env) -> "Core":
        """The network, and what it learns from."""
        return Steps(ActorCritic(env.action_size, self.hidden))

    def make(self, env: Env, total_updates: int, sampler: Sampler | None = None, share: Share = ALONE) -> "Learner":
        return Learner(env, self, total_updates, sampler, share)


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

    @property
    def network(self) -> Network: ...

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
    weights: Any = ()  # of the terms that adapt, by name


class Learner:
    """PPO on one environment. `init`, `rollout` and `update` are pure; `collect` and `improve` are the latter two, jitted.

    `share`: of the environments and of the gradients, where several processes are one learner.
    """

    def __init__(self, env: Env, config: PPO, total_updates: int, sampler: Sampler | None = None, share: Share = ALONE):
        self.env, self.config, self.total_updates, self.share = env, config, max(total_updates, 1), share
        self.envs = AutoReset(env, config.num_envs // share.count, sampler)
        self.core = config.core(env)
        self.network = self.core.network
        self.teachers = tuple(load_teacher(Path(path), env) for path in config.teachers)
        self.collect = jax.jit(self.rollout, compiler_options=compiler_options())
        self.improve = share.program(self.update)

    def _optimiser(self, hyper: Hyper) -> optax.GradientTransformation:
        steps = self.total_updates * self.config.epochs * self.config.minibatches
        return annealed_adam(hyper.learning_rate, self.config.max_grad_norm, steps)

    def init(self, key: jax.Array) -> TrainState:
        """A fresh run; key is consumed."""
        k_params, k_envs, k_run = jax.random.split(key, 3)
        params = initial(self.network, k_params, self.env.observation_size)
        batch, _ = jax.jit(self.envs.reset)(self.share.rows(jax.random.split(k_envs, self.config.num_envs)))
        return TrainState(
            params=params,
            optimiser=self._optimiser(self.config.hyper).init(params),
            statistics=Statistics.new(self.env.observation_size),
            batch=batch,
            key=k_run,
            update=jnp.zeros((), jnp.int32),
            returns=jnp.zeros(self.envs.num_envs),
            memory=blank(self.network, self.envs.num_envs),
            weights=self._weights(),
        )

    def _weights(self) -> Any:
        """As the terms that adapt begin; nothing where none does."""
        config = self.config
        found = {"entropy": jnp.float32(config.hyper.entropy)} if config.target_entropy is not None else {}
        found |= {"taught": jnp.float32(config.taught)} if config.teachers else {}
        return found | ({"kl": jnp.ones(())} if config.drift == "penalty" else {}) or ()

    def train_step(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """One rollout and one update."""
        state, transitions, metrics = self.collect(state)
        report_overflow(metrics, transitions.metrics)
        state, losses = self.improve(state, transitions)
        return state, self.share.total(metrics) | losses

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
            noise = self.share.rows(jax.random.normal(key, (len(mean) * self.share.count, *mean.shape[1:])))
            return memory, mean + jnp.exp(log_std) * noise, mean, log_std, value

        def try_out(key: jax.Array, observation: jax.Array) -> jax.Array:
            """For samplers that try levels out; they know of no memory, so it is blank at every step."""
            return act(key, blank(self.network, len(observation)), observation)[1]

        def one(carry: tuple[BatchState, jax.Array, Any], key: jax.Array) -> tuple[tuple[BatchState, jax.Array, Any], Any]:
            batch, returns, memory = carry
            after, action, mean, log_std, value = act(key, memory, batch.observation)
            seen, learn = batch.observation, self.envs.sampler.learns(batch.sampler)
            batch, timestep = self.envs.step(batch, action, value / hyper.reward_scale)
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
            ended, returns = tally(timestep, returns)
            return (batch, returns, wiped(after, timestep.done)), (step, ended)

        ready = refreshed(self.envs, state.batch, state.key, try_out)
        key, k_steps = jax.random.split(state.key)
        keys = jax.random.split(k_steps, self.config.num_steps)
        (batch, returns, memory), (transitions, ended) = jax.lax.scan(one, (ready, state.returns, state.memory), keys)
        sums = jax.tree.map(lambda x: x.sum(0), ended)
        return state.replace(batch=batch, returns=returns, memory=memory, key=key), transitions, sums

    def update(self, state: TrainState, transitions: Transition) -> tuple[TrainState, dict[str, jax.Array]]:
        """The policy and value improved on one rollout. Statistics are renewed after it, so that ratios compare like with like."""
        config, transitions = self.config, self.share.gathered(transitions, axis=1)
        optimiser = self._optimiser(config.hyper)
        batch, examples = self._examples(state, transitions)
        weights, count = dict(state.weights or {}), len(jax.tree.leaves(examples)[0])

        def minibatch(carry: tuple[Any, Any], ids: jax.Array) -> tuple[tuple[Any, Any], dict[str, jax.Array]]:
            params, opt = carry
            part = self.share.some(_normalised(row(examples, ids)))
            grads, info = self.share.mean(jax.grad(self._loss, has_aux=True)(params, part, weights))
            updates, opt = optimiser.update(grads, opt, params)
            return (optax.apply_updates(params, updates), opt), info

        key, k_epochs = jax.random.split(state.key)

        def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], dict[str, jax.Array]]:
            ids = jax.random.permutation(key, count).reshape(config.minibatches, -1)
            return jax.lax.scan(minibatch, carry, ids)

        def measure(params: Any) -> jax.Array:
            return _moved(examples, self.core.outputs(params, examples))

        start, keys = (state.params, state.optimiser), jax.random.split(k_epochs, config.epochs)
        if config.kl_bound is None:
            (params, opt), info = jax.lax.scan(epoch, start, keys)
            info = jax.tree.map(lambda x: x.mean(), info) | ({"kl_update": measure(params)} if config.measures else {})
        else:
            (params, opt), info = bounded(epoch, measure, config.kl_bound, start, keys)
        weights = self._adapted(weights, info, state.update + 1)
        info |= {f"{name}_weight": weight for name, weight in weights.items()}
        target = batch["target"].reshape(-1)
        info["explained_variance"] = 1 - jnp.var(target - transitions.value.reshape(-1)) / (jnp.var(target) + 1e-8)
        statistics = state.statistics.update(transitions.observation.reshape(config.batch_size, -1))
        new = state.replace(params=params, optimiser=opt, statistics=statistics, key=key, update=state.update + 1, weights=weights or ())
        return new, info

    def _examples(self, state: TrainState, transitions: Transition) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        """What is learned from a rollout, [T, B, ...] and as the network's examples [N, ...]."""
        hyper, normalise, value = self.config.hyper, state.statistics.normalise, transitions.value
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
        if self.teachers:
            batch |= said(self.teachers, transitions.observation)
        if transitions.learn is not None:
            batch["learn"] = transitions.learn.astype(jnp.float32)
        examples = self.core.examples(batch, transitions.done, row(transitions.memory, 0))
        if self.config.measures:
            mean, log_std, _ = self.core.outputs(state.params, examples)
            examples |= {"old_mean": mean, "old_log_std": jnp.broadcast_to(log_std, mean.shape)}
        return batch, examples

    def _loss(self, params: Any, part: dict[str, Any], weights: dict[str, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Of some examples, with the weights of the terms that adapt; and figures."""
        config, hyper, mean_of = self.config, self.config.hyper, partial(average, learn=part.get("learn"))
        outputs = mean, log_std, value = self.core.outputs(params, part)
        log_ratio = log_prob(mean, log_std, part["action"]) - part["log_prob"]
        ratio = jnp.exp(log_ratio)
        adv = part["advantage"]
        surrogate = mean_of(DRIFTS[config.drift](log_ratio, adv, hyper.clip))
        if "kl" in weights:
            surrogate = surrogate - weights["kl"] * _moved(part, outputs)
        error = mean_of(jnp.square(value - part["target"]))
        info = {
            "value_loss": error,
            "entropy": entropy(log_std),
            "kl": mean_of(ratio - 1 - log_ratio),
            "clipped": mean_of((jnp.abs(ratio - 1) > hyper.clip).astype(jnp.float32)),
        }
        bonus = mean_of(jnp.broadcast_to(entropy(log_std), adv.shape)) if "learn" in part else entropy(log_std)
        price: Any = hyper.entropy
        if config.target_entropy is not None:
            price = entropy_price(weights["entropy"], entropy(log_std) / self.env.action_size, config.target_entropy)
        if "taught" in weights:
            info["taught_kl"] = mean_of(apart(part, outputs))
            surrogate = surrogate - weights["taught"] * info["taught_kl"]
        return -surrogate + hyper.value * error - price * bonus, info

    def _adapted(self, weights: dict[str, jax.Array], info: dict[str, jax.Array], updates: jax.Array) -> dict[str, jax.Array]:
        """The weights of the terms that adapt, after so many updates, of which the last one had these figures."""
        config, found = self.config, dict(weights)
        if "taught" in found:
            found["taught"] = config.taught * fading(updates, config.taught_until * self.total_updates)
        if "kl" in found:
            found["kl"] = penalty_weight(found["kl"], info["kl_update"], config.kl_target)
        if "entropy" in found and config.target_entropy is not None:
            found["entropy"] = entropy_weight(found["entropy"], info["entropy"] / self.env.action_size, config.target_entropy)
        return found


def _normalised(part: dict[str, Any]) -> dict[str, Any]:
    """A minibatch with advantages of mean 0 and deviation 1."""
    mean_of = partial(average, learn=part.get("learn"))
    adv = part["advantage"]
    adv = adv - mean_of(adv)
    return part | {"advantage": adv / (jnp.sqrt(mean_of(jnp.square(adv))) + 1e-8)}


def _moved(part: dict[str, Any], outputs: Outputs) -> jax.Array:
    """Mean KL divergence [] of the policy that collected these examples from the one that says `outputs` of them."""
    mean, log_std, _ = outputs
    return average(divergence(part["old_mean"], part["old_log_std"], mean, log_std).sum(-1), part.get("learn"))
