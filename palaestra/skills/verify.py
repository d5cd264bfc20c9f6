"""`palaestra tasks verify`: what the generator promises, checked task by task by means of its own.

Overlaps by geometry in NumPy, duplicates by hash, solutions by the oracle, English by reading back what was written; on a sample, PDDL by
a foreign reader, validator and planner. The checks are Python, so they run in processes; JAX makes the tasks meanwhile.
"""

import hashlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import Progress

from palaestra.envs import goals
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.types import Task, row
from palaestra.envs.words import language, parser, rulebook
from palaestra.envs.words.references import Things
from palaestra.envs.words.wordings import Taste
from palaestra.policies.evaluate import wilson
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec
from palaestra.skills import pddl
from palaestra.skills.plan import Plan, PlanError
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.referee import Referee
from palaestra.skills.tasks import CHUNK, NUMBERS, Source, problem, source

Spent = defaultdict[str, float]  # seconds by kind of work
Work = tuple[WorldSpec, int, Task, np.ndarray, set[int]]  # the arguments of `check`
_AT_ONCE = 50  # tasks a process takes at a time
_SHOWN = 10  # faults that are told in words


@dataclass
class Finding:
    """What was found out about one task."""

    number: int
    mark: bytes  # a hash of everything in it
    length: int | None = None  # of the oracle's plan
    pddl: str = ""  # the referee's verdict; empty where it was not asked
    faults: dict[str, str] = field(default_factory=dict)  # overlap, duplicate, unsolved, trivial, english, pddl: in words


def verify(task_set: str, split: str, first: int, count: int, with_pddl: int = 0, workers: int = 2, quiet: bool = False) -> dict[str, Any]:
    """Check tasks `first` to `first + count - 1`, of which `with_pddl`, evenly spread, by the referee as well."""
    if count < 1 or not 0 <= with_pddl <= count or workers < 1 or not 0 <= first <= NUMBERS - count:
        got = f"{count} tasks from number {first}, {with_pddl} with PDDL, {workers} workers"
        raise PalaestraError(f"verify: got {got}, expected 1 or more tasks, numbers below {NUMBERS}, no more with PDDL, and a worker")
    if with_pddl:
        Referee()  # refused before the work is done
    clock = time.perf_counter()
    of = source(task_set, split)
    judged = {first + i * count // with_pddl for i in range(with_pddl)}
    findings, seconds = [], Spent(float)
    with Progress(console=Console(stderr=True), disable=quiet, transient=True) as progress:
        bar = progress.add_task(f"{task_set}/{split}", total=count)
        for some, spent in _checked(_parts(of, first, count, judged, seconds), workers):
            findings += some
            for part, lasted in spent.items():
                seconds[part] += lasted
            progress.advance(bar, len(some))
    seen: dict[bytes, int] = {}
    for finding in findings:
        if seen.setdefault(finding.mark, finding.number) != finding.number:
            finding.faults["duplicate"] = f"the same as task {seen[finding.mark]}"
    about = {"first": first, "workers": workers}
    return _summary(f"tasks {task_set}/{split}", findings, seconds, time.perf_counter() - clock) | about


def _parts(of: Source, first: int, count: int, judged: set[int], seconds: Spent) -> Iterator[Work]:
    """All tasks, in order, some at a time."""
    for at in range(first, first + count, CHUNK):
        clock = time.perf_counter()
        states, tables = of.chunk(at)
        seconds["generate"] += time.perf_counter() - clock
        for low in range(0, min(CHUNK, first + count - at), _AT_ONCE):
            part = slice(low, min(low + _AT_ONCE, first + count - at))
            yield of.spec, at + low, row(states.task, part), tables[part], judged


def _checked(parts: Iterator[Work], workers: int) -> Iterator[tuple[list[Finding], Spent]]:
    """The findings on each part, in order; one worker is this process."""
    if workers == 1:
        yield from (check(*part) for part in parts)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker) as pool:
        waiting: deque[Future[tuple[list[Finding], Spent]]] = deque()
        for part in parts:
            waiting.append(pool.submit(check, *part))
            if len(waiting) > 2 * CHUNK // _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _begin_worker() -> None:
    jax.config.update("jax_platforms", "cpu")  # words and plans are no work for a device, and its memory is the parent's


