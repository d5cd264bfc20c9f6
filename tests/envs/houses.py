"""A house made by hand with a door, buttons, a plate and rules.

The kitchen, in the west, with the robot, the blue table, the red plate, the blue button, a small red cube west of the blue table
and a blue cube south of it; the study, in the east, with the green table, the green bin, the green button and the yellow ball; the
green door between them. A large red cube can be made.
"""

import numpy as np

from palaestra.envs.mechanics import Rule
from palaestra.envs.types import COLOURS, ON, PRESSED, ROOMS, Rules, Scene, button_entity
from palaestra.sim.world import DENSITY, Layout, WorldSpec, parked_fixture, parked_object

SPEC = WorldSpec(cubes=3, balls=1, tables=3, plates=1, bins=1, rooms=2, leaves=1, buttons=2, rules=3)
RULES = (
    Rule((("pressed", "blue_button", "blue_button"),), opens="green_door"),
    Rule(
        (("on", "small_red_cube", "blue_table"), ("on", "yellow_ball", "green_table")),
        consumes=("small_red_cube", "yellow_ball"),
        product="large_red_cube",
    ),
    Rule((("on", "blue_cube", "green_table"),), consumes=("blue_cube",)),
)


def house() -> Scene:
    fixtures = np.stack([parked_fixture(i) for i in range(SPEC.fixtures)])
    half = np.full((SPEC.fixtures, 3), 0.1, np.float32)
    fixtures[SPEC.walls :] = [(1.5, 1.5, 0.1), (4.0, 1.0, 0.1), (1.0, 2.6, 0.0), (4.0, 2.5, 0.0)]
    half[SPEC.walls :] = 0.15, 0.15, 0.1
    large, button = parked_object(1), button_entity(SPEC, 0)
    pair, yes, no = np.zeros((3, 2), np.int32), np.array([[True, False], [True, True], [True, False]]), np.zeros(3, bool)
    table = 1 + SPEC.objects
    return Scene(
        layout=Layout(
            fixture_pos=fixtures.astype(np.float32),
            fixture_half=half,
            object_half=np.array([0.025, 0.034, 0.025, 0.025], np.float32),
            object_density=np.full(4, DENSITY, np.float32),
            object_friction=np.ones(4, np.float32),
            object_pos=np.array([(0.7, 1.5, 0.025), large, (1.5, 0.7, 0.025), (3.5, 0.5, 0.025)], np.float32),
            object_yaw=np.zeros(4, np.float32),
            object_used=np.array([True, False, True, True]),
            robot_q=np.array([2.5, 1.0, 0, 0.1, 0, 0], np.float32),
            leaf_pos=np.array([(3.0, 1.0)], np.float32),
            leaf_quat=np.array([(0, np.sqrt(0.5), np.sqrt(0.5), 0)], np.float32),  # across the doorway, opens into the study
            leaf_angle=np.zeros(1, np.float32),
            button_pos=np.array([(2.6, 2.6), (5.0, 0.5)], np.float32),
        ),
        room=np.array([(0, 0, 3, 3), (3, 0, 6, 3)], np.float32),
        room_used=np.ones(2, bool),
        room_name=np.array([ROOMS.index(name) for name in ("kitchen", "study")], np.int32),
        door=np.array([(3.0, 1.5)] * SPEC.doors, np.float32),
        door_along_x=np.ones(SPEC.doors, bool),
        door_width=np.ones(SPEC.doors, np.float32),
        door_rooms=np.array([(0, 1)] * SPEC.doors, np.int32),
        door_used=np.arange(SPEC.doors) == 0,
        fixture_used=np.ones(SPEC.fixtures, bool),
        receptacle_colour=np.array([COLOURS.index(name) for name in ("blue", "green", "red", "green")], np.int32),
        object_colour=np.array([COLOURS.index(name) for name in ("red", "red", "blue", "yellow")], np.int32),
        leaf_doorway=np.zeros(1, np.int32),
        leaf_used=np.ones(1, bool),
        leaf_colour=np.array([COLOURS.index("green")], np.int32),
        button_used=np.ones(2, bool),
        button_colour=np.array([COLOURS.index("blue"), COLOURS.index("green")], np.int32),
        rules=Rules(
            predicate=np.array([(PRESSED, 0), (ON, ON), (ON, 0)], np.int32),
            subject=pair + np.array([(button, 0), (1, 4), (3, 0)], np.int32),
            target=pair + np.array([(button, 0), (table, table + 1), (table + 1, 0)], np.int32),
            needed=yes,
            opens=np.array([0, -1, -1], np.int32),
            lasting=no | np.array([True, False, False]),
            consumes=np.array([(-1, -1), (0, 3), (2, -1)], np.int32),
            product=np.array([-1, 1, -1], np.int32),
            used=np.ones(3, bool),
        ),
    )
