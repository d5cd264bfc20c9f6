"""A task is data: fixed-shape arrays, made by a generator `key -> Task`, given to `reset` from outside.

Entities are numbered once, for predicates, goals, plans and drawings alike: the robot (0), then objects (cubes, balls, crates),
tables (plain ones, shelves, pressure plates), bins (open ones, hampers), drawers, doors (locked ones, swing doors), buttons (plain ones,
toggles), rooms. Axes as in `palaestra.sim.world`: F, O, E, R, D, W, H, L, U, S, K, G.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from palaestra.envs import drawers
from palaestra.sim.drawers import DRAWER_RIM
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import BIN_INNER, BIN_RIM, Layout, WorldSpec, array_module

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
ROOMS = ("kitchen", "bedroom", "study", "workshop", "pantry", "lounge", "bathroom", "library", "nursery")
PREDICATES = ("near", "holding", "on", "inside", "in_room", "open", "pressed")
NEAR, HOLDING, ON, INSIDE, IN_ROOM, OPEN, PRESSED = range(len(PREDICATES))
# of entities but the robot
KINDS = ("object", "table", "bin", "plate", "door", "button", "room", "drawer", "crate", "shelf", "hamper", "swing", "toggle")
DOORS = ("door", "swing")  # kinds of hinged doors: locked ones, which rules open, and those that are pushed open
BUTTONS = ("button", "toggle")  # kinds of buttons: those that stay pressed, and those that each push turns on or off
SOLID = ("table", "shelf", "bin", "hamper", "drawer", *BUTTONS)  # kinds of things that crates can be pushed next to
UNARY = ("open", "pressed")  # said of one thing: subject and target are the same
LARGE = 0.030  # m: an object whose half size is larger is called large
FLUSH = 0.01  # m, the height of a base's underside: it passes over what is lower
MAX_GOALS = 4  # literals of a conjunction
MAX_TERMS = 10
ALWAYS = -1  # the stage of terms that must hold at every step
MAX_DELAY = 3  # control steps (of 50 ms) by which actions may come late
MANY = 1_000  # no upper bound: more pairs than any world has in use


class Rules(struct.PyTreeNode, kw_only=True):
    """Conditions that turn into effects whenever they hold. A condition is one fact or two; an effect opens a door or a hamper, or turns
    objects into another one, which takes the place of the second of them (of the only one)."""

    predicate: jax.Array  # [K, 2] int32, into PREDICATES
    subject: jax.Array  # [K, 2] int32, an entity
    target: jax.Array  # [K, 2] int32, an entity
    needed: jax.Array  # [K, 2] bool: whether the fact is part of the condition
    opens: jax.Array  # [K] int32, a leaf, or after those a lid, or -1
    lasting: jax.Array  # [K] bool: opens for good; else only as long as the condition holds
    consumes: jax.Array  # [K, 2] int32, objects that vanish, or -1
    product: jax.Array  # [K] int32, the object that appears, or -1
    used: jax.Array  # [K] bool

    @staticmethod
    def none(count: int = 0) -> "Rules":
        """`count` rules that are not in use."""
        pair, one, no = jnp.zeros((count, 2), jnp.int32), jnp.full(count, -1), jnp.zeros((count, 2), bool)
        return Rules(
            predicate=pair,
            subject=pair,
            target=pair,
            needed=no,
            opens=one,
            lasting=no[:, 0],
            consumes=pair - 1,
            product=one,
            used=no[:, 0],
        )


class Scene(struct.PyTreeNode, kw_only=True):
    """A house with its things. Everything is axis-aligned but the objects."""

    layout: Layout
    room: jax.Array  # [R, 4] m: x0, y0, x1, y1 between the walls' centre lines
    room_used: jax.Array  # [R] bool
    room_name: jax.Array  # [R] int32, into ROOMS
    door: jax.Array  # [D, 2] m, the centre of the doorway
    door_along_x: jax.Array  # [D] bool: passed by moving along x
    door_width: jax.Array  # [D] m
    door_rooms: jax.Array  # [D, 2] int32, the rooms it joins
    door_used: jax.Array  # [D] bool
    fixture_used: jax.Array  # [F] bool
    receptacle_colour: jax.Array  # [tables + bins + drawers] int32, into COLOURS
    object_colour: jax.Array  # [O] int32, into COLOURS
    leaf_doorway: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, jnp.int32))  # [L] in which doorway it hangs
    leaf_used: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, bool))  # [L]
    leaf_colour: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, jnp.int32))  # [L], into COLOURS
    button_used: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, bool))  # [U]
    button_colour: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, jnp.int32))  # [U], into COLOURS
    rules: Rules = struct.field(default_factory=Rules.none)


class Goal(struct.PyTreeNode, kw_only=True):
    """What is to be brought about: stages, one after the other; a stage is a choice of options, an option a conjunction of terms.

    A term counts the pairs (subject, target) of which its predicate is true, and holds where the count lies from `at_least` to
    `at_most`. So one form says "the cube is on the table" (one pair, at least 1), "all red cubes" (n pairs, at least n), "nothing
    on the table" (at most 0) and "exactly two". Terms of the stage ALWAYS must hold at every step: once false, the task has failed.
    """

    predicate: jax.Array  # [G] int32, into PREDICATES
    subjects: jax.Array  # [G, E] bool
    targets: jax.Array  # [G, E] bool
    at_least: jax.Array  # [G] int32
    at_most: jax.Array  # [G] int32
    stage: jax.Array  # [G] int32, from 0, or ALWAYS
    option: jax.Array  # [G] int32, of its stage, from 0
    used: jax.Array  # [G] bool


class Context(struct.PyTreeNode, kw_only=True):
    """The physics in which a task is carried out. `palaestra.envs.context` draws it and applies it."""

    friction: jax.Array  # [] of every sliding contact, relative to the nominal
    mass: jax.Array  # [] of the objects, relative to the nominal
    strength: jax.Array  # [] of the motors, up to 1: the share of the speeds and rates that an action asks for
    delay: jax.Array  # [] int32, control steps between an action and the motors, 0 to MAX_DELAY
    noise: jax.Array  # [] standard deviation of what is sensed, in the units of the observation

    @staticmethod
    def nominal() -> "Context":
        """The physics as it stands, to the bit."""
        one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
        return Context(friction=one, mass=one, strength=one, delay=jnp.zeros((), jnp.int32), noise=zero)


class Task(struct.PyTreeNode, kw_only=True):
    scene: Scene
    goal: Goal
    context: Context = struct.field(default_factory=Context.nominal)


class Progress(struct.PyTreeNode, kw_only=True):
    """How far a goal has come."""

    stage: jax.Array  # [] int32, stages reached
    broken: jax.Array  # [] bool: a term that must always hold did not
    share: jax.Array  # [] in [0, 1]: the stages reached, and of the next one the share of terms that hold now; 0 once broken
    done: jax.Array  # [] bool: every stage was reached and nothing was broken


class State(struct.PyTreeNode, kw_only=True):
    """What the next step needs."""

    physics: PhysicsState
    ctrl: jax.Array  # [nu] set points now in force
    task: Task
    step: jax.Array  # [] int32, control steps since reset
    progress: Progress
    recent: jax.Array  # [MAX_DELAY, nu_action] the last actions, the latest first
    key: jax.Array  # [] of the sensors' noise


class TimeStep(struct.PyTreeNode, kw_only=True):
    """What a step returns. Make it with `restart`, `transition`, `termination` or `truncation` only."""

    observation: jax.Array  # [obs] float32
    reward: jax.Array  # [] float32
    terminated: jax.Array  # [] bool: the task is over, and no more reward can come
    truncated: jax.Array  # [] bool: cut short; bootstrap from `observation`
    metrics: dict[str, jax.Array]  # for people; fixed keys

    @property
    def done(self) -> jax.Array:
        return self.terminated | self.truncated


def _timestep(observation: jax.Array, reward: Any, terminated: bool, truncated: bool, metrics: dict[str, jax.Array]) -> TimeStep:
    return TimeStep(
        observation=observation,
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated),
        truncated=jnp.asarray(truncated),
        metrics=metrics,
    )


def restart(observation: jax.Array, metrics: dict[str, jax.Array]) -> TimeStep:
    """The first of an episode: no reward yet."""
    return _timestep(observation, 0.0, False, False, metrics)


def transition(observation: jax.Array, reward: jax.Array, metrics: dict[str, jax.Array]) -> TimeStep:
    """An ordinary step."""
    return _timestep(observation, reward, False, False, metrics)


def termination(observation: jax.Array, reward: jax.Array, metrics: dict[str, jax.Array]) -> TimeStep:
    """The end that belongs to the task: the value after it is zero."""
    return _timestep(observation, reward, True, False, metrics)


def truncation(observation: jax.Array, reward: jax.Array, metrics: dict[str, jax.Array]) -> TimeStep:
    """The end that does not belong to the task (time, divergence): the value after it is that of `observation`."""
    return _timestep(observation, reward, False, True, metrics)


def select(done: jax.Array, truncated: jax.Array, at_end: TimeStep, cut: TimeStep, onward: TimeStep) -> TimeStep:
    """`at_end` where the task is done, else `cut` where it was cut short, else `onward`; scalars without a batch axis."""
    return jax.tree.map(lambda e, c, o: jnp.where(done, e, jnp.where(truncated, c, o)), at_end, cut, onward)


def row(tree: Any, index: Any) -> Any:
    """One example of a batch: the leaves' rows at `index` of the leading axis, or axes."""
    return jax.tree.map(lambda x: x[index], tree)


