"""Programs checked and carried out: a call at a time, by what holds when it is asked for, and never for ever."""

import itertools
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Fact
from palaestra.envs.types import KINDS, UNARY
from palaestra.skills.operators import DOMAIN, Call, Skills, Things, common_kinds, contracts, ground
from palaestra.skills.plan import Failure, Fault, Plan, PlanError, validate
from palaestra.skills.programs.syntax import ANYTHING, All, Any_, Block, Condition, Fits, ForEach, If, Make, Not, Repeat, While, parse, text
from palaestra.skills.rules import PLAIN, Rulebook

MAX_CALLS = 100
MAX_LOOKS = 10_000  # conditions and rounds of loops: what a program does beside calling

_SHAPES = {"cube": "object", "ball": "object"}  # also where a scene has none

Names = Mapping[str, str]  # of variables, the things that they stand for


# --- checked before anything runs ---------------------------------------------------------------------------------


def check(block: Block, skills: Skills, things: Things) -> list[Fault]:
    """What is wrong with a program whatever holds, in branches that are never come to as well."""
    return list(_Checker(skills, things).block(block, {}))


@dataclass
class _Checker:
    skills: Skills
    things: Things
    types: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.types = {t.name: t.type for t in self.things}
        self.kinds = {kind: kind for kind in KINDS} | {t.kind: t.type for t in self.things if t.type != "robot"} | _SHAPES

    def block(self, block: Block, variables: Names) -> Iterator[Fault]:
        """`variables`: the type of what each stands for."""
        for statement in block:
            match statement:
                case Make():
                    yield from self.call(statement, variables)
                case Repeat(_, body):
                    yield from self.block(body, variables)
                case While(condition, _, body):
                    yield from self.condition(condition, variables)
                    yield from self.block(body, variables)
                case If(condition, body, otherwise):
                    yield from self.condition(condition, variables)
                    yield from self.block(body, variables)
                    yield from self.block(otherwise, variables)
                case ForEach(variable, kind, condition, body):
                    if kind not in self.kinds:
                        expected = f"one of: {', '.join(sorted(self.kinds))}"
                        yield Fault(Failure.HALLUCINATION, "for each: unknown kind", repr(kind), expected, "use one of these kinds")
                        continue
                    if variable in self.types or variable in variables:
                        what, expected = f"for each {variable}", "a name that nothing else has"
                        yield Fault(Failure.PARSE, what, "a name that is taken", expected, "call the variable otherwise")
                    inner = {**variables, variable: self.kinds[kind]}
                    yield from self.condition(condition, inner)
                    yield from self.block(body, inner)

    def call(self, call: Make, variables: Names) -> Iterator[Fault]:
        params = next((s.params for s in self.skills if s.name == call.skill), None)
        shown = f"{call.skill}({', '.join(call.args)})"
        if params is None:
            expected = f"one of: {', '.join(s.name for s in self.skills)}"
            yield Fault(Failure.HALLUCINATION, "unknown skill", repr(call.skill), expected, "use one of these skills")
        elif len(params) != len(call.args):
            expected = f"({', '.join(p.name for p in params)})"
            yield Fault(Failure.ARITY, f"wrong arguments for {call.skill}", shown, expected, "give exactly these arguments")
        else:
            for param, name in zip(params, call.args, strict=True):
                yield from self.kind(f"{shown}: <{param.name}>", name, param.kinds, variables)

    def condition(self, condition: Condition, variables: Names) -> Iterator[Fault]:
        match condition:
            case Not(inner):
                yield from self.condition(inner, variables)
            case All(parts) | Any_(parts):
                for part in parts:
                    yield from self.condition(part, variables)
            case Fits(predicate, args):
                shown = f"{predicate}({', '.join(args)})"
                count = 1 if predicate in UNARY else 2
                if predicate not in DOMAIN:
                    expected = f"one of: {', '.join(DOMAIN)}"
                    yield Fault(Failure.HALLUCINATION, "unknown predicate", repr(predicate), expected, "use one of these predicates")
                elif len(args) != count:
                    fix = "give exactly these, or _ for anything"
                    yield Fault(Failure.ARITY, "wrong arguments of a condition", shown, f"{count} of them", fix)
                else:
                    about = DOMAIN[predicate]
                    targets = tuple({kind for subject in about.subjects for kind in about.of(subject)})
                    for name, kinds in zip(args, (about.subjects, targets), strict=False):
                        if name != ANYTHING:
                            yield from self.kind(shown, name, kinds, variables)

    def kind(self, what: str, name: str, kinds: tuple[str, ...], variables: Names) -> Iterator[Fault]:
        """A name that does not exist, or stands for a thing of the wrong kind."""
        found = variables.get(name, self.types.get(name))
        if found is None:
            fitting = [t.name for t in self.things if t.type in kinds] + list(variables)
            yield Fault(
                Failure.HALLUCINATION, f"{what}: unknown name", repr(name), f"one of: {', '.join(fitting)}", "use one of these names"
            )
        elif found not in kinds:
            wanted = " or ".join(common_kinds(kinds, self.things) or kinds)
            yield Fault(Failure.AFFORDANCE, f"{what}: wrong kind", f"{name}, a {found}", wanted, "give a thing of such a kind")


# --- carried out --------------------------------------------------------------------------------------------------


