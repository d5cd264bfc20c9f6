"""The sampler that asks an author: what it counts, what it draws, and that it goes on to the same bits."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from palaestra.envs.autoreset import AutoReset
from palaestra.envs.configs import Space
from palaestra.envs.filters import num_rooms
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Task, restart, select, termination, transition, truncation
from palaestra.policies import curricula
from palaestra.policies.envgen import LOG, Answer, EnvGen, Request, Scripted, Tally, consult, tally
from palaestra.policies.ppo import PPO
from palaestra.policies.runs import Run, RunConfig
from palaestra.sim.errors import PalaestraError
from tests.envs.worlds import env as shared
from tests.policies.probes import LevelProbe

CONFIG = RunConfig(
    env="navigate-houses",
    sampler="envgen",
    steps=32 * 8,
    log_every=2,
    checkpoint_every=4,
    learner=PPO(num_envs=8, num_steps=4, epochs=1, minibatches=2, hidden=(8,)),
)


class StillState(struct.PyTreeNode, kw_only=True):
    task: Task
    step: jax.Array


class Still(TaskSetEnv):
    """The generator's tasks with nothing in motion: after three steps an episode is over, with success in houses of one or two rooms."""

    def __init__(self):
        super().__init__("navigate-houses")
        self.horizon, self.observation_size, self.action_size = 3, 1, 1

    def reset(self, key, level):
        del key
        return StillState(task=level, step=jnp.zeros((), jnp.int32)), restart(jnp.zeros(1), {"success": jnp.asarray(False)})

    def step(self, state, action):
        state, small = state.replace(step=state.step + 1), num_rooms(state.task) <= 2
        over, seen = state.step >= self.horizon, jnp.ones(1) * state.step
        won = {"success": over & small}
        end, cut, onward = termination(seen, action[0], won), truncation(seen, action[0], won), transition(seen, action[0], won)
        return state, select(over, jnp.asarray(False), end, cut, onward)


@functools.cache
def env() -> Still:
    return Still()


def space(name: str = "navigate-houses") -> Space:
    return Space(shared(name))


def request(rates=None, name: str = "navigate-houses", present=()) -> Request:
    of = space(name)
    return Request(of, dict.fromkeys(of.families, (0, 0)) | (rates or {}), present, 4)


def config(**fields):
    return space().as_dict(space().original) | fields


class Says:
    """An author that gives these answers in turn; an exception is raised."""

    name = "says"

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return Answer(said if isinstance(said, str) else json.dumps({"environments": said}), 100, 10)


# --- the rule -----------------------------------------------------------------------------------------------------


def test_the_rule_by_hand():
    """p = 0.5 in three rooms and 0.1 in two; of near tables half, of near bins nearly all: 4p(1 − p) = 1, 0.36, 1, 0.076."""
    rates = {"rooms: 1": (98, 98), "rooms: 2": (9, 98), "rooms: 3": (49, 98), "rooms: 4": (0, 98)}
    rates |= {"goals: near_object": (98, 98), "goals: near_table": (49, 98), "goals: near_bin": (9, 98), "goals: in_room": (19, 98)}
    first, second = request().read(Scripted().answer(request(rates)).text)
    assert (first.min_rooms, first.max_rooms) == (3, 3)
    assert (second.min_rooms, second.max_rooms) == (2, 2)
    assert first.goals == second.goals == {"near_object": 1, "near_table": 10, "near_bin": 4, "in_room": 6}
    assert replace(first, min_rooms=1, max_rooms=4, goals=space().original.goals) == space().original


@pytest.mark.parametrize("name", ["navigate-houses", "rearrange", "rearrange-4", "language"])
def test_what_the_rule_writes_is_always_admitted(name):
    families = space(name).families
    pairs = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda x: (min(x), max(x)))

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.tuples(*[pairs] * len(families)))
    def check(rates):
        asked = request(dict(zip(families, rates, strict=True)), name)
        assert len(asked.read(Scripted().answer(asked).text)) == 2

    check()


