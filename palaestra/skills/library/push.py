"""push(crate, target): push a crate, which is too heavy to lift, next to a thing, onto a pressure plate or into a room."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import house, observation
from palaestra.envs.generation.floor_plans import WALL
from palaestra.envs.generation.generator import SceneRange, sample_scene
from palaestra.envs.predicates import BESIDE
from palaestra.envs.types import KINDS, SOLID, Scene, entity_kinds, entity_used, num_entities, obstructs, room_entity
from palaestra.sim.world import BUTTON_HALF, World, WorldSpec
from palaestra.skills.library import starts
from palaestra.skills.library.ways import Behind, past, to_behind
from palaestra.skills.record import ROBOT, Literal, Param, Skill, Start, View, tolerance

_ARRIVED = BESIDE - 0.03  # m, the gap to what it is pushed next to
_INSIDE = 0.45  # m, how far its middle has to be in a room, so that one can drive around it
_ON = 0.03  # m, how far its middle has to be within a plate's edge
_ENOUGH = (0.02, 0.02, 0.10)  # m, of these three, by which it may stop short: who learns to arrive aims beyond what is asked
_WIDE = 0.20  # m, half of what a crate takes on its way, however it is turned
_ASIDE = 0.12  # m, from a doorway's axis to where a crate may be to be pushed through
_DETOUR = 0.5  # m, what having to push it aside first counts for, where the robot has no room behind it at all
_CLEAR = 0.28  # m, from all else, where the robot can get behind it
_RAYS, _RAY_LENGTH = 12, 1.0  # around the crate; m
_SLOW, _STILL = 0.05, 0.3  # m/s, of the crate and of the robot
_RAISED = 0.02  # m of the lift: the fingers pass over a crate
_STUCK = 0.04  # m, from two walls: out of a corner nothing can be pushed
_FREE = 0.30  # m, from all else, wherever a crate was left where one can get behind it
_LEFT = (0.03, 0.30)  # m, from what it was left beside
_CLOSE = 0.03  # m, from all else, wherever a crate was left beside something
_WALL = 0.15  # m, from walls there: what is nearer can hardly be got away from them
_PLACES = 16  # candidates for where a crate may be
_LOST = 3.0  # m, between robot and crate


class _Way(NamedTuple):
    """The crate's way, in the plane."""

    crate: jax.Array  # [2] m, where it is
    near: jax.Array  # [] m, to the next way point
    left: jax.Array  # [] m, until it has arrived
    behind: Behind  # the robot's, to behind it
    final: jax.Array  # [] bool: the way point is the target
    kind: jax.Array  # [3] bool: next to a thing, onto a plate, into a room


def _kinds(world: World, target: jax.Array) -> jax.Array:
    """Whether a target is a thing to be next to, a plate, a room [3] bool."""
    kind = jnp.asarray(np.append(-1, entity_kinds(world.spec)))[target]
    plate, room = kind == KINDS.index("plate"), kind == KINDS.index("room")
    return jnp.stack([~plate & ~room, plate, room])


def _way(world: World, view: View) -> _Way:
    scene, geo, (crate, target) = view.scene, view.geo, (view.args[0], view.args[1])
    spec, kind = world.spec, _kinds(world, view.args[1])
    at, half = geo.position[crate, :2], geo.half[crate, 0]
    centre, sides = geo.position[target, :2], geo.half[target]
    room = jnp.where(kind[2], target - room_entity(spec, 0), house.room_of(scene, centre))
    point, length, final = house.next_way_point(scene, at, centre, room, geo.passable, _ASIDE)
    by = past(world, view, at, point, jnp.stack([crate, target]), _WIDE)  # but not past what it is to be next to
    more = jnp.linalg.norm(by - at) + jnp.linalg.norm(point - by) - jnp.linalg.norm(point - at)
    away = jnp.abs(at - centre)
    gap = jnp.linalg.norm(jnp.maximum(away - sides - half, 0.0))
    onto = jnp.linalg.norm(jnp.maximum(away - (sides - _ON), 0.0))
    into = jnp.linalg.norm(jnp.maximum(away - jnp.maximum(sides - _INSIDE, 0.05), 0.0))
    left = jnp.stack([jnp.maximum(gap - _ARRIVED, 0.0), onto, into])[jnp.argmax(kind)]
    left = jnp.where(final, left, jnp.maximum(length, left))
    left += jnp.where(left > 0.0, more, 0.0)
    near = jnp.linalg.norm(by - at)
    way = to_behind(world, view, crate, (by - at) / jnp.maximum(near, 1e-3))
    left += jnp.where(left > 0.0, _DETOUR * way.lacking, 0.0)
    return _Way(at, near, left, way, final, kind)


