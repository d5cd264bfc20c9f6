"""`palaestra train --sweep runs.toml`: many runs, a few processes at a time, and one table. Started again, it goes on."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from palaestra.envs.env import Env
from palaestra.policies.cluster import CLUSTERS, run_tasks
from palaestra.policies.curves import draw
from palaestra.policies.evaluate import evaluate
from palaestra.policies.processes import Job, die_with_parent, run_all
from palaestra.policies.results import by_configuration, result, show, table, write_result
from palaestra.policies.runs import DivergedError, Run
from palaestra.policies.settings import parse
from palaestra.policies.sweeps import Planned, Sweep, SweepError, read
from palaestra.policies.together import train_together
from palaestra.sim.errors import MissingExtraError, PalaestraError, UnknownNameError
from palaestra.sim.files import write_atomically
from palaestra.skills import generalist
from palaestra.skills.recipes import configuration, environment, lessons

_FILE = "sweep.toml"  # the folder's own copy: what a process reads that is started later


def sweep(
    path: Path,
    folder: Path | None,
    jobs: int = 1,
    engine: str = "native",
    cluster: str = "",
    say: Callable[[str], None] = lambda line: None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train what is not finished, `jobs` processes at a time or on a cluster, and measure all; the table and what it comes to.

    say: told what starts and ends. console: where the table is printed.
    """
    planned = read(path, configuration)
    folder = folder or Path("runs") / "sweeps" / path.stem
    if jobs < 1:
        raise PalaestraError(f"jobs: got {jobs}, expected 1 or more")
    if cluster and cluster not in CLUSTERS:
        raise UnknownNameError("cluster", cluster, CLUSTERS)
    _compare(planned, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _FILE, path.read_bytes())
    parts = planned.parts()
    waiting = [i for i, part in enumerate(parts) if any(result(folder / run.name) is None for run in part)]
    say(f"{len(planned.runs)} runs in {len(parts)} parts, of which {len(parts) - len(waiting)} are finished")
    if cluster:
        where = folder.resolve()
        _, failed = run_tasks(
            cluster, train_part, {f"part-{i}": (where, i, len(parts), engine) for i in waiting}, planned.options.restarts, say
        )
    else:
        threads = max(1, (os.cpu_count() or 1) // min(jobs, len(waiting) or 1))
        todo = [Job(f"part-{i}", [_command(folder, i, len(parts), engine, threads)], folder) for i in waiting]
        failed = run_all(todo, jobs, planned.options.restarts, say)
    return _outcome(folder.name, planned, folder, failed, console)


def over_seeds(
    name: str,
    seeds: range,
    steps: int,
    num_envs: int,
    easy: float,
    trials: int,
    sampler: str,
    learner: str,
    changes: Sequence[str],
    folder: Path | None,
) -> Path:
    """The file of a sweep over seeds of one id, in its folder."""
    env = configuration(name, learner).env
    given: dict[str, Any] = {"steps": steps, "num_envs": num_envs, "easy": easy if easy >= 0 else None, "trials": trials}
    given |= {"sampler": sampler, "learner": learner}
    usual: dict[str, Any] = {"steps": 0, "num_envs": 0, "easy": None, "trials": 1, "sampler": "randomise", "learner": "ppo"}
    base = {"id": name if name.endswith(".py") else env} | {k: v for k, v in given.items() if v != usual[k]} | parse(changes)
    folder = folder or Path("runs") / f"{env.replace('/', '-')}-seed{seeds[0]}..{seeds[-1]}"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["[base]", *(f"{k} = {json.dumps(v)}" for k, v in base.items()), "[grid]", f"seed = {list(seeds)}"]
    write_atomically(folder / _FILE, "".join(f"{line}\n" for line in lines).encode())
    return folder / _FILE


def part(path: Path, folder: Path | None, which: str, engine: str, threads: int) -> dict[str, Any]:
    """Part 3/8 of a sweep's file, for one of eight processes that are started by something else."""
    index, slash, count = which.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise PalaestraError(f"part: got {which!r}, expected <number from 0>/<how many>, for example 0/8")
    planned, folder = read(path, configuration), folder or Path("runs") / "sweeps" / path.stem
    _compare(planned, folder)
    if path != folder / _FILE:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / _FILE, path.read_bytes())
    return train_part(folder, int(index), int(count), engine, threads)


