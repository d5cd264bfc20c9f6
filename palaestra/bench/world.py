"""`palaestra bench world`: what each choice in the world's physics buys, and what it costs in fidelity.

Every variant changes one thing in the middle world and is timed in turns with it. Fidelity: a cube is grasped, lifted and
carried about for five seconds; how far it slipped in the hand, in millimetres, or that it was dropped.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from palaestra.bench.engine import bench_layout
from palaestra.bench.mjx_cpu import random_rollout
from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.sim.native import NativeEngine, Simulations
from palaestra.sim.world import WORLDS, World, WorldSpec

Change = Callable[[mujoco.MjModel], None]


def _option(**values: Any) -> Change:
    def change(model: mujoco.MjModel) -> None:
        for name, value in values.items():
            setattr(model.opt, name, value)

    return change


def _disable(bit: mujoco.mjtDisableBit) -> Change:
    def change(model: mujoco.MjModel) -> None:
        model.opt.disableflags |= int(bit)

    return change


def _timestep(seconds: float, substeps: int) -> Callable[[], World]:
    return lambda: World(WorldSpec(timestep=seconds, substeps=substeps))


def _changed(change: Change) -> Callable[[], World]:
    def make() -> World:
        w = World(WorldSpec())
        change(w.model)
        return w

    return make


_PYRAMIDAL = mujoco.mjtCone.mjCONE_PYRAMIDAL
VARIANTS: dict[str, Callable[[], World]] = {
    "as it is: 5 x 10 ms, elliptic, impratio 10, 30 iterations": _changed(_option()),
    "10 x 5 ms": _timestep(0.005, 10),
    "25 x 2 ms": _timestep(0.002, 25),
    "pyramidal cones": _changed(_option(cone=_PYRAMIDAL, impratio=1.0)),
    "elliptic, impratio 1": _changed(_option(impratio=1.0)),
    "6 iterations": _changed(_option(iterations=6, ls_iterations=6)),
    "100 iterations": _changed(_option(iterations=100, ls_iterations=50)),
    "CG instead of Newton": _changed(_option(solver=mujoco.mjtSolver.mjSOL_CG)),
    "PGS instead of Newton": _changed(_option(solver=mujoco.mjtSolver.mjSOL_PGS)),
    "no islands": _changed(_disable(mujoco.mjtDisableBit.mjDSBL_ISLAND)),
    "no midphase": _changed(_disable(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)),
    "discrete integrator": _changed(_option(integrator=mujoco.mjtIntegrator.mjINT_DISCRETE)),
}


def bench(settings: Settings) -> dict[str, Any]:
    """For each variant: its speed over that of the world as it is, and how far a held cube slips."""
    num_envs, steps = settings.num_envs or 256, settings.steps or 20
    worlds = {name: make() for name, make in VARIANTS.items()}
    runs, slips = {}, {}
    for name, w in worlds.items():
        engine = NativeEngine(w, settings.threads)
        start = jax.jit(jax.vmap(engine.init))(bench_layout(w, num_envs, 0))
        roll = jax.jit(functools.partial(random_rollout, engine, steps=steps))
        runs[name] = functools.partial(roll, roll(start))
        slips[name] = slip(engine)
    seconds = take_turns(runs, settings.repetitions)
    base = seconds[next(iter(runs))]
    speed = rates(seconds, num_envs * steps)
    found = {
        name: {
            "speed_ratio": float(np.median(base / s)),
            "spread": spread(base / s),
            "control_steps_per_second": speed[name]["median"],
            "slip_mm": slips[name],
        }
        for name, s in seconds.items()
    }
    sleep = {size: _sleep(size, num_envs, steps, settings) for size in ("middle", "large")}
    return {
        "value": len(found),
        "variants": found,
        "sleep": sleep,
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
    }


def _sleep(size: str, num_envs: int, steps: int, settings: Settings) -> dict[str, float]:
    """Speed of bare batches over the plain one: one mjData a simulation, and with sleep.

    Sleep keeps counters and flags in mjData, which no state row holds and no call can set: a step would depend on what was
    stepped before it. So no engine uses it; this is what that costs.
    """
    runs = {}
    for name, persistent, sleep in (("plain", False, False), ("persistent", True, False), ("persistent, sleep", True, True)):
        w = World(WORLDS[size])
        if sleep:
            w.model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        engine = NativeEngine(w)
        sims = Simulations(w, num_envs, settings.threads or engine.threads, persistent=persistent)
        start = jax.jit(jax.vmap(engine.init))(bench_layout(w, num_envs, 0))
        sims.write(np.asarray(start.parameters))
        sims.batch.state[:, : sims.row] = np.asarray(start.bits).view(np.float64)
        for _ in range(40):  # two seconds, in which what can sleep falls asleep
            sims.batch.step(nstep=w.substeps)
        runs[name] = functools.partial(_drive, sims, steps)
    seconds = take_turns(runs, settings.repetitions)
    return {name: float(np.median(seconds["plain"] / s)) for name, s in seconds.items()}


def _drive(sims: Simulations, steps: int) -> None:
    """Random base velocities, a new one each control step."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        sims.ctrl[:, :3] = rng.uniform(-0.5, 0.5, (len(sims.ctrl), 3))
        sims.batch.step(nstep=sims.world.substeps)


def slip(engine: NativeEngine) -> float | str:
    """How far a held cube moves in the hand within five seconds of driving about, mm; "dropped" where it fell."""
    w = engine.world
    layout = jax.tree.map(lambda x: x[0], bench_layout(w, 1, 0))
    away = layout.object_pos.at[0].set(jnp.asarray([w.body.reach, 0.0, 0.03]))
    low = w.body.lift_range[0]
    layout = layout.replace(
        object_pos=away, object_half=layout.object_half.at[0].set(0.03), object_yaw=layout.object_yaw.at[0].set(0.0),
        robot_q=jnp.asarray([0.0, 0.0, 0.0, low, 0.0, 0.0]),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    grip = np.minimum(1, np.arange(130) / 8) * w.body.finger_travel
    lift = np.interp(np.arange(130), [10, 28], [low, 0.1])
    drive = np.repeat(rng.uniform(-1, 1, (13, 3)) * [0.5, 0.5, 1.0], 10, axis=0) * (np.arange(130) >= 30)[:, None]
    controls = np.concatenate([drive, lift[:, None], grip[:, None], grip[:, None]], -1).astype(np.float32)
    step, state, seen = jax.jit(engine.step), engine.init(layout), []
    for k, ctrl in enumerate(controls):
        state = step(state, ctrl)
        if k >= 29:
            q = np.asarray(state.qpos)
            offset = q[6:9] - np.asarray(w.body.grip_position(state.qpos[:6]))
            turn = np.array([[np.cos(q[2]), np.sin(q[2]), 0], [-np.sin(q[2]), np.cos(q[2]), 0], [0, 0, 1]])
            seen.append(turn @ offset)
    moved = float(np.linalg.norm(seen[-1] - seen[0]))
    return "dropped" if moved > 0.1 else round(1000 * moved, 1)
