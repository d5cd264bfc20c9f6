"""Changes to a task: what was asked for, where it was asked for, and not a bit besides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.editing import changes
from palaestra.envs.generation.overlaps import overlapping
from palaestra.envs.goals import formula
from palaestra.envs.mechanics import Rule, mechanics
from palaestra.envs.names import entities, facts
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import COLOURS, Goal, Task
from palaestra.envs.words.parser import InstructionError
from palaestra.envs.words.references import Things
from palaestra.envs.words.rulebook import RuleError
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import named_leaves
from palaestra.sim.world import BIN_FLOOR, LEAF_LENGTH, LEAF_OPEN, leaf_axis
from tests.envs import houses
from tests.envs.worlds import env, one, tasks

WORLD = env().world
SPEC = WORLD.spec
TABLE, BIN, ROOM = 1 + SPEC.objects, 1 + SPEC.objects + SPEC.tables, 1 + SPEC.objects + SPEC.receptacles
_TABLE = jax.jit(lambda scene: table_at_start(WORLD, scene))


def find(wanted) -> Task:
    """The first of the generated tasks that is wanted."""
    return next(task for task in (one(tasks(), i) for i in range(256)) if wanted(task))


@pytest.fixture
def task() -> Task:
    """A task with all slots in use and nothing on any table."""
    return find(lambda t: t.scene.layout.object_used.all() and not any(p.receptacle for p in Things.of(SPEC, t.scene).places.values()))


def name(task: Task, thing: int) -> str:
    return changes.thing_of(SPEC, task.scene, thing).name


def words(task: Task, thing: int) -> str:
    return name(task, thing).replace("_", " ")


def true(task: Task) -> frozenset:
    return facts(entities(SPEC, task.scene), np.asarray(_TABLE(task.scene)))


def differing(a: Task, b: Task) -> set[str]:
    """The leaves that differ; dtypes and shapes never do."""
    mine, theirs = named_leaves(a), named_leaves(b)
    assert mine.keys() == theirs.keys()
    assert all((x.dtype, x.shape) == (theirs[k].dtype, theirs[k].shape) for k, x in mine.items())
    return {k for k, x in mine.items() if x.tobytes() != np.asarray(theirs[k]).tobytes()}


def test_an_object_is_where_it_was_put_and_nothing_else_has_changed(task):
    before = jax.tree.map(np.copy, task)
    moved = changes.move(SPEC, task, 2, (0.25, -0.5))
    assert moved.scene.layout.object_pos[1].tolist() == pytest.approx([0.25, -0.5, task.scene.layout.object_half[1]])
    assert differing(task, moved) == {"scene/layout/object_pos"}
    assert (np.delete(moved.scene.layout.object_pos, 1, 0) == np.delete(task.scene.layout.object_pos, 1, 0)).all()
    assert differing(task, before) == set()


def test_dragged_over_a_table_it_lies_on_it_and_over_a_bin_inside(task):
    lay = task.scene.layout
    slot = SPEC.walls
    top = lay.fixture_pos[slot, 2] + lay.fixture_half[slot, 2]
    on = changes.move(SPEC, task, 1, lay.fixture_pos[slot, :2] + (0.05, -0.05))
    assert on.scene.layout.object_pos[0, 2] == pytest.approx(top + lay.object_half[0], abs=1e-6)
    assert ("on", name(task, 1), name(task, TABLE)) in true(on)
    into = changes.move(SPEC, task, 1, lay.fixture_pos[slot + SPEC.tables, :2])
    assert into.scene.layout.object_pos[0, 2] == pytest.approx(BIN_FLOOR + lay.object_half[0], abs=1e-6)
    assert ("inside", name(task, 1), name(task, BIN)) in true(into)
    assert not overlapping(SPEC, on.scene)
    assert not overlapping(SPEC, into.scene)
    half = lay.fixture_half[slot, 0]
    beside = changes.move(SPEC, task, 1, lay.fixture_pos[slot, :2] + (half + 0.001, 0))  # half of it, in the table's leg room
    assert beside.scene.layout.object_pos[0, 2] == lay.object_half[0]
    assert overlapping(SPEC, beside.scene) == [(1, TABLE)]


def test_physics_leaves_it_where_it_was_put(task):
    """MuJoCo agrees with the heights: half a second later nothing has fallen or jumped."""
    lay = task.scene.layout
    put = changes.move(SPEC, task, 1, lay.fixture_pos[SPEC.walls, :2])
    put = changes.move(SPEC, put, 2, lay.fixture_pos[SPEC.walls + SPEC.tables, :2])
    assert not overlapping(SPEC, put.scene)
    engine = env().engine

    def fall(layout):
        first = engine.init(layout)
        still = jnp.concatenate([jnp.zeros(3), layout.robot_q[3:]])
        last, _ = jax.lax.scan(lambda s, _: (engine.step(s, still), None), first, length=10)
        return first.qpos, last.qpos

    before, after = jax.jit(fall)(put.scene.layout)
    first, last = (np.asarray(WORLD.object_pose(q)[0])[:2] for q in (before, after))
    np.testing.assert_allclose(first, put.scene.layout.object_pos[:2], atol=1e-6)
    np.testing.assert_allclose(last, first, atol=2e-3)


@pytest.mark.parametrize("receptacle", [TABLE, BIN])
def test_what_lies_on_a_table_or_in_a_bin_goes_with_it(task, receptacle):
    at = changes.position(SPEC, task.scene, receptacle)
    laden = changes.move(SPEC, task, 3, at + np.array([0.04, 0.0]))
    there = changes.move(SPEC, laden, receptacle, at + np.array([0.1, 0.2]))
    np.testing.assert_allclose(changes.position(SPEC, there.scene, receptacle), at + np.array([0.1, 0.2]), atol=1e-6)
    np.testing.assert_allclose(there.scene.layout.object_pos[2] - laden.scene.layout.object_pos[2], (0.1, 0.2, 0.0), atol=1e-6)
    others = [0, 1, 3]
    assert (there.scene.layout.object_pos[others] == laden.scene.layout.object_pos[others]).all()
    assert {f for f in true(there) if name(task, 3) in f and f[0] in ("on", "inside")} == {
        f for f in true(laden) if name(task, 3) in f and f[0] in ("on", "inside")
    }


def test_the_robot_moves_and_turns(task):
    q = task.scene.layout.robot_q
    moved = changes.turn(SPEC, changes.move(SPEC, task, 0, (0.5, 0.25)), 0, np.pi)
    assert moved.scene.layout.robot_q[:2].tolist() == [0.5, 0.25]
    assert np.cos(moved.scene.layout.robot_q[2] - q[2]) == pytest.approx(-1.0)
    assert abs(moved.scene.layout.robot_q[2]) <= np.pi + 1e-6
    assert (moved.scene.layout.robot_q[3:] == q[3:]).all()
    turned = changes.turn(SPEC, task, 2, -0.25)
    assert turned.scene.layout.object_yaw[1] - task.scene.layout.object_yaw[1] == pytest.approx(-0.25, abs=1e-6)
    assert differing(task, turned) == {"scene/layout/object_yaw"}


def test_a_removed_object_is_gone_and_an_added_one_can_be_told_apart(task):
    gone = changes.remove(SPEC, task, 2)
    assert [e.index for e in entities(SPEC, gone.scene)] == [e.index for e in entities(SPEC, task.scene) if e.index != 2]
    back, thing = changes.add(SPEC, gone, "cube", (0.5, 0.5))
    assert thing == 2
    assert changes.thing_of(SPEC, back.scene, thing).kind == "cube"
    assert back.scene.layout.object_pos[1].tolist() == pytest.approx([0.5, 0.5, back.scene.layout.object_half[1]])
    names = [e.name for e in entities(SPEC, back.scene)]
    assert len(set(names)) == len(names)
    assert int(back.scene.object_colour[1]) not in back.scene.object_colour[[0, 2]]  # a colour that no other cube has


def test_without_a_place_it_is_added_where_nothing_is():
    for i in range(40):
        task = changes.remove(SPEC, one(tasks(), i), 1 + int(np.argmax(one(tasks(), i).scene.layout.object_used)))
        there, thing = changes.add(SPEC, task, "cube" if not task.scene.layout.object_used[: SPEC.cubes].all() else "ball")
        assert overlapping(SPEC, there.scene) == []
        assert ("on", name(there, thing), name(there, TABLE)) not in true(there)


def test_the_goal_loses_what_it_said_of_a_removed_object(task):
    red, green, blue, ball, first, other = (words(task, i) for i in (1, 2, 3, 4, BIN, BIN + 1))
    text = f"Put the {red} and the {green} in the {first}, then put the {blue} in the {other}. Never touch the {ball}."
    aimed = changes.with_goal(SPEC, task, text)

    def left(thing):
        said = formula(SPEC, changes.remove(SPEC, aimed, thing))
        return [len(option) for stage in said.stages for option in stage], len(said.always)

    # The second stage keeps what the first one placed.
    assert [len(option) for stage in formula(SPEC, aimed).stages for option in stage] == [2, 3]
    assert left(1) == left(2) == ([1, 2], 1)
    assert left(3) == ([2, 2], 1)
    assert left(4) == ([2, 3], 0)
    holding = changes.with_goal(SPEC, task, f"Pick up the {red}.")
    assert not changes.remove(SPEC, holding, 1).goal.used.any()


def test_a_goal_that_does_not_speak_of_it_stays_to_the_bit(task):
    driving = changes.with_goal(SPEC, task, f"Go to the {words(task, TABLE)}.")
    assert not [leaf for leaf in differing(driving, changes.remove(SPEC, driving, 1)) if leaf.startswith("goal")]


def test_counts_of_a_group_shrink_with_it(task):
    counted = changes.with_goal(SPEC, task, f"Put exactly two cubes in the {words(task, BIN)}.")
    (term,) = formula(SPEC, counted).stages[0][0]
    assert (len(term.subjects), term.at_least, term.at_most) == (3, 2, 2)
    both = changes.remove(SPEC, counted, 1)
    assert formula(SPEC, both).literals == [("inside", name(both, i), name(both, BIN)) for i in (2, 3)]


def test_colour_and_size_are_what_was_asked_for(task):
    free = next(c for c in COLOURS if COLOURS.index(c) not in task.scene.object_colour)
    painted = changes.recolour(SPEC, task, 1, free)
    assert name(painted, 1) == f"{free}_cube"
    assert differing(task, painted) == {"scene/object_colour"}
    table = changes.recolour(SPEC, task, TABLE, next(c for c in COLOURS if COLOURS.index(c) not in task.scene.receptacle_colour))
    assert differing(task, table) == {"scene/receptacle_colour"}
    grown = changes.resize(SPEC, task, 4, 0.0345)
    assert grown.scene.layout.object_half[3] == np.float32(0.0345)
    assert grown.scene.layout.object_pos[3, 2] == pytest.approx(0.0345, abs=1e-6)  # still on the floor
    laid = changes.move(SPEC, task, 4, changes.position(SPEC, task.scene, TABLE))
    for half in changes.HALF:
        sized = changes.resize(SPEC, laid, 4, half)
        assert overlapping(SPEC, sized.scene) == []
        assert ("on", name(sized, 4), name(sized, TABLE)) in true(sized)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: changes.move(SPEC, t, 99, (0, 0)), "thing: got number 99, expected one of: 0 (robot), "),
        (lambda t: changes.move(SPEC, t, ROOM, (0, 0)), "got a room to be moved, expected the robot, an object, table, bin or button"),
        (lambda t: changes.move(SPEC, t, 1, (0, np.nan)), "got the place [0.0, nan], expected x and y in metres"),
        (lambda t: changes.turn(SPEC, t, TABLE, 1.0), "got a table to be turned, expected the robot or an object"),
        (lambda t: changes.remove(SPEC, t, 0), "robot: got a robot to be removed, expected a cube, ball, button or door"),
        (lambda t: changes.add(SPEC, t, "cube"), "got one cube more than the 3 that this world has slots for"),
        (lambda t: changes.add(SPEC, t, "cylinder"), "unknown kind of thing 'cylinder'; expected one of: ball, button, cube, door"),
        (lambda t: changes.recolour(SPEC, t, 1, "mauve"), "unknown colour 'mauve'; expected one of: blue, green, orange"),
        (
            lambda t: changes.recolour(SPEC, t, 0, "red"),
            "robot: got a robot to be coloured, expected an object, table, bin, door or button",
        ),
        (lambda t: changes.resize(SPEC, t, 1, 0.05), "got a half size of 50 mm, expected 24 to 35 mm"),
        (lambda t: changes.resize(SPEC, t, BIN, 0.03), "got a bin to be resized, expected a cube or a ball"),
        (lambda t: changes.number_of(SPEC, t.scene, "piano"), "unknown thing 'piano'; expected one of: "),
    ],
)
def test_what_cannot_be_is_refused_by_name(task, change, expected):
    with pytest.raises(PalaestraError) as caught:
        change(task)
    assert expected in str(caught.value)


def test_no_two_things_may_come_to_be_called_alike(task):
    """The second cube's colour can be had in another size, and its size in another colour, but not both."""
    colour, half = COLOURS[int(task.scene.object_colour[1])], float(task.scene.layout.object_half[1])
    free = next(c for c in COLOURS if COLOURS.index(c) not in task.scene.object_colour)
    other = 0.025 if half > 0.030 else 0.034
    apart = changes.recolour(SPEC, task, 1, free)
    for twin in (
        lambda: changes.recolour(SPEC, changes.resize(SPEC, apart, 1, half), 1, colour),
        lambda: changes.resize(SPEC, changes.recolour(SPEC, changes.resize(SPEC, apart, 1, other), 1, colour), 1, half),
    ):
        with pytest.raises(PalaestraError, match=rf"got two things called (small|large)_{colour}_cube, expected all to differ"):
            twin()


