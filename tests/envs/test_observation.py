"""What is sensed of objects, against rotations made by MuJoCo."""

import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import mujoco
import numpy as np

from palaestra.envs.observation import quarter_turn
from palaestra.sim.world import WorldSpec, world

SPEC = WorldSpec(cubes=1, balls=0, tables=1, bins=1, rooms=1)


def about(axis, angle):
    quat = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quat, np.asarray(axis, float), angle)
    return quat


def after(first, second):
    quat = np.zeros(4)
    mujoco.mju_mulQuat(quat, second, first)
    return quat


def test_a_cube_is_turned_alike_whichever_face_it_lies_on():
    qpos = np.zeros(world(SPEC).model.nq)
    for (axis, quarters), yaw, base in itertools.product(
        [((1, 0, 0), k) for k in range(4)] + [((0, 1, 0), k) for k in (1, 2, 3)], (-2.9, -0.3, 0.0, 0.7, 1.9), (0.0, 1.1)
    ):
        qpos[9:13] = after(about(axis, quarters * np.pi / 2), about((0, 0, 1), yaw))
        seen = quarter_turn(world(SPEC), SimpleNamespace(qpos=jnp.asarray(qpos, jnp.float32)), SimpleNamespace(yaw=jnp.float32(base)))
        np.testing.assert_allclose(seen, [[np.cos(4 * (yaw - base)), np.sin(4 * (yaw - base))]], atol=1e-4)
