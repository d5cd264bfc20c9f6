"""The native engine: `mujoco.batch` behind one whole-batch callback, its state carried bit for bit.

The host keeps a `mujoco.batch.Batch` a batch size, only as a cache of what the functional state says: each call writes the
rows in, the parameters where they differ, steps, and copies the rows out. Equal inputs therefore give equal outputs,
whatever was stepped in between, and a rollout equals a plain loop of `mj_step` exactly.
"""

import os
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np

from palaestra.sim.engine import PhysicsState, float64_bits
from palaestra.sim.world import DENSITY, Layout, World

# A callback that waits for an array which the same thread should compute would hang (jax#25861).
jax.config.update("jax_cpu_enable_async_dispatch", False)

_S = mujoco.mjtState
_ROW = _S.mjSTATE_TIME | _S.mjSTATE_QPOS | _S.mjSTATE_QVEL | _S.mjSTATE_ACT | _S.mjSTATE_WARMSTART


def row_spec() -> int:
    """The mjtState bits of a state row."""
    return int(_ROW)


class Simulations:
    """The batch of one size. `parameters` is what its model fields hold now; NaN means never written."""

    def __init__(self, world: World, size: int, threads: int):
        self.world = world
        m = world.model
        self.batch = mujoco.batch.Batch(m, size, min(threads, size))
        self.batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self.row = mujoco.mj_stateSize(m, int(_ROW))
        self.qpos, self.qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self.ctrl, self.mocap_pos = self.batch.bind("ctrl"), self.batch.bind("mocap_pos")
        shapes = ["geom_size", "geom_rbound", "geom_aabb", "bvh_aabb", "geom_contype", "geom_conaffinity"]
        masses = ["body_mass", "body_inertia", "body_gravcomp"]
        self.field = {name: self.batch.expand(name) for name in shapes + masses}
        self.parameters = np.full((size, world.spec.fixtures * 6 + world.spec.objects * 2), np.nan, np.float32)

    def write(self, parameters: np.ndarray) -> None:
        """Bring the model fields of the simulations whose parameters changed up to date."""
        if np.array_equal(parameters, self.parameters):
            return
        ids = np.flatnonzero((parameters != self.parameters).any(-1))
        w, f, p = self.world, self.field, parameters[ids].astype(np.float64)
        spec, n = w.spec, len(ids)
        pos, half, size, used = np.split(p, np.cumsum([spec.fixtures * 3, spec.fixtures * 3, spec.objects]), axis=-1)
        rows = ids[:, None]
        self.mocap_pos[rows, w.fixture_mocap] = pos.reshape(n, spec.fixtures, 3)
        boxes = half.reshape(n, spec.fixtures, 3)[:, : len(w.box_geom)]
        cubes = np.repeat(size[:, :, None], 3, axis=-1)
        for geoms, halves in ((w.box_geom, boxes), (w.object_geom, cubes)):
            bvh = w.model.body_bvhadr[w.model.geom_bodyid[geoms]]
            f["geom_size"][rows, geoms] = halves
            f["geom_aabb"][rows, geoms, 3:] = f["bvh_aabb"][rows, bvh, 3:] = halves
            f["geom_rbound"][rows, geoms] = np.linalg.norm(halves, axis=-1)
        cube = np.arange(spec.objects) < spec.cubes
        balls = w.object_geom[~cube]
        f["geom_size"][rows, balls, 1:] = 0.0
        f["geom_rbound"][rows, balls] = size[:, ~cube]
        mass = DENSITY * np.where(cube, 8.0, 4.0 / 3.0 * np.pi) * size**3
        inertia = mass * size**2 * np.where(cube, 4.0 / 6.0, 0.4)
        f["body_mass"][rows, w.object_body] = mass
        f["body_inertia"][rows, w.object_body] = inertia[:, :, None]
        f["geom_contype"][rows, w.object_geom] = np.where(used > 0, 1, 0)
        f["geom_conaffinity"][rows, w.object_geom] = np.where(used > 0, 3, 0)
        f["body_gravcomp"][rows, w.object_body] = np.where(used > 0, 0.0, 1.0)
        self.batch.set_const(ids)
        self.parameters[ids] = parameters[ids]


