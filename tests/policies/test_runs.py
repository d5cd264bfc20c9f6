"""Runs: killed and resumed to the same bits, and nothing lost when the disk says no."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.policies import curricula, files, runs
from palaestra.policies.curricula import Learnable
from palaestra.policies.evaluate import evaluate, evaluate_random, evaluation_keys, joined, wilson
from palaestra.policies.files import CheckpointError, load_policy
from palaestra.policies.ppo import PPO, Learner
from palaestra.policies.runs import Run, RunConfig, TrainingError
from tests.policies.probes import LevelProbe, Probe
from tests.policies.resuming import resumed_like_whole, same_bits

SMALL = PPO(num_envs=8, num_steps=4, epochs=2, minibatches=2, hidden=(8,))
CONFIG = RunConfig(env="probe", steps=32 * 12, log_every=2, checkpoint_every=4, learner=SMALL)


def probe():
    return Probe(lambda sign, step, action: -((action - sign) ** 2), length=3)


def test_a_run_leaves_config_metrics_events_checkpoints_and_the_policy(tmp_path):
    rows = []
    Run(probe(), CONFIG, tmp_path / "run").train(report=rows.append)
    folder = tmp_path / "run"
    assert json.loads((folder / "config.json").read_text())["ppo"]["num_envs"] == 8
    with open(folder / "metrics.csv") as f:
        written = list(csv.DictReader(f))
    assert [float(r["update"]) for r in written] == [2, 4, 6, 8, 10, 12]
    assert {"return", "success", "kl", "entropy", "explained_variance"} <= set(written[0])
    assert len(rows) == 6
    assert list(folder.glob("events.out.tfevents.*"))
    assert [p.name for p in Run(probe(), CONFIG, folder).checkpoints()] == [
        "checkpoint-0000008.safetensors",
        "checkpoint-0000012.safetensors",
    ]
    load_policy(folder / "policy.safetensors", name="probe", observation_size=2, action_size=1)


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.policies.test_runs import CONFIG, Run, probe
def report(row):
    if row["update"] == 10: os.kill(os.getpid(), signal.SIGKILL)
Run(probe(), CONFIG, Path(sys.argv[1])).train(report=report)
"""


