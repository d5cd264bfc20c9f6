"""Hinged doors and buttons: their place is data, their servos are stronger than a robot, swing doors are not, and all engines agree on
them."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import BUTTON_TRAVEL, LEAF_LENGTH, LEAF_OPEN, SWING_FRICTION, SWING_MOST, WorldSpec, build_spec, world
from tests.sim.scenes import open_floor

SPEC = WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=2, leaves=1, buttons=1)
SWING = replace(SPEC, swings=1)  # the leaf has no servo


def layout(w, robot=(0, 0, 0, 0, 0, 0), hinge=(0.6, -LEAF_LENGTH / 2), yaw=np.pi / 2, mirrored=False, button=(5.0, 5.0), angle=0.0):
    """A leaf before the robot, across its way, and a button."""
    c, s = np.cos(yaw / 2), np.sin(yaw / 2)
    return open_floor(w, pos=((9.0, 0.0, 0.03), (9.0, 0.6, 0.03)), robot=robot).replace(
        leaf_pos=jnp.asarray([hinge], jnp.float32),
        leaf_quat=jnp.asarray([[0, c, s, 0] if mirrored else [c, 0, 0, s]], jnp.float32),
        leaf_angle=jnp.full(1, angle),
        button_pos=jnp.asarray([button], jnp.float32),
    )


@pytest.fixture(scope="module")
def engine():
    return NativeEngine(world(SPEC))


@pytest.fixture(scope="module")
def swinging():
    return NativeEngine(world(SWING))


def runner(engine):
    """The state after 60 control steps under one control."""

    @jax.jit
    def run(state, ctrl):
        return jax.lax.scan(lambda s, _: (engine.step(s, ctrl), None), state, length=60)[0]

    return run


@pytest.fixture(scope="module")
def run(engine):
    return runner(engine)


@pytest.fixture(scope="module")
def swing(swinging):
    return runner(swinging)


def control(w, leaf=0.0, button=0.0, **base):
    names = ("x", "y", "yaw", "lift", "left", "right")
    return jnp.asarray([*(base.get(n, 0.0) for n in names), *[leaf] * w.spec.locks, button], jnp.float32)


@pytest.mark.parametrize("spec", [SPEC, SWING])
def test_places_as_data_equal_places_compiled_in(spec):
    """Against a model compiled with leaf and button there, loop by loop, while the robot drives into the leaf."""
    engine = NativeEngine(world(spec))
    w, asked = engine.world, spec
    there = layout(w, mirrored=True, button=(0.4, 0.0))
    spec = build_spec(asked)
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
        for _ in range(asked.substeps):
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


def test_worlds_without_swing_doors_are_as_they_were():
    with_, without = (build_spec(spec).compile() for spec in (SWING, SPEC))
    assert (with_.nq, with_.nu) == (without.nq, without.nu - 1)
    assert [with_.actuator(i).name for i in range(with_.nu)] == ["x", "y", "yaw", "lift", "left", "right", "button0"]
    leaf = without.joint("leaf0")
    assert (leaf.frictionloss[0], leaf.damping[0], *leaf.range.round(2)) == (0, 2, -0.05, 1.62)


@pytest.mark.parametrize("angle", [-1.2, -0.4, 0.0, 0.7, 1.6])
def test_a_swing_door_stays_where_it_was_left(swinging, swing, angle):
    w = swinging.world
    state = swing(swinging.init(layout(w, robot=(-2, 0, 0, 0, 0, 0), angle=angle)), control(w, x=-0.3))
    np.testing.assert_allclose(w.mechanism_q(state.qpos)[0], angle, atol=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [1, -1])
def test_a_swing_door_is_pushed_open_from_both_sides_and_stays_open(swinging, swing, side, mirrored):
    """The robot drives against the free end of the shut leaf and aslant to the hinge, its arm above it, and back."""
    w = swinging.world
    there = layout(w, robot=(0.6 - 0.6 * side, 0.35, 0 if side > 0 else np.pi, 0.19, 0, 0), mirrored=mirrored)
    pushed = swing(swinging.init(there), control(w, x=0.5 * side, y=-0.25, lift=0.19))
    away = side * (1 if mirrored else -1)  # by angles above 0 it turns to the west, and mirrored to the east
    assert away * float(w.mechanism_q(pushed.qpos)[0][0]) > 1.3
    left = swing(pushed, control(w, x=-0.5 * side, y=0.25, lift=0.19))
    assert away * float(w.mechanism_q(left.qpos)[0][0]) > 1.3
    assert side * (float(left.qpos[0]) - 0.6) < -0.5  # in its own room
    assert abs(float(w.mechanism_q(left.qvel)[0][0])) < 1e-3


def test_it_takes_a_little_more_than_its_friction_to_turn_a_swing_door_and_it_turns_no_further_than_it_may():
    model = build_spec(SWING).compile()
    for force, low, high in ((0.9 * SWING_FRICTION, -0.01, 0.01), (3 * SWING_FRICTION, SWING_MOST - 0.02, SWING_MOST + 0.05)):
        data = mujoco.MjData(model)
        data.qfrc_applied[model.joint("leaf0").dofadr[0]] = force
        for _ in range(500):
            mujoco.mj_step(model, data)
        assert low < data.joint("leaf0").qpos[0] < high


@pytest.mark.slow
@pytest.mark.parametrize("spec", [SPEC, SWING])
def test_mjx_opens_a_door_as_c_does(spec):
    """Over half a second: a servo without contact, within a hundredth of a radian; the robot pushing, within five."""
    w, pushes = world(spec), bool(spec.swings)
    there = layout(w, robot=(0.4, 0.25, 0, 0.19, 0, 0) if pushes else (0, 0, 0, 0, 0, 0))
    ctrl = control(w, leaf=LEAF_OPEN, button=-BUTTON_TRAVEL, x=0.8 if pushes else -0.2, lift=0.19 if pushes else 0.0)
    angles = []
    for e in (NativeEngine(w), MjxEngine(w)):
        state, step = e.init(there), jax.jit(lambda s, e=e: jax.vmap(e.step)(jax.tree.map(lambda x: x[None], s), ctrl[None]))
        for _ in range(10):
            state = jax.tree.map(lambda x: x[0], step(state))
        angles.append(np.concatenate(w.mechanism_q(state.qpos)))
    np.testing.assert_allclose(angles[1], angles[0], atol=0.05 if pushes else 0.01)
    assert abs(angles[0][0]) > 0.2
