"""Policies and values: Flax networks, a Gaussian over actions, and the observation statistics that belong to the weights."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from palaestra.sim.errors import PalaestraError, UnknownNameError

_LOG_SQRT_2PI = 0.9189385332046727
_LOG_STD = (-5.0, 2.0)  # of squashed policies


class MLP(nn.Module):
    """Layers with orthogonal weights, and a linear last one."""

    hidden: Sequence[int]
    out: int
    last_scale: float
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden:
            x = self.activation(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        return nn.Dense(self.out, kernel_init=nn.initializers.orthogonal(self.last_scale))(x)


class ActorCritic(nn.Module):
    """A Gaussian policy whose deviation does not depend on the state, and a value. Separate trunks."""

    action_size: int
    hidden: Sequence[int] = (128, 128)
    init_log_std: float = -0.7

    def setup(self) -> None:
        self.actor = MLP(self.hidden, self.action_size, 0.01)
        self.critic = MLP(self.hidden, 1, 1.0)
        self.log_std = self.param("log_std", nn.initializers.constant(self.init_log_std), (self.action_size,))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Normalised observations [..., obs] -> mean [..., a], log deviation [a], value [...]."""
        return self.actor(x), self.log_std, self.critic(x)[..., 0]


class RecurrentActorCritic(nn.Module):
    """An `ActorCritic` of what is observed now and of a memory: a gated recurrent unit (Cho et al. 2014) over all that was observed."""

    action_size: int
    hidden: Sequence[int] = (128, 128)
    units: int = 64  # of the memory

    def setup(self) -> None:
        self.encoder = nn.Dense(self.units, kernel_init=nn.initializers.orthogonal(2**0.5))
        self.cell = nn.GRUCell(self.units)
        self.heads = ActorCritic(self.action_size, self.hidden)

    def __call__(self, memory: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
        """Memory [..., units] and normalised observations [..., obs] -> the next memory, and mean, log deviation and value."""
        seen = self.encode(x)
        memory = self.remember(memory, seen)
        return memory, self.decide(seen, memory)

    def encode(self, x: jax.Array) -> jax.Array:
        return jnp.tanh(self.encoder(x))

    def remember(self, memory: jax.Array, seen: jax.Array) -> jax.Array:
        return self.cell(memory, seen)[0]

    def decide(self, seen: jax.Array, memory: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What was encoded, and the memory after it."""
        return self.heads(jnp.concatenate([seen, memory], -1))


class SquashedActor(nn.Module):
    """A Gaussian policy squashed into (-1, 1) by tanh, whose deviation depends on the state; no value."""

    action_size: int
    hidden: Sequence[int] = (256, 256)

    def setup(self) -> None:
        self.actor = MLP(self.hidden, 2 * self.action_size, 0.01, nn.relu)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Normalised observations [..., obs] -> the deterministic action [..., a], the log of the deviation around it [..., a], to first
        order: σ (1 − tanh² μ), and 0 [...] in place of a value."""
        mean, log_std = self.gaussian(x)
        return jnp.tanh(mean), log_std + log_slope(mean), jnp.zeros(mean.shape[:-1])

    def gaussian(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and log deviation [..., a] before tanh; the latter stays smoothly within its range."""
        mean, spread = jnp.split(self.actor(x), 2, axis=-1)
        low, high = _LOG_STD
        return mean, low + 0.5 * (high - low) * (jnp.tanh(spread) + 1.0)


class Critics(nn.Module):
    """Two independent values of actions (Fujimoto et al. 2018)."""

    hidden: Sequence[int] = (256, 256)

    @nn.compact
    def __call__(self, x: jax.Array, action: jax.Array) -> jax.Array:
        """Normalised observations [..., obs] and actions [..., a] -> [2, ...]."""
        both = jnp.concatenate([x, action], -1)
        return jnp.stack([MLP(self.hidden, 1, 1.0, nn.relu)(both)[..., 0] for _ in range(2)])


Outputs = tuple[jax.Array, jax.Array, jax.Array]  # mean [..., a], log deviation [a] or [..., a], value [...]
# What policies are made for; each kind is rebuilt from what a file of weights says of it.
Network = ActorCritic | RecurrentActorCritic | SquashedActor
NETWORKS: dict[str, type[Network]] = {"gaussian": ActorCritic, "recurrent": RecurrentActorCritic, "squashed": SquashedActor}
_DEFAULT = "gaussian"  # goes without saying, so that the oldest files can be read


def describe(network: Network) -> dict[str, Any]:
    """What a file of weights has to say for its network to be made again."""
    kind = next(name for name, kind in NETWORKS.items() if type(network) is kind)
    units = {"units": network.units} if isinstance(network, RecurrentActorCritic) else {}
    return {"hidden": list(network.hidden)} | units | ({} if kind == _DEFAULT else {"network": kind})


def rebuild(about: dict[str, Any], action_size: int) -> Network:
    """The network that `describe` described."""
    kind = about.get("network", _DEFAULT)
    if kind not in NETWORKS:
        raise UnknownNameError("network", str(kind), NETWORKS)
    return NETWORKS[kind](action_size, tuple(about["hidden"]), **{name: about[name] for name in ("units",) if name in about})


def blank(network: Network, count: int) -> Any:
    """The memory with which episodes begin [count, ...]; of networks without any, nothing."""
    return jnp.zeros((count, network.units)) if isinstance(network, RecurrentActorCritic) else ()


def initial(network: Network, key: jax.Array, observation_size: int) -> Any:
    """Fresh weights; key is consumed."""
    x = jnp.zeros((1, observation_size))
    return network.init(key, blank(network, 1), x) if isinstance(network, RecurrentActorCritic) else network.init(key, x)


def wiped(memory: Any, where: jax.Array) -> Any:
    """The memory [B, ...], blank where `where` [B] holds."""
    return jax.tree.map(lambda m: jnp.where(where[:, None], 0.0, m), memory)


def recall(network: Network, params: Any, memory: Any, x: jax.Array) -> tuple[Any, Outputs]:
    """One step: memory [B, ...] and normalised observations [B, obs] -> the memory after them, and what the network says."""
    if not isinstance(network, RecurrentActorCritic):
        return memory, forward(network, params, x)
    after: tuple[Any, Outputs] = network.apply(params, memory, x)  # type: ignore[assignment]
    return after


def forward(network: Network, params: Any, x: jax.Array) -> Outputs:
    """Mean, log deviation and value of normalised observations, by a network without memory; see `ActorCritic`."""
    outputs: Outputs = network.apply(params, x)  # type: ignore[assignment]
    return outputs


def log_prob(mean: jax.Array, log_std: jax.Array, action: jax.Array) -> jax.Array:
    """log N(a; μ, σ²), summed over the components: [..., a] -> [...]."""
    z = (action - mean) * jnp.exp(-log_std)
    return jnp.sum(-0.5 * z**2 - log_std - _LOG_SQRT_2PI, axis=-1)


def log_slope(u: jax.Array) -> jax.Array:
    """log tanh'(u) = log(1 − tanh² u) = 2 (log 2 − u − log(1 + e⁻²ᵘ)), which does not cancel for large |u|."""
    return 2.0 * (jnp.log(2.0) - u - nn.softplus(-2.0 * u))


def squashed_log_prob(mean: jax.Array, log_std: jax.Array, u: jax.Array) -> jax.Array:
    """log π(tanh u) = log N(u; μ, σ²) − Σ log(1 − tanh² u) (Haarnoja et al. 2018b, eq. 21): [..., a] -> [...]."""
    return log_prob(mean, log_std, u) - log_slope(u).sum(-1)


def entropy(log_std: jax.Array) -> jax.Array:
    """H[N(μ, σ²)] = Σ (log σ + ½ log 2πe) []."""
    return jnp.sum(log_std + 0.5 + _LOG_SQRT_2PI)


def divergence(mean: jax.Array, log_std: jax.Array, other_mean: jax.Array, other_log_std: jax.Array) -> jax.Array:
    """KL(N(μ, σ²) ‖ N(μ', σ'²)) of each component [..., a]: log σ'/σ + (σ² + (μ − μ')²) / 2σ'² − ½."""
    ratio = jnp.exp(2 * (log_std - other_log_std))
    return other_log_std - log_std + 0.5 * (ratio + jnp.square((mean - other_mean) * jnp.exp(-other_log_std)) - 1.0)


class Statistics(struct.PyTreeNode, kw_only=True):
    """Running mean and variance of observations; saved with the weights, because these mean nothing without it."""

    count: jax.Array  # []
    mean: jax.Array  # [obs]
    m2: jax.Array  # [obs], the sum of squared deviations

    @staticmethod
    def new(size: int) -> "Statistics":
        little = jnp.float32(1e-4)  # not weakly typed: programs would be compiled once for this and once for what `update` gives
        return Statistics(count=little, mean=jnp.zeros(size), m2=jnp.full(size, little))

    def update(self, batch: jax.Array) -> "Statistics":
        """With the observations [n, obs] added (Chan, Golub and LeVeque 1979)."""
        n = jnp.asarray(batch.shape[0], jnp.float32)
        mean = batch.mean(0)
        delta, total = mean - self.mean, self.count + n
        m2 = self.m2 + ((batch - mean) ** 2).sum(0) + delta**2 * self.count * n / total
        return Statistics(count=total, mean=self.mean + delta * n / total, m2=m2)

    def normalise(self, x: jax.Array) -> jax.Array:
        deviation = jnp.sqrt(self.m2 / self.count + 1e-6)
        return jnp.clip((x - self.mean) / deviation, -8.0, 8.0)


class Policy(struct.PyTreeNode, kw_only=True):
    """What is shipped: weights of a network and the statistics of its observations."""

    params: Any
    statistics: Statistics

    def recall(self, network: Network, memory: Any, observation: jax.Array) -> tuple[Any, Outputs]:
        """The memory after observations [B, obs], and what the network says of them."""
        return recall(network, self.params, memory, self.statistics.normalise(observation))

    def act(self, network: Network, observation: jax.Array) -> jax.Array:
        """The deterministic action [..., a] for observations [..., obs], unclipped, of a network without memory."""
        if isinstance(network, RecurrentActorCritic):
            raise PalaestraError("act: got a network with a memory, expected one without. Fix: `recall`, which takes and gives the memory")
        mean, _, _ = forward(network, self.params, self.statistics.normalise(observation))
        return mean
