"""Generated houses against an independent reading of the rules: grids, boxes and physics instead of the generator's own code."""

import hashlib
import subprocess
import sys
import textwrap
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals, names, tasksets
from palaestra.envs.generation import generator
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.types import HOLDING, IN_ROOM, INSIDE, NEAR, ON, ROOMS
from palaestra.envs.words import parser
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import WorldSpec, world
from palaestra.skills.planners import Problem, planner
from tests.envs.worlds import NINE, env, large_tasks, one, tables, tasks

CELL = 0.05


@pytest.fixture(params=[4, 9], ids=lambda rooms: f"{rooms} rooms")
def generated(request):
    """A world's spec and tasks in it."""
    return (env().world.spec, tasks()) if request.param == 4 else (NINE, large_tasks())


def solid_boxes(spec, scene):
    """(centre, half) in the plane of all fixtures in use."""
    lay = scene.layout
    return [(lay.fixture_pos[i, :2], lay.fixture_half[i, :2]) for i in range(spec.fixtures) if scene.fixture_used[i]]


def free_cells(spec, scene, clearance):
    """A grid over the house: which cells a disc of this radius may be centred in."""
    axis = np.arange(-5.0, 5.0, CELL) + CELL / 2
    x, y = np.meshgrid(axis, axis, indexing="ij")
    points = np.stack([x, y], -1)
    free = np.ones(x.shape, bool)
    for centre, half in solid_boxes(spec, scene):
        gap = np.maximum(np.abs(points - centre) - half, 0)
        free &= np.linalg.norm(gap, axis=-1) > clearance
    return axis, free


def flood(axis, free, start):
    cell = tuple(np.argmin(np.abs(axis - c)) for c in start)
    seen = np.zeros_like(free)
    queue = deque([cell])
    seen[cell] = True
    while queue:
        i, j = queue.popleft()
        for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= a < len(axis) and 0 <= b < len(axis) and free[a, b] and not seen[a, b]:
                seen[a, b] = True
                queue.append((a, b))
    return seen


def test_nothing_overlaps(generated):
    spec, batch = generated
    for i in range(len(batch.goal.used)):
        scene = one(batch.scene, i)
        lay = scene.layout
        recep = list(range(spec.walls, spec.fixtures))
        for a in recep:
            for b in range(spec.fixtures):
                if a == b or not scene.fixture_used[b] or (b in recep and b < a):
                    continue
                gap = np.abs(lay.fixture_pos[a, :2] - lay.fixture_pos[b, :2]) - lay.fixture_half[a, :2] - lay.fixture_half[b, :2]
                assert gap.max() > 0.0, (i, a, b)
        used = np.flatnonzero(lay.object_used)
        for o in used:
            on_floor = lay.object_pos[o, 2] < 0.05
            for centre, half in solid_boxes(spec, scene):
                gap = np.abs(lay.object_pos[o, :2] - centre) - half
                assert not on_floor or gap.max() > lay.object_half[o], (i, o)
            for p in used:
                if p != o:
                    assert np.linalg.norm(lay.object_pos[o] - lay.object_pos[p]) > 0.15, (i, o, p)


def test_the_robot_can_drive_up_to_everything(generated):
    """Flood fill of a grid, for a disc of the base's radius: every room, and within 0.6 m of every thing."""
    spec, batch = generated
    for i in range(min(96, len(batch.goal.used))):
        scene = one(batch.scene, i)
        lay = scene.layout
        axis, free = free_cells(spec, scene, env().world.body.base_radius + 0.02)
        seen = flood(axis, free, lay.robot_q[:2])
        x, y = np.meshgrid(axis, axis, indexing="ij")
        points = np.stack([x, y], -1)[seen]
        for r in np.flatnonzero(scene.room_used):
            low, high = scene.room[r, :2], scene.room[r, 2:]
            assert ((points > low + 0.35) & (points < high - 0.35)).all(-1).any(), (i, "room", r)
        targets = [(lay.object_pos[o, :2], np.zeros(2)) for o in np.flatnonzero(lay.object_used)]
        targets += [(lay.fixture_pos[j, :2], lay.fixture_half[j, :2]) for j in range(spec.walls, spec.fixtures)]
        for centre, half in targets:
            gap = np.linalg.norm(np.maximum(np.abs(points - centre) - half, 0), axis=-1)
            assert gap.min() < 0.6, (i, centre)


