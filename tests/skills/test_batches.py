"""A sweep from the command line, in real processes: one is killed in the middle, and nothing differs for it."""

import csv
import json
import os
import shutil
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from palaestra.__main__ import main
from palaestra.policies.cluster import run_tasks
from palaestra.policies.evaluate import evaluate, wilson
from palaestra.sim.files import digest
from palaestra.skills import batches
from palaestra.skills.clustered import evaluated, some
from palaestra.skills.library import skill
from palaestra.skills.recipes import environment
from palaestra.skills.shipped import WEIGHTS, learned

TEXT = """
episodes = 8
[base]
id = "press"
num_envs = 8
num_steps = 4
epochs = 1
minibatches = 2
hidden = [8]
steps = 192
log_every = 1
checkpoint_every = 2
[grid]
seed = [1, 2]
[[runs]]
hyper.learning_rate = 1e-3
[[runs]]
num_steps = 2
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the sweep, trained in two processes at a time."""
    made = tmp_path_factory.mktemp("sweep")
    (made / "runs.toml").write_text(TEXT)
    result = batches.sweep(made / "runs.toml", made / "whole", jobs=2)
    assert result["failed"] == {}
    assert (result["runs"], result["finished"]) == (4, 4)
    return made


def files(folder: Path) -> dict[str, bytes | str]:
    """What has to be equal: figures, weights and checkpoints, by their places."""
    places = [p for p in sorted(folder.rglob("*")) if p.suffix in (".csv", ".safetensors", ".json")]
    return {str(p.relative_to(folder)): digest(load_file(p)) if p.suffix == ".safetensors" else p.read_bytes() for p in places}


def processes() -> list[tuple[int, str]]:
    """All that run here: numbers and command lines."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if place.name.isdecimal():
                found.append((int(place.name), (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")))
    return found


def kill_part(part: str, folder: Path) -> None:
    """SIGKILL to a part's process once one of its runs has a checkpoint."""
    while not list(folder.glob("*/checkpoint-*")):
        time.sleep(0.01)
    for number, words in processes():
        if f"--part {part}" in words and str(folder) in words:
            os.kill(number, signal.SIGKILL)


def test_a_sweep_of_which_a_process_is_killed_comes_to_the_same_bits(undisturbed, capsys):
    folder = undisturbed / "broken"
    killer = threading.Thread(target=kill_part, args=("0/2", folder), daemon=True)
    killer.start()
    status = main(["train", "--sweep", str(undisturbed / "runs.toml"), "--folder", str(folder), "--jobs", "2", "--json"])
    out, err = capsys.readouterr()
    assert status == 0
    assert "part-0: killed by signal 9" in err
    assert "part-0: started again, try 2" in err
    whole = files(undisturbed / "whole")
    assert files(folder) == whole
    assert len([name for name in whole if name.endswith("policy.safetensors")]) == 4

    result = json.loads(out.splitlines()[-1])
    with open(folder / "results.csv") as f:
        rows = list(csv.DictReader(f))
    for row in rows:  # the table says what the evaluations came to
        won = round(8 * float(row["success"]))
        assert (float(row["low"]), float(row["high"])) == pytest.approx(wilson(won, 8))
    assert result["value"] == max(sum(float(r["success"]) for r in rows[i : i + 2]) / 2 for i in (0, 2))
    assert result["n"] == 2


