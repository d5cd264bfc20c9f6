"""The truth table on scenes built by hand, and the senses against MuJoCo's own rays."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.envs import observation, predicates
from palaestra.envs.types import HOLDING, IN_ROOM, INSIDE, NEAR, ON, Scene, entity_used
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import world
from tests.envs.worlds import env, one, tasks
from tests.sim.scenes import SMALL, open_floor, with_table

W = world(SMALL)
ENGINE = NativeEngine(W)
ROBOT, CUBE, BALL, TABLE, BIN, ROOM = range(6)
CLOSED = 0.053


def house(layout):
    """One room of 4 m with the bin at (-1, 0)."""
    i = SMALL.walls + 1
    layout = layout.replace(fixture_pos=layout.fixture_pos.at[i].set(jnp.asarray([-1.0, 0.0, 0.0])))
    used = jnp.arange(SMALL.fixtures) >= SMALL.walls
    return Scene(
        layout=layout,
        room=jnp.asarray([[-2.0, -2.0, 2.0, 2.0]]),
        room_used=jnp.asarray([True]),
        room_name=jnp.zeros(1, jnp.int32),
        door=jnp.zeros((4, 2)),
        door_along_x=jnp.zeros(4, bool),
        door_width=jnp.ones(4),
        door_rooms=jnp.zeros((4, 2), jnp.int32),
        door_used=jnp.zeros(4, bool),
        fixture_used=used,
        receptacle_colour=jnp.zeros(2, jnp.int32),
        object_colour=jnp.zeros(2, jnp.int32),
    )


@jax.jit
def table_of(scene, ctrl):
    geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), ctrl)
    return predicates.truth_table(W, scene, geo, entity_used(SMALL, scene))


def truth(pos, robot=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0), grip=0.0, used=(True, True)):
    layout = with_table(W, open_floor(W, pos=pos, robot=robot)).replace(object_used=jnp.asarray(used))
    table = np.asarray(table_of(house(layout), jnp.asarray([0, 0, 0, robot[3], grip, grip], jnp.float32)))
    return {(p, int(a), int(b)) for p in range(5) for a, b in np.argwhere(table[p])}


FLOOR = (1.5, 1.5, 0.03)


@pytest.mark.parametrize(
    ("cube", "holds"),
    [
        ((1.0, 0.0, 0.19), (ON, CUBE, TABLE)),
        ((1.15, 0.14, 0.19), (ON, CUBE, TABLE)),
        ((1.0, 0.0, 0.25), None),  # 6 cm above the table
        ((1.2, 0.0, 0.19), None),  # beside it
        ((-1.0, 0.0, 0.04), (INSIDE, CUBE, BIN)),
        ((-1.1, 0.1, 0.05), (INSIDE, CUBE, BIN)),
        ((-1.0, 0.0, 0.15), None),  # above the rim
        ((-0.8, 0.0, 0.04), None),  # outside the bin
        (FLOOR, None),
    ],
)
def test_on_and_inside(cube, holds):
    got = {t for t in truth((cube, (1.5, -1.5, 0.03))) if t[0] in (ON, INSIDE)}
    assert got == ({holds} if holds else set())


@pytest.mark.parametrize(
    ("x", "near"),
    [(0.0, False), (0.08, False), (0.10, True), (0.5, True)],  # the table's side is at x = 0.84: 0.75 m from 0.09
)
def test_near_is_measured_to_the_surface(x, near):
    assert ((NEAR, ROBOT, TABLE) in truth((FLOOR, (1.5, -1.5, 0.03)), robot=(x, 0, 0, 0, 0, 0))) == near


def test_everything_is_in_the_room():
    got = {t for t in truth((FLOOR, (1.5, -1.5, 0.03))) if t[0] == IN_ROOM}
    assert got == {(IN_ROOM, e, ROOM) for e in (ROBOT, CUBE, BALL, TABLE, BIN)}


def test_what_is_not_used_is_nowhere_in_the_table():
    got = truth((FLOOR, (1.0, 0.0, 0.19)), used=(True, False))
    assert not [t for t in got if BALL in t[1:]]


@pytest.mark.parametrize(
    ("offset", "grip", "height", "holding"),
    [
        ((0, 0, 0), CLOSED, 0.1, True),
        ((0, 0, 0), 0.024, 0.1, False),  # the fingers do not press
        ((0.06, 0, 0), CLOSED, 0.1, False),  # not between them
        ((0, 0, 0.05), CLOSED, 0.1, False),  # above them
        ((0, 0, 0), CLOSED, -0.26, False),  # grasped, but on the floor
    ],
)
def test_holding_takes_pressing_fingers_and_a_lift(offset, grip, height, holding):
    cube = np.array([0.4, 0.0, 0.3 + height]) + offset
    got = truth((tuple(cube), (1.5, -1.5, 0.03)), robot=(0, 0, 0, height, 0.025, 0.025), grip=grip)
    assert ((HOLDING, ROBOT, CUBE) in got) == holding


def test_what_is_held_is_on_nothing_until_it_is_let_go():
    cube = (0.4, 0.0, 0.19)
    # Pressing; not pressing any more, but as close as the cube is wide; open.
    for finger, grip, on in ((0.025, CLOSED, False), (0.025, 0.025, False), (0.015, 0.015, True)):
        robot = (0.0, 0.0, 0.0, -0.11, finger, finger)
        layout = with_table(W, open_floor(W, pos=(cube, (1.5, 1.5, 0.03)), robot=robot), xy=(0.4, 0.0))
        table = np.asarray(table_of(house(layout), jnp.asarray([0, 0, 0, -0.11, grip, grip], jnp.float32)))
        assert table[ON, CUBE, TABLE] == on


def test_rays_are_those_of_mujoco():
    """Base rays in generated houses against mj_ray at the height of the walls, tables and floor objects alike."""
    e, spec = env(), env().world.spec
    for i in range(12):
        scene = one(tasks().scene, i)
        physics = e.engine.init(jax.tree.map(jnp.asarray, scene.layout))
        ctrl = jnp.zeros(6)
        geo = predicates.geometry(e.world, scene, physics, ctrl)
        ours = np.asarray(observation.rays(e.world, scene, geo)) * observation.RAY_LENGTH
        sims = e.engine.simulations(1)
        sims.write(np.asarray(physics.parameters)[None])
        model, data = sims.batch.get_model(0), mujoco.MjData(e.world.model)
        data.qpos[:] = np.asarray(physics.qpos)
        data.mocap_pos[:] = sims.field["mocap_pos"][0]
        # Objects cast as the squares that the sense takes them for.
        for o in range(spec.objects):
            data.qpos[e.world.object_q[o] + 3 : e.world.object_q[o] + 7] = [1, 0, 0, 0]
        mujoco.mj_forward(model, data)
        balls = {int(g) for g in e.world.object_geom[spec.cubes :]}
        for k in range(observation.NUM_RAYS):
            angle = float(geo.yaw) + 2 * np.pi * k / observation.NUM_RAYS
            hit = np.zeros(1, np.int32)
            start, direction = np.array([*np.asarray(geo.robot), 0.03]), np.array([np.cos(angle), np.sin(angle), 0.0])
            theirs = mujoco.mj_ray(model, data, start, direction, None, 1, model.body("base").id, hit)
            if hit[0] in balls or (hit[0] >= 0 and model.geom(hit[0]).bodyid[0] <= model.body("right").id and hit[0] != 0):
                continue  # a ball is rounder than its square; the robot's own parts are not sensed
            theirs = observation.RAY_LENGTH if theirs < 0 else min(theirs, observation.RAY_LENGTH)
            assert ours[k] == pytest.approx(theirs, abs=2e-3), (i, k, hit)
