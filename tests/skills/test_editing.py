"""A task on the desk with the oracle behind it, and `palaestra edit` as a user types it."""

import contextlib
import json
import os
from functools import partial

import jax
import numpy as np
import pytest

from palaestra.__main__ import main
from palaestra.envs.editing import changes
from palaestra.envs.editing.editor import Document, Editor, thing_at
from palaestra.envs.generation.overlaps import overlapping, overlaps
from palaestra.envs.goals import formula
from palaestra.envs.names import entities
from palaestra.envs.taskfiles import TaskFileError, blank, load_tasks, save_tasks
from palaestra.envs.types import COLOURS, Scene, Task, row
from palaestra.sim.errors import PalaestraError
from palaestra.skills.editing import judge, numbered
from tests.envs.worlds import NINE, env, one, tasks

WORLD = env().world
SPEC = WORLD.spec
JUDGE = judge(SPEC)
TABLE, BIN = 1 + SPEC.objects, 1 + SPEC.objects + SPEC.tables
META = {"task_set": "rearrange", "split": "train", "numbers": [0, 1, 2]}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tasks.npz"
    save_tasks(path, row(tasks(), slice(0, 3)), SPEC, META)
    return path


@pytest.fixture
def editor(file) -> Editor:
    """The second task of a file of three, the first with all slots in use being there."""
    full = next(i for i in range(256) if one(tasks(), i).scene.layout.object_used.all() and one(tasks(), i).scene.room_used.sum() > 1)
    save_tasks(file, row(tasks(), np.array([0, full, 2])), SPEC, META)
    return Editor(WORLD, Document.of_file(file, SPEC, 1), JUDGE)


def words(editor: Editor, thing: int) -> str:
    return changes.thing_of(SPEC, editor.task.scene, thing).name.replace("_", " ")


def place(editor: Editor, thing: int) -> np.ndarray:
    return changes.position(SPEC, editor.task.scene, thing)


def same(a: Task, b: Task) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def test_a_generated_task_is_solved_in_front_of_the_user(editor):
    report = editor.report()
    assert report.faults == ()
    assert report.plan == JUDGE(editor.task, start_table(editor.task))
    assert [text for _, text in report.terms]
    assert not any(holds for holds, _ in report.terms)
    assert editor.collisions == ()
    editor.say(report.instruction)
    assert formula(SPEC, editor.task) == formula(SPEC, row(editor.document.tasks, 1))  # it says what the goal is


def start_table(task: Task) -> np.ndarray:
    state, _ = jax.jit(env().reset)(jax.random.key(0), task)
    return np.asarray(env().perceive(state)[1])


def test_a_cube_on_the_floor_takes_four_calls_to_the_bin_and_none_once_it_is_there(editor):
    editor.move(1, place(editor, 0) + 5.0)  # far from the robot, wherever that is
    editor.say(f"Put the {words(editor, 1)} in the {words(editor, BIN)}.")
    cube, box = (words(editor, i).replace(" ", "_") for i in (1, BIN))
    assert editor.report().plan[-2:] == (f"navigate({box})", f"place({cube}, {box})")
    editor.move(1, place(editor, BIN))
    report = editor.report()
    assert report.trivial
    assert report.faults == ("the goal already holds",)
    assert report.terms == ((True, f"{cube} in {box}"),)


def test_what_cannot_be_solved_is_told_with_the_reason(editor):
    editor.say(f"Put the {words(editor, 1)} on the {words(editor, TABLE)}.")
    assert editor.report().obstacle == ""
    editor.move(1, place(editor, BIN))  # out of a bin nothing can be taken
    cube, box = (words(editor, i).replace(" ", "_") for i in (1, BIN))
    report = editor.report()
    assert "no plan exists" in report.obstacle
    assert f"inside({cube}, {box}) being false, and nothing can make that so" in report.obstacle
    assert report.faults == (report.obstacle,)
    assert report.plan == ()
    editor.undo()
    assert editor.report().obstacle == ""


def test_a_rule_that_is_broken_at_the_start_is_told(editor):
    editor.move(2, place(editor, TABLE))
    editor.say(
        f"Put the {words(editor, 1)} in the {words(editor, BIN)}. The {words(editor, 2)} must always be on the {words(editor, TABLE)}."
    )
    assert editor.report().obstacle == ""
    editor.move(2, place(editor, TABLE) + 1.0)
    assert "what must always hold does not now" in editor.report().obstacle


