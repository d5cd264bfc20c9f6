"""All predicates over all entities, as one truth table a step; goals, skills and rewards gather from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from palaestra.envs import drawers, hampers, house, toggles, vocabulary
from palaestra.envs.types import (
    KINDS,
    OPEN,
    PREDICATES,
    PRESSED,
    SOLID,
    Scene,
    button_entity,
    crate_entity,
    entity_kinds,
    entity_used,
    hamper_entity,
    leaf_entity,
    num_entities,
    receptacle_boxes,
)
from palaestra.sim.drawers import DRAWER_FLOOR
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import (
    BIN_FLOOR,
    BUTTON_HALF,
    BUTTON_POST,
    BUTTON_PRESSED,
    BUTTON_TRAVEL,
    LEAF_HALF,
    LEAF_HEIGHT,
    LEAF_LENGTH,
    LEAF_OPEN,
    LID_OPEN,
    Layout,
    World,
    WorldSpec,
    leaf_axis,
)

NEAR_DISTANCE = 0.75  # m, from the robot's axis to the nearest point of the thing, in the same room
LIFTED = 0.03  # m, that a held object's underside is above what is under it
CLOSED = 0.053  # m, a finger's set point when it holds
GRASP_FORCE = 1.0  # N, of the weaker finger
GRASP_BOX = (0.040, 0.025, 0.035)  # m, how far a held object's centre may be from the grip point: forward, sideways, up
LOOSE = 0.006  # m, by which the opening must exceed what it has let go of
AT_REST = 0.1  # m/s
AJAR = 0.3  # rad, to either side, from where a leaf is in the way of what is in the room
OPEN_ENOUGH = 1.3  # rad, to either side, from where a door counts as open
BUTTON_TOP = BUTTON_POST + 2 * BUTTON_TRAVEL  # m, of what stands in the way
_PIECES = 6  # of a swing door's leaf, which may stand at any angle
BESIDE = 0.25  # m, the gap between a crate, taken as if it stood square, and what it is near to, in the same room
RESTS = 0.02  # m, between an object's underside and the table's top


class Geometry(struct.PyTreeNode, kw_only=True):
    """Positions that predicates, observations and rewards share; computed once a step. World frame."""

    robot: jax.Array  # [2] m, the base's axis
    yaw: jax.Array  # [] rad
    grip: jax.Array  # [3] m
    position: (
        jax.Array
    )  # [E, 3] m: robot on the floor, object centres, receptacle tops (of bins and drawers, the rim), doorways, buttons, rooms
    half: jax.Array  # [E, 2] m: 0 for the robot and the objects' half size, the half sides of all else
    support: jax.Array  # [O] m, the height of what is under each object
    grasped: jax.Array  # [O] bool: between the fingers, which both press
    barriers: "Barriers"
    leaf: jax.Array  # [L, 2, 2] m, hinge and tip of each leaf
    ajar: jax.Array  # [L] bool, leaves that stand or swing in a room
    open: jax.Array  # [L] bool, leaves
    drawn: jax.Array  # [W] bool: drawers that are open
    lifted: jax.Array  # [H] bool: hampers that are open
    pressed: jax.Array  # [U] bool, buttons; of toggles, those that are on
    passable: jax.Array  # [D] bool: doorways in which no leaf is in the way
    released: jax.Array  # [O] bool: at rest, and not between fingers that are about as close as it is wide


class Barriers(struct.PyTreeNode, kw_only=True):
    """The boxes around leaves, then buttons, then lids, then trays with their handles, in the plane; then those around the pieces of
    swing doors.

    The box around the whole leaf of a swing door, which may stand aslant, bars nothing: it is not `used`.
    """

    centre: jax.Array  # [N, 2] m, N = L + U + H + W and the pieces of swing doors
    half: jax.Array  # [N, 2] m
    top: jax.Array  # [N] m
    used: jax.Array  # [N] bool


def barriers(spec: WorldSpec, scene: Scene, angle: jax.Array, lid: jax.Array, out: jax.Array) -> Barriers:
    """Leaves that are open by `angle` [L] rad, buttons, lids that are open by `lid` [H] rad, and drawers that are out by `out` [W] m."""
    lay, locks = scene.layout, spec.locks
    axis = leaf_axis(lay.leaf_quat, angle)
    reach = LEAF_LENGTH / 2 * axis
    along = LEAF_LENGTH * (jnp.arange(_PIECES, dtype=jnp.float32) + 0.5) / _PIECES
    piece = lay.leaf_pos[locks:, None] + along[:, None] * axis[locks:, None]  # [swings, pieces, 2]
    piece_half = jnp.repeat(jnp.abs(reach[locks:]) / _PIECES + LEAF_HALF, _PIECES, axis=0)
    tray, tray_half = drawers.reaching(lay, out)
    cover, cover_half, cover_top = hampers.lids(spec, lay, lid)
    fixed = jnp.full(spec.leaves, LEAF_HEIGHT), jnp.full(spec.buttons, BUTTON_TOP)
    handles, used = jnp.full(spec.drawers, drawers.HANDLE_TOP), scene.fixture_used
    bins = slice(spec.walls + spec.tables + spec.bins - spec.hampers, spec.walls + spec.tables + spec.bins)
    return Barriers(
        centre=jnp.concatenate([lay.leaf_pos + reach, lay.button_pos, cover, tray, piece.reshape(-1, 2)]),
        half=jnp.concatenate([jnp.abs(reach) + LEAF_HALF, jnp.full((spec.buttons, 2), BUTTON_HALF), cover_half, tray_half, piece_half]),
        top=jnp.concatenate([*fixed, cover_top, handles, jnp.full(len(piece_half), LEAF_HEIGHT)]),
        used=jnp.concatenate(
            [
                scene.leaf_used & (jnp.arange(spec.leaves) < locks),
                scene.button_used,
                used[bins],
                used[spec.fixtures - spec.drawers :],
                jnp.repeat(scene.leaf_used[locks:], _PIECES),
            ]
        ),
    )


@functools.partial(jax.jit, static_argnames="world")  # traced once for all programs
def geometry(world: World, scene: Scene, physics: PhysicsState, ctrl: jax.Array) -> Geometry:
    spec, body = world.spec, world.body
    q = physics.qpos[: body.num_joints]
    objects, _ = world.object_pose(physics.qpos)
    grip = body.grip_position(q)
    out = world.drawer_q(physics.qpos)
    centre, half, height = receptacle_boxes(spec, scene, out)
    room_centre = 0.5 * (scene.room[:, :2] + scene.room[:, 2:])
    room_half = 0.5 * (scene.room[:, 2:] - scene.room[:, :2])
    (angle, up), lid = world.mechanism_q(physics.qpos), world.lid_q(physics.qpos)
    hung = scene.leaf_doorway
    doorway = jnp.concatenate([scene.door[hung], jnp.zeros((spec.leaves, 1))], -1)
    buttons = jnp.concatenate([scene.layout.button_pos, jnp.full((spec.buttons, 1), BUTTON_TOP)], -1)
    solid = barriers(spec, scene, angle, lid, out)
    open_ = (jnp.abs(angle) >= OPEN_ENOUGH) & scene.leaf_used
    down = (up < -BUTTON_PRESSED)[: spec.buttons - spec.toggles]
    shut = ((jnp.arange(spec.doors)[:, None] == hung) & (scene.leaf_used & ~open_)).any(-1)
    position = jnp.concatenate(
        [
            jnp.append(q[:2], 0.0)[None],
            objects,
            jnp.concatenate([centre, height[:, None]], -1),
            doorway,
            buttons,
            jnp.concatenate([room_centre, jnp.zeros((spec.rooms, 1))], -1),
        ]
    )
    across = jnp.where(scene.door_along_x[hung, None], jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))
    mechanism_half = jnp.concatenate([LEAF_LENGTH / 2 * across, jnp.full((spec.buttons, 2), BUTTON_HALF)])
    object_half = jnp.repeat(scene.layout.object_half[:, None], 2, -1)
    over = (jnp.abs(objects[:, None, :2] - centre) <= half).all(-1)  # [O, receptacles]
    floor = jnp.concatenate([height[: spec.tables], jnp.full(spec.bins, BIN_FLOOR), jnp.full(spec.drawers, DRAWER_FLOOR)])
    above = objects[:, None, 2] > floor - 0.02
    offset = objects - grip
    cos, sin = jnp.cos(q[2]), jnp.sin(q[2])
    local = jnp.stack([cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]], -1)
    between = (jnp.abs(local) <= jnp.asarray(GRASP_BOX)).all(-1)
    # A finger on its way lags behind its set point as well: only one that has been stopped presses.
    stopped = jnp.abs(physics.qvel[4:6]).max() < 0.05
    opening = 2 * body.half_gap - q[4] - q[5]  # m, between the fingers' inner faces
    presses = stopped & (body.squeeze(q, ctrl) >= GRASP_FORCE)
    return Geometry(
        robot=q[:2],
        yaw=q[2],
        grip=grip,
        position=position,
        half=jnp.concatenate([jnp.zeros((1, 2)), object_half, half, mechanism_half, room_half]),
        support=jnp.max(jnp.where(over & above, floor, 0.0), axis=-1, initial=0.0),
        barriers=solid,
        leaf=jnp.stack([scene.layout.leaf_pos, 2 * solid.centre[: spec.leaves] - scene.layout.leaf_pos], 1),
        ajar=(jnp.abs(angle) > AJAR) & scene.leaf_used,
        open=open_,
        lifted=lid >= hampers.OPEN_ENOUGH,
        drawn=(out >= drawers.DRAWN) & scene.fixture_used[spec.fixtures - spec.drawers :],
        pressed=jnp.concatenate([down, toggles.are_on(spec, ctrl)]) & scene.button_used,
        passable=scene.door_used & ~shut,
        grasped=between & presses & scene.layout.object_used,
        released=(world.object_speed(physics.qvel) < AT_REST) & ~(between & (opening < 2 * scene.layout.object_half + LOOSE)),
    )


def distances(geo: Geometry) -> jax.Array:
    """From the robot's axis to the nearest point of every entity, in the plane [E] m."""
    gap = jnp.maximum(jnp.abs(geo.position[:, :2] - geo.robot) - geo.half, 0.0)
    return jnp.linalg.norm(gap, axis=-1)


