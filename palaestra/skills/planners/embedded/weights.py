"""The planner's weights on disk: both networks in one file of safetensors, with what they were made for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.policies.files import CheckpointError, load_tree, save_tree
from palaestra.sim.errors import PalaestraError
from palaestra.skills.library import SKILLS
from palaestra.skills.planners.embedded import encoding
from palaestra.skills.planners.embedded.networks import Actor, Reader
from palaestra.skills.planners.embedded.phrases import UNLISTED

SHIPPED = Path(__file__).parents[2] / "weights" / "planner.safetensors"
_FORMAT = "palaestra/planner/1"


@dataclass(frozen=True)
class Weights:
    """Both networks, ready to use."""

    reader: Any
    actor: Any
    skills: tuple[str, ...]  # that the actor can call, in the order of its logits


def _made_for(skills: tuple[str, ...]) -> dict[str, Any]:
    """What weights depend on beside the networks: the meaning of every number that goes in and comes out."""
    words = [*encoding.SENSES, *UNLISTED, *(f"{a}:{b}" for a, b in encoding.ATTRIBUTES)]
    return {"skills": list(skills), "words": words, "edges": list(encoding.EDGES), "types": list(encoding.TYPES)}


def save_planner(path: Path, reader: Any, actor: Any, more: dict[str, Any]) -> None:
    """Write both networks' weights, in half precision, with what they were made for and `more` about them."""
    half = jax.tree.map(lambda x: np.asarray(x, np.float16), {"reader": reader, "actor": actor})
    save_tree(path, half, _FORMAT, _made_for(shipped_skills()) | more)


def shipped_skills() -> tuple[str, ...]:
    """The names of the skills that come with the package, which are those that the actor learns."""
    return tuple(name for name, skill in SKILLS.items() if skill.file is None)


def load_planner(path: Path | None = None) -> Weights:
    """The weights of a file, or those that come with the package. Raises CheckpointError where they are damaged or for something else."""
    path = path or SHIPPED
    if not path.exists():
        raise PalaestraError(
            f"planner 'embedded': got no weights at {path}. Fix: palaestra train planner, and --weights its planner.safetensors"
        )
    skills = shipped_skills()
    like = jax.eval_shape(lambda: {"reader": _reader(), "actor": _actor(len(skills))})
    halves = jax.tree.map(lambda s: np.zeros(s.shape, np.float16), like)
    found, about = load_tree(path, halves, _FORMAT)
    for name, wanted in _made_for(skills).items():
        if about.get(name) != wanted:
            odd = sorted(set(map(str, about.get(name, []))) ^ set(wanted))[:4]
            raise CheckpointError(f"{path}: made for other {name} ({', '.join(odd) or 'in another order'}). Fix: palaestra train planner")
    full = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), found)
    return Weights(full["reader"], full["actor"], skills)


def _reader() -> Any:
    w, e, g = 4, 2, 2
    zero = jnp.zeros
    attributes, facts = zero((1, e, len(encoding.ATTRIBUTES)), bool), zero((1, e, e), jnp.uint8)
    inputs = zero((1, w), jnp.int16), zero((1, w), jnp.int16), attributes, zero((1, e, 2)), facts
    return Reader().init(jax.random.key(0), *inputs, zero((1, 4, g), jnp.int8), zero((1, 2, g, e), bool))


def _actor(skills: int) -> Any:
    return Actor(skills).init(jax.random.key(0), jnp.zeros((1, 6, 2), jnp.int8), jnp.zeros((1, 2, 2), jnp.uint16))
