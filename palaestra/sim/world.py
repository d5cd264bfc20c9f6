"""The world: one compiled MuJoCo model with a fixed number of slots. What differs from task to task is data.

Axis alphabet of the package: F fixtures (walls, tables, bins, cabinets, in that order), O objects (cubes, balls, crates), E entities,
R rooms, D doorways, W drawers, H hampers, L leaves of hinged doors, U buttons, S toggles, K rules, P predicates, G goal terms, B a batch,
T time.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from palaestra.sim import bodies
from palaestra.sim.drawers import add_drawer
from palaestra.sim.errors import PalaestraError

BIN_INNER = 0.13  # m, half of the inner width of a bin
BIN_RIM = 0.07  # m, height of a bin's rim
BIN_FLOOR = 0.01  # m, thickness of a bin's floor
BIN_SIDE = 0.01  # m, half of the thickness of a bin's sides
DENSITY = 460.0  # kg/m³, of cubes and balls: 100 g for a 60 mm cube
MAX_CONTACTS = "max_contact_points"  # the name under which mjx looks for its bound in a model
LEAF_LENGTH = 0.94  # m, of a door's leaf; with leaves, doorways are LEAF_LENGTH + 2 * LEAF_GAP wide
LEAF_GAP = 0.01  # m, between leaf and frame
LEAF_HALF = 0.02  # m, half thickness of a leaf
LEAF_HEIGHT = 0.44  # m
LEAF_CLEARANCE = 0.01  # m, below a leaf
LEAF_OPEN = 1.5708  # rad, the set point of an open leaf; 0 when shut
SWING_MOST = 1.658  # rad, how far a swing door turns, to either side
SWING_MASS = 2.0  # kg, of its leaf: what the base pushes
SWING_FRICTION = 0.6  # N m, what it takes to turn it
SWING_DAMPING = 1.5  # N m s/rad
LEAF_RATE = 0.06  # rad a control step, by which a leaf's set point moves
LID_OPEN = float(np.deg2rad(100))  # rad, the set point of an open lid, which then stands behind its bin; 0 when shut
LID_HEIGHT = 0.088  # m, of a shut lid's underside, which is clear of what looks over the rim
LID_HALF = (0.16, 0.15, 0.006)  # m, half sizes of a lid
LID_BACK = 0.02  # m, from a bin's outer edge to the hinge behind it, so that a lid that stands is not in the way of the hand
LID_ROOM = 0.10  # m, behind a bin, that its lid takes when it stands
BUTTON_HALF = 0.05  # m, half side of a button's post
BUTTON_POST = 0.16  # m, height of the post; the cap stands on it
BUTTON_CAP = (0.035, 0.012)  # m, half side and half height of a cap
BUTTON_TRAVEL = 0.016  # m
BUTTON_PRESSED = 0.008  # m, down from where it is a button counts as pressed, and stays down
CRATE_HALF = (0.100, 0.118)  # m, half sizes of crates: wider than a gripper opens, and low enough for a raised arm to pass over them
CRATE_DENSITY = 650.0  # kg/m³: 5 to 8.5 kg, more than a lift's motor can raise
CRATE_FRICTION = 0.3  # sliding: a base's motors push it with twice the force that it takes, and below its top it does not tip over
PLATE_HEIGHT = 0.008  # m, of pressure plates in worlds with crates: robots drive across them, below a base's underside
OBJECT_KINDS = ("cube", "ball", "crate")
# What a toggle remembers is in its set point, by differences that no hand feels:
TOGGLE_ON = 0.001  # m, by which its cap rests lower while it is on,
TOGGLE_HELD = 0.0003  # m, and from when it was pressed until it came up again
_PARKED = 60.0  # m, where unused slots wait, out of everything's way


@dataclass(frozen=True)
class WorldSpec:
    """How many slots of each kind a world has. Static: it fixes every array shape. Keep it small: objects cost time."""

    cubes: int = 3
    balls: int = 1
    tables: int = 2
    bins: int = 2
    rooms: int = 4
    plates: int = 0  # of the tables, the last so many are pressure plates
    leaves: int = 0  # hinged doors; which doorways they hang in is data
    buttons: int = 0
    rules: int = 0  # that turn a condition into an effect
    drawers: int = 0  # that slide out of a cabinet, by hand
    crates: int = 0  # objects that are too heavy to lift and too wide to grasp: they are pushed
    shelves: int = 0  # of the tables, those before the plates are shelves: narrow and high, against a wall
    hampers: int = 0  # of the bins, the last so many have a lid, and stand against a wall
    swings: int = 0  # of the leaves, the last so many are swing doors: no servo, opened by pushing
    toggles: int = 0  # of the buttons, the last so many are toggles: they spring back, and each push turns them on or off
    body: str = "mobile_manipulator"
    timestep: float = 0.01  # s
    substeps: int = 5  # physics steps a control step: 20 Hz

    def __post_init__(self) -> None:
        if not 1 <= self.rooms <= 9:
            raise ValueError(f"rooms: got {self.rooms}, expected 1 to 9")
        things = ("cubes", "balls", "crates", "tables", "shelves", "plates", "bins", "hampers", "drawers")
        for kind in (*things, "leaves", "swings", "buttons", "toggles", "rules"):
            if getattr(self, kind) < 0:
                raise ValueError(f"{kind}: got {getattr(self, kind)}, expected 0 or more")
        if self.portables == 0:
            raise ValueError("cubes + balls: got 0, expected at least one object slot")
        if self.receptacles == 0:
            raise ValueError("tables + bins + drawers: got 0, expected at least one receptacle slot")
        for kind, most, what in (
            ("plates", self.tables, "tables"),
            ("shelves", self.tables - self.plates, "tables - plates"),
            ("hampers", self.bins, "bins"),
            ("leaves", max(self.rooms - 1, 0), "rooms - 1"),
            ("swings", self.leaves, "leaves"),
            ("toggles", self.buttons, "buttons"),
        ):
            if getattr(self, kind) > most:
                raise ValueError(f"{kind}: got {getattr(self, kind)}, expected at most {most}, as {what}")

    @property
    def portables(self) -> int:
        """Objects that a hand can carry: the first ones."""
        return self.cubes + self.balls

    @property
    def objects(self) -> int:
        return self.portables + self.crates

    @property
    def object_kinds(self) -> tuple[str, ...]:
        """Of each object, what it is."""
        return tuple(kind for kind, n in zip(OBJECT_KINDS, (self.cubes, self.balls, self.crates), strict=True) for _ in range(n))

    def are(self, kind: str) -> np.ndarray:
        """Which objects are of this kind [O] bool."""
        return np.array([own == kind for own in self.object_kinds], bool)

    @property
    def receptacles(self) -> int:
        return self.tables + self.bins + self.drawers

    @property
    def walls(self) -> int:
        """Wall panels of the largest floor plan, see `palaestra.envs.generation.floor_plans`."""
        return (4, 6, 11, 11, 18, 18, 24, 24, 24)[self.rooms - 1]

    @property
    def doors(self) -> int:
        """Doorways of the largest floor plan."""
        return (4, 4, 4, 4, 7, 7, 10, 10, 10)[self.rooms - 1]

    @property
    def fixtures(self) -> int:
        return self.walls + self.receptacles

    @property
    def mechanisms(self) -> int:
        """Leaves, buttons and lids: one joint each, after all others."""
        return self.leaves + self.buttons + self.hampers

    @property
    def openings(self) -> int:
        """What rules open: leaves that are no swing doors, then lids."""
        return self.locks + self.hampers

    @property
    def locks(self) -> int:
        """The leaves that a servo holds: they come before the swing doors."""
        return self.leaves - self.swings

    @property
    def servos(self) -> int:
        """Leaves, buttons and lids with a servo: one actuator each, after those of the body."""
        return self.locks + self.buttons + self.hampers

    @property
    def changes(self) -> bool:
        """Whether things happen by themselves in this world (`palaestra.envs.rules`)."""
        return bool(self.servos or self.rules)

    @property
    def max_contacts(self) -> int:
        """How many contact points an engine with fixed buffers makes room for.

        Over 100 control steps of each shipped skill and of random actions, 19 were the most with two or four objects (12 to 16
        of one contact dimension): a cube on the floor has 4, and about as many where it leans on something.
        """
        return 16 + 8 * self.objects + 4 * (self.mechanisms + self.drawers)

    @property
    def control_dt(self) -> float:
        """Seconds a control step."""
        return self.timestep * self.substeps


# The sizes that benchmarks and checks use. Compile the smallest that fits: an empty slot still costs.
WORLDS = {
    "small": WorldSpec(cubes=1, balls=1, tables=1, bins=1, rooms=1),
    "middle": WorldSpec(),
    "large": WorldSpec(cubes=9, balls=3, tables=4, bins=4, rooms=9),
}


class Layout(struct.PyTreeNode, kw_only=True):
    """What a task changes in the physics: where things are and how large. A traced pytree; one example, no batch axis."""

    fixture_pos: jax.Array  # [F, 3] m, world; bins: the centre of the floor's underside
    fixture_half: jax.Array  # [F, 3] m; ignored for bins and cabinets, which have one size
    object_half: jax.Array  # [O] m, half edge of a cube or crate, radius of a ball
    object_density: jax.Array  # [O] kg/m³
    object_friction: jax.Array  # [O] sliding friction; a contact takes the larger of its two, that of a crate the crate's
    object_pos: jax.Array  # [O, 3] m, world, at the start
    object_yaw: jax.Array  # [O] rad, at the start
    object_used: jax.Array  # [O] bool; unused objects float far away and touch nothing
    robot_q: jax.Array  # [nq_body], the body's joints at the start
    leaf_pos: jax.Array = struct.field(default_factory=lambda: jnp.zeros((0, 2)))  # [L, 2] m, the hinge
    leaf_quat: jax.Array = struct.field(default_factory=lambda: jnp.zeros((0, 4)))  # [L, 4]: x along the shut leaf, away from the hinge
    leaf_angle: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0))  # [L] rad, at the start: 0 or LEAF_OPEN; swing doors any
    button_pos: jax.Array = struct.field(default_factory=lambda: jnp.zeros((0, 2)))  # [U, 2] m
    drawer_quat: jax.Array = struct.field(default_factory=lambda: jnp.zeros((0, 4)))  # [W, 4]: x out of the cabinet
    drawer_out: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0))  # [W] m, at the start: 0 to DRAWER_TRAVEL
    lid_quat: jax.Array = struct.field(default_factory=lambda: jnp.zeros((0, 4)))  # [H, 4]: x from the hinge over the bin
    lid_angle: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0))  # [H] rad, at the start: 0 or LID_OPEN
    toggle_on: jax.Array = struct.field(default_factory=lambda: jnp.zeros(0, bool))  # [S] bool, at the start

    def parameters(self, friction: jax.Array | float = 1.0) -> jax.Array:
        """All that the physics takes as given, one float32 row [F*6 + O*4 + L*6 + U*2 + W*4 + H*4 + 1].

        `friction`: of every sliding contact, relative to what it would be without. A contact takes the larger of its two, so that an
        object's own friction, below the floor's and the fingers', changes nothing; this does.
        """
        fixtures = [self.fixture_pos.ravel(), self.fixture_half.ravel()]
        objects = [self.object_half, self.object_density, self.object_friction, self.object_used.astype(jnp.float32)]
        mechanisms = [self.leaf_pos, self.leaf_quat, self.button_pos, self.drawer_quat, self.lid_quat]
        every = jnp.reshape(jnp.asarray(friction, jnp.float32), 1)
        return jnp.concatenate([*fixtures, *objects, *(x.ravel() for x in mechanisms), every]).astype(jnp.float32)


def parked_fixture(index: int) -> np.ndarray:
    """Where an unused fixture waits, [3] m."""
    return np.array([_PARKED + 2.0 * index, _PARKED, -5.0], np.float32)


def parked_object(index: int) -> np.ndarray:
    """Where an unused object waits, [3] m."""
    return np.array([_PARKED + 2.0 * index, -_PARKED, 5.0], np.float32)


def parked_mechanism(index: int) -> np.ndarray:
    """Where an unused leaf or button waits, [2] m."""
    return np.array([-_PARKED - 3.0 * index, _PARKED], np.float32)


class ModelWorld:
    """Any compiled model as a world: all its simulations are alike, and an engine's `at` places them.

    Args:
        model: the model; the engine keeps it.
        substeps: physics steps a control step.
        outputs: fields of mjData that each step returns besides qpos and qvel, as the last `mj_step` left them: most describe the
            state before that substep.
    """

    def __init__(self, model: mujoco.MjModel, substeps: int = 1, outputs: tuple[str, ...] = ()):
        if substeps < 1:
            raise ValueError(f"substeps: got {substeps}, expected 1 or more")
        self.model, self.substeps, self.outputs = model, substeps, outputs
        self.num_parameters = 0
        self.max_contacts: int | None = None  # not known of a model in general

    def fields(self, parameters: Any) -> dict[str, Any]:
        """Nothing differs."""
        del parameters
        return {}


class World:
    """A compiled world and the addresses in it, resolved from names once. Immutable; hashable by its spec."""

    outputs: tuple[str, ...] = ()

    def __init__(self, spec: WorldSpec):
        self.spec = spec
        self.substeps = spec.substeps
        self.max_contacts: int | None = spec.max_contacts
        turned = spec.leaves + spec.drawers + spec.hampers
        self.num_parameters = spec.fixtures * 6 + spec.objects * 4 + spec.leaves * 2 + spec.buttons * 2 + turned * 4 + 1
        self.body = bodies.body(spec.body)
        self.model = build_spec(spec).compile()
        m = self.model
        names = [f"wall{i}" for i in range(spec.walls)]
        names += [f"table{i}" for i in range(spec.tables)] + [f"bin{i}" for i in range(spec.bins)]
        self.object_names = object_names(spec)
        self.fixture_mocap = np.array([m.body(n).mocapid[0] for n in names])
        self.box_geom = np.array([m.geom(n).id for n in names[: spec.walls + spec.tables]])
        self.object_geom = np.array([m.geom(n).id for n in self.object_names])
        self.object_body = np.array([m.body(n).id for n in self.object_names])
        self.object_q = np.array([m.joint(n).qposadr[0] for n in self.object_names])
        self.object_v = np.array([m.joint(n).dofadr[0] for n in self.object_names])
        self.leaf_body = np.array([m.body(f"leaf{i}").id for i in range(spec.leaves)], int)
        self.cabinet_body = np.array([m.body(f"drawer{i}").id for i in range(spec.drawers)], int)
        self.post_body = np.array([m.body(f"button{i}").id for i in range(spec.buttons)], int)
        self.lid_body = np.array([m.body(f"lid{i}").id for i in range(spec.hampers)], int)
        nq = self.body.num_joints
        if not all(int(m.jnt_qposadr[i]) == i for i in range(nq)):
            raise ValueError(f"body {spec.body!r}: its {nq} joints must come first in qpos, one coordinate each")

    def fields(self, parameters: Any) -> dict[str, Any]:
        """What the parameters [..., num_parameters] set, by MuJoCo's names: [..., *the field's shape] in the parameters' type.

        Fields of mjModel and, as the only one of mjData, mocap_pos. The constants that the compiler derives (bounding boxes,
        inertias, invweight0, subtreemass) are among them, in closed form: the bodies are free spheres and cubes (crates too). The same
        lines serve numpy and jax.numpy, so that no engine has a second opinion.
        """
        spec, m = self.spec, self.model
        xp: Any = np if isinstance(parameters, np.ndarray) else jnp
        lead, f, o = parameters.shape[:-1], spec.fixtures, spec.objects
        at = [f * 3, f * 3, o, o, o, o, 2 * spec.leaves, 4 * spec.leaves, 2 * spec.buttons, 4 * spec.drawers, 4 * spec.hampers]
        pos, half, size, density, friction, used, hinge, turn, posts, front, lids, every = xp.split(parameters, np.cumsum(at), axis=-1)
        stands = pos.reshape(*lead, f, 3)
        boxes = half.reshape(*lead, f, 3)[..., : len(self.box_geom), :]
        cube = ~spec.are("ball")
        cubes = xp.repeat(size[..., None], 3, axis=-1)
        geoms, bodies_, dofs = np.append(self.box_geom, self.object_geom), self.object_body, self.object_v[:, None] + np.arange(6)
        mass = density * np.where(cube, 8.0, 4.0 / 3.0 * np.pi).astype(size.dtype) * size**3
        inertia = mass * size**2 * np.where(cube, 4.0 / 6.0, 0.4).astype(size.dtype)
        halves = xp.concatenate([boxes, cubes], axis=-2)  # of the boxes around them
        sizes = xp.concatenate([boxes, xp.where(cube[:, None] | (np.arange(3) == 0), cubes, 0)], axis=-2)
        radius = xp.concatenate([xp.linalg.norm(boxes, axis=-1), xp.where(cube, xp.linalg.norm(cubes, axis=-1), size)], axis=-1)
        aabb = xp.concatenate([xp.zeros_like(halves), halves], axis=-1)
        roll = xp.broadcast_to(xp.asarray(m.geom_friction[self.object_geom, 1:], size.dtype), (*lead, o, 2))
        slide = xp.concatenate([friction[..., None], roll], axis=-1)
        slip = xp.concatenate([every, xp.ones((*lead, 2), size.dtype)], axis=-1)[..., None, :]  # sliding alone, of all geoms
        light = xp.stack([1 / mass, 1 / inertia], axis=-1)  # translation, rotation
        subtree = _put(m.body_subtreemass, bodies_, mass)
        total = subtree[..., :1] + (mass - m.body_mass[bodies_].astype(size.dtype)).sum(-1, keepdims=True)
        fields = {
            "mocap_pos": _put(np.zeros((m.nmocap, 3)), self.fixture_mocap, stands[..., : len(self.fixture_mocap), :]),
            "geom_size": _put(m.geom_size, geoms, sizes),
            "geom_aabb": _put(m.geom_aabb, geoms, aabb),
            "bvh_aabb": _put(m.bvh_aabb, m.body_bvhadr[m.geom_bodyid[geoms]], aabb),
            "geom_rbound": _put(m.geom_rbound, geoms, radius),
            "geom_friction": _put(m.geom_friction, self.object_geom, slide) * slip,
            "geom_contype": _put(m.geom_contype, self.object_geom, xp.where(used > 0, m.geom_contype[self.object_geom], 0)),
            "geom_conaffinity": _put(m.geom_conaffinity, self.object_geom, xp.where(used > 0, m.geom_conaffinity[self.object_geom], 0)),
            "body_mass": _put(m.body_mass, bodies_, mass),
            "body_inertia": _put(m.body_inertia, bodies_, xp.repeat(inertia[..., None], 3, axis=-1)),
            "body_gravcomp": _put(m.body_gravcomp, bodies_, xp.where(used > 0, 0.0, 1.0).astype(size.dtype)),
            "body_subtreemass": xp.concatenate([total, subtree[..., 1:]], axis=-1),
            "body_invweight0": _put(m.body_invweight0, bodies_, light),
            "dof_M0": _put(m.dof_M0, dofs.ravel(), xp.repeat(1 / light, 3, axis=-1).reshape(*lead, 6 * o)),
            "dof_length": _put(m.dof_length, dofs[:, 3:].ravel(), xp.repeat(radius[..., len(self.box_geom) :], 3, axis=-1)),
            "dof_invweight0": _put(m.dof_invweight0, dofs.ravel(), xp.repeat(light, 3, axis=-1).reshape(*lead, 6 * o)),
        }
        if spec.mechanisms or spec.drawers:
            # Leaves, buttons, drawers and lids have one size: where their bodies stand changes no derived constant.
            ids = np.concatenate([self.leaf_body, self.post_body, self.cabinet_body, self.lid_body])
            cabinets, last = stands[..., len(self.fixture_mocap) :, :2], len(self.fixture_mocap)
            hinges = lid_hinges(stands[..., last - spec.hampers : last, :2], lids.reshape(*lead, spec.hampers, 4))
            single = [hinge.reshape(*lead, spec.leaves, 2), posts.reshape(*lead, spec.buttons, 2), cabinets, hinges]
            plane = xp.concatenate(single, axis=-2)
            height = xp.broadcast_to(xp.asarray(m.body_pos[ids, 2:], plane.dtype), (*plane.shape[:-1], 1))
            fields["body_pos"] = _put(m.body_pos, ids, xp.concatenate([plane, height], axis=-1))
            turns = xp.concatenate([turn, front, lids], axis=-1).reshape(*lead, spec.leaves + spec.drawers + spec.hampers, 4)
            fields["body_quat"] = _put(m.body_quat, np.concatenate([self.leaf_body, self.cabinet_body, self.lid_body]), turns)
        return fields

    def initial_qpos(self, layout: Layout) -> jax.Array:
        """qpos [nq] at the start of an episode. Raises PalaestraError where the layout has not this world's slots."""
        self._check(layout)
        half = 0.5 * layout.object_yaw
        zero = jnp.zeros_like(half)
        quat = jnp.stack([jnp.cos(half), zero, zero, jnp.sin(half)], -1)
        parked = jnp.asarray(np.stack([parked_object(i) for i in range(self.spec.objects)]))
        pos = jnp.where(layout.object_used[:, None], layout.object_pos, parked)
        free = jnp.concatenate([pos, quat], -1).ravel()
        caps = [jnp.zeros(self.spec.buttons - self.spec.toggles), jnp.where(layout.toggle_on, -TOGGLE_ON, 0.0)]
        mechanisms = [layout.leaf_angle, *caps, layout.lid_angle]
        return jnp.concatenate([layout.robot_q, free, layout.drawer_out, *mechanisms]).astype(jnp.float32)

    def with_objects(self, parameters: jax.Array, used: jax.Array) -> jax.Array:
        """The parameters [num_parameters] with other objects in use [O] bool."""
        first = 6 * self.spec.fixtures + 3 * self.spec.objects
        return parameters.at[first : first + self.spec.objects].set(used.astype(parameters.dtype))

    def _check(self, layout: Layout) -> None:
        """Refuse a layout of another world: shapes are all that can be seen of it while tracing."""
        spec = self.spec
        for what, got, slots in (
            ("objects", layout.object_half.shape[-1], spec.objects),
            ("fixtures", layout.fixture_half.shape[-2], spec.fixtures),
            ("leaves", layout.leaf_pos.shape[-2], spec.leaves),
            ("buttons", layout.button_pos.shape[-2], spec.buttons),
            ("drawers", layout.drawer_quat.shape[-2], spec.drawers),
            ("hampers", layout.lid_quat.shape[-2], spec.hampers),
            ("toggles", layout.toggle_on.shape[-1], spec.toggles),
        ):
            if got != slots:
                fits = [name for name, other in WORLDS.items() if getattr(other, what) >= got]
                fix = (
                    f"the sizes that hold {got}: {', '.join(fits)} (palaestra.sim.world.WORLDS), or your own WorldSpec"
                    if fits
                    else "a WorldSpec"
                )
                raise PalaestraError(f"layout: got {got} {what}, expected {slots}, one for each slot of {spec}. Fix: {fix}")

    def object_pose(self, qpos: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Positions [O, 3] m and quaternions [O, 4] of all objects, world frame."""
        free = qpos[self.body.num_joints :][: 7 * self.spec.objects].reshape(self.spec.objects, 7)
        return free[:, :3], free[:, 3:]

    def object_velocity(self, qvel: jax.Array) -> jax.Array:
        """Velocity of each object's centre [O, 3] m/s, world frame."""
        return qvel[self.body.num_joints :][: 6 * self.spec.objects].reshape(self.spec.objects, 6)[:, :3]

    def object_speed(self, qvel: jax.Array) -> jax.Array:
        """Speed of each object's centre [O] m/s."""
        return jnp.linalg.norm(self.object_velocity(qvel), axis=-1)

    def mechanism_q(self, qpos: Any) -> tuple[Any, Any]:
        """How far each leaf is open [L] rad, and how far each button is up [U] m (0; pressed it is negative)."""
        q, spec = qpos[len(qpos) - self.spec.mechanisms :], self.spec
        return q[: spec.leaves], q[spec.leaves : spec.leaves + spec.buttons]

    def lid_q(self, qpos: jax.Array) -> jax.Array:
        """How far each lid is open [H] rad."""
        return qpos[len(qpos) - self.spec.hampers :]

    def drawer_q(self, qpos: jax.Array) -> jax.Array:
        """How far each drawer is out [W] m; of qvel, how fast it goes outwards, m/s."""
        end = len(qpos) - self.spec.mechanisms
        return qpos[end - self.spec.drawers : end]

    def control(self, q: jax.Array, ctrl: jax.Array, action: jax.Array) -> jax.Array:
        """Next set points [nu]: the body's by its action, those of mechanisms as they are. `q`: qpos [nq]."""
        body = self.body
        moved = body.control(q[: body.num_joints], ctrl, action)
        return jnp.concatenate([moved, ctrl[len(moved) :]])

    def __hash__(self) -> int:
        return hash(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, World) and other.spec == self.spec


def _put(base: np.ndarray, index: np.ndarray, value: Any) -> Any:
    """`base` for every leading axis of `value` [..., k, *rest], in its type, with the rows `index` [k] replaced by it."""
    lead = value.shape[: value.ndim - base.ndim]
    # int32: JAX keeps wider indices in a cache that float64 programs and others share.
    at: Any = (..., index.astype(np.int32), *[slice(None)] * (base.ndim - 1))
    if isinstance(value, np.ndarray):
        rows = np.broadcast_to(base, (*lead, *base.shape)).astype(value.dtype)
        rows[at] = value
        return rows
    return jnp.broadcast_to(jnp.asarray(base, value.dtype), (*lead, *base.shape)).at[at].set(value)


def array_module(*arrays: Any) -> Any:
    """NumPy where all of these are NumPy's own, else jax.numpy: for lines that serve both.

    On the host, where words are made, an operation of NumPy's takes a microsecond, and a dispatch of JAX's thirty.
    """
    return np if all(isinstance(a, np.ndarray) for a in arrays) else jnp


def leaf_axis(quat: Any, angle: Any) -> Any:
    """Unit vectors [..., 2] from the hinge along leaves that hang as `quat` [..., 4] says and are open by `angle` [...] rad.

    The same lines serve numpy and jax.numpy.
    """
    xp = array_module(quat)
    w, x, y, z = xp.moveaxis(quat, -1, 0)
    cos, sin = xp.cos(angle), xp.sin(angle)
    # The body's own x and y axes in the plane, turned by the joint.
    along_x = (1 - 2 * (y * y + z * z)) * cos + 2 * (x * y - w * z) * sin
    along_y = 2 * (x * y + w * z) * cos + (1 - 2 * (x * x + z * z)) * sin
    return xp.stack([along_x, along_y], -1)


def lid_hinges(bins: Any, quat: Any) -> Any:
    """Where the hinges of lids are [..., 2] m, of bins in the plane [..., 2] m and lids that hang as `quat` [..., 4] says."""
    return bins - (BIN_INNER + 2 * BIN_SIDE + LID_BACK) * leaf_axis(quat, 0.0)


def object_names(spec: WorldSpec) -> list[str]:
    """The names of the objects in the model: `cube0`, `cube1`, `ball0`."""
    kinds = spec.object_kinds
    return [f"{kind}{i - kinds.index(kind)}" for i, kind in enumerate(kinds)]


@functools.cache
def world(spec: WorldSpec) -> World:
    """The world of a spec, compiled once a process."""
    return World(spec)


def build_spec(spec: WorldSpec) -> mujoco.MjSpec:
    """The MJCF of a world: robot, fixtures as mocap bodies (moved by data, at no cost in degrees of freedom), objects."""
    s = mujoco.MjSpec()
    s.modelname = "palaestra"
    opt = s.option
    opt.timestep = spec.timestep
    opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # What is held must not creep out of the hand: elliptic cones with stiff friction, solved to the end. Pyramidal cones let a
    # cube slide 5 mm/s and drop a ball within seconds; with elliptic ones, 6 iterations are unstable and 30 cost no more.
    opt.cone, opt.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10
    opt.iterations, opt.ls_iterations = 30, 30
    s.add_numeric(name=MAX_CONTACTS, data=[float(spec.max_contacts)])
    box, sphere = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE
    s.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], rgba=[0.86, 0.83, 0.78, 1], **bodies.FIXED)
    bodies.body(spec.body).attach(s)
    # Objects before fixtures: their joints then follow the robot's in qpos, whatever fixtures there are.
    for i, (name, kind) in enumerate(zip(object_names(spec), spec.object_kinds, strict=True)):
        obj = s.worldbody.add_body(name=name, pos=parked_object(i))
        obj.add_freejoint(name=name)
        if kind == "crate":  # priority: whatever touches it, it slides by its own friction
            friction = [CRATE_FRICTION, 0.005, 0.0001]
            obj.add_geom(
                name=name, type=box, size=[0.11] * 3, density=CRATE_DENSITY, friction=friction, condim=3, priority=1, **bodies.HEAVY
            )
            continue
        cube = kind == "cube"
        # Balls have rolling friction, so that they come to rest.
        friction, condim = ([1, 0.01, 0.001], 3) if cube else ([1, 0.02, 0.004], 6)
        obj.add_geom(
            name=name,
            type=box if cube else sphere,
            size=[0.03, 0.03, 0.03],
            density=DENSITY,
            friction=friction,
            condim=condim,
            **bodies.MOVING,
        )
    for i in range(spec.drawers):
        add_drawer(s, i, parked_fixture(spec.fixtures - spec.drawers + i)[:2].tolist())
    for i in range(spec.leaves):
        _add_leaf(s, i, servo=i < spec.locks)
    for i in range(spec.buttons):
        _add_button(s, i, spec.leaves + i)
    for i in range(spec.hampers):
        _add_lid(s, i, parked_fixture(spec.walls + spec.tables + spec.bins - spec.hampers + i)[:2])
    index = 0
    for kind, count, rgba in (("wall", spec.walls, [0.95, 0.94, 0.90, 1]), ("table", spec.tables, [0.6, 0.5, 0.4, 1])):
        for i in range(count):
            fixture = s.worldbody.add_body(name=f"{kind}{i}", mocap=True, pos=parked_fixture(index))
            flush = spec.crates and kind == "table" and i >= spec.tables - spec.plates
            collides = bodies.FLUSH if flush else bodies.FIXED
            fixture.add_geom(name=f"{kind}{i}", type=box, size=[0.1, 0.1, 0.1], rgba=rgba, **collides)
            index += 1
    outer, mid = BIN_INNER + 2 * BIN_SIDE, BIN_INNER + BIN_SIDE
    for i in range(spec.bins):
        fixture = s.worldbody.add_body(name=f"bin{i}", mocap=True, pos=parked_fixture(index))
        index += 1
        fixture.add_geom(name=f"bin{i}", type=box, pos=[0, 0, BIN_FLOOR / 2], size=[outer, outer, BIN_FLOOR / 2], **bodies.FIXED)
        for j, (dx, dy) in enumerate(((1, 0), (-1, 0), (0, 1), (0, -1))):
            size = [BIN_SIDE if dx else outer, BIN_SIDE if dy else outer, BIN_RIM / 2]
            fixture.add_geom(name=f"bin{i}_side{j}", type=box, pos=[dx * mid, dy * mid, BIN_RIM / 2], size=size, **bodies.FIXED)
    return s


