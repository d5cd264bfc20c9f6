"""Recurrent PPO: what the memory holds, where it is wiped, and that it is of use where something is hidden."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.trials import Trials
from palaestra.policies.evaluate import evaluate, evaluation_keys, wilson
from palaestra.policies.files import load_policy, save_policy
from palaestra.policies.networks import ActorCritic, Policy, RecurrentActorCritic, Statistics, blank, describe, initial, recall
from palaestra.policies.ppo import Hyper, Learner
from palaestra.policies.recurrent import RecurrentPPO, unroll
from palaestra.policies.runs import Run, RunConfig
from palaestra.sim.errors import PalaestraError
from palaestra.skills import trials
from tests.policies.probes import HiddenSign
from tests.policies.resuming import resumed_like_whole

TRIALS = 3
SMALL = RecurrentPPO(
    num_envs=64,
    num_steps=12,
    minibatches=4,
    hidden=(32,),
    units=16,
    hyper=Hyper(learning_rate=5e-3, gamma=0.9, reward_scale=1.0, entropy=0.0),
)


@pytest.fixture(scope="module")
def learned():
    """A learner on the hidden sign, and what it has learned in 25 updates."""
    learner = Learner(Trials(HiddenSign(), TRIALS), SMALL, 25)
    state = learner.init(jax.random.key(0))
    for _ in range(25):
        state, _ = learner.train_step(state)
    return learner, state


def rates(learner, state, **how):
    env = Trials(HiddenSign(), TRIALS, remembers=not how)
    result = evaluate(env, learner.network, learner.policy(state), 400, **how)
    return [float(result.metrics[f"trial_{k + 1}"].mean()) for k in range(TRIALS)]


def test_one_trial_tells_the_hidden_sign_and_without_memory_it_is_lost(learned):
    """The optimum in closed form: 1/2, then 1. With the memory wiped nothing is known in any trial."""
    first, *later = rates(*learned)
    assert first == pytest.approx(0.5, abs=0.08)  # three deviations of 400
    assert min(later) >= 0.99
    assert rates(*learned, wipe=True) == pytest.approx([0.5] * TRIALS, abs=0.08)


def test_an_evaluation_says_success_by_trial_with_and_without_memory(learned, tmp_path, monkeypatch):
    learner, state = learned
    env, path = learner.env, tmp_path / "policy.safetensors"
    sizes = {"observation_size": env.observation_size, "action_size": env.action_size}
    about = {"name": env.name, "trials": TRIALS} | sizes | describe(learner.network)
    save_policy(path, learner.policy(state), about)
    monkeypatch.setattr(trials, "environment", lambda *_, **__: HiddenSign())
    found = trials.measure_policy("probe", 400, 0, "train", path)
    assert found["value"] == found["trials"]["3"]["value"] >= 0.99
    assert [found["trials"][k]["value"] for k in "123"] == rates(learner, state)
    assert [found["wiped"][k]["value"] for k in "123"] == rates(learner, state, wipe=True)
    assert found["trials"]["2"]["interval"] == list(wilson(round(400 * found["trials"]["2"]["value"]), 400))
    assert max(found["p"].values()) < 1e-6
    network, policy = load_policy(path, name=env.name, **sizes)
    assert network == learner.network
    with pytest.raises(PalaestraError, match="act: got a network with a memory"):
        policy.act(network, jnp.zeros((1, env.observation_size)))


def test_a_policy_that_was_trained_without_trials_is_measured_by_one(tmp_path, monkeypatch):
    env, path, network = HiddenSign(), tmp_path / "policy.safetensors", ActorCritic(1, (8,))
    policy = Policy(params=initial(network, jax.random.key(0), 2), statistics=Statistics.new(2))
    save_policy(path, policy, {"name": env.name, "observation_size": 2, "action_size": 1} | describe(network))
    monkeypatch.setattr(trials, "environment", lambda *_, **__: env)
    found = trials.measure_policy("probe", 60, 0, "train", path)
    action = float(policy.act(network, env.begin(jax.random.key(0))[1].observation)[0])  # the same in all episodes: the sign is hidden
    won = sum(float(env.begin(key)[0].sign) * action > 0 for key in evaluation_keys(0, 60))
    assert (found["name"], found["value"], found["n"]) == ("probe", won / 60, 60)
    assert "trials" not in found


@pytest.fixture(scope="module")
def sequences():
    network = RecurrentActorCritic(2, (8,), 5)
    params = initial(network, jax.random.key(0), 3)
    x = jax.random.normal(jax.random.key(1), (4, 10, 3))
    done = jnp.zeros((4, 10), bool).at[1, 3].set(True).at[2, 9].set(True)
    return network, params, x, done


def step_by_step(network, params, memory, x, done):
    """The same as `unroll`, one step after the other; also the memory at the end."""
    told = []
    for t in range(x.shape[1]):
        memory, (mean, _, value) = recall(network, params, memory, x[:, t])
        memory = jnp.where(done[:, t, None], 0.0, memory)
        told.append(jnp.append(mean, value[:, None], -1))
    return memory, jnp.stack(told, 1)


def test_carried_memory_equals_one_long_unroll(sequences):
    """Two halves, the memory carried over, step by step, against the whole at once."""
    network, params, x, done = sequences
    memory, first = step_by_step(network, params, blank(network, 4), x[:, :6], done[:, :6])
    _, second = step_by_step(network, params, memory, x[:, 6:], done[:, 6:])
    mean, _, value = unroll(network, params, blank(network, 4), x, done)
    whole = jnp.append(mean, value[..., None], -1)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), whole, atol=1e-6)


def test_an_end_of_episode_blanks_the_memory_and_of_that_sequence_alone(sequences):
    network, params, x, done = sequences
    mean = np.asarray(unroll(network, params, blank(network, 4), x, done)[0])
    alone = np.asarray(unroll(network, params, blank(network, 4), x[:, 4:], done[:, 4:])[0])
    np.testing.assert_allclose(mean[1, 4:], alone[1], atol=1e-6)
    assert (np.abs(mean[[0, 2, 3], 4:] - alone[[0, 2, 3]]).max((1, 2)) > 1e-4).all()


def test_rollouts_carry_the_memory_over_trials_and_from_one_to_the_next(learned):
    """Blank where an episode begins, every third step; elsewhere not, trials' ends and the rollout's included."""
    learner, _ = learned
    state = learner.init(jax.random.key(5))
    state, first, _ = learner.collect(state)
    state, second, _ = learner.collect(state)
    memory = np.concatenate([np.asarray(part.memory) for part in (first, second)])
    done = np.concatenate([np.asarray(part.done) for part in (first, second)])
    np.testing.assert_array_equal(done[:, 0], np.arange(24) % TRIALS == TRIALS - 1)
    begins = np.concatenate([np.ones((1, 64), bool), done[:-1]])
    np.testing.assert_array_equal((memory == 0).all(-1), begins)
    seen = state.statistics.normalise(second.observation)
    after, _ = recall(learner.network, state.params, second.memory, seen)
    np.testing.assert_allclose(second.memory[1:][~done[12:-1]], after[:-1][~done[12:-1]], atol=1e-6)


def test_what_was_acted_on_is_what_is_learned_from(learned):
    """Before the first gradient step the ratio of probabilities is 1: the unrolled memories are those of the rollout."""
    learner, state = learned
    one = Learner(learner.env, replace(SMALL, epochs=1, minibatches=1), 25)
    state, transitions, _ = learner.collect(state)
    _, losses = one.improve(state, transitions)
    assert abs(float(losses["kl"])) < 1e-6
    assert float(losses["clipped"]) == 0.0


def test_stopped_and_resumed_it_comes_to_the_same_bits(tmp_path):
    small = replace(SMALL, num_envs=8, num_steps=10)  # rollouts end within episodes
    config = RunConfig(env="probe", steps=8 * 10 * 4, log_every=1, checkpoint_every=2, learner=small)
    last = resumed_like_whole(lambda folder: Run(Trials(HiddenSign(), TRIALS), config, folder), tmp_path, 3)
    assert (last["memory"] != 0).any()


def test_minibatches_must_divide_the_environments():
    with pytest.raises(ValueError, match=r"minibatches: got 8, expected a divisor of num_envs = 12: sequences stay whole"):
        RecurrentPPO(num_envs=12, num_steps=4, minibatches=8)
