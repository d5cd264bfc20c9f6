"""The map of a house, seen from above, on a pygame surface; and the colours of everything.

Everything is a polygon in metres, drawn at SMOOTH times the size and scaled down. Light falls from the upper left, so shadows
lie to the lower right, the farther the higher the thing is. The module pygame comes in as an argument, `pg`.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import numpy as np

from palaestra.envs import drawers, hampers
from palaestra.envs.mechanics import Rule, mechanics
from palaestra.envs.names import Entity, entities
from palaestra.envs.predicates import RESTS
from palaestra.envs.types import Scene, button_entity, leaf_entity
from palaestra.sim.drawers import DRAWER_HEIGHT, DRAWER_INNER, HANDLE_OUT, HANDLE_RADIUS
from palaestra.sim.world import (
    BIN_INNER,
    BIN_SIDE,
    BUTTON_CAP,
    BUTTON_HALF,
    BUTTON_POST,
    BUTTON_PRESSED,
    LEAF_HALF,
    LEAF_LENGTH,
    LEAF_OPEN,
    LID_HALF,
    LID_HEIGHT,
    TOGGLE_ON,
    Layout,
    World,
    WorldSpec,
    leaf_axis,
)

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
LAMP: Colour = (255, 209, 60)
GREEN: Colour = (46, 150, 88)
RED: Colour = (200, 44, 40)
WHITE: Colour = (255, 255, 255)
# In the order of COLOURS and of ROOMS.
PALETTE: tuple[Colour, ...] = ((212, 58, 52), (56, 156, 84), (54, 110, 210), (240, 196, 48), (138, 84, 190), (240, 130, 40))
FLOORS: tuple[Colour, ...] = (
    *((246, 238, 220), (233, 231, 245), (227, 238, 228), (238, 234, 227), (249, 233, 224), (223, 236, 241)),
    *((217, 234, 232), (243, 240, 208), (247, 226, 234)),
)

SMOOTH = 2  # how much larger everything is drawn than it is shown
_FINGER = (0.035, 0.010)  # m, half length and half thickness of a finger
_CROSSBAR = (0.015, 0.075)  # m, half sizes of the bar that carries the fingers, drawn behind them: it would hide what they hold


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a share of `b`."""
    return tuple(round(x + share * (y - x)) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


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
class Plan:
    """A scene on the host, as far as it is drawn."""

    key: Hashable  # of all that `draw_house` draws
    rooms: tuple[tuple[np.ndarray, int], ...]  # x0, y0, x1, y1 and the index into ROOMS
    doors: tuple[tuple[np.ndarray, np.ndarray], ...]  # centre, half size
    walls: tuple[tuple[np.ndarray, np.ndarray], ...]  # position, half size
    receptacles: tuple[tuple[int, np.ndarray, np.ndarray, Colour, bool], ...]  # slot, position, half size, colour, whether a bin
    drawers: tuple[tuple[int, np.ndarray, np.ndarray, Colour], ...]  # slot, the cabinet's position and half size, colour
    plates: tuple[tuple[np.ndarray, np.ndarray, Colour], ...]  # those of the receptacles that are: position, half size, colour
    lids: tuple[tuple[int, np.ndarray, Colour], ...]  # slot, the bin's position, colour
    shelves: tuple[tuple[np.ndarray, np.ndarray, Colour], ...]  # those of the receptacles that are: position, half size, colour
    leaves: tuple[tuple[int, np.ndarray, np.ndarray, Colour], ...]  # slot, hinge, quaternion, colour
    locks: int  # leaves from this slot on are swing doors
    buttons: tuple[tuple[int, np.ndarray, Colour], ...]  # slot, position, colour
    plain_buttons: int  # buttons from this slot on are toggles
    objects: tuple[tuple[int, float, Colour, str], ...]  # slot, half size, colour, cube, ball or crate
    layout: Layout  # as at the start
    things: tuple[Entity, ...]
    rules: tuple[Rule, ...]

    @staticmethod
    def of(spec: WorldSpec, scene: Scene) -> "Plan":
        host: Any = jax.tree.map(np.asarray, scene)
        lay, w = host.layout, spec.walls
        used, pos, half = host.fixture_used, lay.fixture_pos, lay.fixture_half
        receptacles = [
            (i, pos[w + i], half[w + i], PALETTE[host.receptacle_colour[i]], i >= spec.tables)
            for i in range(spec.receptacles - spec.drawers)
            if used[w + i]
        ]
        first = spec.tables + spec.bins - spec.hampers
        plain = spec.tables - spec.plates - spec.shelves
        cabinets = [(i, spec.receptacles - spec.drawers + i) for i in range(spec.drawers)]
        doors = [
            (host.door[i], np.array([0.05, host.door_width[i] / 2])[:: 1 if host.door_along_x[i] else -1])
            for i in np.flatnonzero(host.door_used)
        ]
        slots = np.flatnonzero(lay.object_used)
        still = host.replace(layout=lay.replace(object_pos=None, object_yaw=None, object_used=None, robot_q=None))
        return Plan(
            key=b"".join(leaf.tobytes() for leaf in jax.tree.leaves(still)),
            rooms=tuple((host.room[i], int(host.room_name[i])) for i in np.flatnonzero(host.room_used)),
            doors=tuple(doors),
            walls=tuple((pos[i], half[i]) for i in np.flatnonzero(used[:w])),
            receptacles=tuple(receptacles),
            drawers=tuple((i, pos[w + k], half[w + k], PALETTE[host.receptacle_colour[k]]) for i, k in cabinets if used[w + k]),
            layout=lay,
            plates=tuple((at, size, tone) for i, at, size, tone, _ in receptacles if spec.tables - spec.plates <= i < spec.tables),
            lids=tuple((i - first, at, tone) for i, at, _, tone, _ in receptacles if i >= first),
            shelves=tuple((at, size, tone) for i, at, size, tone, _ in receptacles if plain <= i < spec.tables - spec.plates),
            leaves=tuple((int(i), lay.leaf_pos[i], lay.leaf_quat[i], PALETTE[host.leaf_colour[i]]) for i in np.flatnonzero(host.leaf_used)),
            locks=spec.locks,
            buttons=tuple((int(i), lay.button_pos[i], PALETTE[host.button_colour[i]]) for i in np.flatnonzero(host.button_used)),
            plain_buttons=spec.buttons - spec.toggles,
            objects=tuple((int(i), float(lay.object_half[i]), PALETTE[host.object_colour[i]], spec.object_kinds[i]) for i in slots),
            things=entities(spec, host),
            rules=mechanics(spec, host).rules,
        )

    def furniture(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The rectangles on the floor that are taken, those that leaves and drawers may take as well: least and greatest x, y, m."""
        taken = [(pos[:2] - half[:2], pos[:2] + half[:2]) for _, pos, half, _, _ in self.receptacles]
        taken += [(pos - half, pos + half) for pos, half in zip(*drawers.swept(self.layout), strict=True)]
        taken += [(at - 2 * BUTTON_HALF, at + 2 * BUTTON_HALF) for _, at, _ in self.buttons]
        for slot, hinge, quat, _ in self.leaves:
            for way in (1, -1)[: 1 + (slot >= self.locks)]:
                corner = hinge + LEAF_LENGTH * (leaf_axis(quat, 0.0) + way * leaf_axis(quat, LEAF_OPEN))
                taken.append((np.minimum(hinge, corner), np.maximum(hinge, corner)))
        return taken

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest x, y of the house, m."""
        room = np.stack([r for r, _ in self.rooms])
        return room[:, :2].min(0), room[:, 2:].max(0)


class Canvas:
    """A surface and where it looks: `centre` [2] m in its middle, `scale` pixels a metre."""

    def __init__(self, pg: ModuleType, size: tuple[int, int], centre: np.ndarray, scale: float):
        self.pg, self.scale, self.centre = pg, scale, centre
        self.surface = pg.Surface(size, 0, 32)

    def pixels(self, points: Any) -> np.ndarray:
        w, h = self.surface.get_size()
        return (np.asarray(points) - self.centre) * (self.scale, -self.scale) + (w / 2, h / 2)

    def metres(self, pixels: Any) -> np.ndarray:
        """The inverse of `pixels`."""
        w, h = self.surface.get_size()
        return (np.asarray(pixels) - (w / 2, h / 2)) / (self.scale, -self.scale) + self.centre

    def fill(self, points: np.ndarray, colour: Colour, edge: Colour | None = None, width: float = 0.0) -> None:
        """A polygon, and its outline of `width` pixels as shown."""
        at = self.pixels(points)
        if edge is None:
            self.pg.draw.polygon(self.surface, colour, at)
            return
        middle, line = at.mean(0), width * SMOOTH
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
        size = self.scale * radius + 5 * SMOOTH
        self.pg.draw.aacircle(self.surface, colour, self.pixels(centre), size, 2 * SMOOTH)


def draw_house(canvas: Canvas, plan: Plan) -> None:
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
            canvas.fill(_box(pos, half - 0.016, 0.02), mix(colour, WHITE, 0.52))
            continue
        outer = BIN_INNER + 2 * BIN_SIDE
        canvas.shadow([_box(pos, (outer, outer), 0.012)], 0.1)
        canvas.fill(_box(pos, (outer, outer), 0.012), colour, dark, 1.0)
        inside = _box(pos, (BIN_INNER, BIN_INNER))
        canvas.fill(inside, mix(colour, INK, 0.42))
        # The rim's own shadow falls on the upper and left part of the bin's floor.
        canvas.fill(_box((pos[0] + 0.015, pos[1] - 0.015), (BIN_INNER - 0.015, BIN_INNER - 0.015)), mix(colour, WHITE, 0.62))
    for pos, half, colour in plan.plates:
        _draw_plate(canvas, pos, half, colour, lit=False)
    for pos, half, colour in plan.shelves:
        _draw_shelf(canvas, pos, half, colour)
    for slot, hinge, quat, _ in plan.leaves:
        _draw_swing(canvas, hinge, quat, both=slot >= plan.locks)
    for pos, half in plan.walls:
        canvas.fill(_box(pos, half), WALL)
    for pos, half in plan.walls:  # a lighter middle, in one piece where walls meet
        canvas.fill(_box(pos, half - 0.014), mix(WALL, WHITE, 0.14))


def _draw_plate(canvas: Canvas, pos: np.ndarray, half: np.ndarray, colour: Colour, lit: bool) -> None:
    """A frame around stripes; pale, and bright with a glow where something lies on it."""
    pg, scale = canvas.pg, canvas.scale
    if lit:
        canvas.fill(_box(pos, half[:2] + 0.035, 0.045), mix(colour, WHITE, 0.30))
    canvas.fill(_box(pos, half, 0.02), mix(colour, INK, 0.42))
    low, high = canvas.pixels((pos[:2] - half[:2] + 0.024, pos[:2] + half[:2] - 0.024)).round().astype(int)
    patch = pg.Surface((high[0] - low[0], low[1] - high[1]), 0, 32)
    ground, stripe = (0.0, 0.62) if lit else (0.80, 0.30)
    patch.fill(mix(colour, WHITE, ground))
    width, height = patch.get_size()
    step = max(4.0 * SMOOTH, 0.045 * scale)
    for x in np.arange(-height, width, 2 * step):
        pg.draw.polygon(patch, mix(colour, WHITE, stripe), [(x, height), (x + step, height), (x + step + height, 0), (x + height, 0)])
    canvas.surface.blit(patch, (low[0], high[1]))


def _draw_shelf(canvas: Canvas, pos: np.ndarray, half: np.ndarray, colour: Colour) -> None:
    """A board along the wall, with the grain of its wood."""
    long = int(half[1] > half[0])
    step = np.eye(2)[1 - long] * half[1 - long]
    line = np.eye(2)[long] * (half[long] - 0.03)
    for share in (-0.45, 0.0, 0.45):
        ends = canvas.pixels(pos[:2] + share * step + np.stack([-line, line]))
        canvas.pg.draw.line(canvas.surface, mix(colour, INK, 0.22), *ends, max(1, round(0.8 * SMOOTH)))


def _draw_lid(canvas: Canvas, at: np.ndarray, half: np.ndarray, front: np.ndarray, colour: Colour, rise: float) -> None:
    """A lid from above (`at`, `half` [2] m), with a knob at its free edge, and hinges: shut, standing, or on its way."""
    canvas.shadow([_box(at, half, 0.01)], LID_HEIGHT + rise, 90)
    canvas.fill(_box(at, half, 0.012), mix(colour, WHITE, 0.12), mix(colour, INK, 0.6), 1.2)
    canvas.fill(_box(at, np.maximum(half - 0.028, 0.004), 0.008), mix(colour, INK, 0.10))
    side = LID_HALF[1] * 0.6 * front[::-1]
    reach = float(half @ np.abs(front))
    for hinge in (at - reach * front + side, at - reach * front - side):
        canvas.fill(_disc(hinge, max(0.016, 2.0 * SMOOTH / canvas.scale)), STEEL)
    if reach > LID_HALF[0] / 2:
        canvas.fill(_disc(at + (reach - 0.045) * front, max(0.020, 2.4 * SMOOTH / canvas.scale)), STEEL, INK, 0.6)


def _draw_swing(canvas: Canvas, hinge: np.ndarray, quat: np.ndarray, both: bool) -> None:
    """The way of a leaf's free edge, dashed; to both sides, or to one."""
    angle = np.linspace(-LEAF_OPEN if both else 0.0, LEAF_OPEN, 53 if both else 27)
    way = canvas.pixels(hinge + LEAF_LENGTH * leaf_axis(np.broadcast_to(quat, (len(angle), 4)), angle))
    for k in range(1, len(way) - 1, 2):
        canvas.pg.draw.line(canvas.surface, mix(OUTSIDE, WALL, 0.42), way[k], way[k + 1], round(1.4 * SMOOTH))


def _draw_leaf(canvas: Canvas, hinge: np.ndarray, axis: np.ndarray, colour: Colour, swings: bool) -> None:
    """A leaf with a handle; that of a swing door has a plate to push it by instead."""
    yaw, dark, edge = float(np.arctan2(axis[1], axis[0])), mix(colour, INK, 0.55), 1.1 * SMOOTH / canvas.scale
    half = np.array([LEAF_LENGTH / 2, max(LEAF_HALF, 2.8 * SMOOTH / canvas.scale)])
    middle = np.asarray(hinge, float) + LEAF_LENGTH / 2 * axis
    canvas.shadow([_turned(_box((0, 0), half), yaw, middle)], 0.30, 70)
    handle = _turned(_box((LEAF_LENGTH / 2 - 0.10, 0), (0.035, half[1] + 0.018), 0.008), yaw, middle)
    if not swings:
        canvas.fill(handle, STEEL)
    canvas.fill(_turned(_box((0, 0), half, 0.008), yaw, middle), dark)
    canvas.fill(_turned(_box((0, 0), half - edge), yaw, middle), colour)
    if swings:
        canvas.fill(_turned(_box((LEAF_LENGTH / 2 - 0.17, 0), (0.11, half[1] - edge)), yaw, middle), mix(colour, WHITE, 0.75))
    canvas.fill(_disc(hinge, half[1] + 0.014), STEEL)
    canvas.fill(_disc(hinge, 0.45 * half[1]), SHELL)


def _draw_button(canvas: Canvas, at: np.ndarray, colour: Colour, pressed: bool, grow: float) -> None:
    """A cap on a dark post; pressed it is sunk, and the post shines in its colour."""
    post, cap = grow * BUTTON_HALF, grow * BUTTON_CAP[0]
    canvas.shadow([_box(at, (post, post), 0.2 * post)], BUTTON_POST, 90)
    canvas.fill(_box(at, (post, post), 0.25 * post), mix(colour, WHITE, 0.55) if pressed else STEEL, INK, 0.8)
    if pressed:
        canvas.fill(_disc(at, 0.75 * cap), mix(colour, INK, 0.45))
        return
    canvas.fill(_disc(at, 1.05 * cap), colour, mix(colour, INK, 0.55), 0.6)
    canvas.fill(_disc(at + np.array([-0.3, 0.3]) * cap, 0.36 * cap), mix(colour, WHITE, 0.65))


def _draw_toggle(canvas: Canvas, at: np.ndarray, colour: Colour, on: bool, grow: float) -> None:
    """A square cap on a dark post, and a lamp beside it that shines while it is on."""
    post, cap = grow * BUTTON_HALF, grow * BUTTON_CAP[0]
    canvas.shadow([_box(at, (post, post), 0.2 * post)], BUTTON_POST, 90)
    canvas.fill(_box(at, (post, post), 0.25 * post), STEEL, INK, 0.8)
    middle = at + np.array([-0.22, 0.22]) * cap
    canvas.fill(_box(middle, (0.85 * cap, 0.85 * cap), 0.2 * cap), colour, mix(colour, INK, 0.55), 0.6)
    canvas.fill(_box(middle, (0.85 * cap, 0.1 * cap)), mix(colour, INK, 0.4))
    lamp = at + np.array([0.92, -0.92]) * cap
    if on:
        canvas.fill(_disc(lamp, 0.62 * cap), mix(LAMP, WHITE, 0.5))
    canvas.fill(_disc(lamp, 0.42 * cap), LAMP if on else mix(STEEL, INK, 0.6), INK, 0.6)


def _draw_tray(canvas: Canvas, plan: Plan, which: int, out: np.ndarray, colour: Colour) -> None:
    """A tray with its handle, as far as it is out; `out` [W] m."""
    front = drawers.fronts(plan.layout)[which]
    yaw, dark = float(np.arctan2(front[1], front[0])), mix(colour, INK, 0.45)
    (at,), (handle,) = drawers.trays(plan.layout, out)[0][which : which + 1], drawers.handles(plan.layout, out)[which : which + 1]
    outer = np.array(DRAWER_INNER) + 0.016
    canvas.shadow([_turned(_box((0, 0), outer), yaw, at)], 0.1)
    canvas.fill(_turned(_box(((HANDLE_OUT + outer[0]) / 2, 0), ((HANDLE_OUT - outer[0]) / 2, 0.014)), yaw, at), STEEL)
    canvas.fill(_turned(_box((0, 0), outer, 0.01), yaw, at), colour, dark, 1.0)
    canvas.fill(_turned(_box((0, 0), DRAWER_INNER), yaw, at), mix(colour, WHITE, 0.62), mix(colour, INK, 0.42), 1.0)
    canvas.fill(_disc(handle, max(1.3 * HANDLE_RADIUS, 3.0 * SMOOTH / canvas.scale)), STEEL, INK, 0.8)


def _draw_cabinet(canvas: Canvas, pos: np.ndarray, half: np.ndarray, colour: Colour) -> None:
    """A cabinet's top, in boards."""
    canvas.shadow([_box(pos, half, 0.01)], 2 * float(half[2]))
    canvas.fill(_box(pos, half, 0.012), mix(colour, INK, 0.25), mix(colour, INK, 0.6), 1.0)
    canvas.fill(_box(pos, half[:2] - 0.03, 0.008), mix(colour, INK, 0.12))


def _lying(plan: Plan, position: np.ndarray, middles: np.ndarray, inner: Any, below: float) -> list[tuple[int, float, Colour, str]]:
    """The objects lower than `below` m in boxes of these middles and inner half sizes [n, 2] m; `position` [O, 3] m."""
    boxes = [(at, size) for at, size in zip(middles, np.broadcast_to(inner, middles.shape), strict=True)]
    return [
        thing
        for thing in plan.objects
        if position[thing[0], 2] < below and any((np.abs(position[thing[0], :2] - at) <= size).all() for at, size in boxes)
    ]


def _hint(canvas: Canvas, at: np.ndarray, size: float, tone: Colour, cover: Colour) -> None:
    """A dot that shows what is underneath."""
    canvas.fill(_disc(at, 0.6 * size), mix(tone, cover, 0.25), mix(cover, INK, 0.6), 0.8)


def _draw_drawers(canvas: Canvas, plan: Plan, position: np.ndarray, quat: np.ndarray, out: np.ndarray, grow: float) -> set[int]:
    """Trays, what lies in them, and over that the cabinets, on which dots show what is underneath: the slots of these objects."""
    if not plan.drawers:
        return set()
    for which, _, _, colour in plan.drawers:
        _draw_tray(canvas, plan, which, out, colour)
    lying = _lying(plan, position, *drawers.trays(plan.layout, out), DRAWER_HEIGHT)
    for slot, size, colour, kind in lying:
        _draw_object(canvas, position[slot], quat[slot], size * grow, colour, kind)
    for _, pos, half, colour in plan.drawers:
        _draw_cabinet(canvas, pos, half, colour)
        for slot, size, tone, _ in lying:
            if (np.abs(position[slot, :2] - pos[:2]) <= half[:2]).all():
                _hint(canvas, position[slot, :2], size * grow, tone, colour)
    return {slot for slot, _, _, _ in lying}


def _draw_lids(
    canvas: Canvas, world: World, plan: Plan, position: np.ndarray, quat: np.ndarray, angle: np.ndarray, grow: float
) -> set[int]:
    """What lies in hampers, and their lids, as far as they are open [H] rad, on which dots show what is underneath: its slots."""
    if not plan.lids:
        return set()
    middle, half, top = hampers.lids(world.spec, plan.layout, angle)
    lying = _lying(plan, position, np.stack([pos[:2] for _, pos, _ in plan.lids]), BIN_INNER, LID_HEIGHT)
    for slot, size, colour, kind in lying:
        _draw_object(canvas, position[slot], quat[slot], size * grow, colour, kind)
    for which, _, colour in plan.lids:
        _draw_lid(canvas, middle[which], half[which], hampers.fronts(plan.layout)[which], colour, float(top[which]) - LID_HEIGHT)
        for slot, size, tone, _ in lying:
            if (np.abs(position[slot, :2] - middle[which]) <= half[which]).all():
                _hint(canvas, position[slot, :2], size * grow, tone, colour)
    return {slot for slot, _, _, _ in lying}


def _laden(plan: Plan, position: np.ndarray, pos: np.ndarray, half: np.ndarray) -> bool:
    """Whether something lies on the plate; `position` [O, 3] m, of the objects."""
    top = pos[2] + half[2]
    return any(
        bool((np.abs(position[slot, :2] - pos[:2]) <= half[:2]).all()) and abs(position[slot, 2] - size - top) <= RESTS
        for slot, size, _, _ in plan.objects
    )


def _draw_object(canvas: Canvas, pos: np.ndarray, quat: np.ndarray, half: float, colour: Colour, kind: str) -> None:
    w, x, y, z = (float(v) for v in quat)
    yaw = float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))
    ball = kind == "ball"
    if kind == "crate":
        _draw_crate(canvas, pos, yaw, half, colour)
        return
    shape = _disc(pos[:2], half) if ball else _turned(_box((0, 0), (half, half), half * 0.22), yaw, pos)
    canvas.shadow([shape], float(pos[2]), 95)
    canvas.fill(shape, mix(colour, INK, 0.04), mix(colour, INK, 0.62), 1.0)
    light = mix(colour, WHITE, 0.24)
    if ball:
        canvas.fill(_disc(pos[:2] + np.array([-0.28, 0.28]) * half, half * 0.36), mix(colour, WHITE, 0.55))
    else:
        canvas.fill(_turned(_box((0, 0), (half * 0.58, half * 0.58), half * 0.12), yaw, pos), light)


