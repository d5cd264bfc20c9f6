"""Drawers: they slide by hand alone, stay where they are left, end where they must, and all engines agree on them."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.sim.drawers import DRAWER_FLOOR, DRAWER_HALF, DRAWER_HEIGHT, DRAWER_TRAVEL, HANDLE_OUT, SLIDE_FRICTION, TRAY_MIDDLE
from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import WorldSpec, build_spec, world
from tests.sim.scenes import open_floor

SPEC = WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1, drawers=1)
AT = (0.8, 0.0)
HANDLE = AT[0] - TRAY_MIDDLE - HANDLE_OUT  # m, where the handle of a shut drawer is that looks at the robot
REACH = world(SPEC).body.reach
GRASP = -0.232  # m, of the lift: the handle is between the fingers


def layout(w, robot=(0, 0, 0, 0, 0, 0), yaw=np.pi, out=0.0, cube=(9.0, 0.0, 0.03)):
    """A drawer that looks back at a robot in the origin."""
    there = open_floor(w, pos=(cube, (9.0, 0.6, 0.03)), robot=robot)
    half = np.array([*DRAWER_HALF, DRAWER_HEIGHT / 2])
    return there.replace(
        fixture_pos=there.fixture_pos.at[-1].set(jnp.asarray([*AT, half[2]])),
        fixture_half=there.fixture_half.at[-1].set(jnp.asarray(half)),
        drawer_quat=jnp.asarray([[np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]], jnp.float32),
        drawer_out=jnp.asarray([out], jnp.float32),
    )


@pytest.fixture(scope="module")
def engine():
    return NativeEngine(world(SPEC))


@pytest.fixture(scope="module")
def run(engine):
    """The state after so many control steps under one control."""
    step = jax.jit(engine.step)

    def run(state, steps, **control):
        ctrl = jnp.asarray([control.get(n, 0.0) for n in ("x", "y", "yaw", "lift", "left", "right")], jnp.float32)
        for _ in range(steps):
            state = step(state, ctrl)
        return state

    return run


def out(engine, state):
    return float(engine.world.drawer_q(state.qpos)[0])


def test_worlds_without_drawers_are_as_they_were():
    w = world(WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1))
    assert (w.model.nq, w.model.nu, w.num_parameters) == (20, 6, w.spec.fixtures * 6 + 2 * 4 + 1)
    assert w.drawer_q(np.zeros(20)).shape == (0,)


def test_it_takes_more_than_friction_to_slide_a_tray():
    """By hand: below the joint's friction it stays, above it moves with (force - friction) / mass at first."""
    model = build_spec(SPEC).compile()
    data, dof = mujoco.MjData(model), model.joint("drawer0").dofadr[0]
    moved = []
    for force in (0.9 * SLIDE_FRICTION, 1.5 * SLIDE_FRICTION):
        mujoco.mj_resetData(model, data)
        data.qfrc_applied[dof] = force
        for _ in range(20):
            mujoco.mj_step(model, data)
        moved.append(data.joint("drawer0").qpos[0])
    assert abs(moved[0]) < 1e-3
    mass = model.body("tray0").subtreemass[0]
    slides = 0.5 * (0.5 * SLIDE_FRICTION) / mass * 0.2**2
    assert 0.5 * slides < moved[1] < slides  # damping takes a part of it


def test_the_hand_pulls_it_open_and_pushes_it_shut_and_it_stays_there(engine, run):
    state = engine.init(layout(engine.world, robot=(HANDLE - REACH, 0, 0, -0.1, 0, 0)))
    held = run(run(state, 15, lift=GRASP), 15, lift=GRASP, left=0.053, right=0.053)
    assert abs(out(engine, held)) < 2e-3
    half = run(held, 8, lift=GRASP, left=0.053, right=0.053, x=-0.3)
    assert 0.05 < out(engine, half) < 0.18
    left = run(run(run(half, 10, lift=GRASP, left=0.053, right=0.053), 10, lift=GRASP), 20)
    still = run(left, 60)
    assert abs(out(engine, still) - out(engine, left)) < 1e-3, "left half open it stays half open"
    drawn = run(half, 40, lift=GRASP, left=0.053, right=0.053, x=-0.3)
    np.testing.assert_allclose(out(engine, drawn), DRAWER_TRAVEL, atol=3e-3)
    shut = run(drawn, 60, lift=GRASP, left=0.053, right=0.053, x=0.3)
    assert abs(out(engine, shut)) < 5e-3


