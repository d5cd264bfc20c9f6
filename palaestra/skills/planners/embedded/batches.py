"""Examples and questions side by side: padded to a few sizes, so that a few programs serve all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from palaestra.envs import goals
from palaestra.sim.errors import PalaestraError
from palaestra.skills.planners.base import Problem
from palaestra.skills.planners.embedded import encoding
from palaestra.skills.planners.embedded.encoding import NODES, Board, Look, Rows, Sentence, padded
from palaestra.skills.planners.space import Space, ones

ROWS = (4, 7, encoding.MAX_ROWS)
WORDS, THINGS, GRAPH = (24, 48, 96, encoding.MAX_WORDS), (16, 24, encoding.MAX_THINGS), (20, 28, 40, 64)  # sizes to which is padded


class Reading(NamedTuple):
    """An instruction in a scene, and what it means."""

    sentence: Sentence
    look: Look
    rows: Rows


class Doing(NamedTuple):
    """A board, and the call that the oracle makes there."""

    board: Board
    call: np.ndarray  # [3] int16: skill, first and second argument (nodes); 0 where a skill has no second one


def board_of(space: Space, problem: Problem, state: int, stage: int) -> Board:
    """What the actor sees in a state, after so many stages of the space's goal."""
    facts = encoding.fact_bits(problem.things, (space.facts[i] for i in ones(state)))
    return encoding.board(problem.things, facts, goals.rows(space.goal.after(stage)), problem.mechanics)


def fitting(size: int, sizes: Sequence[int]) -> int:
    """The least of some sizes that holds this one. Raises PalaestraError where none does."""
    if size > sizes[-1]:
        raise PalaestraError(
            f"planner 'embedded': got a house or a goal of size {size}, expected at most {sizes[-1]}. Fix: another planner"
        )
    return next(s for s in sizes if s >= size)


class Readings(NamedTuple):
    """Readings of a size, side by side: B of them."""

    sense: np.ndarray  # [B, W]
    word: np.ndarray  # [B, W]
    attributes: np.ndarray  # [B, E, A]
    at: np.ndarray  # [B, E, 2]
    facts: np.ndarray  # [B, E, E]
    numbers: np.ndarray  # [B, 4, G] int8: link, predicate, low, high
    masks: np.ndarray  # [B, 2, G, E] bool: subjects, targets
    stepwise: np.ndarray  # [B]


Seen = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # the first five of `Readings`


def read_arrays(sentences: Sequence[Sentence], looks: Sequence[Look], words: int, things: int) -> Seen:
    """What the reader sees, side by side and padded."""
    attributes = padded([look.attributes for look in looks], things, looks[0].attributes.shape[1])
    at = padded([look.at for look in looks], things, 2)
    facts = padded([look.facts for look in looks], things, things)
    return padded([s.sense for s in sentences], words), padded([s.word for s in sentences], words), attributes, at, facts


def readings(found: Sequence[Reading]) -> dict[tuple[int, int, int], Readings]:
    """By their sizes (words, things, rows)."""
    groups: dict[tuple[int, int, int], list[Reading]] = {}
    for one in found:
        size = fitting(len(one.sentence.sense), WORDS), fitting(len(one.look.at), THINGS), fitting(len(one.rows.link), ROWS)
        groups.setdefault(size, []).append(one)
    return {size: _readings(group, *size) for size, group in groups.items()}


def _readings(group: Sequence[Reading], words: int, things: int, length: int) -> Readings:
    rows = [one.rows for one in group]
    numbers = padded([np.stack([r.link, r.predicate, r.low, r.high]) for r in rows], 4, length)
    masks = padded([np.stack([r.subjects, r.targets]) for r in rows], 2, length, things)
    seen = read_arrays([one.sentence for one in group], [one.look for one in group], words, things)
    return Readings(*seen, numbers=numbers, masks=masks, stepwise=np.array([r.stepwise for r in rows]))


class Doings(NamedTuple):
    """Doings of a size, side by side: B of them. Nodes that are none are of the kind NODES."""

    numbers: np.ndarray  # [B, 6, N] int8: node, predicate, low, high, stage, option
    edges: np.ndarray  # [B, N, N] uint16
    call: np.ndarray  # [B, 3]


def board_arrays(boards: Sequence[Board], nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """What the actor sees, side by side and padded: the first two of `Doings`."""
    numbers = padded([np.stack(board[:6]) for board in boards], 6, nodes)
    for row, board in zip(numbers, boards, strict=True):
        row[0, len(board.node) :] = NODES
    return numbers, padded([board.edges for board in boards], nodes, nodes)


def all_doings(found: Sequence[Doing]) -> dict[int, Doings]:
    """By their sizes."""
    groups: dict[int, list[Doing]] = {}
    for one in found:
        groups.setdefault(fitting(len(one.board.node), GRAPH), []).append(one)
    return {
        size: Doings(*board_arrays([d.board for d in group], size), np.stack([d.call for d in group])) for size, group in groups.items()
    }
