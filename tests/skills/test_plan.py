"""Plans from text, and what can be wrong with them."""

import json
from dataclasses import replace

import pytest

from palaestra.envs.goals import Formula
from palaestra.skills.library import NAVIGATE
from palaestra.skills.operators import Call
from palaestra.skills.plan import MAX_STEPS, Failure, Fault, Plan, PlanError, parse_plan, validate
from palaestra.skills.record import ROBOT, Literal, Param
from tests.skills.test_operators import LIBRARY, ROOMS, call, house

THINGS, FACTS = house()
GOOD = Plan((call("navigate", "red_cube"), call("pick", "red_cube"), call("navigate", "red_bin"), call("place", "red_cube", "red_bin")))
GOAL = Formula.of({("inside", "red_cube", "red_bin")})


def refused(text: str) -> PlanError:
    with pytest.raises(PlanError) as caught:
        parse_plan(text, LIBRARY, THINGS)
    assert "expected" in str(caught.value)
    assert "Fix: " in str(caught.value)
    return caught.value


def steps(*items: object) -> str:
    return json.dumps({"steps": items})


def faults(*calls: Call) -> list[Fault]:
    return validate(Plan(calls), LIBRARY, THINGS, FACTS)


# --- from text ----------------------------------------------------------------------------------------------------


def test_text_and_plan_go_round() -> None:
    assert parse_plan(GOOD.to_json(), LIBRARY, THINGS) == GOOD
    assert str(GOOD) == "navigate(red_cube), pick(red_cube), navigate(red_bin), place(red_cube, red_bin)"


@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "```json\n{}\n```",
        "Of course! Here is {{the}} plan:\n```\n{}\n```\nGood luck.",
        '<think>Perhaps {{"steps": []}}? No.</think>{}',
        'the template opened the thought {{"steps": []}} </think>\n{}',
    ],
)
def test_prose_fences_and_thoughts_around_the_plan_are_passed_over(wrap: str) -> None:
    assert parse_plan(wrap.format(GOOD.to_json()), LIBRARY, THINGS) == GOOD


def test_arguments_come_in_the_order_of_the_parameters() -> None:
    plan = parse_plan(steps({"skill": "place", "args": {"receptacle": "red_bin", "object": "red_cube"}}), LIBRARY, THINGS)
    assert str(plan) == "place(red_cube, red_bin)"


def test_an_empty_plan_is_a_plan() -> None:
    assert parse_plan(steps(), LIBRARY, THINGS).steps == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        "[]",
        "null",
        '{"plan": []}',
        '{"steps": {}}',
        '{"steps": [], "more": 1}',
        '{"steps": ["pick red_cube"]}',
        '{"steps": [{"skill": "pick"}]}',
        '{"steps": [{"skill": "pick", "args": ["red_cube"]}]}',
        '{"steps": [{"skill": "pick", "args": {"object": 7}}]}',
        '{"steps": [{"skill": 7, "args": {}}]}',
        '{"steps": [{"skill": "pick", "args": {}, "then": 1}]}',
        GOOD.to_json()[:-20],
        GOOD.to_json() + GOOD.to_json(),
        "<think>" + GOOD.to_json(),
        "__import__('os').system('true')",
        '{"steps": ' * 1500,
        "[" * 15_000,
        " " * 5 + "x" * 30_000,
        '{"steps": ' + "9" * 6000 + "}",
    ],
)
def test_what_is_no_plan(text: str) -> None:
    error = refused(text)
    assert error.failure is Failure.PARSE
    assert len(str(error)) < 500


def test_plans_have_a_longest_length() -> None:
    step = {"skill": "navigate", "args": {"target": "red_cube"}}
    assert len(parse_plan(steps(*[step] * MAX_STEPS), LIBRARY, THINGS).steps) == MAX_STEPS
    error = refused(steps(*[step] * (MAX_STEPS + 1)))
    assert error.failure is Failure.PARSE
    assert "got 41 steps, expected at most 40" in str(error)


@pytest.mark.parametrize(
    ("step", "failure", "message"),
    [
        ({"skill": "fly", "args": {}}, "hallucination", "step 2, unknown skill: got 'fly', expected one of: navigate, pick, place, press,"),
        ({"skill": "pick", "args": {"object": "gold_cube"}}, "hallucination", "unknown name: got 'gold_cube', expected one of: red_cube, "),
        ({"skill": "pick", "args": {}}, "arity", "step 2, wrong arguments for pick: got (), expected (object)."),
        ({"skill": "pick", "args": {"target": "red_cube"}}, "arity", "got (target), expected (object)"),
        ({"skill": "pick", "args": {"object": "red_cube", "hand": "left"}}, "arity", "got (object, hand), expected (object)"),
        ({"skill": "pick", "args": {"object": "red_bin"}}, "affordance", "wrong kind for <object>: got red_bin, a bin, expected one of: "),
        ({"skill": "navigate", "args": {"target": "robot"}}, "affordance", "got robot, a robot"),
    ],
)
def test_what_does_not_exist_or_fit(step: object, failure: str, message: str) -> None:
    error = refused(steps({"skill": "navigate", "args": {"target": "red_cube"}}, step))
    assert error.failure == failure
    assert message in str(error)


# --- tried out ----------------------------------------------------------------------------------------------------


