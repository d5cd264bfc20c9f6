"""What every engine must do. A new one joins by one line in ENGINES.

`mjx` compiles for half a minute a program: all that it must do here, it does through one program of eight simulations,
which is also that of `tests/sim/test_parity.py`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.bench.engine import bench_layout
from palaestra.sim import engine as physics
from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world
from tests.sim.scenes import SMALL, open_floor

ENGINES = {
    "native": NativeEngine,
    "mjx": functools.partial(MjxEngine, name="mjx"),
    "warp": functools.partial(MjxEngine, name="warp", on_cpu=True),
}
N = 8
CTRL = np.random.default_rng(0).uniform([-0.8, -0.8, -2, -0.27, 0, 0], [0.8, 0.8, 2, 0.2, 0.053, 0.053], (N, 6)).astype(np.float32)


@pytest.fixture(scope="module", params=list(ENGINES))
def engine(request):
    if request.param == "warp":
        pytest.importorskip("warp")
    return ENGINES[request.param](world(SMALL))


@pytest.fixture(scope="module")
def init(engine):
    return jax.jit(jax.vmap(engine.init))


@pytest.fixture(scope="module")
def step(engine):
    return jax.jit(jax.vmap(engine.step))


def start(engine, init, seed=0):
    return init(bench_layout(engine.world, N, seed))


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_init_is_where_the_layout_says_and_at_rest(engine):
    layout = open_floor(engine.world, robot=(0.3, -0.2, 0.7, 0.05, 0.01, 0.02))
    state = engine.init(layout)
    np.testing.assert_allclose(state.qpos[:6], [0.3, -0.2, 0.7, 0.05, 0.01, 0.02], rtol=1e-6)
    position, _ = engine.world.object_pose(state.qpos)
    np.testing.assert_allclose(position, layout.object_pos, rtol=1e-6)
    assert not np.asarray(state.qvel).any()
    assert not bool(state.diverged) and not bool(state.overflow)  # noqa: PT018


def test_states_are_pytrees_of_fixed_shape(engine, init, step):
    state = start(engine, init)
    after = step(state, CTRL)
    assert jax.tree.structure(state) == jax.tree.structure(after)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]


def test_step_is_a_function_whatever_was_stepped_in_between(engine, init, step):
    a, b = start(engine, init), start(engine, init, seed=1)
    first = step(step(a, CTRL), CTRL)
    middle = step(a, CTRL)
    step(b, -CTRL)
    assert_same(first, step(middle, CTRL))


def test_simulations_of_a_batch_do_not_touch_each_other(engine, init, step):
    a = start(engine, init)
    turned = jax.tree.map(lambda x: x[::-1], a)
    forth, back = step(a, CTRL), step(turned, CTRL[::-1])
    tolerance = 0 if engine.name == "native" else 1e-6
    np.testing.assert_allclose(np.asarray(forth.qpos), np.asarray(back.qpos)[::-1], atol=tolerance)


def test_masked_write_mixes_episodes(engine, init, step):
    """A fresh task where an episode ended, in the middle of a batch: what the others do does not change by a bit."""
    old, new = step(start(engine, init), CTRL), start(engine, init, seed=1)
    mask = np.arange(N) % 3 == 0
    after, want_new, want_old = (np.asarray(step(s, CTRL).bits) for s in (physics.where(jnp.asarray(mask), new, old), new, old))
    np.testing.assert_array_equal(after, np.where(mask[:, None], want_new, want_old))


def test_a_simulation_that_diverges_ends_alone(engine, init, step):
    state = start(engine, init)
    clean = step(state, CTRL)
    at, nan = (4, 0x7FC00000) if engine.name == "warp" else (9, 0x7FF80000)  # the fourth number; in float64, its high word
    after = step(state.replace(bits=state.bits.at[1, at].set(jnp.uint32(nan))), CTRL)
    others = np.arange(N) != 1
    np.testing.assert_array_equal(np.asarray(after.diverged), ~others)
    assert np.isfinite(np.asarray(after.qpos)).all()
    np.testing.assert_array_equal(np.asarray(after.bits)[others], np.asarray(clean.bits)[others])
    assert_same(step(state, CTRL), clean)


def test_one_program_serves_all_of_it(step):
    assert step._cache_size() == 1


@pytest.mark.parametrize("name", ["native", "warp"])
def test_jit_vmap_and_scan_are_alike_for_any_size_and_world(name):
    if name == "warp":
        pytest.importorskip("warp")
    for spec, count in ((SMALL, 2), (WorldSpec(cubes=2, balls=0, tables=1, bins=0, rooms=1), 3)):
        engine = ENGINES[name](world(spec))
        batch = jax.jit(jax.vmap(engine.init))(bench_layout(engine.world, count, 0))
        many = jnp.tile(CTRL[:1], (count, 1))
        scanned = jax.jit(lambda s, e=engine, u=many: jax.lax.scan(lambda s, _: (jax.vmap(e.step)(s, u), None), s, length=3)[0])(batch)
        looped, alone = jax.tree.map(lambda x: x[1], batch), jax.jit(engine.step)
        for _ in range(3):
            looped = alone(looped, CTRL[0])
        nested = jax.tree.map(lambda x: x[None], batch)
        for _ in range(3):
            nested = jax.jit(jax.vmap(jax.vmap(engine.step)))(nested, many[None])
        tolerance = 0 if name == "native" else 1e-6
        np.testing.assert_allclose(np.asarray(scanned.qpos[1]), np.asarray(looped.qpos), atol=tolerance)
        np.testing.assert_allclose(np.asarray(scanned.qpos), np.asarray(nested.qpos[0]), atol=tolerance)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("rooms", 10, "rooms: got 10, expected 1 to 9"), ("balls", -1, "balls: got -1, expected 0 or more")],
)
def test_a_spec_that_cannot_be_is_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        WorldSpec(**{field: value})
