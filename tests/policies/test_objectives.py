"""What PPO climbs, against numbers worked out by hand; and what each option does to one and the same rollout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies.networks import divergence, forward
from palaestra.policies.objectives import clipped, discovered, entropy_price, entropy_weight, penalty_weight, unclipped
from palaestra.policies.ppo import PPO, Hyper, Learner
from palaestra.policies.trust import backtracked
from palaestra.sim.errors import UnknownNameError
from tests.policies.probes import Probe

R, A = np.asarray([1.0, 1.5, 1.5, 0.5, 0.5]), np.asarray([2.0, 2.0, -2.0, 2.0, -2.0])


def on_examples(surrogate):
    return np.asarray(surrogate(jnp.log(jnp.asarray(R)), jnp.asarray(A), 0.2))


def test_the_clipped_and_the_plain_surrogate():
    np.testing.assert_allclose(on_examples(clipped), [2.0, 2.4, -3.0, 1.0, -1.6], rtol=1e-6)
    np.testing.assert_allclose(on_examples(unclipped), [2.0, 3.0, -3.0, 1.0, -1.0], rtol=1e-6)


def test_the_drift_function_of_discovered_policy_optimisation():
    """Advantage 2: r = 1.5 gives (r-1)A = 1, f = 1 - 2 tanh 0.5; r = 0.5 the negative of it, so none. Advantage -2: r = 1.5 gives
    A log r = -0.81, so none; r = 0.5 gives 2 log 2, f = 2 log 2 - 0.6 tanh(2 log 2 / 0.6)."""
    up = 1 - 2 * np.tanh(0.5)
    down = 2 * np.log(2) - 0.6 * np.tanh(2 * np.log(2) / 0.6)
    np.testing.assert_allclose(on_examples(discovered), [2.0, 3.0 - up, -3.0, 1.0, -1.0 - down], rtol=1e-6)
    slope = jax.grad(lambda log_ratio, a: discovered(log_ratio, a, 0.2))
    for a in (2.0, -2.0):  # where the policy has not moved, nothing drifts: the plain gradient
        assert float(slope(jnp.asarray(0.0), a)) == pytest.approx(a)


def test_divergence_is_that_of_gaussians():
    got = divergence(jnp.asarray([0.0, 1.0]), jnp.log(jnp.asarray([1.0, 2.0])), jnp.asarray([1.0, 1.0]), jnp.log(jnp.asarray([1.0, 1.0])))
    np.testing.assert_allclose(got, [0.5, -np.log(2.0) + 0.5 * (4.0 - 1.0)], rtol=1e-6)


def test_the_price_of_divergence_is_halved_doubled_or_kept():
    for kl, weight in ((0.006, 0.5), (0.0067, 1.0), (0.0149, 1.0), (0.0151, 2.0), (0.0, 0.5)):
        assert float(penalty_weight(jnp.ones(()), jnp.asarray(kl), 0.01)) == weight
    assert float(penalty_weight(jnp.asarray(2.0**-20), jnp.asarray(0.0), 0.01)) == 2.0**-20


def test_the_weight_of_entropy_goes_by_what_is_missing():
    assert float(entropy_weight(jnp.asarray(0.01), jnp.asarray(-1.0), 0.0)) == pytest.approx(0.01 * np.exp(0.1))
    assert float(entropy_weight(jnp.asarray(0.01), jnp.asarray(2.0), 0.0)) == pytest.approx(0.01 * np.exp(-0.2))
    assert float(entropy_weight(jnp.asarray(9.99), jnp.asarray(-1.0), 0.0)) == 10.0
    assert float(entropy_price(jnp.asarray(0.5), jnp.asarray(-1.0), 0.0)) == pytest.approx(0.5 * np.e)


def test_the_line_search_takes_the_first_halving_within_the_bound():
    """The measure is x²: from 0 to 8 within 5 it takes 2, the second halving; from 0 to 1 nothing has to be done."""
    square = lambda x: x["x"] ** 2  # noqa: E731
    zero = {"x": jnp.zeros(())}
    params, kl, back = jax.jit(lambda new: backtracked(zero, new, square, 5.0))({"x": jnp.asarray(8.0)})
    assert (float(params["x"]), float(kl), bool(back)) == (2.0, 4.0, True)
    params, kl, back = backtracked(zero, {"x": jnp.asarray(1.0)}, square, 5.0)
    assert (float(params["x"]), float(kl), bool(back)) == (1.0, 1.0, False)
    params, kl, back = backtracked(zero, {"x": jnp.asarray(jnp.nan)}, square, 5.0)
    assert bool(back)  # a step to nowhere is not within any bound


@pytest.fixture(scope="module")
def rollout():
    """One rollout, and what an update comes to with other settings than those that are the same for all."""
    env = Probe(lambda sign, step, action: -((action - 0.5 * sign) ** 2), length=2)
    same = dict(num_envs=16, num_steps=8, minibatches=2, epochs=4, hidden=(16,))
    learner = Learner(env, PPO(**same, hyper=Hyper(learning_rate=0.02, reward_scale=1.0)), 10)
    state, transitions, _ = learner.collect(learner.init(jax.random.key(0)))

    def update(**settings):
        other = Learner(env, PPO(**same, hyper=Hyper(learning_rate=0.02, reward_scale=1.0), **settings), 10)
        first = other.init(jax.random.key(0)).weights

        def run(weights=first):
            new, info = other.improve(state.replace(weights=weights), transitions)
            return new, {name: float(x) for name, x in info.items()}

        return run

    def moved(new):
        x = state.statistics.normalise(transitions.observation)
        before, after = (forward(learner.network, params, x)[:2] for params in (state.params, new.params))
        return float(divergence(*before, *after).sum(-1).mean())

    return update, moved


def test_a_trust_region_holds_its_bound_and_stops_the_epochs(rollout):
    update, moved = rollout
    free, info = update()()
    assert moved(free) > 0.01
    assert "kl_update" not in info
    held, info = update(kl_bound=0.01)()
    assert moved(held) == pytest.approx(info["kl_update"], rel=1e-3)
    assert 0.001 < info["kl_update"] <= 0.01
    assert 1 <= info["epochs"] < 4


def test_a_bound_that_is_never_met_changes_nothing(rollout):
    update, moved = rollout
    (free, plain), (held, info) = update()(), update(kl_bound=1e6)()
    assert info["epochs"] == 4
    assert moved(held) == pytest.approx(info["kl_update"], rel=1e-3)
    for a, b in zip(jax.tree.leaves(free.params), jax.tree.leaves(held.params), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-6)
    assert {name: info[name] for name in plain} == pytest.approx(plain, rel=1e-3, abs=1e-5)


def test_weights_adapt_by_the_figures_of_the_update(rollout):
    update, moved = rollout
    run = update(drift="penalty", target_entropy=1.0)
    new, info = run()
    assert moved(new) == pytest.approx(info["kl_update"], rel=1e-3)
    assert info["kl_weight"] == {True: 2.0, False: 1.0}[info["kl_update"] > 0.015]
    assert info["entropy_weight"] == pytest.approx(2e-3 * np.exp(0.1 * (1.0 - info["entropy"])), rel=1e-5)
    assert {name: float(x) for name, x in new.weights.items()} == pytest.approx(
        {"kl": info["kl_weight"], "entropy": info["entropy_weight"]}
    )
    dear, _ = run({"kl": jnp.asarray(1e4), "entropy": jnp.asarray(2e-3)})
    assert moved(dear) < 0.2 * moved(new)
    bonus, _ = run({"kl": jnp.ones(()), "entropy": jnp.asarray(1.0)})
    assert float(bonus.params["params"]["log_std"][0]) > float(new.params["params"]["log_std"][0])


def test_all_together_find_the_action_that_pays_and_keep_their_entropy():
    """With a target of 0 nats the deviation is held near exp(-1.42) = 0.24; without one it would go on falling."""
    env = Probe(lambda sign, step, action: -((action - 0.5) ** 2), shows_sign=False)
    config = PPO(
        num_envs=64,
        num_steps=8,
        epochs=4,
        minibatches=4,
        hidden=(16,),
        drift="dpo",
        kl_bound=0.1,
        target_entropy=0.0,
        hyper=Hyper(learning_rate=1e-2, gamma=0.9, reward_scale=1.0, entropy=0.01),
    )
    learner = Learner(env, config, 80)
    state = learner.init(jax.random.key(0))
    for _ in range(80):
        state, info = learner.train_step(state)
        assert float(info["kl_update"]) <= 0.1
    assert float(learner.policy(state).act(learner.network, jnp.zeros(2))[0]) == pytest.approx(0.5, abs=0.12)
    assert float(info["entropy"]) == pytest.approx(0.0, abs=0.4)


def test_options_that_make_no_sense_are_refused():
    assert Learner(Probe(None), PPO(num_envs=4, num_steps=4, minibatches=1), 1).init(jax.random.key(0)).weights == ()
    with pytest.raises(UnknownNameError, match=r"unknown drift 'clap'; expected one of: clip, dpo, penalty.*Did you mean 'clip'"):
        PPO(drift="clap")
    with pytest.raises(ValueError, match=r"kl_bound: got 0\.0, expected more than 0 nats"):
        PPO(kl_bound=0.0)
