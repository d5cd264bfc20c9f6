"""What PPO climbs and what holds it back, one equation a function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Surrogate = Callable[[jax.Array, jax.Array, float | jax.Array], jax.Array]  # (log r [N], A [N], ε) -> [N]


def clipped(log_ratio: jax.Array, advantage: jax.Array, clip: float | jax.Array) -> jax.Array:
    """min(r A, clip(r, 1 − ε, 1 + ε) A) (Schulman et al. 2017, eq. 7)."""
    ratio = jnp.exp(log_ratio)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def unclipped(log_ratio: jax.Array, advantage: jax.Array, clip: float | jax.Array) -> jax.Array:
    """r A, for where the KL divergence has a price of its own (Schulman et al. 2017, eq. 8, first term)."""
    del clip
    return jnp.exp(log_ratio) * advantage


def discovered(log_ratio: jax.Array, advantage: jax.Array, clip: float | jax.Array, alpha: float = 2.0, beta: float = 0.6) -> jax.Array:
    """r A − f, with the drift function that meta-learning found (Lu et al. 2022, Discovered Policy Optimisation, section 5).

    f = max(0, (r − 1) A − α tanh((r − 1) A / α)) where A ≥ 0, and max(0, A log r − β tanh(A log r / β)) where A < 0.
    """
    del clip
    ratio = jnp.exp(log_ratio)
    up, down = (ratio - 1) * advantage, log_ratio * advantage
    drift = jnp.where(advantage >= 0, up - alpha * jnp.tanh(up / alpha), down - beta * jnp.tanh(down / beta))
    return ratio * advantage - jnp.maximum(drift, 0.0)


DRIFTS: dict[str, Surrogate] = {"clip": clipped, "penalty": unclipped, "dpo": discovered}


def penalty_weight(weight: jax.Array, kl: jax.Array, target: float) -> jax.Array:
    """The price β of the KL divergence after an update that came to `kl` (Schulman et al. 2017, section 4).

    Half of it below target / 1.5, twice above 1.5 target. It stays within 2^±20, so that it can come back.
    """
    factor = jnp.where(kl < target / 1.5, 0.5, jnp.where(kl > target * 1.5, 2.0, 1.0))
    return jnp.clip(weight * factor, 2.0**-20, 2.0**20)


def entropy_weight(weight: jax.Array, entropy: jax.Array, target: float, rate: float = 0.1) -> jax.Array:
    """The weight c of the entropy bonus after an update: log c ← log c + rate (H̄ − H), nats a component of the action; at most 10.

    Gradient ascent, in log c, on the dual of "maximise return subject to H ≥ H̄" (Haarnoja et al. 2018b, section 5).
    """
    return jnp.clip(weight * jnp.exp(rate * (target - entropy)), 1e-8, 10.0)


def entropy_price(weight: jax.Array, entropy: jax.Array, target: float) -> jax.Array:
    """c exp(H̄ − H), what the bonus weighs while the policy moves, as a constant to the gradient.

    Advantages are normalised, so that their pull on the deviation does not grow less as it falls: by c alone, H would swing about H̄.
    """
    return weight * jnp.exp(target - jax.lax.stop_gradient(entropy))
