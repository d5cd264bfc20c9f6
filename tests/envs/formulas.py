"""Random formulas over the things of a scene, each of which some state can meet."""

import itertools

import numpy as np

from palaestra.envs.goals import Formula, Option, Term, alternatives, literal, possible, rows
from palaestra.envs.types import MANY, MAX_TERMS, UNARY
from palaestra.envs.words.references import FIXED, OBJECTS, Things
from palaestra.sim.errors import PalaestraError


class Maker:
    """Draws formulas by a seed."""

    def __init__(self, things: Things, seed: int):
        self.things, self.rng = things, np.random.default_rng(seed)

    def some(self, names: tuple[str, ...], least: int = 1) -> tuple[str, ...]:
        """A subset: any, or the things of one kind or colour."""
        kinds = [tuple(n for n in names if word in n.split("_")) for word in {w for n in names for w in n.split("_")}]
        alike = [group for group in [*sorted(kinds), names] if len(group) >= least]
        if alike and self.rng.random() < 0.5:
            return alike[self.rng.integers(len(alike))]
        count = int(self.rng.integers(min(least, len(names)), len(names) + 1))
        return tuple(sorted(self.rng.choice(names, count, replace=False).tolist()))

    def one(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return (str(self.rng.choice(names)),)

    def term(self, objects: tuple[str, ...]) -> Term | None:
        """A fact, a denial or a count; what is placed or held is of `objects`."""
        rng, things = self.rng, self.things
        predicate = str(rng.choice(["on", "inside", "near", "holding", "in_room"], p=[0.35, 0.3, 0.12, 0.11, 0.12]))
        mechanisms = {"open": things.names("door"), "pressed": things.names("button", "plate")}
        turned = [name for name, there in mechanisms.items() if there]
        if turned and rng.random() < 0.3:
            predicate = str(rng.choice(turned))
        names = {"on": things.names("table", "plate"), "inside": things.names("bin"), "in_room": things.names("room"), "holding": objects}
        targets = (names | mechanisms).get(predicate, things.names(*OBJECTS, *FIXED, "door"))
        placing = predicate in ("on", "inside")
        if not targets or (placing and not objects):
            return None
        kind = rng.integers(5)
        many = self.some(objects if placing else targets, 2)
        at = self.one(targets) if rng.random() < 0.7 else self.some(targets)
        if predicate in UNARY:
            at = many = many[:1] if kind == 0 else many
        subjects, targets = (many, at) if placing else (many, many) if predicate in UNARY else (("robot",), many)
        if kind <= 1 and predicate in UNARY:
            return Term(predicate, many, many, len(many))
        if kind <= 1:
            fact = Term(predicate, subjects[:1] if placing else subjects, targets[:1])
            return fact if kind == 0 or not placing else Term(predicate, many, targets[:1], len(many))
        if kind == 2:
            return Term(predicate, subjects, targets, 0, 0)
        n = len(many)
        low = int(rng.integers(0, n + 1))
        high = int(rng.integers(low, n + 1)) if rng.random() < 0.5 or low == 0 else MANY
        return Term(predicate, subjects, targets, 1 if kind == 3 else low, MANY if kind == 3 else high)

    def option(self, most: int) -> Option:
        """Terms about different objects, most of the time."""
        free = list(self.rng.permutation(self.things.names(*OBJECTS)))
        terms: list[Term] = []
        for _ in range(self.rng.integers(1, most + 1)):
            term = self.term(tuple(map(str, free)))
            if term is not None:
                terms.append(term)
            if term is not None and self.rng.random() < 0.7:
                free = [name for name in free if name not in (*term.subjects, *term.targets)]
        return Formula(((tuple(terms),),)).stages[0][0]

    def formula(self) -> Formula | None:
        """A formula, unless what was drawn cannot be."""
        rng = self.rng
        count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        stages = []
        for _ in range(count):
            choices = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
            stages.append(tuple(self.option(2 if choices > 1 or count > 1 else 4) for _ in range(choices)))
        always = self.option(2) if rng.random() < 0.35 else ()
        said = Formula(tuple(stages), always)
        options = list(itertools.chain(*said.stages))
        return said if all(options) and len(rows(said)) <= MAX_TERMS and all(self.can_be(option + always) for option in options) else None

    def can_be(self, option: Option) -> bool:
        """Whether a state can meet the option: the robot in one room, its hand full once, objects in one place each."""
        try:
            ways = alternatives(option)
        except PalaestraError:
            return False
        return (
            any(len(self.rooms(yes)) <= 1 and possible(yes) for yes, _ in ways)
            and len(self.rooms(t.pairs[0] for t in option if self.fact(t))) <= 1
        )

    def rooms(self, facts) -> set[str]:
        rooms = {target for predicate, _, target in facts if predicate == "in_room"}
        fixed = {t for p, _, t in facts if p == "near" and self.things[t].kind in FIXED}
        return rooms | {self.things.places[t].room for t in fixed}

    @staticmethod
    def fact(term: Term) -> bool:
        return term == literal(term.pairs[0])


def constructions(formula: Formula) -> set[str]:
    """Which constructions a goal takes, of: order, choice, count, denial, always."""
    options = [option for stage in formula.stages for option in stage]
    terms = [*itertools.chain(*options), *formula.always]
    found = {"order": len(formula.stages) > 1, "choice": len(options) > len(formula.stages), "always": bool(formula.always)}
    found["denial"] = any(term.at_most == 0 for option in options for term in option)
    found["count"] = any(len(term.pairs) > 1 for term in terms)
    return {name for name, there in found.items() if there}
