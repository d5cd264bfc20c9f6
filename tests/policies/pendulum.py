"""Gymnasium's Pendulum-v1 in JAX: the same dynamics, reward, start and time limit. Actions in [-1, 1] are torques of up to 2 N m."""

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.types import TimeStep, restart, transition, truncation

GRAVITY, DT, FASTEST, STRONGEST = 10.0, 0.05, 8.0, 2.0  # m/s², s, rad/s, N m; mass and length are 1


class PendulumState(struct.PyTreeNode, kw_only=True):
    angle: jax.Array  # [] rad, 0 upright
    speed: jax.Array  # [] rad/s
    step: jax.Array  # [] int32


class Pendulum:
    name = "pendulum"
    observation_size = 3
    action_size = 1
    horizon = 200

    def begin(self, key: jax.Array) -> tuple[PendulumState, TimeStep]:
        k_angle, k_speed = jax.random.split(key)
        angle = jax.random.uniform(k_angle, minval=-jnp.pi, maxval=jnp.pi)
        return self.at(angle, jax.random.uniform(k_speed, minval=-1.0, maxval=1.0))

    def at(self, angle: jax.Array, speed: jax.Array) -> tuple[PendulumState, TimeStep]:
        state = PendulumState(angle=angle, speed=speed, step=jnp.zeros((), jnp.int32))
        return state, restart(self._observe(state), {"success": jnp.asarray(False)})

    def step(self, state: PendulumState, action: jax.Array) -> tuple[PendulumState, TimeStep]:
        torque = STRONGEST * jnp.clip(action[0], -1.0, 1.0)
        off = (state.angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        reward = -(off**2 + 0.1 * state.speed**2 + 0.001 * torque**2)
        speed = jnp.clip(state.speed + (1.5 * GRAVITY * jnp.sin(state.angle) + 3.0 * torque) * DT, -FASTEST, FASTEST)
        state = PendulumState(angle=state.angle + speed * DT, speed=speed, step=state.step + 1)
        seen, metrics = self._observe(state), {"success": jnp.asarray(False)}
        cut = state.step >= self.horizon
        return state, jax.tree.map(lambda c, o: jnp.where(cut, c, o), truncation(seen, reward, metrics), transition(seen, reward, metrics))

    @staticmethod
    def _observe(state: PendulumState) -> jax.Array:
        return jnp.stack([jnp.cos(state.angle), jnp.sin(state.angle), state.speed])
