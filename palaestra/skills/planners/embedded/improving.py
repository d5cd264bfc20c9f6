"""`palaestra improve`: the planner's actor learns from the outcomes of its own plans, in tasks that nobody has solved for it.

A round draws tasks of a set's training split, reads them, draws plans of each from the actor itself, carries them out, and learns from
what came of them. Two ways to learn:

- imitation: from plans that reached what the task asks for, the shortest of each task, as if the oracle had made them (rejection-sampled
  self-imitation: STaR, Zelikman et al. 2022; ReST, Gulcehre et al. 2023);
- grpo: from all plans, by how much better each one did than the others of its task (group-relative policy optimisation, Shao et al.
  2024), with credit by call: of a plan that came to a call that could not be made, or failed, that call is to blame, and those before
  it the less the longer before.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from palaestra.envs.types import Task, row
from palaestra.policies.runs import TrainingError
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.files import write_atomically
from palaestra.skills import tasks
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.base import Problem, library
from palaestra.skills.planners.embedded import batches
from palaestra.skills.planners.embedded.batches import Doing, Doings
from palaestra.skills.planners.embedded.networks import Actor
from palaestra.skills.planners.embedded.planner import Attempt, EmbeddedPlanner, any_call
from palaestra.skills.planners.embedded.weights import Weights, load_planner, save_planner
from palaestra.skills.planners.space import Space

METHODS = ("imitation", "grpo")
MAX_SEED = 2000
_APART = tasks.NUMBERS // (MAX_SEED + 1)  # numbers of tasks between the first ones of two seeds


@dataclass(frozen=True, kw_only=True)
class Practice:
    """How the planner practises."""

    method: str = "grpo"
    task_set: str = "rules-medium"
    rounds: int = 20
    tasks: int = 64  # of a round
    draws: int = 8  # plans of each
    learning_rate: float = 1e-4
    batch: int = 128  # calls a step
    steps: int = 24  # of gradient descent, at most, a round
    clip: float = 0.2  # of grpo: how far a call's probability may move, as a ratio
    blame: float = 0.7  # of grpo: what is left of a fault's blame one call earlier
    length: float = 0.01  # of grpo: what a call costs of a success's 1
    seed: int = 0

    def check(self) -> None:
        if self.method not in METHODS:
            raise UnknownNameError("method", self.method, METHODS)
        if self.draws < 2 and self.method == "grpo":
            raise PalaestraError(f"draws: got {self.draws}, expected 2 or more: plans of a task are compared with each other")
        if not 0 <= self.seed <= MAX_SEED:
            raise PalaestraError(f"seed: got {self.seed}, expected 0 to {MAX_SEED}")
        if min(self.rounds, self.tasks, self.draws, self.steps, self.batch) < 1:
            raise PalaestraError("rounds, tasks, draws, steps and batch: expected 1 or more each")


class Drawn(NamedTuple):
    """A plan of the actor's own, call by call."""

    task: int  # of the round
    doings: list[Doing]  # what it saw, and what it called
    log_probs: list[float]  # of the calls, as they were drawn
    calls: list[Call]


class Came(NamedTuple):
    """What came of a plan."""

    success: bool
    fault: int | None  # the call that could not be made, or failed; None where none did


class Asked(NamedTuple):
    """The tasks of a round, and what the planner is asked of each at its start."""

    tasks: Task  # leading axis B, on the host
    problems: list[Problem]


class Verifier(Protocol):
    """Carries plans out, and says what came of each."""

    def __call__(self, asked: Asked, drawn: Sequence[Drawn]) -> list[Came]: ...


def by_model(asked: Asked, drawn: Sequence[Drawn]) -> list[Came]:
    """With skills that do what they promise: the grounded operators' own next states."""
    spaces = [Space(problem, library()) for problem in asked.problems]
    return [_by_model(spaces[plan.task], plan.calls) for plan in drawn]


def _by_model(space: Space, calls: Sequence[Call]) -> Came:
    state, stage = space.start, space.onward(0, space.start)
    for i, call in enumerate(calls):
        if stage == len(space.goal.stages):
            break
        step = space.calls(state).get(call)
        if step is None:
            return Came(False, i)
        state = space.made(state, step)
        if not space.allowed(state):
            return Came(False, i)
        stage = space.onward(stage, state)
    return Came(stage == len(space.goal.stages), None)