def test_an_instruction_that_is_not_understood_names_the_candidates(task):
    cubes = [e.name for e in entities(SPEC, task.scene) if e.kind == "cube"]
    with pytest.raises(InstructionError, match=f"could be {' or '.join(cubes)}"):
        changes.with_goal(SPEC, task, f"Put the cube in the {words(task, BIN)}.")


# --- doors, buttons and rules -------------------------------------------------------------------------------------

HOUSE = houses.SPEC


@pytest.fixture
def ruled() -> Task:
    """The house with rules, and a goal about what one of them makes."""
    task = Task(scene=houses.house(), goal=Goal(**{f: np.zeros((), np.int32) for f in Goal.__dataclass_fields__}))
    return changes.on_host(changes.with_goal(HOUSE, task, "Put the large red cube on the blue table and go to the blue button."))


def number(task: Task, thing: str) -> int:
    return changes.number_of(HOUSE, task.scene, thing)


def rules(task: Task) -> tuple[Rule, ...]:
    return mechanics(HOUSE, task.scene).rules


def test_rules_by_name_and_as_rows_are_the_same(ruled):
    assert rules(ruled) == houses.RULES
    again = changes.rule_rows(HOUSE, ruled.scene, houses.RULES)
    for field, rows in named_leaves(ruled.scene.rules).items():
        assert (rows == named_leaves(again)[field]).all(), field


