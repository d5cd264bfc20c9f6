"""More ways to say things than the tasks' own grammar has, for the reader to learn from: words, fillers, and orders of clauses.

None of the grammar's held-out wordings is among them, neither whole constructions nor words for things: what tests say, no training
sentence says. What tests mean, the lexicon may tell: it lists words of one sense, and "beforehand", which is here, is to it what
"before that" is, which is not.
"""

import re

import numpy as np

from palaestra.envs.goals import Term
from palaestra.envs.words import lexicon
from palaestra.envs.words import wordings as w
from palaestra.envs.words.writer import Writer

# A phrase of the grammar, and what people say instead.
SWAPS: dict[str, tuple[str, ...]] = {
    "put": ("set", "lay", "stick", "pop", "deposit", "chuck", "throw", "position", "dump", "stash", "leave", "toss", "stow", "plop"),
    "place": ("set", "lay", "rest", "arrange", "stick", "position", "deposit"),
    "drop": ("toss", "throw", "dump", "chuck", "release", "let go of"),
    "move": ("transfer", "relocate", "shift", "haul", "transport", "deliver", "lug"),
    "bring": ("deliver", "carry", "convey", "fetch", "ferry"),
    "take": ("carry", "transport", "haul", "deliver"),
    "pick up": ("lift", "grasp", "fetch", "seize", "snatch", "collect", "retrieve", "pick", "get"),
    "grab": ("lift", "grasp", "snatch", "get", "take"),
    "hold": ("carry", "have", "clutch"),
    "make sure that": ("ensure that", "make certain that", "check that", "i need", "i want"),
    "go to": ("walk to", "travel to", "proceed to", "run to", "come to", "roll over to", "go visit", "visit", "approach", "return to"),
    "go over to": ("walk over to", "come over to", "wander over to", "run over to"),
    "drive to": ("travel to", "roll to", "navigate to", "cruise to", "go to"),
    "drive up to": ("roll up to", "approach", "come up to"),
    "stand next to": ("wait next to", "wait by", "wait beside", "stay by", "be by", "stand beside", "stand near"),
    "stop beside": ("stop by", "halt beside", "wait by", "pause next to"),
    "go into": ("walk into", "step into", "move into", "come into", "be in"),
    "enter": ("visit", "step into", "come into"),
    "press": ("tap", "click", "poke", "push down"),
    "weigh down": ("put something on", "load"),
    "push": ("shift", "nudge", "press"),
    "slide": ("drag", "push"),
    "clear": ("tidy up", "clean off", "empty"),
    "remove": ("take away", "get rid of", "clear away"),
    "never": ("don't ever", "do not ever", "under no circumstances"),
    "do not": ("don't", "never", "you must not", "please don't"),
    "without": ("while not", "but without"),
    "on top of": ("upon", "atop", "onto"),
    "next to": ("beside", "close to", "near", "by", "alongside", "right by"),
    "into": ("in", "inside of"),
    "cube": ("box-shaped thing", "brick", "dice", "die"),
    "ball": ("orb", "marble", "round thing", "globe"),
    "table": ("counter", "workbench", "tabletop"),
    "bin": ("basket", "bucket", "tub", "crib", "trash can"),
    "drawer": ("cabinet drawer", "dresser"),
    "shelf": ("shelving", "board"),
    "hamper": ("laundry basket",),
    "crate": ("packing case", "trunk"),
    "room": ("chamber", "area"),
    "small": ("tiny", "smaller", "mini", "wee"),
    "large": ("huge", "larger", "bigger", "giant"),
    "all": ("every one of", "the whole lot of"),
    "all the": ("every one of the", "the whole lot of the"),
    "exactly": ("just", "only"),
    "at least": ("a minimum of",),
    "at most": ("a maximum of",),
    "and": ("plus", "as well as", "&"),
    "also": ("besides", "on top of that", "too", "likewise"),
    "then": ("next", "afterward", "subsequently", "following that", "when that is done"),
    "finally": ("at last", "to finish", "in the end", "to top it off"),
    "first": ("to begin with", "start with this", "for starters"),
    "right of": ("to the right of", "on the right side of", "on the east of"),
    "left of": ("to the left of", "on the left side of", "on the west of"),
    "closest to": ("nearest", "that is nearest to", "next to", "beside"),
    "from": ("that is in", "in", "which is in"),
}
OPENINGS = (
    "hey, ", "hi robot, ", "could you ", "would you ", "can you please ", "i'd like you to ", "i need you to ", "please go and ",
    "your job is to ", "now ", "ok, ", "okay, ", "let's ", "go ahead and ", "the goal: ", "kindly ", "i want you to ", "so, ",
    "if you don't mind, ", "when you have time, ", "listen: ", "would you mind to ", "we should ", "help me: ", "quickly ",
)  # fmt: skip
CLOSINGS = (", please", ", thanks", ", thank you", ", will you", ", ok", " for me", " now", " right away", ", would you", " if you can")
# {a} before {b}, as in the grammar's own pairs: {doing_a} is "putting ...", {being_a} is "... is on ...".
PAIRS = (
    "{b}, but only after {doing_a}", "{b}. Beforehand, {a}", "{b}, but first {a}", "as soon as {being_a}, {b}", "when {being_a}, {b}",
    "{b} as soon as {being_a}", "{b} when {being_a}", "{a}, and only then {b}", "start by {doing_a}, then {b}", "{a} prior to {doing_b}",
    "{b}. Before this, {a}", "only {b} when {being_a}", "{a}, and when that is done {b}", "{b}, having {a} first",
    "begin with {doing_a}, and {b}",
)  # fmt: skip
_PATTERN = re.compile(rf"\b({'|'.join(sorted(map(re.escape, SWAPS), key=len, reverse=True))})(?=s?\b)", re.IGNORECASE)
_RATE = 0.2  # of phrases that are said in other words, where any are
_PLAIN = 0.35  # of sentences that stay as the grammar has them


