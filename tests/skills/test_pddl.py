"""The PDDL against the operators that it was lifted from, and before judges that share no code with us."""

import itertools
import random

import pytest

from palaestra.envs.goals import Formula, Term, literal
from palaestra.envs.names import Entity, Fact
from palaestra.skills import pddl
from palaestra.skills.operators import ground
from palaestra.skills.plan import Plan, validate
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.record import ROBOT
from palaestra.skills.referee import Referee, Verdict
from tests.skills.test_operators import LIBRARY, ROOMS, call, house

SMALL = {"red_cube": "kitchen", "blue_cube": "study", "blue_table": "study", "red_bin": "kitchen", "yellow_bin": "study"}
ON, INSIDE = ("on", "red_cube", "blue_table"), ("inside", "blue_cube", "red_bin")
HELD = (("holding", ROBOT, "red_cube"), ("near", ROBOT, "red_cube"))
EITHER = Formula((((literal(ON),), (literal(INSIDE),)),))
IN_ORDER = Formula((((literal(INSIDE),),), ((literal(ON),), (literal(("inside", "red_cube", "red_bin")),))))
EXACTLY = Formula((((Term("inside", ("red_cube", "blue_cube"), ("red_bin", "yellow_bin"), 1, 1),),),))
NOT_ALL_IN = Formula(((tuple(map(literal, (ON, INSIDE))),),), (Term("inside", ("red_cube", "blue_cube"), ("red_bin", "yellow_bin"), 0, 1),))
EMPTIED = Formula(((tuple(literal(("near", ROBOT, x), False) for x in SMALL),),))


@pytest.fixture(scope="module")
def referee() -> Referee:
    return Referee()


def names(things: tuple[Entity, ...], fact: Fact, binding: dict[str, str]) -> set[Fact]:
    """The facts that a lifted one speaks of: `?other_bin` is every bin but those that variables stand for."""
    options = []
    for name in fact[1:]:
        kind = name.removeprefix("?other_")
        others = [t.name for t in things if t.type == kind and t.name not in binding.values()]
        options.append(others if name.startswith("?other_") else [binding.get(name, name)])
    return {(fact[0], s, t) for s, t in itertools.product(*options)}


def test_every_operator_is_a_case_of_one_schema_and_says_the_same() -> None:
    things, _ = house()
    lifted = pddl.schemas(LIBRARY)

    def all_of(facts, binding) -> set[Fact]:
        return set().union(*(names(things, f, binding) for f in facts))

    for operator in ground(LIBRARY, things):
        ((schema, binding),) = [found for s in lifted if (found := pddl.match(s, operator, things))]
        assert schema.bound(schema.operator.pre, binding) == operator.pre
        assert schema.bound(schema.operator.add, binding) == operator.add
        assert all_of(schema.operator.neg, binding) == operator.neg
        deleted = all_of(schema.operator.delete, binding)
        assert deleted <= operator.delete
        # What is left out is false already where the operator applies: it says so itself, or an object would be in two places.
        left = operator.delete - deleted - operator.neg
        held = {f[2] for f in operator.pre if f[0] == "holding"}
        assert all(f[0] in ("on", "inside") and f[1] in held for f in left)


def random_state(rng: random.Random, things: tuple[Entity, ...], facts: frozenset[Fact], steps: int) -> frozenset[Fact]:
    operators = ground(LIBRARY, things)
    for _ in range(steps):
        facts = rng.choice([o for o in operators if o.applicable(facts)]).apply(facts)
    return facts


def solve(things: tuple[Entity, ...], facts: frozenset[Fact], goal: Formula) -> Plan:
    return OraclePlanner().plan(Problem("", things, facts, goal))


def judge(referee: Referee, things: tuple[Entity, ...], facts: frozenset[Fact], goal: Formula, plan: Plan) -> Verdict:
    texts = pddl.domain(LIBRARY, things, goal), pddl.problem(LIBRARY, things, facts, goal)
    return referee.judge(*texts, pddl.plan_text(plan, LIBRARY, things, facts, goal))


@pytest.mark.parametrize("seed", range(6))
def test_the_other_planner_finds_plans_of_our_length_from_random_states(referee: Referee, seed: int) -> None:
    rng = random.Random(seed)
    things, facts = house()
    facts = random_state(rng, things, facts, 4 * seed)
    free = [o for o in ("red_cube", "blue_cube", "green_cube", "red_ball") if not any(f[:2] == ("inside", o) for f in facts)]
    spots = [("on", "blue_table"), ("inside", "red_bin"), ("on", "green_table"), ("inside", "yellow_bin")]
    goal = Formula.of((p, o, r) for o, (p, r) in zip(free[:2], rng.sample(spots, 2), strict=False))
    plan = solve(things, facts, goal)
    assert judge(referee, things, facts, goal, plan) == Verdict(valid=True, shortest=len(plan.steps))


