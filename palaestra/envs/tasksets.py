"""Named task sets with train, validation and test splits. A set, a split and a seed name a task; there are no files.

Splits never share a key: each folds its own number in. The test split differs by construction as well: a third of the
(colour, shape) pairs (purple and yellow cubes, red and blue balls) occur in it alone.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from palaestra.envs.env import Rearrange
from palaestra.envs.formulas import FormulaRange, attempt_drive, attempt_formula
from palaestra.envs.generator import SceneRange
from palaestra.envs.productions import RuleRange, attempt_rules
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
    rules: RuleRange | None = None  # doors and rules, with goals that take them
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
    "doors": TaskSet(
        "one or two shut doors, opened by a button, a key or a weight on a plate, in houses of two to four rooms; one or two goals",
        WorldSpec(cubes=3, balls=1, tables=3, plates=1, bins=1, rooms=4, leaves=2, buttons=2, rules=2),
        min_rooms=2,
        max_goals=2,
        horizon=2400,
        rules=RuleRange(doors=(1, 2)),
    ),
    **{
        f"rules-{name}": TaskSet(
            f"{doc}; objects turn into others on the right tables, and what is wanted is made so",
            WorldSpec(
                cubes=cubes,
                balls=balls,
                tables=3 + plates,
                plates=plates,
                bins=1,
                rooms=4,
                leaves=r.doors[1],
                buttons=r.doors[1],
                rules=r.rules,
            ),
            min_rooms=rooms,
            max_rooms=most,
            max_goals=1,
            horizon=horizon,
            rules=r,
        )
        for name, doc, cubes, balls, plates, rooms, most, horizon, r in (
            ("trivial", "one production", 3, 1, 0, 1, 2, 1200, RuleRange(productions=(1, 1))),
            ("small", "one or two productions, up to one door and one dead end", 4, 1, 0, 2, 3, 2400, RuleRange((1, 2), (0, 1), 1)),
            ("medium", "two productions, a door, up to two dead ends", 5, 2, 1, 2, 4, 3600, RuleRange((2, 2), (1, 1), 2)),
            (
                "high",
                "two or three productions, one or two doors, up to three dead ends",
                6,
                2,
                1,
                3,
                4,
                4800,
                RuleRange((2, 3), (1, 2), 3),
            ),
        )
    },
    "demo": TaskSet("two or three goals in houses of two to four rooms", min_rooms=2, min_goals=2, max_goals=3, horizon=2000),
}


def task_set(name: str) -> TaskSet:
    """The set registered as `name`."""
    if name not in TASK_SETS:
        raise UnknownNameError("task set", name, TASK_SETS)
    return TASK_SETS[name]


class TaskSetEnv(Rearrange):
    """`Rearrange` over one split of a task set."""

    def __init__(self, name: str = "rearrange", split: str = "train", *, engine: Engine | None = None):
        tasks = task_set(name)
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        self.name = self.task_set = name
        self.split = split
        self.rules = tasks.rules
        # What productions need lies on the floor: their tables are empty.
        on_table = 0.0 if tasks.rules and tasks.rules.productions[1] else 0.35
        ranges = SceneRange.make(tasks.spec, min_rooms=tasks.min_rooms, max_rooms=tasks.max_rooms, on_table=on_table)
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

    def attempt_task(self, key: jax.Array) -> tuple[Task, jax.Array]:
        if self.rules is not None:
            return attempt_rules(key, self.world, self.ranges, self.rules)
        return super().attempt_task(key)

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        if task_set(self.task_set).drive:
            return attempt_drive(key, self.world, scene)
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
