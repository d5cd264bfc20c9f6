"""What a person changes in a task: things moved, turned, added, removed, given other looks, and rules. On the host, in NumPy.

Each function makes another task and leaves its own untouched. Fields of which a change does not speak are carried over as they are.
Things are named by their number among the entities. What cannot be is refused with a PalaestraError; what can be, but is not sensible
(things that overlap, a goal out of reach), is for `palaestra.envs.editing.editor` to tell.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals
from palaestra.envs.generation.doors import hinges
from palaestra.envs.generation.generator import BIG, SMALL
from palaestra.envs.goals import Formula, Option
from palaestra.envs.mechanics import Rule, mechanics, rule_rows
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import BUTTONS, COLOURS, DOORS, Goal, Scene, Task, button_entity, leaf_entity, receptacle_boxes
from palaestra.envs.words import parser, rulebook
from palaestra.envs.words.references import MOVED, Things
from palaestra.sim.drawers import DRAWER_FLOOR
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import BIN_FLOOR, WorldSpec, parked_mechanism, parked_object

HALF = (SMALL[0], BIG[1])  # m, half sizes of the objects that skills are trained with
KINDS = ("cube", "ball", "button", "door")  # of what can be added and removed; swing doors are doors, and toggles buttons, too
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


def number_of(spec: WorldSpec, scene: Scene, name: str) -> int:
    """The number of the entity of this name."""
    found = {e.name: e.index for e in entities(spec, scene)}
    if name not in found:
        raise UnknownNameError("thing", name, found)
    return found[name]


def position(spec: WorldSpec, scene: Scene, thing: int) -> np.ndarray:
    """Where anything but a room is [2] m; of a door, the middle of its doorway."""
    lay, receptacle = scene.layout, thing - 1 - spec.objects
    if thing >= button_entity(spec, 0):
        return np.array(lay.button_pos[thing - button_entity(spec, 0)], float)
    if thing >= leaf_entity(spec, 0):
        return np.array(scene.door[int(scene.leaf_doorway[thing - leaf_entity(spec, 0)])], float)
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
    entity = thing_of(spec, task.scene, thing)
    xy = np.asarray(xy, np.float32)
    if xy.shape != (2,) or not np.isfinite(xy).all():
        raise PalaestraError(f"{entity.name}: got the place {xy.tolist()}, expected x and y in metres")
    lay = task.scene.layout
    if entity.kind == "robot":
        return _with_layout(task, robot_q=np.r_[xy, lay.robot_q[2:]])
    if entity.kind in MOVED:  # a crate stands on the floor, wherever it is
        under = 0.0 if entity.kind == "crate" else support(spec, task.scene, xy)[1]
        z = under + lay.object_half[thing - 1]
        return _with_layout(task, object_pos=_put(lay.object_pos, thing - 1, np.r_[xy, z]))
    if entity.kind in BUTTONS:
        return _with_layout(task, button_pos=_put(lay.button_pos, thing - button_entity(spec, 0), xy))
    if entity.kind in (*DOORS, "room", "drawer"):
        fix = ". Fix: remove it, and add one in another doorway" if entity.kind in DOORS else ""
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be moved, expected the robot, an object, table, bin or button{fix}")
    slot = spec.walls + thing - 1 - spec.objects
    by = xy - lay.fixture_pos[slot, :2]
    riding = np.isin(np.arange(spec.objects), np.array(resting_on(spec, task.scene, thing), int) - 1)
    carried = lay.object_pos + np.where(riding[:, None], np.r_[by, 0.0], 0.0)
    fixtures = _put(lay.fixture_pos, slot, np.r_[xy, lay.fixture_pos[slot, 2]])
    return _with_layout(task, fixture_pos=fixtures, object_pos=carried)


def turn(spec: WorldSpec, task: Task, thing: int, angle: float) -> Task:
    """The robot or an object turned to the left by `angle` rad."""
    entity, lay = thing_of(spec, task.scene, thing), task.scene.layout
    if entity.kind == "robot":
        return _with_layout(task, robot_q=_put(lay.robot_q, 2, _wrapped(lay.robot_q[2] + angle)))
    if entity.kind not in MOVED:
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be turned, expected the robot or an object: the rest stays square")
    return _with_layout(task, object_yaw=_put(lay.object_yaw, thing - 1, _wrapped(lay.object_yaw[thing - 1] + angle)))


def add(spec: WorldSpec, task: Task, kind: str, xy: Any = None) -> tuple[Task, int]:
    """One more of a kind; with the task, its number. Its colour is the first that tells it from the others.

    A cube, ball or button comes to be at xy [2] m, or near the robot; a door, shut, in the free doorway nearest to there: a locked one
    where the world has a slot for it, else a swing door.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of thing", kind, KINDS)
    scene = task.scene
    made = np.asarray(scene.rules.product)  # these slots are for what rules make
    first, used = {
        "cube": (0, scene.layout.object_used[: spec.cubes]),
        "ball": (spec.cubes, scene.layout.object_used[spec.cubes : spec.portables]),
        "button": (0, scene.button_used),
        "door": (0, scene.leaf_used),
    }[kind]
    free = [first + int(i) for i in np.flatnonzero(~np.asarray(used)) if kind in ("button", "door") or first + i not in made]
    if not free:
        fix = "remove one, or change one's colour" if len(used) else "a set whose world has some"
        raise PalaestraError(f"add: got one {kind} more than the {len(used)} that this world has slots for. Fix: {fix}")
    slot = free[0]
    if kind == "door":
        return _told_by_colour(spec, _with_door(spec, task, slot, scene.layout.robot_q[:2] if xy is None else xy), leaf_entity(spec, slot))
    xy = free_spot(spec, scene) if xy is None else xy
    if kind == "button":
        there = task.replace(scene=scene.replace(button_used=_put(scene.button_used, slot, True)))
        return _told_by_colour(spec, move(spec, there, button_entity(spec, slot), xy), button_entity(spec, slot))
    there = _with_layout(
        task,
        object_used=_put(scene.layout.object_used, slot, True),
        object_half=_put(scene.layout.object_half, slot, np.clip(scene.layout.object_half[slot], *HALF)),
        object_yaw=_put(scene.layout.object_yaw, slot, 0.0),
    )
    return _told_by_colour(spec, move(spec, there, 1 + slot, xy), 1 + slot)


