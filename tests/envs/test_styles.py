"""Houses of every style, furnished: nothing overlaps, all can be reached, nothing moves; clutter; and the set `layouts`.

What a style is as a floor plan is in `test_floor_plans`, ways through them in `test_house`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from palaestra.envs.env import Rearrange
from palaestra.envs.filters import num_rooms, num_spare
from palaestra.envs.generation.generator import SceneRange
from palaestra.envs.generation.overlaps import overlaps
from palaestra.envs.generation.reach import out_of_reach
from palaestra.envs.generation.styles import STYLES, style_of
from palaestra.envs.predicates import set_points_at_start
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec
from tests.envs.worlds import NINE, env, one, styled_tasks, tasks

SHOWN = {"train": {"mixed", "row", "open"}, "validation": {"mixed", "row", "open"}, "test": {"ring", "corridor"}}
CLUTTER = {"train": {0, 1, 3}, "validation": {2}, "test": {4}}


def test_in_houses_of_every_style_nothing_overlaps_and_everything_can_be_driven_up_to():
    scenes = styled_tasks().scene
    shown = np.asarray(jax.vmap(style_of)(scenes))
    assert set(shown) == set(range(len(STYLES)))
    np.testing.assert_array_equal(overlaps(NINE, scenes), 0)
    for i in range(len(shown)):
        assert out_of_reach(NINE, one(scenes, i)) == [], (i, STYLES[shown[i]])


@pytest.mark.parametrize("split", SHOWN)
def test_the_splits_of_layouts_have_other_styles_and_other_clutter(split):
    batch = tasks("layouts", split)
    assert {STYLES[i] for i in np.asarray(jax.vmap(style_of)(batch.scene))} == SHOWN[split]
    assert set(np.asarray(num_spare(batch))) == CLUTTER[split]
    assert set(num_rooms(batch)) == {5, 6}
    assert set(batch.goal.used.sum(1)) == {1, 2, 3}


@pytest.mark.parametrize("split", SHOWN)
def test_doorways_of_the_test_split_hang_together_as_none_in_training_do(split):
    """In training no house is a cycle, and no room has a doorway to all others; in the test split every house is one or the other."""
    scene = tasks("layouts", split).scene
    for i in range(len(scene.room)):
        pairs = {frozenset(pair) for pair in scene.door_rooms[i][scene.door_used[i]].tolist()}
        rooms = scene.room_used[i].sum()
        degree = np.bincount([room for pair in pairs for room in pair], minlength=rooms)
        cycle, star = (degree == 2).all(), degree.max() == rooms - 1
        assert (cycle or star) == (split == "test"), i


def test_clutter_is_what_the_goal_does_not_name():
    batch = tasks("layouts", "test")
    spec = env("layouts", "test").world.spec
    for i in range(len(batch.goal.used)):
        goal = one(batch.goal, i)
        named = (goal.subjects | goal.targets)[goal.used].any(0)[1 : 1 + spec.objects]
        used = batch.scene.layout.object_used[i]
        assert (used | ~named).all(), "what a goal names is there"
        assert (used & ~named).sum() == 4
        assert (batch.scene.layout.object_pos[i][~used] > 10).any(-1).all(), "what is not there is far away"


def test_scenes_of_layouts_settle_without_motion():
    e = env("layouts", "test")
    scene = jax.tree.map(lambda x: x[:64], tasks("layouts", "test").scene)
    physics, ctrl = jax.jit(jax.vmap(lambda s: (e.engine.init(s.layout), set_points_at_start(e.world.spec, s))))(scene)
    start, step = np.asarray(physics.qpos), jax.jit(jax.vmap(e.engine.step))
    for _ in range(20):
        physics = step(physics, ctrl)
    moved = np.abs(np.asarray(physics.qpos) - start)
    assert moved[:, 6:][np.repeat(scene.layout.object_used, 7, axis=1)].max() < 3e-3
    assert not np.asarray(physics.diverged).any()


def test_styles_are_drawn_by_weight():
    """In one program: weights are traced."""
    e = env("layouts")
    traces = []

    @jax.jit
    def draw(weight):
        traces.append(weight)
        scene, _ = jax.vmap(e.within(e.task_range.replace(scene=e.ranges.replace(styles=weight))).attempt_scene)(keys)
        return jax.vmap(style_of)(scene)

    keys = jax.random.split(jax.random.key(0), 600)
    share = np.bincount(draw(jnp.array([0.0, 3.0, 1.0, 0.0, 0.0])), minlength=len(STYLES)) / len(keys)
    np.testing.assert_allclose(share, [0, 0.75, 0.25, 0, 0], atol=0.06)
    assert set(np.asarray(draw(jnp.array([0.0, 0.0, 0.0, 1.0, 0.0])))) == {STYLES.index("ring")}
    assert len(traces) == 1


def test_clutter_that_cannot_be_is_refused_early():
    spec = WorldSpec(cubes=3, balls=1)
    with pytest.raises(
        PalaestraError, match=r"clutter: got \[4\] and use 1.0, expected numbers from 0 to 3, and use 1.*Fix: use=1.0, fewer"
    ):
        SceneRange.make(spec, use=1.0, clutter=[4])
    with pytest.raises(PalaestraError, match=r"clutter: got \[1\] and use 0.8"):
        SceneRange.make(spec, clutter=[1])
    with pytest.raises(PalaestraError, match=r"objects: got 4, expected 5 or more, for goals and clutter. Fix: a world with more objects"):
        Rearrange(spec, ranges=SceneRange.make(spec, use=1.0, clutter=[0, 2]), max_goals=3)