@pytest.mark.parametrize("goal", [EITHER, IN_ORDER, EXACTLY, EMPTIED, NOT_ALL_IN], ids=["or", "in order", "exactly", "not", "never"])
def test_goals_of_every_form_are_understood(referee: Referee, goal: Formula) -> None:
    things, facts = house(SMALL, "kitchen", *HELD[1:])
    plan = solve(things, facts, goal)
    assert judge(referee, things, facts, goal, plan) == Verdict(valid=True, shortest=len(plan.steps))


def test_what_must_always_hold_makes_plans_longer_for_both(referee: Referee) -> None:
    """To take the other cube the hand must be emptied; the bin that is near may not be used for it."""
    things, facts = house(SMALL, "kitchen", *HELD, ("near", ROBOT, "red_bin"))
    free = Formula.of([("holding", ROBOT, "blue_cube")])
    strict = Formula(free.stages, (literal(("inside", "red_cube", "red_bin"), False),))
    plan = solve(things, facts, strict)
    assert (len(solve(things, facts, free).steps), len(plan.steps)) == (3, 4)
    assert judge(referee, things, facts, strict, plan) == Verdict(valid=True, shortest=4)


def test_wrong_plans_are_found_out(referee: Referee) -> None:
    """So the validator's yes means something: any step left out, and a rule broken on the way."""
    things, facts = house(SMALL, "kitchen")
    right = solve(things, facts, IN_ORDER)
    problem = referee.read(pddl.domain(LIBRARY, things, IN_ORDER), pddl.problem(LIBRARY, things, facts, IN_ORDER))
    lines = pddl.plan_text(right, LIBRARY, things, facts, IN_ORDER).splitlines()
    assert referee.validates(problem, "\n".join(lines))
    assert not any(referee.validates(problem, "\n".join(lines[:i] + lines[i + 1 :])) for i in range(len(lines)))
    rule = Formula(EITHER.stages, (literal(("in_room", "red_cube", "study"), False),))
    problem = referee.read(pddl.domain(LIBRARY, things, rule), pddl.problem(LIBRARY, things, facts, rule))
    path = Plan((call("navigate", "red_cube"), call("pick", "red_cube"), call("navigate", "blue_table"), call("place", *ON[1:])))
    assert validate(path, LIBRARY, things, facts, EITHER) == []
    assert not referee.validates(problem, pddl.plan_text(path, LIBRARY, things, facts, rule))


def test_an_impossible_task_has_no_plan_there_either(referee: Referee) -> None:
    things, facts = house(ROOMS | {"red_cube": "study"}, "study", ("inside", "red_cube", "red_bin"))
    goal = Formula.of([("on", "red_cube", "blue_table")])
    assert referee.shortest(pddl.domain(LIBRARY, things, goal), pddl.problem(LIBRARY, things, facts, goal)) is None


def test_plain_goals_share_one_domain() -> None:
    things, _ = house()
    assert pddl.domain(LIBRARY, things, Formula.of([ON])) == pddl.domain(LIBRARY, things, EITHER) == pddl.domain(LIBRARY)
    assert "reach_2" in pddl.domain(LIBRARY, things, IN_ORDER)


def test_an_excerpt_has_the_actions_of_the_plan_alone_word_for_word() -> None:
    things, facts = house(SMALL, "kitchen")
    whole, plan = pddl.domain(LIBRARY, things, IN_ORDER), solve(things, facts, IN_ORDER)
    text = pddl.plan_text(plan, LIBRARY, things, facts, IN_ORDER)
    part = pddl.excerpt(whole, text)
    head, *blocks = part.removesuffix(")\n").split("\n  (:action ")
    assert whole.startswith(head)
    assert all(block in whole for block in blocks)
    assert {block.split()[0] for block in blocks} == {line.strip("()").split()[0] for line in text.splitlines()}
    assert len(blocks) < whole.count("(:action ")


def test_a_planner_without_time_is_undecided() -> None:
    things, facts = house()
    goal = Formula.of([ON])
    verdict = judge(Referee(seconds=0.0), things, facts, goal, solve(things, facts, goal))
    assert verdict == Verdict(valid=True, shortest=None, undecided=True)