def test_what_lies_in_it_goes_with_it_under_the_top(engine, run):
    inside = (AT[0] - TRAY_MIDDLE - DRAWER_TRAVEL, 0.0, DRAWER_FLOOR + 0.03)
    open_ = engine.init(layout(engine.world, robot=(HANDLE - DRAWER_TRAVEL - REACH, 0, 0, -0.1, 0, 0), out=DRAWER_TRAVEL, cube=inside))
    held = run(run(open_, 15, lift=GRASP), 15, lift=GRASP, left=0.053, right=0.053)
    shut = run(held, 40, lift=GRASP, left=0.053, right=0.053, x=0.3)
    position, _ = engine.world.object_pose(shut.qpos)
    assert abs(out(engine, shut)) < 5e-3
    assert np.abs(np.asarray(position[0, :2]) - [AT[0] - TRAY_MIDDLE, 0.0]).max() < 0.1
    assert float(position[0, 2]) < DRAWER_HEIGHT


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, np.pi, -np.pi / 2])
def test_places_as_data_equal_places_compiled_in(engine, yaw):
    """Against a model compiled with the cabinet there, while the hand comes down on it; the derived constants are the same."""
    w, there = engine.world, layout(engine.world, robot=(HANDLE - REACH + 0.02, 0.01, 0, 0, 0, 0), yaw=yaw, out=0.1)
    spec = build_spec(SPEC)
    for body in spec.bodies:
        if body.name == "drawer0":
            body.pos, body.quat = [*AT, 0.0], np.asarray(there.drawer_quat[0], float)
    model = spec.compile()
    data, state = mujoco.MjData(model), engine.init(there)
    mujoco.mj_setState(model, data, np.asarray(state.bits).view(np.float64), row_spec())
    data.mocap_pos[w.fixture_mocap] = np.asarray(there.fixture_pos)[: len(w.fixture_mocap)]
    step, ctrl = jax.jit(engine.step), jnp.asarray([0.2, 0, 0, -0.25, 0, 0])
    for _ in range(20):
        state = step(state, ctrl)
        data.ctrl[:] = ctrl
        for _ in range(SPEC.substeps):
            mujoco.mj_step(model, data)
    np.testing.assert_allclose(np.asarray(state.qpos), data.qpos, atol=1e-4)
    assert data.ncon > 0, "nothing touched: the test tests little"
    ours = engine.simulations(1).batch.get_model(0)
    for name in ("body_invweight0", "dof_invweight0", "dof_M0", "body_subtreemass"):
        np.testing.assert_allclose(getattr(ours, name), getattr(model, name), rtol=1e-4, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_mjx_pulls_a_drawer_as_c_does(engine):
    """A second with the hand on the handle: within some millimetres."""
    w = engine.world
    there = layout(w, robot=(HANDLE - REACH, 0, 0, GRASP, 0, 0))
    ends = []
    for e in (engine, MjxEngine(w)):
        state, step = jax.tree.map(lambda x: x[None], e.init(there)), jax.jit(jax.vmap(e.step))
        for k in range(20):
            state = step(state, jnp.asarray([[-0.3 if k > 8 else 0.0, 0, 0, GRASP, 0.053, 0.053]]))
        assert not bool(np.asarray(state.overflow | state.diverged).any())
        ends.append(float(w.drawer_q(state.qpos[0])[0]))
    assert ends[0] > 0.1
    np.testing.assert_allclose(ends[1], ends[0], atol=8e-3)
