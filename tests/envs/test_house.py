"""Ways through doorways against Dijkstra's algorithm on the doors, written apart."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import house
from palaestra.sim.world import WorldSpec
from tests.envs.worlds import NINE, large_tasks, one, styled_tasks, tasks


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


@pytest.mark.parametrize("make", [tasks, large_tasks, styled_tasks])
def test_ways_are_as_short_as_dijkstras_and_lead_through_the_right_room(make):
    rng, checked = np.random.default_rng(0), 0
    for i in range(60):
        scene = one(make().scene, i)
        rooms = np.flatnonzero(scene.room_used)
        for _ in range(4):
            a, b = rng.choice(rooms, 2)
            start, target = (rng.uniform(scene.room[r, :2] + 0.3, scene.room[r, 2:] - 0.3).astype(np.float32) for r in (a, b))
            point, length, final = way(scene, jnp.asarray(start), jnp.asarray(target), jnp.asarray(b), jnp.asarray(scene.door_used))
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


def follow(scene, start, target, target_room):
    """Where a dot comes [T, 2] that always heads for the way point, 5 cm a step."""

    def step(at, _):
        point, _, _ = house.next_way_point(scene, at, target, target_room, scene.door_used)
        way = point - at
        at = at + way * jnp.minimum(1.0, 0.05 / (jnp.linalg.norm(way) + 1e-9))
        return at, at

    return jax.lax.scan(step, start, length=800)[1]


@pytest.mark.parametrize(("spec", "make"), [(WorldSpec(), tasks), (NINE, large_tasks), (NINE, styled_tasks)])
def test_following_the_way_points_leads_from_any_room_to_any_other(spec, make):
    """And never through a wall."""
    rng = np.random.default_rng(0)
    trails = jax.jit(jax.vmap(follow, in_axes=(None, 0, 0, 0)))
    a, b = (ends.ravel() for ends in np.indices((spec.rooms, spec.rooms)))
    for i in range(20):
        scene = one(make().scene, i)
        low, high, exist = scene.room[:, :2] + 0.3, scene.room[:, 2:] - 0.3, scene.room_used[a] & scene.room_used[b]
        start, target = (low[r] + rng.random((len(r), 2), np.float32) * (high - low)[r] for r in (a, b))
        trail = np.asarray(trails(scene, start, target, b))[exist]
        np.testing.assert_allclose(trail[:, -1], target[exist], atol=0.05, err_msg=str(i))
        for wall in np.flatnonzero(scene.fixture_used[: spec.walls]):
            gap = np.abs(trail - scene.layout.fixture_pos[wall, :2]) - scene.layout.fixture_half[wall, :2]
            assert gap.max(-1).min() > 0, (i, wall)


@pytest.mark.parametrize("make", [tasks, large_tasks, styled_tasks])
def test_one_who_passes_a_doorway_comes_from_one_of_its_rooms_into_the_other(make):
    for i in range(60):
        scene = one(make().scene, i)
        for d in np.flatnonzero(scene.door_used):
            across = np.array([1.0, 0.0]) if scene.door_along_x[d] else np.array([0.0, 1.0])
            sides = {int(house.room_of(scene, jnp.asarray(scene.door[d] + s * 0.3 * across, jnp.float32))) for s in (1, -1)}
            assert sides == set(scene.door_rooms[d].tolist())


def test_rooms_are_the_same_on_host_and_device():
    scene, rng = tasks().scene, np.random.default_rng(1)
    points = rng.uniform(-6, 6, (len(scene.room), 50, 2)).astype(np.float32)
    device = np.asarray(jax.jit(jax.vmap(house.room_of))(scene, points))
    for i in range(len(points)):
        host = house.room_of(one(scene, i), points[i])
        assert isinstance(host, np.ndarray)
        np.testing.assert_array_equal(host, device[i])
