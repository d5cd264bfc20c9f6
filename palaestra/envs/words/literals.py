"""Goals as facts, the way plans and logs write them: "on(red_cube, blue_table), not open(green_door)". They can say what English here
has no words for: predicates of one's own."""

import itertools
import re

from palaestra.envs import goals, vocabulary
from palaestra.envs.goals import Formula, literal
from palaestra.envs.names import Fact
from palaestra.envs.types import UNARY
from palaestra.envs.words.references import Things
from palaestra.sim.errors import PalaestraError, UnknownNameError

_FACT = r"\s*(not\s)?\s*(\w+)\s*\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)\s*"
_FACTS = re.compile(f"{_FACT}(?:,{_FACT})*")


def are_facts(text: str) -> bool:
    """Whether a text is a list of facts; what they are about is not looked at."""
    return bool(_FACTS.fullmatch(text))


def fact_text(fact: Fact) -> str:
    """A fact as people, plans and logs write it: `on(red_cube, blue_table)`, `open(red_door)`."""
    return f"{fact[0]}({fact[1]})" if fact[0] in UNARY else f"{fact[0]}({fact[1]}, {fact[2]})"


def read(text: str, things: Things) -> Formula:
    """The goal that all of these facts hold at the same time. Raises PalaestraError where one is about nothing that there is."""
    names = [thing.name for thing in things.entities]
    terms = []
    for denied, predicate, *words in re.findall(_FACT, text):
        vocabulary.number(predicate)
        given = [word for word in words if word]
        if len(given) != (1 if predicate in UNARY else 2):
            shown = f"{predicate}({', '.join(given)})"
            raise PalaestraError(f"goal: got {shown}, expected {fact_text((predicate, 'x', 'y'))}, with names of things for x and y")
        for word in given:
            if word not in names:
                raise UnknownNameError("thing", word, names)
        terms.append(literal((predicate, given[0], given[-1]), not denied))
    return Formula(((tuple(terms),),))


def say(formula: Formula) -> str:
    """The facts of a formula, as `read` reads them; where it says more than facts, its terms in short."""
    facts = formula.literals
    return ", ".join(map(fact_text, facts)) if facts else "; ".join(goals.describe(formula))


def has_own(formula: Formula) -> bool:
    """Whether it speaks of predicates of one's own."""
    terms = itertools.chain(*itertools.chain(*formula.stages), formula.always)
    return any(term.predicate in vocabulary.OWN for term in terms)