# --- entities -----------------------------------------------------------------------------------------------------


def num_entities(spec: WorldSpec) -> int:
    return room_entity(spec, spec.rooms)


def crate_entity(spec: WorldSpec, index: Any) -> Any:
    return 1 + spec.portables + index


def leaf_entity(spec: WorldSpec, index: Any) -> Any:
    return 1 + spec.objects + spec.receptacles + index


def button_entity(spec: WorldSpec, index: Any) -> Any:
    return leaf_entity(spec, spec.leaves) + index


def toggle_entity(spec: WorldSpec, index: Any) -> Any:
    return button_entity(spec, spec.buttons - spec.toggles + index)


def shelf_entity(spec: WorldSpec, index: Any) -> Any:
    return 1 + spec.objects + spec.tables - spec.plates - spec.shelves + index


def hamper_entity(spec: WorldSpec, index: Any) -> Any:
    return 1 + spec.objects + spec.tables + spec.bins - spec.hampers + index


def opening_entity(spec: WorldSpec, index: Any) -> Any:
    """Of what rules open, by its number: leaves that are no swing doors, then lids. A number, or an array of them."""
    leaf, hamper = leaf_entity(spec, index), hamper_entity(spec, index - spec.locks)
    if isinstance(index, int):
        return leaf if index < spec.locks else hamper
    return array_module(index).where(index < spec.locks, leaf, hamper)


