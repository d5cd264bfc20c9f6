"""`palaestra eval <skill> --cluster ray`: the episodes of an evaluation, a share a task. Every episode has its key by its number,
so that the result is that of one machine."""

from pathlib import Path

from palaestra.policies.cluster import run_tasks
from palaestra.policies.evaluate import Result, evaluate, joined
from palaestra.sim.errors import PalaestraError
from palaestra.skills.library import SKILLS
from palaestra.skills.recipes import environment, full_id
from palaestra.skills.shipped import learned

_SHARE = 500  # episodes a task, which is evaluation's own batch
_TRIES = 3  # beside the first


def evaluated(cluster: str, name: str, weights: Path, episodes: int, seed: int, engine: str, share: int = _SHARE) -> Result:
    """As `evaluate` of a skill's policy. All nodes have to see the file of weights, and that of a skill of one's own, which is its name."""
    tasks = {
        f"episodes {first} to {min(first + share, episodes) - 1}": (name, weights, first, min(share, episodes - first), seed, engine)
        for first in range(0, episodes, share)
    }
    done, failed = run_tasks(cluster, some, tasks, _TRIES)
    if failed:
        raise PalaestraError(f"eval on {cluster}: {'; '.join(f'{task}: {why}' for task, why in failed.items())}")
    return joined([done[task] for task in tasks])


def some(name: str, weights: Path, first: int, episodes: int, seed: int, engine: str) -> Result:
    """Episodes `first` on of an evaluation, in this process."""
    plain = full_id(name).removeprefix("skill/")
    loaded = learned(SKILLS[plain], weights)
    return evaluate(environment(f"skill/{plain}", engine=engine), loaded.network, loaded.policy, episodes, seed=seed, first=first)
