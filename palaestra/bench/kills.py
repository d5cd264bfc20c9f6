"""`palaestra bench kills`: a training run that is killed at random moments, and comes to the bits of one that never was."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from palaestra.bench.protocol import Settings
from palaestra.policies.ppo import PPO
from palaestra.policies.processes import die_with_parent
from palaestra.policies.runs import Run, RunConfig
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import digest
from palaestra.skills.recipes import environment

_LEARNER = PPO(num_envs=32, num_steps=8, epochs=2, minibatches=2, hidden=(32, 32))
_ROWS = 6  # updates of the run for every kill
_CODE = "import sys; from pathlib import Path; from palaestra.bench.kills import train; train(Path(sys.argv[1]), int(sys.argv[2]))"
_WRITING = 1 / 3  # of the kills wait for a checkpoint that is being written


def bench(settings: Settings) -> dict[str, Any]:
    """1 where the last checkpoints, the policy and the metrics hold the same bits; and when it was killed."""
    kills, rng = 3 * settings.repetitions, np.random.default_rng(0)
    updates = _ROWS * kills
    with tempfile.TemporaryDirectory() as made:
        whole, broken = Path(made) / "whole", Path(made) / "broken"
        clock = time.perf_counter()
        seconds = _Training(whole, updates).finish()
        moments = [_Training(broken, updates).kill(rng, seconds / updates) for _ in range(kills)]
        _Training(broken, updates).finish()
        names = sorted(p.name for p in whole.glob("*") if p.suffix in (".safetensors", ".csv"))
        same = {name: _content(whole / name) == _content(broken / name) for name in names}
    return {
        "value": float(all(same.values())),
        "kills": kills,
        "same": same,
        "killed_after_update": [update for update, _ in moments],
        "while_a_file_was_written": sum(half for _, half in moments),
        "updates": updates,
        "engine": "native",
        "seconds": time.perf_counter() - clock,
    }


def _content(path: Path) -> str | bytes:
    """Of a file of arrays their digest: its header says in no fixed order what it is about."""
    return digest(load_file(path)) if path.suffix == ".safetensors" else path.read_bytes()


def train(folder: Path, updates: int) -> None:
    """The run, in a process of its own: begun, or gone on with. Says which updates are done."""
    die_with_parent()
    config = RunConfig(env="skill/press", steps=updates * _LEARNER.batch_size, log_every=1, checkpoint_every=2, learner=_LEARNER)
    run = Run(environment(config.env), config, folder)
    print("begun", flush=True)
    run.train(resume=bool(run.checkpoints()), report=lambda row: print(int(row["update"]), flush=True))


class _Training:
    """A process that trains."""

    def __init__(self, folder: Path, updates: int):
        self._folder = folder
        self._process = subprocess.Popen([sys.executable, "-c", _CODE, str(folder), str(updates)], stdout=subprocess.PIPE, text=True)

    def finish(self) -> float:
        """Seconds from the first update to the end."""
        first = 0.0
        for line in self._lines():
            first = first or (time.perf_counter() if line != "begun" else 0.0)
        if self._process.wait():
            raise PalaestraError(f"bench kills: the run ended with status {self._process.returncode}, expected 0")
        return time.perf_counter() - first

    def kill(self, rng: np.random.Generator, seconds_an_update: float) -> tuple[int, bool]:
        """SIGKILL at a random moment: the update that was the last to be done, and whether a file was half written."""
        rows, writing = int(rng.integers(0, _ROWS)), rng.random() < _WRITING
        last, begun = 0, time.perf_counter()
        for line in self._lines():
            last = last if line == "begun" else int(line)
            rows -= 1
            if rows < 0:  # a 0 is a kill before the first update: while it loads and compiles
                break
        if writing:
            while not self._halves() and self._process.poll() is None:
                time.sleep(0.0005)
        else:
            time.sleep(rng.uniform(0, 2 * seconds_an_update if last else (time.perf_counter() - begun) / 2))
        self._process.kill()
        if self._process.wait() == 0:
            raise PalaestraError("bench kills: the run was over before it could be killed; expected a longer one")
        return last, bool(self._halves())

    def _halves(self) -> list[Path]:
        return list(self._folder.glob(".*.tmp"))

    def _lines(self) -> Any:
        assert self._process.stdout is not None
        return (line.strip() for line in self._process.stdout)
