"""The world: one compiled MuJoCo model with a fixed number of slots. What differs from task to task is data.

Axis alphabet of the package: F fixtures (walls, tables, bins, in that order), O objects (cubes, then balls), E entities,
R rooms, D doorways, P predicates, G goal literals, B a batch, T time.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from flax import struct

from palaestra.sim import bodies

BIN_INNER = 0.13  # m, half of the inner width of a bin
BIN_RIM = 0.07  # m, height of a bin's rim
BIN_FLOOR = 0.01  # m, thickness of a bin's floor
BIN_SIDE = 0.01  # m, half of the thickness of a bin's sides
DENSITY = 460.0  # kg/m³, of cubes and balls: 100 g for a 60 mm cube
_PARKED = 60.0  # m, where unused slots wait, out of everything's way


@dataclass(frozen=True)
class WorldSpec:
    """How many slots of each kind a world has. Static: it fixes every array shape. Keep it small: objects cost time."""

    cubes: int = 3
    balls: int = 1
    tables: int = 2
    bins: int = 2
    rooms: int = 4
    body: str = "mobile_manipulator"
    timestep: float = 0.01  # s
    substeps: int = 5  # physics steps a control step: 20 Hz

    def __post_init__(self) -> None:
        if not 1 <= self.rooms <= 4:
            raise ValueError(f"rooms: got {self.rooms}, expected 1 to 4")
        for kind in ("cubes", "balls", "tables", "bins"):
            if getattr(self, kind) < 0:
                raise ValueError(f"{kind}: got {getattr(self, kind)}, expected 0 or more")
        if self.objects == 0:
            raise ValueError("cubes + balls: got 0, expected at least one object slot")
        if self.tables + self.bins == 0:
            raise ValueError("tables + bins: got 0, expected at least one receptacle slot")

    @property
    def objects(self) -> int:
        return self.cubes + self.balls

    @property
    def receptacles(self) -> int:
        return self.tables + self.bins

    @property
    def walls(self) -> int:
        return {1: 4, 2: 6, 3: 11, 4: 11}[self.rooms]

    @property
    def fixtures(self) -> int:
        return self.walls + self.tables + self.bins

    @property
    def control_dt(self) -> float:
        """Seconds a control step."""
        return self.timestep * self.substeps


class Layout(struct.PyTreeNode, kw_only=True):
    """What a task changes in the physics: where things are and how large. A traced pytree; one example, no batch axis."""

    fixture_pos: jax.Array  # [F, 3] m, world; bins: the centre of the floor's underside
    fixture_half: jax.Array  # [F, 3] m; ignored for bins, which have one size
    object_half: jax.Array  # [O] m, half edge of a cube, radius of a ball
    object_pos: jax.Array  # [O, 3] m, world, at the start
    object_yaw: jax.Array  # [O] rad, at the start
    object_used: jax.Array  # [O] bool; unused objects float far away and touch nothing
    robot_q: jax.Array  # [nq_body], the body's joints at the start

    def parameters(self) -> jax.Array:
        """All that stays fixed during an episode, one float32 row [F*6 + O*2]."""
        return jnp.concatenate(
            [
                self.fixture_pos.ravel(),
                self.fixture_half.ravel(),
                self.object_half,
                self.object_used.astype(jnp.float32),
            ]
        ).astype(jnp.float32)


def parked_fixture(index: int) -> np.ndarray:
    """Where an unused fixture waits, [3] m."""
    return np.array([_PARKED + 2.0 * index, _PARKED, -5.0], np.float32)


def parked_object(index: int) -> np.ndarray:
    """Where an unused object waits, [3] m."""
    return np.array([_PARKED + 2.0 * index, -_PARKED, 5.0], np.float32)


class World:
    """A compiled world and the addresses in it, resolved from names once. Immutable; hashable by its spec."""

    def __init__(self, spec: WorldSpec):
        self.spec = spec
        self.body = bodies.body(spec.body)
        self.model = build_spec(spec).compile()
        m = self.model
        names = [f"wall{i}" for i in range(spec.walls)]
        names += [f"table{i}" for i in range(spec.tables)] + [f"bin{i}" for i in range(spec.bins)]
        self.object_names = [f"cube{i}" for i in range(spec.cubes)] + [f"ball{i}" for i in range(spec.balls)]
        self.fixture_mocap = np.array([m.body(n).mocapid[0] for n in names])
        self.box_geom = np.array([m.geom(n).id for n in names[: spec.walls + spec.tables]])
        self.object_geom = np.array([m.geom(n).id for n in self.object_names])
        self.object_body = np.array([m.body(n).id for n in self.object_names])
        self.object_q = np.array([m.joint(n).qposadr[0] for n in self.object_names])
        self.object_v = np.array([m.joint(n).dofadr[0] for n in self.object_names])
        nq = self.body.num_joints
        if not all(int(m.jnt_qposadr[i]) == i for i in range(nq)):
            raise ValueError(f"body {spec.body!r}: its {nq} joints must come first in qpos, one coordinate each")

    def initial_qpos(self, layout: Layout) -> jax.Array:
        """qpos [nq] at the start of an episode."""
        half = 0.5 * layout.object_yaw
        zero = jnp.zeros_like(half)
        quat = jnp.stack([jnp.cos(half), zero, zero, jnp.sin(half)], -1)
        parked = jnp.asarray(np.stack([parked_object(i) for i in range(self.spec.objects)]))
        pos = jnp.where(layout.object_used[:, None], layout.object_pos, parked)
        free = jnp.concatenate([pos, quat], -1).ravel()
        return jnp.concatenate([layout.robot_q, free]).astype(jnp.float32)

    def object_pose(self, qpos: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Positions [O, 3] m and quaternions [O, 4] of all objects, world frame."""
        free = qpos[self.body.num_joints :].reshape(self.spec.objects, 7)
        return free[:, :3], free[:, 3:]

    def object_speed(self, qvel: jax.Array) -> jax.Array:
        """Speed of each object's centre [O] m/s."""
        return jnp.linalg.norm(qvel[self.body.num_joints :].reshape(self.spec.objects, 6)[:, :3], axis=-1)

    def __hash__(self) -> int:
        return hash(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, World) and other.spec == self.spec


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
    box, sphere = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE
    s.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], rgba=[0.86, 0.83, 0.78, 1], **bodies.FIXED)
    bodies.body(spec.body).attach(s)
    # Objects before fixtures: their joints then follow the robot's in qpos, whatever fixtures there are.
    for i in range(spec.objects):
        cube = i < spec.cubes
        name = f"cube{i}" if cube else f"ball{i - spec.cubes}"
        obj = s.worldbody.add_body(name=name, pos=parked_object(i))
        obj.add_freejoint(name=name)
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
    index = 0
    for kind, count, rgba in (("wall", spec.walls, [0.95, 0.94, 0.90, 1]), ("table", spec.tables, [0.6, 0.5, 0.4, 1])):
        for i in range(count):
            fixture = s.worldbody.add_body(name=f"{kind}{i}", mocap=True, pos=parked_fixture(index))
            fixture.add_geom(name=f"{kind}{i}", type=box, size=[0.1, 0.1, 0.1], rgba=rgba, **bodies.FIXED)
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
