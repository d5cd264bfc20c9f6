"""The executor with the shipped skills: what works, and how each thing that goes wrong is named."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.skills.chances import Chances
from palaestra.skills.executor import CHUNK, Executor
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call
from palaestra.skills.plan import Failure, Fault, Plan, PlanError
from palaestra.skills.planners import planner
from palaestra.skills.programs.running import Program
from palaestra.skills.shipped import learned
from tests.envs.worlds import env, tasks

COUNT = 6


@pytest.fixture(scope="module")
def executor():
    skills = {name: learned(skill) for name, skill in SKILLS.items()}
    return Executor(env("rearrange", "validation"), skills, planner("oracle"))


@pytest.fixture(scope="module")
def some():
    return jax.tree.map(lambda x: jnp.asarray(x[:COUNT]), tasks("rearrange", "validation", 64))


class Scripted:
    """A planner that answers with these plans, one after the other, or raises."""

    name = "scripted"

    def __init__(self, *answers):
        self.answers, self.problems = list(answers), []

    def plan(self, problem):
        self.problems.append(problem)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(problem) if callable(answer) else answer


@pytest.fixture
def scripted(executor):
    """The same compiled executor with another planner."""
    real = executor.planner, executor.max_steps, executor.max_calls, executor._listen

    def use(*answers, max_steps=2400, max_calls=0, listen=None):
        executor.planner, executor.max_steps, executor.max_calls, executor._listen = Scripted(*answers), max_steps, max_calls, listen
        return executor

    yield use
    executor.planner, executor.max_steps, executor.max_calls, executor._listen = real


def test_skills_feel_the_context_of_their_task(executor):
    """Late actions: the robot stands for as many steps; weaker motors: it comes less far; noise: it goes another way, at once."""
    runner, lanes = executor.runner, executor.lanes
    task = jax.tree.map(lambda x: jnp.repeat(jnp.asarray(x[:1]), lanes, 0), tasks("rearrange", "validation", 64))
    table = jnp.full((lanes, 2), 1 + executor.env.world.spec.objects)
    delay = jnp.zeros(lanes, jnp.int32).at[1].set(3)
    strength, noise = jnp.ones(lanes).at[2].set(0.5), jnp.zeros(lanes).at[3].set(0.1)
    motion = runner.begin(
        task.replace(context=task.context.replace(delay=delay, strength=strength, noise=noise)), jax.random.split(jax.random.key(0), lanes)
    )
    navigate = jnp.full(lanes, runner.names.index("navigate"))
    motion = runner.start(motion, jnp.ones(lanes, bool), navigate, table, jnp.zeros(lanes, bool))
    start = np.asarray(motion.state.physics.qpos[0, :3])
    _, states = runner.run(motion, CHUNK)
    nominal, late, weak, noisy, same = np.moveaxis(np.asarray(states.physics.qpos[:, :5, :3]), 1, 0)
    np.testing.assert_array_equal(nominal, same)
    np.testing.assert_allclose(late[:3], np.broadcast_to(start, (3, 3)), atol=1e-4)
    assert np.abs(late[-1] - start).max() > 1e-3
    assert np.linalg.norm((weak[-1] - start)[:2]) < 0.75 * np.linalg.norm((nominal[-1] - start)[:2])
    assert (noisy[1] != nominal[1]).any()


def test_oracle_and_learned_skills_finish_tasks_in_unseen_houses(executor, some):
    episodes = executor.run(some)
    assert sum(e.success for e in episodes) >= COUNT - 2
    state_says = [e for e in episodes if e.success]
    for episode in state_says:
        assert episode.calls
        assert all(c.verdict != "running" for c in episode.calls)
    for episode in episodes:
        assert episode.instruction.endswith(".")
        assert episode.report()["outcome"] == episode.outcome


def test_success_is_what_the_simulator_says(executor, some):
    """Each outcome against the goal's terms, read anew from every state that the episode went through."""
    seen = []
    executor.watch = lambda states, episodes: seen.append((states, [e.over for e in episodes]))
    episodes = executor.run(some)
    executor.watch = None
    e = env("rearrange", "validation")
    terms = jax.jit(jax.vmap(jax.vmap(e.terms)))
    holds = [np.asarray(terms(states)).all(-1) for states, _ in seen]  # [steps, B] a chunk
    for i, episode in enumerate(episodes):
        ever = any(held[:, i].any() for held, (_, over) in zip(holds, seen, strict=True) if not over[i])
        assert ever == episode.success, (i, episode.outcome)


