"""The benchmarks measure what they say: tiny runs of the cheap ones, the protocol, and what is refused."""

import importlib
import inspect
import json

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
