"""Planners apart from skills: the symbolic world against the grounded operators, the protocols by hand, and rates by arithmetic."""

from dataclasses import dataclass, field

import jax
import numpy as np
import pytest

from palaestra.sim.errors import PalaestraError
from palaestra.skills import tasks
from palaestra.skills.operators import Call, ground
from palaestra.skills.plan import Failure, Plan
from palaestra.skills.planners import PlannerChoice, Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.space import Space, ones
from palaestra.skills.planning import Conditions, carry_out, measure_planner, problems

KEY = jax.random.key(0)


def asked(name: str, count: int) -> list[Problem]:
    return problems(tasks.source(name, "test").env, "test", 0, range(count))


@pytest.mark.parametrize("name", ["language", "doors", "swing-doors", "hampers", "toggles", "crates", "rules-small"])
def test_calls_and_what_follows_are_those_of_the_grounded_operators(name):
    rng = np.random.default_rng(0)
    for p in asked(name, 4):
        space = Space(p, library())
        operators, state, facts = ground(library(), p.things, p.mechanics), space.start, p.facts
        for _ in range(8):
            able = {o.call: o for o in operators if o.applicable(facts)}
            assert {str(call) for call in space.calls(state)} == {str(call) for call in able}
            call = list(able)[rng.integers(len(able))]
            state, facts = space.after(state, call), able[call].apply(facts)
            assert {space.facts[i] for i in ones(state)} == facts


def test_the_tasks_are_those_that_eval_measures():
    from palaestra.skills.evaluation import Arena, Options, _config

    config = _config("rearrange", 3, 5, "test", PlannerChoice("oracle"), "native", Options())
    arena = Arena(config)
    made = arena.tasks(range(3))
    for number, p in enumerate(problems(arena.env, "test", 5, range(3))):
        task = tasks.row(made, number)
        assert p.instruction == arena.env.instruction(task, number)
        assert p.facts == tasks.problem(arena.env.world.spec, task, np.asarray(arena.env.perceive(arena.env.reset(KEY, task)[0])[1])).facts


@pytest.mark.parametrize("protocol", ["one-shot", "closed-loop", "step-by-step"])
def test_the_oracle_is_always_right(protocol):
    done = carry_out(OraclePlanner(), asked("language", 40), Conditions(protocol=protocol))
    assert all(a.success and a.calls == a.shortest for a in done)
    assert all(a.plans == (a.shortest if protocol == "step-by-step" else 1) for a in done)


def test_what_failures_cost_and_what_a_closed_loop_regains():
    """Open loop, a plan of n calls succeeds with (1 - p)^n at most, and about so often: what fails is needed, mostly."""
    p = asked("rearrange", 150)
    open_loop = carry_out(OraclePlanner(), p, Conditions(protocol="one-shot", failures=0.2))
    expected = np.mean([0.8**a.shortest for a in open_loop])
    spread = np.sqrt(expected * (1 - expected) / len(p))
    assert abs(np.mean([a.success for a in open_loop]) - expected) < 3 * spread
    closed = carry_out(OraclePlanner(), p, Conditions(failures=0.2))
    assert np.mean([a.success for a in closed]) > 0.97
    again = carry_out(OraclePlanner(), p, Conditions(failures=0.2))
    assert [(a.calls, a.plans) for a in again] == [(a.calls, a.plans) for a in closed]


@dataclass
class Stubborn:
    """Gives the same plan whatever it is asked."""

    steps: tuple[Call, ...]
    name: str = "stubborn"
    heard: list[Problem] = field(default_factory=list)

    def plan(self, problem: Problem) -> Plan:
        self.heard.append(problem)
        return Plan(self.steps)


def test_a_planner_hears_what_went_wrong():
    (p,) = asked("rearrange", 1)
    plan = OraclePlanner().plan(p)
    stubborn = Stubborn(plan.steps[1:2] or plan.steps)  # what cannot be made yet
    (attempt,) = carry_out(stubborn, [p], Conditions())
    assert not attempt.success
    assert attempt.plans == len(stubborn.heard) == 7
    assert "not started" in stubborn.heard[1].history[0]
    assert not stubborn.heard[0].history
    (once,) = carry_out(Stubborn(plan.steps), [p], Conditions(protocol="one-shot"))
    assert once.success
    (nothing,) = carry_out(Stubborn(()), [p], Conditions())
    assert (nothing.success, nothing.plans, nothing.recall) == (False, 1, 0.0)


def test_the_report():
    env = {"suite": "rearrange", "split": "test", "episodes": 30, "seed": 0}
    right = measure_planner(PlannerChoice("oracle"), **env, conditions=Conditions())
    assert (right["name"], right["value"], right["n"], right["executable"], right["faults"]) == ("planner", 1.0, 30, 1.0, {})
    assert right["spl"] == 1.0
    idle = measure_planner(PlannerChoice("nothing"), **env, conditions=Conditions())
    assert (idle["value"], idle["executable"], idle["faults"]) == (0.0, 1.0, {Failure.GOAL: 30})
    chain = measure_planner(PlannerChoice("oracle"), "long-5", "test", 5, 0, Conditions())
    assert chain["chain"]["average_length"] == 5.0


def test_conditions_that_make_no_sense():
    with pytest.raises(PalaestraError, match=r"protocol.*closed-loop"):
        measure_planner(PlannerChoice("oracle"), "rearrange", "test", 1, 0, Conditions(protocol="closed"))
    with pytest.raises(PalaestraError, match=r"failures: got 1.5"):
        measure_planner(PlannerChoice("oracle"), "rearrange", "test", 1, 0, Conditions(failures=1.5))
