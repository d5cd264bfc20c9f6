"""Imitation: divergences by hand, a student that comes to equal its teachers, and recorded actions that are found again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.trials import Trials
from palaestra.policies.files import CheckpointError, save_policy
from palaestra.policies.imitation import Cloning, Distillation, Lesson, School, apart, clone, fading, load_demonstrations, said, teacher
from palaestra.policies.networks import ActorCritic, Policy, Statistics, describe, divergence, initial
from palaestra.policies.ppo import PPO, Hyper
from palaestra.sim.errors import PalaestraError
from tests.policies.probes import LevelProbe, Probe


def test_divergence_by_hand():
    """KL(N(1, 2²) ‖ N(0, 1)) = ½ (4 + 1 − 1 − log 4) and KL(N(0, 1) ‖ N(1, 2²)) = ½ (1/4 + 1/4 − 1 + log 4)."""
    one, zero, two = jnp.ones(1), jnp.zeros(1), jnp.log(jnp.full(1, 2.0))
    assert float(divergence(one, two, zero, zero)[0]) == pytest.approx(0.5 * (4 + 1 - 1 - np.log(4)), rel=1e-6)
    assert float(divergence(zero, zero, one, two)[0]) == pytest.approx(0.5 * (0.25 + 0.25 - 1 + np.log(4)), rel=1e-6)
    assert float(divergence(one, two, one, two)[0]) == 0.0


def follow(sign):
    """A probe of two steps that shows a sign."""
    return Probe(lambda s, step, action: -((action - s) ** 2), length=2)


def half_of(sign):
    """A teacher: sign times half of what is shown, and surer than a student begins."""
    return lambda observation: (0.5 * sign * observation[..., :1], jnp.full(1, -1.5))


SMALL = Distillation(num_envs=32, num_steps=8, epochs=4, minibatches=4, hidden=(32,), learning_rate=1e-2)


def test_a_student_comes_to_equal_its_teacher_where_it_gets_to():
    school = School("one", (Lesson(follow(1), half_of(1), (0,)),))
    learner = SMALL.make(school, 60)
    state = learner.init(jax.random.key(0))
    for _ in range(60):
        state, figures = learner.train_step(state)
    assert float(figures["taught_kl"]) < 0.01
    for shown in (1.0, -1.0):
        seen = jnp.asarray([[shown, 0.0], [shown, 1.0]])
        said = learner.policy(state).act(learner.network, seen)
        np.testing.assert_allclose(said[:, 0], 0.5 * shown, atol=0.05)
    np.testing.assert_allclose(state.params["params"]["log_std"], -1.5, atol=0.1)


def test_a_student_of_two_teachers_that_contradict_each_other_tells_their_lessons_apart():
    """The second lesson looks the same but for its step, which counts from 5; only what is taught is learned."""

    class Later(Probe):
        def _observe(self, state):
            return super()._observe(state) + jnp.asarray([0.0, 5.0])

    later = Later(lambda s, step, action: -((action + s) ** 2), length=2)
    school = School("two", (Lesson(follow(1), half_of(1), (0,)), Lesson(later, half_of(-1), (0,))))
    learner = SMALL.make(school, 80)
    state = learner.init(jax.random.key(0))
    for _ in range(80):
        state, _ = learner.train_step(state)
    said = learner.policy(state).act(learner.network, jnp.asarray([[1.0, 0.0], [1.0, 5.0]]))
    np.testing.assert_allclose(said[:, 0], [0.5, -0.5], atol=0.08)


def test_teachers_lead_less_and_less():
    """β of DAgger: at the first update every action is the teacher's, from half of the updates on none is."""

    def told(update):
        school = School("one", (Lesson(follow(1), lambda o: (9.0 + 0 * o[..., :1], jnp.zeros(1)), (0,)),))
        learner = SMALL.make(school, 10)
        state = learner.init(jax.random.key(0)).replace(update=jnp.asarray(update))
        _, _, sums = learner.rollout(0, (state.params, state.statistics, state.update), state.batches[0], jax.random.key(1))
        return int(sums["episodes"])

    assert [told(update) for update in (0, 3, 5)] == [0, 4 * 19, 4 * 32]  # episodes in which the student acted: β = 1, 0.4, 0


def test_kl_is_of_what_is_taught_alone():
    """A component that the teacher does not speak of costs nothing."""
    school = School("one", (Lesson(follow(1), half_of(1), ()),))
    learner = SMALL.make(school, 10)
    _, figures = learner.train_step(learner.init(jax.random.key(0)))
    assert float(figures["taught_kl"]) == 0.0