def _speeds(world: World, view: View) -> tuple[jax.Array, jax.Array]:
    """Velocity of the crate [2] m/s, world frame, and the robot's speed [] m/s."""
    return world.object_velocity(view.physics.qvel)[view.args[0] - 1, :2], jnp.linalg.norm(view.physics.qvel[:2])


def observe(world: World, view: View) -> jax.Array:
    way, geo = _way(world, view), view.geo
    velocity, _ = _speeds(world, view)
    to_crate = observation.to_base(geo.yaw, way.crate - geo.robot)
    to_next = observation.to_base(geo.yaw, way.behind.point - geo.robot)
    onward = observation.to_base(geo.yaw, geo.position[view.args[1], :2] - way.crate)
    flags = jnp.append(way.kind, jnp.stack([way.final, way.left <= 0.0])).astype(jnp.float32)
    return jnp.concatenate(
        [
            observation.proprioception(world, view.physics, view.ctrl),
            jnp.clip(2 * to_crate, -3, 3),
            observation.quarter_turn(world, view.physics, geo)[view.args[0] - 1],
            2 * observation.to_base(geo.yaw, velocity),
            jnp.clip(2 * to_next, -3, 3),
            jnp.tanh(6 * to_next),
            jnp.stack([way.behind.turn / jnp.pi, way.behind.aside.astype(jnp.float32)]),
            observation.to_base(geo.yaw, way.behind.ahead),
            jnp.clip(2 * onward, -3, 3),
            jnp.stack([jnp.tanh(2 * way.near), jnp.tanh(way.left / 4), jnp.tanh(way.left), jnp.tanh(6 * way.left)]),
            50 * (geo.half[view.args[0], :1] - 0.11),
            flags,
            observation.rays_around(world, view.scene, geo, view.args[0], _RAYS, _RAY_LENGTH),
            observation.surroundings(world, view.scene, geo),
        ]
    )


def reward(world: World, view: View) -> jax.Array:
    way, geo = _way(world, view), view.geo
    velocity, speed = _speeds(world, view)
    come = 0.5 * tolerance(way.left, 3.0) + 0.5 * tolerance(way.left, 0.6)
    away = jnp.linalg.norm(geo.robot - way.crate)
    # Around the crate, not through it: by the angle, and by how near.
    come_behind = (1.0 - jnp.abs(way.behind.turn) / (2 * jnp.pi)) * tolerance(jnp.maximum(away - way.behind.reach, 0.0), 0.4)
    raised = tolerance(jnp.minimum(view.physics.qpos[3] - _RAISED - 0.02, 0.0), 0.2)
    clear = tolerance(jnp.minimum(way.behind.room - _CLEAR, 0.0), 0.15)
    still = tolerance(speed + jnp.linalg.norm(velocity), 0.3)
    return jnp.where(way.left <= 0.0, 0.9 + 0.1 * still, 0.55 * come + 0.2 * come_behind + 0.05 * raised + 0.1 * clear)


def finished(world: World, view: View) -> jax.Array:
    velocity, speed = _speeds(world, view)
    way = _way(world, view)
    there = way.left <= jnp.asarray(_ENOUGH)[jnp.argmax(way.kind)]
    return there & (jnp.linalg.norm(velocity) < _SLOW) & (speed < _STILL)


def failed(world: World, view: View) -> jax.Array:
    geo, way = view.geo, _way(world, view)
    room = view.scene.room[house.room_of(view.scene, way.crate)]
    to_wall = jnp.minimum(way.crate - room[:2], room[2:] - way.crate) - WALL - geo.half[view.args[0]]
    cornered = (to_wall < _STUCK).all() & (way.left > 0.0)
    return cornered | (jnp.linalg.norm(way.crate - geo.robot) > _LOST)


