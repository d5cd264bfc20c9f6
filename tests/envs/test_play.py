"""A keyboard without a keyboard: keys are posted to pygame's dummy window, and the robot must answer."""

import os

os.environ["SDL_VIDEODRIVER"] = "dummy"

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pygame
import pytest

from palaestra.envs.display import play as module
from palaestra.envs.display.play import SPEEDS, Player, play
from palaestra.envs.display.render import PAPER, Input, Window
from palaestra.envs.tasksets import TaskSetEnv


class Screen(Window):
    """A window that remembers what it showed."""

    def __init__(self) -> None:
        super().__init__(480, 320)
        self.shown: list[np.ndarray] = []

    def show(self, frame: np.ndarray) -> None:
        super().show(frame)
        self.shown.append(frame)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """One player for the module; its functions are compiled once."""
    with Screen() as window:
        yield Player(TaskSetEnv("rearrange-1"), window, seed=3, size=320, screenshots=tmp_path_factory.mktemp("shots") / "new")


@pytest.fixture
def player(driver: Player) -> Player:
    """Task 3 at its start, no key down."""
    driver.load(3)
    driver.paused, driver.speed = False, SPEEDS.index(1)
    driver.window._held.clear()
    pygame.event.clear()
    return driver


def press(*keys: int, hold: bool = False) -> None:
    for key in keys:
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
        if not hold:
            pygame.event.post(pygame.event.Event(pygame.KEYUP, key=key))


def go(player: Player, steps: int = 1) -> None:
    """Look at the window, then let time pass."""
    for _ in range(steps):
        assert player.handle(player.window.poll())
        player.tick()


def joints(player: Player) -> np.ndarray:
    """x, y, yaw, lift, fingers."""
    return np.asarray(player.state.physics.qpos)[:6]


def test_compilation_is_announced_before_the_first_picture(driver: Player) -> None:
    card, _, first = driver.window.shown[:3]  # type: ignore[attr-defined]
    assert card.shape == first.shape == (320, 480, 3)
    assert not (card == PAPER).all(-1).any()  # words alone, no column
    assert (first[:, 320:] == PAPER).all(-1).any()


@pytest.mark.parametrize(
    ("key", "ahead", "sideways"),
    [(pygame.K_w, 1, 0), (pygame.K_UP, 1, 0), (pygame.K_s, -1, 0), (pygame.K_a, 0, 1), (pygame.K_RIGHT, 0, -1)],
)
def test_base_drives_where_the_key_says(player: Player, key: int, ahead: int, sideways: int) -> None:
    before = joints(player)
    press(key, hold=True)
    go(player, 6)
    after = joints(player)
    yaw = before[2]
    forward, left = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    moved = after[:2] - before[:2]
    top = 6 * player.env.world.spec.control_dt * player.env.world.body.max_speed
    assert 0.5 * top < moved @ forward * ahead + moved @ left * sideways < 1.05 * top
    assert abs(moved @ forward * sideways) + abs(moved @ left * ahead) < 0.01


def test_released_key_no_longer_drives(player: Player) -> None:
    press(pygame.K_w, hold=True)
    go(player, 4)
    pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_w))
    go(player, 10)
    before = joints(player)
    go(player, 5)
    assert np.abs(joints(player) - before)[:3].max() < 1e-3


def test_a_short_tap_counts(player: Player) -> None:
    before = joints(player)
    press(pygame.K_w)
    go(player)
    assert np.linalg.norm(joints(player)[:2] - before[:2]) > 1e-3


@pytest.mark.parametrize(("key", "joint", "sign"), [(pygame.K_q, 2, 1), (pygame.K_e, 2, -1), (pygame.K_r, 3, 1), (pygame.K_f, 3, -1)])
def test_turn_and_lift(player: Player, key: int, joint: int, sign: int) -> None:
    before = joints(player)
    press(key, hold=True)
    go(player, 4)
    assert sign * (joints(player) - before)[joint] > 0.05


@pytest.mark.parametrize("key", [pygame.K_SPACE, pygame.K_g])
def test_gripper_closes_and_opens(player: Player, key: int) -> None:
    travel = player.env.world.body.finger_travel
    press(key)
    go(player, 12)
    assert joints(player)[4:].min() > 0.8 * travel
    press(key)
    go(player, 12)
    assert joints(player)[4:].max() < 0.1 * travel


def test_pause_stops_time_and_single_steps_are_single(player: Player) -> None:
    go(player, 2)
    press(pygame.K_p)
    press(pygame.K_w, hold=True)
    before = joints(player)
    go(player, 5)
    assert player.steps == 2
    assert (joints(player) == before).all()
    for i, key in enumerate((pygame.K_n, pygame.K_PERIOD)):
        press(key)
        go(player, 4)
        assert player.steps == 3 + i
    press(pygame.K_p)
    go(player, 3)
    assert player.steps == 7


def test_speed_goes_up_and_down_within_bounds(player: Player) -> None:
    press(*[pygame.K_EQUALS] * 9)
    go(player)
    assert SPEEDS[player.speed] == 4
    press(*[pygame.K_MINUS] * 9)
    go(player)
    assert SPEEDS[player.speed] == 0.25


def test_restart_and_next_task(player: Player) -> None:
    start, words = joints(player), player.instruction
    layout = np.asarray(player.state.task.scene.layout.fixture_pos)
    press(pygame.K_w, hold=True)
    go(player, 5)
    press(pygame.K_BACKSPACE)
    assert player.handle(player.window.poll())
    assert player.steps == 0
    assert (joints(player) == start).all()
    assert player.instruction == words
    press(pygame.K_RETURN)
    assert player.handle(player.window.poll())
    assert player.seed == 4
    assert player.steps == 0
    assert not np.allclose(np.asarray(player.state.task.scene.layout.fixture_pos), layout)


@pytest.mark.parametrize("key", [pygame.K_c, pygame.K_F12])
def test_screenshot_is_the_frame(player: Player, key: int) -> None:
    player.paused = True
    player.seed += key  # names of their own
    expected = player.frame()
    press(key)
    go(player)
    path: Path = player.screenshots / f"rearrange-1-train-{player.seed}-0000.png"
    saved = pygame.surfarray.array3d(pygame.image.load(path)).swapaxes(0, 1)
    assert (saved == expected).all()
    assert player.notice == f"saved {path.name}"


def test_over_is_over(player: Player) -> None:
    player.timestep = player.timestep.replace(terminated=np.asarray(True))
    assert not player.tick()
    assert player.steps == 0
    assert any("goal reached" in line for line in player._status())


def test_run_goes_on_until_escape(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([Input(("=",)), Input(("w",)), Input(()), Input(("escape",))])
    monkeypatch.setattr(player.window, "poll", lambda: next(seen))
    player.run()
    assert player.steps == 3 * 2  # at twice the speed
    assert not player.handle(Input(closed=True))


def test_play_opens_a_window_and_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Fake:
        def __init__(self, env: TaskSetEnv, window: Window, *, seed: int, size: int):
            made.append((env.task_set, env.split, seed, size, pygame.display.get_surface().get_size()))

        def run(self) -> None:
            pass

    monkeypatch.setattr(module, "Player", Fake)
    play("demo", "test", 7, size=400)
    assert made == [("demo", "test", 7, 400, (600, 400))]
    assert not pygame.display.get_init()
