"""Engines by name. Where nothing is asked for, `native`: the fastest on a CPU, and it needs nothing beside mujoco."""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import jax

from palaestra.sim.engine import Engine, EngineError, Simulated
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.native import NativeEngine

ENGINES = ("native", "mjx", "warp")

MakeEngine = Callable[[Simulated], Engine]

# XLA's default matrix library on a CPU takes 0.1 to 0.2 ms longer for a policy of 2x256 where physics has emptied the caches.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


def make_engine(name: str, world: Simulated, *, threads: int = 0, dump: Path | None = None) -> Engine:
    """The engine `native`, `mjx`, `warp` or `auto`, for this world.

    Raises UnknownNameError for another name, MissingExtraError where a package is absent, and EngineError where the
    versions, the device or the world do not fit; each says what to do.
    """
    if name == "auto":
        name = best()
    if name not in ENGINES:
        raise UnknownNameError("engine", name, [*ENGINES, "auto"])
    if name == "native":
        return NativeEngine(world, threads, dump)
    if threads:
        raise EngineError(f"threads: got {threads} for the engine {name!r}, expected 0: only native has threads of its own")
    from palaestra.sim.mjx import MjxEngine

    return MjxEngine(world, name, dump=dump)


def best() -> str:
    """`warp` where it is installed and there is a GPU for it, `native` everywhere else."""
    if importlib.util.find_spec("warp") and importlib.util.find_spec("mujoco.mjx"):
        from palaestra.sim.mjx import has_gpu

        if has_gpu():
            return "warp"
    return "native"


@functools.cache
def compiler_options() -> dict[str, str]:
    """What to give `jax.jit` for programs in which a policy and a CPU's physics take turns; {} where this XLA has no such option."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _CPU_OPTIONS
