"""The geometry check against MuJoCo's own distances, and against scenes that are spoilt on purpose."""

import jax
import mujoco
import numpy as np
import pytest

from palaestra.envs.overlaps import Boxes, depth, overlaps, solids
from palaestra.sim.world import BIN_FLOOR
from tests.envs.worlds import env, one, tasks

SPEC = env().world.spec


def test_boxes_overlap_where_mujoco_says_so():
    rng, n = np.random.default_rng(0), 300
    half = rng.uniform(0.05, 0.4, (n, 2, 3))
    centre, yaw = rng.uniform(-0.4, 0.4, (n, 2, 3)), rng.uniform(-4, 4, (n, 2))
    spec = mujoco.MjSpec()
    for name in "ab":
        body = spec.worldbody.add_body(name=name, mocap=True)
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=[1, 1, 1])
    model = spec.compile()
    data = mujoco.MjData(model)
    gaps = []
    for i in range(n):
        model.geom_size[:] = half[i]
        data.mocap_pos[:] = centre[i]
        data.mocap_quat[:] = np.stack([np.cos(yaw[i] / 2), 0 * yaw[i], 0 * yaw[i], np.sin(yaw[i] / 2)], -1)
        mujoco.mj_kinematics(model, data)
        gaps.append(mujoco.mj_geomDistance(model, data, 0, 1, 1.0, None))
    boxes = Boxes(centre, half, yaw, np.ones((n, 2), bool), np.arange(2))
    ours, gaps = depth(boxes, np.array([0]), np.array([1]))[:, 0], np.asarray(gaps)
    clear = np.abs(gaps) > 1e-5
    assert ((ours > 0) == (gaps < 0))[clear].all()
    assert 50 < (gaps < 0).sum() < n - 50
    np.testing.assert_allclose(ours[gaps < -1e-5], -gaps[gaps < -1e-5], atol=1e-4)  # boxes that stand upright: the same depth


def test_generated_scenes_have_none():
    assert overlaps(SPEC, tasks().scene).sum() == 0


def moved(change):
    """The first 16 scenes with their first object in use moved to `change(layout)` [3] m."""
    scenes = jax.tree.map(lambda x: np.array(x[:16]), tasks().scene)
    for i in range(16):
        layout = one(scenes.layout, i)
        scenes.layout.object_pos[i, np.argmax(layout.object_used)] = change(layout)
    return overlaps(SPEC, scenes)


@pytest.mark.parametrize(
    "where",
    [
        lambda lay: [*lay.robot_q[:2], 0.05],
        lambda lay: lay.fixture_pos[0] + [0, 0, 0.05],  # a wall
        lambda lay: lay.fixture_pos[SPEC.walls],  # in a table
        lambda lay: lay.fixture_pos[SPEC.walls + SPEC.tables] + [0, 0, BIN_FLOOR],  # through a bin's floor
        lambda lay: [*lay.robot_q[:2] + 0.4 * np.array([np.cos(lay.robot_q[2]), np.sin(lay.robot_q[2])]), 0.45],  # between the fingers
    ],
    ids=["robot", "wall", "table", "bin", "hand"],
)
def test_what_is_pushed_into_something_is_found(where):
    assert (moved(where) > 0).all()


@pytest.mark.parametrize(
    "where",
    [
        lambda lay: lay.fixture_pos[SPEC.walls + SPEC.tables] + [0, 0, BIN_FLOOR + lay.object_half.max()],  # in a bin
        lambda lay: lay.fixture_pos[SPEC.walls] * [1, 1, 2] + [0, 0, lay.object_half.max() + 0.3],  # above a table and what is on it
    ],
    ids=["in a bin", "over a table"],
)
def test_what_lies_free_is_not(where):
    assert (moved(where) == 0).all()


def test_two_objects_in_one_place_are_found():
    scenes = jax.tree.map(np.array, tasks().scene)
    both = np.flatnonzero(scenes.layout.object_used[:, :2].all(1))
    scenes.layout.object_pos[both, 1] = scenes.layout.object_pos[both, 0] + [0.02, 0, 0]
    assert set(np.flatnonzero(overlaps(SPEC, scenes))) == set(both)
    assert solids(SPEC, scenes).group.max() == SPEC.tables + SPEC.bins + SPEC.objects
