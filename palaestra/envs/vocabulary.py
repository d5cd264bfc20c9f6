"""What can be said of things: the built-in predicates and, by name, those of one's own."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from palaestra.envs.types import KINDS, PREDICATES, entity_kinds
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.world import WorldSpec

Pattern = tuple[str, str, str]  # a predicate over s, t (a fact's own subject and target) and _ (anything)


@dataclass(frozen=True)
class Predicate:
    """What a predicate speaks of, how it reads, and which other facts end when one of its own becomes true."""

    subjects: tuple[str, ...]  # types of entities
    targets: tuple[str, ...]  # of a predicate of one thing the same: subject and target are that thing
    verb: str
    denial: str
    ends: tuple[Pattern, ...]
    rule: str = ""  # what of this a planner has to know, in words
    about: tuple[str, ...] = ()  # the kinds that the rule is of, where it is not of all subjects
    through: tuple[str, ...] = ()  # kinds of targets that have to be open for a fact about them to begin
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()  # kinds of subjects that have targets of their own, and these
    ended_by: tuple[Pattern, ...] = ()  # facts with which one of its own ends, where those do not say so themselves
    # Of one's own: when it is true [E, E] bool, from (world, scene, physics, geometry); built-in ones are rows of the truth table.
    holds: Callable[..., jax.Array] | None = None

    def of(self, subject: str) -> tuple[str, ...]:
        """The kinds of targets of a subject of this kind."""
        return dict(self.own).get(subject, self.targets)

    def fits(self, spec: WorldSpec) -> np.ndarray:
        """Of which entities it can be said [E, E] bool."""
        kinds = ["robot", *(KINDS[kind] for kind in entity_kinds(spec))]
        return np.array([[s in self.subjects and t in self.of(s) for t in kinds] for s in kinds])


OWN: dict[str, Predicate] = {}  # beside the built-in ones; `palaestra.skills.own` fills it


def predicates() -> tuple[str, ...]:
    """The names of all predicates, in the order of the truth table's rows."""
    return (*PREDICATES, *OWN)


def number(name: str) -> int:
    """The row of a predicate. Raises UnknownNameError where there is none of this name."""
    if name not in predicates():
        raise UnknownNameError("predicate", name, predicates())
    return predicates().index(name)
