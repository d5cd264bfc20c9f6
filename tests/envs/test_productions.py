"""Houses with doors and rules: every one can be solved, none without its rules, and nothing is in the way."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.generation.productions import RuleRange, attempt_rules
from palaestra.envs.mechanics import mechanics
from palaestra.envs.names import entities
from palaestra.envs.tasksets import TASK_SETS
from palaestra.envs.words.references import Things
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import LEAF_OPEN, WorldSpec
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem
from tests.envs.worlds import env, one, tables, tasks

SETS = ("doors", "rules-trivial", "rules-small", "rules-medium", "rules-high")
COUNT = 64


@pytest.fixture(scope="module", params=SETS)
def name(request):
    return request.param


def problems(name):
    """What the oracle is asked for each task of a set."""
    e, batch = env(name), tasks(name, count=COUNT)
    table = tables(e.world.spec, batch.scene)
    return [problem(e.world.spec, one(batch, i), table[i]) for i in range(COUNT)]


def test_every_task_is_solved_and_none_without_its_rules(name):
    lengths = []
    for asked in problems(name):
        lengths.append(len(OraclePlanner().plan(asked).steps))
        without = dataclasses.replace(asked, mechanics=dataclasses.replace(asked.mechanics, rules=()))
        with pytest.raises(PlanError):
            OraclePlanner().plan(without)
    assert min(lengths) >= 3
    assert len(set(lengths)) > 3, "tasks are of different difficulty"


def test_there_are_as_many_rules_of_each_kind_as_the_set_says(name):
    ranges, batch = TASK_SETS[name].rules, tasks(name, count=COUNT)
    made = [mechanics(env(name).world.spec, one(batch, i).scene) for i in range(COUNT)]
    doors = [len(m.doors) for m in made]
    productions = [sum(bool(rule.product) for rule in m.rules) for m in made]
    ruin = [sum(not rule.product and not rule.opens for rule in m.rules) for m in made]
    for counts, (low, high) in ((doors, ranges.doors), (productions, ranges.productions), (ruin, (0, ranges.dead_ends))):
        assert set(counts) == set(range(low, high + 1))
    assert all({rule.opens for rule in m.rules if rule.opens} == {door.name for door in m.doors} for m in made)


def test_doors_can_be_opened_one_after_the_other_from_the_robots_side(name):
    """By flooding the rooms by name: what opens a door is in reach before it is open."""
    spec, batch = env(name).world.spec, tasks(name, count=COUNT)
    for i in range(COUNT):
        scene = one(batch, i).scene
        known, places = mechanics(spec, scene), Things.of(spec, scene).places
        reached, ways = {places["robot"].room}, [set(pair) for pair in known.passages]
        shut = {door.name: set(door.rooms) for door in known.doors}
        while True:
            grown = reached.union(*(pair for pair in ways if pair & reached))
            opened = {
                rule.opens
                for rule in known.rules
                if rule.opens in shut
                and shut[rule.opens] & grown
                and all(places[fact[2]].room in grown for fact in rule.condition if fact[0] in ("pressed", "holding"))
            }
            ways += [shut.pop(door) for door in opened]
            if grown == reached and not opened:
                break
            reached = grown
        assert not shut, f"task {i}: {shut} stay shut"
        here = {places["robot"].room}
        while (more := here.union(*(set(pair) for pair in known.passages if set(pair) & here))) != here:
            here = more
        put_down = {places[e.name].room for e in entities(spec, scene) if e.kind == "table"}
        assert put_down & here or not known.doors, f"task {i}: nowhere to put a key down"
        assert reached == {e.name for e in entities(spec, scene) if e.kind == "room"}


def test_nothing_overlaps_with_doors_shut_or_open(name):
    spec, batch = env(name).world.spec, tasks(name, count=COUNT)
    assert not overlaps(spec, batch.scene).any()
    for i in range(COUNT):
        scene = one(batch, i).scene
        ajar = scene.replace(layout=scene.layout.replace(leaf_angle=np.where(scene.leaf_used, LEAF_OPEN, 0.0)))
        assert [pair for pair in overlapping(spec, ajar) if -1 not in pair] == [], f"task {i}: something stands where a door swings"


def test_nothing_happens_while_the_robot_stands_still(name):
    e, batch = env(name), tasks(name, count=COUNT)
    state, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), COUNT), batch)
    start, step = np.asarray(state.physics.qpos), jax.jit(jax.vmap(e.step))
    for _ in range(20):
        state, _ = step(state, jnp.zeros((COUNT, e.action_size)))
    spec = e.world.spec
    used = np.repeat(batch.scene.layout.object_used, 7, axis=1)
    moved = np.abs(np.asarray(state.physics.qpos) - start)
    assert moved[:, 6 : 6 + 7 * spec.objects][used].max() < 3e-3
    assert moved[:, 6 + 7 * spec.objects :].max(initial=0.0) < 3e-3, "doors and buttons stay"
    np.testing.assert_array_equal(state.task.scene.layout.object_used, batch.scene.layout.object_used)
    assert not np.asarray(state.physics.diverged).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
@example(6487)  # a key has one table to be put down on, which must not be a dead end for it
@example(8773)
def test_any_number_names_a_task_that_the_oracle_solves(seed):
    e = env("rules-high", "test")
    task = jax.device_get(_task(seed))
    table = np.asarray(_table(task))
    asked = problem(e.world.spec, task, table)
    assert OraclePlanner().plan(asked).steps
    assert all(len(rule.condition) in (1, 2) for rule in asked.mechanics.rules)


def _task(seed):
    if not _compiled:
        e = env("rules-high", "test")
        _compiled.append(jax.jit(e.task))
        _compiled.append(jax.jit(lambda task: e.perceive(e.reset(jax.random.key(0), task)[0])[1]))
    return _compiled[0](seed)


def _table(task):
    return _compiled[1](task)


_compiled: list = []


@pytest.mark.parametrize("ruled", ["doors", "hampers"])
def test_sets_with_rules_cannot_be_edited_at_random(ruled):
    with pytest.raises(PalaestraError, match=r"whose rules hang together with the rest.*--sampler plr"):
        env(ruled).edit(jax.random.key(0), one(tasks(ruled, count=64), 0))


def test_worlds_have_room_for_the_rules_that_their_sets_draw():
    for name in SETS:
        assert TASK_SETS[name].spec.rules == TASK_SETS[name].rules.rules
    assert RuleRange((1, 2), (0, 1), 3).rules == 6


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (RuleRange((2, 4), (0, 1), 1), "got a world with 5 objects, expected 9 or more, for 4 productions of up to two objects each"),
        (RuleRange((1, 2), (0, 3), 1), "got a world with 1 leaves, expected 3 or more, one for each door"),
        (RuleRange((1, 2), (0, 1), 5), "got a world with 4 rules, expected 8 or more"),
    ],
)
def test_more_rules_than_a_world_has_room_for_are_refused(ranges, message):
    e = env("rules-small")
    with pytest.raises(PalaestraError, match=message):
        attempt_rules(jax.random.key(0), e.world, e.ranges, ranges)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"plates": 3}, "plates: got 3, expected at most 2"),
        ({"rooms": 2, "leaves": 2}, "leaves: got 2, expected at most 1"),
    ],
)
def test_worlds_that_cannot_be_are_refused(slots, message):
    with pytest.raises(ValueError, match=message):
        WorldSpec(**slots)
