"""The table of an evaluation: a row an episode, as CSV."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from palaestra.envs.goals import describe, family
from palaestra.policies.files import write_atomically
from palaestra.sim.errors import PalaestraError
from palaestra.skills.executor import Episode
from palaestra.skills.scores import path_length_score


class TableError(PalaestraError):
    """A table that is damaged, cut, or not one."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One episode. Set, split, seed and episode name the task; the trial names what was random in carrying it out."""

    planner: str
    trial: int
    episode: int
    seed: int
    set: str
    split: str
    instruction: str
    goal: str  # its terms, joined by "; "
    family: str  # of the goal, see `goals.family`
    style: str  # of the house's layout, see `palaestra.envs.generation.styles`
    rooms: int
    literals: int  # terms of the goal
    stages: int  # of the goal
    reached: int  # stages, in their order
    difficulty: int  # calls of the oracle's plan from the start; 0 where none is needed, or none was found
    calls: int  # that were started
    steps: int  # control steps
    outcome: str
    success: bool
    recall_at_start: float  # the share of the goal that held
    recall: float  # and at the end
    spl: float
    plans: str  # JSON: every plan that was made, each a list of calls, each [skill, argument, ...]; of a program "program" first

    @staticmethod
    def of(episode: Episode, *, planner: str, trial: int, seed: int, set: str, split: str, difficulty: int) -> "Row":
        calls = sum(call.verdict != "precondition" for call in episode.calls)
        return Row(
            planner=planner,
            trial=trial,
            episode=episode.number,
            seed=seed,
            set=set,
            split=split,
            instruction=episode.instruction,
            goal="; ".join(describe(episode.goal)),
            family=family(episode.goal),
            style=episode.style,
            rooms=sum(thing.kind == "room" for thing in episode.things),
            literals=episode.goal.size,
            stages=len(episode.goal.stages),
            reached=episode.stage,
            difficulty=difficulty,
            calls=calls,
            steps=episode.step,
            outcome=episode.outcome,
            success=episode.success,
            recall_at_start=episode.recall_at_start,
            recall=episode.recall,
            spl=path_length_score(episode.success, difficulty, calls),
            plans=_plans(episode),
        )


_COLUMNS: dict[str, Any] = {field.name: field.type for field in fields(Row)}


def _plans(episode: Episode) -> str:
    calls = [[[call["skill"], *call["args"].values()] for call in plan] for plan in episode.plans]
    return json.dumps([["program", *plan] if is_program else plan for plan, is_program in zip(calls, episode.programs, strict=True)])


def write(path: Path, rows: Iterable[Row]) -> None:
    """The whole table, or nothing: what stood there before stays until then."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomically(path, text.getvalue().encode())


def read(path: Path, count: int) -> list[Row]:
    """The rows of a table that has `count`. Raises TableError where it has another number, or any is damaged."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True)
        lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: cannot read the table ({error}). Fix: run the evaluation again") from None
    if reader.fieldnames != list(_COLUMNS):
        got = ", ".join(reader.fieldnames or ["nothing"])
        raise TableError(f"{path}: got the columns {got}; expected {', '.join(_COLUMNS)}. Fix: run the evaluation again")
    rows = [_row(path, number, line) for number, line in enumerate(lines, 2)]
    if len(rows) != count:
        raise TableError(f"{path}: got {len(rows)} episodes, expected {count}: it is cut, or not finished. Fix: run the evaluation again")
    return rows


def _row(path: Path, number: int, line: dict[str, str]) -> Row:
    try:
        if None in line or None in line.values():
            raise ValueError(f"expected {len(_COLUMNS)} cells")
        values: dict[str, Any] = {
            name: {"True": True, "False": False}[line[name]] if kind is bool else kind(line[name]) for name, kind in _COLUMNS.items()
        }
        json.loads(values["plans"])
        return Row(**values)
    except (KeyError, ValueError, TypeError) as error:
        raise TableError(f"{path}: line {number} is damaged ({error}). Fix: run the evaluation again") from None


def find(path: Path, rows: Sequence[Row], *, planner: str, episode: int, trial: int) -> Row:
    """The row of one episode. Raises TableError that says which there are."""
    for row in rows:
        if (row.planner, row.episode, row.trial) == (planner, episode, trial):
            return row
    planners = ", ".join(dict.fromkeys(row.planner for row in rows))
    last, trials = max(row.episode for row in rows), max(row.trial for row in rows)
    got = f"got episode {episode}, trial {trial} of {planner!r}"
    raise TableError(f"{path}: {got}; expected episodes 0 to {last}, trials 0 to {trials}, planners {planners}")
