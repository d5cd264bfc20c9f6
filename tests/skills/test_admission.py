"""What is shipped, and what its card and its page say."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies.evaluate import Result, wilson
from palaestra.policies.files import file_hash
from palaestra.sim.errors import PalaestraError
from palaestra.skills import admission, contexts, pages, shipped
from palaestra.skills.library import SKILLS
from palaestra.skills.shipped import WEIGHTS, card


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of its own to ship to, and a policy that wins as often as it is told to; starts are not drawn."""
    weights, cards = tmp_path / "weights", tmp_path / "cards"
    weights.mkdir(), cards.mkdir()
    (weights / "press.safetensors").write_bytes((WEIGHTS / "press.safetensors").read_bytes())
    (cards / "press.json").write_text(json.dumps({"skill": "press", "value": 1.0, "n": 1, "training": {"command": "as before"}}))
    monkeypatch.setattr(shipped, "WEIGHTS", weights)
    monkeypatch.setattr(shipped, "CARDS", cards)
    monkeypatch.setattr(admission, "by_context", lambda *a: {"distance_m": {"0..1": [1.0, 0.9, 1.0, 40]}})

    def winning(share):
        def evaluate(env, network, policy, episodes, *, seed):
            success = np.arange(episodes) < round(share * episodes)
            return Result(success, np.full(episodes, 30), np.zeros(episodes), {"lost": ~success & (np.arange(episodes) % 2 == 0)})

        monkeypatch.setattr(admission, "evaluate", evaluate)

    return weights, cards, winning


@pytest.fixture
def run(tmp_path):
    """The folder of a training run whose success rose from 0 to 1 over 100 rows."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": 3, "steps": 1000, "easy": 0.2, "ppo": {"num_envs": 8}}))
    rows = [f"{i},{10 * i},{i / 100}" for i in range(1, 101)]
    (folder / "metrics.csv").write_text("\n".join(["update,steps,success", *rows, ""]))
    (folder / "policy.safetensors").write_bytes((WEIGHTS / "press.safetensors").read_bytes())
    return folder


def test_what_passes_its_gate_is_shipped_with_a_card(library, run):
    weights, cards, winning = library
    (weights / "press.safetensors").write_bytes(b"older ones")
    winning(0.97)
    admission.admit("press", run, 400, 1)
    about = json.loads((cards / "press.json").read_text())
    assert (about["value"], about["n"], about["interval"]) == (0.97, 400, list(wilson(388, 400)))
    assert about["failures"] == {"lost": 6, "timeout": 6}
    assert about["weights"] == file_hash(weights / "press.safetensors") == file_hash(run / "policy.safetensors")
    assert about["training"]["command"] == "palaestra train press --seed 3"
    assert about["training"]["ppo"] == {"num_envs": 8}
    curve = np.array(about["training"]["curve"])
    assert len(curve) == 40
    assert curve[-1, 0] == 1000
    assert curve[0, 1] == pytest.approx(np.mean([0.01, 0.02, 0.03]), abs=1e-4), "100 rows in 40 parts: three in each of the first twenty"


def test_what_does_not_pass_changes_nothing(library, run):
    weights, cards, winning = library
    before = {path: path.read_bytes() for path in (*weights.iterdir(), *cards.iterdir())}
    winning(0.91)  # above the gate of 0.9, but not its interval
    with pytest.raises(PalaestraError, match=r"success 0.910, at least 0.8\d\d with 95% confidence; the gate is 0.9"):
        admission.admit("press", run, 400, 1)
    assert {path: path.read_bytes() for path in (*weights.iterdir(), *cards.iterdir())} == before


def test_what_is_shipped_is_measured_again_without_a_run(library):
    weights, cards, winning = library
    winning(1.0)
    admission.admit("press", None, 50, 2)
    about = json.loads((cards / "press.json").read_text())
    assert about["training"] == {"command": "as before"}
    assert about["measured_with"] == "palaestra eval skill/press --episodes 50 --seed 2"
    assert about["weights"] == file_hash(weights / "press.safetensors")


def test_groups_are_counted_by_hand():
    success = np.array([1, 1, 0, 1, 0], bool)
    ranges = admission.grouped(contexts.by_range(np.array([0.1, 0.4, 0.5, 0.9, 2.0]), [0, 0.5, 1]), success)
    assert {name: (group[0], group[3]) for name, group in ranges.items()} == {"0..0.5": (1.0, 2), "0.5..1": (0.5, 2)}
    names = admission.grouped(contexts.by_name(np.array([0, 1, 1, 0, 0]), ("cube", "ball", "crate")), success)
    assert {name: (round(group[0], 3), group[3]) for name, group in names.items()} == {"cube": (0.667, 3), "ball": (0.5, 2)}
    assert names["ball"][1:3] == [round(x, 4) for x in wilson(1, 2)]
    assert [contexts.by_name(np.array([0, 1, 2]), ("", "1")).label(i) for i in range(3)] == ["", "1", ""]


def test_every_card_makes_a_page_with_a_picture(tmp_path):
    made = pages.write_pages(tmp_path)
    assert [page.stem for page in made] == list(SKILLS)
    for page in made:
        about, text = card(SKILLS[page.stem]), page.read_text()
        for said in (
            f"**{about['value']:.3f}**",
            about["weights"],
            about["measured_with"],
            f"{page.stem}({SKILLS[page.stem].params[0].name}",
        ):
            assert said in text
        assert (tmp_path / f"{page.stem}.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_failures_are_filmed_as_they_went(tmp_path):
    """A policy that does nothing fails at every start, after all its time."""
    from palaestra.skills.shipped import learned

    loaded = learned(SKILLS["press"])
    idle = replace(loaded, policy=jax.tree.map(jnp.zeros_like, loaded.policy))
    (film,) = pages.film_failures(idle, tmp_path, "--episodes 4 --seed 1", 1, episodes=4)
    assert film.name == "press-failure-0.mp4"
    assert film.stat().st_size > 1000
