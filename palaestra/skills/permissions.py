"""What a robot may do, whatever a planner says: a readable file of rules, enforced between planner and simulator.

    [[never]]                       # facts that must not all hold at the same time, not even on the way
    facts = "holding(robot, ball), in_room(robot, kitchen)"
    reason = "nothing that rolls in the kitchen"

    [[forbid]]                      # calls that are not made; all that is given has to fit
    skills = ["pick", "push"]       # without it: any
    things = ["purple", "crate"]    # about one of these; without it: about anything
    rooms = ["study"]               # with which the robot goes or passes into one of these; without it: anywhere
    while = "open(door)"            # facts that hold when the call would begin; without it: always

    [[allow]]                       # where there are such, what fits none of them is forbidden as well
    skills = ["navigate", "pick", "place"]

A word for things is a name (`red_cube`, `kitchen`), a kind (`ball`, `object`, `table`, `room`), a colour, or `_` for anything. So a file
holds for all houses, and every word in it can be checked at once: one that could not be in any house is refused when the file is read.
"""

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palaestra.envs import vocabulary
from palaestra.envs.names import ROBOT, Entity, Fact
from palaestra.envs.types import COLOURS, KINDS, ROOMS, UNARY, Scene
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call

_FACT = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)\s*(?:,|$)")
_KINDS = (ROBOT, "cube", "ball", *KINDS)
_NOUNS = ("swing_door", *(kind for kind in _KINDS if kind not in (ROBOT, "room", "object", "swing")))
_SIZES = ("", "small_", "large_")
_NAMES = (f"{size}{colour}_{noun}" for size, colour, noun in itertools.product(_SIZES, COLOURS, _NOUNS))
WORDS = ("_", *_KINDS, *COLOURS, *ROOMS, *_NAMES)  # for things, in any house
_PARTS = {"never": ("facts", "reason"), "forbid": ("skills", "things", "rooms", "while", "reason"), "allow": ("skills", "things", "rooms")}


class PermissionFileError(PalaestraError):
    """A file of permissions that cannot be enforced as it stands; nothing of it is."""


Pattern = tuple[str, str, str]  # a predicate, and words for its subject and target


