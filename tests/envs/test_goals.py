"""Goals: terms against counting by hand, progress step by step, and there and back between device and host."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs import goals
from palaestra.envs.goals import Formula, Term, alternatives, describe, literal
from palaestra.envs.names import entities, facts
from palaestra.envs.types import ALWAYS, MANY, MAX_TERMS, PREDICATES, UNARY, Goal, Task, num_entities
from palaestra.sim.errors import PalaestraError
from tests.envs.worlds import env, one, tasks

SET = "doors"  # its houses have all kinds of things
SPEC = env(SET).world.spec
SCENE = one(tasks(SET).scene, int(np.argmax(tasks(SET).scene.layout.object_used.sum(1) + tasks(SET).scene.room_used.sum(1) / 10)))
THINGS = entities(SPEC, SCENE)
OBJECTS = [t.name for t in THINGS if t.type == "object"]
TABLES = [t.name for t in THINGS if t.kind == "table"]
BINS = [t.name for t in THINGS if t.kind == "bin"]
ROOMS = [t.name for t in THINGS if t.kind == "room"]
DOORS = [t.name for t in THINGS if t.kind == "door"]
PRESSED = [t.name for t in THINGS if t.kind in ("button", "plate")]
N = num_entities(SPEC)
# What a fact may be about: robot near and holding, objects on tables and inside bins, the robot in rooms, a thing alone.
KINDS = {"near": (["robot"], OBJECTS + TABLES + BINS), "holding": (["robot"], OBJECTS), "on": (OBJECTS, TABLES), "inside": (OBJECTS, BINS)}
KINDS |= {"in_room": (["robot"], ROOMS), "open": (DOORS, DOORS), "pressed": (PRESSED, PRESSED)}


@st.composite
def a_term(draw):
    predicate = draw(st.sampled_from(sorted(KINDS)))
    subjects, targets = (tuple(draw(st.lists(st.sampled_from(k), min_size=1, unique=True))) for k in KINDS[predicate])
    subjects = targets if predicate in UNARY else subjects
    n = len(targets) if predicate in UNARY else len(subjects) * len(targets)
    at_least = draw(st.integers(0, n))
    return Term(predicate, subjects, targets, at_least, draw(st.sampled_from([MANY, *range(at_least, n + 1)])))


an_option = st.lists(a_term(), min_size=1, max_size=2).map(tuple)
a_formula = st.builds(
    Formula,
    st.lists(st.lists(an_option, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
    st.lists(a_term(), max_size=1).map(tuple),
)


def random_table(seed: int) -> np.ndarray:
    """A truth table as there may be: what is said of one thing is true of no pair."""
    table = np.random.default_rng(seed).random((len(PREDICATES), N, N)) < 0.4
    for predicate in UNARY:
        table[PREDICATES.index(predicate)] &= np.eye(N, dtype=bool)
    return table


a_table = st.integers(0, 2**31 - 1).map(random_table)


def written(said: Formula) -> Goal | None:
    """The goal on device, where the formula is not too large or empty."""
    if not all(option for stage in said.stages for option in stage):
        return None
    try:
        return goals.write(said, SPEC, SCENE)
    except PalaestraError:  # too many terms
        return None


@settings(max_examples=100, deadline=None)
@given(a_formula)
def test_a_formula_comes_back_from_the_device(said):
    goal = written(said)
    if goal is not None:
        assert goals.formula(SPEC, Task(scene=SCENE, goal=goal)) == said


@settings(max_examples=100, deadline=None)
@given(a_formula, a_table)
def test_terms_on_device_equal_counting_by_name(said, table):
    goal = written(said)
    if goal is None:
        return
    now = frozenset((p, a.name, b.name) for i, p in enumerate(PREDICATES) for a in THINGS for b in THINGS if table[i, a.index, b.index])
    holds = np.asarray(terms(jnp.asarray(table), goal))
    for number, _, _, term in goals.named_terms(SPEC, SCENE, goal):
        assert holds[number] == (term.at_least <= len(set(term.pairs) & now) <= term.at_most)
    assert holds[~np.asarray(goal.used)].all()
    progress = advance(goal, jnp.asarray(holds), goals.start())
    assert bool(progress.broken) == (not said.allowed(now))
    assert int(progress.stage) == (said.reached(0, now) and said.allowed(now))


@settings(max_examples=100, deadline=None)
@given(st.lists(a_term(), min_size=1, max_size=2), st.integers(0, 2**31 - 1))
def test_alternatives_say_what_the_option_says(option, seed):
    """In states that can be (an object in one place, one gripper), an option holds just where one of its alternatives does."""
    try:
        ways = alternatives(Formula(((tuple(option),),)).stages[0][0])
    except PalaestraError:  # too many ways
        return
    rng = np.random.default_rng(seed)
    now = {("near", "robot", name) for name in OBJECTS + TABLES + BINS if rng.random() < 0.3} | {("in_room", "robot", rng.choice(ROOMS))}
    held = rng.choice([*OBJECTS, None])
    now |= {("holding", "robot", held)} if held else set()
    now |= {("open", name, name) for name in DOORS if rng.random() < 0.5}
    now |= {("pressed", name, name) for name in PRESSED if rng.random() < 0.5}
    for name in OBJECTS:
        place = rng.choice([None, *TABLES, *BINS])
        if place and name != held:
            now.add(("on" if place in TABLES else "inside", name, place))
    now = frozenset(now)
    assert all(term.holds(now) for term in option) == any(yes <= now and not no & now for yes, no in ways)


terms, advance = jax.jit(goals.terms), jax.jit(goals.advance)
CUBE, TABLE, BIN = OBJECTS[0], TABLES[0], BINS[0]
ON, INSIDE = ("on", CUBE, TABLE), ("inside", CUBE, BIN)


def test_a_goal_touches_what_it_moves_and_of_a_denial_what_lies_there():
    """Nothing on the table, on which of two objects one lies; the robot in a room; and a rule, which touches nothing."""
    on_it, elsewhere, ruled = OBJECTS[:3]
    said = Formula(
        (((Term("on", (on_it, elsewhere), (TABLE,), 0, 0), literal(("in_room", "robot", ROOMS[0]))),),),
        (Term("holding", ("robot",), (ruled,), 0, 0),),
    )
    index = {e.name: e.index for e in THINGS}
    table = jnp.zeros((len(PREDICATES), N, N), bool).at[PREDICATES.index("on"), index[on_it], index[TABLE]].set(True)
    touched = np.asarray(goals.touched(table, goals.write(said, SPEC, SCENE)))
    assert {e.name for e in THINGS if touched[e.index]} == {on_it, TABLE, "robot", ROOMS[0]}


def walk(said: Formula, *moments: set) -> goals.Progress:
    """The progress after these moments, each a set of facts that hold."""
    index = {t.name: t.index for t in THINGS}
    goal, progress = goals.write(said, SPEC, SCENE), goals.start()
    for now in moments:
        table = np.zeros((len(PREDICATES), N, N), bool)
        for p, s, t in now:
            table[PREDICATES.index(p), index[s], index[t]] = True
        progress = advance(goal, terms(jnp.asarray(table), goal), progress)
    return progress


def test_first_and_then_are_two_stages():
    said = Formula((((literal(ON),),), ((literal(INSIDE),),)))
    wrong = walk(said, {INSIDE}, set())
    assert (int(wrong.stage), bool(wrong.done), float(wrong.share)) == (0, False, 0.0)
    half = walk(said, {ON}, set())
    assert (int(half.stage), bool(half.done), float(half.share)) == (1, False, 0.5)
    right = walk(said, {ON}, set(), {INSIDE})
    assert (int(right.stage), bool(right.done), float(right.share)) == (2, True, 1.0)
    assert said.after(1) == Formula.of([INSIDE])


def test_one_option_is_enough_and_the_best_one_counts():
    either = Formula((((literal(ON), literal(("near", "robot", BIN))), (literal(INSIDE),)),))
    assert bool(walk(either, {INSIDE}).done)
    assert bool(walk(either, {ON, ("near", "robot", BIN)}).done)
    half = walk(either, {ON})
    assert (bool(half.done), float(half.share)) == (False, 0.5)


def test_what_must_always_hold_breaks_for_good():
    said = Formula.of([INSIDE])
    said = Formula(said.stages, (literal(("in_room", "robot", ROOMS[0]), true=False),))
    bad = walk(said, {("in_room", "robot", ROOMS[0])}, {INSIDE})
    assert (bool(bad.broken), bool(bad.done), float(bad.share)) == (True, False, 0.0)
    assert bool(walk(said, set(), {INSIDE}).done)
    both = walk(said, {INSIDE, ("in_room", "robot", ROOMS[0])})
    assert (bool(both.broken), bool(both.done)) == (True, False)


def test_the_same_said_otherwise_is_equal():
    all_in = Term("inside", tuple(OBJECTS), (BIN,), len(OBJECTS))
    one_by_one = [("inside", name, BIN) for name in OBJECTS]
    assert Formula((((all_in,),),)) == Formula.of(one_by_one) == Formula.of(reversed(one_by_one))
    nowhere = tuple(literal(("on", CUBE, table), False) for table in TABLES)
    assert Formula((((Term("on", (CUBE,), tuple(TABLES), 0, 0),),),)) == Formula(((nowhere,),))
    assert Formula.of([ON]) != Formula.of([INSIDE])
    assert hash(Formula.of(one_by_one)) == hash(Formula.of(one_by_one[::-1]))


def test_exactly_two_has_one_alternative_for_each_pair():
    ways = alternatives((Term("inside", tuple(OBJECTS), (BIN,), 2, 2),))
    pairs = {frozenset(("inside", name, BIN) for name in two) for two in itertools.combinations(OBJECTS, 2)}
    assert {yes for yes, _ in ways} == pairs
    assert all(yes | no == {("inside", name, BIN) for name in OBJECTS} for yes, no in ways)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (literal(ON), f"{CUBE} on {TABLE}"),
        (literal(ON, true=False), f"{CUBE} not on {TABLE}"),
        (Term("inside", tuple(OBJECTS), (BIN,), 2, 2), f"exactly 2 of {', '.join(sorted(OBJECTS))} in {BIN}"),
        (Term("inside", tuple(OBJECTS), (BIN,), 1), f"at least 1 of {', '.join(sorted(OBJECTS))} in {BIN}"),
        (literal(("open", "red_door", "red_door")), "red_door open"),
        (literal(("pressed", "red_plate", "red_plate"), true=False), "red_plate not pressed"),
        (Term("open", ("a", "b", "c"), ("a", "b", "c"), 2, 2), "exactly 2 of a, b, c open"),
        (Term("on", (CUBE,), tuple(TABLES)), f"{CUBE} on {' or '.join(sorted(TABLES))}" if len(TABLES) > 1 else f"{CUBE} on {TABLE}"),
    ],
)
def test_terms_in_short(term, text):
    assert describe(Formula((((term,),),))) == [text]


def test_stages_options_and_rules_in_short():
    said = Formula((((literal(ON),), (literal(INSIDE),)), ((literal(("near", "robot", BIN)),),)), (literal(INSIDE, true=False),))
    lines = [f"1. {CUBE} on {TABLE}", f"1. or {CUBE} in {BIN}", f"2. robot near {BIN}", f"always {CUBE} not in {BIN}"]
    assert describe(said) == lines
    assert ALWAYS < 0


def test_what_cannot_be_written_is_refused():
    with pytest.raises(PalaestraError, match="got 'unicorn', expected one of: robot"):
        goals.write(Formula.of([("on", "unicorn", TABLE)]), SPEC, SCENE)
    many = [("near", "robot", name) for name in OBJECTS + TABLES + BINS] + [("in_room", "robot", r) for r in ROOMS]
    stages = tuple(((literal(fact),),) for fact in many * 3)
    with pytest.raises(PalaestraError, match=f"{len(stages)} terms, expected at most {MAX_TERMS}"):
        goals.write(Formula(stages), SPEC, SCENE)


def test_facts_of_a_generated_start_do_not_reach_its_goal():
    e, batch = env(SET), tasks(SET)
    state, _ = jax.jit(jax.vmap(e.reset))(jax.random.split(jax.random.key(0), 8), jax.tree.map(lambda x: x[:8], batch))
    table = np.asarray(jax.jit(jax.vmap(lambda s: e.perceive(s)[1]))(state))
    for i in range(8):
        now = facts(entities(SPEC, one(batch.scene, i)), table[i])
        said = goals.formula(SPEC, one(batch, i))
        assert (said.onward(0, now) == len(said.stages)) == bool(state.progress.done[i])


OTHER = ("near", "robot", BIN)
BOTH = Term("inside", tuple(OBJECTS[:2]), (BIN,), 2)
SOME = tuple(OBJECTS[:3])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Formula.of([ON]), "plain"),
        (Formula.of([ON, OTHER]), "plain"),
        (Formula((((BOTH,),),)), "all"),
        (Formula((((literal(ON),),), ((literal(ON), literal(OTHER)),))), "order"),
        (Formula((((literal(ON),), (literal(INSIDE),)),)), "either"),
        (Formula((((literal(OTHER), literal(ON, true=False)),),)), "clear"),
        (Formula((((Term("inside", SOME, (BIN,), 2),),),)), "at least"),
        (Formula((((Term("inside", SOME, (BIN,), 2, 2),),),), (literal(("in_room", "robot", ROOMS[0]), true=False),)), "exactly + rule"),
    ],
)
def test_goals_belong_to_families(said, expected):
    assert goals.family(said) == expected
