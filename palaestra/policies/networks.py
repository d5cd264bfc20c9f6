"""Policies and values: Flax networks, a Gaussian over actions, and the observation statistics that belong to the weights."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from palaestra.sim.errors import UnknownNameError

_LOG_SQRT_2PI = 0.9189385332046727


class MLP(nn.Module):
    """Tanh layers with orthogonal weights, and a linear last one."""

    hidden: Sequence[int]
    out: int
    last_scale: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden:
            x = jnp.tanh(nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
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


def forward(network: ActorCritic, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean, log deviation and value of normalised observations; see `ActorCritic`."""
    outputs: tuple[jax.Array, jax.Array, jax.Array] = network.apply(params, x)  # type: ignore[assignment]
    return outputs


Network = ActorCritic  # what policies are made for; each kind is rebuilt from what a file of weights says of it
NETWORKS: dict[str, type[Network]] = {"gaussian": ActorCritic}
_DEFAULT = "gaussian"  # goes without saying, so that the oldest files can be read


def describe(network: Network) -> dict[str, Any]:
    """What a file of weights has to say for its network to be made again."""
    kind = next(name for name, kind in NETWORKS.items() if type(network) is kind)
    return {"hidden": list(network.hidden)} | ({} if kind == _DEFAULT else {"network": kind})


def rebuild(about: dict[str, Any], action_size: int) -> Network:
    """The network that `describe` described."""
    kind = about.get("network", _DEFAULT)
    if kind not in NETWORKS:
        raise UnknownNameError("network", str(kind), NETWORKS)
    return NETWORKS[kind](action_size, tuple(about["hidden"]))


def log_prob(mean: jax.Array, log_std: jax.Array, action: jax.Array) -> jax.Array:
    """log N(a; μ, σ²), summed over the components: [..., a] -> [...]."""
    z = (action - mean) * jnp.exp(-log_std)
    return jnp.sum(-0.5 * z**2 - log_std - _LOG_SQRT_2PI, axis=-1)


def entropy(log_std: jax.Array) -> jax.Array:
    """H[N(μ, σ²)] = Σ (log σ + ½ log 2πe) []."""
    return jnp.sum(log_std + 0.5 + _LOG_SQRT_2PI)


class Statistics(struct.PyTreeNode, kw_only=True):
    """Running mean and variance of observations; saved with the weights, because these mean nothing without it."""

    count: jax.Array  # []
    mean: jax.Array  # [obs]
    m2: jax.Array  # [obs], the sum of squared deviations

    @staticmethod
    def new(size: int) -> "Statistics":
        return Statistics(count=jnp.asarray(1e-4), mean=jnp.zeros(size), m2=jnp.full(size, 1e-4))

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

    def act(self, network: Network, observation: jax.Array) -> jax.Array:
        """The deterministic action [..., a] for observations [..., obs], unclipped."""
        mean, _, _ = forward(network, self.params, self.statistics.normalise(observation))
        return mean
