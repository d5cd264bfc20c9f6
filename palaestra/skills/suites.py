"""Suites: a base set and its perturbed ones, measured on the same tasks. `palaestra eval perturbed`.

Episode n is task n of every set, changed along the set's axis alone, so that successes are compared pair by pair. Each set leaves a
folder of its own in the suite's, which `palaestra watch` takes.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from palaestra.envs.perturbations import AXES
from palaestra.policies.evaluate import rate
from palaestra.policies.files import write_atomically
from palaestra.skills import table
from palaestra.skills.evaluation import Config, Options, measure_task_set
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.scores import sign_test

SUITES = {"perturbed": ("rearrange", *(f"perturbed-{axis}" for axis in AXES))}  # the base set first


def measure_suite(name: str, episodes: int, seed: int, split: str, choice: PlannerChoice, engine: str, options: Options) -> dict[str, Any]:
    """Success on the base set and on each perturbed one; `value` is the mean of these."""
    clock = time.perf_counter()
    folder = options.folder or Path(f"runs/eval/{name}-{split}-{choice.name}-seed{seed}-n{episodes}")
    base, *others = SUITES[name]
    won: dict[str, list[bool]] = {}
    for which in (base, *others):
        measure_task_set(which, episodes, seed, split, choice, None, engine, replace(options, folder=folder / which))
        rows = table.read(folder / which / "episodes.csv", Config.read(folder / which).rows)
        won[which] = [row.success for row in rows if row.planner == choice.name and row.trial == 0]
    sets = {which: paired(won[base], won[which]) for which in others}
    result = {
        "name": name,
        "value": sum(pair["value"] for pair in sets.values()) / len(sets),
        "n": episodes,
        "base": {"set": base, **rate(sum(won[base]), episodes)},
        "sets": sets,
        "planner": choice.name,
        "split": split,
        "seed": seed,
    }
    write_atomically(folder / "summary.json", (json.dumps(result, indent=1) + "\n").encode())
    return result | {"folder": str(folder), "seconds": time.perf_counter() - clock}


def paired(base: list[bool], perturbed: list[bool]) -> dict[str, Any]:
    """Success on perturbed tasks, and how many of their base tasks succeed where they do not (`lost`), and the reverse (`gained`).

    `p` is that of McNemar's exact test: how likely so uneven a split is where the perturbation makes no difference.
    """
    pairs = list(zip(base, perturbed, strict=True))
    lost, gained, n = pairs.count((True, False)), pairs.count((False, True)), len(pairs)
    return rate(sum(perturbed), n) | {"drop": (lost - gained) / n, "lost": lost, "gained": gained, "p": sign_test(lost, gained)}
