"""The oracle against brute force, against hand-made plans, and where there is no plan."""

import itertools
import random
import time
from collections import deque

import pytest

from palaestra.envs.goals import Formula, literal
from palaestra.envs.names import Entity, Fact
from palaestra.skills.operators import ground
from palaestra.skills.plan import Failure, Plan, PlanError, validate
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner, why_impossible
from palaestra.skills.record import ROBOT
from tests.skills.test_operators import LIBRARY, ROOMS, call, house


def problem(things: tuple[Entity, ...], facts: frozenset[Fact], *goal: Fact) -> Problem:
    return Problem("", things, facts, Formula.of(goal))


def solved(p: Problem) -> Plan:
    plan = OraclePlanner().plan(p)
    assert [f for f in validate(plan, LIBRARY, p.things, p.facts, p.goal) if f.failure is not Failure.ADDITIONAL_STEP] == []
    return plan


def brute_force(p: Problem) -> int | None:
    """The length of the shortest plan, by breadth-first search over sets of facts; None if there is none."""
    operators, goal = ground(LIBRARY, p.things, p.mechanics), p.goal or Formula(())
    start = (p.facts, goal.onward(0, p.facts))
    queue, seen = deque([(start, 0)]), {start}
    while queue:
        (facts, stage), steps = queue.popleft()
        if stage == len(goal.stages):
            return steps
        for o in operators:
            after = (facts - o.delete) | o.add
            node = (after, goal.onward(stage, after))
            if o.pre <= facts and not (o.neg & facts) and node not in seen and goal.allowed(after):
                seen.add(node)
                queue.append((node, steps + 1))
    return None


def test_a_cube_into_a_bin_takes_four_steps() -> None:
    things, facts = house()
    plan = solved(problem(things, facts, ("inside", "red_cube", "red_bin")))
    assert plan.steps == (
        call("navigate", "red_cube"),
        call("pick", "red_cube"),
        call("navigate", "red_bin"),
        call("place", "red_cube", "red_bin"),
    )


def test_what_holds_already_takes_nothing() -> None:
    things, facts = house()
    assert solved(problem(things, facts, ("in_room", ROBOT, "lounge"))).steps == ()


def test_a_full_hand_is_emptied_first() -> None:
    things, facts = house(ROOMS, "lounge", ("holding", ROBOT, "red_ball"), ("near", ROBOT, "red_ball"), ("near", ROBOT, "yellow_bin"))
    plan = solved(problem(things, facts, ("holding", ROBOT, "red_cube")))
    assert [c.skill for c in plan.steps] == ["place", "navigate", "pick"]


def test_an_object_is_carried_into_a_room_without_receptacles() -> None:
    things, facts = house()
    plan = solved(problem(things, facts, ("in_room", "red_cube", "bedroom")))
    assert plan.steps[1] == call("pick", "red_cube")
    assert len(plan.steps) == 3


def test_near_and_holding_at_once() -> None:
    things, facts = house()
    goal = (("near", ROBOT, "blue_table"), ("holding", ROBOT, "red_cube"), ("near", ROBOT, "red_cube"))
    assert len(solved(problem(things, facts, *goal)).steps) == 3


def drawn(rng: random.Random) -> tuple[tuple[Entity, ...], frozenset[Fact], list[Fact]]:
    """A small house, and what may be asked for there: mostly that things are put somewhere."""
    objects = rng.sample(["red_cube", "blue_cube", "red_ball"], rng.randint(1, 2))
    receptacles = rng.sample(["blue_table", "red_bin", "green_table"], rng.randint(1, 2))
    rooms = {name: rng.choice(["kitchen", "study"]) for name in (*objects, *receptacles)}
    more: list[Fact] = []
    for name in objects:
        where = rng.choice([None, *receptacles])
        if where:
            rooms[name] = rooms[where]
            more.append(("inside" if where.endswith("bin") else "on", name, where))
    things, facts = house(rooms, rng.choice(["kitchen", "study"]), *more)
    fluents = [("in_room", s, r) for s in (ROBOT, *objects) for r in {*rooms.values()}]
    fluents += [("near", ROBOT, x) for x in rooms] + [("holding", ROBOT, o) for o in objects]
    fluents += [("inside" if r.endswith("bin") else "on", o, r) for o in objects for r in receptacles] * 3
    return things, facts, sorted(set(fluents))


def assert_shortest(p: Problem) -> bool:
    """As short as by brute force, and impossible where that finds nothing; whether there is a plan."""
    expected = brute_force(p)
    if expected is None:
        with pytest.raises(PlanError) as caught:
            OraclePlanner().plan(p)
        assert caught.value.failure is Failure.IMPOSSIBLE
    else:
        assert len(solved(p).steps) == expected
        assert why_impossible(p) is None
    return expected is not None


