"""Start states for training and measuring: robot poses that touch nothing, whether an object is in the hand or not."""

import jax
import jax.numpy as jnp

from palaestra.envs import house
from palaestra.envs.generation.poses import held_finger
from palaestra.envs.predicates import CLOSED, NEAR_DISTANCE, barriers, mechanism_set_points
from palaestra.envs.types import Scene, fixture_tops, obstructs, receptacle_boxes
from palaestra.sim.world import LEAF_LENGTH, LEAF_OPEN, World, leaf_axis

_POSES = 24
_CARRIED = 0.10  # m, the least height of the hand when it holds something
_EDGE = 0.01  # m, from an object's centre to the edge of the table that it lies on
_AROUND = 0.30  # m, from what stands there, objects may lie on the floor


def collides(world: World, scene: Scene, q: jax.Array, held: jax.Array, reaching: jax.Array | int = -1) -> jax.Array:
    """Whether the robot at q [6] touches something, or is outdoors [] bool.

    `held`: the object in the hand, -1 for none. `reaching`: the fixture over or into which the arm may reach, -1 for none.
    """
    spec, body, lay = world.spec, world.body, scene.layout
    number = jnp.arange(spec.objects)
    obj, half = lay.object_pos, lay.object_half
    solid = lay.object_used & (number != held)
    top = fixture_tops(spec, lay)

    def to_fixtures(xy: jax.Array) -> jax.Array:
        gap = jnp.maximum(jnp.abs(xy - lay.fixture_pos[:, :2]) - lay.fixture_half[:, :2], 0.0)
        return jnp.where(scene.fixture_used, jnp.linalg.norm(gap, axis=-1), jnp.inf)

    def to_objects(xy: jax.Array) -> jax.Array:
        return jnp.where(solid, jnp.linalg.norm(xy - obj[:, :2], axis=-1) - 1.42 * half, jnp.inf)

    solid_boxes = barriers(spec, scene, lay.leaf_angle, lay.lid_angle, lay.drawer_out)
    tray = reaching - (spec.fixtures - spec.drawers)  # which goes with its cabinet
    solid_arm = solid_boxes.used & ((jnp.arange(len(solid_boxes.used)) != spec.mechanisms + tray) | (tray < 0))

    def to_barriers(xy: jax.Array, used: jax.Array) -> jax.Array:
        gap = jnp.maximum(jnp.abs(xy - solid_boxes.centre) - solid_boxes.half, 0.0)
        return jnp.where(used, jnp.linalg.norm(gap, axis=-1), jnp.inf)

    indoors = ((q[:2] > scene.room[:, :2]) & (q[:2] < scene.room[:, 2:])).all(-1) & scene.room_used
    hit = ~indoors.any() | ((to_fixtures(q[:2]) < body.base_radius + 0.02) & obstructs(spec, lay)).any()
    hit |= (to_barriers(q[:2], solid_boxes.used) < body.base_radius + 0.02).any()
    hit |= ((to_objects(q[:2]) < body.base_radius + 0.02) & (obj[:, 2] < 0.30)).any()
    forward, left = jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])]), jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2])])
    under = body.grip_height + q[3] - jnp.where(held >= 0, 0.05, 0.035)
    for ahead, aside, room in (
        (0.22, 0.0, 0.04),
        (0.32, 0.0, 0.04),
        (body.reach, 0.0, 0.06),
        (body.reach, 0.06, 0.05),
        (body.reach, -0.06, 0.05),
    ):
        at = q[:2] + ahead * forward + aside * left
        hit |= ((to_fixtures(at) < room) & (under < top) & (jnp.arange(spec.fixtures) != reaching)).any()
        hit |= ((to_objects(at) < room) & (under < obj[:, 2] + half)).any()
        hit |= ((to_barriers(at, solid_arm) < room) & (under < solid_boxes.top)).any()
    return hit


def lift_height(key: jax.Array, world: World, shape: tuple[int, ...]) -> jax.Array:
    """Lift positions m: half of them high, half anywhere; key is consumed."""
    k_which, k_high, k_any = jax.random.split(key, 3)
    low, high = world.body.lift_range
    raised = jax.random.uniform(k_high, shape, minval=0.03, maxval=high)
    return jnp.where(jax.random.bernoulli(k_which, 0.5, shape), raised, jax.random.uniform(k_any, shape, minval=low, maxval=high))


