"""Whatever a language model answers: a plan that can be made, or a fault of a class; never another error, and never long."""

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaestra.skills.operators import ground
from palaestra.skills.plan import MAX_STEPS, Failure, Plan, PlanError
from palaestra.skills.planners import Problem
from palaestra.skills.planners.client import Reply
from palaestra.skills.planners.openai_chat import FORMS, OpenAIPlanner
from palaestra.skills.programs.running import Program, try_out
from tests.skills.test_operators import LIBRARY, call, house

pytest.importorskip("openai")

THINGS, FACTS = house()
PROBLEM = Problem("Fetch the red cube.", THINGS, FACTS)
GOOD = Plan(
    (call("navigate", "red_cube"), call("pick", "red_cube"), call("navigate", "blue_table"), call("place", "red_cube", "blue_table"))
)
OPERATORS = ground(LIBRARY, THINGS)
OF_ANSWERS = set(Failure) - {Failure.ADDITIONAL_STEP, Failure.GOAL, Failure.ENDPOINT, Failure.TIMEOUT, Failure.IMPOSSIBLE, Failure.LIMIT}

names = st.sampled_from([t.name for t in THINGS]) | st.text(max_size=12)
keys = st.sampled_from(["steps", "skill", "args", "target", "object"]) | st.text(max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | names
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12)
skills = st.sampled_from([skill.name for skill in LIBRARY]) | st.text(max_size=8)
arguments = st.dictionaries(st.sampled_from(["target", "object", "support", "container", "button"]), names | anything, max_size=3)
good_steps = st.sampled_from(json.loads(GOOD.to_json())["steps"])
steps = good_steps | st.fixed_dictionaries({"skill": skills | anything, "args": arguments | anything}) | anything
plans = st.lists(steps, max_size=6).map(lambda found: {"steps": found})


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good plan's text with a piece taken out, doubled or replaced."""
    text = GOOD.to_json()
    at, to = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:at] + draw(st.sampled_from(["", text[at:to] * 2]) | st.text(max_size=8)) + text[to:]


@st.composite
def dressed(draw: st.DrawFn) -> str:
    """An answer, bare or among what models write around it."""
    body = draw(damaged() | (plans | anything).map(json.dumps) | st.text(max_size=200))
    before = draw(st.sampled_from(["", "", "Sure:\n```json\n", "<think>", "<think>{</think>", "{" * 5000, "[" * 5000, GOOD.to_json()]))
    after = draw(st.sampled_from(["", "", "\n```", "<|im_end|>", "</think>", "}" * 5000, "\x00", "x" * 30_000]))
    return before + body + after


class Parrot:
    """In the endpoint's place: answers with what it was given."""

    def __init__(self, text: str, reason: str):
        self.reply = Reply(text, reason, {})

    def complete(self, *_: Any) -> Reply:
        return self.reply

    def now(self) -> float:
        return 0.0


PLANNERS = {form: OpenAIPlanner("http://127.0.0.1:1/v1", "fake", form=form, skills=LIBRARY, max_feedback=1) for form in FORMS}


def tried(text: str, reason: str = "stop", form: str = "calls") -> Plan | Program | PlanError:
    PLANNERS[form].client = Parrot(text, reason)  # type: ignore[assignment]
    try:
        return PLANNERS[form].plan(PROBLEM)
    except PlanError as error:
        return error


def carried_out(plan: Plan) -> None:
    """By the grounded operators alone: each call can be made where it comes, or has nothing to do."""
    facts = FACTS
    for step in plan.steps:
        cases = [o for o in OPERATORS if o.call == step]
        assert cases, step
        case = next((o for o in cases if o.applicable(facts)), None)
        assert case or any(o.add <= facts for o in cases), step
        facts = case.apply(facts) if case else facts


@pytest.mark.slow
@settings(max_examples=10_000, deadline=2000, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(dressed(), st.sampled_from(["stop", "stop", "stop", "length", "None"]))
def test_ten_thousand_answers(text: str, reason: str) -> None:
    clock = time.perf_counter()
    found = tried(text, reason)
    assert time.perf_counter() - clock < 2
    if isinstance(found, Plan):
        assert reason != "length"
        assert len(found.steps) <= MAX_STEPS
        carried_out(found)
        assert tried(found.to_json()).to_json() == found.to_json()
    else:
        assert found.failure in OF_ANSWERS
        assert "Fix: " in str(found)


said = ["for each x: cube", "while", "if on(x, _)", "else", "repeat 9", *"{}{}", "navigate(red_cube)", "pick(x)", "pick(red_cube)"]
programs = st.lists(st.sampled_from(said) | names, max_size=12).map(" ".join) | st.text(max_size=40)


@settings(max_examples=1000, deadline=2000, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given((programs | anything).map(lambda said: json.dumps({"program": said})) | dressed())
def test_a_thousand_answers_with_programs(text: str) -> None:
    found = tried(text, form="program")
    if isinstance(found, Program):
        assert not [f for f in try_out(found, THINGS, FACTS) if f.failure.stops]
    else:
        assert found.failure in OF_ANSWERS | {Failure.LIMIT}


def test_the_fuzz_can_pass_and_can_fail() -> None:
    """The answers are not all refused, and not all for one reason."""
    assert isinstance(tried(GOOD.to_json()), Plan)
    seen = set()

    @settings(max_examples=500, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(dressed())
    def look(text: str) -> None:
        found = tried(text)
        seen.add("plan" if isinstance(found, Plan) else found.failure)

    look()
    assert seen >= {"plan", Failure.PARSE, Failure.HALLUCINATION, Failure.ARITY, Failure.MISSING_STEP}
