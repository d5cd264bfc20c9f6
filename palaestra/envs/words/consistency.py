"""Whether a formula can be a goal: what of it contradicts itself, in words."""

import contextlib
import itertools

from palaestra.envs import goals
from palaestra.envs.goals import PLACING, Formula, fact_phrase
from palaestra.envs.names import Fact
from palaestra.envs.types import MAX_TERMS
from palaestra.envs.words.references import FIXED, Things
from palaestra.sim.errors import PalaestraError


def contradiction(said: Formula, things: Things) -> str:
    """Why the formula cannot be a goal, or nothing."""
    if (count := len(goals.rows(said))) > MAX_TERMS:
        return f"{count} terms, expected at most {MAX_TERMS}"
    for option in (*itertools.chain(*said.stages), ()):  # without any: what must always hold
        terms = tuple(dict.fromkeys(option + said.always))
        facts = [term.pairs[0] for term in terms if len(term.pairs) == 1 and term.at_least == 1]
        if reason := next((why for a, b in itertools.combinations(facts, 2) if (why := _clash(a, b, things))), ""):
            return reason
        with contextlib.suppress(PalaestraError):  # too many ways to look at
            if not any(goals.possible(yes) for yes, _ in goals.alternatives(terms)):
                return f"{' and '.join(map(goals.term_phrase, terms))} cannot all hold"
    return ""


def _clash(a: Fact, b: Fact, things: Things) -> str:
    """Why two facts cannot hold at once, or nothing."""
    placed = [fact for fact in (a, b) if fact[0] in PLACING]
    held = [fact[2] for fact in (a, b) if fact[0] == "holding"]
    rooms = {_room(fact, things) for fact in (a, b)} - {""}
    mover = a[1] if a[1] == b[1] else ""
    why = ""
    if len(placed) == 2 and a[1] == b[1]:
        why = "an object is in one place"
    elif len(held) == 2:
        why = "the robot has one gripper"
    elif held and placed and held[0] == placed[0][1]:
        why = "a held object has no other place"
    elif len(rooms) == 2 and mover:
        why = f"the {mover.replace('_', ' ')} is in one room, not in {' and '.join(sorted(rooms))}"
    return f"{fact_phrase(a)} and {fact_phrase(b)} cannot both hold: {why}" if why else ""


def _room(fact: Fact, things: Things) -> str:
    """The room in which the robot, or a crate, has to be; objects may be anywhere by then."""
    fixed = (fact[0] == "near" or things[fact[1]].kind == "crate") and things[fact[2]].kind in FIXED
    return fact[2] if fact[0] == "in_room" else things.places[fact[2]].room if fixed else ""
