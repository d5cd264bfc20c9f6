"""What is derived from the records: operators, the domain's rules, the schema, the prompt."""

import json
from dataclasses import replace

import pytest

from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import PREDICATES
from palaestra.skills.library import PICK, SKILLS
from palaestra.skills.operators import DOMAIN, Call, Operator, applicable, contracts, ground, json_schema, prompt_text, universe
from palaestra.skills.record import ROBOT, Literal, Param

LIBRARY = tuple(SKILLS.values())
ROOMS = {"red_cube": "kitchen", "blue_cube": "kitchen", "green_cube": "bedroom", "red_ball": "lounge"}
ROOMS |= {"blue_table": "study", "green_table": "kitchen", "red_bin": "study", "yellow_bin": "lounge"}


def house(rooms: dict[str, str] = ROOMS, robot: str = "lounge", *more: Fact) -> tuple[tuple[Entity, ...], frozenset[Fact]]:
    """Things and facts of a scene: which thing is in which room, where the robot is, and what else holds."""
    kinds = {name: name.rpartition("_")[2] for name in rooms}
    names = {ROBOT: "robot", **kinds, **dict.fromkeys(sorted({*rooms.values(), robot}), "room")}
    things = tuple(Entity(i, name, kind) for i, (name, kind) in enumerate(names.items()))
    return things, frozenset({("in_room", name, room) for name, room in rooms.items()} | {("in_room", ROBOT, robot), *more})


def call(skill: str, *args: str) -> Call:
    return Call(skill, {p.name: name for p, name in zip(SKILLS[skill].params, args, strict=True)})


def case(facts: frozenset[Fact], skill: str, *args: str) -> Operator:
    """The one operator of a call that is applicable."""
    (found,) = (o for o in ground(LIBRARY, house()[0]) if o.call == call(skill, *args) and o.applicable(facts))
    return found


def test_a_call_has_one_case_for_each_room_of_its_target_and_each_thing_held() -> None:
    operators = ground(LIBRARY, house()[0])

    def cases(skill: str, *args: str) -> int:
        return sum(o.call == call(skill, *args) for o in operators)

    assert cases("navigate", "red_cube") == 4 * (1 + 3)  # it cannot be driven to while it is held
    assert cases("navigate", "blue_table") == 4 * (1 + 4)
    assert cases("navigate", "study") == 1 + 4
    assert cases("pick", "red_cube") == cases("place", "red_cube", "red_bin") == 1


@pytest.mark.parametrize("held", [None, "red_ball"])
def test_at_most_one_case_of_a_call_is_applicable(held: str | None) -> None:
    things, facts = house()
    if held:
        facts |= {("holding", ROBOT, held), ("near", ROBOT, held)}
    operators = ground(LIBRARY, things)
    able = [o.call for o, yes in zip(operators, applicable(operators, facts), strict=True) if yes]
    assert len(able) == len(set(able))
    assert len(able) == (8 + 4 if held is None else 7 + 4)


def test_driving_ends_what_was_near_and_changes_the_room() -> None:
    _, facts = house(ROOMS, "lounge", ("near", ROBOT, "red_ball"), ("near", ROBOT, "yellow_bin"))
    after = case(facts, "navigate", "red_cube").apply(facts)
    assert after - facts == {("near", ROBOT, "red_cube"), ("in_room", ROBOT, "kitchen")}
    assert facts - after == {("near", ROBOT, "red_ball"), ("near", ROBOT, "yellow_bin"), ("in_room", ROBOT, "lounge")}
    into = case(facts, "navigate", "study").apply(facts)
    assert into - facts == {("in_room", ROBOT, "study")}
    assert not any(f[0] == "near" for f in into)


def test_what_is_held_goes_along_and_stays_near() -> None:
    _, facts = house(ROOMS, "lounge", ("near", ROBOT, "red_ball"), ("holding", ROBOT, "red_ball"))
    after = case(facts, "navigate", "blue_table").apply(facts)
    assert {("in_room", "red_ball", "study"), ("near", ROBOT, "red_ball"), ("holding", ROBOT, "red_ball")} <= after
    assert ("in_room", "red_ball", "lounge") not in after


def test_an_object_is_in_one_place() -> None:
    _, facts = house(ROOMS, "kitchen", ("near", ROBOT, "red_cube"), ("on", "red_cube", "green_table"))
    held = case(facts, "pick", "red_cube").apply(facts)
    assert ("on", "red_cube", "green_table") not in held
    held = case(held, "navigate", "red_bin").apply(held)
    put = case(held, "place", "red_cube", "red_bin").apply(held)
    assert put - held == {("inside", "red_cube", "red_bin")}
    assert held - put == {("holding", ROBOT, "red_cube")}


