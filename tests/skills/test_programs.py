"""Programs: read and written, checked whole, and carried out within a budget."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaestra.envs.goals import Formula
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills import tasks
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call
from palaestra.skills.plan import Failure, PlanError, validate
from palaestra.skills.planners import PlannerChoice, planner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planning import Conditions, carry_out, problems
from palaestra.skills.programs.running import MAX_CALLS, MAX_LOOKS, Program, check, try_out
from palaestra.skills.programs.syntax import ALWAYS, All, Any_, Fits, ForEach, If, Make, Not, Repeat, While, parse, text
from tests.skills.fake_server import says, serve
from tests.skills.test_operators import LIBRARY, call, house

THINGS, FACTS = house()
EXAMPLE = Path(__file__).parents[2] / "examples" / "tidy.program"


def program(said: str) -> Program:
    return Program.parse(said, LIBRARY)


# --- the text -----------------------------------------------------------------------------------------------------


def test_every_form_is_read() -> None:
    said = """
    # into the bin with what is small
    for each x: cube where in_room(x, kitchen) and not inside(x, red_bin) { navigate(x); pick(x) }
    while not (open(d) or holding(robot, _)) at most 3 times { press(b) }
    while pressed(b) { press(b) }
    if holding(robot, "a \\"odd\\" name") { } else if on(a, t) { repeat 2 { navigate(t) } }
    """
    each, bounded, free, choice = parse(said)
    where = All((Fits("in_room", ("x", "kitchen")), Not(Fits("inside", ("x", "red_bin")))))
    assert each == ForEach("x", "cube", where, (Make("navigate", ("x",)), Make("pick", ("x",))))
    assert bounded == While(Not(Any_((Fits("open", ("d",)), Fits("holding", ("robot", "_"))))), 3, (Make("press", ("b",)),))
    assert free == While(Fits("pressed", ("b",)), None, (Make("press", ("b",)),))
    inner = If(Fits("on", ("a", "t")), (Repeat(2, (Make("navigate", ("t",)),)),), ())
    assert choice == If(Fits("holding", ("robot", 'a "odd" name')), (), (inner,))
    assert parse("") == ()


names = st.sampled_from(["x", "red_cube", "kitchen", "_", "while", 'odd "name"', "", "}", "a b", "ünlaut", "7"])
calls = st.builds(Make, names, st.lists(names, max_size=3).map(tuple))
facts = st.builds(Fits, names, st.lists(names, max_size=2).map(tuple))
conditions = st.recursive(
    facts,
    lambda c: st.builds(Not, c) | st.builds(All, st.lists(c, min_size=2, max_size=3).map(tuple)) | st.builds(Any_, st.tuples(c, c)),
    max_leaves=4,
)
times = st.integers(1, 100)
blocks = st.recursive(
    st.lists(calls, max_size=2).map(tuple),
    lambda b: st.lists(
        calls
        | st.builds(Repeat, times, b)
        | st.builds(While, conditions, times | st.none(), b)
        | st.builds(If, conditions, b, b)
        | st.builds(ForEach, names, names, conditions | st.just(ALWAYS), b),
        max_size=2,
    ).map(tuple),
    max_leaves=6,
)


def depth(value: object) -> int:
    inner = [getattr(value, name) for name in getattr(value, "__dataclass_fields__", ())]
    nested = value if isinstance(value, tuple) else inner
    return max((depth(v) for v in nested), default=0) + (not isinstance(value, str | int | tuple | Make))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(blocks)
def test_what_is_written_is_read_as_it_was(block) -> None:
    if depth(block) <= 7:
        assert parse(text(block)) == block


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("pick(red_cube", "line 1: got 'the end', expected ')'"),
        ("navigate(a)\nwhile { pick(a) }", "line 2: got '{', expected a condition"),
        ("repeat 0 times { }", "expected a number from 1 to 100"),
        ("repeat 1000000 times { }", "expected a number from 1 to 100"),
        ("for x: cube { }", "expected 'each'"),
        ("for each x in cube { }", "expected ':'"),
        ("pick(a))", "expected a statement"),
        ("}", "expected a statement"),
        ("if holding(robot, _) { pick(a)", "expected '}'"),
        ("import os", "expected '('"),
        ("__import__('os').system('ls')", 'got "\'"'),
        ('pick("\\x")', "escaped as in JSON"),
        ("{" * 50, "expected a statement"),
        ("if " + "not " * 50 + "on(a, b) { }", "at most 8 blocks or brackets within each other"),
        ("repeat 2 { " * 50, "at most 8 blocks or brackets within each other"),
        ("#" * 30_000, "expected at most 20000"),
    ],
)
def test_what_is_no_program_is_refused_with_its_line(said: str, told: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(said)
    assert caught.value.failure is Failure.PARSE
    assert told.replace("'the end'", "the end") in str(caught.value).replace("'the end'", "the end")


tokens = st.sampled_from(
    ["for each x: cube", "while", "if", "else", "repeat 3", "{", "}", "(", ")", ",", "not", "and", "pick(x)", "on(x, _)", '"']
)


@settings(max_examples=1000, deadline=2000, suppress_health_check=list(HealthCheck))
@given(st.lists(tokens, max_size=20).map(" ".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused(said: str) -> None:
    try:
        made = program(said)
    except PlanError as error:
        found = error.failure
    else:
        found = None
        check(made.block, LIBRARY, THINGS)
        assert parse(str(made)) == made.block
    assert found in (None, Failure.PARSE)


# --- checked before anything runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "failure", "told"),
    [
        ("if holding(robot, _) { teleport(kitchen) }", Failure.HALLUCINATION, "unknown skill: got 'teleport'"),
        ("repeat 2 { pick(gold_cube) }", Failure.HALLUCINATION, "unknown name: got 'gold_cube'"),
        ("pick(red_cube, blue_table)", Failure.ARITY, "expected (object)"),
        ("pick(red_bin)", Failure.AFFORDANCE, "red_bin, a bin, expected object"),
        ("for each x: table { pick(x) }", Failure.AFFORDANCE, "x, a table, expected object"),
        ("for each x: cube { pick(y) }", Failure.HALLUCINATION, "unknown name: got 'y'"),
        ("for each x: robot { navigate(x) }", Failure.HALLUCINATION, "unknown kind: got 'robot'"),
        ("for each x: spoon { pick(x) }", Failure.HALLUCINATION, "unknown kind: got 'spoon'"),
        ("for each red_cube: cube { pick(red_cube) }", Failure.PARSE, "a name that nothing else has"),
        ("for each x: cube { for each x: ball { } }", Failure.PARSE, "a name that nothing else has"),
        ("for each x: cube { } pick(x)", Failure.HALLUCINATION, "unknown name: got 'x'"),
        ("while heavy(red_cube) { }", Failure.HALLUCINATION, "unknown predicate: got 'heavy'"),
        ("if on(red_cube) { }", Failure.ARITY, "expected 2 of them"),
        ("if on(blue_table, red_cube) { }", Failure.AFFORDANCE, "blue_table, a table"),
    ],
)
def test_faults_are_found_where_the_program_never_comes(said: str, failure: Failure, told: str) -> None:
    first, *_ = program(said).static_faults(LIBRARY, THINGS)
    assert first.failure is failure
    assert told in str(first)


def test_good_programs_have_no_faults() -> None:
    said = "for each x: object where on(x, _) or not in_room(x, kitchen) { navigate(x) if near(robot, x) { pick(x) } }"
    assert program(said).static_faults(LIBRARY, THINGS) == []
    assert program("for each x: toggle { turn_on(x) }").static_faults(tuple(SKILLS.values()), THINGS[:2]) == []  # where there is none


# --- carried out --------------------------------------------------------------------------------------------------


def asked(run, *states) -> list[str]:
    return [str(run.next(frozenset(state))) for state in states]


def test_conditions_are_those_of_the_moment() -> None:
    run = program("if holding(robot, _) { navigate(kitchen) } else { navigate(study) } while on(red_cube, _) { pick(red_cube) }").begin(
        THINGS
    )
    on, held = ("on", "red_cube", "blue_table"), ("holding", "robot", "red_cube")
    assert asked(run, [held], [on], [on], [held]) == ["navigate(kitchen)", "pick(red_cube)", "pick(red_cube)", "None"]
    assert run.next(frozenset([on])) is None  # over is over


def test_for_each_looks_when_a_things_turn_comes() -> None:
    objects = [t.name for t in THINGS if t.type == "object"]
    run = program("for each x: object where in_room(x, kitchen) { navigate(x) }").begin(THINGS)
    everywhere = {("in_room", name, "kitchen") for name in objects}
    assert asked(run, everywhere, everywhere) == [f"navigate({name})" for name in objects[:2]]
    assert run.next(frozenset()) is None
    one_kind = program("for each x: ball { navigate(x) }").begin(THINGS)
    assert asked(one_kind, [], []) == [f"navigate({next(t.name for t in THINGS if t.kind == 'ball')})", "None"]


def test_a_failed_call_ends_the_round_of_a_while_and_else_the_program() -> None:
    run = program("while not holding(robot, red_cube) at most 3 times { navigate(red_cube) pick(red_cube) } navigate(study)").begin(THINGS)
    assert asked(run, [], []) == ["navigate(red_cube)", "pick(red_cube)"]
    run.failed()
    assert asked(run, []) == ["navigate(red_cube)"]
    run.failed()
    assert asked(run, [], [("holding", "robot", "red_cube")]) == ["navigate(red_cube)", "pick(red_cube)"]
    run.failed()  # the third round was the last
    assert asked(run, [], []) == ["navigate(study)", "None"]
    run = program("repeat 2 { pick(red_cube) } navigate(study)").begin(THINGS)
    assert asked(run, []) == ["pick(red_cube)"]
    run.failed()
    assert asked(run, [], []) == ["None", "None"]


def test_what_cannot_finish_stops_at_its_budget() -> None:
    endless = program("while in_room(red_cube, _) { navigate(red_cube) navigate(blue_table) }").begin(THINGS)
    for _ in range(MAX_CALLS):
        assert endless.next(FACTS)
    assert endless.next(FACTS) is None
    assert endless.stopped.failure is Failure.LIMIT
    assert endless.stopped.got == f"{MAX_CALLS} calls"
    assert endless.next(FACTS) is None
    idle = program("while not pressed(red_cube) { repeat 100 { if on(red_cube, red_cube) { pick(red_cube) } } }").begin(THINGS)
    clock = time.perf_counter()
    assert idle.next(frozenset()) is None
    assert time.perf_counter() - clock < 2
    assert idle.stopped.got == f"{MAX_LOOKS} looks at conditions"
    assert idle.next(frozenset()) is None


def test_what_could_not_be_started_is_not_called_again_where_nothing_has_changed() -> None:
    run = program("while not holding(robot, red_cube) { pick(red_cube) }").begin(THINGS)
    assert str(run.next(FACTS)) == "pick(red_cube)"
    run.failed(started=False)
    assert run.next(FACTS) is None
    assert "the same call, nothing changed" in str(run.stopped)
    run = program("while not holding(robot, red_cube) { pick(red_cube) }").begin(THINGS)
    changed = FACTS | {("on", "red_cube", "blue_table")}
    for facts, started in ((FACTS, False), (changed, True), (changed, True)):  # what was started may be tried again
        assert run.next(facts)
        run.failed(started)
    assert run.next(FACTS) is None


@pytest.fixture(scope="module")
def some():
    return problems(tasks.source("rearrange", "test").env, "test", 0, range(10))


def straight(steps) -> str:
    return text(tuple(Make(c.skill, tuple(c.args.values())) for c in steps))


def test_tried_out_a_program_is_what_its_calls_are(some) -> None:
    """The oracle's plans as programs, whole and with a call taken out: the same faults as those of the list."""
    for p in some:
        plan = OraclePlanner().plan(p)
        assert try_out(Program.parse(straight(plan.steps), LIBRARY), p.things, p.facts, p.goal, p.mechanics) == []
        for left_out in range(len(plan.steps)):
            calls = plan.steps[:left_out] + plan.steps[left_out + 1 :]
            made = Program.parse(straight(calls), LIBRARY)
            assert try_out(made, p.things, p.facts, p.goal, p.mechanics) == validate(
                type(plan)(calls), LIBRARY, p.things, p.facts, p.goal, p.mechanics
            )


