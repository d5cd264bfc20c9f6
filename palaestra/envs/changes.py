"""What a person changes in a task: things moved, turned, added, removed, and given other looks. On the host, in NumPy.

Each function makes another task and leaves its own untouched. Fields of which a change does not speak are carried over as they are.
Things are named by their number among the entities. What cannot be is refused with a PalaestraError; what can be, but is not sensible
(things that overlap, a goal out of reach), is for `palaestra.envs.editor` to tell.
"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from palaestra.envs import goals, parser
from palaestra.envs.generator import BIG, SMALL
from palaestra.envs.goals import Formula, Option
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import COLOURS, Goal, Scene, Task, receptacle_boxes
from palaestra.sim.drawers import DRAWER_FLOOR
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import BIN_FLOOR, WorldSpec, parked_object

HALF = (SMALL[0], BIG[1])  # m, half sizes of the objects that skills are trained with
KINDS = ("cube", "ball")
_RESTS = 1e-3  # m, between an object's underside and what it lies on
_APART = 0.30  # m, from an object that is added to walls and other things


def on_host(task: Task) -> Task:
    """The same task in arrays of NumPy."""
    return jax.tree.map(np.asarray, task)


def thing_of(spec: WorldSpec, scene: Scene, thing: int) -> Entity:
    """The entity of this number; refused where there is none in the scene."""
    found = {e.index: e for e in entities(spec, scene)}
    if thing not in found:
        raise PalaestraError(f"thing: got number {thing}, expected one of: {', '.join(f'{i} ({e.name})' for i, e in found.items())}")
    return found[thing]


def _changeable(spec: WorldSpec, scene: Scene, thing: int) -> Entity:
    """The entity of this number; refused where it is a part of the house."""
    entity = thing_of(spec, scene, thing)
    if entity.kind in ("door", "button", "drawer"):
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be changed; doors, buttons and drawers stay as the house has them")
    return entity


def number_of(spec: WorldSpec, scene: Scene, name: str) -> int:
    """The number of the entity of this name."""
    found = {e.name: e.index for e in entities(spec, scene)}
    if name not in found:
        raise UnknownNameError("thing", name, found)
    return found[name]


def position(spec: WorldSpec, scene: Scene, thing: int) -> np.ndarray:
    """Where the robot, an object, a table or a bin is [2] m."""
    lay, receptacle = scene.layout, thing - 1 - spec.objects
    at = lay.robot_q if thing == 0 else lay.object_pos[thing - 1] if receptacle < 0 else lay.fixture_pos[spec.walls + receptacle]
    return np.array(at[:2], float)


def heading(spec: WorldSpec, scene: Scene, thing: int) -> float | None:
    """Which way the robot or an object looks, rad; None for what stands square to the walls."""
    lay = scene.layout
    return float(lay.robot_q[2]) if thing == 0 else float(lay.object_yaw[thing - 1]) if thing <= spec.objects else None


def support(spec: WorldSpec, scene: Scene, xy: Any) -> tuple[int | None, float]:
    """What lies under a point [2] m: a table, bin or drawer (its entity; None: the floor), and the height at which things rest there, m."""
    centre, side, top = (np.asarray(x) for x in receptacle_boxes(spec, scene))
    over = (np.abs(np.asarray(xy) - centre) <= side).all(1) & np.asarray(scene.fixture_used)[spec.walls :]
    if not over.any():
        return None, 0.0
    height = np.concatenate([top[: spec.tables], np.full(spec.bins, BIN_FLOOR), np.full(spec.drawers, DRAWER_FLOOR)])
    which = int(np.argmax(np.where(over, height, -1.0)))
    return 1 + spec.objects + which, float(height[which])


def resting_on(spec: WorldSpec, scene: Scene, thing: int) -> list[int]:
    """The objects that lie on a table or in a bin."""
    lay, found = scene.layout, []
    for i in np.flatnonzero(lay.object_used):
        under, height = support(spec, scene, lay.object_pos[i, :2])
        if under == thing and abs(float(lay.object_pos[i, 2] - lay.object_half[i]) - height) < _RESTS:
            found.append(1 + int(i))
    return found


# --- changes ------------------------------------------------------------------------------------------------------


def move(spec: WorldSpec, task: Task, thing: int, xy: Any) -> Task:
    """The thing at xy [2] m; an object lies on what is there, and what lies on a table or in a bin goes with it."""
    entity = _changeable(spec, task.scene, thing)
    xy = np.asarray(xy, np.float32)
    if xy.shape != (2,) or not np.isfinite(xy).all():
        raise PalaestraError(f"{entity.name}: got the place {xy.tolist()}, expected x and y in metres")
    lay = task.scene.layout
    if entity.kind == "robot":
        return _with_layout(task, robot_q=np.r_[xy, lay.robot_q[2:]])
    if entity.type == "object":
        z = support(spec, task.scene, xy)[1] + lay.object_half[thing - 1]
        return _with_layout(task, object_pos=_put(lay.object_pos, thing - 1, np.r_[xy, z]))
    if entity.kind == "room":
        raise PalaestraError(f"{entity.name}: got a room to be moved, expected the robot, an object, a table or a bin")
    slot = spec.walls + thing - 1 - spec.objects
    by = xy - lay.fixture_pos[slot, :2]
    riding = np.isin(np.arange(spec.objects), np.array(resting_on(spec, task.scene, thing), int) - 1)
    carried = lay.object_pos + np.where(riding[:, None], np.r_[by, 0.0], 0.0)
    fixtures = _put(lay.fixture_pos, slot, np.r_[xy, lay.fixture_pos[slot, 2]])
    return _with_layout(task, fixture_pos=fixtures, object_pos=carried)


def turn(spec: WorldSpec, task: Task, thing: int, angle: float) -> Task:
    """The robot or an object turned to the left by `angle` rad."""
    entity, lay = _changeable(spec, task.scene, thing), task.scene.layout
    if entity.kind == "robot":
        return _with_layout(task, robot_q=_put(lay.robot_q, 2, _wrapped(lay.robot_q[2] + angle)))
    if entity.type != "object":
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be turned, expected the robot or an object: the rest stays square")
    return _with_layout(task, object_yaw=_put(lay.object_yaw, thing - 1, _wrapped(lay.object_yaw[thing - 1] + angle)))


def add(spec: WorldSpec, task: Task, kind: str, xy: Any = None) -> tuple[Task, int]:
    """One more cube or ball at xy [2] m, or near the robot; with it, its number. Its colour is the first that tells it from the others."""
    if kind not in KINDS:
        raise UnknownNameError("kind of object", kind, KINDS)
    lay, slots = task.scene.layout, range(spec.cubes) if kind == "cube" else range(spec.cubes, spec.objects)
    made = np.asarray(task.scene.rules.product)  # these slots are for what rules make
    free = [i for i in slots if not lay.object_used[i] and i not in made]
    if not free:
        fix = "remove one, or change one's colour" if slots else "a set whose world has some"
        raise PalaestraError(f"add: got one {kind} more than the {len(slots)} that this world has slots for. Fix: {fix}")
    slot = free[0]
    xy = free_spot(spec, task.scene) if xy is None else xy
    there = _with_layout(
        task,
        object_used=_put(lay.object_used, slot, True),
        object_half=_put(lay.object_half, slot, np.clip(lay.object_half[slot], *HALF)),
        object_yaw=_put(lay.object_yaw, slot, 0.0),
    )
    there = move(spec, there, 1 + slot, xy)
    others = [int(task.scene.object_colour[i]) for i in slots if lay.object_used[i]]
    for colour in sorted(range(len(COLOURS)), key=others.count):
        looks = there.replace(scene=there.scene.replace(object_colour=_put(there.scene.object_colour, slot, colour)))
        if not _alike(spec, looks.scene):
            return looks, 1 + slot
    raise PalaestraError(f"add: got a {kind} like others in every colour, expected colour and size that tell it apart. Fix: resize one")


def remove(spec: WorldSpec, task: Task, thing: int) -> Task:
    """The task without an object, and its goal without what it says of it."""
    entity = _changeable(spec, task.scene, thing)
    if entity.type != "object":
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be removed, expected a cube or a ball; a house keeps the rest")
    lay = task.scene.layout
    goal = _goal_without(spec, task, entity)
    gone = _with_layout(
        task,
        object_used=_put(lay.object_used, thing - 1, False),
        object_pos=_put(lay.object_pos, thing - 1, parked_object(thing - 1)),
    )
    return gone.replace(goal=goal)


def recolour(spec: WorldSpec, task: Task, thing: int, colour: str) -> Task:
    """An object, table or bin in another colour."""
    entity, scene = _changeable(spec, task.scene, thing), task.scene
    if colour not in COLOURS:
        raise UnknownNameError("colour", colour, COLOURS)
    if not entity.colour:
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be coloured, expected an object, a table or a bin")
    number, slot = COLOURS.index(colour), thing - 1
    if entity.type == "object":
        changed = scene.replace(object_colour=_put(scene.object_colour, slot, number))
    else:
        changed = scene.replace(receptacle_colour=_put(scene.receptacle_colour, slot - spec.objects, number))
    return task.replace(scene=_told_apart(spec, changed))


def resize(spec: WorldSpec, task: Task, thing: int, half: float) -> Task:
    """An object of another half size, m, on what it lies on."""
    entity, lay = _changeable(spec, task.scene, thing), task.scene.layout
    if entity.type != "object":
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be resized, expected a cube or a ball")
    low, high = (round(1000 * h) for h in HALF)
    if not low - 1e-3 <= 1000 * half <= high + 1e-3:
        raise PalaestraError(f"{entity.name}: got a half size of {1000 * half:.3g} mm, expected {low} to {high} mm: what the gripper holds")
    lifted = lay.object_pos[thing - 1] + np.array([0.0, 0.0, half - float(lay.object_half[thing - 1])])
    after = _with_layout(task, object_half=_put(lay.object_half, thing - 1, half), object_pos=_put(lay.object_pos, thing - 1, lifted))
    return after.replace(scene=_told_apart(spec, after.scene))


def with_goal(spec: WorldSpec, task: Task, text: str) -> Task:
    """The task with the goal that an English instruction states. Raises parser.InstructionError."""
    return task.replace(goal=jax.tree.map(np.asarray, parser.parse(text, spec, task.scene)))


def free_spot(spec: WorldSpec, scene: Scene) -> np.ndarray:
    """The place on the floor nearest to the robot that is clear of everything [2] m."""
    lay, used = scene.layout, np.asarray(scene.fixture_used)
    centre = np.concatenate([lay.fixture_pos[used, :2], lay.object_pos[np.asarray(lay.object_used), :2]])
    half = np.concatenate([lay.fixture_half[used, :2], np.zeros((int(np.sum(lay.object_used)), 2))])
    rooms = scene.room[scene.room_used]
    grids = [np.meshgrid(np.arange(x0, x1, 0.1), np.arange(y0, y1, 0.1)) for x0, y0, x1, y1 in rooms]
    spots = np.concatenate([np.stack(grid, -1).reshape(-1, 2) for grid in grids])
    gap = np.linalg.norm(np.maximum(np.abs(spots[:, None] - centre) - half, 0.0), axis=-1).min(1)
    away = np.linalg.norm(spots - lay.robot_q[:2], axis=-1)
    good = (gap >= _APART) & (away >= 0.6)  # not under its arm
    if not good.any():
        raise PalaestraError(f"add: got a house without a place {_APART} m from everything. Fix: make room, or say where")
    return spots[np.argmin(np.where(good, away, np.inf))]


# --- how ----------------------------------------------------------------------------------------------------------


def _with_layout(task: Task, **fields: Any) -> Task:
    """The task with other fields of its layout, in the dtypes that they had."""
    lay = task.scene.layout
    same = {name: np.asarray(value, getattr(lay, name).dtype) for name, value in fields.items()}
    return task.replace(scene=task.scene.replace(layout=lay.replace(**same)))


def _put(array: Any, index: int, value: Any) -> np.ndarray:
    """A copy with one row replaced."""
    copy = np.array(array)
    copy[index] = value
    return copy


def _wrapped(angle: Any) -> float:
    """The same angle from -π to π."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def _alike(spec: WorldSpec, scene: Scene) -> str:
    """A name that two things have, if there is one."""
    names = [e.name for e in entities(spec, scene)]
    return next((name for name in names if names.count(name) > 1), "")


def _told_apart(spec: WorldSpec, scene: Scene) -> Scene:
    """The scene, unless two things in it have one name."""
    if name := _alike(spec, scene):
        raise PalaestraError(f"looks: got two things called {name}, expected all to differ. Fix: change the other first")
    return scene


def _goal_without(spec: WorldSpec, task: Task, entity: Entity) -> Goal:
    """The goal without what it says of an entity; itself, to the bit, where it says nothing of it."""
    goal = task.goal
    if not ((goal.subjects | goal.targets)[:, entity.index] & goal.used).any():
        return goal

    def left(option: Option) -> Option:
        terms = [replace(t, subjects=others(t.subjects), targets=others(t.targets)) for t in option]
        return tuple(term for term in terms if term.pairs and term.at_least <= len(term.pairs))

    def others(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name != entity.name)

    said = goals.formula(spec, task)
    stages = [tuple(option for option in map(left, stage) if option) for stage in said.stages]
    return jax.tree.map(np.asarray, goals.write(Formula(tuple(filter(None, stages)), left(said.always)), spec, task.scene))