def _draw_crate(canvas: Canvas, pos: np.ndarray, yaw: float, half: float, colour: Colour) -> None:
    """A lid of boards in a frame, with a brace across."""
    dark, board = mix(colour, INK, 0.62), half - 0.028
    canvas.shadow([_turned(_box((0, 0), (half, half), 0.01), yaw, pos)], 2 * half, 95)
    canvas.fill(_turned(_box((0, 0), (half, half), 0.008), yaw, pos), mix(colour, INK, 0.22), dark, 1.2)
    for y in np.linspace(-board, board, 9)[1::2]:
        canvas.fill(_turned(_box((0, y), (board, 0.23 * board), 0.004), yaw, pos), mix(colour, WHITE, 0.24))
    wide = 0.010 * np.sqrt(2.0)
    brace = np.array(
        [(-board, -board + wide), (-board, -board), (wide - board, -board), (board, board - wide), (board, board), (board - wide, board)]
    )
    canvas.fill(_turned(brace, yaw, pos), mix(colour, INK, 0.22))


def _draw_robot(canvas: Canvas, world: World, q: np.ndarray) -> None:
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
    canvas.fill(_turned(_box((0, 0), (0.022, 0.022), 0.008), yaw, at), mix(STEEL, WHITE, 0.30))


def _poses(world: World, qpos: Any) -> tuple[np.ndarray, ...]:
    """Positions [O, 3] m and quaternions [O, 4] of objects, how far leaves are open [L] rad, buttons up [U] m, drawers out [W] m,
    and lids open [H] rad."""
    found = *world.object_pose(qpos), *world.mechanism_q(qpos), world.drawer_q(qpos), world.lid_q(qpos)
    return tuple(np.asarray(x) for x in found)


