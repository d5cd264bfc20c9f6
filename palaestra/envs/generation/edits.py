"""Small changes to a task after which it is still one: what ACCEL makes new levels from."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation import generator
from palaestra.envs.generation.formulas import begins
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import ALWAYS, IN_ROOM, Goal, Scene, Task, room_entity
from palaestra.sim.world import OBJECT_KINDS, World

AttemptGoal = Callable[[jax.Array, Scene], tuple[Goal, jax.Array]]
Admits = Callable[[Task], jax.Array]


def edit(key: jax.Array, world: World, task: Task, attempt_goal: AttemptGoal, admits: Admits) -> Task:
    """One random change: the robot or an object elsewhere, two objects with their looks exchanged, or another goal.

    A change that breaks a rule of scenes, or of goals as `admits` tells, is not made, nor one of the scene while an object is in the
    hand; key is consumed.
    """
    k_which, k_robot, k_object, k_looks, k_goal = jax.random.split(key, 5)
    goal, good = attempt_goal(k_goal, task.scene)
    scenes = [_robot_elsewhere(k_robot, world, task.scene), _object_elsewhere(k_object, world, task.scene)]
    scenes.append(_looks_exchanged(k_looks, world, task.scene))
    open_hand = task.scene.layout.robot_q[4] == 0.0
    changed = [(task.replace(scene=scene), fits & open_hand & admits(task.replace(scene=scene))) for scene, fits in scenes]
    changed.append((task.replace(goal=goal), good))
    which = jax.random.randint(k_which, (), 0, len(changed))
    fits = jnp.stack([fits for _, fits in changed])[which]
    choices = [after for after, _ in changed]
    edited: Task = jax.tree.map(lambda old, *new: jnp.where(fits, jnp.stack(new)[which], old), task, *choices)
    return edited


def may_begin(world: World, task: Task) -> jax.Array:
    """Whether the goal is still open, and nothing that it speaks of is where it forbids the robot to go [] bool."""
    goal, table = task.goal, table_at_start(world, task.scene)
    rooms = room_entity(world.spec, jnp.arange(world.spec.rooms))
    kept_out = goal.used & (goal.stage == ALWAYS) & (goal.predicate == IN_ROOM) & (goal.at_most == 0)
    forbidden = (goal.targets & kept_out[:, None]).any(0)[rooms]
    return begins(table, goal) & ~(table[IN_ROOM][:, rooms] & goals.touched(table, goal)[:, None] & forbidden).any()


def _robot_elsewhere(key: jax.Array, world: World, scene: Scene) -> tuple[Scene, jax.Array]:
    """The robot at another free place, turned another way, and whether one was found."""
    k_spot, k_yaw = jax.random.split(key)
    robot, found = generator.robot_spot(k_spot, world.spec, scene, *generator.standing(world.spec, scene), scene.layout.object_pos)
    yaw = jax.random.uniform(k_yaw, (1,), minval=-jnp.pi, maxval=jnp.pi)
    q = jnp.concatenate([robot, yaw, scene.layout.robot_q[3:]]).astype(jnp.float32)
    return scene.replace(layout=scene.layout.replace(robot_q=q)), found


def _object_elsewhere(key: jax.Array, world: World, scene: Scene) -> tuple[Scene, jax.Array]:
    """An object at another free place on the floor, and whether one was found."""
    k_which, k_spot = jax.random.split(key)
    lay = scene.layout
    portable = ~world.spec.are("crate")  # around a crate has to be room
    chosen = jnp.arange(world.spec.objects) == generator.random_order(k_which, world.spec.objects, lay.object_used & portable)[0]
    pos, half = generator.standing(world.spec, scene)
    # The object itself is no obstacle to its new place: it is taken to be where unused ones are.
    others = jnp.where(chosen[:, None], 1e3, lay.object_pos[:, :2])
    xy, found = generator.object_spot(k_spot, scene, pos, half, others, lay.robot_q[:2])
    at = jnp.where(chosen[:, None], jnp.concatenate([jnp.broadcast_to(xy, others.shape), lay.object_half[:, None]], -1), lay.object_pos)
    return scene.replace(layout=lay.replace(object_pos=at)), found


def _looks_exchanged(key: jax.Array, world: World, scene: Scene) -> tuple[Scene, jax.Array]:
    """Two objects of one kind with colour and size exchanged, and whether there are two: no two things come to look alike."""
    o, lay = world.spec.objects, scene.layout
    kind = jnp.asarray([OBJECT_KINDS.index(kind) for kind in world.spec.object_kinds])
    order = generator.random_order(key, o, lay.object_used)
    first = order[0]
    partners = lay.object_used & (kind == kind[first]) & (jnp.arange(o) != first)
    second = order[jnp.argmax(partners[order])]
    index = jnp.arange(o)
    swap = jnp.where(index == first, second, jnp.where(index == second, first, index))
    half = lay.object_half[swap]
    lifted = lay.object_pos.at[:, 2].add(half - lay.object_half)  # on what it stands on
    layout = lay.replace(object_half=half, object_pos=jnp.where(lay.object_used[:, None], lifted, lay.object_pos))
    return scene.replace(layout=layout, object_colour=scene.object_colour[swap]), partners.any()
