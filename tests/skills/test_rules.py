"""Doors, buttons, plates and rules: operators, oracle and PDDL against a simulator that shares no code with them, and by hand."""

import random
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palaestra.envs.goals import Formula, literal
from palaestra.envs.mechanics import Door, Mechanics, Rule
from palaestra.envs.names import ROBOT, Fact
from palaestra.sim.errors import PalaestraError
from palaestra.skills import pddl
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import Call, contracts, fact_text, ground, json_schema, prompt_text, universe
from palaestra.skills.plan import Failure, Plan, PlanError, validate
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner, why_impossible
from palaestra.skills.planners.remaining import RemainingInHouse
from palaestra.skills.planners.space import Space
from palaestra.skills.referee import Referee, Verdict
from palaestra.skills.rules import Rulebook
from tests.skills.simulator import Endless, House, make, random_house, settle, shortest, step
from tests.skills.test_operators import house as plain_house
from tests.skills.test_oracle import brute_force

KEY = Rule((("holding", ROBOT, "red_object"), ("near", ROBOT, "blue_door")), opens="blue_door")
DOOR = Door("blue_door", ("kitchen", "study"))


def problem(house: House, goal: Formula) -> Problem:
    return Problem("", house.things, house.facts, goal, mechanics=house.mechanics)


def solve(house: House, *goal: Fact) -> list[str]:
    """The oracle's plan, which runs and reaches the goal in the simulator, and which `validate` has nothing against."""
    formula = Formula.of(goal)
    plan = OraclePlanner(LIBRARY).plan(problem(house, formula))
    check(house, formula, plan)
    return [str(call) for call in plan.steps]


def check(house: House, goal: Formula, plan: Plan) -> None:
    facts, stage = house.facts, goal.onward(0, house.facts)
    for call in plan.steps:
        after = step(house, facts, call)
        assert after is not None, f"{call} cannot be made"
        assert goal.allowed(after)
        facts, stage = after, goal.onward(stage, after)
    assert stage == len(goal.stages)
    assert not [f for f in validate(plan, LIBRARY, house.things, house.facts, goal, house.mechanics) if f.failure.stops]


# --- against the simulator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hampers", "toggles"), [(0, 0), (2, 0), (1, 2)])
@pytest.mark.parametrize("seed", range(40))
def test_operators_do_what_the_simulator_does(seed: int, hampers: int, toggles: int) -> None:
    """On a random walk every call is tried: it can be made in both or in neither, by one operator, and leads to the same facts."""
    rng = random.Random(seed)
    swings = 0.6 * (seed % 4 == 3)
    most = 4 - hampers
    house = random_house(rng, rooms=rng.randint(1, most), objects=rng.randint(1, most), hampers=hampers, swings=swings, toggles=toggles)
    operators, facts = ground(LIBRARY, house.things, house.mechanics), house.facts
    known = set(universe(house.things))
    assert all(o.pre | o.neg | o.add | o.delete <= known and not o.add & o.delete for o in operators)
    for _ in range(12):
        after = {}
        for call in house.calls():
            able = [o for o in operators if o.call == call and o.applicable(facts)]
            expected = step(house, facts, call)
            assert len(able) == (expected is not None), call
            if expected is not None:
                assert able[0].apply(facts) == expected, call
                after[call] = expected
        facts = after[rng.choice(sorted(after, key=str))]


def random_goal(rng: random.Random, house: House) -> Formula:
    """What a random walk brings about, so that much of it can be reached; or any facts; in order, or with a denial or a rule."""
    facts, walked = house.facts, []
    for _ in range(25):
        able = [after for call in house.calls() if (after := step(house, facts, call)) not in (None, facts)]
        facts = rng.choice(able) if able else facts
        walked.append(facts)
    found = sorted(facts - house.facts) or sorted(facts)
    anything = sorted(f for f in universe(house.things) if f[0] != "in_room" or f[1] != ROBOT)
    some = rng.sample(found, min(len(found), rng.randint(1, 3)))
    form = rng.randrange(8)
    if form == 0:
        return Formula(((tuple(map(literal, some)),), ((literal(rng.choice(found)),),)))
    if form == 1:
        return Formula(((tuple(map(literal, some)),),), (literal(rng.choice(anything), False),))
    if form == 2:
        return Formula(((tuple(literal(f, rng.random() < 0.5) for f in rng.sample(anything, 2)),),))
    return Formula.of(some)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(0, 2), st.integers(0, 2))
