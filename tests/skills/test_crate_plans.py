"""Crates in the operators, the oracle and PDDL: against the simulator, breadth-first search and a foreign planner, and by hand."""

import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Door, Mechanics, Rule
from palaestra.envs.names import ROBOT
from palaestra.skills import pddl
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import Call, contracts, ground, json_schema, prompt_text, universe
from palaestra.skills.plan import Failure, PlanError
from palaestra.skills.planners.oracle import OraclePlanner, why_impossible
from palaestra.skills.planners.remaining import Remaining, RemainingInHouse
from palaestra.skills.planners.space import Space
from palaestra.skills.referee import Referee
from tests.skills.simulator import Endless, House, make, random_house, settle, shortest, step
from tests.skills.test_rules import check, problem, random_goal, solve

ROOMS = {"green_crate": "kitchen", "red_object": "study", "blue_table": "study", "red_bin": "kitchen", "red_plate": "kitchen"}
DOOR = Door("blue_door", ("kitchen", "study"))
WEIGHT = Rule((("pressed", "red_plate", "red_plate"),), opens="blue_door", lasting=False)
NEAR = ("near", ROBOT, "green_crate")


def open_house(*more, **rooms) -> House:
    return make(ROOMS | rooms, "kitchen", Mechanics(), *more)


def guarded(*more, **rooms) -> House:
    house = make(ROOMS | rooms, "kitchen", Mechanics((), (DOOR,), (WEIGHT,)), *more)
    return replace(house, facts=settle(house, house.facts))


def test_a_push_takes_crate_and_robot_along():
    house = open_house(NEAR, ("near", ROBOT, "red_bin"), ("near", "green_crate", "red_bin"))
    call = Call("push", {"crate": "green_crate", "target": "blue_table"})
    (able,) = [o for o in ground(LIBRARY, house.things) if o.call == call and o.applicable(house.facts)]
    after = able.apply(house.facts)
    assert after - house.facts == {("near", "green_crate", "blue_table"), ("in_room", "green_crate", "study"), ("in_room", ROBOT, "study")}
    assert house.facts - after == {
        ("near", "green_crate", "red_bin"),
        ("near", ROBOT, "red_bin"),
        ("in_room", "green_crate", "kitchen"),
        ("in_room", ROBOT, "kitchen"),
    }


def test_facts_about_crates_are_those_that_can_be():
    facts = {f for f in universe(open_house().things) if f[1] == "green_crate"}
    assert facts == {
        *(("near", "green_crate", x) for x in ("blue_table", "red_bin")),
        ("on", "green_crate", "red_plate"),
        *(("in_room", "green_crate", room) for room in ("kitchen", "study")),
    }
    found = contracts(LIBRARY, open_house().things)
    assert not [call for call in found if call.skill in ("pick", "place") and "green_crate" in call.args.values()]
    assert found[Call("push", {"crate": "green_crate", "target": "red_plate"})].add == {("on", "green_crate", "red_plate"), NEAR}


def test_models_are_told_of_crates_only_where_there_are_some():
    things = open_house().things
    told = prompt_text(LIBRARY, things)
    assert "push(crate: crate, target: table or bin or plate or room)" in told
    assert "<crate> is near <target> if it is a table or a bin, <crate> is on <target> if it is a plate" in told
    assert "A crate cannot be picked up." in told
    plain = [t for t in things if t.type not in ("crate", "plate")]
    assert "crate" not in prompt_text(LIBRARY, plain)
    assert "push" not in str(json_schema(LIBRARY, plain))


@pytest.mark.parametrize(
    ("goal", "plan"),
    [
        ([("near", "green_crate", "blue_table")], ["navigate(green_crate)", "push(green_crate, blue_table)"]),
        ([("in_room", "green_crate", "study")], ["navigate(green_crate)", "push(green_crate, study)"]),
        ([("on", "green_crate", "red_plate"), ("in_room", ROBOT, "study")], None),
        ([("near", "green_crate", "red_bin"), ("on", "red_object", "blue_table")], None),
    ],
)
def test_plans_in_an_open_house(goal, plan):
    steps = solve(open_house(), *goal)
    assert len(steps) == shortest(open_house(), Formula.of(goal))
    assert plan is None or steps[0] == plan[0]
    assert plan is None or len(steps) == len(plan)


def test_a_full_hand_pushes_nothing():
    held = [("holding", ROBOT, "red_object"), ("near", ROBOT, "red_object"), NEAR]
    house = open_house(*held, red_object="kitchen")
    assert solve(house, ("in_room", "green_crate", "study"))[0] != "push(green_crate, study)"


