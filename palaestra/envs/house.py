"""Floor plans: one to four rooms joined by doorways, and the shortest way through them.

A plan is made in a canonical frame and then turned: a main wall splits the house left and right, and each side may be
split again across. Every room can be reached from every other, by construction.
"""

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.types import MAX_DOORS, Scene
from palaestra.sim.world import WorldSpec, parked_fixture

WALL = 0.05  # m, half thickness
WALL_HEIGHT = 0.25  # m, half height: low, so that one can look in
ROOM_SIDE = (2.3, 3.0)  # m
DOOR_WIDTH = (0.85, 1.05)  # m
CLEAR = 0.45  # m, the way point's distance before and behind a doorway
_FAR = 1e6


class Plan(struct.PyTreeNode, kw_only=True):
    """Rooms, doorways and walls of a house; see `Scene` for the fields they share."""

    room: jax.Array  # [R, 4]
    room_used: jax.Array  # [R]
    door: jax.Array  # [MAX_DOORS, 2]
    door_along_x: jax.Array  # [MAX_DOORS]
    door_width: jax.Array  # [MAX_DOORS]
    door_rooms: jax.Array  # [MAX_DOORS, 2]
    door_used: jax.Array  # [MAX_DOORS]
    wall_pos: jax.Array  # [W, 3]
    wall_half: jax.Array  # [W, 3]
    wall_used: jax.Array  # [W]


def floor_plan(key: jax.Array, spec: WorldSpec, rooms: jax.Array) -> Plan:
    """A house of `rooms` (traced, 1 to spec.rooms) rooms; key is consumed."""
    k_size, k_mid, k_door, k_width, k_turn, k_extra = jax.random.split(key, 6)
    split, split_left, split_right = rooms >= 2, rooms >= 3, rooms >= 4
    w1, w2, h1, h2 = jax.random.uniform(k_size, (4,), minval=ROOM_SIDE[0], maxval=ROOM_SIDE[1])
    width = jnp.where(split, w1 + w2, w1)
    height = jnp.where(split_left, h1 + h2, h1)
    x1 = w1  # the main wall
    jitter = jax.random.uniform(k_mid, (2,), minval=-0.15, maxval=0.15)
    y1, y2 = h1 + jitter[0], h1 + jitter[1]  # the walls across, left and right
    door_w = jax.random.uniform(k_width, (MAX_DOORS,), minval=DOOR_WIDTH[0], maxval=DOOR_WIDTH[1])
    u = jax.random.uniform(k_door, (4,))
    margin = 0.65  # m, from a doorway's centre to the next corner
    low = jnp.where(split_left, jnp.minimum(y1, jnp.where(split_right, y2, y1)), height)
    high = jnp.maximum(y1, jnp.where(split_right, y2, y1))
    door_y = margin + u[0] * (low - 2 * margin)
    door_y2 = high + margin + u[1] * (height - high - 2 * margin)
    left_x = margin + u[2] * (x1 - 2 * margin)
    right_x = x1 + margin + u[3] * (width - x1 - 2 * margin)
    second = split_left & jax.random.bernoulli(k_extra, 0.5)

    # Rooms: lower left, lower right, upper left, upper right (the last two where a side is split).
    left_top, right_top = jnp.where(split_left, y1, height), jnp.where(split_right, y2, height)
    zero = jnp.zeros(())
    room = jnp.stack(
        [
            jnp.stack([zero, zero, jnp.where(split, x1, width), left_top]),
            jnp.stack([x1, zero, width, right_top]),
            jnp.stack([zero, y1, x1, height]),
            jnp.stack([x1, y2, width, height]),
        ]
    )
    room_used = jnp.arange(4) < rooms
    door = jnp.stack([jnp.stack([x1, door_y]), jnp.stack([x1, door_y2]), jnp.stack([left_x, y1]), jnp.stack([right_x, y2])])
    door_along_x = jnp.array([True, True, False, False])
    upper_right = jnp.where(split_right, 3, 1)
    door_rooms = jnp.stack([jnp.array([0, 1]), jnp.stack([jnp.array(2), upper_right]), jnp.array([0, 2]), jnp.array([1, 3])])
    door_used = jnp.stack([split, second, split_left, split_right])

    def panel(x0: jax.Array, y0: jax.Array, x1: jax.Array, y1: jax.Array) -> tuple[jax.Array, jax.Array]:
        half = jnp.stack([(x1 - x0) / 2 + WALL, (y1 - y0) / 2 + WALL, jnp.asarray(WALL_HEIGHT)])
        return jnp.stack([(x0 + x1) / 2, (y0 + y1) / 2, jnp.asarray(WALL_HEIGHT)]), half

    gap = door_w / 2 + WALL  # panels are WALL longer at each end
    end = jnp.where(second, door_y2 - gap[1], height)
    panels = [
        (panel(zero, zero, width, zero), True),
        (panel(zero, height, width, height), True),
        (panel(zero, zero, zero, height), True),
        (panel(width, zero, width, height), True),
        (panel(x1, zero, x1, door_y - gap[0]), split),
        (panel(x1, door_y + gap[0], x1, end), split),
        (panel(x1, door_y2 + gap[1], x1, height), second),
        (panel(zero, y1, left_x - gap[2], y1), split_left),
        (panel(left_x + gap[2], y1, x1, y1), split_left),
        (panel(x1, y2, right_x - gap[3], y2), split_right),
        (panel(right_x + gap[3], y2, width, y2), split_right),
    ][: spec.walls]
    pos = jnp.stack([p for (p, _), _ in panels])
    half = jnp.stack([h for (_, h), _ in panels])
    used = jnp.stack([jnp.asarray(flag) for _, flag in panels])

    # Centre the house, and swap x and y in half of the cases.
    centre = jnp.stack([width, height]) / 2
    swap = jax.random.bernoulli(k_turn)

    def turn(xy: jax.Array) -> jax.Array:
        return jnp.where(swap, xy[..., ::-1], xy)

    parked = jnp.stack([jnp.asarray(parked_fixture(i)) for i in range(spec.walls)])
    pos = jnp.concatenate([turn(pos[:, :2] - centre), pos[:, 2:]], -1)
    half = jnp.concatenate([turn(half[:, :2]), half[:, 2:]], -1)
    room = jnp.concatenate([turn(room[:, :2] - centre), turn(room[:, 2:] - centre)], -1)
    n = spec.rooms
    return Plan(
        room=room[:n],
        room_used=room_used[:n],
        door=turn(door - centre),
        door_along_x=door_along_x ^ swap,
        door_width=door_w,
        door_rooms=jnp.where(door_used[:, None], door_rooms, 0),
        door_used=door_used,
        wall_pos=jnp.where(used[:, None], pos, parked),
        wall_half=jnp.where(used[:, None], half, 0.1),
        wall_used=used,
    )


