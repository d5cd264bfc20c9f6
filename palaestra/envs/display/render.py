"""Pictures of a state from above, and the window that shows them. The only module that imports pygame.

The map is drawn by `drawing`, the words beside it by `panel`; the colours are importable from here.
"""

import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from palaestra.envs import goals
from palaestra.envs.display.drawing import (
    ACCENT,
    FLOORS,
    GREEN,
    INK,
    LINE,
    MUTED,
    OUTSIDE,
    PALETTE,
    PAPER,
    RED,
    SHELL,
    SMOOTH,
    STEEL,
    WALL,
    Canvas,
    Colour,
    Plan,
    Point,
    draw_house,
    draw_rings,
    draw_things,
    draw_trail,
    mix,
)
from palaestra.envs.display.panel import Panel, sized_font
from palaestra.envs.mechanics import Rule
from palaestra.envs.names import Entity
from palaestra.envs.types import Goal, Scene
from palaestra.sim.engine import PhysicsState
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import World

__all__ = [
    "ACCENT",
    "FLOORS",
    "GREEN",
    "INK",
    "LINE",
    "MUTED",
    "OUTSIDE",
    "PALETTE",
    "PAPER",
    "RED",
    "SHELL",
    "STEEL",
    "WALL",
    "Colour",
    "Event",
    "Input",
    "Point",
    "TopDown",
    "Window",
    "colours",
    "contact_sheet",
    "floors",
    "mix",
    "save_png",
]

_MARGIN = 0.22  # m of ground around the house
_LEAST_OBJECT = 4.2  # pixels: where objects would be smaller than this half size, all are drawn larger by one factor


def _pygame() -> ModuleType:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError as error:
        raise PalaestraError(
            "pictures and windows need the package 'pygame-ce', which is not installed. Fix: pip install pygame-ce"
        ) from error
    return pygame


def colours(scene: Scene) -> dict[str, Any]:
    """The colours of things in [0, 1], receptacles' paler, by the names under which `sim.camera.Camera.image` takes them.

    Objects [O, 4], receptacles [tables + bins, 4], leaves [L, 4] and buttons [U, 4].
    """
    table = np.c_[np.asarray(PALETTE) / 255.0, np.ones(len(PALETTE))].astype(np.float32)
    return {
        "object_rgba": table[np.asarray(scene.object_colour)],
        "receptacle_rgba": 0.7 * table[np.asarray(scene.receptacle_colour)] + np.float32(0.3),
        "leaf_rgba": table[np.asarray(scene.leaf_colour)],
        "button_rgba": table[np.asarray(scene.button_colour)],
    }


