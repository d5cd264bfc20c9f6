"""Floor plans from keys: one to nine rooms joined by doorways.

A plan is made in a canonical frame, the lower left corner at the origin, and then turned. Every room can be reached from
every other, by construction. Worlds of up to four rooms have at most two columns of one length; those of five to nine
have at most three, of any lengths, so that houses come as blocks, as Ls, Ts, Us and stairs. `styles` has other ways to lay out a house.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from palaestra.sim.world import LEAF_GAP, LEAF_LENGTH, WorldSpec, parked_fixture

WALL = 0.05  # m, half thickness
WALL_HEIGHT = 0.25  # m, half height: low, so that one can look in
ROOM_SIDE = (2.3, 3.0)  # m
DOOR_WIDTH = (0.85, 1.05)  # m
_JITTER = 0.15  # m, by which walls across differ from column to column
_CORNER = 0.65  # m, from a doorway's centre to the next corner
_STUB = 0.20  # m, of the wall that an opening leaves at each end


class Plan(struct.PyTreeNode, kw_only=True):
    """Rooms, doorways and walls of a house; see `Scene` for the fields they share."""

    room: jax.Array  # [R, 4]
    room_used: jax.Array  # [R]
    door: jax.Array  # [D, 2]
    door_along_x: jax.Array  # [D]
    door_width: jax.Array  # [D]
    door_rooms: jax.Array  # [D, 2]
    door_used: jax.Array  # [D]
    wall_pos: jax.Array  # [W, 3]
    wall_half: jax.Array  # [W, 3]
    wall_used: jax.Array  # [W]


def floor_plan(key: jax.Array, spec: WorldSpec, rooms: jax.Array, wide: jax.Array | None = None) -> Plan:
    """A house of `rooms` (traced, 1 to spec.rooms) rooms, its middle at the origin; key is consumed.

    In worlds with hinged doors all doorways are as wide as a leaf, and between two rooms there is one way only. Where `wide` ([] bool)
    is true, there are openings nearly as wide as the walls that they are in, and as many as there is room for.
    """
    return (_two_columns if spec.rooms <= 4 else _three_columns)(key, spec, rooms, wide)


def _two_columns(key: jax.Array, spec: WorldSpec, rooms: jax.Array, wide: jax.Array | None) -> Plan:
    """One to four rooms: a main wall splits the house left and right, and each side may be split again across."""
    k_size, k_mid, k_door, k_width, k_turn, k_extra = jax.random.split(key, 6)
    split, split_left, split_right = rooms >= 2, rooms >= 3, rooms >= 4
    w1, w2, h1, h2 = jax.random.uniform(k_size, (4,), minval=ROOM_SIDE[0], maxval=ROOM_SIDE[1])
    width = jnp.where(split, w1 + w2, w1)
    height = jnp.where(split_left, h1 + h2, h1)
    x1 = w1  # the main wall
    jitter = jax.random.uniform(k_mid, (2,), minval=-_JITTER, maxval=_JITTER)
    y1, y2 = h1 + jitter[0], h1 + jitter[1]  # the walls across, left and right
    u = jax.random.uniform(k_door, (4,))
    low = jnp.where(split_left, jnp.minimum(y1, jnp.where(split_right, y2, y1)), height)
    high = jnp.maximum(y1, jnp.where(split_right, y2, y1))
    zero = jnp.zeros(())
    span = jnp.stack([zero, high, zero, x1]), jnp.stack([low, height, x1, width])  # of the wall that each doorway is in
    (door_y, door_y2, left_x, right_x), door_w = doorways(u, *span, door_widths(k_width, spec, spec.doors), wide)
    second = split_left & _another(jax.random.bernoulli(k_extra, 0.5), wide) & (spec.leaves == 0)

    # Rooms: lower left, lower right, upper left, upper right (the last two where a side is split).
    left_top, right_top = jnp.where(split_left, y1, height), jnp.where(split_right, y2, height)
    room = _rows(
        [(zero, zero, jnp.where(split, x1, width), left_top), (x1, zero, width, right_top), (zero, y1, x1, height), (x1, y2, width, height)]
    )
    door_rooms = jnp.array([[0, 1], [2, 1], [0, 2], [1, 3]]).at[1, 1].set(jnp.where(split_right, 3, 1))
    door_used = jnp.stack([split, second, split_left, split_right])

    gap = door_w / 2 + WALL  # panels are WALL longer at each end
    end = jnp.where(second, door_y2 - gap[1], height)
    lines = [
        (zero, zero, width, zero),
        (zero, height, width, height),
        (zero, zero, zero, height),
        (width, zero, width, height),
        (x1, zero, x1, door_y - gap[0]),
        (x1, door_y + gap[0], x1, end),
        (x1, door_y2 + gap[1], x1, height),
        (zero, y1, left_x - gap[2], y1),
        (left_x + gap[2], y1, x1, y1),
        (x1, y2, right_x - gap[3], y2),
        (right_x + gap[3], y2, width, y2),
    ][: spec.walls]
    yes = jnp.asarray(True)
    wall_used = [yes, yes, yes, yes, split, split, second, split_left, split_left, split_right, split_right][: spec.walls]
    pos, half = panels(_rows(lines))
    plan = Plan(
        room=room[: spec.rooms],
        room_used=(jnp.arange(4) < rooms)[: spec.rooms],
        door=_rows([(x1, door_y), (x1, door_y2), (left_x, y1), (right_x, y2)]),
        door_along_x=jnp.array([True, True, False, False]),
        door_width=door_w,
        door_rooms=door_rooms,
        door_used=door_used,
        wall_pos=pos,
        wall_half=half,
        wall_used=jnp.stack(wall_used),
    )
    return turned(plan, swap=jax.random.bernoulli(k_turn), half_turn=jnp.asarray(False))


class Walls(NamedTuple):
    """Walls with doorways in them, in the canonical frame."""

    door: jax.Array  # [doors, 2] m
    width: jax.Array  # [doors] m
    rooms: jax.Array  # [doors, 2] int32, the rooms that a doorway joins
    door_used: jax.Array  # [doors] bool
    line: jax.Array  # [panels, 4] m: x0, y0, x1, y1 of a panel's ends
    line_used: jax.Array  # [panels] bool


def _three_columns(key: jax.Array, spec: WorldSpec, rooms: jax.Array, wide: jax.Array | None) -> Plan:
    """One to nine rooms: up to three columns side by side, each of up to three rooms one above the other.

    Columns stand on one line and may differ in length; rooms that are the r-th of their columns lie side by side for long enough
    that a doorway fits. One in every wall across, and one or two in every wall between columns, join all rooms.
    """
    k_outline, k_size, k_cut, k_across, k_between, k_width, k_turn = jax.random.split(key, 7)
    c, rows = 3, 2 if spec.rooms <= 6 else 3
    length = _outline(k_outline, (c, rows), rooms)
    side = jax.random.uniform(k_size, (c + rows,), minval=ROOM_SIDE[0], maxval=ROOM_SIDE[1])
    x = jnp.append(0.0, jnp.cumsum(jnp.where(length > 0, side[:c], 0.0)))  # [C + 1] m, the columns' edges
    y = jnp.append(0.0, jnp.cumsum(side[c:]))  # [rows + 1] m, the rows' edges
    row, last = jnp.arange(rows + 1), length[:, None]
    jitter = jax.random.uniform(k_cut, (c, rows + 1), minval=-_JITTER, maxval=_JITTER)
    cut = y[jnp.minimum(row, last)] + jnp.where((row > 0) & (row < last), jitter, 0.0)  # [C, rows + 1] m, each column's own

    used = row[:-1] < last  # [C, rows]
    number = (jnp.cumsum(used) - 1).reshape(c, rows)  # the rooms in use come first
    order = jnp.argsort(~used, axis=None, stable=True)[: spec.rooms]
    room = jnp.stack(jnp.broadcast_arrays(x[:-1, None], cut[:, :-1], x[1:, None], cut[:, 1:]), -1).reshape(-1, 4)
    width = door_widths(k_width, spec, spec.doors)
    n = c * (rows - 1)
    across = _walls_across(k_across, x, cut, number, used, width[:n], wide)
    between = _walls_between(k_between, x, cut, number, length, width[n:], spec.leaves == 0, wide)
    outer, outer_used = _outer_walls(x, cut[:, -1], length)
    pos, half = panels(jnp.concatenate([outer, across.line, between.line]))
    plan = Plan(
        room=room[order],
        room_used=jnp.arange(spec.rooms) < rooms,
        door=jnp.concatenate([across.door, between.door]),
        door_along_x=jnp.arange(spec.doors) >= n,
        door_width=jnp.concatenate([across.width, between.width]),
        door_rooms=jnp.concatenate([across.rooms, between.rooms]),
        door_used=jnp.concatenate([across.door_used, between.door_used]),
        wall_pos=pos,
        wall_half=half,
        wall_used=jnp.concatenate([outer_used, across.line_used, between.line_used]),
    )
    swap, half_turn = jax.random.bernoulli(k_turn, shape=(2,))
    return turned(plan, swap, half_turn)


def _outline(key: jax.Array, grid: tuple[int, int], rooms: jax.Array) -> jax.Array:
    """How many rooms each column has [C] int32, `rooms` in all: any way of sharing them out, the empty columns last."""
    columns, rows = grid
    ways = np.array([way for way in itertools.product(range(rows + 1), repeat=columns) if way[0] and 0 not in way[: np.count_nonzero(way)]])
    return jnp.asarray(ways)[jax.random.categorical(key, jnp.where(ways.sum(-1) == rooms, 0.0, -jnp.inf))]


def _outer_walls(x: jax.Array, top: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The bottom, the left and the right, and every column's top: lines [3 + C, 4] m and which are used."""
    there = length > 0
    right = top[there.sum() - 1]
    sides = jnp.zeros((3, 4)).at[0, 2].set(x[-1]).at[1, 3].set(top[0]).at[2].set(jnp.stack([x[-1], jnp.zeros(()), x[-1], right]))
    tops = jnp.stack([x[:-1], top, x[1:], top], -1)
    return jnp.concatenate([sides, tops]), jnp.append(jnp.ones(3, bool), there)