def test_a_rule_in_words_is_added_and_what_it_makes_is_not_there_before(ruled):
    for k in (2, 1):
        ruled = changes.without_rule(HOUSE, ruled, k)
    made = changes.with_rule(HOUSE, ruled, "The blue cube turns into the yellow ball when it is put on the green table.")
    rule = Rule((("on", "blue_cube", "green_table"),), consumes=("blue_cube",), product="yellow_ball")
    assert rules(made) == (houses.RULES[0], rule)
    assert made.scene.layout.object_used.tolist() == [True, True, True, False]
    assert np.abs(made.scene.layout.object_pos[3]).max() > 50  # m: far away
    back = changes.without_rule(HOUSE, made, 1)
    assert rules(back) == houses.RULES[:1]
    assert back.scene.layout.object_used.all()
    assert overlapping(HOUSE, back.scene) == []  # it lies somewhere on the floor
    assert differing(ruled, back) == {"scene/layout/object_pos"}


def test_what_no_rule_makes_any_more_is_there_from_the_start(ruled):
    there = changes.without_rule(HOUSE, ruled, 1)
    assert rules(there) == (houses.RULES[0], houses.RULES[2])
    assert there.scene.layout.object_used.all()
    assert overlapping(HOUSE, there.scene) == []
    assert formula(HOUSE, there) == formula(HOUSE, ruled)


