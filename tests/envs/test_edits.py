"""Edited tasks keep what the generator's tests ask of generated ones, and change one thing at a time."""

import functools

import jax
import numpy as np
import pytest

from palaestra.envs import goals, names
from palaestra.skills.planners import Problem, planner
from tests.envs import test_generator as rules
from tests.envs.worlds import env, one, tables, tasks


@functools.cache
def edited(name="rearrange", edits=8):
    """The shared tasks after so many edits, on the host."""
    e = env(name)  # not made while tracing: it would keep tracers

    def several(key, task):
        return jax.lax.scan(lambda task, key: (e.edit(key, task), None), task, jax.random.split(key, edits))[0]

    return jax.device_get(jax.jit(jax.vmap(several))(jax.random.split(jax.random.key(3), 256), tasks(name)))


@pytest.fixture
def generated():
    return env().world.spec, edited()


test_nothing_overlaps = rules.test_nothing_overlaps
test_the_robot_can_drive_up_to_everything = rules.test_the_robot_can_drive_up_to_everything
test_the_arm_is_not_in_a_wall = rules.test_the_arm_is_not_in_a_wall
test_names_are_unique_in_every_scene = rules.test_names_are_unique_in_every_scene


def test_the_oracle_proves_every_edited_task_solvable():
    e, batch, oracle = env(), edited(), planner("oracle")
    table = tables(e.world.spec, batch.scene)
    for i in range(256):
        things = names.entities(e.world.spec, one(batch.scene, i))
        now, goal = names.facts(things, table[i]), goals.formula(e.world.spec, one(batch, i))
        assert goal.onward(0, now) == 0, "a task must not be solved already"
        assert oracle.plan(Problem("", things, now, goal)).steps


def test_an_edit_changes_one_thing_and_several_change_most():
    before, after = tasks(), edited(edits=1)

    def changed(x, y):
        return (x != y).reshape(256, -1).any(1)

    a, b = before.scene.layout, after.scene.layout
    robot = changed(a.robot_q, b.robot_q)
    looks = changed(before.scene.object_colour, after.scene.object_colour) | changed(a.object_half, b.object_half)
    moved = changed(a.object_pos[..., :2], b.object_pos[..., :2])
    goal = changed(before.goal.targets, after.goal.targets) | changed(before.goal.subjects, after.goal.subjects)
    kinds = np.stack([robot, looks, moved, goal])
    assert kinds.sum(0).max() == 1
    assert (kinds.mean(1) > 0.1).all(), kinds.mean(1)
    for name in ("room", "door", "fixture_used", "receptacle_colour", "room_name"):
        np.testing.assert_array_equal(getattr(before.scene, name), getattr(after.scene, name))
    np.testing.assert_array_equal(a.fixture_pos, b.fixture_pos)
    assert changed(a.robot_q, edited().scene.layout.robot_q).mean() > 0.8
