"""The native engine against MuJoCo itself: bit for bit, under every transformation, and alone when something breaks."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.bench.engine import bench_layout, plain_loop_equals
from palaestra.sim import engine as physics
from palaestra.sim.engine import EngineError
from palaestra.sim.errors import PalaestraError
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import DENSITY, ModelWorld, WorldSpec, build_spec, world
from tests.sim.scenes import PENDULUM, SMALL, open_floor, with_table


@pytest.fixture(scope="module")
def small():
    return NativeEngine(world(SMALL))


def controls(steps: int, batch: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = [-0.8, -0.8, -2, -0.27, 0, 0], [0.8, 0.8, 2, 0.2, 0.053, 0.053]
    return rng.uniform(low, high, (steps, batch, 6)).astype(np.float32)


def test_rollout_equals_a_plain_loop_of_mj_step_bit_for_bit():
    w = world(WorldSpec())
    engine = NativeEngine(w)
    start = jax.vmap(engine.init)(bench_layout(w, 3, 0))
    u = controls(25, 3)

    @jax.jit
    def roll(state):
        return jax.lax.scan(lambda s, c: (jax.vmap(engine.step)(s, c), None), state, jnp.asarray(u))[0]

    assert plain_loop_equals(engine, start, u, roll(start), sims=3)


def test_sizes_as_data_equal_sizes_compiled_in():
    """The per-simulation model fields against a model that was compiled with those sizes."""
    w = world(SMALL)
    half = (0.0265, 0.0345)
    layout = with_table(w, open_floor(w, half=half, pos=((1.0, 0.0, 0.30), (0.4, 0.02, 0.0345))))
    spec = build_spec(SMALL)
    for name, size in (("cube0", [half[0]] * 3), ("ball0", [half[1], 0, 0])):
        geom = next(g for g in spec.geoms if g.name == name)
        geom.size = size
    table = next(g for g in spec.geoms if g.name == "table0")
    table.size = [0.16, 0.15, 0.08]
    model = spec.compile()
    data = mujoco.MjData(model)
    engine = NativeEngine(w)
    state = engine.init(layout)
    mujoco.mj_setState(model, data, np.asarray(state.bits).view(np.float64), row_spec())
    data.mocap_pos[w.fixture_mocap] = np.asarray(layout.fixture_pos)
    step = jax.jit(engine.step)
    for ctrl in controls(40, 1)[:, 0]:
        state = step(state, jnp.asarray(ctrl))
        data.ctrl[:] = ctrl
        for _ in range(SMALL.substeps):
            mujoco.mj_step(model, data)
    np.testing.assert_allclose(np.asarray(state.qpos), data.qpos, atol=1e-5)
    model_here = engine.simulations(1).batch.get_model(0)
    np.testing.assert_allclose(model_here.body_mass[w.object_body], model.body_mass[w.object_body], rtol=1e-6)
    np.testing.assert_allclose(model_here.body_inertia[w.object_body], model.body_inertia[w.object_body], rtol=1e-6)
    np.testing.assert_allclose(model_here.body_invweight0[w.object_body], model.body_invweight0[w.object_body], rtol=1e-5)


def test_masses_follow_sizes():
    w = world(SMALL)
    engine = NativeEngine(w)
    jax.jit(engine.step)(engine.init(open_floor(w, half=(0.025, 0.035))), jnp.zeros(6))
    mass = engine.simulations(1).batch.get_model(0).body_mass[w.object_body]
    np.testing.assert_allclose(mass, [DENSITY * 0.05**3, DENSITY * 4 / 3 * np.pi * 0.035**3], rtol=1e-6)


def test_vmap_equals_a_loop_and_jit_equals_no_jit(small):
    w = small.world
    layouts = [open_floor(w, yaw=(0.1 * i, 0.0), half=(0.025 + 0.002 * i, 0.03)) for i in range(4)]
    batch = jax.vmap(small.init)(jax.tree.map(lambda *x: jnp.stack(x), *layouts))
    u = jnp.asarray(controls(6, 4))
    alone = [small.init(layout) for layout in layouts]
    for t in range(6):
        batch = jax.jit(jax.vmap(small.step))(batch, u[t])
        alone = [small.step(s, u[t, i]) for i, s in enumerate(alone)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *alone)
    for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(stacked), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_step_is_a_function_whatever_was_stepped_in_between(small):
    """The host's batch is a cache: another state through the same batch must not leave a trace."""
    w = small.world
    a, b = small.init(open_floor(w)), small.init(open_floor(w, half=(0.035, 0.025), robot=(0.5, 0, 1, 0.1, 0, 0)))
    step, u = jax.jit(small.step), jnp.asarray([0.5, 0.2, 1.0, -0.2, 0.05, 0.05])
    first = step(step(a, u), u)
    middle = step(a, u)
    step(b, -u)
    again = step(middle, u)
    np.testing.assert_array_equal(np.asarray(first.bits), np.asarray(again.bits))


