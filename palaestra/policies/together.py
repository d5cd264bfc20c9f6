"""Runs of PPO that differ in seed and `Hyper` alone, as one program: vmapped over, with all their environments stepped as one batch.

Their folders and checkpoints are those of single runs. What is computed is the same up to rounding in float32, since another
program rounds elsewhere; the same sweep comes to the same bits again. A single run to the bit is `together = 1`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.types import row
from palaestra.policies.networks import Policy
from palaestra.policies.ppo import Hyper, Learner, TrainState
from palaestra.policies.rollouts import report_overflow
from palaestra.policies.runs import DivergedError, Record, Run
from palaestra.sim.engines import compiler_options

Report = Callable[[Run, dict[str, float]], None]


class Together:
    """R learners as one. States have a leading axis R, and so have figures."""

    def __init__(self, learners: Sequence[Learner]):
        self.learners, first = list(learners), learners[0]
        hypers = [learner.config.hyper for learner in learners]
        # What is the same for all stays a constant of the program, as it is in a single run's.
        self._varied = {
            name: jnp.asarray([getattr(h, name) for h in hypers], jnp.float32)
            for name in Hyper.__dataclass_fields__
            if len({getattr(h, name) for h in hypers}) > 1
        }

        def one(values: dict[str, jax.Array]) -> Learner:
            config = replace(first.config, hyper=first.config.hyper.replace(**values))
            return Learner(first.env, config, first.total_updates, first.envs.sampler)

        def each(function: Callable[..., Any]) -> Any:
            return jax.jit(jax.vmap(function, axis_size=len(self.learners)), compiler_options=compiler_options())

        self._collect = each(lambda values, state: one(values).rollout(state))
        self._improve = each(lambda values, state, seen: one(values).update(state, seen))

    def train_step(self, states: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """One rollout and one update of all; figures [R]."""
        states, transitions, metrics = self._collect(self._varied, states)
        report_overflow(metrics, transitions.metrics)
        states, losses = self._improve(self._varied, states, transitions)
        return states, metrics | losses

    def policy(self, states: TrainState, i: int) -> Policy:
        return self.learners[i].policy(row(states, i))


def stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def train_together(runs: Sequence[Run], report: Report = lambda run, row: None) -> list[Policy | DivergedError]:
    """Train runs of equal length to their ends, side by side, each in its own folder; what is there already is gone on with. One that
    diverges stops none of the others.

    Where a process died between two checkpoints, they go on from the older of them, so that they stay together. Others,
    which were never together, go on each as far as it is.
    """
    shared = set.intersection(*(set(_starts(run)) for run in runs))
    begun: dict[int, list[Run]] = {}
    for run in runs:
        begun.setdefault(max(shared or _starts(run)), []).append(run)
    policies = {run: p for update, some in begun.items() for run, p in zip(some, _train(some, update, report), strict=True)}
    return [policies[run] for run in runs]


def _starts(run: Run) -> list[int]:
    """The updates after which it can go on; 0, the beginning, where at most its first checkpoint would be lost."""
    saved = run.saved()
    return [*saved, *([0] if len(saved) < 2 else [])]


def _train(runs: Sequence[Run], start: int, report: Report) -> list[Policy | DivergedError]:
    first = runs[0]
    for run in runs:
        run.forget(start)
    if len(runs) == 1:
        try:
            return [first.train(resume=start > 0, report=_to(report, first))]
        except DivergedError as error:
            return [error]
    learners = [run.learner for run in runs]
    assert all(isinstance(learner, Learner) for learner in learners)
    together = Together(learners)  # type: ignore[arg-type]
    diverged: dict[int, DivergedError] = {}
    with first.guarded(), ExitStack() as stacked:
        states = stack([run.begin(start) for run in runs])
        records = [stacked.enter_context(closing(Record(run, start, _to(report, run)))) for run in runs]
        for update in range(start + 1, first.updates + 1):
            states, metrics = together.train_step(states)
            figures = {name: np.asarray(figure) for name, figure in metrics.items()}
            for i, (run, record) in enumerate(zip(runs, records, strict=True)):
                if i in diverged:
                    continue
                try:
                    record.add(update, run.checked({name: figure[i] for name, figure in figures.items()}, update))
                    if run.due(update):
                        run.save(row(states, i), update)
                except DivergedError as error:
                    diverged[i] = error
            if len(diverged) == len(runs):
                break
    return [diverged.get(i) or together.policy(states, i) for i in range(len(runs))]


def _to(report: Report, run: Run) -> Callable[[dict[str, float]], None]:
    return lambda figures: report(run, figures)
