"""The native engine: `mujoco.batch` behind one whole-batch callback, its state carried bit for bit.

The host keeps a `mujoco.batch.Batch` a batch size, only as a cache of what the functional state says: each call writes the
rows in, the model fields where the parameters differ, steps, and copies the rows out. Equal inputs therefore give equal
outputs, whatever was stepped in between, and a rollout equals a plain loop of `mj_step` exactly.
"""

import os
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import mujoco.batch
import numpy as np
from jax.experimental.buffer_callback import buffer_callback

from palaestra.sim.engine import EngineError, PhysicsState, Simulated, dump_states, placed
from palaestra.sim.world import Layout

# A callback that waits for an array which the same thread should compute would hang (jax#25861).
jax.config.update("jax_cpu_enable_async_dispatch", False)

_S, _W = mujoco.mjtState, mujoco.mjtWarning
_ROW = _S.mjSTATE_TIME | _S.mjSTATE_QPOS | _S.mjSTATE_QVEL | _S.mjSTATE_ACT | _S.mjSTATE_WARMSTART
_NOT_FINITE = [_W.mjWARN_BADQPOS.value, _W.mjWARN_BADQVEL.value, _W.mjWARN_BADQACC.value]
_FULL = [_W.mjWARN_CONTACTFULL.value, _W.mjWARN_CNSTRFULL.value]


def row_spec() -> int:
    """The mjtState bits of a state row."""
    return int(_ROW)


class Simulations:
    """The batch of one size. `parameters` is what its model fields hold now; NaN means never written."""

    def __init__(self, world: Simulated, size: int, threads: int, *, persistent: bool = False):
        self.world = world
        m = world.model
        self.batch = mujoco.batch.Batch(m, size, min(threads, size), persistent)
        self.batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self.row = mujoco.mj_stateSize(m, int(_ROW))
        self.ctrl = self.batch.bind("ctrl")
        self.outputs = {name: self.batch.bind(name) for name in world.outputs}
        names = world.fields(np.ones((1, world.num_parameters)))
        self.field = {name: self.batch.bind(name) if name == "mocap_pos" else self.batch.expand(name) for name in names}
        self.parameters = np.full((size, world.num_parameters), np.nan, np.float32)

    def write(self, parameters: np.ndarray) -> None:
        """Bring the model fields of the simulations whose parameters changed up to date."""
        if np.array_equal(parameters.view(np.uint32), self.parameters.view(np.uint32)):  # bits: integers compare faster
            return
        ids = np.flatnonzero((parameters != self.parameters).any(-1))
        for name, value in self.world.fields(parameters[ids].astype(np.float64)).items():
            self.field[name][ids] = value
        self.parameters[ids] = parameters[ids]


