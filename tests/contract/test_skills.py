"""What every skill must do. The library is the list."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.names import Entity
from palaestra.envs.observation import SURROUNDINGS
from palaestra.policies.evaluate import evaluation_keys
from palaestra.sim.errors import UnknownNameError
from palaestra.skills.library import SKILLS, skill
from palaestra.skills.operators import contracts, json_schema, prompt_text
from palaestra.skills.shipped import WEIGHTS, card, learned
from palaestra.skills.training import HELD_FOR, LOST_FOR, Monitor, SkillEnv

THINGS = (
    Entity(0, "robot", "robot"),
    Entity(1, "red_cube", "cube", "red", "small"),
    Entity(3, "blue_table", "table", "blue"),
    Entity(5, "green_bin", "bin", "green"),
    Entity(7, "kitchen", "room"),
    Entity(8, "red_button", "button", "red"),
    Entity(9, "red_drawer", "drawer", "red"),
    Entity(10, "red_swing_door", "swing", "red"),
    Entity(11, "red_crate", "crate", "red"),
    Entity(12, "red_toggle", "toggle", "red"),
)


@pytest.fixture(scope="module", params=sorted(SKILLS))
def record(request):
    return SKILLS[request.param]


class Started:
    """64 start states over the whole precondition, and what a record says of states: one program, as compiling is what takes time."""

    def __init__(self, record):
        env = self.env = SkillEnv(record)
        self.step = jax.jit(jax.vmap(env.step))
        self.state, self.timestep = jax.jit(jax.vmap(env.begin))(evaluation_keys(3, 64))

        def look(state):
            seen = env.view(state)
            return {
                "may begin": record.holds(record.precondition, seen),
                "done": record.holds(record.effect, seen) & record.finished(env.world, seen),
                "reward": record.reward(env.world, seen),
                "observation": record.observe(env.world, seen),
            }

        self.look = jax.jit(jax.vmap(look))


@pytest.fixture(scope="module")
def started(record):
    return Started(record)


def test_the_precondition_holds_at_every_start_and_the_effect_does_not(started):
    seen = started.look(started.state)
    assert np.asarray(seen["may begin"]).all()
    assert not np.asarray(seen["done"]).any()


def test_starts_touch_nothing_and_stay_where_they_are(started):
    first = state = started.state
    for _ in range(10):
        state, _ = started.step(state, jnp.zeros((64, started.env.action_size)))
    moved = np.abs(np.asarray(state.physics.qpos - first.physics.qpos))
    assert (moved[:, :2].max(1) < 0.01).mean() > 0.97, "a start inside a wall would be pushed out"
    robot = np.asarray(first.physics.qpos[:, :2])
    room, used = np.asarray(first.scene.room), np.asarray(first.scene.room_used)
    indoors = ((robot[:, None] > room[..., :2]) & (robot[:, None] < room[..., 2:])).all(-1) & used
    assert indoors.any(1).all(), "a start out of doors could never succeed"


def test_rewards_lie_between_zero_and_one(started):
    reward = np.asarray(started.look(started.state)["reward"])
    assert ((reward >= 0) & (reward <= 1)).all()


def test_flags_are_the_truth_values_among_what_is_observed(record, started):
    """What else is observed before the rays varies, once things move (doors and buttons too); a ray may meet nothing in all starts."""
    env, state = started.env, started.state
    rng = np.random.default_rng(0)
    body = env.world.model.nu - env.world.spec.servos
    state = state.replace(ctrl=state.ctrl.at[:, body:].add(-0.005))
    for _ in range(3):
        state, _ = started.step(state, jnp.asarray(rng.uniform(-1, 1, (64, env.action_size)), jnp.float32))
    seen = np.asarray(started.look(state)["observation"])
    assert tuple(np.flatnonzero(np.isin(seen[:, :-SURROUNDINGS], (0, 1)).all(0))) == record.flags


def test_the_policy_drives_its_own_components_only(record):
    env = SkillEnv(record)
    full = record.full_action(env.world, jnp.ones(record.action_size))
    assert full.shape == (len(env.world.body.action_names),)
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(full)), sorted(record.commands))


def test_everything_is_derived_from_the_record(record):
    calls = list(contracts([record], THINGS))
    assert calls
    for call in calls:
        assert list(call.args) == [p.name for p in record.params]
    schema = json_schema([record], THINGS)
    assert schema["properties"]["steps"]["items"]["anyOf"][0]["properties"]["skill"]["enum"] == [record.name]
    assert record.doc in prompt_text([record], THINGS)
    assert record.name in prompt_text([record], THINGS)


def test_functions_take_world_and_view(record):
    for function in (record.observe, record.reward, record.finished, record.failed):
        assert list(inspect.signature(function).parameters) == ["world", "view"]


def test_weights_are_shipped_with_a_card_that_names_them(record):
    loaded = learned(record)
    assert loaded.act(jnp.zeros(record.observation_size)).shape == (record.action_size,)
    about = card(record)
    assert about["skill"] == record.name
    assert about["n"] >= 1000
    low, high = about["interval"]
    assert low <= about["value"] <= high
    from palaestra.policies.files import file_hash

    assert about["weights"] == file_hash(WEIGHTS / f"{record.name}.safetensors"), "measure again: palaestra admit"


def test_all_weights_together_are_small():
    sizes = {p.stem: p.stat().st_size for p in WEIGHTS.glob("*.safetensors")}
    assert sizes.pop("planner") < 20_000_000
    assert sum(sizes.values()) < 5_000_000


@pytest.mark.slow
def test_the_shipped_policy_succeeds(record):
    """A coarse guard, on few episodes; the figures are those of `palaestra eval`."""
    from palaestra.policies.evaluate import evaluate

    loaded = learned(record)
    result = evaluate(SkillEnv(record), loaded.network, loaded.policy, 64, seed=5)
    assert result.success.mean() > record.gate - 0.1


def test_success_must_last_and_failure_be_certain():
    monitor = Monitor.new()
    for i in range(HELD_FOR):
        assert not monitor.succeeded
        monitor = monitor.update(jnp.asarray(True), jnp.asarray(False))
        assert int(monitor.step) == i + 1
    assert monitor.succeeded
    monitor = monitor.update(jnp.asarray(False), jnp.asarray(True))
    assert not monitor.succeeded
    for _ in range(LOST_FOR - 1):
        assert not monitor.lost
        monitor = monitor.update(jnp.asarray(False), jnp.asarray(True))
    assert monitor.lost


def test_an_unknown_skill_names_the_valid_ones():
    with pytest.raises(
        UnknownNameError,
        match=r"unknown skill 'pik'; expected one of: close, .*, place, press, push, push_open, turn_off, turn_on\. Did you mean 'pick'",
    ):
        skill("pik")