def test_kickstarting_takes_the_mean_over_teachers():
    """By hand, from N(0, 1) and N(2, 1) to N(1, 1): ½ each; from N(0, 1) and N(3, 1): ½ and 2."""
    seen = jnp.zeros((4, 2))
    at = lambda mean: lambda observation: (jnp.full((*observation.shape[:-1], 1), mean), jnp.zeros(1))  # noqa: E731
    own = jnp.ones((4, 1)), jnp.zeros(1), jnp.zeros(4)
    np.testing.assert_allclose(apart(said((at(0.0), at(2.0)), seen), own), 0.5, rtol=1e-6)
    np.testing.assert_allclose(apart(said((at(0.0), at(3.0)), seen), own), 1.25, rtol=1e-6)


def test_a_weight_that_fades_is_nothing_from_its_end_on():
    assert [float(fading(jnp.asarray(n), 10.0)) for n in (0, 5, 10, 12)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_a_kickstarted_learner_follows_its_teacher_while_the_weight_fades(tmp_path):
    """No reward tells anything: what is learned is the teacher's, a policy whose mean is 0.6 everywhere."""
    probe, network = Probe(lambda sign, step, action: jnp.zeros(()), length=2), ActorCritic(1, (4,))
    params = jax.tree.map(jnp.zeros_like, initial(network, jax.random.key(0), 2))
    params["params"]["actor"]["Dense_1"]["bias"] = jnp.full(1, 0.6)
    about = {"name": "probe", "observation_size": 2, "action_size": 1, **describe(network)}
    save_policy(tmp_path / "teacher.safetensors", Policy(params=params, statistics=Statistics.new(2)), about)
    config = PPO(
        num_envs=32,
        num_steps=8,
        minibatches=4,
        hidden=(16,),
        hyper=Hyper(learning_rate=1e-2, entropy=0.0),
        teachers=(str(tmp_path / "teacher.safetensors"),),
        taught=20.0,  # a signal of no reward is noise, which the update normalises to full strength
        taught_until=1.0,
    )
    learner = config.make(probe, 20)
    state, weights, kl = learner.init(jax.random.key(0)), [], []
    for _ in range(20):
        state, figures = learner.train_step(state)
        weights.append(float(figures["taught_weight"]))
        kl.append(float(figures["taught_kl"]))
    np.testing.assert_allclose(weights, [20 - n for n in range(1, 21)], atol=1e-5)
    assert kl[-1] < 0.1 * kl[0]
    said_of = learner.policy(state).act(learner.network, jnp.asarray([[1.0, 0.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(said_of, 0.6, atol=0.15)
    with pytest.raises(CheckpointError, match=r"teacher.safetensors: name: got 'probe', expected 'probe/trials-2'"):
        config.make(Trials(LevelProbe(lambda sign, step, action: sign), 2), 20)


def test_cloning_finds_a_recorded_policy_again(tmp_path):
    """Actions 2 o₀ − o₁ with noise of 0.1: the mean is found, and the deviation."""
    rng = np.random.default_rng(0)
    observation = rng.normal(3.0, 2.0, (4000, 2)).astype(np.float32)
    right = (0.2 * observation[:, :1] - 0.1 * observation[:, 1:]).astype(np.float32)
    action = right + 0.1 * rng.normal(size=right.shape).astype(np.float32)
    np.savez(tmp_path / "demo.npz", observation=observation, action=action)
    network, policy, _ = clone(
        jax.random.key(0), *load_demonstrations(tmp_path / "demo.npz"), Cloning(epochs=50, minibatch=250, hidden=(32,), learning_rate=1e-2)
    )
    assert np.sqrt(np.mean((np.asarray(policy.act(network, observation)) - right) ** 2)) < 0.03
    assert float(jnp.exp(policy.params["params"]["log_std"])[0]) == pytest.approx(0.1, rel=0.1)


def test_demonstrations_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(PalaestraError, match=r"got observation and action of shapes \(3, 2\) and \(4, 1\), expected \[n, obs\]"):
        clone(jax.random.key(0), np.zeros((3, 2)), np.zeros((4, 1)), Cloning())
    np.savez(tmp_path / "odd.npz", observation=np.zeros((3, 2)))
    with pytest.raises(PalaestraError, match=r"odd.npz: got no array .*action.*, expected `observation`"):
        load_demonstrations(tmp_path / "odd.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(PalaestraError, match=r"text.npz: cannot be read as .npz"):
        load_demonstrations(tmp_path / "text.npz")


def test_a_policy_as_a_teacher_says_what_it_would_do():
    network = ActorCritic(2, (8,))
    policy = Policy(params=initial(network, jax.random.key(0), 3), statistics=Statistics.new(3))
    seen = jax.random.normal(jax.random.key(1), (5, 3))
    mean, log_std = teacher(network, policy)(seen)
    np.testing.assert_array_equal(mean, policy.act(network, seen))
    np.testing.assert_allclose(log_std, -0.7)