def test_plans_are_as_short_as_those_of_breadth_first_search(seed: int, hampers: int, toggles: int) -> None:
    rng = random.Random(seed)
    rooms, swings = rng.randint(1, 3 - hampers // 2), 0.6 * (seed % 3 == 0)
    house = random_house(rng, rooms=rooms, objects=rng.randint(1, 2), rules=4, hampers=hampers, swings=swings, toggles=toggles)
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


IN_STUDY, HELD, OPEN_DOOR = (
    literal(f) for f in (("in_room", ROBOT, "study"), ("holding", ROBOT, "red_object"), ("open", "blue_door", "blue_door"))
)
NEXT_TO = Rule((("near", ROBOT, "red_button"),), opens="blue_door", lasting=False)
WITH_IT = Rule((("holding", ROBOT, "red_object"),), opens="blue_door", lasting=False)


@pytest.mark.parametrize(
    ("rules", "goal", "length"),
    [
        ((NEXT_TO,), Formula((((IN_STUDY, OPEN_DOOR),), ((HELD,),))), None),  # it shuts behind the robot
        ((NEXT_TO, WITH_IT), Formula((((replace(OPEN_DOOR, at_least=0, at_most=0),),), ((HELD, OPEN_DOOR),))), 2),
        ((NEXT_TO, WITH_IT), Formula((((HELD,),),), (OPEN_DOOR,)), None),
        ((NEXT_TO,), Formula.of([("near", ROBOT, "blue_door")]), 2),  # to leave the button first shuts it
    ],
)
def test_a_door_that_shuts_as_soon_as_the_robot_leaves(rules: tuple[Rule, ...], goal: Formula, length: int | None) -> None:
    house = make({"red_button": "kitchen", "red_object": "study"}, "kitchen", Mechanics((), (DOOR,), rules), ("near", ROBOT, "red_button"))
    house = replace(house, facts=settle(house, house.facts))
    assert shortest(house, goal) == length
    if length is None:
        with pytest.raises(PlanError):
            OraclePlanner(LIBRARY).plan(problem(house, goal))
    else:
        plan = OraclePlanner(LIBRARY).plan(problem(house, goal))
        assert len(plan.steps) == length
        check(house, goal, plan)


@pytest.mark.parametrize(
    ("kinds", "near", "goal", "length"),
    [
        ("table", ["red_object", "red_drawer"], Formula.of([("holding", ROBOT, "blue_object")]), 3),  # let go of into the drawer
        ("table", ["red_object", "red_drawer"], Formula.of([("in_room", ROBOT, "study")]), 4),  # and the button pressed
        ("plate", ["red_object"], Formula((((literal(("open", "red_drawer", "red_drawer"), False),),),)), 3),
    ],
)
def test_a_full_hand_is_emptied_into_an_open_drawer(kinds: str, near: list[str], goal: Formula, length: int) -> None:
    """Among doors; by breadth-first search over the operators."""
    rooms = dict.fromkeys(("red_object", "blue_object", "red_drawer", "red_button", f"red_{kinds}"), "kitchen")
    button = Rule((("pressed", "red_button", "red_button"),), opens="blue_door")
    facts = [("near", ROBOT, x) for x in near] + [("holding", ROBOT, "red_object"), ("open", "red_drawer", "red_drawer")]
    house = make(rooms, "kitchen", Mechanics((), (DOOR,), (button,)), *facts, others="study")
    assert brute_force(problem(house, goal)) == length == len(OraclePlanner(LIBRARY).plan(problem(house, goal)).steps)


@pytest.mark.parametrize(("hampers", "toggles"), [(0, 0), (1, 0), (0, 2)])
@pytest.mark.parametrize("seed", range(20))
def test_what_is_said_to_be_left_is_never_more_than_what_is(seed: int, hampers: int, toggles: int) -> None:
    """The bound of the search against breadth-first search, on a random walk; near several things at the start, too."""
    rng = random.Random(f"bound {seed}")
    rooms, swings = rng.randint(1, 3 - hampers), 0.6 * (seed % 3 == 0)
    house = random_house(rng, rooms=rooms, objects=rng.randint(1, 2), rules=4, hampers=hampers, swings=swings, toggles=toggles)
    (room,) = (r for p, x, r in house.facts if (p, x) == ("in_room", ROBOT))
    here = sorted(x for p, x, r in house.facts if (p, r) == ("in_room", room) and x != ROBOT)
    near = {("near", ROBOT, x) for x in rng.sample(here, min(len(here), rng.choice([0, 2])))}
    house = replace(house, facts=settle(house, house.facts | near))
    goal = random_goal(rng, house)
    space = Space(problem(house, goal), LIBRARY)
    found = space.house
    if found is None or not goal.allowed(house.facts):
        return
    bound, facts, stage = RemainingInHouse(space, found), house.facts, goal.onward(0, house.facts)
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


@pytest.fixture(scope="module")
def referee() -> Referee:
    return Referee()


def judge(referee: Referee, house: House, goal: Formula, plan: Plan) -> Verdict:
    domain = pddl.domain(LIBRARY, house.things, goal, house.mechanics, house.facts)
    text = pddl.problem(LIBRARY, house.things, house.facts, goal, mechanics=house.mechanics)
    return referee.judge(domain, text, pddl.plan_text(plan, LIBRARY, house.things, house.facts, goal, house.mechanics))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_the_other_planner_finds_plans_of_our_length(referee: Referee, seed: int) -> None:
    """Tasks whose shortest plan has at least two calls, of the houses from this seed on."""
    rng = random.Random(f"pddl {seed}")
    swings, toggles = 0.6 * (seed % 4 == 3), 2 * (seed % 4 == 1)
    while True:
        house = random_house(rng, rooms=rng.randint(2, 3), objects=rng.randint(1, 2), swings=swings, toggles=toggles)
        goal = random_goal(rng, house)
        try:
            plan = OraclePlanner(LIBRARY).plan(problem(house, goal))
        except PlanError:
            continue
        if len(plan.steps) >= 2:
            break
    assert judge(referee, house, goal, plan) == Verdict(valid=True, shortest=len(plan.steps))


# --- by hand ------------------------------------------------------------------------------------------------------


def key_house(*more: Rule) -> House:
    rooms = {"red_object": "kitchen", "blue_object": "study", "red_table": "kitchen", "red_button": "study"}
    return make(rooms, "kitchen", Mechanics(doors=(DOOR,), rules=(KEY, *more)))


def test_a_key_opens_its_door() -> None:
    assert solve(key_house(), ("near", ROBOT, "blue_object")) == [
        "navigate(red_object)",
        "pick(red_object)",
        "navigate(blue_door)",
        "navigate(blue_object)",
    ]


def test_a_shut_door_is_between_and_says_so() -> None:
    house = key_house()
    (fault,) = validate(Plan((Call("navigate", {"target": "blue_object"}),)), LIBRARY, house.things, house.facts, mechanics=house.mechanics)
    assert (fault.failure, fault.expected) == (Failure.MISSING_STEP, "open(blue_door)")
    assert fault.fix == "first make it so (navigate(blue_door), pick(red_object))"


def test_an_open_door_is_no_target() -> None:
    house = key_house()
    open_house = House(house.things, house.mechanics, house.facts | {("open", "blue_door", "blue_door")})
    assert solve(open_house, ("near", ROBOT, "red_button")) == ["navigate(red_button)"]
    with pytest.raises(PlanError, match="near\\(robot, blue_door\\)"):
        solve(open_house, ("near", ROBOT, "blue_door"))


def test_one_drives_up_to_a_door_on_ones_own_side() -> None:
    doors = (DOOR, Door("red_door", ("study", "lounge")))
    house = make({"red_object": "lounge"}, "kitchen", Mechanics(doors=doors), others="study")
    assert solve(house, ("near", ROBOT, "blue_door")) == ["navigate(blue_door)"]
    assert step(house, house.facts, Call("navigate", {"target": "blue_door"})) == house.facts | {("near", ROBOT, "blue_door")}
    with pytest.raises(PlanError) as caught:
        solve(house, ("near", ROBOT, "red_door"))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_a_plate_holds_a_door_open_while_something_is_on_it() -> None:
    rule = Rule((("pressed", "red_plate", "red_plate"),), opens="blue_door", lasting=False)
    rooms = {"red_object": "kitchen", "red_plate": "kitchen", "blue_object": "study"}
    house = make(rooms, "kitchen", Mechanics(doors=(DOOR,), rules=(rule,)))
    held = ["navigate(red_object)", "pick(red_object)", "navigate(red_plate)", "place(red_object, red_plate)"]
    assert solve(house, ("near", ROBOT, "blue_object")) == [*held, "navigate(blue_object)"]
    # What holds the door open can be taken through it only if something else does then: here it has to be fetched.
    assert len(solve(house, ("in_room", "red_object", "study"))) == 11
    alone = make({"red_object": "kitchen", "red_plate": "kitchen"}, "kitchen", Mechanics(doors=(DOOR,), rules=(rule,)), others="study")
    with pytest.raises(PlanError) as caught:
        solve(alone, ("in_room", "red_object", "study"))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_a_rule_eats_even_where_its_door_is_open_already() -> None:
    plate = Rule((("pressed", "red_plate", "red_plate"),), opens="blue_door", lasting=False)
    eats = Rule((("holding", ROBOT, "green_object"),), opens="blue_door", consumes=("green_object",))
    rooms = {"red_object": "kitchen", "green_object": "kitchen", "red_plate": "kitchen", "red_table": "kitchen"}
    mechanics = Mechanics(doors=(DOOR,), rules=(plate, eats))
    house = make(rooms, "kitchen", mechanics, ("on", "red_object", "red_plate"), ("pressed", "red_plate", "red_plate"), others="study")
    with pytest.raises(PlanError) as caught:
        solve(house, ("on", "green_object", "red_table"))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_a_button_keeps_its_door_open() -> None:
    rule = Rule((("pressed", "red_button", "red_button"),), opens="blue_door")
    house = make({"red_button": "kitchen", "red_object": "study"}, "kitchen", Mechanics(doors=(DOOR,), rules=(rule,)))
    assert solve(house, ("holding", ROBOT, "red_object")) == [
        "navigate(red_button)",
        "press(red_button)",
        "navigate(red_object)",
        "pick(red_object)",
    ]


SWING = Door("red_swing", ("kitchen", "study"))


def test_a_swing_door_is_pushed_open_by_hand_or_by_who_carries_something() -> None:
    house = make({"red_object": "kitchen", "red_table": "study"}, "kitchen", Mechanics(doors=(SWING,)))
    assert solve(house, ("on", "red_object", "red_table")) == [
        "navigate(red_object)",
        "pick(red_object)",
        "navigate(red_swing)",
        "push_open(red_swing)",
        "navigate(red_table)",
        "place(red_object, red_table)",
    ]
    assert solve(house, ("open", "red_swing", "red_swing")) == ["navigate(red_swing)", "push_open(red_swing)"]
    left_open = replace(house, facts=house.facts | {("open", "red_swing", "red_swing")})
    assert solve(left_open, ("near", ROBOT, "red_table")) == ["navigate(red_table)"]
    with pytest.raises(PlanError) as caught:  # nothing shuts it again
        OraclePlanner(LIBRARY).plan(problem(left_open, Formula((((literal(("open", "red_swing", "red_swing"), False),),),))))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_a_shut_swing_door_is_between_and_what_opens_it_is_told() -> None:
    house = make({"red_object": "study"}, "kitchen", Mechanics(doors=(SWING,)))
    (fault,) = validate(Plan((Call("navigate", {"target": "red_object"}),)), LIBRARY, house.things, house.facts, mechanics=house.mechanics)
    assert (fault.failure, fault.expected) == (Failure.MISSING_STEP, "open(red_swing)")
    assert "push_open(red_swing)" in fault.fix
    told = prompt_text(LIBRARY, house.things)
    assert "push_open(door: swing)" in told
    assert "all doors on the way must be open" in told
    assert "swing" not in prompt_text(LIBRARY, key_house().things)


def production_house(*more: Rule) -> House:
    rooms = {"red_object": "kitchen", "blue_object": "study", "green_object": "kitchen", "red_table": "study", "red_bin": "kitchen"}
    both = tuple(("on", x, "red_table") for x in ("red_object", "blue_object"))
    first = Rule(both, consumes=("red_object", "blue_object"), product="purple_object")
    second = Rule(
        (("holding", ROBOT, "purple_object"), ("near", ROBOT, "green_object")),
        consumes=("purple_object", "green_object"),
        product="white_object",
    )
    mechanics = Mechanics((("kitchen", "study"),), rules=(first, second, *more))
    return make(rooms, "kitchen", mechanics, objects=("purple_object", "white_object"))


def test_two_things_are_made_one_after_the_other() -> None:
    """The second appears on the floor, where the second thing lay, and beside the robot."""
    plan = solve(production_house(), ("inside", "white_object", "red_bin"))
    assert sorted(plan[:8])[:2] == ["navigate(blue_object)", "navigate(red_object)"]
    assert plan[8:] == [
        "pick(purple_object)",
        "navigate(green_object)",
        "pick(white_object)",
        "navigate(red_bin)",
        "place(white_object, red_bin)",
    ]


def test_a_product_lies_where_the_last_of_the_consumed_things_lay() -> None:
    house = production_house()
    facts = settle(
        house, house.facts | {("on", "blue_object", "red_table"), ("holding", ROBOT, "red_object"), ("near", ROBOT, "red_table")}
    )
    call = Call("place", {"object": "red_object", "receptacle": "red_table"})
    (operator,) = (o for o in ground(LIBRARY, house.things, house.mechanics) if o.call == call and o.applicable(facts))
    after = operator.apply(facts)
    made = {f for f in after if "purple_object" in f}
    assert made == {("on", "purple_object", "red_table"), ("in_room", "purple_object", "study")}
    assert not any({"red_object", "blue_object"} & {*f} for f in after)


def test_a_rule_that_eats_what_is_needed_is_not_set_off() -> None:
    """The near way, with the object in the hand, past the table that eats it: another table has to do for a while."""
    rooms = {"red_object": "kitchen", "blue_object": "kitchen", "red_table": "kitchen", "blue_table": "kitchen"}
    eats = Rule((("on", "red_object", "red_table"),), consumes=("red_object",))
    house = make(rooms, "kitchen", Mechanics(rules=(eats,)), ("holding", ROBOT, "red_object"), ("near", ROBOT, "red_table"))
    goal = (("on", "blue_object", "red_table"), ("holding", ROBOT, "red_object"))
    plan = solve(house, *goal)
    assert "place(red_object, red_table)" not in plan
    assert len(plan) == 8
    eaten = step(house, house.facts, Call("place", {"object": "red_object", "receptacle": "red_table"}))
    assert eaten is not None
    with pytest.raises(PlanError) as caught:
        solve(House(house.things, house.mechanics, eaten), *goal)
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_what_cannot_be_got_to_says_why() -> None:
    house = key_house()
    locked = House(house.things, Mechanics(doors=(DOOR,)), house.facts)
    with pytest.raises(PlanError, match=r"takes open\(blue_door\), and nothing can make that so") as caught:
        solve(locked, ("holding", ROBOT, "blue_object"))
    assert caught.value.failure is Failure.IMPOSSIBLE
    behind = Mechanics(doors=(DOOR,), rules=(Rule((("pressed", "red_button", "red_button"),), opens="blue_door"),))
    with pytest.raises(PlanError) as caught:
        solve(House(house.things, behind, house.facts), ("holding", ROBOT, "blue_object"))
    assert caught.value.failure is Failure.IMPOSSIBLE
    assert "open(blue_door)" in str(caught.value)


def test_rules_that_hold_at_the_start_have_fired() -> None:
    rooms = {"red_object": "kitchen", "blue_object": "study", "red_table": "kitchen"}
    rule = Rule((("on", "red_object", "red_table"),), opens="blue_door")
    house = make(rooms, "kitchen", Mechanics(doors=(DOOR,), rules=(rule,)), ("on", "red_object", "red_table"))
    plan = OraclePlanner(LIBRARY).plan(problem(house, Formula.of([("near", ROBOT, "blue_object")])))
    assert [str(call) for call in plan.steps] == ["navigate(blue_object)"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule((("open", "blue_door", "blue_door"),), opens="blue_door"), r"the condition open\(blue_door, blue_door\)"),
        (Rule((), opens="blue_door"), "a condition that always holds"),
        (Rule((("near", ROBOT, "red_object"),)), "nothing that it does"),
        (Rule((("near", ROBOT, "red_object"),), opens="red_door"), "'red_door', expected one of: blue_door"),
        (Rule((("near", ROBOT, "red_object"),), product="red_object"), "a product made of nothing"),
        (Rule((("near", ROBOT, "red_object"),), opens="blue_door", lasting=False, consumes=("red_object",)), "open for a while"),
    ],
)
def test_rules_without_meaning_are_refused(rule: Rule, message: str) -> None:
    house = key_house()
    with pytest.raises(PalaestraError, match=message):
        Rulebook(house.things, Mechanics(doors=(DOOR,), rules=(rule,)))


