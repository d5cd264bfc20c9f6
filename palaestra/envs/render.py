"""Pictures of a state from above, and the window that shows them. The only module that imports pygame.

Everything on the map is a polygon in metres, drawn at twice the size and scaled down. Light falls from the upper left, so
shadows lie to the lower right, the farther the higher the thing is.
"""

import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import jax
import numpy as np

from palaestra.envs.names import Entity, entities
from palaestra.envs.types import PREDICATES, Goal, Scene
from palaestra.sim.engine import PhysicsState
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import BIN_INNER, BIN_SIDE, World, WorldSpec

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (36, 43, 54)
MUTED: Colour = (118, 127, 140)
LINE: Colour = (222, 225, 229)
PAPER: Colour = (251, 251, 250)
OUTSIDE: Colour = (229, 232, 235)
WALL: Colour = (92, 101, 116)
SHELL: Colour = (244, 246, 249)
STEEL: Colour = (62, 70, 83)
ACCENT: Colour = (28, 126, 134)
GREEN: Colour = (46, 150, 88)
# In the order of COLOURS and of ROOMS.
PALETTE: tuple[Colour, ...] = ((212, 58, 52), (56, 156, 84), (54, 110, 210), (240, 196, 48), (138, 84, 190), (240, 130, 40))
FLOORS: tuple[Colour, ...] = ((246, 238, 220), (233, 231, 245), (227, 238, 228), (238, 234, 227), (249, 233, 224), (223, 236, 241))

_SMOOTH = 2  # how much larger everything is drawn than it is shown
_MARGIN = 0.22  # m of ground around the house
_FINGER = (0.035, 0.010)  # m, half length and half thickness of a finger
_CROSSBAR = (0.015, 0.075)  # m, half sizes of the bar that carries the fingers, drawn behind them: it would hide what they hold
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


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a share of `b`."""
    return tuple(round(x + share * (y - x)) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def colours(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The colours of objects [O, 4] and, paler, of receptacles [tables + bins, 4], in [0, 1]; what `sim.camera.Camera` takes."""
    table = np.c_[np.asarray(PALETTE) / 255.0, np.ones(len(PALETTE))].astype(np.float32)
    return table[np.asarray(scene.object_colour)], 0.7 * table[np.asarray(scene.receptacle_colour)] + np.float32(0.3)