def pose_near(
    key: jax.Array, world: World, scene: Scene, centre: jax.Array, half: jax.Array, held: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A robot pose anywhere within NEAR_DISTANCE of a box, in its room, that touches nothing; key is consumed.

    Returns the joints [6] and whether such a pose was found [] bool.
    """
    k_at, k_yaw, k_lift, k_grip = jax.random.split(key, 4)
    extent = half + NEAR_DISTANCE - 0.01
    at = centre + jax.random.uniform(k_at, (_POSES, 2), minval=-1.0, maxval=1.0) * extent
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(at - centre) - half, 0.0), axis=-1)
    fits = (gap < NEAR_DISTANCE - 0.01) & (house.room_of(scene, at) == house.room_of(scene, centre))
    return _first_free(k_yaw, k_lift, k_grip, world, scene, at, fits, held)


def pose_reaching(key: jax.Array, world: World, scene: Scene, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A robot pose with the hand over a table, or in a bin or a drawer, as picking and placing end; key is consumed. As `pose_near`."""
    k_which, *k_pose = jax.random.split(key, 4)
    return pose_over_receptacle(tuple(k_pose), world, scene, held, jax.random.randint(k_which, (), 0, world.spec.receptacles))


def pose_over_receptacle(
    keys: tuple[jax.Array, ...], world: World, scene: Scene, held: jax.Array, receptacle: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A robot pose with the hand over or in this receptacle, by its number from 0; the three keys are consumed. As `pose_near`."""
    k_yaw, k_at, k_grip = keys
    spec, body = world.spec, world.body
    centre, _, height = receptacle_boxes(spec, scene)
    top, is_table = height[receptacle], receptacle < spec.tables
    yaw = jax.random.uniform(k_yaw, (_POSES,), minval=-jnp.pi, maxval=jnp.pi)
    jitter = jax.random.uniform(k_at, (_POSES, 3), minval=-1.0, maxval=1.0)
    grip = centre[receptacle] + 0.05 * jitter[:, :2]
    at = grip - body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)], -1)
    # Into the bin with an empty hand; otherwise what is held must clear the top.
    lowest = jnp.where(held >= 0, top + 0.06, jnp.where(is_table, top + 0.04, 0.05))
    lift = lowest + 0.10 * jnp.square(jitter[:, 2]) - body.grip_height
    finger = jnp.where(held >= 0, held_finger(world, scene, held), jax.random.uniform(k_grip, (_POSES,), maxval=0.03))
    q = jnp.stack([at[:, 0], at[:, 1], yaw, jnp.clip(lift, *body.lift_range), finger, finger], -1)
    ok = ~jax.vmap(lambda one: collides(world, scene, one, held, spec.walls + receptacle))(q)
    best = jnp.argmax(ok)
    return q[best], ok[best]


def pose_anywhere(key: jax.Array, world: World, scene: Scene, held: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A robot pose anywhere in the house that touches nothing; key is consumed. As `pose_near`."""
    k_room, k_at, k_yaw, k_lift, k_grip = jax.random.split(key, 5)
    room = jax.random.categorical(k_room, jnp.where(scene.room_used, 0.0, -jnp.inf), shape=(_POSES,))
    low, high = scene.room[room, :2], scene.room[room, 2:]
    at = low + jax.random.uniform(k_at, (_POSES, 2)) * (high - low)
    return _first_free(k_yaw, k_lift, k_grip, world, scene, at, jnp.ones(_POSES, bool), held)


def pose_by_door(
    key: jax.Array, world: World, scene: Scene, leaf: jax.Array, held: jax.Array, before: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A robot pose within NEAR_DISTANCE of the doorway in which a leaf hangs, on either side, in one of three cases right before it;
    `before` [] bool: on the side from which it turns away by angles above 0. Key is consumed. As `pose_near`."""
    k_at, k_close, k_yaw, k_lift, k_grip = jax.random.split(key, 5)
    reach = jnp.where(jax.random.bernoulli(k_close, 1 / 3), 0.4, 1.0) * (NEAR_DISTANCE - 0.01)
    doorway = scene.leaf_doorway[leaf]
    centre = scene.door[doorway]
    half = jnp.where(scene.door_along_x[doorway], jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0])) * LEAF_LENGTH / 2
    at = centre + jax.random.uniform(k_at, (_POSES, 2), minval=-1.0, maxval=1.0) * (half + reach)
    gap = jnp.linalg.norm(jnp.maximum(jnp.abs(at - centre) - half, 0.0), axis=-1)
    beside = (house.room_of(scene, at)[:, None] == scene.door_rooms[doorway]).any(-1)
    fits = (gap < NEAR_DISTANCE - 0.01) & beside & (((at - centre) @ leaf_axis(scene.layout.leaf_quat[leaf], LEAF_OPEN) < 0) | ~before)
    return _first_free(k_yaw, k_lift, k_grip, world, scene, at, fits, held)


def pose_over(key: jax.Array, world: World, scene: Scene, index: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A robot pose with the open hand around an object or above it, turned about as it is; key is consumed. As `pose_near`."""
    k_turn, k_at, k_grip = jax.random.split(key, 3)
    body, lay = world.body, scene.layout
    jitter = jax.random.uniform(k_at, (_POSES, 4), minval=-1.0, maxval=1.0)
    yaw = lay.object_yaw[index] + 0.3 * jitter[:, 2] + 0.5 * jnp.pi * jax.random.randint(k_turn, (_POSES,), 0, 4).astype(jnp.float32)
    at = lay.object_pos[index, :2] - body.reach * jnp.stack([jnp.cos(yaw), jnp.sin(yaw)], -1) + 0.03 * jitter[:, :2]
    lift = jnp.clip(lay.object_pos[index, 2] - body.grip_height + 0.06 + 0.06 * jitter[:, 3], *body.lift_range)
    above = lift + body.grip_height - lay.object_pos[index, 2] > 0.07  # around it, the fingers are as open as they can be
    finger = jnp.where(above, jax.random.uniform(k_grip, (_POSES,), maxval=0.03), 0.0)
    q = jnp.stack([at[:, 0], at[:, 1], yaw, lift, finger, finger], -1)
    under = _table_under(world, scene, lay.object_pos[index, :2])
    ok = ~jax.vmap(lambda one: collides(world, scene, one, index, under))(q)
    best = jnp.argmax(ok)
    return q[best], ok[best]


def lay_down(key: jax.Array, world: World, scene: Scene, index: jax.Array) -> tuple[Scene, jax.Array]:
    """The scene with object `index` wherever a hand may have put or dropped it: anywhere on a table, or on the floor around what
    stands there, however near to the edge, the walls and other objects, as long as a hand can take hold of it; key is consumed.

    Returns the scene, and whether there is such a place [] bool.
    """
    k_which, k_on, k_at, k_yaw, k_turn = jax.random.split(key, 5)
    spec, body, lay = world.spec, world.body, scene.layout
    pos, side, half = lay.fixture_pos, lay.fixture_half, lay.object_half[index]
    on = jax.random.bernoulli(k_on)
    which = spec.walls + jax.random.randint(k_which, (), 0, jnp.where(on, spec.tables, spec.receptacles))
    extent = side[which, :2] + jnp.where(on, -_EDGE, _AROUND)
    at = pos[which, :2] + jax.random.uniform(k_at, (_POSES, 2), minval=-1.0, maxval=1.0) * extent
    yaw = jax.random.uniform(k_yaw, (_POSES,), minval=-jnp.pi, maxval=jnp.pi)
    mine = jnp.arange(spec.objects) == index

    def put(xy: jax.Array, yaw: jax.Array, turn: jax.Array) -> tuple[Scene, jax.Array]:
        under = _table_under(world, scene, xy)
        z = half + jnp.where(under >= 0, pos[under, 2] + side[under, 2], 0.0)
        there = lay.replace(
            object_pos=jnp.where(mine[:, None], jnp.append(xy, z), lay.object_pos),
            object_yaw=jnp.where(mine, yaw + turn, lay.object_yaw),
        )
        gap = jnp.linalg.norm(jnp.maximum(jnp.abs(xy - pos[:, :2]) - side[:, :2], 0.0), axis=-1)
        apart = ((gap > 1.45 * half) | (jnp.arange(spec.fixtures) == under) | ~scene.fixture_used).all()
        others = lay.object_used & ~mine
        apart &= ((jnp.linalg.norm(xy - lay.object_pos[:, :2], axis=-1) > 1.45 * (half + lay.object_half)) | ~others).all()
        forward = jnp.stack([jnp.cos(yaw), jnp.sin(yaw)])
        lift = jnp.clip(z - body.grip_height, *body.lift_range)
        q = jnp.concatenate([xy - body.reach * forward, jnp.stack([yaw, lift, jnp.zeros(()), jnp.zeros(())])])
        laid = scene.replace(layout=there)
        return laid, apart & ~collides(world, laid, q, index, under)

    turn = jnp.where(jnp.asarray(~spec.are("ball"))[index], jax.random.uniform(k_turn, (_POSES,), minval=-0.3, maxval=0.3), -yaw)
    scenes, ok = jax.vmap(put)(at, yaw, turn)
    best = jnp.argmax(ok)
    return jax.tree.map(lambda x: x[best], scenes), ok[best]


def _table_under(world: World, scene: Scene, xy: jax.Array) -> jax.Array:
    """The fixture that is the table under a point [2] m: [] int32; -1 where there is none, or its edge is too near."""
    lay, number = scene.layout, jnp.arange(world.spec.fixtures)
    is_table = (number >= world.spec.walls) & (number < world.spec.walls + world.spec.tables)
    over = (jnp.abs(xy - lay.fixture_pos[:, :2]) <= lay.fixture_half[:, :2] - _EDGE).all(-1) & is_table
    return jnp.where(over.any(), jnp.argmax(over), -1)


def _first_free(
    k_yaw: jax.Array, k_lift: jax.Array, k_grip: jax.Array, world: World, scene: Scene, at: jax.Array, fits: jax.Array, held: jax.Array
) -> tuple[jax.Array, jax.Array]:
    yaw = jax.random.uniform(k_yaw, (_POSES,), minval=-jnp.pi, maxval=jnp.pi)
    lift = lift_height(k_lift, world, (_POSES,))
    lift = jnp.where(held >= 0, jnp.maximum(lift, _CARRIED - world.body.grip_height), lift)
    finger = jnp.where(held >= 0, held_finger(world, scene, held), jax.random.uniform(k_grip, (_POSES,), maxval=0.02))
    q = jnp.stack([at[:, 0], at[:, 1], yaw, lift, finger, finger], -1)
    ok = fits & ~jax.vmap(lambda one: collides(world, scene, one, held))(q)
    best = jnp.argmax(ok)
    return q[best], ok[best]


def hand_shut(key: jax.Array, q: jax.Array, often: float) -> jax.Array:
    """The joints q [6] with the empty hand closed, as far as may be, in a share `often` of the cases; key is consumed.

    `press` ends so, and a grasp that failed.
    """
    k_shut, k_grip = jax.random.split(key)
    shut = jax.random.bernoulli(k_shut, often)
    return q.at[4:].set(jnp.where(shut, jax.random.uniform(k_grip, maxval=CLOSED), q[4:]))


def set_points(world: World, scene: Scene, q: jax.Array, held: jax.Array) -> jax.Array:
    """ctrl [nu] that keeps the joints q [6] and the scene's doors, and squeezes when something is held."""
    grip = jnp.where(held >= 0, CLOSED, q[4])
    body = jnp.stack([jnp.zeros(()), jnp.zeros(()), jnp.zeros(()), q[3], grip, grip])
    return jnp.concatenate([body, mechanism_set_points(world.spec, scene.layout)]).astype(jnp.float32)


def choose(key: jax.Array, allowed: jax.Array) -> jax.Array:
    """One of the allowed [n] indices; 0 where none is; key is consumed."""
    return jax.random.categorical(key, jnp.where(allowed, 0.0, -1e9)).astype(jnp.int32)
