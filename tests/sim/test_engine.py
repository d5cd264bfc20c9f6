import jax.numpy as jnp
import numpy as np

from palaestra.sim.engine import float64_bits


def test_float64_bits_are_those_of_numpy():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(4096).astype(np.float32) * np.float32(10) ** rng.integers(-35, 35, 4096).astype(np.float32)
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.finfo(np.float32).max, np.finfo(np.float32).tiny], np.float32)
    x = np.concatenate([values, special])
    got = np.asarray(float64_bits(jnp.asarray(x))).view(np.float64)
    np.testing.assert_array_equal(got.view(np.uint64), x.astype(np.float64).view(np.uint64))


def test_float64_bits_of_nan_is_nan_and_of_subnormals_zero():
    x = jnp.asarray([np.nan, 1e-42], jnp.float32)
    got = np.asarray(float64_bits(x)).view(np.float64)
    assert np.isnan(got[0])
    assert got[1] == 0.0
