"""Two processes that are one run, on one machine: the curve of one process, and killed and resumed to the same bits."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from palaestra.policies.learner import learner_config
from palaestra.policies.processes import launch
from palaestra.policies.runs import Run, TrainingError
from palaestra.policies.shares import Share
from tests.policies.test_runs import CONFIG, probe

CODE = """
import os, signal, sys
from pathlib import Path
import tests.conftest
from palaestra.policies.processes import die_with_parent
from palaestra.policies.shares import join
from tests.policies.test_runs import CONFIG, Run, probe
die_with_parent()
share, folder, what = join(2), Path(sys.argv[1]), sys.argv[2]
def report(row):
    if what == "dies" and row["update"] == 10: os.kill(os.getpid(), signal.SIGKILL)
Run(probe(), CONFIG, folder, share=share).train(resume=what == "resumes", report=report)
"""


def two(folder: Path, what: str) -> int:
    root = str(Path(__file__).parents[2])
    return launch([sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{CODE}", str(folder), what], 2, folder)


def by_slurm(folder: Path, what: str) -> list[int]:
    """As `srun` starts the tasks of a step: they find each other by the variables that it sets."""
    root, job = str(Path(__file__).parents[2]), str(os.getpid())
    step = {"SLURM_JOB_ID": job, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{CODE}", str(folder), what],
            env={**os.environ, **step, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
        )
        for i in range(2)
    ]
    return [process.wait(timeout=300) for process in started]


def test_two_processes_learn_what_one_does_and_resume_to_the_same_bits(tmp_path):
    assert two(tmp_path / "two", "whole") == 0
    Run(probe(), CONFIG, tmp_path / "one").train()
    rows = [list(csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines())) for name in ("one", "two")]
    assert [list(r) for r in rows[0]] == [list(r) for r in rows[1]]
    for name in rows[0][0]:  # rewards, episodes, losses: the same environments, actions and minibatches
        np.testing.assert_allclose(*([float(r[name]) for r in some] for some in rows), rtol=1e-3, atol=1e-5, err_msg=name)
    ours, theirs = (load_file(tmp_path / name / "checkpoint-0000012.safetensors") for name in ("one", "two"))
    assert ours.keys() == theirs.keys()
    for leaf, values in ours.items():
        if leaf.startswith(("batch/key", "batch/episode", "batch/env/step", "key", "update")):
            np.testing.assert_array_equal(values, theirs[leaf], err_msg=leaf)
        np.testing.assert_allclose(values, theirs[leaf], rtol=1e-3, atol=1e-5, err_msg=leaf)

    assert two(tmp_path / "broken", "dies") == -signal.SIGKILL  # and the other one with it
    assert not (tmp_path / "broken" / "checkpoint-0000012.safetensors").exists()
    assert by_slurm(tmp_path / "broken", "resumes") == [0, 0]
    assert (tmp_path / "two" / "metrics.csv").read_bytes() == (tmp_path / "broken" / "metrics.csv").read_bytes()
    again = load_file(tmp_path / "broken" / "checkpoint-0000012.safetensors")
    for leaf, values in theirs.items():
        assert values.tobytes() == again[leaf].tobytes(), leaf


def test_what_cannot_be_shared_out_is_refused(tmp_path):
    share = Share(0, 3)
    with pytest.raises(TrainingError, match=r"processes: got 3, expected a divisor of num_envs / minibatches = 8 / 2"):
        Run(probe(), CONFIG, tmp_path, share=share)
    with pytest.raises(TrainingError, match="got 3 for the learner ppo with the sampler plr"):
        Run(probe(), replace(CONFIG, sampler="plr"), tmp_path, share=share)
    with pytest.raises(TrainingError, match="got 3 for the learner sac"):
        Run(probe(), replace(CONFIG, learner=replace(learner_config("sac"), num_envs=8), steps=10**6), tmp_path, share=share)
    assert not os.listdir(tmp_path)
