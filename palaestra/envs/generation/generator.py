"""Scenes and tasks from keys: `key -> Scene`, `key -> Task`. Pure, so they can be vmapped and run inside a reset.

Things are placed one after the other, each at the first of a few random candidates that keeps the rules (no overlap, no blocked
doorway, nothing out of reach). A scene in which something found no place is drawn again.
"""

import functools
from collections.abc import Callable, Collection
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs import drawers, goals, house
from palaestra.envs.generation import floor_plans
from palaestra.envs.generation.styles import style_weights, styled_plan
from palaestra.envs.types import (
    COLOURS,
    HOLDING,
    IN_ROOM,
    INSIDE,
    MAX_GOALS,
    NEAR,
    ON,
    ROOMS,
    Goal,
    Rules,
    Scene,
    Task,
    room_entity,
)
from palaestra.sim.drawers import DRAWER_HALF, DRAWER_HEIGHT
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import (
    BIN_INNER,
    BIN_SIDE,
    BUTTON_HALF,
    CRATE_DENSITY,
    CRATE_FRICTION,
    CRATE_HALF,
    DENSITY,
    LID_ROOM,
    PLATE_HEIGHT,
    Layout,
    World,
    WorldSpec,
    leaf_axis,
    parked_mechanism,
    parked_object,
)

T = TypeVar("T")
_CANDIDATES = 12
_TABLE_HALF = (0.14, 0.18)  # m
_TABLE_HEIGHT = (0.10, 0.20)  # m
_SHELF_HALF = ((0.11, 0.12), (0.20, 0.24))  # m, from the wall into the room, and along the wall
_SHELF_HEIGHT = (0.21, 0.27)  # m: higher than any table, and where hands still reach well
_TO_WALL = 0.01  # m, behind a shelf; and behind all that a lid takes
SMALL, BIG = (0.024, 0.027), (0.032, 0.035)  # m, half sizes of small and large objects
_BETWEEN = 0.50  # m, free way between fixtures
_BEFORE = 0.30  # m, free before a drawer that is out
_ARM = 0.50  # m from the walls, so that the arm fits whichever way it points; raised, it passes over all else
_ROBOT_GAP = 0.25  # m, from the robot's axis to things
_ROBOT_DOORWAY = 0.30  # m, from the robot's axis to a doorway's centre
_OBJECT_GAP = 0.30  # m, from an object's centre to walls and other things
_OBJECT_DOORWAY = 0.45  # m, from an object's centre to a doorway's
_PLATE_WALL = 0.40  # m, between a plate that crates are pushed onto and the walls
_CRATE_GAP = 0.50  # m, free around crates, for the robot to get behind them
_CRATE_DOORWAY = 0.70  # m, from a crate's side to a doorway's centre
_NAMES = 6  # of ROOMS, for worlds of up to four rooms: to draw from more would change tasks that policies are measured on
OFF_CENTRE = 0.04  # m, how far an object may lie from its table's centre


class SceneRange(struct.PyTreeNode, kw_only=True):
    """From which houses a set draws. Traced, so that a curriculum can move it without compiling again."""

    min_rooms: jax.Array  # [] int32
    max_rooms: jax.Array  # [] int32
    on_table: jax.Array  # [] the share of objects that start on a table
    use: jax.Array  # [] the probability that an object slot (but the first) is used
    colours: jax.Array  # [2, or 3 with crates, colours] bool: which colours cubes, balls and crates may have; holds out combinations
    styles: jax.Array | None = None  # [STYLES] weights of styles of layout; None: houses are mixed
    clutter: jax.Array | None = None  # [objects] weights of 0, 1, ... objects that no goal needs; None: as many as are left over

    @staticmethod
    def make(
        spec: WorldSpec,
        *,
        min_rooms: int = 1,
        max_rooms: int | None = None,
        on_table: float = 0.35,
        use: float = 0.8,
        styles: Collection[str] | None = None,
        clutter: Collection[int] | None = None,
    ) -> "SceneRange":
        """A range with these styles of layout, and these numbers of objects that no goal needs, equally likely; clutter takes `use` 1.

        Raises PalaestraError for a style or a number that cannot be.
        """
        if clutter is not None and not (clutter and all(0 <= n < spec.objects for n in clutter) and use == 1):
            got, expected = (
                f"{sorted(clutter)} and use {use}",
                f"numbers from 0 to {spec.objects - 1}, and use 1, so that all objects are there",
            )
            raise PalaestraError(f"clutter: got {got}, expected {expected}. Fix: use=1.0, fewer, or a world with more objects")
        return SceneRange(
            min_rooms=jnp.asarray(min_rooms),
            max_rooms=jnp.asarray(max_rooms or spec.rooms),
            on_table=jnp.asarray(on_table),
            use=jnp.asarray(use),
            colours=jnp.ones((3 if spec.crates else 2, len(COLOURS)), bool),
            styles=None if styles is None else style_weights(spec, styles, min_rooms),
            clutter=None if clutter is None else jnp.asarray([n in clutter for n in range(spec.objects)], jnp.float32),
        )


