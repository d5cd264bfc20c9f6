"""Advantages, one equation a function; for one trajectory, batch outside with vmap."""

import jax
import jax.numpy as jnp


def generalised_advantages(
    r_t: jax.Array,
    v_tm1: jax.Array,
    v_t: jax.Array,
    terminated_t: jax.Array,
    done_t: jax.Array,
    gamma: float | jax.Array,
    lam: float | jax.Array,
) -> jax.Array:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16), truncation bootstrapped.

    δₜ = rₜ + γ (1 − terminatedₜ) V(sₜ) − V(sₜ₋₁),  Aₜ₋₁ = δₜ + γλ (1 − doneₜ) Aₜ, where sₜ is what the action of time t−1 led
    to: at an episode's end the terminal observation, never the next episode's first.

    Args:
        r_t, v_tm1, v_t: [T] rewards, values before and after each step.
        terminated_t, done_t: [T] bool; done = terminated or truncated.
        gamma, lam: [] discount and λ.

    Returns:
        [T] advantages of the actions.
    """
    delta_t = r_t + gamma * jnp.where(terminated_t, 0.0, v_t) - v_tm1

    def back(advantage: jax.Array, x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        delta, done = x
        advantage = delta + gamma * lam * jnp.where(done, 0.0, advantage)
        return advantage, advantage

    return jax.lax.scan(back, jnp.zeros_like(delta_t[0]), (delta_t, done_t), reverse=True)[1]
