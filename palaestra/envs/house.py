"""Where one is in a house, and the shortest way through its doorways."""

import jax
import jax.numpy as jnp

from palaestra.envs.types import Scene
from palaestra.sim.world import array_module

CLEAR = 0.45  # m, the way point's distance before and behind a doorway
_FAR = 1e6
_ASIDE = 0.2  # m, from a doorway's axis to where a robot may be to head through it
_ALMOST = 0.3  # m, before a doorway
_TIP = 0.25  # m, from a leaf's tip the way that a robot needs
_PAST = 0.08  # m, by which a way past a corner keeps clear of what must not touch it


def room_of(scene: Scene, xy: jax.Array) -> jax.Array:
    """The room that holds the point xy [..., 2] m: index [...] int32; outside the house, the nearest one."""
    xp = array_module(scene.room, xy)
    low, high = scene.room[:, :2], scene.room[:, 2:]
    outside = xp.maximum(low - xy[..., None, :], xy[..., None, :] - high).max(-1)
    return xp.argmin(xp.where(scene.room_used, outside, _FAR), axis=-1).astype(jnp.int32)


def around(start: jax.Array, point: jax.Array, leaf: jax.Array, there: jax.Array) -> jax.Array:
    """Where to head for instead of a point [2] m, if an open door stands between: past the tip of the leaf [2] m.

    `leaf` [L, 2, 2] m: hinge and tip of each; `there` [L] bool: which may be in the way.
    """
    hinge, tip = leaf[:, 0], leaf[:, 1]
    beyond = (tip - hinge) / jnp.maximum(jnp.linalg.norm(tip - hinge, axis=-1, keepdims=True), 1e-6)
    end = tip + _TIP * beyond

    def side(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
        """Which side of the line from a to b the point c is on."""
        return jnp.sign((b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0])

    crossed = (side(hinge, end, start) * side(hinge, end, point) < 0) & (side(start, point, hinge) * side(start, point, end) < 0)
    blocked = crossed & there
    away = jnp.where(blocked, jnp.linalg.norm(tip - start, axis=-1), _FAR)
    first = jnp.argmin(away)
    return jnp.where(blocked.any(), end[first] + 0.1 * beyond[first], point)


def past(scene: Scene, start: jax.Array, point: jax.Array, centre: jax.Array, half: jax.Array, there: jax.Array, wide: float) -> jax.Array:
    """Where to head for instead of a point [2] m, if a box stands between: past the corner on the shorter way [2] m.

    `centre`, `half` [n, 2] m: the boxes; `there` [n] bool: which may be in the way; `wide`: half of what goes past, m.
    """
    way = point - start
    inverse = 1.0 / jnp.where(jnp.abs(way) < 1e-6, 1e-6, way)
    middle, extent = (centre - start) * inverse, (half + wide) * jnp.abs(inverse)  # in parts of the way
    enter, leave = (middle - extent).max(-1), (middle + extent).min(-1)
    blocked = there & (enter < leave) & (leave > 0.0) & (enter < 1.0)
    first = jnp.argmin(jnp.where(blocked, enter, _FAR))
    corners = centre[first] + (half[first] + wide + _PAST) * jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    room = scene.room[room_of(scene, start)]
    inside = ((corners > room[:2] + wide) & (corners < room[2:] - wide)).all(-1)
    to, onward = corners - start, point - corners
    # A corner behind the box cannot be seen from here: on the way there the box would be entered.
    inv = 1.0 / jnp.where(jnp.abs(to) < 1e-6, 1e-6, to)
    mid, ext = (centre[first] - start) * inv, (half[first] + wide) * jnp.abs(inv)
    hidden = ((mid - ext).max(-1) < (mid + ext).min(-1)) & ((mid + ext).min(-1) > 0.0) & ((mid - ext).max(-1) < 1.0)
    length = jnp.linalg.norm(to, axis=-1) + jnp.linalg.norm(onward, axis=-1)
    best = jnp.argmin(length + jnp.where(inside, 0.0, 100.0) + jnp.where(hidden, 10.0, 0.0))
    return jnp.where(blocked.any(), corners[best], point)


def reachable(scene: Scene, xy: jax.Array, passable: jax.Array) -> jax.Array:
    """The rooms that can be driven to from xy [2] m through these doorways [D] bool: [R] bool."""
    rooms = len(scene.room)
    ends = (scene.door_rooms[:, :, None] == jnp.arange(rooms)) & passable[:, None, None]  # [D, 2, R]
    joined = (ends[:, 0, :, None] & ends[:, 1, None, :]).any(0)
    joined |= joined.T
    reached = room_of(scene, xy) == jnp.arange(rooms)
    for _ in range(rooms - 1):
        reached |= (joined & reached[:, None]).any(0)
    return reached


def next_way_point(
    scene: Scene, start: jax.Array, target: jax.Array, target_room: jax.Array, passable: jax.Array, aside: float = _ASIDE
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Where to head for, on the shortest way through doorways.

    Args:
        scene: the house.
        start: [2] m, world.
        target: [2] m, world, in room `target_room`.
        passable: [D] bool, doorways through which one can go.
        aside: m, from a doorway's axis to where one may be to head through it, until one is almost there.

    Returns:
        The next way point [2] m (a point before or behind the next doorway, or the target itself), the length of the
        whole way [] m, and whether the way point is the target [] bool. No way: a length of 1e6 or more.
    """
    room = room_of(scene, start)
    shares = (scene.door_rooms[:, None, :, None] == scene.door_rooms[None, :, None, :]).any((-1, -2))
    both = passable[:, None] & passable[None, :]
    between = jnp.linalg.norm(scene.door[:, None] - scene.door[None], axis=-1)
    cost = jnp.where(shares & both, between, _FAR)
    for via in range(len(scene.door)):  # Floyd and Warshall
        cost = jnp.minimum(cost, cost[:, via, None] + cost[None, via, :])
    into = (scene.door_rooms == target_room).any(-1) & passable
    last = jnp.where(into, jnp.linalg.norm(scene.door - target, axis=-1), _FAR)
    to_go = (cost + last[None]).min(-1)
    out = (scene.door_rooms == room).any(-1) & passable
    through = jnp.where(out, jnp.linalg.norm(scene.door - start, axis=-1) + to_go, _FAR)
    door = jnp.argmin(through)
    here = room == target_room
    centre, along_x = scene.door[door], scene.door_along_x[door]
    across = jnp.where(along_x, jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    middle = 0.5 * (scene.room[room, :2] + scene.room[room, 2:])
    normal = across * jnp.sign(jnp.dot(centre - middle, across))  # out of the room
    offset = start - centre
    before = jnp.dot(offset, across)
    off_axis = jnp.linalg.norm(offset - before * across)
    limit = _ASIDE if aside == _ASIDE else jnp.where(jnp.abs(before) < _ALMOST, _ASIDE, aside)
    point = centre + normal * jnp.where(off_axis > limit, -CLEAR, CLEAR)
    length = jnp.where(here, jnp.linalg.norm(target - start), through[door])
    return jnp.where(here, target, point), length, here
