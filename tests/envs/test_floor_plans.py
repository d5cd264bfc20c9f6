"""Floor plans as a surveyor would check them: grids and boxes, not the construction."""

import functools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.generation import floor_plans, styles
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec, parked_fixture
from tests.envs.worlds import one

CELL = 0.05
LARGE = range(5, 10)
WORLDS = (4, *LARGE)
STYLED = [(rooms, style) for rooms in (4, 6, 9) for style in styles.STYLES]
HOUSES = [*((rooms, None) for rooms in WORLDS), *STYLED]


@functools.cache
def plans(rooms: int, each: int = 24) -> floor_plans.Plan:
    """Plans of a world of so many rooms, houses of 1, 2, ... rooms in turn; numpy arrays, leading axis `each * rooms`."""
    keys = jax.random.split(jax.random.key(rooms), each * rooms)
    draw = jax.vmap(lambda key, count: floor_plans.floor_plan(key, WorldSpec(rooms=rooms), count))
    return jax.device_get(jax.jit(draw)(keys, 1 + jnp.arange(len(keys)) % rooms))


@functools.cache
def styled(rooms: int, each: int = 24) -> floor_plans.Plan:
    """Plans of all styles, of as many rooms as a style takes up to all; leading axes [styles, each]. One program makes them all."""
    names, keys = styles.STYLES, jax.random.split(jax.random.key(rooms), (len(styles.STYLES), each))
    least = np.array([styles.LEAST_ROOMS[name] for name in names])[:, None]
    counts, weights = least + np.arange(each) % (rooms + 1 - least), jnp.eye(len(names))
    draw = jax.vmap(lambda key, count, weight: styles.styled_plan(key, WorldSpec(rooms=rooms), count, weight), (0, 0, None))
    return jax.device_get(jax.jit(jax.vmap(draw))(keys, counts, weights))


def houses(rooms: int, style: str | None = None) -> list[floor_plans.Plan]:
    batch = plans(rooms) if style is None else one(styled(rooms), styles.STYLES.index(style))
    return [one(batch, i) for i in range(len(batch.room))]


def some(rooms: int, style: str | None) -> list[tuple[int, floor_plans.Plan]]:
    """Fewer of them, for what takes long, with their numbers."""
    every = list(enumerate(houses(rooms, style)))
    return every[: 12 * rooms : 2] if style is None else every[:12]


def free_cells(plan: floor_plans.Plan, clearance: float) -> tuple[np.ndarray, np.ndarray]:
    """A grid over the house and 1 m around: points [N, M, 2], and where a disc of this radius may be centred [N, M]."""
    high = plan.room[plan.room_used, 2:].max(0) + 1.0
    points = np.stack(np.meshgrid(*(np.arange(-edge, edge, CELL) + CELL / 2 for edge in high), indexing="ij"), -1)
    free = np.ones(points.shape[:2], bool)
    for centre, half in zip(plan.wall_pos[plan.wall_used, :2], plan.wall_half[plan.wall_used, :2], strict=True):
        free &= np.linalg.norm(np.maximum(np.abs(points - centre) - half, 0.0), axis=-1) > clearance
    return points, free


