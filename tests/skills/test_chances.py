"""Chances by hand-made cards, against what is worked out by hand; and cards that are damaged."""

import json
import math

import pytest

from palaestra.envs.goals import Formula
from palaestra.skills import shipped
from palaestra.skills.chances import Chances, Count, evidence
from palaestra.skills.executor import CallRecord, Episode
from palaestra.skills.library import SKILLS
from palaestra.skills.shipped import CardError, card, handover_card
from palaestra.skills.summary import of_chances

PICK = {
    "value": 0.9,
    "n": 2000,
    "context": {
        "object": {"cube": [0.95, 0, 0, 1000], "ball": [0.85, 0, 0, 1000]},
        "it_lies_on": {"the floor": [0.9, 0, 0, 1000], "a table": [0.9, 0, 0, 1000]},
    },
    "weights": "abc",
}


def odds(p):
    return p / (1 - p)


def test_groups_that_differ_by_chance_alone_say_nothing():
    """Of 0.5 two groups of 100 starts: 47 and 53 are half a standard deviation away each, X = 0.72 < 2."""
    assert evidence({"a": Count(47, 100), "b": Count(53, 100)}, 0.5) == {"a": 0.0, "b": 0.0}
    assert evidence({"a": Count(1, 1)}, 0.5) == {"a": 0.0}, "one start says nothing of a spread"
    assert evidence({}, 0.5) == {}


def test_groups_that_differ_are_shrunk_by_as_much_as_their_spread_tells():
    """X = 2 · 100 · 0.3² / 0.25 = 72, ρ = (72 - 2) / (200 - 2), k = 198 / 70 - 1 = 128 / 70 starts."""
    k = 128 / 70
    found = evidence({"a": Count(20, 100), "b": Count(80, 100)}, 0.5)
    assert found["a"] == pytest.approx(math.log(odds((20 + k / 2) / (100 + k))), rel=1e-12)
    assert found["b"] == pytest.approx(-found["a"], rel=1e-12)
    assert evidence({"a": Count(0, 9), "b": Count(9, 9)}, 0.5)["a"] == pytest.approx(math.log(odds(0.5 / 10))), "k is 1 at least"


def test_a_chance_is_the_overall_rate_with_the_odds_of_each_context_that_is_known():
    chances = Chances({"pick": PICK})
    overall = (1800 + 0.5) / 2001  # Jeffreys' prior
    assert chances.of("pick") == pytest.approx(overall, rel=1e-12)
    assert chances.of("pick", {"object": "crate", "weather": "rain"}) == pytest.approx(overall, rel=1e-12), "unknown groups and contexts"
    assert chances.of("pick", {"it_lies_on": "a table"}) == pytest.approx(overall, rel=1e-12), "they do not differ"
    added = evidence({"cube": Count(950, 1000), "ball": Count(850, 1000)}, overall)
    expected = odds(overall) * math.exp(added["ball"])
    assert odds(chances.of("pick", {"object": "ball", "it_lies_on": "the floor"})) == pytest.approx(expected, rel=1e-12)
    assert 0.85 < chances.of("pick", {"object": "ball"}) < 0.853 < 0.947 < chances.of("pick", {"object": "cube"}) < 0.95
    assert chances.of("fly") == Chances({"fly": {}}).of("fly") == 0.5, "what was never measured"


def test_two_contexts_multiply_the_odds():
    """Naive Bayes: with both apart from the rate, the log-odds add up."""
    both = PICK | {"context": PICK["context"] | {"it_lies_on": {"the floor": [0.8, 0, 0, 1000], "a table": [1.0, 0, 0, 1000]}}}
    chances = Chances({"pick": both})
    base, ball, floor = (odds(chances.of("pick", some)) for some in ({}, {"object": "ball"}, {"it_lies_on": "the floor"}))
    assert odds(chances.of("pick", {"object": "ball", "it_lies_on": "the floor"})) == pytest.approx(ball * floor / base, rel=1e-9)


def test_what_was_called_before_counts_where_the_same_weights_were_measured():
    pairs = {"pairs": {"push -> pick": {"value": 0.5, "n": 200}}, "rarer": {"open -> pick": {"value": 0.9, "n": 200}}}
    chances = Chances({"pick": PICK}, pairs | {"weights": {"pick": "abc"}})
    overall = chances.of("pick")
    added = evidence({"push": Count(100, 200), "open": Count(180, 200)}, overall)
    assert odds(chances.of("pick", after="push")) == pytest.approx(odds(overall) * math.exp(added["push"]), rel=1e-9)
    assert chances.of("pick", after="push") < 0.6
    assert chances.of("pick", after="navigate") == overall, "a pair that was never met"
    assert Chances({"pick": PICK}, pairs | {"weights": {"pick": "older"}}).of("pick", after="push") == overall