class NativeEngine:
    """`mujoco.batch` under jax.jit, jax.vmap and jax.lax.scan. Deterministic at any number of threads.

    Args:
        world: what to step.
        threads: worker threads; 0 takes every logical CPU.
        dump: a folder for the last states of simulations that diverge, as npz; none is written without it.
    """

    name = "native"

    def __init__(self, world: Simulated, threads: int = 0, dump: Path | None = None):
        if threads < 0:
            raise EngineError(f"threads: got {threads}, expected 0 (all) or more")
        self.world: Any = world
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
        return self.at(self.world.initial_qpos(layout), jnp.zeros(self.world.model.nv), layout.parameters())

    def at(self, qpos: jax.Array, qvel: jax.Array, parameters: jax.Array | None = None) -> PhysicsState:
        return placed(self.world, qpos, qvel, parameters, self._row, double=True)

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        new = {
            "bits": state.bits,
            "qpos": state.qpos,
            "qvel": state.qvel,
            "outputs": state.outputs,
            "diverged": state.diverged,
            "overflow": state.overflow,
        }
        out = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), new)
        # On a CPU the callback works in place on XLA's own buffers: 0.15 ms a call with 512 environments instead of 0.9.
        if jax.default_backend() == "cpu":
            call = buffer_callback(self._in_place, out, vmap_method="broadcast_all", input_output_aliases={0: 0})
            return state.replace(**call(state.bits, state.parameters, ctrl))
        return state.replace(**jax.pure_callback(self._host_step, out, state.bits, state.parameters, ctrl, vmap_method="broadcast_all"))

    def _in_place(self, context: Any, out: dict[str, Any], bits: Any, parameters: Any, ctrl: Any) -> None:
        """Fill XLA's buffers. `bits` and out["bits"] are one buffer."""
        del context
        self._fill(jax.tree.map(np.asarray, out), np.asarray(bits), np.asarray(parameters), np.asarray(ctrl))

    def _host_step(self, bits: jax.Array, parameters: jax.Array, ctrl: jax.Array) -> dict[str, Any]:
        """The same as a function of host copies, for programs on another device than the CPU."""
        m, lead = self.world.model, bits.shape[:-1]
        out: dict[str, Any] = {
            "bits": np.array(bits),
            "qpos": np.empty((*lead, m.nq), np.float32),
            "qvel": np.empty((*lead, m.nv), np.float32),
            "outputs": {n: np.empty((*lead, *a.shape[1:]), np.float32) for n, a in self.simulations(int(np.prod(lead))).outputs.items()},
            "diverged": np.empty(lead, bool),
            "overflow": np.empty(lead, bool),
        }
        self._fill(out, out["bits"], np.asarray(parameters), np.asarray(ctrl))
        return out

    def _fill(self, out: dict[str, Any], bits: np.ndarray, parameters: np.ndarray, ctrl: np.ndarray) -> None:
        """Any number of leading batch axes. Never calls jax: that would hang."""
        m = self.world.model
        rows = bits.reshape(-1, bits.shape[-1]).view(np.float64)
        size = len(rows)
        parameters, ctrl = parameters.reshape(size, -1), ctrl.reshape(size, -1)
        with self._lock:  # a Batch serves one thread at a time
            sims = self.simulations(size)
            sims.write(parameters)
            new = sims.batch.state[:, : sims.row]
            new[:] = rows
            sims.ctrl[:] = ctrl
            sims.batch.step(nstep=self.world.substeps)
            bad, full = np.zeros(size, bool), np.zeros(size, bool)
            if np.count_nonzero(sims.batch.warning):  # quicker than any() where the caches are cold
                bad, full = self._isolate(sims, rows, new, ctrl)
            out["bits"].reshape(size, -1).view(np.float64)[:] = new
            out["qpos"].reshape(size, -1)[:] = new[:, 1 : 1 + m.nq]
            out["qvel"].reshape(size, -1)[:] = new[:, 1 + m.nq : 1 + m.nq + m.nv]
            for name, value in sims.outputs.items():
                out["outputs"][name].reshape(value.shape)[:] = np.where(bad[(...,) + (None,) * (value.ndim - 1)], 0, value)
        out["diverged"].reshape(size)[:] = bad
        out["overflow"].reshape(size)[:] = full

    def _isolate(self, sims: Simulations, old: np.ndarray, new: np.ndarray, ctrl: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which simulations went bad and which had no room for a contact, [B] bool each. What went bad keeps its last good row."""
        counts = sims.batch.warning[:, :, 1]
        bad = (counts[:, _NOT_FINITE] > 0).any(-1) | ~np.isfinite(new).all(-1)
        full = (counts[:, _FULL] > 0).any(-1)
        sims.batch.warning[:] = 0
        new[bad] = np.where(np.isfinite(old[bad]), old[bad], 0.0)
        if self.dump is not None and bad.any():
            dump_states(self.dump, bad, old, sims.parameters, ctrl)
        sims.parameters[bad] = np.nan  # MuJoCo has reset all of them, fixtures included: write them again
        return bad, full
