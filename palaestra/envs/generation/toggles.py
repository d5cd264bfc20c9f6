"""Houses in which doors, and at times a hamper, are open only while a toggle is on; and goals that say how something is left.

What opens a door is on the robot's side of it, and nothing else shuts it again, so nobody is ever locked in. Who is to leave a door shut
comes back for that: then the goal asks for nothing of the robot behind it. So every task can be solved: first the doors, the nearest
first, then the hampers and what goes where, at last what is to be left off or shut, the farthest first, and the robot's own place.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation.doors import Doors, hang_doors, stands_clear
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import SceneRange, attempt_scene, sample_literals
from palaestra.envs.generation.productions import RuleRange, before_doors, pick, ways_to_open
from palaestra.envs.predicates import table_at_start
from palaestra.envs.rules import conditions
from palaestra.envs.types import (
    IN_ROOM,
    INSIDE,
    OPEN,
    PRESSED,
    Goal,
    Rules,
    Scene,
    Task,
    hamper_entity,
    opening_entity,
    room_entity,
    toggle_entity,
)
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import LEAF_OPEN, LID_OPEN, World, WorldSpec

_SHUT = 0.75  # the probability that a hamper needs something to open it,
_ON = 0.35  # that a toggle is on at the start,
_LEFT = 0.6  # and that the goal says how something is to be left in the end


class _Ends(NamedTuple):
    """What a goal may say of how a toggle or an opening is left, of each one; a toggle, or what it opens, by their numbers [.., n]."""

    entity: jax.Array  # int32
    predicate: jax.Array  # int32, into PREDICATES
    denied: jax.Array  # bool
    allowed: jax.Array  # bool


def attempt_toggles(
    key: jax.Array, world: World, scenes: SceneRange, ranges: RuleRange, min_goals: jax.Array, max_goals: jax.Array
) -> tuple[Task, jax.Array]:
    """A task with doors and hampers that toggles open, and whether it is one that may be used; key is consumed."""
    spec = world.spec
    if spec.rules < spec.openings or not spec.toggles:
        expected = f"{spec.openings} or more, one for each door and hamper, and 1 toggle or more"
        raise PalaestraError(
            f"rules: got a world with {spec.rules}, and {spec.toggles} toggles; expected {expected}. Fix: a WorldSpec with more of them"
        )
    k_scene, k_doors, k_lids, k_open, k_on, k_goal, k_left = jax.random.split(key, 7)
    scene, fits = attempt_scene(k_scene, world, scenes)
    scene, doors, doors_fit = hang_doors(k_doors, spec, scene, *ranges.doors)
    shut = jnp.concatenate([doors.shut, jax.random.bernoulli(k_lids, _SHUT, (spec.hampers,))])
    everywhere = jnp.broadcast_to(scene.room_used, (spec.hampers, spec.rooms))
    rooms = jnp.concatenate([before_doors(spec, scene, doors), everywhere])
    opening, _, can_open = ways_to_open(k_open, spec, scene, shut, rooms, jnp.zeros(spec.objects, bool), by_key=False)
    rest = Rules.none(spec.rules - spec.openings)
    scene = scene.replace(rules=jax.tree.map(lambda *parts: jnp.concatenate(parts), opening, rest))
    works = opening.used[:, None] & (opening.subject[:, :1] == toggle_entity(spec, jnp.arange(spec.toggles)))  # [openings, S]
    scene = _turned_on(k_on, spec, scene, shut, works)
    goal, sensible = _goal(k_goal, k_left, world, scene, doors, works, min_goals, max_goals)
    table = table_at_start(world, scene)
    good = fits & doors_fit & can_open & sensible & works[: spec.locks].any() & _settled(spec, scene.rules, table) & begins(table, goal)
    return Task(scene=scene, goal=goal), good


def attempt_goal(key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Goal, jax.Array]:
    """Literals as elsewhere in a scene whose doors are not known, and whether they may be used [] bool; key is consumed."""
    literals = sample_literals(key, world, scene, min_goals, max_goals)
    return goals.conjunction(world.spec, *literals), (literals.used.sum() >= min_goals) & literals.used[0]


def _turned_on(key: jax.Array, spec: WorldSpec, scene: Scene, shut: jax.Array, works: jax.Array) -> Scene:
    """The scene with some toggles on, and what they open open: doors only where they then stand in no one's way; key is consumed."""
    on = jax.random.bernoulli(key, _ON, (spec.toggles,))
    angle = scene.layout.leaf_angle
    for leaf in range(spec.locks):
        turned = angle.at[leaf].set(LEAF_OPEN)
        may = stands_clear(spec, scene, turned, leaf)
        on &= may | ~works[leaf]
        angle = jnp.where((works[leaf] & on).any(), turned, angle)
    lid = jnp.where(shut[spec.locks :] & ~(works[spec.locks :] & on).any(-1), 0.0, LID_OPEN).astype(jnp.float32)
    return scene.replace(layout=scene.layout.replace(leaf_angle=angle, lid_angle=lid, toggle_on=on))