@pytest.mark.parametrize(
    ("thing", "left"), [("blue_button", (1, 2)), ("green_door", (1, 2)), ("blue_cube", (0, 1)), ("yellow_ball", (0, 2))]
)
def test_what_is_removed_takes_its_rules_along(ruled, thing, left):
    gone = changes.remove(HOUSE, ruled, number(ruled, thing))
    assert rules(gone) == tuple(houses.RULES[k] for k in left)
    assert thing not in [e.name for e in entities(HOUSE, gone.scene)]
    said = [term.predicate for option in formula(HOUSE, gone).stages[0] for term in option]
    assert said == (["on"] if thing == "blue_button" else ["on", "near"])


def test_a_door_that_was_removed_can_be_hung_again(ruled):
    gone = changes.remove(HOUSE, ruled, number(ruled, "green_door"))
    with pytest.raises(PalaestraError, match="expected a doorway without one, and room for it to swing"):
        changes.add(HOUSE, gone, "door")
    for thing, at in (("green_table", (5.0, 1.0)), ("yellow_ball", (5.5, 2.0))):
        gone = changes.move(HOUSE, gone, number(gone, thing), at)
    back, thing = changes.add(HOUSE, gone, "door", (0.0, 0.0))
    (door,) = mechanics(HOUSE, back.scene).doors
    assert door.rooms == ("kitchen", "study")
    assert changes.position(HOUSE, back.scene, thing).tolist() == [3.0, 1.5]
    hinge = back.scene.layout.leaf_pos[0]
    assert hinge[0] == pytest.approx(3.0)
    assert abs(hinge[1] - 1.5) == pytest.approx(LEAF_LENGTH / 2)
    opened = leaf_axis(back.scene.layout.leaf_quat[0], LEAF_OPEN)
    assert opened == pytest.approx([1.0, 0.0], abs=1e-5)  # into the study, away from the robot
    assert overlapping(HOUSE, back.scene) == []
    with pytest.raises(PalaestraError, match="got one door more than the 1"):
        changes.add(HOUSE, back, "door")