def test_tables_in_the_only_doorway_are_told(editor):
    task = next(t for t in (one(tasks(), i) for i in range(256)) if t.scene.room_used.sum() == 2 and t.scene.door_used.sum() == 1)
    blocked = Editor(WORLD, Document.of_task(task, "", editor.document.path.with_name("new.npz"), {}), JUDGE)
    assert blocked.report().out_of_reach == ()
    (door,) = np.flatnonzero(task.scene.door_used)
    beside = np.array([0.0, 0.21] if task.scene.door_along_x[door] else [0.21, 0.0])
    blocked.move(TABLE, task.scene.door[door] + beside)
    blocked.move(TABLE + 1, task.scene.door[door] - beside)
    report = blocked.report()
    assert report.out_of_reach
    assert f"the robot cannot drive up to {', '.join(report.out_of_reach)}" in report.faults


def test_what_overlaps_is_named(editor):
    cube, ball = (words(editor, i).replace(" ", "_") for i in (1, 4))
    editor.move(1, place(editor, 4) + 0.01)
    assert editor.collisions == ((cube, ball),)
    wall = next(i for i in range(SPEC.walls) if editor.task.scene.fixture_used[i])
    editor.move(1, editor.task.scene.layout.fixture_pos[wall, :2])
    assert editor.collisions == ((cube, "a wall"),)
    editor.move(1, place(editor, 0))
    assert editor.collisions == (("robot", cube),)
    editor.undo()
    editor.undo()
    editor.undo()
    assert editor.collisions == ()


def test_pairs_that_overlap_are_as_many_as_are_counted():
    scenes: Scene = jax.tree.map(lambda x: np.array(x[:64]), tasks().scene)
    rng = np.random.default_rng(0)
    scenes.layout.object_pos[..., :2] = rng.uniform(-1.0, 1.0, scenes.layout.object_pos[..., :2].shape)
    counts = overlaps(SPEC, scenes)
    for i in range(64):
        found = overlapping(SPEC, row(scenes, i))
        assert (len(found) > 0) == (counts[i] > 0)
        assert len(found) <= counts[i]  # of boxes: a bin has five
        assert all(a < b for a, b in found)
    assert counts.astype(bool).sum() > 10


def test_undo_and_redo_restore_every_bit(editor):
    acts = [
        lambda: editor.move(1, (0.1, 0.2)),
        lambda: editor.move(TABLE, place(editor, TABLE) + 0.05),
        lambda: editor.turn(0, 0.5),
        lambda: editor.remove(4),
        lambda: editor.add("ball", (0.3, 0.3)),
        lambda: editor.resize(1, 0.030),
        lambda: editor.say(f"Go to the {words(editor, BIN)}."),
        lambda: editor.recolour(TABLE, "orange" if "orange" not in words(editor, TABLE + 1) else "red"),
    ]
    states = [jax.tree.map(np.copy, editor.task)]
    for act in acts:
        act()
        states.append(jax.tree.map(np.copy, editor.task))
    assert editor.unsaved
    for state in states[-2::-1]:
        editor.undo()
        assert same(editor.task, state)
    assert not editor.unsaved
    with pytest.raises(PalaestraError, match="nothing to be undone"):
        editor.undo()
    for state in states[1:]:
        editor.redo()
        assert same(editor.task, state)
    with pytest.raises(PalaestraError, match="nothing to be done again"):
        editor.redo()
    editor.undo()
    editor.move(1, (0.0, 0.0))
    assert not editor.can_redo


def test_the_parts_of_one_drag_are_undone_together(editor):
    before = editor.task
    for k in range(5):
        editor.move(1, (0.1 * k, 0.0), "drag")
    assert place(editor, 1)[0] == pytest.approx(0.4)
    editor.select(1)
    editor.move(1, (0.0, 0.5), "drag")  # another one
    editor.undo()
    assert place(editor, 1)[0] == pytest.approx(0.4)
    editor.undo()
    assert editor.task is before


def test_what_fails_changes_nothing(editor):
    before = editor.task
    for act in (
        lambda: editor.recolour(1, "mauve"),
        lambda: editor.say("fly to the moon"),
        lambda: editor.remove(0),
        lambda: editor.add("ball"),
    ):
        with pytest.raises(PalaestraError):
            act()
    assert editor.task is before
    assert not editor.can_undo


