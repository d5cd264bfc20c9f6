"""A mouse without a mouse: clicks, drags and keys are posted to pygame's dummy window, and the task must follow."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pygame
import pytest

from palaestra.envs.display.drawing import RED
from palaestra.envs.display.render import Input, Window
from palaestra.envs.editing import changes
from palaestra.envs.editing.board import MAP, TEXT, Board
from palaestra.envs.editing.edit import Desk
from palaestra.envs.editing.editor import Document, Editor
from palaestra.envs.names import entities
from palaestra.envs.types import COLOURS, Goal, Task
from palaestra.sim.world import world
from palaestra.skills.editing import judge
from tests.envs import houses
from tests.envs.worlds import env, one, tasks

WORLD = env().world
SPEC = WORLD.spec
TABLE, BIN = 1 + SPEC.objects, 1 + SPEC.objects + SPEC.tables


def full() -> int:
    """The first task with every slot in use and nothing on its tables."""
    for i in range(256):
        scene = one(tasks(), i).scene
        if scene.layout.object_used.all() and not changes.resting_on(SPEC, scene, TABLE) and not changes.resting_on(SPEC, scene, TABLE + 1):
            return i
    raise AssertionError("no such task")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    board = Board(WORLD, 480)
    with Window(board.width, board.height, repeat=True) as window:
        document = Document.of_task(one(tasks(), full()), "rearrange, train", tmp_path / "runs" / "mine.npz", {"split": "train"})
        desk = Desk(Editor(WORLD, document, judge(SPEC)), window, board)
        window.show(desk.frame())
        pygame.event.clear()
        yield desk
        desk.close()


def post(kind: int, **fields: object) -> None:
    pygame.event.post(pygame.event.Event(kind, **fields))


def look(desk: Desk) -> bool:
    return desk.handle(desk.window.poll())


def key(desk: Desk, *keys: int, mod: int = 0) -> bool:
    for k in keys:
        post(pygame.KEYDOWN, key=k, mod=mod)
        post(pygame.KEYUP, key=k, mod=mod)
    return look(desk)


def say(desk: Desk, text: str) -> None:
    key(desk, pygame.K_RETURN)
    for letter in text:
        post(pygame.TEXTINPUT, text=letter)
    key(desk, pygame.K_RETURN)


def pixel(desk: Desk, xy: np.ndarray) -> tuple[int, int]:
    x, y = np.round(desk.board.locate(desk.editor.task.scene, xy)).astype(int).tolist()
    return x, y


def place(desk: Desk, thing: int) -> np.ndarray:
    return changes.position(SPEC, desk.editor.task.scene, thing)


def name(desk: Desk, thing: int) -> str:
    return changes.thing_of(SPEC, desk.editor.task.scene, thing).name


def click(desk: Desk, at: tuple[float, float]) -> None:
    post(pygame.MOUSEBUTTONDOWN, pos=at, button=1)
    post(pygame.MOUSEBUTTONUP, pos=at, button=1)
    assert look(desk)


def button(desk: Desk, name: str) -> None:
    left, top, width, height = desk.board.buttons[name]
    click(desk, (round(left + width / 2), round(top + height / 2)))


def drag(desk: Desk, start: tuple[int, int], end: tuple[int, int]) -> None:
    post(pygame.MOUSEBUTTONDOWN, pos=start, button=1)
    for share in (0.2, 0.6, 1.0):
        at = tuple(round(a + share * (b - a)) for a, b in zip(start, end, strict=True))
        post(pygame.MOUSEMOTION, pos=at, rel=(0, 0), buttons=(1, 0, 0))
    post(pygame.MOUSEBUTTONUP, pos=end, button=1)
    assert look(desk)


def a_pixel(desk: Desk) -> float:
    """Its side, m."""
    scene = desk.editor.task.scene
    return float(np.linalg.norm(desk.board.point(scene, (1.0, 0.0)) - desk.board.point(scene, (0.0, 0.0))))


def test_a_pixel_is_where_its_point_is(desk: Desk) -> None:
    scene, points = desk.editor.task.scene, np.random.default_rng(0).uniform(-3, 3, (20, 2))
    np.testing.assert_allclose(desk.board.point(scene, desk.board.locate(scene, points)), points, atol=1e-9)


@pytest.mark.parametrize("thing", [0, 1, 4, TABLE, BIN])
def test_what_is_dragged_goes_where_the_mouse_goes(desk: Desk, thing: int) -> None:
    before, start = place(desk, thing), pixel(desk, place(desk, thing))
    drag(desk, start, (start[0] + 40, start[1] - 30))
    assert desk.editor.selected == thing
    np.testing.assert_allclose(place(desk, thing) - before, np.array([40, 30]) * a_pixel(desk), atol=1e-5)
    assert key(desk, pygame.K_z, mod=pygame.KMOD_CTRL)
    assert not desk.editor.can_undo  # one drag is one step
    np.testing.assert_array_equal(place(desk, thing), before)


def test_dropped_on_a_table_it_lies_on_it(desk: Desk) -> None:
    drag(desk, pixel(desk, place(desk, 1)), pixel(desk, place(desk, TABLE)))
    assert changes.resting_on(SPEC, desk.editor.task.scene, TABLE) == [1]
    desk.settle()
    assert desk._about(name(desk, 1))[0] == f"on {name(desk, TABLE)}"


def test_in_a_window_of_another_size_the_mouse_hits_the_same_thing(desk: Desk) -> None:
    pygame.display.set_mode((1000, 900), pygame.RESIZABLE)
    desk.draw()
    pygame.event.clear()
    scale = min(1000 / desk.board.width, 900 / desk.board.height)
    left, top = (1000 - int(desk.board.width * scale)) // 2, (900 - int(desk.board.height * scale)) // 2
    x, y = pixel(desk, place(desk, BIN))
    click(desk, (round(left + scale * x), round(top + scale * y)))
    assert desk.editor.selected == BIN


def test_a_click_selects_and_moves_nothing(desk: Desk) -> None:
    click(desk, pixel(desk, place(desk, 2)))
    assert desk.editor.selected == 2
    post(pygame.MOUSEBUTTONDOWN, pos=pixel(desk, place(desk, 2)), button=3)  # another button does nothing
    assert look(desk)
    assert not desk.editor.unsaved
    click(desk, (3, 3))  # outside the house
    assert desk.editor.selected is None


def test_a_drag_ends_at_the_picture_s_edge(desk: Desk) -> None:
    drag(desk, pixel(desk, place(desk, 1)), (desk.board.size + 100, 10))
    assert pixel(desk, place(desk, 1))[0] <= desk.board.size
    click(desk, pixel(desk, place(desk, 1)))
    assert desk.editor.selected == 1


def test_wheel_and_keys_turn_the_selected_thing_or_else_the_robot(desk: Desk) -> None:
    lay = desk.editor.task.scene.layout
    post(pygame.MOUSEWHEEL, x=0, y=2)
    assert key(desk, pygame.K_q)
    turned = desk.editor.task.scene.layout.robot_q[2] - lay.robot_q[2]
    assert (turned + np.pi) % (2 * np.pi) - np.pi == pytest.approx(np.radians(45), abs=1e-5)
    click(desk, pixel(desk, place(desk, 1)))
    key(desk, pygame.K_e)
    turned = desk.editor.task.scene.layout.object_yaw[0] - lay.object_yaw[0]
    assert (turned + np.pi) % (2 * np.pi) - np.pi == pytest.approx(np.radians(-15), abs=1e-5)
    key(desk, pygame.K_z, pygame.K_z, mod=pygame.KMOD_CTRL)
    assert not desk.editor.can_undo


def test_arrows_nudge(desk: Desk) -> None:
    key(desk, pygame.K_LEFT)  # nothing is selected
    assert not desk.editor.unsaved
    click(desk, pixel(desk, place(desk, 3)))
    before = place(desk, 3)
    key(desk, pygame.K_RIGHT, pygame.K_RIGHT, pygame.K_UP)
    key(desk, pygame.K_DOWN, mod=pygame.KMOD_SHIFT)
    np.testing.assert_allclose(place(desk, 3) - before, (0.02, -0.09), atol=1e-6)


@pytest.mark.parametrize("way", ["keys", "buttons"])
def test_objects_are_removed_added_coloured_and_resized(desk: Desk, way: str) -> None:
    by_key = {"Remove": pygame.K_DELETE, "Cube": pygame.K_a, "Larger": pygame.K_EQUALS, "Smaller": pygame.K_MINUS}
    by_key |= {colour: pygame.K_1 + i for i, colour in enumerate(COLOURS)}

    def act(what: str) -> None:
        if way == "keys":
            key(desk, by_key[what])
        else:
            button(desk, what)

    spot = place(desk, 2)
    click(desk, pixel(desk, spot))
    act("Remove")
    assert not desk.editor.task.scene.layout.object_used[1]
    assert desk.editor.selected is None
    act("Cube")
    assert desk.editor.selected == 2
    distance = np.linalg.norm(place(desk, 2) - spot)
    assert (distance < 2 * a_pixel(desk)) == (way == "keys")  # at the pointer, or near the robot
    free = next(c for i, c in enumerate(COLOURS) if i not in desk.editor.task.scene.object_colour)
    act(free)
    assert name(desk, 2) == f"{free}_cube"
    for _ in range(12):
        act("Larger")
    assert desk.editor.task.scene.layout.object_half[1] == pytest.approx(0.035)
    assert desk.bad
    assert "expected 24 to 35 mm" in desk.notice
    act("Smaller")
    assert desk.editor.task.scene.layout.object_half[1] == pytest.approx(0.034)
    assert not desk.bad
    act("Cube")
    assert "got one cube more than the 3" in desk.notice


def test_a_goal_is_typed_and_planned_for(desk: Desk) -> None:
    ball, table = name(desk, 4).replace("_", " "), name(desk, TABLE).replace("_", " ")
    say(desk, f"put the {ball} on the {table}")
    assert desk.notice == "the goal is set"
    assert not desk.line.open
    desk.settle()
    assert desk.report is not None
    assert desk.report.terms == ((False, f"{name(desk, 4)} on {name(desk, TABLE)}"),)
    assert desk.report.plan[-1] == f"place({name(desk, 4)}, {name(desk, TABLE)})"


def test_letters_in_the_line_are_no_commands(desk: Desk) -> None:
    left, top, width, height = desk.board.line
    click(desk, (round(left + width / 2), round(top + height / 2)))
    for letter, code in (("a", pygame.K_a), ("q", pygame.K_q), ("b", pygame.K_b)):
        post(pygame.KEYDOWN, key=code, mod=0)
        post(pygame.TEXTINPUT, text=letter)
    assert key(desk, pygame.K_LEFT, pygame.K_BACKSPACE)
    post(pygame.TEXTINPUT, text="u")
    assert key(desk, pygame.K_END, pygame.K_BACKSPACE, pygame.K_HOME, pygame.K_DELETE)
    assert desk.line.text == "u"
    assert not desk.editor.unsaved
    assert key(desk, pygame.K_ESCAPE)  # leaves the line, not the window
    assert not desk.line.open
    post(pygame.TEXTINPUT, text="x")
    assert look(desk)
    assert desk.line.text == ""


def test_what_is_not_understood_is_said_and_a_suggestion_taken(desk: Desk) -> None:
    say(desk, "put the cube on the table")
    assert desk.bad
    cubes = [e.name for e in entities(SPEC, desk.editor.task.scene) if e.kind == "cube"]
    assert f"'the cube' could be {' or '.join(cubes)}" in desk.notice
    assert desk.line.text == "put the cube on the table"  # to be mended
    assert not desk.editor.unsaved
    key(desk, pygame.K_TAB)
    assert desk.line.text == desk.suggestion != ""
    key(desk, pygame.K_RETURN)
    assert desk.notice == "the goal is set"
    desk.settle()
    key(desk, pygame.K_RETURN, pygame.K_UP)  # the present instruction, to be changed
    assert desk.report is not None
    assert desk.line.text == desk.report.instruction


def test_save_reload_and_leaving(desk: Desk) -> None:
    path = desk.editor.document.path
    drag(desk, pixel(desk, place(desk, 1)), pixel(desk, place(desk, TABLE)))
    assert key(desk, pygame.K_ESCAPE)  # nothing is selected any more
    assert key(desk, pygame.K_ESCAPE)
    assert desk.notice.startswith("not saved")
    assert key(desk, pygame.K_s, mod=pygame.KMOD_CTRL)
    assert desk.notice.startswith(f"saved {path}")
    assert path.exists()
    saved = place(desk, 1)
    assert key(desk, pygame.K_b, mod=pygame.KMOD_CTRL)  # no command
    click(desk, pixel(desk, saved))
    key(desk, pygame.K_LEFT)
    button(desk, "Reload")
    assert desk.notice == "as it was saved"
    np.testing.assert_array_equal(place(desk, 1), saved)
    key(desk, pygame.K_ESCAPE)
    assert not key(desk, pygame.K_ESCAPE)  # nothing would be lost


def test_who_insists_may_leave_without_saving(desk: Desk) -> None:
    key(desk, pygame.K_q)
    assert desk.handle(Input(closed=True))
    assert not desk.handle(Input(closed=True))
    key(desk, pygame.K_q)
    assert desk.handle(Input(closed=True))  # there is more to lose


def test_things_that_overlap_are_ringed_in_red(desk: Desk) -> None:
    desk.settle()

    def red(at: np.ndarray) -> int:
        frame = desk.frame()
        x, y = pixel(desk, at)
        return int((np.abs(frame[y - 25 : y + 25, x - 25 : x + 25].astype(int) - RED).max(-1) < 8).sum())

    spot = place(desk, TABLE)
    drag(desk, pixel(desk, place(desk, 1)), pixel(desk, spot))
    alone = red(spot)
    drag(desk, pixel(desk, place(desk, 2)), pixel(desk, spot))
    assert desk.editor.collisions == ((name(desk, 1), name(desk, 2)),)
    assert red(spot) > alone + 30
    words = desk.frame()[: desk.board.size, desk.board.size :]
    assert (np.abs(words.astype(int) - RED).max(-1) < 8).sum() > 50  # and said beside


def test_a_long_search_does_not_hold_the_window_up(desk: Desk) -> None:
    """While the planner thinks, things can be moved; when it is done, the report is of the latest state."""
    go, plans = threading.Event(), []

    def slow(task: object, table: np.ndarray) -> tuple[str, ...]:
        assert go.wait(60)
        plans.append(task)
        return ("wait()",)

    desk.editor.judge = slow
    desk.follow()
    for _ in range(5):
        key(desk, pygame.K_q)
        assert not desk.follow()
        desk.draw()
    assert desk.report is None
    go.set()
    desk.settle()
    assert len(plans) == 2  # not six
    assert plans[-1] is desk.editor.task
    assert desk.report is not None
    assert desk.report.plan == ("wait()",)


def test_every_button_and_place_can_be_hit(desk: Desk) -> None:
    board = desk.board
    for name, (left, top, width, height) in board.buttons.items():
        assert board.target((left + width / 2, top + height / 2)) == name
        assert left + width <= board.width
        assert board.size < top < top + height < board.line[1]
    assert board.target((board.line[0] + 5, board.line[1] + 5)) == TEXT
    assert board.target((5, 5)) == MAP
    assert board.target((board.size + 5, 5)) == ""
    assert desk.frame().shape == (board.height, board.width, 3)


def test_without_a_selection_buttons_say_so(desk: Desk) -> None:
    button(desk, "Remove")
    assert desk.notice == "nothing is selected: click a thing first"
    assert not desk.editor.unsaved


def test_run_draws_until_the_window_is_closed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    monkeypatch.setattr(desk.window, "show", shown.append)
    polls = iter([Input()] * 40)

    def poll() -> Input:
        return next(polls, Input(closed=True))

    monkeypatch.setattr(desk.window, "poll", poll)
    desk.run()
    assert 1 <= len(shown) <= 2  # the first picture, and the report: nothing is drawn where nothing changes


def test_rules_are_typed_selected_and_deleted(tmp_path: Path) -> None:
    spec = houses.SPEC
    task = Task(scene=houses.house(), goal=Goal(**{f: np.zeros((), np.int32) for f in Goal.__dataclass_fields__}))
    task = changes.with_goal(spec, task, "Go to the study.")
    board = Board(world(spec), 640)
    with Window(board.width, board.height, repeat=True) as window:
        editor = Editor(world(spec), Document.of_task(task, "by hand", tmp_path / "mine.npz", {}), judge(spec))
        desk = Desk(editor, window, board)
        desk.settle()
        assert desk.report is not None
        assert desk.report.plan[:2] == ("navigate(blue_button)", "press(blue_button)")
        assert desk.report.faults == ("no room to swing for green_door",)
        editor.move(changes.number_of(spec, task.scene, "green_table"), (5.0, 1.0))
        editor.move(changes.number_of(spec, task.scene, "yellow_ball"), (5.5, 2.0))
        desk.settle()
        assert desk.report.faults == ()
        window.show(desk.frame())
        pygame.event.clear()
        left, top, width, height = board.rules[0]
        click(desk, (round(left + width / 2), round(top + height / 2)))
        before = desk.frame()
        assert desk.rule == 0
        key(desk, pygame.K_DELETE)
        assert [rule.opens for rule in editor.rules] == ["", ""]
        assert desk.rule is None
        assert (desk.frame() != before).any()
        desk.settle()
        assert "takes open(green_door), and nothing can make that so" in desk.report.obstacle
        say(desk, "As long as something lies on the red plate, the green door is open.")
        assert desk.notice == "the rule is there"
        desk.settle()
        assert any(step.endswith(", red_plate)") for step in desk.report.plan)
        say(desk, "The green door opens when the pink button is pressed.")
        assert "expected a sentence like" in desk.notice
        ball = changes.number_of(spec, editor.task.scene, "yellow_ball")
        editor.drop_rule(0)
        editor.move(ball, changes.position(spec, editor.task.scene, changes.number_of(spec, editor.task.scene, "blue_table")))
        editor.say("The yellow ball vanishes when it is put on the blue table.")
        desk.settle()
        assert desk.report.faults == ("holds at the start: The yellow ball vanishes when it is put on the blue table.",)
        desk.close()
