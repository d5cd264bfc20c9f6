"""The words of instructions: a lexicon tells their kinds; text becomes words, and words become items and clauses.

"Put the red cube on the blue table, then go into the kitchen" is two clauses of an item each; "put the red cube and the green ball
in the blue bin" is one clause of two items, which share a verb. What they ask for is found by `palaestra.envs.words.parser`.
"""

import itertools
import re
from dataclasses import dataclass, field, replace

from palaestra.envs.types import COLOURS, ROOMS
from palaestra.envs.words.compass import DIRECTIONS
from palaestra.envs.words.wordings import EVERYTHING, NUMBERS

_LEXICON: dict[str, dict[str, str]] = {  # kind of word -> its meaning -> how it is said
    "verb": {
        "put": "put, place, set, lay, bring, carry, drop, deliver, transfer, transport, stow, toss, putting, placing, dropping, bringing",
        "move": "move, moving, return, pull, pulling, slide, sliding, swing, swinging, shove, shoving, "  # an object, or oneself
        "make sure, make certain, ensure, see to it",
        "take": "take, taking, get, fetch",  # to somewhere, off it, or into the hand
        "remove": "remove, removing",
        "clear": "clear, clearing, emptying",
        "leave": "leave, leaving",  # something somewhere, or a room
        "keep": "keep, keeping",
        "pick": "pick up, pick, grab, grasp, lift, picking up, grabbing, lifting",  # in order to put it somewhere, or to keep it
        "hold": "hold, holding, carrying, keep holding, take hold of, taking hold of, get hold of, keep hold of, touch, touching",
        "go": "go, drive, head, travel, navigate, roll, walk, come, stand, stay, park, wait, make your way, position yourself, enter, "
        "approach, reach, visit, stop at, stop by, stop near, stop next to, stop beside, going, driving, heading, entering, coming, "
        "stopping, staying, setting foot, approaching, visiting",
        "avoid": "avoid, avoiding, stay away from, keep away from, stay out of, keep out of, stay clear of, keep clear of",
        "press": "press, push, hit, weigh down, pressing, pushing, hitting, weighing down",
        "open": "opening",
        "shut": "closing, shutting",
        "spare": "keep your hands off, leave alone",
        "free": "no matter where, wherever",
        "turn": "turn, flip, turning, flipping, switching",
    },
    "state": {
        "be": "be, is, are, to be, should be, must be, needs to be, has to be, end up, ends up, goes, belongs",
        "must": "should, must, needs to, has to, may, can",
        "stay": "must stay, should stay, needs to stay, has to stay, stays, must remain, should remain, remains, remain",
        "free": "may be anywhere, can be anywhere, need not stay there, does not have to stay there",
    },
    "mode": {  # of a door or a button: before it, one of the first is a verb
        "open": "open",
        "shut": "shut, close, closed",
        "pressed": "pressed, pressed down, pushed, weighed down, held down",
        "on": "turned on, switched on",
        "off": "turned off, switched off",
    },
    "not": {
        "never": "never",
        "without": "without, without ever",
        "do not": "do not, don't, not, not to, cannot",
    },
    "preposition": {
        "on": "on, on top of, upon, atop",
        "onto": "onto, on to",
        "in": "in, inside, inside of, within",
        "into": "into, in to",
        "to": "to, at, for",
        "from": "from",
        "off": "off, off of, out of, away from",
        "near": "near, near to, next to, beside, by, close to, alongside, in front of",
        "between": "between",
        "north": "north of, to the north of, on the north side of",
        "south": "south of, to the south of, on the south side of",
        "east": "east of, to the east of, on the east side of, right of, to the right of, on the right of",
        "west": "west of, to the west of, on the west side of, left of, to the left of, on the left of",
        "nearest": "nearest to, nearest, closest to",
    },
    "join": {
        "and": "and, also, in addition, as well as, while",
        "or": "or, or else, nor, or alternatively, alternatively, or instead",
        "then": "then, after that, after this, afterwards, next, finally, lastly",
        "earlier": "before that, before this, beforehand",
    },
    "sub": {"after": "after, only after, once, as soon as, when", "before": "before"},
    "either": {"either": "either"},
    "always": {"always": "always, at all times, all the time, the whole time, throughout, at every moment, constantly"},
    "end": {"end": "at the end, in the end"},
    "empty": {"empty": "empty"},
    "skip": {
        "": "please, kindly, hey, your task is to, could you, can you, would you, will you, i want, i want you to, i need, "
        "i need you to, i would like, i would like you to, i'd like, i'd like you to, go and, now, just, carefully, gently, over, up, "
        "down, back, that, ever, first, by then, but, but also"
    },
    "robot": {"robot": "robot, the robot, you, yourself"},
    "article": {"the": "the, this, these, those"},
    "of": {"of": "of"},
    "quantifier": {
        "all": "all, every, each",
        "not all": "not all, not every",
        "both": "both",
        "any": "a, an, any, some",
        "none": "no, none, not one, not a single",
    },
    "bound": {
        "least": "at least, no fewer than, no less than, not fewer than",
        "most": "at most, no more than, not more than",
        "exactly": "exactly, precisely, only",
        "more": "more than",
        "fewer": "fewer than, less than",
    },
    "number": {str(n): f"{n}, {word}" if n != 1 else "1" for n, word in enumerate(NUMBERS)},  # "one" is a noun, too
    "pronoun": {"it": "it", "them": "them", "there": "there"},
    "side": {  # of the house
        **{side: f"{side}, {side}ern, {side}ernmost" for side in DIRECTIONS},
        **{f"{a} {b}": f"{a} {b}, {a}{b}, {a} {b}ern, {a}{b}ern" for a in ("north", "south") for b in ("east", "west")},
    },
    "size": {"small": "small, little", "large": "large, big"},
    "colour": {colour: colour for colour in COLOURS},
    "room": {room: room for room in ROOMS},
    "noun": {
        "cube": "cube, block",
        "ball": "ball, sphere",
        "table": "table, desk",
        "bin": "bin, container",
        "drawer": "drawer, chest",
        "shelf": "shelf, ledge, rack",
        "hamper": "hamper, lidded bin",
        "plate": "plate, pressure plate, pad, pressure pad",
        "door swing": "door",
        "swing": "swing door, swinging door, saloon door",
        "button": "button, switch",
        "toggle": "toggle, toggle switch",
        "room": "room",
        "cube bin": "box",
        "crate": "crate, heavy box",
        "cube ball": "object",
        EVERYTHING: "thing, item, one",
    },
    "plural": {
        "cube": "cubes, blocks",
        "ball": "balls, spheres",
        "table": "tables, desks",
        "bin": "bins, containers",
        "drawer": "drawers, chests",
        "shelf": "shelves, ledges, racks",
        "hamper": "hampers, lidded bins",
        "plate": "plates, pressure plates, pads, pressure pads",
        "door swing": "doors",
        "swing": "swing doors, swinging doors, saloon doors",
        "button": "buttons, switches",
        "toggle": "toggles, toggle switches",
        "room": "rooms",
        "cube bin": "boxes",
        "crate": "crates, heavy boxes",
        "cube ball": "objects",
        EVERYTHING: "things, items, ones",
    },
}
_SHORT = {  # a word for two
    "everything": ("all", "objects"),
    "nothing": ("no", "object"),
    "anything": ("any", "object"),
    "something": ("any", "object"),
}
_PHRASES = {phrase: (kind, value) for kind, values in _LEXICON.items() for value, row in values.items() for phrase in row.split(", ")}
_PHRASES |= {",": ("join", ","), **{mark: ("stop", mark) for mark in ".;:!?"}}
# Every (kind, meaning) that `words` gives, beside words that it does not know.
_MADE = (("preposition", "between"), ("mode", "on"), ("mode", "off"), ("verb", "on"), ("verb", "off"))  # of several words
SENSES = tuple(dict.fromkeys([*_PHRASES.values(), *_MADE]))
_LONGEST_FIRST = "|".join(
    re.escape(phrase).replace(r"\ ", r"\s+") for phrase in sorted([*_PHRASES, *_SHORT], key=len, reverse=True) if phrase[0].isalnum()
)
_WORD = re.compile(rf"(?:{_LONGEST_FIRST})(?![\w'])|[,.;:!?]|[^\s,.;:!?]+", re.IGNORECASE)
_GERUNDS = {phrase.split()[0] for phrase in _PHRASES if phrase.split()[0].endswith("ing")} - {"bring"}
_TURNED = {"door", "swing", "button", "toggle", "plate", "drawer", "hamper"}  # what can be open or pressed
_NAMING = ("article", "of", "quantifier", "bound", "number", "side", "size", "colour", "room", "noun", "plural")  # within noun phrases
_LINKS = ("", ",", "stop", "and", "or", "earlier", "then")  # of several joints in a row, the last of these counts


