"""A plan is data: a list of calls. A model's text is parsed, checked against what exists, and tried out on the operators; it is
never run as code. What can be wrong with it has one class each, those of the Embodied Agent Interface among them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from palaestra.envs.goals import Formula, Option, term_phrase
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Fact
from palaestra.sim.errors import PalaestraError
from palaestra.skills.operators import Call as Call
from palaestra.skills.operators import Operator, Skills, Things, common_kinds, contracts, fact_text, ground
from palaestra.skills.record import Param
from palaestra.skills.rules import PLAIN, Rulebook

MAX_STEPS = 40
_MAX_TEXT = 20_000  # characters of a reply, thoughts aside; a plan of MAX_STEPS takes a fifth of it


class Failure(StrEnum):
    """How planning can fail."""

    PARSE = "parse"  # not a plan: no JSON, wrong keys, too long
    HALLUCINATION = "hallucination"  # a skill or a name that does not exist
    ARITY = "arity"  # wrong arguments for the skill
    AFFORDANCE = "affordance"  # a thing of the wrong kind, or a precondition that nothing can change
    MISSING_STEP = "missing_step"  # a precondition is false and never was true
    WRONG_ORDER = "wrong_order"  # a precondition is false but was true before
    ADDITIONAL_STEP = "additional_step"  # the effect holds already; does not stop the plan
    GOAL = "goal"  # the plan runs and the goal is not reached, or there is no goal to plan for
    TRUNCATED = "truncated"  # the server cut the reply
    ENDPOINT = "endpoint"  # the server is down, refuses, or answers with something else
    TIMEOUT = "timeout"
    FORBIDDEN = "forbidden"  # a step makes false what must always hold
    IMPOSSIBLE = "impossible"  # no plan exists
    LIMIT = "limit"  # the search gave up, or a budget is spent

    @property
    def stops(self) -> bool:
        """Whether a plan with this fault cannot be carried out."""
        return self is not Failure.ADDITIONAL_STEP


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    failure: Failure
    what: str
    got: str
    expected: str
    fix: str
    step: int | None = None  # of the plan, from 0

    def __str__(self) -> str:
        at = "" if self.step is None else f"step {self.step + 1}, "
        return f"{at}{self.what}: got {self.got}, expected {self.expected}. Fix: {self.fix}"


class PlanError(PalaestraError):
    """Planning failed; `failure` is its class."""

    def __init__(self, fault: Fault):
        super().__init__(f"[{fault.failure}] {fault}")
        self.fault = fault

    @property
    def failure(self) -> Failure:
        return self.fault.failure


@dataclass(frozen=True)
class Plan:
    """Calls, to be made one after the other. An empty plan says that nothing is left to do."""

    steps: tuple[Call, ...]

    def __str__(self) -> str:
        return ", ".join(str(call) for call in self.steps) or "(nothing to do)"

    def static_faults(self, skills: Skills, things: Things) -> list[Fault]:
        """What is wrong whatever the state."""
        return static_faults(self, skills, things)

    def begin(self, things: Things) -> "Steps":
        """The calls, one after the other."""
        return Steps(self)

    def to_json(self) -> str:
        """The text that `parse_plan` reads."""
        return json.dumps({"steps": [{"skill": call.skill, "args": dict(call.args)} for call in self.steps]})


class Steps:
    """A plan under way: ask for the next call with what holds now, and say where one failed. With that, it is over."""

    stopped: Fault | None = None  # never before its end

    def __init__(self, plan: Plan):
        self._left = list(plan.steps)

    def next(self, facts: frozenset[Fact]) -> Call | None:
        """The next call; None at the end."""
        return self._left.pop(0) if self._left else None

    def failed(self, started: bool = True) -> None:
        """The last call failed, or was not started."""
        self._left = []


# --- from text ----------------------------------------------------------------------------------------------------


def strip_thoughts(text: str) -> str:
    """The text without what a reasoning model puts between <think> and </think>."""
    return text.rpartition("</think>")[2].partition("<think>")[0].strip()


def parse_plan(text: str, skills: Skills, things: Things) -> Plan:
    """The plan in a model's reply, bare or within prose; every skill, argument and name in it exists and fits.

    Raises PlanError (parse, hallucination, arity or affordance) at the first fault.
    """
    data = _plan_object(strip_thoughts(text))
    if set(data) != {"steps"} or not isinstance(data["steps"], list):
        raise _not_a_plan(f"an object with {sorted(data)}", 'one list under the key "steps", and no other key')
    if len(data["steps"]) > MAX_STEPS:
        raise _not_a_plan(f"{len(data['steps'])} steps", f"at most {MAX_STEPS}")
    plan = Plan(tuple(_call(number, step) for number, step in enumerate(data["steps"])))
    for fault in static_faults(plan, skills, things):
        raise PlanError(fault)
    order = {skill.name: [p.name for p in skill.params] for skill in skills}
    return Plan(tuple(Call(call.skill, {name: call.args[name] for name in order[call.skill]}) for call in plan.steps))


def _not_a_plan(got: str, expected: str, step: int | None = None) -> PlanError:
    fix = 'answer with one JSON object {"steps": [{"skill": ..., "args": {...}}]} and nothing else'
    return PlanError(Fault(Failure.PARSE, "the reply is not a plan", got, expected, fix, step))


def _plan_object(text: str) -> dict[str, Any]:
    """The one JSON object with steps in a text."""
    if len(text) > _MAX_TEXT:
        raise _not_a_plan(f"{len(text)} characters", f"at most {_MAX_TEXT}")
    found = list(_objects(text))
    plans = [value for value in found if "steps" in value]
    if len(plans) != 1:
        got = f"{len(plans)} plans" if found else f"no complete JSON object in {text[:80]!r}"
        raise _not_a_plan(got, 'one JSON object with the key "steps"')
    return plans[0]


def bare_json(text: str, key: str) -> str:
    """A reply without what stands around its one JSON object with this key; where there is not one such object, the reply, of which
    no more is kept than it takes to be too long."""
    text = strip_thoughts(text)
    found = [value for value in _objects(text[:_MAX_TEXT]) if key in value]
    return json.dumps(found[0]) if len(found) == 1 else text[: _MAX_TEXT + 1]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """All outermost JSON objects in a text."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        end = at + 1
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            pass
        at = text.find("{", end)


