"""What callers hand to an environment, checked: each function returns the plain value, or says what it got and expected."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from palaestra.sim.errors import UnknownNameError

SEEDS = 2**31  # seeds of episodes and numbers of tasks lie below


def actions(given: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Actions of this shape as float32, clipped to [-1, 1]; NaN where one is not finite."""
    array = np.asarray(given)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"action: got dtype {array.dtype}, expected real numbers, best float32")
    if array.shape != shape:
        raise ValueError(f"action: got shape {array.shape}, expected {shape}")
    return np.where(np.isfinite(array), np.clip(array, -1, 1), np.nan).astype(np.float32)


def known(what: str, name: str | None, valid: Iterable[str]) -> str | None:
    """One of the valid names, or None."""
    if name is not None and name not in valid:
        raise UnknownNameError(what, name, valid)
    return name


def options(given: dict[str, Any] | None, valid: Sequence[str]) -> dict[str, Any]:
    """The options of a reset, as a copy."""
    for key in given or {}:
        if key not in valid:
            raise UnknownNameError("reset option", key, valid or ["nothing, this environment has no options"])
    return dict(given or {})


def task_number(given: Any) -> int | None:
    """The number of a task, or None."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= given < SEEDS:
        raise ValueError(f"options['task']: got {given!r}, expected a whole number in [0, 2**31)")
    return int(given)


def seeds(given: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """A seed for each of `count` environments: of one number s, environment i has s + i."""
    if given is None:
        return [None] * count
    if isinstance(given, int | np.integer):
        return [int(given) + i for i in range(count)]
    if len(given) != count:
        raise ValueError(f"seed: got {len(given)} seeds, expected one number or one for each of the {count} environments")
    return [None if seed is None else int(seed) for seed in given]


def reset_mask(given: Any, count: int) -> np.ndarray:
    """Which environments to reset [count] bool; all without a mask."""
    if given is None:
        return np.ones(count, bool)
    if not isinstance(given, np.ndarray) or given.dtype != np.bool_ or given.shape != (count,) or not given.any():
        got = f"{given.dtype}{list(given.shape)}, {int(np.count_nonzero(given))} set" if isinstance(given, np.ndarray) else repr(given)
        raise ValueError(f"options['reset_mask']: got {got}; expected a numpy array bool[{count}] with one or more set")
    return given.copy()


def horizon(own: int, instead: int | None, at_most: int | None) -> int:
    """The control steps of an episode: `instead` of the environment's own, and never more than `at_most`."""
    for what, value in (("horizon", instead), ("max_episode_steps", at_most)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{what}: got {value!r}, expected a whole number of control steps, 1 or more")
    steps = own if instead is None else instead
    return steps if at_most is None else min(steps, at_most)
