"""Drawers in the operators, the oracle and PDDL."""

import pytest

from palaestra.envs.goals import Formula, literal
from palaestra.skills import pddl
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import Call, contracts, prompt_text
from palaestra.skills.plan import Failure, Plan, validate
from palaestra.skills.planners.base import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.referee import Referee
from tests.envs.test_storage import THINGS as STORAGE

THINGS = STORAGE.entities
START = frozenset(("in_room", t.name, "kitchen") for t in THINGS[:-1])
STORED, OPENED = ("inside", "red_cube", "green_drawer"), ("open", "green_drawer", "green_drawer")
PUT_AWAY = Formula((((literal(STORED), literal(OPENED, true=False)),),))


def calls(goal, facts=START):
    return [str(call) for call in OraclePlanner().plan(Problem("", THINGS, facts, goal)).steps]


def test_only_drawers_have_to_be_open_for_placing():
    found = contracts(LIBRARY, THINGS)
    into = {name: found[Call("place", {"object": "red_cube", "receptacle": name})].pre for name in ("green_drawer", "red_table")}
    assert OPENED in into["green_drawer"]
    assert not any(fact[0] == "open" for fact in into["red_table"])
    told = prompt_text(LIBRARY, THINGS)
    assert "To put an object inside a drawer, it must be open." in told
    assert "lets nothing through" not in told
    assert "drawer" not in prompt_text(LIBRARY, THINGS[:4])


def test_plans_open_what_is_shut_and_shut_it_again():
    assert calls(PUT_AWAY) == [
        "navigate(green_drawer)",
        "open(green_drawer)",
        "navigate(red_cube)",
        "pick(red_cube)",
        "navigate(green_drawer)",
        "place(red_cube, green_drawer)",
        "close(green_drawer)",
    ]
    assert len(calls(PUT_AWAY, START | {OPENED})) == 5
    assert calls(Formula.of([OPENED])) == ["navigate(green_drawer)", "open(green_drawer)"]
    assert calls(Formula((((literal(OPENED, true=False),),),))) == []


def test_a_full_hand_opens_nothing():
    plan = Plan(tuple(Call(s, a) for s, a in (("navigate", {"target": "green_drawer"}), ("open", {"drawer": "green_drawer"}))))
    held = START | {("holding", "robot", "red_cube"), ("near", "robot", "red_cube")}
    assert validate(plan, LIBRARY, THINGS, START, Formula.of([OPENED])) == []
    (fault,) = validate(plan, LIBRARY, THINGS, held, Formula.of([OPENED]))
    assert fault.failure is Failure.MISSING_STEP


@pytest.mark.parametrize("goal", [PUT_AWAY, Formula((((literal(OPENED),),), PUT_AWAY.stages[0]))])
def test_a_foreign_planner_finds_plans_of_the_same_length(goal):
    plan = OraclePlanner().plan(Problem("", THINGS, START, goal))
    domain, problem = pddl.domain(LIBRARY, THINGS, goal), pddl.problem(LIBRARY, THINGS, START, goal)
    assert "(:action open-drawer" in domain
    verdict = Referee().judge(domain, problem, pddl.plan_text(plan, LIBRARY, THINGS, START, goal))
    assert verdict.valid
    assert verdict.shortest == len(plan.steps)
