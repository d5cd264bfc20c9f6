"""Swing doors in the truth table and to the rays, in generated houses, in words, in the editor and in pictures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import house, observation, predicates
from palaestra.envs.display.render import TopDown
from palaestra.envs.editing import changes
from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.goals import Formula, describe, formula, literal
from palaestra.envs.mechanics import mechanics
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import NEAR, OPEN, Rules, Scene, Task, entity_used, kind_columns, leaf_entity
from palaestra.envs.words import wordings
from palaestra.envs.words.language import describe as describe_scene
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Place, Things, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.sim.errors import PalaestraError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import LEAF_LENGTH, LEAF_OPEN, WorldSpec, leaf_axis, world
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem
from tests.envs import houses
from tests.envs.worlds import env, one, tables, tasks

SPEC = replace(houses.SPEC, swings=1, rules=0)  # that house, whose green door is a swing door; by angles above 0 it turns into the study
DOOR = leaf_entity(SPEC, 0)
SPLITS = ("train", "test")
W = world(SPEC)
ENGINE = NativeEngine(W)


def scene_of(angle: float, robot=(2.5, 1.0, 0.0)) -> Scene:
    there = houses.house()
    q = np.array([*robot, 0.1, 0, 0], np.float32)
    lay = there.layout.replace(leaf_angle=np.full(1, angle, np.float32), robot_q=q, object_used=np.array([True, False, True, True]))
    return there.replace(layout=lay, rules=Rules.none())


@jax.jit
def seen(scene: Scene) -> tuple[predicates.Geometry, jax.Array, jax.Array]:
    """Geometry, truth table and the rays around the base, m."""
    geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), predicates.set_points_at_start(SPEC, scene))
    table = predicates.truth_table(W, scene, geo, entity_used(SPEC, scene))
    return geo, table, observation.RAY_LENGTH * observation.rays(W, scene, geo)


@pytest.mark.parametrize(("angle", "is_open"), [(0.0, False), (0.8, False), (-0.8, False), (1.29, False), (1.31, True), (-1.31, True)])
def test_a_swing_door_is_open_to_either_side(angle, is_open):
    geo, table, _ = seen(scene_of(angle))
    assert bool(table[OPEN, DOOR, DOOR]) == is_open == bool(geo.passable[0])
    assert bool(geo.ajar[0]) == (angle != 0)


@pytest.mark.parametrize(("x", "near"), [(2.5, True), (3.5, True), (2.0, False), (4.0, False)])
def test_one_is_near_a_door_from_either_room(x, near):
    assert bool(seen(scene_of(0.0, (x, 1.2, 0.0)))[1][NEAR, 0, DOOR]) == near


def test_rays_see_a_leaf_that_stands_aslant():
    """It goes from (3, 1.03) to the north-east by 45 degrees."""
    hinge = houses.house().layout.leaf_pos[0]
    _, _, rays = seen(scene_of(np.pi / 4, (2.0, hinge[1] + 0.3, 0.0)))
    np.testing.assert_allclose(rays[0], 1.3 - 0.02 * np.sqrt(2), atol=0.08)
    _, _, rays = seen(scene_of(np.pi / 4, (3.5, hinge[1] + 0.1, 0.0)))  # in the box around it, and 0.26 m from it
    assert 0.2 < float(rays.min()) < 0.3


def test_the_way_is_around_the_tip_whichever_way_it_stands_open():
    for angle, side in ((LEAF_OPEN, 1), (-LEAF_OPEN, -1)):
        geo, *_ = seen(scene_of(angle))
        x, y = float(geo.leaf[0, 0, 0]), float(geo.leaf[0, 0, 1])
        np.testing.assert_allclose(geo.leaf[0, 1], [x + side * LEAF_LENGTH, y], atol=1e-3)
        by = house.around(jnp.array([x + 0.4 * side, y - 0.4]), jnp.array([x + 0.4 * side, y + 0.4]), geo.leaf, geo.ajar)
        assert side * (float(by[0]) - x) > LEAF_LENGTH + 0.2


def test_only_worlds_with_swing_doors_have_a_column_for_them():
    assert (len(kind_columns(houses.SPEC)), len(kind_columns(SPEC))) == (7, 8)
    with pytest.raises(ValueError, match="swings: got 2, expected at most 1, as leaves"):
        WorldSpec(rooms=2, leaves=1, swings=2)


# --- generated houses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_swing_doors_have_room_to_both_sides(split):
    """Whichever way each of them stands open, it meets nothing that stands or lies there."""
    spec, some = env("swing-doors", split).world.spec, tasks("swing-doors", split, 64)
    lay = some.scene.layout
    assert overlaps(spec, some.scene).sum() == 0
    away = lay.robot_q + np.array([100, 100, 0, 0, 0, 0], np.float32)
    for leaf in range(spec.locks, spec.leaves):
        alone = some.scene.replace(leaf_used=some.scene.leaf_used & (np.arange(spec.leaves) == leaf))
        for angle in (LEAF_OPEN, -LEAF_OPEN, 0.8, -0.8):
            turned = lay.replace(robot_q=away, leaf_angle=np.full_like(lay.leaf_angle, angle))
            assert overlaps(spec, alone.replace(layout=turned)).sum() == 0


def test_swing_doors_hang_in_doorways_of_their_own_and_some_are_open_at_the_start():
    spec, some = env("swing-doors").world.spec, tasks("swing-doors", count=256)
    scene, lay = some.scene, some.scene.layout
    middle = lay.leaf_pos + LEAF_LENGTH / 2 * np.asarray(leaf_axis(lay.leaf_quat, np.zeros(1)))
    doorway = np.take_along_axis(scene.door, scene.leaf_doorway[..., None], 1)
    np.testing.assert_allclose(middle[scene.leaf_used], doorway[scene.leaf_used], atol=1e-5)
    taken = np.where(scene.leaf_used, scene.leaf_doorway, -1 - np.arange(spec.leaves))
    assert all(len(set(row)) == spec.leaves for row in taken.tolist())
    swings = scene.leaf_used[:, spec.locks :]
    assert swings.any(1).all()
    assert {(0, True), (1, True)} <= {(int(n) - 1, True) for n in swings.sum(1)}
    angle = lay.leaf_angle[:, spec.locks :][swings]
    assert {-1, 0, 1} == set(np.sign(angle).astype(int).tolist())
    assert (swings & (lay.leaf_angle[:, spec.locks :] == 0)).any(1).all(), "one is shut"
    np.testing.assert_array_equal(lay.leaf_angle[:, : spec.locks], 0)


def test_no_swing_door_stands_open_before_another_doorway():
    """Nothing of a leaf that stands open is in the way through another: nearer to its middle than half its width and a hand's breadth."""
    spec, some = env("swing-doors").world.spec, tasks("swing-doors", count=256)
    scene, lay = some.scene, some.scene.layout
    for leaf in range(spec.locks, spec.leaves):
        for angle in (LEAF_OPEN, -LEAF_OPEN):
            axis = np.asarray(leaf_axis(lay.leaf_quat[:, leaf], np.full(len(lay.leaf_quat), angle)))
            along = lay.leaf_pos[:, leaf, None] + np.linspace(0, LEAF_LENGTH, 20)[None, :, None] * axis[:, None]
            away = np.linalg.norm(along[:, :, None] - scene.door[:, None], axis=-1).min(1)  # [tasks, doorways]
            other = scene.door_used & (np.arange(spec.doors) != scene.leaf_doorway[:, leaf, None]) & scene.leaf_used[:, leaf, None]
            assert away[other].min() > 0.48 + 0.05


