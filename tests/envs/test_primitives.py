"""Tasks of one skill call: each kind occurs, one call does it, and what is held at the start stays in the hand."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.names import entities, facts
from palaestra.envs.types import HOLDING
from palaestra.envs.words.language import describe
from palaestra.envs.words.references import Things
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.operators import ground
from tests.envs.worlds import env, one, tables, tasks

COUNT = 256
SPEC = env("primitive").world.spec
MAX_HELD = 40  # control steps


@pytest.fixture(scope="module", params=["train", "test"])
def batch(request):
    return tasks("primitive", request.param, COUNT)


@pytest.fixture(scope="module")
def start(batch):
    """The truth tables at the start [B, predicates, E, E]."""
    return tables(SPEC, batch.scene)


def test_one_call_and_no_fewer_does_each_and_every_skill_is_asked_for(batch, start):
    found = collections.Counter()
    for i in range(COUNT):
        task = one(batch, i)
        things, said = entities(SPEC, task.scene), goals.formula(SPEC, task)
        now = facts(things, start[i])
        (fact,) = said.literals
        assert fact not in now
        does = {o.call.skill for o in ground(LIBRARY, things) if o.applicable(now) and fact in o.apply(now)}
        assert len(does) == 1
        found[does.pop(), fact[0]] += 1
    assert found.keys() == {("navigate", "near"), ("navigate", "in_room"), ("pick", "holding"), ("place", "on"), ("place", "inside")}
    assert min(found.values()) >= COUNT // 20


def test_nothing_overlaps_but_the_hand_and_what_it_holds(batch, start):
    assert overlaps(SPEC, batch.scene).sum() == 0
    full = start[:, HOLDING, 0].any(1)
    assert 0.2 < full.mean() < 0.6
    opened = jax.tree.map(np.array, batch.scene)
    opened.layout.robot_q[:, 4:6] = 0.0  # then it is no grasp
    np.testing.assert_array_equal(overlaps(SPEC, opened) > 0, full)


def test_what_is_held_stays_in_the_hand(batch, start):
    e, some = env("primitive"), jax.tree.map(lambda x: x[:64], batch)
    state, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), 64), some)

    def stand(state, _):
        return jax.vmap(e.step)(state, jnp.zeros((64, e.action_size)))[0], None

    later = jax.jit(lambda s: jax.lax.scan(stand, s, length=MAX_HELD)[0])(state)
    table = jax.jit(jax.vmap(lambda s: e.perceive(s)[1]))
    np.testing.assert_array_equal(table(state), start[:64])
    np.testing.assert_array_equal(table(later)[:, HOLDING], start[:64, HOLDING])


def test_it_is_said_what_the_robot_holds(batch, start):
    for i in range(64):
        scene, full = one(batch.scene, i), start[i, HOLDING, 0]
        names = {e.index: e.name for e in entities(SPEC, scene)}
        held = [names[int(k)] for k in np.flatnonzero(full)]
        assert [name for name, place in Things.of(SPEC, scene).places.items() if place.held] == held
        text = describe(SPEC, scene)
        assert ("The robot is holding" in text) == bool(held)
        assert all(f"The robot is holding the {name.replace('_', ' ')}." in text for name in held)
        assert not any(Things.of(SPEC, scene).places[name].receptacle for name in held)


def test_edits_keep_it_to_one_call():
    e, batch = env("primitive"), tasks("primitive", "train", COUNT)

    def several(key, task):
        return jax.lax.scan(lambda task, key: (e.edit(key, task), None), task, jax.random.split(key, 6))[0]

    edited = jax.device_get(jax.jit(jax.vmap(several))(jax.random.split(jax.random.key(0), COUNT), batch))
    assert jax.jit(jax.vmap(e.admits))(edited).all()
    assert overlaps(SPEC, edited.scene).sum() == 0
    for before, after in ((batch.goal.targets, edited.goal.targets), (batch.scene.layout.robot_q, edited.scene.layout.robot_q)):
        assert (before != after).reshape(COUNT, -1).any(1).mean() > 0.2


def test_a_task_of_two_calls_is_not_admitted():
    e, batch = env("primitive"), tasks("primitive", "train", COUNT)
    opened = jax.tree.map(np.array, batch)
    opened.scene.layout.robot_q[:, 4:6] = 0.0  # what was held falls
    placing = (batch.goal.predicate[:, 0] == 2) | (batch.goal.predicate[:, 0] == 3)
    admitted = np.asarray(jax.jit(jax.vmap(e.admits))(opened))
    assert placing.sum() > 20
    assert not admitted[placing].any()


def test_dtypes_are_strict():
    with jax.numpy_dtype_promotion("strict"):
        task, fits = jax.eval_shape(env("primitive").attempt_task, jax.random.key(0))
        admitted = jax.eval_shape(env("primitive").admits, task)
    assert [(x.shape, x.dtype) for x in (fits, admitted)] == [((), bool)] * 2
