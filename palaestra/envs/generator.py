"""Scenes and tasks from keys: `key -> Scene`, `key -> Task`. Pure, so they can be vmapped and run inside a reset.

Things are placed one after the other, each at the best of many random candidates; how far a candidate breaks the rules
(overlap, blocked doorway, out of reach) is measured in metres. A scene that breaks any is drawn again.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs import floor_plans, goals, house
from palaestra.envs.types import (
    COLOURS,
    HOLDING,
    IN_ROOM,
    INSIDE,
    MAX_GOALS,
    NEAR,
    ON,
    ROOMS,
    Scene,
    Task,
    num_entities,
)
from palaestra.sim.world import BIN_INNER, BIN_SIDE, DENSITY, Layout, World, WorldSpec, parked_fixture, parked_object

T = TypeVar("T")
_CANDIDATES = 24
_TABLE_HALF = (0.14, 0.18)  # m
_TABLE_HEIGHT = (0.10, 0.20)  # m
_SMALL, _BIG = (0.024, 0.027), (0.032, 0.035)  # m, half sizes of small and large objects
_BETWEEN = 0.50  # m, free way between fixtures
_ARM = 0.50  # m from the walls, so that the arm fits whichever way it points; raised, it passes over all else
_NAMES = 6  # of ROOMS, for worlds of up to four rooms: to draw from more would change tasks that policies are measured on
_OFF_CENTRE = 0.04  # m, how far an object may lie from its table's centre


class SceneRange(struct.PyTreeNode, kw_only=True):
    """From which houses a set draws. Traced, so that a curriculum can move it without compiling again."""

    min_rooms: jax.Array  # [] int32
    max_rooms: jax.Array  # [] int32
    on_table: jax.Array  # [] the share of objects that start on a table
    use: jax.Array  # [] the probability that an object slot (but the first) is used
    colours: jax.Array  # [objects kinds 2, colours] bool: which colours cubes and balls may have; holds out combinations

    @staticmethod
    def make(
        spec: WorldSpec, *, min_rooms: int = 1, max_rooms: int | None = None, on_table: float = 0.35, use: float = 0.8
    ) -> "SceneRange":
        return SceneRange(
            min_rooms=jnp.asarray(min_rooms),
            max_rooms=jnp.asarray(max_rooms or spec.rooms),
            on_table=jnp.asarray(on_table),
            use=jnp.asarray(use),
            colours=jnp.ones((2, len(COLOURS)), bool),
        )


def draw_until(key: jax.Array, draw: Callable[[jax.Array], tuple[T, jax.Array]]) -> T:
    """The first value of `draw(key) -> (value, good [] bool)` that is good; key is consumed."""

    def again(carry: tuple[jax.Array, T, jax.Array]) -> tuple[jax.Array, T, jax.Array]:
        key, k_try = jax.random.split(carry[0])
        return key, *draw(k_try)

    # Zeros to begin with, so that `draw` is compiled once, inside the loop.
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(draw, key)[0])
    return jax.lax.while_loop(lambda carry: ~carry[2], again, (key, blank, jnp.asarray(False)))[1]


def sample_scene(key: jax.Array, world: World, ranges: SceneRange) -> Scene:
    """A house in which nothing overlaps, everything can be reached, and nothing moves; key is consumed."""

    def attempt(key: jax.Array) -> tuple[Scene, jax.Array]:
        scene, broken = _attempt(key, world, ranges)
        return scene, broken <= 1e-4

    return draw_until(key, attempt)


def _box_gap(a: jax.Array, a_half: jax.Array, b: jax.Array, b_half: jax.Array) -> jax.Array:
    """Free distance between axis-aligned boxes [..], m; negative where they overlap."""
    gap = jnp.abs(a - b) - a_half - b_half
    outside = jnp.linalg.norm(jnp.maximum(gap, 0.0), axis=-1)
    return outside + jnp.minimum(gap.max(-1), 0.0)


def _choose(
    key: jax.Array, plan: floor_plans.Plan, clearance: jax.Array, room: jax.Array | None, obstacles: tuple, doorway: jax.Array
) -> tuple:
    """The candidate that keeps its distances best.

    `clearance` [2]: half size plus margin to the walls. `obstacles`: centres, half sizes, wanted gaps. `doorway`: wanted
    distance from a doorway's centre. Returns the position [2] and by how much it breaks a rule [] m.
    """
    k_room, k_at = jax.random.split(key)
    if room is None:
        weight = jnp.where(plan.room_used, 0.0, -jnp.inf)
        rooms = jax.random.categorical(k_room, weight, shape=(_CANDIDATES,))
    else:
        rooms = jnp.full(_CANDIDATES, room)
    low, high = plan.room[rooms, :2] + floor_plans.WALL + clearance, plan.room[rooms, 2:] - floor_plans.WALL - clearance
    at = low + jax.random.uniform(k_at, (_CANDIDATES, 2)) * jnp.maximum(high - low, 0.0)
    centre, half, wanted = obstacles
    gap = _box_gap(at[:, None], jnp.zeros(2), centre, half)
    broken = jnp.maximum(wanted - gap, 0.0).max(-1, initial=0.0)
    door = jnp.linalg.norm(at[:, None] - plan.door, axis=-1)
    broken = jnp.maximum(broken, jnp.where(plan.door_used, jnp.maximum(doorway - door, 0.0), 0.0).max(-1))
    best = jnp.argmin(broken)
    return at[best], broken[best]


def _attempt(key: jax.Array, world: World, ranges: SceneRange) -> tuple[Scene, jax.Array]:
    spec = world.spec
    k_rooms, k_plan, k_size, k_fixture, k_object, k_robot, k_words = jax.random.split(key, 7)
    count = jax.random.randint(k_rooms, (), ranges.min_rooms, ranges.max_rooms + 1)
    plan = floor_plans.floor_plan(k_plan, spec, count)
    pos, half, broken = _place_receptacles(k_fixture, k_size, spec, plan)
    words = _words(k_words, spec, ranges)
    obj_pos, broken_objects = _place_objects(k_object, spec, ranges, plan, pos, half, words)
    k_at, k_yaw = jax.random.split(k_robot)
    obstacles = (
        jnp.concatenate([pos[:, :2], obj_pos[:, :2]]),
        jnp.concatenate([half[:, :2], jnp.zeros((spec.objects, 2))]),
        jnp.full(spec.receptacles + spec.objects, 0.25),
    )
    robot, broken_robot = _choose(k_at, plan, jnp.full(2, _ARM), None, obstacles, jnp.asarray(0.3))
    yaw = jax.random.uniform(k_yaw, (), minval=-jnp.pi, maxval=jnp.pi)
    wall_used = plan.wall_used
    scene = Scene(
        layout=Layout(
            fixture_pos=jnp.concatenate([plan.wall_pos, pos]),
            fixture_half=jnp.concatenate([plan.wall_half, half]),
            object_half=words["half"],
            object_density=jnp.full(spec.objects, DENSITY),
            object_friction=jnp.ones(spec.objects),
            object_pos=obj_pos,
            object_yaw=words["yaw"],
            object_used=words["used"],
            robot_q=jnp.stack([robot[0], robot[1], yaw, 0.1, 0.0, 0.0]).astype(jnp.float32),
        ),
        room=plan.room,
        room_used=plan.room_used,
        room_name=words["rooms"],
        door=plan.door,
        door_along_x=plan.door_along_x,
        door_width=plan.door_width,
        door_rooms=plan.door_rooms,
        door_used=plan.door_used,
        fixture_used=jnp.concatenate([wall_used, jnp.ones(spec.receptacles, bool)]),
        receptacle_colour=words["receptacle_colour"],
        object_colour=words["colour"],
    )
    return scene, jnp.maximum(jnp.maximum(broken, broken_objects), broken_robot)


def _place_receptacles(
    key: jax.Array, k_size: jax.Array, spec: WorldSpec, plan: floor_plans.Plan
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Tables and bins: positions [.., 3], half sizes [.., 3], and by how much the worst breaks a rule."""
    n = spec.receptacles
    k_xy, k_z = jax.random.split(k_size)
    sides = jax.random.uniform(k_xy, (n, 2), minval=_TABLE_HALF[0], maxval=_TABLE_HALF[1])
    height = jax.random.uniform(k_z, (n,), minval=_TABLE_HEIGHT[0], maxval=_TABLE_HEIGHT[1])
    is_bin = jnp.arange(n) >= spec.tables
    outer = BIN_INNER + 2 * BIN_SIDE
    half = jnp.where(is_bin[:, None], outer, jnp.concatenate([sides, height[:, None] / 2], -1))
    z = jnp.where(is_bin, 0.0, height / 2)
    far = jnp.stack([jnp.asarray(parked_fixture(spec.walls + i))[:2] for i in range(n)])
    pos, broken = far, jnp.zeros(())
    for i, k in enumerate(jax.random.split(key, n)):
        obstacles = (pos, half[:, :2], jnp.where(jnp.arange(n) < i, half[i, :2].max() + _BETWEEN, -jnp.inf))
        at, bad = _choose(k, plan, half[i, :2] + 0.03, None, obstacles, half[i, :2].max() + 0.75)
        pos, broken = pos.at[i].set(at), jnp.maximum(broken, bad)
    return jnp.concatenate([pos, z[:, None]], -1), half, broken