def draw_until(key: jax.Array, draw: Callable[[jax.Array], tuple[T, jax.Array]]) -> T:
    """The first value of `draw(key) -> (value, good [] bool)` that is good; key is consumed."""
    draw = jax.jit(draw)  # traced once, for its shapes and in the loop

    def again(carry: tuple[jax.Array, T, jax.Array]) -> tuple[jax.Array, T, jax.Array]:
        key, k_try = jax.random.split(carry[0])
        return key, *draw(k_try)

    # Zeros to begin with, so that `draw` is compiled once, inside the loop.
    blank = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(draw, key)[0])
    return jax.lax.while_loop(lambda carry: ~carry[2], again, (key, blank, jnp.asarray(False)))[1]


def draw_batch(keys: jax.Array, draw: Callable[[jax.Array], tuple[T, jax.Array]], chunk: int = 1024) -> T:
    """`draw_until` for keys [B], to the same values: `chunk` at a time of those that are not good yet.

    Under vmap the whole batch would be drawn again until its last one is good.
    """
    count = len(keys)
    draw = jax.jit(draw)  # traced once, for its shapes and in the loop

    def some(carry: tuple[jax.Array, T, jax.Array]) -> tuple[jax.Array, T, jax.Array]:
        (ids,) = jnp.nonzero(~carry[2], size=min(chunk, count), fill_value=count)
        split = jax.vmap(jax.random.split)(carry[0][jnp.minimum(ids, count - 1)])
        fresh = (split[:, 0], *jax.vmap(draw)(split[:, 1]))
        return jax.tree.map(lambda old, new: old.at[ids].set(new, mode="drop"), carry, fresh)

    shapes = jax.eval_shape(draw, keys[0])[0]
    blank = jax.tree.map(lambda s: jnp.zeros((count, *s.shape), s.dtype), shapes)
    return jax.lax.while_loop(lambda carry: ~carry[2].all(), some, (keys, blank, jnp.zeros(count, bool)))[1]


def random_order(key: jax.Array, size: int, first: jax.Array | None = None) -> jax.Array:
    """A permutation of `size` things, those of `first` [size] bool before the others; key is consumed.

    By counting which are smaller: for a dozen things under vmap, ten times as fast as a sort.
    """
    number = jnp.arange(size)
    score = jax.random.bits(key, (size,)) >> 1
    score = score if first is None else jnp.where(first, score, score | jnp.uint32(1 << 31))
    before = (score[None] < score[:, None]) | ((score[None] == score[:, None]) & (number[None] < number[:, None]))
    return jnp.argmax(before.sum(-1)[None] == number[:, None], axis=-1)


def one_of(key: jax.Array, allowed: jax.Array) -> jax.Array:
    """The number of one that is allowed; 0, where none is; key is consumed."""
    return jnp.argmax(jnp.where(allowed, jax.random.uniform(key, allowed.shape), -1.0))


def sample_scene(key: jax.Array, world: World, ranges: SceneRange) -> Scene:
    """A house in which nothing overlaps, everything can be reached, and nothing moves; key is consumed."""
    return draw_until(key, lambda key: attempt_scene(key, world, ranges))


class _Spots(NamedTuple):
    """Where a thing could go: of each candidate the room and the place in it, in [0, 1)."""

    room: jax.Array  # [.., candidates] int32
    at: jax.Array  # [.., candidates, 2]

    def row(self, index: int) -> "_Spots":
        return _Spots(self.room[index], self.at[index])


def _spots(key: jax.Array, plan: floor_plans.Plan | Scene, count: int) -> _Spots:
    """Candidates for `count` things; key is consumed.

    Random bits are a large share of the cost: a candidate takes one word, half of it for each coordinate (steps of 0.1 mm), and
    a thing's candidates go through the rooms in turn, from a random one on.
    """
    word = jax.random.bits(key, (count, _CANDIDATES + 1))
    rooms = plan.room_used.sum().astype(jnp.float32)
    turn = jnp.floor((word[:, -1:] >> 8).astype(jnp.float32) / (1 << 24) * rooms) + jnp.arange(_CANDIDATES, dtype=jnp.float32)
    room = turn - rooms * jnp.floor((turn + 0.5) / rooms)  # the remainder: of integers it is slow
    at = jnp.stack([word[:, :-1] & 0xFFFF, word[:, :-1] >> 16], -1).astype(jnp.float32) / 65536
    return _Spots(room.astype(jnp.int32), at)


