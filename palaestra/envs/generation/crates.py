"""Tasks of heavy work: crates pushed next to things, onto pressure plates and into other rooms; at times one keeps a door open.

Every one can be reached by construction: crates begin where the robot can get around them, and only on the robot's side of a door.
"""

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals, house
from palaestra.envs.generation import generator
from palaestra.envs.generation.doors import hang_doors
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import Literals, SceneRange, one_of
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import (
    IN_ROOM,
    KINDS,
    NEAR,
    ON,
    PRESSED,
    SOLID,
    Goal,
    Rules,
    Scene,
    crate_entity,
    entity_kinds,
    entity_used,
    num_entities,
    room_entity,
)
from palaestra.sim.world import World, WorldSpec

BESIDE, ONTO, INTO = range(3)
_PREDICATES = (NEAR, ON, IN_ROOM)  # of these three
_DOORS = 0.8  # the probability that a house of several rooms has a door that a weight opens,
_SECOND = 0.6  # that a goal has a second literal,
_HEAVY = 0.35  # and that this one is about the other crate, where there is one


def attempt_scene(key: jax.Array, world: World, ranges: SceneRange) -> tuple[Scene, jax.Array]:
    """A house with crates, some with a shut door that is open as long as something lies on a plate, and whether everything found a place
    in it [] bool; key is consumed."""
    spec = world.spec
    k_scene, k_doors, k_plate, k_some = jax.random.split(key, 4)
    scene, fits = generator.attempt_scene(k_scene, world, ranges)
    if not (spec.leaves and spec.rules and spec.plates):
        return scene, fits
    hung, doors, hangs = hang_doors(k_doors, spec, scene, 1, 1)
    plates = 1 + spec.objects + spec.tables - spec.plates + jnp.arange(spec.plates)
    near_side = ~doors.behind.any(0)
    lay = scene.layout
    which = plates - 1 - spec.objects + spec.walls
    plate_here = near_side[house.room_of(scene, lay.fixture_pos[which, :2])]
    crates_here = near_side[house.room_of(scene, lay.object_pos[spec.portables :, :2])] | ~lay.object_used[spec.portables :]
    plate, first = plates[one_of(k_plate, plate_here)], jnp.arange(spec.rules) == 0
    none = Rules.none(spec.rules)
    rules = none.replace(
        predicate=none.predicate.at[0, 0].set(PRESSED),
        subject=none.subject.at[0, 0].set(plate),
        target=none.target.at[0, 0].set(plate),
        needed=none.needed.at[0, 0].set(True),
        opens=jnp.where(first, 0, none.opens),
        used=first,
    )
    fine = hangs & plate_here.any() & crates_here.all()
    hung = hung.replace(rules=rules)
    with_door = jax.random.bernoulli(k_some, _DOORS) & (scene.room_used.sum() > 1)
    chosen: Scene = jax.tree.map(lambda new, old: jnp.where(with_door, new, old), hung, scene)
    return chosen, fits & (fine | ~with_door)


def attempt_goal(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Goal, jax.Array]:
    """One or two literals, the first about a crate, the second about another one or an object that is carried, and whether the scene has
    what they speak of, and none of it holds yet [] bool. Key is consumed.

    In a house with a door that a weight opens, something has to be done behind it, and a crate is to be on the plate.
    """
    spec = world.spec
    k_first, k_count, k_which, k_object, k_other = jax.random.split(key, 5)
    table = table_at_start(world, scene)
    used = scene.layout.object_used[spec.portables :]
    behind = _behind(spec, scene)
    weighs = behind.any()  # there is a door
    plate = jnp.where(weighs, scene.rules.subject[0, 0], -1) if spec.rules else jnp.asarray(-1)
    first, first_ok = _heavy(k_first, spec, scene, table, used, jnp.asarray(-1), plate, behind)
    other = used & (jnp.arange(spec.crates) != first[1] - crate_entity(spec, 0))
    heavy, heavy_ok = _heavy(k_other, spec, scene, table, other, first[2], jnp.asarray(-1), behind)
    carried = generator.sample_literals(k_object, world, scene, jnp.asarray(1), jnp.asarray(1))
    light, light_ok = jnp.stack([carried.predicate[0], carried.subject[0], carried.target[0]]), carried.used[0]
    # Behind the door is what is carried, or where it goes.
    rooms = (table[IN_ROOM][:, room_entity(spec, 0) :] & behind).any(-1)  # [E]
    light_ok &= rooms[light[1]] | rooms[light[2]] | ~weighs
    is_heavy = jax.random.bernoulli(k_which, _HEAVY) & heavy_ok & ~weighs
    second, second_ok = jnp.where(is_heavy, heavy, light), jnp.where(is_heavy, heavy_ok, light_ok)
    some = jax.random.bernoulli(k_count, _SECOND)
    count = jnp.where(weighs, 2, jnp.clip(1 + some.astype(jnp.int32), min_goals, max_goals))
    rows = jnp.stack([first, second]).astype(jnp.int32)
    literals = Literals(rows[:, 0], rows[:, 1], rows[:, 2], jnp.arange(2) < count)
    goal = goals.conjunction(spec, *literals)
    holds = table[rows[:, 0], rows[:, 1], rows[:, 2]] & literals.used
    return goal, first_ok & (second_ok | (count < 2)) & ~holds.any() & begins(table, goal)


def _behind(spec: WorldSpec, scene: Scene) -> jax.Array:
    """The rooms that shut doors part from the robot [R] bool."""
    shut = ((jnp.arange(spec.doors)[:, None] == scene.leaf_doorway) & scene.leaf_used).any(-1)
    return scene.room_used & ~house.reachable(scene, scene.layout.robot_q[:2], scene.door_used & ~shut)


def _heavy(
    key: jax.Array,
    spec: WorldSpec,
    scene: Scene,
    table: jax.Array,
    crates: jax.Array,
    taken: jax.Array,
    plate: jax.Array,
    behind: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """A literal about one of these crates [crates] bool: predicate, subject and target [3]; and whether there is one [] bool.

    `taken`: a target that another crate has; `plate`: the one that it has to be pushed on, -1 for any target on this side of all doors.
    Key is consumed.
    """
    k_crate, k_kind, k_target = jax.random.split(key, 3)
    crate = crate_entity(spec, one_of(k_crate, crates))
    kinds, entity = np.append(-1, entity_kinds(spec)), jnp.arange(num_entities(spec))
    rooms = room_entity(spec, jnp.arange(spec.rooms))
    here = (table[IN_ROOM][:, rooms] & ~behind).any(-1).at[rooms].set(~behind)
    fits = np.stack([np.isin(kinds, [KINDS.index(kind) for kind in some]) for some in (SOLID, ("plate",), ("room",))])
    free = entity_used(spec, scene) & here & (entity != taken)
    free = jnp.where(plate >= 0, entity == plate, free)
    holds = table[jnp.asarray(_PREDICATES), crate]  # [3, E]
    allowed = jnp.asarray(fits) & free & ~holds
    kind = one_of(k_kind, allowed.any(1))
    target = one_of(k_target, allowed[kind])
    return jnp.stack([jnp.asarray(_PREDICATES)[kind], crate, target]), crates.any() & allowed.any()
