"""What the clauses of an instruction ask for, put together: parts become options and stages, and these a formula."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from palaestra.envs import goals
from palaestra.envs.goals import Formula, Option, Stage
from palaestra.envs.types import MAX_TERMS


@dataclass
class Part:
    """What a clause, or one item of a list in it, asks for."""

    ways: list[Option]  # each of them is enough
    text: str
    link: str = ""  # how it follows: and, or, then, earlier
    stop: bool = False  # begins a sentence
    either: bool = False  # a choice begins
    sub: str = ""  # of a clause with after or before
    always: bool = False
    free: tuple[str, ...] = ()  # objects that need not stay where they were put


@dataclass(frozen=True)
class _Option:
    terms: Option = ()
    free: tuple[str, ...] = ()


def _both(a: list[_Option], b: list[_Option]) -> list[_Option]:
    """Each option of one with each of the other; no more than tell that a goal cannot hold them."""
    found: dict[object, _Option] = {}
    for x, y in itertools.product(a, b):
        option = _Option(tuple(dict.fromkeys(x.terms + y.terms)), x.free + y.free)
        found.setdefault((frozenset(option.terms), option.free), option)
    return list(itertools.islice(found.values(), MAX_TERMS + 1))


def _sentence(parts: list[Part]) -> list[_Option]:
    """The options of a sentence: "and" binds closer than "or"; "either" says where a choice begins."""
    fixed: list[_Option] = [_Option()]
    done: list[_Option] = []
    current = [_Option()]
    for k, part in enumerate(parts):
        if part.either:
            fixed, done, current = _both(fixed, done + current), [], [_Option()]
        elif part.link == "or" and k:
            done, current = done + current, [_Option()]
        current = _both(current, [_Option(way, part.free) for way in part.ways])
    return _both(fixed, done + current)


def _in_order(parts: Iterable[Part]) -> list[list[Part]]:
    """The parts of each stage. "After" and "once" clauses come before their main clause, "before" clauses behind it."""
    order: list[list[Part]] = []
    block: list[Part] = []  # where parts go
    waiting: list[Part] = []  # a "before" clause in front of its main clause
    at, sub, main, onward = -1, "", False, False  # the present stage; in which clause; was its main clause seen, or its "after" one
    for part in parts:
        fresh = part.stop and part.link != "or"
        if waiting and main and (fresh or part.link == "then"):
            order.insert(at + 1, waiting)
            at, waiting = at + 1, []
        if fresh:
            main, block = False, order[at] if order else block
        if part.sub and part.sub == sub and not fresh:
            block.append(part)
        elif part.sub:
            block = [part]
            if part.sub == "before" and not main:
                waiting = block
            else:
                order.insert(at if main and part.sub == "after" else at + 1, block)
                at, onward = at + 1, not main
        elif part.link == "earlier" and order:
            block = [part]
            order.insert(at, block)
            at += 1
        elif part.link == "then" or onward or not order:
            block = [part]
            at += 1
            order.insert(at, block)
        else:
            block = order[at] if sub else block
            block.append(part)
        sub = part.sub
        if not sub:
            main, onward = True, False
    if waiting:
        order.insert(at + 1, waiting)
    return order


def _without(parts: Iterable[Part], always: bool) -> list[Part]:
    """The parts of the stages, or the others; how one that is left out followed, the next one does."""
    kept: list[Part] = []
    owed = Part([], "")
    for part in parts:
        if part.always == always:
            owed = passed(owed, part)
        else:
            kept.append(passed(owed, part))
            owed = Part([], "")
    return kept


def passed(gone: Part, part: Part, links: tuple[str, ...] = ("then", "earlier")) -> Part:
    """A part that follows as the one before it, which is gone, did."""
    link = gone.link if gone.link in links else part.link
    return replace(part, link=link, stop=gone.stop or part.stop, either=gone.either or part.either)


def assemble(parts: list[Part], carry: bool = True) -> Formula:
    """What these parts say, with what stages carry over unless they do not."""
    stages: list[Stage] = []
    for block in _in_order(_without(parts, always=True)):
        cuts = [k for k, part in enumerate(block) if k == 0 or (part.stop and part.link != "or")]
        options = [_Option()]
        for begin, end in itertools.pairwise([*cuts, len(block)]):
            options = _both(options, _sentence(block[begin:end]))
        before, stage = stages[-1] if stages else (), []
        for option in options:
            (terms,) = Formula(((option.terms,),)).stages[0]
            stage.append(terms + (goals.carried(before, terms, option.free) if carry else ()))
        if any(stage):
            stages.append(tuple(dict.fromkeys(stage)))
    return Formula(tuple(stages), tuple(term for part in parts if part.always for way in part.ways for term in way))
