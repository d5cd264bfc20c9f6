"""`palaestra train planner`: reader and actor learn by imitation, of the grammar and of the oracle, on tasks of training splits.

A run is a folder with a part for each network. Examples are made once and kept there, so that a run that was stopped goes on where its
last checkpoint left it: the batch of a step depends on the seed and the step alone.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from palaestra.policies.files import load_train_state, save_train_state
from palaestra.policies.runs import TrainingError
from palaestra.policies.settings import changed, parse
from palaestra.sim.files import write_atomically
from palaestra.sim.memory import keep_freed_memory
from palaestra.skills.planners.base import library
from palaestra.skills.planners.embedded import batches, examples
from palaestra.skills.planners.embedded.batches import Doings, Readings
from palaestra.skills.planners.embedded.encoding import END, FREE, SENSES
from palaestra.skills.planners.embedded.networks import Actor, Reader, Said
from palaestra.skills.planners.embedded.weights import save_planner

Batch = Readings | Doings
_UNKNOWN = SENSES.index("unknown:")
_SHOWN = 100  # steps a row of figures
_JUDGED = 256  # examples of each size


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a network learns, and for how long."""

    tasks: int  # of which examples are made,
    held_out: int = 16_384  # and of validation splits
    steps: int  # of gradient descent
    batch: int = 256  # examples a step
    learning_rate: float = 1e-3  # at the end of the warm-up; it falls to nothing by a cosine
    warmup: int = 200  # steps
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0  # gradients are scaled down to this global norm
    average: float = 0.998  # how much of the averaged weights, which are what is kept, a step leaves as it was
    unlisted: float = 0.02  # the share of words that the reader gets as words that nobody knows
    seed: int = 0
    checkpoint_every: int = 500  # steps


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Those of both networks."""

    reader: Lesson = Lesson(tasks=140_000, steps=14_500, batch=128)
    actor: Lesson = Lesson(tasks=36_000, steps=4_000, batch=160)


class State(struct.PyTreeNode):
    """All that a run needs to go on."""

    step: jax.Array  # [] int32
    params: Any
    averaged: Any
    optimiser: Any


# --- what is to be got right --------------------------------------------------------------------------------------


def _cross(logits: jax.Array, labels: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels.astype(jnp.int32))


def _which(batch: Readings) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of each row [B, G]: whether there is one, the end included; whether it says something; and whether that is a term."""
    link, predicate = batch.numbers[:, 0], batch.numbers[:, 1]
    said = link != END
    there = jnp.concatenate([jnp.ones_like(said[:, :1]), said[:, :-1]], 1)
    return there, said, said & (predicate != FREE)


def reader_loss(said: Said, batch: Readings) -> jax.Array:
    """The negative log-likelihood of a formula, the mean over the batch."""
    there, row, term = _which(batch)
    link, predicate, low, high = (batch.numbers[:, i] for i in range(4))
    parts = [
        jnp.where(there, _cross(said.link, link), 0.0),
        jnp.where(row, _cross(said.predicate, predicate), 0.0),
        jnp.where(term, _cross(said.low, low) + _cross(said.high, high), 0.0),
    ]
    for logits, mask, where in ((said.subjects, batch.masks[:, 0], row), (said.targets, batch.masks[:, 1], term)):
        each = optax.sigmoid_binary_cross_entropy(logits, mask.astype(jnp.float32))
        parts.append(jnp.where(where, jnp.where(logits > -1e8, each, 0.0).sum(-1), 0.0))
    stepwise = optax.sigmoid_binary_cross_entropy(said.stepwise, batch.stepwise.astype(jnp.float32))
    return (sum(part.sum(1) for part in parts) + stepwise).mean()


def reader_right(said: Said, batch: Readings) -> jax.Array:
    """Whether every part of a formula is right, each row given those before it [B]."""
    there, row, term = _which(batch)
    link, predicate, low, high = (batch.numbers[:, i] for i in range(4))
    right = (said.link.argmax(-1) == link) | ~there
    right &= (said.predicate.argmax(-1) == predicate) | ~row
    right &= ((said.low.argmax(-1) == low) & (said.high.argmax(-1) == high)) | ~term
    right &= ((said.subjects > 0) == batch.masks[:, 0]).all(-1) | ~row
    right &= ((said.targets > 0) == batch.masks[:, 1]).all(-1) | ~term
    return right.all(1) & ((said.stepwise > 0) == batch.stepwise)


