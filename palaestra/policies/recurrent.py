"""Recurrent PPO: a policy with a memory, for tasks in which something is hidden (RL², Duan et al. 2016).

The learner is that of `ppo`; what differs is here. An example is what one environment did in a rollout, whole and in order, so
minibatches are drawn over environments. The memory is carried from rollout to rollout, and blank only where an episode begins: where
an episode is made of trials (`palaestra.envs.trials`) it goes on from trial to trial, and so does the discounting. Gradients go back
to the beginning of a rollout, which should therefore be as long as a trial at least.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from palaestra.envs.env import Env
from palaestra.policies.networks import Outputs, RecurrentActorCritic, wiped
from palaestra.policies.ppo import PPO, Hyper


@dataclass(frozen=True)
class RecurrentPPO(PPO):
    """PPO's hyper-parameters, and the memory's."""

    name: ClassVar[str] = "recurrent-ppo"

    num_envs: int = 256
    num_steps: int = 64  # what is learned from a memory lies no further apart
    hidden: tuple[int, ...] = (64,)
    units: int = 64  # of the memory
    hyper: Hyper = Hyper(gamma=0.99, reward_scale=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_envs % self.minibatches:
            raise ValueError(f"minibatches: got {self.minibatches}, expected a divisor of num_envs = {self.num_envs}: sequences stay whole")

    def core(self, env: Env) -> "Sequences":
        return Sequences(RecurrentActorCritic(env.action_size, self.hidden, self.units))


@dataclass(frozen=True)
class Sequences:
    """What an environment did in a rollout is an example."""

    network: RecurrentActorCritic

    def examples(self, batch: dict[str, jax.Array], done: jax.Array, memory: Any) -> dict[str, Any]:
        by_environment = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), batch | {"done": done})
        return by_environment | {"memory": memory}

    def outputs(self, params: Any, part: dict[str, Any]) -> Outputs:
        return unroll(self.network, params, part["memory"], part["observation"], part["done"])


def unroll(network: RecurrentActorCritic, params: Any, memory: jax.Array, x: jax.Array, done: jax.Array) -> Outputs:
    """What a network says of sequences: mean [N, T, a], log deviation [a], value [N, T].

    Only the memory goes step by step; the rest is computed for all steps at once.

    Args:
        memory: [N, units] with which the sequences begin.
        x: [N, T, obs], normalised.
        done: [N, T] bool, after which steps an episode begins, with a blank memory.
    """
    seen = network.apply(params, x, method="encode")

    def one(memory: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        after: jax.Array = network.apply(params, memory, step[0], method="remember")  # type: ignore[assignment]
        return wiped(after, step[1]), after

    _, after = jax.lax.scan(one, memory, (jnp.swapaxes(seen, 0, 1), done.T))  # type: ignore[arg-type]
    outputs: Outputs = network.apply(params, seen, jnp.swapaxes(after, 0, 1), method="decide")  # type: ignore[assignment]
    return outputs