def test_a_good_plan_has_no_fault() -> None:
    assert validate(GOOD, LIBRARY, THINGS, FACTS, GOAL) == []


def test_a_missing_step_was_never_true() -> None:
    (fault,) = faults(call("navigate", "blue_cube"), call("pick", "red_cube"))
    assert (fault.failure, fault.step) == (Failure.MISSING_STEP, 1)
    assert str(fault) == (
        "step 2, pick(red_cube): precondition false: got the opposite, from the start, expected near(robot, red_cube). "
        "Fix: first make it so (navigate(red_cube))"
    )


def test_a_wrong_order_was_true_before() -> None:
    (fault,) = faults(call("navigate", "red_cube"), call("navigate", "blue_cube"), call("pick", "red_cube"))
    assert (fault.failure, fault.step) == (Failure.WRONG_ORDER, 2)
    assert "it was so earlier" in str(fault)


def test_a_full_hand_that_was_empty_is_a_wrong_order() -> None:
    (fault,) = faults(*GOOD.steps[:2], call("navigate", "blue_cube"), call("pick", "blue_cube"))
    assert (fault.failure, fault.step) == (Failure.WRONG_ORDER, 3)
    assert "holding(robot, red_cube) to be false" in str(fault)
    assert "place(red_cube, blue_table)" in fault.fix


def test_a_hand_that_was_full_from_the_start_is_a_missing_step() -> None:
    facts = FACTS | {("holding", ROBOT, "red_ball"), ("near", ROBOT, "red_ball"), ("near", ROBOT, "blue_cube")}
    (fault,) = validate(Plan((call("pick", "blue_cube"),)), LIBRARY, THINGS, facts)
    assert fault.failure is Failure.MISSING_STEP


def test_one_of_two_preconditions_never_true_makes_it_a_missing_step() -> None:
    (fault,) = faults(*GOOD.steps[:2], call("place", "red_cube", "red_bin"))
    assert (fault.failure, fault.expected) == (Failure.MISSING_STEP, "near(robot, red_bin)")
    (fault,) = faults(call("navigate", "red_bin"), call("navigate", "red_cube"), call("place", "red_cube", "red_bin"))
    assert (fault.failure, fault.expected) == (Failure.MISSING_STEP, "holding(robot, red_cube) and near(robot, red_bin)")


def test_an_additional_step_does_not_stop() -> None:
    plan = Plan((GOOD.steps[0], GOOD.steps[0], GOOD.steps[1], GOOD.steps[1], *GOOD.steps[2:], GOOD.steps[3]))
    found = validate(plan, LIBRARY, THINGS, FACTS, GOAL)
    assert [(f.failure, f.step) for f in found] == [(Failure.ADDITIONAL_STEP, n) for n in (1, 3, 6)]
    assert not any(f.failure.stops for f in found)


def test_driving_to_one_of_two_near_things_leaves_the_other() -> None:
    facts = FACTS | {("near", ROBOT, "red_cube"), ("near", ROBOT, "blue_cube")}
    first, second = validate(Plan((call("navigate", "red_cube"), call("pick", "blue_cube"))), LIBRARY, THINGS, facts)
    assert (first.failure, second.failure) == (Failure.ADDITIONAL_STEP, Failure.WRONG_ORDER)


def test_a_goal_that_is_not_reached() -> None:
    (fault,) = validate(Plan(GOOD.steps[:3]), LIBRARY, THINGS, FACTS, GOAL)
    assert fault.failure is Failure.GOAL
    assert "red_cube in red_bin false at the end" in str(fault)


def test_a_plan_made_by_hand_is_checked_for_names_as_well() -> None:
    found = faults(Call("fly", {}), Call("pick", {"object": "gold_cube"}), Call("pick", {}))
    assert [f.failure for f in found] == [Failure.HALLUCINATION, Failure.HALLUCINATION, Failure.ARITY]
    assert [f.step for f in found] == [0, 1, 2]


def test_a_precondition_that_nothing_can_change_is_an_affordance() -> None:
    lay = replace(
        NAVIGATE,
        name="lay",
        params=(Param("table", ("table",)), Param("room", ("room",))),
        precondition=(Literal(("in_room",), "table", "room"),),
        effect=(Literal(("near",), ROBOT, "table"),),
    )
    plan = Plan((Call("lay", {"table": "blue_table", "room": "kitchen"}),))
    (fault,) = validate(plan, (*LIBRARY, lay), *house(ROOMS))
    assert fault.failure is Failure.AFFORDANCE
    assert "in_room(blue_table, kitchen)" in fault.expected


def test_things_of_which_the_conditions_cannot_hold_are_an_affordance() -> None:
    stack = replace(NAVIGATE, name="stack", params=(Param("object", ("object",)), Param("other", ("object",))), effect=())
    plan = Plan((Call("stack", {"object": "red_cube", "other": "red_cube"}),))
    (fault,) = validate(plan, (stack,), THINGS, FACTS)
    assert fault.failure is Failure.AFFORDANCE


def test_the_classes_are_those_of_the_embodied_agent_interface_and_ours() -> None:
    theirs = {"parse", "hallucination", "arity", "affordance", "missing_step", "wrong_order", "additional_step"}
    assert {f.value for f in Failure} == theirs | {"goal", "truncated", "endpoint", "timeout", "forbidden", "impossible", "limit"}
