"""Batches of runs from one file: a grid or a list over ids, seeds and settings, checked as a whole before anything starts.

restarts = 3                        # settings of the sweep: see `Options`

[base]                              # what all runs have
id = "pick"
steps = 1_000_000

[grid]                              # every combination
seed = [1, 2, 3]
hyper.learning_rate = [3e-4, 1e-3]

[[runs]]                            # or one by one; with a grid, each of these in every combination
easy = 0.3
"""

import itertools
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from palaestra.policies.curricula import SAMPLERS
from palaestra.policies.ppo import PPO
from palaestra.policies.runs import RunConfig
from palaestra.policies.settings import changed, check, names
from palaestra.sim.errors import PalaestraError, UnknownNameError

Recipe = Callable[[str, str], RunConfig]  # (id, learner or "" for the recipe's own) -> how it is trained when nothing else is said
_TABLES = ("base", "grid", "runs")
_OWN = ("seed", "steps", "easy", "trials", "sampler", "log_every", "checkpoint_every")  # of a run; all others are the learner's


class SweepError(PalaestraError):
    """A sweep that cannot start; the message names the file and the line."""


@dataclass(frozen=True)
class Options:
    """What a sweep's file says of all runs together."""

    episodes: int = 500  # held-out episodes on which every final policy is measured
    restarts: int = 3  # how often a process that dies is started again from its checkpoints
    together: int = 8  # runs, at most, that one program trains side by side; 1: each to the bits of `palaestra train`

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("restarts", 0), ("together", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} or more")


@dataclass(frozen=True)
class Planned:
    """One run of a sweep."""

    name: str  # of its folder: what tells it from the others
    varied: dict[str, Any]  # what the grid or the list says of it
    config: RunConfig


@dataclass(frozen=True)
class Sweep:
    """The runs of a file, all checked."""

    options: Options
    runs: tuple[Planned, ...]

    def parts(self) -> list[list[Planned]]:
        """What one process trains at a time: runs that differ in seed and `hyper` alone are together, the others on their own."""
        kinds: dict[str, list[Planned]] = {}
        for run in self.runs:
            kinds.setdefault(_program(run.config) or run.name, []).append(run)
        return [kind[i : i + self.options.together] for kind in kinds.values() for i in range(0, len(kind), self.options.together)]


class Entry(NamedTuple):
    """One setting of the file."""

    line: int
    table: str  # base, grid, runs, or "" at the top
    row: int  # of [[runs]]
    name: str  # dotted
    value: Any


def read(path: Path, recipe: Recipe) -> Sweep:
    """The sweep of a file. Raises SweepError with the line for whatever cannot be meant."""
    try:
        text = path.read_text()
        tomllib.loads(text)  # once as a whole, for what is said twice
    except OSError as error:
        raise SweepError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SweepError(f"{path}: not TOML: {error}") from None
    return _sweep(path, list(_entries(path, text)), recipe)


def _entries(path: Path, text: str) -> Iterator[Entry]:
    """Every setting with its line, which tomllib does not tell: a statement is as many lines as make TOML on their own."""
    lines, start, table, row = text.splitlines(), 0, "", -1
    while start < len(lines):
        end = start + 1
        while (found := _parsed(lines[start:end])) is None:
            end += 1
        if lines[start].lstrip().startswith("["):
            ((table, inside),) = found.items()
            if table not in _TABLES or isinstance(inside, list) != (table == "runs") or (isinstance(inside, dict) and inside):
                raise SweepError(f"{path}, line {start + 1}: got {lines[start].strip()}, expected [base], [grid] or [[runs]]")
            if table == "runs":
                row += 1
                yield Entry(start + 1, table, row, "", None)  # it may say nothing
        else:
            for name, value in _leaves(found):
                yield Entry(start + 1, table, row, name, value)
        start = end


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _sweep(path: Path, entries: list[Entry], recipe: Recipe) -> Sweep:
    options = _options(path, [e for e in entries if not e.table])
    base = [e for e in entries if e.table == "base"]
    rows = [[e for e in row if e.name] for _, row in itertools.groupby((e for e in entries if e.table == "runs"), lambda e: e.row)] or [[]]
    grid = [list(_choices(path, e)) for e in entries if e.table == "grid"]
    runs: dict[str, Planned] = {}
    for row in rows:
        for choice in itertools.product(*grid):
            varied, config = _configured(path, [*base, *row, *choice], recipe)
            name = _folder(config.env, varied)
            if name in runs:
                raise SweepError(f"{path}: two runs are the same: {name}")
            runs[name] = Planned(name, varied, config)
    return Sweep(options, tuple(runs.values()))