def test_the_selection_goes_with_its_thing(editor):
    editor.select(2)
    editor.remove(2)
    assert editor.selected is None
    editor.add("cube", (0.2, 0.2))
    assert editor.selected == 2
    editor.undo()
    assert editor.selected is None


def test_without_a_goal_there_is_something_to_do(editor):
    editor.say(f"Pick up the {words(editor, 1)}.")
    editor.remove(1)
    report = editor.report()
    assert report.faults == ("no goal yet: type an instruction",)
    assert (report.instruction, report.terms, report.plan) == ("", (), ())


def test_a_saved_task_is_read_back_and_played(editor, file):
    others = jax.tree.map(np.copy, editor.document.tasks)
    editor.move(1, place(editor, TABLE))
    editor.say(f"Put the {words(editor, 1)} in the {words(editor, BIN)}.")
    assert editor.save() == file
    assert not editor.unsaved
    back, meta = load_tasks(file, SPEC)
    assert meta == META | {"edited": [1]}
    assert same(row(back, 1), editor.task)
    assert same(row(back, 0), row(others, 0))
    assert same(row(back, 2), row(others, 2))
    state, _ = jax.jit(env().reset)(jax.random.key(0), row(back, 1))
    assert not bool(state.progress.done)
    table = np.asarray(env().perceive(state)[1])
    assert JUDGE(row(back, 1), table) == editor.report().plan
    np.testing.assert_allclose(WORLD.object_pose(state.physics.qpos)[0][0, :2], place(editor, 1), atol=1e-6)
    assert [p.name for p in file.parent.iterdir()] == [file.name]  # nothing half written is left


def test_reload_brings_back_what_the_file_holds(editor):
    editor.turn(0, 1.0)
    editor.save()
    saved = editor.task
    editor.turn(0, 1.0)
    mine = editor.task
    editor.reload()
    assert same(editor.task, saved)
    assert not editor.unsaved
    editor.undo()
    assert editor.task is mine
    assert editor.unsaved


def test_a_task_of_a_set_becomes_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = numbered(env(), 7)
    assert document.path.as_posix() == "runs/tasks/rearrange-train-7.npz"
    editor = Editor(WORLD, document, JUDGE)
    assert same(editor.task, jax.device_get(jax.jit(env().task)(np.int32(7))))
    editor.turn(0, 0.1)
    editor.reload()  # there is no file: as it was opened
    assert same(editor.task, document.task)
    editor.save()
    assert load_tasks(document.path, SPEC)[1] == {"task_set": "rearrange", "split": "train", "numbers": [7], "edited": [0]}
    assert numbered(env(), 7).path.name == "rearrange-train-7-2.npz"  # nothing that was saved is lost
    with pytest.raises(PalaestraError, match=r"got a file that exists, expected a new one. Fix: edit it with --file"):
        numbered(env(), 7, document.path)


def test_a_file_can_be_saved_to_another(file, tmp_path):
    before = file.read_bytes()
    editor = Editor(WORLD, Document.of_file(file, SPEC, 0, tmp_path / "new" / "other.npz"), JUDGE)
    editor.turn(0, 1.0)
    editor.save()
    assert file.read_bytes() == before
    assert len(load_tasks(tmp_path / "new" / "other.npz", SPEC)[0].goal.used) == 3
    with pytest.raises(PalaestraError, match="expected a new one"):
        Document.of_file(file, SPEC, 0, file)


def test_what_cannot_be_written_stays_unsaved(editor):
    folder = editor.document.path.parent / "folder"
    folder.mkdir()
    editor.document = Document(editor.document.tasks, 1, folder, "")
    editor.turn(0, 1.0)
    with pytest.raises(TaskFileError, match=r"folder: cannot write \(Is a directory\)"):
        editor.save()
    assert editor.unsaved


def test_the_uppermost_thing_is_under_the_pointer(editor):
    scene = editor.task.scene
    for e in entities(SPEC, scene):
        if e.kind in ("cube", "ball", "robot"):
            assert thing_at(SPEC, scene, place(editor, e.index)) == e.index
    corner = place(editor, TABLE) + scene.layout.fixture_half[SPEC.walls, :2] - 0.01
    assert thing_at(SPEC, scene, corner) == TABLE
    assert thing_at(SPEC, scene, (50.0, 50.0)) is None
    editor.move(1, place(editor, TABLE))
    assert thing_at(SPEC, editor.task.scene, place(editor, TABLE)) == 1
    beside = place(editor, 1) + np.array([editor.task.scene.layout.object_half[0] + 0.01, 0.0])
    assert thing_at(SPEC, editor.task.scene, beside) == TABLE
    assert thing_at(SPEC, editor.task.scene, beside, slack=0.02) == 1


