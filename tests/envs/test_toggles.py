"""Toggles in physics, in the truth table, in rules, in generated houses, in words and in pictures."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import toggles
from palaestra.envs.display.render import TopDown, colours
from palaestra.envs.editing import changes
from palaestra.envs.env import Rearrange
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.goals import Formula, describe, formula, literal, write
from palaestra.envs.mechanics import Rule, mechanics, rule_rows
from palaestra.envs.names import entities
from palaestra.envs.types import OPEN, PRESSED, Scene, Task, kind_columns, leaf_entity, opening_entity, toggle_entity
from palaestra.envs.words import rulebook, wordings
from palaestra.envs.words.language import describe as describe_scene
from palaestra.envs.words.language import say
from palaestra.envs.words.parser import InstructionError, parse, read
from palaestra.envs.words.references import Things, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.sim.camera import Camera
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import LEAF_OPEN, TOGGLE_HELD, TOGGLE_ON, WorldSpec
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem
from tests.envs import houses
from tests.envs.worlds import env, one, tables, tasks

SPEC = replace(houses.SPEC, toggles=2)  # the house made by hand, whose buttons are toggles
WHILE = Rule((("pressed", "blue_toggle", "blue_toggle"),), opens="green_door", lasting=False)
BLUE, DOOR = toggle_entity(SPEC, 0), leaf_entity(SPEC, 0)
SPLITS = ("train", "test")


def house(on: tuple[bool, bool] = (False, False)) -> Scene:
    """The robot's closed hand is above the blue toggle."""
    scene = houses.house()
    at = scene.layout.button_pos[0]
    lay = scene.layout.replace(
        toggle_on=np.array(on),
        leaf_angle=np.full(1, LEAF_OPEN * on[0], np.float32),
        robot_q=np.array([at[0] - 0.4, at[1], 0, 0.05, 0.05, 0.05], np.float32),
    )
    scene = scene.replace(layout=lay)
    return scene.replace(rules=rule_rows(SPEC, scene, (WHILE,)))


def task(on: tuple[bool, bool] = (False, False)) -> Task:
    return Task(scene=house(on), goal=write(Formula.of([("inside", "blue_cube", "green_bin")]), SPEC, house(on)))


# --- what a push does -----------------------------------------------------------------------------------------------


def test_one_push_toggles_once_however_long_it_lasts_and_however_the_cap_trembles():
    """The cap's height in mm, and what the toggle is then: pressed below -8 mm, up again above -4 mm."""
    spec = replace(SPEC, toggles=1)  # the other one is a plain button
    lay = jnp.zeros(6 + spec.servos).at[6].set(0.7)  # of the leaf
    way = [(0, 0), (-7.9, 0), (-8.1, 1), (-16, 1), (-7, 1), (-9, 1), (-4.1, 1), (-12, 1), (-3.9, 1), (-1, 1), (-7, 1), (-8.1, 0)]
    way += [(-5, 0), (-9, 0), (-3, 0), (-9, 1)]
    for up, on in way:
        lay = toggles.toggled(spec, lay, jnp.array([-0.016, up / 1000]))
        assert bool(toggles.are_on(spec, lay)[0]) == bool(on), up
        np.testing.assert_array_equal(lay[:-1], jnp.zeros(8).at[6].set(0.7))
        assert -0.0015 < float(lay[-1]) <= 0


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_the_set_point_tells_what_a_toggle_is(on, held):
    ctrl = jnp.append(jnp.zeros(8), toggles.set_points(jnp.array(on), held))
    assert bool(toggles.are_on(replace(SPEC, toggles=1), ctrl)[0]) == on
    assert TOGGLE_HELD < TOGGLE_ON / 2


@pytest.fixture(scope="module")
def arena():
    return Rearrange(SPEC)


@pytest.fixture(scope="module")
def move(arena):
    """The states [T] while the robot raises its closed hand at such speeds [T]."""

    @jax.jit
    def move(state, speeds):
        def one(state, speed):
            state, _ = arena.step(state, jnp.array([0.0, 0.0, 0.0, speed, 1.0]))
            return state, (arena.perceive(state)[1], arena.world.mechanism_q(state.physics.qpos)[1][0])

        return jax.lax.scan(one, state, speeds)

    return move


PUSH = jnp.concatenate([jnp.full(12, -0.6), jnp.full(28, -0.1), jnp.full(30, 0.3)])  # down, held for long, up


def test_the_robots_hand_turns_it_on_and_off_and_its_door_follows(arena, move):
    state, _ = jax.jit(arena.reset)(jax.random.key(0), jax.tree.map(jnp.asarray, task()))
    for first, then in ((0, 1), (1, 0), (0, 1)):
        state, (table, up) = move(state, PUSH)
        on, up = np.asarray(table)[:, PRESSED, BLUE, BLUE], np.asarray(up)
        assert up.min() < -0.01, "the hand did not reach the cap"
        assert (up[20:40] < -0.01).all(), "it was not held"
        assert on[0] == first
        assert np.flatnonzero(np.diff(on.astype(int))).size == 1, "it toggles once"
        assert on[20:].all() == then == on[20:].any()
        np.testing.assert_allclose(up[-1], -TOGGLE_ON * then, atol=3e-4)
        assert bool(np.asarray(table)[-1, OPEN, DOOR, DOOR]) == then


