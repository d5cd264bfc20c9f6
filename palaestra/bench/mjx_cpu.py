"""`palaestra bench mjx-cpu`: the same physics from JAX, by threaded C and by mjx, on one CPU.

Measured twice. The figure asked for is that of the world and of the engines as they are (elliptic cones, 30 iterations, mjx in
float64). Beside it stands the best case for mjx, with the settings that its manual recommends (pyramidal cones, 4 iterations
of 8 line searches, float32), in which a held cube creeps out of the hand.
"""

import functools
from typing import Any

import jax
import mujoco
import numpy as np

from palaestra.bench.engine import bench_layout
from palaestra.bench.protocol import Settings, rates, take_turns
from palaestra.sim.engine import Engine
from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WORLDS, World


def bench(settings: Settings) -> dict[str, Any]:
    """Ratios of control steps/s, native over mjx, random actions, each at its own batch size."""
    # 64 for mjx: at 256 its program stands still for good in XLA's thread pool (jax 0.10.2, 2 cores).
    num_envs = {"native": settings.num_envs or 256, "mjx": settings.num_envs or 64}
    worlds = {"as it is": World(WORLDS["small"]), "mjx's settings": _recommended(World(WORLDS["small"]))}
    found: dict[str, Any] = {}
    for name, w in worlds.items():
        single = name != "as it is"
        engines: dict[str, Engine] = {"native": NativeEngine(w, settings.threads), "mjx": MjxEngine(w, "mjx", double=not single)}
        steps = {"native": settings.steps or 50, "mjx": 2}
        runs = {n: _rollout(e, num_envs[n], steps[n]) for n, e in engines.items()}
        seconds = take_turns(runs, min(settings.repetitions, 5))
        per = {n: s / (steps[n] * num_envs[n]) for n, s in seconds.items()}
        found[name] = {"ratio": float(np.median(per["mjx"] / per["native"])), "control_steps_per_second": rates(per, 1)}
    return {"value": found["as it is"]["ratio"], "worlds": found, "num_envs": num_envs, "objects": 2, "rooms": 1}


def _recommended(w: World) -> World:
    opt = w.model.opt
    opt.cone, opt.impratio = mujoco.mjtCone.mjCONE_PYRAMIDAL, 1.0
    opt.iterations, opt.ls_iterations = 4, 8
    return w


def _rollout(engine: Engine, num_envs: int, steps: int) -> Any:
    start = jax.jit(jax.vmap(engine.init))(bench_layout(engine.world, num_envs, 0))
    return functools.partial(jax.jit(lambda state: random_rollout(engine, state, steps)), start)


def random_rollout(engine: Engine, state: Any, steps: int) -> Any:
    """Control steps of a batch under random actions, a new one for each; the final state."""
    num_envs, size = state.qpos.shape[0], len(engine.world.body.action_names)

    def one(carry: Any, key: jax.Array) -> tuple[Any, None]:
        state, ctrl = carry
        action = jax.random.uniform(key, (num_envs, size), minval=-1.0, maxval=1.0)
        ctrl = jax.vmap(engine.world.control)(state.qpos, ctrl, action)
        return (jax.vmap(engine.step)(state, ctrl), ctrl), None

    ctrl = jax.numpy.zeros((num_envs, engine.world.model.nu))
    return jax.lax.scan(one, (state, ctrl), jax.random.split(jax.random.key(1), steps))[0][0]
