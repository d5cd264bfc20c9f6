"""Frames from above are measured against the house that they show: positions in metres against pixels."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"

import re
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs import goals
from palaestra.envs.display import render
from palaestra.envs.display.film import Film
from palaestra.envs.types import COLOURS, INSIDE, NEAR, ROOMS, Goal, Scene
from palaestra.sim.engine import PhysicsState
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import DENSITY, Layout, WorldSpec, parked_object, world

SPEC = WorldSpec(cubes=2, balls=1, tables=1, bins=1, rooms=2)
WALL = 0.05  # m, half thickness of the walls below
RED, GREEN, BLUE, YELLOW = (COLOURS.index(c) for c in ("red", "green", "blue", "yellow"))


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Two rooms of 3 x 3 m side by side around the origin, a doorway between them; a table left, a bin right."""
    walls = [(0, -1.5, 3, 0), (0, 1.5, 3, 0), (-3, 0, 0, 1.5), (3, 0, 0, 1.5), (0, -1, 0, 0.5), (0, 1, 0, 0.5)]
    pos = [[x, y, 0.25] for x, y, _, _ in walls] + [[-2.3, 0.9, 0.08], [2.3, -0.9, 0.0]]
    half = [[a + WALL, b + WALL, 0.25] for _, _, a, b in walls] + [[0.16, 0.16, 0.08], [0.15, 0.15, 0.15]]
    layout = Layout(
        fixture_pos=np.array(pos, np.float32),
        fixture_half=np.array(half, np.float32),
        object_half=np.full(3, 0.03, np.float32),
        object_density=np.full(3, DENSITY, np.float32),
        object_friction=np.ones(3, np.float32),
        object_pos=np.array([[1.5, 0.0, 0.03], [-1.0, -1.0, 0.03], parked_object(2)], np.float32),
        object_yaw=np.array([0.3, 0.0, 0.0], np.float32),
        object_used=np.array([True, True, False]),
        robot_q=np.array([-1.5, 0.0, 0.0, 0.1, 0.0, 0.0], np.float32),
    )
    return Scene(
        layout=layout,
        room=np.array([[-3, -1.5, 0, 1.5], [0, -1.5, 3, 1.5]], np.float32),
        room_used=np.array([True, True]),
        room_name=np.array([ROOMS.index("kitchen"), ROOMS.index("study")]),
        door=np.zeros((SPEC.doors, 2), np.float32),
        door_along_x=np.ones(SPEC.doors, bool),
        door_width=np.full(SPEC.doors, 0.9, np.float32),
        door_rooms=np.zeros((SPEC.doors, 2), np.int32),
        door_used=np.arange(SPEC.doors) == 0,
        fixture_used=np.ones(SPEC.fixtures, bool),
        receptacle_colour=np.array([BLUE, YELLOW]),
        object_colour=np.array([RED, GREEN, BLUE]),
    )


@pytest.fixture(scope="module")
def goal() -> Goal:
    """The red cube in the bin, and the robot near the table."""
    literals = (np.array(a) for a in ([INSIDE, NEAR], [1, 0], [5, 4], [True, True]))
    return goals.conjunction(SPEC, *literals)


@pytest.fixture(scope="module")
def pictures() -> render.TopDown:
    return render.TopDown(world(SPEC))


def state(scene: Scene, *, robot: tuple[float, ...] | None = None, cube: tuple[float, ...] | None = None) -> PhysicsState:
    """The scene's start, with the robot's joints or the red cube's place changed."""
    qpos = np.array(world(SPEC).initial_qpos(scene.layout))
    if robot is not None:
        qpos[: len(robot)] = robot
    if cube is not None:
        qpos[6 : 6 + len(cube)] = cube
    zero = np.zeros(0, np.float32)
    return PhysicsState(
        bits=zero, parameters=zero, qpos=qpos, qvel=zero, outputs={}, diverged=np.asarray(False), overflow=np.asarray(False)
    )


def near_colour(frame: np.ndarray, colour: tuple[int, int, int], off: int = 12) -> np.ndarray:
    return (np.abs(frame.astype(int) - colour) <= off).all(-1)


def house_in(frame: np.ndarray) -> tuple[float, float, float]:
    """Read off a frame: the left and the lower edge of the house in pixels, and pixels a metre."""
    rows, columns = np.nonzero(near_colour(frame[:, :640], render.WALL, 3))
    return columns.min(), rows.max() + 1, (columns.max() + 1 - columns.min()) / (6 + 2 * WALL)


