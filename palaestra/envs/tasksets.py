"""Named task sets with train, validation and test splits. A set, a split and a seed name a task; there are no files.

Splits never share a key: each folds its own number in. The test split differs by construction as well: a third of the
(colour, shape) pairs (purple and yellow cubes, red and blue balls) occur in it alone.

The sets `perturbed-<axis>` are `rearrange` changed along one axis: task n of a split is task n of `rearrange` in that split but for
that axis. Of `perturbed-physics` the split says the regime as well: train, validation and test are train, interpolation and
extrapolation.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from palaestra.envs.context import REGIMES
from palaestra.envs.env import Rearrange
from palaestra.envs.formulas import FormulaRange, attempt_drive, attempt_formula
from palaestra.envs.generator import SceneRange
from palaestra.envs.perturbations import AXES, perturb
from palaestra.envs.types import COLOURS, Goal, Scene, Task
from palaestra.sim.engine import Engine
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world

SPLITS = ("train", "validation", "test")
_CHANGE = 1  # folded into a task's key: the stream of what it is changed by
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
    axis: str = ""  # along which every task is changed, of `perturbations.AXES`
    context_visible: bool = False  # whether agents observe the physical context


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
    **{f"perturbed-{axis}": TaskSet(f"the tasks of rearrange with {change}", axis=axis) for axis, change in AXES.items()},
    "perturbed-physics-visible": TaskSet("perturbed-physics, which the agent observes", axis="physics", context_visible=True),
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
            context_visible=tasks.context_visible,
            engine=engine or NativeEngine(world(tasks.spec)),
        )
        self.axis, self.regime = tasks.axis, REGIMES[SPLITS.index(split)]
        self.held_out_words = (tasks.formulas and split == "test") or self.axis == "language"
        without = () if split == "test" else tasks.held_out
        self.formulas = FormulaRange.make(without=without) if tasks.formulas else None

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        if task_set(self.task_set).drive:
            return attempt_drive(key, self.world, scene)
        if self.formulas is not None:
            return attempt_formula(key, self.world, scene, self.formulas)
        return super().attempt_goal(key, scene)

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