def draw_things(canvas: Canvas, world: World, plan: Plan, qpos: np.ndarray, grow: float = 1.0) -> None:
    """What moves or changes, from the floor up. What is as high as the fingers lies between them, and so on top."""
    q = qpos[: world.body.num_joints]
    position, quat, angle, up, out, lid = _poses(world, qpos)
    for pos, half, colour in plan.plates:
        if _laden(plan, position, pos, half):
            _draw_plate(canvas, pos, half, colour, lit=True)
    for slot, hinge, hung, colour in plan.leaves:
        _draw_leaf(canvas, hinge, leaf_axis(hung, angle[slot]), colour, swings=slot >= plan.locks)
    for slot, at, colour in plan.buttons:
        if slot < plan.plain_buttons:
            _draw_button(canvas, at, colour, bool(up[slot] < -BUTTON_PRESSED), grow)
        else:
            _draw_toggle(canvas, at, colour, bool(up[slot] < -TOGGLE_ON / 2), grow)
    lying = _draw_drawers(canvas, plan, position, quat, out, grow)
    lying |= _draw_lids(canvas, world, plan, position, quat, lid, grow)
    order = sorted((thing for thing in plan.objects if thing[0] not in lying), key=lambda thing: position[thing[0], 2])
    fingers = world.body.grip_height + q[3] - 0.04
    for above in (False, True):
        for slot, size, colour, kind in order:
            if (position[slot, 2] >= fingers and kind != "crate") == above:
                _draw_object(canvas, position[slot], quat[slot], size if kind == "crate" else size * grow, colour, kind)
        if not above:
            _draw_robot(canvas, world, q)