def test_goals_are_behind_doors_or_about_them():
    spec, some = env("swing-doors").world.spec, tasks("swing-doors", count=256)
    opened = [" ".join(describe(formula(spec, one(some, i)))) for i in range(64)]
    assert 4 < sum("swing_door open" in text for text in opened) < 40


def test_the_oracle_solves_every_task_and_some_door_is_in_its_way():
    """By pushing one open or, where only a locked one is in the way, by the rule that opens it."""
    spec, some = env("swing-doors").world.spec, tasks("swing-doors", count=64)
    table, pushed = tables(spec, some.scene), 0
    for i in range(48):
        asked = problem(spec, one(some, i), table[i])
        skills = [call.skill for call in OraclePlanner().plan(asked).steps]
        if "push_open" in skills:
            pushed += 1
        else:
            with pytest.raises(PlanError):
                OraclePlanner().plan(replace(asked, mechanics=replace(asked.mechanics, rules=())))
    assert pushed > 36


# --- words ----------------------------------------------------------------------------------------------------------

THINGS = Things(
    (
        Entity(0, "robot", "robot"),
        Entity(1, "red_cube", "cube", "red", "small"),
        Entity(2, "red_table", "table", "red"),
        Entity(3, "green_door", "door", "green"),
        Entity(4, "blue_door", "door", "blue"),
        Entity(5, "red_swing_door", "swing", "red"),
        Entity(6, "blue_swing_door", "swing", "blue"),
        Entity(7, "kitchen", "room"),
        Entity(8, "study", "room"),
    ),
    {name: Place("kitchen") for name in ("robot", "red_cube", "red_table")}
    | {"red_swing_door": Place(between=("kitchen", "study"))}
    | {name: Place(between=("kitchen", "kitchen")) for name in ("green_door", "blue_door", "blue_swing_door")},
    {"kitchen": (0.0, 0.0), "study": (3.0, 0.0)},
)
OPENED = ("open", "red_swing_door", "red_swing_door")
BOTH = ["red_swing_door open", "blue_swing_door open"]


