"""Goals of every kind: that each occurs, means what it says, is not reached at the start, and can be reached."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals, tasksets
from palaestra.envs.generation.formulas import KINDS, RULES, FormulaRange, attempt_formula
from palaestra.envs.names import entities, facts
from palaestra.envs.types import ALWAYS, HOLDING, IN_ROOM, ON
from palaestra.skills.planners import Problem, planner
from tests.envs.worlds import env, one, tables, tasks

COUNT = 384


@pytest.fixture(scope="module")
def batch():
    return tasks("language", "test", COUNT)


@pytest.fixture(scope="module")
def start(batch):
    """The truth tables at the start [B, predicates, E, E]."""
    return tables(spec(), batch.scene)


def spec():
    return env("language", "test").world.spec


def test_every_kind_occurs_with_and_without_a_rule(batch):
    found = collections.Counter(goals.family(goals.formula(spec(), one(batch, i))) for i in range(COUNT))
    assert {name.removesuffix(" + rule") for name in found} == set(KINDS)
    assert {name for name in found if name.endswith("rule")} == {f"{kind} + rule" for kind in KINDS}
    assert min(found[kind] for kind in KINDS) >= COUNT // 50


def test_the_oracle_solves_every_task_and_none_is_solved_at_the_start(batch, start):
    oracle, lengths = planner("oracle"), collections.Counter()
    for i in range(COUNT):
        task = one(batch, i)
        said, things = goals.formula(spec(), task), entities(spec(), task.scene)
        now = facts(things, start[i])
        assert said.allowed(now), goals.describe(said)
        assert said.onward(0, now) == 0, goals.describe(said)
        lengths[len(oracle.plan(Problem("", things, now, said)).steps)] += 1
    assert min(lengths) >= 1
    assert max(lengths) >= 12


def test_the_table_at_the_start_is_that_of_the_physics(batch, start):
    e = env("language", "test")
    some = jax.tree.map(lambda x: x[:64], batch)
    state, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), 64), some)
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda s: e.perceive(s)[1]))(state), start[:64])


def test_rules_are_in_no_ones_way(batch, start):
    """What must not be held or entered, or must stay, is no part of the rest of the goal."""
    seen = set()
    for i in range(COUNT):
        task = one(batch, i)
        rows = goals.named_terms(spec(), task.scene, task.goal)
        things, terms = entities(spec(), task.scene), [term for _, stage, _, term in rows if stage != ALWAYS]
        now = facts(things, start[i])
        named = {name for term in terms if term.at_most for name in (*term.subjects, *term.targets)}
        named |= {name for term in terms for pair in term.pairs if pair in now for name in pair[1:]}  # to be cleared
        for _, stage, _, term in rows:
            if stage == ALWAYS:
                seen.add(term.predicate)
                assert not named & ({*term.subjects, *term.targets} - {"robot"}), (i, goals.describe(goals.formula(spec(), task)))
    assert seen == {"holding", "in_room", "on"}


def test_a_forbidden_room_is_a_dead_end_without_the_robot(batch, start):
    g = batch.goal
    rooms = slice(1 + spec().objects + spec().receptacles, None)
    checked = 0
    for i, row in np.argwhere(g.used & (g.stage == ALWAYS) & (g.predicate == IN_ROOM)):
        (room,) = np.flatnonzero(g.targets[i, row, rooms])
        doors = batch.scene.door_rooms[i][batch.scene.door_used[i]]
        assert (doors == room).sum() == 1
        assert not start[i, IN_ROOM, 0, rooms][room]
        checked += 1
    assert checked >= 3


def test_ordered_goals_keep_what_was_placed(batch):
    checked = 0
    for i in np.flatnonzero((batch.goal.used & (batch.goal.stage == 1)).any(1)):
        said = goals.formula(spec(), one(batch, i))
        for earlier, later in zip(said.stages[:-1], said.stages[1:], strict=True):
            assert set(earlier[0]) < set(later[0])
            assert len(later[0]) == len(earlier[0]) + 1
        checked += 1
    assert checked >= COUNT // 20


def test_held_out_compositions_occur_in_the_test_split_alone(batch):
    held_out = tasksets.task_set("language").held_out
    predicate_of = {"hands off": HOLDING, "keep out": IN_ROOM, "keep on": ON}

    def compositions(tasks):
        found, g = set(), tasks.goal
        for i, row in np.argwhere(g.used & (g.stage == ALWAYS)):
            kind = goals.family(goals.formula(spec(), one(tasks, i))).removesuffix(" + rule")
            if kind == "all" and (g.subjects[i].sum(1) < 2).all():
                kind = "plain"  # several things to one place that were not asked for as a group
            found |= {(kind, rule) for rule, predicate in predicate_of.items() if g.predicate[i, row] == predicate}
        return found

    assert not compositions(tasks("language", "train", COUNT)) & set(held_out)
    assert compositions(batch) & set(held_out)


def test_kinds_without_weight_are_never_drawn():
    e = env("language", "test")
    only = FormulaRange(weight=jnp.zeros((len(KINDS), len(RULES))).at[KINDS.index("exactly"), 0].set(1.0))
    scenes = jax.tree.map(lambda x: x[:64], tasks("language", "test", COUNT).scene)
    made, good = jax.jit(jax.vmap(lambda k, s: attempt_formula(k, e.world, s, only)))(jax.random.split(jax.random.key(3), 64), scenes)
    most = np.asarray(made.at_most)[np.asarray(good), 0]
    assert len(most) > 10
    assert (most == np.asarray(made.at_least)[np.asarray(good), 0]).all()
    assert (np.asarray(made.used).sum(1) == 1).all()
