"""navigate(target): drive to a thing or into a room, around what stands in the way, keeping what is held."""

import jax
import jax.numpy as jnp

from palaestra.envs import house, observation
from palaestra.envs.generation import poses
from palaestra.envs.generation.doors import hang_doors
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.predicates import distances, table_at_start
from palaestra.envs.types import IN_ROOM, KINDS, button_entity, entity_used, leaf_entity, num_entities, room_entity
from palaestra.sim.world import LEAF_OPEN, World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.library.ways import past
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_ARRIVED = 0.66  # m, a little nearer than `near` asks
_INSIDE = 0.35  # m, how far into a room one has to be
_WIDE = 0.15  # m, half of what the base takes on its way
_SLOW = 0.3  # m/s
_RAISED = 0.0  # m of the lift: high enough to pass over tables


def _way(world: World, view: View) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Offset to the next way point [2] m (base frame), whether it is the target, length of the way, distance to the
    target's surface (of a room: to a point well inside) [] m, and whether the target is a room."""
    target = view.args[0]
    centre = view.geo.position[target, :2]
    is_room = target >= room_entity(world.spec, 0)
    room = jnp.where(is_room, target - room_entity(world.spec, 0), house.room_of(view.scene, centre))
    if world.spec.leaves:
        leaf = target - leaf_entity(world.spec, 0)
        joins = view.scene.door_rooms[view.scene.leaf_doorway[jnp.clip(leaf, 0, world.spec.leaves - 1)]]
        ways = [house.next_way_point(view.scene, view.geo.robot, centre, joins[k], view.geo.passable)[1] for k in range(2)]
        is_door = (leaf >= 0) & (leaf < world.spec.leaves)
        room = jnp.where(is_door, jnp.where(ways[0] <= ways[1], joins[0], joins[1]), room)  # from the nearer side
    point, length, final = house.next_way_point(view.scene, view.geo.robot, centre, room, view.geo.passable)
    if world.spec.leaves:
        by = house.around(view.geo.robot, point, view.geo.leaf, view.geo.ajar)
        straight = (by == point).all()
        more = jnp.linalg.norm(by - view.geo.robot) + jnp.linalg.norm(point - by) - jnp.linalg.norm(point - view.geo.robot)
        point, length, final = by, length + jnp.where(straight, 0.0, more), final & straight
    inner = jnp.maximum(view.geo.half[target] - _INSIDE, 0.05)
    into = jnp.linalg.norm(jnp.maximum(jnp.abs(centre - view.geo.robot) - inner, 0.0))
    surface = jnp.where(is_room, into, distances(view.geo)[target])
    # Through doorways: the way to the centre, less what of it lies inside the target.
    surface = jnp.where(final, surface, jnp.maximum(length, surface))
    # And around furniture, as long as it is not near enough already.
    robot = view.geo.robot
    by = past(world, view, robot, point, target[None], _WIDE)
    more = jnp.linalg.norm(by - robot) + jnp.linalg.norm(point - by) - jnp.linalg.norm(point - robot)
    more = jnp.where(surface > _ARRIVED, more, 0.0)
    return observation.to_base(view.geo.yaw, by - robot), final, length + more, surface + more, is_room


