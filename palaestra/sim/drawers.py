"""Drawers: a low cabinet on the floor and a tray that slides out of it, by hand alone.

The tray runs on a passive joint: friction keeps it where it was left, and nothing but a hand moves it. In front it has a round
post that the gripper closes around from above, whichever way the robot looks. Frame: on the floor under the cabinet's middle, x out
of the cabinet.
"""

from collections.abc import Sequence

import mujoco

from palaestra.sim.bodies import FIXED

DRAWER_TRAVEL = 0.22  # m, from shut until it can go no further
DRAWER_INNER = (0.11, 0.12)  # m, half of a tray's inner length and width
DRAWER_FLOOR = 0.015  # m, the height at which things lie in it
DRAWER_RIM = 0.08  # m, height of a tray's rim
DRAWER_HEIGHT = 0.11  # m, of a cabinet; objects pass beneath its top
DRAWER_HALF = (0.146, 0.156)  # m, half of a cabinet's length and width
TRAY_MIDDLE = 0.016  # m, where a shut tray's middle is along x
HANDLE_OUT = 0.186  # m, from a tray's middle to the axis of its handle
HANDLE_RADIUS = 0.016  # m
HANDLE_ENDS = (0.035, 0.085)  # m, heights of the ends of its axis; the cap above is round
TRAY_MASS = 0.6  # kg
SLIDE_FRICTION = 2.0  # N, what it takes to move a tray
SLIDE_DAMPING = 4.0  # N s/m
_SIDE = 0.008  # m, half of the thickness of what stands upright
_TOP = 0.006  # m, half of the thickness of a cabinet's top
_LOW = 0.005  # m, of a tray's underside above the floor


Box = tuple[tuple[float, float, float], tuple[float, float, float]]  # centre and half sizes, m


def drawer_boxes() -> tuple[list[Box], list[Box]]:
    """The boxes of a cabinet, and those of its shut tray: floor, front, back, sides, neck and handle (the box around it)."""
    (long, wide), upright = DRAWER_HALF, (DRAWER_HEIGHT - 2 * _TOP) / 2
    cabinet = [
        ((0.0, 0.0, DRAWER_HEIGHT - _TOP), (long, wide, _TOP)),
        ((_SIDE - long, 0.0, upright), (_SIDE, wide, upright)),
        ((0.0, wide - _SIDE, upright), (long, _SIDE, upright)),
        ((0.0, _SIDE - wide, upright), (long, _SIDE, upright)),
    ]
    (inner, across), x = DRAWER_INNER, TRAY_MIDDLE
    rise, mid = (DRAWER_RIM - _LOW) / 2, (DRAWER_RIM + _LOW) / 2
    end, side = inner + _SIDE, across + _SIDE
    neck = (HANDLE_OUT - end - _SIDE) / 2
    tray = [
        ((x, 0.0, (DRAWER_FLOOR + _LOW) / 2), (inner, across, (DRAWER_FLOOR - _LOW) / 2)),
        ((x + end, 0.0, mid), (_SIDE, side + _SIDE, rise)),
        ((x - end, 0.0, mid), (_SIDE, side + _SIDE, rise)),
        ((x, side, mid), (inner, _SIDE, rise)),
        ((x, -side, mid), (inner, _SIDE, rise)),
        ((x + end + _SIDE + neck, 0.0, 0.03), (neck, 0.012, 0.008)),
        (
            (x + HANDLE_OUT, 0.0, sum(HANDLE_ENDS) / 2),
            (HANDLE_RADIUS, HANDLE_RADIUS, (HANDLE_ENDS[1] - HANDLE_ENDS[0]) / 2 + HANDLE_RADIUS),
        ),
    ]
    return cabinet, tray


def add_drawer(s: mujoco.MjSpec, index: int, pos: Sequence[float]) -> None:
    """One drawer with its cabinet at pos (m), shut. Both are fixed things: they never meet each other, walls or tables."""
    wood, pale, steel = [0.55, 0.45, 0.35, 1], [0.75, 0.68, 0.58, 1], [0.35, 0.37, 0.4, 1]
    boxes, (*shell, neck, handle) = drawer_boxes()
    cabinet = s.worldbody.add_body(name=f"drawer{index}", pos=[*pos, 0])
    tray = cabinet.add_body(name=f"tray{index}")
    tray.add_joint(
        name=f"drawer{index}",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[1, 0, 0],
        range=[0, DRAWER_TRAVEL],
        frictionloss=SLIDE_FRICTION,
        damping=SLIDE_DAMPING,
    )
    box, mass = mujoco.mjtGeom.mjGEOM_BOX, TRAY_MASS / len(shell)
    for k, (at, size) in enumerate(boxes):
        cabinet.add_geom(name=f"drawer{index}_{k}", type=box, pos=at, size=size, rgba=wood, **FIXED)
    for k, (at, size) in enumerate(shell):
        tray.add_geom(name=f"tray{index}_{k}", type=box, pos=at, size=size, rgba=pale, mass=mass, **FIXED)
    tray.add_geom(name=f"neck{index}", type=box, pos=neck[0], size=neck[1], rgba=steel, mass=1e-3, **FIXED)
    (x, y, _), (low, high) = handle[0], HANDLE_ENDS
    ends = [x, y, low, x, y, high]
    # Round, so that it is held alike whichever way the hand is turned.
    tray.add_geom(
        name=f"handle{index}",
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=ends,
        size=[HANDLE_RADIUS, 0, 0],
        rgba=steel,
        mass=1e-3,
        **FIXED,
    )