def _words(key: jax.Array, spec: WorldSpec, ranges: SceneRange) -> dict[str, jax.Array]:
    """Sizes, colours and names. No two things of a kind in use share both colour and size word, so all can be told apart."""
    k_size, k_large, k_colour, k_ball, k_use, k_recep, k_rooms, k_yaw = jax.random.split(key, 8)
    o, n = spec.objects, len(COLOURS)
    is_ball = jnp.arange(o) >= spec.cubes
    # Within a kind, slots get different (colour, size) pairs: a random order of the allowed ones.
    pairs = []
    for k, kind, count in ((k_colour, 0, spec.cubes), (k_ball, 1, spec.balls)):
        allowed = jnp.tile(ranges.colours[kind], 2)
        order = jnp.argsort(jnp.where(allowed, jax.random.uniform(k, (2 * n,)), 2.0))
        pairs.append(order[jnp.arange(count) % (2 * n)])
    pair = jnp.concatenate(pairs)
    colour, large = pair % n, pair >= n
    u = jax.random.uniform(k_size, (o,))
    half = jnp.where(large, _BIG[0] + u * (_BIG[1] - _BIG[0]), _SMALL[0] + u * (_SMALL[1] - _SMALL[0]))
    used = jax.random.bernoulli(k_use, ranges.use, (o,))
    first = jax.random.randint(k_large, (), 0, o)
    names = _NAMES if spec.rooms <= 4 else len(ROOMS)
    table_colours = jax.random.permutation(k_recep, n)[jnp.arange(spec.receptacles) % n]
    return {
        "half": half,
        "colour": colour.astype(jnp.int32),
        "used": used | (jnp.arange(o) == first),
        "yaw": jnp.where(is_ball, 0.0, jax.random.uniform(k_yaw, (o,), minval=-jnp.pi, maxval=jnp.pi)),
        "receptacle_colour": table_colours.astype(jnp.int32),
        "rooms": jax.random.permutation(k_rooms, names)[: spec.rooms].astype(jnp.int32),
    }