def test_deterministic_at_any_number_of_threads():
    w = world(SMALL)
    layout = bench_layout(w, 16, 1)
    ends = []
    for threads in (1, 2, 3):
        engine = NativeEngine(w, threads)
        state = jax.vmap(engine.init)(layout)
        for u in controls(5, 16):
            state = jax.vmap(engine.step)(state, jnp.asarray(u))
        ends.append(np.asarray(state.bits))
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(ends[0], ends[2])


def test_masked_write_resets_only_where_asked(small):
    w = small.world
    start = jax.vmap(small.init)(bench_layout(w, 4, 2))
    moved = jax.vmap(small.step)(start, jnp.asarray(controls(1, 4)[0]))
    mask = jnp.asarray([True, False, True, False])
    mixed = physics.where(mask, start, moved)
    for i in range(4):
        want = start if mask[i] else moved
        np.testing.assert_array_equal(np.asarray(mixed.bits[i]), np.asarray(want.bits[i]))


def test_a_simulation_that_diverges_ends_alone_and_is_dumped(tmp_path):
    w = world(SMALL)
    engine = NativeEngine(w, dump=tmp_path)
    start = jax.vmap(engine.init)(bench_layout(w, 3, 3))
    u = jnp.asarray(controls(1, 3)[0])
    clean = jax.vmap(engine.step)(start, u)
    nan = np.asarray(start.bits).copy().view(np.float64)
    nan[1, 3] = np.nan
    after = jax.vmap(engine.step)(start.replace(bits=jnp.asarray(nan.view(np.uint32))), u)
    np.testing.assert_array_equal(np.asarray(after.diverged), [False, True, False])
    for i in (0, 2):
        np.testing.assert_array_equal(np.asarray(after.bits[i]), np.asarray(clean.bits[i]))
    assert np.isfinite(np.asarray(after.qpos)).all()
    (dump,) = tmp_path.glob("diverged-*.npz")
    with np.load(dump) as saved:
        np.testing.assert_array_equal(saved["ids"], [1])
        np.testing.assert_array_equal(saved["rows"][0], nan[1])
    again = jax.vmap(engine.step)(start, u)
    assert not np.asarray(again.diverged).any()
    np.testing.assert_array_equal(np.asarray(again.bits), np.asarray(clean.bits))


def grasp(engine, half=0.03, index=0):
    """A cube or ball in the closed, raised hand."""
    w = engine.world
    pos = [(3.0, 0.0, 0.03), (3.0, 0.6, 0.03)]
    pos[index] = (0.40, 0.0, half)
    halves = [0.03, 0.03]
    halves[index] = half
    state = engine.init(open_floor(w, half=halves, pos=pos, robot=(0, 0, 0, -0.272, 0, 0)))
    step = jax.jit(engine.step)
    for grip in np.linspace(0, 0.053, 8):
        state = step(state, jnp.asarray([0, 0, 0, -0.272, grip, grip], jnp.float32))
    for lift in np.linspace(-0.272, 0.1, 20):
        state = step(state, jnp.asarray([0, 0, 0, lift, 0.053, 0.053], jnp.float32))
    return state, step


