"""Chains of subtasks, one literal each, drawn on device by the rule of CALVIN (Mees et al. 2022) with the state carried along.

Every subtask has exactly one applicable effect where its turn comes: it does not hold already, what it needs is there, and the state
that it leaves is known: where each object is, what is held, and which box the robot is at. Of any five subtasks in a row no two are
of one category, which for chains of five is CALVIN's rule, and no subtask comes twice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals, house
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import one_of, standing
from palaestra.envs.predicates import NEAR_DISTANCE, table_at_start
from palaestra.envs.types import (
    HOLDING,
    IN_ROOM,
    INSIDE,
    MAX_TERMS,
    NEAR,
    ON,
    Goal,
    Scene,
    Task,
    entity_used,
    leaf_entity,
    num_entities,
    room_entity,
)
from palaestra.sim.world import World, WorldSpec

CATEGORIES = ("go to an object", "go to a table", "go to a bin", "enter a room", "pick up", "put on a table", "put into a bin")
SPREAD = 5  # subtasks in a row of which no two are of one category


class Subtasks(NamedTuple):
    """Every literal that a subtask may ask for [L] int."""

    predicate: jax.Array
    subject: jax.Array  # entities
    target: jax.Array  # entities
    category: jax.Array  # into CATEGORIES


def subtasks(spec: WorldSpec) -> Subtasks:
    """All subtasks of a world, whether its scenes use the things or not."""
    objects, receptacles = range(1, 1 + spec.portables), range(1 + spec.objects, leaf_entity(spec, 0))
    rooms = range(room_entity(spec, 0), num_entities(spec))
    tables = receptacles[: spec.tables]
    rows = [(NEAR, 0, x, 0) for x in objects] + [(NEAR, 0, x, 1 if x in tables else 2) for x in receptacles]
    rows += [(IN_ROOM, 0, room, 3) for room in rooms] + [(HOLDING, 0, x, 4) for x in objects]
    rows += [(ON, x, y, 5) if y in tables else (INSIDE, x, y, 6) for x in objects for y in receptacles]
    return Subtasks(*jnp.asarray(np.array(rows, np.int32).T))


class _Moment(NamedTuple):
    """What is known between two subtasks."""

    place: jax.Array  # [O] int32: the receptacle that an object is on or inside; -1 for none
    held: jax.Array  # [] int32, an object; -1 for none
    centre: jax.Array  # [2] m, of the box that the robot is at: the thing that it went to, or the room
    half: jax.Array  # [2] m


class _Chain:
    """What subtasks need and do in one scene."""

    def __init__(self, world: World, scene: Scene):
        spec = self.spec = world.spec
        self.scene, self.all = scene, subtasks(spec)
        self.used = entity_used(spec, scene)
        pos, half = (x[: spec.receptacles + spec.buttons] for x in standing(spec, scene))
        low, high = scene.room[:, :2], scene.room[:, 2:]
        lay = scene.layout
        # Boxes of all entities but the robot [E - 1, 2]; an object that was put somewhere is where its receptacle is.
        self.centre = jnp.concatenate([lay.object_pos[:, :2], pos[:, :2], 0.5 * (low + high)])
        self.half = jnp.concatenate([jnp.zeros((spec.objects, 2)), half[:, :2], 0.5 * (high - low)])
        table = table_at_start(world, scene)
        lies = (table[ON] | table[INSIDE])[1 : 1 + spec.objects, 1 + spec.objects : leaf_entity(spec, 0)]
        held = table[HOLDING, 0, 1 : 1 + spec.objects]
        self.start = _Moment(
            place=jnp.where(lies.any(1), jnp.argmax(lies, 1), -1).astype(jnp.int32),
            held=jnp.where(held.any(), jnp.argmax(held), -1).astype(jnp.int32),
            centre=lay.robot_q[:2],
            half=jnp.zeros(2),
        )

    def boxes(self, now: _Moment) -> tuple[jax.Array, jax.Array]:
        """Centres and half sizes of all entities but the robot, as things are now [E - 1, 2] m."""
        at = jnp.where(now.place >= 0, self.spec.objects + now.place, jnp.arange(self.spec.objects))
        at = jnp.concatenate([at, jnp.arange(self.spec.objects, len(self.centre))])
        return self.centre[at], self.half[at]

    def able(self, now: _Moment) -> jax.Array:
        """Which subtasks have their one effect now [L] bool."""
        spec, sub = self.spec, self.all
        centre, half = self.boxes(now)
        gap = jnp.linalg.norm(jnp.maximum(jnp.abs(centre - now.centre) - half - now.half, 0.0), axis=-1)
        room, here = house.room_of(self.scene, centre), house.room_of(self.scene, now.centre)
        # Wherever near the one thing it is: not near the other.
        away = (room != here) | (gap > 2 * NEAR_DISTANCE)
        number = jnp.arange(spec.objects)
        stored = now.place >= spec.tables  # in a bin: out of reach for good
        at_hand = jnp.where(now.held >= 0, number == now.held, ~stored)
        taken = (now.place[:, None] == jnp.arange(spec.tables)).any(0)
        subject, target = jnp.maximum(sub.subject - 1, 0), sub.target - 1
        movable = at_hand[jnp.minimum(subject, spec.objects - 1)]
        pickable = ((now.held < 0) & ~stored)[jnp.minimum(target, spec.objects - 1)]
        free = jnp.pad(~taken, (0, spec.bins), constant_values=True)[jnp.clip(target - spec.objects, 0, spec.receptacles - 1)]
        possible = jnp.stack([away[target] & (target != now.held), pickable, movable & free, movable, (room != here)[target]])
        there = self.used[sub.subject] & self.used[sub.target]
        return there & jnp.take_along_axis(possible, sub.predicate[None], 0)[0]

    def after(self, now: _Moment, which: jax.Array) -> _Moment:
        """What a subtask leaves."""
        predicate, subject, target = (row[which] for row in self.all[:3])
        centre, half = self.boxes(now)
        number = jnp.arange(self.spec.objects)
        picks, places = predicate == HOLDING, (predicate == ON) | (predicate == INSIDE)
        place = jnp.where(places & (number == subject - 1), target - 1 - self.spec.objects, now.place)
        place = jnp.where(picks & (number == target - 1), -1, place)
        held = jnp.where(picks, target - 1, jnp.where(places, -1, now.held))
        return _Moment(place.astype(jnp.int32), held.astype(jnp.int32), centre[target - 1], half[target - 1])


def attempt_chain(key: jax.Array, world: World, scene: Scene, length: int) -> tuple[Goal, jax.Array]:
    """A chain of `length` subtasks, a stage each, and whether one could be made in this scene; key is consumed."""
    chain = _Chain(world, scene)
    category = chain.all.category

    class Carry(NamedTuple):
        now: _Moment
        came: jax.Array  # [L] bool: subtasks of the chain so far
        last: jax.Array  # [categories] int32: where in the chain each came last
        good: jax.Array  # [] bool

    def add(carry: Carry, step: tuple[jax.Array, jax.Array]) -> tuple[Carry, jax.Array]:
        number, key = step
        k_category, k_which = jax.random.split(key)
        able = chain.able(carry.now) & ~carry.came & (number - carry.last >= SPREAD)[category]
        of_category = category == jnp.arange(len(CATEGORIES))[:, None]
        chosen = one_of(k_category, (able & of_category).any(1))
        which = one_of(k_which, able & (category == chosen))
        came, last = carry.came.at[which].set(True), carry.last.at[chosen].set(number)
        return Carry(chain.after(carry.now, which), came, last, carry.good & able.any()), which

    begin = Carry(chain.start, jnp.zeros(len(category), bool), jnp.full(len(CATEGORIES), -SPREAD), jnp.asarray(True))
    end, which = jax.lax.scan(add, begin, (jnp.arange(length), jax.random.split(key, length)))
    predicate, subject, target = (row[which] for row in chain.all[:3])
    goal = goals.conjunction(world.spec, predicate, subject, target, jnp.ones(length, bool))
    goal = goal.replace(stage=jnp.where(goal.used, jnp.arange(MAX_TERMS), 0))
    return goal, end.good & begins(table_at_start(world, scene), goal)


def admits(world: World, task: Task) -> jax.Array:
    """Whether every subtask of the task's chain has its one effect when its turn comes [] bool."""
    chain, goal = _Chain(world, task.scene), task.goal

    def check(now: _Moment, row: tuple[jax.Array, ...]) -> tuple[_Moment, jax.Array]:
        predicate, subject, target, used = row
        which = jnp.argmax((chain.all.predicate == predicate) & (chain.all.subject == subject) & (chain.all.target == target))
        following = chain.after(now, which)
        return jax.tree.map(lambda new, old: jnp.where(used, new, old), following, now), chain.able(now)[which] | ~used

    rows = (goal.predicate, jnp.argmax(goal.subjects, 1), jnp.argmax(goal.targets, 1), goal.used)
    return jax.lax.scan(check, chain.start, rows)[1].all() & begins(table_at_start(world, task.scene), goal)
