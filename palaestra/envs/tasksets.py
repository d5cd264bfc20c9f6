"""Named task sets with train, validation and test splits. A set, a split and a seed name a task; there are no files.

Splits never share a key: each folds its own number in. The test split differs by construction as well: a third of the
(colour, shape) pairs (purple and yellow cubes, red and blue balls, green and orange crates) occur in it alone.

The sets `perturbed-<axis>` are `rearrange` changed along one axis: task n of a split is task n of `rearrange` in that split but for
that axis. Of `perturbed-physics` the split says the regime as well: train, validation and test are train, interpolation and
extrapolation.

In `layouts` the houses of the splits differ as well. Tests have styles of layout that training never sees, and more clutter; validation
has the styles of training, and clutter between that of training.

Some sets have a fourth split, `larger`: colours, words and compositions of training in more rooms, with more things, and for goals that
take longer. Its world has more slots, so what observes them all sees another observation there; planners and skills do not mind.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.context import REGIMES
from palaestra.envs.env import Rearrange
from palaestra.envs.generation import chains, crates, hampers, hidden, primitives, shelves, storage, toggles
from palaestra.envs.generation.formulas import DRIVES, FormulaRange, attempt_drive, attempt_formula
from palaestra.envs.generation.generator import SceneRange
from palaestra.envs.generation.productions import RuleRange, attempt_rules, attempt_wish
from palaestra.envs.perturbations import AXES, perturb
from palaestra.envs.types import COLOURS, Goal, Scene, Task
from palaestra.sim.engine import Engine
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world

SPLITS = ("train", "validation", "test", "larger")
_CHANGE = 1  # folded into a task's key: the stream of what it is changed by
# kind (cube, ball, crate): colours kept for the test split
_HELD_OUT = {0: ("purple", "yellow"), 1: ("red", "blue"), 2: ("green", "orange")}


@dataclass(frozen=True)
class TaskSet:
    """What tasks a set draws from."""

    doc: str
    spec: WorldSpec = WorldSpec()
    min_rooms: int = 1
    max_rooms: int = 4
    min_goals: int = 1
    max_goals: int = 3
    horizon: int = 1200  # control steps
    calls: int = 0  # of skills that planners may make; 0: as many as there is time for
    goals: str = "literals"  # a key of KINDS
    subtasks: int = 5  # of a chain
    rules: RuleRange = RuleRange()  # of kind "rules": how many
    held_out: tuple[tuple[str, str], ...] = ()  # kinds of goals with rules that occur in the test split alone
    held_out_words: bool = False  # whether tests are said in the wordings that are kept for them
    axis: str = ""  # along which every task is changed, of `perturbations.AXES`
    context_visible: bool = False  # whether agents observe the physical context
    show_rules: bool = True  # whether agents observe the rules
    on_table: float = 0.35  # the share of objects that start on a table
    styles: tuple[tuple[str, ...], ...] = ()  # of each split, the styles of layout; none: mixed
    clutter: tuple[tuple[int, ...], ...] = ()  # of each split, how many objects that no goal needs; none: as many as are left over
    larger: "TaskSet | None" = None  # the same in larger houses: what the split `larger` draws from

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that this set has."""
        return SPLITS if self.larger else SPLITS[:-1]

    def of(self, split: str) -> "TaskSet":
        """What a split draws from. Raises PalaestraError for a split that the set has not."""
        if split not in SPLITS:
            raise UnknownNameError("split", split, self.splits)
        if split != "larger":
            return self
        if self.larger is None:
            having = ", ".join(name for name, tasks in TASK_SETS.items() if tasks.larger)
            raise PalaestraError(f"split: got 'larger', expected one of: {', '.join(self.splits)}. Fix: a set that has it: {having}")
        return self.larger


def _growing(tasks: TaskSet, **larger: Any) -> TaskSet:
    """The set with a split `larger`, which differs in these fields."""
    return replace(tasks, larger=replace(tasks, **larger))


