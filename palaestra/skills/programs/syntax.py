"""The language of programs: what there is, and from text to it and back. Nothing of a text is ever evaluated as Python.

    for each x: cube where in_room(x, kitchen) and not inside(x, green_bin) {
        navigate(x)
        pick(x)
        navigate(green_bin)
        place(x, green_bin)
    }
    while not open(red_door) at most 3 times { press(red_button) }
    if holding(robot, _) { navigate(blue_table) } else { navigate(study) }
    repeat 2 times { turn_on(lamp) turn_off(lamp) }

Names are those of things, as the scene lists them; one that is no word is in double quotes. `_` stands for anything.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from palaestra.skills.plan import Failure, Fault, PlanError

MAX_TEXT = 20_000  # characters
MAX_DEPTH = 8  # of blocks and conditions within each other
MAX_TIMES = 100  # of a loop's body
ANYTHING = "_"


@dataclass(frozen=True)
class Make:
    """A call; arguments are names of things, or of a loop's variable."""

    skill: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class Fits:
    """A condition: a fact holds, with `_` for anything."""

    predicate: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class Not:
    condition: "Condition"


@dataclass(frozen=True)
class All:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True)
class Any_:
    conditions: tuple["Condition", ...]


@dataclass(frozen=True)
class Repeat:
    times: int
    body: "Block"


@dataclass(frozen=True)
class While:
    condition: "Condition"
    times: int | None  # at most; None: as often as the budget allows
    body: "Block"


@dataclass(frozen=True)
class If:
    condition: "Condition"
    body: "Block"
    otherwise: "Block"


@dataclass(frozen=True)
class ForEach:
    """The body for each thing of a kind for which the condition holds when its turn comes, in the scene's order."""

    variable: str
    kind: str
    condition: "Condition"
    body: "Block"


Condition = Fits | Not | All | Any_
Statement = Make | Repeat | While | If | ForEach
Block = tuple[Statement, ...]
ALWAYS = All(())

_TOKEN = re.compile(r"\s+|#[^\n]*|(?P<word>\w+)|(?P<quoted>\"(?:[^\"\\\n]|\\.)*\")|(?P<mark>[(){},:;])")
_RESERVED = ("repeat", "while", "if", "else", "for", "each", "where", "and", "or", "not", "at", "most", "times")


@dataclass(frozen=True)
class _Token:
    text: str
    line: int
    quoted: bool = False


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _fault(line, repr(text[at]), "a word, a name in double quotes, or one of ( ) { } , : ;")
        if match["quoted"]:
            try:
                yield _Token(str(json.loads(match["quoted"])), line, True)
            except ValueError:
                raise _fault(line, match["quoted"], "a name in double quotes, escaped as in JSON") from None
        elif match["word"] or match["mark"]:
            yield _Token(match[0], line)
        line, at = line + match[0].count("\n"), match.end()


def _fault(line: int, got: str, expected: str) -> PlanError:
    return PlanError(Fault(Failure.PARSE, f"the program, line {line}", f"{got:.60}", expected, "correct the program there"))


