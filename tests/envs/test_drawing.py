"""Doors, buttons, plates and rules in frames from above: what is drawn where, and that nothing is drawn of what is not there."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals
from palaestra.envs.display import render
from palaestra.envs.display.drawing import Plan
from palaestra.envs.display.signs import RUIN
from palaestra.envs.mechanics import mechanics
from palaestra.envs.types import COLOURS, HOLDING, IN_ROOM, INSIDE, NEAR, ON, PRESSED, ROOMS, Rules, Scene
from palaestra.sim.engine import PhysicsState
from palaestra.sim.world import (
    BUTTON_HALF,
    BUTTON_TRAVEL,
    DENSITY,
    LEAF_LENGTH,
    LEAF_OPEN,
    Layout,
    WorldSpec,
    parked_fixture,
    parked_mechanism,
    parked_object,
    world,
)
from tests.envs.test_render import near_colour

SPEC = WorldSpec(cubes=2, balls=1, tables=2, plates=1, bins=1, rooms=3, leaves=2, buttons=2, rules=8)
RED, GREEN, BLUE, YELLOW, PURPLE, ORANGE = (COLOURS.index(c) for c in ("red", "green", "blue", "yellow", "purple", "orange"))
CUBE, OTHER, BALL, TABLE, PLATE, BIN, DOOR, _, BUTTON, _, KITCHEN, STUDY = range(1, 13)  # entities
HINGE, POST, PAD = np.array([0.0, -LEAF_LENGTH / 2]), np.array([1.5, 0.8]), np.array([-1.0, 0.9])


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two rooms of 3 x 3 m side by side, a green door between them that opens to the left; a yellow button at the right, a purple
    plate at the left. A second door and a second button are not in use, and wait for it inside the house."""
    spare = SPEC.walls - 6
    walls = [(0, -1.5, 3, 0), (0, 1.5, 3, 0), (-3, 0, 0, 1.5), (3, 0, 0, 1.5), (0, -1.0, 0, 0.46), (0, 1.0, 0, 0.46)]
    pos = [[x, y, 0.25] for x, y, _, _ in walls] + [parked_fixture(i) for i in range(spare)]
    pos += [[-2.3, 0.9, 0.08], [*PAD, 0.08], [2.3, -0.9, 0.0]]
    half = (
        [[a + 0.05, b + 0.05, 0.25] for _, _, a, b in walls]
        + [[0.1] * 3] * spare
        + [[0.16, 0.16, 0.08], [0.16, 0.16, 0.08], [0.15, 0.15, 0.15]]
    )
    layout = Layout(
        fixture_pos=np.array(pos, np.float32),
        fixture_half=np.array(half, np.float32),
        object_half=np.full(3, 0.03, np.float32),
        object_density=np.full(3, DENSITY, np.float32),
        object_friction=np.ones(3, np.float32),
        object_pos=np.array([[1.0, -1.0, 0.03], [-1.0, -1.0, 0.03], parked_object(2)], np.float32),
        object_yaw=np.zeros(3, np.float32),
        object_used=np.array([True, True, False]),
        robot_q=np.array([-2.0, -0.5, 0.0, 0.1, 0.0, 0.0], np.float32),
        leaf_pos=np.array([HINGE, [1.0, 1.0]], np.float32),
        leaf_quat=np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)], [1, 0, 0, 0]], np.float32),
        leaf_angle=np.zeros(2, np.float32),
        button_pos=np.array([POST, [1.5, 0.2]], np.float32),
    )
    return Scene(
        layout=layout,
        room=np.array([[-3, -1.5, 0, 1.5], [0, -1.5, 3, 1.5], [0, 0, 0, 0]], np.float32),
        room_used=np.array([True, True, False]),
        room_name=np.array([ROOMS.index("kitchen"), ROOMS.index("study"), 0]),
        door=np.zeros((SPEC.doors, 2), np.float32),
        door_along_x=np.ones(SPEC.doors, bool),
        door_width=np.full(SPEC.doors, 0.96, np.float32),
        door_rooms=np.tile(np.array([0, 1], np.int32), (SPEC.doors, 1)),
        door_used=np.arange(SPEC.doors) == 0,
        fixture_used=(np.arange(SPEC.fixtures) < 6) | (np.arange(SPEC.fixtures) >= SPEC.walls),
        receptacle_colour=np.array([BLUE, PURPLE, ORANGE]),
        object_colour=np.array([RED, BLUE, ORANGE]),
        leaf_doorway=np.array([0, 1]),
        leaf_used=np.array([True, False]),
        leaf_colour=np.array([GREEN, RED]),
        button_used=np.array([True, False]),
        button_colour=np.array([YELLOW, RED]),
        rules=jax.tree.map(np.asarray, Rules.none(SPEC.rules)),
    )