def check(spec: WorldSpec, first: int, tasks: Task, tables: np.ndarray, judged: set[int]) -> tuple[list[Finding], Spent]:
    """Findings on tasks numbered from `first`, and the seconds that each kind of check took."""
    seconds, clock = Spent(float), time.perf_counter()

    def lap(part: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[part] += now - clock
        clock = now

    touching = overlaps(spec, tasks.scene)
    lap("overlaps")
    found = []
    for i, table in enumerate(tables):
        task, number = row(tasks, i), first + i
        finding = Finding(number, _mark(task))
        found.append(finding)
        asked = problem(spec, task, table)
        lap("names")
        if touching[i]:
            finding.faults["overlap"] = f"{touching[i]} pairs of things overlap"
        plan = _solve(asked, finding)
        lap("oracle")
        _read_back(spec, task, asked, finding)
        lap("english")
        if number in judged and plan is not None:
            _judge(asked, plan, finding)
            lap("pddl")
    return found, seconds


def _mark(task: Task) -> bytes:
    whole = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(task):
        whole.update(np.ascontiguousarray(leaf).tobytes())
    return whole.digest()


def _solve(asked: Problem, finding: Finding) -> Plan | None:
    try:
        plan = OraclePlanner().plan(asked)
    except PlanError as error:
        finding.faults["unsolved"] = str(error)
        return None
    finding.length = len(plan.steps)
    if not plan.steps:
        finding.faults["trivial"] = "nothing is left to do at the start"
    return plan


def _read_back(spec: WorldSpec, task: Task, asked: Problem, finding: Finding) -> None:
    assert asked.goal is not None
    text = ""
    try:
        things, held_out = Things.of(spec, task.scene), bool(finding.number % 2)
        text = language.say(asked.goal, things, Taste(finding.number, held_out))
        goal = goals.write(parser.read(text, things), spec, task.scene)
        said = goals.formula(spec, task.replace(goal=goal))
        fault = "" if said == asked.goal else f"{text!r} was read as {'; '.join(goals.describe(said))}"
        text = " ".join(language.say_rules(asked.mechanics.rules, things, Taste(finding.number, held_out)))
        read = rulebook.read_all(text, things)
        fault = fault or ("" if read == asked.mechanics.rules else f"{text!r} was read as {read}")
    except Exception as error:  # whatever goes wrong with words is what is looked for
        fault = f"{text!r} was not read: {error}"
    if fault:
        finding.faults["english"] = fault


def _judge(asked: Problem, plan: Plan, finding: Finding) -> None:
    """Before the referee; a plan of theirs that is shorter than ours would be our fault."""
    goal = asked.goal or goals.Formula(())
    things, now, mechanics = asked.things, asked.facts, asked.mechanics
    texts = pddl.domain(library(), things, goal, mechanics, now), pddl.problem(library(), things, now, goal, mechanics=mechanics)
    verdict = Referee().judge(*texts, pddl.plan_text(plan, library(), things, now, goal, mechanics))
    if not verdict.valid:
        finding.pddl = "our plan is not valid"
    elif verdict.undecided:
        finding.pddl = "undecided by the other planner"
    elif verdict.shortest is None:
        finding.pddl = "not solved by the other planner"
    else:
        finding.pddl = (
            "same length" if verdict.shortest == len(plan.steps) else f"{verdict.shortest} steps where ours has {len(plan.steps)}"
        )
    if finding.pddl != "same length":
        finding.faults["pddl"] = finding.pddl


def _summary(name: str, findings: list[Finding], seconds: Spent, wall: float) -> dict[str, Any]:
    n = len(findings)
    faults = Counter(kind for f in findings for kind in f.faults)
    good = sum(not f.faults for f in findings)
    lengths = Counter(f.length for f in findings if f.length is not None)
    asked = [f.pddl for f in findings if f.pddl]
    told = [f"{f.number}: {kind}: {text}" for f in findings for kind, text in f.faults.items()]
    return {
        "name": name,
        "value": good / n,
        "n": n,
        "interval": list(wilson(good, n)),
        "overlaps": faults["overlap"],
        "duplicates": faults["duplicate"],
        "solved": 1 - faults["unsolved"] / n,
        "trivial": faults["trivial"],
        "english": 1 - faults["english"] / n,
        "lengths": {str(k): lengths[k] for k in sorted(lengths)},
        "pddl": {"n": len(asked), **Counter(asked)},
        "faults": told[:_SHOWN],
        "seconds": wall,
        "tasks_a_second": n / wall,
        "seconds_by_part": {part: round(seconds[part], 2) for part in sorted(seconds, key=lambda part: -seconds[part])},
    }