def _call(number: int, step: Any) -> Call:
    if not isinstance(step, dict) or set(step) != {"skill", "args"}:
        raise _not_a_plan(f"{step!r:.80}", 'an object with the keys "skill" and "args"', number)
    skill, args = step["skill"], step["args"]
    if not isinstance(skill, str) or not isinstance(args, dict) or not all(isinstance(v, str) for v in args.values()):
        raise _not_a_plan(f"{step!r:.80}", '"skill" a string and "args" an object of strings', number)
    return Call(skill, args)


# --- checks -------------------------------------------------------------------------------------------------------


def static_faults(plan: Plan, skills: Skills, things: Things) -> list[Fault]:
    """What is wrong whatever the state: skills and names that do not exist, wrong arguments, wrong kinds."""
    params = {skill.name: skill.params for skill in skills}
    faults = (_static_fault(call, params, things) for call in plan.steps)
    return [replace(fault, step=number) for number, fault in enumerate(faults) if fault]


def _static_fault(call: Call, library: Mapping[str, tuple[Param, ...]], things: Things) -> Fault | None:
    if call.skill not in library:
        return Fault(Failure.HALLUCINATION, "unknown skill", repr(call.skill), _one_of(library), "use one of these skills")
    params = library[call.skill]
    if set(call.args) != {p.name for p in params}:
        got, expected = (f"({', '.join(names)})" for names in (call.args, [p.name for p in params]))
        return Fault(Failure.ARITY, f"wrong arguments for {call.skill}", got, expected, "give exactly these arguments")
    kind = {t.name: t.type for t in things}
    for param in params:
        name = call.args[param.name]
        fitting = _one_of(t.name for t in things if t.type in param.kinds)
        if name not in kind:
            return Fault(Failure.HALLUCINATION, f"{call}: unknown name", repr(name), fitting, "use a name from the scene")
        if kind[name] not in param.kinds:
            what = f"{call}: wrong kind for <{param.name}>"
            fix = f"give a thing of kind {' or '.join(common_kinds(param.kinds, things) or param.kinds)}"
            return Fault(Failure.AFFORDANCE, what, f"{name}, a {kind[name]}", fitting, fix)
    return None


def _one_of(names: Iterable[str]) -> str:
    return f"one of: {', '.join(names) or 'none in this scene'}"