@pytest.fixture(scope="module")
def pictures() -> render.TopDown:
    return render.TopDown(world(SPEC))


def state(scene: Scene, *, angle: float = 0.0, up: float = 0.0, cube: tuple[float, ...] | None = None) -> PhysicsState:
    """The scene's start, with the first leaf, the first button or the red cube moved."""
    qpos, mechanisms = np.array(world(SPEC).initial_qpos(scene.layout)), world(SPEC).model.nq - SPEC.mechanisms
    qpos[mechanisms], qpos[mechanisms + SPEC.leaves] = angle, up
    if cube is not None:
        qpos[6:9] = cube
    zero = np.zeros(0, np.float32)
    return PhysicsState(
        bits=zero, parameters=zero, qpos=qpos, qvel=zero, outputs={}, diverged=np.asarray(False), overflow=np.asarray(False)
    )


def at(pictures: render.TopDown, scene: Scene, frame: np.ndarray, points: object) -> np.ndarray:
    """The colours at points [..., 2] m."""
    column, row = np.moveaxis(pictures.locate(scene, points).astype(int), -1, 0)
    return frame[row, column]


def rules(*rows: dict) -> Rules:
    """Rules of facts and effects; the rest of the eight is not in use."""
    filled: Rules = jax.tree.map(np.array, Rules.none(SPEC.rules))
    for k, row in enumerate(rows):
        filled.used[k] = True
        for i, (predicate, subject, target) in enumerate(row["facts"]):
            filled.predicate[k, i], filled.subject[k, i], filled.target[k, i], filled.needed[k, i] = predicate, subject, target, True
        for i, thing in enumerate(row.get("consumes", ())):
            filled.consumes[k, i] = thing - 1
        filled.product[k], filled.opens[k] = row.get("product", 0) - 1, row.get("opens", -1)
        filled.lasting[k] = row.get("lasting", False)
    return filled


PRESS = {"facts": [(PRESSED, BUTTON, BUTTON)], "opens": 0, "lasting": True}
WEIGHT = {"facts": [(PRESSED, PLATE, PLATE)], "opens": 0}
KEY = {"facts": [(HOLDING, 0, CUBE), (NEAR, 0, DOOR)], "opens": 0, "lasting": True}
MAKE = {"facts": [(ON, CUBE, TABLE), (INSIDE, OTHER, BIN)], "consumes": [CUBE, OTHER], "product": BALL}
RUINS = {"facts": [(ON, CUBE, TABLE)], "consumes": [CUBE]}


# --- doors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 0.7, LEAF_OPEN])
def test_leaf_is_drawn_at_its_angle(pictures: render.TopDown, scene: Scene, angle: float) -> None:
    """It hangs upwards from its hinge, and turns to the left."""
    frame = pictures.frame(scene, state(scene, angle=angle))
    for other in (0.0, 0.7, LEAF_OPEN):
        along = np.array([-np.sin(other), np.cos(other)])
        seen = near_colour(at(pictures, scene, frame, HINGE + np.array([[0.3], [0.5], [0.7]]) * along), render.PALETTE[GREEN], 25)
        assert seen.all() if other == angle else not seen.any()


def test_way_of_a_leaf_is_an_arc(pictures: render.TopDown, scene: Scene) -> None:
    turn = np.linspace(0.3, 1.3, 200)
    arc = HINGE + LEAF_LENGTH * np.stack([-np.sin(turn), np.cos(turn)], -1)
    bare = scene.replace(leaf_used=np.zeros(2, bool))
    drawn, plain = (at(pictures, s, pictures.frame(s, state(s)), arc) for s in (scene, bare))
    assert 0.3 < (drawn != plain).any(-1).mean() < 0.95  # dashed


@pytest.mark.parametrize("field", ["leaf", "button"])
def test_what_is_not_in_use_is_not_drawn(pictures: render.TopDown, scene: Scene, field: str) -> None:
    where = np.array(getattr(scene.layout, f"{field}_pos"))
    where[1] = parked_mechanism(1)
    away = scene.replace(layout=scene.layout.replace(**{f"{field}_pos": where}))
    assert (pictures.frame(scene, state(scene)) == pictures.frame(away, state(away))).all()


