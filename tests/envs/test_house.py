"""Ways through doorways against Dijkstra's algorithm on the doors, written apart."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import house
from tests.envs.worlds import one, tasks


def dijkstra(scene, start, target, start_room, target_room):
    """Shortest way over the centres of doorways."""
    if start_room == target_room:
        return float(np.linalg.norm(target - start))
    doors = np.flatnonzero(scene.door_used)
    best, queue = {}, []
    for d in doors:
        if start_room in scene.door_rooms[d]:
            heapq.heappush(queue, (float(np.linalg.norm(scene.door[d] - start)), int(d)))
    while queue:
        cost, d = heapq.heappop(queue)
        if d in best:
            continue
        best[d] = cost
        for other in doors:
            if other not in best and set(scene.door_rooms[d]) & set(scene.door_rooms[other]):
                heapq.heappush(queue, (cost + float(np.linalg.norm(scene.door[d] - scene.door[other])), int(other)))
    return min(c + float(np.linalg.norm(scene.door[d] - target)) for d, c in best.items() if target_room in scene.door_rooms[d])


way = jax.jit(house.next_way_point)


def test_ways_are_as_short_as_dijkstras_and_lead_through_the_right_room():
    rng, checked = np.random.default_rng(0), 0
    for i in range(64):
        scene = one(tasks().scene, i)
        rooms = np.flatnonzero(scene.room_used)
        for _ in range(4):
            a, b = rng.choice(rooms, 2)
            start, target = (rng.uniform(scene.room[r, :2] + 0.3, scene.room[r, 2:] - 0.3).astype(np.float32) for r in (a, b))
            point, length, final = way(scene, jnp.asarray(start), jnp.asarray(target), jnp.asarray(b))
            np.testing.assert_allclose(float(length), dijkstra(scene, start, target, a, b), rtol=1e-4)
            assert bool(final) == (a == b)
            if a == b:
                np.testing.assert_allclose(point, target)
            else:
                gaps = [
                    np.linalg.norm(np.asarray(point) - scene.door[d]) for d in np.flatnonzero(scene.door_used) if a in scene.door_rooms[d]
                ]
                np.testing.assert_allclose(min(gaps), house.CLEAR, atol=1e-4)
                checked += 1
    assert checked > 60


def test_following_the_way_points_as_a_point_reaches_the_target():
    """A dot that always heads for the way point gets there, and never through a wall."""
    for i in range(24):
        scene = one(tasks().scene, i)
        rooms = np.flatnonzero(scene.room_used)
        b = int(rooms[-1])
        at = np.asarray(scene.layout.robot_q[:2], np.float32)
        target = ((scene.room[b, :2] + scene.room[b, 2:]) / 2).astype(np.float32)
        for _ in range(400):
            point, _, _ = way(scene, jnp.asarray(at), jnp.asarray(target), jnp.asarray(b))
            step = np.asarray(point) - at
            at = at + step * min(1.0, 0.05 / (np.linalg.norm(step) + 1e-9))
            gap = np.abs(at - scene.layout.fixture_pos[:11, :2]) - scene.layout.fixture_half[:11, :2]
            assert (gap.max(-1) > 0)[scene.fixture_used[:11]].all(), (i, at)
            if np.linalg.norm(at - target) < 0.05:
                break
        assert np.linalg.norm(at - target) < 0.05, i


def test_rooms_tile_the_house_and_doorways_lie_between_the_rooms_they_join():
    for i in range(64):
        scene = one(tasks().scene, i)
        for d in np.flatnonzero(scene.door_used):
            across = np.array([1.0, 0.0]) if scene.door_along_x[d] else np.array([0.0, 1.0])
            sides = {int(house.room_of(scene, jnp.asarray(scene.door[d] + s * 0.3 * across, jnp.float32))) for s in (1, -1)}
            assert sides == set(scene.door_rooms[d].tolist())
