"""Tasks in English: instructions with many wordings, scenes in sentences, goals in short phrases.

An instruction is made from a formula (`palaestra.envs.goals`) and the tables of `wordings`; what `render` writes, `parser` reads
back. Things are only named by what fits them and nothing else; "a cube" and "any cube" mean that any will do.
"""

from collections.abc import Iterable

import numpy as np

from palaestra.envs import goals, hampers
from palaestra.envs.drawers import DRAWN
from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Rule, mechanics
from palaestra.envs.names import ROBOT, Fact
from palaestra.envs.predicates import OPEN_ENOUGH
from palaestra.envs.types import Scene, Task, leaf_entity
from palaestra.envs.words import literals, rulebook
from palaestra.envs.words import wordings as w
from palaestra.envs.words.references import OBJECTS, Things, listing, noun_phrase
from palaestra.envs.words.wordings import Taste
from palaestra.envs.words.writer import Writer, is_loose
from palaestra.sim.world import WorldSpec


def render(spec: WorldSpec, task: Task, seed: int = 0, held_out: bool = False) -> str:
    """An English instruction for the task's goal; `seed` chooses among the many.

    With `held_out`, wordings are held-out ones wherever a construction has one; else they never are.
    """
    return say(goals.formula(spec, task), Things.of(spec, task.scene), Taste(seed, held_out))


def ambiguous(spec: WorldSpec, task: Task, seed: int = 0) -> tuple[str, tuple[str, ...]] | None:
    """A plain instruction for one fact of the goal in which "the ..." fits several objects on purpose, and which ones.

    None where the goal has no fact about an object that shares a property with another one.
    """
    things, taste = Things.of(spec, task.scene), Taste(seed)
    terms = [term for stage in goals.formula(spec, task).stages for option in stage for term in option]
    facts = [term.pairs[0] for term in terms if len(term.pairs) == 1 and term.at_least == 1]
    cases = []
    for fact in facts:
        for name in set(fact[1:]) & set(things.names(*OBJECTS)):
            cases += [(fact, name, description, fits) for description, fits in things.vague(name)]
    if not cases:
        return None
    fact, name, description, fits = cases[taste.number(len(cases))]
    writer = Writer(Formula.of([fact]), things, Taste(None))
    writer.vague[name] = description
    return _sentences(writer.stages(Formula.of([fact]).stages)), fits


def plain(formula: Formula, things: Things) -> str:
    """The instruction in plain wordings."""
    return say(formula, things, Taste(None))


def say(formula: Formula, things: Things, taste: Taste) -> str:
    """An instruction for the formula: its stages, and what must always hold before or behind them.

    There are no words for predicates of one's own: a formula with some is said as facts.
    """
    if literals.has_own(formula):
        return literals.say(formula)
    return said_by(Writer(formula, things, taste))


def said_by(writer: Writer) -> str:
    """The instruction of a writer for its formula."""
    formula, taste = writer.formula, writer.taste
    body = writer.stages(formula.stages)
    before, behind, sentences = writer.rules(formula.always, loose=is_loose(body))
    address = w.ADDRESSES[1 + taste.number(len(w.ADDRESSES) - 1)] if taste.chance(0.3) else ""
    address = "please, " if writer.stepwise and address == "please " else address
    return _sentences(". ".join([address + before + body + behind, *sentences]))


def _sentences(text: str) -> str:
    return ". ".join(part[:1].upper() + part[1:] for part in text.split(". ")) + "."


def clauses(fact: Fact, pushed: bool = False) -> list[str]:
    """All wordings of a literal, the plain one first: "put the red cube on the blue table". `pushed`: what it is about is a crate."""
    predicate, subject, target = fact
    rows = w.ACTS[f"pushed {predicate}" if pushed else predicate].all
    return [row.format(x=noun_phrase(subject), y=noun_phrase(target), it="it", **{"is": "is"}) for row in rows]


# --- scenes -------------------------------------------------------------------------------------------------------


def describe_goal(spec: WorldSpec, task: Task) -> list[str]:
    """A short phrase a term: "red_cube on blue_table", "robot in kitchen"."""
    return goals.describe(goals.formula(spec, task))


