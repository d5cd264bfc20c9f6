"""PPO on probe environments: each failure would point at one part of the algorithm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies.networks import Statistics, entropy, forward, log_prob
from palaestra.policies.ppo import PPO, Hyper, Learner
from tests.policies.probes import Probe


def learn(probe, updates=60, gamma=0.9, **kw):
    config = PPO(
        num_envs=64,
        num_steps=8,
        epochs=4,
        minibatches=4,
        hidden=(32, 32),
        hyper=Hyper(learning_rate=5e-3, gamma=gamma, reward_scale=1.0),
        **kw,
    )
    learner = Learner(probe, config, updates)
    state = learner.init(jax.random.key(0))
    for _ in range(updates):
        state, _ = learner.train_step(state)

    def at(*observation):
        x = state.statistics.normalise(jnp.asarray(observation))
        mean, _, value = forward(learner.network, state.params, x)
        return float(mean[0]), float(value)

    return at


def test_value_of_a_constant_reward():
    at = learn(Probe(lambda sign, step, action: jnp.ones(()), shows_sign=False))
    assert at(0.0, 0.0)[1] == pytest.approx(1.0, abs=0.05)


def test_value_that_depends_on_the_observation():
    at = learn(Probe(lambda sign, step, action: sign))
    assert at(1.0, 0.0)[1] == pytest.approx(1.0, abs=0.1)
    assert at(-1.0, 0.0)[1] == pytest.approx(-1.0, abs=0.1)


def test_reward_in_the_future_is_discounted():
    at = learn(Probe(lambda sign, step, action: jnp.where(step == 1, 1.0, 0.0), length=2, shows_sign=False), gamma=0.5)
    assert at(0.0, 1.0)[1] == pytest.approx(1.0, abs=0.1)
    assert at(0.0, 0.0)[1] == pytest.approx(0.5, abs=0.1)


def test_policy_finds_the_action_that_pays():
    at = learn(Probe(lambda sign, step, action: -((action - 0.5) ** 2), shows_sign=False), updates=80)
    assert at(0.0, 0.0)[0] == pytest.approx(0.5, abs=0.12)


def test_policy_that_depends_on_the_observation():
    at = learn(Probe(lambda sign, step, action: -((action - 0.5 * sign) ** 2)), updates=100)
    assert at(1.0, 0.0)[0] == pytest.approx(0.5, abs=0.15)
    assert at(-1.0, 0.0)[0] == pytest.approx(-0.5, abs=0.15)


def test_truncation_bootstraps_and_termination_does_not():
    """Reward 1 for 4 steps. Cut short: the value is that of going on for ever, 1 / (1 - γ). Terminated: Σ γᵏ over what is left."""
    ones = lambda sign, step, action: jnp.ones(())  # noqa: E731
    cut = learn(Probe(ones, length=4, shows_sign=False, truncates=True), updates=150, gamma=0.8)
    assert cut(0.0, 0.0)[1] == pytest.approx(5.0, rel=0.1)
    ended = learn(Probe(ones, length=4, shows_sign=False), updates=80, gamma=0.8)
    assert ended(0.0, 0.0)[1] == pytest.approx(1 + 0.8 + 0.64 + 0.512, rel=0.1)


def test_rollouts_keep_the_terminal_observation_and_count_episodes():
    probe = Probe(lambda sign, step, action: jnp.ones(()), length=3)
    learner = Learner(probe, PPO(num_envs=4, num_steps=6, minibatches=2), 1)
    _, steps, sums = learner.rollout(learner.init(jax.random.key(0)))
    done = np.asarray(steps.done)
    np.testing.assert_array_equal(done[:, 0], [False, False, True, False, False, True])
    np.testing.assert_array_equal(np.asarray(steps.next_observation)[2, :, 1], 3.0)
    np.testing.assert_array_equal(np.asarray(steps.observation)[3, :, 1], 0.0)
    assert int(sums["episodes"]) == 8
    assert float(sums["return"]) == 24.0


def test_log_prob_and_entropy_are_those_of_a_gaussian():
    mean, log_std, action = jnp.asarray([0.3, -1.0]), jnp.asarray([-0.5, 0.2]), jnp.asarray([0.1, 0.4])
    want = sum(float(jax.scipy.stats.norm.logpdf(action[i], mean[i], jnp.exp(log_std[i]))) for i in range(2))
    assert float(log_prob(mean, log_std, action)) == pytest.approx(want, rel=1e-5)
    assert float(entropy(log_std)) == pytest.approx(sum(0.5 * np.log(2 * np.pi * np.e * np.exp(2 * s)) for s in (-0.5, 0.2)), rel=1e-5)


def test_statistics_are_those_of_all_that_was_seen():
    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, (n, 4)).astype(np.float32) for n in (50, 7, 200)]
    statistics = Statistics.new(4)
    for part in parts:
        statistics = statistics.update(jnp.asarray(part))
    whole = np.concatenate(parts)
    np.testing.assert_allclose(statistics.mean, whole.mean(0), rtol=1e-4)
    np.testing.assert_allclose(statistics.m2 / statistics.count, whole.var(0), rtol=1e-3)


def test_minibatches_must_divide_the_batch():
    with pytest.raises(ValueError, match=r"minibatches: got 7, expected a divisor of num_envs \* num_steps = 512"):
        PPO(num_envs=64, num_steps=8, minibatches=7)


def test_one_program_or_two_make_the_same_step():
    learner = Learner(Probe(lambda sign, step, action: -((action - 0.5) ** 2)), PPO(num_envs=8, num_steps=4, minibatches=2, epochs=2), 10)
    start = learner.init(jax.random.key(3))
    two, _ = learner.train_step(start)
    one, _ = jax.jit(learner.iterate)(start)
    scanned, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: learner.iterate(s), s, length=1))(start)
    for a, b, c in zip(*(jax.tree.leaves(s.params) for s in (one, two, scanned)), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5)
        np.testing.assert_allclose(np.asarray(a), np.asarray(c), atol=1e-5)


def test_contacts_that_found_no_room_are_reported_with_the_environments_index():
    class Crowded(Probe):
        """Overflows wherever the sign is positive."""

        def begin(self, key):
            state, timestep = super().begin(key)
            return state, timestep.replace(metrics=timestep.metrics | {"overflow": jnp.asarray(False)})

        def step(self, state, action):
            state, timestep = super().step(state, action)
            return state, timestep.replace(metrics=timestep.metrics | {"overflow": state.sign > 0})

    learner = Learner(Crowded(lambda sign, step, action: sign, length=50), PPO(num_envs=4, num_steps=2, minibatches=1), 10)
    start = learner.init(jax.random.key(0))
    ids = np.flatnonzero(np.asarray(start.batch.env.sign) > 0).tolist()
    assert 0 < len(ids) < 4
    learner.envs.env.horizon = 1
    with pytest.warns(UserWarning, match=rf"environments \[{', '.join(map(str, ids))}\]: more contacts than the engine has room for"):
        learner.train_step(start)