def _with_door(spec: WorldSpec, task: Task, slot: int, xy: Any) -> Task:
    """The task with a leaf in the nearest doorway that has none and room for one."""
    scene = task.scene
    hung = jax.tree.map(np.asarray, _hinges(spec, slot >= spec.locks)(scene))
    taken = np.isin(np.arange(spec.doors), np.asarray(scene.leaf_doorway)[np.asarray(scene.leaf_used)])
    away = np.where(hung.fits & ~taken, np.linalg.norm(np.asarray(scene.door) - np.asarray(xy), axis=1), np.inf)
    if not np.isfinite(away).any():
        raise PalaestraError("add: got a door, expected a doorway without one, and room for it to swing. Fix: clear the floor before one")
    doorway, lay = int(np.argmin(away)), scene.layout
    there = _with_layout(
        task,
        leaf_pos=_put(lay.leaf_pos, slot, hung.pos[doorway]),
        leaf_quat=_put(lay.leaf_quat, slot, hung.quat[doorway]),
        leaf_angle=_put(lay.leaf_angle, slot, 0.0),
    )
    used, where = _put(scene.leaf_used, slot, True), _put(scene.leaf_doorway, slot, doorway)
    return there.replace(scene=there.scene.replace(leaf_used=used, leaf_doorway=where))


@lru_cache(maxsize=4)
def _hinges(spec: WorldSpec, both: bool) -> Any:
    return jax.jit(partial(hinges, spec, side=jnp.ones((spec.doors, 1)), both=both))


def remove(spec: WorldSpec, task: Task, thing: int) -> Task:
    """The task without an object, button or door, its goal without what it says of it, and without the rules that name it."""
    entity = thing_of(spec, task.scene, thing)
    if entity.kind not in (*KINDS, *DOORS, *BUTTONS):
        kinds = "a cube, ball, button or door; a house keeps the rest"
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be removed, expected {kinds}")
    task = task.replace(goal=_goal_without(spec, task, entity))
    while named := [k for k, rule in enumerate(mechanics(spec, task.scene).rules) if entity.name in _names(rule)]:
        task = without_rule(spec, task, named[0])
    lay, scene = task.scene.layout, task.scene
    if entity.kind in BUTTONS:
        slot = thing - button_entity(spec, 0)
        gone = _with_layout(task, button_pos=_put(lay.button_pos, slot, parked_mechanism(spec.leaves + slot)))
        return gone.replace(scene=gone.scene.replace(button_used=_put(scene.button_used, slot, False)))
    if entity.kind in DOORS:
        slot = thing - leaf_entity(spec, 0)
        gone = _with_layout(task, leaf_pos=_put(lay.leaf_pos, slot, parked_mechanism(slot)))
        return gone.replace(scene=gone.scene.replace(leaf_used=_put(scene.leaf_used, slot, False)))
    return _there(task, thing - 1, None)


