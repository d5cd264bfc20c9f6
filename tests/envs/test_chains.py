"""Chains against the rule they are drawn by, followed fact by fact on the host; and what the words of a chain mean."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals, tasksets
from palaestra.envs.generation import chains
from palaestra.envs.goals import Formula, literal
from palaestra.envs.names import entities, facts
from palaestra.envs.predicates import NEAR_DISTANCE
from palaestra.envs.types import MAX_TERMS
from palaestra.envs.words.language import plain, render, say
from palaestra.envs.words.parser import parse, read
from palaestra.envs.words.references import Things
from palaestra.envs.words.wordings import STEPWISE, Taste
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import ground
from palaestra.skills.planners import Problem
from palaestra.skills.planners.oracle import OraclePlanner
from tests.envs.worlds import env, one, tables, tasks

LENGTHS = {"long-5": 5, "long-10": 10}
COUNT = 96
SPEC = env("long-5").world.spec


@pytest.fixture(params=LENGTHS, scope="module")
def made(request):
    """Tasks of the test split with their chains as facts, and the facts at the start."""
    batch = tasks(request.param, "test", COUNT)
    start = tables(SPEC, batch.scene)
    found = []
    for i in range(COUNT):
        task = one(batch, i)
        said = goals.formula(SPEC, task)
        found.append((task, said, [stage[0][0].pairs[0] for stage in said.stages], facts(entities(SPEC, task.scene), start[i])))
    return LENGTHS[request.param], found


def kind(things: Things, fact) -> tuple[str, str]:
    """The category of a subtask: its predicate, and of what one may be near the kind."""
    return fact[0], things[fact[2]].type if fact[0] == "near" else ""


def test_a_chain_is_a_stage_a_literal(made):
    length, found = made
    for _, said, chain, _ in found:
        assert len(chain) == length
        assert all(len(stage) == len(stage[0]) == 1 for stage in said.stages)
        assert goals.family(said) == "chain"


def test_no_two_of_five_in_a_row_are_of_a_category_and_none_comes_twice(made):
    length, found = made
    seen = set()
    for task, _, chain, _ in found:
        kinds = [kind(Things.of(SPEC, task.scene), fact) for fact in chain]
        assert all(len(set(kinds[k : k + 5])) == 5 for k in range(length - 4))
        assert len(set(chain)) == length
        seen |= set(kinds)
    assert len(seen) == len(chains.CATEGORIES)


def test_every_subtask_has_one_effect_when_its_turn_comes(made):
    """Each is done by the shortest plan for it alone, by the operators: it never holds before, takes the calls that it must, and
    moves no object but its own."""
    for task, _, chain, start in made[1]:
        things, now = entities(SPEC, task.scene), start
        operators = ground(LIBRARY, things)
        for fact in chain:
            assert fact not in now
            plan = OraclePlanner().plan(Problem("", things, now, Formula.of([fact])))
            held = {f[2] for f in now if f[0] == "holding"}
            expected = {"near": 1, "in_room": 1, "holding": 2, "on": 4, "inside": 4}[fact[0]]
            if fact[1] in held:
                expected = 2
            assert held <= {fact[1]} or fact[0] in ("near", "in_room")
            assert len(plan.steps) <= expected
            before = {f for f in now if f[0] in ("on", "inside")}
            for call in plan.steps:
                now = next(o for o in operators if o.call == call and o.applicable(now)).apply(now)
            after = {f for f in now if f[0] in ("on", "inside")}
            assert {f[1] for f in before ^ after} <= {fact[1], fact[2]}
            tables = [f[2] for f in after if f[0] == "on"]
            assert len(tables) == len(set(tables)), "a table holds one thing"


def test_what_one_goes_to_is_out_of_reach_from_where_one_was(made):
    """Two things that a robot may be near at once are in one room and nearer to each other than twice the distance."""
    for task, _, chain, start in made[1]:
        layout, index = task.scene.layout, {e.name: e.index for e in entities(SPEC, task.scene)}

        def at(name, layout=layout, index=index):
            i = index[name] - 1
            if i < SPEC.objects:
                return layout.object_pos[i, :2], np.zeros(2)
            return layout.fixture_pos[SPEC.walls + i - SPEC.objects, :2], layout.fixture_half[SPEC.walls + i - SPEC.objects, :2]

        room = {f[1]: f[2] for f in start if f[0] == "in_room"}
        for before, fact in itertools.pairwise(chain):
            if before[0] == fact[0] == "near" and not {before[2], fact[2]} & {f[1] for f in chain} and room[before[2]] == room[fact[2]]:
                (a, p), (b, q) = at(before[2]), at(fact[2])
                assert np.linalg.norm(np.maximum(np.abs(a - b) - p - q, 0)) > 2 * NEAR_DISTANCE


def test_a_set_admits_its_own_tasks_and_no_chain_out_of_order():
    e, batch = env("long-5", "test"), tasks("long-5", "test", COUNT)
    admits = jax.jit(jax.vmap(e.admits))
    assert admits(batch).all()
    turned = jax.tree.map(lambda x: np.concatenate([x[:, 4::-1], x[:, 5:]], 1), batch.goal)
    turned = turned.replace(stage=batch.goal.stage)
    assert admits(batch.replace(goal=turned)).mean() < 0.5


def test_edited_chains_keep_the_rule():
    e, batch = env("long-5"), tasks("long-5", "train", 64)

    def several(key, task):
        return jax.lax.scan(lambda task, key: (e.edit(key, task), None), task, jax.random.split(key, 6))[0]

    edited = jax.jit(jax.vmap(several))(jax.random.split(jax.random.key(0), 64), batch)
    assert jax.jit(jax.vmap(e.admits))(edited).all()
    assert (np.asarray(edited.scene.layout.robot_q) != batch.scene.layout.robot_q).any(1).mean() > 0.2


def test_the_oracle_follows_every_chain(made):
    for task, said, _, start in made[1][:40]:
        things, now = entities(SPEC, task.scene), start
        operators, stage = ground(LIBRARY, things), 0
        plan = OraclePlanner().plan(Problem("", things, start, said))
        for call in plan.steps:
            now = next(o for o in operators if o.call == call and o.applicable(now)).apply(now)
            stage = said.onward(stage, now)
        assert stage == len(said.stages)


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_out", [False, True])
def test_chains_are_said_in_order_and_read_back(made, held_out):
    for i, (task, said, chain, _) in enumerate(made[1]):
        text = render(SPEC, task, i, held_out)
        openings = STEPWISE.held_out if held_out else STEPWISE.usual
        moves = any(fact[0] in ("on", "inside") for fact in chain)
        assert moves == any(opening.rstrip() in text.lower() for opening in openings), text
        assert goals.formula(SPEC, task.replace(goal=parse(text, SPEC, task.scene))) == said, text
        assert "at the end" not in text


@functools.cache
def house():
    """A house with two objects or more, a table and a bin."""
    batch = tasks("long-5", "test", COUNT)
    return Things.of(SPEC, one(batch, int(np.argmax(batch.scene.layout.object_used.sum(1)))).scene)


def chain(*said) -> Formula:
    return Formula(tuple(((literal(fact),),) for fact in said))


def test_step_by_step_nothing_stays_and_without_it_what_was_put_down_does():
    things = house()
    thing, table, bin_ = things.names("cube", "ball")[0], things.names("table")[0], things.names("bin")[0]
    name = {x: f"the {x.replace('_', ' ')}" for x in (thing, table, bin_)}
    words = (
        f"first put {name[thing]} on {name[table]}, then go to {name[bin_]}, then pick up {name[thing]}, and finally put it in {name[bin_]}"
    )
    on, near = ("on", thing, table), ("near", "robot", bin_)
    held, inside = ("holding", "robot", thing), ("inside", thing, bin_)
    assert read(f"Step by step: {words}.", things) == chain(on, near, held, inside)
    assert read(f"Robot, one after the other, {words}.", things) == chain(on, near, held, inside)
    carried = read(f"{words}.", things)
    assert set(carried.stages[1][0]) == {literal(on), literal(near)}
    assert len(carried.stages) == 3, "to pick it up is a means here"


def test_an_order_that_keeps_all_is_said_without_the_opening():
    things = house()
    thing, table = things.names("cube", "ball")[0], things.names("table")[0]
    on, near = literal(("on", thing, table)), literal(("near", "robot", things.names("bin")[0]))
    kept, alone = Formula((((on,),), ((on, near),))), Formula((((on,),), ((near,),)))
    assert "step" not in plain(kept, things)
    texts = [say(alone, things, Taste(seed)) for seed in range(40)]
    assert all(read(text, things) == alone for text in texts)
    opened = sum(any(text.lower().startswith(row) for row in STEPWISE.usual) for text in texts)
    assert 5 < opened < 35, "two stages are said either way"


def test_lengths_are_those_of_the_sets():
    for name, length in LENGTHS.items():
        assert (np.asarray(tasks(name, "test", COUNT).goal.used).sum(1) == length).all()
        assert tasksets.task_set(name).subtasks == length


def test_poses_are_drawn_afresh_and_tasks_differ():
    batch = tasks("long-5", "test", COUNT)
    assert len(np.unique(batch.scene.layout.robot_q, axis=0)) == COUNT
    assert len({str(goals.describe(goals.formula(SPEC, one(batch, i)))) for i in range(COUNT)}) == COUNT


def test_dtypes_are_strict():
    e = env("long-5")
    with jax.numpy_dtype_promotion("strict"):
        shape = jax.eval_shape(e.attempt_task, jax.random.key(0))
        jax.eval_shape(e.admits, shape[0])
    assert shape[0].goal.stage.dtype == jnp.int32
    assert shape[0].goal.used.shape == (MAX_TERMS,)
