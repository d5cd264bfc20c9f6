"""The launch scripts, run where `srun` and `palaestra` only note what they are called with; what they note is a command of ours."""

import os
import subprocess
from pathlib import Path

import pytest
import tyro

from palaestra.__main__ import Command, Train

SCRIPTS = Path(__file__).parents[1] / "scripts"
NOTES = """#!/bin/bash
printf '%s\\n' "$0" "$@" >> "$NOTES"
case "$0" in *srun) while [[ "$1" == --* ]]; do shift; done; exec "$@";; esac
"""

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="the scripts are no part of the package")


def run(tmp_path, script, *arguments, **variables):
    """What the script called: the words of srun, then those of palaestra."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    for name in ("srun", "palaestra"):
        (tools / name).write_text(NOTES)
        (tools / name).chmod(0o755)
    notes = tmp_path / "notes"
    notes.unlink(missing_ok=True)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    env = plain | {"PATH": f"{tools}:{os.environ['PATH']}", "NOTES": str(notes), **variables}
    done = subprocess.run(
        ["bash", str(SCRIPTS / script), *arguments], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30, check=False
    )
    if done.returncode:
        return done.returncode, done.stderr
    lines = notes.read_text().splitlines()
    at = lines.index(str(tools / "palaestra"))
    return lines[1:at], lines[at + 1 :]


def test_a_task_of_the_array_trains_its_share_of_a_sweep(tmp_path):
    array = {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_CPUS_PER_TASK": "3"}
    step, words = run(tmp_path, "sweep.sbatch", "my/runs.toml", **array)
    assert step[0] == "--ntasks=1"
    command = tyro.cli(Command, args=words)
    assert isinstance(command, Train)
    assert (command.sweep, command.folder, command.part, command.threads) == (Path("my/runs.toml"), Path("runs/sweeps/runs"), "3/8", 3)
    status, said = run(tmp_path, "sweep.sbatch", "runs.toml")
    assert status
    assert "not an array job: sbatch --array=0-7" in said


def test_a_run_of_several_processes_starts_and_goes_on(tmp_path):
    job = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "4"}
    step, words = run(tmp_path, "train.sbatch", "pick", "--seed", "3", **job)
    assert step[:2] == ["--ntasks=4", "--kill-on-bad-exit=1"]
    command = tyro.cli(Command, args=words)
    assert isinstance(command, Train)
    assert (command.id, command.processes, command.folder, command.seed) == ("pick", 4, Path("runs/pick-17"), "3")
    assert not command.resume
    (tmp_path / "runs" / "pick-17").mkdir(parents=True)
    (tmp_path / "runs" / "pick-17" / "checkpoint-0000050.safetensors").touch()
    assert tyro.cli(Command, args=run(tmp_path, "train.sbatch", "pick", **job)[1]).resume
    assert run(tmp_path, "train.sbatch", **job)[0]