def train_part(folder: Path, index: int, count: int, engine: str = "native", threads: int = 0) -> dict[str, Any]:
    """Train parts `index`, `index + count`, ... of the sweep in a folder, in this process. One that is refused stops no other."""
    die_with_parent()
    planned, refused = read(folder / _FILE, configuration), list[str]()
    done = 0
    for part in planned.parts()[index::count]:
        try:
            done += _train(planned, [run for run in part if result(folder / run.name) is None], folder, engine, threads)
        except PalaestraError as error:
            refused.append(str(error))
    if refused:
        raise SweepError("; ".join(refused))
    return {"name": f"part {index}/{count}", "value": done}


def _train(planned: Sweep, part: list[Planned], folder: Path, engine: str, threads: int) -> int:
    if not part:
        return 0
    first = part[0].config
    env = lessons(first, folder / "diverged", engine, threads)
    runs = {p.name: Run(env, p.config, folder / p.name) for p in part}
    policies = train_together(list(runs.values()), _print_row)
    held_out = environment(first.env, engine=engine, split="test", trials=first.trials, threads=threads)
    diverged = [str(p) for p in policies if isinstance(p, DivergedError)]
    for run, policy in zip(runs.values(), policies, strict=True):
        if not isinstance(policy, DivergedError):
            write_result(run.folder, _measured(run, held_out, policy, planned.options.episodes))
    if diverged:
        raise SweepError("; ".join(diverged))
    return len(part)


def _measured(run: Run, env: Env[Any], policy: Any, episodes: int) -> dict[str, Any]:
    """The final policy without noise, on starts that no training has seen and that are the same for all runs."""
    found = evaluate(env, run.learner.network, policy, episodes).summary()
    return {**found, "steps": run.steps_at(run.updates), "config": run.config.as_dict()}


def _print_row(run: Run, row: dict[str, float]) -> None:
    print(f"{run.folder.name}: {row['steps']:,.0f} steps, {row['steps_per_second']:,.0f} steps/s", flush=True)


def _command(folder: Path, index: int, count: int, engine: str, threads: int) -> list[str]:
    own = ["--sweep", str(folder / _FILE), "--folder", str(folder), "--part", f"{index}/{count}", "--engine", engine]
    return [sys.executable, "-m", "palaestra", "train", *own, *(["--threads", str(threads)] if engine == "native" else [])]


def _compare(planned: Sweep, folder: Path) -> None:
    """Refuse what cannot be measured, and a folder in which a run of one of these names was made with other settings."""
    for run in planned.runs:
        if run.config.env == generalist.NAME:
            raise SweepError(
                f"{run.name}: is measured skill by skill, expected a skill or a task set. Fix: palaestra train {run.config.env}"
            )
        path = folder / run.name / "config.json"
        if not path.exists():
            continue
        old, new = json.loads(path.read_text()), json.loads(json.dumps(run.config.as_dict()))
        odd = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
        if odd:
            raise SweepError(f"{path.parent}: was trained with other settings: {', '.join(odd)}. Fix: another --folder")


def _outcome(name: str, planned: Sweep, folder: Path, failed: dict[str, str], console: Console | None) -> dict[str, Any]:
    """The files of the table and of the curves, and the best configuration's figures."""
    rows = table(planned, folder)
    configurations = by_configuration(planned, rows, folder)
    if console:
        show(rows, configurations, console)
    done = [c for c in configurations if c["seeds"]]
    best = max(done, key=lambda c: c["success"], default=None)
    try:
        drawn = str(draw(planned, folder) or "")
    except MissingExtraError as error:
        drawn = str(error)  # all else is there
    return {
        "name": f"sweep {name}",
        "value": best["success"] if best else None,
        "n": best["seeds"] if best else 0,
        "interval": [best["success_low"], best["success_high"]] if best and best["seeds"] > 1 else None,
        "best": best["configuration"] if best else None,
        "finished": sum(row["status"] == "finished" for row in rows),
        "runs": len(rows),
        "failed": failed,
        "configurations": configurations,
        "table": str(folder / "results.csv"),
        "summary": str(folder / "summary.csv"),
        "curves": drawn,
    }
