"""Hampers in the truth table, in rules, in generated houses, in words and in pictures."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.envs import hampers, predicates
from palaestra.envs.display.render import TopDown, colours
from palaestra.envs.editing import changes
from palaestra.envs.env import Rearrange
from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.goals import Formula, describe, formula, literal, write
from palaestra.envs.mechanics import Rule, mechanics, rule_rows
from palaestra.envs.names import entities
from palaestra.envs.types import INSIDE, OPEN, PREDICATES, Rules, Scene, Task, entity_used, kind_columns, num_entities, opening_entity
from palaestra.envs.words import rulebook, wordings
from palaestra.envs.words.language import describe as describe_scene
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Things, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.sim.camera import Camera
from palaestra.sim.errors import PalaestraError
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import BIN_FLOOR, BUTTON_TRAVEL, LID_HALF, LID_HEIGHT, LID_OPEN, WorldSpec, world
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem
from tests.envs.worlds import env, one, tables, tasks
from tests.sim.test_hampers import AT, OUTER, SPEC, layout

ROBOT, CUBE, BALL, PLATE, GREEN, RED, BUTTON, ROOM = range(8)  # the two in the middle are hampers
SPLITS = ("train", "test")
W = world(SPEC)
ENGINE = NativeEngine(W)
ON_PLATE = (-1.0, 1.0, 0.2 + 0.03)
BY_BUTTON = Rule((("pressed", "blue_button", "blue_button"),), opens="green_hamper")
BY_WEIGHT = Rule((("pressed", "yellow_plate", "yellow_plate"),), opens="red_hamper", lasting=False)


def scene_of(angle=(0.0, 0.0), cube=(-1.0, -1.0, 0.03), rules=(BY_BUTTON, BY_WEIGHT)) -> Scene:
    """One room of 4 m with a green hamper that opens to the west, a red one that opens to the south, a plate and a button."""
    lay = layout(W, angle=angle, cube=cube, ball=(-1.5, 0.0, 0.03))
    first = SPEC.walls + SPEC.tables
    lay = lay.replace(
        fixture_pos=lay.fixture_pos.at[first - 1].set(jnp.asarray([-1.0, 1.0, 0.1])).at[first + 1].set(jnp.asarray([0.8, 1.7, 0.0])),
        fixture_half=lay.fixture_half.at[first - 1].set(jnp.asarray([0.15, 0.15, 0.1])),
        lid_quat=lay.lid_quat.at[1].set(jnp.asarray([np.sqrt(0.5), 0, 0, -np.sqrt(0.5)])),
        button_pos=jnp.asarray([(0.0, -1.5)]),
    )
    scene = Scene(
        layout=lay,
        room=jnp.asarray([[-2.0, -2.0, 2.0, 2.0]]),
        room_used=jnp.asarray([True]),
        room_name=jnp.zeros(1, jnp.int32),
        door=jnp.zeros((4, 2)),
        door_along_x=jnp.zeros(4, bool),
        door_width=jnp.ones(4),
        door_rooms=jnp.zeros((4, 2), jnp.int32),
        door_used=jnp.zeros(4, bool),
        fixture_used=jnp.arange(SPEC.fixtures) >= SPEC.walls,
        receptacle_colour=jnp.asarray([3, 1, 0]),
        object_colour=jnp.asarray([0, 2]),
        button_used=jnp.ones(1, bool),
        button_colour=jnp.asarray([2]),
        rules=Rules.none(SPEC.rules),
    )
    host = jax.tree.map(np.asarray, scene)
    return host.replace(rules=rule_rows(SPEC, host, rules))


@jax.jit
def table_of(scene: Scene) -> jax.Array:
    geo = predicates.geometry(W, scene, ENGINE.init(scene.layout), jnp.zeros(9))
    return predicates.truth_table(W, scene, geo, entity_used(SPEC, scene))


def test_hampers_and_their_rules_have_names():
    things = {e.name: e.index for e in entities(SPEC, scene_of())}
    assert [things[name] for name in ("yellow_plate", "green_hamper", "red_hamper", "blue_button")] == [PLATE, GREEN, RED, BUTTON]
    assert [opening_entity(SPEC, i) for i in range(SPEC.openings)] == [GREEN, RED] == opening_entity(SPEC, np.arange(2)).tolist()
    assert mechanics(SPEC, scene_of()).rules == (BY_BUTTON, BY_WEIGHT)


@pytest.mark.parametrize(("degrees", "is_open"), [(0, False), (45, False), (88, False), (92, True), (100, True)])
def test_a_hamper_is_open_when_its_lid_stands_upright(degrees, is_open):
    table = np.asarray(table_of(scene_of((np.deg2rad(degrees), 0.0))))
    assert table[OPEN, GREEN, GREEN] == is_open
    assert table[OPEN].sum() == is_open


@pytest.mark.parametrize("angle", [0.0, LID_OPEN])
def test_what_lies_in_the_bin_is_inside_and_what_lies_on_the_lid_is_not(angle):
    assert np.asarray(table_of(scene_of((angle, 0.0), (AT[0], 0.05, BIN_FLOOR + 0.03))))[INSIDE, CUBE, GREEN]
    assert not np.asarray(table_of(scene_of((angle, 0.0), (AT[0], 0.0, LID_HEIGHT + 2 * LID_HALF[2] + 0.03))))[INSIDE].any()


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 100])
def test_where_lids_are_is_what_the_physics_says(degrees):
    angle = np.deg2rad([degrees, degrees])
    scene = scene_of(angle)
    data, model = mujoco.MjData(W.model), ENGINE.simulations(1).batch.get_model(0)
    fields = W.fields(np.asarray(scene.layout.parameters(), float))
    model.body_pos[:], model.body_quat[:] = fields["body_pos"], fields["body_quat"]
    data.qpos[:] = np.asarray(W.initial_qpos(scene.layout))
    mujoco.mj_kinematics(model, data)
    middle, half, top = hampers.lids(SPEC, scene.layout, angle.astype(np.float32))
    for i in range(2):
        lid = data.geom(f"lid{i}")
        corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * LID_HALF @ lid.xmat.reshape(3, 3).T + lid.xpos
        np.testing.assert_allclose(middle[i] - half[i], corners.min(0)[:2], atol=2e-3)
        np.testing.assert_allclose(middle[i] + half[i], corners.max(0)[:2], atol=2e-3)
        np.testing.assert_allclose(top[i], corners[:, 2].max(), atol=3e-3)


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arena():
    return Rearrange(engine=ENGINE)


@pytest.fixture(scope="module")
def wait(arena):
    """The state after 50 control steps in which the robot stands still."""

    @jax.jit
    def wait(state):
        return jax.lax.scan(lambda s, _: (arena.step(s, jnp.zeros(5))[0], None), state, length=50)[0]

    return wait


def begun(arena, cube):
    scene = scene_of(cube=cube)
    goal = write(Formula.of([("inside", "blue_ball", "red_hamper")]), SPEC, scene)
    return jax.jit(arena.reset)(jax.random.key(0), Task(scene=scene, goal=goal))[0]


def shown(arena, state):
    """Which hampers are open."""
    return np.diagonal(np.asarray(jax.jit(arena.perceive)(state)[1])[OPEN])[[GREEN, RED]].tolist()


def with_qpos(arena, state, change):
    qpos = change(np.array(state.physics.qpos))
    physics = arena.engine.at(jnp.asarray(qpos), jnp.zeros(W.model.nv), state.physics.parameters)
    return state.replace(physics=physics)


def test_a_button_opens_its_hamper_for_good_and_a_weight_only_while_it_lies_there(arena, wait):
    start = begun(arena, ON_PLATE)
    laden = wait(start)
    assert shown(arena, start) == [False, False]
    assert shown(arena, laden) == [False, True]

    def lifted(qpos):
        qpos[6:9] = -1.0, -1.0, 0.03
        return qpos

    def pushed(qpos):
        qpos[-3] = -0.012
        return qpos

    down = with_qpos(arena, laden, pushed)
    both = wait(down.replace(ctrl=down.ctrl.at[-3].set(-BUTTON_TRAVEL)))  # as by a hand, for one step
    assert shown(arena, both) == [True, True]
    np.testing.assert_allclose(W.lid_q(both.physics.qpos), LID_OPEN, atol=0.02)
    left = wait(with_qpos(arena, both, lifted))
    assert shown(arena, left) == [True, False]
    np.testing.assert_allclose(W.lid_q(left.physics.qpos), [LID_OPEN, 0.0], atol=0.02)


def test_a_hamper_that_is_open_and_has_no_rule_stays_so(arena, wait):
    scene = scene_of((LID_OPEN, 0.0), rules=())
    goal = write(Formula.of([("inside", "blue_ball", "red_hamper")]), SPEC, scene)
    state = wait(jax.jit(arena.reset)(jax.random.key(0), Task(scene=scene, goal=goal))[0])
    assert shown(arena, state) == [True, False]


# --- generated houses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_lids_have_the_room_to_stand(split):
    spec, some = env("hampers", split).world.spec, tasks("hampers", split, 64)
    assert overlaps(spec, some.scene).sum() == 0
    for angle in (0.0, LID_OPEN):
        lids = np.full((64, spec.hampers), angle, np.float32)
        assert overlaps(spec, some.scene.replace(layout=some.scene.layout.replace(lid_angle=lids))).sum() == 0
    assert set(np.unique(some.scene.layout.lid_angle)) == {np.float32(0), np.float32(LID_OPEN)}


def behind(spec, scene, thing, away):
    """Whether a wall is `away` m behind the middle of a thing that stands with its back to one, and nothing in between."""
    lay, quat = scene.layout, scene.layout.lid_quat[thing - (spec.walls + spec.tables + spec.bins - spec.hampers)]
    front = np.array([1 - 2 * quat[3] ** 2, 2 * quat[0] * quat[3]])
    walls = [(lay.fixture_pos[i, :2], lay.fixture_half[i, :2]) for i in range(spec.walls) if scene.fixture_used[i]]

    def in_wall(distance):
        at = lay.fixture_pos[thing, :2] - distance * front
        return any((np.abs(at - pos) < half).all() for pos, half in walls)

    return in_wall(away + 0.03) and not any(in_wall(d) for d in np.linspace(0, away, 9))


def test_hampers_stand_with_their_backs_to_a_wall():
    spec, some = env("hampers").world.spec, tasks("hampers", "train", 64)
    first = spec.walls + spec.tables + spec.bins - spec.hampers
    for i in range(64):
        scene = one(some.scene, i)
        assert all(behind(spec, scene, first + h, OUTER + 0.10) for h in range(spec.hampers)), i


def test_what_stands_where_a_lid_would_is_found():
    spec, scene = env("hampers").world.spec, one(tasks("hampers", "train", 64), 3).scene
    assert overlapping(spec, scene) == []
    lay, first = scene.layout, spec.walls + spec.tables + spec.bins - spec.hampers
    quat = lay.lid_quat[0]
    front = np.array([1 - 2 * quat[3] ** 2, 2 * quat[0] * quat[3], 0])
    pos = lay.object_pos.copy()
    thing = int(np.argmax(lay.object_used))
    pos[thing] = lay.fixture_pos[first] - (OUTER + 0.05) * front + [0, 0, 0.03]
    hamper = 1 + spec.objects + spec.tables + spec.bins - spec.hampers
    spoilt = scene.replace(layout=lay.replace(object_pos=pos))
    assert (1 + thing, hamper) in overlapping(spec, spoilt)


def test_every_task_is_solved_and_those_with_shut_hampers_not_without_their_rules():
    e, some = env("hampers"), tasks("hampers", "train", 64)
    spec, table = e.world.spec, tables(e.world.spec, some.scene)
    kinds, needed, shut_again = set(), 0, 0
    for i in range(64):
        asked = problem(spec, one(some, i), table[i])
        assert len(OraclePlanner().plan(asked).steps) >= 2
        text = "; ".join(describe(asked.goal))
        assert "_hamper" in text
        shut_again += "hamper not open" in text
        kinds |= {(rule.condition[0][1].split("_")[1], rule.lasting) for rule in asked.mechanics.rules}
        opened = {name for p, name, _ in asked.facts if p == "open"}
        assert opened.isdisjoint(rule.opens for rule in asked.mechanics.rules)
        goes = {term.targets[0] for term in asked.goal.stages[0][0] if term.predicate == "inside"}
        if any(name.endswith("hamper") and name not in opened for name in goes):
            needed += 1
            bare = problem(spec, one(some, i).replace(scene=one(some, i).scene.replace(rules=Rules.none(spec.rules))), table[i])
            with pytest.raises(PlanError):
                OraclePlanner().plan(bare)
    assert kinds == {("button", True), ("plate", False)}
    assert needed > 32
    assert shut_again > 3


def test_observations_tell_hampers_and_what_opens_them_only_where_there_are_some(arena):
    assert (len(kind_columns(WorldSpec())), len(kind_columns(SPEC))) == (7, 8)
    e = num_entities(SPEC)
    rules = SPEC.rules * (2 + 2 * (1 + len(PREDICATES) + 3 * e) + e)
    assert arena.observation_size == 9 + 36 + (e - 1) * (1 + 8 + 1 + 6 + 3 + 2) + 10 * (6 + 10 + len(PREDICATES) + 2 * e) + rules
    scene = scene_of()
    _, first = jax.jit(arena.reset)(jax.random.key(0), Task(scene=scene, goal=write(Formula.of([]), SPEC, scene)))
    effects = np.asarray(first.observation)[-rules:].reshape(SPEC.rules, -1)[:, -e:]
    assert effects.argmax(1).tolist() == [GREEN, RED]
    assert effects.sum() == 2


def test_too_few_rules_for_the_hampers_are_refused():
    from palaestra.envs.generation.hampers import attempt_hampers

    few = world(WorldSpec(cubes=1, balls=1, tables=1, plates=1, bins=2, hampers=2, rooms=1, buttons=1, rules=1))
    with pytest.raises(PalaestraError, match="got a world with 1, expected 2 or more, one for each hamper"):
        attempt_hampers(jax.random.key(0), few, env("hampers").ranges, jnp.asarray(1), jnp.asarray(1))


# --- words ----------------------------------------------------------------------------------------------------------

THINGS = Things.of(SPEC, scene_of())
OPENED = ("open", "green_hamper", "green_hamper")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Put the red cube into the green hamper.", ["red_cube in green_hamper"]),
        ("Drop the ball in the red lidded bin.", ["blue_ball in red_hamper"]),
        ("Shut the hampers.", ["green_hamper not open", "red_hamper not open"]),
        ("Make sure that all lidded bins are shut.", ["green_hamper not open", "red_hamper not open"]),
        ("Put the ball in the red hamper and shut it.", ["blue_ball in red_hamper", "red_hamper not open"]),
        ("Open the green hamper, then go to it.", ["1. green_hamper open", "2. robot near green_hamper"]),
    ],
)
def test_what_is_said_of_hampers(text, meaning):
    assert describe(read(text, THINGS)) == meaning


def test_every_wording_about_an_open_hamper_means_it():
    for table, said in ((wordings.ACTS, Formula.of([OPENED])), (wordings.DENIALS, Formula((((literal(OPENED, true=False),),),)))):
        for row in table["open"].all:
            text = row.format(x=noun_phrase(OPENED[1]), none="none of " + noun_phrase(OPENED[1]), **{"is": "is"})
            assert read(text, THINGS) == said, text
    assert "lidded bin" in say(Formula.of([("inside", "red_cube", "green_hamper")]), THINGS, Taste(0, held_out=True))


def test_things_go_into_hampers_not_onto_them():
    with pytest.raises(InstructionError, match="things go in it, not on it"):
        read("put the red cube on the green hamper", THINGS)


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("Press the blue button and the green hamper opens for good.", BY_BUTTON),
        ("A weight on the yellow plate keeps the red hamper open.", BY_WEIGHT),
        (
            "Carry the red cube to the red hamper, and the lid opens.",
            Rule((("holding", "robot", "red_cube"), ("near", "robot", "red_hamper")), opens="red_hamper"),
        ),
        (
            "As soon as the blue ball is in the green hamper, the red hamper opens.",
            Rule((("inside", "blue_ball", "green_hamper"),), opens="red_hamper"),
        ),
    ],
)
def test_rules_about_hampers_are_read_and_come_up(sentence, rule):
    assert rulebook.read(sentence, THINGS) == rule
    assert sentence in {rulebook.say(rule, THINGS, Taste(seed)) for seed in range(200)}


def test_a_rule_that_is_typed_opens_a_hamper_in_an_edited_task():
    scene = scene_of(rules=())
    task = Task(scene=scene, goal=write(Formula.of([("inside", "blue_ball", "red_hamper")]), SPEC, scene))
    after = changes.with_rule(SPEC, task, "The red hamper opens when the blue button is pressed.")
    assert mechanics(SPEC, after.scene).rules == (Rule(BY_BUTTON.condition, opens="red_hamper"),)
    assert after.scene.rules.opens.tolist() == [1, -1]


def test_instructions_are_read_back_and_scenes_tell_which_hampers_are_open():
    for split in SPLITS:
        spec, some = env("hampers", split).world.spec, tasks("hampers", split, 64)
        for i in range(16):
            task = one(some, i)
            text = env("hampers", split).instruction(task, i)
            assert formula(spec, Task(scene=task.scene, goal=parse(text, spec, task.scene))) == formula(spec, task), text
            told = describe_scene(spec, task.scene)
            names = [e.name for e in entities(spec, task.scene) if e.kind == "hamper"]
            for name, angle in zip(names, task.scene.layout.lid_angle, strict=True):
                assert f"{noun_phrase(name).capitalize()} is {'open' if angle > 1 else 'shut'}." in told


# --- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_show_whether_a_hamper_is_open_and_hint_at_what_is_inside():
    picture, seen = TopDown(W, 320), []
    for angle, cube in ((0.0, (-1, -1, 0.03)), (LID_OPEN, (-1, -1, 0.03)), (0.0, (AT[0], 0.05, 0.04))):
        scene = scene_of((angle, 0.0), cube)
        frame = picture.frame(scene, ENGINE.init(scene.layout))
        spots = [picture.locate(scene, np.array(AT) + offset).round().astype(int) for offset in ([0.0, 0.05], [-0.05, -0.08])]
        seen.append([frame[y, x].astype(int) for x, y in spots])
    (shut, edge), (opened, _), (full, same) = seen
    assert np.abs(shut - opened).max() > 20
    assert np.abs(shut - full).max() > 20
    np.testing.assert_array_equal(edge, same)


def test_the_camera_sees_the_lid_stand():
    try:
        camera = Camera(W, height=120, width=160)
    except PalaestraError as error:
        pytest.skip(str(error))
    with camera:
        images = []
        for angle in (0.0, LID_OPEN):
            scene, walls = scene_of((angle, 0.0)), jnp.asarray([(0, -2, 0.25), (0, 2, 0.25), (-2, 0, 0.25), (2, 0, 0.25)])
            scene = scene.replace(layout=scene.layout.replace(fixture_pos=jnp.asarray(scene.layout.fixture_pos).at[:4].set(walls)))
            images.append(camera.image(W.initial_qpos(scene.layout), scene.layout, **colours(scene)).astype(int))
    assert (np.abs(images[0] - images[1]).max(-1) > 30).sum() > 20
