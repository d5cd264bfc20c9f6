"""`palaestra tasks`: what the task sets hold, in words, PDDL and pictures, and as files. A set, a split and a number name a task."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape

from palaestra.envs import goals
from palaestra.envs.configs import Space
from palaestra.envs.display.render import TopDown, contact_sheet, save_png
from palaestra.envs.filters import num_rooms, num_terms
from palaestra.envs.host import task_set_env
from palaestra.envs.mechanics import mechanics
from palaestra.envs.names import entities, facts
from palaestra.envs.taskfiles import save_tasks
from palaestra.envs.tasksets import SPLITS, TASK_SETS, TaskSet, TaskSetEnv
from palaestra.envs.types import State, Task, row
from palaestra.envs.words import language
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import write_atomically
from palaestra.sim.world import WorldSpec
from palaestra.skills import pddl
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.oracle import OraclePlanner

CHUNK = 1024  # tasks made side by side
NUMBERS = 2**31  # as many tasks has every split
_SEARCHED = 20_000  # tasks that are looked at for one that is wanted


@dataclass(frozen=True)
class Wanted:
    """Which tasks of a set: those whose number is listed; where nothing is listed, all."""

    rooms: tuple[int, ...] = ()
    terms: tuple[int, ...] = ()  # of the goal
    lengths: tuple[int, ...] = ()  # of the oracle's plan

    def admits(self, example: "Example") -> bool:
        task = example.task
        checks = ((self.rooms, lambda: num_rooms(task)), (self.terms, lambda: num_terms(task)), (self.lengths, lambda: example.length))
        return all(not listed or int(value()) in listed for listed, value in checks)


def problem(spec: WorldSpec, task: Task, table: np.ndarray) -> Problem:
    """What the oracle is asked: from the truth table at the start to the goal; on the host, for one task."""
    things = entities(spec, task.scene)
    return Problem("", things, facts(things, table), goals.formula(spec, task), mechanics=mechanics(spec, task.scene))


@dataclass(frozen=True)
class Example:
    """One task on the host."""

    env: TaskSetEnv
    number: int
    state: State  # at the start
    table: np.ndarray  # [predicates, E, E] bool, at the start

    @property
    def spec(self) -> WorldSpec:
        return self.env.world.spec

    @property
    def task(self) -> Task:
        return self.state.task

    @cached_property
    def problem(self) -> Problem:
        return problem(self.spec, self.task, self.table)

    @cached_property
    def plan(self) -> Any:
        return OraclePlanner().plan(self.problem)

    @property
    def length(self) -> int:
        return len(self.plan.steps)

    @property
    def instruction(self) -> str:
        return self.env.instruction(self.task, self.number)

    def pddl(self) -> dict[str, str]:
        """Domain, problem and plan."""
        p, goal = self.problem, self.problem.goal or goals.Formula(())
        return {
            "domain.pddl": pddl.domain(library(), p.things, goal, p.mechanics, p.facts),
            "problem.pddl": pddl.problem(library(), p.things, p.facts, goal, f"task-{self.number}", p.mechanics),
            "plan": pddl.plan_text(self.plan, library(), p.things, p.facts, goal, p.mechanics),
        }

    def report(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "scene": language.describe(self.spec, self.task.scene, with_rules=False),
            "rules": language.rules(self.spec, self.task.scene, self.number, self.env.held_out_words) if self.env.show_rules else [],
            "instruction": self.instruction,
            "goal": language.describe_goal(self.spec, self.task),
            "plan": [str(call) for call in self.plan.steps],
            "length": self.length,
            "rooms": int(num_rooms(self.task)),
        }


class Source:
    """The numbered tasks of one split, in chunks as arrays on the host, or one by one; or others, by a configuration in a file."""

    def __init__(self, task_set: str, split: str, config: Path | None = None):
        self.env: TaskSetEnv = task_set_env(task_set, split)
        if config is not None:
            space = Space(self.env)
            self.env = self.env.within(space.ranges(space.load(config)))
        self.spec = self.env.world.spec
        self._chunk = jax.jit(lambda numbers: jax.vmap(self._start)(self.env.tasks(numbers)))

    def _start(self, task: Task) -> tuple[State, jax.Array]:
        state, _ = self.env.reset(jax.random.key(0), task)
        return state, self.env.perceive(state)[1]

    def chunk(self, first: int) -> tuple[State, np.ndarray]:
        """The starts of tasks `first` to `first + CHUNK - 1` and their truth tables."""
        return jax.device_get(self._chunk((first + np.arange(CHUNK)).clip(max=NUMBERS - 1).astype(np.int32)))

    def examples(self, first: int, count: int, wanted: Wanted) -> Iterator[Example]:
        """The `count` tasks from number `first` on that are wanted."""
        if not (first >= 0 and count >= 1 and first + count <= NUMBERS):
            raise PalaestraError(f"tasks: got {count} from number {first}, expected 1 or more, with numbers from 0 to {NUMBERS - 1}")
        found = last = 0
        for at in range(first, NUMBERS, CHUNK):
            states, tables = self.chunk(at)
            for i in range(CHUNK):
                example = Example(self.env, at + i, row(states, i), tables[i])
                if wanted.admits(example):
                    found, last = found + 1, at + i
                    yield example
                if found == count:
                    return
            if at + CHUNK - max(first, last) > _SEARCHED:
                got = f"{found} of {count} among tasks {first} to {at + CHUNK - 1} of {self.env.name}/{self.env.split}"
                raise PalaestraError(f"tasks with {wanted}: got {got}. Fix: ask for other rooms, terms or lengths, or for fewer")


@lru_cache(maxsize=8)
def source(task_set: str, split: str, config: Path | None = None) -> Source:
    """The one source of a set and a split, with a configuration or without: it compiles once."""
    return Source(task_set, split, config)


# --- commands -----------------------------------------------------------------------------------------------------


def list_sets() -> dict[str, Any]:
    """The result of `palaestra tasks list`."""

    def holds(spec: WorldSpec) -> str:
        counts = {
            "cube": spec.cubes,
            "ball": spec.balls,
            "crate": spec.crates,
            "table": spec.tables - spec.shelves - spec.plates,
            "shelf": spec.shelves,
            "pressure plate": spec.plates,
            "bin": spec.bins - spec.hampers,
            "hamper": spec.hampers,
            "drawer": spec.drawers,
            "door": spec.locks,
            "swing door": spec.swings,
            "button": spec.buttons - spec.toggles,
            "toggle": spec.toggles,
            "room": spec.rooms,
        }
        plural = {"shelf": "shelves"}
        return "up to " + ", ".join(f"{n} {what if n == 1 else plural.get(what, what + 's')}" for what, n in counts.items() if n)

    def about(tasks: TaskSet) -> str:
        return f"{tasks.doc} ({holds(tasks.spec)}; {tasks.horizon} steps)"

    sets = {name: about(tasks) + (f"; larger: {about(tasks.larger)}" if tasks.larger else "") for name, tasks in TASK_SETS.items()}
    splits = {split: [name for name, tasks in TASK_SETS.items() if split in tasks.splits] for split in SPLITS}
    shown = {split: names if len(names) < len(sets) else "every set" for split, names in splits.items()}
    return {"name": "tasks", "value": len(sets), "sets": sets, "splits": shown, "tasks_a_split": NUMBERS}


def sample(
    task_set: str, split: str, first: int, count: int, wanted: Wanted, with_pddl: bool, as_json: bool, config: Path | None = None
) -> dict[str, Any]:
    """The result of `palaestra tasks sample`; each task is printed as it is found."""
    console, rows = Console(stderr=as_json, highlight=False), []
    for example in source(task_set, split, config).examples(first, count, wanted):
        report = example.report() | ({"pddl": example.pddl()} if with_pddl else {})
        console.print(f"[bold]{task_set}/{split} {example.number}[/]  {escape(report['scene'])}")
        if report["rules"]:
            console.print(f"[bold]Rules:[/] {escape(' '.join(report['rules']))}")
        console.print(f"[bold]Instruction:[/] {escape(report['instruction'])}")
        console.print(f"[bold]Goal:[/] {escape('; '.join(report['goal']))}")
        console.print(f"[bold]Plan ({report['length']}):[/] {' → '.join(report['plan'])}\n")
        for text in report.get("pddl", {}).values():
            console.print(escape(text), soft_wrap=True)
        rows.append(report)
    return {"name": f"tasks {task_set}/{split}", "value": len(rows), "tasks": rows}


def draw(task_set: str, split: str, first: int, count: int, wanted: Wanted, path: Path, columns: int) -> dict[str, Any]:
    """The result of `palaestra tasks draw`: a contact sheet."""
    if columns < 1:
        raise PalaestraError(f"columns: got {columns}, expected 1 or more")
    of = source(task_set, split)
    picture, holds = TopDown(of.env.world, 480), jax.jit(of.env.terms)
    frames = []
    for example in of.examples(first, count, wanted):
        frames.append(
            picture.frame(
                example.task.scene,
                example.state.physics,
                goal=example.task.goal,
                holds=np.asarray(holds(example.state)),
                title=example.instruction,
                plan=example.plan.steps,
                lines=(f"{task_set}/{split} {example.number}",),
                rules=of.env.show_rules,
            )
        )
    try:
        save_png(path, contact_sheet(frames, columns))
    except OSError as error:
        raise PalaestraError(f"{path}: cannot write ({error.strerror}). Fix: --file another") from error
    return {"name": f"tasks {task_set}/{split}", "value": len(frames), "file": str(path)}


def export(
    task_set: str, split: str, first: int, count: int, wanted: Wanted, path: Path, pddl_folder: Path | None = None
) -> dict[str, Any]:
    """The result of `palaestra tasks export`: a file that `load_tasks` reads, and PDDL for other planners."""
    of, tasks, numbers = source(task_set, split), [], []
    for example in of.examples(first, count, wanted):
        tasks.append(example.task)
        numbers.append(example.number)
        if pddl_folder is not None:
            _write_pddl(pddl_folder / f"{example.number:06d}", example)
    meta = {"task_set": task_set, "split": split, "numbers": numbers}
    save_tasks(path, jax.tree.map(lambda *rows: np.stack(rows), *tasks), of.spec, meta)
    result = {"name": f"tasks {task_set}/{split}", "value": len(tasks), "file": str(path), "bytes": path.stat().st_size}
    return result | ({"pddl": str(pddl_folder)} if pddl_folder else {})


def _write_pddl(folder: Path, example: Example) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in example.pddl().items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise PalaestraError(f"{folder}: cannot write ({error.strerror}). Fix: --pddl another") from error
