"""The benchmarks measure what they say: tiny runs of the cheap ones, the protocol, and what is refused."""

import importlib
import inspect
import json

import gymnasium as gym
import numpy as np
import pytest

from palaestra.bench import plots, protocol
from palaestra.bench.protocol import BENCHES, Settings, take_turns
from palaestra.sim import mjx
from palaestra.sim.engine import EngineError
from palaestra.sim.errors import PalaestraError, UnknownNameError

TINY = Settings(num_envs=8, steps=3, repetitions=1)


def test_every_name_has_its_module_and_its_function():
    for name in BENCHES:
        module = importlib.import_module(f"palaestra.bench.{name.replace('-', '_')}")
        assert list(inspect.signature(module.bench).parameters) == ["settings"]
        assert module.__doc__


def test_runs_take_turns_after_a_warm_up():
    order = []
    seconds = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 4
    assert {name: len(s) for name, s in seconds.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize("name", ["engine", "reset", "step"])
def test_a_tiny_run_gives_finite_figures_and_is_json(name):
    result = protocol.run(name, TINY)
    assert result["name"] == name
    assert np.isfinite(result["value"])
    assert result["num_envs"] == 8
    assert {"processor", "devices", "python", "mujoco", "jax"} <= set(result["machine"])
    assert json.loads(json.dumps(result)) == result
    if name == "engine":
        assert result["equals_batch"] is result["equals_mj_step"] is True
    if name == "step":
        assert sum(result["milliseconds"].values()) == pytest.approx(result["milliseconds_in_all"])


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(UnknownNameError, match="unknown benchmark 'engin'; expected one of: all, ant, engine"):
        protocol.run("engin", TINY)
    with pytest.raises(PalaestraError, match="num_envs: got -1, expected 1 or more"):
        Settings(num_envs=-1)
    with pytest.raises(PalaestraError, match="repetitions: got 0, expected 1 or more"):
        Settings(repetitions=0)


def test_the_gpu_section_says_so_where_there_is_none():
    if not mjx.has_gpu():
        with pytest.raises(EngineError, match="bench gpu: got no NVIDIA GPU"):
            protocol.run("gpu", TINY)


def test_plots_are_drawn_from_the_results_in_a_folder(tmp_path):
    pytest.importorskip("matplotlib")
    point = {"microseconds": 40.0, "spread": [38.0, 45.0]}
    scaling = {part: {"1": point, "2": point} for part in ("environments", "threads", "objects", "rooms")}
    about = {"engine": "native", "num_envs": 8, "machine": {"processor": "test"}}
    (tmp_path / "scaling.json").write_text(json.dumps(scaling | about))
    step = {"milliseconds": {"physics": 20.0, "policy": 1.0}, "milliseconds_in_all": 21.0, "num_envs": 8}
    (tmp_path / "step.json").write_text(json.dumps(step))
    drawn = plots.draw(tmp_path, tmp_path)
    assert [path.name for path in drawn] == ["scaling.png", "step.png"]
    assert all(path.stat().st_size > 5000 for path in drawn)


@pytest.mark.slow
def test_a_foreign_policy_acts_the_same_in_our_network():
    """Weights and statistics of Stable-Baselines3 after an update, translated: its actions, to float precision."""
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO as Theirs
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    from palaestra.bench.learn import translated
    from palaestra.policies.networks import ActorCritic

    envs = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2), clip_obs=8.0)
    model = Theirs("MlpPolicy", envs, n_steps=16, batch_size=16, seed=0, device="cpu", policy_kwargs=dict(net_arch=[16, 8]))
    model.learn(64)
    seen = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    want, _ = model.predict(envs.normalize_obs(seen), deterministic=True)
    got = translated(model).act(ActorCritic(1, (16, 8)), seen)
    np.testing.assert_allclose(np.asarray(got), want, atol=1e-5)


@pytest.mark.slow
def test_learning_stops_where_the_target_is_reached_or_the_patience_ends(monkeypatch):
    from palaestra.bench import learn

    rates = iter([0.1, 0.96, 0.2, 0.3, 0.4])
    monkeypatch.setattr(learn, "evaluate", lambda *a, **k: type("R", (), {"success": np.arange(500) < 500 * next(rates)})())
    held_out = type("E", (), {"action_size": 5})()
    found = learn._until(held_out, iter([(400, 2.0, None), (800, 4.0, None), (1200, 6.0, None)]))
    assert (found["reached"], found["seconds"], found["steps"], found["success"]) == (True, 4.0, 800, 0.96)
    found = learn._until(held_out, iter([(400, 9.0, None), (800, 20.0, None), (1200, 30.0, None)]), at_most=15.0)
    assert (found["reached"], found["seconds"], found["steps"]) == (False, 20.0, 800)
