"""Crates: the base pushes them, the hand cannot lift them, they slide as their friction says, and all engines agree on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.sim.mjx import MjxEngine
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import CRATE_DENSITY, CRATE_FRICTION, CRATE_HALF, DENSITY, PLATE_HEIGHT, WorldSpec, build_spec, world
from tests.sim.scenes import open_floor, with_table

SPEC = WorldSpec(cubes=1, balls=0, tables=1, plates=1, bins=1, rooms=1, crates=1)
W = world(SPEC)
CRATE = 1  # its number among the objects
LIFT_FORCE, BASE_FORCE = 40.0, 50.0  # N, of the motors


def layout(half=CRATE_HALF[1], at=(0.45, 0.0), yaw=0.0, robot=(0, 0, np.pi, 0.1, 0, 0), cube=(9.0, 0.0, 0.03)):
    """A crate behind the robot, which looks away from it."""
    there = open_floor(W, half=(0.03, half), pos=(cube, (*at, half)), yaw=(0.0, yaw), robot=robot)
    return there.replace(object_density=jnp.asarray([DENSITY, CRATE_DENSITY]), object_friction=jnp.asarray([1.0, CRATE_FRICTION]))


@pytest.fixture(scope="module")
def engine():
    return NativeEngine(W)


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


def pose(state):
    position, quat = W.object_pose(state.qpos)
    return np.asarray(position[CRATE]), np.asarray(quat[CRATE])


def test_worlds_without_crates_are_as_they_were():
    model = world(WorldSpec(cubes=1, balls=1, tables=1, plates=1, bins=1, rooms=1)).model
    assert (model.nq, model.nu) == (20, 6)
    for name in ("cube0", "ball0"):
        assert (model.geom(name).contype[0], model.geom(name).conaffinity[0], model.geom(name).priority[0]) == (1, 3, 0)
    assert (model.geom("table0").contype[0], model.geom("table0").conaffinity[0]) == (2, 1)


def test_no_crate_can_be_lifted_or_grasped_and_every_one_can_be_pushed():
    """By hand: weight against the lift's motor, width against the opening, sliding friction against the base's motors."""
    for half in CRATE_HALF:
        weight = CRATE_DENSITY * 8 * half**3 * 9.81
        assert weight > 1.2 * LIFT_FORCE
        assert half > W.body.half_gap + 0.03
        assert CRATE_FRICTION * weight < 0.6 * BASE_FORCE
        assert 0.8 * CRATE_FRICTION < 0.5, "at its upper edge, a push that moves a cube tips it over from a friction of one half on"
        assert 2 * half < W.body.grip_height - 0.027, "the arm does not pass over it"


@pytest.mark.parametrize("half", CRATE_HALF)
@pytest.mark.parametrize("yaw", [0.0, 0.6])
def test_the_base_pushes_it_and_it_comes_to_rest_upright(engine, run, half, yaw):
    pushed = run(engine.init(layout(half, yaw=yaw)), 40, x=0.8, lift=0.1)
    assert pose(pushed)[0][0] > 1.3
    assert float(pushed.qpos[0]) > 0.9
    rest = run(pushed, 20, lift=0.1)
    position, quat = pose(rest)
    assert float(W.object_speed(rest.qvel)[CRATE]) < 1e-4
    np.testing.assert_allclose(position[2], half, atol=1e-3)
    np.testing.assert_allclose(quat[1:3], 0.0, atol=1e-3)
    np.testing.assert_allclose(pose(run(rest, 40, lift=0.1))[0], position, atol=1e-4)


def test_it_slides_by_its_own_friction_whatever_the_floor_has(engine, run):
    """v² / (2 μ g): the floor's friction is 1, and does not count."""
    start, speed = engine.init(layout(at=(2.0, 0.0))), 0.6
    moving = engine.at(start.qpos, start.qvel.at[W.object_v[CRATE] + 1].set(speed), start.parameters)
    assert pose(run(moving, 20))[0][1] == pytest.approx(speed**2 / (2 * CRATE_FRICTION * 9.81), rel=0.08)


def test_the_hand_does_not_lift_it(engine, run):
    """From above, closed on its edge, and up again."""
    half, reach = CRATE_HALF[0], W.body.reach
    over = engine.init(layout(half, at=(reach + 0.08, 0.0), robot=(0, 0, 0, 0.1, 0, 0)))
    down = run(over, 30, lift=-0.2)
    closed = run(down, 20, lift=-0.2, left=0.053, right=0.053)
    raised = run(closed, 40, lift=0.2, left=0.053, right=0.053)
    assert float(raised.qpos[3]) > 0.15
    highest = max(pose(state)[0][2] for state in (down, closed, raised))
    assert highest < half + 0.01


def test_it_is_pushed_onto_a_plate_that_holds_a_cube(engine, run):
    """Flush for crates and wheels, a plate is a thing to lie on for what is light."""
    there = with_table(W, layout(cube=(1.1, 0.1, PLATE_HEIGHT + 0.03)), (1.1, 0.0), (0.16, 0.16, PLATE_HEIGHT / 2))
    lain = run(engine.init(there), 10, lift=0.1)
    position, _ = W.object_pose(lain.qpos)
    np.testing.assert_allclose(position[0, 2], PLATE_HEIGHT + 0.03, atol=1e-3)
    away = with_table(W, layout(), (1.1, 0.0), (0.16, 0.16, PLATE_HEIGHT / 2))
    pushed = run(run(engine.init(away), 28, x=0.8, lift=0.1), 20, lift=0.1)
    (x, _, z), _ = pose(pushed)
    assert abs(x - 1.1) < 0.16
    np.testing.assert_allclose(z, CRATE_HALF[1], atol=1e-3)
    across = run(pushed, 50, x=0.8, lift=0.1)
    assert float(across.qpos[0]) > 1.3, "the base drives across a plate"


def test_bounding_volumes_are_those_of_the_compiler():
    half = (0.0265, 0.115)
    spec = build_spec(SPEC)
    for name, size in zip(("cube0", "crate0"), half, strict=True):
        next(g for g in spec.geoms if g.name == name).size = [size] * 3
    model = spec.compile()
    fields = W.fields(np.asarray(open_floor(W, half=half).parameters(), np.float64))
    for name in ("geom_aabb", "geom_rbound", "geom_size", "geom_contype", "geom_conaffinity"):
        np.testing.assert_allclose(fields[name][W.object_geom], getattr(model, name)[W.object_geom], rtol=1e-6, err_msg=name)


def test_what_is_not_there_touches_nothing(engine, run):
    gone = layout().replace(object_used=jnp.asarray([False, False]))
    assert float(run(engine.init(gone), 40, x=0.8, lift=0.1).qpos[0]) > 1.4


@pytest.mark.slow
def test_mjx_pushes_a_crate_as_c_does(engine):
    ends = []
    for e in (engine, MjxEngine(W)):
        state, step = jax.tree.map(lambda x: x[None], e.init(layout())), jax.jit(jax.vmap(e.step))
        for _ in range(20):
            state = step(state, jnp.asarray([[0.8, 0, 0, 0.1, 0, 0]]))
        assert not bool(np.asarray(state.overflow | state.diverged).any())
        ends.append(pose(jax.tree.map(lambda x: x[0], state))[0])
    assert ends[0][0] > 0.6
    np.testing.assert_allclose(ends[1], ends[0], atol=8e-3)