def test_a_button_is_moved_removed_added_and_coloured(ruled):
    moved = changes.move(HOUSE, ruled, number(ruled, "blue_button"), (2.0, 2.0))
    assert differing(ruled, moved) == {"scene/layout/button_pos"}
    assert changes.position(HOUSE, moved.scene, number(moved, "blue_button")).tolist() == [2.0, 2.0]
    gone = changes.remove(HOUSE, ruled, number(ruled, "blue_button"))
    back, thing = changes.add(HOUSE, gone, "button", (2.0, 2.5))
    assert changes.thing_of(HOUSE, back.scene, thing).name == "red_button"  # the first colour that no other button has
    painted = changes.recolour(HOUSE, back, thing, "blue")
    assert number(painted, "blue_button") == thing
    with pytest.raises(PalaestraError, match=r"got a door to be moved, .* add one in another doorway"):
        changes.move(HOUSE, ruled, number(ruled, "green_door"), (0, 0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The piano vanishes when it is put on the blue table.", "about: robot, small_red_cube, large_red_cube"),
        ("The green door opens when the blue button is pressed.", "which is a rule here already"),
        ("The blue cube turns into the blue cube when it is put on the blue table.", "blue_cube turning into itself"),
        ("Go to the study.", "expected a sentence like"),
    ],
)
def test_what_is_no_rule_is_refused(ruled, text, expected):
    with pytest.raises(RuleError, match=expected):
        changes.with_rule(HOUSE, ruled, text)


def test_more_rules_than_slots_are_refused(ruled):
    with pytest.raises(PalaestraError, match="got 4, expected at most the 3 that this world has slots for"):
        changes.with_rule(HOUSE, ruled, "The yellow ball vanishes when it is put on the green table.")