@functools.partial(jax.jit, static_argnames="world")
def truth_table(world: World, scene: Scene, geo: Geometry, used: jax.Array) -> jax.Array:
    """Which literals hold: [predicates, E subject, E target] bool, in the order of PREDICATES.

    near(robot, x), near(crate, table, shelf, bin, hamper, drawer or button), holding(robot, object), on(object, table), inside(object,
    bin, hamper or drawer, open or shut), in_room(x, room); of one thing: open(door), open(drawer) and open(hamper) from most of its way
    on, pressed(button), pressed(toggle) while it is on and, while something lies on it, pressed(plate). A door is in neither room.
    `used` [E].
    """
    spec = world.spec
    n, o, t = num_entities(spec), spec.objects, spec.tables
    rooms, leaves = n - spec.rooms, slice(leaf_entity(spec, 0), button_entity(spec, 0))
    objects, receptacles = slice(1, 1 + o), slice(1 + o, leaves.start)
    room = house.room_of(scene, geo.position[:, :2])  # [E]
    underside = geo.position[objects, 2] - geo.half[objects, 0]
    held = geo.grasped & (underside - geo.support >= LIFTED)
    beside = (scene.door_rooms[scene.leaf_doorway] == room[0]).any(-1)  # one is by a door from either room
    near = (distances(geo) <= NEAR_DISTANCE) & (room == room[0]).at[leaves].set(beside)
    near &= (jnp.arange(n) > 0) & (jnp.arange(n) < rooms)

    gap = jnp.abs(geo.position[objects, None, :2] - geo.position[None, receptacles, :2])
    over = (gap <= geo.half[None, receptacles]).all(-1)  # [O, receptacles]
    top = geo.position[receptacles, 2]
    released = geo.released[:, None]
    on = over & (jnp.abs(underside[:, None] - top) <= RESTS) & released
    inside = over & (underside[:, None] < top - 0.01) & released

    table = jnp.zeros((len(PREDICATES), n, n), bool)
    table = table.at[0, 0].set(near)
    if spec.crates:
        first = crate_entity(spec, 0)
        table = table.at[0, first : first + spec.crates].set(_beside(spec, geo, room))
    table = table.at[1, 0, objects].set(held)
    table = table.at[2, objects, 1 + o : 1 + o + t].set(on[:, :t])
    table = table.at[3, objects, 1 + o + t : leaves.start].set(inside[:, t:])
    table = table.at[4, :rooms, rooms:].set((room[:rooms, None] == jnp.arange(spec.rooms)).at[leaves].set(False))
    if spec.drawers:
        tray = leaves.start - spec.drawers + jnp.arange(spec.drawers)
        table = table.at[OPEN, tray, tray].set(geo.drawn)
    if spec.hampers:
        hamper = hamper_entity(spec, jnp.arange(spec.hampers))
        table = table.at[OPEN, hamper, hamper].set(geo.lifted)
    if spec.mechanisms or spec.plates:
        plates = 1 + o + t - spec.plates + jnp.arange(spec.plates)
        door, button = leaf_entity(spec, jnp.arange(spec.leaves)), button_entity(spec, jnp.arange(spec.buttons))
        table = table.at[OPEN, door, door].set(geo.open)
        table = table.at[PRESSED, button, button].set(geo.pressed)
        table = table.at[PRESSED, plates, plates].set((on[:, t - spec.plates : t] & used[objects, None]).any(0))
    return table & used[:, None] & used[None, :]


