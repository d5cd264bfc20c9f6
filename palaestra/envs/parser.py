"""English to goals: reads what `palaestra.envs.language` writes, and what people type.

Text becomes clauses of words (`palaestra.envs.lexicon`), clauses become facts, and noun phrases are looked up among the things of
the scene. Nothing is guessed: what cannot be understood raises an `InstructionError` that says what was, what was not, and what
could be said here instead.
"""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NoReturn

from palaestra.envs import goals
from palaestra.envs.goals import fact_phrase
from palaestra.envs.language import PLACING, clauses, noun_phrase, sentence, start_places
from palaestra.envs.lexicon import Chunk, Item, Word, split_clauses
from palaestra.envs.names import ROBOT, Entity, Fact, entities
from palaestra.envs.types import MAX_GOALS, Goal, Scene
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec


class InstructionError(PalaestraError, ValueError):
    """An instruction that states no goal in this scene."""

    def __init__(self, reason: str, *, understood: list[str], not_understood: str, suggestion: str):
        self.understood = understood  # short phrases of the literals before the trouble
        self.not_understood = not_understood  # the part of the text that makes it
        self.suggestion = suggestion  # an instruction that works here: what was understood, and the nearest clause
        got = ", ".join(understood) or "nothing"
        super().__init__(f"cannot follow {not_understood!r}: {reason}. Understood so far: {got}. Try: {suggestion!r}")


def parse(text: str, spec: WorldSpec, scene: Scene) -> Goal:
    """The goal that an English instruction states in this scene.

    Args:
        text: one to MAX_GOALS things to bring about: "Put the red cube on the blue table, then go into the kitchen."
        spec: the world's slots.
        scene: one scene, without a batch axis. "The cube in the kitchen" is one that starts there.

    Raises:
        InstructionError: with what was understood, what was not, and the nearest phrasing that works here.
    """
    reader = _Reader(text, spec, scene)
    return goals.write(goals.Formula.of(reader.read()), spec, scene)


# --- clauses to facts ---------------------------------------------------------------------------------------------

_OBJECTS, _RECEPTACLES = ("cube", "ball"), ("table", "bin")
_PLACES = (*_RECEPTACLES, "room")
_GOES = {"table": "on", "bin": "in"}


def _destination(chunks: list[Chunk], only_into: bool) -> int | None:
    """Which chunk says where objects go: the last that is no room ("on the blue table in the kitchen"), else the last.

    `only_into`: "on" and "in" tell where an object is ("take the cube on the table"), and only "to", "onto", "into" where to.
    """
    able = [k for k, (preposition, _) in enumerate(chunks) if preposition != "from" and not (only_into and preposition in ("on", "in"))]
    fixtures = [k for k in able if any(w.kind == "noun" for w in chunks[k][1]) or not any(w.kind == "room" for w in chunks[k][1])]
    return max(fixtures or able, default=None)


def _likeness(a: str, b: str) -> tuple[float, float]:
    """How alike two phrases are, in words first and then in letters."""
    return SequenceMatcher(None, a.split(), b.split()).ratio(), SequenceMatcher(None, a, b).ratio()