def test_a_crate_holds_a_door_open_by_its_weight_and_cannot_be_pushed_through_it_then():
    house = guarded(blue_table="study", red_object="kitchen")
    assert solve(house, ("in_room", ROBOT, "study")) == ["navigate(green_crate)", "push(green_crate, red_plate)", "navigate(study)"]
    through = solve(house, ("in_room", "green_crate", "study"))
    assert "place(red_object, red_plate)" in through
    rooms = {name: room for name, room in ROOMS.items() if name != "red_object"}
    alone = make(rooms, "kitchen", Mechanics((), (DOOR,), (WEIGHT,)))
    with pytest.raises(PlanError) as caught:
        OraclePlanner(LIBRARY).plan(problem(alone, Formula.of([("in_room", "green_crate", "study")])))
    assert caught.value.failure is Failure.IMPOSSIBLE


@pytest.mark.parametrize("seed", range(25))
def test_operators_do_what_the_simulator_does(seed: int) -> None:
    """On a random walk every call is tried: it can be made in both or in neither, by one operator, and leads to the same facts."""
    rng = random.Random(f"crates {seed}")
    house = random_house(rng, rooms=rng.randint(1, 3), objects=rng.randint(1, 2), crates=rng.randint(1, 2))
    operators, facts = ground(LIBRARY, house.things, house.mechanics), house.facts
    known = set(universe(house.things))
    assert all(o.pre | o.neg | o.add | o.delete <= known and not o.add & o.delete for o in operators)
    for _ in range(10):
        after = {}
        for call in house.calls():
            able = [o for o in operators if o.call == call and o.applicable(facts)]
            expected = step(house, facts, call)
            assert len(able) == (expected is not None), call
            if expected is not None:
                assert able[0].apply(facts) == expected, call
                after[call] = expected
        facts = after[rng.choice(sorted(after, key=str))]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_plans_are_as_short_as_those_of_breadth_first_search(seed: int) -> None:
    """In houses with doors and rules, and in plain ones."""
    rng = random.Random(seed)
    house = random_house(rng, rooms=rng.randint(1, 3), objects=rng.randint(0, 1), rules=3, crates=rng.randint(1, 2))
    if rng.random() < 0.4:
        plain = tuple(t for t in house.things if t.type not in ("door", "plate"))
        names = {t.name for t in plain}
        facts = frozenset(f for f in house.facts if f[0] != "pressed" and names.issuperset(f[1:]))
        house = House(plain, Mechanics(), facts)
    goal = random_goal(rng, house)
    try:
        expected = shortest(house, goal, 6000) if goal.allowed(house.facts) else None
    except Endless:
        assume(False)
    if expected is None:
        with pytest.raises(PlanError) as caught:
            OraclePlanner(LIBRARY).plan(problem(house, goal))
        assert caught.value.failure is Failure.IMPOSSIBLE
    else:
        plan = OraclePlanner(LIBRARY).plan(problem(house, goal))
        assert len(plan.steps) == expected
        check(house, goal, plan)
        assert why_impossible(problem(house, goal), LIBRARY) is None


@pytest.mark.parametrize("seed", range(15))
def test_what_is_said_to_be_left_is_never_more_than_what_is(seed: int) -> None:
    """The bound of the search against breadth-first search, on a random walk."""
    rng = random.Random(f"crates bound {seed}")
    house = random_house(rng, rooms=rng.randint(1, 3), objects=1, rules=3, crates=rng.randint(1, 2))
    goal = random_goal(rng, house)
    space = Space(problem(house, goal), LIBRARY)
    if not goal.allowed(house.facts):
        return
    bound = RemainingInHouse(space, space.house) if space.house else Remaining(space)
    facts, stage = house.facts, goal.onward(0, house.facts)
    for _ in range(6):
        try:
            left = shortest(replace(house, facts=facts), goal.after(stage), 3000)
        except Endless:
            break
        assert left is None or bound(space.bits(facts), stage) <= left
        able = [after for call in house.calls() if (after := step(house, facts, call)) is not None and goal.allowed(after)]
        if not able:
            break
        facts = rng.choice(able)
        stage = goal.onward(stage, facts)


@pytest.mark.parametrize(
    ("house", "goal"),
    [
        (open_house(), [("near", "green_crate", "blue_table")]),
        (open_house(NEAR), [("on", "green_crate", "red_plate"), ("on", "red_object", "blue_table")]),
        (guarded(), [("in_room", ROBOT, "study")]),
    ],
)
def test_a_foreign_planner_finds_plans_of_the_same_length(house: House, goal) -> None:
    formula = Formula.of(goal)
    plan = OraclePlanner(LIBRARY).plan(problem(house, formula))
    args = house.things, formula, house.mechanics, house.facts
    domain = pddl.domain(LIBRARY, *args)
    text = pddl.problem(LIBRARY, house.things, house.facts, formula, mechanics=house.mechanics)
    verdict = Referee().judge(domain, text, pddl.plan_text(plan, LIBRARY, house.things, house.facts, formula, house.mechanics))
    assert verdict.valid
    assert verdict.shortest == len(plan.steps)
