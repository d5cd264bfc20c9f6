"""What `palaestra eval` and `palaestra skills` print: success rates with intervals, and failures by reason."""

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.tasksets import task_set
from palaestra.envs.types import INSIDE, KINDS, entity_kinds
from palaestra.policies.evaluate import evaluate, evaluation_keys, wilson
from palaestra.policies.files import file_hash
from palaestra.policies.learner import LEARNERS
from palaestra.sim.engines import make_engine
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.files import write_atomically
from palaestra.sim.world import world
from palaestra.skills.evaluation import Options, measure_task_set
from palaestra.skills.handover import measure_handover
from palaestra.skills.library import SKILLS
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.recipes import full_id
from palaestra.skills.shipped import CARDS, WEIGHTS, card, learned
from palaestra.skills.suites import SUITES, measure_suite
from palaestra.skills.training import SkillEnv


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
) -> dict[str, Any]:
    """The result of `palaestra eval <name>`; `options` are those of task sets."""
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    if not 0 <= seed < 2**31:
        raise PalaestraError(f"seed: got {seed}, expected 0 to 2147483647")
    name = name if name in SUITES or name in ALL_SKILLS else full_id(name)
    if name.startswith("skill/") or name in ALL_SKILLS:
        if options not in (None, Options()):
            raise PalaestraError(f"--folder, --batch, --trials, --probes, --noise: got some for {name!r}, expected a task set with them")
        if name in ALL_SKILLS:
            if policy is not None:
                raise PalaestraError(f"--policy: got {policy} for {name!r}, expected a skill: all skills have weights of their own")
            return ALL_SKILLS[name](episodes, seed, engine)
        return measure_skill(name.removeprefix("skill/"), episodes, seed, policy, engine)
    for which in SUITES.get(name, (name,)):
        task_set(which).of(split)  # refused before any of them is measured
    if policy is not None:
        raise PalaestraError(f"--policy: got {policy} for the task set {name!r}, expected a skill: task sets are measured with planners")
    if name in SUITES:
        if log is not None:
            raise PalaestraError(f"--log: got {log} for the suite {name!r}, expected a task set: a suite leaves a table a set")
        return measure_suite(name, episodes, seed, split, choice, engine, options or Options())
    return measure_task_set(name, episodes, seed, split, choice, log, engine, options or Options())


def measure_skill(name: str, episodes: int, seed: int, policy: Path | None = None, engine: str = "native") -> dict[str, Any]:
    """Success of a skill over its whole precondition: no easy starts."""
    skill = SKILLS[name]
    weights = policy or WEIGHTS / f"{name}.safetensors"
    loaded = learned(skill, weights)
    env = SkillEnv(skill, engine=make_engine(engine, world(skill.train_spec)))
    clock = time.perf_counter()
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


def by_group(values: np.ndarray, success: np.ndarray, edges: list[float]) -> dict[str, Any]:
    """Success in bins of a context, for cards: {"low..high": [rate, low, high, n]}."""
    groups: dict[str, Any] = {}
    for low, high in itertools.pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.any():
            won, n = int(success[inside].sum()), int(inside.sum())
            groups[f"{low:g}..{high:g}"] = [*(round(x, 4) for x in (won / n, *wilson(won, n))), n]
    return groups


def admit(name: str, run: Path, episodes: int, seed: int) -> dict[str, Any]:
    """Measure a run's policy and, where it passes the skill's gate, ship it with its card; refused otherwise, and nothing changes."""
    plain = full_id(name).removeprefix("skill/")
    if plain not in SKILLS:
        raise UnknownNameError("skill", name, SKILLS)
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    if not (run / "config.json").exists():
        raise PalaestraError(f"{run}: got no config.json there, expected the folder of a training run")
    skill, weights = SKILLS[plain], run / "policy.safetensors"
    config = json.loads((run / "config.json").read_text())
    loaded, env = learned(skill, weights), SkillEnv(skill)
    result = evaluate(env, loaded.network, loaded.policy, episodes, seed=seed)
    summary = result.summary()
    low = summary["interval"][0]
    if low < skill.gate:
        raise PalaestraError(f"{weights}: success {summary['value']:.3f}, at least {low:.3f} with 95% confidence; the gate is {skill.gate}")
    lost = int(result.metrics["lost"].sum())
    about = {
        "skill": skill.name,
        "version": skill.version,
        **summary,
        "gate": skill.gate,
        "failures": {"lost": lost, "timeout": episodes - int(result.success.sum()) - lost},
        "context": _by_context(skill.name, env, result.success, evaluation_keys(seed, episodes)),
        "measured_with": f"palaestra eval skill/{skill.name} --episodes {episodes} --seed {seed}",
        "training": {
            "command": f"palaestra train {skill.name} --seed {config['seed']}",
            "steps": config["steps"],
            "easy": config["easy"],
            "minutes": round((weights.stat().st_mtime - (run / "config.json").stat().st_mtime) / 60, 1),
            **{name: config[name] for name in LEARNERS if name in config},
        },
        "weights": file_hash(weights),
    }
    write_atomically(WEIGHTS / f"{skill.name}.safetensors", weights.read_bytes())
    write_atomically(CARDS / f"{skill.name}.json", (json.dumps(about, indent=1) + "\n").encode())
    return {"name": f"admit skill/{skill.name}", **summary, "gate": skill.gate, "card": str(CARDS / f"{skill.name}.json")}


