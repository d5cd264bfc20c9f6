"""Commands in processes of their own, a few at a time; one that dies is started again, for each goes on where it was."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

REFUSED = 2  # the exit status of an error that another try would meet again
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WAIT = 0.05  # s between two looks
_PARENT = "PALAESTRA_PARENT"  # the process that waits for this one


def die_with_parent() -> None:
    """Called by a job: it must not go on writing when the process that would start it again was killed. On Linux; nothing elsewhere."""
    parent = os.environ.get(_PARENT)
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Job:
    """One command, or several that live and die together."""

    name: str
    commands: Sequence[Sequence[str]]
    folder: Path  # for their output: <name>.log
    environments: Sequence[dict[str, str]] = ()  # what each finds in its environment beside ours
    shown: bool = False  # whether the first command's output goes where ours does instead
    tries: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        self.tries += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            for i, command in enumerate(self.commands):
                env = {**os.environ, _PARENT: str(os.getpid()), **(self.environments[i] if self.environments else {})}
                out = None if self.shown and i == 0 else log
                self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env))

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def status(self) -> int | None:
        """None while it runs, 0 when all have ended well, else the first bad exit status."""
        found = [p.poll() for p in self.processes]
        bad = [s for s in found if s]
        return bad[0] if bad else (None if None in found else 0)

    def stop(self) -> None:
        """End what still runs, and wait for it."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            if process.poll() is None:
                process.kill()
                process.wait()
        self.processes = []

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1] if lines else "it said nothing"


def run_all(jobs: Sequence[Job], at_once: int, restarts: int, say: Callable[[str], None] = lambda line: None) -> dict[str, str]:
    """Run every job to its end, `at_once` at a time; why those failed that did, by name.

    A job that dies is started again up to `restarts` times; one that refuses (exit status 2) is not.
    """
    waiting, failed = list(jobs), dict[str, str]()
    running: list[Job] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                job.start()
                running.append(job)
                say(f"{job.name}: {'started' if job.tries == 1 else f'started again, try {job.tries}'}")
            for job in list(running):
                status = job.status()
                if status is None:
                    continue
                job.stop()
                running.remove(job)
                if status == 0:
                    say(f"{job.name}: finished")
                elif status != REFUSED and job.tries <= restarts:
                    say(f"{job.name}: {_ending(status)}")
                    waiting.insert(0, job)
                else:
                    failed[job.name] = f"{_ending(status)} after {job.tries} tries; {job.log}: {job.last_words()}"
                    say(f"{job.name}: {failed[job.name]}")
            time.sleep(_WAIT)
    finally:
        for job in running:
            job.stop()
    return failed


def launch(command: Sequence[str], count: int, folder: Path) -> int:
    """Run a command as `count` processes that find each other by torchrun's variables; the exit status. The first one prints here,
    the others to a log; when one dies, all end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    job = Job("others", [command] * count, folder, [where | {"RANK": str(i)} for i in range(count)], shown=True)
    job.start()
    try:
        while (status := job.status()) is None:
            time.sleep(_WAIT)
        return status
    finally:
        job.stop()


def _ending(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
