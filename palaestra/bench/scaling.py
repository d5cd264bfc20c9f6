"""`palaestra bench scaling`: cost per control step against objects, rooms, environments and threads.

Houses are generated: everything in use, every world with its own number of slots. The robot moves at random, so that most
objects lie still and some are pushed. The figure asked for is the exponent k of time ~ bodies^k over 2 to 12 objects: above 1
would be worse than linear in the bodies that are awake (without sleep, all are).
"""

import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.bench.mjx_cpu import random_rollout
from palaestra.bench.protocol import Settings, take_turns
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.sim.engines import make_engine
from palaestra.sim.world import WorldSpec, world

OBJECTS = (2, 4, 6, 8, 12)
ROOMS = (1, 2, 4, 6, 9)
ENVIRONMENTS = (16, 64, 256, 512, 1024, 2048, 4096)


def bench(settings: Settings) -> dict[str, Any]:
    """Microseconds of a control step of one environment, medians, in a batch of `num_envs`."""
    name, threads = settings.engine or "native", settings.threads
    num_envs, steps = settings.num_envs or 256, settings.steps or 20

    def cost(spec: WorldSpec, count: int = num_envs, threads: int = threads) -> dict[str, Any]:
        w = world(spec)
        engine = make_engine(name, w, threads=threads)
        start = jax.jit(jax.vmap(engine.init))(jax.jit(jax.vmap(lambda k: _house(k, spec)))(jax.random.split(jax.random.key(0), count)))
        roll = jax.jit(lambda state: random_rollout(engine, state, steps))
        start = roll(start)  # let everything settle
        seconds = take_turns({"roll": lambda: roll(start)}, settings.repetitions)["roll"]
        per_step = 1e6 * seconds / (count * steps)
        return {
            "microseconds": float(np.median(per_step)),
            "spread": [float(per_step.min()), float(per_step.max())],
            "bodies": spec.objects + 1,
            "geoms": int(w.model.ngeom),
            "dofs": int(w.model.nv),
        }

    clock = time.perf_counter()
    by_objects = {n: cost(_with_objects(n)) for n in OBJECTS}
    by_rooms = {n: cost(WorldSpec(rooms=n)) for n in ROOMS}
    by_size = {n: cost(WorldSpec(), count=n) for n in ENVIRONMENTS}
    cores = os.cpu_count() or 1
    by_threads = {n: cost(WorldSpec(), threads=n) for n in sorted({1, 2, 4, cores // 2, cores} - {0}) if n <= cores and name == "native"}
    bodies = np.array([v["bodies"] for v in by_objects.values()], float)
    micro = np.array([v["microseconds"] for v in by_objects.values()])
    return {
        "value": float(np.polyfit(np.log(bodies), np.log(micro), 1)[0]),
        "objects": by_objects,
        "rooms": by_rooms,
        "environments": by_size,
        "threads": by_threads,
        "engine": name,
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
        "seconds": time.perf_counter() - clock,
    }


def _with_objects(count: int) -> WorldSpec:
    """Three cubes to a ball, in four rooms."""
    balls = max(1, count // 4)
    return WorldSpec(cubes=count - balls, balls=balls)


def _house(key: jax.Array, spec: WorldSpec) -> Any:
    """The layout of a house with all of its rooms and objects."""
    ranges = SceneRange.make(spec, min_rooms=spec.rooms, use=1.0).replace(max_rooms=jnp.asarray(spec.rooms))
    return sample_scene(key, world(spec), ranges).layout
