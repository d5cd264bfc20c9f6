"""Weights without our code: the five lines of docs/training.md give our policy's actions."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from palaestra.policies.files import save_policy
from palaestra.policies.networks import ActorCritic, Policy, Statistics, describe

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is no part of the package")
def test_the_five_lines_of_the_documentation_act_as_our_policy_does(tmp_path):
    (code,) = re.findall(r"```python\n(w = .*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) == 5
    network, rng = ActorCritic(3, (16, 16)), np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), network.init(jax.random.key(0), np.zeros((1, 5)))
    )
    statistics = Statistics.new(5).update(rng.normal(2.0, 3.0, (100, 5)).astype(np.float32))
    policy = Policy(params=params, statistics=statistics)
    save_policy(tmp_path / "policy.safetensors", policy, {"name": "x", "observation_size": 5, "action_size": 3, **describe(network)})
    observation = rng.normal(2.0, 9.0, (20, 5)).astype(np.float32)  # some that the clipping limits
    names = {"safetensors": safetensors, "np": np, "path": tmp_path / "policy.safetensors", "observation": observation}
    exec(code, names)
    np.testing.assert_allclose(names["action"], policy.act(network, observation), rtol=1e-5, atol=1e-6)
