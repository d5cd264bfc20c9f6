"""`palaestra tasks` as a user types it; verification finds what was spoilt on purpose."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.__main__ import main
from palaestra.envs.configs import Space
from palaestra.envs.filters import filtered, num_rooms, num_terms
from palaestra.envs.goals import formula
from palaestra.envs.taskfiles import load_tasks
from palaestra.envs.tasksets import SPLITS, TASK_SETS
from palaestra.envs.types import HOLDING, INSIDE, Task, row
from palaestra.envs.words import rulebook
from palaestra.envs.words.parser import parse
from palaestra.envs.words.references import Things
from palaestra.skills import verify as verifying
from palaestra.skills.library import SHIPPED as LIBRARY
from palaestra.skills.plan import Plan, validate
from palaestra.skills.tasks import CHUNK, Example, Wanted, problem
from palaestra.skills.tasks import source as source_of
from tests.envs import houses


@pytest.fixture(scope="module")
def source():
    return source_of("rearrange", "test")


def run(capsys, *arguments):
    status = main(["tasks", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, " ".join(err.split())


def test_sets_and_splits_are_listed(capsys):
    status, out, _ = run(capsys, "list", "--json")
    found = json.loads(out.splitlines()[-1])
    assert (status, found["sets"].keys(), found["splits"].keys()) == (0, TASK_SETS.keys(), set(SPLITS))
    assert found["splits"]["test"] == "every set"
    assert "language" in found["splits"]["larger"]
    assert "four rooms" in found["sets"]["rearrange"].partition("larger:")[0]
    assert "five or six rooms" in found["sets"]["rearrange"].partition("larger:")[2]


def test_a_sample_is_told_in_words_with_its_plan_and_pddl(capsys, source):
    status, out, err = run(capsys, "sample", "--count", "2", "--rooms", "2", "3", "--terms", "2", "--pddl", "--json")
    rows = json.loads(out.splitlines()[-1])["tasks"]
    assert status == 0
    assert len(rows) == 2
    for found in rows:
        (example,) = source.examples(found["number"], 1, Wanted())
        plan = [str(call) for call in example.plan.steps]
        assert (found["plan"], found["length"], len(found["goal"])) == (plan, len(plan), 2)
        assert found["rooms"] in (2, 3)
        assert found["instruction"] in err
        assert found["pddl"].keys() == {"domain.pddl", "problem.pddl", "plan"}
        assert found["pddl"]["plan"].count("\n") == len(plan)


def test_a_sample_by_a_configuration(capsys, tmp_path, source):
    space, path = Space(source.env), tmp_path / "config.json"
    path.write_text(json.dumps(space.as_dict(space.original) | {"min_rooms": 3, "max_rooms": 3, "min_goals": 2, "max_goals": 2}))
    status, out, _ = run(capsys, "sample", "--count", "5", "--config", str(path), "--json")
    rows = json.loads(out.splitlines()[-1])["tasks"]
    assert (status, [row["number"] for row in rows]) == (0, [0, 1, 2, 3, 4])
    assert {(row["rooms"], len(row["goal"])) for row in rows} == {(3, 2)}


def test_numbers_name_tasks(source):
    """Task 3 is task 3 wherever one begins to count."""
    (late,) = source.examples(3, 1, Wanted())
    early = list(source.examples(0, 4, Wanted()))[3]
    for a, b in zip(jax.tree.leaves(late.task), jax.tree.leaves(early.task), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_what_is_wanted_is_found(source):
    found = list(source.examples(0, 20, Wanted(rooms=(1, 4), lengths=(4, 8))))
    assert {e.length for e in found} == {4, 8}
    assert {int(num_rooms(e.task)) for e in found} == {1, 4}
    numbers = [e.number for e in found]
    every = source.examples(0, numbers[-1] + 1, Wanted())
    assert numbers == [e.number for e in every if e.length in (4, 8) and int(num_rooms(e.task)) in (1, 4)]


def test_filters_run_on_the_device(source):
    pool = source.chunk(0)[0].task
    keep = filtered(
        lambda key: row(jax.tree.map(jnp.asarray, pool), jax.random.randint(key, (), 0, CHUNK)),
        lambda task: (num_rooms(task) == 3) & (num_terms(task) >= 2),
    )
    tasks = jax.jit(jax.vmap(keep))(jax.random.split(jax.random.key(0), 32))
    assert (num_rooms(tasks) == 3).all()
    assert (num_terms(tasks) >= 2).all()
    assert len(np.unique(tasks.scene.layout.robot_q, axis=0)) > 16


def test_an_exported_file_is_read_back_and_solved(capsys, tmp_path, source):
    path, folder = tmp_path / "tasks.npz", tmp_path / "pddl"
    assert run(capsys, "export", "--seed", "5", "--count", "3", "--file", str(path), "--pddl", str(folder))[0] == 0
    tasks, meta = load_tasks(path, source.spec)
    assert meta == {"task_set": "rearrange", "split": "test", "numbers": [5, 6, 7]}
    for i, example in enumerate(source.examples(5, 3, Wanted())):
        assert formula(source.spec, row(tasks, i)) == example.problem.goal
        assert {p.name for p in (folder / f"{5 + i:06d}").iterdir()} == {"domain.pddl", "problem.pddl", "plan"}


def test_a_sheet_is_drawn(capsys, tmp_path):
    path = tmp_path / "sheet.png"
    assert run(capsys, "draw", "--count", "2", "--columns", "2", "--file", str(path))[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_every_task_of_a_set_is_sound():
    found = verifying.verify("rearrange", "test", 0, 60, with_pddl=12, workers=2, quiet=True)
    assert (found["value"], found["n"], found["faults"]) == (1.0, 60, [])
    assert found["pddl"] == {"n": 12, "same length": 12}
    assert sum(found["lengths"].values()) == 60
    alone = verifying.verify("rearrange", "test", 0, 60, workers=1, quiet=True)
    assert all(found[k] == alone[k] for k in ("value", "n", "lengths", "solved", "english", "duplicates", "overlaps"))


def test_what_is_spoilt_is_found_out(source, monkeypatch):
    """Things that overlap, a goal that holds at the start, one that cannot be reached, a double, words that mean something else."""
    states, tables = source.chunk(0)
    goals = [formula(source.spec, row(states.task, i)).literals or [] for i in range(100)]
    moving = [i for i, goal in enumerate(goals) if any(fact[0] in ("on", "inside", "holding") for fact in goal)]
    chosen = np.array([*moving[:4], moving[3], moving[5]])
    tasks, tables = jax.tree.map(lambda x: np.array(x[chosen]), states.task), np.array(tables[chosen])
    layout = row(tasks.scene.layout, 0)
    tasks.scene.layout.object_pos[0, np.argmax(layout.object_used)] = [*layout.robot_q[:2], 0.05]
    tables[1] = True
    tables[2, INSIDE, 1 : 1 + source.spec.objects, -source.spec.rooms - 1] = True  # all objects are in the last bin, for good
    tasks.goal.predicate[2], tasks.goal.subjects[2, 0], tasks.goal.targets[2, 0] = HOLDING, False, False
    tasks.goal.subjects[2, 0, 0] = tasks.goal.targets[2, 0, 1 + np.argmax(row(tasks.scene.layout, 2).object_used)] = True
    found, _ = verifying.check(source.spec, 0, tasks, tables, set())
    assert "overlap" in found[0].faults
    assert "trivial" in found[1].faults
    assert "unsolved" in found[2].faults
    assert not found[3].faults
    assert not found[5].faults
    assert found[3].mark == found[4].mark != found[5].mark
    monkeypatch.setattr(verifying.language, "say", lambda *_: "Go to the moon.")
    found, _ = verifying.check(source.spec, 5, row(tasks, slice(5, 6)), tables[5:], set())
    assert found[0].faults["english"].startswith("'Go to the moon.' was not read")


def test_our_plans_are_valid_by_our_own_rules_too(source):
    states, tables = source.chunk(0)
    for i in range(20):
        p = problem(source.spec, row(states.task, i), tables[i])
        (example,) = source.examples(i, 1, Wanted())
        assert validate(example.plan, LIBRARY, p.things, p.facts, p.goal) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sample", "--set", "kitchens"], "unknown task set 'kitchens'; expected one of: "),
        (["sample", "--split", "dev"], "unknown split 'dev'; expected one of: larger, test, train, validation"),
        (["sample", "--count", "0"], "got 0 from number 0, expected 1 or more"),
        (["sample", "--lengths", "99"], "got 0 of 5 among tasks 0 to"),
        (["draw", "--columns", "0"], "columns: got 0, expected 1 or more"),
        (["verify", "--count", "2", "--pddl", "3"], "got 2 tasks from number 0, 3 with PDDL"),
        (["export", "--count", "1", "--file", "/proc/none/tasks.npz"], "/proc/none/tasks.npz: cannot write"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(capsys, monkeypatch, arguments, expected):
    monkeypatch.setattr("palaestra.skills.tasks._SEARCHED", 500)
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert expected in err


def test_without_the_extra_the_fix_is_named(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "up_fast_downward", None)
    status, _, err = run(capsys, "verify", "--count", "2", "--pddl", "1")
    assert status == 2
    assert "needs the package 'up-fast-downward', which is not installed. Fix: pip install 'palaestra[pddl]'" in err


@pytest.mark.parametrize("shown", [True, False])
def test_a_report_tells_the_rules_unless_they_are_hidden(shown):
    goal = parse("Open the green door.", houses.SPEC, houses.house())
    world = SimpleNamespace(spec=houses.SPEC)
    env = SimpleNamespace(world=world, held_out_words=False, show_rules=shown, instruction=lambda task, number: "")
    example = Example(env, 3, SimpleNamespace(task=Task(scene=houses.house(), goal=goal)), np.zeros(0))
    example.__dict__["plan"] = Plan(())  # what the oracle finds is of no matter here
    report = example.report()
    assert report["goal"] == ["green_door open"]
    assert "blue button has been pressed" not in report["scene"]
    rules = rulebook.read_all(" ".join(report["rules"]), Things.of(houses.SPEC, houses.house()))
    assert rules == (houses.RULES if shown else ())
