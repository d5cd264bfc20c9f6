"""`palaestra bench gpu`: control steps/s of `warp` and `mjx`, and of PPO, on an NVIDIA GPU.

Random actions, contacts on, everything in use; a rollout is one program on the device. What does not fit in memory is
reported with the size that failed, and the sizes above it are left out.
"""

import functools
from typing import Any

import jax
import numpy as np

from palaestra.bench.engine import bench_layout
from palaestra.bench.mjx_cpu import random_rollout
from palaestra.bench.protocol import Settings, take_turns
from palaestra.policies.ppo import PPO as Config
from palaestra.policies.ppo import Hyper, Learner
from palaestra.sim.engine import EngineError
from palaestra.sim.engines import make_engine
from palaestra.sim.memory import OutOfMemoryError, out_of_memory
from palaestra.sim.mjx import has_gpu
from palaestra.sim.world import WORLDS, world
from palaestra.skills.recipes import environment

_SIZES = {"warp": (1024, 4096, 8192, 16384), "mjx": (1024,)}


def bench(settings: Settings) -> dict[str, Any]:
    """The middle world's best control steps/s of `warp` as the value, and tables by world and batch size."""
    if not has_gpu():
        raise EngineError(
            "bench gpu: got no NVIDIA GPU that JAX can see, expected one. Fix: pip install 'palaestra[gpu]' on a machine that has one"
        )
    steps = settings.steps or 50
    engines = [settings.engine] if settings.engine else ["warp", "mjx"]
    table: dict[str, Any] = {}
    for name in engines:
        for size, spec in WORLDS.items():
            if name == "mjx" and size == "large":
                continue  # its cost grows with the square of the contact rows
            rows = table.setdefault(name, {}).setdefault(size, {})
            for num_envs in [settings.num_envs] if settings.num_envs else _SIZES[name]:
                rows[num_envs] = _rate(name, spec, num_envs, steps, settings.repetitions)
                if isinstance(rows[num_envs], str):
                    break
    train = {name: _training(name, settings.num_envs or 8192, settings.repetitions) for name in engines if name == "warp"}
    best = [v["median"] for v in table.get("warp", {}).get("middle", {}).values() if not isinstance(v, str)]
    return {"value": max(best, default=0.0), "control_steps_per_second": table, "ppo_steps_per_second": train, "steps": steps}


def _rate(name: str, spec: Any, num_envs: int, steps: int, repetitions: int) -> dict[str, Any] | str:
    w = world(spec)
    engine = make_engine(name, w)
    start = jax.jit(jax.vmap(engine.init))(bench_layout(w, num_envs, 0))
    roll = jax.jit(functools.partial(random_rollout, engine, steps=steps))
    try:
        with out_of_memory(num_envs):
            end = jax.block_until_ready(roll(start))
            seconds = take_turns({"roll": lambda: roll(start)}, min(repetitions, 5), warm_up=False)["roll"]
    except OutOfMemoryError as error:
        return str(error)
    rate = num_envs * steps / seconds
    return {
        "median": float(np.median(rate)),
        "spread": [float(rate.min()), float(rate.max())],
        "overflow": int(np.asarray(end.overflow).sum()),
        "diverged": int(np.asarray(end.diverged).sum()),
    }


def _training(name: str, num_envs: int, repetitions: int) -> dict[str, Any]:
    """Environment steps/s of PPO on `pick`, updates included."""
    learner = Learner(environment("skill/pick", 0.3, engine=name), Config(num_envs=num_envs, hyper=Hyper()), 1000)
    holder, iterate = {"state": learner.init(jax.random.key(0))}, jax.jit(learner.iterate)

    def whole() -> Any:
        holder["state"], _ = iterate(holder["state"])
        return holder["state"]

    seconds = take_turns({"loop": whole}, min(repetitions, 5))["loop"]
    return {"median": float(np.median(learner.config.batch_size / seconds)), "num_envs": num_envs}
