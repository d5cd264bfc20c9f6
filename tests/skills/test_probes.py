"""Probes against what they must not know: on the operators, without physics."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest

from palaestra.envs.goals import formula
from palaestra.envs.names import entities
from palaestra.envs.types import Task
from palaestra.envs.words.language import render
from palaestra.envs.words.references import Things
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import ground
from palaestra.skills.plan import Plan, validate
from palaestra.skills.planners import PROBES, Problem
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.probes import drawn, overheard
from tests.envs import worlds

COUNT = 40


def env():
    return worlds.env("rearrange", "test")


@functools.cache
def task(number: int):
    """By the program of one task at a time, which the probes and evaluation use too."""
    return jax.device_get(_sample()(jax.random.key(number)))


@functools.cache
def _sample():
    return jax.jit(env().sample_task)


def problem(number: int) -> Problem:
    """A task at its start, as far as the layout tells."""
    spec, found = env().world.spec, task(number)
    things = entities(spec, found.scene)
    facts = set()
    for name, place in Things.of(spec, found.scene).places.items():
        facts.add(("in_room", name, place.room))
        if place.receptacle:
            facts.add(("inside" if place.receptacle.endswith("bin") else "on", name, place.receptacle))
    return Problem(render(spec, found, number), things, frozenset(facts), formula(spec, found), number=number, scene=found.scene)


def end(p: Problem, plan: Plan):
    """What holds after a plan, by the operators."""
    facts, operators = p.facts, ground(LIBRARY, p.things)
    for call in plan.steps:
        facts = next(o for o in operators if o.call == call and o.applicable(facts)).apply(facts)
    return facts


@pytest.fixture(scope="module")
def problems():
    return [problem(i) for i in range(COUNT)]


@pytest.fixture(scope="module", params=sorted(PROBES))
def probe(request):
    return request.param, PROBES[request.param](env(), (0,))


def test_its_plans_can_be_carried_out(probe, problems):
    assert probe[1].name == probe[0]
    for p in problems:
        faults = validate(probe[1].plan(p), LIBRARY, p.things, p.facts)
        assert not [f for f in faults if f.failure.stops]


def test_it_answers_alike_by_seed_and_number_whatever_came_before(probe, problems):
    name, made = probe
    again = PROBES[name](env(), (0,))
    for p in reversed(problems[:10]):
        assert again.plan(p) == made.plan(p)
    if name != "nothing":
        other = PROBES[name](env(), (1,))
        assert any(other.plan(p) != made.plan(p) for p in problems[:10])


def test_it_does_not_read_the_instruction_nor_the_goal(probe, problems):
    for p in problems[:10]:
        assert probe[1].plan(replace(p, instruction="Go to the moon.", goal=None)) == probe[1].plan(p)


def test_goals_are_reached_by_the_oracle_and_seldom_by_probes(probe, problems):
    won = [p.goal.onward(0, end(p, probe[1].plan(p))) == len(p.goal.stages) for p in problems]
    assert sum(won) <= 0.2 * COUNT
    if probe[0] == "nothing":
        assert all(p.goal.onward(0, end(p, OraclePlanner().plan(p))) == len(p.goal.stages) for p in problems)


def test_one_that_is_misled_says_that_nothing_is_left_once_its_own_goal_holds(problems):
    for name in ("no-language", "shuffled"):
        made = PROBES[name](env(), (0,))
        for p in problems[:10]:
            plan = made.plan(p)
            assert plan.steps, "the imagined goal does not hold at the start"
            assert made.plan(replace(p, facts=end(p, plan))) == Plan(())


def test_goals_are_drawn_as_the_set_draws_them():
    """In a set about driving, too: one literal about the robot, which does not hold yet."""
    driving = worlds.env("navigate-houses", "test")
    made, tasks = drawn(driving), worlds.tasks("navigate-houses", "test", 32)
    rng, found = np.random.default_rng(0), set()
    for i in range(32):
        scene = worlds.one(tasks.scene, i)
        (fact,) = formula(driving.world.spec, Task(scene=scene, goal=made(scene, rng))).literals
        found.add(fact[0])
        assert fact != ("in_room", "robot", Things.of(driving.world.spec, scene).places["robot"].room)
    assert found == {"near", "in_room"}


def test_what_is_overheard_is_obeyed_word_for_word_where_it_speaks_of_things_that_are_here(problems, monkeypatch):
    """The other task put in the same scene: then its instruction can be read here, and the goal is the other task's own."""
    spec, here, there = env().world.spec, task(0), task(1)
    monkeypatch.setattr(type(env()), "sample_task", lambda self, key: there)
    read = overheard(env())
    assert formula(spec, there.replace(goal=read(there.scene, np.random.default_rng(0)))) == formula(spec, there)
    elsewhere = formula(spec, here.replace(goal=read(here.scene, np.random.default_rng(0))))
    assert elsewhere.size >= 1
    assert elsewhere != formula(spec, there)
