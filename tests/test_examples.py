"""The examples against what they claim to be: ours on ant.xml is Gymnasium's Ant-v5."""

import importlib.util
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from palaestra.bench import ant as bench
from palaestra.bench.protocol import Settings
from palaestra.envs.autoreset import AutoReset
from palaestra.policies.sweeps import read
from palaestra.sim.errors import MissingExtraError, PalaestraError
from palaestra.skills import recipes
from palaestra.skills.library import SKILLS

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples stand in the repository only")


@pytest.fixture(scope="module")
def example():
    return bench.example("ant")


@pytest.fixture(scope="module")
def ant(example):
    return example.Ant()


@pytest.fixture(scope="module")
def step(ant):
    return jax.jit(ant.step)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_ant_is_gymnasiums(ant, step, seed):
    """Same state, same actions, 20 control steps: landing included, for it starts above the floor."""
    theirs = gymnasium.make("Ant-v5").unwrapped
    theirs.reset(seed=seed)
    state, first = jax.jit(ant.begin)(jax.random.key(seed))
    theirs.set_state(np.asarray(state.physics.qpos, np.float64), np.asarray(state.physics.qvel, np.float64))
    np.testing.assert_array_equal(np.asarray(first.observation), theirs._get_obs().astype(np.float32))
    rng = np.random.default_rng(seed)
    ours_cost, their_cost, contacts = [], [], 0
    for _ in range(20):
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        state, ours = step(state, jnp.asarray(action))
        obs, reward, terminated, _, info = theirs.step(action)
        contacts += theirs.data.ncon > 0
        np.testing.assert_allclose(ours.observation[:27], obs[:27], atol=1e-5)
        for name in ("reward_forward", "reward_survive", "reward_ctrl"):
            np.testing.assert_allclose(ours.metrics[name], info[name], atol=1e-4, err_msg=name)
        # A contact force is of one substep before: the same size, not the same number. A body's share of the cost is at most 0.003.
        difference = float(ours.metrics["reward_contact"]) - info["reward_contact"]
        assert abs(difference) < 0.012
        assert float(ours.reward) - reward == pytest.approx(difference, abs=1e-4)
        assert bool(ours.terminated) == terminated
        ours_cost.append(float(ours.metrics["reward_contact"]))
        their_cost.append(info["reward_contact"])
    assert contacts > 0
    assert np.mean(ours_cost) == pytest.approx(np.mean(their_cost), abs=3e-3)
    theirs.close()


def test_contact_forces_are_those_one_substep_before(ant, step):
    """Against mj_rnePostConstraint at that very state."""
    data = mujoco.MjData(ant.model)
    state, _ = jax.jit(ant.begin)(jax.random.key(4))
    data.qpos[:], data.qvel[:] = state.physics.qpos, state.physics.qvel
    touched = False
    for action in np.random.default_rng(4).uniform(-1, 1, (20, 8)).astype(np.float32):
        state, timestep = step(state, jnp.asarray(action))
        data.ctrl[:] = action
        mujoco.mj_step(ant.model, data, nstep=4)
        mujoco.mj_forward(ant.model, data)
        mujoco.mj_rnePostConstraint(ant.model, data)
        touched |= bool(np.abs(data.cfrc_ext).max() > 0)
        np.testing.assert_allclose(timestep.observation[27:], np.clip(data.cfrc_ext[1:], -1, 1).ravel(), atol=1e-5)
        mujoco.mj_step(ant.model, data)
    assert touched


def test_the_tuned_model_gives_the_same_bits(example):
    """Named contact pairs and no islands: nothing but speed."""
    tuned, plain = example.ant_model(), example.ant_model(tuned=False)
    touched = 0
    for seed in range(20):
        ends = []
        for model in (tuned, plain):
            rng, data = np.random.default_rng(seed), mujoco.MjData(model)
            data.qpos[:] += rng.uniform(-0.1, 0.1, model.nq)
            data.qpos[2] = rng.uniform(0.2, 0.5)
            for _ in range(20):
                data.ctrl[:] = rng.uniform(-1, 1, model.nu)
                mujoco.mj_step(model, data, nstep=5)
                touched += data.ncon > 0
            ends.append(data)
        for name in ("qpos", "qvel", "cfrc_ext", "xpos"):
            np.testing.assert_array_equal(getattr(ends[0], name), getattr(ends[1], name), err_msg=name)
    assert touched > 20


