"""Episodes in Minari's format: written, loaded by its own library, and the same numbers."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.sim.errors import PalaestraError
from tests.envs.toy import Toy

pytest.importorskip("minari")
pytest.importorskip("h5py")

import minari

from palaestra.envs.minari import export, record


def act(observation):
    return jnp.stack([2 * observation[:, 0], observation[:, 1], observation[:, 1] - 9], -1)  # some beyond the limits


def test_what_was_recorded_is_what_minari_loads(tmp_path, monkeypatch):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    env = Toy()
    episodes = record(env, act, 70, seed=1)
    export(env, episodes, "palaestra/toy/test-v0", folder=tmp_path, algorithm="PPO")
    assert "MINARI_DATASETS_PATH" not in os.environ
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    loaded = minari.load_dataset("palaestra/toy/test-v0")
    assert (loaded.total_episodes, loaded.total_steps) == (70, sum(len(e["rewards"]) for e in episodes))
    assert loaded.spec.observation_space.shape == (2,)
    marks = set()
    for mine, theirs in zip(episodes, loaded.iterate_episodes(), strict=True):
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(mine[name], getattr(theirs, name), err_msg=name)
        # And what they hold is an episode: the environment, stepped by these actions, says the same.
        assert theirs.observations.shape == (len(theirs.rewards) + 1, 2)
        assert np.abs(theirs.actions).max() <= 1.0
        np.testing.assert_allclose(theirs.rewards, theirs.actions[:, 0], rtol=1e-6)
        np.testing.assert_array_equal(theirs.observations[:, 1], np.arange(len(theirs.rewards) + 1))
        over = theirs.terminations | theirs.truncations
        assert over[-1]
        assert not over[:-1].any()
        assert bool(theirs.terminations[-1]) == bool(theirs.infos["success"][-1]) == (theirs.observations[0, 0] > 0)
        marks.add(float(theirs.observations[0, 0]))
    assert len(marks) == 70  # an episode each


def test_episodes_depend_on_the_seed_and_their_number_alone():
    few, many, other = (record(Toy(), act, n, seed=s) for n, s in ((3, 0), (66, 0), (3, 1)))
    for a, b in zip(few, many, strict=False):
        np.testing.assert_array_equal(a["observations"], b["observations"])
    assert few[0]["observations"][0, 0] != other[0]["observations"][0, 0]
    begun = float(Toy().begin(jax.random.key(0))[1].observation[0])
    assert begun not in {float(e["observations"][0, 0]) for e in many}


def test_a_name_that_is_taken_is_refused(tmp_path):
    episodes = record(Toy(), act, 2)
    export(Toy(), episodes, "palaestra/toy/twice-v0", folder=tmp_path)
    with pytest.raises(PalaestraError, match="palaestra/toy/twice-v0: cannot be written"):
        export(Toy(), episodes, "palaestra/toy/twice-v0", folder=tmp_path)
