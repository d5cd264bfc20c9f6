"""Embodiments, by name. A body adds itself to a world and turns actions into actuator set points.

There is one so far; predicates and skills rely on its joints (base x, y, yaw, lift, two fingers).

Frames: `world` is right-handed, z up, metres; `base` has its origin on the floor under the robot's axis, x forward.
"""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import mujoco

from palaestra.sim.errors import UnknownNameError

# Collision classes. Fixed things never meet each other; whatever moves meets everything.
FIXED = {"contype": 2, "conaffinity": 1}
MOVING = {"contype": 1, "conaffinity": 3}
# Crates meet everything but what is flush with the floor: a pressure plate, over whose edge nothing heavy could be pushed.
HEAVY = {"contype": 4, "conaffinity": 7}
FLUSH = {"contype": 0, "conaffinity": 1}


class Body(Protocol):
    """What an embodiment must offer. `q` is its own slice of qpos, [nq_body]; `ctrl` its set points, [nu]."""

    name: str
    num_joints: int
    action_names: tuple[str, ...]

    def attach(self, spec: mujoco.MjSpec) -> None:
        """Add bodies, joints and actuators to the world; joints first in qpos, all named."""
        ...

    def control(self, q: jax.Array, ctrl: jax.Array, action: jax.Array) -> jax.Array:
        """Next set points [nu] from the present ones and an action in [-1, 1]."""
        ...

    def grip_position(self, q: jax.Array) -> jax.Array:
        """Position of the point between the fingers, world frame, [3] m."""
        ...