def start(key: jax.Array, world: World, easy: jax.Array) -> Start:
    """The robot anywhere near a crate, hand empty; the crate where houses have them, or anywhere one can get around it, or right beside
    something, as pushing leaves it. The target is anything that a crate can be pushed to. Easy ones: the robot behind it, the arm
    raised, and the crate not far from the target."""
    k_scene, k_which, k_left, k_room, k_near, k_target, k_pose, k_easy, k_jitter, k_shut, k_kind, k_beside = jax.random.split(key, 12)
    spec, none = world.spec, jnp.asarray(-1)
    scene = sample_scene(k_scene, world, SceneRange.make(spec))
    index = spec.portables + starts.choose(k_which, scene.layout.object_used[spec.portables :])
    half = scene.layout.object_half[index]
    where, free = _left(world, scene, index, _anywhere(k_left, scene, half), _FREE, _FREE)
    beside, fits = _left(world, scene, index, _beside(k_beside, world, scene, _extent(scene, index)), _CLOSE, _WALL)
    draw = jax.random.uniform(k_room)
    scene = jax.tree.map(
        lambda old, one, other: jnp.where((draw < 0.3) & free, one, jnp.where((draw > 0.6) & fits, other, old)), scene, where, beside
    )
    allowed = _targets(world, scene, scene.layout.object_pos[index, :2])
    # As often next to a thing as onto a plate or into a room.
    kinds = jax.vmap(lambda target: _kinds(world, target))(jnp.arange(num_entities(spec))) & allowed[:, None]
    kind = starts.choose(k_kind, kinds.any(0))
    target = starts.choose(k_target, kinds[:, kind])
    q, found = starts.pose_near(k_pose, world, scene, scene.layout.object_pos[index, :2], jnp.full(2, half), none)
    scene = scene.replace(layout=scene.layout.replace(robot_q=starts.hand_shut(k_shut, q, 0.2)))
    slot = jnp.clip(world.spec.walls + target - 1 - spec.objects, 0, spec.fixtures - 1)
    lay = scene.layout
    close, fits = _left(
        world, scene, index, _around(k_near, lay.fixture_pos[slot, :2], lay.fixture_half[slot, :2], half, (0.1, 1.0)), _FREE, _FREE
    )
    simple, free = _behind(k_jitter, world, close, index, target)
    use = jax.random.bernoulli(k_easy, easy) & (kind < 2) & fits & free
    scene = jax.tree.map(lambda new, old: jnp.where(use, new, old), simple, scene)
    args = jnp.stack([1 + index, target]).astype(jnp.int32)
    ctrl = starts.set_points(world, scene, scene.layout.robot_q, none)
    return Start(scene=scene, ctrl=ctrl, args=args, valid=(found | use) & kinds.any())


def _anywhere(key: jax.Array, scene: Scene, half: jax.Array) -> jax.Array:
    """Places in rooms for a crate that one can get around [n, 2] m; key is consumed."""
    k_room, k_at = jax.random.split(key)
    room = scene.room[jax.random.categorical(k_room, jnp.where(scene.room_used, 0.0, -jnp.inf), shape=(_PLACES,))]
    low, high = room[:, :2] + half + WALL + _FREE, room[:, 2:] - half - WALL - _FREE
    return low + jax.random.uniform(k_at, (_PLACES, 2)) * jnp.maximum(high - low, 0.0)


def _around(key: jax.Array, centre: jax.Array, sides: jax.Array, half: jax.Array, gap: tuple[float, float]) -> jax.Array:
    """Places around boxes [2] or [n, 2] m, so far from them [n, 2] m; key is consumed."""
    k_angle, k_gap = jax.random.split(key)
    angle = jax.random.uniform(k_angle, (_PLACES, 1), minval=-jnp.pi, maxval=jnp.pi)
    way = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1)
    edge = ((sides + half) / jnp.maximum(jnp.abs(way), 1e-3)).min(-1, keepdims=True)
    return centre + (edge + jax.random.uniform(k_gap, (_PLACES, 1), minval=gap[0], maxval=gap[1])) * way


def _extent(scene: Scene, index: jax.Array) -> jax.Array:
    """Half of what a crate takes along x and y, as it is turned [] m."""
    yaw = scene.layout.object_yaw[index]
    return scene.layout.object_half[index] * (jnp.abs(jnp.cos(yaw)) + jnp.abs(jnp.sin(yaw)))


def _beside(key: jax.Array, world: World, scene: Scene, half: jax.Array) -> jax.Array:
    """Places right beside furniture or buttons [n, 2] m; key is consumed."""
    k_which, k_at = jax.random.split(key)
    spec, lay = world.spec, scene.layout
    centre = jnp.concatenate([lay.fixture_pos[spec.walls :, :2], lay.button_pos])
    sides = jnp.concatenate([lay.fixture_half[spec.walls :, :2], jnp.full((spec.buttons, 2), BUTTON_HALF)])
    there = jnp.concatenate([(scene.fixture_used & obstructs(spec, lay))[spec.walls :], scene.button_used])
    which = jax.random.categorical(k_which, jnp.where(there, 0.0, -jnp.inf), shape=(_PLACES,))
    return _around(k_at, centre[which], sides[which], half, _LEFT)