def truths(world: World, scene: Scene, physics: PhysicsState, geo: Geometry) -> jax.Array:
    """The truth table, and after it a row for each predicate of one's own: [predicates, E, E] bool, as `vocabulary.predicates` has them."""
    used = entity_used(world.spec, scene)
    table = truth_table(world, scene, geo, used)
    there = used[:, None] & used[None, :]
    own = [p.holds(world, scene, physics, geo) & p.fits(world.spec) & there for p in vocabulary.OWN.values() if p.holds]
    return jnp.concatenate([table, jnp.stack(own)]) if own else table


def _beside(spec: WorldSpec, geo: Geometry, room: jax.Array) -> jax.Array:
    """What each crate at rest is near to: tables, bins, drawers and buttons [crates, E] bool; `room` [E], in which things are."""
    kinds = entity_kinds(spec)
    still = np.isin(kinds, [KINDS.index(kind) for kind in SOLID])
    crates = slice(crate_entity(spec, 0), crate_entity(spec, spec.crates))
    apart = jnp.abs(geo.position[crates, None, :2] - geo.position[:, :2]) - geo.half[crates, None] - geo.half
    gap = jnp.linalg.norm(jnp.maximum(apart, 0.0), axis=-1)
    at_rest = geo.released[spec.portables :, None]
    return (gap <= BESIDE) & (room[crates, None] == room) & at_rest & np.append(False, still)


