"""The ways of the hand and the base, by hand: around, not through, and out of dead ends."""

import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.skills.library.ways import past, to_behind, to_reach
from palaestra.skills.record import view
from tests.envs.test_crates import CRATE, ENGINE, HALF, SPEC, TABLE, W, scene_of

CLOSE = HALF + W.body.base_radius  # m, from the crate's middle to the robot's, where it touches it
EAST = (1.0, 0.0)


def seen(scene):
    return view(W, scene, ENGINE.init(scene.layout), jnp.zeros(W.model.nu), jnp.zeros(2, jnp.int32))


def way(robot, table=(3.0, 3.0), bin_=(-3.0, -3.0), ahead=EAST, crate=(0.0, 0.0)):
    """Of a robot at [2] m to behind a crate, beside a table and a bin of 0.30 m, on open floor."""
    scene = scene_of(crate)
    lay, w = scene.layout, SPEC.walls
    stands = lay.fixture_pos.at[w:, :2].set(jnp.asarray([table, (3.0, -3.0), bin_]))
    scene = scene.replace(
        layout=lay.replace(
            fixture_pos=stands, robot_q=lay.robot_q.at[:2].set(jnp.asarray(robot)), object_pos=lay.object_pos.at[0, :2].set(9.0)
        )
    )
    found = to_behind(W, seen(scene), jnp.asarray(CRATE), jnp.asarray(ahead))
    return [np.asarray(part) for part in found]


def test_behind_the_crate_the_robot_goes_to_it_and_pushes_straight_on():
    ahead, aside, lacking, turn, point, reach, room = way((-0.6, 0.0))
    assert not aside
    assert lacking == 0.0
    assert abs(turn) < 1e-5
    np.testing.assert_allclose(ahead, EAST, atol=1e-6)
    np.testing.assert_allclose(point, (-CLOSE, 0.0), atol=1e-5)
    assert reach == pytest.approx(CLOSE, abs=1e-5)
    assert room == pytest.approx(np.hypot(2.85, 2.85) - HALF, abs=1e-4)


@pytest.mark.parametrize("side", [1, -1])
def test_before_the_crate_it_goes_around_on_the_shorter_side(side):
    _, aside, _, turn, point, *_ = way((0.5, 0.1 * side))
    assert not aside
    assert turn == pytest.approx(side * (np.pi - np.arctan2(0.1, 0.5)), abs=1e-4)
    assert np.sign(point[1]) == side  # by that side, and not through the crate
    assert np.linalg.norm(point) > CLOSE


@pytest.mark.parametrize("side", [1, -1])
def test_what_stands_beside_the_crate_is_gone_around_on_the_other_side(side):
    """The gap between them is 0.1 m, and the robot is 0.24 m wide."""
    _, aside, _, turn, point, *_ = way((0.5, 0.1 * side), table=(0.0, side * (HALF + 0.1 + 0.15)))
    assert not aside
    assert turn == pytest.approx(-side * (np.pi + np.arctan2(0.1, 0.5)), abs=1e-4)
    assert np.sign(point[1]) == -side


@pytest.mark.parametrize(("gap", "lacks"), [(0.1, 1.0), (0.2, 1 / 3), (0.25, 0.0)])
def test_without_room_behind_it_is_pushed_aside_from_where_there_is_room(gap, lacks):
    """The robot's axis would be 0.23 m behind the crate's, and needs 0.12 m to the table: 0.11 m beyond the gap of 0.2 m there are 0.08."""
    table = np.asarray([-(HALF + gap + 0.15), 0.0])
    ahead, aside, lacking, *_ = way((0.5, 0.0), table=tuple(table))
    assert lacking == pytest.approx(lacks, abs=1e-4)
    assert aside == (lacks > 0)
    if not aside:
        np.testing.assert_allclose(ahead, EAST, atol=1e-6)
        return
    assert -0.3 < ahead @ np.asarray(EAST) < 0.95
    robot = -CLOSE * ahead  # there it stands on open floor, and the crate has where to go
    assert np.linalg.norm(np.maximum(np.abs(robot - table) - 0.15, 0)) > W.body.base_radius
    assert np.linalg.norm(np.maximum(np.abs(0.15 * ahead - table) - 0.15, 0)) > 0.9 * HALF


