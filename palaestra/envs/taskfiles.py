"""Tasks on disk: one npz of plain arrays, never pickle. A file is whole, ours, of a version that we know, and of the world that is asked
for, or nothing of it is loaded."""

import io
import json
import tokenize
import zipfile
import zlib
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.generation.generator import SceneRange, attempt_task
from palaestra.envs.types import Task
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import digest, mismatch, named_leaves, write_atomically
from palaestra.sim.world import WorldSpec, world

FORMAT, VERSION = "palaestra/tasks", 2  # 2: tasks have a physical context
_ABOUT, _CHECKSUM = "about", "sha256"  # the entries beside the arrays
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, OSError, tokenize.TokenError)


class TaskFileError(PalaestraError):
    """A file of tasks that cannot be used."""


@lru_cache(maxsize=8)
def blank(spec: WorldSpec) -> Task:
    """Shapes and dtypes of one task of this world."""
    one = jnp.asarray(1)
    return jax.eval_shape(lambda key: attempt_task(key, world(spec), SceneRange.make(spec), one, one)[0], jax.random.key(0))


def _batch(spec: WorldSpec, count: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Names, shapes and dtypes of the arrays of `count` tasks."""
    return {name: jax.ShapeDtypeStruct((count, *x.shape), x.dtype) for name, x in named_leaves(blank(spec)).items()}


def save_tasks(path: Path, tasks: Task, spec: WorldSpec, meta: dict[str, Any] | None = None) -> None:
    """Write tasks with one leading axis; `meta` is what JSON can hold, e.g. where they come from."""
    arrays = {name: np.asarray(x, order="C") for name, x in named_leaves(tasks).items()}
    count = len(next(iter(arrays.values())))
    if odd := mismatch(arrays, _batch(spec, count)):
        raise TaskFileError(f"{path}: got tasks that are not of this world with one leading axis; {odd}")
    about = {"format": FORMAT, "version": VERSION, "count": count, "spec": asdict(spec), "meta": meta or {}}
    about["arrays"] = {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()}
    entries = {**arrays, _ABOUT: np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8)}
    whole = io.BytesIO()
    np.savez_compressed(whole, allow_pickle=False, **entries, **{_CHECKSUM: np.frombuffer(bytes.fromhex(digest(entries)), np.uint8)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, whole.getvalue())
    except OSError as error:
        raise TaskFileError(f"{path}: cannot write ({error.strerror}). Fix: another path") from error


def load_tasks(path: Path, spec: WorldSpec) -> tuple[Task, dict[str, Any]]:
    """The tasks of a file as numpy arrays with one leading axis, and what was said about them.

    Raises TaskFileError where the file is missing, cut, foreign, older or newer, or of another world.
    """
    entries, about = _read(path)
    if about.get("format") != FORMAT:
        raise TaskFileError(f"{path}: got format {about.get('format')!r}, expected {FORMAT!r}: made by something else")
    if about.get("version") != VERSION:
        newer = isinstance(about.get("version"), int) and about["version"] > VERSION
        fix = "a newer palaestra reads it" if newer else "export the tasks again; `meta` says which they are"
        raise TaskFileError(f"{path}: got version {about.get('version')!r} of {FORMAT}, expected {VERSION}. Fix: {fix}")
    checksum = entries.pop(_CHECKSUM, np.zeros(0, np.uint8)).tobytes().hex()
    if checksum != digest(entries):
        raise TaskFileError(f"{path}: the numbers do not match their checksum; the file is damaged. Fix: export the tasks again")
    got, wanted = about["spec"], asdict(spec)
    if got != wanted:
        differ = ", ".join(
            f"{k}: got {got.get(k)!r}, expected {wanted.get(k)!r}" for k in sorted({*got, *wanted}) if got.get(k) != wanted.get(k)
        )
        raise TaskFileError(f"{path}: made for another world; {differ}. Fix: load it with its world's spec, or name a set of that world")
    del entries[_ABOUT]
    if odd := mismatch(entries, _batch(spec, about["count"])):
        raise TaskFileError(f"{path}: not the arrays of a task; {odd}. Fix: export the tasks again")
    leaves = [entries[name] for name in named_leaves(blank(spec))]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(blank(spec)), leaves), about["meta"]


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All entries of an npz, and its `about`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TaskFileError(f"{path}: cannot read ({error.strerror}); expected a {FORMAT} file") from error
    if not data.startswith(b"PK"):
        raise TaskFileError(f"{path}: not an npz file; expected one that `palaestra tasks export` wrote")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            if _ABOUT not in archive.files:
                raise TaskFileError(f"{path}: an npz file of something else; expected one that `palaestra tasks export` wrote")
            about = json.loads(archive[_ABOUT].tobytes())
            if not isinstance(about, dict) or not {"format", "version", "count", "spec", "meta"} <= about.keys():
                raise TaskFileError(f"{path}: an npz file of something else; expected one that `palaestra tasks export` wrote")
            return {name: archive[name] for name in archive.files}, about
    except _DAMAGE as error:
        raise TaskFileError(f"{path}: cut short or damaged ({error}). Fix: export the tasks again") from error