class _Parser:
    """By recursive descent, a function for each rule."""

    def __init__(self, text: str):
        self.tokens = [*_tokens(text), _Token("", text.count("\n") + 1)]
        self.at = self.depth = 0

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def is_next(self, *words: str) -> bool:
        return not self.here.quoted and self.here.text in words

    def took(self, word: str) -> bool:
        """Pass over a word, if it is next."""
        found = self.is_next(word)
        self.at += found
        return found

    def want(self, *words: str) -> None:
        for word in words:
            if not self.took(word):
                self.refuse(repr(word))

    def refuse(self, expected: str) -> NoReturn:
        raise _fault(self.here.line, repr(self.here.text) if self.here.text or self.here.quoted else "the end", expected)

    def name(self, what: str) -> str:
        token = self.here
        if not token.quoted and (token.text in _RESERVED or not re.fullmatch(r"\w+", token.text)):
            self.refuse(what)
        self.at += 1
        return token.text

    def number(self) -> int:
        token = self.here
        if not re.fullmatch(r"[0-9]{1,4}", token.text) or not 1 <= int(token.text) <= MAX_TIMES:
            self.refuse(f"a number from 1 to {MAX_TIMES}")
        self.at += 1
        return int(token.text)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(f"at most {MAX_DEPTH} blocks or brackets within each other")

    def statements(self, end: str) -> Block:
        found = []
        while not self.is_next(end) or self.here.quoted:
            if end and not self.here.text and not self.here.quoted:
                self.refuse(repr(end))
            found.append(self.statement())
            while self.took(";"):
                pass
        return tuple(found)

    def block(self) -> Block:
        self.want("{")
        self.deeper()
        found = self.statements("}")
        self.want("}")
        self.depth -= 1
        return found

    def statement(self) -> Statement:
        if self.took("repeat"):
            times = self.number()
            self.took("times")
            return Repeat(times, self.block())
        if self.took("while"):
            condition, most = self.condition(), None
            if self.took("at"):
                self.want("most")
                most = self.number()
                self.took("times")
            return While(condition, most, self.block())
        if self.took("if"):
            return self.branch()
        if self.took("for"):
            self.want("each")
            variable = self.name("a variable")
            self.want(":")
            kind = self.name("a kind of things")
            condition = self.condition() if self.took("where") else ALWAYS
            return ForEach(variable, kind, condition, self.block())
        skill = self.name("a statement: a skill's call, repeat, while, if, or for each")
        return Make(skill, self.arguments())

    def branch(self) -> If:
        condition, body = self.condition(), self.block()
        if not self.took("else"):
            return If(condition, body, ())
        if self.took("if"):
            self.deeper()
            otherwise: Block = (self.branch(),)
            self.depth -= 1
            return If(condition, body, otherwise)
        return If(condition, body, self.block())

    def condition(self) -> Condition:
        parts = [self.conjunction()]
        while self.took("or"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Any_(tuple(parts))

    def conjunction(self) -> Condition:
        parts = [self.unit()]
        while self.took("and"):
            parts.append(self.unit())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def unit(self) -> Condition:
        self.deeper()
        try:
            if self.took("not"):
                return Not(self.unit())
            if self.took("("):
                inner = self.condition()
                self.want(")")
                return inner
            predicate = self.name("a condition")
            return Fits(predicate, self.arguments())
        finally:
            self.depth -= 1

    def arguments(self) -> tuple[str, ...]:
        self.want("(")
        found = []
        while not self.is_next(")") or self.here.quoted:
            found.append(self.name("a name"))
            if not self.took(","):
                break
        self.want(")")
        return tuple(found)


def parse(text: str) -> Block:
    """The program of a text. Raises PlanError (parse), with the line, where it is none."""
    if len(text) > MAX_TEXT:
        raise _fault(1, f"{len(text)} characters", f"at most {MAX_TEXT}")
    parser = _Parser(text)
    found = parser.statements("")
    if parser.here.text or parser.here.quoted:
        parser.refuse("a statement")
    return found


# --- and back -----------------------------------------------------------------------------------------------------


def text(block: Block, indent: str = "") -> str:
    """The text that `parse` reads as this."""
    return "\n".join(_line(statement, indent) for statement in block)


def _line(statement: Statement, indent: str) -> str:
    match statement:
        case Make(skill, args):
            return f"{indent}{_called(skill, args)}"
        case Repeat(times, body):
            head = f"repeat {times} times"
        case While(condition, most, body):
            head = f"while {_said(condition)}" + (f" at most {most} times" if most else "")
        case If(condition, body, otherwise):
            head = f"if {_said(condition)}"
            if otherwise:
                return f"{indent}{head} {_block(body, indent)} else {_block(otherwise, indent)}"
        case ForEach(variable, kind, condition, body):
            head = f"for each {_name(variable)}: {_name(kind)}" + ("" if condition == ALWAYS else f" where {_said(condition)}")
    return f"{indent}{head} {_block(body, indent)}"


def _block(body: Block, indent: str) -> str:
    return "{\n" + text(body, indent + "    ") + ("\n" if body else "") + indent + "}"


def _said(condition: Condition) -> str:
    match condition:
        case Fits(predicate, args):
            return _called(predicate, args)
        case Not(inner):
            return f"not {_said(inner)}" if isinstance(inner, Fits | Not) else f"not ({_said(inner)})"
        case All(parts) | Any_(parts):
            word = " and " if isinstance(condition, All) else " or "
            return word.join(_said(part) if isinstance(part, Fits | Not) else f"({_said(part)})" for part in parts)


def _called(name: str, args: tuple[str, ...]) -> str:
    return f"{_name(name)}({', '.join(map(_name, args))})"


def _name(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) and name not in _RESERVED else json.dumps(name)