def table_at_start(world: World, scene: Scene) -> jax.Array:
    """The truth table [predicates, E, E] of a scene before anything has moved, without an engine."""
    none, no = jnp.zeros(0), jnp.asarray(False)
    rest = PhysicsState(
        bits=jnp.zeros(0, jnp.uint32),
        parameters=none,
        qpos=world.initial_qpos(scene.layout),
        qvel=jnp.zeros(world.model.nv),
        outputs={},
        diverged=no,
        overflow=no,
    )
    geo = geometry(world, scene, rest, set_points_at_start(world.spec, scene))
    return truths(world, scene, rest, geo)


def set_points_at_start(spec: WorldSpec, scene: Scene) -> jax.Array:
    """The set points [nu] that keep robot and mechanisms as the layout says; fingers that are not open squeeze."""
    q = scene.layout.robot_q
    fingers = jnp.where(q[4:6] > 0.0, CLOSED, 0.0)
    return jnp.concatenate([jnp.zeros(3), q[3:4], fingers, mechanism_set_points(spec, scene.layout)]).astype(jnp.float32)


def mechanism_set_points(spec: WorldSpec, layout: Layout) -> jax.Array:
    """The set points [servos] that keep locked doors, lids and toggles as the layout says, and buttons up."""
    leaves = jnp.where(layout.leaf_angle[: spec.locks] > 0, LEAF_OPEN, 0.0)
    caps = [jnp.zeros(spec.buttons - spec.toggles), toggles.set_points(layout.toggle_on)]
    return jnp.concatenate([leaves, *caps, jnp.where(layout.lid_angle > 0, LID_OPEN, 0.0)])
