"""Trials: the same task again and again, the world anew, and what is observed of the last trial."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.trials import Trials
from tests.policies.probes import HiddenSign, Probe


def episode(env, actions, key=0):
    """The TimeSteps of one episode, the first one included."""
    state, timestep = env.begin(jax.random.key(key))
    steps = [timestep]
    for action in actions:
        state, timestep = env.step(state, jnp.asarray([action]))
        steps.append(timestep)
    return state, steps


def test_what_is_observed_of_the_last_action_reward_and_trial():
    env = Trials(HiddenSign(), 3)
    assert (env.observation_size, env.action_size, env.horizon) == (2 + 1 + 3, 1, 3)
    state, steps = episode(env, [0.5, 5.0, -1.0])
    sign = float(state.env.sign)
    won = [sign > 0, sign > 0, sign < 0]
    for step, (action, reward, begins, left) in zip(
        steps, [(0, 0, 1, 1), (0.5, won[0], 1, 2 / 3), (1.0, won[1], 1, 1 / 3), (-1.0, won[2], 0, 1 / 3)], strict=True
    ):
        np.testing.assert_allclose(step.observation[2:], [action, reward, begins, left], atol=1e-6)
    assert [bool(step.done) for step in steps] == [False, False, False, True]
    assert bool(steps[-1].terminated)
    assert [bool(steps[-1].metrics[f"trial_{k}"]) for k in (1, 2, 3)] == won
    assert bool(steps[-1].metrics["success"]) == won[2]


def test_a_wiped_agent_sees_nothing_of_the_trial_before():
    _, steps = episode(Trials(HiddenSign(), 3, remembers=False), [0.5, 5.0, -1.0])
    np.testing.assert_allclose([step.observation[2:4] for step in steps[:3]], np.zeros((3, 2)))
    assert float(steps[3].observation[2]) == -1.0, "the last step begins no trial"


def test_trials_that_are_cut_short_end_in_truncation():
    cut = Probe(lambda sign, step, action: action, length=2, shows_sign=False, truncates=True)
    _, steps = episode(Trials(cut, 2), [0.1, 0.2, 0.3, 0.4])
    assert [float(step.reward) for step in steps[1:]] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert [bool(step.truncated) for step in steps] == [False, False, False, False, True]
    assert not any(bool(step.terminated) for step in steps)


def test_trials_must_be_one_or_more():
    with pytest.raises(ValueError, match="trials: got 0, expected 1 or more"):
        Trials(HiddenSign(), 0)


def test_the_task_stays_and_the_world_begins_anew():
    """Driven straight at one of the cubes: what happens is the same in both trials, to the bit, and what the hidden rule says of it."""
    env = Trials(TaskSetEnv("hidden-rules"), 2)
    count = 32
    state, first = jax.jit(jax.vmap(env.begin))(jax.random.split(jax.random.key(3), count))
    scene = state.env.task.scene
    cube = scene.layout.object_pos[:, 0, :2]
    right = np.asarray(scene.rules.target[:, 0, 0]) == 1  # whether the first cube is the one that turns into the ball
    assert 4 < right.sum() < count - 4

    def drive(state):
        q = state.env.physics.qpos
        away = cube - q[:, :2]
        away = away / jnp.linalg.norm(away, axis=-1, keepdims=True)
        cos, sin = jnp.cos(q[:, 2]), jnp.sin(q[:, 2])
        ahead = cos * away[:, 0] + sin * away[:, 1], cos * away[:, 1] - sin * away[:, 0]
        return jnp.stack([*ahead, *[jnp.zeros(count)] * 3], -1)

    step = jax.jit(jax.vmap(env.step))
    total = jnp.zeros(count)
    over = jnp.zeros(count, bool)
    for _ in range(2 * env.env.horizon):
        state, timestep = step(state, drive(state))
        total += jnp.where(over, 0.0, timestep.reward)
        anew = (timestep.metrics["trial"] == 1) & (timestep.observation[:, -2] == 1)
        rows = np.flatnonzero(np.asarray(anew & ~over))
        np.testing.assert_array_equal(np.asarray(state.env.physics.bits)[rows], np.asarray(state.start.physics.bits)[rows])
        np.testing.assert_array_equal(np.asarray(timestep.observation)[rows, : env.env.observation_size], np.asarray(state.seen)[rows])
        over |= timestep.done
        if over.all():
            break
    assert over.all()
    np.testing.assert_array_equal(np.asarray(state.won), np.stack([right, right], -1))
    np.testing.assert_array_equal(np.asarray(total), 2.0 * right)
    np.testing.assert_array_equal(np.asarray(first.observation[:, : env.env.observation_size]), np.asarray(state.seen))