def flood(free: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """The cells that can be reached from `start`."""
    seen = np.zeros_like(free)
    seen[start] = True
    queue = deque([start])
    while queue:
        i, j = queue.popleft()
        for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= a < free.shape[0] and 0 <= b < free.shape[1] and free[a, b] and not seen[a, b]:
                seen[a, b] = True
                queue.append((a, b))
    return seen


def within(points: np.ndarray, room: np.ndarray) -> np.ndarray:
    return ((points > room[:2]) & (points < room[2:])).all(-1)


@pytest.mark.parametrize("rooms", WORLDS)
def test_shapes_are_the_specs_and_every_slot_has_its_use(rooms):
    batch, spec = plans(rooms), WorldSpec(rooms=rooms)
    for used, size in ((batch.room_used, spec.rooms), (batch.door_used, spec.doors), (batch.wall_used, spec.walls)):
        assert used.shape[1:] == (size,)
        assert used.any(0).all()
    counts = 1 + np.arange(len(batch.room)) % rooms
    np.testing.assert_array_equal(batch.room_used, np.arange(rooms) < counts[:, None])
    parked = np.stack([parked_fixture(i) for i in range(spec.walls)])
    np.testing.assert_array_equal(batch.wall_pos[~batch.wall_used], np.broadcast_to(parked, batch.wall_pos.shape)[~batch.wall_used])


@pytest.mark.parametrize(("rooms", "style"), HOUSES)
def test_rooms_do_not_overlap_and_have_the_size_of_rooms(rooms, style):
    least = styles.HALL[0] if style == "corridor" else floor_plans.ROOM_SIDE[0] - 0.3
    most = floor_plans.ROOM_SIDE[1] * (1 if rooms > 4 else 2) + 0.3  # a hall, and the rooms across from more of them, may be longer
    for i, plan in enumerate(houses(rooms, style)):
        room = plan.room[plan.room_used]
        side = room[:, 2:] - room[:, :2]
        assert side.min() >= least - 1e-5, i
        assert style in ("corridor", "ring") or side.max() <= most + 1e-5, i
        shared = np.minimum(room[:, None, 2:], room[None, :, 2:]) - np.maximum(room[:, None, :2], room[None, :, :2])
        overlap = np.maximum(shared, 0.0).prod(-1)
        assert overlap[~np.eye(len(room), dtype=bool)].max(initial=0.0) < 1e-4, i
        np.testing.assert_allclose(room[:, :2].min(0) + room[:, 2:].max(0), 0.0, atol=1e-5)


@pytest.mark.parametrize(("rooms", "style"), HOUSES)
def test_walls_enclose_the_rooms_and_nothing_else(rooms, style):
    """What a point reaches from the first room is all of every room that is not wall, and nothing outside: outer walls are closed,
    all rooms are joined, and together they are the house."""
    for i, plan in some(rooms, style):
        points, free = free_cells(plan, 0.0)
        indoors = np.any([within(points, room) for room in plan.room[plan.room_used]], axis=0) & free
        start = np.unravel_index(np.argmax(indoors), indoors.shape)
        np.testing.assert_array_equal(flood(free, start), indoors, err_msg=str(i))


@pytest.mark.parametrize(("rooms", "style"), HOUSES)
def test_the_robot_fits_from_any_room_to_any_other(rooms, style):
    for i, plan in some(rooms, style):
        points, free = free_cells(plan, 0.30)
        middles = (plan.room[plan.room_used, :2] + plan.room[plan.room_used, 2:]) / 2
        cells = [np.unravel_index(np.argmin(np.where(free, np.linalg.norm(points - at, axis=-1), np.inf)), free.shape) for at in middles]
        seen = flood(free, cells[0])
        assert all(seen[cell] for cell in cells), i


@pytest.mark.parametrize(("rooms", "style"), HOUSES)
def test_doorways_are_in_the_walls_of_the_rooms_they_join_and_free_over_their_width(rooms, style):
    narrowest, widest = (1.5, 6.0) if style == "open" else floor_plans.DOOR_WIDTH
    for i, plan in enumerate(houses(rooms, style)):
        walls = list(zip(plan.wall_pos[plan.wall_used, :2], plan.wall_half[plan.wall_used, :2], strict=True))
        pairs = [tuple(sorted(pair)) for pair in plan.door_rooms[plan.door_used].tolist()]
        assert len(set(pairs)) == len(pairs) >= plan.room_used.sum() - 1, i
        for d in np.flatnonzero(plan.door_used):
            through = 0 if plan.door_along_x[d] else 1
            at, along = plan.door[d, through], plan.door[d, 1 - through]
            a, b = sorted(plan.door_rooms[d], key=lambda r: plan.room[r, through])
            assert plan.room_used[[a, b]].all(), (i, d)
            np.testing.assert_allclose((plan.room[a, 2 + through], plan.room[b, through]), at, atol=1e-5)
            for r in (a, b):
                low, high = plan.room[r, 1 - through], plan.room[r, 3 - through]
                assert low + 0.65 - 1e-5 <= along <= high - 0.65 + 1e-5, (i, d)
            width = plan.door_width[d]
            assert narrowest <= width <= widest
            opening = np.array([floor_plans.WALL, width / 2])[:: 1 if through == 0 else -1]
            for centre, half in walls:
                assert (np.abs(centre - plan.door[d]) - half - opening).max() > -1e-4, (i, d)
            for side in (-1, 1):  # and wall right beside it
                beside = plan.door[d] + side * (width / 2 + 0.01) * np.eye(2)[1 - through]
                assert any((np.abs(centre - beside) < half).all() for centre, half in walls), (i, d, side)


@pytest.mark.parametrize(("rooms", "style"), STYLED)
def test_the_doorways_of_a_style_make_its_graph(rooms, style):
    """A row is a path, a corridor a star around its hall, a ring a cycle; open plans have wide openings instead of doorways."""
    for i, plan in enumerate(houses(rooms, style)):
        count, room = plan.room_used.sum(), plan.room[plan.room_used]
        graph = np.zeros((count, count), int)
        for a, b in plan.door_rooms[plan.door_used]:
            graph[a, b] += 1
            graph[b, a] += 1
        assert (np.linalg.matrix_power(graph + np.eye(count, dtype=int), count) > 0).all(), "all joined"
        degree = graph.sum(1)
        if style in ("row", "corridor", "ring"):
            low, high = room[:, :2].min(0), room[:, 2:].max(0)
            np.testing.assert_allclose((room[:, 2:] - room[:, :2]).prod(-1).sum(), (high - low).prod(), rtol=1e-5)
        if style == "row":
            assert sorted(degree) == [1, 1] + [2] * (count - 2), i
            assert np.ptp(room, axis=0).reshape(2, 2).max(0).min() < 1e-5, (i, "on one line")
        if style == "corridor":
            sides = (room[:, 2:] - room[:, :2]).min(1)
            assert degree[np.argmin(sides)] == count - 1, i
            assert sorted(degree)[:-1] == [1] * (count - 1), i
            assert (sides < styles.HALL[1] + 1e-5).sum() == 1, i
        if style == "ring":
            assert (degree == 2).all(), i
            assert graph.max() == 1, i


@pytest.mark.parametrize(("rooms", "style"), STYLED)
def test_a_house_shows_the_style_that_it_was_drawn_in(rooms, style):
    """But a mixed one may happen to be a row or a ring; of five or six rooms it is neither, in the world of six."""
    batch = one(styled(rooms), styles.STYLES.index(style))
    shown, many = np.array([styles.STYLES[i] for i in jax.vmap(styles.style_of)(batch)]), batch.room_used.sum(1) >= 5
    assert set(shown) <= ({"mixed", "row", "ring"} if style == "mixed" else {style})
    assert rooms != 6 or set(shown[many]) == {style}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((WorldSpec(), ("spiral",), 4), r"unknown style 'spiral'.*corridor, mixed, open, ring, row"),
        ((WorldSpec(), ("ring",), 3), r"style 'ring': got min_rooms 3, expected min_rooms of 4 or more\. Fix: more rooms"),
        ((WorldSpec(), ("mixed", "corridor"), 2), r"style 'corridor': got min_rooms 2, expected min_rooms of 3"),
        (
            (WorldSpec(leaves=1), ("open",), 4),
            r"style 'open': got a world with hinged doors, expected mixed, row, corridor\. Fix: leaves=0",
        ),
        ((WorldSpec(), (), 4), r"styles: got none, expected one or more of mixed, row"),
    ],
)
def test_styles_that_cannot_be_are_refused_early(given, message):
    with pytest.raises(PalaestraError, match=message):
        styles.style_weights(*given)


def test_large_houses_lie_in_all_directions():
    """Seven rooms never fill a rectangle; which corner of it they leave free differs."""
    batch, corners = plans(9), np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    free = []
    for i in np.flatnonzero(batch.room_used.sum(1) == 7):
        room = batch.room[i, :7]
        low, high = room[:, :2].min(0), room[:, 2:].max(0)
        assert (room[:, 2:] - room[:, :2]).prod(-1).sum() < 0.9 * (high - low).prod()
        near = low + (0.05 + 0.9 * corners) * (high - low)
        free.append([not any(within(at, r) for r in room) for at in near])
    assert np.any(free, axis=0).all()
    assert not np.all(free, axis=0).any()