@pytest.mark.parametrize(("index", "half"), [(0, 0.024), (0, 0.035), (1, 0.024), (1, 0.035)])
def test_the_gripper_holds_by_friction_through_ten_seconds_of_driving(small, index, half):
    state, step = grasp(small, half, index)
    rng = np.random.default_rng(0)
    for k in range(200):
        if k % 10 == 0:
            velocity = rng.uniform(-1, 1, 3) * [0.8, 0.8, 1.0]
        state = step(state, jnp.asarray([*velocity, 0.1, 0.053, 0.053], jnp.float32))
    q = np.asarray(state.qpos)
    grip = np.asarray(small.world.body.grip_position(state.qpos[:6]))
    offset = q[6 + 7 * index : 9 + 7 * index] - grip
    forward, sideways = np.cos(q[2]) * offset[0] + np.sin(q[2]) * offset[1], np.cos(q[2]) * offset[1] - np.sin(q[2]) * offset[0]
    # Forward: at r = 0.4 m a step of 10 ms drifts outwards by r ω² dt / 2, 2 mm/s at 1 rad/s.
    assert abs(forward) < 0.025
    assert abs(sideways) < 0.005
    assert abs(offset[2]) < 0.010


def test_a_dropped_ball_falls_as_gravity_says(small):
    state = small.init(open_floor(small.world, pos=((2.0, 0.0, 0.03), (1.0, 0.6, 1.0))))
    step = jax.jit(small.step)
    for _ in range(6):
        state = step(state, jnp.zeros(6))
    t, n = 6 * small.world.spec.control_dt, 30
    # Semi-implicit Euler of n steps falls g t²/2 (1 + 1/n).
    assert 1.0 - float(state.qpos[6 + 7 + 2]) == pytest.approx(0.5 * 9.81 * t**2 * (1 + 1 / n), rel=1e-4)


def test_things_at_rest_stay_at_rest(small):
    w = small.world
    layout = with_table(w, open_floor(w, pos=((1.0, 0.0, 0.16 + 0.03), (0.5, 0.6, 0.03))))
    state = start = small.init(layout)
    step = jax.jit(small.step)
    for _ in range(60):
        state = step(state, jnp.zeros(6))
    assert np.abs(np.asarray(state.qpos - start.qpos))[6:].max() < 2e-3


def test_unused_objects_float_and_touch_nothing(small):
    w = small.world
    layout = open_floor(w).replace(object_used=jnp.asarray([False, True]))
    state = small.init(layout)
    step = jax.jit(small.step)
    before = np.asarray(state.qpos[6:9])
    for _ in range(40):
        state = step(state, jnp.zeros(6))
    np.testing.assert_allclose(np.asarray(state.qpos[6:9]), before, atol=1e-6)


