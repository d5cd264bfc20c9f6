"""The rules of a house in English, a sentence each, and back: "The green door opens when you bring the yellow ball to it."

Every row of the tables below is one way to say something, and reading is their inverse: a sentence is matched against the rows, and
a name stands for a thing only if there is one of that name. What rules of the usual shapes say has sentences of its own; all others
are put together from what holds ("the ball is in the red bin") and what comes of it ("the blue cube vanishes"). The plain rows, the
first ones, state and do not ask: a planner that reads them must not take them for its task.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from palaestra.envs.mechanics import Rule
from palaestra.envs.names import ROBOT, Fact
from palaestra.envs.types import BUTTONS, DOORS
from palaestra.envs.words.references import OBJECTS, Things, listing, noun_phrase
from palaestra.envs.words.wordings import Rows, Taste
from palaestra.sim.errors import PalaestraError

# A slot stands for a thing of these kinds; `_1` and the like tell slots of one kind apart.
_SLOTS: dict[str, tuple[str, ...]] = {
    "object": OBJECTS,
    "table": ("table", "shelf", "plate"),
    "bin": ("bin", "hamper"),
    "plate": ("plate",),
    "button": ("button",),
    "toggle": ("toggle",),
    "door": ("door",),
    "opened": ("door", "hamper"),
    "hamper": ("hamper",),
    "room": ("room",),
    "thing": (*OBJECTS, "table", "shelf", "plate", "bin", "hamper", *BUTTONS, *DOORS),
}


def _on(n: str = "") -> Fact:
    return ("on", f"object{n}", f"table{n}")


_Table = tuple[tuple[Any, Rows], ...]  # a rule or fact with slots for names, and how it is said
# Rules of the usual shapes.
_SHAPES: _Table = (
    (
        Rule((("pressed", "button", "button"),), opens="opened"),
        Rows(
            (
                "when {button} has been pressed, {opened} opens",
                "press {button} and {opened} opens for good",
                "{button} opens {opened}",
                "{opened} opens when {button} is pressed",
                "pressing {button} opens {opened}",
            ),
            ("a push on {button} opens {opened}", "{opened} is opened by {button}"),
        ),
    ),
    (
        Rule((("holding", ROBOT, "object"), ("near", ROBOT, "door")), opens="door"),
        Rows(
            (
                "{door} opens for good when you bring {object} to it",
                "bring {object} to {door} and it opens for good",
                "{object} is the key to {door}: carry it there, and the door opens",
                "carry {object} to {door}, and the door opens",
            ),
            ("{door} opens for whoever brings {object}",),
        ),
    ),
    (
        Rule((("holding", ROBOT, "object"), ("near", ROBOT, "hamper")), opens="hamper"),
        Rows(
            (
                "{hamper} opens for good when you bring {object} to it",
                "bring {object} to {hamper} and it opens for good",
                "{object} is the key to {hamper}: carry it there, and the lid opens",
                "carry {object} to {hamper}, and the lid opens",
            ),
            ("{hamper} opens for whoever brings {object}",),
        ),
    ),
    (
        Rule((("pressed", "plate", "plate"),), opens="opened", lasting=False),
        Rows(
            (
                "as long as something lies on {plate}, {opened} is open",
                "{opened} is open only while something lies on {plate}",
                "a weight on {plate} keeps {opened} open",
                "put something on {plate} and {opened} stays open for as long as it lies there",
            ),
            ("{opened} stands open as long as there is a weight on {plate}",),
        ),
    ),
    (
        Rule((("pressed", "toggle", "toggle"),), opens="opened", lasting=False),
        Rows(
            (
                "as long as {toggle} is on, {opened} is open",
                "{opened} is open only while {toggle} is on",
                "{toggle} keeps {opened} open while it is on",
                "turn on {toggle} and {opened} stays open for as long as it is on",
            ),
            ("{opened} stands open as long as {toggle} is on",),
        ),
    ),
    (
        Rule((_on(),), consumes=("object",), product="object_2"),
        Rows(
            (
                "{object} turns into {object_2} when it is put on {table}",
                "put {object} on {table}, and it turns into {object_2}",
                "on {table}, {object} becomes {object_2}",
                "when {object} is put on {table}, it turns into {object_2}",
            ),
            ("{table} turns {object} into {object_2}",),
        ),
    ),
    (
        Rule((_on(), _on("_1")), consumes=("object", "object_1"), product="object_2"),
        Rows(
            (
                "when {object} is on {table} and {object_1} is on {table_1}, they turn into {object_2} on {table_1}",
                "put {object} on {table} and {object_1} on {table_1}, and they turn into {object_2} on {table_1}",
                "with {object} on {table} and {object_1} on {table_1}, the two become {object_2} on {table_1}",
                "{object} on {table} and {object_1} on {table_1} turn into {object_2}, which then is on {table_1}",
            ),
            ("{object} on {table} and {object_1} on {table_1} make {object_2}, on {table_1}",),
        ),
    ),
    (
        Rule((_on(),), consumes=("object",)),
        Rows(
            (
                "{object} vanishes when it is put on {table}",
                "put {object} on {table}, and it vanishes",
                "on {table}, {object} vanishes",
                "{object} is gone for good once it is put on {table}",
            ),
            ("{table} makes {object} disappear",),
        ),
    ),
)
# What may hold,
_FACTS: _Table = (
    (_on(), Rows(("{object} is on {table}", "{object} lies on {table}"))),
    (("inside", "object", "bin"), Rows(("{object} is in {bin}", "{object} lies in {bin}"))),
    (("near", ROBOT, "thing"), Rows(("you are next to {thing}", "the robot is next to {thing}"))),
    (("holding", ROBOT, "object"), Rows(("you hold {object}", "the robot holds {object}"))),
    (("in_room", ROBOT, "room"), Rows(("you are in {room}", "the robot is in {room}"))),
    (("in_room", "thing", "room"), Rows(("{thing} is in {room}",))),
    (("open", "opened", "opened"), Rows(("{opened} is open",))),
    (("pressed", "button", "button"), Rows(("{button} is pressed",))),
    (("pressed", "toggle", "toggle"), Rows(("{toggle} is on",))),
    (("pressed", "plate", "plate"), Rows(("something lies on {plate}", "there is a weight on {plate}"))),
)
# what comes of it,
_EFFECTS: _Table = (
    (Rule((), opens="opened"), Rows(("{opened} opens", "{opened} opens for good"))),
    (Rule((), consumes=("object",), product="object_2"), Rows(("{object} turns into {object_2}", "{object} becomes {object_2}"))),
    (
        Rule((), consumes=("object", "object_1"), product="object_2"),
        Rows(("{object} and {object_1} turn into {object_2}, which is where {object_1} was",)),
    ),
    (Rule((), consumes=("object",)), Rows(("{object} vanishes", "{object} is gone"))),
    (Rule((), consumes=("object", "object_1")), Rows(("{object} and {object_1} vanish", "{object} and {object_1} are gone"))),
)
_WHILE_EFFECTS: _Table = ((Rule((), opens="opened", lasting=False), Rows(("{opened} is open", "{opened} stays open"))),)
# and how the two are joined.
_WHEN = Rows(("when {if}, {then}", "{then} when {if}", "as soon as {if}, {then}"), ("whenever {if}, {then}",))
_WHILE = Rows(("as long as {if}, {then}", "{then} only while {if}"), ("{then} for as long as {if}",))


class RuleError(PalaestraError, ValueError):
    """A sentence that is no rule of this scene."""


# --- writing ------------------------------------------------------------------------------------------------------


def say(rule: Rule, things: Things, taste: Taste) -> str:
    """A rule in a sentence."""
    for shape, rows in _SHAPES:
        if (slots := _unify(shape, rule, things)) is not None:
            return _sentence(_filled(taste.row(rows), slots))
    conditions = [_phrase(fact, _FACTS, things, taste) for fact in rule.condition]
    effects, frames = (_EFFECTS, _WHEN) if rule.lasting else (_WHILE_EFFECTS, _WHILE)
    effect = _phrase(replace(rule, condition=()), effects, things, taste)
    return _sentence(taste.row(frames).replace("{if}", listing(conditions)).replace("{then}", effect))


def _phrase(meant: Rule | Fact, table: _Table, things: Things, taste: Taste) -> str:
    for pattern, rows in table:
        if (slots := _unify(pattern, meant, things)) is not None:
            return _filled(taste.row(rows), slots)
    raise RuleError(f"rule: got {meant}, expected facts and effects that a rule can have, about things of this scene")


def _filled(row: str, slots: dict[str, str]) -> str:
    return row.format(**{slot: noun_phrase(name) for slot, name in slots.items()})


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _parts(rule: Rule) -> tuple[Any, ...]:
    return rule.condition, rule.opens, rule.lasting, rule.consumes, rule.product


def _flat(part: object) -> Iterator[object]:
    """What a rule or fact consists of, in order, and the lengths of its tuples."""
    if isinstance(part, Rule):
        part = _parts(part)
    if isinstance(part, tuple):
        yield len(part)
        for item in part:
            yield from _flat(item)
    else:
        yield part


def _unify(pattern: Rule | Fact, meant: Rule | Fact, things: Things) -> dict[str, str] | None:
    """The names that the slots of the pattern have to stand for so that it says what is meant; None where none do."""
    wanted, given = list(_flat(pattern)), list(_flat(meant))
    slots: dict[str, str] = {}
    for a, b in zip(wanted, given, strict=False):
        if isinstance(a, str) and isinstance(b, str) and _kinds(a) and b:
            if things[b].kind not in _kinds(a) or slots.setdefault(a, b) != b:
                return None
        elif a != b:
            return None
    return slots if len(wanted) == len(given) else None


def _kinds(slot: str) -> tuple[str, ...]:
    return _SLOTS.get(slot.split("_")[0], ())


# --- reading ------------------------------------------------------------------------------------------------------


def read(sentence: str, things: Things) -> Rule:
    """The rule that a sentence states, among the things of a scene.

    Raises:
        RuleError: where it states none, or names what is not there.
    """
    text = _plain(sentence)
    for shape, rows in _SHAPES:
        for row in rows.all:
            if (slots := _match(row, text, things)) is not None:
                return _with(shape, slots)
    for frames, effects in ((_WHILE, _WHILE_EFFECTS), (_WHEN, _EFFECTS)):
        for row in frames.all:
            found = _frame(row).fullmatch(text)
            if found is None:
                continue
            facts = [_read_phrase(part, _FACTS, things) for part in found["cause"].split(" and ")]
            effect = _read_phrase(found["effect"], effects, things)
            if effect is not None and None not in facts:
                return replace(effect, condition=tuple(facts))
    here = ", ".join(e.name for e in things.entities)
    raise RuleError(f"rule: got {sentence!r}, expected a sentence like {_example(things)!r}, about: {here}")


def read_all(text: str, things: Things) -> tuple[Rule, ...]:
    """The rules that a text states, a sentence each; raises as `read` does."""
    return tuple(read(sentence, things) for sentence in text.split(".") if sentence.strip())


def worded_like_one(sentence: str) -> bool:
    """Whether a sentence is worded as a rule, whatever the things that it names."""
    text = _plain(sentence)
    if any(_regex(row).fullmatch(text) for _, rows in _SHAPES for row in rows.all):
        return True
    return any(_frame(row).fullmatch(text) for frames in (_WHILE, _WHEN) for row in frames.all)


def _plain(sentence: str) -> str:
    return " ".join(sentence.replace("_", " ").lower().split()).rstrip(".")


def _frame(row: str) -> re.Pattern[str]:
    return re.compile(re.escape(row).replace(r"\{if\}", "(?P<cause>.+?)").replace(r"\{then\}", "(?P<effect>.+)"))


def _example(things: Things) -> str:
    objects, tables = things.names(*OBJECTS), things.names("table")
    return say(Rule((("on", objects[0], tables[0]),), consumes=objects[:1]), things, Taste(None))


def _read_phrase(text: str, table: _Table, things: Things) -> Any:
    """The pattern that some row of the table says, with names in its slots; None where none does."""
    for pattern, rows in table:
        for row in rows.all:
            if (slots := _match(row, text, things)) is not None:
                return _with(pattern, slots)
    return None


@cache
def _regex(row: str) -> re.Pattern[str]:
    """Slots of a row as groups, of one to three words; where one comes again, it has to be the same."""
    seen: set[str] = set()

    def group(slot: re.Match[str]) -> str:
        name = slot[1]
        again = name in seen
        seen.add(name)
        return f"the (?P={name})" if again else rf"the (?P<{name}>\w+(?: \w+){{0,2}}?)"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", group, re.escape(row)))


def _match(row: str, text: str, things: Things) -> dict[str, str] | None:
    """The names in the slots of a row, if the text is that row about things of this scene."""
    found = _regex(row).fullmatch(text)
    if found is None:
        return None
    slots = {slot: name.replace(" ", "_") for slot, name in found.groupdict().items()}
    known = {e.name: e.kind for e in things.entities}
    return slots if all(known.get(name) in _kinds(slot) for slot, name in slots.items()) else None


def _with(pattern: Any, slots: dict[str, str]) -> Any:
    """The pattern with names in its slots."""
    if isinstance(pattern, Rule):
        return Rule(*(_with(part, slots) for part in _parts(pattern)))
    if isinstance(pattern, tuple):
        return tuple(_with(part, slots) for part in pattern)
    return slots.get(pattern, pattern)