def _unlisted() -> tuple[str, ...]:
    said = [text for texts in (*SWAPS.values(), OPENINGS, CLOSINGS, PAIRS) for text in texts]
    found = {word.text.lower() for text in said for word in lexicon.words(text) if word.kind in ("unknown", "skip")}
    kept = {word.text.lower() for text in ("first", "just", "now", "please", "but", "over", "that") for word in lexicon.words(text)}
    return tuple(sorted({word for word in found | kept if word.isascii() and not set("{}") & set(word)}))


UNLISTED = _unlisted()  # words that no sense of the lexicon tells apart, and training sentences have


class Storyteller(Writer):
    """A writer that also says in other orders what comes after what, and remembers in which order it spoke of the terms."""

    def __init__(self, *args: object, **options: object):
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.spoken: list[Term] = []

    def ordered(self, option: tuple[Term, ...]) -> list[Term]:
        found = super().ordered(option)
        self.spoken += found
        return found

    def pair(self, a: Term, b: Term) -> str:
        self.spoken += [a, b]
        return self.paired(PAIRS[self.taste.number(len(PAIRS))] if self.taste.chance(0.5) else self.taste.row(w.PAIRS), a, b)


def retold(text: str, rng: np.random.Generator) -> str:
    """The instruction in other words, at times with what people say around it."""
    if rng.random() < _PLAIN:
        return text
    body = _PATTERN.sub(lambda m: _swapped(m.group(), rng), text)
    if rng.random() < 0.25:
        opening = OPENINGS[rng.integers(len(OPENINGS))]
        body = opening[:1].upper() + opening[1:] + body[:1].lower() + body[1:]
    if rng.random() < 0.15:
        body = body.rstrip(".") + CLOSINGS[rng.integers(len(CLOSINGS))] + "."
    if rng.random() < 0.1:
        body = re.sub(r"\bthe ", "", body)
    if rng.random() < 0.1:
        body = body.lower().rstrip(".")
    return body


def _swapped(phrase: str, rng: np.random.Generator) -> str:
    if rng.random() >= _RATE:
        return phrase
    others = SWAPS[phrase.lower()]
    return others[rng.integers(len(others))]