def test_rules_that_never_end_are_refused() -> None:
    rules = tuple(
        Rule((("near", ROBOT, a),), consumes=(a,), product=b) for a, b in (("red_object", "blue_object"), ("blue_object", "red_object"))
    )
    house = make({"red_object": "kitchen"}, "kitchen", Mechanics(rules=rules), objects=("blue_object",))
    with pytest.raises(PalaestraError, match="set each other off for ever"):
        ground(LIBRARY, house.things, house.mechanics)


def test_passages_alone_change_nothing() -> None:
    things, facts = plain_house()
    ways = Mechanics(passages=(("kitchen", "study"), ("study", "lounge"), ("lounge", "bedroom")))
    assert ground(LIBRARY, things, ways) == ground(LIBRARY, things)
    goal = Formula.of([("inside", "red_cube", "red_bin"), ("on", "green_cube", "blue_table")])
    plans = [OraclePlanner(LIBRARY).plan(Problem("", things, facts, goal, mechanics=m)) for m in (ways, Mechanics())]
    assert plans[0] == plans[1]


# --- kinds --------------------------------------------------------------------------------------------------------


def test_facts_of_one_thing_are_written_so() -> None:
    house = key_house()
    assert fact_text(("open", "blue_door", "blue_door")) == "open(blue_door)"
    unary = [f for f in universe(house.things) if f[0] in ("open", "pressed")]
    assert unary == [("open", "blue_door", "blue_door"), ("pressed", "red_button", "red_button")]
    assert "(open ?s - door)" in pddl.domain(LIBRARY, house.things, Formula.of(unary), house.mechanics, house.facts)


def test_doors_are_in_no_room_and_plates_take_objects() -> None:
    house = make({"red_object": "kitchen", "red_plate": "study"}, "kitchen", Mechanics(doors=(DOOR,)))
    known = set(universe(house.things))
    assert ("in_room", "red_plate", "study") in known
    assert ("near", ROBOT, "blue_door") in known
    assert ("in_room", "blue_door", "study") not in known
    place = contracts(LIBRARY, house.things)[Call("place", {"object": "red_object", "receptacle": "red_plate"})]
    assert place.add == {("on", "red_object", "red_plate")}


def test_models_are_told_of_doors_where_there_are_any() -> None:
    house = key_house()
    text, plain = prompt_text(LIBRARY, house.things), prompt_text(LIBRARY)
    assert "navigate(target: object or table or bin or door or button or room)" in text
    assert "press(button: button)" in text
    assert "all doors on the way must be open" in text
    assert not any(word in plain for word in ("door or", "button", "plate", "press", "all doors"))
    branches = json_schema(LIBRARY, house.things)["properties"]["steps"]["items"]["anyOf"]
    assert branches[-1]["properties"]["args"]["properties"]["button"]["enum"] == ["red_button"]
