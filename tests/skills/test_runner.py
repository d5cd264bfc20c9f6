"""Skills in motion, in the house made by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals
from palaestra.envs.env import Rearrange
from palaestra.envs.names import entities
from palaestra.envs.types import Task
from palaestra.skills.library import PLACE
from palaestra.skills.runner import Outcome, Runner
from palaestra.skills.shipped import learned
from tests.envs.houses import SPEC, house


def test_a_call_ends_well_and_at_once_where_a_rule_consumes_what_it_has_put_down():
    """On the green table, a dead end takes the blue cube in the first lane; nothing takes the red cube in the second."""
    runner = Runner(Rearrange(SPEC), {"place": learned(PLACE)})
    index = {thing.name: thing.index for thing in entities(SPEC, house())}
    green = house().layout.fixture_pos[SPEC.walls + 1]
    goal = goals.write(goals.Formula.of([("inside", "large_red_cube", "green_bin")]), SPEC, house())
    tasks = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x)] * 2), Task(scene=house(), goal=goal))
    motion = runner.begin(tasks, jax.random.split(jax.random.key(0), 2))
    cubes, qpos = [index["blue_cube"], index["small_red_cube"]], np.array(motion.state.physics.qpos)
    for lane, cube in enumerate(cubes):
        first = 6 + 7 * (cube - 1)
        qpos[lane, first : first + 3] = [*green[:2], 2 * green[2] + 0.025]
    put = jax.vmap(runner.env.engine.at)(jnp.asarray(qpos), motion.state.physics.qvel, motion.state.physics.parameters)
    motion = motion.replace(state=motion.state.replace(physics=put))
    both, args = jnp.ones(2, bool), jnp.asarray([[cube, index["green_table"]] for cube in cubes])
    motion = runner.start(motion, both, jnp.zeros(2, jnp.int32), args, ~both)
    motion, states = jax.jit(runner._run, static_argnums=1)(motion, 6)
    assert motion.outcome.tolist() == [Outcome.CONSUMED, Outcome.SUCCEEDED]
    assert motion.monitor.step.tolist() == [1, 4]
    used = np.asarray(states.task.scene.layout.object_used)
    assert used[:, 0].tolist() == [[True, False, False, True]] * 6
    assert used[:, 1].tolist() == [[True, False, True, True]] * 6
    body = np.asarray(states.ctrl)[:, 0, :6]
    np.testing.assert_array_equal(body[1:, :3], 0.0)  # the robot stands still, and its hand stays as it was
    np.testing.assert_array_equal(body[1:, 3:], np.broadcast_to(body[0, 3:], (5, 3)))