# --- asking -------------------------------------------------------------------------------------------------------


def test_a_refused_answer_is_told_what_was_wrong_once():
    author = Says([config(max_rooms=9)], [config(max_rooms=2)])
    went = consult(author, request())
    assert [made.max_rooms for made in went.configs] == [2]
    assert author.asked[0].refused is None
    text, fault = author.asked[1].refused
    assert json.loads(text)["environments"][0]["max_rooms"] == 9
    assert fault == went.faults[0]
    assert "environments[0], max_rooms: got 9, expected a whole number from 1 to 4" in fault


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Surely!", "expected one JSON object"),
        ("", "expected one JSON object"),
        ("[]", 'expected an object with the one key "environments"'),
        ('{"environments": {}}', "a list of 1 to 4 configurations"),
        ('{"environments": []}', "a list of 1 to 4 configurations"),
        ('{"environments": [1, 2, 3, 4, 5]}', "a list of 1 to 4 configurations"),
        ('{"environments": [1], "code": "rm -rf /"}', 'the one key "environments"'),
        ('{"environments": ["hard"]}', "environments[0]: got"),
        ('{"environments": [' + "[" * 9000, "expected one JSON object"),
        ("x" * 30_000, "30000 characters"),
    ],
)
def test_garbage_is_refused_twice_and_nothing_changes(text, message):
    went = consult(Says(text, text), request())
    assert went.configs is None
    assert len(went.answers) == len(went.faults) == 2
    assert all(message in fault and "Fix: " in fault for fault in went.faults)


# --- in a batch ---------------------------------------------------------------------------------------------------


def test_rates_are_of_the_original_distribution_and_the_rest_is_as_written(tmp_path):
    """One configuration, of houses of two rooms and bins alone; episodes of it are counted nowhere, all others where they belong."""
    author, count = Says([config(min_rooms=2, max_rooms=2, goals=dict.fromkeys(space().original.goals, 0) | {"near_bin": 1})]), 32
    made = EnvGen(author=author, every=1, share=0.75)
    envs, traces = AutoReset(env(), count, made), []
    members = jax.jit(jax.vmap(Space(env()).members))

    def roll(state):
        traces.append(1)
        state, timestep = envs.step(state, jnp.zeros((count, 1)))
        return state, timestep

    first = jax.eval_shape(jax.vmap(env().begin), jax.random.split(jax.random.key(0), count))[1]
    first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    reset, roll = jax.jit(envs.reset), jax.jit(roll)
    keys = jax.random.split(jax.random.key(0), count)
    with jax.numpy_dtype_promotion("strict"):
        state, _ = reset(keys)
        jax.eval_shape(lambda state: made.turn(env(), made.watch(state.sampler, jnp.zeros(count), first), jnp.arange(4), keys[:4]), state)
    tried, won = 0, 0
    np.testing.assert_array_equal(state.sampler.member, members(state.env.task))
    for _ in range(6):
        before = np.asarray(state.sampler.member)
        state, timestep = roll(state)
        over = np.asarray(timestep.done)[:, None] & before
        tried, won = tried + over.sum(0), won + (over & np.asarray(timestep.metrics["success"])[:, None]).sum(0)
    np.testing.assert_array_equal(state.sampler.tried, tried)
    np.testing.assert_array_equal(state.sampler.won, won)
    assert tried[:4].sum() == tried[4:].sum() == 2 * count, "every episode has one number of rooms and one kind of goal"
    np.testing.assert_array_equal(won[:4], [tried[0], tried[1], 0, 0])
    state = state.replace(sampler=made.renew(env(), state.sampler, 1, tmp_path))
    assert dict(author.asked[0].rates) == dict(zip(space().families, zip(won.tolist(), tried.tolist(), strict=True), strict=True))
    assert not np.asarray(state.sampler.tried).any()
    for _ in range(6):
        state, _ = roll(state)
    original = np.asarray(state.sampler.member).any(1)
    np.testing.assert_array_equal(np.asarray(state.sampler.member)[original], np.asarray(members(state.env.task))[original])
    two_rooms = np.asarray(num_rooms(state.env.task)) == 2
    assert two_rooms[~original].all()
    assert not two_rooms[original].all()
    assert 0.5 < 1 - original.mean() < 0.95
    written = np.asarray(members(state.env.task))[~original]
    assert written[:, space().families.index("goals: near_bin")].all()
    assert len(traces) == 1, "another configuration compiles nothing"


