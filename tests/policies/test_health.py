"""Runs whose learner goes wrong stop, say why, and leave their last good checkpoint as it was."""

import csv
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from palaestra.policies.files import load_policy
from palaestra.policies.health import LIMITS, broken, fault
from palaestra.policies.ppo import Hyper
from palaestra.policies.runs import DivergedError, Run
from tests.policies.test_runs import CONFIG, SMALL, probe


def wrong_from(run, update, how):
    """From this update on, the learner's state and figures are what `how` makes of them."""
    step = run.learner.train_step

    def train_step(state):
        new, figures = step(state)
        return how(new, figures) if int(new.update) >= update else (new, figures)

    run.learner.train_step = train_step


def finite(path):
    return all(np.isfinite(x).all() for x in load_file(path).values() if np.issubdtype(x.dtype, np.floating))


def test_a_reward_that_is_no_number_stops_the_run_at_its_last_good_checkpoint(tmp_path):
    run = Run(probe(), CONFIG, tmp_path)
    collect = run.learner.collect

    def spoilt(state):
        state, transitions, figures = collect(state)
        bad = jnp.where(state.update >= 6, jnp.nan, 1.0)
        return state, transitions.replace(reward=transitions.reward * bad), figures

    run.learner.collect = spoilt
    with pytest.raises(
        DivergedError, match=r"diverged in update 7: value_loss: got nan, expected a finite number.*Try, .*rewards"
    ) as error:
        run.train()
    assert "The last good checkpoint is checkpoint-0000004.safetensors" in str(error.value)
    assert error.value.checkpoint == run.checkpoints()[-1]
    assert [p.name for p in run.checkpoints()] == ["checkpoint-0000004.safetensors"]
    assert finite(run.checkpoints()[-1])
    assert finite(run.policy_path)
    load_policy(run.policy_path, name="probe", observation_size=2, action_size=1)
    with open(tmp_path / "metrics.csv") as f:
        assert [row["update"] for row in csv.DictReader(f)] == ["2.0", "4.0", "6.0"]
    Run(probe(), CONFIG, tmp_path).train(resume=True)  # with rewards that are numbers again


def test_an_absurd_learning_rate_is_caught(tmp_path):
    absurd = replace(CONFIG, learner=replace(SMALL, hyper=Hyper(learning_rate=1e3)))
    run = Run(probe(), absurd, tmp_path)
    with pytest.raises(DivergedError, match=r"diverged in update 1: .*There is no checkpoint yet.*a lower hyper.learning_rate") as error:
        run.train()
    assert error.value.fault.statistic in {"kl", "entropy", "value_loss"}
    assert not run.checkpoints()
    assert not run.policy_path.exists()


def test_nothing_is_saved_of_a_state_that_is_broken_behind_sound_figures(tmp_path):
    run = Run(probe(), CONFIG, tmp_path)
    wrong_from(run, 8, lambda state, figures: (state.replace(optimiser=jax.tree.map(lambda x: x * jnp.inf, state.optimiser)), figures))
    with pytest.raises(DivergedError, match=r"in update 8: optimiser/.*expected finite numbers.*checkpoint-0000004"):
        run.train()
    assert [p.name for p in run.checkpoints()] == ["checkpoint-0000004.safetensors"]


def test_environments_may_hold_what_is_not_finite():
    state = Run(probe(), CONFIG, None).learner.init(jax.random.key(0))
    assert broken(state) is None
    assert broken(state.replace(batch=state.batch.replace(sampler=jnp.asarray([-jnp.inf])))) is None
    assert broken(state.replace(returns=state.returns.at[3].set(jnp.nan))).statistic == "returns"


@pytest.mark.parametrize(
    ("figures", "statistic", "expected", "advice"),
    [
        ({"kl": 11.0}, "kl", "at most 10", "learning_rate"),
        ({"kl": 0.01, "entropy": -25.0}, "entropy", "at least -24 for 3 components", "target_entropy"),
        ({"entropy": 16.0}, "entropy", "at most 15 for 3 components", "lower hyper.entropy"),
        ({"critic_loss": 1e13}, "critic_loss", r"at most 1e\+12", "reward_scale"),
        ({"kl": 11.0, "x": float("inf")}, "x", "a finite number", "finite"),
    ],
)
def test_each_limit_names_its_statistic_and_what_to_try(figures, statistic, expected, advice):
    found = fault(figures, 3)
    assert found.statistic == statistic
    assert found.value == figures[statistic]
    assert found.expected == expected.replace("\\", "")
    assert advice in found.advice


def test_figures_of_healthy_runs_are_far_from_every_limit():
    """The extremes of five runs of PPO on skills with four or five components of the action."""
    for kl, entropy, value_loss in ((0.0037, -1.91, 0.0003), (0.0162, 3.47, 0.0192)):
        assert fault({"kl": 100 * kl, "entropy": 5 * entropy, "value_loss": 1e6 * value_loss, "success": 0.0}, 5) is None
    assert all(limit.high > 0 and (limit.when_high or limit.when_low) for limit in LIMITS.values())