def draw(planner: EmbeddedPlanner, problems: Sequence[Problem], draws: int, rng: np.random.Generator) -> list[Drawn]:
    """Plans of the actor's own, so many of each problem: each call drawn from all that it could say, sense or nonsense."""
    planner.understood(problems)
    found: list[Drawn] = []
    attempts: list[Attempt] = []
    for i, problem in enumerate(problems):
        try:
            begun = planner.begin(problem)
        except PlanError:
            continue  # nothing was understood
        ways = [replace(begun, steps=[], seen={*begun.seen}) for _ in range(draws)]
        attempts += ways
        found += [Drawn(i, [], [], attempt.steps) for attempt in ways]
    while open_ := [i for i, attempt in enumerate(attempts) if attempt.open]:
        for k, board, table in planner.looked_up([attempts[i] for i in open_]):
            one, attempt = found[open_[k]], attempts[open_[k]]
            call, numbers = any_call(planner.skills, attempt.problem.things, table, rng)
            one.doings.append(Doing(board, numbers))
            one.log_probs.append(_log_prob_of(table, numbers, len(call.args)))
            attempt.make(call)
    return found


def _log_prob_of(table: np.ndarray, numbers: np.ndarray, arguments: int) -> float:
    row = table[numbers[0], numbers[1]]
    return float(row[numbers[2]] if arguments > 1 else np.logaddexp.reduce(row))


# --- what is learnt from them -------------------------------------------------------------------------------------


def advantages(practice: Practice, drawn: Sequence[Drawn], came: Sequence[Came]) -> list[np.ndarray]:
    """Of every plan's calls [steps]: how much better than the other plans of its task it did, and whose merit that was."""
    returns = np.array([c.success * (1.0 - practice.length * len(d.calls)) for d, c in zip(drawn, came, strict=True)])
    found = []
    for d, c, value in zip(drawn, came, returns, strict=True):
        group = returns[[other.task == d.task for other in drawn]]
        share = (value - group.mean()) / (group.std() + 1e-4) if group.std() > 1e-6 else 0.0
        credit = np.full(len(d.calls), share)
        if c.fault is not None:
            before = c.fault - np.arange(len(d.calls))
            credit = np.where(before >= 0, share * practice.blame ** np.maximum(before, 0), 0.0)  # what came after was not carried out
        found.append(credit)
    return found


def log_prob(skills: Sequence[str], params: Any, batch: Doings) -> jax.Array:
    """Of calls, those of one argument whatever their second [B]."""
    logits: Any = Actor(len(skills)).apply(params, batch.numbers, batch.edges)
    skill, first, second = (jax.nn.log_softmax(x) for x in logits)
    rows, call = jnp.arange(len(batch.call)), batch.call
    two = jnp.asarray([len(SKILLS[name].params) > 1 for name in skills])[call[:, 0]]
    last = jnp.where(two, second[rows, call[:, 0], call[:, 1], call[:, 2]], 0.0)
    return skill[rows, call[:, 0]] + first[rows, call[:, 0], call[:, 1]] + last


