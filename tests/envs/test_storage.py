"""Drawers in the truth table, in generated houses, in words and in pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import drawers, predicates
from palaestra.envs.display.render import TopDown
from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.goals import Formula, describe, formula, literal
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import INSIDE, OPEN, PREDICATES, Scene, Task, entity_used, kind_columns, num_entities
from palaestra.envs.words import wordings
from palaestra.envs.words.language import describe as describe_scene
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Place, Things, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.sim.drawers import DRAWER_FLOOR, DRAWER_HEIGHT, DRAWER_TRAVEL, HANDLE_OUT, TRAY_MIDDLE
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import WorldSpec, world
from tests.envs.worlds import env, one, tasks
from tests.sim.test_drawers import AT, SPEC, layout

ROBOT, CUBE, BALL, TABLE, BIN, DRAWER, ROOM = range(7)
SPLITS = ("train", "test")
W = world(SPEC)
ENGINE = NativeEngine(W)


def scene_of(out: float, cube=(9.0, 0.0, 0.03)) -> Scene:
    """One room of 4 m with a drawer that looks to the west."""
    return Scene(
        layout=layout(W, out=out, cube=cube),
        room=jnp.asarray([[-2.0, -2.0, 2.0, 2.0]]),
        room_used=jnp.asarray([True]),
        room_name=jnp.zeros(1, jnp.int32),
        door=jnp.zeros((4, 2)),
        door_along_x=jnp.zeros(4, bool),
        door_width=jnp.ones(4),
        door_rooms=jnp.zeros((4, 2), jnp.int32),
        door_used=jnp.zeros(4, bool),
        fixture_used=jnp.arange(SPEC.fixtures) >= SPEC.walls,
        receptacle_colour=jnp.arange(3),
        object_colour=jnp.zeros(2, jnp.int32),
    )


@jax.jit
def table_of(scene: Scene) -> jax.Array:
    geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), jnp.zeros(6))
    return predicates.truth_table(W, scene, geo, entity_used(SPEC, scene))


@pytest.mark.parametrize(
    ("out", "is_open"), [(0.0, False), (0.5 * DRAWER_TRAVEL, False), (0.17, False), (0.185, True), (DRAWER_TRAVEL, True)]
)
def test_a_drawer_is_open_from_four_fifths_of_its_way(out, is_open):
    table = np.asarray(table_of(scene_of(out)))
    assert table[OPEN, DRAWER, DRAWER] == is_open
    assert table[OPEN].sum() == is_open


@pytest.mark.parametrize("out", [0.0, 0.1, DRAWER_TRAVEL])
def test_what_lies_in_the_tray_is_inside_wherever_that_is(out):
    middle = AT[0] - TRAY_MIDDLE - out
    assert np.asarray(table_of(scene_of(out, (middle, 0.05, DRAWER_FLOOR + 0.03))))[INSIDE, CUBE, DRAWER]
    on_top = np.asarray(table_of(scene_of(out, (AT[0], 0.0, DRAWER_HEIGHT + 0.03))))
    before = np.asarray(table_of(scene_of(out, (middle - 0.2, 0.0, 0.03))))
    assert not (on_top | before)[INSIDE].any()


def test_where_trays_are_is_what_the_physics_says():
    scene = scene_of(0.12)
    geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), jnp.zeros(6))
    np.testing.assert_allclose(geo.position[DRAWER, :2], [AT[0] - TRAY_MIDDLE - 0.12, 0.0], atol=1e-6)
    np.testing.assert_allclose(drawers.fronts(scene.layout), [[-1.0, 0.0]], atol=1e-6)
    low, high = (np.asarray(x)[0] for x in drawers.swept(scene.layout))
    np.testing.assert_allclose(low + high, [AT[0] + 0.146, 0.156], atol=1e-6)  # the cabinet's back, and its side
    np.testing.assert_allclose(low - high, [AT[0] - TRAY_MIDDLE - HANDLE_OUT - 0.016 - DRAWER_TRAVEL, -0.156], atol=1e-6)


@pytest.mark.parametrize("out", [0.0, 0.1, 0.19, DRAWER_TRAVEL])
def test_what_a_hand_reaches_of_a_tray_begins_where_the_cabinets_top_ends(out):
    (at, half), (tray, inner) = (f(scene_of(out).layout, jnp.asarray([out])) for f in (drawers.uncovered, drawers.trays))
    assert half[0, 1] == inner[0, 1]
    west, east = (float(tray[0, 0] + side * inner[0, 0]) for side in (-1, 1))
    assert float(at[0, 0] - half[0, 0]) == pytest.approx(west, abs=1e-6)  # to the tray's front
    assert float(at[0, 0] + half[0, 0]) == pytest.approx(np.clip(AT[0] - 0.146, west, east), abs=1e-6)  # the cabinet's front


# --- generated houses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_drawers_have_the_room_to_open(split):
    spec, some = env("storage", split).world.spec, tasks("storage", split, 64)
    assert overlaps(spec, some.scene).sum() == 0
    drawn = some.scene.replace(layout=some.scene.layout.replace(drawer_out=np.full((64, spec.drawers), DRAWER_TRAVEL, np.float32)))
    assert overlaps(spec, drawn).sum() == 0
    states = np.asarray(some.scene.layout.drawer_out)
    assert set(np.unique(states)) == {np.float32(0), np.float32(DRAWER_TRAVEL)}


def test_a_wall_in_the_tray_is_found():
    spec, scene = env("storage").world.spec, one(tasks("storage", "train", 64), 3).scene
    assert overlapping(spec, scene) == []
    pos = scene.layout.fixture_pos.copy()
    pos[-1] = pos[-2]
    spoilt = scene.replace(layout=scene.layout.replace(fixture_pos=pos))
    first = 1 + spec.objects + spec.receptacles - spec.drawers
    assert (first, first + 1) in overlapping(spec, spoilt)


def test_goals_are_about_drawers_and_not_reached_at_the_start():
    spec, some = env("storage").world.spec, tasks("storage", "train", 64)
    said = [formula(spec, one(some, i)) for i in range(64)]
    texts = ["; ".join(describe(f)) for f in said]
    assert all("drawer" in text for text in texts)
    for wanted in ("in red_drawer", "drawer not open", "drawer open"):
        assert any(wanted.replace("red", colour) in text for text in texts for colour in ("red", "green", "blue", "yellow")), wanted


def test_observations_tell_drawers_only_where_there_are_some():
    assert (len(kind_columns(WorldSpec())), len(kind_columns(SPEC))) == (7, 8)
    with_, without = env("storage"), env("rearrange")
    e, columns = num_entities(with_.world.spec), 1 + 8 + 1 + 6 + 3 + 2
    assert with_.observation_size == 9 + 36 + (e - 1) * columns + 2 * 2 + 10 * (6 + 10 + len(PREDICATES) + 2 * e)
    e = num_entities(without.world.spec)
    assert without.observation_size == 9 + 36 + (e - 1) * (columns - 1) + 10 * (6 + 10 + len(PREDICATES) + 2 * e)


# --- words ----------------------------------------------------------------------------------------------------------

THINGS = Things(
    (
        Entity(0, "robot", "robot"),
        Entity(1, "red_cube", "cube", "red", "small"),
        Entity(2, "blue_ball", "ball", "blue", "small"),
        Entity(3, "red_table", "table", "red"),
        Entity(4, "green_drawer", "drawer", "green"),
        Entity(5, "blue_drawer", "drawer", "blue"),
        Entity(6, "kitchen", "room"),
    ),
    {name: Place("kitchen") for name in ("robot", "red_cube", "blue_ball", "red_table", "green_drawer", "blue_drawer")},
    {"kitchen": (0.0, 0.0)},
)
OPENED = ("open", "green_drawer", "green_drawer")
BOTH_SHUT = ["green_drawer not open", "blue_drawer not open"]


def test_every_wording_about_a_drawer_means_it_and_is_rendered():
    for table, said in ((wordings.ACTS, Formula.of([OPENED])), (wordings.DENIALS, Formula((((literal(OPENED, true=False),),),)))):
        rendered = [say(said, THINGS, Taste(seed, held_out=seed % 4 == 0)).lower() for seed in range(300)]
        for row in table["drawn"].all:
            text = row.format(x=noun_phrase(OPENED[1]), none="none of " + noun_phrase(OPENED[1]), **{"is": "is"})
            assert read(text, THINGS) == said, text
            assert row in table["drawn"].held_out or "{none}" in row or any(text in line for line in rendered), text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Put the red cube into the green drawer.", ["red_cube in green_drawer"]),
        ("Shut the drawers.", BOTH_SHUT),
        ("Close every drawer.", BOTH_SHUT),
        ("Close all of the green drawer and the blue drawer.", BOTH_SHUT),
        ("Push the green drawer and the blue drawer shut.", BOTH_SHUT),
        ("Make sure that all drawers are shut.", BOTH_SHUT),
        ("Pull the blue chest open.", ["blue_drawer open"]),
        ("Put the ball in the blue drawer and shut it.", ["blue_ball in blue_drawer", "blue_drawer not open"]),
        ("Do not leave the drawers open.", BOTH_SHUT),
        ("First open the green drawer, then go to the table.", ["1. green_drawer open", "2. robot near red_table"]),
    ],
)
def test_what_is_said_of_drawers(text, meaning):
    assert describe(read(text, THINGS)) == meaning


def test_things_go_into_drawers_not_onto_them():
    with pytest.raises(InstructionError, match="things go in it, not on it"):
        read("put the red cube on the green drawer", THINGS)


def test_instructions_are_read_back_and_scenes_tell_which_drawers_are_open():
    for split in SPLITS:
        spec, some = env("storage", split).world.spec, tasks("storage", split, 64)
        for i in range(16):
            task = one(some, i)
            text = env("storage", split).instruction(task, i)
            assert formula(spec, Task(scene=task.scene, goal=parse(text, spec, task.scene))) == formula(spec, task), text
            told = describe_scene(spec, task.scene)
            names = [e.name for e in entities(spec, task.scene) if e.kind == "drawer"]
            for name, out in zip(names, task.scene.layout.drawer_out, strict=True):
                assert f"{noun_phrase(name).capitalize()} is {'open' if out > 0.1 else 'shut'}." in told


# --- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_show_how_far_a_drawer_is_out():
    picture = TopDown(W, 320)
    frames, tray = [], (np.array(AT) - [TRAY_MIDDLE + DRAWER_TRAVEL, 0.0])
    for out in (0.0, DRAWER_TRAVEL):
        scene = jax.tree.map(np.asarray, scene_of(out))
        scene = scene.replace(fixture_used=np.arange(SPEC.fixtures) == SPEC.fixtures - 1)
        frames.append(picture.frame(scene, ENGINE.init(scene.layout)))
        column, row = picture.locate(scene, tray - [0.05, 0.05]).round().astype(int)
    shut, drawn = (frame[row, column].astype(int) for frame in frames)
    assert np.abs(shut - drawn).max() > 20