def floors(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The rooms in use [R, 4] m and their floors' colours [R, 4], in [0, 1]; what `sim.camera.Camera` takes."""
    table = np.c_[np.asarray(FLOORS) / 255.0, np.ones(len(FLOORS))].astype(np.float32)
    used = np.asarray(scene.room_used)
    return np.asarray(scene.room)[used], table[np.asarray(scene.room_name)[used]]


# --- pictures -----------------------------------------------------------------------------------------------------


class TopDown:
    """Draws states of one world: the house at the left, [size, size], the words at the right.

    Args:
        world: whose states.
        size: the height of a frame in pixels; it is half as wide again.
    """

    def __init__(self, world: World, size: int = 640):
        if size < 320:
            raise PalaestraError(f"size of a frame: got {size} pixels, expected 320 or more; below, the words cannot be read")
        self._pg = _pygame()
        self.world, self.size = world, size - size % 2
        self.width = self.size * 3 // 2 // 2 * 2
        self._unit = self.size / 640
        self._house: tuple[Hashable, Any] = (None, None)
        self._words: tuple[Hashable, Any] = (None, None)

    def frame(
        self,
        scene: Scene,
        physics: PhysicsState,
        *,
        goal: Goal | None = None,
        holds: Any = None,
        title: str = "",
        lines: Sequence[str] = (),
        plan: Sequence[Any] = (),
        current: int = -1,
        trail: Any = None,
        rules: bool = True,
    ) -> np.ndarray:
        """One picture, uint8 [size, 1.5 * size, 3].

        Args:
            scene: one scene, without a batch axis; of an episode, the present one: rules make things come and go.
            physics: the state of one environment.
            goal: its terms are listed.
            holds: [G] bool, which of them hold.
            title: the instruction.
            lines: free text, at the bottom.
            plan: skill calls, shown as `str` gives them, e.g. `pick(red_cube)`.
            current: which of them is running; those before it are done, all where it is the plan's length; -1: none yet.
            trail: [N, 2] m, where the robot has been, oldest first.
            rules: whether the scene's rules are listed.
        """
        house = Plan.of(self.world.spec, scene)
        qpos = np.asarray(physics.qpos, np.float64)
        steps = [str(step) for step in plan]
        terms = [] if goal is None else goals.named_terms(self.world.spec, scene, goal)
        truth = np.zeros(0, bool) if holds is None else np.asarray(holds)
        words = goals.phrases(term[1:] for term in terms)
        rows = [(bool(truth[i]) if i < len(truth) else False, text) for (i, *_), text in zip(terms, words, strict=True)]
        signs = (house.rules, house.things) if rules and house.rules else None
        words, gap = self._column(title, tuple(rows), signs, tuple(steps), current, tuple(lines))
        whole = self._pg.Surface((self.width, self.size), 0, 32)
        marked = steps[current].partition("(")[2].rstrip(") ").split(", ") if 0 <= current < len(steps) else []
        whole.blit(self._map(house, qpos, np.reshape([] if trail is None else trail, (-1, 2)), marked), (0, 0))
        whole.blit(words, (self.size, 0))
        if gap is not None:
            whole.blit(self._close_up(house, qpos, gap), (self.size + gap.x, gap.y))
            self._pg.draw.rect(whole, LINE, gap.move(self.size, 0), 1)
        return self._array(whole)

    def card(self, title: str, lines: Sequence[str] = ()) -> np.ndarray:
        """A picture of words alone, as large as a frame."""
        whole = self._pg.Surface((self.width, self.size), 0, 32)
        whole.fill(OUTSIDE)
        for i, (text, size, colour) in enumerate([(title, 34, INK), *((line, 20, MUTED) for line in lines)]):
            image = sized_font(self._pg, size * self._unit).render(text, True, colour)
            whole.blit(
                image, ((self.width - image.get_width()) // 2, self.size // 2 + round((-40 if i == 0 else 24 * i - 16) * self._unit))
            )
        return self._array(whole)

    def locate(self, scene: Scene, xy: Any) -> np.ndarray:
        """Where in a frame the points xy [..., 2] m are: column and row [..., 2], pixels."""
        canvas = self._canvas(Plan.of(self.world.spec, scene))
        return canvas.pixels(np.asarray(xy, float)) / SMOOTH

    def point(self, scene: Scene, pixel: Any) -> np.ndarray:
        """The inverse of `locate`: which points [..., 2] m are shown at these columns and rows [..., 2]."""
        canvas = self._canvas(Plan.of(self.world.spec, scene))
        return canvas.metres(np.asarray(pixel, float) * SMOOTH)

    def _canvas(self, house: Plan) -> Canvas:
        low, high = house.bounds()
        side = self.size * SMOOTH
        return Canvas(self._pg, (side, side), (low + high) / 2, side / (float((high - low).max()) + 2 * _MARGIN))

    def _map(self, house: Plan, qpos: np.ndarray, trail: np.ndarray, marked: Sequence[str], wrong: Sequence[str] = ()) -> Any:
        canvas = self._canvas(house)
        if self._house[0] != house.key:
            draw_house(canvas, house)
            self._name_rooms(canvas, house)
            self._house = (house.key, canvas.surface)
            canvas = self._canvas(house)
        canvas.surface.blit(self._house[1], (0, 0))
        least = min((half for _, half, _, _ in house.objects), default=1.0)
        grow = max(1.0, _LEAST_OBJECT * self._unit * SMOOTH / (least * canvas.scale))
        draw_trail(canvas, trail)
        draw_things(canvas, self.world, house, qpos, grow)
        draw_rings(canvas, self.world, house, qpos, marked)
        draw_rings(canvas, self.world, house, qpos, wrong, RED)
        return self._pg.transform.smoothscale(canvas.surface, (self.size, self.size))

    def _name_rooms(self, canvas: Canvas, house: Plan) -> None:
        """Each room's name, in its first corner that is free of furniture."""
        names = iter(thing.name for thing in house.things if thing.kind == "room")
        font = sized_font(self._pg, 19 * self._unit * SMOOTH)
        furniture = []
        for taken in house.furniture():
            low, high = canvas.pixels(taken)
            furniture.append(self._pg.Rect(low[0], high[1], high[0] - low[0], low[1] - high[1]).inflate(8 * SMOOTH, 8 * SMOOTH))
        inset = 0.05 * canvas.scale + 7 * SMOOTH * self._unit
        for (room, tint), name in zip(house.rooms, names, strict=True):
            image = font.render(name, True, mix(FLOORS[tint], INK, 0.5))
            (left, bottom), (right, top) = canvas.pixels(room.reshape(2, 2)) + inset * np.array([[1, -1], [-1, 1]])
            right, bottom = right - image.get_width(), bottom - image.get_height()
            corners = [image.get_rect(topleft=at) for at in ((left, top), (left, bottom), (right, top), (right, bottom))]
            canvas.surface.blit(image, next((c for c in corners if c.collidelist(furniture) < 0), corners[0]))

    def _close_up(self, house: Plan, qpos: np.ndarray, rect: Any) -> Any:
        """The gripper and what is around it, in true proportions."""
        body = self.world.body
        at = qpos[:2] + 0.42 * body.reach * np.array([np.cos(qpos[2]), np.sin(qpos[2])])
        canvas = Canvas(self._pg, (rect.w * SMOOTH, rect.h * SMOOTH), at, rect.h * SMOOTH / 0.66)
        draw_house(canvas, house)
        draw_things(canvas, self.world, house, qpos)
        return self._pg.transform.smoothscale(canvas.surface, rect.size)

    def _column(
        self,
        title: str,
        rows: tuple[tuple[bool, str], ...],
        signs: tuple[tuple[Rule, ...], tuple[Entity, ...]] | None,
        steps: tuple[str, ...],
        current: int,
        lines: tuple[str, ...],
    ) -> tuple[Any, Any]:
        """The words, and where there is room for the close-up (None where there is not)."""
        key = (title, rows, signs, steps, current, lines)
        if self._words[0] == key:
            return self._words[1]
        size = (self.width - self.size, self.size)
        panel = Panel(self._pg, (size[0] * SMOOTH, size[1] * SMOOTH), self._unit * SMOOTH)
        if title:
            panel.paragraph(title, 23, INK, 5)
        if rows:
            panel.heading("Goal")
            for holds, text in rows:
                panel.row("done" if holds else "open", text, INK)
        if signs is not None:
            panel.heading("Rules")
            panel.rules(*signs)
        panel.foot(lines)
        if steps:
            panel.heading("Plan")
            panel.plan(steps, current)
        room, height = panel.bottom - panel.y - 48 * panel.unit, 0.72 * panel.inner
        gap = None
        if room >= 110 * panel.unit:
            panel.y = max(panel.y, panel.bottom - height - 48 * panel.unit)
            panel.heading("Close-up")
            low, high = round(panel.y / SMOOTH), round(panel.bottom / SMOOTH)
            gap = self._pg.Rect(panel.left // SMOOTH, low, panel.inner // SMOOTH, high - low)
        self._words = (key, (self._pg.transform.smoothscale(panel.surface, size), gap))
        return self._words[1]

    def _array(self, surface: Any) -> np.ndarray:
        data = self._pg.image.tobytes(surface, "RGB")
        return np.frombuffer(data, np.uint8).reshape(surface.get_height(), surface.get_width(), 3).copy()


def contact_sheet(frames: Iterable[np.ndarray], columns: int, gap: int = 8) -> np.ndarray:
    """Frames of one size side by side, row after row, `gap` pixels apart."""
    frames = [np.asarray(frame) for frame in frames]
    shapes = {frame.shape for frame in frames}
    if columns < 1 or len(shapes) != 1:
        raise PalaestraError(
            f"contact sheet: got {len(frames)} frames of shapes {sorted(shapes)} in {columns} columns; "
            "expected one or more of one shape, and at least one column"
        )
    h, w, _ = frames[0].shape
    across, down = min(columns, len(frames)), -(-len(frames) // columns)
    sheet = np.full((down * (h + gap) + gap, across * (w + gap) + gap, 3), PAPER, np.uint8)
    for i, frame in enumerate(frames):
        y, x = gap + (i // columns) * (h + gap), gap + (i % columns) * (w + gap)
        sheet[y : y + h, x : x + w] = frame
    return sheet


def save_png(path: Path, frame: np.ndarray) -> Path:
    """Write a frame as a picture; folders are made."""
    pg = _pygame()
    path.parent.mkdir(parents=True, exist_ok=True)
    pg.image.save(pg.image.frombuffer(np.ascontiguousarray(frame), frame.shape[1::-1], "RGB"), str(path))
    return path


@dataclass(frozen=True)
class Event:
    """One thing that was done with keyboard or mouse."""

    kind: str  # key, text, press, motion, release or wheel
    text: str = ""  # of a key its name by pygame, of a text what was typed
    at: Point = (0.0, 0.0)  # where the mouse is: column and row in the frame that was shown last
    turn: int = 0  # of the wheel, notches away from the user
    ctrl: bool = False  # held down, or the command key
    shift: bool = False


@dataclass(frozen=True)
class Input:
    """What happened in a window since the last look."""

    pressed: tuple[str, ...] = ()  # keys that went down, by pygame's names, in order
    held: frozenset[str] = frozenset()  # keys that are down
    closed: bool = False  # the window was closed by its user
    events: tuple[Event, ...] = ()  # all that was done, in order; of the mouse, what the left button did


class Window:
    """Frames on a screen, in a window that can be resized. Without a screen: SDL_VIDEODRIVER=dummy.

    Args:
        width: of the window, pixels.
        height: of the window, pixels.
        title: of the window.
        repeat: whether a key that is held down is reported again and again, as for typing.
    """

    def __init__(self, width: int = 960, height: int = 640, title: str = "palaestra", repeat: bool = False):
        self._pg = _pygame()
        try:
            self._pg.display.init()  # not pygame.init(): no sound, no joysticks
            self._pg.display.set_mode((width, height), self._pg.RESIZABLE)
        except self._pg.error as error:
            raise PalaestraError(f"no window could be opened: {error}. Fix: run on a desktop, or set SDL_VIDEODRIVER=dummy") from error
        self._pg.display.set_caption(title)
        self._pg.key.set_repeat(*((400, 40) if repeat else (0, 0)))  # ms until the first, and between two
        self._held: set[str] = set()
        self._mouse: Point = (0.0, 0.0)
        self._fit = (1.0, 0, 0)  # how much the frame is scaled, and where it begins
        self._open = True

    def show(self, frame: np.ndarray) -> None:
        """Show a frame, as large as fits, its proportions kept."""
        pg, screen = self._pg, self._pg.display.get_surface()
        pg.event.pump()  # a window that nobody polls stays alive
        h, w, _ = frame.shape
        scale = min(screen.get_width() / w, screen.get_height() / h)
        image = pg.image.frombuffer(np.ascontiguousarray(frame), (w, h), "RGB")
        if scale != 1.0:
            image = pg.transform.smoothscale(image, (max(1, int(w * scale)), max(1, int(h * scale))))
        self._fit = (scale, (screen.get_width() - image.get_width()) // 2, (screen.get_height() - image.get_height()) // 2)
        screen.fill(PAPER)
        screen.blit(image, self._fit[1:])
        pg.display.flip()

    def poll(self) -> Input:
        """Keys, mouse and the like since the last call."""
        pg, pressed, closed, events = self._pg, [], False, []
        for event in pg.event.get():
            if event.type == pg.QUIT:
                closed = True
            elif event.type == pg.KEYDOWN:
                pressed.append(pg.key.name(event.key))
                self._held.add(pressed[-1])
            elif event.type == pg.KEYUP:
                self._held.discard(pg.key.name(event.key))
            elif event.type == pg.WINDOWFOCUSLOST:  # the keys' release would go unseen
                self._held.clear()
            if done := self._event(event):
                events.append(done)
        return Input(tuple(pressed), frozenset(self._held), closed, tuple(events))

    def _event(self, event: Any) -> Event | None:
        """What was done, if it is one of the things that `Event` tells."""
        pg = self._pg
        if event.type == pg.KEYDOWN:
            mod = event.dict.get("mod", 0)
            ctrl, shift = bool(mod & (pg.KMOD_CTRL | pg.KMOD_META)), bool(mod & pg.KMOD_SHIFT)
            return Event("key", pg.key.name(event.key), self._mouse, ctrl=ctrl, shift=shift)
        if event.type == pg.TEXTINPUT:
            return Event("text", event.text, self._mouse)
        if event.type == pg.MOUSEWHEEL:
            return Event("wheel", at=self._mouse, turn=event.y)
        kind = {pg.MOUSEBUTTONDOWN: "press", pg.MOUSEMOTION: "motion", pg.MOUSEBUTTONUP: "release"}.get(event.type)
        if kind is None or (kind != "motion" and event.button != pg.BUTTON_LEFT):
            return None
        scale, left, top = self._fit
        self._mouse = ((event.pos[0] - left) / scale, (event.pos[1] - top) / scale)
        return Event(kind, at=self._mouse)

    def close(self) -> None:
        """Close the window; again is fine."""
        if self._open:
            self._open = False
            self._pg.display.quit()

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
