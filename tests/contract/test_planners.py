"""What every planner must do. A new one joins by one line in PLANNERS_MADE."""

import pytest

from palaestra.envs.goals import Formula
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.library import SKILLS
from palaestra.skills.plan import Plan, validate
from palaestra.skills.planners import PLANNERS, planner
from palaestra.skills.planners.base import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from tests.contract.test_skills import THINGS
from tests.skills.fake_server import plans, serve

ROOM = "kitchen"
NOW = frozenset({("in_room", t.name, ROOM) for t in THINGS if t.kind != "room"})
GOAL = Formula.of({("inside", "red_cube", "green_bin")})
PROBLEM = Problem("Put the red cube into the green bin.", THINGS, NOW, GOAL)


@pytest.fixture(params=sorted(PLANNERS))
def made(request):
    if request.param == "openai":
        pytest.importorskip("openai")
        steps = [(call.skill, dict(call.args)) for call in OraclePlanner().plan(PROBLEM).steps]
        with serve(plans(*steps)) as server:
            yield planner("openai", base_url=server.url, model="test", timeout=5.0)
    else:
        yield planner(request.param)


def test_a_plan_is_data_that_validates(made):
    plan = made.plan(PROBLEM)
    assert isinstance(plan, Plan)
    assert not validate(plan, tuple(SKILLS.values()), THINGS, NOW, GOAL)
    assert [c.skill for c in plan.steps] == ["navigate", "pick", "navigate", "place"]


def test_it_has_the_name_it_is_registered_by(made):
    assert PLANNERS[made.name] is type(made)


def test_unknown_planners_and_options_are_refused():
    with pytest.raises(UnknownNameError, match="unknown planner 'gpt'; expected one of: careful, openai, oracle"):
        planner("gpt")
    with pytest.raises(PalaestraError, match="oracle"):
        planner("oracle", model="x")
