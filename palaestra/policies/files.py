"""Weights and checkpoints on disk: safetensors, never pickle; written under a temporary name, then renamed."""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from palaestra.policies.networks import Network, Policy, Statistics, initial, rebuild
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.files import digest, mismatch, named_leaves, write_atomically

T = TypeVar("T")
_TRAIN, _POLICY = "palaestra/train-state/1", "palaestra/policy/1"


class CheckpointError(PalaestraError):
    """A file of weights that is damaged, foreign, or made for something else."""


def _is_key(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _named(tree: Any) -> dict[str, np.ndarray]:
    """Every leaf by its path; keys of random streams as their bits."""
    return {name: np.asarray(jax.random.key_data(x) if _is_key(x) else x, order="C") for name, x in named_leaves(tree).items()}


def _save(path: Path, tree: Any, kind: str, about: dict[str, Any]) -> None:
    arrays = _named(tree)
    metadata = {"format": kind, "sha256": digest(arrays), "about": json.dumps(about, sort_keys=True)}
    write_atomically(path, save(arrays, metadata))


def _read(path: Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        data = path.read_bytes()
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected a {kind} file") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file ({error})") from None
    if metadata.get("format") != kind:
        raise CheckpointError(f"{path}: got format {metadata.get('format')!r}, expected {kind!r}: made by something else")
    if metadata.get("sha256") != digest(arrays):
        raise CheckpointError(f"{path}: the numbers do not match their checksum; the file is damaged")
    return arrays, json.loads(metadata["about"])


def _restore(path: Path, arrays: dict[str, np.ndarray], like: T) -> T:
    """The arrays in the shape of `like`, checked name by name."""
    wanted = _named(like)
    if odd := mismatch(arrays, wanted):
        raise CheckpointError(f"{path}: made for another model; {odd}")
    leaves, structure = jax.tree_util.tree_flatten(like)
    values = [arrays[name] for name in wanted]
    restored = [jax.random.wrap_key_data(jnp.asarray(v)) if _is_key(old) else jnp.asarray(v) for old, v in zip(leaves, values, strict=True)]
    return jax.tree_util.tree_unflatten(structure, restored)


def save_train_state(path: Path, state: Any, about: dict[str, Any]) -> None:
    """A checkpoint; `about` (the run's configuration) is compared when it is loaded."""
    _save(path, state, _TRAIN, about)


def _completed(got: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """With the defaults where nothing is said."""
    nested = {k: _completed(v, defaults[k]) for k, v in got.items() if isinstance(v, dict) and isinstance(defaults.get(k), dict)}
    return defaults | got | nested


def load_train_state(path: Path, like: T, about: dict[str, Any], defaults: dict[str, Any] | None = None) -> T:
    """The state of a checkpoint, in the shape of `like`. Raises CheckpointError by name where it does not fit.

    `defaults`: of settings of which the file says nothing, because there were none such when it was written.
    """
    arrays, got = _read(path, _TRAIN)
    got = _completed(got, json.loads(json.dumps(defaults or {})))
    if got != json.loads(json.dumps(about)):
        keys = sorted(k for k in got.keys() | about.keys() if got.get(k) != json.loads(json.dumps(about)).get(k))
        raise CheckpointError(f"{path}: belongs to another run; these settings differ: {', '.join(keys)}")
    return _restore(path, arrays, like)


def save_tree(path: Path, tree: Any, kind: str, about: dict[str, Any]) -> None:
    """Weights of any shape, as a file of this kind, with what there is to say about them."""
    _save(path, tree, kind, about)


def load_tree(path: Path, like: T, kind: str) -> tuple[T, dict[str, Any]]:
    """The weights of a file of this kind, in the shape of `like`, and what it says about them. Raises CheckpointError."""
    arrays, about = _read(path, kind)
    return _restore(path, arrays, like), about


def save_policy(path: Path, policy: Policy, about: dict[str, Any]) -> None:
    """Weights and statistics for use; `about` must hold name, observation_size, action_size and what `networks.describe` says."""
    _save(path, policy, _POLICY, about)


def load_policy(path: Path, *, name: str, observation_size: int, action_size: int) -> tuple[Network, Policy]:
    """A policy and its network. Raises CheckpointError where the file is for another environment."""
    arrays, about = _read(path, _POLICY)
    wanted = {"name": name, "observation_size": observation_size, "action_size": action_size}
    for key, value in wanted.items():
        if about.get(key) != value:
            raise CheckpointError(f"{path}: {key}: got {about.get(key)!r}, expected {value!r}")
    try:
        network = rebuild(about, action_size)
    except UnknownNameError as error:
        raise CheckpointError(f"{path}: {error} Was it made by a newer version?") from None
    params = jax.eval_shape(lambda key: initial(network, key, observation_size), jax.random.key(0))
    like = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), Policy(params=params, statistics=jax.eval_shape(lambda: Statistics.new(observation_size)))
    )
    return network, _restore(path, arrays, like)


def policy_about(path: Path) -> dict[str, Any]:
    """What a file of weights says of itself."""
    return _read(path, _POLICY)[1]


def file_hash(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256, for cards."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