def _ruled(doc: str, rules: RuleRange, things: tuple[int, int, int, int], rooms: tuple[int, int], horizon: int) -> TaskSet:
    """Houses of rooms[0] to rooms[1] rooms with doors and rules; `things`: cubes, balls, tables, and how many of these are plates."""
    cubes, balls, tables, plates = things
    doors, swings = rules.doors[1], rules.swings[1]
    spec = WorldSpec(cubes=cubes, balls=balls, tables=tables, bins=1, plates=plates, buttons=doors, rules=rules.rules)
    spec = replace(spec, leaves=doors + swings, swings=swings)
    # What productions need lies on the floor: their tables are empty.
    on_table = 0.0 if rules.productions[1] else 0.35
    return TaskSet(doc, spec, rooms[0], rooms[1], horizon=horizon, goals="rules", rules=rules, on_table=on_table)


_LARGER = WorldSpec(cubes=5, balls=2, tables=3, bins=3, rooms=6)

TASK_SETS = {
    "rearrange": _growing(
        TaskSet("one to three goals in houses of one to four rooms"),
        doc="four goals in houses of five or six rooms",
        spec=_LARGER,
        min_rooms=5,
        max_rooms=6,
        min_goals=4,
        max_goals=4,
        horizon=3200,
    ),
    "rearrange-1": TaskSet("one goal in houses of one or two rooms", max_rooms=2, max_goals=1, horizon=800),
    "rearrange-4": TaskSet("four goals in houses of two to four rooms", min_rooms=2, min_goals=4, max_goals=4, horizon=2000),
    "language": _growing(
        TaskSet(
            "goals of every kind: orders, choices, all, counts, a table to clear; with and without a rule; houses of one to four rooms",
            horizon=2000,
            goals="formulas",
            held_out_words=True,
            held_out=(
                ("order", "hands off"),
                ("exactly", "hands off"),
                ("all", "keep out"),
                ("either", "keep out"),
                ("at least", "keep on"),
            ),
        ),
        doc="the same goals in houses of five or six rooms with more things, so that groups are larger",
        spec=_LARGER,
        min_rooms=5,
        max_rooms=6,
        horizon=3200,
    ),
    **{f"perturbed-{axis}": TaskSet(f"the tasks of rearrange with {change}", axis=axis) for axis, change in AXES.items()},
    "perturbed-physics-visible": TaskSet("perturbed-physics, which the agent observes", axis="physics", context_visible=True),
    "navigate-houses": TaskSet(
        "to be near a thing or in another room, in houses of one to four rooms",
        WorldSpec(cubes=1, balls=0, tables=1, bins=1, rooms=4),
        max_goals=1,
        horizon=200,
        goals="drive",
    ),
    "primitive": TaskSet(
        "one skill call: go to a thing, enter a room, pick up what is near, or put down what is held; houses of one to four rooms",
        max_goals=1,
        horizon=200,
        calls=1,
        goals="primitive",
    ),
    "long-5": _growing(
        TaskSet(
            "chains of five subtasks, of which no two are of a category, in houses of two to four rooms",
            min_rooms=2,
            horizon=2000,
            goals="chain",
            held_out_words=True,
            subtasks=5,
        ),
        doc="chains of eight subtasks, of which no two within five are of a category, in houses of five or six rooms",
        spec=_LARGER,
        min_rooms=5,
        max_rooms=6,
        horizon=4000,
        subtasks=8,
    ),
    "long-10": TaskSet(
        "chains of ten subtasks, of which no two within five are of a category, in houses of two to four rooms",
        min_rooms=2,
        horizon=4000,
        goals="chain",
        held_out_words=True,
        subtasks=10,
    ),
    "doors": _ruled(
        "one or two shut doors, opened by a button, a key or a weight on a plate, in houses of two to four rooms",
        RuleRange(doors=(1, 2)),
        things=(3, 1, 3, 1),
        rooms=(2, 4),
        horizon=2400,
    ),
    "swing-doors": replace(
        _ruled(
            "one or two swing doors that are pushed open, and at times a locked one, in houses of two to four rooms",
            RuleRange(doors=(0, 1), swings=(1, 2)),
            things=(3, 1, 3, 1),
            rooms=(2, 4),
            horizon=2400,
        ),
        held_out_words=True,
    ),
    "rules-trivial": _ruled("one production", RuleRange((1, 1)), things=(3, 1, 3, 0), rooms=(1, 2), horizon=1200),
    "rules-small": _ruled(
        "one or two productions, up to one door and one dead end",
        RuleRange((1, 2), doors=(0, 1), dead_ends=1),
        things=(4, 1, 3, 0),
        rooms=(2, 3),
        horizon=2400,
    ),
    "rules-medium": _ruled(
        "two productions, a door, up to two dead ends",
        RuleRange((2, 2), doors=(1, 1), dead_ends=2),
        things=(5, 2, 4, 1),
        rooms=(2, 4),
        horizon=3600,
    ),
    "rules-high": _ruled(
        "two or three productions, one or two doors, up to three dead ends",
        RuleRange((2, 3), doors=(1, 2), dead_ends=3),
        things=(6, 2, 4, 1),
        rooms=(3, 4),
        horizon=4800,
    ),
    "layouts": TaskSet(
        "the goals of rearrange in mixed, open and row houses of five or six rooms; those of tests are rings and corridors, more cluttered",
        WorldSpec(cubes=5, balls=2, tables=3, rooms=6),
        min_rooms=5,
        max_rooms=6,
        horizon=2400,
        on_table=0.2,
        styles=(("mixed", "row", "open"), ("mixed", "row", "open"), ("ring", "corridor")),
        clutter=((0, 1, 3), (2,), (4,)),
    ),
    "storage": TaskSet(
        "things put away in drawers, which are opened and shut by hand, in houses of one to three rooms",
        WorldSpec(cubes=3, balls=1, tables=1, bins=1, rooms=3, drawers=2),
        max_rooms=3,
        horizon=2400,
        goals="storage",
        held_out_words=True,
    ),
    "hampers": TaskSet(
        "things put into bins with lids, which a button opens, or a weight on a plate holds open, in houses of one to three rooms",
        WorldSpec(cubes=3, balls=1, tables=2, plates=1, bins=3, hampers=2, rooms=3, buttons=2, rules=2),
        max_rooms=3,
        horizon=2400,
        goals="hampers",
        held_out_words=True,
    ),
    "toggles": TaskSet(
        "doors, and a hamper, that are open only while a toggle is on, which may have to be left off, in houses of two to four rooms",
        WorldSpec(cubes=3, balls=1, tables=3, bins=2, hampers=1, leaves=2, buttons=3, toggles=2, rules=3),
        min_rooms=2,
        max_goals=2,
        horizon=2800,
        goals="toggles",
        rules=RuleRange(doors=(1, 2)),
        held_out_words=True,
    ),
    "shelves": TaskSet(
        "things put on shelves along the walls, and taken from them, in houses of one to four rooms",
        WorldSpec(cubes=3, balls=1, tables=3, shelves=2, bins=1),
        goals="shelves",
        held_out_words=True,
    ),
    "crates": TaskSet(
        "crates that are too heavy to lift pushed next to things, onto pressure plates and into rooms, in houses of one to three rooms",
        WorldSpec(cubes=2, balls=1, tables=3, plates=1, bins=1, rooms=3, leaves=1, rules=1, crates=2),
        max_rooms=3,
        min_goals=2,  # of one alone, random calls reach a tenth
        max_goals=2,
        horizon=2400,
        goals="crates",
        held_out_words=True,
    ),
    "hidden-rules": TaskSet(
        "a ball made of one of two cubes by coming near it; near the other one both vanish; agents do not see which is which; one room",
        WorldSpec(cubes=2, balls=1, tables=0, bins=1, rooms=1, rules=2),
        max_rooms=1,
        max_goals=1,
        horizon=40,
        goals="hidden",
        on_table=0.0,
        show_rules=False,
    ),
    "demo": TaskSet("two or three goals in houses of two to four rooms", min_rooms=2, min_goals=2, max_goals=3, horizon=2000),
}


