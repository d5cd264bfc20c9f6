"""Where things are at the starts of skills, judged by geometry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.drawers import trays
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.types import receptacle_boxes
from palaestra.sim.drawers import DRAWER_RIM
from palaestra.sim.world import world
from palaestra.skills.library import PICK, skill, starts


@pytest.fixture(scope="module")
def laid():
    """256 scenes in which object 0 was laid down, with whether it found a place, and where it is on or off the table."""
    w = world(PICK.train_spec)

    def one(key):
        k_scene, k_lay = jax.random.split(key)
        scene = sample_scene(k_scene, w, SceneRange.make(w.spec, use=1.0))
        return starts.lay_down(k_lay, w, scene, jnp.asarray(0))

    scenes, found = jax.device_get(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 256)))
    return w.spec, jax.tree.map(lambda x: x[found], scenes), found


def test_what_is_laid_down_overlaps_nothing(laid):
    spec, scenes, found = laid
    assert found.mean() > 0.9
    away = scenes.layout.robot_q + np.array([50.0, 0, 0, 0, 0, 0], np.float32)  # it is placed afterwards
    np.testing.assert_array_equal(overlaps(spec, scenes.replace(layout=scenes.layout.replace(robot_q=away))), 0)


def test_it_lies_on_the_table_up_to_its_edge_and_on_the_floor_close_to_things(laid):
    spec, scenes, _ = laid
    lay, table = scenes.layout, spec.walls
    offset = np.abs(lay.object_pos[:, 0, :2] - lay.fixture_pos[:, table, :2])
    edge = (lay.fixture_half[:, table, :2] - offset).min(1)
    z = lay.object_pos[:, 0, 2] - lay.object_half[:, 0]
    on = edge > 0
    np.testing.assert_allclose(z, np.where(on, 2 * lay.fixture_pos[:, table, 2], 0.0), atol=1e-6)
    assert 0.3 < on.mean() < 0.7
    assert (edge[on] < 0.03).mean() > 0.1
    assert edge[on].min() >= 0.01 - 1e-6
    gap = np.linalg.norm(np.maximum(np.abs(lay.object_pos[:, :1, :2] - lay.fixture_pos[..., :2]) - lay.fixture_half[..., :2], 0.0), axis=-1)
    nearest = np.where(scenes.fixture_used, gap, np.inf).min(1)
    assert (nearest[~on] < 0.2).mean() > 0.3, "the generator keeps 30 cm from everything"


@pytest.fixture(scope="module", params=["place", "close"])
def begun(request):
    """128 starts of a skill, none of them easy."""
    record = skill(request.param)
    w = world(record.train_spec)
    draw = jax.jit(jax.vmap(lambda key: record.start(key, w, jnp.asarray(0.0))))
    starts = jax.device_get(draw(jax.random.split(jax.random.key(2), 128)))
    assert starts.valid.mean() > 0.9
    return record.name, w, jax.tree.map(lambda x: x[starts.valid], starts)


def test_nothing_overlaps_where_a_skill_begins(begun):
    _, w, starts = begun
    away = starts.scene.layout.robot_q + np.array([50.0, 0, 0, 0, 0, 0], np.float32)  # `collides` judges it
    np.testing.assert_array_equal(overlaps(w.spec, starts.scene.replace(layout=starts.scene.layout.replace(robot_q=away))), 0)


def test_skills_begin_where_others_leave_things(begun):
    name, w, starts = begun
    spec, lay, number = w.spec, starts.scene.layout, np.arange(len(starts.args))
    if name == "place":  # bins and drawers are empty, or up to three things lie in them
        centre, half, _ = jax.vmap(lambda scene: receptacle_boxes(spec, scene))(starts.scene)
        recep = starts.args[:, 1] - 1 - spec.objects
        over = (np.abs(lay.object_pos[..., :2] - np.asarray(centre)[number, recep, None]) < np.asarray(half)[number, recep, None]).all(-1)
        over[number, starts.args[:, 0] - 1] = False
        lies = (over & lay.object_used).sum(1)
        assert (lies[recep < spec.tables] == 0).all()
        assert {0, 1, 2, 3} == set(lies[recep >= spec.tables].tolist())
    else:  # at times the hand is over the tray or in it, as placing ends, and then in none of its walls
        q = lay.robot_q
        grip = q[:, :2] + w.body.reach * np.stack([np.cos(q[:, 2]), np.sin(q[:, 2])], -1)
        tray, inner = jax.vmap(lambda layout: trays(layout, layout.drawer_out))(lay)
        inside = np.asarray(inner)[:, 0] - np.abs(grip - np.asarray(tray)[:, 0])
        low = w.body.grip_height + q[:, 3] - 0.03 < DRAWER_RIM
        there = (inside > 0).all(-1)
        assert 0.1 < (there & low).mean() < there.mean() < 0.6
        assert (inside[there & low] > 0.03).all()
