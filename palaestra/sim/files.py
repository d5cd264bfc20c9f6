"""Arrays on disk: names for the leaves of a tree, a checksum over them, and files that are whole or not there."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np


class Shaped(Protocol):
    """An array, or what is known of one before it is there."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...


def write_atomically(path: Path, data: bytes) -> None:
    """The file appears whole or not at all; what stood there before stays until then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def named_leaves(tree: Any) -> dict[str, Any]:
    """Every leaf by its path: `scene/layout/object_pos`."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and bytes, in the order of the names."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode())
        found.update(arrays[name].tobytes())
    return found.hexdigest()


def mismatch(got: Mapping[str, Shaped], wanted: Mapping[str, Shaped]) -> str:
    """In words, how arrays differ from those that are wanted in names, shapes or dtypes; nothing where they do not."""
    odd = sorted(wanted.keys() ^ got.keys())
    if odd:
        return f"names differ, e.g. {', '.join(odd[:4])}"
    for name, x in wanted.items():
        if x.shape != got[name].shape or x.dtype != got[name].dtype:
            return f"{name}: got {got[name].dtype}{list(got[name].shape)}, expected {x.dtype}{list(x.shape)}"
    return ""