def middle(mask: np.ndarray) -> np.ndarray:
    """Column and row of a mask's centre."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def test_frame_is_wider_than_high(pictures: render.TopDown, scene: Scene) -> None:
    frame = pictures.frame(scene, state(scene))
    assert frame.shape == (640, 960, 3)
    assert frame.dtype == np.uint8


def test_arrays_may_be_jax_or_numpy(pictures: render.TopDown, scene: Scene) -> None:
    on_device = jax.tree.map(jnp.asarray, scene)
    assert (pictures.frame(scene, state(scene)) == pictures.frame(on_device, state(on_device))).all()


@pytest.mark.parametrize("place", [(1.5, 0.0), (-2.0, -1.0), (2.7, 1.2)])
def test_red_cube_is_drawn_where_it_is(pictures: render.TopDown, scene: Scene, place: tuple[float, float]) -> None:
    frame = pictures.frame(scene, state(scene, cube=(*place, 0.03)))
    red = (frame[:, :640, 0].astype(int) - frame[:, :640, 1:].max(-1)) > 110
    left, bottom, scale = house_in(frame)
    expected = np.array([left + (place[0] + 3 + WALL) * scale, bottom - (place[1] + 1.5 + WALL) * scale])
    assert red.sum() >= 20
    assert np.abs(middle(red) - expected).max() < 1.5
    assert np.abs(pictures.locate(scene, place) - expected).max() < 1.0


def test_unused_objects_are_not_drawn(pictures: render.TopDown, scene: Scene) -> None:
    """The blue ball waits far outside; and were it inside, it would not be seen either."""
    start = state(scene)
    moved = start.replace(qpos=np.concatenate([start.qpos[:20], [1.0, 1.0, 0.03], start.qpos[23:]]))
    assert (pictures.frame(scene, start) == pictures.frame(scene, moved)).all()


@pytest.mark.parametrize(("dx", "dy"), [(1.0, 0.0), (0.0, 1.0), (-0.5, -0.75)])
def test_robot_moves_by_the_right_number_of_pixels(pictures: render.TopDown, scene: Scene, dx: float, dy: float) -> None:
    places = [(50.0, 50.0), (-1.5, -0.3), (-1.5 + dx, -0.3 + dy)]
    empty, *frames = [pictures.frame(scene, state(scene, robot=place))[:, :640] for place in places]
    drawn = [middle((frame != empty).any(-1)) for frame in frames]
    _, _, scale = house_in(empty)
    assert np.abs(drawn[1] - drawn[0] - (dx * scale, -dy * scale)).max() < 1.0


@pytest.mark.parametrize("travel", [0.0, 0.025, 0.05])
def test_fingers_are_drawn_at_their_opening(scene: Scene, travel: float) -> None:
    pictures = render.TopDown(world(SPEC), 1600)
    frame = pictures.frame(scene, state(scene, robot=(-1.5, 0.0, 0.0, 0.1, travel, travel), cube=(2.0, 1.0)))
    column, row = pictures.locate(scene, (-1.5 + world(SPEC).body.reach + 0.02, 0.0)).round().astype(int)
    scale = pictures.locate(scene, (1.0, 0.0))[0] - pictures.locate(scene, (0.0, 0.0))[0]
    rows = np.flatnonzero(near_colour(frame[row - 40 : row + 40, column], render.ACCENT, 40)) - 39.5
    opening = rows[rows > 0].mean() - rows[rows < 0].mean()
    assert opening == pytest.approx(2 * (world(SPEC).body.half_gap + 0.01 - travel) * scale, abs=2.0)


def test_held_object_lies_on_top_of_the_gripper(pictures: render.TopDown, scene: Scene) -> None:
    grip = (-1.5 + world(SPEC).body.reach, 0.0)
    held = pictures.frame(scene, state(scene, cube=(*grip, 0.4)))
    column, row = pictures.locate(scene, grip).astype(int)
    assert held[row, column, 0] > 180
    assert held[row, column, 1:].max() < 120


def test_goal_rows_are_ticked_as_they_hold(pictures: render.TopDown, scene: Scene, goal: Goal) -> None:
    ticks = []
    for holds in ([False, False], [True, False], [True, True]):
        frame = pictures.frame(scene, state(scene), goal=goal, holds=np.array([*holds, True, True]))
        ticks.append(near_colour(frame[:, 640:], render.GREEN, 3).sum())
    assert ticks[0] == 0
    assert ticks[1] > 60
    assert ticks[2] == pytest.approx(2 * ticks[1], rel=0.1)


def test_goal_is_phrased_by_name(scene: Scene, goal: Goal) -> None:
    assert goals.phrases(t[1:] for t in goals.named_terms(SPEC, scene, goal)) == ["red_cube in yellow_bin", "robot near blue_table"]


def test_plan_ticks_what_is_done_and_marks_the_present_step(pictures: render.TopDown, scene: Scene) -> None:
    plan = ["pick(red_cube)", "place(red_cube, yellow_bin)", "navigate(kitchen)"]
    frames = [pictures.frame(scene, state(scene), plan=plan, current=i)[:, 640:] for i in (-1, 0, 1, 3)]
    ticks = [near_colour(f, render.GREEN, 3).sum() for f in frames]
    box = render.mix(render.PAPER, render.ACCENT, 0.13)
    assert ticks[0] == ticks[1] == 0
    assert ticks[3] == pytest.approx(3 * ticks[2], rel=0.1)
    assert [near_colour(f, box, 1).sum() > 3000 for f in frames] == [False, True, True, False]


def test_arguments_of_the_present_step_are_ringed(pictures: render.TopDown, scene: Scene) -> None:
    plain, ringed = (
        near_colour(pictures.frame(scene, state(scene), plan=["pick(red_cube)"], current=i)[:, :640], render.ACCENT, 40) for i in (-1, 0)
    )
    assert np.abs(middle(ringed & ~plain) - pictures.locate(scene, (1.5, 0.0))).max() < 1.0


def test_room_is_named_where_no_furniture_stands(pictures: render.TopDown, scene: Scene) -> None:
    """The kitchen's name is in the upper left corner; with the table there, in the lower left one."""
    lay = scene.layout
    crowded = scene.replace(
        layout=lay.replace(fixture_pos=np.where(lay.fixture_pos == np.float32(-2.3), np.float32(-2.75), lay.fixture_pos))
    )
    crowded.layout.fixture_pos[6, 1] = 1.25
    ink = render.mix(render.FLOORS[ROOMS.index("kitchen")], render.INK, 0.5)
    column, top = pictures.locate(scene, (-3.0, 1.5)).astype(int)
    bottom = pictures.locate(scene, (-3.0, -1.5))[1].astype(int)
    for shown, upper in ((scene, True), (crowded, False)):
        words = near_colour(pictures.frame(shown, state(shown)), ink, 30)[:, column + 10 : column + 90]
        assert (words[top + 8 : top + 30].sum() > 40) == upper
        assert (words[bottom - 30 : bottom - 8].sum() > 40) != upper


