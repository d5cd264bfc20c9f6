"""What every environment must do. A new one joins by one line in ENVIRONMENTS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.autoreset import AutoReset, BatchState
from palaestra.envs.tasksets import TASK_SETS, TaskSetEnv
from palaestra.skills.library import SKILLS
from palaestra.skills.training import SkillEnv

ENVIRONMENTS = {
    **{f"skill/{name}": functools.partial(SkillEnv, skill) for name, skill in SKILLS.items()},
    # One set of each kind of goals: others differ in numbers alone, and every program takes half a minute to compile.
    **{name: functools.partial(TaskSetEnv, name) for name in {tasks.goals: name for name, tasks in TASK_SETS.items()}.values()},
    "perturbed-physics-visible": functools.partial(TaskSetEnv, "perturbed-physics-visible"),
}


# Wrappers and batching are the same code for all, and take two more programs: a skill, doors and rules, drawers, a context.
a_few = pytest.mark.parametrize("env", ["skill/pick", "rules-high", "storage", "perturbed-physics-visible"], indirect=True)
BATCH = 64  # as in test_skills: what one of the two has compiled the other one finds in the cache


@pytest.fixture(scope="module", params=sorted(ENVIRONMENTS))
def env(request):
    return ENVIRONMENTS[request.param]()


@pytest.fixture(scope="module")
def programs(env):
    """Compiled once for the module: begin and step of a batch."""
    return jax.jit(jax.vmap(env.begin)), jax.jit(jax.vmap(env.step))


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(11), BATCH)


def random_actions(env, steps, count):
    return np.random.default_rng(0).uniform(-1, 1, (steps, count, env.action_size)).astype(np.float32)


def test_dtypes_are_strict_and_shapes_as_declared(env):
    with jax.numpy_dtype_promotion("strict"):
        state, first = jax.eval_shape(env.begin, jax.random.key(0))
        after, timestep = jax.eval_shape(env.step, state, jnp.zeros(env.action_size))
    for ts in (first, timestep):
        assert ts.observation.shape == (env.observation_size,)
        assert ts.observation.dtype == ts.reward.dtype == jnp.float32
        assert ts.terminated.dtype == ts.truncated.dtype == bool
        assert {"success", "diverged"} <= set(ts.metrics)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), state) == jax.tree.map(lambda x: (x.shape, x.dtype), after)


def test_random_episodes_are_finite_bounded_deterministic_and_compiled_once(env, programs, keys):
    begin, step = programs
    ends = []
    for _ in range(2):
        state, timestep = begin(keys)
        assert not np.asarray(timestep.done).any()
        for action in random_actions(env, 25, BATCH):
            state, timestep = step(state, jnp.asarray(action))
            obs = np.asarray(timestep.observation)
            assert np.isfinite(obs).all()
            assert (np.abs(obs) <= 10).all()
            assert np.isfinite(np.asarray(timestep.reward)).all()
        ends.append(timestep)
    assert step._cache_size() == 1
    for a, b in zip(jax.tree.leaves(ends[0]), jax.tree.leaves(ends[1]), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@a_few
def test_vmap_equals_one_at_a_time(env, programs, keys):
    begin, step = programs
    action = jnp.asarray(random_actions(env, 1, BATCH)[0])
    state, _ = begin(keys)
    after, timestep = step(state, action)
    one = jax.tree.map(lambda x: x[1], state)
    after_one, timestep_one = jax.jit(env.step)(one, action[1])
    np.testing.assert_array_equal(np.asarray(after.physics.bits[1]), np.asarray(after_one.physics.bits))
    np.testing.assert_allclose(np.asarray(timestep.observation[1]), np.asarray(timestep_one.observation), atol=1e-5)


def test_actions_beyond_the_bounds_are_clipped(env, programs, keys):
    begin, step = programs
    state, _ = begin(keys)
    action = jnp.asarray(random_actions(env, 1, BATCH)[0])
    far, _ = step(state, jnp.sign(action) * 50.0)
    edge, _ = step(state, jnp.sign(action))
    np.testing.assert_array_equal(np.asarray(far.physics.bits), np.asarray(edge.physics.bits))


def test_a_nan_action_ends_that_environment_alone(env, programs, keys):
    begin, step = programs
    state, _ = begin(keys)
    action = random_actions(env, 1, BATCH)[0]
    clean, good = step(state, jnp.asarray(action))
    action[1, 0] = np.nan
    after, timestep = step(state, jnp.asarray(action))
    np.testing.assert_array_equal(np.flatnonzero(timestep.metrics["diverged"]), [1])
    np.testing.assert_array_equal(np.asarray(timestep.truncated)[1], True)
    assert not np.asarray(timestep.terminated)[1]
    assert np.isfinite(np.asarray(timestep.observation)).all()
    for i in (0, 2, BATCH - 1):
        np.testing.assert_array_equal(np.asarray(after.physics.bits[i]), np.asarray(clean.physics.bits[i]))
        np.testing.assert_array_equal(np.asarray(timestep.reward[i]), np.asarray(good.reward[i]))


def test_a_diverged_simulation_is_truncated_with_a_reason(env, programs, keys):
    begin, step = programs
    state, _ = begin(keys)
    rows = np.asarray(state.physics.bits).copy().view(np.float64)
    rows[2, 2] = np.inf
    broken = state.replace(physics=state.physics.replace(bits=jnp.asarray(rows.view(np.uint32))))
    _, timestep = step(broken, jnp.zeros((BATCH, env.action_size)))
    np.testing.assert_array_equal(np.flatnonzero(timestep.metrics["diverged"]), [2])
    assert np.asarray(timestep.truncated)[2]
    assert not np.asarray(timestep.terminated)[2]


@a_few
def test_auto_reset_keeps_the_terminal_observation_and_begins_a_fresh_task(env, programs, keys):
    envs = AutoReset(env, BATCH)
    step, (begin, alone) = jax.jit(envs.step), programs
    env_state, first = begin(jax.vmap(lambda k: jax.random.fold_in(k, 0))(keys))
    state = BatchState(env=env_state, observation=first.observation, key=keys, episode=jnp.ones(BATCH, jnp.int32))
    action = np.zeros((BATCH, env.action_size), np.float32)
    action[1] = np.nan  # ends environment 1
    _, want = alone(state.env, jnp.asarray(action))
    before = np.asarray(state.env.physics.parameters)
    after, timestep = step(state, jnp.asarray(action))
    np.testing.assert_allclose(np.asarray(timestep.observation), np.asarray(want.observation), atol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(after.episode) != 1), [1])
    assert after.episode[1] == 2
    assert (np.asarray(after.env.physics.parameters)[1] != before[1]).any(), "a fresh task, not the first one again"
    np.testing.assert_array_equal(np.asarray(after.env.physics.parameters)[[0, 2]], before[[0, 2]])
    fresh = begin(jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys))[1].observation
    np.testing.assert_allclose(np.asarray(after.observation[1]), np.asarray(fresh[1]), atol=1e-5)


def test_zero_action_stands_still(env, programs, keys):
    begin, step = programs
    state, _ = begin(keys)
    after = state
    for _ in range(5):
        after, _ = step(after, jnp.zeros((BATCH, env.action_size)))
    moved = np.abs(np.asarray(after.physics.qpos[:, :3] - state.physics.qpos[:, :3])).max(1)
    assert (moved < 2e-3).mean() > 0.9, "but for starts in touch with something, which may push the robot off"
