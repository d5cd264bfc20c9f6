"""The picture of a task that is being edited: the map, what there is to say beside it, buttons and a line of text beneath."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from palaestra.envs.display.drawing import ACCENT, INK, LINE, MUTED, PALETTE, PAPER, RED, SMOOTH, Colour, Plan, Point, mix
from palaestra.envs.display.panel import Panel, sized_font
from palaestra.envs.display.render import TopDown
from palaestra.envs.editing.editor import Report
from palaestra.envs.mechanics import Rule
from palaestra.envs.names import entities
from palaestra.envs.types import COLOURS, Task
from palaestra.sim.world import World

_STRIP = 138  # units beneath the map
# Name and width in units; a name in lower case is a colour, nothing a gap.
_BUTTONS = (
    *(("Cube", 62), ("Ball", 58), ("Button", 72), ("Door", 60), ("Remove", 76), ("", 8)),
    *((colour, 27) for colour in COLOURS),
    *(("", 8), ("Smaller", 76), ("Larger", 68), ("", 8), ("Undo", 58), ("Redo", 58), ("", 8), ("Save", 56), ("Reload", 70)),
)
TEXT = "text"  # what `Board.target` calls the line of text
MAP = "map"
RULE = "rule "  # and before a rule's number
_HINT = "Enter or click: say in English what is to be done, e.g. “Put the red cube on the blue table.”, or state a rule"


@dataclass(frozen=True)
class View:
    """All that is seen."""

    task: Task
    collisions: tuple[tuple[str, str], ...] = ()
    report: Report | None = None  # None: the first is not there yet
    searching: bool = False  # the report is of an earlier state; the next one is on its way
    selected: str = ""  # name
    about: tuple[str, ...] = ()  # the thing that is selected, in words
    able: frozenset[str] = frozenset()  # buttons that do something now
    text: str = ""  # in the line of text
    caret: int | None = None  # before which letter one types; None: the line is not being typed in
    notice: str = ""
    bad: bool = False  # the notice is about something that failed
    title: str = ""
    legend: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    rule: int | None = None  # which of them is selected


class Board(TopDown):
    """Draws views of one world: the map at the left, [size, size], words at the right, buttons and a line of text beneath."""

    def __init__(self, world: World, size: int = 640):
        super().__init__(world, size)
        self.height = self.size + round(_STRIP * self._unit) // 2 * 2
        self._column_of: tuple[Hashable, Any] = (None, None)
        self._strip_of: tuple[Hashable, Any] = (None, None)
        self.rules: list[tuple[float, float, float, float]] = []  # where they are shown, as `buttons`
        self.buttons: dict[str, tuple[float, float, float, float]] = {}  # left, top, width, height in the frame
        x, unit = 22.0 * self._unit, self._unit
        for name, width in _BUTTONS:
            if name:
                self.buttons[name] = (x, self.size + 14 * unit, width * unit - 6 * unit, 27 * unit)
            x += width * unit
        self.line = (22 * unit, self.size + 52 * unit, self.width - 44 * unit, 32 * unit)

    def target(self, at: Point) -> str:
        """What is at a place in the frame: a button's name, TEXT, MAP, RULE and its number, or nothing."""
        rules = ((f"{RULE}{i}", box) for i, box in enumerate(self.rules))
        for name, (left, top, width, height) in (*rules, *self.buttons.items(), (TEXT, self.line), (MAP, (0, 0, self.size, self.size))):
            if left <= at[0] < left + width and top <= at[1] < top + height:
                return name
        return ""

    def picture(self, view: View) -> np.ndarray:
        """One picture, uint8 [height, width, 3]."""
        pg, scene = self._pg, view.task.scene
        whole = pg.Surface((self.width, self.height), 0, 32)
        qpos = np.asarray(self.world.initial_qpos(scene.layout), np.float64)
        wrong = sorted({name for pair in view.collisions for name in pair})
        marked = [view.selected] if view.selected not in wrong else []
        whole.blit(self._map(Plan.of(self.world.spec, scene), qpos, np.zeros((0, 2)), marked, wrong), (0, 0))
        words = (view.report, view.searching, view.collisions, view.about, view.selected, view.title, view.legend, view.rules, view.rule)
        if self._column_of[0] != words:
            self._column_of = (words, self._words_beside(view))
        whole.blit(self._column_of[1], (self.size, 0))
        strip = (view.able, view.text, view.caret, view.notice, view.bad)
        if self._strip_of[0] != strip:
            self._strip_of = (strip, self._beneath(view))
        whole.blit(self._strip_of[1], (0, self.size))
        return self._array(whole)

    def _words_beside(self, view: View) -> Any:
        size, report = (self.width - self.size, self.size), view.report
        panel = Panel(self._pg, (size[0] * SMOOTH, size[1] * SMOOTH), self._unit * SMOOTH)
        panel.foot((*view.legend, "", view.title))
        panel.paragraph((report.instruction if report else "") or "No goal yet", 23, INK, 5)
        faults = [f"{a} and {b} overlap" for a, b in view.collisions] + list(report.faults if report else ())
        if faults:
            panel.heading("Wrong")
            self._rows(panel, [("wrong", fault, RED) for fault in faults], 10)
        if view.selected and panel.y + 90 * panel.unit < panel.bottom:
            panel.heading("Selected")
            self._rows(panel, [("chosen", " ".join((view.selected, *view.about[:1])), INK)], 2)
            for line in view.about[1:]:
                panel.text(line, 17, MUTED, panel.left + 24 * panel.unit, panel.y - 3 * panel.unit, panel.inner - 24 * panel.unit)
                panel.y += 17 * panel.unit
        if report and report.terms and panel.y + 60 * panel.unit < panel.bottom:
            panel.heading("Goal")
            self._rows(panel, [("done" if holds else "open", text, INK) for holds, text in report.terms], 3)
        self.rules = []
        if view.rules and panel.y + 60 * panel.unit < panel.bottom:
            panel.heading("Rules")
            boxes = panel.rules(view.rules, entities(self.world.spec, view.task.scene), view.rule)
            self.rules = [(self.size + x / SMOOTH, y / SMOOTH, w / SMOOTH, h / SMOOTH) for x, y, w, h in boxes]
        if report is None or (report.plan and panel.y + 60 * panel.unit < panel.bottom):
            count = "" if report is None else f": {len(report.plan)} calls"
            panel.heading("Plan" + (", searching" if view.searching else count))
            panel.plan(report.plan if report else (), -1)
        return self._pg.transform.smoothscale(panel.surface, size)

    @staticmethod
    def _rows(panel: Panel, rows: list[tuple[str, str, Colour]], most: int) -> None:
        """As many of the rows as there is room for, each of at most `most` lines."""
        for i, (kind, text, colour) in enumerate(rows):
            fit = int((panel.bottom - panel.y) / (17 * panel.unit)) - (1 if i + 1 < len(rows) else 0)
            if fit < 1:
                panel.text(f"{len(rows) - i} more", 16, MUTED, panel.left + 24 * panel.unit, panel.y, panel.inner)
                panel.y += 17 * panel.unit
                return
            panel.row(kind, text, colour, min(most, fit))

    def _beneath(self, view: View) -> Any:
        pg, size = self._pg, (self.width, self.height - self.size)
        panel = Panel(pg, (size[0] * SMOOTH, size[1] * SMOOTH), self._unit * SMOOTH)
        unit = panel.unit
        pg.draw.line(panel.surface, LINE, (0, 0), (size[0] * SMOOTH, 0), SMOOTH)
        for name, place in self.buttons.items():
            self._button(panel, name, self._rect(place), name in view.able)
        box = self._rect(self.line)
        typing = view.caret is not None
        pg.draw.rect(panel.surface, (255, 255, 255), box, border_radius=round(6 * unit))
        pg.draw.rect(panel.surface, ACCENT if typing else LINE, box, round((2 if typing else 1.2) * unit), border_radius=round(6 * unit))
        self._typed(panel, view, box.inflate(-20 * unit, -6 * unit))
        panel.y = (self.line[1] + self.line[3] - self.size) * SMOOTH + 10 * unit
        panel.paragraph(view.notice, 17, RED if view.bad else MUTED, 2)
        return pg.transform.smoothscale(panel.surface, size)

    def _rect(self, place: tuple[float, float, float, float]) -> Any:
        left, top, width, height = place
        return self._pg.Rect(left * SMOOTH, (top - self.size) * SMOOTH, width * SMOOTH, height * SMOOTH)

    def _button(self, panel: Panel, name: str, box: Any, able: bool) -> None:
        pg, unit = self._pg, panel.unit
        if name in COLOURS:
            colour = PALETTE[COLOURS.index(name)]
            pg.draw.aacircle(panel.surface, colour if able else mix(colour, PAPER, 0.65), box.center, 9.5 * unit)
            return
        pg.draw.rect(panel.surface, mix(PAPER, INK, 0.07 if able else 0.025), box, border_radius=round(6 * unit))
        words = f"+ {name}" if name in ("Cube", "Ball", "Button", "Door") else name
        image = sized_font(pg, 18 * unit).render(words, True, INK if able else mix(MUTED, PAPER, 0.5))
        panel.surface.blit(image, image.get_rect(center=box.center))

    def _typed(self, panel: Panel, view: View, box: Any) -> None:
        """The line's text, moved so far to the left that the caret is seen."""
        pg, unit, font = self._pg, panel.unit, sized_font(self._pg, 20 * panel.unit)
        if view.caret is None and not view.text:
            panel.text(_HINT, 18, MUTED, box.left, box.centery - 6.3 * unit, box.width)
            return
        x = font.size(view.text[: view.caret])[0] if view.caret is not None else 0
        shift = max(0, x - box.width + round(4 * unit))
        image = font.render(view.text, True, INK)
        panel.surface.blit(image, (box.left, box.centery - image.get_height() // 2), pg.Rect(shift, 0, box.width, image.get_height()))
        if view.caret is not None:
            at = box.left + x - shift
            pg.draw.line(panel.surface, ACCENT, (at, box.top + 2 * unit), (at, box.bottom - 2 * unit), round(1.6 * unit))