@dataclass(frozen=True)
class Word:
    """A word or phrase of the lexicon, or one that is not in it."""

    text: str
    kind: str  # as in the lexicon, or: stop, unknown
    value: str
    start: int  # where it stands in the instruction
    end: int


def words(text: str) -> list[Word]:
    """The words and phrases of `text`; underscores, hyphens and quotes count as blanks."""
    blank = re.sub(r"[_\"“”()-]", " ", text).replace("’", "'")
    found = []
    for m in _WORD.finditer(blank):
        phrase = " ".join(m.group().lower().split())
        for part in _SHORT.get(phrase, (phrase,)):
            found.append(Word(m.group(), *_PHRASES.get(part, ("unknown", part)), m.start(), m.end()))
    for k in [k for k, word in enumerate(found) if word.value == "between"]:  # "and" belongs to it
        at = next((j for j in range(k + 1, len(found)) if found[j].value == "and"), None)
        if at is not None:
            found[at] = replace(found[at], kind="preposition", value="between")
    found = _turning(found)
    kinds = [*(word.kind for word in found[1:]), ""]
    return [word for word, after in zip(found, kinds[: len(found)], strict=True) if not (word.value == "there" and after == "state")]


def _turning(words: list[Word]) -> list[Word]:
    """The words with "on" and "off" as what a toggle is where no place follows, and with "turn on" and "switch off" as verbs."""
    found: list[Word] = []
    named = any(word.value == "toggle" or word.value == EVERYTHING for word in words)
    for k, word in enumerate(words):
        before, after = words[k - 1] if k else None, words[k + 1].kind if k + 1 < len(words) else ""
        if word.text.lower() == "switch" and (before is None or before.kind not in _NAMING):
            word = replace(word, kind="verb", value="turn")
        if word.kind == "preposition" and word.text.lower() in ("on", "off"):
            if found and found[-1].value == "turn":
                found[-1] = replace(found[-1], value=word.value, end=word.end)
                continue
            if named and after not in (*_NAMING, "pronoun", "unknown"):
                word = replace(word, kind="mode")
        found.append(word)
    return found