def _settled(spec: WorldSpec, rules: Rules, table: jax.Array) -> jax.Array:
    """Whether no rule has anything to do at the start [] bool: what is open for a while is so already."""
    holds, opened = conditions(rules, table), opening_entity(spec, jnp.maximum(rules.opens, 0))
    return (~rules.used | jnp.where(rules.lasting, ~holds, holds == table[OPEN, opened, opened])).all()


def _goal(
    k_literals: jax.Array,
    k_left: jax.Array,
    world: World,
    scene: Scene,
    doors: Doors,
    works: jax.Array,
    min_goals: jax.Array,
    max_goals: jax.Array,
) -> tuple[Goal, jax.Array]:
    """Literals as elsewhere, mostly with how something is to be left; and whether the goal may be used [] bool: it takes a toggle."""
    spec = world.spec
    k_whether, k_which = jax.random.split(k_left)
    literals = sample_literals(k_literals, world, scene, min_goals, max_goals)
    table = table_at_start(world, scene)
    rooms = room_entity(spec, jnp.arange(spec.rooms))
    robot = literals.used & (literals.subject == 0)
    to = literals.target
    goes = ((to[:, None] == rooms) | table[IN_ROOM][to][:, rooms]) & robot[:, None]  # [g, R] where the robot is in the end
    fickle = works.any(-1)
    stays = jnp.concatenate([(doors.behind & goes.any(0)).any(-1), jnp.zeros(spec.hampers, bool)])  # may not be shut in the end
    ends = _ends(spec, scene, works, fickle, stays)
    which, any_allowed = pick(k_which, ends.allowed)
    left = jax.random.bernoulli(k_whether, _LEFT) & any_allowed
    goal = goals.conjunction(
        spec,
        jnp.append(literals.predicate, ends.predicate[which]),
        jnp.append(literals.subject, ends.entity[which]),
        jnp.append(literals.target, ends.entity[which]),
        jnp.append(literals.used, left),
        denied=jnp.append(jnp.zeros(len(literals.used), bool), left & ends.denied[which]),
    )
    concerned = ((literals.subject[:, None] == jnp.arange(table.shape[-1])) & literals.used[:, None]).any(0)
    concerned |= ((literals.target[:, None] == jnp.arange(table.shape[-1])) & literals.used[:, None]).any(0)
    where = (table[IN_ROOM][:, rooms] & concerned[:, None]).any(0) | concerned[rooms]
    off = ~(works & scene.layout.toggle_on).any(-1) & fickle
    in_the_way = (doors.behind & where & off[: spec.locks, None]).any()
    filled = (literals.target == hamper_entity(spec, jnp.arange(spec.hampers))[:, None]) & (literals.predicate == INSIDE) & literals.used
    covered = (filled.any(-1) & off[spec.locks :]).any()
    holds = table[ends.predicate[which], ends.entity[which], ends.entity[which]]
    to_turn = left & (holds == ends.denied[which])
    return goal, (literals.used.sum() >= min_goals) & literals.used[0] & (in_the_way | covered | to_turn)


def _ends(spec: WorldSpec, scene: Scene, works: jax.Array, fickle: jax.Array, stays: jax.Array) -> _Ends:
    """That a toggle is off which is on or opens something, that one is on which is neither, or that what a toggle opens is shut.

    `stays` [openings] bool: of what must stay open.
    """
    toggle, opening = toggle_entity(spec, jnp.arange(spec.toggles)), opening_entity(spec, jnp.arange(spec.openings))
    used = scene.button_used[spec.buttons - spec.toggles :]
    opens, on = works.any(0), scene.layout.toggle_on
    may = used & (opens | on) & ~(works & stays[:, None]).any(0)
    return _Ends(
        entity=jnp.concatenate([toggle, toggle, opening]),
        predicate=jnp.concatenate([jnp.full(2 * spec.toggles, PRESSED), jnp.full(spec.openings, OPEN)]),
        denied=jnp.concatenate([jnp.ones(spec.toggles, bool), jnp.zeros(spec.toggles, bool), jnp.ones(spec.openings, bool)]),
        allowed=jnp.concatenate([may, used & ~on & ~opens, fickle & ~stays]),
    )
