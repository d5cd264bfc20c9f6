"""Skills and tasks as PDDL: the domain from the skills' records and the rules, the problem from a task.

The domain is lifted from the operators themselves. `operators.ground` runs over prototypes, one for each parameter of a skill and
one `?other_<kind>` of each kind, which stands for all other things; a fact about it becomes a `forall`. So another planner searches
what the oracle searches. Where a skill needs that a fact holds of nothing (an empty hand), the domain has a predicate of its own
for that (`holding_nothing`), which the effects keep up: no quantified precondition is left, which few heuristics can take.

A house with doors, plates or rules has a domain of its own, from the grounded operators: an action without parameters for each case
of each call, as far as facts that nothing changes leave it possible.

A goal of one stage is the problem's goal. What PDDL has no words for goes into the domain, which is then of that task:
- several stages: an action `reach_<k>` for each, which costs 0 where a call costs 1, so that costs are the lengths of our plans;
- what must always hold: a precondition of every action and a part of the goal, which is to say that it holds in every state.
"""

import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from palaestra.envs.goals import Formula, Option, alternatives
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import KINDS, UNARY
from palaestra.skills.operators import DOMAIN, Call, Operator, Skills, Things, common_kinds, ends, ground
from palaestra.skills.plan import Plan
from palaestra.skills.record import ROBOT, Skill
from palaestra.skills.rules import PLAIN, Rulebook, has_mechanics

_TYPE = {"object": "item", "robot": "agent"}  # `object` is PDDL's own word, and a type cannot share the robot's name
REACH = "reach_"  # how the names of actions begin that are no calls
_ACTION = "\n  (:action "  # how actions begin
_PLACE, _LOAD, _OTHER = "?place", "?load", "?other_"
_ONE_TARGET = ("holding", "on", "inside", "in_room")  # what can be true of one target at a time only
_REQUIREMENTS = (":strips", ":typing", ":equality", ":negative-preconditions", ":disjunctive-preconditions", ":conditional-effects")


@dataclass(frozen=True)
class Schema:
    """One case of a skill for arguments of certain kinds: an operator over variables."""

    name: str
    variables: Mapping[str, str]  # name: kind of thing; the call's arguments first
    operator: Operator  # of variables, the robot, and `?other_<kind>`: everything of that kind but the variables

    def bound(self, facts: Iterable[Fact], binding: Mapping[str, str]) -> frozenset[Fact]:
        """Facts about variables as facts about things."""
        return frozenset((p, binding.get(s, s), binding.get(t, t)) for p, s, t in facts)


def schemas(skills: Skills, things: Things = ()) -> tuple[Schema, ...]:
    """The cases of every skill for the kinds of these things, in the order of skills, kinds and cases."""
    return _schemas(tuple(skills), common_kinds(KINDS, things))


@functools.lru_cache(maxsize=8)
def _schemas(skills: tuple[Skill, ...], here: tuple[str, ...]) -> tuple[Schema, ...]:
    robot, rest = Entity(0, ROBOT, "robot"), [Entity(0, _OTHER + kind, kind) for kind in here]
    found = []
    for skill in skills:
        for kinds in itertools.product(*([kind for kind in p.kinds if kind in here] for p in skill.params)):
            arguments = [Entity(0, f"?{p.name}", kind) for p, kind in zip(skill.params, kinds, strict=True)]
            things = [robot, *arguments, Entity(0, _PLACE, "room"), Entity(0, _LOAD, "object"), *rest]
            call = Call(skill.name, {p.name: f"?{p.name}" for p in skill.params})
            # Some readers want actions and predicates to differ by name: `open` the skill is `open-drawer`.
            told = [kind for p, kind in zip(skill.params, kinds, strict=True) if len(p.kinds) > 1 or skill.name in DOMAIN]
            name = "-".join([skill.name, *told])
            for case in ground([skill], things):
                if case.call == call and not any(map(_other, case.pre)):
                    named = {t.name: t.type for t in things[1:] if t in arguments or any(t.name in f for f in case.pre)}
                    full = f"{name}-carrying" if _LOAD in named else name
                    found.append(Schema(full, named, _without(case, {_PLACE, _LOAD} - named.keys())))
    return tuple(found)