def test_what_became_of_the_same_call_counts_as_calls_beside_the_card():
    """The card is worth one call: after a failure (p + 0) / 2, after two p / 3, after a success (p + 1) / 2."""
    chances = Chances({"pick": PICK})
    p = chances.of("pick")
    found = [chances.of("pick", here=Count(won, n)) for won, n in ((0, 1), (0, 2), (1, 1))]
    assert found == pytest.approx([p / 2, p / 3, (p + 1) / 2], rel=1e-12)


@pytest.fixture
def cards(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "CARDS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{", "expected JSON"),
        ("[]", "got a list, expected an object"),
        ({"skill": "place", "value": 0.9, "n": 10}, "got skill 'place', expected 'pick'"),
        ({"skill": "pick", "n": 10}, "got success: None of 10 starts, expected a rate from 0 to 1"),
        ({"skill": "pick", "value": 1.2, "n": 10}, "got success: 1.2 of 10 starts"),
        ({"skill": "pick", "value": 0.9, "n": 0}, "got success: 0.9 of 0 starts"),
        ({"skill": "pick", "value": 0.9, "n": 10, "context": {"object": [1]}}, "got other contexts, expected groups by context"),
        ({"skill": "pick", "value": 0.9, "n": 10, "context": {"object": {"cube": [0.9, 7]}}}, "got object, cube: None of None starts"),
        ({"skill": "pick", "value": 0.9, "n": 10, "context": {"object": {"cube": [9, 0, 1, 5]}}}, "got object, cube: 9 of 5 starts"),
    ],
)
def test_a_damaged_card_is_refused_by_name(cards, about, said):
    (cards / "pick.json").write_text(about if isinstance(about, str) else json.dumps(about))
    with pytest.raises(CardError) as caught:
        card(SKILLS["pick"])
    assert str(cards / "pick.json") in str(caught.value)
    assert said in str(caught.value)
    assert "palaestra admit pick" in str(caught.value)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"pairs": {}}, "expected pairs and rarer"),
        ({"pairs": {"open": {"value": 1.0, "n": 3}}, "rarer": {}}, "the pair 'open'"),
        ({"pairs": {}, "rarer": {"open -> pick": {"value": "most", "n": 3}}}, "got open -> pick: 'most' of 3 starts"),
    ],
)
def test_a_damaged_card_of_hand_overs_is_refused_by_name(cards, about, said):
    assert handover_card() == {}, "none there"
    (cards / "handover.json").write_text(json.dumps(about))
    with pytest.raises(CardError, match=r"handover\.json") as caught:
        handover_card()
    assert said in str(caught.value)


def test_chances_are_set_beside_what_happened():
    """Four calls that ended and one that did not: 0.9 and won, 0.9 and lost, 0.3 and lost, 1 and won."""
    went = ((0.9, "succeeded"), (0.9, "timeout"), (0.3, "lost"), (1.0, "succeeded"), (0.7, "interrupted"), (None, "precondition"))
    calls = [CallRecord("pick", {}, 0, verdict, chance=chance) for chance, verdict in went]
    chances = Chances({"pick": PICK})
    found = of_chances([Episode(0, "", (), Formula(()), {}, calls=calls)], chances)["chances"]
    p = chances.of("pick")
    assert found["brier"] == pytest.approx((0.01 + 0.81 + 0.09 + 0) / 4)
    assert found["brier_of_skills_rates"] == pytest.approx((2 * (1 - p) ** 2 + 2 * p**2) / 4)
    assert found["brier_of_one_rate"] == pytest.approx(0.25)
    rows = {name: (row["mean_chance"], row["value"], row["n"]) for name, row in found["by_chance"].items()}
    assert rows == {"0.2..0.5": (0.3, 0.0, 1), "0.9..0.95": (0.9, 0.5, 2), "0.99..1": (1.0, 1.0, 1)}
    assert of_chances([], chances) == {}


def test_the_cards_that_are_shipped_can_be_read():
    for skill in SKILLS.values():
        about = card(skill)
        chance = Chances({skill.name: about}).of(skill.name)
        assert about["interval"][0] < chance < about["interval"][1]
    handover_card()
