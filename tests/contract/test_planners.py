"""What every planner must do. A new one joins by one line in PLANNERS_MADE."""

from functools import lru_cache

import pytest

from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills import tasks
from palaestra.skills.library import SKILLS
from palaestra.skills.plan import Plan, validate
from palaestra.skills.planners import PLANNERS, Problem, planner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planning import problems
from palaestra.skills.programs.running import Program, try_out
from tests.skills.fake_server import plans, serve


@lru_cache(1)
def problem() -> Problem:
    """What planners are asked at the start of the first task of `rearrange`."""
    (first,) = problems(tasks.source("rearrange", "test").env, "test", 0, [0])
    return first


@pytest.fixture(params=sorted(PLANNERS))
def made(request, tmp_path):
    if request.param == "openai":
        pytest.importorskip("openai")
        steps = [(call.skill, dict(call.args)) for call in OraclePlanner().plan(problem()).steps]
        with serve(plans(*steps)) as server:
            yield planner("openai", base_url=server.url, model="test", timeout=5.0)
    elif request.param == "program":
        calls = (f"{call.skill}({', '.join(call.args.values())})" for call in OraclePlanner().plan(problem()).steps)
        (tmp_path / "written").write_text("\n".join(calls))
        yield planner("program", file=tmp_path / "written")
    elif request.param == "embedded":
        yield planner("embedded", spec=tasks.source("rearrange", "test").spec)
    else:
        yield planner(request.param)


def test_a_plan_is_data_that_validates(made):
    asked = problem()
    plan = made.plan(asked)
    assert not plan.static_faults(tuple(SKILLS.values()), asked.things)
    if isinstance(plan, Program):
        assert not try_out(plan, asked.things, asked.facts, asked.goal, mechanics=asked.mechanics)
        return
    assert isinstance(plan, Plan)
    assert not validate(plan, tuple(SKILLS.values()), asked.things, asked.facts, asked.goal, mechanics=asked.mechanics)
    assert {c.skill for c in plan.steps} >= {"navigate", "pick", "place"}


def test_it_has_the_name_it_is_registered_by(made):
    assert PLANNERS[made.name] is type(made)


def test_unknown_planners_and_options_are_refused():
    with pytest.raises(UnknownNameError, match="unknown planner 'gpt'; expected one of: careful, embedded, openai, oracle, program"):
        planner("gpt")
    with pytest.raises(PalaestraError, match="oracle"):
        planner("oracle", model="x")
