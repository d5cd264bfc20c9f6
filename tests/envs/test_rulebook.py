"""Rules in English against the rules they say: of all sets, of a house made by hand, and any that can be put together."""

import jax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaestra.envs.mechanics import Rule, mechanics
from palaestra.envs.tasksets import TASK_SETS
from palaestra.envs.words import language, rulebook
from palaestra.envs.words.references import OBJECTS, Things
from palaestra.envs.words.rulebook import RuleError
from palaestra.envs.words.wordings import Taste
from tests.envs import houses, worlds

WITH_RULES = [name for name, tasks in TASK_SETS.items() if tasks.spec.rules]
THINGS = Things.of(houses.SPEC, houses.house())
BUTTON, MAKE, RUIN = houses.RULES
KEY = Rule((("holding", "robot", "yellow_ball"), ("near", "robot", "green_door")), opens="green_door")
WEIGHT = Rule((("pressed", "red_plate", "red_plate"),), opens="green_door", lasting=False)
SENTENCES = [
    ("When the blue button has been pressed, the green door opens.", BUTTON),
    ("Bring the yellow ball to the green door and it opens for good.", KEY),
    ("As long as something lies on the red plate, the green door is open.", WEIGHT),
    (
        "Put the small red cube on the blue table and the yellow ball on the green table, "
        "and they turn into the large red cube on the green table.",
        MAKE,
    ),
    ("The blue cube vanishes when it is put on the green table.", RUIN),
    (
        "On the blue table, the small red cube becomes the large red cube.",
        Rule((("on", "small_red_cube", "blue_table"),), consumes=("small_red_cube",), product="large_red_cube"),
    ),
    (
        "The green door opens when the yellow ball is in the green bin and you are in the kitchen.",
        Rule((("inside", "yellow_ball", "green_bin"), ("in_room", "robot", "kitchen")), opens="green_door"),
    ),
    (
        "As long as the robot holds the blue cube and the green door is open, the green door stays open.",
        Rule((("holding", "robot", "blue_cube"), ("open", "green_door", "green_door")), opens="green_door", lasting=False),
    ),
]


def test_the_rules_of_the_house_are_what_the_arrays_say():
    assert mechanics(houses.SPEC, houses.house()).rules == houses.RULES


@pytest.mark.parametrize(("sentence", "rule"), SENTENCES)
def test_sentences_mean_rules_and_come_up(sentence, rule):
    assert rulebook.read(sentence, THINGS) == rule
    assert sentence in {rulebook.say(rule, THINGS, Taste(seed)) for seed in range(200)}


@pytest.mark.parametrize("name", WITH_RULES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 255), seed=st.integers(0, 2**32 - 1), held_out=st.booleans())
def test_reading_inverts_saying_for_generated_rules(name, number, seed, held_out):
    spec, scene = TASK_SETS[name].spec, worlds.one(worlds.tasks(name).scene, number)
    text = " ".join(language.rules(spec, scene, seed, held_out))
    assert rulebook.read_all(text, Things.of(spec, scene)) == mechanics(spec, scene).rules


def names(*kinds: str) -> st.SearchStrategy[str]:
    return st.sampled_from(THINGS.names(*kinds))


def alone(predicate: str, *kinds: str) -> st.SearchStrategy[tuple[str, str, str]]:
    return names(*kinds).map(lambda name: (predicate, name, name))


a_fact = st.one_of(
    st.tuples(st.just("on"), names(*OBJECTS), names("table", "plate")),
    st.tuples(st.just("inside"), names(*OBJECTS), names("bin")),
    st.tuples(st.just("near"), st.just("robot"), names(*OBJECTS, "table", "plate", "bin", "door", "button")),
    st.tuples(st.just("holding"), st.just("robot"), names(*OBJECTS)),
    st.tuples(st.just("in_room"), names("robot", *OBJECTS, "bin"), names("room")),
    alone("open", "door"),
    alone("pressed", "button", "plate"),
)
a_condition = st.lists(a_fact, min_size=1, max_size=2, unique=True).map(tuple)
an_opening = st.builds(Rule, a_condition, opens=names("door"), lasting=st.booleans())
two_objects = st.lists(names(*OBJECTS), min_size=1, max_size=2, unique=True).map(tuple)
a_making = st.builds(Rule, a_condition, consumes=two_objects, product=st.one_of(st.just(""), names(*OBJECTS)))


@settings(max_examples=400, deadline=None)
@given(rule=an_opening | a_making, seed=st.integers(0, 2**32 - 1) | st.none(), held_out=st.booleans())
def test_reading_inverts_saying_for_any_rule(rule, seed, held_out):
    text = rulebook.say(rule, THINGS, Taste(seed, held_out))
    assert rulebook.read(text, THINGS) == rule, text
    assert rulebook.read(text.upper().replace(" ", "  "), THINGS) == rule


@pytest.mark.parametrize(
    "text",
    [
        "The pink door opens when the blue button is pressed.",  # no such door
        "The blue cube opens when the blue button is pressed.",  # no door
        "The blue button is pressed.",
        "Put the blue cube on the green table.",
        "The green door opens when the moon is full.",
    ],
)
def test_what_is_no_rule_here_is_refused(text):
    with pytest.raises(RuleError, match=r"expected a sentence like .*, about: robot, small_red_cube, .*, study"):
        rulebook.read(text, THINGS)


def test_held_out_sentences_stay_apart():
    usual = {rulebook.say(rule, THINGS, Taste(seed)) for rule in (BUTTON, KEY, WEIGHT, MAKE, RUIN) for seed in range(100)}
    held_out = {rulebook.say(rule, THINGS, Taste(seed, True)) for rule in (BUTTON, KEY, WEIGHT, MAKE, RUIN) for seed in range(100)}
    assert not usual & held_out
    assert len(usual) > 15


def test_scenes_are_described_with_doors_and_rules():
    scene = houses.house()
    told = (
        "The house has 2 rooms: the kitchen and the study. The robot is in the kitchen. "
        "In the kitchen are the small red cube, the blue cube, the blue table, the red plate and the blue button. "
        "In the study are the yellow ball, the green table, the green bin and the green button. "
        "All objects are on the floor. The green door between the kitchen and the study is shut."
    )
    rules = (
        "When the blue button has been pressed, the green door opens. "
        "When the small red cube is on the blue table and the yellow ball is on the green table, "
        "they turn into the large red cube on the green table. "
        "The blue cube vanishes when it is put on the green table."
    )
    assert language.describe(houses.SPEC, scene, with_rules=False) == told
    assert language.describe(houses.SPEC, scene) == f"{told} {rules}"
    assert "the blue cube (0.8, 0.2)" in language.describe(houses.SPEC, scene, with_positions=True)
    ajar = scene.replace(layout=scene.layout.replace(leaf_angle=scene.layout.leaf_angle + 1.5))
    assert "The green door between the kitchen and the study is open." in language.describe(houses.SPEC, ajar)


def test_what_was_made_and_what_is_gone_does_not_change_the_start():
    """In the middle of an episode the scene says which objects there are now; where they are, it does not."""
    scene = houses.house()
    used = scene.layout.object_used.copy()
    used[1] = True
    later = scene.replace(layout=scene.layout.replace(object_used=used))
    assert Things.of(houses.SPEC, later).places == THINGS.places
    assert "large_red_cube" not in THINGS.places
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, scene, later))