def test_where_it_cannot_get_behind_it_pushes_from_where_it_can():
    """A table and a bin on both sides of the crate: behind it there is room, but no way there."""
    beside = HALF + 0.1 + 0.15
    ahead, aside, lacking, turn, *_ = way((0.5, 0.0), table=(0.0, beside), bin_=(0.0, -beside))
    assert lacking == 0.0
    assert not aside  # nowhere else is better than straight against it
    ahead, aside, lacking, turn, *_ = way((0.1, 0.5), table=(beside, 0.0), bin_=(-beside, 0.0), ahead=(1.0, 0.0))
    assert aside  # from its own side, between them
    assert abs(turn) < np.pi / 2
    assert ahead[1] < -0.9


def test_along_what_it_stands_beside_a_crate_is_pushed_straight_on():
    ahead, aside, *_ = way((0.5, 0.0), table=(-(HALF + 0.03 + 0.15), 0.0), ahead=(0.0, 1.0))
    assert not aside
    np.testing.assert_allclose(ahead, (0.0, 1.0), atol=1e-6)


def test_the_way_of_the_hand_is_by_distance_and_by_angle():
    """Of a robot at the origin that looks east and reaches 0.4 m."""
    scene = scene_of((3.0, 3.0))
    scene = scene.replace(layout=scene.layout.replace(robot_q=jnp.zeros(6)))
    geo = seen(scene).geo
    reach = W.body.reach
    for at, expected in (
        ((reach, 0.0), 0.0),
        ((reach + 0.3, 0.0), 0.3),
        ((0.1, 0.0), reach - 0.1),  # too near: it has to back off
        ((0.0, reach), reach * np.pi / 2),
        ((-0.3, 1e-6), np.hypot(reach - 0.3, reach * np.pi)),  # behind it: to turn about
    ):
        assert float(to_reach(W, geo, jnp.asarray(at))) == pytest.approx(expected, abs=1e-4)
    nearer, turning = (float(to_reach(W, geo, jnp.asarray(at))) for at in ((-0.2, 0.05), (-0.25, 0.15)))
    assert turning < nearer  # the straight way of the hand would say the opposite


def test_furniture_in_between_is_gone_around_and_what_is_stood_beside_is_left():
    """The table takes 0.15 m to each side of (-1, 1); what goes past is 0.3 m wide and keeps 0.08 m away."""
    here, none = seen(scene_of((3.0, 3.0))), jnp.asarray([0])

    def by(start, point, but=none):
        return np.asarray(past(W, here, jnp.asarray(start), jnp.asarray(point), but, 0.15))

    np.testing.assert_allclose(by((-2.0, 0.9), (0.0, 0.9)), (-1.38, 0.62), atol=1e-5)  # the nearer corner that can be seen
    np.testing.assert_allclose(by((-2.0, 0.0), (0.0, 0.0)), (0.0, 0.0))  # nothing is in the way
    np.testing.assert_allclose(by((-2.0, 0.9), (-1.1, 0.95)), (-1.1, 0.95))  # on the table itself
    np.testing.assert_allclose(by((-2.0, 0.9), (0.0, 0.9), jnp.asarray([TABLE])), (0.0, 0.9))
    # Right beside it, with 1 cm between: along it and away from it one can go.
    np.testing.assert_allclose(by((-1.16, 1.0), (-1.16, -1.0)), (-1.16, -1.0))
    np.testing.assert_allclose(by((-1.16, 1.0), (-2.0, 1.0)), (-2.0, 1.0))