def test_trail_is_drawn(pictures: render.TopDown, scene: Scene) -> None:
    trail = np.stack([np.linspace(0.5, 2.5, 20), np.full(20, -1.2)], -1)
    changed = (pictures.frame(scene, state(scene)) != pictures.frame(scene, state(scene), trail=trail)).any(-1)
    rows, columns = np.nonzero(changed)
    ends = pictures.locate(scene, trail[[0, -1]])
    assert [columns.min(), columns.max()] == pytest.approx(ends[:, 0], abs=3.0)
    assert rows.mean() == pytest.approx(ends[0, 1], abs=1.0)


@pytest.mark.parametrize("size", [400, 640, 901])
def test_words_stay_in_their_column(scene: Scene, goal: Goal, size: int) -> None:
    """Whatever is said, the margins stay free."""
    pictures = render.TopDown(world(SPEC), size)
    frame = pictures.frame(
        scene,
        state(scene),
        goal=goal,
        title="antidisestablishmentarianism" * 3 + " and so on" * 60,
        lines=["a line that is a good deal longer than the column is wide, to be cut short"] * 40,
        plan=["place(small_purple_cube, large_yellow_bin, and_more_and_more)"] * 40,
        current=20,
    )
    side, margin = size - size % 2, int(10 * size / 640)
    assert frame.shape == (side, side * 3 // 2 // 2 * 2, 3)
    assert near_colour(frame[:, -margin:], render.PAPER, 2).all()
    assert near_colour(frame[-margin:, side:], render.PAPER, 2).all()


def test_same_state_gives_the_same_frame(scene: Scene) -> None:
    a, b = (render.TopDown(world(SPEC)).frame(scene, state(scene), title="Go.") for _ in range(2))
    assert (a == b).all()


def test_card_is_as_large_as_a_frame(pictures: render.TopDown, scene: Scene) -> None:
    card = pictures.card("Compiling…", ["once"])
    assert card.shape == pictures.frame(scene, state(scene)).shape
    assert near_colour(card, render.INK, 20).any()


def test_too_small_a_frame_is_refused() -> None:
    with pytest.raises(PalaestraError, match="got 100 pixels, expected 320 or more"):
        render.TopDown(world(SPEC), 100)


def test_contact_sheet() -> None:
    frames = [np.full((20, 30, 3), 10 * i, np.uint8) for i in range(5)]
    sheet = render.contact_sheet(frames, columns=3, gap=4)
    assert sheet.shape == (2 * 24 + 4, 3 * 34 + 4, 3)
    for i in range(5):
        y, x = 4 + i // 3 * 24, 4 + i % 3 * 34
        assert (sheet[y : y + 20, x : x + 30] == 10 * i).all()
    assert (sheet[28:, 72:] == render.PAPER).all()
    assert render.contact_sheet(frames[:2], columns=3, gap=0).shape == (20, 60, 3)
    with pytest.raises(PalaestraError, match=re.escape("shapes [(2, 2, 3), (3, 3, 3)]")):
        render.contact_sheet([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)], 2)