class NativeEngine:
    """`mujoco.batch` under jax.jit, jax.vmap and jax.lax.scan. Deterministic at any number of threads.

    Args:
        world: what to step.
        threads: worker threads; 0 takes every logical CPU.
        dump: a folder for the last states of simulations that diverge, as npz; none is written without it.
    """

    name = "native"

    def __init__(self, world: World, threads: int = 0, dump: Path | None = None):
        self.world = world
        self.threads = threads or os.cpu_count() or 1
        self.dump = dump
        self._sims: dict[int, Simulations] = {}
        self._lock = threading.Lock()
        self._row = mujoco.mj_stateSize(world.model, int(_ROW))

    def simulations(self, size: int) -> Simulations:
        """The host's batch of this size, made on first use."""
        if size not in self._sims:
            self._sims[size] = Simulations(self.world, size, self.threads)
        return self._sims[size]

    def init(self, layout: Layout) -> PhysicsState:
        m = self.world.model
        qpos = self.world.initial_qpos(layout)
        qvel = jnp.zeros(m.nv, jnp.float32)
        rest = jnp.zeros(self._row - 1 - m.nq, jnp.float32)  # velocities, activations and warm start
        return PhysicsState(
            bits=float64_bits(jnp.concatenate([jnp.zeros(1, jnp.float32), qpos, rest])),
            parameters=layout.parameters(),
            qpos=qpos,
            qvel=qvel,
            diverged=jnp.asarray(False),
        )

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        m = self.world.model
        out = (
            jax.ShapeDtypeStruct((2 * self._row,), jnp.uint32),
            jax.ShapeDtypeStruct((m.nq,), jnp.float32),
            jax.ShapeDtypeStruct((m.nv,), jnp.float32),
            jax.ShapeDtypeStruct((), jnp.bool_),
        )
        bits, qpos, qvel, diverged = jax.pure_callback(
            self._host_step, out, state.bits, state.parameters, ctrl, vmap_method="broadcast_all"
        )
        return state.replace(bits=bits, qpos=qpos, qvel=qvel, diverged=diverged)

    def _host_step(self, bits: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> tuple[np.ndarray, ...]:
        """Any number of leading batch axes. Never calls jax: that would hang."""
        shape = bits.shape[:-1]
        rows = np.asarray(bits).reshape(-1, bits.shape[-1]).view(np.float64)
        size = len(rows)
        with self._lock:  # a Batch serves one thread at a time
            sims = self.simulations(size)
            sims.write(np.asarray(parameters).reshape(size, -1))
            sims.batch.state[:, : sims.row] = rows
            sims.ctrl[:] = np.asarray(ctrl).reshape(size, -1)
            sims.batch.step(nstep=self.world.spec.substeps)
            new = sims.batch.state[:, : sims.row].copy()
            diverged = sims.batch.warning[:, :, 1].any(-1) if sims.batch.warning.any() else np.zeros(size, bool)
            if diverged.any():
                diverged = self._isolate(sims, rows, new, np.asarray(ctrl).reshape(size, -1))
        nq, nv = self.world.model.nq, self.world.model.nv
        qpos, qvel = new[:, 1 : 1 + nq].astype(np.float32), new[:, 1 + nq : 1 + nq + nv].astype(np.float32)
        return (
            new.view(np.uint32).reshape(*shape, -1),
            qpos.reshape(*shape, nq),
            qvel.reshape(*shape, nv),
            diverged.reshape(shape),
        )

    def _isolate(self, sims: Simulations, old: np.ndarray, new: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        """Which simulations went bad [B] bool; each keeps its last good row, and is dumped for replay."""
        bad = np.zeros(len(old), bool)
        for kind in (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC):
            bad |= sims.batch.warning[:, kind, 1] > 0
        bad |= ~np.isfinite(new).all(-1)
        sims.batch.warning[:] = 0
        new[bad] = np.where(np.isfinite(old[bad]), old[bad], 0.0)
        if self.dump is not None and bad.any():
            self.dump.mkdir(parents=True, exist_ok=True)
            ids = np.flatnonzero(bad)
            np.savez(self.dump / f"diverged-{time.time_ns()}.npz", ids=ids, rows=old[ids], parameters=sims.parameters[ids], ctrl=ctrl[ids])
        sims.parameters[bad] = np.nan  # MuJoCo has reset all of them, fixtures included: write them again
        return bad
