"""The adapter for Stable-Baselines3: its `VecEnv` contract, and a training run through it."""

import importlib
import sys
import time
from typing import Any

import numpy as np
import pytest

from palaestra.sim.errors import MissingExtraError
from tests.envs.toy import Toy

pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from palaestra.envs.gymnasium import FunctionalEnv
from palaestra.envs.sb3 import to_sb3_vec_env

ID = "Palaestra/Rearrange-v0"
SMALL: dict[str, Any] = {"task_set": "rearrange-1", "horizon": 9}
N = 3


def test_it_equals_the_librarys_own_vectorisation() -> None:
    """The oracle: `DummyVecEnv` over single environments."""
    toy = Toy()
    ours, oracle = to_sb3_vec_env(toy, N, seed=5), DummyVecEnv([lambda: FunctionalEnv(toy) for _ in range(N)])
    oracle.seed(5)
    np.testing.assert_array_equal(ours.reset(), oracle.reset())
    assert ours.reset_infos == oracle.reset_infos
    truncations = set()
    for action in np.random.default_rng(0).uniform(-1, 1, (60, N, 3)).astype(np.float32):
        mine, theirs = ours.step(action), oracle.step(action)
        for a, b in zip(mine[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for a, b, done in zip(mine[3], theirs[3], mine[2], strict=True):
            assert a.pop("is_success") == a["success"]
            assert ("terminal_observation" in a) == done
            np.testing.assert_array_equal(a.pop("terminal_observation", 0), b.pop("terminal_observation", 0))
            assert a == b
            truncations |= {a["TimeLimit.truncated"]} if done else set()
    assert truncations == {True, False}
    assert ours.reset_infos == oracle.reset_infos


def test_a_registered_id_and_its_options() -> None:
    env = to_sb3_vec_env(ID, N, seed=3, **SMALL)
    first = env.reset()
    assert (first.shape, first.dtype) == ((N, env.observation_space.shape[0]), np.float32)
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), first)
    assert all(info["instruction"] for info in env.reset_infos)
    for _ in range(SMALL["horizon"]):
        observations, rewards, dones, infos = env.step(np.zeros((N, 5), np.float32))
    assert dones.all()
    assert rewards.dtype == np.float32
    assert all(info["TimeLimit.truncated"] and info["terminal_observation"].shape == first[0].shape for info in infos)
    assert not np.array_equal(observations[0], infos[0]["terminal_observation"])
    env.close()
    env.close()


def test_what_one_program_cannot_offer_is_said() -> None:
    env = to_sb3_vec_env(Toy(), N)
    assert env.get_attr("render_mode", [0, 2]) == [None, None]
    assert env.env_is_wrapped(VecMonitor) == [False] * N
    with pytest.raises(NotImplementedError, match="one program"):
        env.set_attr("horizon", 3)
    with pytest.raises(NotImplementedError, match="one program"):
        env.env_method("reset")
    env.set_options([{"task": i} for i in range(N)])
    with pytest.raises(ValueError, match="expected the same for all"):
        env.reset()


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    monkeypatch.delitem(sys.modules, "palaestra.envs.sb3")
    with pytest.raises(MissingExtraError, match=r"pip install 'palaestra\[interop\]'"):
        importlib.import_module("palaestra.envs.sb3")


@pytest.mark.slow
def test_ppo_trains_through_it() -> None:
    env = VecMonitor(to_sb3_vec_env(ID, 16, **{**SMALL, "horizon": 100}))
    model = PPO("MlpPolicy", env, n_steps=125, batch_size=500, n_epochs=4, seed=0, device="cpu")
    start = time.perf_counter()
    model.learn(20_000)
    print(f"{model.num_timesteps / (time.perf_counter() - start):.0f} steps/s")
    assert model.num_timesteps == 20_000
    assert all(np.isfinite(p.detach().numpy()).all() for p in model.policy.parameters())
    assert len(model.ep_info_buffer) > 0
    assert {info["l"] for info in model.ep_info_buffer} <= set(range(1, 101))
