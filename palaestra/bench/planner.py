"""`palaestra bench planner`: plans a second of the planner `embedded`, one at a time and many side by side, beside the oracle's."""

from typing import Any

import numpy as np

from palaestra.bench.protocol import Settings, take_turns
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planning import problems

_SUITE, _BATCH, _ALONE = "long-5", 256, 16


def bench(settings: Settings) -> dict[str, Any]:
    """Plans a second, of chains of five from English, side by side; medians over the repetitions, with the spread."""
    batch = settings.num_envs or _BATCH
    env = TaskSetEnv(_SUITE, "test")
    asked = problems(env, "test", 0, range(batch))
    planner, oracle = EmbeddedPlanner(env.world.spec), OraclePlanner()

    def alone() -> None:
        for problem in asked[:_ALONE]:
            planner.plans([problem])

    runs = {
        "together": lambda: [len(str(plan)) for plan in planner.plans(asked)],
        "alone": alone,
        "read_together": lambda: [len(goal.stages) for goal in planner.understood(asked)],
        "oracle": lambda: [len(oracle.plan(problem).steps) for problem in asked[:_ALONE]],
    }
    seconds = take_turns(runs, settings.repetitions)
    size = {"together": batch, "alone": _ALONE, "read_together": batch, "oracle": _ALONE}
    speed = {name: size[name] / values for name, values in seconds.items()}
    return {
        "value": float(np.median(speed["together"])),
        "unit": "plans/s",
        "batch": batch,
        "suite": _SUITE,
        "plans_per_second": {name: float(np.median(values)) for name, values in speed.items()},
        "spread": {name: [float(values.min()), float(values.max())] for name, values in speed.items()},
    }
