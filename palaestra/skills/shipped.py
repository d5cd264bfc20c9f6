"""The learned weights that come with the package, and the cards that say how they were measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from palaestra.policies.files import CheckpointError, load_policy
from palaestra.policies.networks import Network, Policy
from palaestra.skills.record import Skill

_HERE = Path(__file__).parent
WEIGHTS, CARDS = _HERE / "weights", _HERE / "cards"


@dataclass(frozen=True)
class LearnedSkill:
    """A record and the policy that was learned for it."""

    skill: Skill
    network: Network
    policy: Policy

    def act(self, observation: jax.Array) -> jax.Array:
        """The deterministic action of the skill's own components [..., action_size]."""
        return self.policy.act(self.network, observation)

    def explore(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The deterministic action [..., action_size], and the standard deviation of the policy's own noise around it."""
        _, (action, log_std, _) = self.policy.recall(self.network, (), observation)
        return action, jnp.exp(log_std)


def learned(skill: Skill, path: Path | None = None) -> LearnedSkill:
    """The skill with its shipped weights, or with those of a run's policy file.

    Raises CheckpointError where there are none, or where they are for something else.
    """
    path = path or WEIGHTS / f"{skill.name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"{path}: no weights for skill {skill.name!r}. Fix: palaestra train {skill.name}")
    network, policy = load_policy(path, name=f"skill/{skill.name}", observation_size=skill.observation_size, action_size=skill.action_size)
    return LearnedSkill(skill, network, policy)


def card(skill: Skill) -> dict[str, Any]:
    """How the skill was trained and measured; empty where it never was."""
    path = CARDS / f"{skill.name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
