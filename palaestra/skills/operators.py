"""What a skill's record says symbolically: grounded operators, the applicability mask, the schema and the text that a
language model is given.

An operator is a call together with a case. Where the robot goes, what it holds goes along, and it ends up in the room of its
target; so a call that moves the robot has one operator for each room that its target may be in and each thing that it may hold.
Where it pushes something, that goes along, and is where it was no more.
In a house with doors these divide by what is on the way: rooms from which the same doors are passed form one case, which says by
negative preconditions that the robot is in none of the others. Where a rule may fire, an operator divides by what decides it.

Of the operators of one call at most one is applicable, every operator is plain STRIPS with negative preconditions, and
`in_room` is true to the simulator throughout. Facts must tell the room of every thing but doors, as `names.facts` does, and of
nothing that does not exist; and they must be settled (`Rulebook.settled`): no rule is about to fire.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from palaestra.envs.configs import closed
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import DOORS, SOLID, UNARY
from palaestra.envs.vocabulary import Pattern
from palaestra.envs.vocabulary import Predicate as Predicate
from palaestra.envs.words.literals import fact_text as fact_text
from palaestra.skills.record import MECHANISMS, ROBOT, Literal, Skill
from palaestra.skills.rules import PLAIN, Rulebook

Things = Sequence[Entity]
Skills = Sequence[Skill]
_MOVABLE = ("robot", "object")
_FIXED = ("table", "bin", "plate", "button", "drawer", "shelf", "hamper", "toggle")
_NONE: frozenset[Fact] = frozenset()


DOMAIN: dict[str, Predicate] = {
    "near": Predicate(
        ("robot", "crate"),
        ("object", *_FIXED, *DOORS, "crate"),
        "is near",
        "is not near",
        ends=(("near", "s", "_"),),
        own=(("crate", SOLID),),
        rule="The robot is in the room of what it is near. Driving ends being near anything but the target and what is held.",
    ),
    "holding": Predicate(
        ("robot",),
        ("object",),
        "holds",
        "does not hold",
        ends=(("holding", "s", "_"), ("on", "t", "_"), ("inside", "t", "_")),
        rule="The robot holds one object at most. What it holds is on and inside nothing, and goes where the robot goes.",
    ),
    "on": Predicate(
        ("object", "crate"),
        ("table", "plate", "shelf"),
        "is on",
        "is not on",
        ends=(("on", "s", "_"), ("inside", "s", "_"), ("holding", "_", "s")),
        own=(("crate", ("plate",)),),
        rule="Objects are on tables and inside bins. An object is in one place at a time.",
    ),
    "inside": Predicate(
        ("object",),
        ("bin", "drawer", "hamper"),
        "is inside",
        "is not inside",
        ends=(("on", "s", "_"), ("inside", "s", "_"), ("holding", "_", "s")),
        through=("drawer", "hamper"),
    ),
    "in_room": Predicate(
        (*_MOVABLE, *_FIXED, "crate"),
        ("room",),
        "is in",
        "is not in",
        ends=(("in_room", "s", "_"), ("near", "s", "_")),
        rule="A crate cannot be picked up. Where it is pushed the robot goes along, and it is near and on nothing of before.",
        about=("crate",),
    ),
    "open": Predicate(
        (*DOORS, "drawer", "hamper"),
        (*DOORS, "drawer", "hamper"),
        "is open",
        "is not open",
        ends=(),
        about=DOORS,
        rule="A door that is not open lets nothing through: all doors on the way must be open. One can drive up to a shut door, on one's "
        "own side of it.",
    ),
    "pressed": Predicate(
        ("button", "plate", "toggle"),
        ("button", "plate", "toggle"),
        "is pressed",
        "is not pressed",
        ends=(),
        rule="A button stays pressed. Objects can be put on plates; a plate is pressed as long as an object is on it.",
    ),
}
PUSHED = "crate"  # the kind of things that the robot moves by going along with them


@dataclass(frozen=True)
class Call:
    """A skill with its arguments, by parameter: names of entities."""

    skill: str
    args: Mapping[str, str]

    def __hash__(self) -> int:
        return hash((self.skill, frozenset(self.args.items())))

    def __str__(self) -> str:
        return f"{self.skill}({', '.join(self.args.values())})"


@dataclass(frozen=True)
class Operator:
    """One case of one call: applicable where all of `pre` and none of `neg` hold; then `delete` ends and `add` begins."""

    call: Call
    pre: frozenset[Fact]
    neg: frozenset[Fact]
    add: frozenset[Fact]
    delete: frozenset[Fact]

    def applicable(self, facts: frozenset[Fact]) -> bool:
        return self.pre <= facts and not self.neg & facts

    def apply(self, facts: frozenset[Fact]) -> frozenset[Fact]:
        return (facts - self.delete) | self.add


def universe(things: Things) -> list[Fact]:
    """Every fact that the kinds of these things allow."""
    return [(name, s.name, t.name) for name in DOMAIN for s in things for t in things if _fits(name, s, t)]


def _fits(predicate: str, subject: Entity, target: Entity) -> bool:
    """Whether a predicate can be said of things of these kinds."""
    kinds = DOMAIN[predicate]
    return subject.type in kinds.subjects and target.type in kinds.of(subject.type) and (predicate not in UNARY or subject == target)


def ends(fact: Fact, other: Fact) -> bool:
    """Whether `other` ends when `fact` becomes true."""
    return _matches(DOMAIN[fact[0]].ends, fact, other) or _matches(DOMAIN[other[0]].ended_by, other, fact)


def _matches(patterns: Iterable[Pattern], fact: Fact, other: Fact) -> bool:
    """Whether one of the patterns, over a fact's subject and target, fits the other."""
    at = {"s": fact[1], "t": fact[2]}
    return any(p == other[0] and at.get(s, other[1]) == other[1] and at.get(t, other[2]) == other[2] for p, s, t in patterns)