def test_lengths_equal_those_of_brute_force() -> None:
    rng = random.Random(0)
    for _ in range(40):
        things, facts, fluents = drawn(rng)
        assert_shortest(problem(things, facts, *rng.sample(fluents, rng.randint(1, 3))))


def test_lengths_of_orders_and_choices_equal_those_of_brute_force() -> None:
    """Two to six stages, of one fact or with a choice; what a stage has made may end with the next."""
    rng, able = random.Random(1), 0
    for _ in range(60):
        things, facts, fluents = drawn(rng)
        stages = [[[literal(fact)] for fact in rng.sample(fluents, rng.choice([1, 1, 1, 2]))] for _ in range(rng.randint(2, 6))]
        able += assert_shortest(Problem("", things, facts, Formula(tuple(tuple(map(tuple, stage)) for stage in stages))))
    assert able > 30


def test_four_goals_take_well_under_three_tenths_of_a_second() -> None:
    things, facts = house()
    spots = [("on", "blue_table"), ("on", "green_table"), ("inside", "red_bin"), ("inside", "yellow_bin")]
    slowest = 0.0
    for chosen in itertools.islice(itertools.product(spots, repeat=4), 0, 256, 17):
        goal = [(predicate, o, r) for o, (predicate, r) in zip(("red_cube", "blue_cube", "green_cube", "red_ball"), chosen, strict=True)]
        clock = time.process_time()
        assert len(solved(problem(things, facts, *goal)).steps) == 16
        slowest = max(slowest, time.process_time() - clock)
    assert slowest < 0.3


def test_nothing_gets_out_of_a_bin() -> None:
    things, facts = house(ROOMS | {"red_cube": "study"}, "study", ("inside", "red_cube", "red_bin"))
    with pytest.raises(PlanError, match="inside\\(red_cube, red_bin\\) being false, and nothing can make that so") as caught:
        OraclePlanner().plan(problem(things, facts, ("on", "red_cube", "blue_table")))
    assert caught.value.failure is Failure.IMPOSSIBLE
    assert "on(red_cube, blue_table), which takes holding(robot, red_cube), which takes" in str(caught.value)


def test_what_no_skill_can_bring_about() -> None:
    things, facts = house()
    fault = why_impossible(problem(things, facts, ("inside", "red_cube", "blue_table")))
    assert fault is not None
    assert "nothing can make inside(red_cube, blue_table) true" in str(fault)


@pytest.mark.parametrize(
    "goal",
    [
        (("holding", ROBOT, "red_cube"), ("on", "red_cube", "blue_table")),
        (("on", "red_cube", "green_table"), ("on", "red_cube", "blue_table")),
        (("holding", ROBOT, "red_cube"), ("holding", ROBOT, "red_ball")),
        (("in_room", ROBOT, "kitchen"), ("near", ROBOT, "blue_table")),
    ],
)
def test_goals_that_exclude_each_other(goal: tuple[Fact, Fact]) -> None:
    things, facts = house()
    with pytest.raises(PlanError, match="at the same time, expected goals that do not exclude each other") as caught:
        OraclePlanner().plan(problem(things, facts, *goal))
    assert caught.value.failure is Failure.IMPOSSIBLE


@pytest.mark.parametrize(
    "goal",
    [
        [("near", ROBOT, name) for name in ("red_cube", "blue_cube", "green_cube")],  # any two can hold, by holding one
        [("in_room", "red_cube", "kitchen"), ("on", "red_cube", "blue_table")],
    ],
)
def test_goals_that_only_the_whole_search_refutes(goal: list[Fact]) -> None:
    things, facts = house()
    with pytest.raises(PlanError, match="of which no state in reach has all") as caught:
        OraclePlanner().plan(problem(things, facts, *goal))
    assert caught.value.failure is Failure.IMPOSSIBLE


def test_no_goal_is_an_error_of_its_own() -> None:
    things, facts = house()
    with pytest.raises(PlanError, match=r"no goal for 'tidy up'.*Fix: word the instruction") as caught:
        OraclePlanner().plan(Problem("tidy up", things, facts))
    assert caught.value.failure is Failure.GOAL


def test_the_search_has_a_limit() -> None:
    things, facts = house()
    with pytest.raises(PlanError, match="no plan after 2 states") as caught:
        OraclePlanner(max_nodes=2).plan(problem(things, facts, ("on", "red_cube", "blue_table")))
    assert caught.value.failure is Failure.LIMIT
