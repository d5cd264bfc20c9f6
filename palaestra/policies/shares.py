"""One run over several processes, on one machine or many: data-parallel PPO.

Each process steps its share of the environments on its own engine. What they saw is gathered by all; of every minibatch each takes
the gradient of its share, and the gradients are averaged. Environment i begins, acts and learns as in one process: it has its key
by its number, its noise by its row, its place in the minibatches by the whole batch. So the run is that of one process, but for
the order in which float32 sums are made. Weights, optimiser and statistics are in every process, bit for bit the same.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, PartitionSpec

from palaestra.sim.engines import compiler_options
from palaestra.sim.errors import PalaestraError

T = TypeVar("T")
_AXIS = "processes"
_PARTS = ("batch", "returns", "memory")  # of a training state: what has a row an environment


@dataclass(frozen=True)
class Share:
    """Which part of a run this process has; alone, all of it."""

    index: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is this process that writes and prints."""
        return self.index == 0

    def rows(self, tree: T) -> T:
        """This process's rows of leaves [n, ...] that all have."""
        if self.count == 1:
            return tree
        return jax.tree.map(lambda x: x[self.index * (len(x) // self.count) : (self.index + 1) * (len(x) // self.count)], tree)

    # --- inside a program that `program` has made

    def gathered(self, tree: T, axis: int) -> T:
        """The rows of all processes, in order, along that axis."""
        return tree if self.count == 1 else jax.tree.map(lambda x: jax.lax.all_gather(x, _AXIS, axis=axis, tiled=True), tree)

    def some(self, tree: T) -> T:
        """As `rows`; of a program, which is one and the same in all processes."""
        if self.count == 1:
            return tree

        def mine(x: jax.Array) -> jax.Array:
            size = len(x) // self.count
            return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(_AXIS) * size, size)

        return jax.tree.map(mine, tree)

    def mean(self, tree: T) -> T:
        """Over the processes."""
        return tree if self.count == 1 else jax.lax.pmean(tree, _AXIS)

    # --- outside

    def program(self, update: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
        """`update(state, transitions [T, B, ...])` compiled: for a process with its own rows of both, and what all find together."""
        if self.count == 1:
            return jax.jit(update, compiler_options=compiler_options())
        mesh, everywhere, by_row = Mesh(np.array(jax.devices()), (_AXIS,)), PartitionSpec(), PartitionSpec(None, _AXIS)

        def inside(state: Any, transitions: Any) -> tuple[Any, Any]:
            new, figures = update(state.replace(key=jax.random.wrap_key_data(state.key)), transitions)
            return new.replace(key=jax.random.key_data(new.key)), figures

        specs = (everywhere, by_row)
        spread = jax.shard_map(inside, mesh=mesh, in_specs=specs, out_specs=everywhere, check_vma=False)
        compiled = jax.jit(spread, compiler_options=compiler_options())

        def call(state: Any, transitions: Any) -> tuple[Any, Any]:
            own = {name: getattr(state, name) for name in _PARTS}
            bare = state.replace(key=jax.random.key_data(state.key), **dict.fromkeys(_PARTS, ()))
            found = compiled(*multihost_utils.host_local_array_to_global_array((bare, transitions.replace(metrics={})), mesh, specs))
            new, figures = multihost_utils.global_array_to_host_local_array(found, mesh, everywhere)
            return new.replace(key=jax.random.wrap_key_data(new.key), **own), figures

        return call

    def total(self, tree: T) -> T:
        """Sums over the processes."""
        if self.count == 1:
            return tree
        return jax.tree.map(lambda x: jnp.asarray(x.sum(0)), multihost_utils.process_allgather(tree))

    def whole(self, state: T) -> T:
        """The training state with the rows of all processes: what one process alone would have, and a checkpoint holds."""
        return state if self.count == 1 else self._parts(state, _all_rows)

    def part(self, state: T) -> T:
        """The inverse of `whole`."""
        return state if self.count == 1 else self._parts(state, self.rows)

    @staticmethod
    def _parts(state: Any, function: Callable[[Any], Any]) -> Any:
        return state.replace(**{name: function(getattr(state, name)) for name in _PARTS})


ALONE = Share()


def _all_rows(tree: Any) -> Any:
    def rows(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(rows(jax.random.key_data(x)))
        return jnp.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(rows, tree)


def launched() -> bool:
    """Whether something has started this process as one of several: torchrun's variables, or those of a step of Slurm's."""
    return "RANK" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def join(processes: int) -> Share:
    """This process's share of a run. Called before jax computes anything; waits for the other processes.

    Who they are is in the environment: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them, or Slurm's variables.
    """
    if processes == 1:
        return ALONE
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    env = os.environ
    if "RANK" in env:
        missing = [name for name in ("WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if name not in env]
        if missing:
            raise PalaestraError(f"processes: got RANK without {', '.join(missing)} in the environment, expected all four: see torchrun")
        jax.distributed.initialize(f"{env['MASTER_ADDR']}:{env['MASTER_PORT']}", int(env["WORLD_SIZE"]), int(env["RANK"]))
    else:
        jax.distributed.initialize()
    if jax.process_count() != processes or jax.local_device_count() != 1:
        found = f"{jax.process_count()} with {jax.local_device_count()} devices each"
        raise PalaestraError(f"processes: got {processes}, but {found} have joined; expected as many, with one device each")
    return Share(jax.process_index(), processes)
