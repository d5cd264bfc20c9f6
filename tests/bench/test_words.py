"""The thirty instructions: what is said to be meant can be read and done, and what is counted is right."""

import jax
import numpy as np
import pytest

from palaestra.bench import words
from palaestra.bench.protocol import Settings
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.words import parser
from palaestra.envs.words.references import Things
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planning import problem


def test_what_is_meant_can_be_read_and_done():
    env = TaskSetEnv("demo", "test")
    make = jax.jit(env.task)
    assert len(words.INSTRUCTIONS) == 30
    for house, text, meant in words.INSTRUCTIONS:
        assert text != meant
        if meant:
            task = jax.device_get(make(house))
            goal = parser.read(meant, Things.of(env.world.spec, task.scene))
            asked = problem(env, task, 0, np.asarray(table_at_start(env.world, task.scene)))
            assert OraclePlanner().plan(words.replace(asked, goal=goal)).steps, text


@pytest.mark.slow
def test_what_is_counted():
    result = words.bench(Settings())
    rows = result["instructions"]
    assert result["value"] == sum(row["as_meant"] for row in rows) / 30
    assert result["value"] > result["parser"]
    assert all(0 <= row["probability"] <= 1 for row in rows)