def decode(path: Path, height: int, width: int) -> np.ndarray:
    """All frames of a film [T, height, width, 3]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_film_decodes_to_what_was_written(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "new folder" / "film.mp4"
    with Film(path, fps=20) as film:
        for i in range(12):
            film.add(np.full((height, width, 3), 20 * i, np.uint8))
            assert not path.exists()
    decoded = decode(path, 48, 64)  # odd sizes are filled up to even ones
    assert decoded.shape == (12, 48, 64, 3)
    assert np.abs(decoded.mean((1, 2, 3)) - 20.0 * np.arange(12)).max() < 4
    assert [p.name for p in path.parent.iterdir()] == ["film.mp4"]


def test_film_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    film = Film(tmp_path / "film.mp4")

    def break_off() -> None:
        with film:
            film.add(np.zeros((8, 8, 3), np.uint8))
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    film.close()
    assert list(tmp_path.iterdir()) == []


def test_film_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PalaestraError, match=r"cannot write into .* Fix: choose another folder"):
        Film(tmp_path / "file" / "film.mp4")
    with pytest.raises(PalaestraError, match=r"expected one that ends in \.mp4"):
        Film(tmp_path / "film.gif")
    with Film(tmp_path / "film.mp4") as film:
        film.add(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(PalaestraError, match=re.escape("got a frame of uint8 [8, 10, 3], expected uint8 [8, 8, 3]")):
            film.add(np.zeros((8, 10, 3), np.uint8))

    def no_ffmpeg() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", no_ffmpeg)
    with pytest.raises(PalaestraError, match=r"films need ffmpeg.*imageio-ffmpeg"):
        Film(tmp_path / "other.mp4")


def test_window_shows_reports_keys_and_closes_twice() -> None:
    import pygame

    with render.Window(300, 200) as window:
        frame = np.full((200, 300, 3), (10, 120, 200), np.uint8)
        window.show(frame)
        assert tuple(pygame.display.get_surface().get_at((150, 100)))[:3] == (10, 120, 200)
        window.show(np.full((100, 300, 3), (10, 120, 200), np.uint8))  # other proportions: bands above and below
        assert tuple(pygame.display.get_surface().get_at((150, 20)))[:3] == render.PAPER
        pygame.event.clear()
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_w))
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_SPACE))
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_SPACE))
        downs = (render.Event("key", "w"), render.Event("key", "space"))
        assert window.poll() == render.Input(("w", "space"), frozenset({"w"}), False, downs)
        assert window.poll() == render.Input((), frozenset({"w"}), False)
        pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_w))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert window.poll() == render.Input((), frozenset(), True)
        window.close()
    window.close()
    assert not pygame.display.get_init()


def test_window_without_a_screen_says_what_to_do() -> None:
    code = "from palaestra.envs.display.render import Window\nWindow()"
    env = {**os.environ, "SDL_VIDEODRIVER": "none such"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert "no window could be opened" in done.stderr
    assert "SDL_VIDEODRIVER=dummy" in done.stderr


def test_pygame_is_imported_by_nothing_else() -> None:
    package = Path(render.__file__).parents[1]
    users = {p.name for p in package.rglob("*.py") if re.search(r"^\s*(import|from) pygame", p.read_text(), re.MULTILINE)}
    assert users == {"render.py"}