def _options(path: Path, entries: list[Entry]) -> Options:
    options = Options()
    for e in entries:
        valid = names(options)
        if e.name not in valid:
            raise SweepError(f"{_at(path, e)}: unknown setting {e.name!r} of the sweep{_nearest(e.name, [*valid, '[base]', '[grid]'])}")
        options = _checked(path, e, options)
    return options


def _checked(path: Path, e: Entry, options: Options) -> Options:
    try:
        return changed(options, {e.name: e.value})
    except PalaestraError as error:
        raise SweepError(f"{_at(path, e)}: {error}") from None


def _choices(path: Path, e: Entry) -> Iterator[Entry]:
    if not isinstance(e.value, list) or not e.value:
        raise SweepError(f"{_at(path, e)}: {e.name}: got {e.value!r} in [grid], expected a list of values")
    return (e._replace(value=value) for value in e.value)


def _configured(path: Path, entries: list[Entry], recipe: Recipe) -> tuple[dict[str, Any], RunConfig]:
    """What is said of one run outside of [base], by name, and all that it comes to; later entries go over earlier ones."""
    last = {e.name: e for e in entries}
    if "id" not in last:
        raise SweepError(f'{path}: no id. Fix: id = "pick" in [base], or a list of ids in [grid]')
    chosen = [last.pop(name, None) for name in ("id", "learner")]
    for e in chosen:
        if e and not isinstance(e.value, str):
            raise SweepError(f"{_at(path, e)}: {e.name}: got {e.value!r}, expected a word")
    name, learner = (e.value if e else "" for e in chosen)
    try:
        config = recipe(name, learner)
    except UnknownNameError as error:
        where = chosen[1] if "learner" in str(error) and chosen[1] else chosen[0]
        raise SweepError(f"{_at(path, where)}: {error}") from None  # type: ignore[arg-type]
    valid = {n.removeprefix("learner."): n for n in names(config) if n in _OWN or n.startswith("learner.")}
    for e in last.values():
        if e.name not in valid:
            raise SweepError(f"{_at(path, e)}: unknown setting {e.name!r}{_nearest(e.name, ['id', 'learner', *valid])}")
        try:
            check(config, valid[e.name], e.value)
            _within(e)
        except PalaestraError as error:
            raise SweepError(f"{_at(path, e)}: {str(error).removeprefix('learner.')}") from None
    try:
        config = changed(config, {valid[n]: e.value for n, e in last.items()})
    except PalaestraError as error:
        lines = ", ".join(str(n) for n in sorted({e.line for e in last.values()}))
        raise SweepError(f"{path}, lines {lines}: {error}") from None
    return {e.name: e.value for e in {e.name: e for e in entries}.values() if e.table != "base"}, config


def _within(e: Entry) -> None:
    """What a run itself does not check."""
    if e.name == "sampler" and e.value not in SAMPLERS:
        raise UnknownNameError("sampler", e.value, SAMPLERS)
    limits = {"seed": (0, 2**31 - 1), "easy": (0, 1), "trials": (1, 1000)}.get(e.name)
    if limits and not limits[0] <= e.value <= limits[1]:
        raise PalaestraError(f"{e.name}: got {e.value}, expected {limits[0]} to {limits[1]}")


def _at(path: Path, e: Entry) -> str:
    return f"{path}, line {e.line}"


def _nearest(got: str, valid: Iterable[str]) -> str:
    choices = sorted(valid)
    close = get_close_matches(got, choices, n=1, cutoff=0.0)
    return f". Did you mean {close[0]!r}? Expected one of: {', '.join(choices)}"


def _folder(env: str, varied: dict[str, Any]) -> str:
    """pick,seed=1,hyper.gamma=0.97, in letters that every file system takes."""
    words = [env.removeprefix("skill/"), *(f"{k}={v}" for k, v in sorted(varied.items()) if k != "id")]
    return "".join(c if c.isalnum() or c in "._-=," else "-" for c in ",".join(words))


def _program(config: RunConfig) -> str:
    """Equal for runs that one program can train side by side; nothing for those that must be alone.

    Samplers with a memory keep it on the host or as large as a batch, so they are alone.
    """
    if not isinstance(config.learner, PPO) or config.sampler != "randomise":
        return ""
    learner = replace(config.learner, hyper=PPO().hyper)
    return json.dumps(replace(config, seed=0, learner=learner).as_dict(), sort_keys=True)