def test_a_sweep_that_is_started_again_trains_what_is_unfinished_alone(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / "again"
    shutil.copytree(undisturbed / "whole", folder)
    started = []
    monkeypatch.setattr(batches, "run_all", lambda jobs, *rest: started.extend(job.name for job in jobs) or {})
    assert batches.sweep(undisturbed / "runs.toml", folder)["finished"] == 4
    assert started == []
    (folder / "press,num_steps=2,seed=2" / "result.json").unlink()
    result = batches.sweep(undisturbed / "runs.toml", folder)
    assert started == ["part-1"]
    assert result["finished"] == 3
    assert [c["unfinished"] for c in result["configurations"]] == [0, 1]


def test_a_folder_of_other_settings_is_refused_and_a_bad_file_before_anything_starts(undisturbed, tmp_path, capsys):
    (tmp_path / "runs.toml").write_text(TEXT.replace("steps = 192", "steps = 384"))
    assert main(["train", "--sweep", str(tmp_path / "runs.toml"), "--folder", str(undisturbed / "whole")]) == 2
    assert "was trained with other settings: steps. Fix: another --folder" in capsys.readouterr().err
    (tmp_path / "runs.toml").write_text(TEXT.replace("num_envs", "num_env"))
    assert main(["train", "--sweep", str(tmp_path / "runs.toml"), "--folder", str(tmp_path / "none")]) == 2
    assert "line 5: unknown setting 'num_env'. Did you mean 'num_envs'?" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    for words, expected in (
        (["--sweep", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--sweep", str(undisturbed / "runs.toml"), "--part", "2/2"], "part: got '2/2', expected <number from 0>/<how many>"),
        (["--sweep", str(undisturbed / "runs.toml"), "--jobs", "0"], "jobs: got 0"),
        (["pick", "--sweep", str(undisturbed / "runs.toml")], "got an id, 'pick', beside it"),
        (["pick", "--seed", "5..1"], "seed: got '5..1'"),
        (["--sweep", str(undisturbed / "runs.toml"), "--cluster", "kubernetes"], "unknown cluster 'kubernetes'; expected one of: ray"),
    ):
        assert main(["train", *words, "--folder", str(tmp_path / "none")]) == 2
        assert expected in capsys.readouterr().err


def test_several_seeds_are_a_sweep_too(tmp_path):
    path = batches.over_seeds("pick", range(1, 6), 20_000, 0, -1.0, 1, "randomise", "ppo", ["hyper.gamma=0.9"], tmp_path / "seeds")
    planned = batches.read(path, batches.configuration)
    assert [run.config.seed for run in planned.runs] == [1, 2, 3, 4, 5]
    assert {(run.config.steps, run.config.learner.hyper.gamma) for run in planned.runs} == {(20_000, 0.9)}


@pytest.fixture(scope="module")
def two_workers(undisturbed):
    """A Ray cluster on this machine, with room for two tasks at a time."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_a_sweep_on_a_cluster_of_two_workers_one_of_which_is_killed(undisturbed):
    """On Ray: the part goes on elsewhere, to the same bits."""
    folder, said, killed = undisturbed / "ray", [], []

    def kill() -> None:
        while not list(folder.glob("*/checkpoint-*")):
            time.sleep(0.01)
        for number, words in processes():
            if words.startswith("ray::train_part") and not killed:  # a worker is called by what it does
                os.kill(number, signal.SIGKILL)
                killed.append(number)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    result = batches.sweep(undisturbed / "runs.toml", folder, cluster="ray", say=said.append)
    assert killed
    assert result["failed"] == {}
    assert sorted(said[1:]) == ["part-0: finished", "part-1: finished"]
    assert files(folder) == files(undisturbed / "whole")


@pytest.mark.slow
@pytest.mark.usefixtures("two_workers")
def test_an_evaluation_on_a_cluster_is_that_of_one_machine():
    here = evaluate(environment("press"), *_shipped("press"), 8, batch=4)
    there = evaluated("ray", "press", WEIGHTS / "press.safetensors", 8, 0, "native", share=4)
    for name in ("success", "steps", "total"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name), err_msg=name)
    _, failed = run_tasks("ray", some, {"none": ("press", Path("nowhere"), 0, 1, 0, "native")}, 1)
    assert "nowhere: no weights for skill 'press'" in failed["none"]


def _shipped(name):
    found = learned(skill(name))
    return found.network, found.policy
