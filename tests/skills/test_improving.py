"""The planner practises on what came of its own plans."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.goals import formula
from palaestra.policies.runs import TrainingError
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills import tasks
from palaestra.skills.operators import Call
from palaestra.skills.planners.embedded import batches
from palaestra.skills.planners.embedded.batches import Doings
from palaestra.skills.planners.embedded.improving import (
    METHODS,
    Came,
    Drawn,
    Learner,
    Practice,
    advantages,
    ask,
    by_model,
    draw,
    improve,
    log_prob,
)
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planners.embedded.weights import load_planner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.practice import BySimulator, fault_of, improve_planner

SET = "rules-medium"


@pytest.fixture(scope="module")
def round_():
    return ask(tasks.source(SET, "train"), 0, 12)


@pytest.fixture(scope="module")
def asked(round_):
    return round_.problems


@pytest.fixture(scope="module")
def drawn(asked):
    planner = EmbeddedPlanner(tasks.source(SET, "train").spec, mask="none")
    return draw(planner, asked, 3, np.random.default_rng(0))


def plan(task, *calls):
    return Drawn(task, [], [], list(calls))


def test_what_is_asked_is_what_the_evaluation_asks(round_):
    """The same tasks as `palaestra tasks` numbers, and the goal that the simulator judges by."""
    source = tasks.source(SET, "train")
    states, _ = source.chunk(0)
    for i, problem in enumerate(round_.problems):
        assert problem.goal == formula(source.spec, jax.tree.map(lambda x, i=i: x[i], round_.tasks))
    for mine, theirs in zip(jax.tree.leaves(round_.tasks), jax.tree.leaves(states.task), strict=True):
        np.testing.assert_array_equal(mine, np.asarray(theirs)[:12])


NOWHERE = Call("pick", {"object": "nothing"})


def test_outcomes_are_those_of_the_operators(round_):
    for i, problem in enumerate(round_.problems):
        steps = OraclePlanner().plan(problem).steps
        assert by_model(round_, [plan(i, *steps)]) == [Came(True, None)]
        if len(steps) > 1:
            (came,) = by_model(round_, [plan(i, *steps[1:])])
            assert not came.success
        assert by_model(round_, [plan(i, *steps[:1], NOWHERE, *steps[1:])]) == [Came(len(steps) == 1, None if len(steps) == 1 else 1)]
    assert by_model(round_, [plan(0)]) == [Came(False, None)]


@pytest.mark.slow
def test_in_the_simulator_plans_come_to_what_they_are(round_):
    """The oracle's plans mostly succeed there; what cannot be made is at fault where it stands, and an empty plan is nobody's fault."""
    simulator, plans = BySimulator(SET, "train"), [OraclePlanner().plan(p).steps for p in round_.problems]
    short = sorted(range(len(plans)), key=lambda i: len(plans[i]))[:4]
    drawn = [plan(i, *plans[i]) for i in short] + [plan(i, *plans[i][:1], NOWHERE, *plans[i][1:]) for i in short] + [plan(short[0])]
    came = simulator(round_, drawn)
    assert sum(c.success for c in came[: len(short)]) >= len(short) // 2  # of some 10 calls each
    assert all(not c.success and c.fault in (0, 1) for c in came[len(short) : -1])  # 0, where physics fails at the call before
    assert Came(False, 1) in came
    assert came[-1] == Came(False, None)


def test_the_fault_is_found_among_the_calls_that_were_started():
    a, b, c = (Call("navigate", {"target": name}) for name in "abc")
    assert fault_of([a, b, c], [(a, "succeeded"), (b, "timeout")]) == 1
    assert fault_of([a, b, c], [(b, "succeeded"), (c, "precondition")]) == 2  # the first had nothing to do
    assert fault_of([a, b, a, c], [(a, "succeeded"), (b, "succeeded"), (a, "lost")]) == 2
    assert fault_of([a, b], [(a, "succeeded"), (b, "succeeded")]) is None
    assert fault_of([a, NOWHERE], [(a, "succeeded")]) == 1  # what does not exist is never started
    assert fault_of([], []) is None


def test_merit_is_against_the_others_of_a_task_and_blame_is_the_faults():
    """By hand: of task 0 one of two plans succeeds, of task 1 none does."""
    practice = Practice(length=0.0, blame=0.5)
    call = Call("navigate", {"target": "kitchen"})
    drawn = [plan(0, call, call), plan(0, *[call] * 4), plan(1, call), plan(1, call, call)]
    came = [Came(True, None), Came(False, 2), Came(False, 0), Came(False, None)]
    good, bad, *none = advantages(practice, drawn, came)
    np.testing.assert_allclose(good, [1, 1], atol=1e-3)
    np.testing.assert_allclose(bad, [-0.25, -0.5, -1, 0], atol=1e-3)
    for merit in none:
        np.testing.assert_array_equal(merit, np.zeros(len(merit)))
    shorter, longer = advantages(Practice(length=0.1), [plan(0, call), plan(0, call, call)], [Came(True, None)] * 2)
    assert shorter[0] > 0 > longer[0]


def test_what_was_drawn_has_the_probability_that_it_is_learnt_by(drawn):
    weights = load_planner()
    seen = 0
    for one in drawn:
        assert len(one.calls) == len(one.doings) == len(one.log_probs)
        for doing, before in zip(one.doings, one.log_probs, strict=True):
            size = batches.fitting(len(doing.board.node), batches.GRAPH)
            batch = Doings(*batches.board_arrays([doing.board], size), doing.call[None])
            now = log_prob(weights.skills, weights.actor, batch)
            assert float(now[0]) == pytest.approx(before, abs=2e-3)
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("method", METHODS)
def test_learning_makes_likelier_what_went_well(round_, drawn, method):
    came = by_model(round_, drawn)
    practice = Practice(method=method, learning_rate=3e-4, steps=100)
    learner = Learner(practice, load_planner())
    rows = [(doing, c.success) for d, c in zip(drawn, came, strict=True) if mixed(d.task, drawn, came) for doing in d.doings]
    assert rows, "no task had both good and bad plans"

    def likelihood() -> tuple[float, float]:
        found = {True: [0.0], False: [0.0]}
        for doing, good in rows:
            batch = Doings(*batches.board_arrays([doing.board], batches.GRAPH[-1]), doing.call[None])
            found[good].append(float(log_prob(learner.skills, learner.params, batch)[0]))
        return float(np.sum(found[True])), float(np.sum(found[False]))

    before = likelihood()
    for step in range(6):
        learner.learn(0, drawn, came, np.random.default_rng(step))
    after = likelihood()
    assert after[0] - before[0] > after[1] - before[1]


def mixed(task, drawn, came):
    return len({c.success for d, c in zip(drawn, came, strict=True) if d.task == task}) == 2


def test_imitation_keeps_the_shortest_plan_of_a_task():
    learner = Learner(Practice(method="imitation", steps=1), load_planner())
    call = Call("navigate", {"target": "kitchen"})
    learner.kept[5] = plan(0, call)
    long, failed = plan(0, call, call), plan(0, call)
    learner.kept[6] = long
    learner.learn(5, [long, failed], [Came(True, None), Came(False, None)], np.random.default_rng(0))
    assert learner.kept == {5: plan(0, call), 6: long}


def test_a_run_is_a_folder_and_goes_the_same_again(tmp_path):
    practice = Practice(task_set=SET, rounds=2, tasks=6, draws=2, steps=2, seed=3)
    for name in ("a", "b"):
        improve(practice, tmp_path / name, tell=lambda text: None)
    first, second = ([json.loads(line) for line in (tmp_path / n / "rounds.jsonl").read_text().splitlines()] for n in "ab")
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in first] == [
        {k: v for k, v in row.items() if k != "seconds"} for row in second
    ]
    assert [row["round"] for row in first] == [1, 2]
    kept, start = load_planner(tmp_path / "a" / "planner.safetensors"), load_planner()
    np.testing.assert_array_equal(*(np.asarray(w.reader["params"]["row_norm"]["scale"]) for w in (kept, start)))
    assert any(bool(jnp.any(a != b)) for a, b in zip(*(jax.tree.leaves(w.actor) for w in (kept, start)), strict=True))
    with pytest.raises(TrainingError, match="holds a run already"):
        improve(practice, tmp_path / "a")


def test_bad_input_is_refused_early(tmp_path):
    with pytest.raises(UnknownNameError, match="method"):
        improve(Practice(method="gpro"), tmp_path / "x")
    with pytest.raises(PalaestraError, match="compared with each other"):
        improve(Practice(draws=1), tmp_path / "x")
    with pytest.raises(PalaestraError, match="expected 1 or more"):
        improve(replace(Practice(), rounds=0), tmp_path / "x")
    with pytest.raises(PalaestraError, match="seed"):
        improve(Practice(seed=5000), tmp_path / "x")
    with pytest.raises(UnknownNameError, match="verifier"):
        improve_planner(Practice(), tmp_path / "x", None, "simulatr", 4, (0,))
    assert not (tmp_path / "x").exists()