def draw_trail(canvas: Canvas, trail: np.ndarray) -> None:
    """Where the robot has been, oldest first, and fainter the longer ago."""
    for k, point in enumerate(trail):
        age = 1.0 - k / len(trail)
        canvas.fill(_disc(point, 0.018 - 0.008 * age), mix(ACCENT, OUTSIDE, 0.25 + 0.45 * age))


def draw_rings(canvas: Canvas, world: World, plan: Plan, qpos: np.ndarray, marked: Iterable[str], colour: Colour = ACCENT) -> None:
    """Circles around the robot, objects, receptacles, doors and buttons of these names, as far as they are there."""
    spec, index = world.spec, {thing.name: thing.index for thing in plan.things}
    position, _, angle, *_ = _poses(world, qpos)
    place = {0: (qpos[:2], world.body.base_radius)}
    place |= {1 + slot: (position[slot, :2], half * 1.4) for slot, half, _, _ in plan.objects}
    place |= {1 + spec.objects + slot: (pos[:2], float(np.hypot(*half[:2]))) for slot, pos, half, _, _ in plan.receptacles}
    first = 1 + spec.objects + spec.receptacles - spec.drawers
    place |= {first + which: (pos[:2], float(np.hypot(*half[:2]))) for which, pos, half, _ in plan.drawers}
    place |= {
        leaf_entity(spec, slot): (hinge + LEAF_LENGTH / 2 * leaf_axis(hung, angle[slot]), LEAF_LENGTH / 2)
        for slot, hinge, hung, _ in plan.leaves
    }
    place |= {button_entity(spec, slot): (at, 1.4 * BUTTON_HALF) for slot, at, _ in plan.buttons}
    for name in marked:
        if index.get(name) in place:
            canvas.ring(*place[index[name]], colour)
