"""The learned weights that come with the package, and the cards that say how they were measured."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from palaestra.policies.files import CheckpointError, load_policy
from palaestra.policies.networks import Network, Policy
from palaestra.sim.errors import PalaestraError
from palaestra.skills.library import SKILLS
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


def weights_file(skill: Skill) -> Path:
    """Where a skill's weights are shipped: in the package, or beside the file that it is from."""
    return skill.file.with_name(f"{skill.name}.safetensors") if skill.file else WEIGHTS / f"{skill.name}.safetensors"


def card_file(skill: Skill) -> Path:
    """Where its card is."""
    return skill.file.with_name(f"{skill.name}.json") if skill.file else CARDS / f"{skill.name}.json"


def cards() -> list[Path]:
    """All cards that there are, that of handovers among them."""
    own = {card_file(skill) for skill in SKILLS.values() if skill.file}
    return sorted({*CARDS.glob("*.json"), *(path for path in own if path.exists())})


def learned(skill: Skill, path: Path | None = None) -> LearnedSkill:
    """The skill with its shipped weights, or with those of a run's policy file.

    Raises CheckpointError where there are none, or where they are for something else.
    """
    path = path or weights_file(skill)
    if not path.exists():
        fix = f"palaestra train {skill.id}" + (f", then palaestra admit {skill.id} RUN" if skill.file else "")
        raise CheckpointError(f"{path}: no weights for skill {skill.name!r}. Fix: {fix}")
    network, policy = load_policy(path, name=f"skill/{skill.name}", observation_size=skill.observation_size, action_size=skill.action_size)
    return LearnedSkill(skill, network, policy)


class CardError(PalaestraError, ValueError):
    """A card that does not say what a card says."""


def card(skill: Skill) -> dict[str, Any]:
    """How the skill was trained and measured; empty where it never was."""
    path = card_file(skill)
    about = _read(path)
    if about and about.get("skill") != skill.name:
        raise _damaged(path, f"skill {about.get('skill')!r}", f"{skill.name!r}")
    if about:
        _check_rate(path, "success", about)
    contexts = about.get("context", {})
    if not isinstance(contexts, dict) or not all(isinstance(groups, dict) for groups in contexts.values()):
        raise _damaged(path, "other contexts", "groups by context")
    for what, groups in contexts.items():
        for name, group in groups.items():
            rate, _, _, n = group if isinstance(group, list) and len(group) == 4 else [None] * 4
            _check_rate(path, f"{what}, {name}", {"value": rate, "n": n})
    return about


def handover_card() -> dict[str, Any]:
    """How each skill does right after each other one: `pairs` and `rarer` by "first -> second"; empty where that was never measured."""
    path = CARDS / "handover.json"
    about = _read(path)
    if about and not all(isinstance(about.get(kind), dict) for kind in ("pairs", "rarer")):
        raise _damaged(path, f"{', '.join(about)}", "pairs and rarer")
    for pair, rate in [*about.get("pairs", {}).items(), *about.get("rarer", {}).items()]:
        if len(pair.split(" -> ")) != 2:
            raise _damaged(path, f"the pair {pair!r}", '"first -> second"')
        _check_rate(path, pair, rate)
    return about


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error), "JSON") from None
    if not isinstance(about, dict):
        raise _damaged(path, f"a {type(about).__name__}", "an object")
    return about


def _check_rate(path: Path, what: str, about: Any) -> None:
    """Refuse what is no rate of a number of starts."""
    value, n = (about.get("value"), about.get("n")) if isinstance(about, dict) else (None, None)
    fits = isinstance(value, int | float) and 0 <= value <= 1 and isinstance(n, int) and n > 0
    if not fits:
        raise _damaged(path, f"{what}: {value!r} of {n!r} starts", "a rate from 0 to 1 of one start or more")


def _damaged(path: Path, got: str, expected: str) -> CardError:
    return CardError(f"{path}: got {got}, expected {expected}. Fix: remove it, and measure again: palaestra admit {path.stem}")