def test_toggles_and_what_they_open_are_at_the_start_as_the_layout_says(arena, move):
    state, _ = jax.jit(arena.reset)(jax.random.key(0), jax.tree.map(jnp.asarray, task((True, False))))
    before = np.asarray(arena.perceive(state)[1])
    assert before[PRESSED].sum() == 1
    assert before[PRESSED, BLUE, BLUE]
    assert before[OPEN, DOOR, DOOR]
    _, (table, _) = move(state, jnp.zeros(len(PUSH)))
    np.testing.assert_array_equal(np.asarray(table)[-1][[PRESSED, OPEN]], before[[PRESSED, OPEN]])


def test_more_toggles_than_buttons_are_refused():
    with pytest.raises(ValueError, match="toggles: got 2, expected at most 1, as buttons"):
        WorldSpec(buttons=1, toggles=2)


# --- generated houses -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SPLITS)
def some(request):
    return env("toggles", request.param), tasks("toggles", request.param, 96)


def test_nothing_overlaps_whether_doors_and_lids_are_open_or_shut(some):
    e, made = some
    assert overlaps(e.world.spec, made.scene).sum() == 0


def test_what_a_toggle_opens_is_open_exactly_if_it_is_on_and_remains_so(some):
    """By the layout, and by the physics after a while in which the robot stands still."""
    e, made = some
    spec = e.world.spec
    states, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), 96), made)
    table = np.asarray(jax.jit(jax.vmap(lambda s: e.perceive(s)[1]))(states))
    rules, checked = made.scene.rules, {True: 0, False: 0}
    for i in range(96):
        for k in np.flatnonzero(rules.used[i] & ~rules.lasting[i]):
            slot = rules.subject[i, k, 0] - toggle_entity(spec, 0)
            opened = opening_entity(spec, rules.opens[i, k])
            assert table[i, OPEN, opened, opened] == made.scene.layout.toggle_on[i, slot]
            checked[bool(made.scene.layout.toggle_on[i, slot])] += 1
    assert min(checked.values()) > 20
    still = jax.jit(lambda s: jax.lax.scan(lambda s, _: (jax.vmap(e.step)(s, jnp.zeros((96, 5)))[0], None), s, length=20)[0])(states)
    later = np.asarray(jax.jit(jax.vmap(lambda s: e.perceive(s)[1]))(still))
    np.testing.assert_array_equal(later[:, [OPEN, PRESSED]], table[:, [OPEN, PRESSED]])


def test_every_task_is_solved_and_takes_a_toggle(some):
    e, made = some
    spec, table = e.world.spec, tables(e.world.spec, made.scene)
    left, back = 0, 0
    for i in range(96):
        asked = problem(spec, one(made, i), table[i])
        steps = [str(call) for call in OraclePlanner().plan(asked).steps]
        assert any("toggle" in rule.condition[0][1] and not rule.lasting and "door" in rule.opens for rule in asked.mechanics.rules)
        assert any(step.startswith("turn_") for step in steps), steps
        text = "; ".join(describe(asked.goal))
        left += "toggle" in text or "not open" in text
        back += any(s.startswith("turn_off") for s in steps)
    assert 24 < left < 84
    assert back > 12


def test_too_few_rules_for_what_toggles_open_are_refused():
    from palaestra.envs.generation.toggles import attempt_toggles
    from palaestra.sim.world import world

    few = world(replace(SPEC, rules=0))
    e = env("toggles")
    with pytest.raises(PalaestraError, match="got a world with 0, and 2 toggles; expected 1 or more"):
        attempt_toggles(jax.random.key(0), few, e.ranges, e.rules, jnp.asarray(1), jnp.asarray(1))


def test_observations_tell_toggles_only_where_there_are_some():
    assert (len(kind_columns(houses.SPEC)), len(kind_columns(SPEC))) == (7, 8)


# --- words ----------------------------------------------------------------------------------------------------------

THINGS = Things.of(SPEC, house())
ON = ("pressed", "blue_toggle", "blue_toggle")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Turn on the blue toggle.", ["blue_toggle pressed"]),
        ("Switch the blue toggle on, then go to the green toggle.", ["1. blue_toggle pressed", "2. robot near green_toggle"]),
        ("Turn off the toggles.", ["blue_toggle not pressed", "green_toggle not pressed"]),
        ("Flip the blue toggle switch and the green toggle off.", ["blue_toggle not pressed", "green_toggle not pressed"]),
        ("Put the ball on the green table and leave the blue toggle off.", ["yellow_ball on green_table", "blue_toggle not pressed"]),
        ("The blue toggle must never be on. Go to it.", ["robot near blue_toggle", "always blue_toggle not pressed"]),
        ("Go to the study without switching on the green toggle.", ["robot in study", "always green_toggle not pressed"]),
        ("Shut the green door once the blue toggle is on.", ["1. blue_toggle pressed", "2. green_door not open"]),
        ("Make sure that no toggle is on.", ["blue_toggle not pressed", "green_toggle not pressed"]),
        ("Press the green toggle.", ["green_toggle pressed"]),
    ],
)
def test_what_is_said_of_toggles(text, meaning):
    assert sorted(describe(read(text, THINGS))) == sorted(meaning)


