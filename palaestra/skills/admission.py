"""Entering the library: a policy is measured against its skill's gate, and shipped with a card that says how it did."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.policies.curves import curve
from palaestra.policies.evaluate import evaluate, evaluation_keys, wilson
from palaestra.policies.files import file_hash, policy_about
from palaestra.policies.learner import LEARNERS
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.files import write_atomically
from palaestra.skills.contexts import Split, contexts
from palaestra.skills.handover import measure_handover
from palaestra.skills.library import SKILLS
from palaestra.skills.recipes import full_id
from palaestra.skills.record import Skill
from palaestra.skills.shipped import CARDS, card, card_file, learned, weights_file
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
    weights = run / "policy.safetensors" if run else weights_file(skill)
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
        "context": by_context(skill, env, result.success, evaluation_keys(seed, episodes)),
        "measured_with": f"palaestra eval {skill.file or env.name} --episodes {episodes} --seed {seed}",
        "training": training,
        "weights": file_hash(weights),
    }
    if run:
        write_atomically(weights_file(skill), weights.read_bytes())
    path = card_file(skill)
    write_atomically(path, (json.dumps(about, indent=1) + "\n").encode())
    return {"name": f"admit skill/{skill.name}", **summary, "gate": skill.gate, "card": str(path)}


def _admit_handover(run: Path | None, episodes: int, seed: int) -> dict[str, Any]:
    if run is not None:
        raise PalaestraError(f"handover: got the run {run}, expected none: it is measured of the skills that are shipped")
    about = measure_handover(episodes, seed) | {"weights": {name: file_hash(weights_file(skill)) for name, skill in SKILLS.items()}}
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
        "command": f"palaestra train {skill.id} --seed {config['seed']}",
        "steps": policy_about(weights)["steps"],  # fewer than were asked for where the run was stopped
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


def by_context(skill: Skill, env: SkillEnv, success: np.ndarray, keys: jax.Array) -> dict[str, Groups]:
    """Success by what the starts of these episodes differ in."""
    start, _ = jax.jit(jax.vmap(env.begin))(keys)
    seen = jax.jit(jax.vmap(env.view))(start)
    return {what: grouped(split, success) for what, split in contexts(skill, env.world, seen).items()}


def grouped(split: Split, success: np.ndarray) -> Groups:
    """Success in each of the groups that have starts."""
    found: Groups = {}
    for group, name in enumerate(split.names):
        inside = split.member == group
        if name and inside.any():
            won, n = int(success[inside].sum()), int(inside.sum())
            found[name] = [*(round(x, 4) for x in (won / n, *wilson(won, n))), n]
    return found