def room_entity(spec: WorldSpec, index: Any) -> Any:
    return button_entity(spec, spec.buttons) + index


def entity_kinds(spec: WorldSpec) -> np.ndarray:
    """Of all entities but the robot: what they are [E - 1] int32, into KINDS."""
    counts = {
        "object": spec.portables,
        "crate": spec.crates,
        "table": spec.tables - spec.shelves - spec.plates,
        "shelf": spec.shelves,
        "plate": spec.plates,
        "bin": spec.bins - spec.hampers,
        "hamper": spec.hampers,
        "drawer": spec.drawers,
        "door": spec.locks,
        "swing": spec.swings,
        "button": spec.buttons - spec.toggles,
        "toggle": spec.toggles,
        "room": spec.rooms,
    }
    return np.repeat([KINDS.index(kind) for kind in counts], list(counts.values())).astype(np.int32)


def kinds_of(spec: WorldSpec) -> frozenset[str]:
    """The kinds of entities that a world has slots for."""
    return frozenset(KINDS[kind] for kind in entity_kinds(spec))


def kind_columns(spec: WorldSpec) -> list[int]:
    """Which of KINDS an observation has a column for: those after rooms take one only where there are some."""
    here = kinds_of(spec)
    return [i for i, kind in enumerate(KINDS) if i <= KINDS.index("room") or kind in here]


def entity_used(spec: WorldSpec, scene: Scene) -> jax.Array:
    """Which entities exist in this scene [E] bool."""
    mechanisms = [scene.leaf_used, scene.button_used]
    return jnp.concatenate([jnp.ones(1, bool), scene.layout.object_used, scene.fixture_used[spec.walls :], *mechanisms, scene.room_used])


def fixture_tops(spec: WorldSpec, layout: Layout) -> jax.Array:
    """The heights of walls, tables, bins' rims and cabinets [F] m."""
    number, first = np.arange(spec.fixtures), spec.walls + spec.tables
    is_bin = (number >= first) & (number < first + spec.bins)
    return array_module(layout.fixture_pos).where(is_bin, BIN_RIM, layout.fixture_pos[:, 2] + layout.fixture_half[:, 2])


def obstructs(spec: WorldSpec, layout: Layout) -> jax.Array:
    """Which fixtures a robot cannot drive across [F] bool."""
    return fixture_tops(spec, layout) > FLUSH


def receptacle_boxes(spec: WorldSpec, scene: Scene, out: jax.Array | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Centres [tables + bins + drawers, 2] m, half sizes [.., 2] m (of bins and trays: the inner ones) and heights [..] m (top, or rim).

    `out`: how far drawers are out [W] m; as at the start without.
    """
    lay, n = scene.layout, spec.receptacles - spec.drawers
    stands = slice(spec.walls, spec.walls + n)
    out = lay.drawer_out if out is None else out
    xp = array_module(lay.fixture_pos, out)
    is_bin = np.arange(n) >= spec.tables
    half = xp.where(is_bin[:, None], np.float32(BIN_INNER), lay.fixture_half[stands, :2])
    tray, inner = drawers.trays(lay, out)
    height = xp.concatenate([fixture_tops(spec, lay)[stands], np.full(spec.drawers, DRAWER_RIM, np.float32)])
    return xp.concatenate([lay.fixture_pos[stands, :2], tray]), xp.concatenate([half, inner]), height
