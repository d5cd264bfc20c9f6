"""The Gymnasium contract: their checkers, and the batch against their own vectorisation of the single environment."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, NormalizeObservation, RecordEpisodeStatistics

import palaestra  # noqa: F401  registers the ids
from palaestra.envs.gymnasium import FunctionalEnv, FunctionalVectorEnv
from palaestra.sim.errors import UnknownNameError
from tests.envs.toy import Toy

ID = "Palaestra/Rearrange-v0"
SMALL: dict[str, Any] = {"task_set": "rearrange-1", "horizon": 9}
N = 3


@pytest.fixture(autouse=True)
def _headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


@pytest.fixture(scope="module")
def single() -> FunctionalEnv:
    return gymnasium.make(ID, **SMALL).unwrapped  # type: ignore[return-value]


@pytest.fixture(scope="module")
def batch() -> FunctionalVectorEnv:
    return gymnasium.make_vec(ID, num_envs=N, **SMALL)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy()


def actions(count: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Some of them outside the bounds."""
    return np.random.default_rng(seed).uniform(-1.3, 1.3, (count, *shape)).astype(np.float32)


# --- their checkers -----------------------------------------------------------------------------------------------


def test_gymnasiums_checker_has_nothing_to_say(single: FunctionalEnv) -> None:
    check_env(single)  # warnings are errors


def test_stable_baselines3s_checker_has_nothing_to_say(single: FunctionalEnv) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(single, warn=True)


@pytest.mark.slow
def test_skills_pass_the_checker() -> None:
    env = gymnasium.make("Palaestra/Skill-v0", skill="pick", horizon=9).unwrapped
    check_env(env)
    assert set(env.reset(seed=0)[1]) == {"success", "lost", "diverged", "overflow"}
    assert EnvSpec.from_json(env.spec.to_json()).kwargs == {"skill": "pick", "horizon": 9}
    with pytest.raises(UnknownNameError, match="unknown reset option 'task'"):
        env.reset(options={"task": 1})
    batch = gymnasium.make_vec("Palaestra/Skill-v0", num_envs=2, horizon=9)
    np.testing.assert_array_equal(batch.reset(seed=0)[0][0], env.reset(seed=0)[0])


def test_a_spec_survives_json(single: FunctionalEnv, batch: FunctionalVectorEnv) -> None:
    spec = EnvSpec.from_json(single.spec.to_json())
    assert spec.kwargs == {"task_set": "rearrange-1", "split": "train", "horizon": 9}
    again = spec.make()
    np.testing.assert_array_equal(again.reset(seed=5)[0], single.reset(seed=5)[0])
    many = gymnasium.make_vec(EnvSpec.from_json(batch.spec.to_json()))
    np.testing.assert_array_equal(many.reset(seed=5)[0], batch.reset(seed=5)[0])


def test_importing_the_package_is_light() -> None:
    code = "import sys, palaestra, gymnasium; print([m for m in ('jax', 'mujoco', 'pygame') if m in sys.modules], *gymnasium.registry)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("[] ")
    assert {ID, "Palaestra/Skill-v0"} <= set(out.split())


# --- one environment ----------------------------------------------------------------------------------------------


def test_types_are_pythons_and_numpys_own(single: FunctionalEnv) -> None:
    observation, info = single.reset(seed=1)
    assert (type(observation), observation.dtype, observation.flags.writeable) == (np.ndarray, np.float32, True)
    assert {key: type(value) for key, value in info.items()} == {
        "success": bool,
        "progress": float,
        "broken": bool,
        "diverged": bool,
        "overflow": bool,
        "instruction": str,
    }
    _, reward, terminated, truncated, later = single.step(np.zeros(5, np.float32))
    assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
    assert later.keys() == info.keys()
    assert later["instruction"] == info["instruction"]


def test_a_seed_names_the_stream_of_episodes(single: FunctionalEnv) -> None:
    first = [single.reset(seed=7), single.reset(), single.reset()]
    other = gymnasium.make("palaestra:" + ID, **SMALL).unwrapped
    again = [other.reset(seed=7), other.reset(), other.reset()]
    assert data_equivalence(first, again, exact=True)
    assert len({info["instruction"] for _, info in first}) == 3