def test_whatever_is_done_it_stays_a_task_that_can_be_said_and_saved(tmp_path):
    """Random changes: names stay unique, the instruction is read back as the same goal, and the file takes it."""
    rng, done = np.random.default_rng(0), 0
    for i in range(6):
        editor = Editor(WORLD, Document.of_task(one(tasks("language", "test"), i), "", tmp_path / f"{i}.npz", {}), JUDGE)
        for _ in range(12):
            thing, xy = int(rng.choice([e.index for e in entities(SPEC, editor.task.scene)])), rng.uniform(-2.5, 2.5, 2)
            acts = [
                partial(editor.move, thing, xy),
                partial(editor.turn, thing, 1.0),
                partial(editor.add, str(rng.choice(changes.KINDS)), xy),
                partial(editor.remove, thing),
                partial(editor.recolour, thing, str(rng.choice(COLOURS))),
                partial(editor.resize, thing, float(rng.uniform(*changes.HALF))),
            ]
            with contextlib.suppress(PalaestraError):
                acts[rng.integers(len(acts))]()
                done += 1
            names = [e.name for e in entities(SPEC, editor.task.scene)]
            assert len(set(names)) == len(names)
            if text := editor.report().instruction:
                assert formula(SPEC, changes.with_goal(SPEC, editor.task, text)) == formula(SPEC, editor.task)
        editor.save()
        assert same(row(load_tasks(tmp_path / f"{i}.npz", SPEC)[0], 0), editor.task)
    assert done > 30


def test_fields_that_the_editor_does_not_know_are_carried_along(editor):
    """Whatever a scene holds besides, such as density and friction here, is the same after any change."""
    lay = editor.task.scene.layout
    odd = lay.replace(object_density=lay.object_density + np.arange(SPEC.objects, dtype=np.float32))
    editor.task = editor.task.replace(scene=editor.task.scene.replace(layout=odd))
    editor.move(TABLE, (0.2, 0.2))
    editor.remove(2)
    editor.add("cube", (0.5, 0.5))
    editor.resize(2, 0.030)
    assert (editor.task.scene.layout.object_density == odd.object_density).all()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "kitchens"], "unknown task set 'kitchens'; expected one of: "),
        (["--split", "dev"], "unknown split 'dev'; expected one of: larger, test, train, validation"),
        (["--seed", "-1"], "seed: got -1, expected 0 to 2147483647"),
        (["--file", "none.npz"], "none.npz: cannot read (No such file or directory)"),
        (["--file", "cut.npz"], "cut.npz: cut short or damaged"),
        (["--file", "foreign.npz"], "foreign.npz: an npz file of something else; expected one that `palaestra tasks export` wrote"),
        (["--file", "nine.npz"], "nine.npz: made for another world; balls: got 2, expected 1"),
        (["--file", "good.npz", "--seed", "3"], "good.npz: got task 3, expected one of its 3: 0 to 2"),
        (["--file", "good.npz", "--to", "cut.npz"], "cut.npz: got a file that exists, expected a new one"),
    ],
)
def test_wrong_words_and_files_are_answered_with_the_right_ones(capsys, tmp_path, monkeypatch, file, arguments, expected):
    monkeypatch.chdir(tmp_path)
    os.rename(file, "good.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:900])
    np.savez("foreign.npz", weights=np.zeros(3))
    save_tasks(tmp_path / "nine.npz", jax.tree.map(lambda x: np.zeros((1, *x.shape), x.dtype), blank(NINE)), NINE)
    assert main(["edit", *arguments]) == 2
    out, err = capsys.readouterr()
    assert expected in " ".join(err.split())
    assert "Traceback" not in out + err


def test_the_command_opens_the_exported_file_in_the_window(capsys, tmp_path, monkeypatch):
    path = tmp_path / "tasks.npz"
    assert main(["tasks", "export", "--count", "2", "--file", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["value"] == 2
    opened = []
    monkeypatch.setattr("palaestra.envs.editing.edit.Desk.run", lambda desk: opened.append(desk.editor))
    assert main(["edit", "--file", str(path), "--seed", "1"]) == 0
    (editor,) = opened
    assert same(editor.task, row(load_tasks(path, SPEC)[0], 1))
    assert editor.document.path == path