def test_the_arm_is_not_in_a_wall(generated):
    spec, batch = generated
    for i in range(len(batch.goal.used)):
        scene = one(batch.scene, i)
        x, y, yaw = scene.layout.robot_q[:3]
        for along in (0.12, 0.25, 0.4, 0.435):
            for across in (-0.075, 0.0, 0.075) if along > 0.35 else (0.0,):
                at = np.array([x + along * np.cos(yaw) - across * np.sin(yaw), y + along * np.sin(yaw) + across * np.cos(yaw)])
                gap = np.abs(at - scene.layout.fixture_pos[: spec.walls, :2]) - scene.layout.fixture_half[: spec.walls, :2]
                assert (gap.max(-1) > 0.01)[scene.fixture_used[: spec.walls]].all(), (i, along)


def test_scenes_settle_without_motion():
    e = env()
    batch = tasks()
    state, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), 256), batch)
    step = jax.jit(jax.vmap(e.step))
    start = np.asarray(state.physics.qpos)
    for _ in range(20):
        state, _ = step(state, jnp.zeros((256, e.action_size)))
    moved = np.abs(np.asarray(state.physics.qpos) - start)
    used = np.repeat(batch.scene.layout.object_used, 7, axis=1)
    assert moved[:, 6:][used].max() < 3e-3
    assert not np.asarray(state.physics.diverged).any()


def test_rooms_counts_and_variety():
    batch = tasks()
    rooms = batch.scene.room_used.sum(1)
    assert set(rooms) == {1, 2, 3, 4}
    assert set(batch.goal.used.sum(1)) == {1, 2, 3}
    assert set(batch.goal.predicate[batch.goal.used]) == {NEAR, HOLDING, ON, INSIDE, IN_ROOM}
    assert len(np.unique(batch.scene.layout.robot_q[:, :2], axis=0)) == 256


def test_every_set_gives_as_many_goals_as_it_says():
    for name in ("rearrange-4", "demo"):
        made, says = tasks(name, "train", 64), tasksets.task_set(name)
        counts = made.goal.used.sum(1)
        assert says.min_goals <= counts.min()
        assert counts.max() <= says.max_goals


def mark(batch) -> str:
    """A hash of every bit of the tasks."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(leaf).tobytes() for leaf in jax.tree.leaves(batch))).hexdigest()


@pytest.mark.parametrize("name", ["rearrange", "language", "layouts", "rules-high"])
def test_tasks_are_the_same_to_the_bit_at_any_batch_size(name):
    e, keys = env(name), jax.random.split(jax.random.key(7), 256)
    small = jax.device_get(jax.jit(e.sample_tasks)(keys[:3]))
    assert mark(small) == mark(jax.tree.map(lambda x: x[:3], tasks(name)))
    alone = jax.device_get(jax.jit(e.sample_task)(keys[5]))
    assert mark(alone) == mark(one(tasks(name), 5))


@pytest.mark.parametrize("name", ["rearrange", "rules-high"])
def test_tasks_are_the_same_to_the_bit_in_another_process_and_on_another_engine(name):
    program = f"""
        import jax
        from palaestra.envs.tasksets import TaskSetEnv, task_set
        from palaestra.sim.mjx import MjxEngine
        from palaestra.sim.world import world
        from tests.envs.test_generator import mark
        e = TaskSetEnv("{name}", engine=MjxEngine(world(task_set("{name}").spec)))
        print(mark(jax.device_get(jax.jit(e.sample_tasks)(jax.random.split(jax.random.key(7), 256)))))
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert told.stdout.split()[-1] == mark(tasks(name))


def test_names_are_unique_in_every_scene(generated):
    spec, batch = generated
    for i in range(len(batch.goal.used)):
        found = [t.name for t in names.entities(spec, one(batch.scene, i))]
        assert len(found) == len(set(found))


def test_a_world_of_nine_rooms_has_every_number_of_rooms_and_a_name_for_each():
    spec = WorldSpec(cubes=1, balls=0, tables=0, bins=1, rooms=9)
    sample = jax.jit(jax.vmap(lambda key: generator.sample_scene(key, world(spec), generator.SceneRange.make(spec))))
    scenes = jax.device_get(sample(jax.random.split(jax.random.key(0), 128)))
    assert set(scenes.room_used.sum(1)) == set(range(1, 10))
    assert all(len(set(row)) == 9 for row in scenes.room_name.tolist())
    assert set(scenes.room_name.ravel()) == set(range(len(ROOMS)))