def test_an_endless_program_is_told_when_it_is_tried_out() -> None:
    (fault,) = try_out(program("while in_room(red_cube, _) { navigate(red_cube) navigate(blue_table) }"), THINGS, FACTS)
    assert (fault.failure, fault.step) == (Failure.LIMIT, MAX_CALLS)


class Given:
    """The oracle's plan, as a program in a while that ends when all is done."""

    name = "given"

    def plan(self, problem):
        steps = OraclePlanner().plan(problem).steps
        return Program.parse(f"while in_room(robot, _) at most 1 times {{ {straight(steps)} }}", LIBRARY)


def test_planners_may_give_programs(some) -> None:
    for failures in (0.0, 0.3):
        done = carry_out(Given(), some, Conditions(failures=failures))
        assert sum(a.success for a in done) >= 9
    (lost,) = carry_out(Fixed("navigate(nowhere)"), some[:1], Conditions())
    assert lost.error.failure is Failure.HALLUCINATION
    (idle,) = carry_out(Fixed("while in_room(robot, _) { if holding(robot, _) { } }"), some[:1], Conditions())
    assert not idle.success
    assert "10000 looks" in idle.history[0]


class Fixed:
    name = "fixed"

    def __init__(self, said):
        self.program = program(said)

    def plan(self, problem):
        return self.program


