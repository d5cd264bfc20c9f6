"""Where drawers are in the plane, as far as they are out. Axis W; the frames and sizes are those of `palaestra.sim.drawers`.

The same lines serve numpy and jax.numpy.
"""

from typing import Any

import numpy as np

from palaestra.sim.drawers import (
    DRAWER_HALF,
    DRAWER_INNER,
    DRAWER_TRAVEL,
    HANDLE_ENDS,
    HANDLE_OUT,
    HANDLE_RADIUS,
    TRAY_MIDDLE,
)
from palaestra.sim.world import Layout, leaf_axis

DRAWN = 0.18  # m, from where a drawer counts as open: four fifths of its way
QUARTER_TURNS = np.array([[1, 0, 0, 0], [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], [0, 0, 0, 1], [np.sqrt(0.5), 0, 0, -np.sqrt(0.5)]], np.float32)
HANDLE_HEIGHT = 0.068  # m, at which a hand takes a handle
HANDLE_TOP = HANDLE_ENDS[1] + HANDLE_RADIUS  # m
_REACH = HANDLE_OUT + HANDLE_RADIUS  # m, from a tray's middle to where its handle ends
SWEPT = (-DRAWER_HALF[0], TRAY_MIDDLE + _REACH + DRAWER_TRAVEL)  # m, what a drawer takes along its way, from the cabinet's middle


def fronts(layout: Layout) -> Any:
    """Unit vectors out of the cabinets [W, 2]."""
    return leaf_axis(layout.drawer_quat, 0.0)


def _at(layout: Layout, out: Any, along: Any) -> Any:
    """The points [W, 2] m on the trays' axes, `along` m before the middle of trays that are out by `out` [W] m."""
    cabinets = layout.fixture_pos[len(layout.fixture_pos) - len(out) :, :2]
    return cabinets + (TRAY_MIDDLE + out + along)[:, None] * fronts(layout)


def _turned(layout: Layout, long: Any, wide: float) -> Any:
    """Half sizes [W, 2] m in the world of boxes that are `long` [W] m, or all as much, along the way of the drawers."""
    front = abs(fronts(layout))
    return (long * front.T).T + wide * front[:, ::-1]


def trays(layout: Layout, out: Any) -> tuple[Any, Any]:
    """Middles [W, 2] m and inner half sizes [W, 2] m of trays that are out by `out` [W] m."""
    return _at(layout, out, 0.0), _turned(layout, *DRAWER_INNER)


def uncovered(layout: Layout, out: Any) -> tuple[Any, Any]:
    """As `trays`, of what of them is not beneath the cabinet's top: what a hand reaches from above."""
    covered = (DRAWER_HALF[0] - TRAY_MIDDLE + DRAWER_INNER[0] - out).clip(0.0, 2 * DRAWER_INNER[0])  # m, of their length
    return _at(layout, out, covered / 2), _turned(layout, DRAWER_INNER[0] - covered / 2, DRAWER_INNER[1])


def handles(layout: Layout, out: Any) -> Any:
    """The points [W, 2] m at which trays are taken by the hand; `HANDLE_HEIGHT` above the floor."""
    return _at(layout, out, HANDLE_OUT)


def reaching(layout: Layout, out: Any) -> tuple[Any, Any]:
    """The boxes around trays and their handles: middles and half sizes [W, 2] m."""
    back = DRAWER_INNER[0] + 0.016
    return _at(layout, out, (_REACH - back) / 2), _turned(layout, (_REACH + back) / 2, DRAWER_HALF[1])


def swept(layout: Layout) -> tuple[Any, Any]:
    """The boxes that cabinets take on the floor, open or shut: middles and half sizes [W, 2] m."""
    middle = (SWEPT[1] + SWEPT[0]) / 2 - TRAY_MIDDLE
    return _at(layout, 0 * layout.drawer_out, middle), _turned(layout, (SWEPT[1] - SWEPT[0]) / 2, DRAWER_HALF[1])