def test_every_wording_about_a_toggle_that_is_on_means_it():
    off = Formula((((literal(ON, true=False),),),))
    for table, said in ((wordings.ACTS, Formula.of([ON])), (wordings.STATES, Formula.of([ON])), (wordings.DENIALS, off)):
        for row in table["turned on"].all:
            text = row.format(x=noun_phrase(ON[1]), none="none of " + noun_phrase(ON[1]), **{"is": "is"})
            assert read(text, THINGS) == said, text
    assert "toggle switch" in say(off, THINGS, Taste(0, held_out=True))


@pytest.mark.parametrize("text", ["turn on the green door", "put the yellow ball on", "switch the blue table off"])
def test_only_toggles_are_on_or_off(text):
    with pytest.raises(InstructionError):
        read(text, THINGS)


@pytest.mark.parametrize("text", ["Press the switch on the right of the green table.", "Push the green switch."])
def test_a_switch_is_still_a_button(text):
    assert describe(read(text, Things.of(houses.SPEC, houses.house()))) == ["green_button pressed"]


@pytest.mark.parametrize(
    ("sentence", "rule"),
    [
        ("The green door is open only while the blue toggle is on.", WHILE),
        ("Turn on the blue toggle and the green door stays open for as long as it is on.", WHILE),
        ("When the blue toggle is on, the green door opens.", replace(WHILE, lasting=True)),
    ],
)
def test_rules_about_toggles_are_read_and_come_up(sentence, rule):
    assert rulebook.read(sentence, THINGS) == rule
    assert sentence in {rulebook.say(rule, THINGS, Taste(seed)) for seed in range(200)}


def test_instructions_and_rules_are_read_back_and_scenes_tell_which_toggles_are_on(some):
    e, made = some
    spec = e.world.spec
    for i in range(24):
        each = one(made, i)
        text = e.instruction(each, i)
        assert formula(spec, Task(scene=each.scene, goal=parse(text, spec, each.scene))) == formula(spec, each), text
        things, told = Things.of(spec, each.scene), describe_scene(spec, each.scene)
        for rule in mechanics(spec, each.scene).rules:
            assert rulebook.read(rulebook.say(rule, things, Taste(i, e.held_out_words)), things) == rule
        names = [x.name for x in entities(spec, each.scene) if x.kind == "toggle"]
        for name, on in zip(names, each.scene.layout.toggle_on, strict=True):
            assert f"{noun_phrase(name).capitalize()} is {'on' if on else 'off'}." in told


# --- pictures, and tasks made by hand -------------------------------------------------------------------------------


def test_a_lamp_shines_while_a_toggle_is_on(arena):
    picture, seen = TopDown(arena.world, 320), []
    for on in (False, True):
        scene = house((on, False))
        frame = picture.frame(scene, arena.engine.init(jax.tree.map(jnp.asarray, scene.layout)))
        x, y = picture.locate(scene, scene.layout.button_pos[1] + [0.032, -0.032]).round().astype(int)
        lamp = picture.locate(scene, scene.layout.button_pos[0] + [0.032, -0.032]).round().astype(int)
        seen.append((frame[lamp[1], lamp[0]].astype(int), frame[y, x].astype(int)))
    (off, other), (on, same) = seen
    assert on[:2].sum() - off[:2].sum() > 150
    np.testing.assert_array_equal(other, same)


def test_the_camera_sees_the_lamp(arena):
    try:
        camera = Camera(arena.world, height=240, width=320)
    except PalaestraError as error:
        pytest.skip(str(error))
    with camera:
        images = []
        for on in (False, True):
            layout = jax.tree.map(jnp.asarray, house((False, on)).layout)
            layout = layout.replace(robot_q=jnp.array([4.3, 0.5, 0.0, 0.15, 0.0, 0.0]))  # before the green one
            images.append(camera.image(arena.world.initial_qpos(layout), layout, **colours(house()), view="robot").astype(int))
    assert (np.abs(images[0] - images[1]).max(-1) > 30).sum() > 3


def test_a_toggle_is_moved_and_removed_with_the_rules_that_name_it():
    moved = changes.move(SPEC, task(), BLUE, (0.5, 2.6))
    np.testing.assert_allclose(moved.scene.layout.button_pos[0], (0.5, 2.6), atol=1e-6)
    gone = changes.remove(SPEC, task(), BLUE)
    assert "blue_toggle" not in [e.name for e in entities(SPEC, gone.scene)]
    assert mechanics(SPEC, gone.scene).rules == ()
