"""What a run needs of a learner, and the learners by name. A new one is a module with a configuration that can `make` it."""

from typing import Any, ClassVar, Protocol

import jax

from palaestra.envs.autoreset import Sampler
from palaestra.envs.env import Env
from palaestra.policies.imitation import Distillation
from palaestra.policies.networks import Network, Policy
from palaestra.policies.ppo import PPO
from palaestra.policies.recurrent import RecurrentPPO
from palaestra.policies.sac import SAC
from palaestra.sim.errors import UnknownNameError


class Learner(Protocol):
    """Trains one policy on one environment.

    Its state is a frozen pytree with everything that the next step needs, so that a checkpoint of it resumes to the same numbers:
    `update` [] int32 counts the steps made, and where environments are stepped, `batch` is their `BatchState`.
    """

    @property
    def network(self) -> Network: ...

    def init(self, key: jax.Array) -> Any:
        """A fresh run's state; key is consumed."""
        ...

    def train_step(self, state: Any) -> tuple[Any, dict[str, jax.Array]]:
        """The state after `batch_size` steps of the environment and what was learned from them; the old one may not be used again.

        The figures are scalars. `episodes` and those in `runs.RATES` are sums over the episodes that ended, the others means.
        """
        ...

    def policy(self, state: Any) -> Policy:
        """What is shipped, for `network`."""
        ...


class LearnerConfig(Protocol):
    """Hyper-parameters: a frozen dataclass, every field with a default, that makes its learner."""

    name: ClassVar[str]  # of the learner, on the command line and in config.json

    @property
    def num_envs(self) -> int: ...

    @property
    def batch_size(self) -> int:
        """Steps of the environment that one update takes."""
        ...

    def make(self, env: Env, total_updates: int, sampler: Sampler | None = None) -> Learner: ...


LEARNERS: dict[str, type[LearnerConfig]] = {config.name: config for config in (PPO, RecurrentPPO, SAC, Distillation)}


def learner_config(name: str) -> LearnerConfig:
    """The default configuration of a learner. Unknown names raise, with the valid ones."""
    if name not in LEARNERS:
        raise UnknownNameError("learner", name, LEARNERS)
    return LEARNERS[name]()