def test_the_noise_at_the_start_is_gymnasiums(ant):
    """Ranges and deviations of 4000 starts."""
    state, timestep = jax.jit(jax.vmap(ant.begin))(jax.random.split(jax.random.key(0), 4000))
    offset = np.asarray(state.physics.qpos) - ant.model.qpos0
    assert np.abs(offset).max() <= 0.1 + 1e-6
    np.testing.assert_allclose(offset.std(0), 0.2 / 12**0.5, rtol=0.05)
    np.testing.assert_allclose(np.asarray(state.physics.qvel).std(0), 0.1, rtol=0.05)
    assert timestep.observation.shape == (4000, ant.observation_size)


def test_one_substep_of_pgs_is_newtons_to_a_few_millionths(example):
    """From states that random actions lead to, contacts included."""
    newton, pgs = example.ant_model(), example.ant_model("pgs")
    data, other = mujoco.MjData(newton), mujoco.MjData(pgs)
    assert pgs.opt.solver != newton.opt.solver
    touched = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        mujoco.mj_resetData(newton, data)
        data.qpos[:] += rng.uniform(-0.1, 0.1, newton.nq)
        for _ in range(60):
            data.ctrl[:] = rng.uniform(-1, 1, newton.nu)
            mujoco.mj_step(newton, data, nstep=4)
            for name in ("qpos", "qvel", "ctrl", "qacc_warmstart"):
                getattr(other, name)[:] = getattr(data, name)
            mujoco.mj_step(newton, data)
            mujoco.mj_step(pgs, other)
            touched += data.ncon > 0
            np.testing.assert_allclose(other.qvel, data.qvel, atol=2e-5)
    assert touched > 20


@pytest.mark.parametrize(("height", "speed", "healthy"), [(0.75, 0, True), (1.3, 0, False), (0.6, -60, False)])
def test_an_episode_ends_outside_of_the_healthy_heights(ant, step, height, speed, healthy):
    qpos = jnp.asarray(ant.model.qpos0, jnp.float32).at[2].set(height)
    _, timestep = step(ant.at(qpos, jnp.zeros(14).at[2].set(speed))[0], jnp.zeros(8))
    assert bool(timestep.terminated) == (not healthy)
    assert speed == 0 or timestep.observation[0] < 0.2
    assert float(timestep.metrics["reward_survive"]) == healthy
    assert not timestep.truncated


def test_an_episode_is_cut_at_the_horizon(ant, step):
    state, _ = ant.begin(jax.random.key(0))
    for steps, cut in ((ant.horizon - 2, False), (ant.horizon - 1, True)):
        _, timestep = step(state.replace(step=jnp.asarray(steps)), jnp.zeros(8))
        assert bool(timestep.truncated) == cut
        assert not timestep.terminated


def test_a_rollout_goes_through_resets(example):
    envs = AutoReset(example.Ant(solver="pgs", threads=1), 8)
    state, _ = jax.jit(envs.reset)(jax.random.split(jax.random.key(0), 8))
    end = jax.jit(example.random_rollout, static_argnums=(0, 3))(envs, state, jax.random.key(1), 150)
    assert int(end.episode.sum()) > 8
    assert np.isfinite(np.asarray(end.observation)).all()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) < 150


def test_an_example_that_is_not_there_says_where_it_would_be():
    with pytest.raises(PalaestraError, match=r"example 'gnu': .*gnu\.py does not exist. Fix: run from a checkout"):
        bench.example("gnu")


def test_the_benchmark_names_the_extra_that_it_needs(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "envpool" else find(name, *rest))
    with pytest.raises(MissingExtraError, match=r"bench ant needs .*'envpool'.*palaestra\[bench\]"):
        bench.bench(Settings())


@pytest.mark.slow
def test_the_benchmark_runs():
    pytest.importorskip("envpool")
    result = bench.bench(Settings(num_envs=2, steps=1, repetitions=2))
    for name in ("value", "value_pgs", "value_as_compiled", "over_async", "over_sync", "over_async_pgs"):
        assert result[name] > 0
    assert result["num_envs"] == dict.fromkeys(("ours", "envpool", "async", "sync"), 2)
    assert result["spread"][0] <= result["value"] <= result["spread"][1]


def test_one_sweep_trains_the_whole_library_by_its_recipes():
    sweep = read(EXAMPLES / "skills.toml", recipes.configuration)
    assert [run.config for run in sweep.runs] == [recipes.configuration(f"skill/{name}") for name in SKILLS]
    assert len(sweep.parts()) == len(SKILLS), "each by a program of its own"
