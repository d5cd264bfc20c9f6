"""Hand-overs: which are counted, which are sought, and what is said of them."""

from collections import Counter, defaultdict

import pytest

from palaestra.envs.goals import Formula
from palaestra.envs.names import Entity
from palaestra.policies.evaluate import wilson
from palaestra.sim.world import WorldSpec
from palaestra.skills.executor import CallRecord, Episode
from palaestra.skills.handover import Rarest, handovers, measure_handover, report
from palaestra.skills.planners import Problem

THINGS = (
    Entity(0, "robot", "robot"),
    Entity(1, "cube", "cube", "red"),
    Entity(2, "ball", "ball", "blue"),
    Entity(3, "table", "table", "blue"),
    Entity(4, "kitchen", "room"),
)
FACTS = frozenset({("near", "robot", "cube"), *(("in_room", t.name, "kitchen") for t in THINGS[:-1])})


def calls(*steps):
    return [CallRecord(skill, {}, 0, verdict) for skill, verdict in steps]


def test_a_pair_counts_where_the_first_has_succeeded_and_the_second_was_started():
    went = calls(
        ("navigate", "succeeded"),
        ("pick", "succeeded"),
        ("navigate", "precondition"),  # was never started
        ("navigate", "timeout"),  # after one that was not started
        ("navigate", "succeeded"),  # after a failure
        ("place", "lost"),
        ("navigate", "succeeded"),
        ("press", "interrupted"),
    )
    episode = Episode(0, "", THINGS, Formula(()), {}, calls=went)
    assert handovers(episode) == [(("navigate", "pick"), "succeeded"), (("navigate", "place"), "lost")]


def test_the_rarest_pair_is_sought_and_what_failed_is_left_alone():
    planner = Rarest(0)
    problem = Problem("", THINGS, FACTS)
    (first,) = planner.plan(problem).steps
    planner.made.update({("pick", "navigate"): 5, ("navigate", "navigate"): 5})
    holding = (FACTS - {("near", "robot", "cube")}) | {("holding", "robot", "cube"), ("near", "robot", "cube"), ("near", "robot", "table")}
    planner = Rarest(0, made=Counter({("", "navigate"): 1}))
    (first,) = planner.plan(problem).steps
    assert str(first) == "pick(cube)", "pick is the rarest at the start"
    planner.made["pick", "navigate"] = 1
    (second,) = planner.plan(Problem("", THINGS, holding)).steps
    assert str(second) == "place(cube, table)"
    assert planner.made["pick", "place"] == 1
    again = Problem("", THINGS, holding, history=("place(cube, table) failed (timeout): ..",))
    for _ in range(4):
        (third,) = planner.plan(again).steps
        assert str(third) != "place(cube, table)", "it failed, and would only fail again"


def test_rates_stand_worst_first_and_rare_pairs_apart():
    run = Counter({("navigate", "pick"): 20, ("pick", "place"): 20, ("place", "pick"): 3})
    won = Counter({("navigate", "pick"): 20, ("pick", "place"): 18, ("place", "pick"): 1})
    reasons = defaultdict(Counter, {("pick", "place"): Counter(lost=2), ("place", "pick"): Counter(timeout=2)})
    found = report(won, run, reasons, 20, ["navigate", "pick", "place"])
    assert (found["value"], found["n"], found["interval"]) == (0.9, 20, list(wilson(18, 20)))
    assert list(found["pairs"]) == ["pick -> place", "navigate -> pick"]
    assert found["pairs"]["pick -> place"]["failures"] == {"lost": 2}
    assert found["rarer"]["place -> pick"]["n"] == 3
    assert found["never"] == [f"{a} -> {b}" for a, b in (("navigate", "navigate"), ("navigate", "place"), ("pick", "navigate"),
        ("pick", "pick"), ("place", "navigate"), ("place", "place"))]  # fmt: skip


@pytest.mark.slow
def test_hand_overs_of_the_shipped_skills():
    found = measure_handover(2, 0, spec=WorldSpec(), lanes=16, houses=16)
    pairs = found["pairs"] | found["rarer"]
    assert {"navigate -> pick", "pick -> navigate", "navigate -> place", "place -> navigate"} <= set(pairs)
    for impossible in ("pick -> pick", "place -> place"):
        assert impossible in found["never"], "the hand holds one thing"
    won = sum(round(p["value"] * p["n"]) for p in pairs.values())
    assert won / sum(p["n"] for p in pairs.values()) > 0.8