def test_what_a_card_says_is_looked_up_in_the_state_in_which_a_call_starts(scripted, some):
    """How far it is to what the robot is to drive to, by hand; by a card on which distance is all."""

    def drives(problem):
        away = [t for t in problem.things if t.type == "object" and ("near", "robot", t.name) not in problem.facts]
        return Plan((Call("navigate", {"target": away[0].name}),))

    context = {"distance_m": {f"{i}..{i + 1}": [0.5 + i / 10, 0, 0, 400] for i in range(4)}}
    executor = scripted(drives, max_steps=CHUNK)
    executor.chances = chances = Chances({"navigate": {"value": 0.65, "n": 1600, "context": context}})
    episodes = executor.run(some)
    executor.chances = None
    lay, groups = some.scene.layout, set()
    for i, (episode, problem) in enumerate(zip(episodes, executor.planner.problems, strict=True)):
        (call,) = episode.calls
        index = next(t.index for t in episode.things if t.name == call.args["target"])
        low = int(np.linalg.norm(lay.object_pos[i, index - 1, :2] - lay.robot_q[i, :2]))
        groups.add(f"{low}..{low + 1}")
        assert problem.labels([Call(call.skill, call.args)])[0]["distance_m"] == f"{low}..{low + 1}"
        labels = {"distance_m": f"{low}..{low + 1}"}
        assert call.chance == chances.of("navigate", labels)
    assert len(groups) > 1


def test_a_call_whose_precondition_fails_is_not_started_and_the_history_says_so(scripted, some):
    def picks_from_afar(problem):
        thing = next(t for t in problem.things if t.type == "object" and ("near", "robot", t.name) not in problem.facts)
        return Plan((Call("pick", {"object": thing.name}),))

    events = []
    executor = scripted(picks_from_afar, listen=events.append)
    (episode,) = executor.run(jax.tree.map(lambda x: x[:1], some))
    assert episode.outcome.startswith("skill failure (pick: precondition)")
    assert {c.verdict for c in episode.calls} == {"precondition"}
    assert "near(robot, " in episode.calls[0].reason
    assert "not started" in executor.planner.problems[-1].history[0]
    assert [e["event"] for e in events[:2]] == ["plan", "skill"]
    assert events[-1]["event"] == "end"
    assert episode.step == 0, "nothing moved"


def test_a_planner_that_fails_ends_the_episode_as_that_failure(scripted, some):
    fault = Fault(Failure.TIMEOUT, "the endpoint", "no answer in 5 s", "an answer", "raise --timeout")
    (episode,) = scripted(PlanError(fault)).run(jax.tree.map(lambda x: x[:1], some))
    assert episode.outcome == "planner: timeout"
    assert "no answer in 5 s" in episode.detail
    assert not episode.calls


def test_an_empty_plan_is_an_incomplete_plan(scripted, some):
    (episode,) = scripted(Plan(())).run(jax.tree.map(lambda x: x[:1], some))
    assert episode.outcome == "incomplete plan"


def test_the_episode_has_an_end(scripted, some):
    def drives(problem):
        near = {f[2] for f in problem.facts if f[0] == "near"}
        far = [t.name for t in problem.things if t.type in ("table", "bin") and t.name not in near]
        return Plan(tuple(Call("navigate", {"target": name}) for name in far[:1]))

    (episode,) = scripted(drives, max_steps=80).run(jax.tree.map(lambda x: x[:1], some))
    assert episode.outcome.startswith(("timeout", "incomplete plan"))
    assert episode.step <= 80 + 8


