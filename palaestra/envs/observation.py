"""What is sensed: the robot itself, the distances around it, and things relative to it, all in the base or gripper frame."""

import functools

import jax
import jax.numpy as jnp

from palaestra.envs.predicates import Geometry
from palaestra.envs.types import Scene, fixture_tops, obstructs
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import World

NUM_RAYS = 24
RAY_LENGTH = 2.0  # m
NUM_HAND_RAYS = 12
HAND_RAY_LENGTH = 0.5  # m
SURROUNDINGS = NUM_RAYS + NUM_HAND_RAYS
PROPRIOCEPTION = 9


def to_base(yaw: jax.Array, offset: jax.Array) -> jax.Array:
    """World-frame offsets [..., 2 or 3] turned into the base frame."""
    cos, sin = jnp.cos(yaw), jnp.sin(yaw)
    turned = jnp.stack([cos * offset[..., 0] + sin * offset[..., 1], cos * offset[..., 1] - sin * offset[..., 0]], -1)
    return jnp.concatenate([turned, offset[..., 2:]], -1)


def proprioception(world: World, physics: PhysicsState, ctrl: jax.Array) -> jax.Array:
    """[9]: base velocity forward, left (m/s), turn (rad/s); lift and its error (m); fingers, their set point and squeeze."""
    q, v = physics.qpos[: world.body.num_joints], physics.qvel[: world.body.num_joints]
    velocity = to_base(q[2], v[:2])
    return jnp.stack(
        [
            velocity[0],
            velocity[1],
            0.4 * v[2],
            3 * q[3],
            10 * (ctrl[3] - q[3]),
            20 * q[4],
            20 * q[5],
            20 * ctrl[4],
            0.1 * world.body.squeeze(q, ctrl),
        ]
    )


@functools.partial(jax.jit, static_argnames="world")  # traced once for all programs
def surroundings(world: World, scene: Scene, geo: Geometry) -> jax.Array:
    """All rays [SURROUNDINGS]: around the base, then around the hand."""
    return jnp.concatenate([rays(world, scene, geo), hand_rays(world, scene, geo)])


def rays(world: World, scene: Scene, geo: Geometry) -> jax.Array:
    """Distances to the nearest wall, door, button, receptacle or floor object in 24 directions of the base frame [24], in ray lengths.

    Cast from the base's axis in the plane, analytically (slabs of axis-aligned boxes): the same on every engine.
    """
    low = (geo.position[1 : 1 + world.spec.objects, 2] < 0.12) | world.spec.are("crate")
    upright = scene.fixture_used & obstructs(world.spec, scene.layout)
    seen = jnp.concatenate([upright, scene.layout.object_used & low, geo.barriers.used])
    return _cast(world, scene, geo, geo.robot, NUM_RAYS, RAY_LENGTH, seen)


def rays_around(world: World, scene: Scene, geo: Geometry, entity: jax.Array, count: int, length: float) -> jax.Array:
    """As `rays`, from the middle of an object (its entity) over all that stands in its way, itself left out [count], in `length` m."""
    return _nearest(geo.yaw, geo.position[entity, :2], count, length, *obstacles(world, scene, geo, entity))


def obstacles(world: World, scene: Scene, geo: Geometry, entity: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What stands in the way of an object (its entity): centres and half sizes of boxes [n, 2] m, and which are there [n] bool."""
    centre, half = _boxes(world, scene, geo)
    others = scene.layout.object_used & world.spec.are("crate") & (jnp.arange(world.spec.objects) != entity - 1)
    return centre, half, jnp.concatenate([scene.fixture_used & obstructs(world.spec, scene.layout), others, geo.barriers.used])


def hand_rays(world: World, scene: Scene, geo: Geometry) -> jax.Array:
    """As `rays`, from the grip point, over what is as high as the hand and is not held [12], in hand ray lengths."""
    spec, lay = world.spec, scene.layout
    objects = geo.position[1 : 1 + spec.objects, 2] + lay.object_half
    high = jnp.concatenate([fixture_tops(spec, lay), objects, geo.barriers.top]) > geo.grip[2] - 0.05
    seen = jnp.concatenate([scene.fixture_used, lay.object_used & ~geo.grasped, geo.barriers.used]) & high
    return _cast(world, scene, geo, geo.grip[:2], NUM_HAND_RAYS, HAND_RAY_LENGTH, seen)


def _boxes(world: World, scene: Scene, geo: Geometry) -> tuple[jax.Array, jax.Array]:
    """Fixtures, objects and barriers as boxes: centres and half sizes [F + O + N, 2] m."""
    lay, objects = scene.layout, geo.position[1 : 1 + world.spec.objects, :2]
    centre = jnp.concatenate([lay.fixture_pos[:, :2], objects, geo.barriers.centre])
    return centre, jnp.concatenate([lay.fixture_half[:, :2], jnp.repeat(lay.object_half[:, None], 2, -1), geo.barriers.half])


def _cast(world: World, scene: Scene, geo: Geometry, origin: jax.Array, count: int, length: float, seen: jax.Array) -> jax.Array:
    """Rays from `origin` [2] to the fixtures, objects and barriers that are `seen` [F + O + N]: [count], in lengths."""
    return _nearest(geo.yaw, origin, count, length, *_boxes(world, scene, geo), seen)


def _nearest(
    yaw: jax.Array, origin: jax.Array, count: int, length: float, centre: jax.Array, half: jax.Array, seen: jax.Array
) -> jax.Array:
    """Along rays from `origin` [2], the first of them along `yaw`, the nearest of the boxes that are `seen` [count], in lengths."""
    angle = yaw + jnp.linspace(0.0, 2 * jnp.pi, count, endpoint=False)
    direction = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)  # [rays, 2]
    inverse = 1.0 / jnp.where(jnp.abs(direction) < 1e-6, 1e-6, direction)
    middle = (centre - origin)[None] * inverse[:, None]  # [rays, boxes, 2]
    extent = half[None] * jnp.abs(inverse)[:, None]
    enter, leave = (middle - extent).max(-1), (middle + extent).min(-1)
    hit = (enter <= leave) & (leave > 0) & seen
    return jnp.min(jnp.where(hit, jnp.maximum(enter, 0.0), length), axis=-1, initial=length) / length


def quarter_turn(world: World, physics: PhysicsState, geo: Geometry) -> jax.Array:
    """How every object is turned relative to the gripper, modulo a quarter turn: cos and sin of four times it [O, 2].

    Whichever face a cube lies on: of its three axes the level ones say it, and the fourth powers of their directions agree.
    """
    _, quat = world.object_pose(physics.qpos)
    w, x, y, z = quat[:, 0], quat[:, 1], quat[:, 2], quat[:, 3]
    east = jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1)  # [O, axes]
    north = jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1)
    square, twice = east * east - north * north, 2 * east * north
    angle = jnp.arctan2((2 * square * twice).sum(-1), (square * square - twice * twice).sum(-1)) - 4 * geo.yaw
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