def _chosen(logits: tuple[jax.Array, jax.Array, jax.Array], call: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logits of each part of a call, given the parts before it."""
    skill, first, second = logits
    rows = jnp.arange(len(call))
    return skill, first[rows, call[:, 0]], second[rows, call[:, 0], call[:, 1]]


def actor_loss(logits: tuple[jax.Array, jax.Array, jax.Array], batch: Doings) -> jax.Array:
    """The negative log-likelihood of a call, the mean over the batch."""
    skill, first, second = _chosen(logits, batch.call)
    two = batch.call[:, 2] > 0  # the robot, 0, is nobody's argument
    return (
        _cross(skill, batch.call[:, 0]) + _cross(first, batch.call[:, 1]) + jnp.where(two, _cross(second, batch.call[:, 2]), 0.0)
    ).mean()


def actor_right(logits: tuple[jax.Array, jax.Array, jax.Array], batch: Doings) -> jax.Array:
    """Whether it is the oracle's call [B]; others may be as good."""
    skill, first, second = (part.argmax(-1) for part in _chosen(logits, batch.call))
    call = batch.call
    return (skill == call[:, 0]) & (first == call[:, 1]) & ((second == call[:, 2]) | (call[:, 2] == 0))


class Subject(NamedTuple):
    """A network and how it is taught."""

    name: str
    network: Any
    inputs: int  # the first fields of a batch, which it takes
    loss: Callable[[Any, Any], jax.Array]
    right: Callable[[Any, Any], jax.Array]
    mixture: dict[str, int]

    def make(self, name: str, first: int, split: str) -> dict[Any, Batch]:
        """The examples of a chunk of tasks, by their sizes."""
        if self.name == "reader":
            return dict(batches.readings(examples.read_chunk(name, first, split)))
        return dict(batches.all_doings(examples.do_chunk(name, first, split, library())))


def subjects() -> tuple[Subject, Subject]:
    """The reader and the actor."""
    return (
        Subject("reader", Reader(), 7, reader_loss, reader_right, examples.TO_READ),
        Subject("actor", Actor(len(library())), 2, actor_loss, actor_right, examples.TO_DO),
    )


# --- examples -----------------------------------------------------------------------------------------------------


def _work(which: int, name: str, first: int, split: str) -> dict[Any, Batch]:
    return subjects()[which].make(name, first, split)


def gather(which: int, tasks: int, split: str, workers: int, tell: Callable[[str], None] = lambda text: None) -> dict[Any, Batch]:
    """The examples of so many tasks, by their sizes; made in processes."""
    subject = subjects()[which]
    todo = examples.chunks(subject.mixture, tasks)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_work, which, name, first, split) for name, first in todo]
        parts: dict[Any, list[Batch]] = {}
        for i, future in enumerate(futures):
            for size, batch in future.result().items():
                parts.setdefault(size, []).append(batch)
            tell(f"{subject.name}: examples of {(i + 1) * examples.CHUNK:,} of {len(todo) * examples.CHUNK:,} tasks")
    return {size: type(some[0])(*(np.concatenate(column) for column in zip(*some, strict=True))) for size, some in sorted(parts.items())}


def save_examples(path: Path, found: dict[Any, Batch]) -> None:
    """Examples as a file of NumPy's, without pickle."""
    arrays = {
        f"{'-'.join(map(str, np.atleast_1d(size)))}/{name}": a for size, batch in found.items() for name, a in batch._asdict().items()
    }
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load_examples(path: Path, which: int) -> dict[Any, Batch]:
    """What `save_examples` wrote."""
    kind = (Readings, Doings)[which]
    fields: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            size, name = key.split("/")
            fields.setdefault(size, {})[name] = file[key]
    return {tuple(map(int, size.split("-"))): kind(**arrays) for size, arrays in fields.items()}


# --- the run ------------------------------------------------------------------------------------------------------