# --- buttons and plates -------------------------------------------------------------------------------------------


def test_pressed_button_has_a_sunk_cap_on_a_bright_post(pictures: render.TopDown, scene: Scene) -> None:
    yellow, rim = render.PALETTE[YELLOW], POST + 0.95 * BUTTON_HALF  # its upper right corner
    up, down = (pictures.frame(scene, state(scene, up=way)) for way in (0.0, -BUTTON_TRAVEL))
    assert near_colour(at(pictures, scene, up, POST), yellow, 40)
    assert near_colour(at(pictures, scene, up, rim), render.STEEL, 40)
    assert near_colour(at(pictures, scene, down, POST), render.mix(yellow, render.INK, 0.45), 25)
    assert at(pictures, scene, down, rim).astype(int).sum() > at(pictures, scene, up, rim).astype(int).sum() + 200


def test_plate_is_striped_and_a_table_is_not(pictures: render.TopDown, scene: Scene) -> None:
    frame = pictures.frame(scene, state(scene)).astype(int)
    across = np.linspace(-0.1, 0.1, 60)[:, None] * np.array([1.0, 0.0])
    plate, table = (np.ptp(at(pictures, scene, frame, middle + across), axis=0).max() for middle in (PAD, [-2.3, 0.9]))
    assert plate > 40
    assert table <= 3


def test_plate_shines_while_something_lies_on_it(pictures: render.TopDown, scene: Scene) -> None:
    beside = PAD + np.array([[0.18, 0.0], [0.0, 0.18], [-0.18, 0.0]])  # where the glow is
    glow = render.mix(render.PALETTE[PURPLE], (255, 255, 255), 0.3)
    for cube, lit in (((1.0, -1.0, 0.03), False), ((*PAD, 0.19), True), ((*PAD, 0.25), False), ((-2.3, 0.9, 0.19), False)):
        frame = pictures.frame(scene, state(scene, cube=cube))
        assert near_colour(at(pictures, scene, frame, beside), glow, 12).all() == lit


def test_doors_and_buttons_of_the_present_step_are_ringed(pictures: render.TopDown, scene: Scene) -> None:
    for step, middle in (("press(yellow_button)", POST), ("open(green_door)", np.zeros(2)), ("pick(orange_ball)", None)):
        plain, ringed = (
            near_colour(pictures.frame(scene, state(scene), plan=[step], current=i)[:, :640], render.ACCENT, 40) for i in (-1, 0)
        )
        rows, columns = np.nonzero(ringed & ~plain)
        if middle is None:  # not there yet
            assert len(rows) == 0
        else:
            assert np.abs([columns.mean(), rows.mean()] - pictures.locate(scene, middle)).max() < 3.0


# --- what comes and goes ------------------------------------------------------------------------------------------


def test_objects_are_drawn_as_long_as_they_are_there(scene: Scene) -> None:
    """A picture that has shown the start shows what rules have done since as a new one does."""
    pictures, made = render.TopDown(world(SPEC)), scene.replace(rules=rules(MAKE))
    later = made.replace(layout=made.layout.replace(object_used=np.array([False, False, True])))
    after = state(later)
    after.qpos[20:23] = [1.0, 1.0, 0.03]
    first, second = pictures.frame(made, state(made)), pictures.frame(later, after)
    for frame, red, orange in ((first, True, False), (second, False, True)):
        assert near_colour(at(pictures, scene, frame, (1.0, -1.0)), render.mix(render.PALETTE[RED], (255, 255, 255), 0.24), 40) == red
        assert near_colour(at(pictures, scene, frame, (1.015, 0.985)), render.PALETTE[ORANGE], 40) == orange
    assert (second == render.TopDown(world(SPEC)).frame(later, after)).all()
    assert Plan.of(SPEC, made).key == Plan.of(SPEC, later).key  # the house itself need not be drawn again


def test_things_keep_their_names_when_rules_take_them(pictures: render.TopDown, scene: Scene) -> None:
    """The first of two red cubes is called small, before and after the large one was lost; its goal is still listed."""
    twins = scene.replace(
        object_colour=np.array([RED, RED, ORANGE]),
        layout=scene.layout.replace(object_half=np.array([0.03, 0.04, 0.03], np.float32)),
        rules=rules({**RUINS, "consumes": [OTHER]}),
    )
    lost = twins.replace(layout=twins.layout.replace(object_used=np.array([True, False, False])))
    goal = goals.conjunction(SPEC, *(np.array(x) for x in ([INSIDE, INSIDE], [CUBE, OTHER], [BIN, BIN], [True, True])))
    for now in (twins, lost):
        terms = [term[1:] for term in goals.named_terms(SPEC, now, goal)]
        assert goals.phrases(terms) == ["small_red_cube in orange_bin", "large_red_cube in orange_bin"]
        assert mechanics(SPEC, now).rules[0].consumes == ("large_red_cube",)
        pictures.frame(now, state(now), goal=goal)