def test_an_episode_is_truncated_at_the_horizon(single: FunctionalEnv) -> None:
    single.reset(seed=0)
    ends = [single.step(np.zeros(5, np.float32))[2:4] for _ in range(9)]
    assert ends == [(False, False)] * 8 + [(False, True)]


def test_a_time_limit_shortens_the_horizon_of_a_batch() -> None:
    env = gymnasium.make_vec(ID, num_envs=N, **{**SMALL, "horizon": 100}, max_episode_steps=SMALL["horizon"])
    env.reset(seed=0)
    ends = [env.step(np.zeros((N, 5), np.float32))[3].tolist() for _ in range(9)]
    assert ends == [[False] * N] * 8 + [[True] * N]


def test_actions_are_clipped(single: FunctionalEnv) -> None:
    outcomes = []
    for action in (np.array([5.0, -1e300, 0.5, 2, 1]), np.array([1, -1, 0.5, 1, 1], np.float32)):
        single.reset(seed=3)
        outcomes.append(single.step(action))
    assert data_equivalence(outcomes[0], outcomes[1], exact=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_an_error(single: FunctionalEnv, bad: float) -> None:
    single.reset(seed=3)
    with pytest.raises(ValueError, match=rf"got \[0.0, 0.0, {bad}, 0.0, 0.0\], expected finite numbers"):
        single.step(np.array([0, 0, bad, 0, 0], np.float32))


def test_actions_of_another_shape_or_type_are_errors(single: FunctionalEnv, batch: FunctionalVectorEnv) -> None:
    single.reset(seed=3)
    batch.reset(seed=3)
    with pytest.raises(ValueError, match=r"got shape \(4,\), expected \(5,\)"):
        single.step(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="got dtype bool, expected real numbers"):
        single.step(np.zeros(5, bool))
    with pytest.raises(ValueError, match=r"got shape \(5,\), expected \(3, 5\)"):
        batch.step(np.zeros(5, np.float32))


def test_options_are_checked(single: FunctionalEnv, batch: FunctionalVectorEnv) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown reset option 'tsk'; expected one of: task\. Did you mean 'task'"):
        single.reset(options={"tsk": 1})
    with pytest.raises(UnknownNameError, match="expected one of: reset_mask, task"):
        batch.reset(options={"mask": 1})
    for bad in (-1, 2**31, 1.5, True, "3"):
        with pytest.raises(ValueError, match=r"options\['task'\]: got .* expected a whole number"):
            single.reset(options={"task": bad})


def test_a_task_has_a_number(single: FunctionalEnv, batch: FunctionalVectorEnv) -> None:
    observation, info = single.reset(seed=1, options={"task": 12})
    np.testing.assert_array_equal(single.reset(seed=2, options={"task": 12})[0], observation)
    assert single.reset(options={"task": 13})[1]["instruction"] != info["instruction"]
    observations, infos = batch.reset(seed=1, options={"task": 12})
    np.testing.assert_array_equal(observations, np.stack([observation] * N))
    assert infos["instruction"].tolist() == [info["instruction"]] * N


def test_names_that_are_unknown_are_listed() -> None:
    for kwargs, message in (
        ({"task_set": "rearange"}, "unknown task set 'rearange'; .* Did you mean 'rearrange'"),
        ({"split": "dev"}, "unknown split 'dev'; expected one of: larger, test, train, validation"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            gymnasium.make(ID, **kwargs)
    with pytest.raises(UnknownNameError, match="unknown autoreset mode 'later'; expected one of: disabled, next_step, same_step"):
        gymnasium.make_vec(ID, **SMALL, autoreset_mode="later")
    with pytest.raises(ValueError, match="horizon: got 0, expected a whole number of control steps"):
        gymnasium.make(ID, horizon=0)


def test_what_needs_a_reset_says_so(toy: Toy) -> None:
    for env in (FunctionalEnv(toy), FunctionalVectorEnv(toy, N)):
        with pytest.raises(ResetNeeded, match="before the first reset"):
            env.step(np.zeros(env.action_space.shape, np.float32))
        with pytest.raises(ResetNeeded, match="before the first reset"):
            env.render()


# --- pictures -----------------------------------------------------------------------------------------------------


def test_pictures_and_windows() -> None:
    env = gymnasium.make(ID, render_mode="rgb_array", **SMALL)
    env.reset(seed=0)
    frame = env.render()
    assert (frame.dtype, frame.ndim, frame.shape[2]) == (np.uint8, 3, 3)
    env.close()
    env.close()
    window = gymnasium.make(ID, render_mode="human", **SMALL)
    window.reset(seed=0)
    window.step(np.zeros(5, np.float32))
    assert window.render() is None
    window.close()
    window.close()
    many = gymnasium.make_vec(ID, num_envs=N, render_mode="rgb_array", **SMALL)
    many.reset(seed=0)
    frames = many.render()
    assert (type(frames), len(frames)) == (tuple, N)
    np.testing.assert_array_equal(frames[0], frame)
    many.close()
    many.close()


def test_render_modes_are_checked(single: FunctionalEnv) -> None:
    with pytest.raises(UnknownNameError, match="unknown render mode of a batch 'human'"):
        gymnasium.make_vec(ID, render_mode="human", **SMALL)
    single.reset(seed=0)
    with pytest.warns(UserWarning, match="without render_mode"):
        assert single.render() is None


# --- the batch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 41, 2**31])
def test_a_batch_equals_single_environments_through_resets(batch: FunctionalVectorEnv, seed: int) -> None:
    """Gymnasium's own loop over single environments is the oracle: states to the bit, and everything that is returned."""
    oracle = SyncVectorEnv([lambda: gymnasium.make(ID, **SMALL).unwrapped for _ in range(N)])
    ours, theirs = batch.reset(seed=seed), oracle.reset(seed=seed)
    assert_equal(ours, theirs)
    ends = 0
    for action in actions(24, (N, 5), seed=seed):
        ours, theirs = batch.step(action), oracle.step(action)
        assert_equal(ours, theirs)
        ends += ours[3].sum()
        for i, env in enumerate(oracle.envs):
            mine = batch._host.row(batch._states, i)
            np.testing.assert_array_equal(mine.physics.bits, env._state.physics.bits)
    assert ends >= 2 * N


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_auto_reset_is_gymnasiums(toy: Toy, mode: AutoresetMode) -> None:
    ours = FunctionalVectorEnv(toy, N, autoreset_mode=mode.name.lower())
    oracle = SyncVectorEnv([lambda: FunctionalEnv(toy)] * N, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is mode
    assert_equal(ours.reset(seed=[4, 9, 2]), oracle.reset(seed=[4, 9, 2]))
    seen = set()
    for action in actions(60, (N, 3)):
        mine = ours.step(action)
        assert_equal(mine, oracle.step(action))
        seen |= {(bool(a), bool(b)) for a, b in zip(mine[2], mine[3], strict=True)}
        ended = mine[2] | mine[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_equal(ours.reset(options={"reset_mask": ended}), oracle.reset(options={"reset_mask": ended.copy()}))
    assert seen == {(False, False), (True, False), (False, True)}
    assert_equal(ours.reset(), oracle.reset())


def assert_equal(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> None:
    """All but the observations to the bit and with the same types; those to the rounding of float32."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-6)
    assert ours[0].dtype == theirs[0].dtype
    final, expected = ours[-1].pop("final_obs", None), theirs[-1].pop("final_obs", None)
    assert (final is None) == (expected is None)
    for a, b in zip(final if final is not None else [], expected if expected is not None else [], strict=True):
        assert (a is None) == (b is None)
        assert a is None or np.allclose(a, b, rtol=1e-6, atol=1e-6)
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        assert_same(a, b)


def assert_same(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    else:
        assert (type(a), a.dtype) == (type(b), b.dtype)
        np.testing.assert_array_equal(a, b)


def test_same_step_keeps_the_last_observation(toy: Toy) -> None:
    env = FunctionalVectorEnv(toy, N, autoreset_mode="same_step")
    before, _ = env.reset(seed=0)
    for action in actions(6, (N, 3)):
        after, _, terminated, truncated, infos = env.step(action)
        ended = terminated | truncated
        for i in np.flatnonzero(ended):
            mark, step = infos["final_obs"][i]
            assert mark == before[i, 0] != after[i, 0]
            assert (step, after[i, 1]) == (before[i, 1] + 1, 0)
            assert infos["final_info"]["success"][i] == terminated[i]
        before = after


def test_disabled_waits_for_the_caller(toy: Toy) -> None:
    env = FunctionalVectorEnv(toy, N, autoreset_mode="disabled")
    with pytest.raises(ResetNeeded, match="environments that never began"):
        env.reset(options={"reset_mask": np.array([True, False, False])})
    env.reset(seed=0)
    zero = np.zeros((N, 3), np.float32)
    while not (ended := np.logical_or(*(result := env.step(zero))[2:4])).any():
        pass
    with pytest.raises(ResetNeeded, match=r"have ended\. Fix: reset"):
        env.step(zero)
    options = {"reset_mask": ended}
    observations, infos = env.reset(options=options)
    assert "reset_mask" in options  # wrappers read it after us
    np.testing.assert_array_equal(observations[~ended], result[0][~ended])
    np.testing.assert_array_equal(infos["_success"], ended)
    assert (observations[ended, 1] == 0).all()
    for bad in ([True] * N, np.zeros(N, bool), np.ones(N), np.ones(N + 1, bool)):
        with pytest.raises(ValueError, match=r"options\['reset_mask'\]: got .*; expected a numpy array bool\[3\]"):
            env.reset(options={"reset_mask": bad})
    with pytest.raises(ValueError, match="seed: got 2 seeds"):
        env.reset(seed=[1, 2])


def test_an_action_that_is_not_finite_ends_its_environment_alone(batch: FunctionalVectorEnv) -> None:
    batch.reset(seed=8)
    action = np.zeros((N, 5), np.float32)
    expected = batch.step(action)
    batch.reset(seed=8)
    action[1, 2] = np.nan
    observations, rewards, terminated, truncated, infos = batch.step(action)
    assert truncated.tolist() == infos["diverged"].tolist() == [False, True, False]
    assert terminated.tolist() == [False] * N
    assert np.isfinite(np.c_[observations, rewards]).all()
    np.testing.assert_array_equal(observations[[0, 2]], expected[0][[0, 2]])
    assert not batch.step(np.zeros((N, 5), np.float32))[3].any()


def test_data_handed_out_is_the_callers(toy: Toy) -> None:
    env = FunctionalVectorEnv(toy, N)
    first = env.reset(seed=0)
    kept = first[0].copy()
    second = env.step(np.zeros((N, 3), np.float32))
    second[0][:] = 99.0
    second[4]["success"][:] = True
    np.testing.assert_array_equal(first[0], kept)
    third = env.step(np.zeros((N, 3), np.float32))
    assert third[0].max() < 99
    assert not third[4]["success"].all()


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_episode_statistics(toy: Toy, mode: str) -> None:
    env = RecordEpisodeStatistics(FunctionalVectorEnv(toy, N, autoreset_mode=mode))
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.full((N, 3), 0.5, np.float32))
    lengths, returns = np.array(env.length_queue), np.array(env.return_queue)
    assert len(lengths) > N
    assert 2 <= lengths.min() <= lengths.max() <= 6
    np.testing.assert_allclose(returns, 0.5 * lengths)


def test_other_wrappers_run(toy: Toy) -> None:
    env = DictInfoToList(NormalizeObservation(FunctionalVectorEnv(toy, N)))
    env.reset(seed=0)
    for action in actions(20, (N, 3)):
        observations, *_, infos = env.step(action)
    assert np.isfinite(observations).all()
    assert [set(info) for info in infos] == [{"success", "diverged"}] * N
    with pytest.raises(ValueError, match="NEXT_STEP"):
        NormalizeObservation(FunctionalVectorEnv(toy, N, autoreset_mode="same_step"))
