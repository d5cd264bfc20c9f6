"""English to goals: reads what `palaestra.envs.words.language` writes, and what people type.

Text becomes clauses of words (`palaestra.envs.words.lexicon`), clauses become terms, and noun phrases are looked up among the things of
the scene (`palaestra.envs.words.nouns`). Nothing is guessed: what cannot be understood raises an `InstructionError` that says what was,
what was not, and what could be said here instead.

What words mean, where English leaves it open:
- "then", "after that", "next", "finally", "before" and "once" make stages. What was put down stays there (`goals.carried`), unless
  the instruction says "step by step": then each stage asks for what it says and no more.
- To pick something up in order to put it somewhere is no stage and no goal of its own.
- "or" between things makes one term of which one pair is enough; between clauses it makes options, and "and" binds closer.
- "a cube" and "any cube" are any of them, "two cubes" at least two: a third does no harm. "The cube" has to be the only one.
- Not to do something ("do not enter", "never", "without") holds all the time, and so does "keep". Not to be so ("should not be on",
  "take it off", "do not end up in", "at the end") is asked for with the rest of its stage.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NoReturn

from palaestra.envs import goals
from palaestra.envs.goals import Formula, Option, Term, literal
from palaestra.envs.names import ROBOT, Entity, Fact
from palaestra.envs.types import BUTTONS, DOORS, MANY, SOLID, UNARY, Goal, Scene
from palaestra.envs.words import literals
from palaestra.envs.words.consistency import contradiction
from palaestra.envs.words.language import clauses, plain
from palaestra.envs.words.lexicon import Chunk, Item, Word, split_clauses
from palaestra.envs.words.nouns import PLACES, Group, NounError, Nouns, names_room
from palaestra.envs.words.parts import Part, assemble, passed
from palaestra.envs.words.references import MOVED, OBJECTS, RECEPTACLES, Things, noun_phrase
from palaestra.envs.words.wordings import RELATIONS, STEPWISE
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec


class InstructionError(PalaestraError, ValueError):
    """An instruction that states no goal in this scene."""

    def __init__(self, reason: str, *, understood: list[str], not_understood: str, suggestion: str):
        self.understood = understood  # short phrases of the terms before the trouble
        self.not_understood = not_understood  # the part of the text that makes it
        self.suggestion = suggestion  # an instruction that works here: what was understood, and the nearest clause
        got = ", ".join(understood) or "nothing"
        super().__init__(f"cannot follow {not_understood!r}: {reason}. Understood so far: {got}. Try: {suggestion!r}")


def parse(text: str, spec: WorldSpec, scene: Scene) -> Goal:
    """The goal that an English instruction states in this scene, as arrays of NumPy.

    Args:
        text: what to bring about: "Put the red cube on the blue table, then go into the kitchen without touching any ball."; or the
            facts to make true: "on(red_cube, blue_table), not open(green_door)".
        spec: the world's slots.
        scene: one scene, without a batch axis. "The cube in the kitchen" is one that starts there.

    Raises:
        InstructionError: with what was understood, what was not, and the nearest phrasing that works here.
        PalaestraError: where facts are about what is not here.
    """
    return goals.write(read(text, Things.of(spec, scene)), spec, scene)


def read(text: str, things: Things) -> Formula:
    """The formula that an instruction states among these things; raises as `parse` does."""
    return literals.read(text, things) if literals.are_facts(text) else _Reader(text, things).read()


# --- clauses to parts ---------------------------------------------------------------------------------------------

_PLACED = {"on": ("table", "shelf", "plate"), "inside": ("bin", "hamper", "drawer")}
_GOES = {kind: {"on": "on", "inside": "in"}[predicate] for predicate, kinds in _PLACED.items() for kind in kinds}
_PUSHED_TO = dict.fromkeys(SOLID, "near") | {"plate": "on", "room": "in"}
_PUSHED = {"near": SOLID, "on": ("plate",), "in_room": ("room",)}
_TURNED = {"open": (*DOORS, "drawer", "hamper"), "pressed": (*BUTTONS, "plate"), "on": ("toggle",)}  # by how it is said
_SAID = {"open": "open", "shut": "open", "press": "pressed", "pressed": "pressed", "on": "on", "off": "on"}  # verbs and modes
_ACTING = ("put", "take", "remove", "clear", "keep", "pick", "hold", "go", "open", "shut", "press", "on", "off")
_STEPWISE = re.compile("|".join(rf"\b{row.removesuffix(': ')}\b\s*[:,]?" for row in STEPWISE.all), re.IGNORECASE)


def _destination(chunks: list[Chunk], verb: str) -> int | None:
    """Which chunk says where objects go: the last that is no room ("on the blue table in the kitchen"), else the last.

    After "take", "on" and "in" tell where an object is ("take the cube on the table"), and only "to", "onto", "into" where to.
    "Off" and "out of", and "from" after "remove", say where it must not be.
    """
    away = [k for k, (preposition, _) in enumerate(chunks) if preposition == "off" or (preposition == "from" and verb == "remove")]
    # "The cube left of the bin in the kitchen": the room belongs to the bin.
    told = [
        k + 1
        for k, (preposition, _) in enumerate(chunks[:-1])
        if preposition in RELATIONS and chunks[k + 1][0] not in ("to", "into") and names_room(chunks[k + 1][1])
    ]
    static = ("from", "between", *RELATIONS, *(("on", "in") if verb == "take" else ()))
    able = away or [k for k, (preposition, _) in enumerate(chunks) if preposition not in static and k not in told]
    fixtures = [k for k in able if not names_room(chunks[k][1])]
    return max(fixtures or able, default=None)


def _likeness(a: str, b: str) -> tuple[float, float]:
    """How alike two phrases are, in words first and then in letters."""
    return SequenceMatcher(None, a.split(), b.split()).ratio(), SequenceMatcher(None, a, b).ratio()


@dataclass
class _Last:
    """What the clause asked for last, for "... or the green table" to add to."""

    part: Part
    groups: list[Group]  # what is moved, or what the robot is to be near, in or holding
    predicate: str = ""  # of the robot's
    open: bool = False  # "on one of the blue table" and what follows


class _Reader:
    """Reads one instruction in one scene, clause by clause."""

    def __init__(self, text: str, things: Things):
        self.stepwise = bool(_STEPWISE.search(text))
        self.text = text = _STEPWISE.sub(lambda match: " " * len(match.group()), text)
        self.things, self.nouns = things, Nouns(text, things)
        self.parts: list[Part] = []
        self.means: dict[frozenset[str], Part] = {}  # objects only picked up so far: to place them later takes `holding` back
        self.waiting: list[Group] = []  # objects that have no place yet
        self.verb = ""  # of the clause
        self.first = Item()  # the item where they began
        self.last: _Last | None = None

    def read(self) -> Formula:
        """What the whole instruction asks for."""
        groups = split_clauses(self.text)
        if not groups:
            self._fail("it says nothing to do", self.text)
        for items in groups:
            self._clause(items)
        said = self._said(self.parts)
        if contradiction(said, self.things):
            for k, part in enumerate(self.parts):
                if reason := contradiction(self._said(self.parts[: k + 1]), self.things):
                    self.parts = self.parts[:k]
                    self._fail(reason, part.text, extend=False)
        if not said.stages:
            self._fail("it only says what must always hold, and nothing to bring about", self.text)
        return said

    def _said(self, parts: list[Part]) -> Formula:
        return assemble(parts, carry=not self.stepwise)

    def _clause(self, items: list[Item]) -> None:
        verb = self.verb = items[0].verb
        self.nouns.begin()
        self.waiting, self.last = [], None
        if items[0].link == "or" or (self.stepwise and items[0].link == "then"):
            self.means.clear()
        for item in items:
            text = self.text[item.start : item.end]
            if not item.words:
                self._fail("it does not say what or where", text)
            if not item.verb and item.words[0].kind == "unknown":
                self._fail(f"there is no verb that I know in {text!r}", text)
            try:
                self._item(verb, item, text)
            except NounError as error:
                reason = error.reason
                if error.wrong is not None and error.wrong.kind == "room" and self.waiting:
                    reason += f" (in {error.wrong.name}: {', '.join(e.name for e in self._receptacles_in(error.wrong)) or 'none'})"
                self._fail(reason, text, self._likely(error))
        if self.waiting and verb == "take":
            self._robot("holding", self.waiting, self.first, text, means=True)
        elif self.waiting:
            self._fail(f"it does not say where {self.waiting[0].members[0]} goes", text)

    def _item(self, verb: str, item: Item, text: str) -> None:
        head, chunks = item.chunks()
        if item.negated == "without" and not item.verb:
            self._fail("it does not say what not to do", text)
        goes_on = self.last is not None and bool(self.last.predicate) and not item.verb and not item.states
        if item.free or verb == "free":
            names = [name for group in self.waiting + self.nouns.find(head, chunks, OBJECTS) for name in group.members]
            self._add(Part([()], text, free=tuple(names)), item)
            self.waiting = []
        elif verb == "clear" or item.empty:
            self._empty(head, chunks, item, text)
        elif item.mode:
            self._turn(item.mode, head, chunks, item, text)
        elif verb in _SAID and not (verb == "press" and self._pushes(head, chunks)):
            words = head or [w for _, part in chunks[:1] for w in part]
            groups = self.nouns.find(words, chunks if head else chunks[1:], _TURNED[_SAID[verb]])
            self._robot("open" if _SAID[verb] == "open" else "pressed", groups, item, text, away=verb in ("shut", "off"))
        elif verb == "leave" and not chunks and self.nouns.may_be(head, ("room",)):
            self._robot("in_room", self.nouns.find(head, [], ("room",)), item, text, away=True)
        elif verb in ("pick", "hold"):
            self._robot("holding", self.nouns.find(head, chunks, OBJECTS), item, text, means=verb == "pick")
        elif verb == "go" or (verb in ("", "move", "take") and (goes_on or (not head and not self.nouns.objects))):
            self._go(head, chunks, item, text)
        else:
            self._place(verb, head, chunks, item, text)

    # --- the robot

    def _go(self, head: list[Word], chunks: list[Chunk], item: Item, text: str) -> None:
        preposition, words = ("to", head) if head else chunks.pop(0)
        groups = self.nouns.find(words, chunks, (*PLACES, *MOVED, *DOORS, *BUTTONS))
        for group in groups:
            room = self.things[group.members[0]].kind == "room"
            predicate, fits = ("in_room", ("to", "in", "into")) if room else ("near", ("to", "near"))
            if preposition not in fits:
                where = group.members[0]
                self._fail(f"the robot can be in a room or near a thing, not {preposition} {where}", text, [(predicate, ROBOT, where)])
            self._robot(predicate, [group], item, text)

    def _robot(self, predicate: str, groups: list[Group], item: Item, text: str, means: bool = False, away: bool = False) -> None:
        """The robot near, in or holding things, or what it opens and presses; `means`: perhaps only in order to place them.

        "... or the other" adds to the last.
        """
        denied, always = self._polarity(item)
        for group in groups:
            last = self.last
            if last and last.predicate and not item.verb and not item.states and (item.link == "or" or last.groups[-1].open):
                if last.predicate == predicate:
                    joined = self.nouns.join([last.groups[-1], group])
                    last.part.ways = [(self._term(predicate, joined, (), denied, text, away),)]
                    last.groups = [joined]
                    self.means = {key: part for key, part in self.means.items() if part is not last.part}
                    group = joined
                else:
                    last.part.ways = self._either(last.part.ways, [(self._term(predicate, group, (), denied, text, away),)], denied != away)
            else:
                part = Part([(self._term(predicate, group, (), denied, text, away),)], text, always=always)
                self._add(part, item)
                self.last = last = _Last(part, [group], predicate)
            if means and not denied and not always:
                self.means[frozenset(group.members)] = last.part
            else:
                self.means.pop(frozenset(group.members), None)

    def _turn(self, mode: str, head: list[Word], chunks: list[Chunk], item: Item, text: str) -> None:
        """Doors and drawers that are open or shut, and what is pressed, in words that tell how it is: "the door should be open"."""
        predicate = "open" if _SAID[mode] == "open" else "pressed"
        self._wait(self.nouns.find(head, chunks, _TURNED[_SAID[mode]]), item)
        if item.waits:
            return
        denied, always = self._polarity(item)
        terms = [self._term(predicate, group, (), denied, text, mode in ("shut", "off")) for group in self.waiting]
        self._add(Part([tuple(terms)], text, always=always or self.first.always), self.first)
        self.waiting, self.last = [], None

    # --- objects

    def _wait(self, groups: list[Group], item: Item) -> None:
        """What is moved or turned, until it is said how: "the red cube or the green ball", "two of the doors"."""
        for group in groups:
            if self.waiting and self.waiting[-1].open:
                self.waiting[-1] = self.nouns.join([self.waiting[-1], group])
            elif self.waiting and item.link == "or":
                self.waiting = [self.nouns.join([*self.waiting, group])]
            else:
                self.first = item if not self.waiting else self.first
                self.waiting.append(group)

    def _place(self, verb: str, head: list[Word], chunks: list[Chunk], item: Item, text: str) -> None:
        """Objects wait until a destination is named: "put the red cube and the green ball in the blue bin"."""
        at = _destination(chunks, verb)
        if at is None and item.being and chunks and self.nouns.may_be(head, ("crate",)):  # "the crate left of the bin is in the kitchen"
            at = len(chunks) - 1
        if head and self.last and not self.waiting and self._is_place(head, chunks):
            return self._retarget("to", self.nouns.find(head, chunks, self._places(self.last.groups)), item, text)
        if head:
            self._wait(self._moved(verb, head, chunks, at), item)
        if at is None:
            return None
        preposition, words = chunks[at]
        moved = self.waiting or self.nouns.objects or (self.last.groups if self.last else [])
        target = self.nouns.find(words, chunks[at + 1 :], self._places(moved))
        if self.last and not head and not self.waiting and item.link == "or":
            return self._retarget(preposition, target, item, text)
        moved = self.waiting or self.nouns.objects
        if not moved:
            self._fail("it does not say which object", text)
        denied, always = self._polarity(item, verb)
        away = preposition == "off" or (preposition == "from" and verb == "remove")
        always = always or (bool(self.waiting) and self.first.always)
        part = Part(self._placed(moved, preposition, target, denied, away, text), text, always=always)
        self._add(part, self.first if self.waiting else item)
        self.last = _Last(part, moved, open=target[-1].open)
        for group in () if denied or away or always else [group for group in moved if group.least > 0]:
            self._achieved(frozenset(group.members))
            for name in group.members if group.least == len(group.members) else ():
                self._achieved(frozenset((name,)))
        self.waiting = []
        return None

    def _moved(self, verb: str, head: list[Word], chunks: list[Chunk], at: int | None) -> list[Group]:
        """The objects; of those it could be, "take the cube off the table" and "keep it there" mean the one that is there."""
        try:
            return self.nouns.find(head, chunks[:at], MOVED)
        except NounError:
            if at is None or not (verb == "keep" or chunks[at][0] in ("off", "from")):
                raise
            try:
                return self.nouns.find(head, [*chunks[:at], ("from", chunks[at][1])], MOVED)
            except NounError:
                pass
            raise

    def _is_place(self, head: list[Word], chunks: list[Chunk]) -> bool:
        """Whether this is one more place for what was placed last, not one more object."""
        may_be = self.nouns.may_be
        return not may_be(head, MOVED) or (may_be(head, RECEPTACLES, chunks) and not may_be(head, MOVED, chunks))

    def _pushes(self, head: list[Word], chunks: list[Chunk]) -> bool:
        """Whether to push this means to move it and not to press it, or says where what is being moved goes."""
        going_on = bool(self.waiting) or (self.last is not None and not self.last.predicate)
        somewhere = any(preposition in ("near", "to", "onto", "into", "on") for preposition, _ in chunks)
        pressed = self.nouns.may_be(head, _TURNED["pressed"])
        return going_on or (self.nouns.may_be(head, ("crate",)) and (somewhere or not pressed))

    def _heavy(self, moved: list[Group]) -> bool:
        """Whether these are crates."""
        return bool(moved) and all(self.things[name].kind == "crate" for group in moved for name in group.members)

    def _places(self, moved: list[Group]) -> tuple[str, ...]:
        """The kinds of things to which these may go."""
        return tuple(_PUSHED_TO) if self._heavy(moved) else RECEPTACLES

    def _placed(self, moved: list[Group], preposition: str, target: list[Group], denied: bool, away: bool, text: str) -> list[Option]:
        """The ways to have all of these at one of those: a way for tables, and one for bins."""
        if (len(target) > 1 and not denied and not away) or target[0].high < MANY:
            self._fail(f"an object goes to one place, not to {' and '.join(g.members[0] for g in target)}", text)
        whole = len(target) == 1 and target[0].least == len(target[0].members) > 1
        if whole and any(group.least == len(group.members) for group in moved) and not denied and not away:
            self._fail(f"an object goes to one place, not to {' and '.join(target[0].members)}", text)
        ways: list[Option] = []
        apart, heavy = whole or denied or away, self._heavy(moved)
        goes = _PUSHED_TO if heavy else _GOES
        if not heavy and (crate := next((n for g in moved for n in g.members if self.things[n].kind == "crate"), "")):
            self._fail(f"{crate} cannot be carried, it is pushed: ask for that alone", text)
        for predicate, kinds in (_PUSHED if heavy else _PLACED).items():
            names = tuple(name for group in target for name in group.members if self.things[name].kind in kinds)
            if not names:
                continue
            kind = self.things[names[0]].kind
            if not preposition.startswith(("to", "off", "from", goes[kind])):
                if len(names) < len(target[0].members):
                    continue  # "on anything" means tables
                facts = [(predicate, name, names[0]) for group in moved for name in group.members]
                self._fail(
                    f"{names[0]} is a {kind}: {'crates' if heavy else 'things'} go {goes[kind]} it, not {preposition} it", text, facts
                )
            places = [(name,) for name in names] if apart else [names]
            ways.append(tuple(self._term(predicate, group, at, denied, text, away) for group in moved for at in places))
        return [tuple(itertools.chain(*ways))] if apart else ways

    def _retarget(self, preposition: str, target: list[Group], item: Item, text: str) -> None:
        """Another place for what was placed last: "... or the green table", "... or in the red bin"."""
        assert self.last is not None
        denied, _ = self._polarity(item)
        if item.link != "or" and not denied and not self.last.open:
            self._fail(f"an object goes to one place, not to {target[0].members[0]} as well", text)
        more = self._placed(self.last.groups, preposition, target, denied, False, text)
        self.last.part.ways = self._either(self.last.part.ways, more, denied)

    @staticmethod
    def _either(ways: list[Option], more: list[Option], denied: bool) -> list[Option]:
        """One or the other, as one term where they only differ in targets; none of both if that is denied."""
        if denied:
            return [tuple(itertools.chain(*ways, *more))]
        if len(ways) == len(more) == 1 and len(ways[0]) == len(more[0]):
            pairs = list(zip(ways[0], more[0], strict=True))
            if all(replace(a, targets=b.targets) == b for a, b in pairs):
                return [tuple(replace(a, targets=a.targets + b.targets) for a, b in pairs)]
        return ways + more

    def _empty(self, head: list[Word], chunks: list[Chunk], item: Item, text: str) -> None:
        """Nothing on a table, or in a bin."""
        denied, always = self._polarity(item)
        nothing = Group(self.things.names(*OBJECTS), 0, 0)
        names = [name for group in self.nouns.find(head, chunks, RECEPTACLES) for name in group.members]
        kinds = {name: self._holds(name) for name in names}
        terms = tuple(self._term(predicate, nothing, (name,), denied, text) for name, predicate in kinds.items())
        self._add(Part([terms], text, always=always), item)

    def _holds(self, receptacle: str) -> str:
        """The predicate about what is on or in it."""
        return next(predicate for predicate, kinds in _PLACED.items() if self.things[receptacle].kind in kinds)

    # --- both

    def _polarity(self, item: Item, verb: str = "") -> tuple[bool, bool]:
        """Whether it is denied, and whether it is to hold at every step."""
        verb = verb or item.verb or self.verb
        act = verb in _ACTING and not item.being
        always = item.always or verb == "keep" or item.negated in ("never", "without") or (item.negated == "do not" and act)
        return bool(item.negated), always and not item.at_end

    def _term(self, predicate: str, group: Group, places: tuple[str, ...], denied: bool, text: str, away: bool = False) -> Term:
        """So many of the group, at one of these places; without places, so many open or pressed, or near, held or around the robot."""
        n, low, high = len(group.members), group.least, group.most
        if low > n and not group.open:
            self._fail(f"there are only {n} of those", text)
        if away and (self.verb, low, high) == ("keep", 1, MANY):
            low = n  # "keep any cube off it": all of them
        if away:
            low, high = max(n - high, 0), n - low
        if denied and low > 0 and high < min(n, MANY):
            self._fail("it denies a number with two ends", text)
        if denied:
            low, high = (0, low - 1) if low > 0 else (high + 1, MANY)
        subjects, targets = (group.members, places) if places else ((ROBOT,), group.members)
        subjects = targets if predicate in UNARY else subjects
        return Term(predicate, subjects, targets, low, high)

    def _add(self, part: Part, item: Item) -> None:
        part.link, part.stop, part.either, part.sub = item.link, item.stop, item.either, item.sub
        self.parts.append(part)

    def _achieved(self, names: frozenset[str]) -> None:
        """These were picked up in order to be placed."""
        part = self.means.pop(names, None)
        at = next((k for k, other in enumerate(self.parts) if other is part), None)
        if part is None or at is None:
            return
        following = self.parts[at + 1]
        alone = part.link == "or" and (following.stop or following.link == "then")  # an option of its own
        if not alone:
            owed = passed(part, following, ("then", "earlier", "or"))
            following.link, following.stop, following.either = owed.link, owed.stop, owed.either
            del self.parts[at]

    # --- trouble

    def _fail(self, reason: str, text: str, likely: Sequence[Fact] = (), extend: bool = True) -> NoReturn:
        """Raise, and suggest what works: what was said, and (`extend`) of the `likely`, or else of all, the fact most like `text`."""
        understood = goals.describe(self._said(self.parts))
        kept: list[Part] = []
        for part in self.parts:
            kept += [] if contradiction(self._said([*kept, part]), self.things) else [part]
        said = self._said(kept)
        if extend or not said.stages:
            objects = [self.things[name] for group in self.nouns.named for name in group.members if self.things[name].kind in OBJECTS]
            wanted = re.sub(r"\b(it|them)\b", noun_phrase(objects[-1].name) if objects else "it", text.lower().replace("_", " "))
            able = [fact for fact in likely if self._extended(said, fact)] or [f for f in self._possible() if self._extended(said, f)]
            best = sorted(able, key=lambda fact: max(_likeness(wanted, wording) for wording in self._wordings(fact)))[-1:]
            said = next((more for fact in best if (more := self._extended(said, fact))), said)
        if not said.stages:  # what must always hold leaves nothing to do: without it there is something
            said = Formula.of(self._possible()[:1])
        raise InstructionError(reason, understood=understood, not_understood=text, suggestion=plain(said, self.things))

    def _wordings(self, fact: Fact) -> list[str]:
        return clauses(fact, self.things[fact[1]].kind == "crate")

    def _extended(self, said: Formula, fact: Fact) -> Formula | None:
        """The formula with one more fact in its last stage, unless that is there or cannot be."""
        *before, last = said.stages or (((),),)
        more = Formula((*before, tuple((*option, literal(fact)) for option in last)), said.always)
        return None if more == said or contradiction(more, self.things) else more

    def _likely(self, error: NounError) -> list[Fact]:
        """The possible facts about what may have been meant. A room is no place for an object, but there may be tables and bins in it."""
        if error.wrong is None:
            names = {e.name for e in error.about}
            return [fact for fact in self._possible() if names & set(fact[1:])]
        inside = self._receptacles_in(error.wrong)
        heavy = self._heavy(self.waiting)
        facts = [(name, e) for g in self.waiting for name in g.members for e in inside]
        return (
            [("near", name, e.name) for name, e in facts if e.kind in SOLID]
            if heavy
            else [(self._holds(e.name), n, e.name) for n, e in facts]
        )

    def _receptacles_in(self, room: Entity) -> list[Entity]:
        return [e for e in self.things.entities if e.kind in RECEPTACLES and self.things.places[e.name].room == room.name]

    def _possible(self) -> list[Fact]:
        """All facts that a goal of this scene may have."""
        objects, receptacles = self.things.names(*OBJECTS), self.things.names(*RECEPTACLES)
        facts = [(self._holds(r), name, r) for name in objects for r in receptacles]
        facts += [("near", ROBOT, name) for name in (*receptacles, *objects, *self.things.names(*DOORS, *BUTTONS, "crate"))]
        facts += [(predicate, name, name) for predicate in UNARY for name in self.things.names(*_TURNED[predicate])]
        facts += [("in_room", ROBOT, name) for name in self.things.names("room")]
        crates = self.things.names("crate")
        facts += [(predicate, name, at) for predicate, kinds in _PUSHED.items() for name in crates for at in self.things.names(*kinds)]
        return facts + [("holding", ROBOT, name) for name in objects]
