"""`palaestra eval planner`: what a planner is worth apart from skills. Calls do what their records promise, or, at a rate that is
asked for, nothing; what was wrong with a plan is found out by trying it out, never by reading it.

Three protocols. `one-shot`: one plan, carried out to its end or to the first call that cannot be made. `closed-loop`: a new plan
from the state that really is wherever a call failed, could not be made, or did not bring about the goal with the last one.
`step-by-step`: a new plan after every call.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.env import Rearrange
from palaestra.envs.goals import Formula, Term, family, formula
from palaestra.envs.mechanics import mechanics
from palaestra.envs.names import entities, facts
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import SPLITS, TaskSetEnv
from palaestra.envs.types import Task
from palaestra.envs.words import language
from palaestra.policies.evaluate import evaluation_keys, rate
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills import scores
from palaestra.skills.operators import Call
from palaestra.skills.permissions import Permissions
from palaestra.skills.plan import Failure, Fault, Plan, PlanError, Steps, validate
from palaestra.skills.planners import Planner, PlannerChoice, Problem, fresh_log
from palaestra.skills.planners.base import Tried, library
from palaestra.skills.planners.openai_chat import OpenAIPlanner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.space import Space
from palaestra.skills.programs.running import Program, Run, try_out

PROTOCOLS = ("one-shot", "closed-loop", "step-by-step")
MAX_REPLANS = 6  # as the executor's
_SLACK = 10  # calls, step by step, beside twice as many as the oracle takes
_BATCH = 256  # episodes that are planned for side by side


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How plans are carried out."""

    protocol: str = "closed-loop"
    failures: float = 0.0  # the rate at which a call has no effect
    seed: int = 0
    permissions: Permissions | None = None

    def check(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError("protocol", self.protocol, PROTOCOLS)
        if not 0 <= self.failures < 1:
            raise PalaestraError(f"failures: got {self.failures}, expected a rate from 0 to below 1")


@dataclass
class Attempt:
    """One episode as it goes."""

    problem: Problem  # at the start, with the whole goal
    space: Space
    shortest: int  # calls of the oracle's plan
    state: int = 0
    stage: int = 0
    forbidden: bool = False
    first: Plan | Program | None = None  # the first plan, as it was made
    error: PlanError | None = None
    under_way: Steps | Run | None = None  # the present plan
    plans: int = 0
    calls: int = 0  # that were made, with or without effect
    refused: int = 0  # calls that were not permitted
    breaches: int = 0  # states in which what must never be is
    tried: list[Tried] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    over: bool = False

    @property
    def success(self) -> bool:
        return not self.forbidden and self.stage == len(self.space.goal.stages)

    @property
    def recall(self) -> float:
        """The share of the stages that were reached."""
        return 0.0 if self.forbidden else self.stage / len(self.space.goal.stages)

    def next_call(self) -> Call | None:
        """The present plan's next call; None where there is no more of it."""
        call = self.under_way.next(self.space.named(self.state)) if self.under_way else None
        if self.under_way and self.under_way.stopped:
            self.history.append(f"the program was stopped: {self.under_way.stopped}")
        self.under_way = self.under_way if call else None
        return call

    def failed(self, started: bool = True) -> None:
        """The last call failed: a list of calls ends with it, a program may go on."""
        if self.under_way:
            self.under_way.failed(started)

    def now(self) -> Problem:
        """What the planner is asked next."""
        space, problem = self.space, self.problem
        goal = space.goal.after(self.stage)
        return replace(problem, facts=space.named(self.state), goal=goal, history=tuple(self.history), tried=tuple(self.tried))


def problems(env: TaskSetEnv, split: str, seed: int, numbers: Sequence[int]) -> list[Problem]:
    """What planners are asked at the start of the tasks that `palaestra eval` measures, with words and scenes."""
    keys, fold = evaluation_keys(seed, max(numbers) + 1), SPLITS.index(split)
    sample = jax.jit(lambda key: env.sample_task(jax.random.fold_in(key, fold)))  # one at a time, as they are made there
    table = jax.jit(lambda scene: table_at_start(env.world, scene))
    found = []
    for number in numbers:
        task: Task = jax.device_get(sample(keys[number]))
        found.append(problem(env, task, number, np.asarray(table(task.scene))))
    return found


def problem(env: Rearrange, task: Task, number: int, table: np.ndarray) -> Problem:
    """What a planner is asked at the start of a task, as the executor asks it."""
    spec = env.world.spec
    things = entities(spec, task.scene)
    return Problem(
        env.instruction(task, number),
        things,
        facts(things, table),
        formula(spec, task),
        language.describe(spec, task.scene, with_rules=env.show_rules, with_positions=True),
        number=number,
        scene=task.scene,
        mechanics=mechanics(spec, task.scene),
    )


def carry_out(planner: Planner, asked: Sequence[Problem], conditions: Conditions) -> list[Attempt]:
    """The episodes of these problems, each to its end; planners that can are asked about many at once."""
    attempts = [_begin(_guarded(problem, conditions)) for problem in asked]
    for at in range(0, len(attempts), _BATCH):
        group = attempts[at : at + _BATCH]
        while waiting := [a for a in group if not a.over]:
            for attempt, plan in zip(waiting, _planned(planner, [a.now() for a in waiting]), strict=True):
                _take(attempt, plan)
                _run(attempt, conditions)
    return attempts


def _guarded(problem: Problem, conditions: Conditions) -> Problem:
    if conditions.permissions is None:
        return problem
    if problem.scene is None:
        raise ValueError("permissions: got a problem without its scene, expected one with it: they are about rooms on the way")
    return replace(problem, guard=conditions.permissions.guard(problem.things, problem.scene))


def _begin(problem: Problem) -> Attempt:
    space = Space(problem, library())
    shortest = len(OraclePlanner().plan(problem).steps)
    return Attempt(problem, space, shortest, space.start, space.onward(0, space.start))


def _planned(planner: Planner, asked: Sequence[Problem]) -> list[Plan | Program | PlanError]:
    many = getattr(planner, "plans", None)
    if many is not None:
        return list(many(asked))
    found: list[Plan | Program | PlanError] = []
    for problem in asked:
        try:
            found.append(planner.plan(problem))
        except PlanError as error:
            found.append(error)
    return found


def _take(attempt: Attempt, plan: Plan | Program | PlanError) -> None:
    """Note a plan, or that there is none."""
    attempt.plans += 1
    if isinstance(plan, PlanError):
        attempt.error, attempt.over = plan, True
        return
    if attempt.first is None:
        attempt.first = plan
    for fault in plan.static_faults(library(), attempt.problem.things):
        attempt.error, attempt.over = PlanError(fault), True
        return
    attempt.under_way = plan.begin(attempt.problem.things)
    attempt.over = isinstance(plan, Plan) and not plan.steps


def _run(attempt: Attempt, conditions: Conditions) -> None:
    """Carry out the present plan, up to where the protocol asks for another one or the episode is over."""
    space, closed = attempt.space, conditions.protocol != "one-shot"
    most = 2 * attempt.shortest + _SLACK
    while not attempt.over and (call := attempt.next_call()):
        step = space.calls(attempt.state).get(call)
        if step is None:
            attempt.history.append(f"{call} not started: its precondition does not hold")
            attempt.failed(started=False)
            continue
        guard, after = attempt.problem.guard, space.made(attempt.state, step)
        if guard and (refused := guard.refuses(call, space.named(attempt.state), space.named(after))):
            attempt.history.append(f"{call} not started: not permitted: {refused}")
            attempt.refused += 1
            attempt.failed(started=False)
            continue
        attempt.calls += 1
        rng = np.random.default_rng((conditions.seed, attempt.problem.number, attempt.calls))
        fails = rng.random() < conditions.failures
        attempt.tried.append(Tried(call, not fails))
        if fails:
            attempt.history.append(f"{call} failed: it had no effect")
            if closed:
                attempt.failed()
        else:
            attempt.state = after
            attempt.breaches += bool(guard and guard.broken(space.named(after)))
            attempt.forbidden |= not space.allowed(attempt.state)
            attempt.stage = space.onward(attempt.stage, attempt.state)
        attempt.over = attempt.forbidden or attempt.success or attempt.calls >= most
        if conditions.protocol == "step-by-step":
            return
    if not attempt.over:
        attempt.over = not closed or attempt.plans > MAX_REPLANS


# --- the report ---------------------------------------------------------------------------------------------------


def measure_planner(choice: PlannerChoice, suite: str, split: str, episodes: int, seed: int, conditions: Conditions) -> dict[str, Any]:
    """Goal success of a planner with skills that do what they promise, and what was wrong with its plans."""
    conditions.check()
    env = TaskSetEnv(suite, split)
    log = Path(f"runs/eval/planner-{suite}-{split}-seed{seed}/endpoint.jsonl")
    fresh_log(log, choice)
    planner = choice.make(env, log, seed=(seed,))
    asked = problems(env, split, seed, range(episodes))
    clock = time.perf_counter()
    done = carry_out(planner, asked, conditions)
    seconds = time.perf_counter() - clock
    result = {
        "name": "planner",
        **rate(sum(a.success for a in done), episodes),
        "planner": choice.name,
        "suite": suite,
        "split": split,
        "skills": "oracle",
        "protocol": conditions.protocol,
        "failures": conditions.failures,
        **_of_plans(done),
        **_of_readings(planner, asked),
        "recall": float(np.mean([a.recall for a in done])),
        "spl": float(np.mean([scores.path_length_score(a.success, a.shortest, a.calls) for a in done])),
        "by_family": _by([(family(_goal(a)), a.success) for a in done]),
        "by_length": _by([(a.shortest, a.success) for a in done]),
        "plans": sum(a.plans for a in done),
        **({"refused": sum(a.refused for a in done), "breaches": sum(a.breaches for a in done)} if conditions.permissions else {}),
        **({"endpoint": planner.report()} if isinstance(planner, OpenAIPlanner) else {}),
        "seed": seed,
        "seconds": seconds,
    }
    lengths = [len(a.space.goal.stages) for a in done]
    if min(lengths) > 1:
        reached = np.array([0 if a.forbidden else a.stage for a in done])
        result["chain"] = {"average_length": float(reached.mean()), "interval": list(scores.mean_interval(reached))}
    return result


def _goal(attempt: Attempt) -> Formula:
    return attempt.space.goal


def _of_plans(done: Sequence[Attempt]) -> dict[str, Any]:
    """What was wrong with the first plans, by class; a plan counts once in each class."""
    classes: Counter[str] = Counter()
    executable = 0
    for attempt in done:
        if attempt.first is None:
            classes[str(attempt.error.failure if attempt.error else Failure.GOAL)] += 1
            continue
        p = attempt.problem
        found = {f.failure for f in _whole_faults(attempt.first, p)}
        classes.update(map(str, found))
        executable += not any(failure.stops for failure in found - {Failure.GOAL, Failure.FORBIDDEN})
    return {"executable": executable / len(done), "faults": dict(classes)}


def _whole_faults(plan: Plan | Program, p: Problem) -> list[Fault]:
    """What is wrong with a plan from the start to the goal."""
    if isinstance(plan, Program):
        return try_out(plan, p.things, p.facts, p.goal, p.mechanics)
    return validate(plan, library(), p.things, p.facts, p.goal, p.mechanics)


def _of_readings(planner: Planner, asked: Sequence[Problem]) -> dict[str, Any]:
    """How well the goals were understood, where the planner says what it understood: exactly, and term by term."""
    ask = getattr(planner, "understood", None)
    if ask is None:
        return {}
    said, exact, found, meant, both = [], 0, 0, 0, 0
    for at in range(0, len(asked), _BATCH):
        said += ask(asked[at : at + _BATCH])
    for one, goal in zip(said, (p.goal for p in asked), strict=True):
        assert goal is not None
        a, b = _terms(one), _terms(goal)
        exact, found, meant, both = exact + (one == goal), found + len(a), meant + len(b), both + len(a & b)
    return {"goal_exact": exact / len(asked), "goal_f1": 2 * both / max(found + meant, 1)}


def _terms(goal: Formula) -> set[tuple[int, int, Term]]:
    stages = [(k, o, t) for k, stage in enumerate(goal.stages) for o, option in enumerate(stage) for t in option]
    return {*stages, *((-1, 0, term) for term in goal.always)}


def _by(pairs: Sequence[tuple[Any, bool]]) -> dict[str, str]:
    groups: dict[Any, list[bool]] = {}
    for value, success in pairs:
        groups.setdefault(value, []).append(success)
    return {str(value): f"{sum(some)} of {len(some)}" for value, some in sorted(groups.items())}
