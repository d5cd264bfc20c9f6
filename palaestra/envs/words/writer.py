"""Formulas to English: a term becomes a clause, an option or a stage a sentence, by the tables of `palaestra.envs.words.wordings`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from palaestra.envs import goals
from palaestra.envs.goals import PLACING, Formula, Option, Term, places
from palaestra.envs.names import ROBOT
from palaestra.envs.types import MANY, UNARY
from palaestra.envs.words import wordings as w
from palaestra.envs.words.references import OBJECTS, Description, Place, Things, listing, noun_phrase
from palaestra.envs.words.wordings import Join, Rows, Taste

_DETAIL = 0.12  # the probability of a true but needless size, and of where a thing is
_DESCRIBED = 0.2  # that a thing goes by a description instead of its name,
_RELATED = 0.15  # and by its relation to another one,
_SIDED = 0.25  # with its room, and a room by its side of the house, and
_GROUPED = 0.7  # that several do where one fits;
_MERGED = 0.6  # that literals share a clause, and
_PAIRED = 0.35  # that two stages share a sentence like "before going to the table, ..."
# Clauses that begin with these have no verb in front, and stand in sentences of their own.
_DETERMINERS = ("the", "no", "none", "not", "at", "exactly", "precisely", "a", "an", "any", "some", "every", "each", "all")
_SUBJECTS = {*_DETERMINERS, *w.NUMBERS[1:]}


def is_loose(text: str) -> bool:
    """Whether a clause begins with what it speaks of: "the red cube should be on ..."."""
    return text.split()[0] in _SUBJECTS


@dataclass(frozen=True)
class _Noun:
    """What stands for {x} or {y}, and whether it is one thing."""

    text: str
    one: bool = True


class Writer:
    """Writes one instruction."""

    def __init__(self, formula: Formula, things: Things, taste: Taste):
        self.formula, self.things, self.taste = formula, things, taste
        self.vague: dict[str, Description] = {}  # descriptions that fit others, too, on purpose
        self.bare = False  # no details of places, where "from" would say something else
        self.stepwise = False  # every stage is asked for alone
        self.moved = _placed(formula.stages)  # to "pick up" these would be means to that end

    # --- things

    def thing(self, name: str) -> str:
        """One thing by its name, at times with a true detail, or by another description that fits it alone."""
        entity, taste, place = self.things[name], self.taste, self.things.places.get(name, Place())
        if name in self.vague:
            return "the " + self.vague[name].phrase(taste)
        if entity.kind == "room":
            return self.room(name)
        if place.between and taste.chance(_RELATED):
            first, second = (place.between[i] for i in taste.shuffled(2))
            return f"the {taste.row(w.NOUNS[entity.kind])} between {self.room(first)} and {self.room(second)}"
        if taste.chance(_RELATED) and not self.bare and (related := self.things.relations(name)):
            description = related[taste.number(len(related))]
            return self.described(replace(description, place=place.room) if taste.chance(_SIDED) else description)
        if taste.chance(_DESCRIBED):
            found = [d for d in self.things.descriptions((name,))[:4] if not (self.bare and d.place)]
            if found:
                return self.described(found[taste.number(len(found))])
        size = entity.size if name.startswith(entity.size or "-") or taste.chance(_DETAIL) else ""
        where = ""
        if taste.chance(_DETAIL) and not self.bare:
            where = place.receptacle if place.receptacle and taste.chance(0.5) else place.room
        return self.described(Description(entity.kind, entity.colour, size, where))

    def described(self, description: Description) -> str:
        where = self.room(description.place) if description.place in self.things.rooms else ""
        return "the " + description.phrase(self.taste, where=where)

    def room(self, name: str) -> str:
        """A room by its name, or at times by the side of the house where no other one is."""
        if len(self.things.rooms) > 1 and self.taste.chance(_SIDED):
            sides = self.things.sides
            alone = [side for side in sides[name] if sum(side in others for others in sides.values()) == 1]
            if alone:
                return f"the {alone[self.taste.number(len(alone))].replace(' ', '-')} {self.taste.row(w.NOUNS['room'])}"
        return noun_phrase(name)

    def names(self, names: Iterable[str], last: str = "and") -> str:
        return listing([self.thing(name) for name in names], last)

    def group(self, names: tuple[str, ...], described: Rows, listed: Rows, k: int = 0, j: int = 0) -> _Noun:
        """Several things under a quantifier, by a description of them all if there is one, or else as a list."""
        taste = self.taste
        found = [d for d in self.things.descriptions(names)[:3] if len(names) > 1 and not (self.bare and d.place)]
        numbers = {"k": w.NUMBERS[k], "j": w.NUMBERS[j]}
        if found and (taste.rng is None or taste.chance(_GROUPED)):
            row, description = taste.row(described), found[taste.number(len(found))]
            plural = "{p}" in row or ("{n}" in row and k != 1)
            phrase = description.phrase(taste, plural)
            if "{s}" in row and row.startswith("a {s}") and phrase[0] in "aeiou":
                row = "an {s}"
            text = row.format(s=phrase, p=phrase, n=phrase, **numbers)
        else:
            row = taste.row(listed)
            lists = {key: self.names(names, last) for key, last in (("list", "and"), ("or_list", "or")) if f"{{{key}}}" in row}
            text, plural = row.format(**lists, **numbers), k > 1 or row.startswith("all")
        one = "{s}" in row or row.startswith(("one of", "any of", "each of", "none of", "not one")) or k == 1
        return _Noun(text, one and not row.startswith("all"))

    def counted(self, names: tuple[str, ...], low: int, high: int) -> _Noun:
        """So many of these things."""
        if high < MANY:
            if low == high:
                return self.group(names, w.EXACTLY, w.EXACTLY_OF, low)
            return self.group(names, w.FROM_TO, w.FROM_TO_OF, high, low) if low else self.group(names, w.AT_MOST, w.AT_MOST_OF, high)
        if len(names) == 1 and low == 1:
            return _Noun(self.thing(names[0]))
        if low == len(names):
            return self.group(names, w.ALL, w.ALL_OF, low)
        return self.group(names, w.ANY, w.ANY_OF, 1) if low == 1 else self.group(names, w.AT_LEAST, w.AT_LEAST_OF, low)

    def any_of(self, names: tuple[str, ...]) -> _Noun:
        return self.counted(names, 1, MANY)

    def each(self, names: tuple[str, ...]) -> _Noun:
        """All of these, as facts of their own: a list as often as a group."""
        if len(names) == 1 or (self.taste.chance(0.5) or self.bare or not self.things.descriptions(names)):
            return _Noun(self.names(names), len(names) == 1)
        return self.counted(names, len(names), MANY)

    # --- clauses

    def fill(self, row: str, x: _Noun, y: _Noun) -> str:
        it, is_ = ("it", "is") if x.one else ("them", "are")
        return row.format(x=x.text, y=y.text, none=x.text, it=it, **{"is": is_})

    def clause(self, term: Term, loose: bool = True) -> str:
        """A term of a stage; `loose` ones may begin with what they speak of, as sentences do."""
        if term.at_most == 0:
            return self.denial(term, loose)
        bounded = term.at_most < MANY or (not places(term) and len(term.pairs) > 1 and term.at_least > 1)
        table = w.STATES if bounded and (term.at_least == 0 or not places(term) or self.taste.chance(0.5)) else w.ACTS
        return self.positive(term, table[self.said(term)], loose)

    def said(self, term: Term) -> str:
        """The key of a term's wordings: of plates, to be pressed is to be weighed down, and of toggles to be turned on; of drawers, to
        be open is to be drawn, and of swing doors to be pushed; crates are pushed where they are to be."""
        if places(term) and all(self.things[name].kind == "crate" for name in term.subjects):
            return f"pushed {term.predicate}"
        kinds = {self.things[name].kind for name in term.targets}
        (kind, *more) = kinds
        if term.predicate == "pressed" and not more:
            return {"plate": "weighed down", "toggle": "turned on"}.get(kind, "pressed")
        return {"drawer": "drawn", "swing": "pushed"}.get(kind, "open") if term.predicate == "open" and not more else term.predicate

    def positive(self, term: Term, rows: Rows, loose: bool = False) -> str:
        if not loose:
            rows = Rows(*(tuple(r for r in part if not r.startswith("{x}")) for part in rows))
        if self.stepwise:
            rows = rows.keep(without=("at the end", "end up", "keep holding"))
        if not places(term):
            if term.predicate == "holding" and self.moved & set(term.targets):
                rows = rows.keep(without=("pick up", "grab"))
            noun = self.counted(term.targets, term.at_least, term.at_most)
            return self.fill(self.taste.row(rows), noun, noun)
        n, plain = len(term.subjects), len(term.targets) == 1 and term.at_least == len(term.subjects) and term.at_most == MANY
        x = self.each(term.subjects) if plain and n > 1 else self.counted(term.subjects, term.at_least, term.at_most)
        return self.fill(self.taste.row(rows), x, self.any_of(term.targets))

    def denial(self, term: Term, loose: bool) -> str:
        rows, objects = w.DENIALS[self.said(term)], self.things.names(*OBJECTS)
        if not places(term) and term.predicate not in UNARY:
            return self.fill(self.taste.row(rows), _Noun(ROBOT), self.any_of(term.targets))
        y = self.any_of(term.targets)
        if (
            term.predicate in PLACING
            and set(objects) == set(term.subjects)
            and len(objects) > 1
            and (self.taste.rng is None or self.taste.chance(0.5))
        ):
            return self.fill(self.taste.row(w.EMPTY[term.predicate]), _Noun(ROBOT), y)
        if len(term.subjects) == 1:
            row = self.taste.row(rows.keep("{x}", without=() if loose else ("{x} should",)))
        else:
            row = self.taste.row(rows.keep(without=("{x} {is}", "{x} should", "leave")))
        self.bare = "remove" in row or "away" in row
        x = self.group(term.subjects, w.NONE, w.NONE_OF) if "{none}" in row else self.each(term.subjects)
        self.bare = False
        return self.fill(row, x, y)

    def never(self, term: Term, table: dict[str, Rows]) -> str:
        rows = table[self.said(term)].keep(without=("shut",) if len(term.subjects) > 1 else ())
        x = self.any_of(term.subjects) if places(term) or term.predicate in UNARY else _Noun(ROBOT)
        return self.fill(self.taste.row(rows), x, x if term.predicate in UNARY else self.any_of(term.targets))

    def always(self, term: Term) -> str:
        if term.at_most == 0:
            return self.never(term, w.NEVER)
        number = len(term.targets) if not places(term) else 0
        if term.at_most < MANY or (number > 1 and term.at_least > 1):
            return self.taste.row(w.THROUGHOUT) + self.positive(term, w.STATES[self.said(term)].keep(without=("at the end",)))
        one_room = () if number == 1 else ("never leave",)
        return self.positive(term, w.ALWAYS_SO[self.said(term)].keep(without=one_room), loose=True)

    def merged(self, option: Option) -> list[Term]:
        """Literals that can share a clause do so, mostly: same predicate and place, or the robot's denials."""
        groups: dict[tuple[object, ...], list[Term]] = {}
        together = self.taste.rng is None or self.taste.chance(_MERGED)
        for i, term in enumerate(option):
            single, denied, placing = len(term.pairs) == 1, term.at_most == 0, places(term)
            share = single and together and (placing or denied)
            verb = self.said(term) if placing else term.predicate
            key = (verb, denied, term.targets if placing else ()) if share else (i,)
            groups.setdefault(key, []).append(term)
        found = []
        for group in groups.values():
            subjects = tuple(dict.fromkeys(name for term in group for name in term.subjects))
            targets = tuple(dict.fromkeys(name for term in group for name in term.targets))
            first, several = group[0], len(group) > 1 and group[0].at_most > 0
            found.append(Term(first.predicate, subjects, targets, len(group) if several else first.at_least, first.at_most))
        return found

    def ordered(self, option: Option) -> list[Term]:
        """Objects are placed first, in any order; what the robot itself is to do comes last."""
        terms = self.merged(option)
        placing = [t for t in terms if places(t)]
        return [placing[i] for i in self.taste.shuffled(len(placing))] + [t for t in terms if not places(t)]

    # --- sentences

    def clauses(self, option: Option, free: tuple[str, ...], loose: bool) -> list[str]:
        parts = [self.clause(term, loose) for term in self.ordered(option)]
        if free:
            rows = w.FREE if loose else w.FREE.keep("where {x}")
            parts.append(self.fill(self.taste.row(rows), _Noun(self.names(free), len(free) == 1), _Noun("")))
        return parts

    def choice(self, options: list[tuple[Option, tuple[str, ...]]]) -> str:
        """A stage: its clauses, or "either" some "or" others."""
        taste = self.taste
        if len(options) == 1:
            return join(self.clauses(*options[0], loose=True), taste)
        said = [" and ".join(self.clauses(option, free, loose=False)) for option, free in options]
        short = all(len(option) == 1 and option[0].at_most > 0 and not free for option, free in options)
        rows = w.HELD_OUT_CHOICES if taste.held_out else w.SHORT_CHOICES if short else w.CHOICES
        opening, link = rows[taste.number(len(rows))]
        return opening + link.join(said)

    def stages(self, stages: tuple[goals.Stage, ...]) -> str:
        """Stages in their order, without what is carried from one to the next; or each alone, where none carries anything."""
        said = [[goals.unsaid(stages[k - 1], option) if k else (option, ()) for option in stage] for k, stage in enumerate(stages)]
        told = all(
            set(terms) == set(option)
            for stage, way in zip(stages, said, strict=True)
            for option, (terms, _) in zip(stage, way, strict=True)
        )
        freed = any(free for way in said for _, free in way)
        if told and (len(stages) > 2 or (freed and self.taste.chance(0.5))):
            return self.steps(stages)
        if len(stages) == 2 and self.taste.chance(_PAIRED):
            single = [self.merged(option) for stage in said for option, _ in stage]
            bound = not any(free for stage in said for _, free in stage)
            if bound and [len(terms) for terms in single] == [1, 1] and all(t.at_least > 0 and t.at_most == MANY for (t,) in single):
                return self.pair(single[0][0], single[1][0])
        return join([self.choice(options) for options in said], self.taste, w.HELD_OUT_ORDERS if self.taste.held_out else w.ORDERS)

    def steps(self, stages: tuple[goals.Stage, ...]) -> str:
        """Stages in their order, each for itself; that has to be said only where something is put down that might stay."""
        opening = self.taste.row(w.STEPWISE) if self.moved else ""
        self.stepwise, parts = True, []
        for stage in stages:
            self.moved = _placed((stage,))
            parts.append(self.choice([(option, ()) for option in stage]))
        return opening + join(parts, self.taste, w.HELD_OUT_ORDERS if self.taste.held_out else w.ORDERS)

    def pair(self, a: Term, b: Term) -> str:
        """Two clauses in one sentence: "after putting ..., go to ..."."""
        return self.paired(self.taste.row(w.PAIRS), a, b)

    def paired(self, row: str, a: Term, b: Term) -> str:
        """The same by one row of `wordings.PAIRS`, or one like it."""
        forms = {}
        for key, term in (("a", a), ("b", b)):
            if f"{{{key}}}" in row:
                forms[key] = self.clause(term, loose=False)
            if f"{{doing_{key}}}" in row:
                forms[f"doing_{key}"] = self.positive(term, w.DOING[self.said(term)])
            if f"{{being_{key}}}" in row:
                forms[f"being_{key}"] = self.positive(term, w.BEING[self.said(term)], loose=True)
        return row.format(**forms)

    def rules(self, always: Option, loose: bool) -> tuple[str, str, list[str]]:
        """What must always hold: before the rest, behind it, and in sentences of its own."""
        before = behind = ""
        sentences: list[str] = []
        for term in self.ordered(always):
            place = self.taste.number(4) if term.at_most == 0 else 0
            if place == 1 and not before and not loose:
                before = self.never(term, w.WITHOUT) + ", "
            elif place == 2 and not behind:
                behind = " " + self.never(term, w.WITHOUT)
            elif place == 3 and not behind:
                behind = ", and " + self.never(term, {p: rows.keep(without=("{x} must",)) for p, rows in w.NEVER.items()})
            else:
                sentences.append(self.always(term))
        return before, behind, sentences


def _placed(stages: Iterable[goals.Stage]) -> set[str]:
    """The objects that are to be put somewhere."""
    terms = [term for stage in stages for option in stage for term in option if places(term) and term.at_least > 0]
    return {name for term in terms for name in term.subjects}


def join(parts: list[str], taste: Taste, joins: tuple[Join, ...] | None = None) -> str:
    """Clauses in a sentence, or in several."""
    if len(parts) == 1:
        return parts[0]
    if joins is None:
        joins = w.HELD_OUT_JOINS if taste.held_out else w.JOINS
        tight = any(" and " in part or " or " in part for part in parts)
        if any(map(is_loose, parts)) or tight:
            joins = tuple(j for j in joins if j.pair[0] in ".;")
    chosen = joins[taste.number(len(joins))]
    *most, last = parts
    return chosen.opening + chosen.between.join(most) + (chosen.pair if len(most) == 1 else chosen.last) + last