def test_killed_and_resumed_it_comes_to_the_same_bits(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    Run(probe(), CONFIG, whole).train()
    root = Path(__file__).parents[2]
    child = subprocess.run([sys.executable, "-c", KILLED, str(broken)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert child.returncode == -signal.SIGKILL
    assert not (broken / "checkpoint-0000012.safetensors").exists()
    Run(probe(), CONFIG, broken).train(resume=True)
    same_bits(whole, broken)


@pytest.mark.parametrize("name", ["accel", "learnability"])
def test_a_samplers_levels_are_part_of_the_checkpoint(tmp_path, monkeypatch, name):
    """Stopped after its first checkpoint and resumed, a run with a level buffer comes to the same bits."""
    small = {"learnability": Learnable(candidates=4, tries=2, keep=2, every=5)}.get(name) or replace(curricula.sampler(name), size=8)
    monkeypatch.setitem(curricula.SAMPLERS, name, small)
    config = replace(CONFIG, sampler=name)

    def run(folder):
        return Run(LevelProbe(lambda sign, step, action: -((action - sign) ** 2), length=3), config, folder)

    last = resumed_like_whole(run, tmp_path, 6)
    assert any(leaf.startswith("batch/sampler/") for leaf in last)


def test_the_steps_of_a_run_include_what_its_sampler_spends(tmp_path, monkeypatch):
    monkeypatch.setitem(curricula.SAMPLERS, "learnability", Learnable(candidates=4, tries=2, keep=2, every=5))
    env = LevelProbe(lambda sign, step, action: sign, length=3)
    run = Run(env, replace(CONFIG, sampler="learnability"), tmp_path)
    assert run.steps_at(1) == 32 + 24
    assert run.steps_at(run.updates) <= CONFIG.steps < run.steps_at(run.updates + 1)


def test_a_folder_with_a_run_is_not_overwritten_and_an_empty_one_not_resumed(tmp_path):
    Run(probe(), CONFIG, tmp_path / "run").train()
    with pytest.raises(TrainingError, match=r"holds a run already.*--resume"):
        Run(probe(), CONFIG, tmp_path / "run").train()
    with pytest.raises(TrainingError, match="nothing to resume"):
        Run(probe(), CONFIG, tmp_path / "none").train(resume=True)


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path):
    Run(probe(), CONFIG, tmp_path).train()
    other = RunConfig(env="probe", seed=1, steps=CONFIG.steps, log_every=2, checkpoint_every=4, learner=SMALL)
    with pytest.raises(CheckpointError, match=r"checkpoint-0000012.safetensors: belongs to another run; these settings differ: seed"):
        Run(probe(), other, tmp_path).train(resume=True)


def test_settings_that_came_later_count_as_their_defaults_in_older_checkpoints(tmp_path):
    path, state = tmp_path / "state.safetensors", {"x": jnp.arange(3.0)}
    files.save_train_state(path, state, {"seed": 1, "ppo": {"epochs": 2}})
    defaults = {"seed": 0, "ppo": {"epochs": 4, "late": 0.0}}
    got = files.load_train_state(path, state, {"seed": 1, "ppo": {"epochs": 2, "late": 0.0}}, defaults)
    np.testing.assert_array_equal(got["x"], state["x"])
    with pytest.raises(CheckpointError, match="these settings differ: ppo"):
        files.load_train_state(path, state, {"seed": 1, "ppo": {"epochs": 2, "late": 0.5}}, defaults)
    assert CONFIG.defaults["ppo"]["num_envs"] == PPO().num_envs


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "empty"])
def test_damaged_and_foreign_files_are_refused_by_name(tmp_path, damage):
    Run(probe(), CONFIG, tmp_path).train()
    path = tmp_path / "policy.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[-5] ^= 0x40
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(files.save({"x": np.zeros(3, np.float32)}, {"format": "somebody/else"}))
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"policy\.safetensors: (damaged|the numbers do not match|got format)"):
        load_policy(path, name="probe", observation_size=2, action_size=1)


def test_a_policy_for_something_else_is_refused(tmp_path):
    Run(probe(), CONFIG, tmp_path).train()
    with pytest.raises(CheckpointError, match="observation_size: got 2, expected 5"):
        load_policy(tmp_path / "policy.safetensors", name="probe", observation_size=5, action_size=1)


def test_weights_of_a_network_that_is_not_known_are_refused(tmp_path):
    run = Run(probe(), CONFIG, tmp_path)
    policy = run.learner.policy(run.learner.init(jax.random.key(0)))
    files.save_policy(tmp_path / "policy.safetensors", policy, run.about(0) | {"network": "gausian"})
    with pytest.raises(CheckpointError, match=r"policy.safetensors: unknown network 'gausian'.*gaussian.*newer version"):
        load_policy(tmp_path / "policy.safetensors", name="probe", observation_size=2, action_size=1)


def test_a_full_disk_ends_training_with_the_last_checkpoint_intact(tmp_path, monkeypatch):
    run = Run(probe(), CONFIG, tmp_path)
    real = os.replace

    def full(source, target):
        if "0000008" in str(target):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*checkpoint-0000004.safetensors, is intact"):
        run.train()
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*tmp"))
    Run(probe(), CONFIG, tmp_path).train(resume=True)
    assert (tmp_path / "checkpoint-0000012.safetensors").exists()


