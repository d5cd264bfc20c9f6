"""Perturbed tasks differ from their base tasks along their axis alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.perturbations import AXES
from palaestra.envs.tasksets import SPLITS
from palaestra.envs.types import IN_ROOM
from palaestra.sim.files import named_leaves
from tests.envs.test_context import NAMES, within
from tests.envs.worlds import env, one, tables, tasks

COUNT = 256
MAY_DIFFER = {
    "object": {"scene/layout/object_half", "scene/layout/object_pos", "scene/object_colour"},
    "position": {"scene/layout/object_pos"},
    "language": set(),
    "task": {"goal/predicate", "goal/subjects", "goal/targets"},
    "environment": {"scene/room_name", "scene/receptacle_colour"},
    "physics": {f"context/{name}" for name in NAMES},
}


@pytest.fixture(scope="module", params=AXES)
def pair(request):
    """An axis, base tasks and the perturbed ones."""
    return request.param, tasks(), tasks(f"perturbed-{request.param}")


def test_a_task_differs_from_its_base_along_its_axis_alone_and_does_differ(pair):
    axis, base, other = pair
    before, after = named_leaves(base), named_leaves(other)
    differs = {name: (after[name] != before[name]).reshape(COUNT, -1).any(1) for name in before}
    assert {name for name, found in differs.items() if found.any()} == MAY_DIFFER[axis]
    if axis == "language":
        words = [(env().instruction(one(base, i), i), env("perturbed-language").instruction(one(other, i), i)) for i in range(64)]
        assert all(a != b for a, b in words)
    else:
        assert np.stack(list(differs.values())).any(0).all()


def test_a_number_names_the_same_base_task_in_every_set(pair):
    axis, _, _ = pair
    numbers = jnp.asarray([0, 5])
    base, other = (jax.device_get(jax.jit(env(n, "test").tasks)(numbers)) for n in ("rearrange", f"perturbed-{axis}"))
    before, after = named_leaves(base), named_leaves(other)
    assert {name for name in before if (after[name] != before[name]).any()} <= MAY_DIFFER[axis]
    if axis == "position":  # by the most draws
        alone = jax.device_get(jax.jit(env("perturbed-position", "test").task)(5))
        assert all((x == after[name][1]).all() for name, x in named_leaves(alone).items())


def test_objects_have_other_looks_on_the_same_spot():
    base, other = tasks(), tasks("perturbed-object")
    used, a, b = base.scene.layout.object_used, base.scene.layout, other.scene.layout
    assert (base.scene.object_colour != other.scene.object_colour)[used].all()
    np.testing.assert_array_equal(a.object_pos[..., :2], b.object_pos[..., :2])
    np.testing.assert_allclose((a.object_pos[..., 2] - a.object_half)[used], (b.object_pos[..., 2] - b.object_half)[used], atol=1e-6)


def test_objects_are_elsewhere_and_what_holds_at_the_start_is_as_it_was():
    base, other = tasks(), tasks("perturbed-position")
    moved = np.linalg.norm(base.scene.layout.object_pos - other.scene.layout.object_pos, axis=-1)[base.scene.layout.object_used]
    assert (moved > 0).all()
    assert np.median(moved) > 0.5
    before, after = (tables(env().world.spec, batch.scene) for batch in (base, other))
    np.testing.assert_array_equal(before[:, 1:IN_ROOM], after[:, 1:IN_ROOM])  # near, and rooms of objects, may differ


def test_goals_have_as_many_terms_and_rooms_and_receptacles_other_names():
    base, other = tasks(), tasks("perturbed-task")
    np.testing.assert_array_equal(base.goal.used, other.goal.used)
    other = tasks("perturbed-environment")
    assert (base.scene.receptacle_colour != other.scene.receptacle_colour).all()
    assert not (base.scene.room_name[:, :, None] == other.scene.room_name[:, None]).any()
    assert all(len(set(row)) == len(row) for row in other.scene.room_name.tolist() + other.scene.receptacle_colour.tolist())


def test_the_split_says_the_regime():
    for split, regime in zip(SPLITS[:3], ("train", "interpolation", "extrapolation"), strict=True):
        found = tasks("perturbed-physics", split, 64).context
        assert all(within(float(value), regime, name) for name in NAMES for value in getattr(found, name))