# --- rules --------------------------------------------------------------------------------------------------------


def words(pictures: render.TopDown, scene: Scene, *rows: dict, **more: object) -> np.ndarray:
    """The column of a frame with these rules."""
    now = scene.replace(rules=rules(*rows))
    return pictures.frame(now, state(now), **more)[: pictures.size // 2, pictures.size :]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "colours", "others"),
    [
        (PRESS, [YELLOW, GREEN], [RED, BLUE, PURPLE, ORANGE]),
        (WEIGHT, [PURPLE, GREEN], [RED, BLUE, YELLOW, ORANGE]),
        (KEY, [RED, GREEN], [BLUE, YELLOW, PURPLE, ORANGE]),
        (MAKE, [RED, BLUE, ORANGE], [GREEN, YELLOW, PURPLE]),
        (RUINS, [RED, BLUE], [GREEN, YELLOW, PURPLE, ORANGE]),
    ],
    ids=["button", "weight", "key", "product", "dead end"],
)
def test_rule_shows_its_things_in_their_colours(
    pictures: render.TopDown, scene: Scene, rule: dict, colours: list[int], others: list[int]
) -> None:
    column = words(pictures, scene, rule)
    seen = [near_colour(column, render.PALETTE[c], 4).sum() for c in range(len(COLOURS))]
    assert min(seen[c] for c in colours) >= 8
    assert max(seen[c] for c in others) == 0
    assert (near_colour(column, RUIN, 4).sum() > 30) == (rule is RUINS)


def test_rules_are_listed_only_where_there_are_any_and_they_are_shown(pictures: render.TopDown, scene: Scene) -> None:
    none = words(pictures, scene)
    assert (words(pictures, scene, PRESS, rules=False) == none).all()
    assert (words(pictures, scene, PRESS) != none).any()


@pytest.mark.parametrize("size", [480, 640])
def test_eight_rules_fit_beside_all_else(scene: Scene, size: int) -> None:
    """Margins and the gap between the columns stay free, even of rules that are much too long; the plan is still there."""
    long = {"facts": [(IN_ROOM, OTHER, KITCHEN), (IN_ROOM, 0, STUDY)], "opens": 0}
    eight = scene.replace(rules=rules(KEY, PRESS, WEIGHT, MAKE, long, RUINS, MAKE, KEY))
    goal = goals.conjunction(SPEC, *(np.array(x) for x in ([INSIDE, NEAR], [CUBE, 0], [BIN, TABLE], [True, True])))
    pictures = render.TopDown(world(SPEC), size)
    more = {"goal": goal, "title": "and so on " * 30, "plan": ["pick(red_cube)"] * 9, "lines": ["a line"] * 3}
    frame = pictures.frame(eight, state(eight), current=1, **more)[:, size:]  # type: ignore[arg-type]
    without = pictures.frame(eight, state(eight), current=1, rules=False, **more)[:, size:]  # type: ignore[arg-type]
    margin, unit = int(10 * size / 640), size / 640
    assert near_colour(frame[:, :margin], render.PAPER, 2).all()
    assert near_colour(frame[:, -margin:], render.PAPER, 2).all()
    assert near_colour(frame[-margin:], render.PAPER, 2).all()
    first = np.flatnonzero((frame != without).any((1, 2)))[0] + round(20 * unit)  # below the heading
    column = (frame.shape[1] - 44 * unit) / 2 + 22 * unit
    gap = frame[first : first + round(4 * 30 * unit), round(column - 3 * unit) : round(column + 3 * unit)]
    assert near_colour(gap, render.PAPER, 2).all()
    assert near_colour(frame, render.mix(render.PAPER, render.ACCENT, 0.13), 1).sum() > 1500  # the present step


def test_rules_on_device_are_drawn_as_well(pictures: render.TopDown, scene: Scene) -> None:
    now = scene.replace(rules=rules(KEY))
    on_device = jax.tree.map(jnp.asarray, now)
    assert (pictures.frame(now, state(now)) == pictures.frame(on_device, state(on_device))).all()
