"""Named task sets with train, validation and test splits. A set, a split and a seed name a task; there are no files.

Splits never share a key: each folds its own number in. The test split differs by construction as well: a third of the
(colour, shape) pairs (purple and yellow cubes, red and blue balls) occur in it alone.
"""

import copy
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.env import Rearrange
from palaestra.envs.formulas import DRIVES, FormulaRange, attempt_drive, attempt_formula
from palaestra.envs.generator import SceneRange
from palaestra.envs.types import COLOURS, Goal, Scene, Task
from palaestra.sim.engine import Engine
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world

SPLITS = ("train", "validation", "test")
_HELD_OUT = {0: ("purple", "yellow"), 1: ("red", "blue")}  # kind (cube, ball): colours kept for the test split


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
    formulas: bool = False  # goals of all kinds (`envs.formulas`) instead of one to `max_goals` literals
    drive: bool = False  # one goal about where the robot is instead
    held_out: tuple[tuple[str, str], ...] = ()  # kinds of goals with rules that occur in the test split alone


TASK_SETS = {
    "rearrange": TaskSet("one to three goals in houses of one to four rooms"),
    "rearrange-1": TaskSet("one goal in houses of one or two rooms", max_rooms=2, max_goals=1, horizon=800),
    "rearrange-4": TaskSet("four goals in houses of two to four rooms", min_rooms=2, min_goals=4, max_goals=4, horizon=2000),
    "language": TaskSet(
        "goals of every kind: orders, choices, all, counts, a table to clear; with and without a rule; houses of one to four rooms",
        horizon=2000,
        formulas=True,
        held_out=(("order", "hands off"), ("exactly", "hands off"), ("all", "keep out"), ("either", "keep out"), ("at least", "keep on")),
    ),
    "navigate-houses": TaskSet(
        "to be near a thing or in another room, in houses of one to four rooms",
        WorldSpec(cubes=1, balls=0, tables=1, bins=1, rooms=4),
        max_goals=1,
        horizon=200,
        drive=True,
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
        tasks = task_set(name)
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        self.name = self.task_set = name
        self.split = split
        ranges = SceneRange.make(tasks.spec, min_rooms=tasks.min_rooms, max_rooms=tasks.max_rooms)
        held_out = jnp.asarray([[colour in _HELD_OUT[kind] for colour in COLOURS] for kind in (0, 1)])
        if split != "test":
            ranges = ranges.replace(colours=~held_out)
        super().__init__(
            ranges=ranges,
            min_goals=tasks.min_goals,
            max_goals=tasks.max_goals,
            horizon=tasks.horizon,
            engine=engine or NativeEngine(world(tasks.spec)),
        )
        self.held_out_words = tasks.formulas and split == "test"
        without = () if split == "test" else tasks.held_out
        self.formulas = FormulaRange.make(without=without) if tasks.formulas else None
        self.drive = jnp.ones(len(DRIVES)) if tasks.drive else None

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

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        if self.drive is not None:
            return attempt_drive(key, self.world, scene, self.drive)
        if self.formulas is not None:
            return attempt_formula(key, self.world, scene, self.formulas)
        return super().attempt_goal(key, scene)

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
