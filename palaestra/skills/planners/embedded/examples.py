"""What the networks learn from: instructions with their goals, and states with what the oracle does there; of training splits alone."""

import itertools
from collections.abc import Iterator

import jax
import numpy as np

from palaestra.envs.names import Fact
from palaestra.envs.words import language
from palaestra.envs.words.references import Things
from palaestra.envs.words.wordings import Taste
from palaestra.skills import tasks
from palaestra.skills.operators import Skills
from palaestra.skills.plan import PlanError
from palaestra.skills.planners.embedded import batches, encoding
from palaestra.skills.planners.embedded.batches import Doing, Reading
from palaestra.skills.planners.embedded.phrases import Storyteller, retold
from palaestra.skills.planners.oracle import cheapest
from palaestra.skills.planners.space import Space

_ASTRAY = 0.4  # of plans that begin after calls at random
_STEPS_ASTRAY = 6


def reading(example: tasks.Example, seed: int) -> tuple[str, Reading]:
    """An instruction for a task, in words that `seed` chooses, and what the reader is to make of it."""
    problem, things = example.problem, Things.of(example.spec, example.task.scene)
    goal = problem.goal
    assert goal is not None
    writer = Storyteller(goal, things, Taste(seed))
    text = retold(language.said_by(writer), np.random.default_rng((seed, 1)))
    rank: dict[Fact, int] = {}
    for i, pair in enumerate(pair for term in writer.spoken for pair in term.pairs):
        rank.setdefault(pair, i)
    lines = encoding.lines(goal, writer.stepwise, rank)
    said = encoding.rows(lines, writer.stepwise, problem.things)
    return text, Reading(encoding.sentence(text), encoding.look(things, problem.things, problem.facts), said)


def doings(example: tasks.Example, seed: int, skills: Skills) -> Iterator[Doing]:
    """The states on the oracle's way to a task's goal, at times from where calls at random have led, and what it does in each.

    Nothing where the oracle finds no way.
    """
    rng, problem = np.random.default_rng((seed, 2)), example.problem
    space = Space(problem, skills)
    try:
        if rng.random() < _ASTRAY:
            space.start = _astray(space, rng)
        plan = cheapest(space, 3_000)
    except PlanError:
        return
    names = [skill.name for skill in skills]
    index = {thing.name: i for i, thing in enumerate(problem.things)}
    state, stage = space.start, space.onward(0, space.start)
    for call in plan.steps:
        board = batches.board_of(space, problem, state, stage)
        arguments = [index[name] for name in call.args.values()]
        yield Doing(board, np.array([names.index(call.skill), *arguments, 0][:3], np.int16))
        state = space.after(state, call)
        stage = space.onward(stage, state)


def _astray(space: Space, rng: np.random.Generator) -> int:
    """The state after some calls at random; the start, where one of them breaks what must always hold."""
    state = space.start
    for _ in range(rng.integers(1, _STEPS_ASTRAY + 1)):
        ways = list(space.calls(state))
        if not ways:
            break
        state = space.after(state, ways[rng.integers(len(ways))])
        if not space.allowed(state):
            return space.start
    return state


# --- mixtures -----------------------------------------------------------------------------------------------------

# Task sets and how many of a hundred tasks are of each.
TO_READ = {
    "language": 34, "long-5": 12, "rearrange": 8, "rearrange-4": 6, "long-10": 4, "primitive": 5, "layouts": 5, "doors": 3,
    "swing-doors": 3, "rules-small": 2, "storage": 5, "hampers": 4, "toggles": 3, "shelves": 3, "crates": 3,
}  # fmt: skip
TO_DO = {
    "language": 28, "long-5": 12, "rearrange": 8, "rearrange-4": 8, "long-10": 3, "primitive": 3, "layouts": 4, "doors": 5,
    "swing-doors": 4, "rules-trivial": 2, "rules-small": 3, "storage": 6, "hampers": 5, "toggles": 3, "shelves": 3, "crates": 3,
}  # fmt: skip
CHUNK = tasks.CHUNK


def chunks(mixture: dict[str, int], count: int) -> list[tuple[str, int]]:
    """Sets and first numbers of chunks of tasks, `count` tasks or a little more in all, in an order that mixes them."""
    weight = sum(mixture.values())
    found = [(name, i * CHUNK, i * weight / share) for name, share in mixture.items() for i in range(-(-count * share // (weight * CHUNK)))]
    return [(name, first) for name, first, _ in sorted(found, key=lambda item: item[2])]


def read_chunk(name: str, first: int, split: str, again: int = 1) -> list[Reading]:
    """The readings of a chunk of tasks, each said `again` times."""
    source = tasks.source(name, split)
    states, tables = source.chunk(first)
    found = []
    for i, k in itertools.product(range(CHUNK), range(again)):
        example = tasks.Example(source.env, first + i, jax.tree.map(lambda x, i=i: x[i], states), tables[i])
        found.append(reading(example, (first + i) * 8 + k)[1])
    return found


def do_chunk(name: str, first: int, split: str, skills: Skills) -> list[Doing]:
    """The doings of a chunk of tasks."""
    source = tasks.source(name, split)
    states, tables = source.chunk(first)
    found: list[Doing] = []
    for i in range(CHUNK):
        example = tasks.Example(source.env, first + i, jax.tree.map(lambda x, i=i: x[i], states), tables[i])
        found += doings(example, first + i, skills)
    return found
