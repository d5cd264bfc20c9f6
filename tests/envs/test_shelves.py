"""Shelves in generated houses, in words, and in plans."""

import numpy as np
import pytest

from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.goals import Formula, describe, formula
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import KINDS, ON, Task, entity_kinds, kind_columns, shelf_entity
from palaestra.envs.words.language import describe as describe_scene
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Place, Things
from palaestra.envs.words.wordings import Taste
from palaestra.sim.world import WorldSpec
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import Call, contracts, prompt_text
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem
from tests.envs.worlds import env, one, tables, tasks

SPLITS = ("train", "test")


def test_the_order_of_things_is_tables_shelves_plates_bins_hampers():
    spec = WorldSpec(cubes=1, balls=0, tables=4, shelves=1, plates=1, bins=2, hampers=1, rooms=1)
    kinds = ["object", "table", "table", "shelf", "plate", "bin", "hamper", "room"]
    assert [KINDS[kind] for kind in entity_kinds(spec)] == kinds
    assert shelf_entity(spec, 0) == 4
    assert len(kind_columns(spec)) == 9


@pytest.mark.parametrize(("slots", "message"), [({"shelves": 3}, "shelves: got 3, expected at most 2"), ({"hampers": 3}, "hampers: got 3")])
def test_slots_that_do_not_fit_are_refused(slots, message):
    with pytest.raises(ValueError, match=message):
        WorldSpec(tables=3, plates=1, **slots)


@pytest.mark.parametrize("split", SPLITS)
def test_shelves_stand_along_walls_and_are_higher_than_tables(split):
    spec, some = env("shelves", split).world.spec, tasks("shelves", split, 64)
    assert overlaps(spec, some.scene).sum() == 0
    plain = spec.walls + spec.tables - spec.shelves
    for i in range(64):
        lay, used = one(some.scene, i).layout, one(some.scene, i).fixture_used
        walls = [(lay.fixture_pos[k, :2], lay.fixture_half[k, :2]) for k in range(spec.walls) if used[k]]
        tops = lay.fixture_pos[:, 2] + lay.fixture_half[:, 2]
        assert tops[spec.walls : plain].max() <= 0.20 < 0.21 <= tops[plain : plain + spec.shelves].min()
        assert tops[plain : plain + spec.shelves].max() <= 0.27
        for k in range(plain, plain + spec.shelves):
            pos, half = lay.fixture_pos[k, :2], lay.fixture_half[k, :2]
            deep, wide = sorted(half)
            assert 0.11 <= deep <= 0.12 < 0.20 <= wide <= 0.24
            into = np.eye(2)[int(half[1] < half[0])]  # the short way

            def in_wall(at, walls=walls):
                return any((np.abs(at - centre) < size).all() for centre, size in walls)

            # One long side, from end to end, is within 2 cm of a wall.
            ends = (-0.95 * wide, 0.0, 0.95 * wide)
            sides = [all(in_wall(pos + sign * (deep + 0.02) * into + along * into[::-1]) for along in ends) for sign in (-1, 1)]
            assert any(sides), i


@pytest.mark.parametrize("split", SPLITS)
def test_goals_are_about_shelves_and_solved_and_read_back(split):
    e, some = env("shelves", split), tasks("shelves", split, 64)
    spec, table, put, taken = e.world.spec, tables(e.world.spec, some.scene), 0, 0
    for i in range(64):
        task = one(some, i)
        asked = problem(spec, task, table[i])
        text = "; ".join(describe(asked.goal))
        from_shelf = {s for p, s, t in asked.facts if p == "on" and t.endswith("shelf")}
        moved = {x for term in asked.goal.stages[0][0] for x in (*term.subjects, *term.targets)} & from_shelf
        assert "_shelf" in text or moved
        put, taken = put + ("on " in text and "_shelf" in text), taken + bool(moved)
        assert OraclePlanner().plan(asked).steps
        said = e.instruction(task, i)
        assert formula(spec, Task(scene=task.scene, goal=parse(said, spec, task.scene))) == formula(spec, task), said
        told = describe_scene(spec, task.scene).lower()
        assert all(f"the {s} is on the {t}.".replace("_", " ") in told for p, s, t in asked.facts if p == "on")
    assert put > 16
    assert taken > 4


def test_objects_start_on_shelves():
    spec, some = env("shelves").world.spec, tasks("shelves", "train", 64)
    shelves = shelf_entity(spec, np.arange(spec.shelves))
    assert tables(spec, some.scene)[:, ON][:, :, shelves].any((1, 2)).mean() > 0.25
    assert {e.kind for e in entities(spec, one(some, 0).scene)} >= {"table", "shelf", "bin"}


THINGS = Things(
    (
        Entity(0, "robot", "robot"),
        Entity(1, "red_cube", "cube", "red", "small"),
        Entity(2, "blue_ball", "ball", "blue", "small"),
        Entity(3, "red_table", "table", "red"),
        Entity(4, "green_shelf", "shelf", "green"),
        Entity(5, "blue_shelf", "shelf", "blue"),
        Entity(6, "red_bin", "bin", "red"),
        Entity(7, "kitchen", "room"),
    ),
    {name: Place("kitchen") for name in ("robot", "red_cube", "red_table", "green_shelf", "blue_shelf", "red_bin")}
    | {"blue_ball": Place("kitchen", "green_shelf")},
    {"kitchen": (0.0, 0.0)},
)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Put the red cube on the green shelf.", ["red_cube on green_shelf"]),
        ("Take the ball from the green shelf to the bin.", ["blue_ball in red_bin"]),
        ("Set the cube down on the blue ledge.", ["red_cube on blue_shelf"]),
        ("Take the ball off the green rack.", ["blue_ball not on green_shelf"]),
        ("Clear the shelves.", [f"{x} not on {shelf}_shelf" for shelf in ("green", "blue") for x in ("red_cube", "blue_ball")]),
    ],
)
def test_what_is_said_of_shelves(text, meaning):
    assert describe(read(text, THINGS)) == meaning


def test_shelves_are_said_in_the_plural():
    said = Formula.of([("on", "red_cube", "green_shelf")])
    texts = {say(said, THINGS, Taste(seed, held_out=seed % 2 == 1)) for seed in range(60)}
    assert any("green shelf" in text for text in texts)
    assert any("green ledge" in text for text in texts)
    assert describe(read("Put the cube on one of the shelves.", THINGS)) == ["red_cube on blue_shelf or green_shelf"]
    with pytest.raises(InstructionError, match="things go on it, not in it"):
        read("put the red cube in the green shelf", THINGS)


def test_shelves_take_objects_without_being_opened_and_models_hear_of_them_where_there_are_some():
    place = contracts(LIBRARY, THINGS.entities)[Call("place", {"object": "red_cube", "receptacle": "green_shelf"})]
    assert place.pre == {("holding", "robot", "red_cube"), ("near", "robot", "green_shelf")}
    assert place.add == {("on", "red_cube", "green_shelf")}
    assert "receptacle: table or bin or shelf" in prompt_text(LIBRARY, THINGS.entities)
    assert "shelf" not in prompt_text(LIBRARY)
