"""SAC on probe environments, its pieces against numbers worked out elsewhere, and runs of it killed and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from palaestra.policies.evaluate import evaluate
from palaestra.policies.files import load_policy
from palaestra.policies.networks import SquashedActor, initial, log_slope, squashed_log_prob
from palaestra.policies.replay import Experience, ReplayBuffer
from palaestra.policies.runs import Run, RunConfig
from palaestra.policies.sac import SAC, Hyper, polyak
from tests.policies.probes import LevelProbe, Probe
from tests.policies.resuming import resumed_like_whole

# A target of entropy far below what is reached: the temperature falls, and values are those of rewards alone.
HYPER = Hyper(learning_rate=5e-3, gamma=0.9, tau=0.05, temperature=0.005, target_entropy=-4.0, reward_scale=1.0)
SMALL = SAC(num_envs=16, num_steps=4, replay=4096, warmup=128, minibatch=64, updates_to_data=0.25, hidden=(16, 16), hyper=HYPER)


def learn(probe, updates=50, gamma=0.9):
    learner = SAC(**{**vars(SMALL), "hyper": HYPER.replace(gamma=gamma)}).make(probe, updates)
    state = learner.init(jax.random.key(0))
    for _ in range(updates):
        state, _ = learner.train_step(state)

    def at(observation, action=0.0):
        """What is done, and what an action is worth."""
        x = state.statistics.normalise(jnp.asarray(observation))
        value = learner.values(state.params.critics, x, jnp.asarray([action])).min()
        return float(learner.policy(state).act(learner.network, jnp.asarray(observation))[0]), float(value)

    return at


def test_value_of_a_constant_reward():
    at = learn(Probe(lambda sign, step, action: jnp.ones(()), shows_sign=False))
    assert at((0.0, 0.0))[1] == pytest.approx(1.0, abs=0.05)


def test_value_that_depends_on_the_observation():
    at = learn(Probe(lambda sign, step, action: sign))
    assert at((1.0, 0.0))[1] == pytest.approx(1.0, abs=0.1)
    assert at((-1.0, 0.0))[1] == pytest.approx(-1.0, abs=0.1)


def test_reward_in_the_future_is_discounted():
    at = learn(Probe(lambda sign, step, action: jnp.where(step == 1, 1.0, 0.0), length=2, shows_sign=False), gamma=0.5)
    assert at((0.0, 1.0))[1] == pytest.approx(1.0, abs=0.1)
    assert at((0.0, 0.0))[1] == pytest.approx(0.5, abs=0.1)


def test_policy_that_depends_on_the_observation_finds_the_action_that_pays():
    at = learn(Probe(lambda sign, step, action: -((action - 0.5 * sign) ** 2)), updates=80)
    for sign in (1.0, -1.0):
        action, value = at((sign, 0.0), -0.5 * sign)
        assert action == pytest.approx(0.5 * sign, abs=0.12)
        assert value == pytest.approx(-1.0, abs=0.15)


def test_truncation_bootstraps_and_termination_does_not():
    """Reward 1 for 4 steps. Cut short: the value is that of going on for ever, 1 / (1 - γ). Terminated: Σ γᵏ over what is left."""
    ones = lambda sign, step, action: jnp.ones(())  # noqa: E731
    cut = learn(Probe(ones, length=4, shows_sign=False, truncates=True), gamma=0.5)
    assert cut((0.0, 0.0))[1] == pytest.approx(2.0, rel=0.1)
    ended = learn(Probe(ones, length=4, shows_sign=False), gamma=0.5)
    assert ended((0.0, 0.0))[1] == pytest.approx(1 + 0.5 + 0.25 + 0.125, rel=0.1)
    assert ended((0.0, 3.0))[1] == pytest.approx(1.0, rel=0.1)


def test_the_squashed_density_integrates_to_one_and_is_that_of_the_transformed_gaussian():
    mean, log_std = 0.7, -0.4
    density = jax.jit(lambda a: jnp.exp(squashed_log_prob(jnp.asarray([mean]), jnp.asarray([log_std]), jnp.arctanh(a)[None])))
    assert integrate.quad(lambda a: float(density(a)), -0.99999, 0.99999, limit=200)[0] == pytest.approx(1.0, abs=1e-3)
    u = np.asarray([0.3, -1.2])
    means, deviations = np.asarray([0.1, -0.5]), np.exp([-0.4, 0.3])
    want = (stats.norm.logpdf(u, means, deviations) - np.log(1 - np.tanh(u) ** 2)).sum()
    got = squashed_log_prob(jnp.asarray(means), jnp.log(jnp.asarray(deviations)), jnp.asarray(u))
    assert float(got) == pytest.approx(want, rel=1e-5)
    far = np.asarray([-30.0, 12.0, 30.0])  # where 1 - tanh² is 0 in float32
    np.testing.assert_allclose(log_slope(jnp.asarray(far)), np.log(4.0) - 2 * np.abs(far), rtol=1e-6)


def test_a_squashed_policy_acts_by_its_mean_and_says_how_far_it_strays():
    network = SquashedActor(2, (8,))
    params = initial(network, jax.random.key(0), 3)
    x = 100.0 * jax.random.normal(jax.random.key(1), (5, 3))
    mean, log_std = network.apply(params, x, method="gaussian")
    action, spread, _ = network.apply(params, x)
    np.testing.assert_allclose(action, np.tanh(mean), rtol=1e-6)
    small = 1e-3
    np.testing.assert_allclose(
        np.exp(spread), (np.tanh(mean + small * np.exp(log_std)) - np.tanh(mean - small * np.exp(log_std))) / (2 * small), rtol=1e-2
    )


def test_targets_follow_by_the_share_tau():
    got = polyak({"a": jnp.asarray([1.0, 2.0])}, {"a": jnp.asarray([3.0, -2.0])}, 0.25)
    np.testing.assert_allclose(got["a"], [1.5, 1.0])


def steps(values):
    x = jnp.asarray(values, jnp.float32)
    return Experience(observation=x[:, None], action=x[:, None], reward=x, next_observation=x[:, None] + 1, terminated=x > 3, learn=None)


def test_the_replay_holds_the_last_steps_and_draws_only_what_it_holds():
    one = jax.tree.map(lambda x: x[0], steps([0]))
    buffer = ReplayBuffer.empty(5, one).add(steps([1, 2, 3]))
    assert set(np.asarray(buffer.sample(jax.random.key(0), 100).reward)) == {1.0, 2.0, 3.0}
    buffer = jax.jit(lambda b: b.add(steps([4, 5, 6])))(buffer)
    assert (int(buffer.position), int(buffer.filled), buffer.size) == (1, 5, 5)
    np.testing.assert_array_equal(buffer.steps.reward, [6, 2, 3, 4, 5])
    drawn = buffer.sample(jax.random.key(1), 200)
    assert set(np.asarray(drawn.reward)) == {2.0, 3.0, 4.0, 5.0, 6.0}
    np.testing.assert_array_equal(drawn.next_observation[:, 0], drawn.reward + 1)  # the rows of a step stay together
    np.testing.assert_array_equal(drawn.terminated, drawn.reward > 3)
    np.testing.assert_array_equal(buffer.add(steps([7, 8, 9, 10, 11])).steps.reward, [11, 7, 8, 9, 10])


def test_before_the_warm_up_is_over_nothing_is_learned_and_actions_are_uniform():
    learner = SMALL.make(Probe(lambda sign, step, action: action), 5)
    state = learner.init(jax.random.key(0))
    before = jax.device_get(state.params)
    state, figures = learner.train_step(state)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state.params))
    actions = np.asarray(state.replay.steps.action)[: int(state.replay.filled), 0]
    assert len(actions) == 64
    assert abs(actions).max() <= 1.0
    assert actions.std() == pytest.approx(3**-0.5, abs=0.1)
    assert int(figures["episodes"]) == 64
    state, _ = learner.train_step(state)  # now it is
    assert not np.array_equal(before.log_temperature, state.params.log_temperature)


def test_a_run_stopped_and_resumed_comes_to_the_same_bits_replay_included(tmp_path):
    """With a sampler that lets only some of the steps be learned from, so that these flags are in the replay too."""
    config = RunConfig(env="probe", steps=64 * 12, sampler="robust-plr", log_every=2, checkpoint_every=4, learner=SMALL)

    def env():
        return LevelProbe(lambda sign, step, action: -((action - sign) ** 2), length=3)

    last = resumed_like_whole(lambda folder: Run(env(), config, folder), tmp_path, 6)
    assert {"replay/steps/learn", "replay/position"} <= last.keys()

    policy = Run(env(), config, tmp_path / "broken").train(resume=True)  # all is done: it is loaded
    network, loaded = load_policy(tmp_path / "whole" / "policy.safetensors", name="probe", observation_size=2, action_size=1)
    assert isinstance(network, SquashedActor)
    x = jnp.asarray([[1.0, 0.0], [-1.0, 2.0]])
    np.testing.assert_array_equal(loaded.act(network, x), policy.act(network, x))
    quiet, noisy = (evaluate(env(), network, loaded, 8, noise=n).total for n in (None, 1))
    assert (quiet != noisy).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"replay": 100}, r"replay: got 100, expected room for num_envs \* num_steps and warmup: 5000 steps"),
        ({"updates_to_data": 1e-4}, "updates_to_data: got 0.0001, expected 0.000976562 or more"),
        ({"minibatch": 0}, "minibatch: got 0, expected 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        SAC(**wrong)
