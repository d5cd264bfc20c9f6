"""`palaestra export`: episodes of a skill's policy as a data set for offline learning."""

from pathlib import Path
from typing import Any

import numpy as np

from palaestra.envs.gymnasium import spec
from palaestra.envs.minari import export, record
from palaestra.policies.evaluate import wilson
from palaestra.policies.files import file_hash
from palaestra.sim.errors import PalaestraError
from palaestra.skills.library import skill
from palaestra.skills.recipes import environment, full_id
from palaestra.skills.shipped import learned, weights_file


def export_skill(name: str, episodes: int, seed: int, policy: Path | None, dataset: str, folder: Path | None) -> dict[str, Any]:
    """Record the deterministic policy, the shipped one or a run's, and write what it did."""
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    plain = full_id(name).removeprefix("skill/")
    weights = policy or weights_file(skill(plain))
    loaded, env = learned(skill(plain), weights), environment(f"skill/{plain}")
    found = record(env, loaded.act, episodes, seed)
    dataset = dataset or f"palaestra/{plain}/policy-v0"
    about = f"{env.name} of Palaestra by the weights {file_hash(weights)}, seed {seed}"
    export(env, found, dataset, folder=folder, spec=spec("Palaestra/Skill-v0", skill=plain), algorithm="PPO", description=about)
    won, steps = sum(bool(e["infos"]["success"][-1]) for e in found), sum(len(e["rewards"]) for e in found)
    return {
        "name": f"export {env.name}",
        "value": episodes,
        "dataset": dataset,
        "steps": steps,
        "success": won / episodes,
        "success_interval": list(wilson(won, episodes)),
        "mean_return": float(np.mean([e["rewards"].sum() for e in found])),
    }
