"""Learning from others: from what was recorded, and from teachers that say what they would do.

Behaviour cloning fits a policy to recorded pairs of observation and action. Distillation (Rusu et al. 2016) brings a student's
distribution over actions close to its teachers', where the student itself gets to: it acts, and the teachers label what it sees
(DAgger, Ross, Gordon and Bagnell 2011). With several lessons, one student learns from many teachers (Parisotto et al. 2016).
Kickstarting (Schmitt et al. 2018) is the same loss beside PPO's, with a weight that fades: `PPO.teachers`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from palaestra.envs.autoreset import AutoReset, BatchState, Sampler
from palaestra.envs.env import Env
from palaestra.envs.types import row
from palaestra.policies.files import load_policy
from palaestra.policies.networks import (
    ActorCritic,
    Network,
    Outputs,
    Policy,
    RecurrentActorCritic,
    Statistics,
    divergence,
    forward,
    initial,
    log_prob,
)
from palaestra.policies.rollouts import annealed_adam
from palaestra.sim.engines import compiler_options
from palaestra.sim.errors import PalaestraError

Labels = tuple[jax.Array, jax.Array]  # mean [..., a] and log deviation [a] of what a teacher would do
Teacher = Callable[[jax.Array], Labels]  # of observations [..., obs]


def teacher(network: Network, policy: Policy) -> Teacher:
    """A policy as a teacher in the environment that it was trained in; it must have no memory."""
    if isinstance(network, RecurrentActorCritic):
        raise PalaestraError("teacher: got a policy with a memory, expected one without: it is asked about single moments")

    def says(observation: jax.Array) -> Labels:
        mean, log_std, _ = forward(network, policy.params, policy.statistics.normalise(observation))
        return mean, log_std

    return says


def load_teacher(path: Path, env: Env) -> Teacher:
    """The policy of a file as a teacher. Raises CheckpointError where it is for another environment."""
    return teacher(*load_policy(path, name=env.name, observation_size=env.observation_size, action_size=env.action_size))


def said(teachers: Sequence[Teacher], observation: jax.Array) -> dict[str, jax.Array]:
    """What each of n teachers says of observations [..., obs]: means and log deviations [..., n, a]."""
    labels = [teacher(observation) for teacher in teachers]
    means = jnp.stack([mean for mean, _ in labels], -2)
    return {"taught_mean": means, "taught_log_std": jnp.stack([jnp.broadcast_to(s, m.shape) for m, s in labels], -2)}


def apart(part: dict[str, jax.Array], outputs: Outputs) -> jax.Array:
    """KL(teacher ‖ student) of examples labelled by `said` [...], the mean over the teachers (Schmitt et al. 2018, eq. 2)."""
    mean, log_std, _ = outputs
    own = mean[..., None, :], jnp.broadcast_to(log_std, mean.shape)[..., None, :]
    return divergence(part["taught_mean"], part["taught_log_std"], *own).sum(-1).mean(-1)


def fading(update: jax.Array, until: float) -> jax.Array:
    """From 1 at the first update linearly to 0 at `until`, and 0 from then on []."""
    return jnp.maximum(1.0 - update.astype(jnp.float32) / max(until, 1e-6), 0.0)


def descend(
    loss: Callable[[Any, dict[str, jax.Array]], jax.Array],
    transform: optax.GradientTransformation,
    carry: tuple[Any, Any],
    batch: dict[str, jax.Array],
    ids: jax.Array,
) -> tuple[tuple[Any, Any], jax.Array]:
    """Parameters and optimiser after a gradient step for each row of `ids` [steps, n] of examples; and the mean loss."""

    def one(carry: tuple[Any, Any], ids: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        params, opt = carry
        value, grads = jax.value_and_grad(loss)(params, row(batch, ids))
        updates, opt = transform.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), value

    carry, losses = jax.lax.scan(one, carry, ids)
    return carry, losses.mean()


# --- behaviour cloning --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cloning:
    """How a policy is fitted to recorded actions."""

    epochs: int = 20  # passes over the pairs
    minibatch: int = 1024  # pairs of a gradient step
    learning_rate: float = 1e-3  # at the start; it falls linearly to a tenth
    max_grad_norm: float = 0.5  # gradients are scaled down to this global norm
    hidden: tuple[int, ...] = (128, 128)  # units of the layers of policy and value


def clone(key: jax.Array, observation: np.ndarray, action: np.ndarray, config: Cloning) -> tuple[ActorCritic, Policy, float]:
    """A policy that makes the recorded actions [n, a] likely at their observations [n, obs], and the loss of the last pass.

    The loss is −log N(a; μ(o), σ²), so that σ becomes the spread of the actions about the mean. Key is consumed.
    """
    if observation.ndim != 2 or action.ndim != 2 or len(observation) != len(action) or not len(action):
        got = f"{observation.shape} and {action.shape}"
        raise PalaestraError(f"demonstrations: got observation and action of shapes {got}, expected [n, obs] and [n, a] of one n >= 1")
    k_params, k_order = jax.random.split(key)
    network = ActorCritic(action.shape[1], config.hidden)
    params = initial(network, k_params, observation.shape[1])
    statistics = Statistics.new(observation.shape[1]).update(jnp.asarray(observation, jnp.float32))
    batch = {"observation": statistics.normalise(jnp.asarray(observation, jnp.float32)), "action": jnp.asarray(action, jnp.float32)}
    size = min(config.minibatch, len(action))
    steps = len(action) // size
    transform = annealed_adam(config.learning_rate, config.max_grad_norm, steps * config.epochs)

    def loss(params: Any, part: dict[str, jax.Array]) -> jax.Array:
        mean, log_std, _ = forward(network, params, part["observation"])
        return -log_prob(mean, log_std, part["action"]).mean()

    @jax.jit
    def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        ids = jax.random.permutation(key, len(action))[: steps * size].reshape(steps, size)
        return descend(loss, transform, carry, batch, ids)

    carry, last = (params, transform.init(params)), jnp.zeros(())
    for k in jax.random.split(k_order, config.epochs):
        carry, last = epoch(carry, k)
    return network, Policy(params=carry[0], statistics=statistics), float(last)


def load_demonstrations(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Observation [n, obs] and action [n, a] of an .npz file with arrays of these names."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return found["observation"], found["action"]
    except KeyError as error:
        raise PalaestraError(f"{path}: got no array {error}, expected `observation` [n, obs] and `action` [n, a]") from None
    except (OSError, ValueError) as error:
        raise PalaestraError(f"{path}: cannot be read as .npz ({error})") from None


# --- distillation -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """An environment and who knows what to do in it."""

    env: Env
    teacher: Teacher
    taught: tuple[int, ...]  # which components of the action the teacher speaks of; the others do nothing here


@dataclass(frozen=True)
class School:
    """Lessons for one student: their environments share sizes of observation and action."""

    name: str
    lessons: tuple[Lesson, ...]

    @property
    def observation_size(self) -> int:
        return self.lessons[0].env.observation_size

    @property
    def action_size(self) -> int:
        return self.lessons[0].env.action_size

    @property
    def horizon(self) -> int:
        return max(lesson.env.horizon for lesson in self.lessons)


@dataclass(frozen=True)
class Distillation:
    """Distillation from the student's own behaviour, and how much of it."""

    name: ClassVar[str] = "distillation"

    num_envs: int = 256  # environments stepped at once, of each lesson
    num_steps: int = 16  # control steps of each between updates
    epochs: int = 2  # passes over what the lessons of an update gave
    minibatches: int = 8  # gradient steps a pass, each on all lessons
    led: float = 0.5  # the share of the updates in which teachers act as well, in ever fewer environments: β of DAgger falls from 1 to 0
    learning_rate: float = 1e-3  # at the start; it falls linearly to a tenth
    max_grad_norm: float = 0.5  # gradients are scaled down to this global norm
    hidden: tuple[int, ...] = (256, 256)  # units of the layers of policy and value

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        if self.num_envs * self.num_steps % self.minibatches:
            expected = f"a divisor of num_envs * num_steps = {self.num_envs * self.num_steps}"
            raise ValueError(f"minibatches: got {self.minibatches}, expected {expected}")

    @property
    def batch_size(self) -> int:
        """Of one lesson."""
        return self.num_envs * self.num_steps

    def make(self, env: Any, total_updates: int, sampler: Sampler | None = None) -> "Distiller":
        """A learner in a school."""
        if not isinstance(env, School):
            raise PalaestraError(f"distillation: got the environment {env.name!r}, expected a School, whose lessons have teachers")
        return Distiller(env, self, total_updates, sampler)


