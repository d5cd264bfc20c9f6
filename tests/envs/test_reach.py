"""What the robot can drive up to: in generated houses everything, behind a table in the doorway nothing."""

import numpy as np

from palaestra.envs.generation.reach import out_of_reach
from palaestra.envs.house import room_of
from palaestra.envs.names import entities
from tests.envs.worlds import NINE, env, large_tasks, one, tasks

SPEC = env().world.spec


def across(scene, door: int, half: float):
    """The scene with its first table in the middle of a doorway, so many metres to each side."""
    pos, halves = scene.layout.fixture_pos.copy(), scene.layout.fixture_half.copy()
    pos[SPEC.walls, :2], halves[SPEC.walls, :2] = scene.door[door], half
    return scene.replace(layout=scene.layout.replace(fixture_pos=pos, fixture_half=halves))


def test_generated_houses_can_be_driven_through():
    for i in range(40):
        assert out_of_reach(SPEC, one(tasks(), i).scene) == []
    for i in range(0, 60, 6):
        assert out_of_reach(NINE, one(large_tasks(), i).scene) == []


def test_a_table_across_the_only_door_cuts_off_the_other_room():
    scene = next(s for s in (one(tasks(), i).scene for i in range(256)) if s.room_used.sum() == 2 and s.door_used.sum() == 1)
    (door,) = np.flatnonzero(scene.door_used)
    first_room, table = 1 + SPEC.objects + SPEC.receptacles, 1 + SPEC.objects
    at = np.concatenate([scene.layout.object_pos[:, :2], scene.layout.fixture_pos[SPEC.walls :, :2]])
    (robot, *rooms) = room_of(scene, np.concatenate([scene.layout.robot_q[None, :2], at]))
    there = [e.index for e in entities(SPEC, scene)[1:] if e.index < first_room and rooms[e.index - 1] != robot and e.index != table]
    width = float(scene.door_width[door]) / 2
    shut = set(out_of_reach(SPEC, across(scene, door, width - 0.10)))  # the robot's radius is 0.12 m
    assert shut - {table} == {*there, first_room + 1 - int(robot)}
    assert out_of_reach(SPEC, across(scene, door, width - 0.32)) == []


def test_where_the_robot_stands_in_something_it_starts_beside_it():
    scene = one(tasks(), 0).scene
    q = scene.layout.robot_q.copy()
    q[:2] = scene.layout.fixture_pos[SPEC.walls, :2]
    assert out_of_reach(SPEC, scene.replace(layout=scene.layout.replace(robot_q=q))) == []
