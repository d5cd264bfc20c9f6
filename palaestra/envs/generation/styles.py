"""Styles of layout: how the rooms of a house hang together.

`mixed` is what `floor_plans` draws: columns of rooms, joined at random. In a `row` each room has a doorway to the next one. In a
`corridor` rooms lie on both sides of a narrow hall, with one doorway each, to the hall. In a `ring`, two rows back to back, the doorways
form one cycle. `open` is as mixed, with openings nearly as wide as the walls instead of doorways.

Rows, corridors and rings are one construction, in the canonical frame of `floor_plans`: a first band of rooms along x, a second one
above it, and, in a corridor, a hall between them.
"""

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.generation.floor_plans import (
    DOOR_WIDTH,
    ROOM_SIDE,
    WALL,
    Plan,
    Walls,
    door_widths,
    doorways,
    floor_plan,
    panels,
    turned,
)
from palaestra.envs.types import Scene
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import WorldSpec

STYLES = ("mixed", "row", "corridor", "ring", "open")
MIXED, ROW, CORRIDOR, RING, OPEN = range(len(STYLES))
LEAST_ROOMS = {"mixed": 1, "row": 2, "corridor": 3, "ring": 4, "open": 2}
HALL = (1.6, 1.9)  # m, its width: beside a table in the middle there is still the free way that is left between tables
_NO_LEAVES = ("ring", "open")  # a leaf in a ring shuts nothing off, and none is as wide as an opening


def style_weights(spec: WorldSpec, styles: Collection[str], min_rooms: int) -> jax.Array:
    """Equal weights of these styles [STYLES], for houses of `min_rooms` rooms or more.

    Raises:
        UnknownNameError: for a style that is none of STYLES.
        PalaestraError: for a style that takes more rooms, or that a world with hinged doors cannot have.
    """
    for style in styles:
        if style not in STYLES:
            raise UnknownNameError("style", style, STYLES)
        if min_rooms < LEAST_ROOMS[style]:
            expected = f"min_rooms of {LEAST_ROOMS[style]} or more"
            raise PalaestraError(f"style {style!r}: got min_rooms {min_rooms}, expected {expected}. Fix: more rooms, or another style")
        if spec.leaves and style in _NO_LEAVES:
            expected = ", ".join(name for name in STYLES if name not in _NO_LEAVES)
            raise PalaestraError(f"style {style!r}: got a world with hinged doors, expected {expected}. Fix: leaves=0, or another style")
    if not styles:
        raise PalaestraError(f"styles: got none, expected one or more of {', '.join(STYLES)}")
    return jnp.asarray([style in styles for style in STYLES], jnp.float32)


def styled_plan(key: jax.Array, spec: WorldSpec, rooms: jax.Array, weight: jax.Array) -> Plan:
    """A house of `rooms` (traced) rooms, of a style drawn by weight [STYLES]; key is consumed.

    `rooms` has to be enough for every style that has weight, see LEAST_ROOMS.
    """
    k_style, k_mixed, k_bands = jax.random.split(key, 3)
    style = jax.random.categorical(k_style, jnp.log(weight))
    mixed = floor_plan(k_mixed, spec, rooms, style == OPEN)
    banded = _bands(k_bands, spec, rooms, style)
    return jax.tree.map(lambda a, b: jnp.where((style == MIXED) | (style == OPEN), a, b), mixed, banded)