def _add_leaf(s: mujoco.MjSpec, index: int, servo: bool) -> None:
    """A hinged door's leaf. As a fixed thing, it never meets walls or tables.

    Moved by a servo that a robot cannot overcome; or passive, turning both ways, light enough to be pushed, and friction keeps it where
    it is left.
    """
    leaf = s.worldbody.add_body(name=f"leaf{index}", pos=[*parked_mechanism(index), LEAF_HEIGHT / 2 + LEAF_CLEARANCE])
    most = np.rad2deg(SWING_MOST)
    turns = (
        {"range": [-3, 3 + np.rad2deg(LEAF_OPEN)], "damping": 2}
        if servo
        else {"range": [-most, most], "damping": SWING_DAMPING, "frictionloss": SWING_FRICTION}
    )
    leaf.add_joint(name=f"leaf{index}", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], **turns)
    half = LEAF_LENGTH / 2
    leaf.add_geom(
        name=f"leaf{index}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[half, 0, 0],  # the same whichever way up the body is
        size=[half, LEAF_HALF, LEAF_HEIGHT / 2],
        mass=6 if servo else SWING_MASS,
        rgba=[0.7, 0.6, 0.5, 1],
        **bodies.FIXED,
    )
    if servo:
        _servo(s, f"leaf{index}", kp=600, kv=60, force=60)


