"""The physical context: nothing changes without one, and each field does what it says."""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaestra.envs import context
from palaestra.envs.context import RANGES, REGIMES, sample_context
from palaestra.envs.types import MAX_DELAY, Context, State
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.files import named_leaves
from palaestra.sim.world import DENSITY
from tests.envs.worlds import env, one, tasks

NAMES = tuple(RANGES)
# Of everything in tasks 0 to 7 that is no float, from before tasks had a context: floats may round otherwise on another processor.
BEFORE = {"rearrange": "c66d5b61cdbbcb7c", "language": "18642ece005ff5c2"}  # of scenes, as they were before there were doors


def physical(**changes) -> Context:
    """The nominal context with these changes."""
    nominal = Context.nominal()
    return nominal.replace(**{name: jnp.asarray(value, getattr(nominal, name).dtype) for name, value in changes.items()})


@functools.cache
def programs():
    """Reset and step of `rearrange`, for one environment."""
    e = env()
    return jax.jit(e.reset), jax.jit(e.step)


def rollout(actions, index=0, **changes) -> list[tuple[State, np.ndarray]]:
    """States and observations of a task in this context, before and after each action."""
    reset, step = programs()
    state, timestep = reset(jax.random.key(9), one(tasks(), index).replace(context=physical(**changes)))
    path = [(state, np.asarray(timestep.observation))]
    for action in actions:
        state, timestep = step(state, jnp.asarray(action))
        path.append((state, np.asarray(timestep.observation)))
    return path


def bits(path) -> np.ndarray:
    return np.stack([np.asarray(state.physics.bits) for state, _ in path])


def random_actions(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 5)).astype(np.float32)


# --- the nominal one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rearrange", "language"])
def test_tasks_are_those_from_before_there_were_contexts(name):
    found = named_leaves(jax.device_get(jax.jit(env(name, "test").tasks)(jnp.arange(8))))
    scenes = {key: x for key, x in found.items() if key.startswith("scene/") and x.dtype != np.float32}
    whole = {key: x for key, x in scenes.items() if not any(new in key for new in ("leaf_", "button_", "rules"))}
    assert hashlib.sha256(b"".join(np.ascontiguousarray(whole[key]).tobytes() for key in sorted(whole))).hexdigest()[:16] == BEFORE[name]


def test_nominally_physics_is_that_of_the_bare_engine_to_the_bit():
    e, actions = env(), random_actions(40)
    path = rollout(actions)
    engine, body, task = e.engine, e.world.body, one(tasks(), 0)

    @jax.jit
    def bare(physics, ctrl, action):
        ctrl = body.control(physics.qpos[: body.num_joints], ctrl, action)
        return engine.step(physics, ctrl), ctrl

    physics, ctrl = engine.init(jax.tree.map(jnp.asarray, task.scene.layout)), path[0][0].ctrl
    states = [physics]
    for action in actions:
        physics, ctrl = bare(physics, ctrl, jnp.asarray(action))
        states.append(physics)
    np.testing.assert_array_equal(bits(path), np.stack([np.asarray(s.bits) for s in states]))
    np.testing.assert_array_equal(path[-1][0].physics.parameters, physics.parameters)


# --- regimes ------------------------------------------------------------------------------------------------------


def within(value, regime, name) -> bool:
    return any(low - 1e-6 <= value <= high + 1e-6 for low, high in RANGES[name][regime])


@functools.cache
def drawn():
    return jax.jit(lambda key: {regime: sample_context(key, regime) for regime in REGIMES})


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_contexts_lie_in_their_own_regime_alone(seed):
    for regime, found in jax.device_get(drawn()(jax.random.key(seed))).items():
        for name in NAMES:
            value = float(getattr(found, name))
            assert [r for r in REGIMES if within(value, r, name)] == [regime], (name, value)


def test_interpolation_lies_in_gaps_of_the_train_range_and_extrapolation_outside_of_it():
    for name, ranges in RANGES.items():
        low, high = min(a for a, _ in ranges["train"]), max(b for _, b in ranges["train"])
        assert all(low < a and b < high for a, b in ranges["interpolation"]), name
        assert all(b < low or a > high for a, b in ranges["extrapolation"]), name
    assert max(b for _, b in RANGES["delay"]["extrapolation"]) <= MAX_DELAY
    assert max(b for ranges in RANGES["strength"].values() for _, b in ranges) <= 1


def test_every_interval_is_drawn_from():
    keys = jax.random.split(jax.random.key(0), 200)
    found = jax.device_get(jax.jit(jax.vmap(lambda key: sample_context(key, "train")))(keys))
    for name in NAMES:
        values = getattr(found, name)
        for low, high in RANGES[name]["train"]:
            assert 0.3 < ((values >= low - 1e-6) & (values <= high + 1e-6)).mean() < 0.7, name


