"""Learning curves of a sweep: a line a configuration, the 95% interval over its seeds shaded."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.policies import plots
from palaestra.policies.results import configuration, t_interval
from palaestra.policies.sweeps import Sweep

_COLOURS = ("#2b6cb0", "#dd6b20", "#38a169", "#805ad5", "#d53f8c", "#4a5568", "#b7791f", "#00a3c4")


def curve(folder: Path, figure: str) -> dict[float, float]:
    """A figure of a run's metrics.csv by environment steps; what is not finite is left out."""
    path = folder / "metrics.csv"
    if not path.exists():
        return {}
    with open(path) as f:
        points = {float(row["steps"]): float(row.get(figure) or "nan") for row in csv.DictReader(f)}
    return {steps: value for steps, value in points.items() if np.isfinite(value)}


def bands(curves: list[dict[float, float]]) -> np.ndarray:
    """[n, 4] steps, mean, low, high: where all curves have a point; without an interval where there is only one."""
    shared = sorted(set.intersection(*(set(c) for c in curves)))
    rows = []
    for steps in shared:
        values = [c[steps] for c in curves]
        mean = float(np.mean(values))
        rows.append((steps, mean, *(t_interval(values) or (mean, mean))))
    return np.asarray(rows).reshape(-1, 4)


def draw(sweep: Sweep, folder: Path) -> Path | None:
    """curves.png, an axis an environment: success of training's own episodes where it is known, else their return."""
    groups: dict[str, dict[str, list[Path]]] = {}
    for run in sweep.runs:
        label = configuration(run).removeprefix(run.config.env).strip() or run.config.learner.name
        groups.setdefault(run.config.env, {}).setdefault(label, []).append(folder / run.name)
    figure, axes = plots.axes("learning curves", 1, len(groups), 1 + 4.5 * len(groups), 3.6)
    drawn = [_axis(axis, env, lines) for axis, (env, lines) in zip(axes[0], groups.items(), strict=True)]
    if not any(drawn):
        return None
    plots.save(figure, folder / "curves.png")
    return folder / "curves.png"


def _axis(axis: Any, env: str, lines: dict[str, list[Path]]) -> bool:
    """One environment's curves; whether there were any."""
    shown = "success" if any(curve(f, "success") for folders in lines.values() for f in folders) else "return"
    drawn = False
    for i, (label, folders) in enumerate(lines.items()):
        curves = [c for c in (curve(f, shown) for f in folders) if c]
        if not curves:
            continue
        drawn, colour = True, _COLOURS[i % len(_COLOURS)]
        steps, mean, low, high = bands(curves).T
        if shown == "success":
            low, high = np.clip((low, high), 0, 1)
        axis.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
        axis.plot(steps, mean, color=colour, label=f"{label}, {len(curves)} seed{'s' * (len(curves) > 1)}")
    axis.set_title(env)
    axis.set_xlabel("environment steps")
    axis.set_ylabel(f"{shown} in training")
    axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
    if shown == "success":
        axis.set_ylim(0, 1.02)
    axis.grid(axis="y", color="#a0aec0", alpha=0.3)
    if drawn:
        axis.legend(frameon=False, fontsize=8)
    return drawn
