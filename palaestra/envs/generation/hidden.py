"""Tasks about a rule that has to be found out: of two cubes one turns into a ball when the robot comes near it; near the other one
both vanish for good. Nothing that can be seen tells which is which, so of those who do not know half fail.

The robot begins between the cubes, and nowhere is it near both at once.
"""

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation import generator
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import Cast, SceneRange
from palaestra.envs.predicates import NEAR_DISTANCE, table_at_start
from palaestra.envs.rules import conditions
from palaestra.envs.types import NEAR, Goal, Rules, Scene, Task
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import World, WorldSpec

_CANDIDATES = 48
_FIRST, _SECOND, _BALL = range(3)  # objects: the cubes, and what one of them turns into
_SHORT = (0.08, 0.40)  # m, the way from the start to where a cube is near
_APART = 0.7 * jnp.pi  # rad, at least, between the directions to the cubes
_BETWEEN = 0.06  # m, between where the one is near and where the other is
_WALL = 0.15  # m, between a cube and the walls
_THING = 0.10  # m, between a cube and furniture


def attempt_hidden(key: jax.Array, world: World, scenes: SceneRange) -> tuple[Task, jax.Array]:
    """A task with a rule to find out, and whether it is one that may be used; key is consumed."""
    spec = world.spec
    if (spec.cubes, spec.balls, spec.rules) != (2, 1, 2):
        got = f"{spec.cubes} cubes, {spec.balls} balls and {spec.rules} rules"
        raise PalaestraError(f"hidden rules: got a world with {got}, expected 2 cubes, 1 ball and 2 rules")
    k_scene, k_place, k_rule = jax.random.split(key, 3)
    number = jnp.arange(spec.objects)
    scene, fits = generator.attempt_scene(k_scene, world, scenes, Cast(needed=number != _BALL, absent=number == _BALL))
    scene, found = _between(k_place, spec, scene)
    scene = scene.replace(rules=_rules(jax.random.bernoulli(k_rule)))
    goal, table = wanted(spec), table_at_start(world, scene)
    return Task(scene=scene, goal=goal), fits & found & ~conditions(scene.rules, table).any() & begins(table, goal)


def wanted(spec: WorldSpec) -> Goal:
    """To be near the ball."""
    one = jnp.ones(1, jnp.int32)
    return goals.conjunction(spec, NEAR * one, 0 * one, (1 + _BALL) * one, one > 0)


def _rules(swapped: jax.Array) -> Rules:
    """Near the first cube it and the other turn into the ball, near the second both vanish; the other way round where `swapped`."""
    right = jnp.where(swapped, jnp.asarray([_SECOND, _FIRST]), jnp.asarray([_FIRST, _SECOND])).astype(jnp.int32)
    both = jnp.stack([right[::-1], right])  # the ball takes the place of the second that vanishes
    none, no = jnp.zeros((2, 2), jnp.int32), jnp.zeros(2, bool)
    return Rules(
        predicate=none + jnp.asarray([NEAR, 0]),
        subject=none,
        target=jnp.stack([1 + right, none[0]], -1),
        needed=jnp.asarray([[True, False]] * 2),
        opens=none[0] - 1,
        lasting=no,
        consumes=both.astype(jnp.int32),
        product=jnp.asarray([_BALL, -1], jnp.int32),
        used=~no,
    )


def _between(key: jax.Array, spec: WorldSpec, scene: Scene) -> tuple[Scene, jax.Array]:
    """The scene with the robot between the cubes, and whether there is room for that [] bool; key is consumed."""
    k_robot, k_turn, k_apart, k_away = jax.random.split(key, 4)
    lay, room = scene.layout, scene.room[0]
    middle, side = 0.5 * (room[:2] + room[2:]), room[2:] - room[:2]
    robot = middle + 0.25 * side * jax.random.uniform(k_robot, (_CANDIDATES, 2), minval=-1.0, maxval=1.0)
    turn = jax.random.uniform(k_turn, (_CANDIDATES,), maxval=2 * jnp.pi)
    apart = jax.random.uniform(k_apart, (_CANDIDATES,), minval=_APART, maxval=2 * jnp.pi - _APART)
    angle = jnp.stack([turn, turn + apart], -1)  # [candidates, 2]
    half = lay.object_half[: _SECOND + 1]
    away = NEAR_DISTANCE + half + jax.random.uniform(k_away, (_CANDIDATES, 2), minval=_SHORT[0], maxval=_SHORT[1])
    cube = robot[:, None] + away[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)  # [candidates, cubes, 2] m
    pos, size = generator.standing(spec, scene)
    inside = (jnp.minimum(cube - room[:2], room[2:] - cube) - half[:, None] > _WALL).all((1, 2))
    gap = jnp.maximum(jnp.abs(cube[:, :, None] - pos[:, :2]) - size[:, :2] - half[:, None, None], 0.0)
    clear = (jnp.linalg.norm(gap, axis=-1) > _THING).all((1, 2))
    stands = jax.vmap(lambda xy, others: generator.robot_fits(xy, scene, pos, size, others))(robot, cube)
    parted = jnp.linalg.norm(cube[:, 0] - cube[:, 1], axis=-1) >= 2 * NEAR_DISTANCE + half.sum() + _BETWEEN
    good = inside & clear & parted & stands
    best = jnp.argmax(good)
    layout = lay.replace(robot_q=lay.robot_q.at[:2].set(robot[best]), object_pos=lay.object_pos.at[: _SECOND + 1, :2].set(cube[best]))
    return scene.replace(layout=layout), good[best]