def test_an_unknown_regime_names_the_valid_ones():
    with pytest.raises(UnknownNameError, match=r"unknown regime 'test'.*extrapolation, interpolation, train"):
        sample_context(jax.random.key(0), "test")


# --- what each field does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay", range(1, MAX_DELAY + 1))
def test_a_delay_shifts_actions_by_so_many_steps_to_the_bit(delay):
    actions = random_actions(12)
    late, shifted = rollout(actions, delay=delay), rollout(np.concatenate([np.zeros((delay, 5), np.float32), actions[:-delay]]))
    np.testing.assert_array_equal(bits(late), bits(shifted))
    assert (bits(late)[-1] != bits(rollout(actions))[-1]).any()


def test_an_action_that_is_not_finite_ends_a_delayed_environment_now():
    state, _ = rollout([], delay=3)[0]
    _, timestep = programs()[1](state, jnp.full(5, jnp.inf))
    assert timestep.truncated
    assert timestep.metrics["diverged"]


def test_half_the_strength_is_half_the_speed():
    turn, lift = [[0.0, 0, 1, 0, 0]] * 15, [[0.0, 0, 0, 1, 0]] * 2
    fast, slow = (float(rollout(turn, strength=s)[-1][0].physics.qvel[2]) for s in (1.0, 0.5))
    assert fast == pytest.approx(env().world.body.max_turn, rel=0.02)
    assert slow == pytest.approx(fast / 2, rel=0.02)
    full, half = (float(rollout(lift, strength=s)[-1][0].ctrl[3]) for s in (1.0, 0.5))
    start = float(rollout([])[0][0].ctrl[3])
    assert half - start == pytest.approx((full - start) / 2, rel=1e-5)


def test_mass_and_friction_reach_the_model():
    e, scene = env(), one(tasks(), 0).scene
    rollout(random_actions(1), mass=3.0, friction=0.5)
    model, nominal = e.engine.simulations(1).batch.get_model(0), e.world.model
    cube = np.arange(e.world.spec.objects) < e.world.spec.cubes
    volume = np.where(cube, 8.0, 4 / 3 * np.pi) * np.asarray(scene.layout.object_half, float) ** 3
    np.testing.assert_allclose(model.body_mass[e.world.object_body], 3.0 * DENSITY * volume, rtol=1e-6)
    np.testing.assert_allclose(model.geom_friction[:, 0], 0.5 * nominal.geom_friction[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(model.geom_friction[:, 1:], nominal.geom_friction[:, 1:])


def test_noise_has_the_deviation_that_it_says_and_is_on_what_is_sensed_alone():
    e, actions, deviation = env(), random_actions(60), 0.05
    noisy, quiet = rollout(actions, noise=deviation), rollout(actions)
    np.testing.assert_array_equal(bits(noisy), bits(quiet))
    added = np.stack([a[1] - b[1] for a, b in zip(noisy, quiet, strict=True)])
    spec, used = e.world.spec, quiet[0][1]
    offsets = [45 + 20 * i + 15 + k for i in range(spec.objects + spec.receptacles + spec.rooms) for k in range(3) if used[45 + 20 * i]]
    sensed = np.isin(np.arange(e.observation_size), [*range(45), *offsets])
    clipped = (np.abs(np.stack([o for _, o in quiet])) > 9.5).any(0)
    assert (added[:, ~sensed] == 0).all()
    values = added[:, sensed & ~clipped]
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert abs(values.mean()) < 4 * deviation / np.sqrt(values.size)
    assert np.abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.1, "drawn anew every step"


def test_exact_readings_are_left_alone():
    state, _ = rollout([], noise=0.5)[0]
    sensed = np.asarray(context.sense(state, jnp.zeros(6), (1, 4)))
    np.testing.assert_array_equal(sensed == 0, [False, True, False, False, True, False])


def test_what_is_visible_is_appended_to_the_observation():
    visible, hidden = env("perturbed-physics-visible"), env("perturbed-physics")
    assert visible.observation_size == hidden.observation_size + len(NAMES) == env().observation_size + len(NAMES)
    task = one(tasks(), 0).replace(context=physical(friction=0.5, mass=2, strength=0.75, delay=2))
    _, timestep = jax.jit(visible.reset)(jax.random.key(0), task)
    _, without = jax.jit(hidden.reset)(jax.random.key(0), task)
    np.testing.assert_allclose(timestep.observation[-len(NAMES) :], [0.5, 2, 0.75, 2, 0])
    np.testing.assert_array_equal(timestep.observation[: -len(NAMES)], without.observation)
