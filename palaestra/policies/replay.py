"""Experience replay: the last steps that were made, as arrays of a fixed size on the device."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


class Experience(struct.PyTreeNode, kw_only=True):
    """Steps [n, ...]."""

    observation: jax.Array  # as the environment gave it
    action: jax.Array
    reward: jax.Array  # as the environment gave it
    next_observation: jax.Array  # what the action led to, an episode's last one included
    terminated: jax.Array
    learn: jax.Array | None  # bool: of an episode that the policy may learn from; None where it may from all


class ReplayBuffer(struct.PyTreeNode, kw_only=True):
    """A ring of `size` steps. It is part of the learner's state, and so of checkpoints: a run goes on with what it had seen."""

    steps: Experience
    position: jax.Array  # [] int32, where the next step goes
    filled: jax.Array  # [] int32, steps held

    @staticmethod
    def empty(size: int, step: Any) -> "ReplayBuffer":
        """Room for steps like this one, which may be a shape alone."""
        zero = jnp.zeros((), jnp.int32)
        steps = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), step)
        return ReplayBuffer(steps=steps, position=zero, filled=jnp.array(zero))

    @property
    def size(self) -> int:
        return len(self.steps.reward)

    def add(self, steps: Experience) -> "ReplayBuffer":
        """With these steps [n, ...], n no larger than the buffer, in the place of the oldest."""
        count = len(steps.reward)
        at = (self.position + jnp.arange(count)) % self.size
        return ReplayBuffer(
            steps=jax.tree.map(lambda old, new: old.at[at].set(new), self.steps, steps),
            position=(self.position + count) % self.size,
            filled=jnp.minimum(self.filled + count, self.size),
        )

    def sample(self, key: jax.Array, count: int) -> Experience:
        """Steps [count, ...], each drawn from all that are held; key is consumed."""
        at = jax.random.randint(key, (count,), 0, jnp.maximum(self.filled, 1))
        drawn: Experience = jax.tree.map(lambda x: x[at], self.steps)
        return drawn
