"""`palaestra train`: which learner, which settings, and what is refused before anything is made."""

import json

import pytest

from palaestra.sim.errors import PalaestraError
from palaestra.skills import recipes
from tests.policies.probes import Probe


def train(tmp_path, steps=64, **how):
    return recipes.train("pick", 0, steps, 16, -1.0, tmp_path / "run", resume=False, **how)


def test_a_learner_by_name_with_changed_settings_and_the_environments_own(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "environment", lambda *args, **how: Probe(lambda sign, step, action: -((action - sign) ** 2)))
    words = ("num_steps=4", "replay=256", "warmup=128", "minibatch=8", "hidden=[8]", "updates_to_data=0.25", "hyper.tau=0.5")
    result = train(tmp_path, learner="sac", changes=words)
    assert 0.0 <= result["value"] <= 1.0
    assert result["update"] == 1.0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert "ppo" not in config
    assert {name: config["sac"][name] for name in ("num_envs", "num_steps", "hidden")} == {"num_envs": 16, "num_steps": 4, "hidden": [8]}
    asked, recipe = config["sac"]["hyper"], recipes.RECIPES["skill/pick"].ppo.hyper
    assert (asked["tau"], asked["gamma"], asked["reward_scale"]) == (0.5, recipe.gamma, recipe.reward_scale)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"learner": "sec"}, "unknown learner 'sec'.*Did you mean 'sac'"),
        ({"changes": ("hyper.gama=0.9",)}, r"unknown setting 'hyper.gama'.*Did you mean 'hyper.gamma'"),
        ({"changes": ("kl_bound=tight",)}, "kl_bound: got 'tight', expected a number or null"),
        ({"changes": ("drift=dop",)}, "unknown drift 'dop'.*Did you mean 'dpo'"),
        ({"learner": "sac", "changes": ("replay=10",)}, "replay: got 10, expected room"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(tmp_path, how, message):
    with pytest.raises(PalaestraError, match=message):
        train(tmp_path, steps=0, **how)
    assert not (tmp_path / "run").exists()
