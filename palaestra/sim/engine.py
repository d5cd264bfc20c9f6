"""What an engine is: pure functions over a frozen state. All of it works under jit, vmap and scan."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import Layout


class EngineError(PalaestraError):
    """An engine that cannot be had here, or cannot step this world."""


class PhysicsState(struct.PyTreeNode, kw_only=True):
    """The state of one simulation. `bits` is the truth; `qpos` and `qvel` are what is read from it, in float32."""

    bits: jax.Array  # [n] uint32: time, qpos, qvel, act and warm start, bit for bit, in the engine's own precision
    parameters: jax.Array  # [num_parameters] float32: what the world's `fields` are made of, constant during an episode
    qpos: jax.Array  # [nq] m, rad, world
    qvel: jax.Array  # [nv] m/s, rad/s
    outputs: dict[str, jax.Array]  # the fields of mjData that the world asks for, float32
    diverged: jax.Array  # [] bool: the last step was not finite; the state is the one before it
    overflow: jax.Array  # [] bool: the last step had more contacts than fit, so that some were lost


class Simulated(Protocol):
    """What an engine needs to know of a world. `World` is one; `ModelWorld` makes one of any model."""

    model: mujoco.MjModel
    substeps: int
    outputs: tuple[str, ...]
    num_parameters: int
    max_contacts: int | None  # contact points that fixed buffers must hold; None where that is not known

    def fields(self, parameters: Any) -> Mapping[str, Any]:
        """What differs between simulations, by the names of mjModel (and mjData's mocap_pos), from parameters [..., P]."""
        ...


class Engine(Protocol):
    """Steps a world. Implementations: `native` (mujoco.batch, any CPU), `mjx` (any XLA device), `warp` (NVIDIA GPUs)."""

    name: str
    world: Any  # a Simulated; a World where environments run on it

    def init(self, layout: Layout) -> PhysicsState:
        """The state at the start of an episode: everything at rest, where the layout says."""
        ...

    def at(self, qpos: jax.Array, qvel: jax.Array, parameters: jax.Array | None = None) -> PhysicsState:
        """The state with these positions [nq] and velocities [nv]; parameters [num_parameters], where the world has some."""
        ...

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """One control step under constant set points ctrl [nu]."""
        ...


def where(mask: jax.Array, new: PhysicsState, old: PhysicsState) -> PhysicsState:
    """Masked write: `new` where `mask` [B] holds, else `old`; leading axis B on every leaf."""
    return jax.tree.map(lambda n, o: jnp.where(mask.reshape(mask.shape + (1,) * (n.ndim - mask.ndim)), n, o), new, old)


def placed(world: Simulated, qpos: jax.Array, qvel: jax.Array, parameters: jax.Array | None, width: int, double: bool) -> PhysicsState:
    """A state with a row of `width` numbers: time, qpos, qvel, then zeros (activations and warm start)."""
    m = world.model
    qpos, qvel = jnp.asarray(qpos, jnp.float32), jnp.asarray(qvel, jnp.float32)
    for what, got, expected in (("qpos", qpos.shape, (m.nq,)), ("qvel", qvel.shape, (m.nv,))):
        if got != expected:
            raise EngineError(f"{what}: got shape {got}, expected {expected} of this world's model (one simulation: vmap outside)")
    if parameters is None:
        parameters = jnp.zeros(0, jnp.float32)
    if parameters.shape != (world.num_parameters,):
        raise EngineError(f"parameters: got shape {parameters.shape}, expected ({world.num_parameters},). Fix: init(layout) makes them")
    row = jnp.concatenate([jnp.zeros(1, jnp.float32), qpos, qvel, jnp.zeros(width - 1 - m.nq - m.nv, jnp.float32)])
    data = mujoco.MjData(m)
    return PhysicsState(
        bits=float64_bits(row) if double else jax.lax.bitcast_convert_type(row, jnp.uint32),
        parameters=parameters,
        qpos=qpos,
        qvel=qvel,
        outputs={name: jnp.zeros(getattr(data, name).shape, jnp.float32) for name in world.outputs},
        diverged=jnp.asarray(False),
        overflow=jnp.asarray(False),
    )


def dump_states(folder: Path, bad: np.ndarray, rows: np.ndarray, parameters: np.ndarray, ctrl: np.ndarray) -> None:
    """Keep the last states of the simulations that went bad [B] bool, as npz, for replay."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = np.flatnonzero(bad)
    np.savez(folder / f"diverged-{time.time_ns()}.npz", ids=ids, rows=rows[ids], parameters=parameters[ids], ctrl=ctrl[ids])


def float64_bits(x: jax.Array) -> jax.Array:
    """The float64 bit patterns of float32 values: [..., n] -> [..., 2 * n] uint32, low word first.

    Exact for zeros, normal and infinite values; subnormal ones become zero. Integer arithmetic, because JAX has no
    float64 unless it is switched on for the whole process.
    """
    word = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    sign, exponent, mantissa = word >> 31, (word >> 23) & 0xFF, word & 0x7FFFFF
    wide = jnp.where(exponent == 0xFF, jnp.uint32(0x7FF), exponent + jnp.uint32(1023 - 127))
    zero = exponent == 0
    high = (sign << 31) | jnp.where(zero, jnp.uint32(0), (wide << 20) | (mantissa >> 3))
    low = jnp.where(zero, jnp.uint32(0), mantissa << 29)
    return jnp.stack([low, high], -1).reshape(*x.shape[:-1], 2 * x.shape[-1])