def test_every_case_deletes_only_well_typed_facts_that_it_does_not_add() -> None:
    things, _ = house()
    known = set(universe(things))
    for o in ground(LIBRARY, things):
        assert not o.add & o.delete
        assert o.pre | o.neg | o.add | o.delete <= known


def test_a_bin_keeps_what_is_in_it() -> None:
    things, facts = house(ROOMS, "study", ("near", ROBOT, "red_cube"), ("inside", "red_cube", "red_bin"))
    assert not any(o.applicable(facts) for o in ground(LIBRARY, things) if o.call == call("pick", "red_cube"))


def test_contracts_are_the_records_own_literals() -> None:
    promised = contracts(LIBRARY, house()[0])
    assert len(promised) == (4 + 4 + 4) + 4 + 4 * 4
    place = promised[call("place", "red_cube", "blue_table")]
    assert place.pre == {("holding", ROBOT, "red_cube"), ("near", ROBOT, "blue_table")}
    assert place.add == {("on", "red_cube", "blue_table")}
    assert place.delete == {("holding", ROBOT, "red_cube")}
    assert promised[call("navigate", "study")].add == {("in_room", ROBOT, "study")}
    pick = promised[call("pick", "red_cube")]
    assert pick.neg == {("holding", ROBOT, o) for o in ("red_cube", "blue_cube", "green_cube", "red_ball")} | {
        ("inside", "red_cube", b) for b in ("red_bin", "yellow_bin")
    }


def test_literals_that_cannot_hold_of_a_kind_give_no_operator() -> None:
    only_tables = replace(SKILLS["place"], effect=(Literal(("on",), "object", "receptacle"),))
    assert {c.args["receptacle"] for c in contracts((only_tables,), house()[0])} == {"blue_table", "green_table"}


def test_no_argument_is_given_twice() -> None:
    stack = replace(PICK, name="stack", params=(Param("object", ("object",)), Param("other", ("object",))))
    assert len(contracts((stack,), house()[0])) == 4 * 3


def test_schema_golden() -> None:
    things, _ = house({"red_cube": "study", "red_bin": "study"}, "study")

    def closed(**properties: object) -> dict[str, object]:
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def enum(*values: str) -> dict[str, object]:
        return {"type": "string", "enum": list(values)}

    calls = [
        closed(skill=enum("navigate"), args=closed(target=enum("red_cube", "red_bin", "study"))),
        closed(skill=enum("pick"), args=closed(object=enum("red_cube"))),
        closed(skill=enum("place"), args=closed(object=enum("red_cube"), receptacle=enum("red_bin"))),
    ]
    assert json_schema(LIBRARY, things) == closed(steps={"type": "array", "items": {"anyOf": calls}})


def test_schema_stays_in_the_common_subset() -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object":
                assert node["required"] == list(node["properties"])
                assert node["additionalProperties"] is False
                for child in node["properties"].values():
                    walk(child)
            else:
                assert set(node) in ({"type", "enum"}, {"type", "items"}, {"anyOf"})
                assert node.get("enum") != []
                walk(node.get("items"))
                for child in node.get("anyOf", []):
                    assert next(iter(child["properties"])) == "skill"
                    walk(child)

    schema = json_schema(LIBRARY, house()[0])
    walk(schema)
    assert schema["type"] == "object"
    assert len(json.dumps(schema)) < 4000


def test_schema_leaves_out_what_the_scene_has_no_arguments_for() -> None:
    things, _ = house({"red_cube": "study"}, "study")
    branches = json_schema(LIBRARY, things)["properties"]["steps"]["items"]["anyOf"]
    assert [b["properties"]["skill"]["enum"] for b in branches] == [["navigate"], ["pick"]]


def test_prompt_has_the_whole_contract() -> None:
    kinds = ("button", "drawer", "swing", "crate", "toggle")
    things = [Entity(0, ROBOT, "robot"), *(Entity(1 + i, f"red_{kind}", kind) for i, kind in enumerate(kinds))]
    text, with_all = prompt_text(LIBRARY), prompt_text(LIBRARY, things)
    for skill in LIBRARY:
        assert (skill.doc in text) == (skill.params[0].kinds[0] not in kinds), "buttons, drawers and the like: only where there are some"
        assert skill.doc in with_all
    assert "navigate(target: object or table or bin or room)" in text
    assert "Needs: nothing." in text
    assert "Then: the robot is near <target> if it is an object or a table or a bin, the robot is in <target> if it is a room." in text
    assert "Needs: the robot is near <object>; the robot holds nothing; <object> is inside nothing." in text
    assert "Then: <object> is on <receptacle> if it is a table, <object> is inside <receptacle> if it is a bin; " in text
    assert "the robot does not hold <object>." in text
    assert "- The robot holds one object at most." in text


def test_the_rules_know_every_predicate() -> None:
    assert set(DOMAIN) == set(PREDICATES)