class Course:
    """One network's training, in a folder."""

    def __init__(self, which: int, lesson: Lesson, folder: Path, workers: int = 2):
        self.which, self.lesson, self.folder, self.workers = which, lesson, folder, workers
        self.subject = subjects()[which]
        self.transform = optax.chain(
            optax.clip_by_global_norm(lesson.max_grad_norm),
            optax.adamw(
                optax.warmup_cosine_decay_schedule(0.0, lesson.learning_rate, lesson.warmup, max(lesson.steps, lesson.warmup + 1)),
                weight_decay=lesson.weight_decay,
            ),
        )
        self._step = jax.jit(self._descend, donate_argnums=0)
        self._judge = jax.jit(lambda params, batch: self.subject.right(self._apply(params, batch), batch))

    def _apply(self, params: Any, batch: Batch) -> Any:
        return self.subject.network.apply(params, *batch[: self.subject.inputs])

    def _descend(self, state: State, batch: Batch) -> tuple[State, jax.Array]:
        loss, grads = jax.value_and_grad(lambda p: self.subject.loss(self._apply(p, batch), batch))(state.params)
        updates, optimiser = self.transform.update(grads, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        keep = jnp.minimum(self.lesson.average, (1.0 + state.step) / (10.0 + state.step))
        averaged = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, state.averaged, params)
        return State(step=state.step + 1, params=params, averaged=averaged, optimiser=optimiser), loss

    def init(self, like: Batch) -> State:
        """The state before the first step."""
        first = jax.tree.map(lambda x: jnp.asarray(x[:1]), like)
        params = self.subject.network.init(jax.random.key(self.lesson.seed), *first[: self.subject.inputs])
        copy = jax.tree.map(jnp.copy, params)
        return State(step=jnp.zeros((), jnp.int32), params=params, averaged=copy, optimiser=self.transform.init(params))

    def batch(self, found: dict[Any, Batch], step: int) -> Batch:
        """The examples of a step: all of one size, and each as likely as any other."""
        rng, sizes = np.random.default_rng((self.lesson.seed, step)), list(found)
        batches = [max(self.lesson.batch * 32 // sum(size[:2]) // 16 * 16, 16) for size in sizes]  # longer ones are fewer a step
        weight = np.array([len(found[size][0]) / batch for size, batch in zip(sizes, batches, strict=True)])
        at = rng.choice(len(sizes), p=weight / weight.sum())
        size = sizes[at]
        chosen = rng.integers(len(found[size][0]), size=batches[at])
        batch = type(found[size])(*(column[chosen] for column in found[size]))
        if isinstance(batch, Readings):
            lost = (rng.random(batch.sense.shape) < self.lesson.unlisted) & (batch.sense > 0)
            batch = batch._replace(sense=np.where(lost, _UNKNOWN, batch.sense), word=np.where(lost, 0, batch.word))
        return batch

    def accuracy(self, params: Any, found: dict[Any, Batch]) -> float:
        """The share of examples that are got right, by the first ones of each size."""
        some = [type(batch)(*(column[:_JUDGED] for column in batch)) for batch in found.values()]
        rates = [float(np.asarray(self._judge(params, batch)).mean()) for batch in some]
        return float(np.average(rates, weights=[len(batch[0]) for batch in found.values()]))

    def run(self, resume: bool, tell: Callable[[str], None], until: int | None = None) -> Any:
        """Train to the end, or to a step before it; the averaged weights."""
        until = self.lesson.steps if until is None else min(until, self.lesson.steps)
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"network": self.subject.name} | asdict(self.lesson)
        kept = self.checkpoints()
        if kept and not resume:
            raise TrainingError(f"{self.folder}: holds a run already. Fix: --resume to go on with it, or another --folder")
        write_atomically(self.folder / "config.json", json.dumps(about, indent=2).encode())
        found, held = (self.examples(split, n, tell) for split, n in (("train", self.lesson.tasks), ("validation", self.lesson.held_out)))
        state = self.init(next(iter(found.values())))
        if kept:
            state = load_train_state(kept[-1], state, about)
        clock, losses = time.perf_counter(), []
        for step in range(int(state.step), until):
            state, loss = self._step(state, self.batch(found, step))
            losses.append(loss)
            last = step + 1 == until
            if (step + 1) % _SHOWN == 0 or last:
                mean = float(np.mean([float(x) for x in losses]))
                if not np.isfinite(mean):
                    fix = "a lower reader.learning_rate or actor.learning_rate, in another folder"
                    raise TrainingError(f"{self.folder}: step {step + 1}: the loss: got {mean}, expected a number. Fix: {fix}")
                row: dict[str, Any] = {"step": step + 1, "loss": mean, "seconds": round(time.perf_counter() - clock, 1)}
                losses = []
                if (step + 1) % self.lesson.checkpoint_every == 0 or last:
                    row["validation"] = self.accuracy(state.averaged, held)
                    save_train_state(self.folder / f"checkpoint-{step + 1:07d}.safetensors", state, about)
                    for old in self.checkpoints()[:-2]:
                        old.unlink()
                self._write(row)
                tell(f"{self.subject.name}: " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
        return state.averaged

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"))

    def examples(self, split: str, tasks: int, tell: Callable[[str], None]) -> dict[Any, Batch]:
        """Those of so many tasks, of the folder or made for it."""
        path = self.folder / f"examples-{split}-{tasks}.npz"
        if not path.exists():
            save_examples(path, gather(self.which, tasks, split, self.workers, tell))
        return load_examples(path, self.which)

    def _write(self, row: dict[str, Any]) -> None:
        path = self.folder / "metrics.csv"
        names = ("step", "loss", "seconds", "validation")
        fresh = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            if fresh:
                writer.writeheader()
            writer.writerow(row)


def train_planner(
    folder: Path,
    seed: int = 0,
    steps: int = 0,
    changes: Sequence[str] = (),
    resume: bool = False,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train both networks; the weights of both are in one file in the folder.

    steps: of each of them, where given. changes: to their lessons, as `reader.learning_rate=1e-3`.
    """
    clock = time.perf_counter()
    keep_freed_memory()
    params, shares = [], {}
    workers = os.cpu_count() or 1
    lessons = changed(Lessons(), parse(changes))
    for which, lesson in enumerate((lessons.reader, lessons.actor)):
        lesson = replace(lesson, seed=seed, steps=steps or lesson.steps)
        course = Course(which, lesson, folder / subjects()[which].name, workers)
        params.append(course.run(resume and bool(course.checkpoints()), tell))
        shares[course.subject.name] = course.accuracy(params[-1], course.examples("validation", lesson.held_out, tell))
    path = folder / "planner.safetensors"
    save_planner(path, params[0], params[1], {"seed": seed, "validation": shares})
    return {
        "name": "train-planner",
        "value": min(shares.values()),
        "right": shares,
        "weights": str(path),
        "seconds": time.perf_counter() - clock,
    }