def task_set(name: str) -> TaskSet:
    """The set registered as `name`."""
    if name not in TASK_SETS:
        raise UnknownNameError("task set", name, TASK_SETS)
    return TASK_SETS[name]


class TaskRange(struct.PyTreeNode, kw_only=True):
    """From which tasks a set draws. Traced, so that it can change without compiling again."""

    scene: SceneRange
    min_goals: jax.Array  # [] int32
    max_goals: jax.Array  # [] int32
    formulas: FormulaRange | None  # of sets of formulas
    drive: jax.Array | None  # [DRIVES] of sets about driving: how often a thing of each kind is the target


class TaskSetEnv(Rearrange):
    """`Rearrange` over one split of a task set."""

    def __init__(self, name: str = "rearrange", split: str = "train", *, engine: Engine | None = None):
        tasks = task_set(name).of(split)
        self.name = self.task_set = name
        self.split, self.kind = split, tasks.goals
        self.rules = tasks.rules
        number = SPLITS.index(split)
        ranges = SceneRange.make(
            tasks.spec,
            min_rooms=tasks.min_rooms,
            max_rooms=tasks.max_rooms,
            on_table=tasks.on_table,
            use=1.0 if tasks.clutter else 0.8,
            styles=tasks.styles[number] if tasks.styles else None,
            clutter=tasks.clutter[number] if tasks.clutter else None,
        )
        held_out = jnp.asarray([[colour in _HELD_OUT[kind] for colour in COLOURS] for kind in range(len(ranges.colours))])
        if split != "test":
            ranges = ranges.replace(colours=~held_out)
        super().__init__(
            ranges=ranges,
            min_goals=tasks.min_goals,
            max_goals=tasks.max_goals,
            horizon=tasks.horizon,
            show_rules=tasks.show_rules,
            context_visible=tasks.context_visible,
            engine=engine or NativeEngine(world(tasks.spec)),
        )
        self.axis, self.regime = tasks.axis, REGIMES[number] if tasks.axis else ""
        self.held_out_words = (tasks.held_out_words and split == "test") or self.axis == "language"
        without = () if split == "test" else tasks.held_out
        self.formulas = FormulaRange.make(without=without) if tasks.goals == "formulas" else None
        self.drive = jnp.ones(len(DRIVES)) if tasks.goals == "drive" else None
        self.subtasks = tasks.subtasks

    @property
    def task_range(self) -> TaskRange:
        """From which tasks it draws."""
        low, high = jnp.asarray(self.min_goals, jnp.int32), jnp.asarray(self.max_goals, jnp.int32)
        return TaskRange(scene=self.ranges, min_goals=low, max_goals=high, formulas=self.formulas, drive=self.drive)

    def within(self, ranges: TaskRange) -> "TaskSetEnv":
        """The same environment with other tasks; the ranges may be traced."""
        other = copy.copy(self)
        other.ranges, other.formulas, other.drive = ranges.scene, ranges.formulas, ranges.drive
        other.min_goals, other.max_goals = ranges.min_goals, ranges.max_goals
        return other

    def attempt_scene(self, key: jax.Array) -> tuple[Scene, jax.Array]:
        return KINDS[self.kind].scene(self, key)

    def attempt_task(self, key: jax.Array) -> tuple[Task, jax.Array]:
        at_once = KINDS[self.kind].task
        return at_once(self, key) if at_once else super().attempt_task(key)

    def edit(self, key: jax.Array, task: Task) -> Task:
        if KINDS[self.kind].task:
            got = f"{self.name!r}, whose rules hang together with the rest"
            raise PalaestraError(f"changes of tasks: got {got}; expected a set without rules. Fix: another set, or --sampler plr")
        return super().edit(key, task)

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        return KINDS[self.kind].goal(self, key, scene)

    def admits(self, task: Task) -> jax.Array:
        return KINDS[self.kind].admits(self, task)

    def sample_task(self, key: jax.Array) -> Task:
        return self._changed(key, super().sample_task(key))

    def sample_tasks(self, keys: jax.Array) -> Task:
        return jax.vmap(self._changed)(keys, super().sample_tasks(keys))

    def _changed(self, key: jax.Array, task: Task) -> Task:
        """The task of this key as the set's axis has it."""
        return perturb(jax.random.fold_in(key, _CHANGE), self.axis, self, task, self.regime) if self.axis else task

    def level(self, key: jax.Array) -> Task:
        return super().level(jax.random.fold_in(key, SPLITS.index(self.split)))

    def task(self, seed: int) -> Task:
        """Task number `seed` of the split."""
        return self.sample_task(self._key(jnp.asarray(seed)))

    def tasks(self, seeds: jax.Array) -> Task:
        """Tasks of these numbers [B]: the same, several times as fast as one by one."""
        return self.sample_tasks(jax.vmap(self._key)(seeds))

    def _key(self, seed: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.key(seed), SPLITS.index(self.split))


