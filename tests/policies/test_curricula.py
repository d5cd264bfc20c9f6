"""Samplers against hand-computed distributions and scores, and their runs against themselves, resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.autoreset import AutoReset
from palaestra.policies import curricula
from palaestra.policies.curricula import Buffer, Episode, Learnable, Playing, Replay
from palaestra.policies.ppo import PPO, Learner
from palaestra.sim.errors import PalaestraError, UnknownNameError
from tests.policies.probes import LevelProbe, Probe


def env(length=3):
    return LevelProbe(lambda sign, step, action: sign, length=length)


def buffer(score, drawn, clock=20, filled=None):
    n = len(score)
    born = np.where(np.ones(n, bool) if filled is None else filled, np.arange(n), -1)
    return Buffer(
        level=jnp.arange(float(n)),
        score=jnp.asarray(score, jnp.float32),
        best=jnp.zeros(n),
        drawn=jnp.asarray(drawn, jnp.int32),
        born=jnp.asarray(born, jnp.int32),
        clock=jnp.asarray(clock, jnp.int32),
    )


def episode(value, reward, length):
    return Episode(value=jnp.asarray(value, jnp.float32), reward=jnp.asarray(reward, jnp.float32), length=jnp.asarray(length))


def played(level, place=-1, born=-1, reward=1.0, best=-jnp.inf):
    return Playing(
        level=jnp.asarray(level),
        place=jnp.asarray(place),
        born=jnp.asarray(born),
        best=jnp.asarray(best),
        episode=episode([0.0, 0.0], [reward, 0.0], 1),
    )


def test_ranks_with_temperature_and_staleness_by_hand():
    """Scores 5, 1, 3 have ranks 1, 3, 2; with β = 1/2 their weights are 1, 1/9, 1/4, that is 36, 4, 9 of 49. Ages 10, 5, 5."""
    made = buffer([5.0, 1.0, 3.0], [10, 15, 15])
    np.testing.assert_allclose(made.probabilities(0.5, 0.0), np.array([36, 4, 9]) / 49, rtol=1e-5)
    np.testing.assert_allclose(made.probabilities(1.0, 0.0), np.array([6, 2, 3]) / 11, rtol=1e-5)
    np.testing.assert_allclose(made.probabilities(0.5, 1.0), [0.5, 0.25, 0.25], rtol=1e-5)
    np.testing.assert_allclose(made.probabilities(0.5, 0.3), 0.7 * np.array([36, 4, 9]) / 49 + 0.3 * np.array([2, 1, 1]) / 4, rtol=1e-5)


def test_empty_places_are_never_drawn_and_levels_of_one_age_go_by_score():
    made = buffer([5.0, 9.0, 3.0], [20, 0, 20], filled=[True, False, True])
    np.testing.assert_allclose(made.probabilities(1.0, 0.5), [2 / 3, 0, 1 / 3], rtol=1e-5)


def test_draws_follow_the_distribution():
    made, replay = buffer([5.0, 1.0, 3.0], [10, 15, 15]), Replay(size=3, temperature=0.5, staleness=0.3, replay=0.5, edited=0.8)
    draw = jax.vmap(lambda key: replay.draw(key, made, jnp.asarray(True))[1])
    level, place, replays, edited = draw(jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_array_equal(level, place)
    np.testing.assert_allclose(np.bincount(place) / 20_000, made.probabilities(0.5, 0.3), atol=0.015)
    assert float(replays.mean()) == pytest.approx(0.5, abs=0.015)
    assert float(edited.mean()) == pytest.approx(0.4, abs=0.015)
    assert not (replays & edited).any()


def test_scores_by_hand():
    """Returns: 0 + 1 = 1 in two steps. GAE with γ = 0.5, λ = 1: A_1 = 1 - 0.4 = 0.6; A_0 = 0 + 0.5 · 0.4 - 0.8 + 0.5 · 0.6 = -0.3."""
    one = episode([0.8, 0.4, 7.0, 7.0], [0.0, 1.0, 9.0, 9.0], 2)
    assert float(one.total) == 1.0
    assert float(curricula.max_monte_carlo(one, jnp.asarray(2.0))) == pytest.approx((1.2 + 1.6) / 2)
    assert float(curricula.positive_value_loss(0.5, 1.0)(one, jnp.asarray(0.0))) == pytest.approx((0.0 + 0.6) / 2)
    np.testing.assert_allclose(curricula.learnability(jnp.asarray([0.0, 0.25, 0.5, 1.0])), [0.0, 0.18775, 0.2505, 0.001], rtol=1e-5)


def test_a_new_level_takes_an_empty_place_then_the_least_likely_one_if_it_is_better():
    replay, yes = Replay(size=3, staleness=0.0), jnp.asarray(True)
    made = replay.remember(buffer([5.0, 1.0, 3.0], [20] * 3, filled=[True, False, True]), played(7.0, reward=0.5), yes)
    np.testing.assert_allclose(made.level, [0.0, 7.0, 2.0])
    np.testing.assert_allclose(made.score, [5.0, 0.5, 3.0])
    full = buffer([5.0, 1.0, 3.0], [20] * 3)
    np.testing.assert_allclose(replay.remember(full, played(7.0, reward=0.5), yes).score, [5.0, 1.0, 3.0])
    np.testing.assert_allclose(replay.remember(full, played(7.0, reward=2.0), yes).score, [5.0, 2.0, 3.0])
    np.testing.assert_allclose(replay.remember(full, played(7.0, reward=2.0), ~yes).score, [5.0, 1.0, 3.0])


def test_a_replayed_level_gets_its_new_score_and_keeps_its_highest_return():
    replay, yes = Replay(size=3, staleness=0.0), jnp.asarray(True)
    full = buffer([5.0, 1.0, 3.0], [11, 12, 13])
    made = replay.remember(full, played(0.0, place=0, born=0, reward=-2.0, best=0.25), yes)
    np.testing.assert_allclose(made.score, [0.25, 1.0, 3.0])
    np.testing.assert_allclose(made.best, [0.25, 0.0, 0.0])
    np.testing.assert_array_equal(made.drawn, [11, 12, 13])
    # Another level has come to its place meanwhile: what was played is a candidate like any other, for the lowest place.
    made = replay.remember(full.replace(born=full.born.at[0].set(9)), played(7.0, place=0, born=0, reward=2.0), yes)
    np.testing.assert_allclose(made.score, [5.0, 2.0, 3.0])


def run_of(sampler, steps=40, num_envs=16):
    envs = AutoReset(env(), num_envs, sampler)
    state, _ = envs.reset(jax.random.split(jax.random.key(0), num_envs))
    step = jax.jit(lambda state: envs.step(state, jnp.zeros((num_envs, 1)), jnp.zeros(num_envs)))
    seen = []
    for _ in range(steps):
        state, _ = step(state)
        seen.append((np.asarray(state.env.sign), np.asarray(state.sampler.playing.place)))
    return state, np.array([s for s, _ in seen]), np.array([p for _, p in seen])


def test_replay_prefers_levels_with_more_to_gain_and_what_runs_is_what_it_says():
    """Of levels +1 (return 3, value 0) and -1 (return -3), the former score higher by far: they fill the buffer."""
    state, sign, place = run_of(Replay(size=8))
    assert bool(state.sampler.buffer.filled.all())
    assert (np.asarray(state.sampler.buffer.level) == 1).all()
    np.testing.assert_allclose(state.sampler.buffer.score, 3.0)
    assert (sign[20:][place[20:] >= 0] == 1).all()
    assert 0.3 < (place[20:] >= 0).mean() < 0.7
    np.testing.assert_array_equal(state.sampler.playing.level, state.env.sign)


def test_accel_edits_what_it_replays():
    _, sign, _ = run_of(Replay(size=8, replay=0.4, edited=1.0, edits=2))
    assert (np.abs(sign[:2]) == 1.0).all(), "nothing has been played yet"
    generations = np.log(np.abs(sign)) / np.log(1.1)
    np.testing.assert_allclose(generations, 2 * np.round(generations / 2), atol=1e-3)
    assert generations.max() > 3, "an edited level is edited again"


def test_robust_replay_learns_from_replayed_episodes_alone():
    """Until anything is replayed, no weight moves."""
    config = PPO(num_envs=8, num_steps=4, minibatches=2, epochs=1, hidden=(4,))
    robust, plain = (Learner(env(), config, 10, Replay(size=64, robust=r)) for r in (True, False))
    for learner, moves in ((robust, False), (plain, True)):
        start = learner.init(jax.random.key(0))
        after, _ = learner.train_step(start)
        same = [bool((a == b).all()) for a, b in zip(jax.tree.leaves(start.params), jax.tree.leaves(after.params), strict=True)]
        assert not any(same) if moves else all(same)


def test_learnability_keeps_what_is_solved_half_of_the_time():
    """Success is a coin of the action for levels +1 and never for -1: all that are kept are +1, until the next time."""

    class Coin(LevelProbe):
        def step(self, state, action):
            state, timestep = super().step(state, action)
            won = (state.step >= self.horizon) & (state.sign > 0) & (action[0] > 0)
            return state, timestep.replace(metrics={"success": won})

    made = Learnable(candidates=32, tries=8, keep=8, every=3, share=1.0)
    coin = Coin(lambda sign, step, action: sign, length=3)
    learner = Learner(coin, PPO(num_envs=16, num_steps=4, minibatches=2, epochs=1, hidden=(4,)), 10, made)
    state, kept = learner.init(jax.random.key(0)), []
    for _ in range(4):
        state, _, _ = learner.collect(state)
        kept.append(np.asarray(state.batch.sampler.score))
    assert (np.asarray(state.batch.sampler.level) == 1).all()
    assert (np.asarray(state.batch.env.sign) == 1).all()
    np.testing.assert_array_equal(kept[0], kept[2])
    assert (kept[0] != kept[3]).any()
    assert (kept[0] > 0.15).all()
    assert [made.cost(coin, n) for n in (0, 1, 3, 4)] == [0, 768, 768, 1536]


def test_names_and_what_a_sampler_needs():
    with pytest.raises(UnknownNameError, match=r"unknown sampler 'pler'.*accel, envgen, learnability, plr"):
        curricula.sampler("pler")
    bare = Probe(lambda sign, step, action: sign)
    with pytest.raises(PalaestraError, match="probe: has no levels to choose among"):
        AutoReset(bare, 2, Replay()).reset(jax.random.split(jax.random.key(0), 2))
