"""Records that make no sense, each refused with its reason; all that are shipped are accepted."""

from dataclasses import replace

import pytest

from palaestra.sim.world import WorldSpec
from palaestra.skills.checks import RecordError, checked
from palaestra.skills.library import SKILLS
from palaestra.skills.record import ROBOT, Literal, Param

PICK, PLACE, OPEN = SKILLS["pick"], SKILLS["place"], SKILLS["open"]
HOLDS = Literal(("holding",), ROBOT, "object")
HERE = Literal(("near",), ROBOT, "object")


@pytest.mark.parametrize("name", sorted(SKILLS))
def test_shipped_records_are_accepted(name):
    assert checked(SKILLS[name]) is SKILLS[name]


@pytest.mark.parametrize(
    ("record", "change", "reason"),
    [
        (PICK, dict(effect=(HOLDS, replace(HOLDS, negated=True))), r"effect: got holding\(robot, cube_1\) both true and false"),
        (PICK, dict(precondition=(HOLDS, replace(HOLDS, negated=True))), r"precondition: got holding\(robot, cube_1\) both true and false"),
        (PICK, dict(effect=(HERE,)), "effect: holds already wherever the precondition does"),
        (PICK, dict(effect=()), "effect: got none"),
        (PLACE, dict(effect=(Literal(("on", "inside"), "object", "receptacle"), HOLDS)), "which never hold together"),
        (PICK, dict(effect=(Literal(("inside",), ROBOT, "object"),)), "literals that hold of no things of the kinds"),
        (PICK, dict(effect=(Literal(("grasped",), ROBOT, "object"),)), "got predicate 'grasped', expected of: near, holding, on"),
        (PICK, dict(effect=(Literal(("holding",), ROBOT, "thing"),)), "got 'thing' in a literal, expected one of: _, object, robot"),
        (PICK, dict(effect=(Literal(("holding",), ROBOT, "_"),)), "positive literal over '_'"),
        (PICK, dict(params=(Param("object", ("banana",)),)), "parameter 'object': got kind 'banana', expected of: bin, button, crate"),
        (OPEN, dict(train_spec=WorldSpec()), r"train_spec: has no slot for parameter 'drawer' \(drawer\)"),
        (PICK, dict(commands=(0, 7)), r"commands: got \(0, 7\), expected some of 0 to 4, each once"),
        (PICK, dict(commands=(1, 1)), "each once"),
        (PICK, dict(horizon=0), "horizon: got 0, expected 1 or more"),
        (PICK, dict(gate=1.2), "gate: got 1.2, expected a rate above 0, at most 1"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_with_the_reason(record, change, reason):
    with pytest.raises(RecordError, match=f"skill '{record.name}': .*{reason}"):
        checked(replace(record, **change))