class _CallFailed(Exception):
    """Thrown into a program where its last call failed."""


class Run:
    """A program under way: ask for the next call with what holds now, and say where one failed.

    A call that fails ends the innermost `while`'s round: its condition is looked at again. Outside of any, the program is over. It is
    stopped where its budget is spent, and where it calls again what could not be started, and nothing has changed since.
    """

    def __init__(self, program: "Program", things: Things):
        self.program, self._params = program, {s.name: [p.name for p in s.params] for s in program.skills}
        self._things, self._facts = things, frozenset[Fact]()
        self.calls = 0  # that were asked for
        self._looks = 0
        self._running = self._block(program.block, {})
        self._failed = False
        self._last: tuple[Call, frozenset[Fact]] | None = None
        self._refused = set[tuple[Call, frozenset[Fact]]]()
        self.stopped: Fault | None = None

    def next(self, facts: frozenset[Fact]) -> Call | None:
        """The next call; None at the end, and where the program is `stopped`."""
        self._facts = facts
        try:
            call = self._running.throw(_CallFailed()) if self._failed else next(self._running)
            self._failed, self._last = False, (call, facts)
            if self._last in self._refused:
                fix = "a condition that asks for what the call needs"
                raise PlanError(Fault(Failure.LIMIT, f"{call}: could not be started", "the same call, nothing changed", "another one", fix))
            return call
        except (StopIteration, _CallFailed):
            return None
        except PlanError as error:
            self._running.close()
            self.stopped = error.fault
            return None

    def failed(self, started: bool = True) -> None:
        """The last call failed, or was not started."""
        self._failed = True
        if not started and self._last:
            self._refused.add(self._last)

    def _block(self, block: Block, names: Names) -> Generator[Call]:
        for statement in block:
            match statement:
                case Make(skill, args):
                    self.calls += 1
                    if self.calls > self.program.max_calls:
                        self._spent(f"{self.program.max_calls} calls")
                    yield Call(skill, dict(zip(self._params[skill], (names.get(a, a) for a in args), strict=True)))
                case Repeat(times, body):
                    for _ in range(times):
                        self._look()
                        yield from self._block(body, names)
                case While(condition, times, body):
                    for _ in itertools.count() if times is None else range(times):
                        if not self._holds(condition, names):
                            break
                        try:
                            yield from self._block(body, names)
                        except _CallFailed:
                            continue
                case If(condition, body, otherwise):
                    yield from self._block(body if self._holds(condition, names) else otherwise, names)
                case ForEach(variable, kind, condition, body):
                    for thing in self._things:
                        inner = {**names, variable: thing.name}
                        if kind in (thing.kind, thing.type) and self._holds(condition, inner):
                            yield from self._block(body, inner)

    def _holds(self, condition: Condition, names: Names) -> bool:
        self._look()
        match condition:
            case Not(inner):
                return not self._holds(inner, names)
            case All(parts):
                return all(self._holds(part, names) for part in parts)
            case Any_(parts):
                return any(self._holds(part, names) for part in parts)
            case Fits(predicate, args):
                wanted = [names.get(a, a) for a in args]
                wanted = [predicate, *wanted, *wanted[:1]][:3] if len(wanted) == 1 else [predicate, *wanted]
                return any(all(w in (ANYTHING, f) for w, f in zip(wanted, fact, strict=True)) for fact in self._facts)

    def _look(self) -> None:
        self._looks += 1
        if self._looks > MAX_LOOKS:
            self._spent(f"{MAX_LOOKS} looks at conditions")

    def _spent(self, got: str) -> NoReturn:
        fix = "give its loops a condition that comes to an end"
        raise PlanError(Fault(Failure.LIMIT, "the program's budget is spent", got, "an end before that", fix))


@dataclass(frozen=True)
class Program:
    """A plan that is a program. The same to executors as a list of calls is: checked whole, begun, and asked for call after call."""

    block: Block
    skills: Skills
    max_calls: int = MAX_CALLS

    @staticmethod
    def parse(said: str, skills: Skills) -> "Program":
        """The program of a text. Raises PlanError (parse)."""
        return Program(parse(said), skills)

    def __str__(self) -> str:
        return text(self.block)

    def static_faults(self, skills: Skills, things: Things) -> list[Fault]:
        return check(self.block, skills, things)

    def begin(self, things: Things) -> Run:
        return Run(self, things)


def try_out(
    program: Program, things: Things, facts: frozenset[Fact], goal: Formula | None = None, mechanics: Mechanics = PLAIN
) -> list[Fault]:
    """What is wrong with a program from here, with skills that do what they promise: up to the first fault that stops it."""
    faults = check(program.block, program.skills, things)
    if faults:
        return faults
    calls, run, book = list[Call](), program.begin(things), Rulebook(things, mechanics)
    promised, operators = contracts(program.skills, things), ground(program.skills, things, mechanics)
    facts = book.settled(facts)
    start = facts
    while call := run.next(facts):
        calls.append(call)
        case = next((o for o in operators if o.call == call and o.applicable(facts)), None)
        if case:
            facts = case.apply(facts)
        elif not (call in promised and promised[call].add <= facts and not promised[call].delete & facts):
            break
    if run.stopped:
        return [replace(run.stopped, step=len(calls))]
    return validate(Plan(tuple(calls)), program.skills, things, start, goal, mechanics)
