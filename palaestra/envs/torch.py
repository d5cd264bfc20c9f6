"""The batched environments for PyTorch: tensors in and out by DLPack, which on a CPU share their memory with JAX's arrays.

Nothing is copied, to a GPU and back neither, where both libraries use the same device. Needs the package torch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.autoreset import AutoReset, BatchState
from palaestra.envs.env import Env
from palaestra.sim.errors import MissingExtraError

try:
    import torch
except ImportError as error:
    raise MissingExtraError("palaestra.envs.torch", "torch", "interop") from error


class TorchVecEnv:
    """`num_envs` copies of an environment, stepped by one program. Those that end begin a new episode in the same step.

    Tensors that `step` returned are the caller's: no later step reads or writes them.

    Args:
        env: a functional environment.
        num_envs: B, the size of the batch.
        seed: of all episodes. Environment i's n-th episode depends on the seed, i and n alone.
    """

    def __init__(self, env: Env[Any], num_envs: int, seed: int = 0):
        self.env, self.num_envs, self.seed = env, num_envs, seed
        self.observation_size, self.action_size = env.observation_size, env.action_size
        batch = AutoReset(env, num_envs)
        self._reset = jax.jit(batch.reset)
        self._step = jax.jit(batch.step)
        self._state: BatchState | None = None

    def reset(self) -> torch.Tensor:
        """The first observations [B, obs]; the same after every reset."""
        self._state, timestep = self._reset(jax.random.split(jax.random.key(self.seed), self.num_envs))
        return to_torch(timestep.observation)

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """One control step (1/20 s) of all, by actions [B, a] float32, clipped to [-1, 1].

        Returns:
            Observations [B, obs], of the new episode where one has just begun; rewards [B]; terminated [B] and truncated [B]; and a
            dictionary of the metrics [B] and `final_obs` [B, obs], what the actions led to, an episode's last one included.
        """
        if self._state is None:
            raise RuntimeError("step() before the first reset(). Fix: call reset() once")
        if action.dtype != torch.float32 or tuple(action.shape) != (self.num_envs, self.action_size):
            raise ValueError(f"action: got {action.dtype}{list(action.shape)}, expected torch.float32[{self.num_envs}, {self.action_size}]")
        self._state, timestep = self._step(self._state, to_jax(action))
        info = {name: to_torch(value) for name, value in timestep.metrics.items()} | {"final_obs": to_torch(timestep.observation)}
        ends = to_torch(timestep.terminated), to_torch(timestep.truncated)
        return to_torch(self._state.observation), to_torch(timestep.reward), *ends, info


def to_torch(x: jax.Array) -> torch.Tensor:
    """The same memory as a tensor."""
    return torch.from_dlpack(x.block_until_ready())


def to_jax(x: torch.Tensor) -> jax.Array:
    """The same memory as an array, where it is aligned as XLA's is; a copy elsewhere."""
    plain = x.detach().contiguous()
    return jnp.from_dlpack(plain) if plain.data_ptr() % 64 == 0 else jnp.asarray(np.asarray(plain.cpu()))