def _without(case: Operator, unnamed: set[str]) -> Operator:
    """The case without what `?other_...` says as well, and without ending what cannot hold where it applies: an object is in
    one place, so facts of two predicates that end each other exclude each other."""

    def kept(facts: Iterable[Fact]) -> frozenset[Fact]:
        return frozenset(f for f in facts if not unnamed & {f[1], f[2]})

    delete = (f for f in case.delete - case.neg if not any(f[0] != g[0] and ends(f, g) and ends(g, f) for g in case.pre))
    return Operator(case.call, case.pre, kept(case.neg), kept(case.add), kept(delete))


# --- domain -------------------------------------------------------------------------------------------------------


def domain(
    skills: Skills,
    things: Things = (),
    goal: Formula | None = None,
    mechanics: Mechanics = PLAIN,
    facts: frozenset[Fact] = frozenset(),
) -> str:
    """The domain of these skills; with a goal of several stages or with rules, that of this task, whose things are its constants.

    In a house with doors, plates or rules (`mechanics`) it is the domain of the task that begins where `facts` hold.
    """
    own = goal is not None and _bookkept(goal)
    staged = len(goal.stages) if goal is not None and len(goal.stages) > 1 else 0
    rules = _rules(goal) if goal is not None else []
    grounded = has_mechanics(things, mechanics)
    said = [p for p, d in DOMAIN.items() if common_kinds(d.subjects, things)]
    signatures = [_signature(p, things) for p in said]
    signatures += [f"({p}_nothing ?s{_typed(DOMAIN[p].subjects)})" for p in _emptiable(skills, things) if not grounded]
    signatures += [f"(reached_{k + 1})" for k in range(staged)]
    kinds = [_TYPE.get(kind, kind) for kind in ("robot", *common_kinds(KINDS, things))]
    if grounded:
        facts = Rulebook(things, mechanics).settled(facts)
        actions = [_grounded_action(*named, rules, bool(staged)) for named in grounding(skills, things, mechanics, facts)]
    else:
        actions = [_action(schema, _emptiable(skills, things), rules, bool(staged)) for schema in schemas(skills, things)]
    actions += [_reach(goal, k, rules) for k in range(staged) if goal is not None]
    parts = [
        *(f"; {skill.name}: {skill.doc}" for skill in skills),
        "(define (domain palaestra)",
        f"  (:requirements {' '.join(_REQUIREMENTS)}{' :action-costs' if staged else ''})",
        f"  (:types {' '.join(kinds)} - thing)",
        f"  (:constants {_declared(things) if own or grounded else f'{ROBOT} - agent'})",
        _block("  (:predicates", signatures),
        *(["  (:functions (total-cost) - number)"] if staged else []),
        *actions,
    ]
    return "\n".join(parts) + ")\n"


def _signature(predicate: str, things: Things) -> str:
    subjects, targets = (_typed(common_kinds(kinds, things)) for kinds in (DOMAIN[predicate].subjects, DOMAIN[predicate].targets))
    return f"({predicate} ?s{subjects})" if predicate in UNARY else f"({predicate} ?s{subjects} ?t{targets})"


def _bookkept(goal: Formula) -> bool:
    """Whether a goal takes a domain of its own."""
    return len(goal.stages) != 1 or bool(goal.always)


def _rules(goal: Formula) -> list[str]:
    return [_condition(((term,),)) for term in goal.always]


def _typed(kinds: Sequence[str]) -> str:
    return f" - {_TYPE.get(kinds[0], kinds[0]) if len(kinds) == 1 else 'thing'}"


def _declared(things: Iterable[Entity]) -> str:
    """Objects with their types: "red_cube blue_cube - item kitchen - room"."""
    by_type: dict[str, list[str]] = {}
    for thing in things:
        by_type.setdefault(_TYPE.get(thing.type, thing.type), []).append(thing.name)
    return " ".join(f"{' '.join(names)} - {kind}" for kind, names in by_type.items())


def _block(head: str, lines: Iterable[str]) -> str:
    return "\n    ".join([head, *lines]) + ")"


def _emptiable(skills: Skills, things: Things) -> list[str]:
    """The predicates that some skill needs to hold of nothing."""
    found = sorted({f[0] for schema in schemas(skills, things) for f in schema.operator.neg if f[2].startswith(_OTHER)})
    if not set(found) <= set(_ONE_TARGET):
        raise ValueError(f"precondition over '_': got {', '.join(found)}, expected predicates of one target: {', '.join(_ONE_TARGET)}")
    return found


def _text(fact: Fact) -> str:
    return f"({' '.join(fact[:2] if fact[0] in UNARY else fact)})"


def _all(parts: Sequence[str], indent: str = "") -> str:
    """All of them; with an indent, a line each."""
    space = f"\n{indent}" if indent else " "
    return parts[0] if len(parts) == 1 else f"(and {space.join(parts)})"