@dataclass(frozen=True)
class Rule:
    """One rule of the file."""

    part: str  # never, forbid, allow
    skills: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    facts: tuple[Pattern, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        given = [f"{name} {', '.join(words)}" for name in ("skills", "things", "rooms") if (words := getattr(self, name))]
        given += [", ".join(f"{p}({s})" if p in UNARY else f"{p}({s}, {t})" for p, s, t in self.facts)] if self.facts else []
        return self.reason or f"{self.part} {'; '.join(given)}"


@dataclass(frozen=True)
class Permissions:
    """What a file says."""

    rules: tuple[Rule, ...]
    text: str

    @staticmethod
    def load(path: Path) -> "Permissions":
        """The rules of a file. Raises PermissionFileError where there is anything in it that has no meaning."""
        try:
            return Permissions.read(path.read_text(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise PermissionFileError(f"permissions {path}: got {error}, expected a file of TOML") from None

    @staticmethod
    def read(text: str, path: str = "") -> "Permissions":
        """The rules of a file's text, read as a whole or refused as a whole."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PermissionFileError(f"permissions {path}: got {error}, expected a file of TOML. Fix: see docs/planners.md") from None
        rules = []
        for part, entries in data.items():
            if part not in _PARTS:
                raise UnknownNameError(f"part of the permissions {path}", part, _PARTS)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise PermissionFileError(f"permissions {path}: {part}: got {entries!r}, expected tables: [[{part}]]")
            rules += [_rule(part, entry, f"permissions {path}, [[{part}]] {i}") for i, entry in enumerate(entries, start=1)]
        if not rules:
            raise PermissionFileError(f"permissions {path}: got no rule, expected one or more of: {', '.join(f'[[{p}]]' for p in _PARTS)}")
        return Permissions(tuple(rules), text)

    def guard(self, things: Sequence[Entity], scene: Scene) -> "Guard":
        """These rules in one house."""
        return Guard(self.rules, things, scene)


def _rule(part: str, entry: Mapping[str, Any], where: str) -> Rule:
    for name in entry:
        if name not in _PARTS[part]:
            raise UnknownNameError(f"field of {where}", name, _PARTS[part])
    lists: dict[str, tuple[str, ...]] = {}
    for name, known in (("skills", tuple(SKILLS)), ("things", WORDS), ("rooms", (*ROOMS, "_"))):
        words = entry.get(name, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise PermissionFileError(f"{where}: {name}: got {words!r}, expected a list of strings")
        for word in words:
            if word not in known:
                raise UnknownNameError(f"{name} of {where}", word, known)
        lists[name] = tuple(words)
    said = entry.get("facts" if part == "never" else "while", "")
    reason = entry.get("reason", "")
    if not isinstance(said, str) or not isinstance(reason, str):
        raise PermissionFileError(f"{where}: got {said!r}, {reason!r}, expected strings: facts, and a reason")
    facts = _facts(said, where)
    if not facts and not any(lists.values()):
        raise PermissionFileError(f"{where}: got nothing, expected some of: {', '.join(_PARTS[part])}")
    return Rule(part, lists["skills"], lists["things"], lists["rooms"], facts, reason)


def _facts(text: str, where: str) -> tuple[Pattern, ...]:
    found, at = [], 0
    while at < len(text):
        match = _FACT.match(text, at)
        if not match:
            fix = 'facts like "holding(robot, ball), in_room(robot, kitchen)"'
            raise PermissionFileError(f"{where}: got {text!r}, expected {fix}")
        predicate, subject, target = match.groups()
        if predicate not in vocabulary.predicates():
            raise UnknownNameError(f"predicate of {where}", predicate, vocabulary.predicates())
        if (predicate in UNARY) != (target is None):
            raise PermissionFileError(f"{where}: {match.group().strip()}: expected {'one thing' if predicate in UNARY else 'two things'}")
        for word in (subject, target or subject):
            if word not in WORDS:
                raise UnknownNameError(f"thing of {where}", word, WORDS)
        found.append((predicate, subject, target or subject))
        at = match.end()
    return tuple(found)


class Guard:
    """The rules in one house. It knows what things are, and through which rooms one gets where."""

    def __init__(self, rules: Sequence[Rule], things: Sequence[Entity], scene: Scene):
        self.rules, self.things = rules, {thing.name: thing for thing in things}
        rooms = [thing.name for thing in things if thing.type == "room"]
        names = dict(zip(np.flatnonzero(np.asarray(scene.room_used)).tolist(), rooms, strict=True))
        doors = np.asarray(scene.door_rooms)[np.asarray(scene.door_used)].tolist()
        self._beside: dict[str, list[str]] = {room: [] for room in rooms}
        for a, b in doors:
            self._beside[names[a]].append(names[b])
            self._beside[names[b]].append(names[a])

    def refuses(self, call: Call, facts: frozenset[Fact], after: frozenset[Fact]) -> str:
        """Why a call must not be made in a state, by the rule that says so; nothing where it may be. `after`: what will hold then."""
        way = self._way(facts, after)
        allowed = [rule for rule in self.rules if rule.part == "allow"]
        for rule in self.rules:
            if rule.part == "forbid" and self._fits(rule, call, way) and self.holds(rule.facts, facts):
                return str(rule)
            if rule.part == "never" and any(self.holds(rule.facts, there) for there in (*self._between(facts, after, way), after)):
                return str(rule)
        if allowed and not any(self._fits(rule, call, way) for rule in allowed):
            return "none of what is allowed"
        return ""

    def broken(self, facts: frozenset[Fact]) -> str:
        """The rule about what must never be that is broken where these facts hold; nothing where none is."""
        return next((str(rule) for rule in self.rules if rule.part == "never" and self.holds(rule.facts, facts)), "")

    def holds(self, patterns: Sequence[Pattern], facts: Iterable[Fact]) -> bool:
        """Whether for each of the patterns there is a fact that it fits."""
        return all(any(f[0] == p and self._is(f[1], s) and self._is(f[2], t) for f in facts) for p, s, t in patterns)

    def _is(self, name: str, word: str) -> bool:
        thing = self.things[name]
        return word in ("_", name, thing.kind, thing.type) or (word == thing.colour != "")

    def _fits(self, rule: Rule, call: Call, way: Sequence[str]) -> bool:
        """Whether a call is one of those that a rule is about; facts aside."""
        return (
            (not rule.skills or call.skill in rule.skills)
            and (not rule.things or any(self._is(name, word) for name in call.args.values() for word in rule.things))
            and (not rule.rooms or any(self._is(room, word) for room in way for word in rule.rooms))
        )

    def _way(self, facts: frozenset[Fact], after: frozenset[Fact]) -> list[str]:
        """The rooms that the robot may come into, the one where it ends last. In a ring of rooms there are two ways, and which one it takes
        is the skill's own choice: both count."""
        start, end = (next((t for p, s, t in some if (p, s) == ("in_room", ROBOT)), "") for some in (facts, after))
        if start == end or not start or not end:
            return []
        ways: list[list[str]] = []
        open_ways = [[start]]
        while open_ways:
            way = open_ways.pop()
            if way[-1] == end:
                ways.append(way)
                continue
            open_ways += [[*way, room] for room in self._beside[way[-1]] if room not in way]
        return [*dict.fromkeys(room for way in ways for room in way[1:-1]), end]

    def _between(self, facts: frozenset[Fact], after: frozenset[Fact], way: Sequence[str]) -> list[frozenset[Fact]]:
        """The states in the rooms on the way: the robot and what it holds are there."""
        moving = {ROBOT, *(t for p, _, t in after if p == "holding")}
        stays = frozenset(f for f in facts if not (f[0] == "in_room" and f[1] in moving) and f[0] != "near")
        return [stays | {("in_room", name, room) for name in moving} for room in way[:-1]]
