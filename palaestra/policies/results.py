"""What a sweep came to: a row a run, and a row a configuration with intervals over its seeds."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy.special import stdtrit

from palaestra.policies.sweeps import Planned, Sweep
from palaestra.sim.files import write_atomically

_FIGURES = ("success", "low", "high", "return")


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of a mean (Student 1908): x̄ ± t₀.₉₇₅,ₙ₋₁ s/√n; None where one value tells nothing of the spread."""
    n = len(values)
    if n < 2:
        return None
    mean, half = float(np.mean(values)), float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def write_result(folder: Path, figures: dict[str, Any]) -> None:
    """A run is finished when this file is there."""
    write_atomically(folder / "result.json", (json.dumps(figures, indent=1) + "\n").encode())


def result(folder: Path) -> dict[str, Any] | None:
    """What a finished run came to."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(sweep: Sweep, folder: Path) -> list[dict[str, Any]]:
    """A row a run, in the file's order, with a Wilson interval of its success on held-out episodes; also as results.csv."""
    rows = []
    for run in sweep.runs:
        found = result(folder / run.name)
        row: dict[str, Any] = {"run": run.name, **_identity(run), "status": "finished" if found else "unfinished"}
        if found:
            low, high = found["interval"]
            row |= {"success": found["value"], "low": low, "high": high, "n": found["n"], "return": found["mean_return"]}
        rows.append(row)
    _write_csv(folder / "results.csv", rows)
    return rows


def by_configuration(sweep: Sweep, rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """A row for all runs that differ in the seed alone: means with t intervals over the seeds; also as summary.csv."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run, row in zip(sweep.runs, rows, strict=True):
        groups.setdefault(configuration(run), []).append(row)
    found = []
    for name, members in groups.items():
        done = [m for m in members if m["status"] == "finished"]
        row = {"configuration": name, "seeds": len(done), "unfinished": len(members) - len(done)}
        for figure, limits in (("success", (0.0, 1.0)), ("return", (-math.inf, math.inf))):
            values = [m[figure] for m in done]
            if values:
                spread = t_interval(values)
                inside = tuple(min(max(x, limits[0]), limits[1]) for x in spread) if spread else (None, None)
                row |= {figure: float(np.mean(values)), f"{figure}_low": inside[0], f"{figure}_high": inside[1]}
                row |= {f"{figure}_min": min(values), f"{figure}_max": max(values)}
        found.append(row)
    _write_csv(folder / "summary.csv", found)
    return found


def show(rows: list[dict[str, Any]], configurations: list[dict[str, Any]], console: Console) -> None:
    """Print the runs, then the configurations."""
    runs = Table("run", "success", "95% (Wilson)", "return", "", box=None, pad_edge=False)
    for row in rows:
        done = row["status"] == "finished"
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]" if done else ""
        state = "" if done else row["status"]
        runs.add_row(row["run"], _figure(row.get("success")), escape(interval), _figure(row.get("return")), state)
    console.print(runs)
    means = Table("configuration", "seeds", "success", "95% (t, of the mean)", "least", "most", "return", box=None, pad_edge=False)
    for row in configurations:
        interval = f"[{row['success_low']:.3f}, {row['success_high']:.3f}]" if row.get("success_low") is not None else ""
        figures = (_figure(row.get(name)) for name in ("success_min", "success_max", "return"))
        means.add_row(row["configuration"], str(row["seeds"]), _figure(row.get("success")), escape(interval), *figures)
    console.print()
    console.print(means)


def _figure(x: float | None) -> str:
    return "" if x is None else f"{x:.3f}"


def configuration(run: Planned) -> str:
    """What is the same for all seeds, in words."""
    words = [f"{k}={v}" for k, v in sorted(run.varied.items()) if k not in ("id", "seed")]
    return " ".join([run.config.env, *words])


def _identity(run: Planned) -> dict[str, Any]:
    return {"id": run.config.env, "seed": run.config.seed, **{k: v for k, v in run.varied.items() if k not in ("id", "seed")}}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, out.getvalue().encode())
