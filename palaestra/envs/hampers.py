"""Where hampers' lids are in the plane, as far as they are open. Axis H; the sizes are those of `palaestra.sim.world`."""

from typing import Any

import numpy as np

from palaestra.sim.world import LID_HALF, LID_HEIGHT, Layout, WorldSpec, array_module, leaf_axis, lid_hinges

OPEN_ENOUGH = 0.5 * np.pi  # rad, from where a hamper counts as open: its lid stands upright


def hinges(spec: WorldSpec, layout: Layout) -> Any:
    """Where the lids hang [H, 2] m."""
    last = spec.walls + spec.tables + spec.bins
    return lid_hinges(layout.fixture_pos[last - spec.hampers : last, :2], layout.lid_quat)


def fronts(layout: Layout) -> Any:
    """Unit vectors from the hinges over the bins [H, 2]."""
    return leaf_axis(layout.lid_quat, 0.0)


def lids(spec: WorldSpec, layout: Layout, angle: Any) -> tuple[Any, Any, Any]:
    """The boxes around lids that are open by `angle` [H] rad: middles and half sizes [H, 2] m, and heights of their tops [H] m."""
    xp = array_module(layout.lid_quat, angle)
    front, (long, wide, thick) = fronts(layout), LID_HALF
    cos, sin = xp.cos(angle), xp.sin(angle)
    along, reach = long * cos - thick * sin, long * abs(cos) + thick * abs(sin)
    middle = hinges(spec, layout) + along[:, None] * front
    half = reach[:, None] * abs(front) + wide * abs(front[:, ::-1])
    return middle, half, LID_HEIGHT + 2 * long * xp.maximum(sin, 0.0) + 2 * thick * abs(cos)