def _walls_across(
    key: jax.Array, x: jax.Array, cut: jax.Array, number: jax.Array, used: jax.Array, width: jax.Array, wide: jax.Array | None
) -> Walls:
    """Between the rooms of a column, each with a doorway: two panels."""
    y, used = cut[:, 1:-1], used[:, 1:]  # [C, rows - 1]
    left, right = jnp.broadcast_to(x[:-1, None], y.shape), jnp.broadcast_to(x[1:, None], y.shape)
    at, width = doorways(jax.random.uniform(key, y.shape), left, right, width.reshape(y.shape), wide)
    gap = width / 2 + WALL  # panels are WALL longer at each end
    line = jnp.stack([jnp.stack([left, y, at - gap, y], -1), jnp.stack([at + gap, y, right, y], -1)])
    return Walls(
        door=jnp.stack([at, y], -1).reshape(-1, 2),
        width=width.ravel(),
        rooms=jnp.stack([number[:, :-1], number[:, 1:]], -1).reshape(-1, 2),
        door_used=used.ravel(),
        line=line.reshape(-1, 4),
        line_used=jnp.tile(used.ravel(), 2),
    )


def _walls_between(
    key: jax.Array,
    x: jax.Array,
    cut: jax.Array,
    number: jax.Array,
    length: jax.Array,
    width: jax.Array,
    may_be_two: bool,
    wide: jax.Array | None,
) -> Walls:
    """Between columns, each with a doorway in one row or in two that both sides have: three panels."""
    k_first, k_other, k_two, k_at = jax.random.split(key, 4)
    common = jnp.minimum(length[:-1], length[1:])  # [C - 1]
    first = jax.random.randint(k_first, common.shape, 0, common)
    other = (first + jax.random.randint(k_other, common.shape, 1, jnp.maximum(common, 2))) % jnp.maximum(common, 1)
    there, two = common > 0, (common > 1) & _another(jax.random.bernoulli(k_two, shape=common.shape), wide) & may_be_two
    row = jnp.sort(jnp.stack([first, jnp.where(two, other, first)], -1), -1)  # [C - 1, 2 doorways]
    low = jnp.take_along_axis(jnp.maximum(cut[:-1], cut[1:]), row, -1)
    high = jnp.take_along_axis(jnp.minimum(cut[:-1], cut[1:]), row + 1, -1)
    at, width = doorways(jax.random.uniform(k_at, row.shape), low, high, width.reshape(row.shape), wide)
    gap = width / 2 + WALL  # panels are WALL longer at each end
    below, above = at - gap, at + gap
    wall, end = x[1:-1], jnp.maximum(cut[:-1, -1], cut[1:, -1])
    from_y = jnp.stack([jnp.zeros_like(end), above[:, 0], above[:, 1]], -1)  # [C - 1, 3 panels]
    to_y = jnp.stack([below[:, 0], jnp.where(two, below[:, 1], end), end], -1)
    line = jnp.stack(jnp.broadcast_arrays(wall[:, None], from_y, wall[:, None], to_y), -1)
    return Walls(
        door=jnp.stack(jnp.broadcast_arrays(wall[:, None], at), -1).reshape(-1, 2),
        width=width.ravel(),
        rooms=jnp.stack([jnp.take_along_axis(side, row, -1) for side in (number[:-1], number[1:])], -1).reshape(-1, 2),
        door_used=jnp.stack([there, two], -1).ravel(),
        line=line.reshape(-1, 4),
        line_used=jnp.stack([there, there, two], -1).ravel(),
    )