# --- from files and models ----------------------------------------------------------------------------------------


def test_the_example_tidies_any_house(some) -> None:
    made = PlannerChoice("program", program=EXAMPLE).make(None)
    assert made.name == "program"
    for p in some:
        faults = try_out(made.plan(p), p.things, p.facts, None, p.mechanics)
        assert not any(f.failure.stops for f in faults), faults


def test_files_that_hold_no_program_are_refused(tmp_path: Path) -> None:
    for content in (b"while {", b"\xff\xfe", b"navigate(" * 10_000):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(PalaestraError, match=r"the program|expected a text file"):
            planner("program", file=tmp_path / "bad")
    with pytest.raises(PalaestraError, match=r"No such file.*Fix: --program FILE"):
        planner("program", file=tmp_path / "none")
    with pytest.raises(PalaestraError, match=r"got no file.*Fix: --program FILE"):
        PlannerChoice("program").make(None)


def told(said: object) -> str:
    return json.dumps({"program": said})


def test_a_model_may_answer_with_a_program() -> None:
    pytest.importorskip("openai")
    from palaestra.skills.planners.openai_chat import OpenAIPlanner
    from tests.skills.test_openai import PROBLEM

    good = "navigate(red_cube) while not holding(robot, red_cube) at most 3 times { pick(red_cube) }"
    bad = ["pick(red_cube)", "teleport(study)", "while in_room(red_cube, _) { navigate(red_cube) navigate(blue_table) }", 7, "import os"]
    with serve(*(says(told(said)) for said in bad), says("no"), says(f"<think>{told('x')}</think>Sure: {told(good)}")) as server:
        made = OpenAIPlanner(server.url, "fake", form="program", max_feedback=len(bad) + 1)
        plan = made.plan(PROBLEM)
        made.client.close()
    assert str(plan) == str(program(good))
    faults = [r["body"]["messages"][-1]["content"] for r in server.requests[1:]]
    for fault, words in zip(faults, ["missing_step", "hallucination", "limit", "parse", "parse", "parse"], strict=True):
        assert f"({words})" in fault
    form = server.requests[0]["body"]["response_format"]["json_schema"]
    assert form["name"] == "program"
    assert "for each x: KIND where CONDITION { ... }" in server.requests[0]["body"]["messages"][0]["content"]
    with pytest.raises(UnknownNameError, match="form"):
        OpenAIPlanner("http://127.0.0.1:1/v1", "fake", form="porgram")


def test_the_goal_is_judged_as_with_lists() -> None:
    goal = Formula.of({("holding", "robot", "red_cube")})
    assert try_out(program("navigate(red_cube) pick(red_cube)"), THINGS, FACTS, goal) == []
    (fault,) = try_out(program("navigate(red_cube)"), THINGS, FACTS, goal)
    assert fault.failure is Failure.GOAL
    assert call("pick", "red_cube") == Call("pick", {"object": "red_cube"})
