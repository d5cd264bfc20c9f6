"""What `palaestra eval` and `palaestra skills` print: success rates with intervals, and failures by reason."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from palaestra.envs.tasksets import SPLITS, TaskSetEnv
from palaestra.policies.evaluate import evaluate, evaluation_keys, wilson
from palaestra.policies.files import file_hash
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.executor import Executor, outcomes
from palaestra.skills.library import SKILLS
from palaestra.skills.planners import planner
from palaestra.skills.recipes import full_id
from palaestra.skills.shipped import WEIGHTS, card, learned
from palaestra.skills.training import SkillEnv

if TYPE_CHECKING:
    from palaestra.__main__ import PlannerOptions

_AT_ONCE = 200  # episodes of a task set side by side


def measure(
    name: str, episodes: int, seed: int, split: str, options: "PlannerOptions", policy: Path | None, log: Path | None
) -> dict[str, Any]:
    """The result of `palaestra eval <name>`."""
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    name = full_id(name)
    if name.startswith("skill/"):
        return measure_skill(name.removeprefix("skill/"), episodes, seed, policy)
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    return measure_task_set(name, episodes, seed, split, options, log)


def measure_skill(name: str, episodes: int, seed: int, policy: Path | None = None) -> dict[str, Any]:
    """Success of a skill over its whole precondition: no easy starts."""
    skill = SKILLS[name]
    weights = policy or WEIGHTS / f"{name}.safetensors"
    loaded = learned(skill, weights)
    env = SkillEnv(skill)
    clock = time.perf_counter()
    result = evaluate(env, loaded.network, loaded.policy, episodes, seed=seed)
    lost, diverged = int(result.metrics["lost"].sum()), int(result.metrics["diverged"].sum())
    failed = episodes - int(result.success.sum())
    return {
        "name": f"skill/{name}",
        **result.summary(),
        "failures": {"lost": lost, "timeout": failed - lost - diverged, "diverged": diverged},
        "weights": file_hash(weights),
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def measure_task_set(name: str, episodes: int, seed: int, split: str, options: "PlannerOptions", log: Path | None) -> dict[str, Any]:
    """Success of a planner with the learned skills, on houses of a split; failures counted by reason."""
    env = TaskSetEnv(name, split)
    executor = Executor(env, {n: learned(s) for n, s in SKILLS.items()}, planner(options.name, **options.options), max_steps=2 * env.horizon)
    keys = jax.vmap(lambda k: jax.random.fold_in(k, SPLITS.index(split)))(evaluation_keys(seed, episodes))
    tasks = jax.jit(jax.vmap(env.sample_task))(keys)
    clock, done = time.perf_counter(), []
    for at in range(0, episodes, _AT_ONCE):
        done += executor.run(jax.tree.map(lambda x: x[at : at + _AT_ONCE], tasks))  # noqa: B023
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(json.dumps(e.report()) + "\n" for e in done))
    won = sum(e.success for e in done)
    by_goals: dict[str, str] = {}
    for count in sorted({len(e.goal) for e in done}):
        part = [e.success for e in done if len(e.goal) == count]
        by_goals[str(count)] = f"{sum(part)} of {len(part)}"
    calls = [c for e in done for c in e.calls]
    return {
        "name": name,
        "value": won / episodes,
        "n": episodes,
        "interval": list(wilson(won, episodes)),
        "planner": options.name,
        "split": split,
        "outcomes": outcomes(done),
        "by_goals": by_goals,
        "calls": {
            skill: f"{sum(c.verdict == 'succeeded' for c in calls if c.skill == skill)} of {sum(c.skill == skill for c in calls)}"
            for skill in SKILLS
        },
        "failed_calls": _count([f"{c.skill}: {c.verdict}" for c in calls if c.verdict != "succeeded"]),
        "mean_plans": float(np.mean([len(e.plans) for e in done])),
        "median_steps": float(np.median([e.step for e in done if e.success])) if won else None,
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def _count(words: list[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words), key=lambda w: -words.count(w))}


def library_table() -> dict[str, Any]:
    """The library with the figures of its cards."""
    rows: dict[str, Any] = {}
    for name, skill in SKILLS.items():
        about = card(skill)
        rate = f"{about['value']:.3f} [{about['interval'][0]:.3f}, {about['interval'][1]:.3f}], n = {about['n']}" if about else "not measured"
        args = ", ".join(f"{p.name}: {' or '.join(p.kinds)}" for p in skill.params)
        rows[f"{name}({args})"] = f"{rate}. {skill.doc}"
    return {"name": "skills", "value": len(SKILLS), "skills": rows}


def by_group(values: np.ndarray, success: np.ndarray, edges: list[float]) -> dict[str, Any]:
    """Success in bins of a context, for cards: {"low..high": [rate, low, high, n]}."""
    groups: dict[str, Any] = {}
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        inside = (values >= low) & (values < high)
        if inside.any():
            won, n = int(success[inside].sum()), int(inside.sum())
            groups[f"{low:g}..{high:g}"] = [won / n, *wilson(won, n), n]
    return groups


def make_card(name: str, episodes: int, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """The card of a skill: how it was trained, and how it was measured, overall and by context."""
    skill, env = SKILLS[name], SkillEnv(SKILLS[name])
    loaded = learned(skill)
    result = evaluate(env, loaded.network, loaded.policy, episodes, seed=seed)
    start, _ = jax.jit(jax.vmap(env.begin))(evaluation_keys(seed, episodes))
    entity = np.asarray(start.args[:, 0])
    lay = start.scene.layout
    views = jax.jit(jax.vmap(env.view))(start)
    away = np.linalg.norm(np.asarray(views.geo.position)[np.arange(episodes), entity, :2] - np.asarray(views.geo.robot), axis=-1)
    context = {"distance_m": by_group(away, result.success, [0, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0])}
    if name != "navigate":
        half = np.asarray(lay.object_half)[np.arange(episodes), entity - 1]
        context["object_half_size_m"] = by_group(half, result.success, [0.02, 0.03, 0.04])
        context["object_is_ball"] = by_group((entity - 1 >= env.world.spec.cubes).astype(float), result.success, [0, 1, 2])
        context["lift_at_start_m"] = by_group(np.asarray(lay.robot_q)[:, 3], result.success, [-0.3, -0.15, 0.0, 0.15, 0.3])
    else:
        context["rooms"] = by_group(np.asarray(start.scene.room_used).sum(1), result.success, [1, 2, 3, 4, 5])
        context["holds_something"] = by_group(np.asarray(views.geo.grasped).any(1).astype(float), result.success, [0, 1, 2])
    if name == "pick":
        support = np.asarray(views.geo.support)[np.arange(episodes), entity - 1]
        context["on_a_table"] = by_group((support > 0.05).astype(float), result.success, [0, 1, 2])
    if name == "place":
        to_bin = np.asarray(start.args[:, 1]) >= 1 + env.world.spec.objects + env.world.spec.tables
        context["into_a_bin"] = by_group(to_bin.astype(float), result.success, [0, 1, 2])
    lost = int(result.metrics["lost"].sum())
    return {
        "skill": name,
        "version": skill.version,
        **result.summary(),
        "failures": {"lost": lost, "timeout": episodes - int(result.success.sum()) - lost},
        "context": context,
        "measured_with": f"palaestra eval skill/{name} --episodes {episodes} --seed {seed}",
        "training": training,
        "weights": file_hash(WEIGHTS / f"{name}.safetensors"),
    }


