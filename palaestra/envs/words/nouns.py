"""Noun phrases to things: which entities of a scene a phrase means, and how many of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from palaestra.envs.names import Entity
from palaestra.envs.types import MANY
from palaestra.envs.words.lexicon import Chunk, Word
from palaestra.envs.words.references import FIXED, MOVED, OBJECTS, RECEPTACLES, Things
from palaestra.envs.words.wordings import RELATIONS

PLACES = (*RECEPTACLES, "room")
_ALL, _NOT_ALL = -1, -2  # numbers that depend on how many there are


class NounError(Exception):
    """A noun phrase that means nothing here, or not clearly one thing."""

    def __init__(self, reason: str, about: Sequence[Entity] = (), wrong: Entity | None = None):
        super().__init__(reason)
        self.reason = reason
        self.about = about  # things that may be meant
        self.wrong = wrong  # a thing of a kind that does not fit here


@dataclass(frozen=True)
class Group:
    """So many of these: "all cubes", "at least two of the red cube, the ball and the blue cube", "the ball"."""

    members: tuple[str, ...]
    low: int = 1
    high: int = MANY
    open: bool = False  # "two of a, b and c": what follows belongs to it

    @property
    def least(self) -> int:
        return len(self.members) if self.low == _ALL else self.low

    @property
    def most(self) -> int:
        return len(self.members) - 1 if self.high == _NOT_ALL else self.high


@dataclass
class Nouns:
    """Looks up the noun phrases of one instruction, and remembers them for "it", "them" and "there"."""

    text: str
    things: Things
    objects: list[Group] = field(default_factory=list)  # of this clause
    before: list[Group] = field(default_factory=list)  # the objects of the last clause that had any
    named: list[Group] = field(default_factory=list)

    def begin(self) -> None:
        """A new clause."""
        self.before, self.objects = self.objects or self.before, []

    def may_be(self, words: list[Word], kinds: tuple[str, ...], relations: Sequence[Chunk] = ()) -> bool:
        """Whether a phrase can mean a thing of these kinds that is at these places, or one that is spoken of with "it"."""
        content = [word for word in _quantified(words)[0] if word.kind != "unknown"]
        spoken = any(word.kind == "pronoun" for word in content)
        found = [e for e in self.things.entities if e.kind in kinds and self._fits(e, content)]
        try:
            found = self._there(found, relations) if found else []
        except NounError:
            return False
        return spoken or not content or bool(found)

    def find(self, words: list[Word], relations: Sequence[Chunk], kinds: tuple[str, ...]) -> list[Group]:
        """The things that a noun phrase means; `relations` say where they are at the start. Several groups where each is meant."""
        content, group, definite = _quantified(words)
        if not content:
            raise NounError("it does not name a thing")
        of_room = "room" in kinds and names_room(content)
        here = ", ".join(e.name for e in self.things.entities if e.kind in (("room",) if of_room else kinds))
        if unknown := [word.text for word in content if word.kind == "unknown"]:
            raise NounError(f"I do not know {unknown[0]!r}; there are: {here}")
        if pronoun := next((word.value for word in content if word.kind == "pronoun"), ""):
            return self._noted(self._pronoun(pronoun, kinds), kinds)
        found = [e for e in self.things.entities if self._fits(e, content)]
        meant, last = list(found), [words, *(where for _, where in relations)][-1][-1:] or words[-1:]
        found = self._there(found, relations)
        if not found:
            meant = [e for e in self.things.entities if e.kind == "room"] if of_room else meant
            raise NounError(f"there is no {self.text[content[0].start : last[0].end]} here; there are: {here}", meant)
        fitting = [e for e in found if e.kind in kinds]
        if not fitting:
            raise NounError(self._expected(found[0], kinds), wrong=found[0])
        phrase, names = self.text[words[0].start : last[0].end], tuple(e.name for e in fitting)
        if group is not None:
            if definite not in (0, len(names)):
                raise NounError(f"{phrase!r} are {definite}, and there are {len(names)}: {', '.join(names)}", fitting)
            return self._noted([replace(group, members=names)], kinds)
        if len(fitting) > 1 and not any(word.kind == "plural" for word in content):
            called = [e for e in fitting if e.name.split("_") == " ".join(word.text.lower() for word in content).split()]
            if called:  # "the red door", where there is a red swing door, too
                return self._noted([Group((called[0].name,))], kinds)
            raise NounError(f"{phrase!r} could be {' or '.join(names)}", fitting)
        return self._noted([Group((name,)) for name in names], kinds)

    def _noted(self, groups: list[Group], kinds: tuple[str, ...]) -> list[Group]:
        self.named += groups
        self.objects += groups if kinds in (OBJECTS, MOVED) else []
        return groups

    def join(self, groups: list[Group]) -> Group:
        """One group of them all: "a or b", or "a, b and c" after "two of"; it is what "it" and "them" mean from now on."""
        first = groups[0]
        if not first.open and any((group.least, group.most) != (1, MANY) for group in groups):
            raise NounError("'or' joins things without a number; say 'either ... or ...' with a verb in each")
        joined = replace(first, members=tuple(dict.fromkeys(name for group in groups for name in group.members)))
        for known in (self.objects, self.named):
            if groups[0] in known:
                known[:] = [*(group for group in known if group not in groups), joined]
        return joined

    def _expected(self, thing: Entity, kinds: tuple[str, ...]) -> str:
        """That a thing is of none of these kinds; those that are not in this scene go without saying."""
        here = [kind for kind in kinds if self.things.names(kind)] or kinds
        return f"{thing.name} is a {thing.kind}, expected a {' or a '.join(here)}"

    def _one(self, words: list[Word], kinds: tuple[str, ...], relations: Sequence[Chunk] = ()) -> str:
        (group, *more) = Nouns(self.text, self.things, named=self.named).find(words, relations, kinds)
        if more or len(group.members) > 1:
            raise NounError("a thing is in one place at the start", [self.things[name] for name in group.members])
        return group.members[0]

    def _there(self, things: list[Entity], relations: Sequence[Chunk]) -> list[Entity]:
        """Those of these things that are where they are said to be; "nearest" is meant among those of which all else is true."""
        compared = []
        for k, (preposition, where) in enumerate(relations):
            if preposition in RELATIONS:
                compared.append((preposition, where, [r for r in relations[k + 1 :] if r[0] in ("in", "from")]))
                continue
            if preposition not in ("in", "on", "from", "off", "between") and where[:1] and where[0].value != "there":
                raise NounError(f"{preposition!r} does not tell where a thing is, expected in, on or from")
            place = self._one(where, PLACES)
            things = [e for e in things if self._is_at(e, place)]
        for relation, where, rest in sorted(compared, key=lambda c: c[0] == "nearest"):
            anchor = self._one(where, (*FIXED, *OBJECTS), rest)
            kept = self.things.related(relation, anchor, tuple(e.name for e in things))
            things = [e for e in things if e.name in kept]
        return things

    def _is_at(self, thing: Entity, place: str) -> bool:
        where = self.things.places.get(thing.name)
        return where is not None and place in (where.room, where.receptacle, *where.between)

    def _fits(self, thing: Entity, words: list[Word]) -> bool:
        """Whether every word is true of the thing; "the kitchen table" is the table in the kitchen."""
        kinds = [word.value.split() for word in words if word.kind in ("noun", "plural")]
        place = self.things.places.get(thing.name)
        rooms = (thing.name, place.room, *place.between) if kinds and place is not None else (thing.name,)
        truth = {"size": (thing.size,), "colour": (thing.colour,), "room": rooms, "side": self.things.sides.get(thing.name, ())}
        named = bool(kinds) or any(word.kind == "room" for word in words)
        return named and all(thing.kind in kind for kind in kinds) and all(w.value in truth[w.kind] for w in words if w.kind in truth)

    def _pronoun(self, pronoun: str, kinds: tuple[str, ...]) -> list[Group]:
        wanted = PLACES if pronoun == "there" else kinds
        named = self.before if pronoun == "them" else [g for g in self.named if self.things[g.members[0]].kind in wanted][-1:]
        if not named:
            raise NounError(f"nothing named before can be {pronoun!r}")
        if wrong := next((e for g in named for e in map(self.things.__getitem__, g.members) if e.kind not in wanted), None):
            raise NounError(self._expected(wrong, kinds), wrong=wrong)
        return list(named)


def names_room(words: Sequence[Word]) -> bool:
    """Whether a noun phrase is about a room: "the kitchen", "the north room", but not "the kitchen table"."""
    nouns = [word.value for word in words if word.kind in ("noun", "plural")]
    return set(nouns) == {"room"} or (not nouns and any(word.kind == "room" for word in words))


def _quantified(words: list[Word]) -> tuple[list[Word], Group | None, int]:
    """What names the things; how many of them, if that is said; and how many there have to be ("both", "the two")."""
    content: list[Word] = []
    low: int | None = None
    high, bound, definite, the = MANY, "", 0, False
    partitive = False
    for k, word in enumerate(words):
        number = int(word.value) if word.kind == "number" else int(word.text) if word.text.isdigit() else None
        later = words[k + 1 :]
        if word.text.lower() == "one" and any(w.kind in ("of", "noun", "plural", "size", "colour") for w in later):
            number = 1
        if number is not None:
            if the and not bound:
                low, definite = _ALL, number
            elif bound == "most" or bound == "fewer":
                low, high = low or 0, number - (bound == "fewer")
            else:
                low = number + (bound == "more")
                high = number if bound == "exactly" else high
        elif word.kind == "bound":
            bound = word.value
        elif word.kind == "quantifier":
            values = {"all": (_ALL, MANY), "both": (_ALL, MANY), "any": (1, MANY), "none": (0, 0), "not all": (0, _NOT_ALL)}
            low, high = values[word.value]
            definite = 2 if word.value == "both" else definite
        elif word.kind == "of":
            partitive = low is not None
        elif word.kind == "article":
            the = low is None
        else:
            content.append(word)
    group = None if low is None else Group((), low, high, partitive)
    return content, group, definite