def floors(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The rooms in use [R, 4] m and their floors' colours [R, 4], in [0, 1]; what `sim.camera.Camera` takes."""
    table = np.c_[np.asarray(FLOORS) / 255.0, np.ones(len(FLOORS))].astype(np.float32)
    used = np.asarray(scene.room_used)
    return np.asarray(scene.room)[used], table[np.asarray(scene.room_name)[used]]


def phrases(spec: WorldSpec, scene: Scene, goal: Goal) -> list[tuple[int, str]]:
    """The goal's used literals: (which one, e.g. `red_cube on blue_table`)."""
    name = {thing.index: thing.name for thing in entities(spec, scene)}
    predicate, subject, target = (np.asarray(x) for x in (goal.predicate, goal.subject, goal.target))
    used = np.flatnonzero(np.asarray(goal.used))
    words = [p.removesuffix("_room") for p in PREDICATES]
    return [(int(i), f"{name[int(subject[i])]} {words[predicate[i]]} {name[int(target[i])]}") for i in used]


# --- polygons, in metres ------------------------------------------------------------------------------------------


def _disc(centre: Any, radius: float) -> np.ndarray:
    turn = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    return np.asarray(centre) + radius * np.stack([np.cos(turn), np.sin(turn)], -1)


def _box(centre: Any, half: Any, radius: float = 0.0) -> np.ndarray:
    """An axis-aligned rectangle with round corners."""
    quarter = np.linspace(0.0, np.pi / 2, 6 if radius else 1)
    inner = np.maximum(np.asarray(half, float)[:2] - radius, 0.0)
    corners = []
    for k, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turn = quarter + k * np.pi / 2
        corners.append(np.array([sx, sy]) * inner + radius * np.stack([np.cos(turn), np.sin(turn)], -1))
    return np.asarray(centre)[:2] + np.concatenate(corners)


def _turned(points: Any, yaw: float, at: Any) -> np.ndarray:
    """Points of a body's own frame, in the world."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.asarray(points) @ np.array([[cos, sin], [-sin, cos]]) + np.asarray(at)[:2]


@dataclass(frozen=True)
class _Plan:
    """A scene on the host, as far as it is drawn."""

    key: Hashable
    rooms: tuple[tuple[np.ndarray, int], ...]  # x0, y0, x1, y1 and the index into ROOMS
    doors: tuple[tuple[np.ndarray, np.ndarray], ...]  # centre, half size
    walls: tuple[tuple[np.ndarray, np.ndarray], ...]  # position, half size
    receptacles: tuple[tuple[int, np.ndarray, np.ndarray, Colour, bool], ...]  # slot, position, half size, colour, whether a bin
    objects: tuple[tuple[int, float, Colour, bool], ...]  # slot, half size, colour, whether a ball
    things: tuple[Entity, ...]

    @staticmethod
    def of(spec: WorldSpec, scene: Scene) -> "_Plan":
        host: Any = jax.tree.map(np.asarray, scene)
        lay, w = host.layout, spec.walls
        used, pos, half = host.fixture_used, lay.fixture_pos, lay.fixture_half
        receptacles = [
            (i, pos[w + i], half[w + i], PALETTE[host.receptacle_colour[i]], i >= spec.tables)
            for i in range(spec.receptacles)
            if used[w + i]
        ]
        doors = [
            (host.door[i], np.array([0.05, host.door_width[i] / 2])[:: 1 if host.door_along_x[i] else -1])
            for i in np.flatnonzero(host.door_used)
        ]
        slots = np.flatnonzero(lay.object_used)
        return _Plan(
            key=b"".join(leaf.tobytes() for leaf in jax.tree.leaves(host)),
            rooms=tuple((host.room[i], int(host.room_name[i])) for i in np.flatnonzero(host.room_used)),
            doors=tuple(doors),
            walls=tuple((pos[i], half[i]) for i in np.flatnonzero(used[:w])),
            receptacles=tuple(receptacles),
            objects=tuple((int(i), float(lay.object_half[i]), PALETTE[host.object_colour[i]], bool(i >= spec.cubes)) for i in slots),
            things=entities(spec, host),
        )

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest x, y of the house, m."""
        room = np.stack([r for r, _ in self.rooms])
        return room[:, :2].min(0), room[:, 2:].max(0)


class _Canvas:
    """A surface and where it looks: `centre` [2] m in its middle, `scale` pixels a metre."""

    def __init__(self, pg: ModuleType, size: tuple[int, int], centre: np.ndarray, scale: float):
        self.pg, self.scale, self.centre = pg, scale, centre
        self.surface = pg.Surface(size, 0, 32)

    def pixels(self, points: Any) -> np.ndarray:
        w, h = self.surface.get_size()
        return (np.asarray(points) - self.centre) * (self.scale, -self.scale) + (w / 2, h / 2)

    def fill(self, points: np.ndarray, colour: Colour, edge: Colour | None = None, width: float = 0.0) -> None:
        """A polygon, and its outline of `width` pixels as shown."""
        at = self.pixels(points)
        if edge is None:
            self.pg.draw.polygon(self.surface, colour, at)
            return
        middle, line = at.mean(0), width * _SMOOTH
        self.pg.draw.polygon(self.surface, edge, at)
        reach = np.abs(at - middle).max(0)
        self.pg.draw.polygon(self.surface, colour, middle + (at - middle) * np.maximum(1.0 - line / np.maximum(reach, 1e-6), 0.0))

    def shadow(self, shapes: Sequence[np.ndarray], height: float, strength: int = 80) -> None:
        """The soft shadow, in one piece, of polygons `height` m up."""
        offset = self.scale * (0.008 + 0.10 * height)
        blur = max(2, round(self.scale * (0.010 + 0.03 * height)))
        reach = 3 * blur
        at = [self.pixels(points) + offset for points in shapes]
        at = [a for a in at if (a.max(0) > -reach).all() and (a.min(0) < np.array(self.surface.get_size()) + reach).all()]
        if not at:
            return
        low, high = np.concatenate(at).min(0) - reach, np.concatenate(at).max(0) + reach
        rect = self.pg.Rect(low, high - low).clip(self.surface.get_rect().inflate(2 * reach, 2 * reach))
        patch = self.pg.Surface(rect.size, self.pg.SRCALPHA)
        patch.fill((30, 36, 48, 0))
        for points in at:
            self.pg.draw.polygon(patch, (30, 36, 48, strength), points - rect.topleft)
        box_blur = self.pg.transform.box_blur
        self.surface.blit(box_blur(box_blur(patch, blur), max(1, blur // 2)), rect.topleft)

    def ring(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """A circle around something: `radius` m, and some pixels of air."""
        size = self.scale * radius + 5 * _SMOOTH
        self.pg.draw.aacircle(self.surface, colour, self.pixels(centre), size, 2 * _SMOOTH)


def _draw_house(canvas: _Canvas, plan: _Plan) -> None:
    """What does not move: floors, doorways, receptacles, walls."""
    canvas.surface.fill(OUTSIDE)
    for room, name in plan.rooms:
        canvas.fill(_box((room[:2] + room[2:]) / 2, (room[2:] - room[:2]) / 2), FLOORS[name])
    for centre, half in plan.doors:
        canvas.fill(_box(centre, half), mix(FLOORS[3], WALL, 0.16))
    canvas.shadow([_box(pos, half) for pos, half in plan.walls], 0.45, 60)
    for _, pos, half, colour, is_bin in plan.receptacles:
        dark = mix(colour, INK, 0.45)
        if not is_bin:
            canvas.shadow([_box(pos, half, 0.03)], 2 * float(half[2]) + 0.1)
            canvas.fill(_box(pos, half, 0.03), mix(colour, INK, 0.12), dark, 1.0)
            canvas.fill(_box(pos, half - 0.016, 0.02), mix(colour, (255, 255, 255), 0.52))
            continue
        outer = BIN_INNER + 2 * BIN_SIDE
        canvas.shadow([_box(pos, (outer, outer), 0.012)], 0.1)
        canvas.fill(_box(pos, (outer, outer), 0.012), colour, dark, 1.0)
        inside = _box(pos, (BIN_INNER, BIN_INNER))
        canvas.fill(inside, mix(colour, INK, 0.42))
        # The rim's own shadow falls on the upper and left part of the bin's floor.
        canvas.fill(_box((pos[0] + 0.015, pos[1] - 0.015), (BIN_INNER - 0.015, BIN_INNER - 0.015)), mix(colour, (255, 255, 255), 0.62))
    for pos, half in plan.walls:
        canvas.fill(_box(pos, half), WALL)
    for pos, half in plan.walls:  # a lighter middle, in one piece where walls meet
        canvas.fill(_box(pos, half - 0.014), mix(WALL, (255, 255, 255), 0.14))


def _draw_object(canvas: _Canvas, pos: np.ndarray, quat: np.ndarray, half: float, colour: Colour, ball: bool) -> None:
    w, x, y, z = (float(v) for v in quat)
    yaw = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
    shape = _disc(pos[:2], half) if ball else _turned(_box((0, 0), (half, half), half * 0.22), yaw, pos)
    canvas.shadow([shape], float(pos[2]), 95)
    canvas.fill(shape, mix(colour, INK, 0.04), mix(colour, INK, 0.62), 1.0)
    light = mix(colour, (255, 255, 255), 0.24)
    if ball:
        canvas.fill(_disc(pos[:2] + np.array([-0.28, 0.28]) * half, half * 0.36), mix(colour, (255, 255, 255), 0.55))
    else:
        canvas.fill(_turned(_box((0, 0), (half * 0.58, half * 0.58), half * 0.12), yaw, pos), light)


def _draw_robot(canvas: _Canvas, world: World, q: np.ndarray) -> None:
    body, at, yaw = world.body, q[:2], float(q[2])
    height = body.grip_height + float(q[3])
    half_length, thick = _FINGER
    bar = body.reach - half_length - _CROSSBAR[0]
    sides = [side * (body.half_gap + thick - float(travel)) for side, travel in ((1.0, q[4]), (-1.0, q[5]))]
    fingers = [_turned(_box((body.reach, y), (half_length, thick), 0.006), yaw, at) for y in sides]
    crossbar = _turned(_box((bar, 0.0), (_CROSSBAR[0], _CROSSBAR[1] + 0.012), 0.010), yaw, at)
    arm = _turned(_box((bar / 2, 0.0), (bar / 2, 0.022), 0.01), yaw, at)
    disc = _disc(at, body.base_radius)
    canvas.shadow([disc], 0.25, 95)
    canvas.shadow([arm, crossbar, *fingers], height, 70)
    canvas.fill(disc, SHELL, STEEL, 1.4)
    canvas.fill(_disc(at, body.base_radius * 0.78), mix(SHELL, STEEL, 0.10))
    nose = np.array([[0.108, 0.0], [0.068, 0.040], [0.068, -0.040]])
    for part in fingers:
        canvas.fill(part, ACCENT, STEEL, 0.6)
    canvas.fill(crossbar, STEEL)
    canvas.fill(arm, STEEL)
    canvas.fill(_turned(nose, yaw, at), ACCENT)
    canvas.fill(_turned(_box((0, 0), (0.042, 0.042), 0.012), yaw, at), STEEL)
    canvas.fill(_turned(_box((0, 0), (0.022, 0.022), 0.008), yaw, at), mix(STEEL, (255, 255, 255), 0.30))


def _draw_things(canvas: _Canvas, world: World, plan: _Plan, qpos: np.ndarray, grow: float = 1.0) -> None:
    """What moves, from the floor up. What is as high as the fingers lies between them, and so on top."""
    q = qpos[: world.body.num_joints]
    free = qpos[world.body.num_joints :].reshape(-1, 7)
    order = sorted(plan.objects, key=lambda thing: free[thing[0], 2])
    fingers = world.body.grip_height + q[3] - 0.04
    for above in (False, True):
        for slot, half, colour, ball in order:
            if (free[slot, 2] >= fingers) == above:
                _draw_object(canvas, free[slot, :3], free[slot, 3:], half * grow, colour, ball)
        if not above:
            _draw_robot(canvas, world, q)


def _draw_trail(canvas: _Canvas, trail: np.ndarray) -> None:
    for k, point in enumerate(trail):
        age = 1.0 - k / len(trail)
        canvas.fill(_disc(point, 0.018 - 0.008 * age), mix(ACCENT, OUTSIDE, 0.25 + 0.45 * age))


def _draw_rings(canvas: _Canvas, world: World, plan: _Plan, qpos: np.ndarray, marked: Iterable[str]) -> None:
    """Circles around the objects and receptacles of these names."""
    index = {thing.name: thing.index - 1 for thing in plan.things if thing.kind not in ("robot", "room")}
    free = qpos[world.body.num_joints :].reshape(-1, 7)
    place = {slot: (free[slot, :2], half * 1.4) for slot, half, _, _ in plan.objects}
    place |= {world.spec.objects + slot: (pos[:2], float(np.hypot(*half[:2]))) for slot, pos, half, _, _ in plan.receptacles}
    for name in marked:
        if name in index:
            canvas.ring(*place[index[name]], ACCENT)


# --- words --------------------------------------------------------------------------------------------------------


class _Panel:
    """The column of words. `y` is where the next thing goes; nothing goes below `bottom`."""

    def __init__(self, pg: ModuleType, size: tuple[int, int], unit: float):
        self.pg, self.unit = pg, unit
        self.surface = pg.Surface(size, 0, 32)
        self.surface.fill(PAPER)
        self.left, self.inner = round(22 * unit), size[0] - round(44 * unit)
        self.y, self.bottom = 22 * unit, size[1] - 20 * unit

    def text(self, text: str, size: float, colour: Colour, x: float, y: float, width: float) -> None:
        """One line in at most `width` pixels: smaller where needed, cut short where that does not do."""
        for shrink in (1.0, 0.93, 0.86, 0.8):
            font = _font(self.pg, size * self.unit * shrink)
            if font.size(text)[0] <= width:
                break
        while font.size(text)[0] > width and len(text) > 1:
            text = text[:-2].rstrip() + "…"
        image = font.render(text, True, colour)
        self.surface.blit(image, (round(x), round(y + (size * self.unit * 0.7 - image.get_height()) / 2)))

    def paragraph(self, text: str, size: float, colour: Colour, most: int) -> None:
        """Wrapped words, at most `most` lines."""
        font, rows = _font(self.pg, size * self.unit), [""]
        for word in text.split():
            longer = f"{rows[-1]} {word}".strip()
            if font.size(longer)[0] <= self.inner or not rows[-1]:
                rows[-1] = longer
            else:
                rows.append(word)
        if len(rows) > most:
            rows = [*rows[: most - 1], rows[most - 1] + " …"]
        for row in rows:
            self.text(row, size, colour, self.left, self.y, self.inner)
            self.y += size * self.unit * 0.92

    def heading(self, text: str) -> None:
        self.y += 8 * self.unit
        self.pg.draw.line(self.surface, LINE, (self.left, round(self.y)), (self.left + self.inner, round(self.y)))
        self.y += 12 * self.unit
        self.text(text, 15, MUTED, self.left, self.y, self.inner)
        self.y += 19 * self.unit

    def mark(self, kind: str, y: float) -> None:
        """A sign before a row: `done`, `open` or `now`."""
        r = 7 * self.unit
        x, y, draw = self.left + r, y + 5.6 * self.unit, self.pg.draw
        tone = {"done": GREEN, "open": MUTED, "now": ACCENT}[kind]
        draw.aacircle(self.surface, tone, (x, y), r, 0 if kind != "open" else round(1.5 * self.unit))
        if kind == "done":
            tick = [(x - 0.48 * r, y + 0.02 * r), (x - 0.12 * r, y + 0.38 * r), (x + 0.48 * r, y - 0.34 * r)]
            draw.lines(self.surface, PAPER, False, tick, round(0.26 * r))
        elif kind == "now":
            draw.polygon(self.surface, PAPER, [(x - 0.28 * r, y - 0.48 * r), (x - 0.28 * r, y + 0.48 * r), (x + 0.54 * r, y)])

    def row(self, kind: str, text: str, colour: Colour) -> None:
        self.mark(kind, self.y)
        indent = 24 * self.unit
        self.text(text, 18, colour, self.left + indent, self.y, self.inner - indent)
        self.y += 21 * self.unit

    def current(self, step: str) -> None:
        """The plan's present step, in a box of its own: the skill, and its arguments beneath."""
        name, _, args = step.partition("(")
        self.y += 4 * self.unit
        box = self.pg.Rect(self.left - 8 * self.unit, self.y - 7 * self.unit, self.inner + 16 * self.unit, (43 if args else 27) * self.unit)
        self.pg.draw.rect(self.surface, mix(PAPER, ACCENT, 0.13), box, border_radius=round(7 * self.unit))
        self.row("now", name.strip(), INK)
        if args:
            self.y -= 3 * self.unit
            indent = 24 * self.unit
            self.text(args.rstrip(") "), 17, ACCENT, self.left + indent, self.y, self.inner - indent)
            self.y += 22 * self.unit
        self.y += 6 * self.unit

    def plan(self, plan: Sequence[str], current: int) -> None:
        """The steps that fit, among them the present one."""
        fit = max(1, int((self.bottom - self.y - 50 * self.unit) / (21 * self.unit)))
        first = 0 if len(plan) <= fit else int(np.clip(current - fit // 2, 0, len(plan) - fit))
        for i in range(first, min(first + fit, len(plan))):
            cut = (i == first and first > 0) or (i == first + fit - 1 and i < len(plan) - 1)
            if cut and i != current:
                rest = first + 1 if i == first else len(plan) - i
                self.text(f"{rest} {'before' if i == first else 'more'}", 16, MUTED, self.left + 24 * self.unit, self.y, self.inner)
                self.y += 21 * self.unit
            elif i == current:
                self.current(plan[i])
            else:
                self.row("done" if i < current else "open", plan[i], MUTED if i < current else INK)

    def foot(self, lines: Sequence[str]) -> None:
        """Lines at the bottom; what lies above ends above them."""
        step = 16 * self.unit
        lines = lines[: int((self.bottom - self.y) / step)]
        self.bottom -= step * len(lines)
        for i, line in enumerate(lines):
            self.text(line, 16, MUTED, self.left, self.bottom + i * step + 4 * self.unit, self.inner)
        self.bottom -= 10 * self.unit


_FONTS: dict[int, Any] = {}


def _font(pg: ModuleType, size: float) -> Any:
    """pygame's own font, `size` pixels high."""
    if not pg.font.get_init():
        pg.font.init()
        _FONTS.clear()
    if round(size) not in _FONTS:
        _FONTS[round(size)] = pg.font.Font(None, round(size))
    return _FONTS[round(size)]


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
    ) -> np.ndarray:
        """One picture, uint8 [size, 1.5 * size, 3].

        Args:
            scene: one scene, without a batch axis.
            physics: the state of one environment.
            goal: its literals are listed.
            holds: [G] bool, which of them hold.
            title: the instruction.
            lines: free text, at the bottom.
            plan: skill calls, shown as `str` gives them, e.g. `pick(red_cube)`.
            current: which of them is running; those before it are done, all where it is the plan's length; -1: none yet.
            trail: [N, 2] m, where the robot has been, oldest first.
        """
        house = _Plan.of(self.world.spec, scene)
        qpos = np.asarray(physics.qpos, np.float64)
        steps = [str(step) for step in plan]
        literals = [] if goal is None else phrases(self.world.spec, scene, goal)
        truth = np.zeros(0, bool) if holds is None else np.asarray(holds)
        rows = [(bool(truth[i]) if i < len(truth) else False, words) for i, words in literals]
        words, gap = self._column(title, tuple(rows), tuple(steps), current, tuple(lines))
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
            image = _font(self._pg, size * self._unit).render(text, True, colour)
            whole.blit(
                image, ((self.width - image.get_width()) // 2, self.size // 2 + round((-40 if i == 0 else 24 * i - 16) * self._unit))
            )
        return self._array(whole)

    def locate(self, scene: Scene, xy: Any) -> np.ndarray:
        """Where in a frame the points xy [..., 2] m are: column and row [..., 2], pixels."""
        canvas = self._canvas(_Plan.of(self.world.spec, scene))
        return canvas.pixels(np.asarray(xy, float)) / _SMOOTH

    def _canvas(self, house: _Plan) -> _Canvas:
        low, high = house.bounds()
        side = self.size * _SMOOTH
        return _Canvas(self._pg, (side, side), (low + high) / 2, side / (float((high - low).max()) + 2 * _MARGIN))

    def _map(self, house: _Plan, qpos: np.ndarray, trail: np.ndarray, marked: Sequence[str]) -> Any:
        canvas = self._canvas(house)
        if self._house[0] != house.key:
            _draw_house(canvas, house)
            self._name_rooms(canvas, house)
            self._house = (house.key, canvas.surface)
            canvas = self._canvas(house)
        canvas.surface.blit(self._house[1], (0, 0))
        least = min((half for _, half, _, _ in house.objects), default=1.0)
        grow = max(1.0, _LEAST_OBJECT * self._unit * _SMOOTH / (least * canvas.scale))
        _draw_trail(canvas, trail)
        _draw_things(canvas, self.world, house, qpos, grow)
        _draw_rings(canvas, self.world, house, qpos, marked)
        return self._pg.transform.smoothscale(canvas.surface, (self.size, self.size))

    def _name_rooms(self, canvas: _Canvas, house: _Plan) -> None:
        """Each room's name, in its first corner that is free of furniture."""
        names = iter(thing.name for thing in house.things if thing.kind == "room")
        font = _font(self._pg, 19 * self._unit * _SMOOTH)
        furniture = []
        for _, pos, half, _, _ in house.receptacles:
            low, high = canvas.pixels((pos[:2] - half[:2], pos[:2] + half[:2]))
            furniture.append(self._pg.Rect(low[0], high[1], high[0] - low[0], low[1] - high[1]).inflate(8 * _SMOOTH, 8 * _SMOOTH))
        inset = 0.05 * canvas.scale + 7 * _SMOOTH * self._unit
        for (room, tint), name in zip(house.rooms, names, strict=True):
            image = font.render(name, True, mix(FLOORS[tint], INK, 0.5))
            (left, bottom), (right, top) = canvas.pixels(room.reshape(2, 2)) + inset * np.array([[1, -1], [-1, 1]])
            right, bottom = right - image.get_width(), bottom - image.get_height()
            corners = [image.get_rect(topleft=at) for at in ((left, top), (left, bottom), (right, top), (right, bottom))]
            canvas.surface.blit(image, next((c for c in corners if c.collidelist(furniture) < 0), corners[0]))

    def _close_up(self, house: _Plan, qpos: np.ndarray, rect: Any) -> Any:
        """The gripper and what is around it, in true proportions."""
        body = self.world.body
        at = qpos[:2] + 0.42 * body.reach * np.array([np.cos(qpos[2]), np.sin(qpos[2])])
        canvas = _Canvas(self._pg, (rect.w * _SMOOTH, rect.h * _SMOOTH), at, rect.h * _SMOOTH / 0.66)
        _draw_house(canvas, house)
        _draw_things(canvas, self.world, house, qpos)
        return self._pg.transform.smoothscale(canvas.surface, rect.size)

    def _column(
        self, title: str, rows: tuple[tuple[bool, str], ...], steps: tuple[str, ...], current: int, lines: tuple[str, ...]
    ) -> tuple[Any, Any]:
        """The words, and where there is room for the close-up (None where there is not)."""
        key = (title, rows, steps, current, lines)
        if self._words[0] == key:
            return self._words[1]
        size = (self.width - self.size, self.size)
        panel = _Panel(self._pg, (size[0] * _SMOOTH, size[1] * _SMOOTH), self._unit * _SMOOTH)
        if title:
            panel.paragraph(title, 23, INK, 5)
        if rows:
            panel.heading("Goal")
            for holds, text in rows:
                panel.row("done" if holds else "open", text, INK)
        panel.foot(lines)
        if steps:
            panel.heading("Plan")
            panel.plan(steps, current)
        room, height = panel.bottom - panel.y - 48 * panel.unit, 0.72 * panel.inner
        gap = None
        if room >= 110 * panel.unit:
            panel.y = max(panel.y, panel.bottom - height - 48 * panel.unit)
            panel.heading("Close-up")
            low, high = round(panel.y / _SMOOTH), round(panel.bottom / _SMOOTH)
            gap = self._pg.Rect(panel.left // _SMOOTH, low, panel.inner // _SMOOTH, high - low)
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
class Input:
    """What happened in a window since the last look."""

    pressed: tuple[str, ...] = ()  # keys that went down, by pygame's names, in order
    held: frozenset[str] = frozenset()  # keys that are down
    closed: bool = False  # the window was closed by its user


class Window:
    """Frames on a screen, in a window that can be resized. Without a screen: SDL_VIDEODRIVER=dummy."""

    def __init__(self, width: int = 960, height: int = 640, title: str = "palaestra"):
        self._pg = _pygame()
        try:
            self._pg.display.init()  # not pygame.init(): no sound, no joysticks
            self._pg.display.set_mode((width, height), self._pg.RESIZABLE)
        except self._pg.error as error:
            raise PalaestraError(f"no window could be opened: {error}. Fix: run on a desktop, or set SDL_VIDEODRIVER=dummy") from error
        self._pg.display.set_caption(title)
        self._held: set[str] = set()
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
        screen.fill(PAPER)
        screen.blit(image, ((screen.get_width() - image.get_width()) // 2, (screen.get_height() - image.get_height()) // 2))
        pg.display.flip()

    def poll(self) -> Input:
        """Keys and the like since the last call."""
        pg, pressed, closed = self._pg, [], False
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
        return Input(tuple(pressed), frozenset(self._held), closed)

    def close(self) -> None:
        """Close the window; again is fine."""
        if self._open:
            self._open = False
            self._pg.display.quit()

    def __enter__(self) -> "Window":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
