"""Toggles in the operators, the oracle, PDDL and the skills, by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.env import Rearrange
from palaestra.envs.goals import Formula, literal
from palaestra.envs.mechanics import Door, Mechanics, Rule
from palaestra.envs.names import ROBOT
from palaestra.envs.types import OPEN, PRESSED
from palaestra.skills import pddl
from palaestra.skills.executor import WAIT, CallRecord, Episode, _under_way
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.library import TURN_OFF, TURN_ON
from palaestra.skills.operators import Call, contracts, prompt_text
from palaestra.skills.plan import Failure, PlanError
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.referee import Referee, Verdict
from palaestra.skills.runner import Outcome, Runner
from palaestra.skills.shipped import learned
from tests.envs.test_toggles import BLUE, DOOR, SPEC, task
from tests.skills.simulator import House, make, settle, shortest, step

ON = ("pressed", "red_toggle", "red_toggle")
WHILE = Rule((ON,), opens="blue_door", lasting=False)
ROOMS = {"red_object": "study", "red_table": "kitchen", "red_toggle": "kitchen", "blue_table": "study"}
OFF, SHUT = literal(ON, true=False), literal(("open", "blue_door", "blue_door"), true=False)


def house(*more, rooms=None) -> House:
    made = make(rooms or ROOMS, "kitchen", Mechanics(doors=(Door("blue_door", ("kitchen", "study")),), rules=(WHILE,)), *more)
    return House(made.things, made.mechanics, settle(made, made.facts))


def plan(home: House, goal: Formula) -> list[str]:
    """The oracle's plan, which is as short as can be and runs in the simulator."""
    found = OraclePlanner().plan(Problem("", home.things, home.facts, goal, mechanics=home.mechanics))
    facts = home.facts
    for call in found.steps:
        after = step(home, facts, call)
        assert after is not None, call
        facts = after
    assert goal.onward(0, facts) == len(goal.stages)
    assert len(found.steps) == shortest(home, goal)
    return [str(call) for call in found.steps]


FETCHED = literal(("on", "red_object", "red_table"))
FETCH = ["navigate(red_object)", "pick(red_object)", "navigate(red_table)", "place(red_object, red_table)"]


@pytest.mark.parametrize("left", [OFF, SHUT])
def test_what_is_to_be_left_off_is_turned_off_at_last(left):
    goal = Formula((((FETCHED, left),),))
    turned_off = ["navigate(red_toggle)", "turn_off(red_toggle)"]
    assert plan(house(), goal) == ["navigate(red_toggle)", "turn_on(red_toggle)", *FETCH, *turned_off]
    assert plan(house(ON), goal) == [*FETCH, *turned_off]
    assert plan(house(ON), Formula((((left,),),))) == turned_off


def test_who_is_behind_the_door_cannot_shut_it():
    for goal in ([literal(("in_room", ROBOT, "study")), OFF], [literal(("on", "red_object", "blue_table")), SHUT]):
        if goal[1] is OFF:
            with pytest.raises(PlanError) as caught:
                plan(house(ON), Formula(((tuple(goal),),)))
            assert caught.value.failure is Failure.IMPOSSIBLE
        else:
            assert plan(house(ON), Formula(((tuple(goal),),)))[-1] == "turn_off(red_toggle)"
    inside = house(ON, rooms=ROOMS | {"red_toggle": "study"})
    assert plan(inside, Formula((((literal(("in_room", ROBOT, "study")), OFF),),))) == ["navigate(red_toggle)", "turn_off(red_toggle)"]


def test_only_toggles_can_be_turned_off_and_only_where_there_are_some():
    home = house()
    found = contracts(LIBRARY, home.things)
    off = found[Call("turn_off", {"toggle": "red_toggle"})]
    assert ON in off.pre
    assert off.delete == {ON}
    told = prompt_text(LIBRARY, home.things)
    assert "turn_off(toggle: toggle)" in told
    assert "turn_on(toggle: toggle)" in told
    assert "press(" not in told
    bare = make({"red_button": "kitchen"}, "kitchen", Mechanics())
    assert "toggle" not in prompt_text(LIBRARY, bare.things)


def test_another_planner_agrees():
    goal, home = Formula((((FETCHED, OFF),),)), house()
    found = OraclePlanner().plan(Problem("", home.things, home.facts, goal, mechanics=home.mechanics))
    domain = pddl.domain(LIBRARY, home.things, goal, home.mechanics, home.facts)
    text = pddl.problem(LIBRARY, home.things, home.facts, goal, mechanics=home.mechanics)
    steps = pddl.plan_text(found, LIBRARY, home.things, home.facts, goal, home.mechanics)
    assert Referee().judge(domain, text, steps) == Verdict(valid=True, shortest=8)


def test_the_skills_turn_it_on_and_off_again_once_a_call():
    """In the skill runner, one call after the other; each changes it once, and while the robot stands still it remains so."""
    runner = Runner(Rearrange(SPEC), {s.name: learned(s) for s in (TURN_ON, TURN_OFF)})
    motion = runner.begin(jax.tree.map(lambda x: jnp.asarray(x)[None], task()), jax.random.split(jax.random.key(0), 1))
    yes, args = jnp.ones(1, bool), jnp.asarray([[BLUE, 0]])
    run = jax.jit(runner._run, static_argnums=1)
    look = jax.jit(jax.vmap(jax.vmap(lambda s: runner.env.perceive(s)[1])))
    was = False
    for name in ("turn_on", "turn_off", "turn_on"):
        motion = runner.start(motion, yes, jnp.full(1, runner.names.index(name)), args, ~yes)
        motion, states = run(motion, 100)
        table = np.asarray(look(states))[:, 0]
        on = np.append(was, table[:, PRESSED, BLUE, BLUE]).astype(int)
        assert motion.outcome.tolist() == [Outcome.SUCCEEDED], name
        assert np.flatnonzero(np.diff(on)).size == 1, "it changes once"
        assert on[-1] == (name == "turn_on")
        assert table[-1, OPEN, DOOR, DOOR] == (name == "turn_on")
        was = on[-1]


def test_the_robot_waits_for_a_door_to_shut_and_not_for_ever():
    """Only when its plan has run out: what failed is planned again at once."""
    home, done = house(), CallRecord("turn_off", {"toggle": "red_toggle"}, 0, verdict="succeeded")
    episode = Episode(0, "", home.things, Formula((((SHUT,),),)), {}, home.mechanics, calls=[done])
    swinging = home.facts | {("open", "blue_door", "blue_door")}
    assert _under_way(episode, swinging)
    assert _under_way(episode, home.facts | {ON}), "a door that opens"
    assert not _under_way(episode, home.facts)
    assert not _under_way(replace(episode, waited=WAIT), swinging)
    assert not _under_way(replace(episode, calls=[replace(done, verdict="timeout")]), swinging)
    assert not _under_way(replace(episode, mechanics=Mechanics()), swinging)
