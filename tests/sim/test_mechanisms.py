"""Hinged doors and buttons: their place is data, their servos are stronger than a robot, and all engines agree on them."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import BUTTON_TRAVEL, LEAF_LENGTH, LEAF_OPEN, WorldSpec, build_spec, world
from tests.sim.scenes import open_floor

SPEC = WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=2, leaves=1, buttons=1)


def layout(w, robot=(0, 0, 0, 0, 0, 0), hinge=(0.6, -LEAF_LENGTH / 2), yaw=np.pi / 2, mirrored=False, button=(5.0, 5.0)):
    """A leaf before the robot, across its way, and a button."""
    c, s = np.cos(yaw / 2), np.sin(yaw / 2)
    return open_floor(w, pos=((9.0, 0.0, 0.03), (9.0, 0.6, 0.03)), robot=robot).replace(
        leaf_pos=jnp.asarray([hinge], jnp.float32),
        leaf_quat=jnp.asarray([[0, c, s, 0] if mirrored else [c, 0, 0, s]], jnp.float32),
        leaf_angle=jnp.zeros(1),
        button_pos=jnp.asarray([button], jnp.float32),
    )


@pytest.fixture(scope="module")
def engine():
    return NativeEngine(world(SPEC))


@pytest.fixture(scope="module")
def run(engine):
    """The state after so many control steps under one control."""

    @jax.jit
    def run(state, ctrl):
        return jax.lax.scan(lambda s, _: (engine.step(s, ctrl), None), state, length=60)[0]

    return run


def control(w, leaf=0.0, button=0.0, **base):
    names = ("x", "y", "yaw", "lift", "left", "right")
    return jnp.asarray([*(base.get(n, 0.0) for n in names), leaf, button], jnp.float32)


def test_places_as_data_equal_places_compiled_in(engine):
    """Against a model compiled with leaf and button there, loop by loop, while the robot drives into the opening leaf."""
    w = engine.world
    there = layout(w, mirrored=True, button=(0.4, 0.0))
    spec = build_spec(SPEC)
    for body in spec.bodies:
        if body.name == "leaf0":
            body.pos, body.quat = [0.6, -LEAF_LENGTH / 2, body.pos[2]], np.asarray(there.leaf_quat[0], float)
        if body.name == "button0":
            body.pos = [0.4, 0.0, 0.0]
    model = spec.compile()
    data, state = mujoco.MjData(model), engine.init(there)
    mujoco.mj_setState(model, data, np.asarray(state.bits).view(np.float64), row_spec())
    data.mocap_pos[w.fixture_mocap] = np.asarray(there.fixture_pos)
    step = jax.jit(engine.step)
    ctrl = control(w, leaf=LEAF_OPEN, x=0.5, lift=-0.1)
    for _ in range(30):
        state = step(state, ctrl)
        data.ctrl[:] = ctrl
        for _ in range(SPEC.substeps):
            mujoco.mj_step(model, data)
    np.testing.assert_allclose(np.asarray(state.qpos), data.qpos, atol=1e-5)
    assert data.ncon > 0, "nothing touched: the test tests little"
    theirs, ours = model, engine.simulations(1).batch.get_model(0)
    for name in ("body_invweight0", "dof_invweight0", "dof_M0", "body_subtreemass"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-9, err_msg=name)


def test_a_shut_door_stops_a_robot_and_an_open_one_does_not(engine, run):
    w = engine.world
    start = engine.init(layout(w))
    pushed = run(start, control(w, x=0.8))
    angle, _ = w.mechanism_q(pushed.qpos)
    assert float(pushed.qpos[0]) < 0.6
    assert abs(float(angle[0])) < 0.1
    opened = run(start, control(w, leaf=LEAF_OPEN))
    through = run(opened, control(w, leaf=LEAF_OPEN, x=0.8))
    assert float(through.qpos[0]) > 1.5
    np.testing.assert_allclose(w.mechanism_q(opened.qpos)[0], LEAF_OPEN, atol=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_leaf_turns_about_its_hinge_to_the_side_that_its_frame_says(engine, run, mirrored):
    """Shut, it points along its x axis; open, along its y axis: +-90 degrees seen from above."""
    w = engine.world
    there = layout(w, mirrored=mirrored)
    state = run(engine.init(there), control(w, leaf=LEAF_OPEN))
    data, model = mujoco.MjData(w.model), engine.simulations(1).batch.get_model(0)
    data.qpos[:] = np.asarray(state.qpos)
    mujoco.mj_kinematics(model, data)
    tip = data.body("leaf0").xpos + data.body("leaf0").xmat.reshape(3, 3) @ [LEAF_LENGTH, 0, 0]
    side = 1.0 if mirrored else -1.0
    np.testing.assert_allclose(tip[:2], [0.6 + side * LEAF_LENGTH, -LEAF_LENGTH / 2], atol=0.01)


def test_a_button_is_pressed_from_above_and_springs_back_unless_it_is_held_down(engine, run):
    w = engine.world
    start = engine.init(layout(w, button=(0.4, 0.0), hinge=(9.0, 9.0)))
    np.testing.assert_allclose(w.mechanism_q(run(start, control(w)).qpos)[1], 0.0, atol=1e-3)
    fingers = {"left": 0.053, "right": 0.053}
    down = run(run(start, control(w, lift=0.1, **fingers)), control(w, lift=-0.15, **fingers))
    assert float(w.mechanism_q(down.qpos)[1][0]) < -0.01
    away = run(down, control(w, lift=0.1, **fingers))
    np.testing.assert_allclose(w.mechanism_q(away.qpos)[1], 0.0, atol=1e-3)
    kept = run(down, control(w, lift=0.1, button=-BUTTON_TRAVEL, **fingers))
    np.testing.assert_allclose(w.mechanism_q(kept.qpos)[1], -BUTTON_TRAVEL, atol=1e-3)


@pytest.mark.slow
def test_mjx_opens_a_door_as_c_does(engine):
    """Over half a second, contact-free: within a hundredth of a radian."""
    w = engine.world
    there, ctrl = layout(w), control(w, leaf=LEAF_OPEN, button=-BUTTON_TRAVEL, x=-0.2)
    other = MjxEngine(w)
    angles = []
    for e in (engine, other):
        state, step = e.init(there), jax.jit(lambda s, e=e: jax.vmap(e.step)(jax.tree.map(lambda x: x[None], s), ctrl[None]))
        for _ in range(10):
            state = jax.tree.map(lambda x: x[0], step(state))
        angles.append(np.concatenate(w.mechanism_q(state.qpos)))
    np.testing.assert_allclose(angles[1], angles[0], atol=0.01)
    assert angles[0][0] > 0.2