def _by_context(name: str, env: SkillEnv, success: np.ndarray, keys: jax.Array) -> dict[str, Any]:
    """Success by distance, size, shape, and where things stood at the start."""
    start, _ = jax.jit(jax.vmap(env.begin))(keys)
    n, spec = len(success), env.world.spec
    entity, lay = np.asarray(start.args[:, 0]), start.scene.layout
    seen = jax.jit(jax.vmap(env.view))(start)
    yes_no = [0.0, 1.0, 2.0]
    if name == "navigate":
        target = np.asarray(seen.geo.position)[np.arange(n), entity, :2]
        away = np.linalg.norm(target - np.asarray(seen.geo.robot), axis=-1)
        return {
            "distance_m": by_group(away, success, [0, 1, 2, 3, 4, 6]),
            "rooms": by_group(np.asarray(start.scene.room_used).sum(1), success, [1, 2, 3, 4, 5]),
            "holds_something": by_group(np.asarray(seen.geo.grasped).any(1).astype(float), success, yes_no),
        }
    if name == "push_open":
        away = np.linalg.norm(np.asarray(seen.geo.position)[np.arange(n), entity, :2] - np.asarray(seen.geo.robot), axis=-1)
        return {
            "distance_m": by_group(away, success, [0, 0.4, 0.6, 0.8, 1.3]),
            "holds_something": by_group(np.asarray(seen.geo.grasped).any(1).astype(float), success, yes_no),
            "ajar_rad": by_group(np.abs(np.asarray(lay.leaf_angle)).max(1, initial=0.0), success, [0, 0.01, 0.6, 1.3]),
        }
    if name == "push":
        target = np.asarray(start.args[:, 1])
        away = np.linalg.norm(
            np.diff(np.asarray(seen.geo.position)[np.arange(n)[:, None], np.stack([entity, target], 1), :2], axis=1), axis=-1
        )
        kind = np.append(-1, entity_kinds(spec))[target]
        others = (KINDS.index("plate"), KINDS.index("room"))
        return {
            "target_thing_plate_room": by_group(
                np.where(kind == others[0], 1.0, np.where(kind == others[1], 2.0, 0.0)), success, [0, 1, 2, 3]
            ),
            "distance_of_target_m": by_group(away[:, 0], success, [0, 1, 2, 3, 4, 8]),
            "rooms": by_group(np.asarray(start.scene.room_used).sum(1), success, [1, 2, 3, 4]),
            "lift_at_start_m": by_group(np.asarray(lay.robot_q)[:, 3], success, [-0.3, -0.15, 0.0, 0.15, 0.3]),
        }
    goal = np.asarray(start.args[:, 1]) if name == "place" else entity
    away = np.linalg.norm(np.asarray(seen.geo.position)[np.arange(n), goal, :2] - np.asarray(seen.geo.robot), axis=-1)
    context = {
        "distance_m": by_group(away, success, [0, 0.3, 0.45, 0.6, 1.2]),
        "lift_at_start_m": by_group(np.asarray(lay.robot_q)[:, 3], success, [-0.3, -0.15, 0.0, 0.15, 0.3]),
    }
    if name in ("open", "close"):
        context["something_lies_in_it"] = by_group(np.asarray(seen.table)[:, INSIDE].any((1, 2)).astype(float), success, yes_no)
    if name in ("open", "close", "press", "turn_on", "turn_off"):
        return context
    half = np.asarray(lay.object_half)[np.arange(n), entity - 1]
    context["object_half_size_m"] = by_group(half, success, [0.02, 0.03, 0.04])
    context["object_is_ball"] = by_group(spec.are("ball")[entity - 1].astype(float), success, yes_no)
    if name == "pick":
        support = np.asarray(seen.geo.support)[np.arange(n), entity - 1]
        context["on_a_table"] = by_group((support > 0.05).astype(float), success, yes_no)
    else:
        context["into_a_bin"] = by_group((goal >= 1 + spec.objects + spec.tables).astype(float), success, yes_no)
    return context
