"""What a policy comes to over several trials of a task, with frozen weights: success by trial, as it is and with its memory wiped."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.envs.trials import Trials
from palaestra.policies.evaluate import evaluate, rate
from palaestra.policies.files import file_hash, load_policy, policy_about
from palaestra.sim.errors import PalaestraError
from palaestra.skills.recipes import environment
from palaestra.skills.scores import sign_test


def measure_trials(name: str, episodes: int, seed: int, split: str, policy: Path, engine: str = "native") -> dict[str, Any]:
    """Success of each trial over `episodes` tasks of a set that training never saw; `value` is that of the last trial.

    `wiped`: the same tasks and weights, but at each trial's beginning the memory is blank, and so are the last action and reward that
    are observed. `p` is that of McNemar's exact test between the last trial and the first, and between the last trial and the wiped one:
    how likely so uneven a split is where there is no difference.
    """
    trials = policy_about(policy).get("trials", 1)
    if trials < 2:
        raise PalaestraError(
            f"--policy: got {policy} for the task set {name!r}, trained without trials; expected one that was trained with several: "
            f"by a single trial task sets are measured with planners. Fix: palaestra train {name} --learner recurrent-ppo --trials 3"
        )
    clock, inner = time.perf_counter(), environment(name, split=split, engine=engine)
    env = Trials(inner, trials)
    network, learned = load_policy(policy, name=env.name, observation_size=env.observation_size, action_size=env.action_size)
    kept = evaluate(env, network, learned, episodes, seed=seed).metrics
    wiped = evaluate(Trials(inner, trials, remembers=False), network, learned, episodes, seed=seed, wipe=True).metrics
    first, last = kept["trial_1"], kept[f"trial_{trials}"]
    return {
        "name": f"{name} over trials",
        **_rate(last),
        "trials": _by_trial(kept, trials),
        "wiped": _by_trial(wiped, trials),
        "p": {"later": _p(first, last), "wiping": _p(wiped[f"trial_{trials}"], last)},
        "split": split,
        "diverged": int(kept["diverged"].sum()),
        "weights": file_hash(policy),
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def _rate(success: np.ndarray) -> dict[str, Any]:
    return rate(int(success.sum()), len(success))


def _by_trial(metrics: dict[str, np.ndarray], trials: int) -> dict[str, Any]:
    return {str(k + 1): _rate(metrics[f"trial_{k + 1}"]) for k in range(trials)}


def _p(before: np.ndarray, after: np.ndarray) -> float:
    return sign_test(int((before & ~after).sum()), int((after & ~before).sum()))
