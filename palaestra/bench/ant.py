"""`palaestra bench ant`: the environment of `examples/ant.py` against EnvPool's and Gymnasium's Ant-v5.

All step the same ant.xml with the same observation of 105 numbers, contact forces included, under uniform actions and through
resets. Each goes at the batch size that suits it best of a few. Actions of the others are drawn beforehand; ours are part of
its program. `value_as_compiled` is without what `ant_model` tunes: the figure of the model as Gymnasium compiles it.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterable
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
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import ModelWorld

Run = Callable[[int], Any]  # steps of the whole batch -> something to wait for
Make = Callable[[int], Run]  # environments -> how they are stepped

_SIZES = {"ours": (64, 256, 512, 1024), "as_compiled": (), "envpool": (64, 256, 512, 1024), "async": (4, 16, 32), "sync": (4, 16)}
_SAME_SIZE = {"as_compiled": "ours"}
_SLOWER = {"async": 4, "sync": 4}  # do a quarter of the work, so that turns are about as long


def example(name: str) -> ModuleType:
    """An example as a module; the folder stands beside the package in the repository, and is not in a wheel."""
    path = Path(palaestra.__file__).parents[1] / "examples" / f"{name}.py"
    if not path.exists():
        raise PalaestraError(f"example {name!r}: {path} does not exist. Fix: run from a checkout of the repository (pip install -e .)")
    spec = importlib.util.spec_from_file_location(f"palaestra_example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def bench(settings: Settings) -> dict[str, Any]:
    """Environment steps/s of ours over EnvPool's and Gymnasium's, in turns; `value` is the one over EnvPool."""
    if importlib.util.find_spec("envpool") is None:
        raise MissingExtraError("bench ant", "envpool", "bench")
    threads = settings.threads or os.cpu_count() or 1
    vectors: list[Any] = []
    make: dict[str, Make] = {
        "ours": lambda n: _ours(n, threads, tuned=True),
        "as_compiled": lambda n: _ours(n, threads, tuned=False),
        "envpool": lambda n: _envpool(n, threads),
        "async": lambda n: _gymnasium(n, "async", vectors),
        "sync": lambda n: _gymnasium(n, "sync", vectors),
    }
    work = {name: (settings.steps or 40) * 256 // _SLOWER.get(name, 1) for name in make}  # environment steps a turn
    try:
        sizes: dict[str, int] = {}
        runs: dict[str, Run] = {}
        for name in make:
            tried = (settings.num_envs,) if settings.num_envs else _SIZES[name] or (sizes[_SAME_SIZE[name]],)
            sizes[name], runs[name] = _best(make[name], tried, work[name])
        steps = {name: max(1, work[name] // sizes[name]) for name in make}
        seconds = take_turns({name: _turn(runs[name], steps[name]) for name in make}, settings.repetitions)
    finally:
        for vector in vectors:
            vector.close()
    per = {name: s / (steps[name] * sizes[name]) for name, s in seconds.items()}
    over = {name: s / per["ours"] for name, s in per.items()}
    as_compiled = per["envpool"] / per["as_compiled"]
    return {
        "value": float(np.median(over["envpool"])),
        "spread": spread(over["envpool"]),
        "value_as_compiled": float(np.median(as_compiled)),
        "spread_as_compiled": spread(as_compiled),
        "over_async": float(np.median(over["async"])),
        "spread_async": spread(over["async"]),
        "over_sync": float(np.median(over["sync"])),
        "spread_sync": spread(over["sync"]),
        "env_steps_per_second": rates(per, 1.0),
        "num_envs": sizes,
        "solver": "newton",
        "integrator": "RK4",
        "envpool_task": _envpool_task(),
        "repetitions": settings.repetitions,
        "threads": threads,
    }


def _turn(run: Run, steps: int) -> Callable[[], Any]:
    return lambda: run(steps)


def _best(make: Make, sizes: Iterable[int], work: int) -> tuple[int, Run]:
    """The size at which the work takes least time, and the environments of that size."""
    found: list[tuple[float, int, Run]] = []
    for size in sizes:
        run, steps = make(size), max(1, work // size)
        if len(tuple(sizes)) > 1:
            jax.block_until_ready(run(steps))
        clock = time.perf_counter()
        jax.block_until_ready(run(steps))
        found.append(((time.perf_counter() - clock) / (steps * size), size, run))
    _, size, run = min(found, key=lambda entry: entry[:2])
    return size, run


def _ours(num_envs: int, threads: int, tuned: bool) -> Run:
    ant = example("ant")
    engine = NativeEngine(ModelWorld(ant.ant_model(tuned), substeps=5, outputs=("cfrc_ext", "xpos")), threads)
    envs = AutoReset(ant.Ant(engine), num_envs)
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