def test_a_folder_that_cannot_be_made_is_an_error_not_a_traceback(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot write"):
        Run(probe(), CONFIG, tmp_path / "file" / "run").train()


def test_settings_are_checked_before_anything_is_made():
    with pytest.raises(ValueError, match="checkpoint_every: got 5, expected a multiple of log_every = 2"):
        RunConfig(env="probe", log_every=2, checkpoint_every=5)
    with pytest.raises(ValueError, match="steps: got 10, expected at least one update"):
        RunConfig(env="probe", steps=10)
    assert runs.RunConfig(env="probe", learner=SMALL, steps=100).updates == 3


def test_wilson_intervals_against_published_values():
    # Newcombe (1998), table I: 81 of 263 -> 0.2553 to 0.3662; 15 of 148 -> 0.0624 to 0.1605; 0 of 20 -> 0 to 0.1611.
    for won, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson(won, n) == pytest.approx((low, high), abs=5e-5)
    with pytest.raises(ValueError, match="got 5 of 3"):
        wilson(5, 3)


def test_evaluation_runs_each_episode_once_whatever_the_batch():
    env = probe()
    run = Run(env, CONFIG, Path("unused"))
    policy = run.learner.policy(run.learner.init(jax.random.key(0)))
    small = evaluate(env, run.learner.network, policy, 23, batch=5)
    large = evaluate(env, run.learner.network, policy, 23, batch=100)
    np.testing.assert_array_equal(small.success, large.success)
    shares = joined([evaluate(env, run.learner.network, policy, n, first=first) for first, n in ((0, 9), (9, 14))])
    np.testing.assert_array_equal(shares.success, large.success)
    np.testing.assert_allclose(shares.total, large.total, rtol=1e-5)
    np.testing.assert_allclose(small.total, large.total, rtol=1e-5)
    assert (small.steps == 3).all()
    signs = [float(env.begin(k)[0].sign) for k in evaluation_keys(0, 23)]
    np.testing.assert_array_equal(small.success, np.asarray(signs) > 0)


def test_trials_with_noise_differ_by_their_actions_alone():
    env = Probe(lambda sign, step, action: action, length=3)
    run = Run(env, CONFIG, Path("unused"))
    policy = run.learner.policy(run.learner.init(jax.random.key(0)))
    one, again, other = (evaluate(env, run.learner.network, policy, 9, noise=n, batch=b) for n, b in ((0, 9), (0, 4), (1, 9)))
    np.testing.assert_allclose(one.total, again.total, rtol=1e-5)
    np.testing.assert_array_equal(one.success, other.success)
    assert (one.total != other.total).all()


def test_random_actions_are_uniform_each_episode_its_own_whatever_the_batch():
    env = LevelProbe(lambda sign, step, action: jnp.where(action > 0.5, 1.0, 0.0), length=50)
    levels, numbers = np.where(np.arange(90) % 3, 1.0, -1.0).astype(np.float32), range(90)
    one, other = (evaluate_random(env, levels, numbers, batch=batch) for batch in (100, 40))
    np.testing.assert_array_equal(one.total, other.total)
    np.testing.assert_array_equal(one.success, levels > 0)
    np.testing.assert_array_equal(evaluate_random(env, levels[7:9], numbers[7:9]).total, one.total[7:9])
    assert len(set(one.total.tolist())) > 10, "episodes draw for themselves"
    assert abs(one.total.mean() / 50 - 0.25) < 4 * (0.25 * 0.75 / (50 * 90)) ** 0.5  # P(a > 0.5) = 1/4, four standard errors


def test_evaluation_never_meets_training():
    """The keys that a training run's environments really begin with, against those of an evaluation with the same seed."""
    begun = []

    class Spy(Probe):
        def begin(self, key):
            jax.debug.callback(lambda k: begun.extend(map(tuple, np.asarray(k).reshape(-1, 2).tolist())), jax.random.key_data(key))
            return super().begin(key)

    learner = Learner(Spy(lambda sign, step, action: jnp.ones(())), SMALL, 3)
    state = learner.init(jax.random.key(0))
    for _ in range(3):
        state, _ = learner.train_step(state)
    jax.effects_barrier()
    assert len(begun) >= 8 * (1 + 3 * SMALL.num_steps)
    held_out = {tuple(k) for k in np.asarray(jax.random.key_data(evaluation_keys(0, 1000))).tolist()}
    assert not held_out & set(begun)


def test_a_run_killed_before_its_first_checkpoint_starts_afresh(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    Run(probe(), CONFIG, tmp_path).train()
    assert json.loads((tmp_path / "config.json").read_text())["env"] == "probe"


def test_a_refused_resume_changes_nothing(tmp_path):
    Run(probe(), CONFIG, tmp_path).train()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    other = RunConfig(env="probe", seed=7, steps=CONFIG.steps, log_every=2, checkpoint_every=4, learner=SMALL)
    with pytest.raises(CheckpointError):
        Run(probe(), other, tmp_path).train(resume=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