def _place_objects(
    key: jax.Array, spec: WorldSpec, ranges: SceneRange, plan: floor_plans.Plan, pos: jax.Array, half: jax.Array, words: dict
) -> tuple[jax.Array, jax.Array]:
    """Objects on the floor, or one on a table: positions [O, 3] and by how much the worst breaks a rule."""
    o, n = spec.objects, spec.receptacles
    k_table, k_off, *keys = jax.random.split(key, 2 + o)
    parked = jnp.stack([jnp.asarray(parked_object(i)) for i in range(o)])
    at = parked[:, :2]
    broken = jnp.zeros(())
    for i in range(o):
        obstacles = (
            jnp.concatenate([pos[:, :2], at]),
            jnp.concatenate([half[:, :2], jnp.zeros((o, 2))]),
            jnp.concatenate([jnp.full(n, 0.30), jnp.where(jnp.arange(o) < i, 0.30, -jnp.inf)]),
        )
        xy, bad = _choose(keys[i], plan, jnp.full(2, 0.30), None, obstacles, jnp.asarray(0.45))
        used = words["used"][i]
        at = jnp.where(used, at.at[i].set(xy), at)
        broken = jnp.maximum(broken, jnp.where(used, bad, 0.0))
    z = words["half"]
    if spec.tables:
        # Table j's guest is slot j of a random order, so often that on average the share `on_table` of the objects sits.
        order = jax.random.permutation(k_table, o)
        offset = jax.random.uniform(k_off, (spec.tables, 3), minval=-1.0, maxval=1.0)
        for j in range(min(spec.tables, o)):
            guest = order[j]
            sits = (0.5 + 0.5 * offset[j, 2] < ranges.on_table * o / spec.tables) & words["used"][guest]
            at = jnp.where(sits, at.at[guest].set(pos[j, :2] + _OFF_CENTRE * offset[j, :2]), at)
            z = jnp.where(sits, z.at[guest].add(2 * pos[j, 2]), z)
    return jnp.where(words["used"][:, None], jnp.concatenate([at, z[:, None]], -1), parked), broken