def style_of(plan: Plan | Scene) -> jax.Array:
    """The style that a house shows [] int32, into STYLES. A mixed one may show another: two rooms are always a row."""
    low, high, used = plan.room[:, :2], plan.room[:, 2:], plan.room_used
    ends = (plan.door_rooms[:, :, None] == jnp.arange(len(used))) & plan.door_used[:, None, None]  # [D, 2, R]
    cycle = (used.sum() >= LEAST_ROOMS["ring"]) & ((ends.sum((0, 1)) == 2) | ~used).all()
    # A line through all rooms.
    line = (jnp.where(used[:, None], low, -jnp.inf).max(0) < jnp.where(used[:, None], high, jnp.inf).min(0)).any()
    hall = (used & ((high - low).min(-1) < (HALL[1] + ROOM_SIDE[0] - 0.3) / 2)).any()
    opening = (plan.door_used & (plan.door_width > DOOR_WIDTH[1])).any()
    is_row = line & (used.sum() >= LEAST_ROOMS["row"])
    return jnp.select([opening, hall, is_row, cycle], [OPEN, CORRIDOR, ROW, RING], MIXED).astype(jnp.int32)


# --- rows, corridors and rings ------------------------------------------------------------------------------------


def _bands(key: jax.Array, spec: WorldSpec, rooms: jax.Array, style: jax.Array) -> Plan:
    """A row, a corridor or a ring. The first band is at least as full as the second; a hall is the last room."""
    k_side, k_hall, k_at, k_width, k_turn = jax.random.split(key, 5)
    most = spec.rooms, max(spec.rooms // 2, 1)  # rooms of the first band, and of the second
    joins = max(most[1], 2)  # doorways from a band to the hall, or to the other band
    hall, ring = style == CORRIDOR, style == RING
    in_bands = jnp.where(hall, rooms - 1, rooms)
    second = jnp.where(style == ROW, 0, in_bands // 2)
    first = in_bands - second

    side = jax.random.uniform(k_side, (most[0] + most[1] + 2,), minval=ROOM_SIDE[0], maxval=ROOM_SIDE[1])
    cuts = _cuts(side[: most[0]], first), _cuts(side[most[0] : -2], second)
    length = jnp.maximum(cuts[0][-1], cuts[1][-1])
    a, b = (cut * (length / jnp.maximum(cut[-1], ROOM_SIDE[0])) for cut in cuts)  # as long as each other, [rooms + 1] m
    y1 = side[-2]  # the top of the first band, and of the hall, and of the house
    y2 = y1 + jnp.where(hall, jax.random.uniform(k_hall, (), minval=HALL[0], maxval=HALL[1]), 0.0)
    y3 = y2 + jnp.where(second > 0, side[-1], 0.0)

    count = most[0] + most[1] - 2 + 2 * joins
    parts = np.cumsum([most[0] - 1, most[1] - 1, joins])
    share, width = (jnp.split(x, parts) for x in (jax.random.uniform(k_at, (count,)), door_widths(k_width, spec, count)))
    # In a ring the bands are joined at both ends: by the first and the last room of each.
    m, zero = jnp.arange(joins), jnp.zeros(())
    mine, theirs = jnp.where(ring & (m == 1), first - 1, m), jnp.where(m == 1, second - 1, 0)
    low, high = a[mine], a[mine + 1]
    low, high = jnp.where(ring, jnp.maximum(low, b[theirs]), low), jnp.where(ring, jnp.minimum(high, b[theirs + 1]), high)
    above = jnp.where(ring, first + theirs, rooms - 1)
    upper = jnp.minimum(m, most[1] - 1)
    walls = [
        _dividers(a, zero, y1, jnp.arange(most[0] - 1), first, ~hall, share[0], width[0]),
        _dividers(b, y2, y3, first + jnp.arange(most[1] - 1), rooms - hall.astype(jnp.int32), ~hall, share[1], width[1]),
        _across(y1, length, jnp.where(hall, first, jnp.where(ring, 2, 0)), jnp.stack([mine, above], -1), (low, high), share[2], width[2]),
        _across(y2, length, second, jnp.stack([first + m, rooms - 1 + 0 * m], -1), (b[upper], b[upper + 1]), share[3], width[3], hall),
    ]
    outer = jnp.stack(
        [
            jnp.stack(line)
            for line in ((zero, zero, length, zero), (zero, zero, zero, y3), (length, zero, length, y3), (zero, y3, length, y3))
        ]
    )
    outer_used = jnp.stack([*[jnp.asarray(True)] * 3, second > 0])  # a row's top is the wall between the bands
    door, door_width, door_rooms, door_used, line, line_used = (jnp.concatenate(x) for x in zip(*walls, strict=True))
    door_slot, line_slot = _used_first(door_used, spec.doors), _used_first(jnp.append(outer_used, line_used), spec.walls)

    room = [jnp.stack(jnp.broadcast_arrays(c[:-1], y, c[1:], top), -1) for c, y, top in ((a, zero, y1), (b, y2, y3))]
    room_used = jnp.concatenate([jnp.arange(most[0]) < first, jnp.arange(most[1]) < second, hall[None]])
    pos, half = panels(jnp.concatenate([outer, line])[line_slot])
    plan = Plan(
        room=jnp.concatenate([*room, jnp.stack([zero, y1, length, y2])[None]])[_used_first(room_used, spec.rooms)],
        room_used=jnp.arange(spec.rooms) < rooms,
        door=door[door_slot],
        door_along_x=(jnp.arange(count) < parts[1])[door_slot],
        door_width=door_width[door_slot],
        door_rooms=door_rooms[door_slot].astype(jnp.int32),
        door_used=door_used[door_slot],
        wall_pos=pos,
        wall_half=half,
        wall_used=jnp.append(outer_used, line_used)[line_slot],
    )
    return turned(plan, *jax.random.bernoulli(k_turn, shape=(2,)))


def _cuts(side: jax.Array, count: jax.Array) -> jax.Array:
    """Where a band of `count` rooms is cut [rooms + 1] m, from 0 to its length."""
    return jnp.append(0.0, jnp.cumsum(jnp.where(jnp.arange(len(side)) < count, side, 0.0)))


def _used_first(used: jax.Array, count: int) -> jax.Array:
    """The numbers of `count` things, those in use before the others."""
    return jnp.argsort(~used, stable=True)[:count]


def _dividers(
    cut: jax.Array, low: jax.Array, high: jax.Array, left: jax.Array, end: jax.Array, open_: jax.Array, share: jax.Array, width: jax.Array
) -> Walls:
    """Between the rooms of a band, `left` [n] and the next, as far as that is below `end`: two panels, or, where not `open_`, one."""
    x, there = cut[1:-1], left + 1 < end
    at, width = doorways(share, low, high, width)
    gap = width / 2 + WALL
    to_y = jnp.where(open_, at - gap, high)
    line = [jnp.stack(jnp.broadcast_arrays(x, a, x, b), -1) for a, b in ((low, to_y), (at + gap, high))]
    return Walls(
        door=jnp.stack([x, at], -1),
        width=width,
        rooms=jnp.stack([left, left + 1], -1),
        door_used=there & open_,
        line=jnp.concatenate(line),
        line_used=jnp.concatenate([there, there & open_]),
    )


def _across(
    y: jax.Array,
    length: jax.Array,
    count: jax.Array,
    rooms: jax.Array,
    span: tuple[jax.Array, jax.Array],
    share: jax.Array,
    width: jax.Array,
    there: jax.Array | bool = True,
) -> Walls:
    """The wall along a band, with the first `count` of these doorways [n], from left to right: a panel before, between and after them."""
    number = jnp.arange(len(rooms) + 1)
    at, width = doorways(share, *span, width)
    gap = width / 2 + WALL
    to_x = jnp.where(number < count, jnp.append(at - gap, 0.0), length)
    return Walls(
        door=jnp.stack([at, jnp.full(len(rooms), y)], -1),
        width=width,
        rooms=rooms,
        door_used=(number[:-1] < count) & there,
        line=jnp.stack(jnp.broadcast_arrays(jnp.append(0.0, at + gap), y, to_x, y), -1),
        line_used=(number <= count) & there,
    )
