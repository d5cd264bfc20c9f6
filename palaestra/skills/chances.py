"""How likely a call is to succeed, by the cards: P(success | the call, the present state, what was called before)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from palaestra.skills.library import SKILLS
from palaestra.skills.shipped import card, handover_card

WORTH = 1.0  # calls: so much the cards count against what became of the very same call in this episode


class Count(NamedTuple):
    """Of n starts some were won."""

    won: float
    n: int

    @classmethod
    def of(cls, rate: float, n: int) -> "Count":
        return cls(round(rate * n), n)


NEVER = Count(0, 0)


def log_odds(p: float) -> float:
    return math.log(p / (1 - p))


def evidence(groups: Mapping[str, Count], overall: float) -> dict[str, float]:
    """What it adds to the log-odds of success to know that a start is in this group (Good's weight of evidence), in nats.

    The group's rate p_g is shrunk towards the overall rate p by a Beta prior that is worth k starts: (won + k p) / (n + k). How much, the
    groups say themselves: if they differ no more than chance makes equal ones differ, k is infinite and nothing is added. With
    X = Σ n_g (p_g - p)² / (p (1 - p)) over B groups of N starts in all, E[X] = B + ρ (N - B) where the groups' own rates are drawn from a
    Beta distribution with mean p and k = 1/ρ - 1 (the moments of the beta-binomial); k is at least 1.
    """
    spread = sum(n * (won / n - overall) ** 2 for won, n in groups.values()) / (overall * (1 - overall))
    starts, count = sum(n for _, n in groups.values()), len(groups)
    correlation = min((spread - count) / (starts - count), 0.5) if starts > count else 0.0
    if correlation <= 0:
        return dict.fromkeys(groups, 0.0)
    k = 1 / correlation - 1
    return {name: log_odds((won + k * overall) / (n + k)) - log_odds(overall) for name, (won, n) in groups.items()}


@dataclass(frozen=True)
class Known:
    """What is known of one skill."""

    rate: float = 0.5  # over all its starts; nobody knows it of a skill that was never measured
    evidence: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # nats, by context and group

    @classmethod
    def of(cls, about: Mapping[str, Any], after: Mapping[str, Count]) -> "Known":
        """By a card, and the counts by what was called before."""
        if not about:
            return cls()
        won, n = Count.of(about["value"], about["n"])
        rate = (won + 0.5) / (n + 1)  # Jeffreys' prior: never 0 or 1
        groups = {what: {name: Count.of(g[0], g[3]) for name, g in some.items()} for what, some in about.get("context", {}).items()}
        return cls(rate, {what: evidence(some, rate) for what, some in (groups | {"after": after}).items()})


class Chances:
    """Chances of success by cards, as they are read from their files.

    Naive Bayes: contexts are taken as independent of each other among the starts that succeed, and among those that fail. Then the
    log-odds of success are those of the overall rate and, for each context that is known, what its group adds (`evidence`); a context that
    is not known, or a group that the card has not met, adds nothing. What was called before, where it succeeded, is one more such context,
    by the card of hand-overs. What two contexts say in common counts twice by this; cards have success by one context at a time, so they
    know no better.

    What became of the very same call in this episode counts as well, as there may be something about it that no context names: the cards'
    chance p is taken as the mean of a Beta distribution that is worth k = `WORTH` calls, (p k + won) / (k + n).
    """

    def __init__(self, cards: Mapping[str, Mapping[str, Any]], handover: Mapping[str, Any] | None = None):
        handover = handover or {}
        rates = {**handover.get("pairs", {}), **handover.get("rarer", {})}
        pairs = {tuple(pair.split(" -> ")): Count.of(rate["value"], rate["n"]) for pair, rate in rates.items()}
        measured = handover.get("weights", {})
        self._known = {
            name: Known.of(about, {a: count for (a, b), count in pairs.items() if b == name and measured.get(b) == about.get("weights")})
            for name, about in cards.items()
        }

    def of(self, skill: str, labels: Mapping[str, str] | None = None, after: str = "", here: Count = NEVER) -> float:
        """P(success) of a call.

        `labels`: its groups, by context (`contexts.labels`). `after`: the skill that has just succeeded; empty where none has, or nobody
        knows. `here`: what became of the very same call before.
        """
        known = self._known.get(skill, Known())
        groups = {**(labels or {}), "after": after}
        added = sum(known.evidence.get(what, {}).get(name, 0.0) for what, name in groups.items())
        p = 1 / (1 + math.exp(-log_odds(known.rate) - added))
        return (p * WORTH + here.won) / (WORTH + here.n)


def shipped_chances() -> Chances:
    """By the cards that come with the package. Raises CardError where one is damaged."""
    return Chances({name: card(skill) for name, skill in SKILLS.items()}, handover_card())
