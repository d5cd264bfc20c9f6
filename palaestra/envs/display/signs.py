"""Rules in signs: small pictures of things, seen from the side, where words would be too long.

A fact is a picture of what it says: a cube on a table, a ball between fingers, a button going down, the robot beside a door.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from palaestra.envs.display.drawing import ACCENT, INK, LAMP, MUTED, PALETTE, PAPER, RED, SHELL, STEEL, WHITE, Colour, Point, mix
from palaestra.envs.mechanics import Rule
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import COLOURS, UNARY

HEIGHT = 18.0  # units, of the tallest sign
RUIN: Colour = mix(RED, PAPER, 0.35)  # of rules by which things are lost
_GAP = 4.0  # units, behind a sign
_HALVES = {"small": 3.8, "large": 5.0}  # units, half sizes of cubes and balls
_WIDTHS = {"table": 17.0, "shelf": 17.0, "plate": 17.0, "bin": 16.0, "hamper": 16.0, "door": 12.0, "swing": 12.0}  # units
_WIDTHS |= {"button": 11.0, "toggle": 15.0, "robot": 11.0}
_TOPS = {"table": 8.0, "shelf": 8.0, "plate": 5.0, "bin": 2.0, "hamper": 2.0}  # units, on which things lie


class Signs:
    """Draws signs from left to right. Lengths are in units; y is the height above the line on which the signs stand.

    Args:
        pg: the module pygame.
        surface: what to draw on.
        unit: pixels a unit.
        font: for the few words between signs.
        origin: where the line begins, pixels.
    """

    def __init__(self, pg: ModuleType, surface: Any, unit: float, font: Any, origin: Point):
        self.pg, self.surface, self.unit, self.font, self.origin = pg, surface, unit, font, origin
        self.x = 0.0  # where the next sign begins

    def rule(self, rule: Rule, things: Mapping[str, Entity]) -> float:
        """Condition, arrow, effect: what opens, the product in its place, or a cross where things are only lost.

        Returns the length, in pixels.
        """
        if not rule.lasting and rule.opens:
            self.word("while")
        for i, fact in enumerate(rule.condition):
            if i:
                self.plus()
            self.fact(fact, things)
        ruins = not rule.opens and not rule.product
        self.arrow(RUIN if ruins else MUTED)
        if ruins:
            self.cross()
        elif rule.opens:
            self.thing(things[rule.opens], active=True)
        else:
            where = [fact for fact in rule.condition if fact[0] in ("on", "inside") and fact[1] == rule.consumes[-1]]
            if where:
                self.fact((where[0][0], rule.product, where[0][2]), things)
            else:
                self.thing(things[rule.product])
        return (self.x - _GAP) * self.unit

    def fact(self, fact: Fact, things: Mapping[str, Entity]) -> None:
        """What a fact says, as a picture."""
        predicate, subject, target = fact[0], things[fact[1]], things[fact[2]]
        if predicate in ("on", "inside"):
            middle = self.x + _WIDTHS[target.kind] / 2
            self._thing(target, middle)
            self._thing(subject, middle, _TOPS[target.kind])
            self.x += _WIDTHS[target.kind] + _GAP
        elif predicate == "holding":
            half = _HALVES[target.size]
            middle = self.x + half + 3.0
            self._box(middle, 13.5, 1.5, 3.5, STEEL)
            self._box(middle, 11.5, half + 3.0, 2.5, STEEL)
            for side in (-1, 1):
                self._box(middle + side * (half + 1.8), 2.0, 1.2, 9.5, ACCENT)
            self._thing(target, middle, 1.0)
            self.x += 2 * half + 6.0 + _GAP
        elif predicate in UNARY:
            self.thing(subject, active=True)
        elif predicate == "near":
            self.thing(subject)
            self.x -= _GAP - 1.0
            self.thing(target)
        else:
            self.thing(subject)
            self.word(f"in {target.name}")

    def thing(self, thing: Entity, active: bool = False) -> None:
        """One thing; `active`: a door or a hamper that is open, a button or a plate that is pressed, a toggle that is on."""
        width = _WIDTHS[thing.kind] if thing.kind in _WIDTHS else 2 * _HALVES[thing.size]
        self._thing(thing, self.x + width / 2, 0.0, active)
        self.x += width + _GAP

    def word(self, text: str) -> None:
        """A word in grey."""
        image = self.font.render(text, True, MUTED)
        x, y = self._pixel(self.x, HEIGHT / 2)
        self.surface.blit(image, (round(x), round(y - image.get_height() / 2)))
        self.x += image.get_width() / self.unit + _GAP

    def plus(self) -> None:
        """And."""
        self._box(self.x + 3.5, HEIGHT / 2 - 0.7, 3.5, 1.4, MUTED)
        self._box(self.x + 3.5, HEIGHT / 2 - 3.5, 0.7, 7.0, MUTED)
        self.x += 7.0 + _GAP

    def arrow(self, colour: Colour) -> None:
        """Turns into."""
        y = HEIGHT / 2
        self._box(self.x + 5.0, y - 0.8, 5.0, 1.6, colour)
        self._shape([(self.x + 14.0, y), (self.x + 8.5, y + 4.0), (self.x + 8.5, y - 4.0)], colour)
        self.x += 14.0 + _GAP

    def cross(self) -> None:
        """Nothing is left."""
        x, y, long, short = self.x + 5.0, HEIGHT / 2, 5.0, 3.4
        for turn in (-1, 1):
            corners = [(long, short), (short, long), (-long, -short), (-short, -long)]
            self._shape([(x + a, y + turn * b) for a, b in corners], RUIN)
        self.x += 10.0 + _GAP

    # --- things: x is the middle, y the lower edge ----------------------------------------------------------------

    def _thing(self, thing: Entity, x: float, y: float = 0.0, active: bool = False) -> None:
        colour = PALETTE[COLOURS.index(thing.colour)] if thing.colour else SHELL
        dark, pale = mix(colour, INK, 0.5), mix(colour, WHITE, 0.6)
        if thing.kind == "cube":
            half = _HALVES[thing.size]
            self._box(x, y, half, 2 * half, dark)
            self._box(x, y + 0.9, half - 0.9, 2 * half - 1.8, colour)
        elif thing.kind == "ball":
            half = _HALVES[thing.size]
            self._disc(x, y + half, half, dark)
            self._disc(x, y + half, half - 0.9, colour)
        elif thing.kind == "table":
            for side in (-5.5, 5.5):
                self._box(x + side, y, 1.3, 5.0, dark)
            self._box(x, y + 4.5, 8.5, 3.5, colour)
        elif thing.kind == "plate":
            self._box(x, y, 8.5, 5.0, dark)
            self._box(x, y + 1.0, 7.5, 3.0, colour if active else pale)
            for k in range(4):
                left = x - 6.5 + 3.6 * k
                stripe = [(left, y + 1.0), (left + 1.6, y + 1.0), (left + 3.4, y + 4.0), (left + 1.8, y + 4.0)]
                self._shape(stripe, pale if active else colour)
            if active:  # something lies on it
                self._shape([(x - 4.5, y + 5.5), (x + 4.5, y + 5.5), (x + 3.0, y + 11.0), (x - 3.0, y + 11.0)], STEEL)
                self._box(x, y + 11.0, 1.4, 2.0, STEEL)
        elif thing.kind == "shelf":  # a board on brackets
            for side in (-5.5, 5.5):
                self._shape([(x + side, y + 1.0), (x + side + 3.0, y + 5.5), (x + side - 3.0, y + 5.5)], dark)
            self._box(x, y + 5.0, 8.5, 3.0, colour)
        elif thing.kind in ("bin", "hamper"):
            self._box(x, y, 8.0, 2.0, dark)
            for side in (-7.0, 7.0):
                self._box(x + side, y, 1.0, 9.0, colour)
            if thing.kind == "hamper" and active:
                self._shape([(x - 8.0, y + 9.0), (x - 6.0, y + 9.0), (x - 7.4, y + 18.0), (x - 9.4, y + 18.0)], dark)
            elif thing.kind == "hamper":
                self._box(x, y + 9.6, 8.6, 2.2, dark)
        elif thing.kind == "door":
            self._box(x, y, 6.0, 17.0, dark)
            self._box(x, y, 4.6, 15.6, PAPER if active else colour)
            if active:
                self._shape([(x - 4.6, y), (x - 4.6, y + 15.6), (x + 0.8, y + 13.0), (x + 0.8, y - 1.6)], colour)
            self._disc(x + (-0.8 if active else 2.6), y + 7.0, 1.1, dark)
        elif thing.kind == "swing":  # two short leaves
            self._box(x, y, 6.0, 17.0, dark)
            self._box(x, y, 4.6, 15.6, PAPER)
            for side in (-1, 1):
                inner = x + side * (3.2 if active else 0.4)
                self._shape([(x + side * 4.6, y + 3.5), (inner, y + 3.5), (inner, y + 11.5), (x + side * 4.6, y + 13.0)], colour)
        elif thing.kind == "button":
            self._box(x, y, 5.5, 5.0, STEEL)
            self._box(x, y + 5.0, 4.6, 3.4 if active else 5.0, colour)
            if active:
                self._box(x, y + 13.0, 0.9, 4.0, MUTED)
                self._shape([(x, y + 9.2), (x + 3.2, y + 13.0), (x - 3.2, y + 13.0)], MUTED)
        elif thing.kind == "toggle":  # a rocker, pressed at the side of its lamp while it is on
            self._box(x - 1.0, y, 6.5, 5.0, STEEL)
            left, right = (10.5, 7.0) if active else (7.0, 10.5)
            self._shape([(x - 6.0, y + 5.0), (x + 4.0, y + 5.0), (x + 4.0, y + right), (x - 1.0, y + 7.5), (x - 6.0, y + left)], colour)
            self._disc(x + 5.0, y + 13.5, 2.6, LAMP if active else dark)
        elif thing.kind == "robot":
            self._disc(x, y + 5.5, 5.5, STEEL)
            self._disc(x, y + 5.5, 4.4, colour)
            self._shape([(x + 3.4, y + 5.5), (x - 1.2, y + 8.2), (x - 1.2, y + 2.8)], ACCENT)

    # --- shapes ---------------------------------------------------------------------------------------------------

    def _pixel(self, x: float, y: float) -> Point:
        return self.origin[0] + x * self.unit, self.origin[1] - y * self.unit

    def _box(self, x: float, y: float, half: float, height: float, colour: Colour) -> None:
        """A rectangle around `x`, `height` upwards from `y`."""
        self._shape([(x - half, y), (x + half, y), (x + half, y + height), (x - half, y + height)], colour)

    def _shape(self, corners: Sequence[Point], colour: Colour) -> None:
        self.pg.draw.polygon(self.surface, colour, [self._pixel(*corner) for corner in corners])

    def _disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.pg.draw.aacircle(self.surface, colour, self._pixel(x, y), radius * self.unit)