def _choose(
    spots: _Spots, plan: floor_plans.Plan | Scene, clearance: jax.Array, obstacles: tuple, doorway: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The first candidate that keeps its distances: the position [2], and whether there is one [] bool.

    `clearance` [2]: half size plus margin to the walls. `obstacles`: centres and half sizes [n, 2], and the gap wanted to them.
    `doorway`: wanted distance from a doorway's centre, or from each one's [D, 1]. All in m.
    """
    chosen = spots.room[:, None] == jnp.arange(len(plan.room))
    room = jnp.where(chosen[:, :, None], plan.room, 0.0).sum(1)  # a gather is slow
    low, high = room[:, :2] + floor_plans.WALL + clearance, room[:, 2:] - floor_plans.WALL - clearance
    at = low + spots.at * jnp.maximum(high - low, 0.0)
    # Coordinates apart and candidates last: so the compiler makes vectors of the candidates.
    x, y = at[:, 0], at[:, 1]
    centre, half, gap = obstacles
    clear = _square(jnp.abs(x - centre[:, :1]) - half[:, :1]) + _square(jnp.abs(y - centre[:, 1:]) - half[:, 1:]) >= gap * gap
    door = (x - plan.door[:, :1]) ** 2 + (y - plan.door[:, 1:]) ** 2 >= doorway * doorway
    good = clear.all(0) & (door | ~plan.door_used[:, None]).all(0)
    first = jnp.argmax(good)
    return at[first], good.any()


def _square(x: jax.Array) -> jax.Array:
    """The square of what is positive."""
    x = jnp.maximum(x, 0.0)
    return x * x


class Cast(NamedTuple):
    """Which objects have to be there at the start, and which may not (they come about later) [O] bool."""

    needed: jax.Array
    absent: jax.Array


@functools.partial(jax.jit, static_argnames="world")  # traced once for all programs
def attempt_scene(key: jax.Array, world: World, ranges: SceneRange, cast: Cast | None = None) -> tuple[Scene, jax.Array]:
    """A house, and whether everything found a place in it [] bool; key is consumed."""
    spec = world.spec
    k_rooms, k_plan, k_size, k_fixture, k_object, k_robot, k_words = jax.random.split(key, 7)
    count = jax.random.randint(k_rooms, (), ranges.min_rooms, ranges.max_rooms + 1)
    styles = ranges.styles
    plan = floor_plans.floor_plan(k_plan, spec, count) if styles is None else styled_plan(k_plan, spec, count, styles)
    pos, half, turned, receptacles_fit = _place_receptacles(k_fixture, k_size, spec, plan)
    words = _words(k_words, spec, ranges)
    if cast is not None:
        words["used"] = (words["used"] | cast.needed) & ~cast.absent
    # To things that are placed later, buttons are furniture, and so is all the floor that a drawer may take.
    cabinet, swept, cabinets_fit = _place_cabinets(jax.random.fold_in(k_fixture, 2), spec, plan, pos, half)
    taken = jnp.concatenate([pos[:, :2], swept[0]]), jnp.concatenate([half[:, :2], swept[1]])
    buttons, buttons_fit = _place_buttons(k_fixture, spec, plan, *taken)
    standing = jnp.concatenate([taken[0], buttons]), jnp.concatenate([taken[1], jnp.full((spec.buttons, 2), BUTTON_HALF)])
    heavy, crates_fit = _place_crates(jax.random.fold_in(k_object, 1), spec, plan, standing, words)
    sides = jnp.repeat(words["half"][spec.portables :, None], 2, -1)
    standing = jnp.concatenate([standing[0], heavy[:, :2]]), jnp.concatenate([standing[1], sides])
    obj_pos, objects_fit = _place_objects(k_object, spec, ranges, plan, pos, half, standing, words)
    obj_pos = jnp.concatenate([obj_pos, heavy])
    k_at, k_yaw = jax.random.split(k_robot)
    robot, robot_fits = robot_spot(k_at, spec, plan, *standing, obj_pos)
    yaw = jax.random.uniform(k_yaw, (), minval=-jnp.pi, maxval=jnp.pi)
    wall_used = plan.wall_used
    scene = Scene(
        layout=Layout(
            fixture_pos=jnp.concatenate([plan.wall_pos, pos, cabinet[0]]),
            fixture_half=jnp.concatenate([plan.wall_half, half, cabinet[1]]),
            object_half=words["half"],
            object_density=jnp.where(spec.are("crate"), CRATE_DENSITY, DENSITY),
            object_friction=jnp.where(spec.are("crate"), CRATE_FRICTION, 1.0),
            object_pos=obj_pos,
            object_yaw=words["yaw"],
            object_used=words["used"],
            robot_q=jnp.stack([robot[0], robot[1], yaw, 0.1, 0.0, 0.0]).astype(jnp.float32),
            leaf_pos=jnp.stack([jnp.asarray(parked_mechanism(i)) for i in range(spec.leaves)]) if spec.leaves else jnp.zeros((0, 2)),
            leaf_quat=jnp.tile(jnp.array([1.0, 0.0, 0.0, 0.0]), (spec.leaves, 1)),
            leaf_angle=jnp.zeros(spec.leaves),
            button_pos=buttons,
            drawer_quat=cabinet[2],
            drawer_out=jnp.zeros(spec.drawers),
            lid_quat=turned[spec.tables + spec.bins - spec.hampers :],
            lid_angle=jnp.zeros(spec.hampers),
            toggle_on=jnp.zeros(spec.toggles, bool),
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
        leaf_doorway=jnp.zeros(spec.leaves, jnp.int32),
        leaf_used=jnp.zeros(spec.leaves, bool),
        leaf_colour=words["leaf_colour"],
        button_used=jnp.ones(spec.buttons, bool),
        button_colour=words["button_colour"],
        rules=Rules.none(spec.rules),
    )
    return scene, receptacles_fit & cabinets_fit & buttons_fit & crates_fit & objects_fit & robot_fits


def standing(spec: WorldSpec, scene: Scene) -> tuple[jax.Array, jax.Array]:
    """Positions and half sizes [tables + bins + drawers + buttons + crates, 2] m of what stands in a scene; drawers as `drawers.swept`."""
    lay, stands = scene.layout, slice(spec.walls, spec.fixtures - spec.drawers)
    centre, half = drawers.swept(lay)
    pos = jnp.concatenate([lay.fixture_pos[stands, :2], centre, lay.button_pos, lay.object_pos[spec.portables :, :2]])
    sides = jnp.repeat(lay.object_half[spec.portables :, None], 2, -1)
    return pos, jnp.concatenate([lay.fixture_half[stands, :2], half, jnp.full((spec.buttons, 2), BUTTON_HALF), sides])


def robot_spot(
    key: jax.Array, spec: WorldSpec, plan: floor_plans.Plan | Scene, pos: jax.Array, half: jax.Array, obj_pos: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A place for the robot among furniture (pos, half [n, 2] m) and objects: [2] m, and whether there is one [] bool; key is consumed."""
    obstacles = (
        jnp.concatenate([pos, obj_pos[:, :2]]),
        jnp.concatenate([half, jnp.zeros((spec.objects, 2))]),
        jnp.asarray(_ROBOT_GAP),
    )
    return _choose(_spots(key, plan, 1).row(0), plan, jnp.full(2, _ARM), obstacles, jnp.asarray(_ROBOT_DOORWAY))


def robot_fits(xy: jax.Array, scene: Scene, pos: jax.Array, half: jax.Array, others: jax.Array) -> jax.Array:
    """Whether the robot may begin at xy [2] m, among receptacles and objects [n, 2]: as far from all as `robot_spot` is [] bool."""
    room = scene.room[house.room_of(scene, xy)]
    indoors = ((xy >= room[:2] + floor_plans.WALL + _ARM) & (xy <= room[2:] - floor_plans.WALL - _ARM)).all()
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(xy - pos[:, :2]) - half[:, :2], 0.0), axis=-1)
    clear = (gap >= _ROBOT_GAP).all() & (jnp.linalg.norm(xy - others, axis=-1) >= _ROBOT_GAP).all()
    return indoors & clear & ((jnp.linalg.norm(xy - scene.door, axis=-1) >= _ROBOT_DOORWAY) | ~scene.door_used).all()


