"""The adapter for PyTorch: the numbers of the Gymnasium vector environment, in the memory of JAX's arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.envs.toy import Toy

pytest.importorskip("torch")

import torch

from palaestra.envs.autoreset import AutoReset
from palaestra.envs.gymnasium import make_vector
from palaestra.envs.torch import TorchVecEnv, to_jax, to_torch

B = 4


class Same(Toy):
    """All episodes are alike, so that environments with other streams of episodes can be compared."""

    def begin(self, key):
        del key
        return super().begin(jax.random.key(3))


def test_it_equals_the_gymnasium_vector_environment():
    env = Same()
    ours, theirs = TorchVecEnv(env, B), make_vector(env, B, autoreset_mode="same_step")
    np.testing.assert_array_equal(ours.reset().numpy(), theirs.reset(seed=0)[0])
    ended = 0
    for action in np.random.default_rng(0).uniform(-1.5, 1.5, (20, B, 3)).astype(np.float32).clip(-1, 1):
        seen, reward, terminated, truncated, info = ours.step(torch.from_numpy(action.copy()))
        expected = theirs.step(action)
        for mine, other in zip((seen, reward, terminated, truncated), expected[:4], strict=True):
            np.testing.assert_array_equal(mine.numpy(), other)
        np.testing.assert_array_equal(info["diverged"].numpy(), False)
        done = (terminated | truncated).numpy()
        ended += done.sum()
        for i in np.flatnonzero(done):
            np.testing.assert_array_equal(info["final_obs"][i].numpy(), expected[4]["final_obs"][i])
    assert ended >= 3 * B
    assert (reward.dtype, terminated.dtype, seen.dtype) == (torch.float32, torch.bool, torch.float32)


def test_episodes_are_those_of_the_auto_reset_and_come_again():
    env, batch = Toy(), AutoReset(Toy(), B)
    ours = TorchVecEnv(env, B, seed=7)
    state, first = batch.reset(jax.random.split(jax.random.key(7), B))
    action = torch.full((B, 3), 0.25)
    for _ in range(2):
        np.testing.assert_array_equal(ours.reset().numpy(), first.observation)
        now = state
        for _ in range(8):
            now, timestep = batch.step(now, jnp.full((B, 3), 0.25))
            seen, reward, *_ = ours.step(action)
            np.testing.assert_array_equal(seen.numpy(), now.observation)
            np.testing.assert_array_equal(reward.numpy(), timestep.reward)


def test_tensors_and_arrays_are_one_memory():
    x = jnp.arange(64, dtype=jnp.float32).reshape(8, 8)
    assert to_torch(x).data_ptr() == x.unsafe_buffer_pointer()
    aligned = next(t for t in (torch.zeros(n, 16) for n in range(4, 64)) if t.data_ptr() % 64 == 0)
    assert to_jax(aligned).unsafe_buffer_pointer() == aligned.data_ptr()
    odd = torch.zeros(65)[1:]
    np.testing.assert_array_equal(to_jax(odd), odd.numpy())


def test_what_a_step_returned_is_never_written_again():
    ours = TorchVecEnv(Toy(), B)
    before = ours.reset()
    kept = before.clone()
    after = ours.step(torch.ones(B, 3))[0]
    frozen = after.clone()
    after.fill_(100.0)  # the caller's to write, too
    assert torch.equal(before, kept)
    ours.step(torch.zeros(B, 3))
    assert torch.equal(ours.reset(), kept)
    assert torch.equal(ours.step(torch.ones(B, 3))[0], frozen)


def test_wrong_actions_are_refused():
    ours = TorchVecEnv(Toy(), B)
    with pytest.raises(RuntimeError, match="before the first reset"):
        ours.step(torch.ones(B, 3))
    ours.reset()
    for action, got in ((torch.ones(B, 2), r"torch.float32\[4, 2\]"), (torch.ones(B, 3, dtype=torch.float64), r"torch.float64\[4, 3\]")):
        with pytest.raises(ValueError, match=rf"action: got {got}, expected torch.float32\[4, 3\]"):
            ours.step(action)
