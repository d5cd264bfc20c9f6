"""Directions against points set by hand: x is east, y is north."""

import pytest

from palaestra.envs.words.compass import clear, related, sides

ORIGIN = (1.0, 2.0)


@pytest.mark.parametrize(
    ("relation", "east", "north", "said", "sure"),
    [
        ("east", 0.5, 0.0, True, True),
        ("west", 0.5, 0.0, False, False),
        ("west", -0.5, 0.1, True, True),
        ("north", 0.1, 0.5, True, True),
        ("south", -0.1, -0.5, True, True),
        ("east", 0.2, 0.0, True, False),  # hardly aside
        ("east", 0.1, 0.0, False, False),
        ("east", 0.5, 0.5, True, False),  # as much north as east
        ("north", 0.5, 0.5, True, False),
        ("east", 0.5, 0.9, False, False),
    ],
)
def test_what_is_half_so_is_neither_said_nor_denied(relation, east, north, said, sure):
    at = (ORIGIN[0] + east, ORIGIN[1] + north)
    assert (related(relation, ORIGIN, {"it": at}) == ("it",)) == said
    assert clear(relation, ORIGIN, at) == sure


def test_nearest_needs_a_margin():
    assert related("nearest", ORIGIN, {"a": (1.5, 2.0), "b": (1.0, 3.0)}) == ("a",)
    assert related("nearest", ORIGIN, {"a": (1.5, 2.0), "b": (1.0, 2.7)}) == ("a", "b")
    assert related("nearest", ORIGIN, {}) == ()


def test_sides_of_a_house():
    two = sides({"a": (0.0, 0.0), "b": (2.5, 0.1)})
    assert two == {"a": ("north", "south", "west"), "b": ("north", "south", "east")}  # neither is further north
    four = sides({"a": (0.0, 0.0), "b": (2.5, 0.0), "c": (0.0, 2.5), "d": (2.5, 2.5)})
    assert four["d"] == ("north", "east", "north east")
    assert four["a"] == ("south", "west", "south west")
    three = sides({"a": (0.0, 0.0), "b": (0.0, 2.5), "c": (2.5, 1.2)})
    assert [name for name, found in three.items() if "east" in found] == ["c"]
    assert [name for name, found in three.items() if "north" in found] == ["b"]
    assert "north east" not in three["c"]