DERIVED = ["body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "dof_length", "body_mass", "body_inertia"]


@pytest.mark.parametrize("spec", [WorldSpec(), WorldSpec(cubes=2, balls=1, crates=1)])
def test_constants_derived_in_closed_form_are_those_that_mujoco_derives(spec):
    """`World.fields` against mj_setConst and against the compiler's own geometry."""
    w = world(spec)
    sims = NativeEngine(w).simulations(3)
    layout = bench_layout(w, 3, 5).replace(object_density=jnp.asarray([[100.0, 460.0, 800.0, 300.0]] * 3))
    sims.write(np.asarray(jax.vmap(type(layout).parameters)(layout)))
    ours = [sims.batch.get_model(i) for i in range(3)]
    sims.batch.set_const()
    for i in range(3):
        theirs = sims.batch.get_model(i)
        for name in DERIVED:
            np.testing.assert_allclose(getattr(ours[i], name), getattr(theirs, name), rtol=1e-6, atol=1e-12, err_msg=name)


def test_bounding_volumes_are_those_of_the_compiler():
    w, half = world(SMALL), (0.0265, 0.0345)
    spec = build_spec(SMALL)
    next(g for g in spec.geoms if g.name == "cube0").size = [half[0]] * 3
    next(g for g in spec.geoms if g.name == "ball0").size = [half[1], 0, 0]
    model = spec.compile()
    fields = w.fields(np.asarray(open_floor(w, half=half).parameters(), np.float64))
    for name in ("geom_aabb", "geom_rbound", "geom_size"):
        np.testing.assert_allclose(fields[name][w.object_geom], getattr(model, name)[w.object_geom], rtol=1e-6, err_msg=name)
    bvh = model.body_bvhadr[w.object_body]
    np.testing.assert_allclose(fields["bvh_aabb"][bvh], model.bvh_aabb[bvh], rtol=1e-6)


def test_numpy_and_jax_agree_on_the_fields():
    w = world(SMALL)
    row = open_floor(w, half=(0.025, 0.035), friction=0.7).parameters(0.8)
    ours, theirs = w.fields(np.asarray(row)), w.fields(row)
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        np.testing.assert_allclose(value, np.asarray(theirs[name]), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("friction", [0.05, 0.3])
def test_a_sliding_cube_stops_where_its_friction_says(small, friction):
    """v² / (2 μ g), on a floor whose own friction is 1 - so the larger counts, and the floor's is taken away here."""
    w = small.world
    model = build_spec(SMALL)
    next(g for g in model.geoms if g.name == "floor").friction = [1e-4, 0, 0]
    slippery = type(w)(SMALL)
    slippery.model = model.compile()
    engine = NativeEngine(slippery)
    layout = open_floor(slippery, pos=((0.0, 1.0, 0.03), (3.0, 3.0, 0.03)), friction=friction)
    start = engine.init(layout)
    speed = 0.5
    state = engine.at(start.qpos, start.qvel.at[w.object_v[0]].set(speed), start.parameters)
    step = jax.jit(engine.step)
    for _ in range(60 if friction < 0.1 else 20):
        state = step(state, jnp.zeros(6))
    assert float(state.qpos[6]) == pytest.approx(speed**2 / (2 * friction * 9.81), rel=0.08)


@pytest.mark.parametrize("friction", [0.1, 0.3])
def test_friction_of_all_contacts_is_data(small, friction):
    """v² / (2 μ g), floor and cube as they are but for that."""
    w, speed = small.world, 0.5
    start = small.init(layout := open_floor(w, pos=((0.0, 1.0, 0.03), (3.0, 3.0, 0.03))))
    state = small.at(start.qpos, start.qvel.at[w.object_v[0]].set(speed), layout.parameters(friction))
    step = jax.jit(small.step)
    for _ in range(20):
        state = step(state, jnp.zeros(6))
    assert float(state.qpos[6]) == pytest.approx(speed**2 / (2 * friction * 9.81), rel=0.08)


def test_a_layout_of_another_world_is_refused(small):
    other = world(WorldSpec(cubes=3, balls=3, tables=1, bins=1, rooms=1))
    with pytest.raises(PalaestraError, match=r"layout: got 6 objects, expected 2, .* Fix: the sizes that hold 6: large"):
        small.init(jax.tree.map(lambda x: x[0], bench_layout(other, 1, 0)))


def test_positions_of_another_model_are_refused(small):
    with pytest.raises(EngineError, match=r"qpos: got shape \(3,\), expected \(20,\)"):
        small.at(jnp.zeros(3), jnp.zeros(18))
    with pytest.raises(EngineError, match=r"parameters: got shape \(0,\), expected \("):
        small.at(jnp.zeros(20), jnp.zeros(18))


def test_any_model_is_a_world_and_returns_the_fields_that_it_asks_for():
    """A pendulum: energy as a conserved quantity, and an output that equals mjData's."""
    model = mujoco.MjModel.from_xml_string(PENDULUM)
    engine = NativeEngine(ModelWorld(model, substeps=4, outputs=("xpos",)))
    state = jax.vmap(engine.at)(jnp.asarray([[0.5], [1.0]]), jnp.zeros((2, 1)))
    data = mujoco.MjData(model)
    data.qpos[:] = 1.0
    step = jax.jit(jax.vmap(engine.step))
    for _ in range(10):
        state = step(state, jnp.zeros((2, 0)))
        for _ in range(4):
            mujoco.mj_step(model, data)
    np.testing.assert_array_equal(np.asarray(state.qpos[1]), data.qpos.astype(np.float32))
    np.testing.assert_array_equal(np.asarray(state.outputs["xpos"][1]), data.xpos.astype(np.float32))
    angle, speed = np.asarray(state.qpos)[:, 0], np.asarray(state.qvel)[:, 0]
    energy = 0.5 * (0.25 + 0.4 * 0.05**2) * speed**2 - 9.81 * 0.5 * np.cos(angle)
    np.testing.assert_allclose(energy, -9.81 * 0.5 * np.cos([0.5, 1.0]), rtol=1e-3)
