"""`palaestra bench engine`: what JAX around `mujoco.batch` costs, and whether it changes a single bit."""

import functools
from dataclasses import MISSING, fields
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.sim.engine import Engine, PhysicsState
from palaestra.sim.engines import compiler_options
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import DENSITY, Layout, World, WorldSpec, world

_HIDDEN = 256


def bench_layout(w: World, count: int, seed: int) -> Layout:
    """`count` closed rooms [B] with everything in use: contacts from the first step, sizes that differ."""
    rng = np.random.default_rng(seed)
    spec = w.spec
    pos = np.tile(np.array([60.0, 60.0, -5.0]), (count, spec.fixtures, 1)) + np.arange(spec.fixtures)[:, None] * [2.0, 0, 0]
    half = np.full((count, spec.fixtures, 3), 0.1)
    for i, (x, y, hx, hy) in enumerate(((2, 0, 0.05, 2), (-2, 0, 0.05, 2), (0, 2, 2, 0.05), (0, -2, 2, 0.05))):
        pos[:, i], half[:, i] = (x, y, 0.25), (hx, hy, 0.25)
    for i in range(spec.receptacles):
        height = 0.0 if i >= spec.tables else 0.08
        pos[:, spec.walls + i] = (-1.5 + i % 4, 1.3 - 0.7 * (i // 4), height)
        half[:, spec.walls + i] = (0.15, 0.15, 0.08)
    size = rng.uniform(0.024, 0.035, (count, spec.objects))
    slot = np.arange(spec.objects)
    place = np.stack([np.tile(-1.2 + 0.6 * (slot % 5), (count, 1)), np.tile(-0.8 - 0.35 * (slot // 5), (count, 1)), size], -1)
    robot = np.zeros((count, w.body.num_joints))
    robot[:, 2] = rng.uniform(-3, 3, count)
    float32 = jnp.float32
    defaults = {f.name: f.default_factory() for f in fields(Layout) if f.default_factory is not MISSING}
    absent = {name: jnp.zeros((count, *x.shape), x.dtype) for name, x in defaults.items()}  # doors, drawers and the like
    return Layout(
        fixture_pos=jnp.asarray(pos, float32),
        fixture_half=jnp.asarray(half, float32),
        object_half=jnp.asarray(size, float32),
        object_density=jnp.full(size.shape, DENSITY),
        object_friction=jnp.ones(size.shape),
        object_pos=jnp.asarray(place, float32),
        object_yaw=jnp.asarray(rng.uniform(-3, 3, size.shape), float32),
        object_used=jnp.ones(size.shape, bool),
        robot_q=jnp.asarray(robot, float32),
        **absent,
    )


def bench(settings: Settings) -> dict[str, Any]:
    """Control steps/s of a jitted rollout with a 2x256 policy, of the bare batch on the same controls, and their ratio."""
    num_envs, steps = settings.num_envs or 512, settings.steps or 25
    w = world(WorldSpec())
    engine = NativeEngine(w, settings.threads)
    start = jax.jit(jax.vmap(engine.init))(bench_layout(w, num_envs, 0))
    weights = policy_weights(engine)
    jit = functools.partial(jax.jit, compiler_options=compiler_options())
    roll = jit(lambda state, weights: rollout(engine, state, weights, steps)[0])  # the set points are asked for once only
    controls = np.asarray(jit(lambda state, weights: rollout(engine, state, weights, steps)[1])(start, weights))
    end = jax.block_until_ready(roll(start, weights))
    bare = Bare(engine, start)
    bare.run(controls)
    exact = bool((bare.rows().view(np.uint32) == np.asarray(end.bits)).all())

    def alone() -> None:
        bare.reset(start)
        bare.run(controls)

    repetitions = 6 * settings.repetitions  # short turns, many of them: a machine's speed drifts by more than what is measured
    replay = jit(lambda state, controls: jax.lax.scan(lambda s, c: (jax.vmap(engine.step)(s, c), None), state, controls)[0])
    given = jnp.asarray(controls)
    runs = {"rollout": lambda: roll(start, weights), "rollout without policy": lambda: replay(start, given), "batch": alone}
    seconds = take_turns(runs, repetitions)
    ratios = seconds["batch"] / seconds["rollout"]
    return {
        "value": float(np.median(ratios)),
        "spread": spread(ratios),
        "ratio_of_fastest_turns": float(seconds["batch"].min() / seconds["rollout"].min()),
        "ratio_without_policy": float(np.median(seconds["batch"] / seconds["rollout without policy"])),
        "control_steps_per_second": rates(seconds, num_envs * steps),
        "equals_batch": exact,
        "equals_mj_step": plain_loop_equals(engine, start, controls, end, sims=min(num_envs, 4)),
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": repetitions,
        "substeps": w.substeps,
        "objects": w.spec.objects,
        "threads": engine.threads,
    }


def policy_weights(engine: Engine) -> list[jax.Array]:
    """Random weights of a policy with two hidden layers of 256."""
    m = engine.world.model
    sizes = (m.nq + m.nv, _HIDDEN, _HIDDEN, len(engine.world.body.action_names))
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(k, (i, o)) / i**0.5 for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)]


def rollout(engine: Engine, state: PhysicsState, weights: list[jax.Array], steps: int) -> tuple[PhysicsState, jax.Array]:
    """A scan of policy and physics; the final state and the set points [steps, B, nu]."""

    def one(carry: tuple[PhysicsState, jax.Array], _: None) -> tuple[tuple[PhysicsState, jax.Array], jax.Array]:
        state, ctrl = carry
        x = jnp.concatenate([state.qpos, state.qvel], -1)
        x = jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1]) @ weights[2]
        ctrl = jax.vmap(engine.world.control)(state.qpos, ctrl, x)
        state = jax.vmap(engine.step)(state, ctrl)
        return (state, ctrl), ctrl

    ctrl = jnp.zeros((state.qpos.shape[0], engine.world.model.nu))
    (state, _), controls = jax.lax.scan(one, (state, ctrl), length=steps)
    return state, controls


class Bare:
    """The same simulations without JAX: `mujoco.batch` alone, its model fields written as the engine writes them."""

    def __init__(self, engine: NativeEngine, start: PhysicsState):
        self.sims = engine.simulations(start.bits.shape[0])
        self.substeps = engine.world.substeps
        self.reset(start)

    def reset(self, start: PhysicsState) -> None:
        self.sims.write(np.asarray(start.parameters))
        self.sims.batch.state[:, : self.sims.row] = np.asarray(start.bits).view(np.float64)

    def run(self, controls: np.ndarray) -> None:
        for ctrl in controls:
            self.sims.ctrl[:] = ctrl
            self.sims.batch.step(nstep=self.substeps)

    def rows(self) -> np.ndarray:
        return self.sims.batch.state[:, : self.sims.row].copy()


def plain_loop_equals(engine: NativeEngine, start: PhysicsState, controls: np.ndarray, end: PhysicsState, sims: int) -> bool:
    """Whether the first `sims` final states equal those of a plain Python loop of `mj_step`, bit for bit."""
    batch = engine.simulations(start.bits.shape[0])
    batch.write(np.asarray(start.parameters))
    for i in range(sims):
        model, data = batch.batch.get_model(i), mujoco.MjData(engine.world.model)
        data.mocap_pos[:] = batch.field["mocap_pos"][i]
        row = np.asarray(start.bits[i]).view(np.float64)
        mujoco.mj_setState(model, data, row, row_spec())
        for ctrl in controls[:, i]:
            data.ctrl[:] = ctrl
            for _ in range(engine.world.substeps):
                mujoco.mj_step(model, data)
        got = np.empty_like(row)
        mujoco.mj_getState(model, data, got, row_spec())
        if not (got.view(np.uint32) == np.asarray(end.bits[i])).all():
            return False
    return True