class DistillState(struct.PyTreeNode, kw_only=True):
    """Everything that the next update needs."""

    params: Any
    optimiser: Any
    statistics: Statistics
    batches: tuple[BatchState, ...]  # of each lesson
    key: jax.Array
    update: jax.Array  # [] int32, updates made


class Distiller:
    """One student in a school. A lesson's rollout is a program of its own, for a world of its own; the update is on all at once."""

    def __init__(self, school: School, config: Distillation, total_updates: int, sampler: Sampler | None = None):
        self.school, self.config, self.total_updates = school, config, max(total_updates, 1)
        self.envs = tuple(AutoReset(lesson.env, config.num_envs, sampler) for lesson in school.lessons)
        self.network = ActorCritic(school.action_size, config.hidden)
        self._optimiser = annealed_adam(config.learning_rate, config.max_grad_norm, self.total_updates * config.epochs * config.minibatches)
        options = compiler_options()
        self._collect = tuple(
            jax.jit(lambda state, batch, key, i=i: self.rollout(i, state, batch, key), compiler_options=options)
            for i in range(len(school.lessons))
        )
        self._improve = jax.jit(self.improve, compiler_options=options)

    def init(self, key: jax.Array) -> DistillState:
        """A fresh student; key is consumed."""
        k_params, k_envs, k_run = jax.random.split(key, 3)
        params = initial(self.network, k_params, self.school.observation_size)
        keys = jax.random.split(k_envs, (len(self.envs), self.config.num_envs))
        return DistillState(
            params=params,
            optimiser=self._optimiser.init(params),
            statistics=Statistics.new(self.school.observation_size),
            batches=tuple(jax.jit(envs.reset)(k)[0] for envs, k in zip(self.envs, keys, strict=True)),
            key=k_run,
            update=jnp.zeros((), jnp.int32),
        )

    def policy(self, state: DistillState) -> Policy:
        return Policy(params=state.params, statistics=state.statistics)

    def train_step(self, state: DistillState) -> tuple[DistillState, dict[str, jax.Array]]:
        """A rollout of every lesson, and one update on all of them."""
        key, k_update, *k_lessons = jax.random.split(state.key, 2 + len(self.envs))
        batches, told, ended = [], [], []
        for collect, batch, k in zip(self._collect, state.batches, k_lessons, strict=True):
            batch, examples, sums = collect((state.params, state.statistics, state.update), batch, k)
            batches.append(batch)
            told.append(examples)
            ended.append(sums)
        state, losses = self._improve(state, tuple(told), k_update)
        sums = jax.tree.map(lambda *xs: sum(xs), *ended)
        return state.replace(batches=tuple(batches), key=key), sums | losses

    def rollout(
        self, number: int, student: tuple[Any, Statistics, jax.Array], batch: BatchState, key: jax.Array
    ) -> tuple[BatchState, dict[str, jax.Array], dict[str, jax.Array]]:
        """A rollout of one lesson: what was observed and what the teacher says of it [N, ..]. Key is consumed."""
        lesson, envs, config = self.school.lessons[number], self.envs[number], self.config
        params, statistics, update = student
        led = fading(update, config.led * self.total_updates)
        by_teacher = (jnp.arange(config.num_envs) < led * config.num_envs)[:, None]

        def one(batch: BatchState, key: jax.Array) -> tuple[BatchState, Any]:
            seen = batch.observation
            mean, log_std, _ = forward(self.network, params, statistics.normalise(seen))
            label, spread = lesson.teacher(seen)
            own = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
            batch, timestep = envs.step(batch, jnp.where(by_teacher, label, own))
            done = timestep.done & ~by_teacher[:, 0]
            ended = {"episodes": done.sum(), "success": (timestep.metrics["success"] & done).sum()}
            spread = jnp.broadcast_to(spread, label.shape)
            return batch, ({"observation": seen, "mean": label, "log_std": spread}, ended)

        batch, (told, ended) = jax.lax.scan(one, batch, jax.random.split(key, config.num_steps))
        told["taught"] = jnp.zeros(told["mean"].shape).at[..., np.asarray(lesson.taught, int)].set(1.0)
        flat = jax.tree.map(lambda x: x.reshape(config.batch_size, *x.shape[2:]), told)
        return batch, flat, jax.tree.map(lambda x: x.sum(0), ended)

    def improve(
        self, state: DistillState, told: tuple[dict[str, jax.Array], ...], key: jax.Array
    ) -> tuple[DistillState, dict[str, jax.Array]]:
        """The student after a rollout of every lesson; key is consumed. A minibatch has as much of each lesson."""
        config = self.config
        # Unlike PPO, there is no ratio to an older policy: the statistics may know of this rollout at once.
        batch = jax.tree.map(lambda *xs: jnp.stack(xs, 1), *told)  # [N, lessons, ...]
        statistics = state.statistics.update(batch["observation"].reshape(-1, self.school.observation_size))
        batch["observation"] = statistics.normalise(batch["observation"])

        def loss(params: Any, part: dict[str, jax.Array]) -> jax.Array:
            mean, log_std, _ = forward(self.network, params, part["observation"])
            return (part["taught"] * divergence(part["mean"], part["log_std"], mean, log_std)).sum(-1).mean()

        def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
            ids = jax.random.permutation(key, config.batch_size).reshape(config.minibatches, -1)
            return descend(loss, self._optimiser, carry, batch, ids)

        carry, losses = jax.lax.scan(epoch, (state.params, state.optimiser), jax.random.split(key, config.epochs))
        state = state.replace(params=carry[0], optimiser=carry[1], statistics=statistics, update=state.update + 1)
        return state, {"taught_kl": losses[-1]}
