"""Tasks changed along one axis, all the rest equal to the bit: what a success rate hangs on. The axes are those of LIBERO-PRO, and physics.

A perturbed task belongs to a base task: the same set, split and number without the change. A change is drawn until it is a whole one, so
every task of an axis differs from its base.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from palaestra.envs.context import sample_context
from palaestra.envs.env import Rearrange
from palaestra.envs.generation import generator
from palaestra.envs.types import COLOURS, ROOMS, Goal, Task

Change = Callable[[jax.Array, Rearrange, Task], tuple[Task, jax.Array]]  # (key, env, base) -> the task, and whether it may be used

AXES = {
    "object": "other colours and sizes of all objects",
    "position": "all objects elsewhere: on the floor, or on their table",
    "language": "the wordings that are held out",
    "task": "another goal of as many terms",
    "environment": "other names of all rooms, and other colours of tables and bins",
    "physics": "another friction, mass, motor strength, action delay and sensor noise",
}


def perturb(key: jax.Array, axis: str, env: Rearrange, task: Task, regime: str) -> Task:
    """The task changed along an axis of AXES; physics comes from the `regime`; key is consumed."""
    if axis == "language":
        return task  # what differs is how it is said
    if axis == "physics":
        return task.replace(context=sample_context(key, regime))
    return generator.draw_until(key, lambda k: _CHANGES[axis](k, env, task))


def _object(key: jax.Array, env: Rearrange, task: Task) -> tuple[Task, jax.Array]:
    """The looks of another scene's objects; no size stays, and no colour of one that is there."""
    scene, lay = task.scene, task.scene.layout
    other, _ = generator.attempt_scene(key, env.world, env.ranges)
    half, colour = other.layout.object_half, other.object_colour
    lifted = lay.object_pos.at[:, 2].add(half - lay.object_half)  # on what it stands on
    layout = lay.replace(object_half=half, object_pos=jnp.where(lay.object_used[:, None], lifted, lay.object_pos))
    changed = (colour != scene.object_colour) | ~lay.object_used
    return task.replace(scene=scene.replace(layout=layout, object_colour=colour)), changed.all()


def _position(key: jax.Array, env: Rearrange, task: Task) -> tuple[Task, jax.Array]:
    """Objects on the floor anywhere else on it, those on tables elsewhere on theirs; so what holds at the start is as it was."""
    spec, scene, lay = env.world.spec, task.scene, task.scene.layout
    k_floor, k_table = jax.random.split(key)
    pos, half = generator.standing(spec, scene)
    on_table = lay.object_pos[:, 2] > 2 * lay.object_half
    mine = jnp.argmin(jnp.linalg.norm(lay.object_pos[:, None, :2] - pos[:, :2], axis=-1), axis=-1)
    offset = generator.OFF_CENTRE * jax.random.uniform(k_table, (spec.objects, 2), minval=-1.0, maxval=1.0)
    at, fits = jnp.where(on_table[:, None], pos[mine, :2] + offset, 1e3), jnp.asarray(True)
    for i, k in enumerate(jax.random.split(k_floor, spec.objects)):
        xy, found = generator.object_spot(k, scene, pos, half, at, lay.robot_q[:2])
        moves = lay.object_used[i] & ~on_table[i]
        at, fits = at.at[i].set(jnp.where(moves, xy, at[i])), fits & (found | ~moves)
    moved = jnp.where(lay.object_used[:, None], lay.object_pos.at[:, :2].set(at), lay.object_pos)
    return task.replace(scene=scene.replace(layout=lay.replace(object_pos=moved))), fits


def _task(key: jax.Array, env: Rearrange, task: Task) -> tuple[Task, jax.Array]:
    """Another goal of the same kind and as many terms, in the same scene."""
    goal, good = env.attempt_goal(key, task.scene)
    return task.replace(goal=goal), good & (goal.used == task.goal.used).all() & _asks_for_more(goal, task.goal)


def _asks_for_more(goal: Goal, base: Goal) -> jax.Array:
    """Whether a term of `goal` is none of `base`'s [] bool."""
    alike = (goal.predicate[:, None] == base.predicate) & base.used
    for mine, theirs in ((goal.subjects, base.subjects), (goal.targets, base.targets)):
        alike &= (mine[:, None] == theirs).all(-1)
    return (goal.used & ~alike.any(1)).any()


def _environment(key: jax.Array, env: Rearrange, task: Task) -> tuple[Task, jax.Array]:
    """Rooms by names that none of them had, receptacles in colours that each of them had not."""
    scene = task.scene
    k_rooms, k_colours = jax.random.split(key)
    free = ~(jnp.arange(len(ROOMS)) == scene.room_name[:, None]).any(0)
    names = generator.random_order(k_rooms, len(free), free)[: len(scene.room_name)].astype(jnp.int32)
    order = generator.random_order(k_colours, len(COLOURS)).astype(jnp.int32)
    colours = order[jnp.arange(len(scene.receptacle_colour)) % len(order)]
    return task.replace(scene=scene.replace(room_name=names, receptacle_colour=colours)), (colours != scene.receptacle_colour).all()


_CHANGES: dict[str, Change] = {"object": _object, "position": _position, "task": _task, "environment": _environment}