class Kind(NamedTuple):
    """How the tasks of one kind are made. All take the environment first."""

    goal: Callable[[TaskSetEnv, jax.Array, Scene], tuple[Goal, jax.Array]]  # by a key, in a scene
    scene: Callable[[TaskSetEnv, jax.Array], tuple[Scene, jax.Array]] = Rearrange.attempt_scene
    admits: Callable[[TaskSetEnv, Task], jax.Array] = Rearrange.admits
    task: Callable[[TaskSetEnv, jax.Array], tuple[Task, jax.Array]] | None = None  # all at once, where scenes are drawn for their rules


def _several(attempt: Callable[..., tuple[Goal, jax.Array]]) -> Callable[[TaskSetEnv, jax.Array, Scene], tuple[Goal, jax.Array]]:
    """Goals of as many terms as the set says."""
    return lambda env, key, scene: attempt(key, env.world, scene, jnp.asarray(env.min_goals), jnp.asarray(env.max_goals))


KINDS = {
    "literals": Kind(Rearrange.attempt_goal),  # `min_goals` to `max_goals` of them at once
    "formulas": Kind(lambda env, key, scene: attempt_formula(key, env.world, scene, cast(FormulaRange, env.formulas))),  # of all kinds
    "drive": Kind(lambda env, key, scene: attempt_drive(key, env.world, scene, cast(jax.Array, env.drive))),  # where the robot is
    "primitive": Kind(  # what one skill call does
        lambda env, key, scene: primitives.attempt_goal(key, env.world, scene),
        lambda env, key: primitives.attempt_scene(key, env.world, env.ranges),
        lambda env, task: primitives.admits(env.world, task),
    ),
    "chain": Kind(  # `subtasks` stages of one literal
        lambda env, key, scene: chains.attempt_chain(key, env.world, scene, env.subtasks),
        admits=lambda env, task: chains.admits(env.world, task),
    ),
    "storage": Kind(  # things in drawers, and drawers open or shut
        _several(storage.attempt_goal),
        lambda env, key: storage.attempt_scene(key, env.world, env.ranges),
    ),
    "shelves": Kind(  # literals, of which some is about a shelf
        _several(shelves.attempt_goal),
    ),
    "crates": Kind(  # heavy things pushed somewhere
        _several(crates.attempt_goal),
        lambda env, key: crates.attempt_scene(key, env.world, env.ranges),
    ),
    "rules": Kind(  # by doors and productions
        lambda env, key, scene: attempt_wish(key, env.world, scene),
        task=lambda env, key: attempt_rules(key, env.world, env.ranges, env.rules),
    ),
    "toggles": Kind(  # literals, and how a toggle, or what it opens, is left
        _several(toggles.attempt_goal),
        task=lambda env, key: toggles.attempt_toggles(
            key, env.world, env.ranges, env.rules, jnp.asarray(env.min_goals), jnp.asarray(env.max_goals)
        ),
    ),
    "hidden": Kind(  # what one rule makes and another one destroys
        lambda env, key, scene: (hidden.wanted(env.world.spec), jnp.asarray(True)),
        task=lambda env, key: hidden.attempt_hidden(key, env.world, env.ranges),
    ),
    "hampers": Kind(  # literals, of which some is about a hamper, and hampers that are shut again
        _several(hampers.attempt_goal),
        task=lambda env, key: hampers.attempt_hampers(key, env.world, env.ranges, jnp.asarray(env.min_goals), jnp.asarray(env.max_goals)),
    ),
}