def _add_button(s: mujoco.MjSpec, index: int, number: int) -> None:
    """A button's cap on a post, held up by a servo; that of a plain button goes down once it was pressed, a toggle's does not."""
    post = s.worldbody.add_body(name=f"button{index}", pos=[*parked_mechanism(number), 0])
    box, (half, thick) = mujoco.mjtGeom.mjGEOM_BOX, BUTTON_CAP
    post.add_geom(
        name=f"post{index}",
        type=box,
        pos=[0, 0, BUTTON_POST / 2],
        size=[BUTTON_HALF, BUTTON_HALF, BUTTON_POST / 2],
        rgba=[0.35, 0.37, 0.4, 1],
        **bodies.FIXED,
    )
    cap = post.add_body(name=f"cap{index}", pos=[0, 0, BUTTON_POST + BUTTON_TRAVEL], gravcomp=1)
    cap.add_joint(
        name=f"button{index}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1], range=[-BUTTON_TRAVEL, 0.002], damping=8, armature=0.2
    )
    cap.add_geom(name=f"cap{index}", type=box, size=[half, half, thick], mass=0.1, rgba=[0.9, 0.2, 0.2, 1], **bodies.FIXED)
    _servo(s, f"button{index}", kp=400, kv=10, force=20)


def _add_lid(s: mujoco.MjSpec, index: int, pos: np.ndarray) -> None:
    """A hamper's lid, whose weight is balanced, moved by a servo that stalls at a hand. As a fixed thing, it never meets its bin."""
    lid = s.worldbody.add_body(name=f"lid{index}", pos=[*pos, LID_HEIGHT], gravcomp=1)
    degrees = [-1, 3 + np.rad2deg(LID_OPEN)]
    lid.add_joint(name=f"lid{index}", type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, -1, 0], range=degrees, damping=0.2, armature=0.01)
    lid.add_geom(
        name=f"lid{index}",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=[LID_HALF[0], 0, LID_HALF[2]],
        size=LID_HALF,
        mass=0.3,
        rgba=[0.6, 0.5, 0.4, 1],
        **bodies.FIXED,
    )
    _servo(s, f"lid{index}", kp=20, kv=1, force=0.8)


def _servo(s: mujoco.MjSpec, joint: str, kp: float, kv: float, force: float) -> None:
    act = s.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    act.set_to_position(kp=kp, kv=kv)
    act.forcerange, act.forcelimited = (-force, force), True
