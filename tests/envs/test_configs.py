"""Generator configurations: every one that is admitted generates what it says, every other is refused before anything is drawn."""

import functools
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs import goals
from palaestra.envs.configs import MAX_WEIGHT, ConfigError, Names, Number, Space, Weights
from palaestra.envs.filters import num_rooms, num_terms
from palaestra.envs.generation.formulas import KINDS, RULES, kind_of, rule_of
from palaestra.envs.types import COLOURS
from palaestra.sim.world import WorldSpec
from tests.envs.worlds import env, one, tasks

SETS = ("navigate-houses", "rearrange", "language", "layouts")
ATTEMPTS = 1024
TRACES: dict[str, int] = {}


@functools.cache
def space(name: str, split: str = "train") -> Space:
    return Space(env(name, split))


@functools.cache
def program(name: str):
    """(ranges) -> attempts at tasks, which of them are good, and their families; every trace of it is counted."""
    e, s = env(name), space(name)

    def draw(ranges):
        TRACES[name] = TRACES.get(name, 0) + 1
        task, good = jax.vmap(e.within(ranges).attempt_task)(jax.random.split(jax.random.key(0), ATTEMPTS))
        return task, good, jax.vmap(s.members)(task)

    return jax.jit(draw)


def values(knob):
    """JSON values within a knob's own limits."""
    if isinstance(knob, Names):
        return st.lists(st.sampled_from(knob.names), min_size=knob.least, unique=True)
    if isinstance(knob, Weights):
        return st.fixed_dictionaries({n: st.sampled_from((0, 0, 1, MAX_WEIGHT)) for n in knob.names}).filter(lambda w: any(w.values()))
    return st.integers(knob.low, knob.high) if knob.whole else st.one_of(st.sampled_from((0, 0.3, 1)), st.floats(knob.low, knob.high))


def told(name: str):
    return st.fixed_dictionaries({key: values(knob) for key, knob in space(name).knobs.items()})


def valid(name: str):
    def admits(got):
        try:
            space(name).check(got)
        except ConfigError:
            return False
        return True

    return told(name).filter(admits)


