"""What the networks see and say, as arrays of NumPy: sentences, scenes, formulas and boards; and formulas back from arrays.

Axes: W words, E things, A attributes, G rows of a formula, N nodes of a board, P predicates.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from palaestra.envs import goals
from palaestra.envs.goals import Formula, Option, Stage, Term
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import ALWAYS, COLOURS, KINDS, MANY, MAX_TERMS, PREDICATES, ROOMS, UNARY
from palaestra.envs.words import lexicon
from palaestra.envs.words.compass import DIRECTIONS
from palaestra.envs.words.references import Things
from palaestra.skills.planners.embedded.phrases import UNLISTED

MAX_WORDS = 192  # of an instruction; the longest chain of ten takes about 150
MAX_THINGS = 40
ENTITY_KINDS = ("robot", "cube", "ball", *KINDS[1:])
TYPES = ("robot", *KINDS)
SIZES = ("small", "large")
SIDES = (*DIRECTIONS, *(f"{a} {b}" for a in ("north", "south") for b in ("east", "west")))
_GROUPS = (("kind", ENTITY_KINDS), ("colour", COLOURS), ("size", SIZES), ("room", ROOMS), ("side", SIDES))
ATTRIBUTES = tuple((group, value) for group, values in _GROUPS for value in values)
_AT = {pair: i for i, pair in enumerate(ATTRIBUTES)}

# --- sentences ----------------------------------------------------------------------------------------------------

SENSES = ("", *(f"{kind}:{value}" for kind, value in lexicon.SENSES), "unknown:")  # the first one pads
_SENSE = {sense: i for i, sense in enumerate(SENSES)}
_UNLISTED = {word: i for i, word in enumerate(UNLISTED, start=1)}


def _attributes_of(kind: str, value: str) -> Iterable[tuple[str, str]]:
    """The attributes that a word of the lexicon names."""
    group = {"noun": "kind", "plural": "kind"}.get(kind, kind)
    values = [value] if group == "side" else value.split()
    return [(group, v) for v in values if (group, v) in _AT]


def sense_attributes() -> np.ndarray:
    """Which attributes the words of a sense name [senses, A] float32."""
    found = np.zeros((len(SENSES), len(ATTRIBUTES)), np.float32)
    for kind, value in lexicon.SENSES:
        for pair in _attributes_of(kind, value):
            found[_SENSE[f"{kind}:{value}"], _AT[pair]] = 1.0
    return found


class Sentence(NamedTuple):
    """An instruction: by the lexicon's senses, so that words of one sense are one word; and what the lexicon lacks."""

    sense: np.ndarray  # [W] int16, into SENSES
    word: np.ndarray  # [W] int16, into UNLISTED from 1; 0: in the lexicon, or known to nobody


def sentence(text: str) -> Sentence:
    """The words of an instruction; of those after MAX_WORDS nothing is kept."""
    words = lexicon.words(text)[:MAX_WORDS]
    unknown = _SENSE["unknown:"]
    senses = [_SENSE.get(f"{word.kind}:{word.value}", unknown) for word in words]
    unlisted = [_UNLISTED.get(word.text.lower(), 0) if word.kind in ("unknown", "skip") else 0 for word in words]
    return Sentence(np.array(senses, np.int16), np.array(unlisted, np.int16))


# --- scenes -------------------------------------------------------------------------------------------------------


class Look(NamedTuple):
    """A scene at the start, as the reader sees it."""

    attributes: np.ndarray  # [E, A] bool
    at: np.ndarray  # [E, 2] float32, m from the house's middle; of doors and what is not there yet the middle
    facts: np.ndarray  # [E, E] uint8, a bit a predicate


def look(things: Things, named: Sequence[Entity], facts: Iterable[Fact]) -> Look:
    """What the reader sees of these things; `named`: the same ones, by the names that the facts have."""
    n = len(things.entities)
    attributes, at = np.zeros((n, len(ATTRIBUTES)), bool), np.zeros((n, 2), np.float32)
    spots = {name: place.at for name, place in things.places.items()} | things.rooms
    middle = np.mean(list(things.rooms.values()), 0)
    for i, e in enumerate(things.entities):
        values = [("kind", e.kind), ("colour", e.colour), ("size", e.size), ("room", e.name if e.kind == "room" else "")]
        values += [("side", side) for side in things.sides.get(e.name, ())]
        attributes[i, [_AT[pair] for pair in values if pair[1]]] = True
        at[i] = spots[e.name] - middle if e.name in spots else 0.0
    return Look(attributes, at, fact_bits(named, facts))


