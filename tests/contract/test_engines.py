"""What every engine must do. A new one joins by one line in ENGINES."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.sim import engine as physics
from palaestra.sim.bench import bench_layout
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world
from tests.sim.scenes import SMALL, open_floor

ENGINES = {"native": NativeEngine}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request):
    return ENGINES[request.param](world(SMALL))


def test_init_is_where_the_layout_says_and_at_rest(engine):
    layout = open_floor(engine.world, robot=(0.3, -0.2, 0.7, 0.05, 0.01, 0.02))
    state = engine.init(layout)
    np.testing.assert_allclose(state.qpos[:6], [0.3, -0.2, 0.7, 0.05, 0.01, 0.02], rtol=1e-6)
    position, _ = engine.world.object_pose(state.qpos)
    np.testing.assert_allclose(position, layout.object_pos, rtol=1e-6)
    assert not np.asarray(state.qvel).any()
    assert not bool(state.diverged)


def test_step_works_under_jit_vmap_and_scan_alike(engine):
    batch = jax.vmap(engine.init)(bench_layout(engine.world, 3, 0))
    ctrl = jnp.asarray([0.3, 0.1, 0.5, 0.0, 0.02, 0.02])
    many = jnp.tile(ctrl, (3, 1))
    scanned = jax.jit(lambda s: jax.lax.scan(lambda s, _: (jax.vmap(engine.step)(s, many), None), s, length=4)[0])(batch)
    looped = jax.tree.map(lambda x: x[1], batch)
    for _ in range(4):
        looped = engine.step(looped, ctrl)
    np.testing.assert_array_equal(np.asarray(scanned.bits[1]), np.asarray(looped.bits))


def test_states_are_pytrees_of_fixed_shape(engine):
    state = engine.init(open_floor(engine.world))
    after = engine.step(state, jnp.zeros(6))
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]


def test_masked_write(engine):
    a = jax.vmap(engine.init)(bench_layout(engine.world, 2, 0))
    b = jax.vmap(engine.init)(bench_layout(engine.world, 2, 1))
    mixed = physics.where(jnp.asarray([True, False]), a, b)
    np.testing.assert_array_equal(np.asarray(mixed.bits[0]), np.asarray(a.bits[0]))
    np.testing.assert_array_equal(np.asarray(mixed.bits[1]), np.asarray(b.bits[1]))


def test_several_worlds_and_batch_sizes_in_one_process(engine):
    other = type(engine)(world(WorldSpec(cubes=2, balls=0, tables=1, bins=0, rooms=1)))
    for e, count in ((engine, 2), (other, 3), (engine, 5)):
        state = jax.vmap(e.init)(bench_layout(e.world, count, 0))
        after = jax.vmap(e.step)(state, jnp.zeros((count, 6)))
        assert np.isfinite(np.asarray(after.qpos)).all()
        assert after.qpos.shape == (count, e.world.model.nq)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("rooms", 5, "rooms: got 5, expected 1 to 4"), ("balls", -1, "balls: got -1, expected 0 or more")],
)
def test_a_spec_that_cannot_be_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        WorldSpec(**{field: value})
