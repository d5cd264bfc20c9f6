"""The window in which a task is edited: mouse and keys become changes, `palaestra.envs.editing.editor` makes and judges them.

Click and drag things; the wheel, Q and E turn; A, B, N and D add a cube, a ball, a button and a door at the pointer; Delete removes
a thing, or a rule that was clicked; 1 to 6 colour, + and - size; arrows nudge. Enter types a sentence: an instruction becomes the
goal, a rule is added, and Tab takes what a refusal suggests. Ctrl+Z and Ctrl+Y undo and redo, Ctrl+S saves, Ctrl+R reloads, Esc quits.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from palaestra.envs.display.render import Event, Input, Window
from palaestra.envs.editing import changes
from palaestra.envs.editing.board import MAP, RULE, TEXT, Board, View
from palaestra.envs.editing.editor import Editor, Report, inspect, thing_at
from palaestra.envs.types import COLOURS, DOORS, LARGE, Task
from palaestra.envs.words.parser import InstructionError
from palaestra.envs.words.references import Things
from palaestra.sim.errors import PalaestraError

LEGEND = (
    "Drag: move     Wheel, Q E: turn",
    "A B N D: add cube, ball, button, door",
    "Del: remove a thing, or a rule",
    "1 to 6: colour     + -: size     Arrows: nudge",
    "Ctrl Z Y: undo, redo     Ctrl S: save",
    "Ctrl R: reload     Esc: quit",
)
TURN = np.radians(15.0)  # a notch of the wheel
NUDGE, FAR = 0.01, 0.10  # m, a key; with shift
_SIZE_STEP = 0.001  # m
_SLACK = 6.0  # pixels that one may miss a thing by
_DRAG = 3.0  # pixels that a mouse moves without dragging
_ADD = dict(zip("abnd", changes.KINDS, strict=True))
_ARROWS = {"left": (-1, 0), "right": (1, 0), "down": (0, -1), "up": (0, 1)}
_KEYS = {**dict.fromkeys(("delete", "backspace"), "Remove"), **dict.fromkeys(("+", "=", "[+]"), "Larger"), "-": "Smaller", "[-]": "Smaller"}


@dataclass
class Line:
    """A line of text that is being typed."""

    text: str = ""
    caret: int = 0
    open: bool = False

    def write(self, text: str) -> None:
        self.text = self.text[: self.caret] + text + self.text[self.caret :]
        self.caret += len(text)

    def set(self, text: str) -> None:
        self.text, self.caret = text, len(text)

    def key(self, name: str) -> None:
        """A key that moves the caret or deletes."""
        if name == "backspace" and self.caret:
            self.text, self.caret = self.text[: self.caret - 1] + self.text[self.caret :], self.caret - 1
        elif name == "delete":
            self.text = self.text[: self.caret] + self.text[self.caret + 1 :]
        self.caret = {"left": max(self.caret - 1, 0), "right": min(self.caret + 1, len(self.text)), "home": 0, "end": len(self.text)}.get(
            name, self.caret
        )


@dataclass
class Drag:
    """A thing that the mouse holds."""

    thing: int
    start: tuple[float, float]  # where it was seized, pixels
    offset: np.ndarray  # [2] m, from the pointer to the thing's centre
    moving: bool = False


class Desk:
    """One editor in one window. `handle` takes what the window saw, `follow` what the planner found."""

    def __init__(self, editor: Editor, window: Window, board: Board):
        self.editor, self.window, self.board = editor, window, board
        self.line = Line()
        self.drag: Drag | None = None
        self.notice, self.bad, self.suggestion = "", False, ""
        self.report: Report | None = None
        self._planner = ThreadPoolExecutor(1)  # a search may take long, and the window must not wait
        self._search: Future[Report] | None = None
        self._searched: Task | None = None  # the task that the last report is of, or the search that is running
        self._warned: Task | None = None  # the task that would have been lost
        self._pointer = (-1.0, -1.0)
        self.rule: int | None = None  # the one that was clicked

    # --- what the window saw

    def handle(self, seen: Input) -> bool:
        """Do what keys and mouse say; whether to go on."""
        on = not seen.closed or self._stay()
        for event in seen.events:
            self._pointer = event.at
            if event.kind == "key":
                on &= self._key(event)
            elif event.kind == "text" and self.line.open:
                self.line.write(event.text)
            elif event.kind == "press":
                self._press(event)
            elif event.kind == "motion" and self.drag:
                self._pull(event)
            elif event.kind == "release":
                self.drag = None
            elif event.kind == "wheel":
                self._turn(event.turn)
        return on

    def _key(self, event: Event) -> bool:
        name = event.text
        if event.ctrl:
            self._press_button({"z": "Redo" if event.shift else "Undo", "y": "Redo", "s": "Save", "r": "Reload"}.get(name, ""))
        elif self.line.open:
            self._typing(name)
        elif name in ("return", "enter", "keypad enter", "tab"):
            self.line.open = True
        elif name == "escape":
            if self.editor.selected is None and self.rule is None:
                return self._stay()
            self._select(None)
        elif name in tuple(_ADD):
            here = self._point() if self.board.target(self._pointer) == MAP else None
            self._add(_ADD[name], here)
        elif name in ("q", "e"):
            self._turn(1 if name == "q" else -1)
        elif name in _ARROWS and self.editor.selected is not None:
            self._nudge(self.editor.selected, np.multiply(_ARROWS[name], FAR if event.shift else NUDGE))
        elif name in tuple("123456"):
            self._press_button(COLOURS[int(name) - 1])
        else:
            self._press_button(_KEYS.get(name, ""))
        return True

    def _typing(self, name: str) -> None:
        if name == "escape":
            self.line = Line()
        elif name == "up" and self.report:
            self.line.set(self.report.instruction)
        elif name == "tab" and self.suggestion:
            self.line.set(self.suggestion)
        elif name in ("return", "enter", "keypad enter"):
            text = self.line.text
            done: list[str] = []
            if self._do(lambda: done.append(self.editor.say(text))):
                self.notice, self.line = done[0], Line()
        else:
            self.line.key(name)

    def _press(self, event: Event) -> None:
        target = self.board.target(event.at)
        self.line.open = target == TEXT
        if target.startswith(RULE):
            self._select(None, int(target.removeprefix(RULE)))
        if target != MAP:
            self._press_button(target)
            return
        scene, at = self.editor.task.scene, self._point()
        slack = float(np.linalg.norm(self.board.point(scene, (event.at[0] + _SLACK, event.at[1])) - at))
        thing = thing_at(self.editor.spec, scene, at, slack)
        self._select(thing)
        self.drag = None if thing is None else Drag(thing, event.at, changes.position(self.editor.spec, scene, thing) - at)

    def _select(self, thing: int | None, rule: int | None = None) -> None:
        self.editor.select(thing)
        self.rule = rule

    def _pull(self, event: Event) -> None:
        drag = self.drag
        assert drag is not None
        drag.moving |= float(np.hypot(event.at[0] - drag.start[0], event.at[1] - drag.start[1])) > _DRAG
        if drag.moving:
            side = self.board.size
            inside = np.clip(event.at, 0, side - 1)  # a thing that left the picture could not be seized again
            to = self.board.point(self.editor.task.scene, inside) + drag.offset
            self._do(lambda: self.editor.move(drag.thing, to, "drag"))

    def _point(self) -> np.ndarray:
        """Where the pointer is, m."""
        return self.board.point(self.editor.task.scene, self._pointer)

    # --- what is done

    def _press_button(self, name: str) -> None:
        editor, thing = self.editor, self.editor.selected
        if name.lower() in changes.KINDS:
            self._add(name.lower(), None)
        elif name == "Remove" and self.rule is not None:
            rule = self.rule
            self._do(lambda: editor.drop_rule(rule), "the rule is gone")
            self._select(None)
        elif name == "Undo":
            self._do(editor.undo)
        elif name == "Redo":
            self._do(editor.redo)
        elif name == "Save":
            self._do(editor.save)
            if not self.bad:
                self.notice = f"saved {editor.document.path}" + (", which is no task yet" if self._wrong else "")
        elif name == "Reload":
            self._do(editor.reload, "as it was saved" if editor.document.path.exists() else "as it was opened")
        elif thing is None and name in self.board.buttons:
            self.notice, self.bad = "nothing is selected: click a thing first", True
        elif thing is not None and name == "Remove":
            self._do(lambda: editor.remove(thing))
        elif thing is not None and name in COLOURS:
            self._do(lambda: editor.recolour(thing, name))
        elif thing is not None and name in ("Smaller", "Larger"):
            half = float(editor.task.scene.layout.object_half[thing - 1]) if 1 <= thing <= editor.spec.objects else 0.0
            step = _SIZE_STEP if name == "Larger" else -_SIZE_STEP
            low, high = changes.HALF
            end = abs(half - (high if step > 0 else low)) < 1e-6
            size = half + step if end or not half else float(np.clip(round(half + step, 3), low, high))
            self._do(lambda: editor.resize(thing, size))

    def _add(self, kind: str, at: np.ndarray | None) -> None:
        self._do(lambda: self.editor.add(kind, at))

    def _nudge(self, thing: int, by: np.ndarray) -> None:
        at = changes.position(self.editor.spec, self.editor.task.scene, thing)
        self._do(lambda: self.editor.move(thing, at + by, f"nudge {thing}"))

    def _turn(self, notches: int) -> None:
        """Turn what is selected and can be turned, else the robot."""
        thing = self.editor.selected
        thing = thing if thing is not None and thing <= self.editor.spec.objects else 0
        self._do(lambda: self.editor.turn(thing, notches * TURN, f"turn {thing}"))

    def _do(self, change: Callable[[], object], notice: str = "") -> bool:
        """Make a change, or say why it cannot be; whether it was made."""
        try:
            change()
        except PalaestraError as error:
            self.notice, self.bad = str(error), True
            self.suggestion = error.suggestion if isinstance(error, InstructionError) else ""
            self.notice += "  Tab takes it." if self.suggestion else ""
            return False
        self.notice, self.bad, self.suggestion = notice, False, ""
        return True

    def _stay(self) -> bool:
        """Whether to stay although the user wants to leave: once, where work would be lost."""
        if not self.editor.unsaved or self._warned is self.editor.task:
            return False
        self._warned = self.editor.task
        self.notice, self.bad = "not saved: Ctrl+S saves, the same again leaves without", True
        return True

    # --- what the planner finds

    def follow(self) -> bool:
        """Take up the search's report, and start the next search where the task has changed; whether there was a report."""
        found = self._search is not None and self._search.done()
        if found:
            assert self._search is not None
            self.report, self._search = self._search.result(), None
        if self._search is None and self._searched is not self.editor.task:
            self._searched = self.editor.task
            self._search = self._planner.submit(inspect, self.editor.spec, self._searched, self.editor.judge)
        return found

    def settle(self) -> None:
        """Wait until the report is of the task as it is."""
        self.follow()
        while self._search is not None:
            self._search.exception()  # waits
            self.follow()

    @property
    def _wrong(self) -> bool:
        return bool(self.editor.collisions or (self.report and self.report.faults))

    # --- what is seen

    def frame(self) -> np.ndarray:
        """The present picture."""
        editor = self.editor
        selected = "" if editor.selected is None else changes.thing_of(editor.spec, editor.task.scene, editor.selected).name
        return self.board.picture(
            View(
                task=editor.task,
                collisions=editor.collisions,
                report=self.report,
                searching=self._search is not None,
                selected=selected,
                about=self._about(selected),
                able=self._able(),
                text=self.line.text,
                caret=self.line.caret if self.line.open else None,
                notice=self.notice,
                bad=self.bad,
                rules=editor.rules,
                rule=self.rule,
                title=editor.document.title + (" (changed)" if editor.unsaved else ""),
                legend=LEGEND,
            )
        )

    def draw(self) -> None:
        self.window.show(self.frame())

    def run(self) -> None:
        """Until the user leaves."""
        self.follow()
        self.draw()
        while True:
            seen = self.window.poll()
            if not self.handle(seen):
                break
            if self.follow() or seen != Input():
                self.draw()
            time.sleep(0.01)
        self.close()

    def close(self) -> None:
        """Let the planner go."""
        self._planner.shutdown(wait=False, cancel_futures=True)

    def _about(self, name: str) -> tuple[str, ...]:
        """The selected thing in words: a line or two."""
        thing, spec, scene = self.editor.selected, self.editor.spec, self.editor.task.scene
        if thing is None:
            return ()
        place, angle = Things.of(spec, scene).places[name], changes.heading(spec, scene, thing)
        on = place.receptacle.endswith(("table", "plate"))
        where = f"on {place.receptacle}" if on else f"in {place.receptacle or place.room}"
        where = f"between {' and '.join(place.between)}" if place.between else where
        x, y = changes.position(spec, scene, thing)
        words = [where, f"x {x:.2f} m, y {y:.2f} m" + ("" if angle is None else f", {np.degrees(angle):.0f}°")]
        if 1 <= thing <= spec.objects:
            half = float(scene.layout.object_half[thing - 1])
            size = f" ({'large' if half > LARGE else 'small'})" if thing <= spec.portables else ""
            words.append(f"half size {1000 * half:.0f} mm{size}")
        return tuple(words)

    def _able(self) -> frozenset[str]:
        """The buttons that do something now."""
        editor, thing = self.editor, self.editor.selected
        spec, scene = editor.spec, editor.task.scene
        used = scene.layout.object_used
        is_object = thing is not None and 1 <= thing <= spec.portables
        able = {"Save", "Reload"} | ({"Undo"} if editor.can_undo else set()) | ({"Redo"} if editor.can_redo else set())
        slots = {
            "Cube": used[: spec.cubes],
            "Ball": used[spec.cubes : spec.portables],
            "Button": scene.button_used,
            "Door": scene.leaf_used,
        }
        able |= {name for name, taken in slots.items() if not np.all(taken)}
        able |= {"Smaller", "Larger"} if is_object else set()
        if self.rule is not None or (thing is not None and changes.thing_of(spec, scene, thing).kind in (*changes.KINDS, *DOORS)):
            able |= {"Remove"}
        return frozenset(able | (set(COLOURS) if thing else set()))
