"""The geometry check against MuJoCo's own distances, and against scenes that are spoilt on purpose."""

import copy

import jax
import mujoco
import numpy as np
import pytest

from palaestra.envs.generation.overlaps import Boxes, depth, overlaps, solids
from palaestra.sim.world import BIN_FLOOR, LEAF_LENGTH, LEAF_OPEN, WorldSpec, leaf_axis, world
from tests.envs.worlds import env, one, tasks
from tests.sim.scenes import open_floor

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


# --- doors and buttons --------------------------------------------------------------------------------------------


def test_leaves_and_buttons_are_where_mujoco_has_them():
    """Upright or upside down, and however far open."""
    spec, rng = WorldSpec(leaves=3, buttons=2), np.random.default_rng(0)
    n, there = 20, world(spec)
    scenes = with_mechanisms(spec, rng, n)
    boxes, data = solids(spec, scenes), mujoco.MjData(there.model)
    names = ["leaf0", "leaf1", "leaf2", "post0", "cap0", "post1", "cap1"]
    first = 1 + spec.tables + spec.bins + spec.objects
    columns = np.flatnonzero(boxes.group >= first)
    assert boxes.group[columns].tolist() == [first, first + 1, first + 2, first + 3, first + 3, first + 4, first + 4]
    for i in range(n):
        layout, model = one(scenes.layout, i), copy.copy(there.model)
        model.body_pos[there.leaf_body, :2], model.body_pos[there.post_body, :2] = layout.leaf_pos, layout.button_pos
        model.body_quat[there.leaf_body] = layout.leaf_quat
        data.qpos[:] = there.initial_qpos(layout)
        mujoco.mj_kinematics(model, data)
        for column, name in zip(columns, names, strict=True):
            geom = model.geom(name).id
            turn = data.geom_xmat[geom].reshape(3, 3)[:2, 0]
            np.testing.assert_allclose(boxes.centre[i, column], data.geom_xpos[geom], atol=1e-5)
            np.testing.assert_allclose(boxes.half[i, column], model.geom_size[geom])
            assert abs(turn[0] * np.sin(boxes.yaw[i, column]) - turn[1] * np.cos(boxes.yaw[i, column])) < 1e-5


def with_mechanisms(spec, rng, count):
    """Scenes of nothing but a robot, leaves at any angle, of which every second opens the other way round, and buttons."""
    layout = open_floor(
        world(spec), half=[0.03] * spec.objects, pos=[[9.0, i, 0.03] for i in range(spec.objects)], yaw=[0.0] * spec.objects
    )
    half = rng.uniform(-1.5, 1.5, (count, spec.leaves))
    upright = np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], -1)
    over = np.stack([0 * half, np.cos(half), np.sin(half), 0 * half], -1)
    layouts = jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], count, 0), layout).replace(
        leaf_pos=rng.uniform(-5, 5, (count, spec.leaves, 2)),
        leaf_quat=np.where((np.arange(spec.leaves) % 2 == 0)[:, None], upright, over),
        leaf_angle=rng.uniform(0, LEAF_OPEN, (count, spec.leaves)),
        button_pos=rng.uniform(-5, 5, (count, spec.buttons, 2)),
    )
    yes = [np.ones((count, n), bool) for n in (spec.fixtures, spec.leaves, spec.buttons)]
    scene = jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], count, 0), one(tasks().scene, 0))
    return scene.replace(layout=layouts, fixture_used=yes[0], leaf_used=yes[1], button_used=yes[2])


def test_shut_doors_and_buttons_of_generated_houses_touch_nothing():
    """But what is put into a leaf, or on a button's place, is found."""
    spec, scenes = env("doors").world.spec, tasks("doors", count=32).scene
    assert scenes.leaf_used.any(1).all()
    assert overlaps(spec, scenes).sum() == 0
    lay = scenes.layout
    for place in (lay.leaf_pos[:, 0] + LEAF_LENGTH / 2 * leaf_axis(lay.leaf_quat, lay.leaf_angle)[:, 0], lay.button_pos[:, 0]):
        pos = np.array(lay.object_pos)
        pos[np.arange(len(pos)), lay.object_used.argmax(1)] = np.c_[place, np.full(len(place), 0.05)]
        there = (np.abs(place) < 30).all(1)
        assert ((overlaps(spec, scenes.replace(layout=lay.replace(object_pos=pos))) > 0) == there).all()
        assert there.sum() > 10
