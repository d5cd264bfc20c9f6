"""Hampers' lids: hung as data says, moved by a servo that stalls at a hand, in no one's way when they stand; engines agree on them."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine, row_spec
from palaestra.sim.world import BIN_FLOOR, LID_HALF, LID_HEIGHT, LID_OPEN, WorldSpec, build_spec, world
from tests.sim.scenes import open_floor

SPEC = WorldSpec(cubes=1, balls=1, tables=1, plates=1, bins=2, hampers=2, rooms=1, buttons=1, rules=2)
AT = (0.8, 0.0)  # m, of the first hamper's bin
OUTER = 0.15  # m, half of a bin
FAR = (9.0, 0.0, 0.03)


def layout(w, robot=(0, 0, 0, 0, 0, 0), yaw=np.pi, angle=(0.0, 0.0), cube=FAR, ball=(9.0, 0.6, 0.03)):
    """A hamper that opens towards a robot in the origin; the other one is parked."""
    spec, there = w.spec, open_floor(w, pos=(cube, ball), robot=robot)
    first = spec.walls + spec.tables + spec.bins - spec.hampers
    turn = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
    return there.replace(
        fixture_pos=there.fixture_pos.at[first].set(jnp.asarray([*AT, 0.0])),
        fixture_half=there.fixture_half.at[first : first + 2].set(OUTER),
        button_pos=jnp.asarray([(5.0, 5.0)], jnp.float32),
        lid_quat=jnp.asarray([turn, [1, 0, 0, 0]], jnp.float32),
        lid_angle=jnp.asarray(angle, jnp.float32),
    )


def control(lid=0.0, **base):
    names = ("x", "y", "yaw", "lift", "left", "right")
    return jnp.asarray([*(base.get(n, 0.0) for n in names), 0.0, lid, lid], jnp.float32)


@pytest.fixture(scope="module")
def engine():
    return NativeEngine(world(SPEC))


@pytest.fixture(scope="module")
def run(engine):
    """The state after three seconds under one control."""

    @jax.jit
    def run(state, ctrl):
        return jax.lax.scan(lambda s, _: (engine.step(s, ctrl), None), state, length=60)[0]

    return run


def data_of(engine, state, ctrl):
    """What MuJoCo makes of a state under a control: the contacts and forces in it."""
    model = engine.simulations(1).batch.get_model(0)
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, np.asarray(state.bits).view(np.float64), row_spec())
    data.ctrl[:] = ctrl
    mujoco.mj_forward(model, data)
    return data


def test_worlds_without_hampers_are_as_they_were():
    plain = world(WorldSpec(cubes=1, balls=1, tables=1, plates=1, bins=2, rooms=1, buttons=1, rules=2))
    with_ = world(SPEC)
    assert (with_.model.nq, with_.model.nu) == (plain.model.nq + 2, plain.model.nu + 2)
    assert with_.num_parameters == plain.num_parameters + 2 * 4
    assert plain.lid_q(np.zeros(plain.model.nq)).shape == (0,)


def test_places_as_data_equal_places_compiled_in(engine):
    """Against a model compiled with the lid there, loop by loop, while it comes up under a cube that lies on it."""
    w = engine.world
    there = layout(w, yaw=np.pi / 2, cube=(AT[0], 0.05, LID_HEIGHT + 2 * LID_HALF[2] + 0.0301))
    spec = build_spec(SPEC)
    for body in spec.bodies:
        if body.name == "lid0":
            body.pos, body.quat = [AT[0], AT[1] - OUTER - 0.02, LID_HEIGHT], np.asarray(there.lid_quat[0], float)
    model = spec.compile()
    data, state = mujoco.MjData(model), engine.init(there)
    mujoco.mj_setState(model, data, np.asarray(state.bits).view(np.float64), row_spec())
    data.mocap_pos[w.fixture_mocap] = np.asarray(there.fixture_pos)
    model.geom_size[w.object_geom] = 0.03
    step, ctrl = jax.jit(engine.step), control(lid=LID_OPEN)
    for _ in range(30):
        state = step(state, ctrl)
        data.ctrl[:] = ctrl
        for _ in range(SPEC.substeps):
            mujoco.mj_step(model, data)
    np.testing.assert_allclose(np.asarray(state.qpos)[[-2, -1]], data.qpos[-2:], atol=1e-4)
    assert float(w.lid_q(state.qpos)[0]) > 1.0
    assert float(w.object_pose(state.qpos)[0][0, 1]) < -0.1, "the cube slid off behind"


def test_a_lid_stands_behind_its_bin_and_shuts_over_it(engine, run):
    w = engine.world
    start = engine.init(layout(w))
    opened = run(start, control(lid=LID_OPEN))
    np.testing.assert_allclose(w.lid_q(opened.qpos), LID_OPEN, atol=0.01)
    data = data_of(engine, opened, control(lid=LID_OPEN))
    lid = data.geom("lid0")
    corners = lid.xpos + (lid.xmat.reshape(3, 3) @ np.diag(LID_HALF) @ np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1)).T
    assert corners[:, 0].min() > AT[0] + OUTER, "not over the bin"
    assert corners[:, 0].max() < AT[0] + OUTER + 0.10
    assert corners[:, 2].max() > LID_HEIGHT + 0.3
    np.testing.assert_allclose(w.lid_q(run(opened, control()).qpos), 0.0, atol=0.01)
    assert not any("lid" in str(data.geom(i).name) for pair in data.contact.geom for i in pair), "lids never meet bins"


def test_a_shut_lid_keeps_things_out_and_does_not_press_what_is_inside(engine, run):
    w = engine.world
    state = engine.init(layout(w, cube=(AT[0], 0.05, BIN_FLOOR + 0.0301), ball=(AT[0], -0.05, 0.25)))
    after = run(state, control())
    position, _ = w.object_pose(after.qpos)
    assert float(position[1, 2]) > LID_HEIGHT or abs(float(position[1, 0]) - AT[0]) > OUTER, "the ball never came in"
    np.testing.assert_allclose(position[0], [AT[0], 0.05, BIN_FLOOR + 0.03], atol=1e-3)
    assert abs(float(w.lid_q(after.qpos)[0])) < 0.02


def test_a_closing_lid_stops_at_a_hand_and_does_not_move_it(engine, run):
    """The hand in the bin, from the front: the torque of 0.8 N m at 0.14 m from the hinge or more is 6 N at most."""
    w = engine.world
    hand = (AT[0] - w.body.reach, 0, 0, -0.18, 0, 0)
    start = engine.init(layout(w, robot=hand, angle=(LID_OPEN, 0.0)))
    caught = run(start, control(lift=-0.18))
    angle = float(w.lid_q(caught.qpos)[0])
    assert 0.05 < angle < 0.5
    np.testing.assert_allclose(caught.qpos[:6], hand, atol=0.02)
    data = data_of(engine, caught, control(lift=-0.18))
    force, total = np.zeros(6), 0.0
    for i, pair in enumerate(data.contact.geom):
        if any(data.geom(g).name == "lid0" for g in pair):
            mujoco.mj_contactForce(engine.simulations(1).batch.get_model(0), data, i, force)
            total += force[0]
    assert 1.0 < total < 6.0
    freed = run(run(caught, control(lid=LID_OPEN, lift=0.1)), control(lift=0.1))
    np.testing.assert_allclose(w.lid_q(freed.qpos)[1], 0.0, atol=0.01)


@pytest.mark.slow
def test_mjx_opens_a_lid_as_c_does(engine):
    """Over half a second, contact-free: within a hundredth of a radian."""
    w, angles = engine.world, []
    there, ctrl = layout(w), control(lid=LID_OPEN)
    for e in (engine, MjxEngine(w)):
        state, step = e.init(there), jax.jit(lambda s, e=e: jax.vmap(e.step)(jax.tree.map(lambda x: x[None], s), ctrl[None]))
        for _ in range(10):
            state = jax.tree.map(lambda x: x[0], step(state))
        angles.append(np.asarray(w.lid_q(state.qpos)))
    np.testing.assert_allclose(angles[1], angles[0], atol=0.01)
    assert angles[0][0] > 0.5
