import jax
import jax.numpy as jnp
import numpy as np

from palaestra.policies.returns import generalised_advantages

R = jnp.asarray([1.0, 2.0, 3.0])
V0 = jnp.asarray([0.5, 1.0, 1.5])
V1 = jnp.asarray([1.0, 1.5, 2.0])
NO = jnp.zeros(3, bool)


def test_by_hand_without_an_end():
    # γ = 0.5, λ = 0.5: δ = (1 + .5 - .5, 2 + .75 - 1, 3 + 1 - 1.5) = (1, 1.75, 2.5)
    # A₂ = 2.5, A₁ = 1.75 + .25 * 2.5 = 2.375, A₀ = 1 + .25 * 2.375 = 1.59375
    got = generalised_advantages(R, V0, V1, NO, NO, 0.5, 0.5)
    np.testing.assert_allclose(got, [1.59375, 2.375, 2.5])


def test_termination_drops_the_value_and_truncation_keeps_it():
    done = jnp.asarray([False, True, False])
    # The episode ends with step 1. Terminated: δ₁ = 2 - 1 = 1. Truncated: δ₁ = 2 + .5 * 1.5 - 1 = 1.75. Nothing flows back from step 2.
    ended = generalised_advantages(R, V0, V1, done, done, 0.5, 0.5)
    np.testing.assert_allclose(ended, [1 + 0.25 * 1.0, 1.0, 2.5])
    cut = generalised_advantages(R, V0, V1, NO, done, 0.5, 0.5)
    np.testing.assert_allclose(cut, [1 + 0.25 * 1.75, 1.75, 2.5])


def test_lambda_one_is_the_discounted_return_less_the_value():
    rng = np.random.default_rng(0)
    r, v = rng.standard_normal(20), rng.standard_normal(21)
    got = generalised_advantages(
        *(jnp.asarray(x, jnp.float32) for x in (r, v[:-1], v[1:])), jnp.zeros(20, bool), jnp.zeros(20, bool), 0.9, 1.0
    )
    want = [sum(0.9 ** (k - t) * r[k] for k in range(t, 20)) + 0.9 ** (20 - t) * v[20] - v[t] for t in range(20)]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_jit_and_vmap_agree():
    batched = jax.jit(jax.vmap(generalised_advantages, in_axes=(0, 0, 0, 0, 0, None, None)))
    stack = [jnp.stack([x, 2 * x]) for x in (R, V0, V1)] + [jnp.stack([NO, NO])] * 2
    np.testing.assert_allclose(batched(*stack, 0.5, 0.5)[0], generalised_advantages(R, V0, V1, NO, NO, 0.5, 0.5))