Chunk = tuple[str, list[Word]]  # a preposition and the noun phrase after it


@dataclass
class Item:
    """What stands between two joints: a verb, perhaps, and what follows it."""

    link: str = ""  # how it follows the one before: one of _LINKS
    stop: bool = True  # begins a sentence
    verb: str = ""
    gerund: bool = False  # "putting"
    opens: bool = False  # begins a clause even without a verb: after a full stop, with "be", with "the robot"
    states: bool = False  # says how things are: "the red cube should be on the blue table"
    being: bool = False  # with a form of "be", not just "should"
    negated: str = ""  # never, without, or do not
    always: bool = False
    at_end: bool = False
    either: bool = False  # a choice begins
    empty: bool = False
    mode: str = ""  # says that something is open, shut, pressed, on or off
    waits: bool = False  # and so does the next item, with which it shares that
    free: bool = False  # says that things may be anywhere
    sub: str = ""  # begins a clause with after or before
    words: list[Word] = field(default_factory=list)
    start: int = -1
    end: int = 0

    def chunks(self) -> tuple[list[Word], list[Chunk]]:
        """The noun phrase before the first preposition, and the others."""
        head: list[Word] = []
        chunks: list[Chunk] = []
        for word in self.words:
            if word.kind == "preposition":
                chunks.append((word.value, []))
            elif word.value == "there" and not (chunks and not chunks[-1][1]):
                chunks.append(("to", [word]))
            else:
                (chunks[-1][1] if chunks else head).append(word)
        return head, chunks

    def take(self, word: Word) -> None:
        """One more word, no joint."""
        if word.kind in ("skip", "robot"):
            self.opens |= word.kind == "robot" and not self.words
            self.end = word.end
            return
        if word.kind == "state":
            self.opens |= not self.words
            self.states, self.being = True, self.being or word.value != "must"
            self.always |= word.value == "stay"
            self.free |= word.value == "free"
        elif word.kind == "not":
            self.negated = "" if self.negated else word.value
        elif word.kind == "sub":
            self.sub = word.value
        elif word.kind == "either":
            self.either = True
            return
        elif word.kind == "always":
            self.always = True
        elif word.kind == "end":
            self.at_end = True
        elif word.kind == "empty":
            self.verb, self.empty = (self.verb if self.words else "clear"), bool(self.words)
        elif word.kind == "mode":
            if self.words or self.being:
                self.mode = word.value
            else:
                self.verb = word.value
        elif word.kind == "verb":
            self.verb, self.gerund = word.value, word.text.lower().split()[0] in _GERUNDS
            if word.value in ("avoid", "spare"):
                self.verb, self.negated = ("go" if word.value == "avoid" else "hold"), "never"
            self.free |= word.value == "free"
        else:
            self.words.append(word)
        self.start, self.end = (word.start if self.start < 0 else self.start), word.end


