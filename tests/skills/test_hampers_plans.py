"""Hampers in the operators, the oracle and PDDL, by hand."""

import pytest

from palaestra.envs.goals import Formula, literal
from palaestra.envs.mechanics import Mechanics, Rule
from palaestra.envs.names import ROBOT
from palaestra.skills import pddl
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import Call, contracts, prompt_text
from palaestra.skills.plan import Failure, PlanError
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.referee import Referee, Verdict
from tests.skills.simulator import House, make, settle, shortest, step

BUTTON = Rule((("pressed", "red_button", "red_button"),), opens="green_hamper")
WEIGHT = Rule((("pressed", "red_plate", "red_plate"),), opens="green_hamper", lasting=False)
ROOMS = dict.fromkeys(("red_object", "blue_object", "green_hamper", "red_button", "red_plate"), "kitchen")
INSIDE, OPEN = ("inside", "blue_object", "green_hamper"), ("open", "green_hamper", "green_hamper")
PUT_AWAY = Formula((((literal(INSIDE), literal(OPEN, true=False)),),))


def house(*rules: Rule, objects: int = 2) -> House:
    rooms = {name: room for name, room in ROOMS.items() if objects == 2 or name != "red_object"}
    made = make(rooms, "kitchen", Mechanics(rules=rules))
    return House(made.things, made.mechanics, settle(made, made.facts))


def plan(home: House, goal: Formula) -> list[str]:
    """The oracle's plan, which is as short as can be and runs in the simulator."""
    found = OraclePlanner().plan(Problem("", home.things, home.facts, goal, mechanics=home.mechanics))
    facts = home.facts
    for call in found.steps:
        after = step(home, facts, call)
        assert after is not None, call
        facts = after
    assert goal.onward(0, facts) == len(goal.stages)
    assert len(found.steps) == shortest(home, goal)
    return [str(call) for call in found.steps]


def test_only_hampers_have_to_be_open_for_placing():
    home = house(BUTTON)
    found = contracts(LIBRARY, home.things)
    assert OPEN in found[Call("place", {"object": "red_object", "receptacle": "green_hamper"})].pre
    assert not any(p == "open" for p, _, _ in found[Call("place", {"object": "red_object", "receptacle": "red_plate"})].pre)
    told = prompt_text(LIBRARY, home.things)
    assert "To put an object inside a hamper, it must be open." in told
    assert "lets nothing through" not in told
    assert "drawer" not in told


def test_a_button_is_pressed_first():
    steps = plan(house(BUTTON), Formula.of([INSIDE]))
    assert steps[-1] == "place(blue_object, green_hamper)"
    assert steps[:2] == ["navigate(red_button)", "press(red_button)"]
    assert len(steps) == 6


def test_another_object_holds_the_hamper_open_and_is_taken_away_again():
    home = house(WEIGHT)
    assert len(plan(home, Formula.of([INSIDE]))) == 8
    assert plan(home, PUT_AWAY)[-2:] == ["navigate(red_object)", "pick(red_object)"]


@pytest.mark.parametrize(
    ("rules", "objects", "goal"), [((), 2, Formula.of([INSIDE])), ((WEIGHT,), 1, Formula.of([INSIDE])), ((BUTTON,), 2, PUT_AWAY)]
)
def test_what_cannot_be_is_impossible(rules, objects, goal):
    """Without a rule; with nothing else to weigh the plate down; and shut again after a button has opened it for good."""
    home = house(*rules, objects=objects)
    assert shortest(home, goal) is None
    with pytest.raises(PlanError) as caught:
        OraclePlanner().plan(Problem("", home.things, home.facts, goal, mechanics=home.mechanics))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_a_hamper_that_shuts_as_soon_as_the_robot_leaves_is_not_filled_from_afar():
    """Open only while the robot is by the button: driving from there to the hamper shuts it."""
    beside = Rule((("near", ROBOT, "red_button"),), opens="green_hamper", lasting=False)
    home = house(beside)
    assert shortest(home, Formula.of([INSIDE])) is None
    with pytest.raises(PlanError):
        OraclePlanner().plan(Problem("", home.things, home.facts, Formula.of([INSIDE]), mechanics=home.mechanics))


@pytest.mark.parametrize(("rule", "goal"), [(BUTTON, Formula.of([INSIDE])), (WEIGHT, PUT_AWAY)])
def test_a_foreign_planner_finds_plans_of_the_same_length(rule, goal):
    home = house(rule)
    found = OraclePlanner().plan(Problem("", home.things, home.facts, goal, mechanics=home.mechanics))
    domain = pddl.domain(LIBRARY, home.things, goal, home.mechanics, home.facts)
    text = pddl.problem(LIBRARY, home.things, home.facts, goal, mechanics=home.mechanics)
    ours = pddl.plan_text(found, LIBRARY, home.things, home.facts, goal, home.mechanics)
    assert Referee().judge(domain, text, ours) == Verdict(valid=True, shortest=len(found.steps))