def recolour(spec: WorldSpec, task: Task, thing: int, colour: str) -> Task:
    """An object, table or bin in another colour."""
    entity, scene = thing_of(spec, task.scene, thing), task.scene
    if colour not in COLOURS:
        raise UnknownNameError("colour", colour, COLOURS)
    if not entity.colour:
        raise PalaestraError(f"{entity.name}: got a {entity.kind} to be coloured, expected an object, table, bin, door or button")
    return task.replace(scene=_told_apart(spec, _painted(spec, scene, thing, COLOURS.index(colour))))


def resize(spec: WorldSpec, task: Task, thing: int, half: float) -> Task:
    """An object of another half size, m, on what it lies on."""
    entity, lay = thing_of(spec, task.scene, thing), task.scene.layout
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
    return task.replace(goal=parser.parse(text, spec, task.scene))


def with_rule(spec: WorldSpec, task: Task, text: str) -> Task:
    """The task with one more rule, as a sentence states it. What the rule makes is not there before; no goal speaks less of it.

    Raises rulebook.RuleError where the text is no rule of this scene.
    """
    scene = task.scene
    rule, rules = rulebook.read(text, Things.of(spec, scene)), mechanics(spec, scene).rules
    if rule in rules:
        raise rulebook.RuleError(f"rule: got {text!r}, which is a rule here already")
    if rule.product in rule.consumes and rule.product:
        raise rulebook.RuleError(f"rule: got {rule.product} turning into itself, expected another object")
    task = task.replace(scene=scene.replace(rules=rule_rows(spec, scene, (*rules, rule))))
    return _there(task, number_of(spec, scene, rule.product) - 1, None) if rule.product else task


def without_rule(spec: WorldSpec, task: Task, number: int) -> Task:
    """The task without rule `number` of `mechanics(...).rules`. What no rule makes any more is there from the start, on the floor."""
    scene, rules = task.scene, mechanics(spec, task.scene).rules
    if not 0 <= number < len(rules):
        raise PalaestraError(f"rule: got number {number}, expected one of the {len(rules)} there are, from 0")
    left, product = rules[:number] + rules[number + 1 :], rules[number].product
    task = task.replace(scene=scene.replace(rules=rule_rows(spec, scene, left)))
    if not product or any(rule.product == product for rule in left):
        return task
    return _there(task, number_of(spec, scene, product) - 1, free_spot(spec, scene))


def _names(rule: Rule) -> set[str]:
    """All that a rule speaks of."""
    return {name for _, *pair in rule.condition for name in pair} | {*rule.consumes, rule.product, rule.opens}


def free_spot(spec: WorldSpec, scene: Scene) -> np.ndarray:
    """The place on the floor nearest to the robot that is clear of everything [2] m."""
    lay, used = scene.layout, np.asarray(scene.fixture_used)
    points = np.concatenate([lay.object_pos[np.asarray(lay.object_used), :2], lay.button_pos[np.asarray(scene.button_used)]])
    centre = np.concatenate([lay.fixture_pos[used, :2], points])
    half = np.concatenate([lay.fixture_half[used, :2], np.zeros(points.shape)])
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


def _there(task: Task, slot: int, xy: Any) -> Task:
    """The task with an object on the floor at xy [2] m, or without it."""
    lay = task.scene.layout
    at = parked_object(slot) if xy is None else np.r_[xy, lay.object_half[slot]]
    return _with_layout(task, object_used=_put(lay.object_used, slot, xy is not None), object_pos=_put(lay.object_pos, slot, at))


def _painted(spec: WorldSpec, scene: Scene, thing: int, colour: int) -> Scene:
    """The scene with a thing in another colour."""
    for name, first in (
        ("button_colour", button_entity(spec, 0)),
        ("leaf_colour", leaf_entity(spec, 0)),
        ("receptacle_colour", 1 + spec.objects),
        ("object_colour", 1),
    ):
        if thing >= first:
            return scene.replace(**{name: _put(getattr(scene, name), thing - first, colour)})
    raise ValueError(thing)


def _told_by_colour(spec: WorldSpec, task: Task, thing: int) -> tuple[Task, int]:
    """The task with a thing in the colour that is rarest among its like, and that tells it from them; and its number."""
    kind, things = thing_of(spec, task.scene, thing).kind, entities(spec, task.scene)
    alike = next((kinds for kinds in (DOORS, BUTTONS) if kind in kinds), (kind,))
    others = [e.colour for e in things if e.kind in alike and e.index != thing]
    for colour in sorted(range(len(COLOURS)), key=lambda c: others.count(COLOURS[c])):
        looks = task.replace(scene=_painted(spec, task.scene, thing, colour))
        if not _alike(spec, looks.scene):
            return looks, thing
    raise PalaestraError(f"add: got a {kind} like others in every colour, expected colour and size that tell it apart. Fix: resize one")


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
