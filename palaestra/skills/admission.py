"""Entering the library: a policy is measured against its skill's gate, and shipped with a card that says how it did."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.types import INSIDE, KINDS, entity_kinds
from palaestra.policies.curves import curve
from palaestra.policies.evaluate import evaluate, evaluation_keys, wilson
from palaestra.policies.files import file_hash
from palaestra.policies.learner import LEARNERS
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.files import write_atomically
from palaestra.skills.handover import measure_handover
from palaestra.skills.library import SKILLS
from palaestra.skills.recipes import full_id
from palaestra.skills.record import Skill
from palaestra.skills.shipped import CARDS, WEIGHTS, card, learned
from palaestra.skills.training import SkillEnv

_POINTS = 40  # of a learning curve, at most


def admit(name: str, run: Path | None, episodes: int, seed: int) -> dict[str, Any]:
    """Measure a run's policy and, where it passes the skill's gate, ship it with its card; refused otherwise, and nothing changes.

    Without a run, the shipped policy is measured again, and its card says what it was trained by as before. `handover` is the card of how
    each skill does after each other one.
    """
    if episodes < 1:
        raise PalaestraError(f"episodes: got {episodes}, expected 1 or more")
    if name == "handover":
        return _admit_handover(run, episodes, seed)
    plain = full_id(name).removeprefix("skill/")
    if plain not in SKILLS:
        raise UnknownNameError("skill", name, [*SKILLS, "handover"])
    skill = SKILLS[plain]
    weights = run / "policy.safetensors" if run else WEIGHTS / f"{plain}.safetensors"
    training = _training(skill, run) if run else card(skill).get("training", {})
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
        "context": by_context(skill.name, env, result.success, evaluation_keys(seed, episodes)),
        "measured_with": f"palaestra eval skill/{skill.name} --episodes {episodes} --seed {seed}",
        "training": training,
        "weights": file_hash(weights),
    }
    if run:
        write_atomically(WEIGHTS / f"{skill.name}.safetensors", weights.read_bytes())
    path = CARDS / f"{skill.name}.json"
    write_atomically(path, (json.dumps(about, indent=1) + "\n").encode())
    return {"name": f"admit skill/{skill.name}", **summary, "gate": skill.gate, "card": str(path)}


def _admit_handover(run: Path | None, episodes: int, seed: int) -> dict[str, Any]:
    if run is not None:
        raise PalaestraError(f"handover: got the run {run}, expected none: it is measured of the skills that are shipped")
    about = measure_handover(episodes, seed) | {"weights": {name: file_hash(WEIGHTS / f"{name}.safetensors") for name in SKILLS}}
    path = CARDS / "handover.json"
    write_atomically(path, (json.dumps(about, indent=1) + "\n").encode())
    return {"name": "admit handover", **{key: about[key] for key in ("value", "n", "interval")}, "card": str(path)}


def _training(skill: Skill, run: Path) -> dict[str, Any]:
    """How a run went about it, for cards."""
    if not (run / "config.json").exists():
        raise PalaestraError(f"{run}: got no config.json there, expected the folder of a training run")
    config = json.loads((run / "config.json").read_text())
    weights = run / "policy.safetensors"
    return {
        "command": f"palaestra train {skill.name} --seed {config['seed']}",
        "steps": config["steps"],
        "easy": config["easy"],
        "minutes": round((weights.stat().st_mtime - (run / "config.json").stat().st_mtime) / 60, 1) if weights.exists() else None,
        **{name: config[name] for name in LEARNERS if name in config},
        "curve": _thinned(curve(run, "success")),
    }


def _thinned(points: dict[float, float]) -> list[list[float]]:
    """Steps and success in training, easy starts included: at most so many points, each the mean of those since the last."""
    parts = np.array_split(np.array(list(points.items())), min(_POINTS, len(points))) if points else []
    return [[float(part[-1, 0]), round(float(part[:, 1].mean()), 4)] for part in parts]


Groups = dict[str, list[float]]  # by name: rate, lower and upper end of its 95% interval, number of starts
_HEIGHTS = [-0.3, -0.15, 0.0, 0.15, 0.3]  # m, of the lift


def by_range(values: np.ndarray, success: np.ndarray, edges: list[float]) -> Groups:
    """Success in ranges of a context: {"low..high": ...}."""
    return _grouped({f"{low:g}..{high:g}": (values >= low) & (values < high) for low, high in itertools.pairwise(edges)}, success)


def by_name(values: np.ndarray, success: np.ndarray, names: Sequence[str] = ("no", "yes")) -> Groups:
    """Success by a context that counts from 0: the names of its values, in their order."""
    return _grouped({name: values == value for value, name in enumerate(names) if name}, success)


def _grouped(members: dict[str, np.ndarray], success: np.ndarray) -> Groups:
    counts = {name: (int(success[inside].sum()), int(inside.sum())) for name, inside in members.items() if inside.any()}
    return {name: [*(round(x, 4) for x in (won / n, *wilson(won, n))), n] for name, (won, n) in counts.items()}


def by_context(name: str, env: SkillEnv, success: np.ndarray, keys: jax.Array) -> dict[str, Groups]:
    """Success by distance, size, shape, and where things stood at the start."""
    start, _ = jax.jit(jax.vmap(env.begin))(keys)
    n, spec = len(success), env.world.spec
    args, lay, seen = np.asarray(start.args), start.scene.layout, jax.jit(jax.vmap(env.view))(start)
    entity, position, robot = args[:, 0], np.asarray(seen.geo.position)[..., :2], np.asarray(seen.geo.robot)
    rooms = by_name(np.asarray(start.scene.room_used).sum(1), success, ("", *map(str, range(1, spec.rooms + 1))))
    holds = by_name(np.asarray(seen.geo.grasped.any(1)), success)
    height = by_range(np.asarray(lay.robot_q)[:, 3], success, _HEIGHTS)

    def away(which: np.ndarray, origin: np.ndarray, edges: list[float]) -> Groups:
        return by_range(np.linalg.norm(position[np.arange(n), which] - origin, axis=-1), success, edges)

    if name == "navigate":
        return {"distance_m": away(entity, robot, [0, 1, 2, 3, 4, 6]), "rooms": rooms, "holds_something": holds}
    if name == "push_open":
        ajar = np.abs(np.asarray(lay.leaf_angle)).max(1, initial=0.0)
        return {
            "distance_m": away(entity, robot, [0, 0.4, 0.6, 0.8, 1.3]),
            "holds_something": holds,
            "ajar_rad": by_range(ajar, success, [0, 0.01, 0.6, 1.3]),
        }
    if name == "push":
        kind = np.append(-1, entity_kinds(spec))[args[:, 1]]
        target = np.select([kind == KINDS.index("plate"), kind == KINDS.index("room")], [1, 2], 0)
        return {
            "pushed_to": by_name(target, success, ("next to a thing", "onto a plate", "into a room")),
            "distance_of_target_m": away(args[:, 1], position[np.arange(n), entity], [0, 1, 2, 3, 4, 8]),
            "rooms": rooms,
            "lift_at_start_m": height,
        }
    goal = args[:, 1] if name == "place" else entity
    context = {"distance_m": away(goal, robot, [0, 0.3, 0.45, 0.6, 1.2]), "lift_at_start_m": height}
    if name in ("open", "close"):
        context["something_lies_in_it"] = by_name(np.asarray(seen.table[:, INSIDE].any((1, 2))), success)
    if name in ("open", "close", "press", "turn_on", "turn_off"):
        return context
    half = np.asarray(lay.object_half)[np.arange(n), entity - 1]
    context["object_half_size_m"] = by_range(half, success, [0.02, 0.03, 0.04])
    context["object"] = by_name(spec.are("ball")[entity - 1], success, ("cube", "ball"))
    if name == "pick":
        support = np.asarray(seen.geo.support)[np.arange(n), entity - 1]
        context["it_lies_on"] = by_name(support > 0.05, success, ("the floor", "a table"))
    else:
        context["put_down"] = by_name(goal >= 1 + spec.objects + spec.tables, success, ("on a table", "into a bin"))
    return context
