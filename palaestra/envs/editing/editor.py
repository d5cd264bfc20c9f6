"""A task on the desk: what a person did to it, what there is to say of it, and the file that it goes to. Without any window.

The planner comes in as a `Judge`, from the room that has one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs import goals
from palaestra.envs.editing import changes
from palaestra.envs.generation.doors import room_to_swing
from palaestra.envs.generation.overlaps import overlapping
from palaestra.envs.generation.reach import out_of_reach
from palaestra.envs.mechanics import Rule, mechanics
from palaestra.envs.names import entities, facts
from palaestra.envs.predicates import table_at_start
from palaestra.envs.taskfiles import load_tasks, save_tasks
from palaestra.envs.types import Scene, Task, button_entity, leaf_entity, row
from palaestra.envs.words import language, rulebook
from palaestra.envs.words.parser import InstructionError
from palaestra.envs.words.references import Things
from palaestra.envs.words.wordings import Taste
from palaestra.sim import bodies
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import BUTTON_HALF, LEAF_HALF, LEAF_LENGTH, World, WorldSpec, leaf_axis, world

# The shortest plan for a task, a text a call, from its truth table at the start [predicates, E, E] bool.
# Raises PalaestraError that says why there is none.
Judge = Callable[[Task, np.ndarray], tuple[str, ...]]


@dataclass(frozen=True)
class Report:
    """What there is to say of a task."""

    instruction: str  # its goal in English
    terms: tuple[tuple[bool, str], ...]  # whether a term of the goal holds at the start, and the term in short
    plan: tuple[str, ...]  # the shortest
    obstacle: str  # why there is no plan; empty where there is one
    out_of_reach: tuple[str, ...]  # what the robot cannot drive up to
    jammed: tuple[str, ...] = ()  # doors that have no room to swing
    at_once: tuple[str, ...] = ()  # rules whose conditions hold at the start, in words

    @property
    def trivial(self) -> bool:
        """The goal holds already."""
        return bool(self.terms) and not self.plan and not self.obstacle

    @property
    def faults(self) -> tuple[str, ...]:
        """What keeps this from being a task, in words."""
        found = [self.obstacle] if self.obstacle else []
        found += ["no goal yet: type an instruction"] if not self.terms else []
        found += ["the goal already holds"] if self.trivial else []
        found += [f"the robot cannot drive up to {', '.join(self.out_of_reach)}"] if self.out_of_reach else []
        found += [f"no room to swing for {', '.join(self.jammed)}"] if self.jammed else []
        found += [f"holds at the start: {text}" for text in self.at_once]
        return tuple(found)


def inspect(spec: WorldSpec, task: Task, judge: Judge) -> Report:
    """The report on one task, on the host."""
    scene, said = task.scene, goals.formula(spec, task)
    table, free = jax.tree.map(np.asarray, _looked_at(spec)(scene))
    true = facts(entities(spec, scene), table)
    named = goals.named_terms(spec, scene, task.goal)
    words = goals.phrases(term[1:] for term in named)
    things = Things.of(spec, scene)
    at_once = [rule for rule in mechanics(spec, scene).rules if true.issuperset(rule.condition)]
    plan, obstacle = tuple[str, ...](), ""
    try:
        plan = judge(task, table) if said.stages else ()
    except PalaestraError as error:
        obstacle = str(error)
    return Report(
        instruction=language.plain(said, things) if said.stages else "",
        terms=tuple((term.holds(true), text) for (*_, term), text in zip(named, words, strict=True)),
        plan=plan,
        obstacle=obstacle,
        out_of_reach=tuple(changes.thing_of(spec, scene, thing).name for thing in out_of_reach(spec, scene)),
        jammed=tuple(changes.thing_of(spec, scene, leaf_entity(spec, i)).name for i in np.flatnonzero(scene.leaf_used & ~free)),
        at_once=tuple(rulebook.say(rule, things, Taste(None)) for rule in at_once),
    )


@lru_cache(maxsize=4)
def _looked_at(spec: WorldSpec) -> Any:
    """A compiled function of a scene: its truth table, and which leaves have room to swing."""
    return jax.jit(lambda scene: (table_at_start(world(spec), scene), room_to_swing(spec, scene)))


def collisions(spec: WorldSpec, task: Task) -> tuple[tuple[str, str], ...]:
    """The names of things that overlap; "a wall" is one."""
    names = {-1: "a wall"} | {e.index: e.name for e in entities(spec, task.scene)}
    return tuple((names[b], names[a]) if a < 0 else (names[a], names[b]) for a, b in overlapping(spec, task.scene))


def thing_at(spec: WorldSpec, scene: Scene, xy: Any, slack: float = 0.0) -> int | None:
    """The uppermost thing at a point [2] m, or at most `slack` m beside it: an object, a button, a door, the robot, a table, a bin."""
    lay, xy = scene.layout, np.asarray(xy)
    beside = np.abs(lay.object_pos[:, :2] - xy).max(1) - lay.object_half
    beside = np.where(lay.object_used, beside, np.inf)
    if (beside <= slack).any():
        return 1 + int(np.argmin(beside))
    buttons = np.where(scene.button_used, np.abs(lay.button_pos - xy).max(1, initial=0.0) - BUTTON_HALF, np.inf)
    if (buttons <= slack).any():
        return int(button_entity(spec, np.argmin(buttons)))
    axis = leaf_axis(np.asarray(lay.leaf_quat), np.asarray(lay.leaf_angle))
    along = np.clip(((xy - lay.leaf_pos) * axis).sum(1), 0.0, LEAF_LENGTH)[:, None] * axis
    leaves = np.where(scene.leaf_used, np.linalg.norm(xy - lay.leaf_pos - along, axis=1) - LEAF_HALF, np.inf)
    if (leaves <= slack).any():
        return int(leaf_entity(spec, np.argmin(leaves)))
    if np.linalg.norm(lay.robot_q[:2] - xy) <= bodies.body(spec.body).base_radius:
        return 0
    over = (np.abs(lay.fixture_pos[:, :2] - xy) <= lay.fixture_half[:, :2]).all(1) & np.asarray(scene.fixture_used)
    found = np.flatnonzero(over[spec.walls :])
    return 1 + spec.objects + int(found[0]) if len(found) else None


@dataclass(frozen=True)
class Document:
    """Where a task comes from, and the file that it is saved to together with the others of that file."""

    tasks: Task  # leading axis: the tasks of the file
    number: int  # of ours among them
    path: Path
    title: str
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        return row(self.tasks, self.number)

    @staticmethod
    def of_file(path: Path, spec: WorldSpec, number: int, to: Path | None = None) -> "Document":
        """Task `number` of a file, to be saved there or `to` a new one. Refused as `load_tasks` does, and where there is no such task."""
        tasks, meta = load_tasks(path, spec)
        count = len(tasks.goal.used)
        if not 0 <= number < count:
            raise PalaestraError(f"{path}: got task {number}, expected one of its {count}: 0 to {count - 1}")
        return Document(tasks, number, path if to is None else _new(to), f"{path.name}, task {number} of {count}", meta)

    @staticmethod
    def of_task(task: Task, title: str, path: Path, meta: dict[str, Any]) -> "Document":
        """A task that is to become a file of its own; refused where there is one already."""
        return Document(jax.tree.map(lambda x: np.asarray(x)[None], task), 0, _new(path), title, meta)


def _new(path: Path) -> Path:
    """The path, unless something is there that would be lost."""
    if path.exists():
        raise PalaestraError(f"{path}: got a file that exists, expected a new one. Fix: edit it with --file {path}, or save --to another")
    return path


class Editor:
    """One task, its history, and what is selected. What cannot be done raises PalaestraError and changes nothing."""

    def __init__(self, at: World, document: Document, judge: Judge):
        self.world, self.spec, self.judge = at, at.spec, judge
        self.document = document
        self.task: Task = changes.on_host(document.task)
        self.selected: int | None = None  # an entity
        self._saved = self.task
        self._past: list[Task] = []
        self._future: list[Task] = []
        self._joint = ""  # what the last change was a part of, for the next part to join it

    # --- what there is to say

    def report(self) -> Report:
        """What there is to say of the task as it is; takes as long as the planner does."""
        return inspect(self.spec, self.task, self.judge)

    @property
    def collisions(self) -> tuple[tuple[str, str], ...]:
        """What overlaps, by name."""
        return collisions(self.spec, self.task)

    @property
    def unsaved(self) -> bool:
        return self.task is not self._saved

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    # --- what can be done

    def move(self, thing: int, xy: Any, joint: str = "") -> None:
        """Put a thing at xy [2] m. Moves with one `joint`, one after the other, are one step of the history."""
        self._commit(changes.move(self.spec, self.task, thing, xy), joint)

    def turn(self, thing: int, angle: float, joint: str = "") -> None:
        """Turn the robot or an object to the left by `angle` rad; `joint` as in `move`."""
        self._commit(changes.turn(self.spec, self.task, thing, angle), joint)

    def add(self, kind: str, xy: Any = None) -> None:
        """One more cube, ball, button or door, at xy [2] m or near the robot; it is selected."""
        task, thing = changes.add(self.spec, self.task, kind, xy)
        self._commit(task)
        self.selected = thing

    def remove(self, thing: int) -> None:
        """Take an object, button or door away, out of the goal, and the rules that name it."""
        self._commit(changes.remove(self.spec, self.task, thing))

    def recolour(self, thing: int, colour: str) -> None:
        self._commit(changes.recolour(self.spec, self.task, thing, colour))

    def resize(self, thing: int, half: float) -> None:
        """Give an object another half size, m."""
        self._commit(changes.resize(self.spec, self.task, thing, half))

    def say(self, text: str) -> str:
        """One more rule if a sentence states one, else the goal that it asks for; returns which.

        Raises rulebook.RuleError or parser.InstructionError.
        """
        try:
            task, done = changes.with_rule(self.spec, self.task, text), "the rule is there"
        except rulebook.RuleError as fault:
            try:
                task, done = changes.with_goal(self.spec, self.task, text), "the goal is set"
            except InstructionError:
                if rulebook.worded_like_one(text):
                    raise fault from None
                raise
        self._commit(task)
        return done

    def drop_rule(self, number: int) -> None:
        """Take rule `number` away."""
        self._commit(changes.without_rule(self.spec, self.task, number))

    @property
    def rules(self) -> tuple[Rule, ...]:
        return mechanics(self.spec, self.task.scene).rules

    def select(self, thing: int | None) -> None:
        self.selected, self._joint = thing, ""

    def undo(self) -> None:
        """Back to what was before the last change."""
        self._travel(self._past, self._future, "undone")

    def redo(self) -> None:
        """Forward again."""
        self._travel(self._future, self._past, "done again")

    def save(self) -> Path:
        """Write the file, whole or not at all; the other tasks in it stay as they are."""
        document, number = self.document, self.document.number
        tasks = jax.tree.map(lambda rows, one: np.concatenate([rows[:number], one[None], rows[number + 1 :]]), document.tasks, self.task)
        meta = document.meta | {"edited": sorted({*document.meta.get("edited", ()), number})}
        save_tasks(document.path, tasks, self.spec, meta)
        self.document, self._saved = replace(document, tasks=tasks, meta=meta), self.task
        return document.path

    def reload(self) -> None:
        """The task as its file has it, or where there is no file yet, as it was opened. Can be undone."""
        if self.document.path.exists():
            fresh = Document.of_file(self.document.path, self.spec, self.document.number)
            self.document = replace(self.document, tasks=fresh.tasks, meta=fresh.meta)
        self._commit(changes.on_host(self.document.task))
        self._saved = self.task

    def _commit(self, task: Task, joint: str = "") -> None:
        if not joint or joint != self._joint:
            self._past.append(self.task)
        self._future.clear()
        self.task, self._joint = task, joint
        self._keep_selection()

    def _travel(self, back: list[Task], forth: list[Task], how: str) -> None:
        if not back:
            raise PalaestraError(f"there is nothing to be {how}")
        forth.append(self.task)
        self.task, self._joint = back.pop(), ""
        self._keep_selection()

    def _keep_selection(self) -> None:
        """Nothing stays selected that is no longer there."""
        if self.selected not in [e.index for e in entities(self.spec, self.task.scene)]:
            self.selected = None