def object_spot(
    key: jax.Array, scene: Scene, pos: jax.Array, half: jax.Array, others: jax.Array, robot: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A place on the floor for one more object among furniture, other objects [n, 2] and the robot [2]: as `robot_spot`."""
    gap = jnp.full((len(pos) + len(others) + 1, 1), _OBJECT_GAP).at[-1].set(_ROBOT_GAP)
    centre = jnp.concatenate([pos, others, robot[None]])
    obstacles = (centre, jnp.concatenate([half, jnp.zeros((len(others) + 1, 2))]), gap)
    return _choose(_spots(key, scene, 1).row(0), scene, jnp.full(2, _OBJECT_GAP), obstacles, jnp.asarray(_OBJECT_DOORWAY))


def _place_receptacles(
    key: jax.Array, k_size: jax.Array, spec: WorldSpec, plan: floor_plans.Plan
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Tables and bins: positions [.., 3], half sizes [.., 3], quaternions [.., 4] of what stands against a wall (x from the wall into
    the room), and whether all fit [] bool."""
    n = spec.receptacles - spec.drawers
    k_xy, k_z = jax.random.split(k_size)
    sides = jax.random.uniform(k_xy, (n, 2), minval=_TABLE_HALF[0], maxval=_TABLE_HALF[1])
    height = jax.random.uniform(k_z, (n,), minval=_TABLE_HEIGHT[0], maxval=_TABLE_HEIGHT[1])
    is_bin = jnp.arange(n) >= spec.tables
    outer = BIN_INNER + 2 * BIN_SIDE
    half = jnp.where(is_bin[:, None], outer, jnp.concatenate([sides, height[:, None] / 2], -1))
    apart = jnp.full((n, 2), 0.03)  # m, to the walls
    if spec.crates and spec.plates:
        flush = (jnp.arange(n) >= spec.tables - spec.plates) & ~is_bin
        height = jnp.where(flush, PLATE_HEIGHT, height)
        half = half.at[:, 2].set(jnp.where(flush, PLATE_HEIGHT / 2, half[:, 2]))
        apart = jnp.where(flush[:, None], _PLATE_WALL, apart)
    z = jnp.where(is_bin, 0.0, height / 2)
    spots, by, turns = _spots(key, plan, n), jnp.full(n, 0.75), jnp.zeros(n, jnp.int32)
    if spec.shelves + spec.hampers:
        number = jnp.arange(n)
        shelf = (number >= spec.tables - spec.plates - spec.shelves) & (number < spec.tables - spec.plates)
        turns = jax.random.randint(jax.random.fold_in(key, 3), (n,), 0, 4)
        half, z = _shelved(jax.random.fold_in(k_size, 1), shelf, turns, half, z)
        walled = shelf | (number >= n - spec.hampers)
        across = walled[:, None] & (jnp.arange(2) == (turns % 2)[:, None])  # the axis on which the wall is behind it
        spots = spots._replace(at=jnp.where(across[:, None], (turns >= 2).astype(jnp.float32)[:, None, None], spots.at))
        apart = jnp.where(across, jnp.where(shelf, _TO_WALL, LID_ROOM + _TO_WALL)[:, None], apart)
        # A wall, and no opening in it, however wide.
        by = jnp.where(walled[:, None], jnp.maximum(0.75, plan.door_width / 2 + 0.05), 0.75)[..., None]
    pos, fits = jnp.zeros((0, 2)), jnp.asarray(True)
    for i in range(n):
        size = half[i, :2].max()
        at, found = _choose(spots.row(i), plan, half[i, :2] + apart[i], (pos, half[:i, :2], size + _BETWEEN), size + by[i])
        pos, fits = jnp.concatenate([pos, at[None]]), fits & found
    return jnp.concatenate([pos, z[:, None]], -1), half, jnp.asarray(drawers.QUARTER_TURNS)[turns], fits


def _shelved(key: jax.Array, shelf: jax.Array, turns: jax.Array, half: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Half sizes [n, 3] and heights of middles [n] m with those of shelves (`shelf` [n] bool), turned by quarters; key is consumed."""
    k_side, k_height = jax.random.split(key)
    low, high = jnp.asarray(_SHELF_HALF).T
    sides = jax.random.uniform(k_side, (len(shelf), 2), minval=low, maxval=high)
    sides = jnp.where((turns % 2 == 0)[:, None], sides, sides[:, ::-1])
    height = jax.random.uniform(k_height, shelf.shape, minval=_SHELF_HEIGHT[0], maxval=_SHELF_HEIGHT[1])
    board = jnp.concatenate([sides, height[:, None] / 2], -1)
    return jnp.where(shelf[:, None], board, half), jnp.where(shelf, height / 2, z)


def _place_cabinets(
    key: jax.Array, spec: WorldSpec, plan: floor_plans.Plan, pos: jax.Array, half: jax.Array
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array], jax.Array]:
    """Cabinets among tables and bins, each with room for its drawer and before that; key is consumed.

    Positions [W, 3], half sizes [W, 3] and quaternions [W, 4]; the boxes that they take open or shut, as `drawers.swept`; and whether
    all fit [] bool.
    """
    k_turn, k_spots = jax.random.split(key)
    turns = jax.random.randint(k_turn, (spec.drawers,), 0, 4)
    quat = jnp.asarray(drawers.QUARTER_TURNS)[turns]
    front = leaf_axis(quat, 0.0)
    (low, high), wide = drawers.SWEPT, DRAWER_HALF[1]
    (own, room) = (jnp.abs(front) * (end - low) / 2 + jnp.abs(front[:, ::-1]) * wide for end in (high, high + _BEFORE))
    at, sides, found, fits = pos[:, :2], half[:, :2], [], jnp.asarray(True)
    spots = _spots(k_spots, plan, spec.drawers) if spec.drawers else None
    for i in range(spec.drawers):
        assert spots is not None
        ahead = _BEFORE / 2 * front[i]  # from the middle of what the drawer takes to that of the place with what is kept free before it
        obstacles = (at + ahead, sides + own[i], jnp.asarray(_BETWEEN))
        xy, good = _choose(spots.row(i), plan, room[i] + 0.03, obstacles, jnp.asarray(_BEFORE + 0.75))
        at, sides, fits = jnp.concatenate([at, (xy - ahead)[None]]), jnp.concatenate([sides, own[i][None]]), fits & good
        found.append(xy - ahead - (low + high) / 2 * front[i])
    middle = jnp.concatenate([jnp.stack(found) if found else jnp.zeros((0, 2)), jnp.full((spec.drawers, 1), DRAWER_HEIGHT / 2)], -1)
    flat = jnp.abs(front) * DRAWER_HALF[0] + jnp.abs(front[:, ::-1]) * wide
    size = jnp.concatenate([flat, jnp.full((spec.drawers, 1), DRAWER_HEIGHT / 2)], -1)
    return (middle, size, quat), (at[len(pos) :], sides[len(pos) :]), fits


def _place_buttons(key: jax.Array, spec: WorldSpec, plan: floor_plans.Plan, pos: jax.Array, half: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Buttons among tables and bins: positions [U, 2] m, and whether all fit [] bool."""
    at, fits = pos[:, :2], jnp.asarray(True)
    sides = jnp.concatenate([half[:, :2], jnp.full((spec.buttons, 2), BUTTON_HALF)])
    if spec.buttons:
        spots = _spots(jax.random.fold_in(key, 1), plan, spec.buttons)
        for i in range(spec.buttons):
            near = (at, sides[: len(at)], jnp.asarray(_BETWEEN))
            xy, found = _choose(spots.row(i), plan, jnp.full(2, BUTTON_HALF + 0.2), near, jnp.asarray(BUTTON_HALF + 0.75))
            at, fits = jnp.concatenate([at, xy[None]]), fits & found
    return at[len(pos) :], fits


def _words(key: jax.Array, spec: WorldSpec, ranges: SceneRange) -> dict[str, jax.Array]:
    """Sizes, colours and names. No two things of a kind in use share both colour and size word, so all can be told apart."""
    k_size, k_large, k_colour, k_ball, k_use, k_recep, k_rooms, k_yaw = jax.random.split(key, 8)
    o, n = spec.objects, len(COLOURS)
    # Within a kind, slots get different (colour, size) pairs: a random order of the allowed ones.
    pairs = []
    for k, kind, count in ((k_colour, 0, spec.cubes), (k_ball, 1, spec.balls)):
        order = random_order(k, 2 * n, jnp.tile(ranges.colours[kind], 2))
        pairs.append(order[jnp.arange(count) % (2 * n)])
    pair = jnp.concatenate(pairs)
    colour, large = pair % n, pair >= n
    u = jax.random.uniform(k_size, (o,))
    half = jnp.where(large, BIG[0] + u[: spec.portables] * (BIG[1] - BIG[0]), SMALL[0] + u[: spec.portables] * (SMALL[1] - SMALL[0]))
    if spec.crates:  # of one size in words: they differ in colour
        order = random_order(jax.random.fold_in(k_colour, 1), n, ranges.colours[2])
        colour = jnp.append(colour, order[jnp.arange(spec.crates) % n])
        half = jnp.append(half, CRATE_HALF[0] + u[spec.portables :] * (CRATE_HALF[1] - CRATE_HALF[0]))
    used = jax.random.bernoulli(k_use, ranges.use, (o,)) | (jnp.arange(o) == spec.portables)  # a world of crates has one at least
    first = jax.random.randint(k_large, (), 0, spec.portables)
    names = _NAMES if spec.rooms <= 4 else len(ROOMS)
    table_colours = random_order(k_recep, n)[jnp.arange(spec.receptacles) % n]
    return {
        "half": half,
        "colour": colour.astype(jnp.int32),
        "used": used | (jnp.arange(o) == first),
        "yaw": jnp.where(spec.are("ball"), 0.0, jax.random.uniform(k_yaw, (o,), minval=-jnp.pi, maxval=jnp.pi)),
        "receptacle_colour": table_colours.astype(jnp.int32),
        "rooms": random_order(k_rooms, names)[: spec.rooms].astype(jnp.int32),
        "leaf_colour": _colours(jax.random.fold_in(k_recep, 1), spec.leaves),
        "button_colour": _colours(jax.random.fold_in(k_recep, 2), spec.buttons),
    }


def _colours(key: jax.Array, count: int) -> jax.Array:
    """Different colours for up to as many things as there are colours [count] int32; key is consumed."""
    order = random_order(key, len(COLOURS)) if count else jnp.zeros(1, jnp.int32)
    return order[jnp.arange(count) % len(order)].astype(jnp.int32)


def _place_crates(
    key: jax.Array, spec: WorldSpec, plan: floor_plans.Plan, standing: tuple[jax.Array, jax.Array], words: dict
) -> tuple[jax.Array, jax.Array]:
    """Crates among all that stands there, with room for the robot all around: positions [crates, 3], and whether all fit [] bool."""
    half, used = words["half"][spec.portables :], words["used"][spec.portables :]
    at, fits = jnp.zeros((0, 2)), jnp.asarray(True)
    spots = _spots(key, plan, spec.crates) if spec.crates else None
    for i in range(spec.crates):
        assert spots is not None
        sides = jnp.concatenate([standing[1], jnp.repeat(half[:i, None], 2, -1)])
        obstacles = (jnp.concatenate([standing[0], at]), sides, half[i] + _CRATE_GAP)
        clearance, doorway = jnp.full(2, half[i] + _CRATE_GAP), half[i] + _CRATE_DOORWAY
        xy, found = _choose(spots.row(i), plan, clearance, obstacles, doorway)
        at = jnp.concatenate([at, jnp.where(used[i], xy, jnp.asarray(parked_object(spec.portables + i)[:2]))[None]])
        fits &= found | ~used[i]
    parked = jnp.stack([jnp.asarray(parked_object(spec.portables + i)) for i in range(spec.crates)]) if spec.crates else jnp.zeros((0, 3))
    return jnp.where(used[:, None], jnp.concatenate([at, half[:, None]], -1), parked), fits


def _place_objects(
    key: jax.Array,
    spec: WorldSpec,
    ranges: SceneRange,
    plan: floor_plans.Plan,
    pos: jax.Array,
    half: jax.Array,
    standing: tuple[jax.Array, jax.Array],
    words: dict,
) -> tuple[jax.Array, jax.Array]:
    """Objects that can be carried, on the floor among all that stands there, or one on a table: positions [portables, 3], and whether
    all fit [] bool."""
    o = spec.portables
    there = words["used"][:o]
    k_table, k_off, k_spots = jax.random.split(key, 3)
    spots = _spots(k_spots, plan, o)
    parked = jnp.stack([jnp.asarray(parked_object(i)) for i in range(o)])
    at, fits = jnp.zeros((0, 2)), jnp.asarray(True)
    for i in range(o):
        obstacles = (jnp.concatenate([standing[0], at]), jnp.concatenate([standing[1], jnp.zeros((i, 2))]), jnp.asarray(_OBJECT_GAP))
        xy, found = _choose(spots.row(i), plan, jnp.full(2, _OBJECT_GAP), obstacles, jnp.asarray(_OBJECT_DOORWAY))
        used = there[i]
        at = jnp.concatenate([at, jnp.where(used, xy, parked[i, :2])[None]])
        fits &= found | ~used
    z = words["half"][:o]
    if spec.tables:
        # Table j's guest is slot j of a random order, so often that on average the share `on_table` of the objects sits.
        order = random_order(k_table, o)
        offset = jax.random.uniform(k_off, (spec.tables, 3), minval=-1.0, maxval=1.0)
        for j in range(min(spec.tables - spec.plates, o)):  # plates begin empty
            often = 0.5 + 0.5 * offset[j, 2] < ranges.on_table * o / spec.tables
            sits = (jnp.arange(o) == order[j]) & there & often
            at = jnp.where(sits[:, None], pos[j, :2] + OFF_CENTRE * offset[j, :2], at)
            z = jnp.where(sits, z + 2 * pos[j, 2], z)
    return jnp.where(there[:, None], jnp.concatenate([at, z[:, None]], -1), parked), fits


# --- goals --------------------------------------------------------------------------------------------------------


class Literals(NamedTuple):
    """The literals of a conjunction [g]."""

    predicate: jax.Array  # int32, into PREDICATES
    subject: jax.Array  # int32, an entity
    target: jax.Array  # int32, an entity
    used: jax.Array  # bool


def sample_literals(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> Literals:
    """Literals that can all hold at once; key is consumed. Fewer than `min_goals` where the scene has too few things.

    Objects go to receptacles (no two to one table or drawer, none to a table that is taken), so nothing holds at the start; the last of
    several literals may instead be about the robot: to stand near something, to be in a room, or to hold an object that has no
    other place to be.
    """
    spec = world.spec
    k_count, k_obj, k_recep, k_robot, k_kind = jax.random.split(key, 5)
    o, t, n = spec.portables, spec.tables, spec.receptacles
    used, first = scene.layout.object_used[:o], 1 + spec.objects
    count = jax.random.randint(k_count, (), min_goals, max_goals + 1)
    order = random_order(k_obj, o, used)
    taken = _occupied(spec, scene)
    score = jax.random.uniform(k_recep, (o, n))
    subjects, targets, free = [], [], jnp.ones(n, bool) & ~taken
    for i in range(min(o, MAX_GOALS)):
        choice = jnp.argmax(jnp.where(free, score[i], -1.0))
        subjects.append(1 + order[i])
        targets.append(jnp.where(free.any(), first + choice, 0))
        free = free & (
            (jnp.arange(n) != choice) | (jnp.arange(n) >= t) & (jnp.arange(n) < t + spec.bins)
        )  # a bin takes many, a table or drawer one
    pad = MAX_GOALS - len(subjects)
    subject = jnp.pad(jnp.stack(subjects), (0, pad))
    target = jnp.pad(jnp.stack(targets), (0, pad))
    movable = jnp.minimum(used.sum(), len(subjects))
    placing = (jnp.arange(MAX_GOALS) < jnp.minimum(count, movable)) & (target > 0)
    predicate = jnp.where(target >= first + t, INSIDE, ON)

    # A literal about the robot, as the last one, where there is room for it.
    kind = jax.random.categorical(k_kind, jnp.log(jnp.array([0.55, 0.15, 0.15, 0.15])))
    k_near, k_room = jax.random.split(k_robot)
    near_to = first + jax.random.randint(k_near, (), 0, n)
    start_room = house.room_of(scene, scene.layout.robot_q[:2])
    other = jnp.where(scene.room_used & (jnp.arange(spec.rooms) != start_room), 0.0, -jnp.inf)
    in_room = room_entity(spec, 0) + jax.random.categorical(k_room, jnp.where(jnp.isfinite(other).any(), other, 0.0))
    spare = order[jnp.minimum(count - 1, o - 1)]
    can_hold = (count - 1 < used.sum()) & (count - 1 < o)
    ok = jnp.stack([jnp.asarray(False), jnp.asarray(True), jnp.isfinite(other).any(), can_hold])[kind]
    about_robot = jnp.stack(
        [jnp.array([NEAR, 0, 0]), jnp.stack([NEAR, 0, near_to]), jnp.stack([IN_ROOM, 0, in_room]), jnp.stack([HOLDING, 0, 1 + spare])]
    )[kind]
    # Never alone: a robot that drives about at random would come by.
    swap = (jnp.arange(MAX_GOALS) == count - 1) & (count > 1) & ok
    return Literals(
        predicate=jnp.where(swap, about_robot[0], predicate).astype(jnp.int32),
        subject=jnp.where(swap, about_robot[1], subject).astype(jnp.int32),
        target=jnp.where(swap, about_robot[2], target).astype(jnp.int32),
        used=placing | swap,
    )


def _occupied(spec: WorldSpec, scene: Scene) -> jax.Array:
    """Which tables hold something at the start, and plates, on which nothing but a weight belongs [tables + bins] bool."""
    lay = scene.layout
    gap = jnp.abs(lay.object_pos[:, None, :2] - lay.fixture_pos[None, spec.walls :, :2])
    over = (gap <= lay.fixture_half[None, spec.walls :, :2]).all(-1) & lay.object_used[:, None]
    number = jnp.arange(spec.receptacles)
    return (over.any(0) & (number < spec.tables)) | ((number >= spec.tables - spec.plates) & (number < spec.tables))


def attempt_task(key: jax.Array, world: World, ranges: SceneRange, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Task, jax.Array]:
    """A scene with a goal of `min_goals` to `max_goals` literals, and whether it is one that may be used; key is consumed."""
    k_scene, k_goal = jax.random.split(key)
    scene, fits = attempt_scene(k_scene, world, ranges)
    goal, good = attempt_goal(k_goal, world, scene, min_goals, max_goals)
    return Task(scene=scene, goal=goal), fits & good


def attempt_goal(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Goal, jax.Array]:
    """A goal of `min_goals` to `max_goals` literals in this scene, and whether it may be used; key is consumed."""
    literals = sample_literals(key, world, scene, min_goals, max_goals)
    good = (literals.used.sum() >= min_goals) & literals.used[0]
    return goals.conjunction(world.spec, *literals), good


# --- clutter ------------------------------------------------------------------------------------------------------


def not_needed(task: Task) -> jax.Array:
    """Which objects are there that the goal does not name [.., O] bool."""
    used, goal = task.scene.layout.object_used, task.goal
    return used & ~((goal.subjects | goal.targets) & goal.used[..., None]).any(-2)[..., 1 : 1 + used.shape[-1]]


def cluttered(key: jax.Array, spec: WorldSpec, task: Task, weight: jax.Array) -> tuple[Task, jax.Array]:
    """The task with as many objects that its goal does not name as are drawn by weight [objects], the others taken away; and whether
    there were so many [] bool. Key is consumed."""
    k_count, k_which = jax.random.split(key)
    count = jax.random.categorical(k_count, jnp.log(weight))
    lay, o = task.scene.layout, spec.objects
    spare = not_needed(task)
    rank = jnp.argsort(random_order(k_which, o, spare))  # a random one of each, those that are spare first
    used = lay.object_used & (~spare | (rank < count))
    parked = jnp.stack([jnp.asarray(parked_object(i)) for i in range(o)])
    layout = lay.replace(object_used=used, object_pos=jnp.where(used[:, None], lay.object_pos, parked))
    return task.replace(scene=task.scene.replace(layout=layout)), spare.sum() >= count