def contracts(skills: Skills, things: Things) -> dict[Call, Operator]:
    """What each possible call needs and promises, as the record states it: no rules of the domain, no cases.

    The executor checks these against the simulator; `delete` has the effect's negated literals alone.
    """
    robot = next(t for t in things if t.type == "robot")
    found = {}
    for skill in skills:
        for chosen in itertools.product(*(_fitting(p.kinds, things) for p in skill.params)):
            binding = {p.name: t for p, t in zip(skill.params, chosen, strict=True)}
            call = Call(skill.name, {name: thing.name for name, thing in binding.items()})
            contract = _contract(call, skill, {ROBOT: robot} | binding, things)
            if contract is not None and len(set(chosen)) == len(chosen):
                found[call] = contract
    return found


def ground(skills: Skills, things: Things, mechanics: Mechanics | None = PLAIN) -> list[Operator]:
    """All operators of these skills over these things, in the order of skills, arguments and cases.

    Without mechanics, `None`, nobody knows where doors are and what rules do: every way is open, a door may be in any room, and no
    rule fires. That is for who adds the rest state by state.
    """
    facts = universe(things)
    ended = {fact: frozenset(other for other in facts if other != fact and ends(fact, other)) for fact in facts}
    book = None if mechanics is None else Rulebook(things, mechanics)
    moves = (case for contract in contracts(skills, things).values() for case in _cases(contract, things, book))
    cases = (_with_ends(case, ended) for case in moves)
    return [settled for case in cases for settled in (_settled(case, book) if book else [case])]


def applicable(operators: Sequence[Operator], facts: frozenset[Fact]) -> list[bool]:
    """Which operators can be applied now, in their order. A call is applicable if one of its operators is."""
    return [operator.applicable(facts) for operator in operators]


def _fitting(kinds: tuple[str, ...], things: Things) -> list[Entity]:
    return [t for t in things if t.type in kinds]


def _instances(literal: Literal, bound: Mapping[str, Entity], things: Things) -> frozenset[Fact]:
    """The facts that a literal speaks of: of its predicates, with those that fit the kinds; `_` runs over all things."""
    subjects = things if literal.subject == "_" else (bound[literal.subject],)
    targets = things if literal.target == "_" else (bound[literal.target],)
    return frozenset((p, s.name, t.name) for p in literal.predicates for s in subjects for t in targets if _fits(p, s, t))


def _contract(call: Call, skill: Skill, bound: Mapping[str, Entity], things: Things) -> Operator | None:
    """The record's literals over these things; None where one of them cannot hold of their kinds."""
    parts: dict[tuple[bool, bool], frozenset[Fact]] = {(e, n): frozenset() for e in (False, True) for n in (False, True)}
    for is_effect, literals in ((False, skill.precondition), (True, skill.effect)):
        for literal in literals:
            found = _instances(literal, bound, things)
            if not found and not literal.negated:
                return None
            parts[is_effect, literal.negated] |= found
    kinds = {t.name: t.type for t in things}
    parts[False, False] |= {("open", t, t) for p, _, t in parts[True, False] if kinds[t] in DOMAIN[p].through}
    return Operator(call, parts[False, False], parts[False, True], parts[True, False], parts[True, True])


