"""Directions as words, seen from above with north up: x points east and y north. "Left of" is west of.

What is half so is neither said nor denied: a thing may be called "west of" another one wherever a listener could agree, and is
called so by us only where it clearly is, and nothing else may be.
"""

from collections.abc import Mapping
from math import hypot

Point = tuple[float, float]  # m

DIRECTIONS = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0)}
_BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}
_ROOM = 0.8  # m, by which a room's middle is clearly further on one side; rooms are at least 2.3 m wide
_OFF = 0.15, 0.35  # m, how far aside a thing may, and clearly, is
_STEEP = 1.5, 0.8  # its offset across the direction over that along it
_NEARER = 0.3  # m, by which one of two things is clearly nearer


def sides(rooms: Mapping[str, Point]) -> dict[str, tuple[str, ...]]:
    """On which sides of a house each room may be said to be: no other one is clearly further that way.

    On two sides at once ("north east") is a room that has others to both sides of it.
    """
    found = {}
    for name, at in rooms.items():
        further = {side: any(_along(side, at, other) >= _ROOM for other in rooms.values()) for side in DIRECTIONS}
        edge = [side for side in DIRECTIONS if not further[side]]
        corners = [
            f"{a} {b}"
            for a in ("north", "south")
            for b in ("east", "west")
            if {a, b} <= set(edge) and further[_BACK[a]] and further[_BACK[b]]
        ]
        found[name] = (*edge, *corners)
    return found


def _along(side: str, origin: Point, at: Point) -> float:
    x, y = DIRECTIONS[side]
    return (at[0] - origin[0]) * x + (at[1] - origin[1]) * y


def _aside(side: str, origin: Point, at: Point, sure: bool) -> bool:
    """Whether a thing is, or may be said to be, on one side of the origin."""
    along = _along(side, origin, at)
    across = abs(at[0] - origin[0]) + abs(at[1] - origin[1]) - abs(along)
    return along >= _OFF[sure] and across <= _STEEP[sure] * along


def clear(relation: str, anchor: Point, at: Point) -> bool:
    """Whether the relation is beyond doubt by itself; "nearest" is a matter of the others."""
    return relation == "nearest" or _aside(relation, anchor, at, sure=True)


def related(relation: str, anchor: Point, near: Mapping[str, Point]) -> tuple[str, ...]:
    """Which of these things may be said to be on that side of the anchor, or the nearest of them to it."""
    if relation != "nearest":
        return tuple(name for name, at in near.items() if _aside(relation, anchor, at, sure=False))
    distance = {name: hypot(at[0] - anchor[0], at[1] - anchor[1]) for name, at in near.items()}
    least = min(distance.values(), default=0.0)
    return tuple(name for name in near if distance[name] <= least + _NEARER)