def validate(
    plan: Plan, skills: Skills, things: Things, facts: frozenset[Fact], goal: Formula | None = None, mechanics: Mechanics = PLAIN
) -> list[Fault]:
    """What is wrong with a plan from here. Tries it out on the operators, up to the first fault that stops it.

    A step whose effect holds already is reported; if it cannot be made, it is passed over.
    """
    faults = static_faults(plan, skills, things)
    if faults:
        return faults
    promised, operators = contracts(skills, things), ground(skills, things, mechanics)
    facts = Rulebook(things, mechanics).settled(facts)
    ever, always = facts, facts  # what held at some time, and at all times
    stage = goal.onward(0, facts) if goal else 0
    for number, call in enumerate(plan.steps):
        if call not in promised:
            what, fix = f"{call}: these do not go together", "choose other things"
            return [*faults, Fault(Failure.AFFORDANCE, what, str(call), "things of which the skill's conditions can hold", fix, number)]
        cases = [operator for operator in operators if operator.call == call]
        if not cases:
            what, fix = f"{call}: cannot be got to from anywhere", "choose other things"
            return [*faults, Fault(Failure.AFFORDANCE, what, str(call), "a thing in the house", fix, number)]
        case = min(cases, key=lambda operator: _short_of(operator, facts))
        effect, undone = promised[call].add, promised[call].delete & facts
        if effect <= facts and not undone:
            what, expected = f"{call}: nothing to do", "a step that changes something"
            faults.append(Fault(Failure.ADDITIONAL_STEP, what, f"{_listing(effect)} already", expected, "leave it out", number))
        elif not case.applicable(facts):
            return [*faults, replace(_unmet(case, operators, facts, ever, always), step=number)]
        if case.applicable(facts):
            facts = case.apply(facts)
            ever, always = ever | facts, always & facts
        if goal and not goal.allowed(facts):
            rule = ", ".join(map(term_phrase, goal.always))
            return [
                *faults,
                Fault(Failure.FORBIDDEN, f"{call}: breaks what must always hold", "a step that does", rule, "another way", number),
            ]
        stage = goal.onward(stage, facts) if goal else 0
    if goal and stage < len(goal.stages):
        what = f"the plan of {len(plan.steps)} steps runs, and the goal is not reached"
        missing = " or ".join(_missing(option, facts) for option in goal.stages[stage])
        faults.append(Fault(Failure.GOAL, what, f"{missing} false at the end", "true", "add the steps that make it so"))
    return faults


def _short_of(operator: Operator, facts: frozenset[Fact]) -> tuple[bool, int]:
    """How far a case is from being applicable: above all, whether it is one for things or a robot in other rooms."""
    lacking = (operator.pre - facts) | (operator.neg & facts)
    return any(f[0] == "in_room" for f in lacking), len(lacking)


def _missing(option: Option, facts: frozenset[Fact]) -> str:
    return ", ".join(term_phrase(term) for term in option if not term.holds(facts))


def _unmet(case: Operator, operators: list[Operator], facts: frozenset[Fact], ever: frozenset[Fact], always: frozenset[Fact]) -> Fault:
    """Why a step cannot be made: never possible, not yet, or no longer."""
    absent, present = case.pre - facts, case.neg & facts
    needs = [fact_text(f) for f in sorted(absent)] + [f"{fact_text(f)} to be false" for f in sorted(present)]
    changing = [o for o in operators if o.add & absent or o.delete & present]
    fixed = absent - frozenset().union(*(o.add for o in changing)) or present - frozenset().union(*(o.delete for o in changing))
    helpful = ", ".join(list(dict.fromkeys(str(o.call) for o in changing if o.call != case.call))[:3])
    if fixed:
        failure, got, fix = Failure.AFFORDANCE, "the opposite, which no skill can change", "choose other things"
    elif absent <= ever and not present & always:
        failure, got, fix = Failure.WRONG_ORDER, "the opposite; it was so earlier", f"do this step earlier, or make it so again ({helpful})"
    else:
        failure, got, fix = Failure.MISSING_STEP, "the opposite, from the start", f"first make it so ({helpful or 'no skill does'})"
    return Fault(failure, f"{case.call}: precondition false", got, " and ".join(needs), fix)


def _listing(facts: frozenset[Fact]) -> str:
    return ", ".join(fact_text(fact) for fact in sorted(facts))