def _items(text: str) -> list[Item]:
    """Items, cut at joints and at verbs."""
    items: list[Item] = []
    current, previous = Item(opens=True), None
    for word in words(text):
        joint = word.kind in ("join", "stop")
        modal = previous is not None and previous.kind == "state" and word.value != "without"
        breaks = word.kind in ("verb", "sub", "either") or (word.kind == "not" and not modal and word.text.lower() != "not")
        if current.words and (joint or breaks):
            items.append(current)
            current = Item(stop=False)
        if joint:
            link = "stop" if word.kind == "stop" else word.value
            current.link = max(current.link, link, key=_LINKS.index)
            current.stop |= word.kind == "stop"
            current.opens |= word.kind == "stop"
        else:
            current.take(word)
        previous = word
    if current.start >= 0:
        if items and not current.words and not current.verb:  # "..., at all times"
            items[-1].always |= current.always
            items[-1].at_end |= current.at_end
        else:
            items.append(current)
    return items


def _states(items: list[Item]) -> bool:
    """Whether a list that begins here says how things are: "two of the cube and the ball should be on the table"."""
    run = itertools.takewhile(lambda item: item is items[0] or not (item.verb or item.opens), items)
    return not items[0].verb and any(item.states for item in run)


def split_clauses(text: str) -> list[list[Item]]:
    """Clauses: items without a verb of their own share that of the item before, and whether it is denied or always meant."""
    items = _items(text)
    for k in range(len(items) - 1, -1, -1):  # in "a, b or c" the comma means "or"
        if items[k].link == "," and items[k].verb:
            items[k].link = "and"
        elif items[k].link == ",":
            following = items[k + 1] if k + 1 < len(items) else None
            lists = following is not None and not following.verb and not following.stop and following.link in ("and", "or")
            items[k].link = following.link if lists and following is not None else "and"
    for item, following in itertools.pairwise(reversed(items)):  # "do not hold a or b at the end" is about both
        if not (item.verb or item.states or item.opens):
            following.always |= item.always
            following.at_end |= item.at_end
    for item, following in itertools.pairwise(reversed(items)):  # "the door and the other door are open"
        shares = (
            item.mode
            and item.link in ("and", "or")
            and not (item.verb or item.opens)
            and following.verb in ("", "move", "keep", "leave", "take", "turn", *(() if item.states else ("press",)))  # "push a and b shut"
        )
        if shares and not (following.mode or following.states) and any(set(w.value.split()) & _TURNED for w in following.chunks()[0][-1:]):
            following.mode, following.waits = item.mode, True
    groups: list[list[Item]] = []
    choosing = False
    for k, item in enumerate(items):
        before = items[k - 1] if k else None
        choosing = item.either or (choosing and not item.stop)
        own = item.verb or item.opens or item.sub or not groups or (item.link in ("then", "earlier") and _states(items[k:]))
        before_verb = groups[-1][0].verb if groups else ""
        told = before_verb == "free" and any(other.states for other in groups[-1])
        if own or (item.states and (told or before_verb in ("take", "pick", "hold", "go", "open", "shut", "press", "on", "off"))):
            groups.append([])
        groups[-1].append(item)
        if before is None or item.negated or item.stop or item.sub:
            continue
        ellipsis = not item.verb and not item.states and not item.opens
        if item.link not in ("then", "earlier") and (ellipsis or (item.gerund and not item.states)):  # "be holding it" is no gerund
            item.sub = before.sub
        again = item.gerund and before.gerund and not item.states  # "without touching a or entering b"
        either = item.verb and item.link == "or" and not before.gerund and not choosing  # "never touch a or enter b"
        if before.negated and item.link in ("and", "or") and (ellipsis or again or either):
            item.negated = "never" if before.negated == "without" else before.negated
            item.always, item.at_end, item.being = before.always, before.at_end, before.being
        elif ellipsis:
            item.always, item.being = before.always, before.being
    return groups
