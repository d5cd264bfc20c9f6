"""The words of instructions: a lexicon tells their kinds; text becomes words, and words become items and clauses.

"Put the red cube on the blue table, then go into the kitchen" is two clauses of an item each; "put the red cube and the green ball
in the blue bin" is one clause of two items, which share a verb. What they ask for is found by `palaestra.envs.parser`.
"""

import re
from dataclasses import dataclass, field

from palaestra.envs.types import COLOURS, ROOMS

_LEXICON: dict[str, dict[str, str]] = {  # kind of word -> its meaning -> how it is said
    "verb": {
        "put": "put, place, set, lay, bring, carry, drop, leave, deliver, transfer, transport, stow, toss",
        "move": "move, return, make sure, make certain, ensure, see to it",  # an object, or oneself
        "take": "take, get, fetch",  # to somewhere, or into the hand
        "pick": "pick up, pick, grab, grasp, lift",  # in order to put it somewhere, or to keep it
        "hold": "hold, holding, carrying, keep holding, take hold of, get hold of, keep hold of",
        "go": "go, drive, head, travel, navigate, roll, walk, come, stand, stay, park, wait, make your way, position yourself, "
        "enter, approach, reach, visit, stop at, stop by, stop near, stop next to, stop beside",
    },
    "state": {"be": "be, is, are, to be, should, should be, must, must be, needs to be, has to be, end up, ends up, goes, belongs"},
    "preposition": {
        "on": "on, on top of, upon, atop",
        "onto": "onto, on to",
        "in": "in, inside, inside of, within",
        "into": "into, in to",
        "to": "to, at, for",
        "from": "from, off, off of, out of",
        "near": "near, near to, next to, beside, by, close to, alongside, in front of",
    },
    "join": {"and": "and, then, and then, after that, afterwards, next, finally, lastly, first, also, as well as, while"},
    "skip": {
        "": "please, kindly, hey, your task is to, could you, can you, would you, will you, i want, i want you to, i need, "
        "i need you to, i would like, i would like you to, i'd like, i'd like you to, go and, now, just, carefully, gently, over, up, "
        "down, back, at the end, in the end"
    },
    "robot": {"robot": "robot, the robot, you, yourself"},
    "article": {"the": "the, a, an, this, that, these, those, of"},
    "all": {"all": "all, every, each, both"},
    "pronoun": {"it": "it", "them": "them", "there": "there"},
    "size": {"small": "small, little", "large": "large, big"},
    "colour": {colour: colour for colour in COLOURS},
    "room": {room: room for room in ROOMS},
    "noun": {
        "cube": "cube, block",
        "ball": "ball",
        "table": "table",
        "bin": "bin",
        "cube bin": "box",
        "cube ball": "object",
        "cube ball table bin": "thing, item, one",
    },
    "plural": {
        "cube": "cubes, blocks",
        "ball": "balls",
        "table": "tables",
        "bin": "bins",
        "cube bin": "boxes",
        "cube ball": "objects, everything",
        "cube ball table bin": "things, items, ones",
    },
}
_PHRASES = {phrase: (kind, value) for kind, values in _LEXICON.items() for value, row in values.items() for phrase in row.split(", ")}
_PHRASES |= {",": ("join", "and"), **{mark: ("stop", mark) for mark in ".;:!?"}}
_LONGEST_FIRST = "|".join(
    re.escape(phrase).replace(r"\ ", r"\s+") for phrase in sorted(_PHRASES, key=len, reverse=True) if phrase[0].isalpha()
)
_WORD = re.compile(rf"(?:{_LONGEST_FIRST})(?![\w'])|[,.;:!?]|[^\s,.;:!?]+", re.IGNORECASE)


@dataclass(frozen=True)
class Word:
    """A word or phrase of the lexicon, or one that is not in it."""

    text: str
    kind: str  # as in the lexicon, or: stop, unknown
    value: str
    start: int  # where it stands in the instruction
    end: int


def _words(text: str) -> list[Word]:
    """The words and phrases of `text`; underscores, hyphens and quotes count as blanks."""
    blank = re.sub(r"[_\"“”()-]", " ", text).replace("’", "'")
    found = [(m.group(), " ".join(m.group().lower().split()), m.start(), m.end()) for m in _WORD.finditer(blank)]
    return [Word(shown, *_PHRASES.get(phrase, ("unknown", phrase)), start, end) for shown, phrase, start, end in found]


Chunk = tuple[str, list[Word]]  # a preposition and the noun phrase after it


@dataclass
class Item:
    """What stands between two joints: a verb, perhaps, and what follows it."""

    verb: str = ""
    opens: bool = False  # begins a clause even without a verb: after a full stop, with "be", with "the robot"
    states: bool = False  # says how things are: "the red cube should be on the blue table"
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


def split_clauses(text: str) -> list[list[Item]]:
    """Items, cut at joints and at verbs; those without a verb of their own share that of the item before."""
    items, current = [], Item(opens=True)
    for word in _words(text):
        joint = word.kind in ("join", "stop")
        if current.words and (joint or word.kind == "verb"):
            items.append(current)
            current = Item()
        silent = word.kind in ("skip", "robot")
        current.opens |= word.kind == "stop" or (word.kind in ("state", "robot") and not current.words)
        current.states |= word.kind == "state"
        if joint or (silent and current.start < 0):
            continue
        current.start, current.end = (word.start if current.start < 0 else current.start), word.end
        if word.kind == "verb":
            current.verb = word.value
        elif word.kind != "state" and not silent:
            current.words.append(word)
    if current.start >= 0:
        items.append(current)
    groups: list[list[Item]] = []
    for item in items:
        if item.verb or item.opens or not groups or (item.states and groups[-1][0].verb in ("take", "pick", "hold", "go")):
            groups.append([])
        groups[-1].append(item)
    return groups