def _relation(receptacle: str) -> str:
    return "in" if receptacle.endswith(("bin", "hamper", "drawer")) else "on"


def rules(spec: WorldSpec, scene: Scene, seed: int | None = None, held_out: bool = False) -> list[str]:
    """What changes what in this house, a sentence a rule, as `palaestra.envs.words.rulebook` reads; `seed` chooses among wordings."""
    return say_rules(mechanics(spec, scene).rules, Things.of(spec, scene), Taste(seed, held_out))


def say_rules(rules: Iterable[Rule], things: Things, taste: Taste) -> list[str]:
    """A sentence a rule."""
    return [rulebook.say(rule, things, taste) for rule in rules]


def _toggles_used(spec: WorldSpec, scene: Scene) -> np.ndarray:
    return np.asarray(scene.button_used)[spec.buttons - spec.toggles :]


def describe(spec: WorldSpec, scene: Scene, *, with_rules: bool = True, with_positions: bool = False) -> str:
    """The scene at the start in plain sentences: rooms, what is where, doors, and the rules unless they are to be found out.

    With positions it tells to the decimetre where all is, so that "left of" and "nearest to" can be followed by who only reads.
    """
    things = Things.of(spec, scene)
    rooms, places = tuple(things.rooms), things.places
    count = "one room" if len(rooms) == 1 else f"{len(rooms)} rooms"
    lines = [f"The house has {count}: {listing([noun_phrase(room) for room in rooms])}."]
    lines.append(f"The robot is in {noun_phrase(places[ROBOT].room)}.")
    for room in rooms:
        here = [noun_phrase(name) for name, place in places.items() if place.room == room and name != ROBOT]
        verb = "are" if len(here) > 1 else "is"
        lines.append(f"In {noun_phrase(room)} {verb} {listing(here) if here else 'nothing'}.")
    resting = {name: place.receptacle for name, place in places.items() if place.receptacle}
    for name, receptacle in resting.items():
        lines.append(f"{noun_phrase(name).capitalize()} is {_relation(receptacle)} {noun_phrase(receptacle)}.")
    held = [name for name, place in places.items() if place.held]
    lines += [f"The robot is holding {noun_phrase(name)}." for name in held]
    objects, lifted = [name for name in things.names(*OBJECTS) if name in places], len(resting) + len(held)
    if lifted < len(objects):
        rest = "The other objects are" if lifted else "All objects are" if len(objects) > 1 else "The object is"
        lines.append(f"{rest} on the floor.")
    angle = np.asarray(scene.layout.leaf_angle)
    for name, place in places.items():
        if place.between:
            state = "open" if abs(angle[things[name].index - leaf_entity(spec, 0)]) >= OPEN_ENOUGH else "shut"
            between = listing([noun_phrase(room) for room in place.between])
            lines.append(f"{noun_phrase(name).capitalize()} between {between} is {state}.")
    for kind, far, enough in (("drawer", scene.layout.drawer_out, DRAWN), ("hamper", scene.layout.lid_angle, hampers.OPEN_ENOUGH)):
        for name, now in zip(things.names(kind), np.asarray(far), strict=True):
            lines.append(f"{noun_phrase(name).capitalize()} is {'open' if now >= enough else 'shut'}.")
    for name, on in zip(things.names("toggle"), np.asarray(scene.layout.toggle_on)[_toggles_used(spec, scene)], strict=True):
        lines.append(f"{noun_phrase(name).capitalize()} is {'on' if on else 'off'}.")
    if with_positions:
        at = things.rooms | {name: place.at for name, place in places.items()}
        west, south = (min(xy[k] for xy in at.values()) for k in (0, 1))
        spots = [f"{noun_phrase(name)} ({x - west:.1f}, {y - south:.1f})" for name, (x, y) in at.items()]
        lines.append(f"Seen from above, in metres to the east and to the north, of rooms the middle: {listing(spots)}.")
    return " ".join([*lines, *(rules(spec, scene) if with_rules else [])])