def test_where_one_call_is_granted_there_is_no_second(scripted, some):
    """Whether the one call ends in success, or was not started at all."""

    def goes_to_two(problem):
        near = {f[2] for f in problem.facts if f[0] == "near"}
        return Plan(
            tuple(Call("navigate", {"target": t.name}) for t in problem.things if t.type in ("table", "bin") and t.name not in near)
        )

    (went,) = scripted(goes_to_two, max_calls=1).run(jax.tree.map(lambda x: x[:1], some))
    assert [c.verdict for c in went.calls] == ["succeeded"]
    assert went.outcome == "out of calls (no call failed)"
    assert went.detail == "the goal did not hold after 1 call"
    thing = next(t.name for t in went.things if t.type == "object" and ("near", "robot", t.name) not in went.start)
    (refused,) = scripted(Plan((Call("pick", {"object": thing}),)), max_calls=1).run(jax.tree.map(lambda x: x[:1], some))
    assert refused.outcome == "out of calls (pick: precondition)"
    assert len(refused.plans) == 1


def test_while_the_planner_thinks_the_robot_stands_and_time_goes_on(executor, some):
    """Two seconds a plan: 40 control steps at 20 Hz, for a plan that fails at once and for the one after it."""
    tell, one = [], jax.tree.map(lambda x: x[:1], some)
    early = Executor(executor.env, executor.skills, planner("oracle"), runner=executor.runner)
    late = Executor(executor.env, executor.skills, planner("oracle"), runner=executor.runner, latency=2.0, listen=tell.append)
    (at_once,), (later,) = early.run(one), late.run(one)
    assert at_once.success
    assert later.success
    assert (at_once.thought, later.thought) == (0, 40)
    assert (at_once.calls[0].begun, later.calls[0].begun) == (0, 40)
    assert abs(later.step - at_once.step - 40) <= 4 * CHUNK  # what was drawn along stays where it is
    real = Executor(executor.env, executor.skills, Slow(planner("oracle")), runner=executor.runner, latency=None)
    (measured,) = real.run(one)
    assert 20 <= measured.thought < 100  # a second and a little


def test_a_program_goes_on_where_a_list_would_end(scripted, some):
    """`pick` is not started from afar; that ends a round, and the program drives there by itself: one plan, not two."""
    said = """
    for each x: object where not near(robot, x) {
        if not holding(robot, _) {
            while not near(robot, x) at most 1 times { pick(x) }
            navigate(x)
            pick(x)
        }
    }
    """
    tell, library_ = [], tuple(SKILLS.values())
    executor = scripted(Program.parse(said, library_), max_calls=6, listen=tell.append)
    (episode,) = executor.run(jax.tree.map(lambda x: x[:1], some))
    verdicts = [(call.skill, call.verdict) for call in episode.calls]
    assert verdicts == [("pick", "precondition"), ("navigate", "succeeded"), ("pick", "succeeded")]
    assert [len(p.history) for p in executor.planner.problems] == [0, 1]  # asked again only when the program was at its end
    assert episode.outcome == "incomplete plan"  # and then it found nothing to do
    assert (episode.programs, [len(plan) for plan in episode.plans]) == ([True, True], [3, 0])
    (plan, *_) = [event for event in tell if event["event"] == "plan"]
    assert plan["program"] == str(Program.parse(said, library_))


class Slow:
    """Takes a second to answer."""

    name = "slow"

    def __init__(self, real):
        self.real = real

    def plan(self, problem):
        time.sleep(1.0)
        return self.real.plan(problem)


def test_several_environments_run_different_skills_at_once(executor, some):
    """An episode goes as it would alone: the same calls with the same verdicts after the same numbers of steps."""
    alone = executor.run(jax.tree.map(lambda x: x[2:3], some), numbers=[2])[0]
    together = executor.run(jax.tree.map(lambda x: x[1:4], some), numbers=[1, 2, 3])[1]
    assert [(c.text, c.verdict, c.steps) for c in alone.calls] == [(c.text, c.verdict, c.steps) for c in together.calls]