# --- goals --------------------------------------------------------------------------------------------------------


class Literals(NamedTuple):
    """The literals of a conjunction [g]."""

    predicate: jax.Array  # int32, into PREDICATES
    subject: jax.Array  # int32, an entity
    target: jax.Array  # int32, an entity
    used: jax.Array  # bool


def sample_literals(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> Literals:
    """Literals that can all hold at once; key is consumed. Fewer than `min_goals` where the scene has too few things.

    Objects go to receptacles (no two to one table, none to a table that is taken); the last literal may instead be about
    the robot: to stand near something, to be in a room, or to hold an object that has no other place to be.
    """
    spec = world.spec
    k_count, k_obj, k_recep, k_robot, k_kind = jax.random.split(key, 5)
    o, t, n = spec.objects, spec.tables, spec.receptacles
    used = scene.layout.object_used
    count = jax.random.randint(k_count, (), min_goals, max_goals + 1)
    order = jnp.argsort(jnp.where(used, jax.random.uniform(k_obj, (o,)), 2.0))  # used objects first
    taken = _occupied(spec, scene)
    score = jax.random.uniform(k_recep, (o, n))
    subjects, targets, free = [], [], jnp.ones(n, bool) & ~taken
    for i in range(min(o, MAX_GOALS)):
        choice = jnp.argmax(jnp.where(free, score[i], -1.0))
        subjects.append(1 + order[i])
        targets.append(jnp.where(free.any(), 1 + o + choice, 0))
        free = free & ((jnp.arange(n) != choice) | (jnp.arange(n) >= t))  # a bin takes many, a table one
    pad = MAX_GOALS - len(subjects)
    subject = jnp.pad(jnp.stack(subjects), (0, pad))
    target = jnp.pad(jnp.stack(targets), (0, pad))
    movable = jnp.minimum(used.sum(), len(subjects))
    placing = (jnp.arange(MAX_GOALS) < jnp.minimum(count, movable)) & (target > 0)
    predicate = jnp.where(target >= 1 + o + t, INSIDE, ON)

    # A literal about the robot, as the last one, where there is room for it.
    kind = jax.random.categorical(k_kind, jnp.log(jnp.array([0.55, 0.15, 0.15, 0.15])))
    k_near, k_room = jax.random.split(k_robot)
    near_to = 1 + o + jax.random.randint(k_near, (), 0, n)
    start_room = house.room_of(scene, scene.layout.robot_q[:2])
    other = jnp.where(scene.room_used & (jnp.arange(spec.rooms) != start_room), 0.0, -jnp.inf)
    in_room = 1 + o + n + jax.random.categorical(k_room, jnp.where(jnp.isfinite(other).any(), other, 0.0))
    spare = order[jnp.minimum(count - 1, o - 1)]
    can_hold = (count - 1 < used.sum()) & (count - 1 < o)
    ok = jnp.stack([jnp.asarray(False), jnp.asarray(True), jnp.isfinite(other).any(), can_hold])[kind]
    about_robot = jnp.stack(
        [jnp.array([NEAR, 0, 0]), jnp.stack([NEAR, 0, near_to]), jnp.stack([IN_ROOM, 0, in_room]), jnp.stack([HOLDING, 0, 1 + spare])]
    )[kind]
    last = jnp.arange(MAX_GOALS) == count - 1
    swap = last & ok
    used_goal = (placing & ~swap) | swap
    # Nothing left over: then at least one literal, to stand near a receptacle.
    lonely = ~used_goal.any()
    about_robot = jnp.where(lonely, jnp.stack([NEAR, 0, near_to]), about_robot)
    swap = swap | (lonely & (jnp.arange(MAX_GOALS) == 0))
    return Literals(
        predicate=jnp.where(swap, about_robot[0], predicate).astype(jnp.int32),
        subject=jnp.where(swap, about_robot[1], subject).astype(jnp.int32),
        target=jnp.where(swap, about_robot[2], target).astype(jnp.int32),
        used=used_goal | swap,
    )


def _occupied(spec: WorldSpec, scene: Scene) -> jax.Array:
    """Which tables hold something at the start [tables + bins] bool."""
    lay = scene.layout
    gap = jnp.abs(lay.object_pos[:, None, :2] - lay.fixture_pos[None, spec.walls :, :2])
    over = (gap <= lay.fixture_half[None, spec.walls :, :2]).all(-1) & lay.object_used[:, None]
    return over.any(0) & (jnp.arange(spec.receptacles) < spec.tables)


def sample_task(key: jax.Array, world: World, ranges: SceneRange, min_goals: jax.Array, max_goals: jax.Array) -> Task:
    """A scene and a goal of `min_goals` to `max_goals` literals that does not hold in it; key is consumed."""

    def attempt(key: jax.Array) -> tuple[Task, jax.Array]:
        k_scene, k_goal = jax.random.split(key)
        scene = sample_scene(k_scene, world, ranges)
        literals = sample_literals(k_goal, world, scene, min_goals, max_goals)
        task = Task(scene=scene, goal=goals.conjunction(world.spec, *literals))
        return task, ~_trivial(world, scene, literals) & (literals.used.sum() >= min_goals)

    return draw_until(key, attempt)


def _trivial(world: World, scene: Scene, literals: Literals) -> jax.Array:
    """Whether every literal holds at the start, as far as the layout tells (objects never start where they should go)."""
    n = num_entities(world.spec)
    lay, spec = scene.layout, world.spec
    robot = lay.robot_q[:2]
    pos = jnp.zeros((n, 2)).at[1 + spec.objects : 1 + spec.objects + spec.receptacles].set(lay.fixture_pos[spec.walls :, :2])
    half = jnp.zeros((n, 2)).at[1 + spec.objects : 1 + spec.objects + spec.receptacles].set(lay.fixture_half[spec.walls :, :2])
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(pos[literals.target] - robot) - half[literals.target], 0.0), axis=-1)
    near = (literals.predicate == NEAR) & (gap <= 0.8)
    room = house.room_of(scene, robot) + 1 + spec.objects + spec.receptacles
    in_room = (literals.predicate == IN_ROOM) & (literals.target == room)
    return (near | in_room | ~literals.used).all()
