"""The wordings of instructions: a row of a table is one way to say something. `language` picks rows, `parser` reads all of them.

The first row of a table is the plain one. About a fifth of the rows are held out: sentences to train and validate on never use them,
sentences to test on use one wherever a construction has one (`language.render(..., held_out=True)`). What is held out is the second
part of each `Rows` below and nothing else: whole constructions of order ("once ...", "before that"), choice ("or alternatively"),
counting, denial and prohibition, and words for things (`NOUNS`, `SIZES`).
"""

from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Ways to say one thing."""

    usual: tuple[str, ...]
    held_out: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return self.usual + self.held_out

    def keep(self, *parts: str, without: tuple[str, ...] = ()) -> "Rows":
        """The rows that contain all of `parts` and none of `without`."""
        return Rows(*(tuple(r for r in rows if all(p in r for p in parts) and not any(w in r for w in without)) for rows in self))


class Taste:
    """Who chooses: at random by a seed, or always the plain row."""

    def __init__(self, seed: int | None, held_out: bool = False):
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.held_out = held_out

    def row(self, rows: Rows) -> str:
        """One of the rows; a held-out one where those are wanted and there is one."""
        choices = rows.held_out if self.held_out and rows.held_out else rows.usual or rows.held_out
        return choices[self.number(len(choices))]

    def number(self, n: int) -> int:
        return 0 if self.rng is None else int(self.rng.integers(n))

    def chance(self, probability: float) -> bool:
        return self.rng is not None and bool(self.rng.random() < probability)

    def shuffled(self, n: int) -> list[int]:
        return list(range(n)) if self.rng is None else [int(i) for i in self.rng.permutation(n)]


# --- clauses ------------------------------------------------------------------------------------------------------

# {x} is what is moved, opened or pressed, {y} where to, or what the robot is to be near, in or holding; {it} and {is} agree with {x}
# in number. A plate is pressed by what lies on it: "weighed down". A drawer is opened by the hand: "drawn", a swing door "pushed". A crate
# is pushed somewhere. A toggle that is pressed is "turned on".
ACTS: dict[str, Rows] = {
    "on": Rows(
        (
            "put {x} on {y}",
            "place {x} on {y}",
            "place {x} on top of {y}",
            "move {x} to {y}",
            "move {x} onto {y}",
            "bring {x} to {y}",
            "take {x} to {y}",
            "carry {x} over to {y}",
            "leave {x} on {y}",
            "make sure that {x} {is} on {y}",
            "pick up {x} and put {it} on {y}",
            "take {x} and set {it} on {y}",
        ),
        ("set {x} down on {y}", "get {x} onto {y}", "grab {x} and place {it} on {y}"),
    ),
    "inside": Rows(
        (
            "put {x} in {y}",
            "put {x} into {y}",
            "place {x} in {y}",
            "drop {x} in {y}",
            "drop {x} into {y}",
            "move {x} into {y}",
            "bring {x} to {y}",
            "take {x} to {y}",
            "make sure that {x} {is} in {y}",
            "pick up {x} and drop {it} into {y}",
            "take {x} and put {it} in {y}",
        ),
        ("place {x} inside {y}", "get {x} into {y}", "grab {x} and put {it} into {y}"),
    ),
    "near": Rows(
        (
            "go to {y}",
            "go over to {y}",
            "drive to {y}",
            "drive up to {y}",
            "move next to {y}",
            "stand next to {y}",
            "stop beside {y}",
            "end up next to {y}",
        ),
        ("head to {y}", "park by {y}"),
    ),
    "in_room": Rows(
        (
            "go into {y}",
            "go to {y}",
            "drive to {y}",
            "drive into {y}",
            "enter {y}",
            "move into {y}",
            "be in {y} at the end",
            "end up in {y}",
        ),
        ("head to {y}", "make your way to {y}"),
    ),
    "holding": Rows(
        (
            "pick up {y}",
            "grab {y}",
            "hold {y}",
            "end up holding {y}",
            "be holding {y} at the end",
            "pick up {y} and keep holding it",
        ),
        ("take hold of {y}", "get hold of {y}"),
    ),
    "open": Rows(
        ("open {x}", "get {x} open", "make sure that {x} {is} open", "{x} should be open at the end"), ("see to it that {x} {is} open",)
    ),
    "drawn": Rows(
        ("open {x}", "pull {x} open", "get {x} open", "make sure that {x} {is} open", "{x} should be open at the end"),
        ("slide {x} open", "see to it that {x} {is} open"),
    ),
    "pushed": Rows(
        ("open {x}", "push {x} open", "get {x} open", "make sure that {x} {is} open", "{x} should be open at the end"),
        ("swing {x} open", "see to it that {x} {is} open"),
    ),
    "pressed": Rows(
        ("press {x}", "push {x}", "go and press {x}", "make sure that {x} {is} pressed", "{x} should be pressed at the end"),
        ("hit {x}", "see to it that {x} {is} pressed"),
    ),
    "weighed down": Rows(
        ("weigh down {x}", "make sure that {x} {is} weighed down", "{x} should be weighed down at the end"),
        ("see to it that {x} {is} held down",),
    ),
    "pushed near": Rows(
        (
            "push {x} next to {y}",
            "push {x} over to {y}",
            "move {x} next to {y}",
            "slide {x} next to {y}",
            "make sure that {x} {is} next to {y}",
        ),
        ("shove {x} next to {y}", "shove {x} up to {y}"),
    ),
    "pushed on": Rows(
        ("push {x} onto {y}", "push {x} on {y}", "move {x} onto {y}", "slide {x} onto {y}", "make sure that {x} {is} on {y}"),
        ("shove {x} onto {y}",),
    ),
    "pushed in_room": Rows(
        ("push {x} into {y}", "push {x} to {y}", "move {x} into {y}", "slide {x} into {y}", "make sure that {x} {is} in {y}"),
        ("shove {x} into {y}",),
    ),
    "turned on": Rows(
        ("turn on {x}", "switch on {x}", "turn {x} on", "make sure that {x} {is} on", "{x} should be on at the end"),
        ("flip {x} on", "see to it that {x} {is} switched on"),
    ),
}
# How many things are somewhere: these fit counts with an upper end, and "no cube".
STATES: dict[str, Rows] = {
    "on": Rows(("make sure that {x} {is} on {y}", "{x} should be on {y} at the end"), ("see to it that {x} {is} on {y}",)),
    "inside": Rows(("make sure that {x} {is} in {y}", "{x} should be in {y} at the end"), ("see to it that {x} {is} inside {y}",)),
    "near": Rows(("make sure that you are next to {y}", "be next to {y} at the end"), ("see to it that you are beside {y}",)),
    "in_room": Rows(("make sure that you are in {y}", "be in {y} at the end"), ("see to it that you are in {y}",)),
    "holding": Rows(("make sure that you are holding {y}", "be holding {y} at the end"), ("see to it that you are holding {y}",)),
    "open": Rows(("make sure that {x} {is} open", "{x} should be open at the end"), ("see to it that {x} {is} open",)),
    "pressed": Rows(("make sure that {x} {is} pressed", "{x} should be pressed at the end"), ("see to it that {x} {is} pressed",)),
    "weighed down": Rows(
        ("make sure that {x} {is} weighed down", "{x} should be weighed down at the end"), ("see to it that {x} {is} held down",)
    ),
    "turned on": Rows(("make sure that {x} {is} on", "{x} should be on at the end"), ("see to it that {x} {is} switched on",)),
}
# What must not be so in the end. Rows with {none} say it of several things at once, as "no red cube".
DENIALS: dict[str, Rows] = {
    "on": Rows(
        (
            "make sure that {x} {is} not on {y}",
            "take {x} off {y}",
            "remove {x} from {y}",
            "{x} should not be on {y} at the end",
            "make sure that {none} is on {y}",
        ),
        ("do not leave {x} on {y}", "see to it that {none} is on {y}"),
    ),
    "inside": Rows(
        (
            "make sure that {x} {is} not in {y}",
            "take {x} out of {y}",
            "remove {x} from {y}",
            "{x} should not be in {y} at the end",
            "make sure that {none} is in {y}",
        ),
        ("do not leave {x} in {y}", "see to it that {none} is in {y}"),
    ),
    "near": Rows(
        ("the robot should not be near {y} at the end", "do not end up next to {y}", "make sure that you are not next to {y} at the end"),
        ("do not stand by {y} at the end",),
    ),
    "in_room": Rows(
        ("the robot should not be in {y} at the end", "do not end up in {y}", "make sure that you are not in {y} at the end"),
        ("do not stay in {y} at the end",),
    ),
    "holding": Rows(
        ("the robot should not be holding {y} at the end", "do not hold {y} at the end", "do not end up holding {y}"),
        ("make sure that you are not holding {y} at the end",),
    ),
    "open": Rows(
        (
            "make sure that {x} {is} not open",
            "make sure that {x} {is} shut",
            "{x} should not be open at the end",
            "{x} should be shut at the end",
            "make sure that {none} is open",
        ),
        ("do not leave {x} open", "see to it that {none} is open"),
    ),
    "drawn": Rows(
        (
            "shut {x}",
            "close {x}",
            "push {x} shut",
            "make sure that {x} {is} shut",
            "{x} should be shut at the end",
            "make sure that {none} is open",
        ),
        ("slide {x} shut", "do not leave {x} open", "see to it that {none} is open"),
    ),
    "pressed": Rows(
        ("make sure that {x} {is} not pressed", "{x} should not be pressed at the end", "make sure that {none} is pressed"),
        ("do not leave {x} pressed", "see to it that {none} is pressed"),
    ),
    "weighed down": Rows(
        ("make sure that {x} {is} not weighed down", "{x} should not be weighed down at the end", "make sure that {none} is weighed down"),
        ("do not leave {x} weighed down", "see to it that {none} is held down"),
    ),
    "turned on": Rows(
        (
            "turn off {x}",
            "switch off {x}",
            "turn {x} off",
            "make sure that {x} {is} off",
            "leave {x} off",
            "{x} should be off at the end",
            "make sure that {none} is on",
        ),
        ("flip {x} off", "do not leave {x} on", "see to it that {none} is switched on"),
    ),
}
# Where the denied things are all objects that there are.
EMPTY: dict[str, Rows] = {
    "on": Rows(("clear {y}", "make sure that nothing is on {y}", "leave {y} empty"), ("take everything off {y}",)),
    "inside": Rows(("empty {y}", "make sure that nothing is in {y}", "leave {y} empty"), ("take everything out of {y}",)),
}
# What must be so at every step,
ALWAYS_SO: dict[str, Rows] = {
    "on": Rows(
        ("keep {x} on {y} all the time", "keep {x} on {y}", "{x} must stay on {y}", "{x} must always be on {y}"),
        ("at all times, make sure that {x} {is} on {y}",),
    ),
    "inside": Rows(
        ("keep {x} in {y} all the time", "keep {x} in {y}", "{x} must stay in {y}", "{x} must always be in {y}"),
        ("at all times, make sure that {x} {is} in {y}",),
    ),
    "near": Rows(("always stay near {y}", "stay next to {y} all the time"), ("at all times, stay close to {y}",)),
    "in_room": Rows(("stay in {y} all the time", "always stay in {y}", "never leave {y}"), ("at all times, stay inside {y}",)),
    "holding": Rows(("hold {y} all the time", "always hold {y}"), ("at all times, keep hold of {y}",)),
    "open": Rows(
        ("keep {x} open all the time", "keep {x} open", "{x} must stay open", "{x} must always be open"),
        ("at all times, make sure that {x} {is} open",),
    ),
    "pressed": Rows(
        ("keep {x} pressed all the time", "keep {x} pressed", "{x} must stay pressed", "{x} must always be pressed"),
        ("at all times, make sure that {x} {is} pressed",),
    ),
    "weighed down": Rows(
        ("keep {x} weighed down all the time", "keep {x} weighed down", "{x} must stay weighed down", "{x} must always be weighed down"),
        ("at all times, make sure that {x} {is} held down",),
    ),
    "turned on": Rows(
        ("keep {x} on all the time", "keep {x} on", "{x} must stay on", "{x} must always be on"),
        ("at all times, make sure that {x} {is} switched on",),
    ),
}
# and what must never be.
NEVER: dict[str, Rows] = {
    "on": Rows(
        ("never put {x} on {y}", "do not put {x} on {y}", "keep {x} off {y}", "{x} must never be on {y}"), ("avoid putting {x} on {y}",)
    ),
    "inside": Rows(
        ("never put {x} in {y}", "do not put {x} in {y}", "keep {x} out of {y}", "{x} must never be in {y}"), ("avoid putting {x} in {y}",)
    ),
    "near": Rows(("never go near {y}", "do not go near {y}", "stay away from {y}"), ("keep clear of {y}",)),
    "in_room": Rows(("never enter {y}", "do not go into {y}", "do not enter {y}", "stay out of {y}"), ("avoid {y}",)),
    "holding": Rows(("never pick up {y}", "do not pick up {y}", "do not touch {y}"), ("avoid picking up {y}", "keep your hands off {y}")),
    "open": Rows(("never open {x}", "do not open {x}", "keep {x} shut", "{x} must never be open"), ("avoid opening {x}",)),
    "pressed": Rows(("never press {x}", "do not press {x}", "do not push {x}", "{x} must never be pressed"), ("avoid pressing {x}",)),
    "weighed down": Rows(
        ("never weigh down {x}", "do not weigh down {x}", "{x} must never be weighed down"),
        ("avoid weighing down {x}",),
    ),
    "turned on": Rows(
        ("never turn on {x}", "do not turn on {x}", "do not switch on {x}", "{x} must never be on"), ("avoid turning on {x}",)
    ),
}
THROUGHOUT = Rows(("throughout, ",), ("at all times, ",))  # before one of STATES
# The same behind or before another clause.
WITHOUT: dict[str, Rows] = {
    "on": Rows(("without putting {x} on {y}", "without ever putting {x} on {y}")),
    "inside": Rows(("without putting {x} in {y}", "without ever putting {x} in {y}")),
    "near": Rows(("without going near {y}", "without ever going near {y}"), ("without coming close to {y}",)),
    "in_room": Rows(("without entering {y}", "without ever entering {y}", "without going into {y}"), ("without setting foot in {y}",)),
    "holding": Rows(("without picking up {y}", "without ever picking up {y}", "without touching {y}"), ("without lifting {y}",)),
    "open": Rows(("without opening {x}", "without ever opening {x}")),
    "pressed": Rows(("without pressing {x}", "without ever pressing {x}", "without pushing {x}"), ("without hitting {x}",)),
    "weighed down": Rows(("without weighing down {x}", "without ever weighing down {x}")),
    "turned on": Rows(("without turning on {x}", "without ever turning on {x}"), ("without switching on {x}",)),
}
# Acts and states as parts of other sentences: "after putting the red cube on the blue table, ...".
DOING: dict[str, Rows] = {
    "on": Rows(("putting {x} on {y}", "placing {x} on {y}", "moving {x} to {y}")),
    "inside": Rows(("putting {x} in {y}", "dropping {x} into {y}", "moving {x} into {y}")),
    "near": Rows(("going to {y}", "driving to {y}", "stopping next to {y}")),
    "in_room": Rows(("going to {y}", "entering {y}", "driving into {y}")),
    "holding": Rows(("taking hold of {y}", "holding {y}")),
    "open": Rows(("opening {x}",)),
    "drawn": Rows(("opening {x}", "pulling {x} open")),
    "pushed": Rows(("opening {x}", "pushing {x} open")),
    "pressed": Rows(("pressing {x}", "pushing {x}")),
    "weighed down": Rows(("weighing down {x}",)),
    "turned on": Rows(("turning on {x}", "switching on {x}")),
}
BEING: dict[str, Rows] = {
    "on": Rows(("{x} {is} on {y}",)),
    "inside": Rows(("{x} {is} in {y}",)),
    "near": Rows(("you are next to {y}", "the robot is next to {y}")),
    "in_room": Rows(("you are in {y}", "the robot is in {y}")),
    "holding": Rows(("you are holding {y}", "the robot is holding {y}")),
    "open": Rows(("{x} {is} open",)),
    "pressed": Rows(("{x} {is} pressed",)),
    "weighed down": Rows(("{x} {is} weighed down",)),
    "turned on": Rows(("{x} {is} on", "{x} {is} switched on")),
}
_PUSHED = {  # how it is said that a crate is there, is pushed there, and away from there
    "pushed near": ("next to", "beside", "away from"),
    "pushed on": ("on", "on top of", "off"),
    "pushed in_room": ("in", "within", "out of"),
}
_ONTO = {"next to": "next to", "on": "onto", "in": "into"}
for _key, (_at, _there, _off) in _PUSHED.items():
    _to = _ONTO[_at]
    STATES[_key] = Rows(
        (f"make sure that {{x}} {{is}} {_at} {{y}}", f"{{x}} should be {_at} {{y}} at the end"),
        (f"see to it that {{x}} {{is}} {_there} {{y}}",),
    )
    DENIALS[_key] = Rows(
        (
            f"make sure that {{x}} {{is}} not {_at} {{y}}",
            f"push {{x}} {_off} {{y}}",
            f"{{x}} should not be {_at} {{y}} at the end",
            f"make sure that {{none}} is {_at} {{y}}",
        ),
        (f"do not leave {{x}} {_at} {{y}}", f"see to it that {{none}} is {_there} {{y}}"),
    )
    ALWAYS_SO[_key] = Rows(
        (
            f"keep {{x}} {_at} {{y}} all the time",
            f"keep {{x}} {_at} {{y}}",
            f"{{x}} must stay {_at} {{y}}",
            f"{{x}} must always be {_at} {{y}}",
        ),
        (f"at all times, make sure that {{x}} {{is}} {_at} {{y}}",),
    )
    NEVER[_key] = Rows(
        (f"never push {{x}} {_to} {{y}}", f"do not push {{x}} {_to} {{y}}", f"{{x}} must never be {_at} {{y}}"),
        (f"avoid pushing {{x}} {_to} {{y}}",),
    )
    WITHOUT[_key] = Rows((f"without pushing {{x}} {_to} {{y}}", f"without ever pushing {{x}} {_to} {{y}}"))
    DOING[_key] = Rows((f"pushing {{x}} {_to} {{y}}", f"moving {{x}} {_to} {{y}}"))
    BEING[_key] = Rows((f"{{x}} {{is}} {_at} {{y}}",))
for _table in (STATES, ALWAYS_SO, NEVER, WITHOUT, BEING):  # of drawers and swing doors the same is said as of doors
    _table["drawn"] = _table["pushed"] = _table["open"]
DENIALS["pushed"] = DENIALS["open"]
# By convention what was put down stays where it is; this says that it need not.
FREE = Rows(("no matter where {x} {is} by then", "{x} may be anywhere by then", "{x} need not stay there"), ("wherever {x} {is} by then",))
# Before an order of which each part is asked for alone: what was put down may be moved again, and need not stay.
STEPWISE = Rows(("step by step: ", "one after the other: ", "one step after another: "), ("one thing at a time: ",))

# --- sentences ----------------------------------------------------------------------------------------------------


class Join(NamedTuple):
    """How clauses are joined: what comes first, between two, and between more, before the last one and before the others."""

    opening: str
    pair: str
    between: str
    last: str


JOINS = (  # in any order
    Join("", " and ", ", ", " and "),
    Join("", ", and ", ", ", ", and "),
    Join("", ". ", ". ", ". "),
    Join("", ". Also, ", ". ", ". Also, "),
    Join("", "; also, ", "; ", "; also, "),
)
HELD_OUT_JOINS = (Join("", ". In addition, ", ". ", ". In addition, "),)
ORDERS = (  # one after the other
    Join("first ", ", then ", ", then ", ", and finally "),
    Join("", ", then ", ", then ", ", and then "),
    Join("", " and then ", ", then ", ", and finally "),
    Join("", ". Then ", ". Then ", ". Finally, "),
    Join("", ". After that, ", ". Next, ", ". After that, "),
    Join("first ", ". Then ", ". Then ", ". After that, "),
)
HELD_OUT_ORDERS = (
    Join("", ". Afterwards, ", ". Afterwards, ", ". Lastly, "),
    Join("", ", and after that ", ", and after that ", ", and lastly "),
)
# Two stages of a clause each: {a} before {b}; {doing_a} is "putting ...", {being_a} is "... is on ...".
PAIRS = Rows(
    ("after {doing_a}, {b}", "before {doing_b}, {a}", "{a} before {doing_b}"),
    ("{b} after {doing_a}", "{b}. Before that, {a}", "once {being_a}, {b}"),
)
# The options of a stage: what opens them, and what comes between. Only options of one clause each go without "either".
CHOICES = (("either ", " or "), ("either ", ", or "))
HELD_OUT_CHOICES = (("either ", ", or alternatively "),)
SHORT_CHOICES = (*CHOICES, ("", " or "), ("", ", or else "))
ADDRESSES = ("", "please ", "robot, ")

# --- things -------------------------------------------------------------------------------------------------------

EVERYTHING = "cube ball table bin plate door button drawer shelf hamper swing crate toggle"  # but rooms
NOUNS: dict[str, Rows] = {
    "cube": Rows(("cube",), ("block",)),
    "ball": Rows(("ball",), ("sphere",)),
    "table": Rows(("table",), ("desk",)),
    "shelf": Rows(("shelf",), ("ledge",)),
    "bin": Rows(("bin",), ("container",)),
    "hamper": Rows(("hamper",), ("lidded bin",)),
    "drawer": Rows(("drawer",), ("chest",)),
    "plate": Rows(("plate", "pressure plate"), ("pad",)),
    "door": Rows(("door",)),
    "swing": Rows(("swing door",), ("saloon door",)),
    "button": Rows(("button",), ("switch",)),
    "toggle": Rows(("toggle",), ("toggle switch",)),
    "room": Rows(("room",)),
    "crate": Rows(("crate",), ("heavy box",)),
    "cube ball": Rows(("object",)),
    EVERYTHING: Rows(("thing",), ("item",)),
}
MORE_KINDS = {"door": ("swing",)}  # that a word for a kind means as well
PLURALS = {"switch": "switches", "toggle switch": "toggle switches", "shelf": "shelves"}  # that do not end in a mere s
# Seen from above, north up.
RELATIONS = {
    "north": Rows(("north of",), ("to the north of",)),
    "south": Rows(("south of",), ("to the south of",)),
    "east": Rows(("right of", "to the right of", "east of"), ("to the east of",)),
    "west": Rows(("left of", "to the left of", "west of"), ("to the west of",)),
    "nearest": Rows(("nearest to", "closest to")),
}
SIZES = {"small": Rows(("small",), ("little",)), "large": Rows(("large",), ("big",))}
# Of a described group ({s} cube, {p} cubes, {n} either as the number {k} is), and of things that are listed: {list}.
ALL = Rows(("all {p}", "all the {p}", "every {s}"), ("each {s}", "each of the {p}"))
ANY = Rows(("any {s}", "a {s}", "one of the {p}"), ("some {s}", "any of the {p}"))
NONE = Rows(("no {s}", "none of the {p}"), ("not one of the {p}",))
EXACTLY = Rows(("exactly {k} {n}", "exactly {k} of the {p}"), ("precisely {k} {n}",))
AT_LEAST = Rows(("at least {k} {n}", "at least {k} of the {p}", "{k} {n}"), ("no fewer than {k} {n}",))
AT_MOST = Rows(("at most {k} {n}", "no more than {k} {n}", "at most {k} of the {p}"), ("not more than {k} {n}",))
FROM_TO = Rows(("at least {j} but at most {k} {n}",), ("no fewer than {j} but no more than {k} {n}",))
ALL_OF = Rows(("all of {list}",), ("each of {list}",))
ANY_OF = Rows(("{or_list}", "one of {list}"), ("any of {list}",))
NONE_OF = Rows(("none of {list}",), ("not one of {list}",))
EXACTLY_OF = Rows(("exactly {k} of {list}",), ("precisely {k} of {list}",))
AT_LEAST_OF = Rows(("at least {k} of {list}", "{k} of {list}"), ("no fewer than {k} of {list}",))
AT_MOST_OF = Rows(("at most {k} of {list}", "no more than {k} of {list}"), ("not more than {k} of {list}",))
FROM_TO_OF = Rows(("at least {j} but at most {k} of {list}",), ("no fewer than {j} but no more than {k} of {list}",))
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