def _cases(contract: Operator, things: Things, book: Rulebook | None) -> Iterable[Operator]:
    """One operator per room of the target, way there and thing held, if the robot moves; else the operator itself."""
    kinds = {t.name: t.type for t in things}
    pushes = next((f for f in contract.add if kinds[f[1]] == PUSHED), None)
    goes_to = pushes or next((f for f in contract.add if f[1] == ROBOT and f[0] in ("near", "in_room")), None)
    if goes_to is None:
        return [contract]
    if pushes:
        contract = _pushing(contract, pushes[1], things)
    target = goes_to[2]
    to_door = kinds[target] in DOORS
    rooms = [target] if goes_to[0] == "in_room" else [t.name for t in _fitting(("room",), things)]
    objects = [t.name for t in _fitting(("object",), things)]
    cases: list[Operator] = []
    for room in rooms:
        where = frozenset() if room == target or to_door else frozenset({("in_room", target, room)})
        for way, elsewhere in _ways(book, room, target) if book else [(_NONE, _NONE)]:
            shut = {("open", target, target)} if to_door else _NONE
            pre, neg = contract.pre | where | way, contract.neg | elsewhere | shut
            here = contract.add | {("in_room", ROBOT, room)}
            if pushes:
                kept_open = book.kept_open(pushes[1], (f[1] for f in way)) if book else _NONE
                here |= {("in_room", pushes[1], room)}
                cases.append(Operator(contract.call, pre, neg | kept_open, here, contract.delete - here))
                continue
            empty = neg | {("holding", ROBOT, name) for name in objects}
            cases.append(Operator(contract.call, pre, empty, here, contract.delete))
            for load in objects:
                if load not in contract.call.args.values():
                    held = pre | {("holding", ROBOT, load)}
                    cases.append(Operator(contract.call, held, neg, here | {("in_room", load, room)}, contract.delete))
    return cases


def _pushing(contract: Operator, pushed: str, things: Things) -> Operator:
    """The contract with the end of all that was so of a thing where it was; what is pushed there begins again."""
    subject = next(t for t in things if t.name == pushed)
    left = frozenset((p, pushed, t.name) for p in ("near", "on", "in_room") for t in things if _fits(p, subject, t))
    return replace(contract, delete=contract.delete | left)


def _ways(book: Rulebook, room: str, target: str) -> list[tuple[frozenset[Fact], frozenset[Fact]]]:
    """The ways to a target in a room: the facts that must hold (doors are open), and those that must not (the robot is elsewhere).
    The longest come first."""
    starts: dict[frozenset[str], list[str]] = {}
    for start in book.rooms:
        doors = book.doors(start, room, target)
        if doors is not None:
            starts.setdefault(doors, []).append(start)
    return [
        (frozenset(("open", door, door) for door in doors), frozenset(("in_room", ROBOT, r) for r in book.rooms if r not in some))
        for doors, some in sorted(starts.items(), key=lambda item: -len(item[0]))
    ]


def _with_ends(case: Operator, ended: Mapping[Fact, frozenset[Fact]]) -> Operator:
    """The case with all that ends when its effects begin; what is held stays near."""
    held = {f[2] for f in case.pre if f[0] == "holding"}
    kept = case.add | {("near", ROBOT, load) for load in held}
    delete = case.delete.union(*(ended[fact] for fact in case.add)) - kept
    return Operator(case.call, case.pre, case.neg, case.add, delete)


# --- rules, case by case ------------------------------------------------------------------------------------------


class _Undecided(Exception):
    """Whether a fact holds before an operator is applied makes a difference, and the operator leaves it open."""

    def __init__(self, fact: Fact):
        self.fact = fact


@dataclass
class _After:
    """The facts after an operator, as far as it tells. What it does not tell raises `_Undecided`."""

    operator: Operator
    begun: set[Fact] = field(default_factory=set)
    ended: set[Fact] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.begun |= self.operator.add
        self.ended |= self.operator.delete

    def __contains__(self, fact: Fact) -> bool:
        if fact in self.begun or fact in self.ended:
            return fact in self.begun
        return self.before(fact)

    def before(self, fact: Fact) -> bool:
        """Whether a fact holds where the operator is applicable."""
        operator = self.operator
        if fact in operator.pre or fact in operator.neg or any(exclude(known, fact) for known in operator.pre):
            return fact in operator.pre
        raise _Undecided(fact)

    def add(self, fact: Fact) -> None:
        self.begun.add(fact)
        self.ended.discard(fact)

    def discard(self, fact: Fact) -> None:
        self.ended.add(fact)
        self.begun.discard(fact)