def test_colours_kept_for_the_test_split_occur_in_it_alone():
    def pairs(split):
        batch, spec = tasks("rearrange", split), env().world.spec
        kind = np.arange(spec.objects) >= spec.cubes
        used = batch.scene.layout.object_used
        kinds = np.broadcast_to(kind, used.shape)[used]
        return set(zip(kinds.tolist(), batch.scene.object_colour[used].tolist(), strict=True))

    train, test = pairs("train"), pairs("test")
    assert len(train) == 8
    assert len(test) == 12
    assert train < test


@pytest.mark.parametrize("name", ["rearrange", "long-5"])
def test_larger_houses_have_more_of_everything_but_kinds_of_things(name):
    usual, large = (_plans(name, split) for split in ("train", "larger"))
    batch, spec = tasks(name, "larger", 64), env(name, "larger").world.spec
    assert set(batch.scene.room_used.sum(-1).tolist()) == {5, 6}
    assert not overlaps(spec, batch.scene).any()
    assert np.mean(large) > 1.3 * np.mean(usual)
    colours = env(name, "train").ranges.colours
    for kind, slots in enumerate((slice(0, spec.cubes), slice(spec.cubes, spec.objects))):
        found = batch.scene.object_colour[:, slots][batch.scene.layout.object_used[:, slots]]
        assert set(found.tolist()) == set(np.flatnonzero(colours[kind]).tolist()), "colours are those of training"


def _plans(name, split):
    """The lengths of the oracle's plans for 64 tasks, each of which is solved, and said and read back."""
    batch, spec = tasks(name, split, 64), env(name, split).world.spec
    table, found = tables(spec, batch.scene), []
    for i in range(64):
        task = one(batch, i)
        things, goal = names.entities(spec, task.scene), goals.formula(spec, task)
        found.append(len(planner("oracle").plan(Problem("", things, names.facts(things, table[i]), goal)).steps))
        read = parser.parse(env(name, split).instruction(task, i), spec, task.scene)
        assert goals.formula(spec, task.replace(goal=read)) == goal
    return found


def test_the_oracle_proves_every_task_solvable():
    e, batch = env(), tasks()
    oracle = planner("oracle")
    table = tables(e.world.spec, batch.scene)
    lengths = []
    for i in range(256):
        things = names.entities(e.world.spec, one(batch.scene, i))
        now = names.facts(things, table[i])
        goal = goals.formula(e.world.spec, one(batch, i))
        assert goal.onward(0, now) == 0, "a task must not be solved already"
        lengths.append(len(oracle.plan(Problem("", things, now, goal)).steps))
    assert min(lengths) >= 1
    assert max(lengths) >= 8


def test_unknown_sets_and_splits_name_the_valid_ones():
    with pytest.raises(UnknownNameError, match=r"unknown task set 'rearange'.*rearrange-1.*Did you mean 'rearrange'"):
        tasksets.task_set("rearange")
    with pytest.raises(UnknownNameError, match=r"unknown split 'dev'.*larger, test, train, validation"):
        tasksets.TaskSetEnv("rearrange", "dev")
    with pytest.raises(UnknownNameError, match=r"unknown split 'dev'; expected one of: test, train, validation"):
        tasksets.TaskSetEnv("primitive", "dev")
    with pytest.raises(PalaestraError, match=r"got 'larger', expected one of: train, validation, test. Fix: a set that has it: rearrange"):
        tasksets.TaskSetEnv("primitive", "larger")


def test_what_is_drawn_until_it_is_good_is_traced_once():
    """Tracing a task takes as long as compiling many a program; by hand: the first of a key's stream that is above a half."""
    traced = []

    def draw(key):
        traced.append(key)
        value = jax.random.uniform(key)
        return value, value > 0.5

    def by_hand(key):
        while True:
            key, k_try = jax.random.split(key)
            if (value := float(jax.random.uniform(k_try))) > 0.5:
                return value

    keys = jax.random.split(jax.random.key(0), 4)
    want = np.float32([by_hand(key) for key in keys])
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda key: generator.draw_until(key, draw)))(keys), want)
    np.testing.assert_array_equal(jax.jit(lambda keys: generator.draw_batch(keys, draw, chunk=3))(keys), want)
    assert len(traced) == 1
