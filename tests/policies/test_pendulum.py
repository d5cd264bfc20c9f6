"""Learners against Stable-Baselines3 on a standard task: Pendulum-v1, with the hyper-parameters of its zoo."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies.evaluate import evaluate
from tests.policies.pendulum import Pendulum


def test_it_is_gymnasiums_pendulum():
    """Step for step from Gymnasium's own states, to the precision of float32."""
    theirs, ours = gymnasium.make("Pendulum-v1"), Pendulum()
    step, rng = jax.jit(ours.step), np.random.default_rng(0)
    theirs.reset(seed=0)
    for i in range(200):
        angle, speed = theirs.unwrapped.state
        action = rng.uniform(-1.2, 1.2, 1)
        state, _ = ours.at(jnp.float32(angle), jnp.float32(speed))
        state, timestep = step(state.replace(step=jnp.int32(i)), jnp.asarray(action, jnp.float32))
        seen, reward, terminated, truncated, _ = theirs.step(2.0 * action)
        np.testing.assert_allclose(timestep.observation, seen, atol=2e-5)
        assert float(timestep.reward) == pytest.approx(reward, abs=1e-4)
        assert (bool(timestep.terminated), bool(timestep.truncated)) == (terminated, truncated)
    assert truncated
    starts = jax.vmap(ours.begin)(jax.random.split(jax.random.key(0), 2000))[0]
    for values, limit in ((starts.angle, np.pi), (starts.speed, 1.0)):
        assert float(jnp.abs(values).max()) < limit
        assert float(values.std()) == pytest.approx(limit / 3**0.5, rel=0.05)


def mean_return(config, steps, episodes=100):
    learner = config.make(Pendulum(), steps // config.batch_size)
    state = learner.init(jax.random.key(0))
    for _ in range(steps // config.batch_size):
        state, _ = learner.train_step(state)
    return float(evaluate(Pendulum(), learner.network, learner.policy(state), episodes).total.mean())