def exclude(fact: Fact, other: Fact) -> bool:
    """Whether two different facts never hold together: each ends the other. The robot can be near several things."""
    return fact[0] != "near" and ends(fact, other) and ends(other, fact)


def _settled(operator: Operator, book: Rulebook) -> list[Operator]:
    """The operator with all that rules do afterwards; divided by the facts that they depend on and it leaves open."""
    if book.watched.isdisjoint(operator.add | operator.delete):
        return [operator]
    after = _After(operator)
    try:
        freed = sorted(fact for fact in operator.delete & book.loads if after.before(fact))
        book.settle(after, operator.add, (operator.delete - book.loads).union(freed))
    except _Undecided as undecided:
        yes = replace(operator, pre=operator.pre | {undecided.fact})
        no = replace(operator, neg=operator.neg | {undecided.fact})
        return [*_settled(yes, book), *_settled(no, book)]
    return [replace(operator, add=frozenset(after.begun), delete=frozenset(after.ended))]


# --- for language models ------------------------------------------------------------------------------------------


def json_schema(skills: Skills, things: Things) -> dict[str, Any]:
    """The schema of a plan, in the subset that all servers support: closed objects, arrays, enums of strings, `anyOf` in items.

    A skill for which the scene has no argument is left out.
    """
    calls = []
    for skill in skills:
        names = {p.name: [t.name for t in _fitting(p.kinds, things)] for p in skill.params}
        if all(names.values()):
            args = closed({name: _enum(values) for name, values in names.items()})
            calls.append(closed({"skill": _enum([skill.name]), "args": args}))
    return closed({"steps": {"type": "array", "items": {"anyOf": calls}}})


def _enum(values: list[str]) -> dict[str, Any]:
    return {"type": "string", "enum": values}


def prompt_text(skills: Skills, things: Things = ()) -> str:
    """The whole contract of every skill, and the world's rules, in words; of MECHANISMS only those that there are."""
    parts = []
    for skill in skills:
        kinds = {p.name: common_kinds(p.kinds, things) for p in skill.params}
        if not all(kinds.values()):
            continue
        head = ", ".join(f"{name}: {_either(ks)}" for name, ks in kinds.items())
        before = "; ".join(_words(literal, kinds) for literal in skill.precondition) or "nothing"
        after = "; ".join(_words(literal, kinds) for literal in skill.effect)
        parts.append(f"{skill.name}({head})\n  {skill.doc}\n  Needs: {before}.\n  Then: {after}.")
    told = [p.rule for p in DOMAIN.values() if p.rule and common_kinds(p.about or p.subjects, things)]
    told += [f"To put an object inside a {kind}, it must be open." for p in DOMAIN.values() for kind in common_kinds(p.through, things)]
    return "\n".join([*parts, "Rules of the world:", *(f"- {rule}" for rule in told)])


def common_kinds(kinds: Iterable[str], things: Things) -> tuple[str, ...]:
    """The kinds without those of MECHANISMS that are not among these things."""
    here = {t.type for t in things}
    return tuple(kind for kind in kinds if kind in here or kind not in MECHANISMS)


def _either(kinds: Iterable[str]) -> str:
    return " or ".join(kinds)


def _words(literal: Literal, kinds: Mapping[str, tuple[str, ...]]) -> str:
    """A literal in words; where its predicate depends on the target's kind, one clause for each."""
    name = {ROBOT: "the robot", "_": "nothing" if literal.negated else "something"} | {n: f"<{n}>" for n in kinds}
    clauses, subject = [], next(iter(kinds.get(literal.subject, ())), "")
    for p in literal.predicates:
        verb = DOMAIN[p].denial if literal.negated and literal.target != "_" else DOMAIN[p].verb
        fitting = (f"an {k}" if k[0] in "aeiou" else f"a {k}" for k in kinds.get(literal.target, ()) if k in DOMAIN[p].of(subject))
        condition = f" if it is {_either(fitting)}" if len(literal.predicates) > 1 else ""
        clauses.append(f"{name[literal.subject]} {verb} {name[literal.target]}{condition}")
    return ", ".join(clauses)