def test_other_environments_have_no_generator_to_configure():
    bare = LevelProbe(lambda sign, step, action: sign)
    with pytest.raises(PalaestraError, match="probe: has no generator that can be configured; the sampler envgen is for task sets"):
        AutoReset(bare, 2, curricula.sampler("envgen")).reset(jax.random.split(jax.random.key(0), 2))


# --- in a run -----------------------------------------------------------------------------------------------------

ANSWERS = (
    [config(max_rooms=1, goals=config()["goals"] | {"in_room": 0})],
    "no",
    "still no",
    PalaestraError("the endpoint: no answer"),
    [config(on_table=0.9), config(min_rooms=4)],
)


class Stop(Exception):
    pass


def stop(row):
    if row["update"] == 6:
        raise Stop


@functools.cache
def learner():
    """Compiled once for all runs."""
    made = Run(env(), CONFIG, Path("unused"), EnvGen()).learner
    made.collect = jax.jit(made.rollout)
    return made


def run(folder, author):
    made = Run(env(), CONFIG, folder, EnvGen(author=author, every=2))
    made.learner = learner()
    return made


def same_bits(one, other):
    for name in ("metrics.csv", LOG):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    ours, theirs = load_file(one / "checkpoint-0000008.safetensors"), load_file(other / "checkpoint-0000008.safetensors")
    for leaf, numbers in ours.items():
        assert numbers.tobytes() == theirs[leaf].tobytes(), leaf
    return ours


def test_a_resumed_run_comes_to_the_same_bits_and_asks_nothing_twice(tmp_path):
    """Asked after 2, 4, 6 and 8 updates: an answer, two refused ones, none, an answer. Stopped after 6, with a checkpoint of 4."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    sizes = []
    run(whole, Says(*ANSWERS)).train(report=lambda row: sizes.append((learner().collect._cache_size(), learner().improve._cache_size())))
    assert sizes[0] == sizes[-1], "another configuration compiles nothing"
    first, rest = Says(*ANSWERS), Says(*ANSWERS[4:])
    with pytest.raises(Stop):
        run(broken, first).train(report=stop)
    assert len(first.asked) == 4
    run(broken, rest).train(resume=True)
    assert len(rest.asked) == 1, "the answer after 6 updates is in the log"
    saved = same_bits(whole, broken)

    lines = [json.loads(line) for line in (whole / LOG).read_text().splitlines()]
    assert [line["rollouts"] for line in lines] == [2, 4, 6, 8]
    assert [len(line["environments"]) for line in lines] == [1, 1, 1, 2]
    assert [len(line["faults"]) for line in lines] == [0, 2, 1, 0]
    counts = {"calls": 5, "refused": 2, "failed": 1, "prompt_tokens": 400, "completion_tokens": 40}
    assert tally(whole) == lines[-1]["tally"] == counts
    assert {name: int(saved[f"batch/sampler/tally/{name}"]) for name in vars(Tally())} == counts
    assert saved["batch/sampler/count"] == 2
    np.testing.assert_array_equal(saved["batch/sampler/ranges/scene/min_rooms"], [1, 4, 1, 1])


def test_the_rule_resumes_without_the_log_too(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole, Scripted()).train()
    with pytest.raises(Stop):
        run(broken, Scripted()).train(report=stop)
    (broken / LOG).unlink()
    run(broken, Scripted()).train(resume=True)
    (broken / LOG).write_bytes((whole / LOG).read_bytes())
    same_bits(whole, broken)