def _left(world: World, scene: Scene, index: jax.Array, at: jax.Array, free: float, wall: float) -> tuple[Scene, jax.Array]:
    """The scene with the crate (an object) at the first of these places [n, 2] m that are `free` of what stands there and so far from the
    walls [] m, and whether there is one."""
    spec, lay = world.spec, scene.layout
    half, number = _extent(scene, index), jnp.arange(spec.objects)
    room = scene.room[house.room_of(scene, at)]
    fits = ((at - room[:, :2] >= half + WALL + wall) & (room[:, 2:] - at >= half + WALL + wall)).all(-1)
    solid = scene.fixture_used & obstructs(spec, lay)
    gap = jnp.maximum(jnp.abs(at[:, None] - lay.fixture_pos[:, :2]) - lay.fixture_half[:, :2] - half, 0.0)
    fits &= ((jnp.linalg.norm(gap, axis=-1) > free) | ~solid).all(-1)
    others = jnp.linalg.norm(at[:, None] - lay.object_pos[:, :2], axis=-1) - 1.42 * (lay.object_half + half)
    fits &= ((others > min(free, 0.1)) | ~lay.object_used | (number == index)).all(-1)
    post = jnp.maximum(jnp.abs(at[:, None] - lay.button_pos) - BUTTON_HALF - half, 0.0)
    fits &= ((jnp.linalg.norm(post, axis=-1) > free) | ~scene.button_used).all(-1)
    best = jnp.argmax(fits)
    moved = jnp.where((number == index)[:, None], jnp.append(at[best], lay.object_half[index]), lay.object_pos)
    return scene.replace(layout=lay.replace(object_pos=moved)), fits[best]


def _behind(key: jax.Array, world: World, scene: Scene, index: jax.Array, target: jax.Array) -> tuple[Scene, jax.Array]:
    """The scene with the robot about where it pushes the crate from, straight to the target, and whether it touches nothing there."""
    lay = scene.layout
    slot = jnp.clip(world.spec.walls + target - 1 - world.spec.objects, 0, world.spec.fixtures - 1)
    jitter = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
    at = lay.object_pos[index, :2]
    ahead = lay.fixture_pos[slot, :2] - at
    yaw = jnp.arctan2(ahead[1], ahead[0]) + 0.5 * jitter[0]
    robot = at - (1.42 * lay.object_half[index] + world.body.base_radius + 0.06) * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)])
    q = jnp.stack([robot[0], robot[1], yaw + 0.5 * jitter[1], 0.1 + 0.05 * jitter[2], jnp.zeros(()), jnp.zeros(())])
    return scene.replace(layout=lay.replace(robot_q=q)), ~starts.collides(world, scene, q, jnp.asarray(-1))


def _targets(world: World, scene: Scene, at: jax.Array) -> jax.Array:
    """What a crate at this place [2] m can be pushed to: plates, what it can be next to, and other rooms, as far as one can go [E] bool."""
    spec, kinds = world.spec, np.append(-1, entity_kinds(world.spec))
    fits = np.isin(kinds, [KINDS.index(kind) for kind in (*SOLID, "plate", "room")])
    reached = house.reachable(scene, at, scene.door_used)
    lay = scene.layout
    middles = jnp.concatenate([lay.fixture_pos[spec.walls :, :2], jnp.zeros((spec.leaves, 2)), lay.button_pos])
    rooms = jnp.concatenate([jnp.full(1 + spec.objects, -1), house.room_of(scene, middles), jnp.arange(spec.rooms)])
    here = jnp.arange(num_entities(spec)) == room_entity(spec, house.room_of(scene, at))
    return fits & entity_used(spec, scene) & reached[rooms] & ~here


PUSH = Skill(
    name="push",
    version=2,
    doc="Push a crate, which is too heavy to lift, next to a table, bin, drawer or button, onto a plate or into a room, through doorways "
    "where needed, with the empty hand. The robot goes along and ends up near the crate. Needs the robot near the crate.",
    params=(Param("crate", ("crate",)), Param("target", (*SOLID, "plate", "room"))),
    precondition=(Literal(("near",), ROBOT, "crate"), Literal(("holding",), ROBOT, "_", negated=True)),
    effect=(Literal(("near", "on", "in_room"), "crate", "target"), Literal(("near",), ROBOT, "crate")),
    horizon=400,
    commands=(0, 1, 2, 3),
    observation_size=observation.PROPRIOCEPTION + 26 + _RAYS + observation.SURROUNDINGS,
    observe=observe,
    reward=reward,
    finished=finished,
    failed=failed,
    start=start,
    gate=0.85,  # four in ten of its starts are right beside something
    flags=tuple(observation.PROPRIOCEPTION + i for i in (11, 21, 22, 23, 24, 25)),
    train_spec=WorldSpec(cubes=2, balls=1, tables=3, plates=1, bins=1, rooms=3, drawers=1, crates=1, buttons=2),
)
