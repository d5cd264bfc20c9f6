"""Records that make no sense are refused where the library is loaded, with the reason."""

import itertools
from collections.abc import Iterable

from palaestra.envs.names import Entity
from palaestra.envs.types import kinds_of
from palaestra.sim.bodies import body
from palaestra.sim.errors import PalaestraError
from palaestra.skills.operators import DOMAIN, Operator, contracts, exclude, fact_text
from palaestra.skills.record import ROBOT, Skill

# What parameters can be, and a kind of entity of each. Objects are cubes and balls.
KINDS = {kind: kind for p in DOMAIN.values() for kind in (*p.subjects, *p.targets) if kind != ROBOT} | {"object": "cube"}


class RecordError(PalaestraError, ValueError):
    """A skill's record that contradicts itself, or its world."""


def checked(skill: Skill) -> Skill:
    """The skill. Raises RecordError where its record makes no sense."""
    fault = next(itertools.chain(_names(skill), _numbers(skill), _meaning(skill)), None)
    if fault:
        raise RecordError(f"skill {skill.name!r}: {fault}")
    return skill


def _names(skill: Skill) -> Iterable[str]:
    """What is said of things that are not there."""
    for param in skill.params:
        for kind in param.kinds:
            if kind not in KINDS:
                yield f"parameter {param.name!r}: got kind {kind!r}, expected of: {', '.join(sorted(KINDS))}"
    known = {ROBOT, "_", *(param.name for param in skill.params)}
    for literal in (*skill.precondition, *skill.effect):
        for predicate in literal.predicates:
            if predicate not in DOMAIN:
                yield f"got predicate {predicate!r}, expected of: {', '.join(DOMAIN)}"
        for name in (literal.subject, literal.target):
            if name not in known:
                yield f"got {name!r} in a literal, expected one of: {', '.join(sorted(known))}. Fix: a parameter of this name"
        if not literal.negated and "_" in (literal.subject, literal.target):
            yield "got a positive literal over '_', expected named entities. Fix: add a parameter"
    lacking = [param for param in skill.params if not kinds_of(skill.train_spec).intersection(param.kinds)]
    for param in lacking:
        yield f"train_spec: has no slot for parameter {param.name!r} ({' or '.join(param.kinds)}). Fix: a world with one"


def _numbers(skill: Skill) -> Iterable[str]:
    """Numbers out of their range."""
    actions = len(body(skill.train_spec.body).action_names)
    if not skill.commands or len(set(skill.commands)) < len(skill.commands) or not set(skill.commands) <= set(range(actions)):
        yield f"commands: got {skill.commands}, expected some of 0 to {actions - 1}, each once"
    for name in ("horizon", "observation_size"):
        if getattr(skill, name) < 1:
            yield f"{name}: got {getattr(skill, name)}, expected 1 or more"
    if not 0 < skill.gate <= 1:
        yield f"gate: got {skill.gate}, expected a rate above 0, at most 1"


def _meaning(skill: Skill) -> Iterable[str]:
    """Why no call of it could ever do anything, where that is so: the reason of the first call."""
    kinds = dict.fromkeys(KINDS[kind] for param in skill.params for kind in param.kinds)
    names = [(ROBOT, ROBOT), *((f"{kind}_{i}", kind) for kind in (*kinds, "room") for i in (1, 2))]
    things = [Entity(i, name, kind) for i, (name, kind) in enumerate(dict(names).items())]
    calls = contracts([skill], things)
    if not skill.effect:
        yield "effect: got none, expected a literal: nothing could tell that it has succeeded"
    elif not calls:
        yield "got literals that hold of no things of the kinds of its parameters, expected predicates that fit them"
    else:
        faults = [_never(contract) for contract in calls.values()]
        if all(faults):
            yield str(faults[0])


def _never(contract: Operator) -> str:
    """Why this call's effect can never follow from its precondition; empty where it can."""
    for name, true, false in (("precondition", contract.pre, contract.neg), ("effect", contract.add, contract.delete)):
        if true & false:
            return f"{name}: got {fact_text(min(true & false))} both true and false, expected one of the two"
        for one, other in itertools.combinations(sorted(true), 2):
            if exclude(one, other):
                return f"{name}: got {fact_text(one)} and {fact_text(other)}, which never hold together"
    if contract.add <= contract.pre and contract.delete <= contract.neg:
        return "effect: holds already wherever the precondition does, expected something that changes"
    return ""
