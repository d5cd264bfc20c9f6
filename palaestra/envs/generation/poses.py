"""Where the robot is when an episode begins at work: beside a thing, or with an object in the hand."""

import jax
import jax.numpy as jnp

from palaestra.envs import house
from palaestra.envs.generation import generator
from palaestra.envs.predicates import NEAR_DISTANCE
from palaestra.envs.types import Scene
from palaestra.sim.world import World

_CANDIDATES = 24


def beside(key: jax.Array, world: World, scene: Scene, centre: jax.Array, half: jax.Array, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A place near a box (`centre`, `half` [2] m) and in its room where the robot may begin: [2] m, and whether there is one.

    Key is consumed. `held`: the object in the hand, which is in no one's way; -1 for none.
    """
    pos, size = generator.standing(world.spec, scene)
    others = jnp.where((jnp.arange(world.spec.objects) == held)[:, None], 1e3, scene.layout.object_pos[:, :2])
    reach = half + NEAR_DISTANCE
    at = centre + jax.random.uniform(key, (_CANDIDATES, 2), minval=-1.0, maxval=1.0) * reach
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(at - centre) - half, 0.0), axis=-1)
    fits = (gap < NEAR_DISTANCE - 0.01) & (house.room_of(scene, at) == house.room_of(scene, centre))
    fits &= jax.vmap(lambda xy: generator.robot_fits(xy, scene, pos, size, others))(at)
    best = jnp.argmax(fits)
    return at[best], fits[best]


def held_finger(world: World, scene: Scene, held: jax.Array) -> jax.Array:
    """Finger position m at which object `held` is just squeezed."""
    return world.body.half_gap - scene.layout.object_half[held]


def in_hand(key: jax.Array, world: World, scene: Scene, q: jax.Array, held: jax.Array) -> Scene:
    """The scene with object `held` between the fingers, as a grasp may leave it; -1 leaves the scene alone; key is consumed."""
    k_slip, k_turn = jax.random.split(key)
    lay = scene.layout
    slip = jax.random.uniform(k_slip, (2,), minval=-1.0, maxval=1.0) * jnp.array([0.018, 0.012])
    grip = world.body.grip_position(q)
    at = grip + jnp.stack([slip[0] * jnp.cos(q[2]), slip[0] * jnp.sin(q[2]), slip[1]])
    yaw = q[2] + 0.5 * jnp.pi * jax.random.randint(k_turn, (), 0, 4).astype(jnp.float32)
    mine = jnp.arange(world.spec.objects) == held
    lay = lay.replace(object_pos=jnp.where(mine[:, None], at, lay.object_pos), object_yaw=jnp.where(mine, yaw, lay.object_yaw))
    return scene.replace(layout=lay)
