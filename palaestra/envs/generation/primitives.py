"""Tasks of one skill call: to go to a thing, to enter a room, to pick up what is near, to put down what is held where one stands."""

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation import generator, poses
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import SceneRange, one_of
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import HOLDING, IN_ROOM, INSIDE, NEAR, ON, Goal, Scene, Task, entity_used, leaf_entity, num_entities, room_entity
from palaestra.sim.world import World

GO, ENTER, PICK, PLACE = range(4)
_KIND_OF = (GO, PICK, PLACE, PLACE, ENTER)  # of the predicates, in their order
_OFTEN = (1.0, 1.0, 3.0, 3.0)  # of these four: a third of the scenes allows to pick, a third to place, and all to go somewhere


def attempt_scene(key: jax.Array, world: World, ranges: SceneRange) -> tuple[Scene, jax.Array]:
    """A house, and whether all found a place in it; key is consumed.

    The robot is anywhere, or beside an object, or beside a free table or a bin with an object in the hand, each in a third of them.
    """
    k_scene, k_stance, k_object, k_place, k_spot, k_yaw, k_hand = jax.random.split(key, 7)
    spec = world.spec
    scene, fits = generator.attempt_scene(k_scene, world, ranges)
    lay = scene.layout
    stance = jax.random.randint(k_stance, (), 0, 3)
    works, carries = stance > 0, stance == 2
    thing = one_of(k_object, lay.object_used & ~spec.are("crate"))
    held = jnp.where(carries, thing, -1)
    lies = table_at_start(world, scene)[ON] & (jnp.arange(num_entities(spec)) != 1 + thing)[:, None]
    free = ~lies.any(0)[1 + spec.objects : leaf_entity(spec, 0)]
    place = one_of(k_place, free)
    pos, half = generator.standing(spec, scene)
    centre = jnp.where(carries, pos[place, :2], lay.object_pos[thing, :2])
    at, found = poses.beside(k_spot, world, scene, centre, jnp.where(carries, half[place, :2], 0.0), held)
    yaw = jax.random.uniform(k_yaw, (), minval=-jnp.pi, maxval=jnp.pi)
    finger = jnp.where(carries, poses.held_finger(world, scene, thing), 0.0)
    q = jnp.stack([at[0], at[1], yaw, lay.robot_q[3], finger, finger]).astype(jnp.float32)
    q = jnp.where(works, q, lay.robot_q)
    scene = poses.in_hand(k_hand, world, scene.replace(layout=lay.replace(robot_q=q)), q, held)
    return scene, fits & (found | ~works) & (free.any() | ~carries)


def attempt_goal(key: jax.Array, world: World, scene: Scene) -> tuple[Goal, jax.Array]:
    """A goal that is one call away from the start, and whether this scene has one of the kind that was drawn; key is consumed."""
    k_kind, k_target = jax.random.split(key)
    spec, table = world.spec, table_at_start(world, scene)
    kind = jax.random.categorical(k_kind, jnp.log(jnp.asarray(_OFTEN)))
    allowed = _targets(world, scene, table)[kind]
    target = one_of(k_target, allowed)
    is_bin = target >= 1 + spec.objects + spec.tables
    predicate = jnp.stack([jnp.asarray(NEAR), jnp.asarray(IN_ROOM), jnp.asarray(HOLDING), jnp.where(is_bin, INSIDE, ON)])[kind]
    subject = jnp.where(kind == PLACE, jnp.argmax(table[HOLDING, 0]), 0)
    goal = goals.conjunction(spec, *(jnp.stack([x]) for x in (predicate, subject, target, allowed.any())))
    return goal, allowed.any() & begins(table, goal)


def admits(world: World, task: Task) -> jax.Array:
    """Whether the goal is one call away from the start [] bool."""
    table, goal = table_at_start(world, task.scene), task.goal
    kind = jnp.asarray(_KIND_OF)[goal.predicate[0]]
    moved = (goal.subjects[0] == table[HOLDING, 0]).all() | (kind != PLACE)
    return (_targets(world, task.scene, table)[kind] & goal.targets[0]).any() & moved


def _targets(world: World, scene: Scene, table: jax.Array) -> jax.Array:
    """Where one can go from the start, which rooms one can enter, what one can pick up, where to put what is held: [4, E] bool."""
    spec = world.spec
    entity, used = jnp.arange(num_entities(spec)), entity_used(spec, scene)
    near, held = table[NEAR, 0], table[HOLDING, 0]
    room, receptacle = entity >= room_entity(spec, 0), entity >= 1 + spec.objects
    free = ~table[ON].any(0)  # bins take many objects, tables one
    go = used & (entity > 0) & ~room & ~near
    enter = used & room & ~table[IN_ROOM, 0]
    carried = entity <= spec.portables
    pick = near & carried & ~receptacle & ~held.any() & ~table[INSIDE].any(1)
    place = near & receptacle & held.any() & free
    return jnp.stack([go, enter, pick, place])