def observe(world: World, view: View) -> jax.Array:
    offset, final, length, surface, is_room = _way(world, view)
    away = jnp.linalg.norm(offset)
    held = view.geo.grasped
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            offset / jnp.maximum(away, 0.1),
            jnp.stack([jnp.tanh(away), jnp.tanh(length / 4), jnp.tanh(surface), final.astype(jnp.float32), is_room.astype(jnp.float32)]),
            jnp.stack([held.any().astype(jnp.float32), 20 * jnp.max(jnp.where(held, view.scene.layout.object_half, 0.0))]),
            observation.surroundings(world, view.scene, view.geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    _, _, _, surface, is_room = _way(world, view)
    left = jnp.maximum(surface - jnp.where(is_room, 0.0, _ARRIVED - 0.1), 0.0)
    come = 0.5 * tolerance(left, 4.0) + 0.5 * tolerance(left, 1.0)
    raised = tolerance(jnp.minimum(view.physics.qpos[3] - _RAISED - 0.03, 0.0), 0.2)
    closed = view.ctrl[4] > 0.02
    kept = jnp.where(closed & ~view.geo.grasped.any(), 0.5, 1.0)
    near_wall = observation.rays(world, view.scene, view.geo).min() * observation.RAY_LENGTH
    clear = 0.8 + 0.2 * jnp.clip((near_wall - 0.12) / 0.06, 0.0, 1.0)
    return come * (0.6 + 0.4 * raised) * kept * clear


def finished(world: World, view: View) -> jax.Array:
    _, _, _, surface, is_room = _way(world, view)
    slow = jnp.linalg.norm(view.physics.qvel[:2]) < _SLOW
    return (surface <= jnp.where(is_room, 0.02, _ARRIVED)) & slow & (view.physics.qpos[3] >= _RAISED)


def failed(world: World, view: View) -> jax.Array:
    del world, view
    return jnp.asarray(False)


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """Anywhere in a house, in two of five cases with an object in the hand, and in two of five reaching over a table or into a
    bin, as other skills end; doors are open or shut, and the target is any other thing or room that can be reached."""
    del easy
    k_scene, k_held, k_which, k_target, k_pose, k_hand, k_reach, k_over, k_rooms, k_doors, k_open, k_shut = jax.random.split(key, 12)
    spec = world.spec
    scene, _, _ = hang_doors(k_doors, spec, sample_scene(k_scene, world, SceneRange.make(spec)), 0, spec.leaves)
    is_open = jax.random.bernoulli(k_open, 0.6, (spec.leaves,))
    scene = scene.replace(layout=scene.layout.replace(leaf_angle=jnp.where(is_open, LEAF_OPEN, 0.0)))
    held = jnp.where(jax.random.bernoulli(k_held, 0.4), starts.choose(k_which, scene.layout.object_used), -1)
    anywhere, free = starts.pose_anywhere(k_pose, world, scene, held)
    reaching, fits = starts.pose_reaching(k_over, world, scene, held)
    reaches = jax.random.bernoulli(k_reach, 0.4)
    q, found = jnp.where(reaches, reaching, anywhere), jnp.where(reaches, fits, free)
    q = jnp.where(held < 0, starts.hand_shut(k_shut, q, 0.2), q)
    scene = poses.in_hand(k_hand, world, scene, q, held)
    scene = scene.replace(layout=scene.layout.replace(robot_q=q))
    shut = scene.leaf_used & ~is_open
    passable = scene.door_used & ~((jnp.arange(spec.doors)[:, None] == scene.leaf_doorway) & shut).any(-1)
    reached = house.reachable(scene, q[:2], passable)
    candidates = entity_used(spec, scene) & (table_at_start(world, scene)[IN_ROOM][:, room_entity(spec, 0) :] & reached).any(-1)
    candidates = candidates.at[room_entity(spec, 0) :].set(reached & scene.room_used)
    by_door = shut & reached[scene.door_rooms[scene.leaf_doorway]].any(-1)
    candidates = candidates.at[leaf_entity(spec, 0) : button_entity(spec, 0)].set(by_door)
    candidates &= jnp.arange(num_entities(spec)) > 0
    rooms = jnp.arange(len(candidates)) >= room_entity(spec, 0)
    here = room_entity(spec, house.room_of(scene, q[:2]))
    candidates &= (jnp.arange(len(candidates)) != 1 + held) | (held < 0)
    candidates &= ~rooms | ((jnp.arange(len(candidates)) != here) & (jax.random.bernoulli(k_rooms, 0.6)))
    target = starts.choose(k_target, candidates)
    return Start(
        scene=scene,
        ctrl=starts.set_points(world, scene, q, held),
        args=jnp.stack([target, jnp.zeros((), jnp.int32)]),
        valid=found & candidates[target],
    )


NAVIGATE = Skill(
    name="navigate",
    version=3,
    doc="Drive to an object, a table, a bin or a room, through doorways where needed. Keeps what the hand holds. "
    "Afterwards the robot is near the target (in it, if it is a room) and near nothing else that it was near before.",
    params=(Param("target", KINDS),),
    precondition=(),
    effect=(Literal(("near", "in_room"), ROBOT, "target"),),
    horizon=400,
    commands=(0, 1, 2, 3),
    observation_size=observation.PROPRIOCEPTION + 9 + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    flags=tuple(observation.PROPRIOCEPTION + i for i in (5, 6, 7)),
    failed=failed,
    start=start,
    gate=0.95,
    train_spec=WorldSpec(cubes=1, balls=1, tables=3, bins=1, rooms=4, leaves=2, buttons=1),
)
