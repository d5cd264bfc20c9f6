"""The column of words beside the map: title, goal, plan, lines of text. The module pygame comes in as an argument, `pg`."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from palaestra.envs.display.drawing import ACCENT, GREEN, INK, LINE, MUTED, PAPER, RED, Colour, mix
from palaestra.envs.display.signs import HEIGHT, Signs
from palaestra.envs.mechanics import Rule
from palaestra.envs.names import Entity


class Panel:
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
            font = sized_font(self.pg, size * self.unit * shrink)
            if font.size(text)[0] <= width:
                break
        while font.size(text)[0] > width and len(text) > 1:
            text = text[:-2].rstrip() + "…"
        image = font.render(text, True, colour)
        self.surface.blit(image, (round(x), round(y + (size * self.unit * 0.7 - image.get_height()) / 2)))

    def wrap(self, text: str, size: float, width: float, most: int) -> list[str]:
        """The text in lines of at most `width` pixels, at most `most` of them."""
        font, rows = sized_font(self.pg, size * self.unit), [""]
        for word in text.split():
            longer = f"{rows[-1]} {word}".strip()
            if font.size(longer)[0] <= width or not rows[-1]:
                rows[-1] = longer
            else:
                rows.append(word)
        return rows if len(rows) <= most else [*rows[: most - 1], rows[most - 1] + " …"]

    def paragraph(self, text: str, size: float, colour: Colour, most: int) -> None:
        """Wrapped words, at most `most` lines."""
        for row in self.wrap(text, size, self.inner, most):
            self.text(row, size, colour, self.left, self.y, self.inner)
            self.y += size * self.unit * 0.92

    def heading(self, text: str) -> None:
        self.y += 8 * self.unit
        self.pg.draw.line(self.surface, LINE, (self.left, round(self.y)), (self.left + self.inner, round(self.y)))
        self.y += 12 * self.unit
        self.text(text, 15, MUTED, self.left, self.y, self.inner)
        self.y += 19 * self.unit

    def mark(self, kind: str, y: float) -> None:
        """A sign before a row: `done`, `open`, `now`, `wrong` or `chosen`."""
        r = 7 * self.unit
        x, y, draw = self.left + r, y + 5.6 * self.unit, self.pg.draw
        tone = {"done": GREEN, "open": MUTED, "now": ACCENT, "wrong": RED, "chosen": ACCENT}[kind]
        draw.aacircle(self.surface, tone, (x, y), r, 0 if kind != "open" else round(1.5 * self.unit))
        if kind == "done":
            tick = [(x - 0.48 * r, y + 0.02 * r), (x - 0.12 * r, y + 0.38 * r), (x + 0.48 * r, y - 0.34 * r)]
            draw.lines(self.surface, PAPER, False, tick, round(0.26 * r))
        elif kind == "wrong":
            for end in (-0.36 * r, 0.36 * r):
                draw.line(self.surface, PAPER, (x - 0.36 * r, y - end), (x + 0.36 * r, y + end), round(0.28 * r))
        elif kind == "now":
            draw.polygon(self.surface, PAPER, [(x - 0.28 * r, y - 0.48 * r), (x - 0.28 * r, y + 0.48 * r), (x + 0.54 * r, y)])

    def row(self, kind: str, text: str, colour: Colour, most: int = 3) -> None:
        """A sign and wrapped words, at most `most` lines."""
        self.mark(kind, self.y)
        indent = 24 * self.unit
        width = self.inner - indent
        lines = self.wrap(text, 18, 1.2 * width, most)  # a little too long is set smaller instead
        for line in lines if len(lines) == 1 else self.wrap(text, 18, width, most):
            self.text(line, 18, colour, self.left + indent, self.y, width)
            self.y += 17 * self.unit
        self.y += 4 * self.unit

    def rules(self, rules: Sequence[Rule], things: Sequence[Entity], chosen: int | None = None) -> list[tuple[float, float, float, float]]:
        """Rules in signs, in two columns, one of them marked; returns where each is: left, top, width and height."""
        by_name = {thing.name: thing for thing in things}
        unit, gap = 1.35 * self.unit, 10 * self.unit
        width, height, down = (self.inner - gap) / 2, HEIGHT * unit, -(-len(rules) // 2)
        boxes = []
        for i, rule in enumerate(rules):
            patch = self.pg.Surface((4 * width, height))
            patch.fill(PAPER)
            long = Signs(self.pg, patch, unit, sized_font(self.pg, 17 * self.unit), (0.0, height)).rule(rule, by_name)
            patch = patch.subsurface((0, 0, min(long, 4 * width), height))
            if long > width:  # what is too long is set smaller
                patch = self.pg.transform.smoothscale_by(patch, width / long)
            at = self.left + i // down * (width + gap), self.y + i % down * (height + 8 * self.unit)
            boxes.append((*at, width, height))
            if i == chosen:
                frame = self.pg.Rect(boxes[-1]).inflate(8 * self.unit, 6 * self.unit)
                self.pg.draw.rect(self.surface, ACCENT, frame, round(2 * self.unit), border_radius=round(5 * self.unit))
            self.surface.blit(patch, (round(at[0]), round(at[1] + (height - patch.get_height()) / 2)))
        self.y += down * (height + 8 * self.unit)
        return boxes

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
        box = 50 if 0 <= current < len(plan) else 0  # what the present step takes more than the others
        fit = max(1, int((self.bottom - self.y - box * self.unit) / (21 * self.unit)))
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


def sized_font(pg: ModuleType, size: float) -> Any:
    """pygame's own font, `size` pixels high."""
    if not pg.font.get_init():
        pg.font.init()
        _FONTS.clear()
    if round(size) not in _FONTS:
        _FONTS[round(size)] = pg.font.Font(None, round(size))
    return _FONTS[round(size)]
