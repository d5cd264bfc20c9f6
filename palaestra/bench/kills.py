"""`palaestra bench kills`: a training run that is killed at random moments, and comes to the bits of one that never was."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

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
_ROWS = 8  # updates of the run for every kill, of which it makes three on average
_CODE = "import sys; from palaestra.bench.kills import train; train(*sys.argv[1:])"
_WRITING = 1 / 3  # of the kills are in the middle of writing a file


def bench(settings: Settings) -> dict[str, Any]:
    """1 where the last checkpoints, the policy and the metrics hold the same bits; and when it was killed."""
    kills, rng = 3 * settings.repetitions, np.random.default_rng(0)
    updates = _ROWS * kills
    with tempfile.TemporaryDirectory() as made:
        whole, broken = Path(made) / "whole", Path(made) / "broken"
        clock = time.perf_counter()
        seconds = _Training(whole, updates).finish()
        begin = max(time.perf_counter() - clock - seconds, 1.0)
        moments = [_killed(broken, updates, rng, seconds / updates, begin) for _ in range(kills)]
        _Training(broken, updates).finish()
        names = sorted(p.name for p in whole.glob("*") if p.suffix in (".safetensors", ".csv"))
        same = {name: _content(whole / name) == _content(broken / name) for name in names}
    return {
        "value": float(all(same.values())),
        "kills": kills,
        "same": same,
        "killed_after_update": [moment.update for moment in moments],
        "while_a_file_was_written": sum(moment.half for moment in moments),
        "updates": updates,
        "engine": "native",
        "seconds": time.perf_counter() - clock,
    }


def _content(path: Path) -> str | bytes:
    """Of a file of arrays their digest: its header says in no fixed order what it is about."""
    return digest(load_file(path)) if path.suffix == ".safetensors" else path.read_bytes()


def train(place: str, updates: str, writes: str) -> None:
    """The run, in a process of its own: begun, or gone on with. Says which updates are done.

    `writes`: files after which it dies in the middle of the next one, before that takes its name; negative for never.
    """
    die_with_parent()
    left, sync = [int(writes)], os.fsync

    def dying(file: Any) -> None:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        sync(file)

    os.fsync = dying  # type: ignore[assignment]
    config = RunConfig(env="skill/press", steps=int(updates) * _LEARNER.batch_size, log_every=1, checkpoint_every=2, learner=_LEARNER)
    run = Run(environment(config.env), config, Path(place))
    print("begun", flush=True)
    run.train(resume=bool(run.checkpoints()), report=lambda row: print(int(row["update"]), flush=True))


class _Training:
    """A process that trains."""

    def __init__(self, folder: Path, updates: int, writes: int = -1):
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(folder), str(updates), str(writes)], stdout=subprocess.PIPE, text=True
        )

    def finish(self) -> float:
        """Seconds from the first update to the end."""
        first = 0.0
        for line in self._lines():
            first = first or (time.perf_counter() if line != "begun" else 0.0)
        if self._process.wait():
            raise PalaestraError(f"bench kills: the run ended with status {self._process.returncode}, expected 0")
        return time.perf_counter() - first

    def die(self) -> "Moment":
        """Wait for it to kill itself."""
        last = max((int(line) for line in self._lines() if line != "begun"), default=0)
        return self._moment(last)

    def kill(self, rows: int, wait: float) -> "Moment":
        """SIGKILL this many seconds after so many updates; before the first while it still loads or compiles."""
        last = 0
        for line in self._lines() if rows else ():
            last = last if line == "begun" else int(line)
            rows -= line != "begun"
            if not rows:
                break
        time.sleep(wait)
        self._process.kill()
        return self._moment(last)

    def _moment(self, last: int) -> "Moment":
        if self._process.wait() == 0:
            raise PalaestraError("bench kills: the run was over before it could be killed; expected a longer one")
        return Moment(last, bool(list(self._folder.glob(".*.tmp"))))

    def _lines(self) -> Iterator[str]:
        assert self._process.stdout is not None
        return (line.strip() for line in self._process.stdout)


class Moment(NamedTuple):
    """When a run was killed."""

    update: int  # the last that it said was done; 0 before the first since it was started
    half: bool  # whether it left a file that was half written


def _killed(folder: Path, updates: int, rng: np.random.Generator, seconds_an_update: float, seconds_to_begin: float) -> Moment:
    """One try that does not come to its end: it dies while it loads, while it learns, or while it writes."""
    if rng.random() < _WRITING:  # two files a checkpoint, and up to two when it begins
        return _Training(folder, updates, writes=int(rng.integers(0, 6))).die()
    rows = int(rng.integers(0, 6))
    return _Training(folder, updates).kill(rows, rng.uniform(0, seconds_an_update if rows else seconds_to_begin))
