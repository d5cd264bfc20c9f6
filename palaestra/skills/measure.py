"""What `palaestra eval` and `palaestra skills` print: success rates with intervals, and failures by reason."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palaestra.envs.tasksets import task_set
from palaestra.policies.evaluate import evaluate
from palaestra.policies.files import file_hash
from palaestra.sim.engines import make_engine
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import world
from palaestra.skills import generalist
from palaestra.skills.clustered import evaluated
from palaestra.skills.evaluation import Options, measure_task_set
from palaestra.skills.handover import measure_handover
from palaestra.skills.library import SKILLS
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.recipes import full_id
from palaestra.skills.shipped import card, learned, weights_file
from palaestra.skills.suites import SUITES, measure_suite
from palaestra.skills.training import SkillEnv
from palaestra.skills.trials import measure_policy


def measure(
    name: str,
    episodes: int,
    seed: int,
    split: str,
    choice: PlannerChoice,
    policy: Path | None,
    log: Path | None,
    engine: str = "native",
    options: Options | None = None,
    cluster: str = "",
) -> dict[str, Any]:
    """The result of `palaestra eval <name>`; `options` are those of task sets, `cluster` is for skills."""
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    if not 0 <= seed < 2**31:
        raise PalaestraError(f"seed: got {seed}, expected 0 to 2147483647")
    name = name if name in SUITES or name in ALL_SKILLS else full_id(name)
    if cluster and not name.startswith("skill/"):
        raise PalaestraError(f"--cluster: got {cluster} for {name!r}, expected a skill")
    if name.startswith("skill/") or name in ALL_SKILLS:
        if options not in (None, Options()):
            given = "--folder, --batch, --trials, --probes, --noise, --latency, --permissions"
            raise PalaestraError(f"{given}: got some for {name!r}, expected a task set with them")
        if name in ALL_SKILLS:
            if policy is not None:
                raise PalaestraError(f"--policy: got {policy} for {name!r}, expected a skill: all skills have weights of their own")
            return ALL_SKILLS[name](episodes, seed, engine)
        return measure_skill(name.removeprefix("skill/"), episodes, seed, policy, engine, cluster)
    if name == generalist.NAME:
        if policy is None:
            raise PalaestraError("generalist: got no --policy, expected a run's policy.safetensors. Fix: palaestra train generalist")
        return generalist.measure_generalist(episodes, seed, policy, engine)
    for which in SUITES.get(name, (name,)):
        task_set(which).of(split)  # refused before any of them is measured
    if policy is not None and name in SUITES:
        raise PalaestraError(f"--policy: got {policy} for the suite {name!r}, expected a skill or a task set: suites take planners")
    if policy is not None:
        return measure_policy(name, episodes, seed, split, policy, engine)
    if name in SUITES:
        if log is not None:
            raise PalaestraError(f"--log: got {log} for the suite {name!r}, expected a task set: a suite leaves a table a set")
        return measure_suite(name, episodes, seed, split, choice, engine, options or Options())
    return measure_task_set(name, episodes, seed, split, choice, log, engine, options or Options())


def measure_skill(
    name: str, episodes: int, seed: int, policy: Path | None = None, engine: str = "native", cluster: str = ""
) -> dict[str, Any]:
    """Success of a skill over its whole precondition: no easy starts."""
    skill = SKILLS[name]
    weights = policy or weights_file(skill)
    loaded = learned(skill, weights)
    env = SkillEnv(skill, engine=make_engine(engine, world(skill.train_spec)))
    clock = time.perf_counter()
    if cluster:
        result = evaluated(cluster, skill.id, weights, episodes, seed, engine)
    else:
        result = evaluate(env, loaded.network, loaded.policy, episodes, seed=seed)
    lost, diverged, overflow = (int(result.metrics[m].sum()) for m in ("lost", "diverged", "overflow"))  # overflow ends as diverged too
    failed = episodes - int(result.success.sum())
    return {
        "name": f"skill/{name}",
        **result.summary(),
        "failures": {"lost": lost, "timeout": failed - lost - diverged, "diverged": diverged - overflow, "overflow": overflow},
        "engine": env.engine.name,
        "weights": file_hash(weights),
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def measure_library(episodes: int, seed: int, engine: str = "native") -> dict[str, Any]:
    """Success of every skill over its whole precondition. `value` is the least lower end of the intervals; `n` and `interval` are those
    of that skill."""
    clock, found = time.perf_counter(), {}
    for name in SKILLS:
        one = measure_skill(name, episodes, seed, engine=engine)
        found[name] = {key: one[key] for key in ("value", "n", "interval", "failures", "weights", "seconds")}
    worst = min(found, key=lambda name: found[name]["interval"][0])
    return {
        "name": "skills",
        "value": found[worst]["interval"][0],
        "n": episodes,
        "interval": found[worst]["interval"],
        "worst": worst,
        "skills": found,
        "engine": engine,
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


# What is measured of all skills at once, by the name that `palaestra eval` takes.
ALL_SKILLS: dict[str, Callable[[int, int, str], dict[str, Any]]] = {"skills": measure_library, "handover": measure_handover}


def library_table() -> dict[str, Any]:
    """The library with the figures of its cards."""
    rows: dict[str, Any] = {}
    for name, skill in SKILLS.items():
        about = card(skill)
        rate = (
            f"{about['value']:.3f} [{about['interval'][0]:.3f}, {about['interval'][1]:.3f}], n = {about['n']}" if about else "not measured"
        )
        args = ", ".join(f"{p.name}: {' or '.join(p.kinds)}" for p in skill.params)
        rows[f"{name}({args})"] = f"{rate}. {skill.doc}"
    return {"name": "skills", "value": len(SKILLS), "skills": rows}
