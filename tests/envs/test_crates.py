"""Crates in the truth table, in generated houses, in words, in pictures and in the editor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import house, predicates
from palaestra.envs.display.render import TopDown
from palaestra.envs.editing import changes
from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.goals import Formula, describe, formula, literal
from palaestra.envs.names import Entity, entities
from palaestra.envs.observation import rays
from palaestra.envs.types import IN_ROOM, NEAR, ON, PRESSED, Scene, Task, entity_used, kind_columns
from palaestra.envs.words import wordings
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Place, Things, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.sim.errors import PalaestraError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import CRATE_HALF, PLATE_HEIGHT, WorldSpec, world
from tests.envs.worlds import env, one, tables, tasks
from tests.sim.scenes import open_floor

SPEC = WorldSpec(cubes=1, balls=0, tables=2, plates=1, bins=1, rooms=2, crates=1)
W = world(SPEC)
ENGINE = NativeEngine(W)
ROBOT, CUBE, CRATE, TABLE, PLATE, BIN, WEST, EAST = range(8)
HALF = 0.11
SPLITS = ("train", "test")


def scene_of(at, speed=0.0) -> Scene:
    """Two rooms of 4 m side by side; in the west a table at (-1, 1), a plate at (-1, -1) and a bin at (-3, 0), and the crate `at`."""
    w = SPEC.walls
    there = open_floor(W, half=(0.03, HALF), pos=((2.0, 1.5, 0.03), (*at, HALF)), robot=(-2.0, 0.5, 0.0, 0.1, 0.0, 0.0))
    stands = [(-1.0, 1.0, 0.1), (-1.0, -1.0, PLATE_HEIGHT / 2), (-3.0, 0.0, 0.0)]
    return Scene(
        layout=there.replace(
            fixture_pos=there.fixture_pos.at[w:].set(jnp.asarray(stands)),
            fixture_half=there.fixture_half.at[w:].set(jnp.asarray([(0.15, 0.15, 0.1), (0.16, 0.16, PLATE_HEIGHT / 2), (0.15, 0.15, 0.1)])),
        ),
        room=jnp.asarray([[-4.0, -2.0, 0.0, 2.0], [0.0, -2.0, 4.0, 2.0]]),
        room_used=jnp.ones(2, bool),
        room_name=jnp.arange(2),
        door=jnp.zeros((SPEC.doors, 2)),
        door_along_x=jnp.ones(SPEC.doors, bool),
        door_width=jnp.ones(SPEC.doors),
        door_rooms=jnp.tile(jnp.asarray([[0, 1]]), (SPEC.doors, 1)),
        door_used=jnp.arange(SPEC.doors) == 0,
        fixture_used=jnp.arange(SPEC.fixtures) >= SPEC.walls,
        receptacle_colour=jnp.arange(3),
        object_colour=jnp.zeros(2, jnp.int32),
    )


@jax.jit
def table_of(scene: Scene, speed=0.0) -> jax.Array:
    start = ENGINE.init(scene.layout)
    physics = start.replace(qvel=start.qvel.at[W.object_v[1]].set(speed))
    geo = predicates.geometry(W, scene, physics, jnp.zeros(6))
    return predicates.truth_table(W, scene, geo, entity_used(SPEC, scene))


def beside(gap: float) -> tuple[float, float]:
    """South of the table, so far from it."""
    return -1.0, 1.0 - 0.15 - HALF - gap


@pytest.mark.parametrize(("gap", "is_near"), [(0.0, True), (0.24, True), (0.26, False), (0.7, False)])
def test_a_crate_is_near_to_what_it_is_a_quarter_of_a_metre_from(gap, is_near):
    near = np.asarray(table_of(scene_of(beside(gap))))[NEAR]
    assert near[CRATE, TABLE] == is_near
    assert near[CRATE].sum() == is_near
    assert not near[TABLE].any()


def test_corner_to_corner_the_gap_is_the_diagonal():
    off = 0.15 + HALF + 0.2
    assert not np.asarray(table_of(scene_of((-1.0 - off, 1.0 - off))))[NEAR, CRATE, TABLE]  # 0.28 m
    off = 0.15 + HALF + 0.17
    assert np.asarray(table_of(scene_of((-1.0 - off, 1.0 - off))))[NEAR, CRATE, TABLE]  # 0.24 m


def test_what_moves_is_near_nothing_and_a_wall_parts_what_is_near():
    assert not np.asarray(table_of(scene_of(beside(0.1)), speed=0.2))[NEAR, CRATE].any()
    scene = scene_of((0.05, 1.0))
    beyond = scene.replace(layout=scene.layout.replace(fixture_pos=scene.layout.fixture_pos.at[SPEC.walls, 0].set(-0.3)))
    assert not np.asarray(table_of(beyond))[NEAR, CRATE].any()


@pytest.mark.parametrize(("x", "is_on"), [(-1.0, True), (-1.15, True), (-1.17, False)])
def test_a_crate_presses_the_plate_that_its_middle_is_over(x, is_on):
    table = np.asarray(table_of(scene_of((x, -1.0))))
    assert table[ON, CRATE, PLATE] == table[PRESSED, PLATE, PLATE] == is_on
    assert table[ON].sum() == is_on


def test_a_crate_is_in_its_room_and_the_robot_near_it():
    west, east = (np.asarray(table_of(scene_of((x, 0.5)))) for x in (-1.5, 1.5))
    assert west[IN_ROOM, CRATE].tolist() == [False] * WEST + [True, False]
    assert east[IN_ROOM, CRATE].tolist() == [False] * WEST + [False, True]
    assert west[NEAR, ROBOT, CRATE]
    assert not east[NEAR, ROBOT, CRATE]


def test_the_robot_feels_crates_and_not_what_it_drives_across():
    def seen(at):
        scene = scene_of(at)
        geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), jnp.zeros(6))
        return np.asarray(rays(W, scene, geo))

    near, far = seen((-1.5, 0.5)), seen((3.0, 0.5))
    assert near[0] == pytest.approx((0.5 - HALF) / 2.0, abs=1e-3)
    assert far[0] == 1.0
    scene = scene_of((3.0, 0.5))
    over = scene.replace(layout=scene.layout.replace(robot_q=jnp.asarray([-1.6, -1.0, 0.0, 0.1, 0.0, 0.0])))
    geo = predicates.geometry(W, over, ENGINE.init(over.layout), jnp.zeros(6))
    assert rays(W, over, geo)[0] == 1.0


# --- ways -----------------------------------------------------------------------------------------------------------


def test_a_way_leads_past_the_corner_of_what_stands_between():
    scene, there = scene_of((3.0, 0.5)), jnp.asarray([True])
    box = jnp.asarray([[-2.0, 0.0]]), jnp.asarray([[0.2, 0.2]])
    start, goal = jnp.asarray([-3.0, 0.05]), jnp.asarray([-1.0, 0.1])
    by = np.asarray(house.past(scene, start, goal, *box, there, 0.2))
    assert (np.abs(by - [-2.0, 0.0]) > 0.4).all()
    assert by[1] > 0, "the shorter way round"
    np.testing.assert_allclose(by[0], -2.48, atol=1e-6)
    np.testing.assert_array_equal(house.past(scene, start, goal, *box, ~there, 0.2), goal)
    np.testing.assert_array_equal(house.past(scene, start, goal + jnp.asarray([0.0, 1.5]), *box, there, 0.2), goal + jnp.asarray([0, 1.5]))


# --- generated houses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_one_can_get_around_every_crate(split):
    """Nothing overlaps, and half a metre is free to walls and furniture; by the boxes of the independent check."""
    spec, some = env("crates", split).world.spec, tasks("crates", split, 64)
    assert overlaps(spec, some.scene).sum() == 0
    lay, p = some.scene.layout, spec.portables
    half, used = lay.object_half[:, p:], lay.object_used[:, p:]
    assert used.any(1).all()
    assert ((half >= CRATE_HALF[0]) & (half <= CRATE_HALF[1])).all()
    apart = np.abs(lay.object_pos[:, p:, None, :2] - lay.fixture_pos[:, None, :, :2]) - lay.fixture_half[:, None, :, :2]
    gap = np.linalg.norm(np.maximum(apart - half[:, :, None, None], 0.0), axis=-1)
    assert gap[used[:, :, None] & some.scene.fixture_used[:, None]].min() > 0.45


@pytest.mark.parametrize("split", SPLITS)
def test_goals_are_about_crates_and_nothing_holds_at_the_start(split):
    spec, some = env("crates", split).world.spec, tasks("crates", split, 64)
    table = tables(spec, some.scene)
    crate = {e.index for e in entities(spec, one(some.scene, 0)) if e.kind == "crate"}
    assert crate
    seen = set()
    for i in range(64):
        goal, kinds = one(some.goal, i), {e.name: e.kind for e in entities(spec, one(some.scene, i))}
        terms = [term for option in formula(spec, one(some, i)).stages[0] for term in option]
        assert len(terms) == 2
        heavy = [term for term in terms if kinds[term.subjects[0]] == "crate"]
        assert heavy
        seen |= {(term.predicate, kinds[term.targets[0]]) for term in heavy}
        pairs = table[i][goal.predicate] & goal.subjects[:, :, None] & goal.targets[:, None]
        assert not pairs[goal.used].any()
    assert {("on", "plate"), ("in_room", "room"), ("near", "table"), ("near", "bin")} <= seen


def test_a_door_is_opened_by_a_weight_and_has_to_be():
    """Where a door is shut, its rule asks for the plate, which is before it, as all crates are; something is to be done behind."""
    spec, some = env("crates").world.spec, tasks("crates", "train", 128)
    shut = np.flatnonzero(np.asarray(some.scene.leaf_used).any(1))
    assert len(shut) >= 5
    first_plate = 1 + spec.objects + spec.tables - spec.plates
    for i in map(int, shut[:12]):
        scene, goal = one(some.scene, i), one(some.goal, i)
        assert scene.rules.used.tolist() == [True]
        assert (scene.rules.predicate[0, 0], scene.rules.subject[0, 0], scene.rules.lasting[0]) == (PRESSED, first_plate, False)
        passable = scene.door_used & ~(np.arange(spec.doors) == scene.leaf_doorway[0])
        reached = np.asarray(house.reachable(scene, scene.layout.robot_q[:2], passable))
        where = np.asarray(
            house.room_of(scene, np.concatenate([scene.layout.object_pos[:, :2], scene.layout.fixture_pos[spec.walls :, :2]]))
        )
        crates = np.flatnonzero(scene.layout.object_used & spec.are("crate"))
        assert reached[where[crates]].all()
        assert reached[where[first_plate - 1]]
        others = (goal.subjects | goal.targets)[goal.used].any(0)[1 : 1 + len(where)]
        assert not reached[where[others]].all()


def test_colours_of_crates_are_held_out_too():
    train, test = (
        {e.colour for i in range(64) for e in entities(env("crates").world.spec, one(tasks("crates", s, 64).scene, i)) if e.kind == "crate"}
        for s in SPLITS
    )
    assert not train & {"green", "orange"}
    assert test & {"green", "orange"}


def test_observations_tell_crates_only_where_there_are_some():
    assert (len(kind_columns(WorldSpec())), len(kind_columns(SPEC))) == (7, 8)


# --- words ----------------------------------------------------------------------------------------------------------

THINGS = Things(
    (
        Entity(0, "robot", "robot"),
        Entity(1, "red_cube", "cube", "red", "small"),
        Entity(2, "green_crate", "crate", "green"),
        Entity(3, "blue_crate", "crate", "blue"),
        Entity(4, "red_table", "table", "red"),
        Entity(5, "green_bin", "bin", "green"),
        Entity(6, "blue_plate", "plate", "blue"),
        Entity(7, "red_button", "button", "red"),
        Entity(8, "kitchen", "room"),
        Entity(9, "study", "room"),
    ),
    {
        name: Place("kitchen", at=(0.3 * i, 0.2 * i))
        for i, name in enumerate(("robot", "red_cube", "green_crate", "blue_crate", "red_table", "green_bin", "blue_plate", "red_button"))
    },
    {"kitchen": (0.0, 0.0), "study": (4.0, 0.0)},
)
FACTS = {
    "pushed near": ("near", "green_crate", "red_table"),
    "pushed on": ("on", "green_crate", "blue_plate"),
    "pushed in_room": ("in_room", "green_crate", "study"),
}


@pytest.mark.parametrize("key", FACTS)
def test_every_wording_about_a_crate_means_it_and_is_rendered(key):
    fact = FACTS[key]
    always = literal(("holding", "robot", "red_cube"))
    forms = {
        "ACTS": Formula.of([fact]),
        "DENIALS": Formula((((literal(fact, true=False),),),)),
        "ALWAYS_SO": Formula((((always,),),), (literal(fact),)),
        "NEVER": Formula((((always,),),), (literal(fact, true=False),)),
    }
    for name, said in forms.items():
        rows = getattr(wordings, name)[key]
        rendered = [say(said, THINGS, Taste(seed, held_out=seed % 4 == 0)).lower() for seed in range(250)]
        for row in rows.all:
            none = "none of " + noun_phrase(fact[1])
            text = row.format(x=noun_phrase(fact[1]), y=noun_phrase(fact[2]), none=none, **{"is": "is"})
            spoken = text if name in ("ACTS", "DENIALS") else f"Hold the red cube. {text.capitalize()}."
            assert read(spoken, THINGS) == said, spoken
            assert row in rows.held_out or "{none}" in row or any(text in line for line in rendered), text


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Push the green crate next to the table.", ["green_crate near red_table"]),
        ("Shove the blue heavy box up to the container.", ["blue_crate near green_bin"]),
        ("Push the blue crate to the button and press it.", ["blue_crate near red_button", "red_button pressed"]),
        ("Push the crates into the study.", ["green_crate in study", "blue_crate in study"]),
        ("Push the green crate and the blue crate next to the table.", ["green_crate near red_table", "blue_crate near red_table"]),
        ("Push the green crate and move it onto the plate.", None),
        ("Push the green crate next to the table or the bin.", ["green_crate near green_bin or red_table"]),
        ("Push a crate onto the pressure plate.", ["at least 1 of blue_crate, green_crate on blue_plate"]),
        ("Make sure that no crate is in the kitchen.", ["green_crate not in kitchen", "blue_crate not in kitchen"]),
        ("Push the green crate away from the table.", ["green_crate not near red_table"]),
        (
            "First push the green crate onto the plate, then go into the study.",
            ["1. green_crate on blue_plate", "2. robot in study", "2. green_crate on blue_plate"],
        ),
        ("Push the blue thing over to the table.", ["blue_crate near red_table"]),  # a plate is blue, too
        ("Push the blue thing to the study.", ["blue_crate in study"]),
        ("Push the button.", ["red_button pressed"]),
        ("Go to the green crate.", ["robot near green_crate"]),
    ],
)  # fmt: skip
def test_what_is_said_of_crates(text, meaning):
    if meaning is None:
        with pytest.raises(InstructionError):
            read(text, THINGS)
    else:
        assert sorted(describe(read(text, THINGS))) == sorted(meaning)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Put the green crate on the table.", "crates go near it, not on it"),
        ("Push the green crate into the bin.", "crates go near it, not into it"),
        ("Put the red cube and the green crate on the plate.", "green_crate cannot be carried"),
        ("Pick up the green crate.", "green_crate is a crate, expected a cube"),
        ("Push the green crate into the study and push it next to the table.", "is in one room, not in kitchen and study"),
    ],
)
def test_what_cannot_be_done_with_crates(text, why):
    with pytest.raises(InstructionError, match=why):
        read(text, THINGS)


@pytest.mark.parametrize("split", SPLITS)
def test_instructions_are_read_back(split):
    spec, some = env("crates", split).world.spec, tasks("crates", split, 64)
    said = []
    for i in range(24):
        task = one(some, i)
        said.append(env("crates", split).instruction(task, i))
        assert formula(spec, Task(scene=task.scene, goal=parse(said[-1], spec, task.scene))) == formula(spec, task), said[-1]
    assert any("heavy box" in text for text in said) == (split == "test")


# --- pictures and changes -------------------------------------------------------------------------------------------


def test_pictures_show_a_crate_in_its_colour_with_boards():
    picture, scene = TopDown(W, 400), jax.tree.map(np.asarray, scene_of((1.5, 0.0)))
    frame = picture.frame(scene, ENGINE.init(scene.layout))
    column, row = picture.locate(scene, np.array([1.5, 0.0])).round().astype(int)
    size = max(int(HALF * abs(picture.locate(scene, np.array([2.5, 0.0]))[0] - column)) - 1, 4)
    patch = frame[row - size : row + size, column - size : column + size].reshape(-1, 3).astype(int)
    assert (patch[:, 0] > patch[:, 1:].max(1) + 40).mean() > 0.6, "it is red"
    assert patch.std(0).max() > 12, "and not of one tone"


def test_crates_are_moved_and_turned_by_hand_and_kept():
    spec, task = env("crates").world.spec, changes.on_host(one(tasks("crates", "train", 64), 3))
    crate = next(e for e in entities(spec, task.scene) if e.kind == "crate")
    plate = next(e for e in entities(spec, task.scene) if e.kind == "plate")
    at = changes.position(spec, task.scene, plate.index)
    moved = changes.turn(spec, changes.move(spec, task, crate.index, at), crate.index, 0.3)
    lay = moved.scene.layout
    np.testing.assert_allclose(lay.object_pos[crate.index - 1], [*at, lay.object_half[crate.index - 1]], atol=1e-6)
    assert (min(crate.index, plate.index), max(crate.index, plate.index)) not in overlapping(spec, moved.scene)
    assert tables(spec, jax.tree.map(lambda x: np.asarray(x)[None], moved.scene))[0][ON, crate.index, plate.index]
    for change in (changes.remove, lambda *args: changes.resize(*args, 0.03)):
        with pytest.raises(PalaestraError, match="got a crate to be"):
            change(spec, task, crate.index)
