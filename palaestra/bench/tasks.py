"""`palaestra bench tasks`: tasks generated a second, the memory that one takes, and the oracle's proofs beside it."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Task, row
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem

SETS = ("rearrange", "language", "rules-high")
_COUNT = 32768  # tasks a turn
_PROOFS = 200


def bench(settings: Settings) -> dict[str, Any]:
    """Tasks/s of `rearrange`, all threads at work; of the other sets in the details.

    Generation is one compiled program that XLA runs mostly on one thread, so every thread gets its own share of the keys.
    """
    threads, count = settings.threads or os.cpu_count() or 1, settings.num_envs or _COUNT
    result: dict[str, Any] = {}
    with ThreadPoolExecutor(threads) as pool:
        for name in SETS:
            env = TaskSetEnv(name, "train")
            sample = jax.jit(env.sample_tasks)
            shares = jax.random.split(jax.random.key(0), (threads, count // threads))
            seconds = take_turns({"tasks": lambda: list(pool.map(sample, shares))}, settings.repetitions)  # noqa: B023
            made = sample(shares[0])
            result[name] = {
                "tasks_per_second": rates(seconds, count // threads * threads)["tasks"],
                "accepted": float(jax.jit(jax.vmap(env.attempt_task))(shares[0])[1].mean()),
                "bytes_per_task": sum(x.nbytes for x in jax.tree.leaves(made)) // len(shares[0]),
                "oracle": _proofs(env, made),
            }
    return {
        "value": result["rearrange"]["tasks_per_second"]["median"],
        "spread": result["rearrange"]["tasks_per_second"]["spread"],
        **result,
        "count": count,
        "threads": threads,
    }


def _proofs(env: TaskSetEnv, tasks: Task) -> dict[str, Any]:
    """Plans/s of the oracle in one process."""
    some = jax.tree.map(lambda x: x[:_PROOFS], tasks)
    tables = np.asarray(jax.jit(jax.vmap(lambda scene: table_at_start(env.world, scene)))(some.scene))
    host, oracle, seconds, lengths = jax.device_get(some), OraclePlanner(), [], []
    for i in range(_PROOFS):
        asked = problem(env.world.spec, row(host, i), tables[i])
        clock = time.perf_counter()
        lengths.append(len(oracle.plan(asked).steps))
        seconds.append(time.perf_counter() - clock)
    return {
        "plans_per_second": 1 / float(np.mean(seconds)),
        "slowest_s": max(seconds),
        "plan_length": float(np.mean(lengths)),
        "plan_length_spread": spread(np.array(lengths)),
    }
