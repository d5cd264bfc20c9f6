"""`palaestra improve`: the planner `embedded` practises in the simulator, and is measured before and after on tasks that it never saw."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.tasksets import TaskSetEnv, task_set
from palaestra.policies.evaluate import rate
from palaestra.sim.engines import best
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.memory import keep_freed_memory
from palaestra.skills import tasks
from palaestra.skills.evaluation import shared_runner
from palaestra.skills.executor import Executor
from palaestra.skills.operators import Call
from palaestra.skills.plan import Plan, PlanError, static_faults
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.embedded.improving import Asked, Came, Drawn, Practice, Verifier, ask, by_model, improve, ready
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planners.embedded.weights import Weights, load_planner
from palaestra.skills.planners.oracle import OraclePlanner

VERIFIERS = ("simulator", "model")
MASKS = ("none", "applicable")  # with which it is measured: the actor alone, and as it is used


class Recited:
    """Plans that are there already, by the episode's number."""

    name = "recited"

    def __init__(self, plans: Sequence[Plan]):
        self.plans = plans

    def plan(self, problem: Problem) -> Plan:
        return self.plans[problem.number]


class BySimulator:
    """Carries plans out in physics, with the learned skills and no second plan."""

    def __init__(self, name: str, split: str):
        runner = shared_runner(best(), task_set(name).of(split).spec, library())
        env = TaskSetEnv(name, split, engine=runner.env.engine)
        self.executor = Executor(env, runner.skills, OraclePlanner(), max_replans=0, runner=runner)

    def __call__(self, asked: Asked, drawn: Sequence[Drawn]) -> list[Came]:
        self.executor.planner = Recited([_sayable(d.calls, asked.problems[d.task]) for d in drawn])
        which = np.array([d.task for d in drawn])
        words = [asked.problems[i].instruction for i in which]
        done = self.executor.run(jax.tree.map(lambda x: x[which], asked.tasks), words, numbers=range(len(drawn)))
        made = [[(Call(c.skill, c.args), c.verdict) for c in episode.calls] for episode in done]
        return [
            Came(True, None) if episode.success else Came(False, fault_of(d.calls, calls))
            for episode, d, calls in zip(done, drawn, made, strict=True)
        ]


def _sayable(calls: Sequence[Call], problem: Problem) -> Plan:
    """A plan up to the first call of what does not exist; with that nothing of it would be started."""
    faults = static_faults(Plan(tuple(calls)), library(), problem.things)
    return Plan(tuple(calls[: faults[0].step] if faults else calls))


def fault_of(calls: Sequence[Call], made: Sequence[tuple[Call, str]]) -> int | None:
    """Which call of a plan went wrong, given those that were started and how they went; the executor passes over what has nothing to do.

    A call that was not come to is at fault where all before it went well, and there is no more of the plan that could be said.
    """
    at = -1
    for call, verdict in made:
        at = next((i for i in range(at + 1, len(calls)) if calls[i] == call), at)
        if verdict != "succeeded":
            return at
    return at + 1 if at + 1 < len(calls) else None


def likeliest(planner: EmbeddedPlanner, asked: Asked) -> list[Drawn]:
    """The plan that the planner would give of each task; none where it gives none."""
    plans = planner.plans(asked.problems)
    return [Drawn(i, [], [], [] if isinstance(plan, PlanError) else list(plan.steps)) for i, plan in enumerate(plans)]


def _rate(came: Sequence[Came]) -> dict[str, Any]:
    return rate(sum(c.success for c in came), len(came))


def improve_planner(
    practice: Practice,
    folder: Path,
    weights: Path | None,
    verifier: str,
    episodes: int,
    seeds: Sequence[int],
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Success on test tasks of the set before and after practice on its training split, once a seed.

    `value` is that of the actor alone after it, all seeds together; the same tasks are in the interval once a seed.
    """
    if verifier not in VERIFIERS:
        raise UnknownNameError("verifier", verifier, VERIFIERS)
    if episodes < 1 or not seeds or len({*seeds}) < len(seeds):
        raise PalaestraError(f"improve: got {episodes} episodes and seeds {(*seeds,)}, expected 1 or more, and different seeds")
    runs = {seed: (replace(practice, seed=seed), folder / f"{practice.method}-{practice.task_set}-seed{seed}") for seed in seeds}
    for one, where in runs.values():
        ready(one, where)
    name, clock, source = practice.task_set, time.perf_counter(), tasks.source(practice.task_set, "test")
    keep_freed_memory()
    judges: dict[str, Verifier] = {"model": by_model}
    if verifier == "simulator":
        judges = {"simulator": BySimulator(name, "test")} | judges
    held_out = ask(source, 0, episodes)

    def judged(weights: Weights) -> dict[str, Any]:
        planned = {mask: likeliest(EmbeddedPlanner(source.spec, weights, mask), held_out) for mask in MASKS}
        return {who: {mask: _rate(judge(held_out, plans)) for mask, plans in planned.items()} for who, judge in judges.items()}

    before = judged(load_planner(weights))
    tell(f"before: {before}")
    learns = BySimulator(name, "train") if verifier == "simulator" else by_model
    after = {}
    for seed, (one, where) in runs.items():
        after[seed] = judged(improve(one, where, weights, learns, tell))
        tell(f"after, seed {seed}: {after[seed]}")
    good = sum(round(one[verifier][MASKS[0]]["value"] * episodes) for one in after.values())
    return {
        "name": "improve",
        **rate(good, episodes * len(seeds)),
        "before": before,
        "after": after,
        "method": practice.method,
        "set": name,
        "verifier": verifier,
        "folder": str(folder),
        "seconds": time.perf_counter() - clock,
    }
