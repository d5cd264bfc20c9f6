"""Goals as facts: what plans and logs write can be asked for."""

import pytest

from palaestra.envs.goals import Formula, literal
from palaestra.envs.words import literals, parser
from palaestra.envs.words.references import Things
from palaestra.sim.errors import PalaestraError
from tests.envs.houses import SPEC, house

ON, IN_ROOM = ("on", "large_red_cube", "green_table"), ("in_room", "robot", "kitchen")


@pytest.fixture(scope="module")
def things():
    return Things.of(SPEC, house())


def test_facts_are_read_back(things):
    both = Formula.of([ON, IN_ROOM])
    assert literals.say(both) == "on(large_red_cube, green_table), in_room(robot, kitchen)"
    assert parser.read(literals.say(both), things) == both
    denied = Formula(((((literal(ON, False)), literal(IN_ROOM)),),))
    assert parser.read(" not on( large_red_cube,green_table ) ,in_room(robot, kitchen) ", things) == denied


def test_what_is_no_list_of_facts_is_english(things):
    assert not literals.are_facts("put the cube on the table")
    assert not literals.are_facts("on(a, b), and then")
    assert parser.read("put the large red cube on the green table", things) == Formula.of([ON])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("under(large_red_cube, green_table)", "unknown predicate 'under'; expected one of: holding, in_room, inside, near, on"),
        ("on(red_cub, green_table)", "unknown thing 'red_cub'; expected one of: .*large_red_cube"),
        ("on(large_red_cube)", r"goal: got on\(large_red_cube\), expected on\(x, y\), with names of things"),
        ("open(large_red_cube, green_table)", r"got open\(large_red_cube, green_table\), expected open\(x\)"),
    ],
)
def test_facts_about_what_is_not_there_are_refused(things, text, reason):
    with pytest.raises(PalaestraError, match=reason):
        parser.read(text, things)