def fact_bits(things: Sequence[Entity], facts: Iterable[Fact]) -> np.ndarray:
    """Facts of the built-in predicates [E, E] uint8: bit p of (s, t) says that predicate p is true of them."""
    index = {e.name: i for i, e in enumerate(things)}
    bits = np.zeros((len(things), len(things)), np.uint8)
    for predicate, subject, target in facts:
        if predicate in PREDICATES:
            bits[index[subject], index[target]] |= 1 << PREDICATES.index(predicate)
    return bits


# --- formulas -----------------------------------------------------------------------------------------------------

# How a row follows the one before it: not at all, as one more term of the same option, as the first of another option or of the next
# stage, and as what must always hold.
LINKS = ("end", "and", "or", "then", "always")
END, AND, OR, THEN, RULE = range(len(LINKS))
FREE = len(PREDICATES)  # the row says of its subjects that they need not stay where they were put
SAYINGS = len(PREDICATES) + 1
COUNTS = 10  # 0 to 8, and everything: of the least number all pairs, of the most no bound
EVERY = COUNTS - 1
MAX_ROWS = MAX_TERMS + 3  # with what is free, and the end


class Rows(NamedTuple):
    """A formula as it is said, without what stages carry over (`goals.carried`); a row for the end."""

    link: np.ndarray  # [G] int8
    predicate: np.ndarray  # [G] int8
    low: np.ndarray  # [G] int8
    high: np.ndarray  # [G] int8
    subjects: np.ndarray  # [G, E] bool
    targets: np.ndarray  # [G, E] bool
    stepwise: np.ndarray  # [] bool: nothing is carried over


@dataclass(frozen=True)
class Line:
    """A row by name."""

    link: int
    term: Term | None  # None: what is free
    free: tuple[str, ...] = ()


def lines(formula: Formula, stepwise: bool, rank: Mapping[Fact, int]) -> list[Line]:
    """The rows of a formula; the terms of an option by the rank of their facts, which is where the instruction speaks of them."""
    found: list[Line] = []
    for k, stage in enumerate(formula.stages):
        for o, option in enumerate(stage):
            said, free = goals.unsaid(formula.stages[k - 1], option) if k and not stepwise else (option, ())
            found += _option_lines(OR if o else THEN, said, free, rank)
    return found + [Line(RULE, term) for term in _ranked(formula.always, rank)]


def _option_lines(link: int, option: Option, free: tuple[str, ...], rank: Mapping[Fact, int]) -> list[Line]:
    rows = [Line(AND, term) for term in _ranked(option, rank)] + [Line(AND, None, free)] * bool(free)
    return [Line(link, rows[0].term, rows[0].free), *rows[1:]]


def _ranked(option: Option, rank: Mapping[Fact, int]) -> list[Term]:
    return sorted(goals.merged(option), key=lambda term: min(rank.get(pair, len(rank)) for pair in term.pairs))


def _counts(term: Term) -> tuple[int, int]:
    """The least and the greatest number of a term's pairs that are true, of COUNTS."""
    n = len(term.pairs)
    low = EVERY if term.at_least == n else min(term.at_least, EVERY - 1)
    return low, EVERY if term.at_most >= n else min(term.at_most, EVERY - 1)


def rows(found: Sequence[Line], stepwise: bool, things: Sequence[Entity]) -> Rows:
    """Rows as arrays, closed by the end."""
    index, n = {e.name: i for i, e in enumerate(things)}, len(found) + 1
    numbers: np.ndarray[Any, Any] = np.zeros((4, n), np.int8)
    masks = np.zeros((2, n, len(things)), bool)
    for i, line in enumerate(found):
        term = line.term
        if term is None:
            numbers[:2, i] = line.link, FREE
            masks[0, i, [index[name] for name in line.free]] = True
            continue
        numbers[:, i] = line.link, PREDICATES.index(term.predicate), *_counts(term)
        for mask, names in zip(masks, (term.subjects, term.targets), strict=True):
            mask[i, [index[name] for name in names]] = True
    return Rows(*(numbers[0], numbers[1], numbers[2], numbers[3]), masks[0], masks[1], np.asarray(stepwise))


def formula(said: Rows, things: Sequence[Entity]) -> Formula:
    """The formula of rows, with what stages carry over; rows after the end count for nothing, as those without subject or target do."""
    stages: list[Stage] = []
    options: list[tuple[list[Term], list[str]]] = []
    always: list[Term] = []

    def close() -> None:
        before, stage = stages[-1] if stages else (), []
        for terms, free in options:
            (whole,) = Formula(((tuple(terms),),)).stages[0]
            stage.append(whole + (() if said.stepwise else goals.carried(before, whole, free)))
        if any(stage):
            stages.append(tuple(dict.fromkeys(stage)))
        options.clear()

    for i in range(len(said.link)):
        link = int(said.link[i])
        if link == END:
            break
        if link == THEN:
            close()
        if link in (THEN, OR) or (link == AND and not options):
            options.append(([], []))
        predicate = int(said.predicate[i])
        subjects = tuple(things[j].name for j in np.flatnonzero(said.subjects[i]).tolist())
        if predicate == FREE:
            if options:
                options[-1][1].extend(subjects)
            continue
        targets = subjects if PREDICATES[predicate] in UNARY else tuple(things[j].name for j in np.flatnonzero(said.targets[i]).tolist())
        if not subjects or not targets:
            continue
        pairs = len(Term(PREDICATES[predicate], subjects, targets).pairs)
        low, high = int(said.low[i]), int(said.high[i])
        term = Term(PREDICATES[predicate], subjects, targets, pairs if low == EVERY else low, MANY if high == EVERY else high)
        (always if link == RULE else options[-1][0]).append(term)
    close()
    return Formula(tuple(stages), tuple(always))