def door_widths(key: jax.Array, spec: WorldSpec, count: int) -> jax.Array:
    """Of doorways [count] m; key is consumed."""
    low, high = DOOR_WIDTH if spec.leaves == 0 else (LEAF_LENGTH + 2 * LEAF_GAP,) * 2
    return jax.random.uniform(key, (count,), minval=low, maxval=high)


def doorways(
    share: jax.Array, low: jax.Array, high: jax.Array, width: jax.Array, wide: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Centres and widths of doorways between two corners, at `share` [0, 1] of what the corners leave free; where `wide`, of openings."""
    at = low + _CORNER + share * (high - low - 2 * _CORNER)
    if wide is None:
        return at, width
    return jnp.where(wide, (low + high) / 2, at), jnp.where(wide, high - low - 2 * _STUB, width)


def _another(drawn: jax.Array, wide: jax.Array | None) -> jax.Array:
    """Whether there is one more doorway, where there is room for it: as drawn, and always where `wide`."""
    return drawn if wide is None else drawn | wide


def _rows(rows: Sequence[Sequence[jax.Array]]) -> jax.Array:
    return jnp.stack([jnp.stack(row) for row in rows])


def panels(line: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Wall panels along lines [W, 4] m, WALL longer at each end so that corners close: centres and half sizes [W, 3]."""
    start, end = line[:, :2], line[:, 2:]
    height = jnp.full((len(line), 1), WALL_HEIGHT)
    return jnp.concatenate([(start + end) / 2, height], -1), jnp.concatenate([(end - start) / 2 + WALL, height], -1)


def turned(plan: Plan, swap: jax.Array, half_turn: jax.Array) -> Plan:
    """A canonical plan brought to where it is: its middle to the origin, x and y swapped, turned by half a turn, as told.

    What is not used goes out of the way.
    """
    centre = jnp.where(plan.room_used[:, None], plan.room[:, 2:], 0.0).max(0) / 2

    def swapped(xy: jax.Array) -> jax.Array:
        return jnp.where(swap, xy[..., ::-1], xy)

    def turn(xy: jax.Array) -> jax.Array:
        return swapped(jnp.where(half_turn, -xy, xy))

    low, high = turn(plan.room[:, :2] - centre), turn(plan.room[:, 2:] - centre)
    room = jnp.where(half_turn, jnp.concatenate([high, low], -1), jnp.concatenate([low, high], -1))
    used = plan.wall_used[:, None]
    pos = jnp.concatenate([turn(plan.wall_pos[:, :2] - centre), plan.wall_pos[:, 2:]], -1)
    half = jnp.concatenate([swapped(plan.wall_half[:, :2]), plan.wall_half[:, 2:]], -1)
    parked = jnp.stack([jnp.asarray(parked_fixture(i)) for i in range(len(used))])
    return plan.replace(
        room=room,
        door=turn(plan.door - centre),
        door_along_x=plan.door_along_x ^ swap,
        door_rooms=jnp.where(plan.door_used[:, None], plan.door_rooms, 0),
        wall_pos=jnp.where(used, pos, parked),
        wall_half=jnp.where(used, half, 0.1),
    )
