"""The protocol that all benchmarks share: what is asked for, who goes when, and what is said about the machine."""

import importlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.sim.errors import PalaestraError, UnknownNameError

# Each is a module `palaestra.bench.<name>` with a function `bench(settings) -> result`.
BENCHES = {
    "engine": "a jitted rollout with a 2x256 policy over the bare mujoco.batch, and bit-exactness",
    "mjx-cpu": "the native engine over mjx, both on this CPU, same world",
    "ant": "our environment on Gymnasium's ant.xml against EnvPool and Gymnasium (extra: bench)",
    "vector": "gym.make_vec over the functional rollout",
    "reset": "the share of a step that fresh tasks cost at an episode length of 200",
    "scaling": "cost per control step against objects, rooms, environments and threads",
    "train": "PPO on pick: steps/s of the whole loop over steps/s of the rollout alone",
    "learn": "pick from nothing to 0.95 on held-out starts, beside Stable-Baselines3's PPO (extra: interop)",
    "startup": "import, make, reset and first step in a fresh process, cold and warm",
    "step": "where the time of a control step goes",
    "world": "what each choice in the world's physics buys, and what it costs in fidelity",
    "tasks": "tasks generated a second, the memory that one takes, and the oracle's proofs",
    "kills": "a training run killed at random moments, against one that never was: the same bits",
    "planner": "plans a second of the planner embedded, one at a time and side by side",
    "words": "thirty instructions as people write them, and what the planner embedded makes of each",
    "gpu": "control steps/s of warp and mjx, and of PPO, on an NVIDIA GPU",
}


@dataclass(frozen=True)
class Settings:
    """What a user can ask of a benchmark; 0 and "" take its own default."""

    num_envs: int = 0
    steps: int = 0  # control steps a repetition
    repetitions: int = 7
    threads: int = 0  # 0: all
    engine: str = ""
    folder: Path = Path("runs/bench")

    def __post_init__(self) -> None:
        for name in ("num_envs", "steps", "threads"):
            if getattr(self, name) < 0:
                raise PalaestraError(f"{name}: got {getattr(self, name)}, expected 1 or more (0: the benchmark's own)")
        if self.repetitions < 1:
            raise PalaestraError(f"repetitions: got {self.repetitions}, expected 1 or more")


def run(name: str, settings: Settings) -> dict[str, Any]:
    """The result of one benchmark, or of all, as `palaestra bench` prints it."""
    if name == "all":
        from palaestra.bench.plots import run_all

        return run_all(settings)
    if name not in BENCHES:
        raise UnknownNameError("benchmark", name, [*BENCHES, "all"])
    module = importlib.import_module(f"palaestra.bench.{name.replace('-', '_')}")
    return {"name": name, **module.bench(settings), "machine": machine()}


def take_turns(runs: Mapping[str, Callable[[], Any]], repetitions: int, *, warm_up: bool = True) -> dict[str, np.ndarray]:
    """Seconds of every run [repetitions]. They go in turns, so that a drift of the machine's speed hits all of them."""
    if warm_up:
        for work in runs.values():
            jax.block_until_ready(work())
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, work in runs.items():
            clock = time.perf_counter()
            jax.block_until_ready(work())
            seconds[name].append(time.perf_counter() - clock)
    return {name: np.array(values) for name, values in seconds.items()}


def spread(values: np.ndarray) -> list[float]:
    """The lowest and the highest."""
    return [float(values.min()), float(values.max())]


def rates(seconds: Mapping[str, np.ndarray], work: float) -> dict[str, dict[str, Any]]:
    """Median and spread of work per second."""
    return {name: {"median": float(np.median(work / s)), "spread": spread(work / s)} for name, s in seconds.items()}


def machine() -> dict[str, str]:
    """What the figures depend on beside the code."""
    versions = {}
    for package in ("mujoco", "mujoco-mjx", "warp-lang", "jax", "gymnasium", "envpool"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = ", ".join(sorted({d.device_kind for d in jax.devices()}))
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical CPUs",
        "devices": f"{len(jax.devices())} x {devices}",
        "python": platform.python_version(),
        "system": platform.system(),
        **versions,
    }


def _processor() -> str:
    """Its name where the system tells it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
