"""Changes by dotted names: what fits is taken as the field's type, what does not is refused by name."""

from dataclasses import dataclass

import pytest

from palaestra.policies.learner import learner_config
from palaestra.policies.ppo import PPO, Hyper
from palaestra.policies.runs import RunConfig
from palaestra.policies.settings import changed, names, parse
from palaestra.sim.errors import PalaestraError, UnknownNameError


def test_fields_of_parts_are_changed_and_the_rest_stays():
    config = changed(PPO(), {"hyper.learning_rate": 3e-4, "hidden": [64, 32], "hyper.gamma": 1, "epochs": 2})
    assert config == PPO(hidden=(64, 32), epochs=2, hyper=Hyper(learning_rate=3e-4, gamma=1.0))
    assert isinstance(config.hyper.gamma, float)
    assert changed(PPO(), {}) == PPO()


def test_a_runs_settings_and_its_learners_have_one_way():
    run = changed(RunConfig(env="probe"), {"seed": 3, "learner.num_envs": 64, "learner.hyper.clip": 0.1})
    assert (run.seed, run.learner) == (3, PPO(num_envs=64, hyper=Hyper(clip=0.1)))
    assert {"seed", "learner.num_envs", "learner.hyper.gamma"} <= set(names(run))


def test_what_must_fit_together_may_be_changed_together():
    assert changed(PPO(num_envs=8, num_steps=4, minibatches=8), {"num_steps": 3, "minibatches": 6}).minibatches == 6
    with pytest.raises(PalaestraError, match=r"minibatches: got 7, expected a divisor of num_envs \* num_steps = 32"):
        changed(PPO(num_envs=8, num_steps=4), {"minibatches": 7})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hyper.learning_rte", 1.0, r"unknown setting 'hyper.learning_rte'.*Did you mean 'hyper.learning_rate'"),
        ("hyper", 1.0, "unknown setting 'hyper'"),
        ("name", "sac", "unknown setting 'name'"),
        ("num_envs", 8.5, "num_envs: got 8.5, expected a whole number"),
        ("num_envs", True, "num_envs: got True, expected a whole number"),
        ("hyper.gamma", "high", "hyper.gamma: got 'high', expected a number"),
        ("hidden", 64, "hidden: got 64, expected a list, each a whole number"),
        ("hidden", [64, 0.5], r"hidden: got \[64, 0.5\], expected a list, each a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(name, value, message):
    with pytest.raises(PalaestraError, match=message):
        changed(PPO(), {name: value})


def test_a_field_that_may_be_none():
    @dataclass(frozen=True)
    class Some:
        bound: float | None = None

    assert changed(Some(), {"bound": 1}).bound == 1.0
    assert changed(Some(bound=1.0), {"bound": None}).bound is None
    with pytest.raises(PalaestraError, match="bound: got 'x', expected a number or null"):
        changed(Some(), {"bound": "x"})


def test_words_of_the_command_line():
    got = parse(["hyper.learning_rate=3e-4", "hidden=[64,64]", "drift=dpo", "on=true"])
    assert got == {"hyper.learning_rate": 3e-4, "hidden": [64, 64], "drift": "dpo", "on": True}
    with pytest.raises(PalaestraError, match="--set: got 'epochs', expected <setting>=<value>"):
        parse(["epochs"])


def test_an_unknown_learner_is_refused_with_the_valid_ones():
    assert learner_config("ppo") == PPO()
    with pytest.raises(UnknownNameError, match=r"unknown learner 'pppo'; expected one of: .*ppo.*Did you mean 'ppo'"):
        learner_config("pppo")
