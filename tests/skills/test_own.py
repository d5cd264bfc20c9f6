"""A skill of one's own in one file: the tutorial's, and files that make no sense. The library is as it was after each test."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import palaestra
from palaestra.envs import predicates, vocabulary
from palaestra.envs.env import Rearrange
from palaestra.envs.goals import Formula, write
from palaestra.envs.names import Entity, entities
from palaestra.envs.types import PREDICATES
from palaestra.envs.words import literals
from palaestra.envs.words.references import Things
from palaestra.policies.evaluate import Result
from palaestra.policies.files import file_hash
from palaestra.sim.errors import PalaestraError
from palaestra.skills import admission, pddl, recipes
from palaestra.skills.checks import RecordError
from palaestra.skills.executor import Executor
from palaestra.skills.library import NAVIGATE, SHIPPED, SKILLS
from palaestra.skills.operators import DOMAIN, Call, contracts, ground, json_schema, prompt_text
from palaestra.skills.own import forget, load
from palaestra.skills.plan import Failure, Plan, validate
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.shipped import card, learned
from tests.envs.test_predicates import BIN, CUBE, ENGINE, TABLE, W, house
from tests.sim.scenes import SMALL, open_floor, with_table

FILE = Path(palaestra.__file__).parents[1] / "examples" / "rotate.py"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="the examples stand in the repository only")

NAMES = {"robot": "robot", "red_cube": "cube", "blue_table": "table", "green_bin": "bin", "kitchen": "room"}
THINGS = tuple(Entity(i, name, kind) for i, (name, kind) in enumerate(NAMES.items()))
HERE = frozenset(("in_room", name, "kitchen") for name in NAMES if name != "kitchen")
CUBE_HERE, TO_BIN = ("near", "robot", "red_cube"), ("facing", "red_cube", "green_bin")
TURN = Call("rotate", {"object": "red_cube", "target": "green_bin"})


@pytest.fixture
def rotate():
    yield load(FILE)
    forget(FILE)
    assert (*SKILLS.values(),) == SHIPPED
    assert tuple(DOMAIN) == vocabulary.predicates() == PREDICATES


def test_the_file_is_short_and_what_it_says_is_in_the_library(rotate):
    assert len(FILE.read_text().splitlines()) < 100
    assert library() == (*SHIPPED, rotate)
    assert vocabulary.predicates() == (*PREDICATES, "facing")
    assert load(FILE).name == "rotate", "loaded again, it takes its own place"
    assert list(SKILLS).count("rotate") == 1


def test_its_contract_and_what_ends_with_whom(rotate):
    contract = contracts(library(), THINGS)[TURN]
    assert contract.pre == {CUBE_HERE}
    assert contract.neg == {("holding", "robot", "red_cube"), ("inside", "red_cube", "green_bin"), TO_BIN}
    assert (contract.add, contract.delete) == ({TO_BIN}, set())
    operators = {o.call: o for o in ground(library(), THINGS) if o.call.skill in ("rotate", "pick")}
    assert operators[TURN].delete == {("facing", "red_cube", "blue_table")}
    assert {f for f in operators[Call("pick", {"object": "red_cube"})].delete if f[0] == "facing"} == {
        TO_BIN,
        ("facing", "red_cube", "blue_table"),
    }


def test_its_pddl_is_as_written_by_hand(rotate):
    text = pddl.domain(library(), THINGS)
    action = """  (:action rotate-bin
    :parameters (?object - item ?target - bin)
    :precondition (and (near robot ?object) (holding_nothing robot) (inside_nothing ?object) (not (facing ?object ?target)))
    :effect (and (facing ?object ?target)
      (forall (?other_bin - bin) (when (not (= ?other_bin ?target)) (not (facing ?object ?other_bin))))
      (forall (?other_table - table) (not (facing ?object ?other_table)))))"""
    assert "(facing ?s - item ?t - thing)" in text
    assert action in text


def test_language_models_are_told_of_it(rotate):
    told = prompt_text(library(), THINGS)
    assert "rotate(object: object, target: table or bin)\n  Turn a cube where it lies" in told
    assert "Then: <object> faces <target>." in told
    assert "- A cube faces one thing at a time, and nothing once it is picked up." in told
    (branch,) = (
        b for b in json_schema(library(), THINGS)["properties"]["steps"]["items"]["anyOf"] if "target" in str(b) and "rotate" in str(b)
    )
    assert branch["properties"]["args"]["properties"]["target"]["enum"] == ["blue_table", "green_bin"]


def test_the_oracle_turns_it_after_it_was_put_down(rotate):
    on = ("on", "red_cube", "blue_table")
    goal = literals.read("facing(red_cube, green_bin), on(red_cube, blue_table)", Things(THINGS, {}))
    assert goal == Formula.of([TO_BIN, on])
    plan = OraclePlanner().plan(Problem("", THINGS, HERE, goal))
    calls = "navigate(red_cube), pick(red_cube), navigate(blue_table), place(red_cube, blue_table), rotate(red_cube, green_bin)"
    assert str(plan) == calls
    assert validate(plan, library(), THINGS, HERE, goal) == []
    (fault,) = validate(Plan((plan.steps[0], TURN, *plan.steps[1:4])), library(), THINGS, HERE, goal)
    assert fault.failure is Failure.GOAL, "taken up, it faces nothing any more"


TURNS = {0: True, 9: True, -9: True, 11: False, 45: False, 79: False, 81: True, 180: True, 261: True}


def test_a_cube_faces_what_a_side_of_it_is_turned_to(rotate):
    """The bin is 2 m to the west of the cube: its sides are turned there at whole quarter turns. Nothing else is in such a direction."""
    row = vocabulary.number("facing")
    for degrees, true in TURNS.items():
        layout = open_floor(
            W, pos=((1.0, 0.0, 0.03), (-1.0, 1.5, 0.03)), yaw=(np.deg2rad(degrees), 0.0), robot=(0.0, -1.5, 0.0, 0.0, 0.0, 0.0)
        )
        table = np.asarray(_table(house(with_table(W, layout, xy=(1.4, 1.0)))))
        assert table.shape[0] == len(PREDICATES) + 1
        found = {tuple(pair) for pair in np.argwhere(table[row]).tolist()} - {(CUBE, TABLE)}
        assert found == ({(CUBE, BIN)} if true else set()), f"{degrees} degrees; a ball faces nothing, and nothing but what stands is faced"


@jax.jit
def _table(scene):
    physics, ctrl = ENGINE.init(scene.layout), jnp.zeros(6, jnp.float32)
    return predicates.truths(W, scene, physics, predicates.geometry(W, scene, physics, ctrl))


def test_nothing_else_is_observed_with_it_or_without(rotate):
    env = Rearrange(SMALL)
    sizes = [jax.eval_shape(env.begin, jax.random.key(0))[1].observation.shape]
    forget(FILE)
    sizes.append(jax.eval_shape(env.begin, jax.random.key(0))[1].observation.shape)
    assert sizes == [(env.observation_size,)] * 2
    assert _rows() == len(PREDICATES)
    load(FILE)
    assert _rows() == len(PREDICATES) + 1


def _rows():
    return jax.eval_shape(lambda: predicates.table_at_start(W, house(open_floor(W)))).shape[0]


# --- learning, measuring, executing -------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_is_trained_from_its_file(rotate, tmp_path):
    result = recipes.train(str(FILE), 0, 256, 16, -1.0, tmp_path, resume=False, changes=("num_steps=16", "minibatches=2", "hidden=[8]"))
    assert result["name"] == "train skill/rotate"
    assert result["steps"] == 256
    made = learned(SKILLS["rotate"], tmp_path / "policy.safetensors")
    assert made.act(jnp.zeros(rotate.observation_size)).shape == (5,)


def test_weights_and_card_are_kept_beside_the_file(tmp_path, monkeypatch):
    file, run = tmp_path / "rotate.py", tmp_path / "run"
    file.write_text(FILE.read_text())
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"seed": 3, "steps": 1000, "easy": 0.2}))
    (run / "metrics.csv").write_text("update,steps,success\n1,10,0.5\n")
    (run / "policy.safetensors").write_bytes(FILE.with_suffix(".safetensors").read_bytes())
    with pytest.raises(PalaestraError, match=r"rotate.safetensors: no weights for skill 'rotate'. Fix: palaestra train .*rotate.py, then"):
        learned(load(file))
    share = {"now": 0.5}

    def evaluate(env, network, policy, episodes, *, seed):
        success = np.arange(episodes) < round(share["now"] * episodes)
        return Result(success, np.full(episodes, 30), np.zeros(episodes), {"lost": ~success})

    monkeypatch.setattr(admission, "evaluate", evaluate)
    monkeypatch.setattr(admission, "by_context", lambda *a: {})
    with pytest.raises(PalaestraError, match=r"the gate is 0\.8"):
        admission.admit(str(file), run, 40, 1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["rotate.py", "run"]
    share["now"] = 1.0
    admission.admit(str(file), run, 40, 1)
    about = json.loads((tmp_path / "rotate.json").read_text())
    assert about["weights"] == file_hash(tmp_path / "rotate.safetensors") == file_hash(run / "policy.safetensors")
    assert about["measured_with"] == f"palaestra eval {file} --episodes 40 --seed 1"
    assert about["training"]["command"] == f"palaestra train {file} --seed 3"
    forget(file)


def test_the_card_beside_the_example_is_of_its_weights(rotate):
    about = card(rotate)
    assert about["weights"] == file_hash(FILE.with_suffix(".safetensors")), "measure again: palaestra admit examples/rotate.py"
    assert about["interval"][0] >= about["gate"] == rotate.gate
    assert {*about["context"]["object"]} == {"object"}
    assert {*about["context"]["target"]} == {"table", "bin", "button"}
    assert sum(group[3] for group in about["context"]["target"].values()) == about["n"]
    assert "/" not in about["training"]["command"].replace("examples/rotate.py", ""), "no folder of one machine"


@pytest.mark.slow
def test_the_executor_turns_cubes(rotate):
    """In a house of one room, a cube anywhere in it: driven to, and turned to the bin or the table, whichever it does not lie on."""
    skills = (NAVIGATE, rotate)
    env = Rearrange(rotate.train_spec, max_goals=1)
    executor = Executor(env, {s.name: learned(s) for s in skills}, OraclePlanner(skills), max_steps=600)
    sample = jax.jit(env.sample_task)
    tasks = [_task(env, sample, i) for i in range(16)]
    episodes = executor.run(jax.tree.map(lambda *leaves: np.stack(leaves), *tasks))
    assert sum(e.success for e in episodes) >= 14
    assert {call.skill for e in episodes for call in e.calls} == {"navigate", "rotate"}
    assert episodes[0].instruction == literals.say(episodes[0].goal), "there are no words for it but the fact"


def _task(env, sample, number):
    """A house of which the goal is that its first cube faces a fixture that it does not lie on, and does not face yet."""
    task = jax.device_get(sample(jax.random.key(number)))
    scene, things = task.scene, {thing.index: thing.name for thing in entities(env.world.spec, task.scene)}
    table = np.asarray(predicates.table_at_start(env.world, scene))
    cubes = [i for i in range(1, 3) if i in things]
    fixtures = [i for i in things if i > 2 and things[i].rpartition("_")[2] in ("table", "bin", "button")]
    pairs = [(c, f) for c in cubes for f in fixtures if not table[[2, vocabulary.number("facing")], c, f].any()]
    cube, fixture = pairs[number % len(pairs)]
    return task.replace(goal=write(Formula.of([("facing", things[cube], things[fixture])]), env.world.spec, scene))


# --- files that make no sense -------------------------------------------------------------------------------------

TEXT = FILE.read_text() if FILE.exists() else ""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (TEXT, "x = 1", r"got no SKILL in it, expected a record. Fix: SKILL = Skill\(...\)"),
        (TEXT, "SKILL = 'rotate'", "got SKILL of type str, expected a record"),
        ("SKILL = Skill(", "SKILL = Skill((", r"line \d\d: '\(' was never closed"),
        ('doc="Turn', 'docs="Turn', r"line \d\d: TypeError: .*unexpected keyword argument 'docs'"),
        ('name="rotate"', 'name="pick"', "skill 'pick': got a name that a skill of the package has, expected another"),
        ('"facing": F', '"near": F', "predicate 'near': got a name that is taken, expected another than: near, holding, on"),
        ('"facing": F', '"Facing it": F', "predicate 'Facing it': got a name that is no word"),
        ('verb="faces",', 'verb="faces", through=("door",), own=1,', "TypeError: 'int' object is not iterable"),
        ('subjects=("object",)', 'subjects=("dog",)', r"predicate 'facing': subjects: got \('dog',\), expected some of: bin, button"),
        (
            '"_", "s"),)',
            '"x", "s"),)',
            r"predicate 'facing': ended_by: got \('holding', 'x', 's'\), expected \(a predicate, s or t",
        ),
        ("holds=facing,", "", "predicate 'facing': got no holds, expected a function that says when it is true"),
        ("holds=facing,", "holds=lambda *seen: jnp.zeros(3, bool),", r"holds of 'facing': got bool\[3\], expected bool\[8, 8\]"),
        ("observation_size=5 +", "observation_size=6 +", r"observe: got float32\[66\], expected float32\[67\]"),
        ("jnp.minimum", "jnp.minimal", r"line \d\d: AttributeError: .*'jax.numpy' has no attribute 'minimal'"),
        (
            'Literal(("facing",), "object"',
            'Literal(("facng",), "object"',
            "skill 'rotate': got predicate 'facng', expected of: near",
        ),
        ('effect=(Literal(("facing",), "object", "target"),)', "effect=()", "skill 'rotate': effect: got none"),
        ("train_spec=WorldSpec(cubes=2", "train_spec=WorldSpec(cubes=0", r"line \d\d: ValueError: cubes . balls: got 0"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_name_and_nothing_has_changed(tmp_path, old, new, reason):
    path = tmp_path / "mine.py"
    assert TEXT.count(old) == 1
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(RecordError, match=f"mine.py: {reason}"):
        load(path)
    assert (*SKILLS.values(),) == SHIPPED
    assert tuple(DOMAIN) == vocabulary.predicates() == PREDICATES


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecordError, match=r"mine.py: no such file; expected a Python file that defines SKILL"):
        recipes.full_id(str(tmp_path / "mine.py"))


def test_a_file_that_was_spoilt_leaves_what_it_gave_before(rotate, tmp_path):
    path = tmp_path / "mine.py"
    # A skill may have the name of a predicate, as `open` has; with its file the skill alone goes.
    path.write_text(TEXT.replace('name="rotate"', 'name="near"').replace('"facing"', '"turned"'))
    near = load(path)
    assert vocabulary.predicates()[-2:] == ("facing", "turned")
    path.write_text("SKILL =")
    with pytest.raises(RecordError, match="line 1"):
        load(path)
    assert SKILLS["near"] is near
    other = tmp_path / "other.py"
    other.write_text(TEXT.replace('name="rotate"', 'name="near"').replace('"facing"', '"looks_at"'))
    with pytest.raises(RecordError, match=r"other.py: skill 'near': got a name that a skill of .*mine.py has"):
        load(other)
    forget(path)
    assert list(SKILLS)[-1] == "rotate"
    assert vocabulary.predicates()[-1] == "facing"
