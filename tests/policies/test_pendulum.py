"""Learners against Stable-Baselines3 on a standard task: Pendulum-v1, with the hyper-parameters of its zoo."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies import ppo, sac
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


# Stable-Baselines3 2.9.2 on Gymnasium's environment with its zoo's hyper-parameters, mean of 100 episodes of the deterministic policy:
# see docs/training.md, "Against reference results".


def test_sac_reaches_the_reference_in_as_many_steps():
    hyper = sac.Hyper(learning_rate=1e-3, gamma=0.99, temperature=1.0, reward_scale=1.0)
    config = sac.SAC(num_envs=4, num_steps=4, replay=4_000, warmup=400, minibatch=128, hidden=(64, 64), hyper=hyper)
    assert mean_return(config, steps=4_000) > -200.0


def test_ppo_swings_up_and_balances():
    hyper = ppo.Hyper(learning_rate=1e-3, gamma=0.98, reward_scale=0.01, entropy=0.0)
    config = ppo.PPO(num_envs=16, num_steps=64, epochs=10, minibatches=16, hidden=(64, 64), hyper=hyper)
    assert mean_return(config, steps=100_000) > -250.0