def room_of(scene: Scene, xy: jax.Array) -> jax.Array:
    """The room that holds the point xy [..., 2] m: index [...] int32; outside the house, the nearest one."""
    low, high = scene.room[:, :2], scene.room[:, 2:]
    outside = jnp.maximum(low - xy[..., None, :], xy[..., None, :] - high).max(-1)
    return jnp.argmin(jnp.where(scene.room_used, outside, _FAR), axis=-1).astype(jnp.int32)


def next_way_point(scene: Scene, start: jax.Array, target: jax.Array, target_room: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where to head for, on the shortest way through doorways.

    Args:
        scene: the house.
        start: [2] m, world.
        target: [2] m, world, in room `target_room`.

    Returns:
        The next way point [2] m (a point before or behind the next doorway, or the target itself), the length of the
        whole way [] m, and whether the way point is the target [] bool. No way: a length of 1e6 or more.
    """
    room = room_of(scene, start)
    shares = (scene.door_rooms[:, None, :, None] == scene.door_rooms[None, :, None, :]).any((-1, -2))
    both = scene.door_used[:, None] & scene.door_used[None, :]
    between = jnp.linalg.norm(scene.door[:, None] - scene.door[None], axis=-1)
    cost = jnp.where(shares & both, between, _FAR)
    for via in range(MAX_DOORS):  # Floyd and Warshall
        cost = jnp.minimum(cost, cost[:, via, None] + cost[None, via, :])
    into = (scene.door_rooms == target_room).any(-1) & scene.door_used
    last = jnp.where(into, jnp.linalg.norm(scene.door - target, axis=-1), _FAR)
    to_go = (cost + last[None]).min(-1)
    out = (scene.door_rooms == room).any(-1) & scene.door_used
    through = jnp.where(out, jnp.linalg.norm(scene.door - start, axis=-1) + to_go, _FAR)
    door = jnp.argmin(through)
    here = room == target_room
    centre, along_x = scene.door[door], scene.door_along_x[door]
    across = jnp.where(along_x, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    middle = 0.5 * (scene.room[room, :2] + scene.room[room, 2:])
    normal = across * jnp.sign(jnp.dot(centre - middle, across))  # out of the room
    offset = start - centre
    aside = jnp.linalg.norm(offset - jnp.dot(offset, across) * across)
    point = centre + normal * jnp.where(aside > 0.2, -CLEAR, CLEAR)
    length = jnp.where(here, jnp.linalg.norm(target - start), through[door])
    return jnp.where(here, target, point), length, here