def _action(schema: Schema, emptiable: Sequence[str], rules: Sequence[str], costs: bool) -> str:
    operator, variables = schema.operator, schema.variables
    empty = {f[:2] for f in operator.neg if _other(f)}
    needs = [_text(f) for f in sorted(operator.pre)]
    needs += [f"({p}_nothing {s})" for p, s in sorted(empty)]
    needs += [f"(not {_text(f)})" for f in sorted(operator.neg) if f[:2] not in empty]
    needs += [f"(not (= {a} {b}))" for a, b in itertools.combinations(variables, 2) if variables[a] == variables[b]]
    effects: dict[str, list[str]] = {"": [_text(f) for f in sorted(operator.add)]}  # by the prototype of others that they are about
    for fact in sorted(operator.delete):
        effects.setdefault(_other(fact), []).append(f"(not {_text(fact)})")
    for p in emptiable:
        begun = {f[1] for f in operator.add if f[0] == p}
        effects[""] += [f"(not ({p}_nothing {s}))" for s in sorted(begun)]
        for fact in sorted(f for f in operator.delete if f[0] == p and f[1] not in begun):
            now = f"({p}_nothing {fact[1]})"
            effects[_other(fact)].append(now if fact in operator.pre else f"(when {_text(fact)} {now})")
    effects[""] += ["(increase (total-cost) 1)"] if costs else []
    lines = effects.pop("") + [_over_others(other, _all(some), variables) for other, some in effects.items()]
    parameters = " ".join(f"{name} - {_TYPE.get(kind, kind)}" for name, kind in variables.items())
    return "\n".join(
        [
            f"  (:action {schema.name}",
            f"    :parameters ({parameters})",
            f"    :precondition {_all([*needs, *rules])}",
            f"    :effect {_all(lines, '      ')})",
        ]
    )


def grounding(skills: Skills, things: Things, mechanics: Mechanics, facts: frozenset[Fact]) -> list[tuple[str, Operator]]:
    """The operators that can matter from `facts`, with the names of their actions: the call and the number of its case."""
    waiting, true = ground(skills, things, mechanics), facts  # true: at some time, perhaps
    operators: list[Operator] = []
    while able := [o for o in waiting if o.pre <= true]:
        waiting, operators = [o for o in waiting if not o.pre <= true], operators + able
        true = true.union(*(o.add for o in able))
    changing = frozenset[Fact]().union(*(o.add | o.delete for o in operators))
    operators = [o for o in operators if not (o.neg - changing) & facts]
    count: Counter[Call] = Counter()
    found = []
    for o in operators:
        count[o.call] += 1
        name = "-".join([o.call.skill, *o.call.args.values(), str(count[o.call])])
        found.append((name, Operator(o.call, o.pre & changing, o.neg & true, o.add, o.delete & true)))
    return found


def _grounded_action(name: str, operator: Operator, rules: Sequence[str], costs: bool) -> str:
    needs = [_text(f) for f in sorted(operator.pre)] + [f"(not {_text(f)})" for f in sorted(operator.neg)]
    effects = [_text(f) for f in sorted(operator.add)] + [f"(not {_text(f)})" for f in sorted(operator.delete)]
    return "\n".join(
        [
            f"  (:action {name}",
            "    :parameters ()",
            f"    :precondition (and {' '.join([*needs, *rules])})",
            f"    :effect (and {' '.join([*effects, *(['(increase (total-cost) 1)'] if costs else [])])}))",
        ]
    )


def _other(fact: Fact) -> str:
    """The prototype of all others of a kind that a fact is about, or nothing."""
    return next((name for name in fact[1:] if name.startswith(_OTHER)), "")


def _over_others(other: str, effect: str, variables: Mapping[str, str]) -> str:
    """The effect for everything of that kind but what the variables name."""
    kind = other.removeprefix(_OTHER)
    same = [f"(not (= {other} {v}))" for v, k in variables.items() if k == kind]
    effect = f"(when {_all(same)} {effect})" if same else effect
    return f"(forall ({other} - {_TYPE.get(kind, kind)}) {effect})"


def _reach(goal: Formula, stage: int, rules: Sequence[str]) -> str:
    before = [f"(reached_{stage})"] if stage else []
    return "\n".join(
        [
            f"  (:action {REACH}{stage + 1}",
            "    :parameters ()",
            f"    :precondition {_all([*before, *rules, _condition(goal.stages[stage])])}",
            f"    :effect (reached_{stage + 1}))",
        ]
    )


