"""Instructions against the goals they were made from, and what people may type against what it means in one house.

The house, made by hand: the kitchen with the robot, the blue table (a red cube on it), the red bin, a small red cube and the
purple ball; the study with the green table, the green bin and the blue cube.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import generator, language, lexicon
from palaestra.envs.goals import Formula, formula, write
from palaestra.envs.language import describe, describe_goal, render
from palaestra.envs.names import entities
from palaestra.envs.parser import InstructionError, parse
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import COLOURS, MAX_GOALS, PREDICATES, ROOMS, Goal, Scene, Task
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import DENSITY, Layout, WorldSpec, parked_fixture
from tests.envs.worlds import NINE, large_tasks, one

SPEC = WorldSpec(cubes=3, balls=1, tables=2, bins=2, rooms=4)
Literals = set[tuple[str, str, str]]


@pytest.fixture(scope="module")
def scene() -> Scene:
    fixtures = np.stack([parked_fixture(i) for i in range(SPEC.fixtures)])
    half = np.full((SPEC.fixtures, 3), 0.1, np.float32)
    fixtures[SPEC.walls :] = [(1.0, 1.0, 0.1), (4.0, 1.0, 0.1), (1.0, 2.5, 0.0), (4.0, 2.5, 0.0)]
    half[SPEC.walls :] = 0.15, 0.15, 0.1
    used = np.array([True, True, False, False])
    return Scene(
        layout=Layout(
            fixture_pos=fixtures.astype(np.float32),
            fixture_half=half,
            object_half=np.array([0.025, 0.034, 0.025, 0.025], np.float32),
            object_density=np.full(4, DENSITY, np.float32),
            object_friction=np.ones(4, np.float32),
            object_pos=np.array([(2.0, 0.5, 0.025), (1.0, 1.0, 0.234), (3.5, 0.5, 0.025), (2.0, 2.0, 0.025)], np.float32),
            object_yaw=np.zeros(4, np.float32),
            object_used=np.ones(4, bool),
            robot_q=np.array([2.5, 1.0, 0, 0.1, 0, 0], np.float32),
        ),
        room=np.array([(0, 0, 3, 3), (3, 0, 6, 3), (0, 0, 1, 1), (0, 0, 1, 1)], np.float32),
        room_used=used,
        room_name=np.array([ROOMS.index(name) for name in ("kitchen", "study", "pantry", "lounge")], np.int32),
        door=np.zeros((4, 2), np.float32),
        door_along_x=np.zeros(4, bool),
        door_width=np.ones(4, np.float32),
        door_rooms=np.zeros((4, 2), np.int32),
        door_used=np.zeros(4, bool),
        fixture_used=np.ones(SPEC.fixtures, bool),
        receptacle_colour=np.array([COLOURS.index(name) for name in ("blue", "green", "red", "green")], np.int32),
        object_colour=np.array([COLOURS.index(name) for name in ("red", "red", "blue", "purple")], np.int32),
    )


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """Generated tasks with one to four literals."""
    env, count = TaskSetEnv("rearrange", "train"), 240
    keys, goals = jax.random.split(jax.random.key(7), count), 1 + jnp.arange(count) % MAX_GOALS
    sample = jax.vmap(lambda key, n: generator.draw_until(key, lambda k: generator.attempt_task(k, env.world, env.ranges, n, n)))
    fast_to_compile = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    batch = jax.tree.map(np.asarray, jax.jit(sample, compiler_options=fast_to_compile)(keys, goals))
    return [jax.tree.map(lambda x: x[i], batch) for i in range(count)]  # noqa: B023


def literals(goal: Goal, scene: Scene) -> Literals:
    """By name; a goal of these tests is a conjunction of literals."""
    found = formula(SPEC, Task(scene=scene, goal=goal)).literals
    assert found is not None
    return set(found)


def goal_of(scene: Scene, *facts: tuple[str, str, str]) -> Goal:
    return write(Formula.of(facts), SPEC, scene)


def meaning(text: str, scene: Scene) -> Literals:
    return literals(parse(text, SPEC, scene), scene)


def phrases(text: str, scene: Scene) -> list[str]:
    return describe_goal(SPEC, Task(scene=scene, goal=parse(text, SPEC, scene)))


# --- there and back -----------------------------------------------------------------------------------------------


def test_parse_inverts_render_for_generated_tasks(tasks):
    for i, task in enumerate(tasks):
        for seed in (i, i + 1000, i + 2000):
            text = render(SPEC, task, seed)
            assert meaning(text, task.scene) == literals(task.goal, task.scene), text


def test_parse_inverts_render_in_houses_of_up_to_nine_rooms():
    batch = large_tasks()
    for i in range(len(batch.goal.used)):
        task = one(batch, i)
        for seed in (i, i + 1000):
            text = render(NINE, task, seed)
            understood = task.replace(goal=parse(text, NINE, task.scene))
            assert formula(NINE, understood) == formula(NINE, task), text


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_can_be_asked_for(name):
    scene = one(large_tasks().scene, 4)
    goal = parse(f"Drive into the {name}.", NINE, scene)
    assert formula(NINE, Task(scene=scene, goal=goal)).literals == [("in_room", "robot", name)]


def test_generated_tasks_cover_all_predicates_and_numbers_of_goals(tasks):
    goals = [literals(task.goal, task.scene) for task in tasks]
    assert {fact[0] for goal in goals for fact in goal} == set(PREDICATES)
    assert {len(goal) for goal in goals} == {1, 2, 3, 4}


ONE_OF_EACH = {
    "on": ("on", "blue_cube", "green_table"),
    "inside": ("inside", "purple_ball", "red_bin"),
    "near": ("near", "robot", "blue_table"),
    "in_room": ("in_room", "robot", "study"),
    "holding": ("holding", "robot", "small_red_cube"),
}


@pytest.mark.parametrize("predicate", PREDICATES)
def test_every_wording_means_its_predicate_and_is_rendered(predicate, scene):
    fact = ONE_OF_EACH[predicate]
    task = Task(scene=scene, goal=goal_of(scene, fact))
    rendered = [render(SPEC, task, seed).lower() for seed in range(300)]
    for text in language.clauses(fact):
        assert meaning(text, scene) == {fact}, text
        assert any(text in line for line in rendered), text


@pytest.mark.parametrize("predicate", language.PLACING)
def test_every_wording_takes_two_objects(predicate, scene):
    target = ONE_OF_EACH[predicate][2]
    for wording in language.WORDINGS[predicate]:
        text = wording.format(x="the blue cube and the purple ball", y=language.noun_phrase(target), it="them", **{"is": "are"})
        assert meaning(text, scene) == {(predicate, "blue_cube", target), (predicate, "purple_ball", target)}, text


def test_wordings_follow_each_other_in_every_join(scene):
    rows = [(fact, text) for fact in ONE_OF_EACH.values() for text in language.clauses(fact)]
    pairs = [(a, b) for a in rows for b in rows if {a[0][0], b[0][0]} != {"near", "in_room"} and a[0] != b[0]]
    for k, ((fact_a, a), (fact_b, b)) in enumerate(pairs[::5]):
        text = language.sentence([a, b], language.JOINS[k % len(language.JOINS)], language.ADDRESSES[k % len(language.ADDRESSES)])
        assert meaning(text, scene) == {fact_a, fact_b}, text


def test_joins_and_addresses_of_three_and_four_clauses(scene):
    facts = [("on", "blue_cube", "green_table"), ("inside", "purple_ball", "red_bin"), ("inside", "small_red_cube", "red_bin")]
    facts.append(("holding", "robot", "large_red_cube"))
    for count in (3, 4):
        for join in language.JOINS:
            for address in language.ADDRESSES:
                text = language.sentence([language.clauses(fact)[0] for fact in facts[:count]], join, address)
                assert meaning(text, scene) == set(facts[:count]), text


def test_what_is_rendered_is_a_sentence_and_depends_on_the_seed_alone(tasks):
    for i, task in enumerate(tasks[:100]):
        text = render(SPEC, task, i)
        assert text == render(SPEC, jax.tree.map(jnp.asarray, task), i)
        assert re.fullmatch(r"[A-Z][A-Za-z ,]+(\. [A-Z][A-Za-z ,]+)*\.", text), text
        assert "  " not in text
    assert len({render(SPEC, tasks[3], seed) for seed in range(50)}) > 40


def test_details_are_true_and_understood(scene):
    task = Task(scene=scene, goal=goal_of(scene, ("inside", "large_red_cube", "red_bin"), ("holding", "robot", "blue_cube")))
    texts = [render(SPEC, task, seed) for seed in range(200)]
    details = ("from the blue table", "from the kitchen", "from the study", "bin in the kitchen", "small blue cube")
    assert all(any(detail in text for text in texts) for detail in details)
    assert not any("large blue" in text or "bin in the study" in text for text in texts)


# --- what people type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pick up the blue cube and put it on the green table", ["blue_cube on green_table"]),
        ("Pick the blue cube up, drive to the green table and put it there!", ["robot near green_table", "blue_cube on green_table"]),
        ("go to the green table and put the ball on it", ["robot near green_table", "purple_ball on green_table"]),
        ("grab the blue cube and the ball, and put them in the red bin", ["blue_cube in red_bin", "purple_ball in red_bin"]),
        ("PLEASE, robot,   put a BLUE block onto the the green table ...", ["blue_cube on green_table"]),
        ("could you put the ball in the red box, please?", ["purple_ball in red_bin"]),
        ("the ball should be in the red bin and the blue cube on the green table", ["purple_ball in red_bin", "blue_cube on green_table"]),
        ("put the ball in the red bin and the blue one in the green bin", ["purple_ball in red_bin", "blue_cube in green_bin"]),
        ("go to the study; the ball goes in the red bin", ["robot in study", "purple_ball in red_bin"]),
        ("go to the green table and the ball should be in the red bin", ["robot near green_table", "purple_ball in red_bin"]),
        ("be in the study holding the ball", ["robot in study", "robot holding purple_ball"]),
        ("take the ball", ["robot holding purple_ball"]),
        ("take the ball to the red bin", ["purple_ball in red_bin"]),
        ("take the ball and the blue cube to the red bin", ["purple_ball in red_bin", "blue_cube in red_bin"]),
        ("pick up the ball and keep holding it", ["robot holding purple_ball"]),
        ("get the red cube from the blue table", ["robot holding large_red_cube"]),
        ("put the red cube on the blue table in the red bin", ["large_red_cube in red_bin"]),
        ("put the blue cube in the study on the blue table in the kitchen", ["blue_cube on blue_table"]),
        ("move the ball to the table in the study", ["purple_ball on green_table"]),
        ("put the ball in the kitchen bin", ["purple_ball in red_bin"]),
        ("put both red cubes in the red bin", ["small_red_cube in red_bin", "large_red_cube in red_bin"]),
        ("put every cube from the kitchen in the red bin", ["small_red_cube in red_bin", "large_red_cube in red_bin"]),
        ("put the ball in the red bin, put the ball into the red bin", ["purple_ball in red_bin"]),
        ("blue_cube on green_table, robot in study", ["blue_cube on green_table", "robot in study"]),
    ],
)
def test_other_phrasings(text, expected, scene):
    assert sorted(phrases(text, scene)) == sorted(expected)


def test_a_described_goal_parses(tasks):
    for task in tasks[:100]:
        assert meaning(", ".join(describe_goal(SPEC, task)), task.scene) == literals(task.goal, task.scene)


# --- what cannot be followed --------------------------------------------------------------------------------------

OBJECTS = "small_red_cube, large_red_cube, blue_cube, purple_ball"
TROUBLE = [  # text, the part, the reason, the suggestion
    ("", "", "it says nothing to do", None),
    (" Please... ", " Please... ", "it says nothing to do", None),
    ("fly to the moon", "fly to the moon", "there is no verb that I know in 'fly to the moon'", None),
    ("don't put the ball in the red bin", "don't", 'there is no verb that I know in "don\'t"', None),
    ("put the ball or the blue cube in the red bin", None, f"I do not know 'or'; there are: {OBJECTS}", None),
    ("put", "put", "it does not say what or where", None),
    ("put the ball", "put the ball", "it does not say where purple_ball goes", None),
    ("put on the green table", None, "it does not say which object", None),
    ("put it in the red bin", None, "nothing named before can be 'it'", None),
    (
        "put the green ball in the red bin",
        None,
        f"there is no green ball here; there are: {OBJECTS}",
        "Put the purple ball in the red bin.",
    ),
    ("put the ball in the basket", None, "I do not know 'basket'; there are: blue_table, green_table, red_bin, green_bin", None),
    ("go to the pantry", None, "there is no pantry here; there are: kitchen, study", None),
    ("pick up the ball in the study", None, f"there is no ball in the study here; there are: {OBJECTS}", "Pick up the purple ball."),
    ("hold the red cube", None, "'the red cube' could be small_red_cube or large_red_cube", "Pick up the large red cube."),
    ("put the ball in the bin", None, "'the bin' could be red_bin or green_bin", "Put the purple ball in the red bin."),
    ("pick up the blue table", None, "blue_table is a table, expected a cube or a ball", None),
    ("put the ball on the blue cube", None, "blue_cube is a cube, expected a table or a bin", None),
    ("put the ball in the blue table", None, "blue_table is a table: things go on it, not in it", "Put the purple ball on the blue table."),
    ("put the ball on the red bin", None, "red_bin is a bin: things go in it, not on it", "Put the purple ball in the red bin."),
    ("put the ball by the red bin", None, "red_bin is a bin: things go in it, not near it", "Put the purple ball in the red bin."),
    (
        "bring the ball to the study",
        None,
        "study is a room, expected a table or a bin (in study: green_table, green_bin)",
        "Put the purple ball on the green table.",
    ),
    ("go onto the blue table", None, "the robot can be in a room or near a thing, not onto blue_table", "Go to the blue table."),
    (
        "put the ball on the blue table and the ball in the red bin",
        "the ball in the red bin",
        "purple_ball on blue_table and purple_ball in red_bin cannot both hold: an object is in one place",
        "Put the purple ball on the blue table.",
    ),
    (
        "go to the kitchen, then go to the study",
        "go to the study",
        "robot in kitchen and robot in study cannot both hold: the robot is in one room, not in kitchen and study",
        "Go into the kitchen.",
    ),
    (
        "stand next to the blue table and enter the study",
        "enter the study",
        "robot near blue_table and robot in study cannot both hold: the robot is in one room, not in kitchen and study",
        "Go to the blue table.",
    ),
    (
        "hold the ball and put it in the red bin",
        "put it in the red bin",
        "robot holding purple_ball and purple_ball in red_bin cannot both hold: a held object has no other place",
        "Pick up the purple ball.",
    ),
    (
        "put the ball in the red bin and pick it up",
        "pick it up",
        "purple_ball in red_bin and robot holding purple_ball cannot both hold: a held object has no other place",
        "Put the purple ball in the red bin.",
    ),
    (
        "pick up the ball and the blue cube",
        "the blue cube",
        "robot holding purple_ball and robot holding blue_cube cannot both hold: the robot has one gripper",
        "Pick up the purple ball.",
    ),
    ("put everything in the red bin and go to the study", "go to the study", "5 goals, expected at most 4", None),
]


@pytest.mark.parametrize(("text", "part", "reason", "suggestion"), TROUBLE)
def test_errors_say_what_and_why_and_suggest_what_works(text, part, reason, suggestion, scene):
    with pytest.raises(InstructionError) as caught:
        parse(text, SPEC, scene)
    error = caught.value
    assert isinstance(error, PalaestraError)
    assert error.not_understood == (text if part is None else part)
    got = ", ".join(error.understood) or "nothing"
    assert str(error) == f"cannot follow {error.not_understood!r}: {reason}. Understood so far: {got}. Try: {error.suggestion!r}"
    assert suggestion in (None, error.suggestion)
    assert meaning(error.suggestion, scene)


def test_errors_keep_what_was_understood(scene):
    with pytest.raises(InstructionError) as caught:
        parse("Put the ball in the red bin, then put the bleu cube on the green table, then enter the study.", SPEC, scene)
    error = caught.value
    assert error.understood == ["purple_ball in red_bin"]
    assert error.not_understood == "put the bleu cube on the green table"
    assert error.suggestion == "Put the purple ball in the red bin, then put the blue cube on the green table."
    assert phrases(error.suggestion, scene) == ["purple_ball in red_bin", "blue_cube on green_table"]


def test_a_suggestion_never_contradicts_itself(scene):
    with pytest.raises(InstructionError) as caught:
        parse("pick up the ball and the blue cube, enter the kitchen, enter the study, and fly to the green table", SPEC, scene)
    assert phrases(caught.value.suggestion, scene)[:2] == ["robot holding purple_ball", "robot in kitchen"]


def test_suggestions_work_in_generated_scenes(tasks):
    for task in tasks[:20]:
        for text in (
            "put the pink cube on the red table",
            "drive to the moon",
            "put the cube in the kitchen",
            "pick up the ball and the cube",
        ):
            try:
                parse(text, SPEC, task.scene)
            except InstructionError as error:
                assert meaning(error.suggestion, task.scene), error  # noqa: PT017


def test_any_text_is_a_goal_or_an_instruction_error(tasks):
    rng = np.random.default_rng(0)
    vocabulary = [*lexicon._PHRASES, "moon", "not", "colour-less"]
    for i, task in enumerate(tasks[:100]):
        words = render(SPEC, task, i).split() if i % 2 else [str(rng.choice(vocabulary)) for _ in range(6)]
        words[rng.integers(len(words))] = str(rng.choice(vocabulary))
        try:
            assert meaning(" ".join(words), task.scene)
        except InstructionError as error:
            assert meaning(error.suggestion, task.scene), error  # noqa: PT017


def test_every_word_has_one_meaning():
    rows = [phrase for values in lexicon._LEXICON.values() for row in values.values() for phrase in row.split(", ")]
    assert len(rows) == len(set(rows))


# --- descriptions -------------------------------------------------------------------------------------------------


def test_describe_tells_what_is_where(scene):
    assert describe(SPEC, scene) == (
        "The house has 2 rooms: the kitchen and the study. The robot is in the kitchen. "
        "In the kitchen are the small red cube, the large red cube, the purple ball, the blue table and the red bin. "
        "In the study are the blue cube, the green table and the green bin. "
        "The large red cube is on the blue table. The other objects are on the floor."
    )


def test_describe_agrees_with_the_layout(tasks):
    for task in tasks[:60]:
        scene = task.scene
        text = describe(SPEC, scene)
        assert text == describe(SPEC, jax.tree.map(jnp.asarray, scene))
        rooms = {e.name: scene.room[e.index - 1 - SPEC.objects - SPEC.receptacles] for e in entities(SPEC, scene) if e.kind == "room"}
        at = np.concatenate([scene.layout.object_pos[:, :2], scene.layout.fixture_pos[SPEC.walls :, :2]])
        for e in entities(SPEC, scene):
            if e.kind in ("robot", "room"):
                continue
            x, y = at[e.index - 1]
            (room,) = [name for name, (x0, y0, x1, y1) in rooms.items() if x0 <= x <= x1 and y0 <= y <= y1]
            sentence = next(line for line in text.split(". ") if line.startswith(f"In the {room} "))
            assert language.noun_phrase(e.name) in sentence
        floor = scene.layout.object_pos[:, 2] < 0.05
        resting = sum(bool(used) for used in scene.layout.object_used & ~floor)
        assert len(re.findall(r"\. The [a-z ]+ is on the [a-z]+ table", text)) == resting


def test_describe_goal(scene):
    task = Task(scene=scene, goal=goal_of(scene, *list(ONE_OF_EACH.values())[:4]))
    assert describe_goal(SPEC, task) == ["blue_cube on green_table", "purple_ball in red_bin", "robot near blue_table", "robot in study"]
