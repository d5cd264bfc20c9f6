"""What rules do in physics: against the same rules by name, and against where things are afterwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals, rules
from palaestra.envs.env import Rearrange
from palaestra.envs.mechanics import mechanics
from palaestra.envs.names import entities, facts
from palaestra.envs.types import OPEN, PREDICATES, PRESSED, Task, button_entity, leaf_entity, num_entities
from palaestra.sim.world import BUTTON_TRAVEL, LEAF_OPEN
from tests.envs.houses import SPEC, house
from tests.envs.worlds import env, one, tasks

OBJECTS = ("small_red_cube", "large_red_cube", "blue_cube", "yellow_ball")
DOOR, BUTTON = leaf_entity(SPEC, 0), button_entity(SPEC, 0)


@pytest.fixture(scope="module")
def arena():
    return Rearrange(SPEC)


@pytest.fixture(scope="module")
def begun(arena):
    """The house made by hand, with a goal that is far off."""
    scene = jax.tree.map(jnp.asarray, house())
    said = goals.Formula.of([("inside", "large_red_cube", "green_bin")])
    task = Task(scene=scene, goal=goals.write(said, SPEC, house()))
    return jax.jit(arena.reset)(jax.random.key(0), task)[0]


@pytest.fixture(scope="module")
def wait(arena):
    """So many control steps in which the robot stands still."""
    step = jax.jit(arena.step)

    def wait(state, steps):
        for _ in range(steps):
            state, _ = step(state, jnp.zeros(5))
        return state

    return wait


def moved(arena, state, **where):
    """The state with objects (by name) at other places [3], or the button (`button=`) pushed down."""
    qpos, names = np.array(state.physics.qpos), {e.name: e.index for e in entities(SPEC, house())}
    for name, at in where.items():
        if name == "button":
            qpos[-SPEC.buttons] = at
        else:
            first = 6 + 7 * (names[name] - 1)
            qpos[first : first + 3] = at
    physics = arena.engine.at(jnp.asarray(qpos), jnp.zeros(arena.world.model.nv), state.physics.parameters)
    return state.replace(physics=physics)


def table(arena, state):
    return np.asarray(jax.jit(arena.perceive)(state)[1])


def test_a_pressed_button_stays_down_and_opens_its_door_for_good(arena, begun, wait):
    assert not table(arena, wait(begun, 5))[OPEN, DOOR, DOOR]
    pushed = moved(arena, begun, button=-0.012)
    held = pushed.replace(ctrl=pushed.ctrl.at[-SPEC.buttons].set(-0.012))  # as by a hand, for one step
    state = wait(held, 60)
    angle, up = arena.world.mechanism_q(state.physics.qpos)
    np.testing.assert_allclose(angle, [LEAF_OPEN], atol=0.02)
    np.testing.assert_allclose(up, [-BUTTON_TRAVEL, 0.0], atol=2e-3)
    seen = table(arena, state)
    assert seen[OPEN, DOOR, DOOR]
    assert seen[PRESSED, BUTTON, BUTTON]
    released = wait(moved(arena, state, button=0.0), 40)  # by force: the rule lasts
    assert table(arena, released)[OPEN, DOOR, DOOR]


def test_two_objects_on_their_tables_turn_into_the_third_and_nothing_else_changes(arena, begun, wait):
    scene = house()
    blue, green = (np.asarray(scene.layout.fixture_pos)[SPEC.walls + i] for i in (0, 1))
    cube, ball = [*blue[:2], 2 * blue[2] + 0.025], [*green[:2], 2 * green[2] + 0.025]
    placed = moved(arena, begun, small_red_cube=cube, yellow_ball=ball)
    half = wait(moved(arena, begun, small_red_cube=cube), 3)
    assert np.asarray(half.task.scene.layout.object_used).tolist() == [True, False, True, True], "one of two is not enough"
    state = wait(placed, 3)
    there = dict(zip(OBJECTS, np.asarray(state.task.scene.layout.object_used).tolist(), strict=True))
    assert there == {"small_red_cube": False, "large_red_cube": True, "blue_cube": True, "yellow_ball": False}
    later = wait(state, 30)
    position, _ = arena.world.object_pose(later.physics.qpos)
    half_size = float(np.asarray(scene.layout.object_half)[1])
    np.testing.assert_allclose(position[1], [*green[:2], 2 * green[2] + half_size], atol=5e-3)
    before, _ = arena.world.object_pose(placed.physics.qpos)
    np.testing.assert_allclose(position[2], before[2], atol=2e-3)  # the blue cube lies where it lay
    np.testing.assert_array_less(50.0, np.linalg.norm(position[np.array([0, 3]), :2], axis=-1))
    assert not np.asarray(later.physics.diverged)
    known = facts(entities(SPEC, house()), table(arena, later))
    assert ("on", "large_red_cube", "green_table") in known
    assert not any("yellow_ball" in fact for fact in known)


def test_a_dead_end_takes_what_is_put_there(arena, begun, wait):
    green = np.asarray(house().layout.fixture_pos)[SPEC.walls + 1]
    state = wait(moved(arena, begun, blue_cube=[*green[:2], 2 * green[2] + 0.025]), 3)
    assert np.asarray(state.task.scene.layout.object_used).tolist() == [True, False, False, True]


def test_a_door_held_open_by_a_weight_shuts_without_it():
    """In the first generated house that has such a door."""
    e, batch = env("doors"), tasks("doors", count=64)
    number = next(i for i in range(64) if (batch.scene.rules.used & ~batch.scene.rules.lasting)[i].any())
    task, spec = one(batch, number), e.world.spec
    row = int(np.flatnonzero(task.scene.rules.used & ~task.scene.rules.lasting)[0])
    leaf = int(task.scene.rules.opens[row])
    plate = np.asarray(task.scene.layout.fixture_pos)[spec.walls + spec.tables - 1]
    state, _ = jax.jit(e.reset)(jax.random.key(0), task)
    step, which = jax.jit(e.step), int(np.flatnonzero(task.scene.layout.object_used)[0])

    def put(state, at):
        first = 6 + 7 * which
        qpos = state.physics.qpos.at[first : first + 3].set(jnp.asarray(at, jnp.float32))
        return state.replace(physics=e.engine.at(qpos, jnp.zeros(e.world.model.nv), state.physics.parameters))

    def angles(state):
        found = []
        for _ in range(60):
            state, _ = step(state, jnp.zeros(5))
            found.append(float(e.world.mechanism_q(state.physics.qpos)[0][leaf]))
        return state, found

    away = np.asarray(task.scene.layout.object_pos)[which]
    half = float(task.scene.layout.object_half[which])
    state, opening = angles(put(state, [*plate[:2], 2 * plate[2] + half]))
    assert opening[0] < 0.2
    np.testing.assert_allclose(opening[-1], LEAF_OPEN, atol=0.02)
    _, shutting = angles(put(state, away))
    np.testing.assert_allclose(shutting[-1], 0.0, atol=0.02)


@pytest.mark.parametrize("name", ["doors", "rules-high"])
def test_conditions_are_those_of_the_rules_by_name(name):
    """Over truth tables at random, with the facts of conditions often among them."""
    e, batch, rng = env(name), tasks(name, count=64), np.random.default_rng(0)
    spec, fired = e.world.spec, 0
    judge = jax.jit(rules.conditions)
    for i in range(64):
        scene = one(batch, i).scene
        things, known = entities(spec, scene), mechanics(spec, scene)
        index = {t.name: t.index for t in things}
        truth = np.zeros((len(PREDICATES), num_entities(spec), num_entities(spec)), bool)
        for rule in known.rules:
            for predicate, subject, target in rule.condition:
                truth[PREDICATES.index(predicate), index[subject], index[target]] = rng.random() < 0.6
        now = facts(things, truth)
        expected = [set(rule.condition) <= now for rule in known.rules]
        got = np.asarray(judge(scene.rules, truth))
        assert got[np.asarray(scene.rules.used)].tolist() == expected
        assert not got[~np.asarray(scene.rules.used)].any()
        fired += sum(expected)
    assert fired > 20