class _Reader:
    """Reads one instruction in one scene, clause by clause."""

    def __init__(self, text: str, spec: WorldSpec, scene: Scene):
        self.text = text
        self.things = entities(spec, scene)
        self.places = start_places(spec, scene)
        self.facts: dict[Fact, str] = {}  # and the part of the text that each came from
        self.means: set[str] = set()  # objects only picked up so far: to place them later takes `holding` back
        self.named: list[Entity] = []  # for "it" and "there"
        self.before: list[Entity] = []  # the objects of the last clause that had any, for "them"
        self.group: list[Entity] = []  # those of this clause
        self.waiting: list[Entity] = []  # those that have no place yet

    def read(self) -> list[Fact]:
        """What the whole instruction asks for, in the order of the text."""
        groups = split_clauses(self.text)
        if not groups:
            self._fail("it says nothing to do", self.text)
        for items in groups:
            self._clause(items)
        done: dict[Fact, str] = {}
        for fact, text in self.facts.items():
            reason = next((why for earlier in done if (why := self._clash(earlier, fact))), "")
            if len(done) == MAX_GOALS:
                reason = f"{len(self.facts)} goals, expected at most {MAX_GOALS}"
            if reason:
                self.facts = done
                self._fail(reason, text, extend=False)
            done[fact] = text
        return list(done)

    def _clause(self, items: list[Item]) -> None:
        verb = items[0].verb
        self.before, self.group, self.waiting = self.group or self.before, [], []
        for item in items:
            text = self.text[item.start : item.end]
            if not item.words:
                self._fail("it does not say what or where", text)
            if not item.verb and item.words[0].kind == "unknown":
                self._fail(f"there is no verb that I know in {text!r}", text)
            head, chunks = item.chunks()
            if verb == "go" or (verb in ("", "move", "take") and not head and not self.group):
                self._go(head, chunks, text)
            elif verb in ("pick", "hold"):
                self._hold(self._find(head, chunks, _OBJECTS, text), text, means=verb == "pick")
            else:
                self._place(head, chunks, text, only_into=verb == "take")
        if self.waiting and verb == "take":
            self._hold(self.waiting, text, means=True)
        elif self.waiting:
            self._fail(f"it does not say where {self.waiting[0].name} goes", text)

    def _go(self, head: list[Word], chunks: list[Chunk], text: str) -> None:
        preposition, words = ("to", head) if head else chunks.pop(0)
        for thing in self._find(words, chunks, (*_PLACES, *_OBJECTS), text):
            predicate, fits = ("in_room", ("to", "in", "into")) if thing.kind == "room" else ("near", ("to", "near"))
            fact = (predicate, ROBOT, thing.name)
            if preposition not in fits:
                self._fail(f"the robot can be in a room or near a thing, not {preposition} {thing.name}", text, [fact])
            self._add(fact, text)

    def _hold(self, objects: list[Entity], text: str, means: bool) -> None:
        for thing in objects:
            fact = ("holding", ROBOT, thing.name)
            if not means:
                self.means.discard(thing.name)
            elif fact not in self.facts:
                self.means.add(thing.name)
            self._add(fact, text)

    def _place(self, head: list[Word], chunks: list[Chunk], text: str, only_into: bool) -> None:
        """Objects wait until a destination is named: "put the red cube and the green ball in the blue bin"."""
        at = _destination(chunks, only_into)
        if head:
            self.waiting += self._find(head, chunks[:at], _OBJECTS, text)
        if at is None:
            return
        moved = self.waiting or self.group
        if not moved:
            self._fail("it does not say which object", text)
        preposition, words = chunks[at]
        goal = self._find(words, chunks[at + 1 :], _RECEPTACLES, text)
        if len(goal) > 1:
            self._fail(f"an object goes to one place, not to {' and '.join(e.name for e in goal)}", text)
        kind, name = goal[0].kind, goal[0].name
        facts = [("on" if kind == "table" else "inside", thing.name, name) for thing in moved]
        if not preposition.startswith(("to", _GOES[kind])):
            self._fail(f"{name} is a {kind}: things go {_GOES[kind]} it, not {preposition} it", text, facts)
        for fact in facts:
            self._add(fact, text)
        self.waiting = []

    def _add(self, fact: Fact, text: str) -> None:
        if fact[0] in PLACING and fact[1] in self.means:
            self.facts.pop(("holding", ROBOT, fact[1]), None)
        self.facts.setdefault(fact, text)

    def _find(self, words: list[Word], relations: Sequence[Chunk], kinds: tuple[str, ...], text: str) -> list[Entity]:
        """The things that a noun phrase means: one, or more in the plural; `relations` say where they are at the start."""
        content = [word for word in words if word.kind != "article"]
        if not content:
            self._fail("it does not name a thing", text)
        of_room = "room" in kinds and any(word.kind == "room" for word in content)
        here = ", ".join(e.name for e in self.things if e.kind in (("room",) if of_room else kinds))
        if unknown := [word.text for word in content if word.kind == "unknown"]:
            self._fail(f"I do not know {unknown[0]!r}; there are: {here}", text)
        pronoun = next((word.value for word in content if word.kind == "pronoun"), "")
        found = self._pronoun(pronoun, kinds) if pronoun else [e for e in self.things if self._fits(e, content)]
        meant, last = list(found), words[-1]
        for preposition, where in relations:
            if preposition not in ("in", "on", "from"):
                self._fail(f"{preposition!r} does not tell where a thing is, expected in, on or from", text)
            place, last = self._find(where, (), _PLACES, text)[0].name, where[-1]
            found = [e for e in found if e.name in self.places and place in (self.places[e.name].room, self.places[e.name].receptacle)]
        if not found and pronoun:
            self._fail(f"nothing named before can be {pronoun!r}", text)
        if not found:
            meant = [e for e in self.things if e.kind == "room"] if of_room else meant
            self._fail(f"there is no {self.text[content[0].start : last.end]} here; there are: {here}", text, self._about(meant))
        fitting = [e for e in found if e.kind in kinds]
        if not fitting:
            self._wrong_kind(found[0], kinds, text)
        if len(fitting) > 1 and pronoun != "them" and not any(word.kind in ("all", "plural") for word in content):
            phrase = self.text[words[0].start : last.end]
            self._fail(f"{phrase!r} could be {' or '.join(e.name for e in fitting)}", text, self._about(fitting))
        self.named += fitting
        self.group += fitting if kinds is _OBJECTS else []
        return fitting

    def _fits(self, thing: Entity, words: list[Word]) -> bool:
        """Whether every word is true of the thing; "the kitchen table" is the table in the kitchen."""
        kinds = [word.value.split() for word in words if word.kind in ("noun", "plural")]
        rooms = (thing.name, self.places[thing.name].room) if kinds and thing.name in self.places else (thing.name,)
        truth = {"size": (thing.size,), "colour": (thing.colour,), "room": rooms}
        named = bool(kinds) or any(word.kind == "room" for word in words)
        return named and all(thing.kind in kind for kind in kinds) and all(w.value in truth[w.kind] for w in words if w.kind in truth)

    def _pronoun(self, pronoun: str, kinds: tuple[str, ...]) -> list[Entity]:
        if pronoun == "them":
            return list(self.before)
        return [e for e in self.named if e.kind in (_PLACES if pronoun == "there" else kinds)][-1:]

    # --- trouble

    def _wrong_kind(self, thing: Entity, kinds: tuple[str, ...], text: str) -> NoReturn:
        """A room is no place for an object, but there may be tables and bins in it."""
        inside = [e for e in self.things if e.kind in _RECEPTACLES and self.places[e.name].room == thing.name]
        facts = [("on" if e.kind == "table" else "inside", moved.name, e.name) for moved in self.waiting for e in inside]
        reason = f"{thing.name} is a {thing.kind}, expected a {' or a '.join(kinds)}"
        if thing.kind == "room" and kinds == _RECEPTACLES:
            reason += f" (in {thing.name}: {', '.join(e.name for e in inside) or 'none'})"
        self._fail(reason, text, facts)

    def _clash(self, a: Fact, b: Fact) -> str:
        """Why two facts cannot hold at once, or nothing."""
        placed = [fact for fact in (a, b) if fact[0] in PLACING]
        held = [fact[2] for fact in (a, b) if fact[0] == "holding"]
        rooms = {self._robot_room(fact) for fact in (a, b)} - {""}
        why = ""
        if len(placed) == 2 and a[1] == b[1]:
            why = "an object is in one place"
        elif len(held) == 2:
            why = "the robot has one gripper"
        elif held and placed and held[0] == placed[0][1]:
            why = "a held object has no other place"
        elif len(rooms) == 2:
            why = f"the robot is in one room, not in {' and '.join(sorted(rooms))}"
        return f"{fact_phrase(a)} and {fact_phrase(b)} cannot both hold: {why}" if why else ""

    def _robot_room(self, fact: Fact) -> str:
        """The room in which the robot has to be; objects may be anywhere by then."""
        fixed = fact[0] == "near" and any(e.name == fact[2] and e.kind in _RECEPTACLES for e in self.things)
        return fact[2] if fact[0] == "in_room" else self.places[fact[2]].room if fixed else ""

    def _fail(self, reason: str, text: str, likely: Sequence[Fact] = (), extend: bool = True) -> NoReturn:
        """Raise, and suggest what works: the facts so far, and (`extend`) of the `likely`, or else of all, the one most like `text`."""
        kept: list[Fact] = []

        def fits(fact: Fact) -> bool:
            return fact not in kept and not any(self._clash(fact, other) for other in kept)

        for fact in self.facts:
            if fits(fact) and len(kept) < MAX_GOALS:
                kept.append(fact)
        if extend and len(kept) < MAX_GOALS:
            last = next((noun_phrase(e.name) for e in reversed(self.named) if e.kind in _OBJECTS), "it")
            wanted = re.sub(r"\b(it|them)\b", last, text.lower().replace("_", " "))
            choices = [*filter(fits, likely)] or [*filter(fits, self._possible())]
            kept += sorted(choices, key=lambda fact: max(_likeness(wanted, wording) for wording in clauses(fact)))[-1:]
        understood = [fact_phrase(fact) for fact in self.facts]
        suggestion = sentence([clauses(fact)[0] for fact in kept])
        raise InstructionError(reason, understood=understood, not_understood=text, suggestion=suggestion)

    def _about(self, things: list[Entity]) -> list[Fact]:
        """The possible facts that name any of these things."""
        names = {e.name for e in things}
        return [fact for fact in self._possible() if names & set(fact[1:])]

    def _possible(self) -> list[Fact]:
        """All facts that a goal of this scene may have."""
        objects = [e.name for e in self.things if e.kind in _OBJECTS]
        receptacles = [e for e in self.things if e.kind in _RECEPTACLES]
        facts = [("on" if e.kind == "table" else "inside", name, e.name) for name in objects for e in receptacles]
        facts += [("near", ROBOT, name) for name in [*(e.name for e in receptacles), *objects]]
        facts += [("in_room", ROBOT, e.name) for e in self.things if e.kind == "room"]
        return facts + [("holding", ROBOT, name) for name in objects]
