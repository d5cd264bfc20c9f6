"""What an evaluation says: success with its interval, recall, SPL, the worst tasks; and how the skills did."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from palaestra.policies.evaluate import rate
from palaestra.skills import scores
from palaestra.skills.chances import Chances
from palaestra.skills.executor import Episode
from palaestra.skills.library import SKILLS
from palaestra.skills.table import Row


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Of one planner. Success and its interval are those of the first trial, since trials of one task are not independent; the
    rest is by task, as the mean of its trials."""
    first = [row for row in rows if row.trial == 0]
    n, won = len(first), sum(row.success for row in first)
    trials = len(rows) // n
    by_task = sorted(rows, key=lambda row: (row.trial, row.episode))
    success, recall, spl, gain = (
        np.array([value(row) for row in by_task], float).reshape(trials, n)
        for value in (lambda r: r.success, lambda r: r.recall, lambda r: r.spl, lambda r: r.recall - r.recall_at_start)
    )
    result: dict[str, Any] = {
        **rate(won, n),
        "recall": float(recall.mean()),
        "spl": float(spl.mean()),
        "participation": float((gain > 0).any(0).mean()),
        "percentile_20": {
            "success": scores.percentile_20(success.mean(0)),
            "recall": scores.percentile_20(recall.mean(0)),
            "spl": scores.percentile_20(spl.mean(0)),
        },
        "by_family": _by(first, "family"),
        "by_style": _by(first, "style"),
        "by_rooms": _by(first, "rooms"),
        "by_goals": _by(first, "literals"),
        "by_difficulty": _by(first, "difficulty"),
        "outcomes": _count(row.outcome for row in first),
        "median_steps": float(np.median([row.steps for row in first if row.success])) if won else None,
    }
    if (length := min(row.stages for row in first)) > 1:
        result["chain"] = _chain(np.array([row.reached for row in first]), length)
    if trials > 1:
        went: dict[int, set[tuple[Any, ...]]] = {}
        for row in rows:
            went.setdefault(row.episode, set()).add((row.outcome, row.steps, row.calls, row.recall, row.plans))
        result["trials"] = trials
        result["success_in_all_trials"] = float(success.mean())
        result["cvar"] = scores.cvar(*scores.halves(success))
        result["same_in_all_trials"] = sum(len(ways) == 1 for ways in went.values()) / n
    return result


def _chain(reached: np.ndarray, length: int) -> dict[str, Any]:
    """Of stages reached [n] their mean, and the share of the chains that came at least so far: CALVIN's avg_seq_len and chain_sr."""
    return {
        "average_length": float(reached.mean()),
        "interval": list(scores.mean_interval(reached)),
        "at_least": {str(k): float((reached >= k).mean()) for k in range(1, length + 1)},
    }


def _by(rows: Sequence[Row], column: str) -> dict[str, str]:
    """Success by the values of a column."""
    parts = {value: [row.success for row in rows if getattr(row, column) == value] for value in sorted({getattr(r, column) for r in rows})}
    return {str(value): f"{sum(part)} of {len(part)}" for value, part in parts.items()}


def of_permissions(done: Sequence[Episode]) -> dict[str, Any]:
    """How many calls were not started because they are not permitted, and in how many episodes what must never be came about."""
    refused = sum(call.verdict == "permission" for episode in done for call in episode.calls)
    return {"refused": refused, "broken": sum(episode.outcome == "permission" for episode in done)}


def of_calls(done: Sequence[Episode]) -> dict[str, Any]:
    """How the skills did, as they were called."""
    calls = [call for episode in done for call in episode.calls]
    return {
        "calls": {
            skill: f"{sum(c.verdict == 'succeeded' for c in calls if c.skill == skill)} of {sum(c.skill == skill for c in calls)}"
            for skill in SKILLS
        },
        "failed_calls": _count(f"{c.skill}: {c.verdict}" for c in calls if c.verdict != "succeeded"),
        "mean_plans": float(np.mean([len(e.plans) for e in done])),
    }


_EDGES = [0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0]  # of chances


def of_chances(done: Sequence[Episode], chances: Chances) -> dict[str, Any]:
    """How chances went with what happened, over the calls that ran to their end: Brier's score beside those of each skill's own rate
    and of one rate for all (the observed one), and success where the chance was so and so. Empty without calls."""
    calls = [
        c for episode in done for c in episode.calls if c.chance is not None and c.verdict in ("succeeded", "effect", "lost", "timeout")
    ]
    if not calls:
        return {}
    chance, rates = np.array([c.chance for c in calls]), np.array([chances.of(c.skill) for c in calls])
    won = np.array([c.verdict == "succeeded" for c in calls])
    table = {}
    for low, high in itertools.pairwise(_EDGES):
        inside = (chance >= low) & ((chance < high) | (high == 1.0))
        if inside.any():
            table[f"{low:g}..{high:g}"] = {"mean_chance": float(chance[inside].mean()), **rate(int(won[inside].sum()), int(inside.sum()))}
    return {
        "chances": {
            "brier": scores.brier(chance, won),
            "brier_of_skills_rates": scores.brier(rates, won),
            "brier_of_one_rate": scores.brier(np.full(len(won), won.mean()), won),
            "n": len(calls),
            "by_chance": table,
        }
    }


def _count(words: Iterable[str]) -> dict[str, int]:
    """How often each occurs, the most frequent first."""
    found = list(words)
    return {word: found.count(word) for word in sorted(set(found), key=lambda w: (-found.count(w), w))}
