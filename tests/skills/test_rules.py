"""Doors, buttons, plates and rules, in the operators: against a simulator that shares no code with them."""

import random

import pytest

from palaestra.skills.operators import ground
from tests.skills.simulator import WITH_PRESS, Endless, House, random_house, step


@pytest.mark.parametrize("seed", range(60))
def test_operators_do_what_the_simulator_does(seed: int) -> None:
    """On a random walk every call is tried: it can be made in both or in neither, by one operator, and leads to the same facts."""
    rng = random.Random(seed)
    try:
        house = random_house(rng, rooms=rng.randint(1, 4), objects=rng.randint(1, 4))
        walk(house, rng)
    except Endless:
        pytest.skip("rules that go on for ever")


def walk(house: House, rng: random.Random) -> None:
    operators = ground(WITH_PRESS, house.things, house.mechanics)
    facts = house.facts
    for _ in range(12):
        after = {}
        for call in house.calls():
            able = [o for o in operators if o.call == call and o.applicable(facts)]
            expected = step(house, facts, call)
            assert len(able) == (expected is not None), call
            if expected is not None:
                assert able[0].apply(facts) == expected, call
                after[call] = expected
        facts = after[rng.choice(sorted(after, key=str))]
