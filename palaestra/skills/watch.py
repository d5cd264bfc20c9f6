"""`palaestra watch`: repeat one episode of an evaluation from its configuration and its table, and film it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palaestra.sim.errors import PalaestraError
from palaestra.skills import table
from palaestra.skills.director import Director
from palaestra.skills.evaluation import Arena, Config, versions, weights
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call
from palaestra.skills.plan import Failure, Fault, Plan, PlanError
from palaestra.skills.planners.base import Problem
from palaestra.skills.programs.running import Program
from palaestra.skills.programs.syntax import ALWAYS, Make, While
from palaestra.skills.table import Row

SAME = ("instruction", "goal", "outcome", "success", "steps", "calls", "recall", "plans")  # columns that a repetition has to meet


class Recorded:
    """Gives the plans that a run's planner gave, one after the other, and at the end fails as it failed. No endpoint is asked again."""

    name = "recorded"

    def __init__(self, row: Row):
        self._plans = [_plan(words) for words in json.loads(row.plans)]
        self._outcome = row.outcome

    def plan(self, problem: Problem) -> Plan | Program:
        if self._plans:
            return self._plans.pop(0)
        ended = self._outcome.removeprefix("planner: ")
        failure = Failure(ended) if ended in list(Failure) else Failure.LIMIT
        got = f"no more plans for {problem.instruction!r}"
        raise PlanError(Fault(failure, "the recorded planner ended here", got, "the episode's end", "compare the versions in config.json"))


def _plan(words: list[Any]) -> Plan | Program:
    """A recorded plan; of a program the calls that it came to, each of which may fail without ending it."""
    if not words or words[0] != "program":
        return Plan(tuple(_call(*call) for call in words))
    block = tuple(While(ALWAYS, 1, (Make(skill, tuple(args)),)) for skill, *args in words[1:])
    return Program(block, tuple(SKILLS.values()))


def _call(skill: str, *values: str) -> Call:
    return Call(skill, {p.name: value for p, value in zip(SKILLS[skill].params, values, strict=True)})


def watch(folder: Path, episode: int, trial: int = 0, planner: str = "") -> dict[str, Any]:
    """Film episode number `episode`; `value` is 1 where it went as the table says."""
    config = Config.read(folder)
    path = folder / "episodes.csv"
    wanted = table.find(path, table.read(path, config.rows), planner=planner or config.planners[0], episode=episode, trial=trial)
    if config.weights != weights():
        odd = ", ".join(name for name, digest in weights().items() if config.weights.get(name) != digest)
        raise PalaestraError(f"{folder}: the weights of {odd} are others than those of the run. Fix: the version of the run, or eval again")
    arena = Arena(config)
    tasks = arena.tasks([episode])
    name = f"episode-{episode}" + (f"-{planner}" if planner else "") + (f"-trial{trial}" if trial else "")
    with Director(arena.env, folder / f"{name}.mp4", folder / f"{name}.png") as director:
        arena.executor.watch = director
        (done,) = arena.run(Recorded(wanted), [episode], trial, tasks)
        director.finish(done)
    got = arena.row(wanted.planner, trial, done)
    return {
        "name": f"watch {folder}",
        "value": float(not _differences(wanted, got)),
        "episode": episode,
        "trial": trial,
        "planner": wanted.planner,
        "instruction": done.instruction,
        "outcome": done.outcome,
        "calls": [f"{call.text}: {call.verdict}" for call in done.calls],
        "as_in_the_table": _differences(wanted, got) or "yes",
        "other_versions": {p: f"{v}, the run had {config.versions.get(p)}" for p, v in versions().items() if config.versions.get(p) != v},
        "film": str(folder / f"{name}.mp4"),
        "sheet": str(folder / f"{name}.png"),
    }


def _differences(wanted: Row, got: Row, columns: Sequence[str] = SAME) -> list[str]:
    return [f"{c}: got {getattr(got, c)}, the table has {getattr(wanted, c)}" for c in columns if getattr(got, c) != getattr(wanted, c)]