def test_every_wording_about_a_swing_door_means_it_and_is_rendered():
    for table, said in ((wordings.ACTS, Formula.of([OPENED])), (wordings.DENIALS, Formula((((literal(OPENED, true=False),),),)))):
        rendered = [say(said, THINGS, Taste(seed, held_out=seed % 4 == 0)).lower() for seed in range(300)]
        for row in table["pushed"].all:
            text = row.format(x=noun_phrase(OPENED[1]), none="none of " + noun_phrase(OPENED[1]), **{"is": "is"})
            assert read(text, THINGS) == said, text
            assert row in table["pushed"].held_out or "{none}" in row or any(text in line for line in rendered), text
    assert any("saloon" in line for line in rendered)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Push the blue swing door open.", ["blue_swing_door open"]),
        ("Swing the red saloon door open.", ["red_swing_door open"]),
        ("Open the red door.", ["red_swing_door open"]),
        ("Open the blue door.", ["blue_door open"]),
        ("Open both swing doors.", BOTH),
        ("Push all swinging doors open.", BOTH),
        ("All doors should be open at the end.", ["green_door open", "blue_door open", *BOTH]),
        ("Open the swing door between the kitchen and the study.", ["red_swing_door open"]),
        ("Go to the red swing door.", ["robot near red_swing_door"]),
        ("First open the blue swing door, then put the cube on the table.", ["1. blue_swing_door open", "2. red_cube on red_table"]),
    ],
)
def test_what_is_said_of_swing_doors(text, meaning):
    assert describe(read(text, THINGS)) == meaning


def test_what_is_not_there_is_told():
    with pytest.raises(InstructionError, match="there is no green swing door here; there are: green_door, blue_door, red_swing_door"):
        read("open the green swing door", THINGS)


def test_instructions_are_read_back_and_scenes_tell_which_doors_are_open():
    for split in SPLITS:
        spec, some = env("swing-doors", split).world.spec, tasks("swing-doors", split, 64)
        texts = [env("swing-doors", split).instruction(one(some, i), i) for i in range(64)]
        assert any("saloon" in text for text in texts) == (split == "test")
        for task, text in ((one(some, i), texts[i]) for i in range(24)):
            assert formula(spec, Task(scene=task.scene, goal=parse(text, spec, task.scene))) == formula(spec, task), text
            told = describe_scene(spec, task.scene)
            for e in (e for e in entities(spec, task.scene) if e.kind == "swing"):
                state = "open" if task.scene.layout.leaf_angle[e.index - leaf_entity(spec, 0)] else "shut"
                assert any(
                    f"{noun_phrase(e.name).capitalize()} between" in line and line.endswith(f"is {state}") for line in told[:-1].split(". ")
                )


# --- the editor and pictures ----------------------------------------------------------------------------------------


def test_a_swing_door_is_removed_and_hung_again_by_hand():
    task = changes.on_host(env("swing-doors").task(0))
    spec = env("swing-doors").world.spec
    (door, *_) = [e for e in entities(spec, task.scene) if e.kind == "swing"]
    with pytest.raises(PalaestraError, match=r"got a swing to be moved, .* add one in another doorway"):
        changes.move(spec, task, door.index, (0.0, 0.0))
    at = changes.position(spec, task.scene, door.index)
    gone = changes.remove(spec, task, door.index)
    assert door.name not in [e.name for e in entities(spec, gone.scene)]
    assert len(mechanics(spec, gone.scene).passages) == len(mechanics(spec, task.scene).passages) + 1
    full = gone.replace(scene=gone.scene.replace(leaf_used=np.arange(spec.leaves) < spec.locks, leaf_doorway=np.full(spec.leaves, -1)))
    back, thing = changes.add(spec, full, "door", at)
    assert changes.thing_of(spec, back.scene, thing).kind == "swing"
    np.testing.assert_allclose(changes.position(spec, back.scene, thing), at)
    assert not [pair for pair in overlapping(spec, back.scene) if thing in pair]


def test_pictures_show_to_which_side_a_swing_door_is_open():
    picture, frames = TopDown(W, 320), []
    for angle in (LEAF_OPEN, -LEAF_OPEN):
        scene = scene_of(angle, robot=(1.0, 2.0, 0.0))
        frames.append(picture.frame(scene, ENGINE.init(scene.layout)).astype(int))
    hinge = scene.layout.leaf_pos[0]
    for side, (here, other) in ((1, frames), (-1, frames[::-1])):
        column, row = picture.locate(scene, hinge + np.array([side * 0.3, 0.0])).round().astype(int)
        assert np.abs(here[row, column] - other[row, column]).sum() > 60