# --- boards -------------------------------------------------------------------------------------------------------

# What nodes of a board can be: things by their types, and beside them rows of the goal and conditions of rules.
ROW, CONDITION = len(TYPES), len(TYPES) + 1
NODES = len(TYPES) + 2
# How nodes can stand to each other, a bit each: the facts; what rows and conditions speak of; doors and doorways; what rules do.
EDGES = (*PREDICATES, "subject", "target", "joins", "passage", "opens", "makes", "takes", "together")
_EDGE = {name: 1 << i for i, name in enumerate(EDGES)}
LATER = 5  # stages from the present one on are told apart up to here; the last number is that of what must always hold
OPTIONS = 4


class Board(NamedTuple):
    """What is the case and what is wanted, as the actor sees it: a graph."""

    node: np.ndarray  # [N] int8: things in their order, rows of what is left of the goal, conditions of rules
    predicate: np.ndarray  # [N] int8: of rows and conditions
    low: np.ndarray  # [N] int8: of rows
    high: np.ndarray  # [N] int8: of rows
    stage: np.ndarray  # [N] int8: of rows, from the present one on, up to LATER
    option: np.ndarray  # [N] int8: of rows
    edges: np.ndarray  # [N, N] uint16: bits of EDGES


def board(things: Sequence[Entity], facts: np.ndarray, wanted: Sequence[tuple[int, int, Term]], mechanics: Mechanics) -> Board:
    """What the actor sees: facts [E, E] (`fact_bits`), (stage, option, term) of what is left of a goal, and the house's doors and rules."""
    n, conditions = len(things), [(rule, fact) for rule in mechanics.rules for fact in rule.condition]
    total = n + len(wanted) + len(conditions)
    index = {e.name: i for i, e in enumerate(things)}
    numbers = np.zeros((6, total), np.int8)
    node, predicate, low, high, stage, option = numbers
    edges = np.zeros((total, total), np.uint16)
    node[:n] = [TYPES.index(e.type) for e in things]
    edges[:n, :n] = facts
    for a, b in mechanics.passages:
        edges[index[a], index[b]] |= _EDGE["passage"]
        edges[index[b], index[a]] |= _EDGE["passage"]
    for door in mechanics.doors:
        edges[index[door.name], [index[room] for room in door.rooms]] |= _EDGE["joins"]
    for i, (at, which, term) in enumerate(wanted, start=n):
        node[i], predicate[i], option[i] = ROW, PREDICATES.index(term.predicate), min(which, OPTIONS - 1)
        stage[i] = LATER if at == ALWAYS else min(at, LATER - 1)
        low[i], high[i] = _counts(term)
        edges[i, [index[name] for name in term.subjects]] |= _EDGE["subject"]
        edges[i, [index[name] for name in term.targets]] |= _EDGE["target"]
    first = n + len(wanted)
    for i, (rule, (said, subject, target)) in enumerate(conditions, start=first):
        node[i], predicate[i], low[i] = CONDITION, PREDICATES.index(said), rule.lasting
        edges[i, index[subject]] |= _EDGE["subject"]
        edges[i, index[target]] |= _EDGE["target"]
        for name, meant in ((rule.opens, "opens"), (rule.product, "makes"), *((o, "takes") for o in rule.consumes)):
            if name:
                edges[i, index[name]] |= _EDGE[meant]
    for (i, (one, _)), (j, (other, _)) in itertools.permutations(enumerate(conditions, start=first), 2):
        if one is other:
            edges[i, j] |= _EDGE["together"]
    return Board(node, predicate, low, high, stage, option, edges)


# --- batches ------------------------------------------------------------------------------------------------------


def padded(found: Sequence[np.ndarray], *shape: int) -> np.ndarray:
    """Arrays of several sizes as one [B, *shape], filled up with zeros."""
    out: np.ndarray[Any, Any] = np.zeros((len(found), *shape), found[0].dtype)
    for one, array in zip(out, found, strict=True):
        one[tuple(map(slice, array.shape))] = array
    return out
