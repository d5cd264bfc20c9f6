"""Layouts made by hand, for tests of physics."""

import jax.numpy as jnp
import numpy as np

from palaestra.sim.world import DENSITY, Layout, World, WorldSpec, parked_fixture

# A ball of 1 kg on a massless rod of 0.5 m: I = m l² + 2/5 m r².
PENDULUM = """<mujoco><option timestep="0.002" integrator="RK4"/><worldbody><body pos="0 0 1">
<joint name="swing" type="hinge" axis="0 1 0"/><geom type="sphere" size="0.05" pos="0 0 -0.5" mass="1"/></body></worldbody></mujoco>"""
SMALL = WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1)


def open_floor(
    world: World,
    *,
    half=(0.03, 0.03),
    pos=((1.0, 0.0, 0.03), (1.0, 0.6, 0.03)),
    yaw=(0.0, 0.0),
    robot=(0, 0, 0, 0, 0, 0),
    density=DENSITY,
    friction=1.0,
) -> Layout:
    """Nothing but the robot and its objects; every fixture is parked."""
    spec = world.spec
    return Layout(
        fixture_pos=jnp.asarray(np.stack([parked_fixture(i) for i in range(spec.fixtures)])),
        fixture_half=jnp.full((spec.fixtures, 3), 0.1),
        object_half=jnp.asarray(half, jnp.float32),
        object_density=jnp.full(spec.objects, density),
        object_friction=jnp.full(spec.objects, friction),
        object_pos=jnp.asarray(pos, jnp.float32),
        object_yaw=jnp.asarray(yaw, jnp.float32),
        object_used=jnp.ones(spec.objects, bool),
        robot_q=jnp.asarray(robot, jnp.float32),
    )


def with_table(world: World, layout: Layout, xy=(1.0, 0.0), half=(0.16, 0.15, 0.08)) -> Layout:
    """The first table at xy, standing on the floor."""
    i = world.spec.walls
    return layout.replace(
        fixture_pos=layout.fixture_pos.at[i].set(jnp.asarray([*xy, half[2]], jnp.float32)),
        fixture_half=layout.fixture_half.at[i].set(jnp.asarray(half, jnp.float32)),
    )