@pytest.mark.parametrize("name", [*SETS, "rearrange-1", "rearrange-4", "demo"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_sets_own_configuration_is_its_ranges(name, split):
    e, s = env(name, split), space(name, split)
    text = json.dumps(s.as_dict(s.original))
    assert s.check(json.loads(text)) == s.original
    assert jax.tree.structure(s.ranges(s.original)) == jax.tree.structure(e.task_range)
    for ours, theirs in zip(jax.tree.leaves(s.ranges(s.original)), jax.tree.leaves(e.task_range), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("name", SETS)
def test_what_is_admitted_generates_what_it_says_by_one_program(name):
    s = space(name)

    @settings(max_examples=15, deadline=None, derandomize=True)
    @given(valid(name))
    def check(got):
        config = s.check(got)
        drawn, good, member = jax.device_get(program(name)(s.ranges(config)))
        assert good.mean() > 0.005, "hardly a task in two hundred attempts"
        task = jax.tree.map(lambda x: x[good], drawn)
        rooms, used = num_rooms(task), task.scene.layout.object_used
        assert set(rooms) <= set(range(config.min_rooms, config.max_rooms + 1))
        cube = np.arange(s.spec.objects) < s.spec.cubes
        for kind, allowed in ((cube, config.cube_colours), (~cube, config.ball_colours)):
            assert {COLOURS[c] for c in task.scene.object_colour[used & kind]} <= set(allowed)
        if config.object_use == 0:
            assert (used.sum(-1) == 1).all()
        if "min_goals" in s.knobs:
            assert set(num_terms(task)) <= set(range(config.min_goals, config.max_goals + 1))
        families = {family for family, some in zip(s.families, member[good].any(0), strict=True) if some}
        told = {"goals": config.goals, "rules": config.rules, "clutter": config.clutter}
        if config.min_rooms >= 5:  # below, a mixed house may be a row or a ring as well
            told["styles"] = config.styles
        for part, weights in told.items():
            assert {f"{part}: {k}" for k, weight in weights.items() if not weight}.isdisjoint(families)

    check()
    assert TRACES[name] == 1


def test_weights_are_how_often_kinds_are_drawn():
    """In houses of one room, with one object, one table and one bin: 3 to 1."""
    s = space("navigate-houses")
    config = replace(s.original, min_rooms=1, max_rooms=1, goals={"near_object": 0, "near_table": 3, "near_bin": 1, "in_room": 0})
    _, _, member = program("navigate-houses")(s.ranges(s.check(s.as_dict(config))))
    share = dict(zip(s.families, np.asarray(member).mean(0), strict=True))
    assert share["goals: near_table"] == pytest.approx(0.75, abs=0.04)
    assert share["goals: near_bin"] == pytest.approx(0.25, abs=0.04)
    assert share["rooms: 1"] == 1


def test_kinds_and_rules_on_device_are_those_in_words():
    e, batch = env("language", "test"), tasks("language", "test", 384)
    kinds, rules = jax.device_get(jax.vmap(lambda goal: (kind_of(goal), rule_of(goal)))(batch.goal))
    assert (kinds.sum(1) == 1).all()
    assert (rules.sum(1) == 1).all()
    assert rules.any(0).all()
    for i in range(384):
        family = goals.family(goals.formula(e.world.spec, one(batch, i)))
        kind, rule = KINDS[kinds[i].argmax()], RULES[rules[i].argmax()]
        # Two things that are to be in the same place are "all" in words, however the goal was drawn.
        assert family.removesuffix(" + rule") == kind or (family.removesuffix(" + rule"), kind) == ("all", "plain")
        assert family.endswith("rule") == (rule != "none")


def changed(name: str, **fields):
    s = space(name)
    return s.as_dict(s.original) | fields


def only(name: str, knob: str = "goals", **fields):
    """These weights, and no other."""
    return dict.fromkeys(space(name).knobs[knob].names, 0) | fields


DRIVE, FORMULAS, LAYOUTS = "navigate-houses", "language", "layouts"


REFUSED = [
    ("rearrange", {"max_rooms": 9}, "max_rooms: got 9, expected a whole number from 1 to 4"),
    ("rearrange", {"min_rooms": 0}, "min_rooms: got 0, expected a whole number from 1 to 4"),
    ("rearrange", {"min_rooms": 3, "max_rooms": 2}, "min_rooms: got 3, expected at most max_rooms, 2. Fix: lower min_rooms"),
    ("rearrange", {"max_goals": 10}, "max_goals: got 10, expected a whole number from 1 to 4"),
    ("rearrange", {"min_goals": 3, "max_goals": 2}, "min_goals: got 3, expected at most max_goals, 2"),
    ("rearrange", {"min_goals": 4, "max_goals": 4, "object_use": 0.5}, "object_use: got 0.5, expected 0.67 or more for min_goals 4"),
    ("rearrange", {"on_table": 1.5}, "on_table: got 1.5, expected a number from 0 to 1"),
    ("rearrange", {"on_table": float("nan")}, "on_table: got NaN"),
    ("rearrange", {"object_use": True}, "object_use: got true, expected a number"),
    ("rearrange", {"min_rooms": 1.0}, "min_rooms: got 1.0, expected a whole number"),
    ("rearrange", {"max_rooms": "4"}, 'max_rooms: got "4", expected a whole number'),
    ("rearrange", {"max_rooms": 10**400}, "max_rooms: got 1000"),
    ("rearrange", {"cube_colours": ["red"]}, 'cube_colours: got ["red"], expected a list of 2 or more'),
    ("rearrange", {"cube_colours": ["red", "red"]}, "none twice"),
    ("rearrange", {"cube_colours": ["red", "purple"]}, "of red, green, blue, orange"),  # purple cubes are held out
    ("rearrange", {"cube_colours": [["red"], "blue"]}, "cube_colours: got"),
    ("rearrange", {"cube_colours": "red"}, "cube_colours: got"),
    ("rearrange", {"goals": {"plain": 1}}, 'got ["goals"], expected an object with min_rooms'),
    (DRIVE, {"ball_colours": ["red"]}, 'got ["ball_colours"]'),  # there are no balls
    (DRIVE, {"goals": only(DRIVE, in_room=2), "max_rooms": 1}, "in_room: got 2, expected 0 with max_rooms 1"),
    (DRIVE, {"goals": only(DRIVE)}, "not all of them 0"),
    (DRIVE, {"goals": only(DRIVE, near_bin=11)}, "from 0 to 10"),
    (DRIVE, {"goals": only(DRIVE, near_bin=-1)}, "from 0 to 10"),
    (DRIVE, {"goals": only(DRIVE, near_bin=0.5)}, "a whole number from 0 to 10"),
    (DRIVE, {"goals": {"near_door": 1}}, "for each of near_object, near_table, near_bin, in_room"),
    (FORMULAS, {"goals": only(FORMULAS, clear=1), "on_table": 0}, "clear: got 1, expected 0 with on_table 0. Fix: on_table of 0.3"),
    (FORMULAS, {"goals": only(FORMULAS, all=1), "object_use": 0.1}, "all: got 1, expected 0 with object_use 0.1"),
    (
        FORMULAS,
        {"goals": only(FORMULAS, order=1), "rules": only(FORMULAS, "rules", hands_off=1)},
        "expected more than order with hands off",
    ),
    (LAYOUTS, {"styles": only(LAYOUTS, "styles", ring=1)}, "for each of mixed, row, open"),  # the others are held out
    (LAYOUTS, {"styles": only(LAYOUTS, "styles", row=1), "min_rooms": 1}, "style row: got 1, expected 0 with min_rooms 1. Fix: "),
    (LAYOUTS, {"clutter": {"2": 1}}, "for each of 0, 1, 3"),
    (LAYOUTS, {"clutter": {"0": 0, "1": 0, "3": 2}, "min_goals": 4, "max_goals": 4, "object_use": 0.5}, 'got ["object_use"]'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_generate_is_refused_with_its_limit_and_the_fix(name, fields, message):
    with pytest.raises(ConfigError) as caught:
        space(name).check(changed(name, **fields))
    assert message in str(caught.value)
    assert "Fix: " in str(caught.value)


def test_clutter_leaves_objects_for_the_goals():
    s = space("layouts", "test")
    assert s.check(s.as_dict(s.original)) == s.original
    with pytest.raises(ConfigError, match=r"clutter 4: got 1, expected 0 with max_goals 4\. Fix: clutter of 3 at most, or fewer goals"):
        s.check(s.as_dict(s.original) | {"max_goals": 4})
    assert "- clutter 4 above 0 takes max_goals of 3 or less\n" in s.words() + "\n"
    assert "- style ring above 0 takes min_rooms of 4 or more\n" in s.words()


@pytest.mark.parametrize("got", [None, [], "x", 3, {}, {"max_rooms": 2}])
def test_what_is_no_configuration_is_refused(got):
    with pytest.raises(ConfigError, match=r"expected an object with min_rooms, .*Fix: give all of these properties"):
        space("rearrange").check(got)


@pytest.mark.parametrize("name", SETS)
def test_any_other_value_is_refused_or_within_the_limits(name):
    s = space(name)
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3),
        max_leaves=5,
    )

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.sampled_from(sorted(s.knobs)), junk)
    def check(key, value):
        got = s.as_dict(s.original) | {key: value}
        if s.knobs[key].admits(value):
            assert isinstance(s.knobs[key], Number), "junk holds no names"
            return
        with pytest.raises(ConfigError, match=rf"the configuration, {key}: got .*expected .*Fix: "):
            s.check(got)

    check()


def closed(schema):
    """Whether a schema stays within the subset that all servers take."""
    if schema["type"] == "object":
        assert schema.keys() <= {"type", "properties", "required", "additionalProperties", "description"}
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        return all(map(closed, schema["properties"].values()))
    if schema["type"] == "array":
        assert schema.keys() <= {"type", "items", "description"}
        return closed(schema["items"])
    return schema["type"] in ("integer", "number", "string") and schema.keys() <= {"type", "enum", "description"}


@pytest.mark.parametrize("name", SETS)
def test_the_schema_is_closed_and_its_limits_are_in_words(name):
    s = space(name)
    assert closed(s.schema())
    for key, knob in s.knobs.items():
        assert knob.limits in s.schema()["properties"][key]["description"]
        assert f"- {key}: {knob.doc}; {knob.limits}" in s.words()


def test_a_smaller_world_has_fewer_words():
    """One cube, one bin, one room: nothing about balls, tables, other objects; goals of two things at most."""
    e = env("rearrange").within(env("rearrange").task_range)

    class Small:
        spec = WorldSpec(cubes=1, balls=0, tables=0, bins=1, rooms=1)

    e.world = Small()
    s = Space(e)
    assert list(s.knobs) == ["min_rooms", "max_rooms", "cube_colours", "min_goals", "max_goals"]
    assert s.knobs["max_goals"].high == 2
    with pytest.raises(ConfigError, match="min_goals: got 3, expected a whole number from 1 to 2"):
        s.check({"min_rooms": 1, "max_rooms": 1, "cube_colours": ["red"], "min_goals": 3, "max_goals": 3})


def test_files_that_hold_none_are_refused_by_name(tmp_path):
    s, path = space("rearrange"), tmp_path / "config.json"
    for data, message in (
        (None, "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"{", "config.json: got '{'"),
        (b"[" * 30_000, "30000 characters"),
    ):
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(ConfigError, match=r"config\.json: ") as caught:
            s.load(path)
        assert message in str(caught.value)
    path.write_text(json.dumps(changed("rearrange", max_rooms=2)))
    assert s.load(path) == replace(s.original, max_rooms=2)
