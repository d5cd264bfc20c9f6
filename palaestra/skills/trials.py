"""What a policy comes to on a task set, with frozen weights and no planner: over several trials of a task, success by trial, as it is and
with its memory wiped."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.envs.env import Levelled
from palaestra.envs.trials import Trials
from palaestra.policies.evaluate import Result, evaluate, rate
from palaestra.policies.files import file_hash, load_policy, policy_about
from palaestra.policies.networks import Network, Policy
from palaestra.skills.recipes import environment
from palaestra.skills.scores import sign_test


def measure_policy(name: str, episodes: int, seed: int, split: str, policy: Path, engine: str = "native") -> dict[str, Any]:
    """Success over `episodes` tasks of a set that training never saw, as the policy was trained: of a task once, or over several trials."""
    trials = policy_about(policy).get("trials", 1)
    clock, inner = time.perf_counter(), environment(name, split=split, engine=engine)
    env: Levelled[Any] = Trials(inner, trials) if trials > 1 else inner
    network, learned = load_policy(policy, name=env.name, observation_size=env.observation_size, action_size=env.action_size)
    result = evaluate(env, network, learned, episodes, seed=seed)
    about = _over_trials(inner, network, learned, result, trials, seed) if trials > 1 else {"name": name, **result.summary()}
    return {
        **about,
        "split": split,
        "diverged": int(result.metrics["diverged"].sum()),
        "weights": file_hash(policy),
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def _over_trials(inner: Levelled[Any], network: Network, learned: Policy, result: Result, trials: int, seed: int) -> dict[str, Any]:
    """By trial; `value` is that of the last one.

    `wiped`: the same tasks and weights, but at each trial's beginning the memory is blank, and so are the last action and reward that
    are observed. `p` is that of McNemar's exact test between the last trial and the first, and between the last trial and the wiped one:
    how likely so uneven a split is where there is no difference.
    """
    kept, episodes = result.metrics, len(result.success)
    wiped = evaluate(Trials(inner, trials, remembers=False), network, learned, episodes, seed=seed, wipe=True).metrics
    first, last = kept["trial_1"], kept[f"trial_{trials}"]
    return {
        "name": f"{inner.name} over trials",
        **_rate(last),
        "trials": _by_trial(kept, trials),
        "wiped": _by_trial(wiped, trials),
        "p": {"later": _p(first, last), "wiping": _p(wiped[f"trial_{trials}"], last)},
    }


def _rate(success: np.ndarray) -> dict[str, Any]:
    return rate(int(success.sum()), len(success))


def _by_trial(metrics: dict[str, np.ndarray], trials: int) -> dict[str, Any]:
    return {str(k + 1): _rate(metrics[f"trial_{k + 1}"]) for k in range(trials)}


def _p(before: np.ndarray, after: np.ndarray) -> float:
    return sign_test(int((before & ~after).sum()), int((after & ~before).sum()))
