"""Switches of the whole suite: warnings as errors (pyproject.toml), headless pygame, one cache for XLA.

Strict dtype promotion is on for our own programs (`tests/contract`), not for all: optax's schedules rely on promotion.
"""

import os
from pathlib import Path

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
# Programs run a few times only: compile them quickly.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

# What was compiled once serves all workers, the processes that tests start, and later runs.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palaestra" / "xla-tests")
)
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(4 << 30))  # with a bound the cache is locked, so that workers may share it
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import gc
from collections.abc import Iterator

import jax
import pytest

_MAPS = Path("/proc/self/maps")
_MOST_MAPS = 30_000  # of memory, of which Linux gives a process 65,530; a program of XLA's takes up to a thousand


@pytest.fixture(autouse=True)
def _room_for_programs() -> Iterator[None]:
    """Forget compiled programs before there are so many that the process dies."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