class Learner:
    """The actor's weights, and the steps that change them."""

    def __init__(self, practice: Practice, weights: Weights):
        self.practice, self.params, self.skills = practice, weights.actor, weights.skills
        self.transform = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(practice.learning_rate))
        self.state = self.transform.init(self.params)
        self.kept: dict[int, Drawn] = {}  # of imitation: the shortest plan of each task that succeeded
        self._step = jax.jit(self._descend)

    def _descend(self, params: Any, state: Any, batch: Doings, before: jax.Array, merit: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss(p: Any) -> jax.Array:
            now = log_prob(self.skills, p, batch)
            if self.practice.method == "imitation":
                return -(merit * now).sum() / merit.sum()
            ratio = jnp.exp(now - before)
            held = jnp.clip(ratio, 1 - self.practice.clip, 1 + self.practice.clip)
            return -jnp.minimum(ratio * merit, held * merit).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = self.transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    def learn(self, first: int, drawn: Sequence[Drawn], came: Sequence[Came], rng: np.random.Generator) -> int:
        """From a round's plans; `first`: the number of its first task. The steps that were taken."""
        if self.practice.method == "imitation":
            for d, c in zip(drawn, came, strict=True):
                best = self.kept.get(first + d.task)
                if c.success and d.calls and (best is None or len(d.calls) < len(best.calls)):
                    self.kept[first + d.task] = d
            rows = [(doing, p, 1.0) for d in self.kept.values() for doing, p in zip(d.doings, d.log_probs, strict=True)]
        else:
            merits = advantages(self.practice, drawn, came)
            rows = [
                (doing, p, float(m))
                for d, merit in zip(drawn, merits, strict=True)
                for doing, p, m in zip(d.doings, d.log_probs, merit, strict=True)
                if m
            ]
        groups: dict[int, list[tuple[Doing, float, float]]] = {}
        for one in rows:
            groups.setdefault(batches.fitting(len(one[0].board.node), batches.GRAPH), []).append(one)
        todo = [(size, at) for size, group in groups.items() for at in range(0, len(group), self.practice.batch)]
        for group in groups.values():
            rng.shuffle(group)
        rng.shuffle(todo)
        for size, at in todo[: self.practice.steps]:
            self._once(groups[int(size)][int(at) : int(at) + self.practice.batch], int(size))
        return min(len(todo), self.practice.steps)

    def _once(self, rows: Sequence[tuple[Doing, float, float]], size: int) -> None:
        doings, before, merit = zip(*rows, strict=True)
        lanes = self.practice.batch - len(rows)  # one width; those that are left over count for nothing
        numbers, edges = batches.board_arrays([d.board for d in doings] + [doings[0].board] * lanes, size)
        calls = np.stack([d.call for d in doings] + [doings[0].call] * lanes)
        pad = np.zeros(lanes, np.float32)
        batch = Doings(numbers, edges, calls)
        befores, merits = np.concatenate([np.array(before, np.float32), pad]), np.concatenate([np.array(merit, np.float32), pad])
        self.params, self.state, value = self._step(self.params, self.state, batch, jnp.asarray(befores), jnp.asarray(merits))
        if not np.isfinite(float(value)):
            raise TrainingError(f"improve: the loss: got {float(value)}, expected a number. Fix: a lower learning_rate")


def ready(practice: Practice, folder: Path) -> None:
    """Refuse before any work is done what cannot be done."""
    practice.check()
    if (folder / "rounds.jsonl").exists():
        raise TrainingError(f"{folder}: holds a run already. Fix: another --folder")


def improve(
    practice: Practice, folder: Path, weights: Path | None = None, verifier: Verifier = by_model, tell: Callable[[str], None] = print
) -> Weights:
    """Practise; the weights are in the folder as `planner.safetensors`, with a line for every round in `rounds.jsonl`."""
    ready(practice, folder)
    path = folder / "rounds.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.json", json.dumps(asdict(practice), indent=2).encode())
    start = load_planner(weights)
    learner, source, clock = Learner(practice, start), tasks.source(practice.task_set, "train"), time.perf_counter()
    for number in range(practice.rounds):
        rng = np.random.default_rng((practice.seed, number))
        first = practice.seed * _APART + number * practice.tasks
        asked = ask(source, first, practice.tasks)
        planner = EmbeddedPlanner(source.spec, replace(start, actor=learner.params), "none", seed=practice.seed)
        drawn = draw(planner, asked.problems, practice.draws, rng)
        came = verifier(asked, drawn)
        steps = learner.learn(first, drawn, came, rng)
        figures = {
            "round": number + 1,
            "success": float(np.mean([c.success for c in came])),
            "faults": float(np.mean([c.fault is not None for c in came])),
            "calls": float(np.mean([len(d.calls) for d in drawn])),
            "steps": steps,
            "seconds": round(time.perf_counter() - clock, 1),
        }
        with path.open("a") as file:
            file.write(json.dumps(figures) + "\n")
        tell(", ".join(f"{k} {v:.3g}" for k, v in figures.items()))
        save_planner(folder / "planner.safetensors", start.reader, learner.params, {"improved": asdict(practice), "rounds": number + 1})
    return replace(start, actor=learner.params)


def ask(source: tasks.Source, first: int, count: int) -> Asked:
    """Tasks of a source by their numbers, with words and scenes."""
    from palaestra.skills.planning import problem  # which knows all planners, this one as well

    problems, rows = [], []
    for at in range(first // tasks.CHUNK * tasks.CHUNK, first + count, tasks.CHUNK):
        states, tables = source.chunk(at)
        for i in range(max(first - at, 0), min(first + count - at, tasks.CHUNK)):
            task = row(states.task, i)
            rows.append(task)
            problems.append(problem(source.env, task, at + i, tables[i]))
    return Asked(jax.tree.map(lambda *leaves: np.stack(leaves), *rows), problems)
