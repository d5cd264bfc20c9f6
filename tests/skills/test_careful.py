"""The planner that goes by the cards: where there is a choice it takes the likelier way, and where there is none the oracle's."""

import random

import pytest

from palaestra.envs.goals import Formula, Term, literal
from palaestra.skills.chances import Chances
from palaestra.skills.plan import Plan, PlanError
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import Tried
from palaestra.skills.planners.careful import CarefulPlanner, Prices
from palaestra.skills.planners.oracle import OraclePlanner, cheapest
from palaestra.skills.planners.space import Space
from palaestra.skills.record import ROBOT
from tests.skills.test_operators import LIBRARY, call, house
from tests.skills.test_oracle import drawn

EITHER = Formula((((Term("inside", ("blue_cube", "red_cube"), ("red_bin",)),),),))  # one of the two
THINGS, FACTS = house(robot="kitchen")


def card(value, **context):
    groups = {what: {name: [rate, 0, 0, 1000] for name, rate in some.items()} for what, some in context.items()}
    return {"value": value, "n": 1000, "context": groups}


def cards(**others):
    """Equal ones, but for these."""
    return Chances({skill.name: card(0.9) for skill in LIBRARY} | others)


def objects(**groups):
    """What a state says of calls: the group of their object in the context `object`."""
    return lambda calls: [{"object": groups[name]} if (name := c.args.get("object")) in groups else {} for c in calls]


def chosen(chances, problem, **options):
    """The object that is picked first, and the length of the plan."""
    steps = CarefulPlanner(chances=chances, **options).plan(problem).steps
    return next(c.args["object"] for c in steps if c.skill == "pick"), len(steps)


def test_with_equal_cards_the_plan_is_the_oracles():
    rng, able = random.Random(3), 0
    equal, oracle = CarefulPlanner(chances=cards()), OraclePlanner()
    for _ in range(60):
        things, facts, fluents = drawn(rng)
        stages = tuple(tuple((literal(f),) for f in rng.sample(fluents, rng.randint(1, 2))) for _ in range(rng.randint(1, 3)))
        problem = Problem("", things, facts, Formula(stages))
        expected, found = _outcome(oracle, problem), _outcome(equal, problem)
        assert found == expected
        able += not isinstance(expected, str)
    assert able > 30


@pytest.mark.parametrize(("bad", "expected"), [("red_cube", "blue_cube"), ("blue_cube", "red_cube")])
def test_of_two_objects_it_takes_that_which_its_card_likes_better(bad, expected):
    small = {bad: "ball", expected: "cube"}
    problem = Problem("", THINGS, FACTS, EITHER, labels=objects(**small))
    unequal = cards(pick=card(0.8, object={"ball": 0.7, "cube": 0.9}))
    assert chosen(unequal, problem) == (expected, 4)
    assert chosen(unequal, Problem("", THINGS, FACTS, EITHER))[0] == OraclePlanner().plan(problem).steps[1].args["object"], "nothing known"


def test_a_longer_way_is_taken_where_it_is_likelier_by_as_much_as_its_steps_are_worth():
    """The red bin's cube is beside the robot already; to fetch the other one takes one step more."""
    near = FACTS | {("near", ROBOT, "red_cube")}
    problem = Problem("", THINGS, near, EITHER, labels=objects(red_cube="ball", blue_cube="cube"))
    unequal = cards(pick=card(0.85, object={"ball": 0.8, "cube": 0.9}))
    assert 0.11 < 0.9 / 0.8 - 1 < 0.13
    assert chosen(unequal, problem, step=0.3) == ("red_cube", 3)
    assert chosen(unequal, problem, step=0.05) == ("blue_cube", 4)


def test_after_a_failure_it_tries_another_way_or_the_same_where_there_is_no_other():
    near = FACTS | {("near", ROBOT, "red_cube")}
    failed = (Tried(call("navigate", "red_cube"), True), Tried(call("pick", "red_cube"), False))
    for tried, expected in (((), "red_cube"), (failed, "blue_cube")):
        assert chosen(cards(), Problem("", THINGS, near, EITHER, tried=tried))[0] == expected
    only = Problem("", THINGS, near, Formula.of([("inside", "red_cube", "red_bin")]), tried=failed)
    assert CarefulPlanner(chances=cards()).plan(only) == OraclePlanner().plan(only)


def test_where_the_robot_is_counts_for_the_first_call_alone():
    """Cubes are far off and near; of the call that comes first, to drive there, it matters, and of no call after it."""
    far = {"red_cube": "3..4", "blue_cube": "0..1"}

    def labels(calls):
        return [{"distance_m": far[name]} if (name := next(iter(c.args.values()))) in far else {} for c in calls]

    problem = Problem("", THINGS, FACTS, EITHER, labels=labels)
    oracles = OraclePlanner().plan(problem).steps[1].args["object"]
    far[oracles], far[{"red_cube": "blue_cube", "blue_cube": "red_cube"}[oracles]] = "3..4", "0..1"
    by_distance = card(0.8, distance_m={"0..1": 0.9, "3..4": 0.7})
    assert chosen(cards(navigate=by_distance), problem)[0] != oracles
    assert chosen(cards(pick=by_distance), problem)[0] == oracles


def test_what_comes_right_before_a_call_counts():
    """Whether one skill can begin where another has ended: with the cube in hand and both near, it can be put down at once."""
    holds = FACTS | {("holding", ROBOT, "red_cube"), ("near", ROBOT, "red_cube"), ("near", ROBOT, "green_table")}
    goal = Formula((((literal(("on", "red_cube", "green_table")),), (literal(("inside", "red_cube", "red_bin")),)),))
    pairs = {"pairs": {"navigate -> place": {"value": 0.95, "n": 500}, "pick -> place": {"value": 0.3, "n": 500}}, "rarer": {}}
    equal = {skill.name: card(0.9) for skill in LIBRARY}
    problem = Problem("", THINGS, holds, goal, tried=(Tried(call("pick", "red_cube"), True),))
    assert [c.skill for c in CarefulPlanner(chances=Chances(equal)).plan(problem).steps] == ["place"]
    assert [c.skill for c in CarefulPlanner(chances=Chances(equal, pairs)).plan(problem).steps] == ["navigate", "place"]


def test_where_the_search_gives_up_the_plan_is_the_oracles():
    dear = cards(place=card(0.05))  # every other call is tried before it
    problem = Problem("", THINGS, FACTS, Formula.of([("inside", "red_cube", "red_bin"), ("on", "blue_cube", "blue_table")]))
    nodes = next(n for n in range(1, 1000) if isinstance(_outcome(OraclePlanner(max_nodes=n), problem), Plan))
    space = Space(problem, LIBRARY)
    with pytest.raises(PlanError, match="gave up"):
        cheapest(space, nodes, Prices(space, dear, 0.1))
    assert CarefulPlanner(chances=dear, max_nodes=nodes).plan(problem) == OraclePlanner().plan(problem)


def _outcome(planner, problem) -> Plan | str:
    try:
        return planner.plan(problem)
    except PlanError as error:
        return str(error)
