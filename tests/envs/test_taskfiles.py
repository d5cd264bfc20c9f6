"""Files of tasks: every bit comes back, and what is not such a file is refused by name."""

import io
import json
import pickle
from contextlib import suppress
from dataclasses import replace

import jax
import numpy as np
import pytest

from palaestra.envs import taskfiles
from palaestra.envs.taskfiles import TaskFileError, load_tasks, save_tasks
from palaestra.sim.files import digest
from tests.envs.worlds import NINE, env, tasks

SPEC = env().world.spec
META = {"task_set": "rearrange", "split": "train", "first": 0}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "some.npz"
    save_tasks(path, tasks(), SPEC, META)
    return path


def refused(path, spec=SPEC) -> str:
    with pytest.raises(TaskFileError) as caught:
        load_tasks(path, spec)
    assert str(path) in str(caught.value)
    return str(caught.value)


def rewritten(path, change):
    """The file with its entries changed, and a checksum that fits them."""
    with np.load(path) as archive:
        entries = {name: archive[name] for name in archive.files if name != "sha256"}
    about = json.loads(entries["about"].tobytes())
    change(entries, about)
    entries["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(path, **entries, sha256=np.frombuffer(bytes.fromhex(digest(entries)), np.uint8))
    return path


def test_every_bit_comes_back(path):
    back, meta = load_tasks(path, SPEC)
    assert meta == META
    assert jax.tree.structure(back) == jax.tree.structure(tasks())
    for a, b in zip(jax.tree.leaves(tasks()), jax.tree.leaves(back), strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_the_same_tasks_make_the_same_file(path, tmp_path):
    save_tasks(tmp_path / "again.npz", tasks(), SPEC, META)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_cut_file_is_refused_wherever_it_was_cut(path):
    data = path.read_bytes()
    for share in np.linspace(0.01, 0.999, 25):
        path.write_bytes(data[: int(share * len(data))])
        assert "cut short or damaged" in refused(path)
    path.write_bytes(b"")
    assert "not an npz file" in refused(path)


def test_a_damaged_file_is_refused_wherever_a_bit_fell_over(path):
    data, rng = bytearray(path.read_bytes()), np.random.default_rng(0)
    for at in rng.integers(0, len(data), 25):
        data[at] ^= 0x10
        path.write_bytes(data)
        # A bit that means nothing, such as one of a date in the archive, may fall over.
        with suppress(TaskFileError):
            back, _ = load_tasks(path, SPEC)
            assert all(a.tobytes() == b.tobytes() for a, b in zip(jax.tree.leaves(tasks()), jax.tree.leaves(back), strict=True))
        data[at] ^= 0x10


def test_foreign_files_are_refused(path):
    np.savez(path, weights=np.zeros(3))
    assert "an npz file of something else" in refused(path)
    path.write_bytes(pickle.dumps({"scene": 1}))
    assert "not an npz file" in refused(path)
    assert "cannot read (No such file or directory)" in refused(path.parent / "none.npz")
    save_tasks(path, tasks(), SPEC)
    assert "got format 'other/tasks', expected 'palaestra/tasks'" in refused(
        rewritten(path, lambda _, about: about.update(format="other/tasks"))
    )


def test_nothing_is_ever_unpickled(path):
    bad = io.BytesIO()
    np.savez(bad, about=np.array([{"format": "palaestra/tasks"}], object))
    path.write_bytes(bad.getvalue())
    assert "cut short or damaged (Object arrays cannot be loaded" in refused(path)


def test_another_version_is_refused(path):
    message = refused(rewritten(path, lambda _, about: about.update(version=taskfiles.VERSION + 1)))
    assert "got version 3 of palaestra/tasks, expected 2. Fix: a newer palaestra reads it" in message


def test_an_older_version_is_refused(path):
    message = refused(rewritten(path, lambda _, about: about.update(version=1)))
    assert "got version 1 of palaestra/tasks, expected 2. Fix: export the tasks again" in message


def test_another_world_is_refused(path):
    message = refused(path, replace(SPEC, cubes=2, rooms=9))
    assert "made for another world; cubes: got 3, expected 2, rooms: got 4, expected 9" in message
    blank = jax.tree.map(lambda x: np.zeros((2, *x.shape), x.dtype), taskfiles.blank(NINE))
    save_tasks(path, blank, NINE)
    assert load_tasks(path, NINE)[0].scene.room.shape == (2, 9, 4)


def test_other_numbers_or_arrays_are_refused(path):
    with np.load(path) as archive:
        entries = dict(archive)
    entries["scene/room"] = entries["scene/room"] + 1
    np.savez(path, **entries)
    assert "do not match their checksum" in refused(path)
    save_tasks(path, tasks(), SPEC)
    assert "names differ, e.g. scene/door" in refused(rewritten(path, lambda entries, _: entries.pop("scene/door")))
    save_tasks(path, tasks(), SPEC)
    wide = rewritten(path, lambda entries, _: entries.update({"scene/door": entries["scene/door"].astype(np.float64)}))
    assert "scene/door: got float64[256, 4, 2], expected float32[256, 4, 2]" in refused(wide)


def test_tasks_of_another_world_are_not_written(path):
    before = path.read_bytes()
    with pytest.raises(TaskFileError, match="not of this world"):
        save_tasks(path, tasks(), NINE)
    with pytest.raises(TaskFileError, match="not of this world"):
        save_tasks(path, jax.tree.map(lambda x: x[0], tasks()), SPEC)
    assert path.read_bytes() == before
