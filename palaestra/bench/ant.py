"""`palaestra bench ant`: the environment of `examples/ant.py` against EnvPool's and Gymnasium's Ant-v5.

All step the same ant.xml with the same observation of 105 numbers, contact forces included, under uniform actions and through
resets, each at the batch size that suits it best of a few. Actions of the others are drawn beforehand; ours are part of its
program. `value` is with Newton's solver and the tuning of the example, which changes no bit; `value_pgs` with the PGS solver,
which does; `value_as_compiled` with neither, the model as Gymnasium compiles it.
"""

import functools
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import jax
import numpy as np

import palaestra
from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.envs.autoreset import AutoReset
from palaestra.sim.errors import MissingExtraError, PalaestraError

Run = Callable[[int], Any]  # steps of the whole batch -> something to wait for

# Arguments of the example's Ant.
_OURS: dict[str, dict[str, Any]] = {"ours": {}, "pgs": {"solver": "pgs"}, "as_compiled": {"tuned": False}}
_LARGE, _SMALL = (64, 256, 512, 1024), (2, 4, 8, 16)  # sizes tried
_SLOWER = 4  # Gymnasium does a quarter of the work, so that turns are about as long


@functools.cache
def example(name: str) -> ModuleType:
    """An example as a module; the folder stands beside the package in the repository, and is not in a wheel."""
    path = Path(palaestra.__file__).parents[1] / "examples" / f"{name}.py"
    if not path.exists():
        raise PalaestraError(f"example {name!r}: {path} does not exist. Fix: run from a checkout of the repository (pip install -e .)")
    spec = importlib.util.spec_from_file_location(f"palaestra_example_{name}", path)
    if spec is None or spec.loader is None:
        raise PalaestraError(f"example {name!r}: {path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def bench(settings: Settings) -> dict[str, Any]:
    """Environment steps/s of ours over EnvPool's and Gymnasium's, in turns; `value` is the one over EnvPool."""
    if importlib.util.find_spec("envpool") is None:
        raise MissingExtraError("bench ant", "envpool", "bench")
    threads = settings.threads or os.cpu_count() or 1
    work = (settings.steps or 40) * 256  # environment steps a turn
    vectors: list[Any] = []
    tries: dict[str, tuple[Callable[[int], Run], tuple[int, ...], int]] = {
        "ours": (lambda n: _ours(n, threads, "ours"), _LARGE, work),
        "envpool": (lambda n: _envpool(n, threads), _LARGE, work),
        "async": (lambda n: _gymnasium(n, "async", vectors), _SMALL, work // _SLOWER),
        "sync": (lambda n: _gymnasium(n, "sync", vectors), _SMALL, work // _SLOWER),
    }
    try:
        sizes: dict[str, int] = {}
        turns: dict[str, Callable[[], Any]] = {}
        done: dict[str, int] = {}
        for name, (make, candidates, amount) in tries.items():
            sizes[name], run = _best(make, (settings.num_envs,) if settings.num_envs else candidates, amount)
            turns[name], done[name] = _turn(run, sizes[name], amount)
        for name in [variant for variant in _OURS if variant != "ours"]:
            turns[name], done[name] = _turn(_ours(sizes["ours"], threads, name), sizes["ours"], work)
        seconds = take_turns(turns, settings.repetitions)
    finally:
        for vector in vectors:
            vector.close()
    per = {name: s / done[name] for name, s in seconds.items()}
    over = {name: {peer: per[peer] / per[name] for peer in ("envpool", "async", "sync")} for name in _OURS}
    return {
        "value": float(np.median(over["ours"]["envpool"])),
        "spread": spread(over["ours"]["envpool"]),
        "over_async": float(np.median(over["ours"]["async"])),
        "over_sync": float(np.median(over["ours"]["sync"])),
        "value_pgs": float(np.median(over["pgs"]["envpool"])),
        "over_async_pgs": float(np.median(over["pgs"]["async"])),
        "value_as_compiled": float(np.median(over["as_compiled"]["envpool"])),
        "spreads": {f"{name} over {peer}": spread(ratio) for name, ratios in over.items() for peer, ratio in ratios.items()},
        "env_steps_per_second": rates(per, 1.0),
        "num_envs": sizes,
        "solver": "newton",
        "envpool_task": _envpool_task(),
        "repetitions": settings.repetitions,
        "threads": threads,
    }


def _turn(run: Run, size: int, work: int) -> tuple[Callable[[], Any], int]:
    """About this many environment steps, and how many they are."""
    steps = max(1, work // size)
    return lambda: run(steps), steps * size


def _best(make: Callable[[int], Run], sizes: tuple[int, ...], work: int) -> tuple[int, Run]:
    """The size at which the work takes least time, and the environments of that size."""
    found: list[tuple[float, int, Run]] = []
    for size in sizes:
        run = make(size)
        if len(sizes) == 1:
            return size, run
        turn, done = _turn(run, size, work)
        seconds = take_turns({"": turn}, 3)[""]
        found.append((float(seconds.min()) / done, size, run))
    _, size, run = min(found, key=lambda entry: entry[:2])
    return size, run


def _ours(num_envs: int, threads: int, variant: str) -> Run:
    ant = example("ant")
    envs = AutoReset(ant.Ant(**_OURS[variant], threads=threads), num_envs)
    state, _ = jax.jit(envs.reset)(jax.random.split(jax.random.key(0), num_envs))
    key = jax.random.key(1)
    roll = jax.jit(lambda state, key, steps: ant.random_rollout(envs, state, key, steps), static_argnums=2)

    def run(steps: int) -> Any:
        nonlocal state, key
        key, k_roll = jax.random.split(key)
        state = roll(state, k_roll, steps)
        return state.observation

    return run


def _envpool_task() -> str:
    import envpool

    # Before v5 contact forces were off by default.
    return "Ant-v5" if "Ant-v5" in envpool.list_all_envs() else "Ant-v4"


def _envpool(num_envs: int, threads: int) -> Run:
    import envpool

    task = _envpool_task()
    forces = {} if task == "Ant-v5" else {"use_contact_force": True, "post_constraint": True}
    envs = envpool.make_gymnasium(task, num_envs=num_envs, num_threads=threads, seed=0, **forces)
    return _stepper(envs, num_envs, np.float64)


def _gymnasium(num_envs: int, mode: str, vectors: list[Any]) -> Run:
    # A fork of this process would carry the threads of JAX along.
    context = {"context": "forkserver"} if mode == "async" else {}
    envs = gymnasium.make_vec("Ant-v5", num_envs=num_envs, vectorization_mode=mode, vector_kwargs=context)
    vectors.append(envs)
    return _stepper(envs, num_envs, np.float32)


def _stepper(envs: Any, num_envs: int, dtype: Any) -> Run:
    actions = np.random.default_rng(0).uniform(-1, 1, (64, num_envs, 8)).astype(dtype)
    envs.reset()
    taken = 0

    def run(steps: int) -> None:
        nonlocal taken
        for _ in range(steps):
            envs.step(actions[taken % len(actions)])
            taken += 1

    return run