@dataclass(frozen=True)
class MobileManipulator:
    """An omnidirectional base, a lift, and a parallel gripper that holds by friction alone.

    qpos [6]: base x, y (m, world), yaw (rad), lift (m), left and right finger (m, positive closes).
    ctrl [6]: base velocities in the world frame (m/s, m/s, rad/s), lift (m), finger set points (m).
    action [5] in [-1, 1]: forward, left, turn (velocities in the base frame), raise, close (rates of the set points).
    An action of zero is "stand still and keep what you hold".
    """

    name: str = "mobile_manipulator"
    reach: float = 0.40  # m, from the base's axis to the grip point
    base_radius: float = 0.12  # m
    grip_height: float = 0.30  # m above the floor, at lift = 0
    lift_range: tuple[float, float] = (-0.272, 0.20)  # m
    half_gap: float = 0.055  # m, half the opening when fully open
    finger_travel: float = 0.053  # m
    max_speed: float = 0.8  # m/s
    max_turn: float = 2.0  # rad/s
    lift_rate: float = 0.04  # m a control step (0.8 m/s)
    grip_rate: float = 0.012  # m a control step (0.24 m/s)
    grip_stiffness: float = 200.0  # N/m

    action_names: tuple[str, ...] = ("forward", "left", "turn", "raise", "close")
    num_joints: int = 6

    def attach(self, spec: mujoco.MjSpec) -> None:
        slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
        box, capsule = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CAPSULE
        shell, steel = [0.93, 0.94, 0.96, 1], [0.25, 0.28, 0.33, 1]
        base = spec.worldbody.add_body(name="base")
        base.add_joint(name="x", type=slide, axis=[1, 0, 0])
        base.add_joint(name="y", type=slide, axis=[0, 1, 0])
        base.add_joint(name="yaw", type=hinge, axis=[0, 0, 1])
        # 1 cm above the floor: the height is not a degree of freedom, so that contact would only cost time.
        r = self.base_radius
        base.add_geom(name="base", type=capsule, fromto=[0, 0, r + 0.01, 0, 0, r + 0.11], size=[r, 0, 0], mass=8, rgba=shell, **MOVING)
        for name, pos, size, rgba in (
            ("mast", [0, 0, 0.40], [0.025, 0.03, 0.20], steel),
            ("skirt", [0, 0, 0.03], [0.09, 0.09, 0.02], steel),
        ):
            base.add_geom(name=name, type=box, pos=pos, size=size, mass=1e-3, rgba=rgba, contype=0, conaffinity=0)
        # Weight is compensated as a balanced lift would, so the set point is the height that is reached.
        lift = base.add_body(name="lift", pos=[0, 0, self.grip_height], gravcomp=1)
        lift.add_joint(name="lift", type=slide, axis=[0, 0, 1], range=self.lift_range, damping=10)
        lift.add_geom(name="arm", type=box, pos=[0.20, 0, 0.045], size=[0.17, 0.02, 0.012], mass=0.3, rgba=steel, **MOVING)
        lift.add_geom(name="palm", type=box, pos=[self.reach, 0, 0.045], size=[0.03, 0.075, 0.012], mass=0.2, rgba=steel, **MOVING)
        for name, side in (("left", 1.0), ("right", -1.0)):
            finger = lift.add_body(name=name, pos=[self.reach, side * (self.half_gap + 0.01), 0], gravcomp=1)
            # Without the armature, a light finger under 5 N chatters on what it holds at 10 ms steps.
            finger.add_joint(name=name, type=slide, axis=[0, -side, 0], range=[0, self.finger_travel], damping=20, armature=0.5)
            finger.add_geom(
                name=name, type=box, size=[0.035, 0.01, 0.027], mass=0.05, friction=[2, 0.05, 0.01], condim=4, rgba=shell, **MOVING
            )
        lift.add_site(name="grip", pos=[self.reach, 0, 0], size=[0.005])
        spec.add_exclude(bodyname1="left", bodyname2="right")
        # Bounded forces: what drives into a wall stalls, instead of prying the fingers open.
        for joint, kv, force in (("x", 200.0, 50.0), ("y", 200.0, 50.0), ("yaw", 10.0, 3.0)):
            act = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            act.set_to_velocity(kv=kv)
            act.forcerange, act.forcelimited = (-force, force), True
        for joint, kp, kv, limit, force in (
            ("lift", 400.0, 40.0, self.lift_range, 40.0),
            ("left", self.grip_stiffness, 10.0, (0.0, self.finger_travel), 10.0),
            ("right", self.grip_stiffness, 10.0, (0.0, self.finger_travel), 10.0),
        ):
            act = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
            act.set_to_position(kp=kp, kv=kv)
            act.ctrlrange, act.ctrllimited = limit, True
            act.forcerange, act.forcelimited = (-force, force), True

    def control(self, q: jax.Array, ctrl: jax.Array, action: jax.Array) -> jax.Array:
        action = jnp.clip(action, -1.0, 1.0)
        cos, sin = jnp.cos(q[2]), jnp.sin(q[2])
        forward, left = self.max_speed * action[0], self.max_speed * action[1]
        lift = jnp.clip(ctrl[3] + self.lift_rate * action[3], *self.lift_range)
        grip = jnp.clip(ctrl[4] + self.grip_rate * action[4], 0.0, self.finger_travel)
        return jnp.stack([cos * forward - sin * left, sin * forward + cos * left, self.max_turn * action[2], lift, grip, grip])

    def grip_position(self, q: jax.Array) -> jax.Array:
        return jnp.stack([q[0] + self.reach * jnp.cos(q[2]), q[1] + self.reach * jnp.sin(q[2]), self.grip_height + q[3]])

    def squeeze(self, q: jax.Array, ctrl: jax.Array) -> jax.Array:
        """Force with which the weaker finger presses, N: the spring between its set point and where it is stopped."""
        return self.grip_stiffness * jnp.min(ctrl[4:6] - q[4:6])


_BODIES = {"mobile_manipulator": MobileManipulator()}


def body(name: str) -> MobileManipulator:
    """The embodiment registered as `name`."""
    if name not in _BODIES:
        raise UnknownNameError("body", name, _BODIES)
    return _BODIES[name]
