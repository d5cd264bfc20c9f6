"""Where objects lie at the starts of `pick`, judged by geometry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.generation.overlaps import overlaps
from palaestra.sim.world import world
from palaestra.skills.library import PICK, starts


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