def _condition(options: Iterable[Option]) -> str:
    """Options in disjunctive normal form over facts."""
    ways = [
        _all([_text(f) for f in sorted(yes)] + [f"(not {_text(f)})" for f in sorted(no)])
        if len(yes | no)
        else "(and)"  # nothing is asked for
        for option in options
        for yes, no in alternatives(option)
    ]
    return ways[0] if len(ways) == 1 else f"(or {' '.join(ways)})"


# --- problem ------------------------------------------------------------------------------------------------------


def problem(skills: Skills, things: Things, facts: frozenset[Fact], goal: Formula, name: str = "task", mechanics: Mechanics = PLAIN) -> str:
    """The problem of reaching `goal` from where `facts` hold, for `domain(skills, things, goal, mechanics, facts)`."""
    grounded = has_mechanics(things, mechanics)
    objects = () if _bookkept(goal) or grounded else [t for t in things if t.name != ROBOT]
    staged = len(goal.stages) > 1
    facts = Rulebook(things, mechanics).settled(facts) if grounded else facts
    start = [_text(f) for f in sorted(facts)]
    for p in _emptiable(skills, things) if not grounded else ():
        full = {s for q, s, _ in facts if q == p}
        start += [f"({p}_nothing {t.name})" for t in things if t.type in DOMAIN[p].subjects and t.name not in full]
    wanted = [f"(reached_{len(goal.stages)})"] if staged else [_condition(stage) for stage in goal.stages]
    parts = [
        f"(define (problem {name})",
        "  (:domain palaestra)",
        f"  (:objects {_declared(objects)})",
        _block("  (:init", [*start, *(["(= (total-cost) 0)"] if staged else [])]),
        f"  (:goal {_all([*_rules(goal), *wanted])})",
        *(["  (:metric minimize (total-cost))"] if staged else []),
    ]
    return "\n".join(parts) + ")\n"


def plan_text(plan: Plan, skills: Skills, things: Things, facts: frozenset[Fact], goal: Formula, mechanics: Mechanics = PLAIN) -> str:
    """A plan that runs from `facts`, an action a line, as planners print and validators read it; `reach_<k>` as early as can be."""
    grounded = has_mechanics(things, mechanics)
    facts = Rulebook(things, mechanics).settled(facts) if grounded else facts
    cases = grounding(skills, things, mechanics, facts) if grounded else [("", o) for o in ground(skills, things)]
    stage, lines = 0, []
    for call in (None, *plan.steps):
        if call is not None:
            name, operator = next((name, o) for name, o in cases if o.call == call and o.applicable(facts))
            lines.append(f"({name})" if grounded else _lifted(operator, skills, things))
            facts = operator.apply(facts)
        before, stage = stage, goal.onward(stage, facts)
        lines += [f"({REACH}{k + 1})" for k in range(before, stage) if len(goal.stages) > 1]
    return "\n".join(lines) + "\n"


def excerpt(domain: str, plan: str) -> str:
    """A domain with no actions but those of a plan (`plan_text`)."""
    head, *actions = domain.removesuffix(")\n").split(_ACTION)
    named = {line.strip("()").partition(" ")[0] for line in plan.splitlines()}
    return _ACTION.join([head, *(action for action in actions if action.split(maxsplit=1)[0] in named)]) + ")\n"


def _lifted(operator: Operator, skills: Skills, things: Things) -> str:
    """The action of a schema that an operator is."""
    schema, binding = next(found for s in schemas(skills, things) if (found := match(s, operator, things)))
    return f"({' '.join([schema.name, *(binding[v] for v in schema.variables)])})"


def match(schema: Schema, operator: Operator, things: Things) -> tuple[Schema, dict[str, str]] | None:
    """The schema and what its variables stand for, if the operator is a case of it."""
    kinds, call = {t.name: t.type for t in things}, operator.call
    fixed = {f"?{name}": value for name, value in call.args.items()}
    if call.skill != schema.operator.call.skill or any(kinds[fixed[v]] != k for v, k in schema.variables.items() if v in fixed):
        return None
    free = [v for v in schema.variables if v not in fixed]
    for chosen in itertools.product(*([t.name for t in things if t.type == schema.variables[v]] for v in free)):
        binding = fixed | dict(zip(free, chosen, strict=True))
        if schema.bound(schema.operator.pre, binding) == operator.pre:
            return schema, binding
    return None
