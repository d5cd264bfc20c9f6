"""What an engine is: three pure functions over a frozen state. All of it works under jit, vmap and scan."""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.sim.world import Layout, World


class PhysicsState(struct.PyTreeNode, kw_only=True):
    """The state of one simulation. `bits` is the truth; `qpos` and `qvel` are what is read from it, in float32."""

    bits: jax.Array  # [2 * nrow] uint32: time, qpos, qvel, act and warm start in float64, bit for bit
    parameters: jax.Array  # [F*6 + O*2] float32: Layout.parameters(), constant during an episode
    qpos: jax.Array  # [nq] m, rad, world
    qvel: jax.Array  # [nv] m/s, rad/s
    diverged: jax.Array  # [] bool: the last step was not finite; the state is the one before it


class Engine(Protocol):
    """Steps a world. Implementations: `native` (mujoco.batch, any CPU)."""

    name: str
    world: World

    def init(self, layout: Layout) -> PhysicsState:
        """The state at the start of an episode: everything at rest, where the layout says."""
        ...

    def step(self, state: PhysicsState, ctrl: jax.Array) -> PhysicsState:
        """One control step under constant set points ctrl [nu]."""
        ...


def where(mask: jax.Array, new: PhysicsState, old: PhysicsState) -> PhysicsState:
    """Masked write: `new` where `mask` [B] holds, else `old`; leading axis B on every leaf."""
    return jax.tree.map(lambda n, o: jnp.where(mask.reshape(mask.shape + (1,) * (n.ndim - mask.ndim)), n, o), new, old)


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
