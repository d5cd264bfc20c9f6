"""Goals beyond conjunctions, drawn on device: an order, a choice, groups and counts, a table to clear, and what must never be.

Every one can be reached by construction: objects go to free receptacles, counts are of groups that are large enough, and what is
forbidden is in no one's way. Which kinds of goal are drawn together with a rule is data, so a split can hold compositions out.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from palaestra.envs import goals, house
from palaestra.envs.generation.generator import Literals, one_of, random_order, sample_literals
from palaestra.envs.predicates import table_at_start
from palaestra.envs.types import (
    ALWAYS,
    COLOURS,
    HOLDING,
    IN_ROOM,
    INSIDE,
    MANY,
    MAX_TERMS,
    NEAR,
    ON,
    Goal,
    Scene,
    entity_used,
    num_entities,
    room_entity,
)
from palaestra.sim.world import World, WorldSpec

KINDS = ("plain", "order", "either", "all", "exactly", "at least", "clear")
RULES = ("none", "hands off", "keep out", "keep on")
DRIVES = ("near_object", "near_table", "near_bin", "in_room")  # goals about where the robot is, by their targets
_RULE_ROW = MAX_TERMS - 1  # where the rule stands: other terms take no more than the rows before


class FormulaRange(struct.PyTreeNode, kw_only=True):
    """From which goals a set draws."""

    weight: jax.Array  # [kinds, rules], of KINDS and RULES: how often they are drawn together

    @staticmethod
    def make(*, without: tuple[tuple[str, str], ...] = ()) -> "FormulaRange":
        """All kinds alike, half of them without a rule; `without`: pairs (kind, rule) that never occur."""
        weight = jnp.tile(jnp.asarray([3.0, 1.0, 1.0, 1.0]), (len(KINDS), 1))
        for kind, rule in without:
            weight = weight.at[KINDS.index(kind), RULES.index(rule)].set(0.0)
        return FormulaRange(weight=weight)


def attempt_formula(key: jax.Array, world: World, scene: Scene, ranges: FormulaRange) -> tuple[Goal, jax.Array]:
    """A goal, and whether this scene has what it speaks of and does not fulfil it yet; key is consumed."""
    spec = world.spec
    k_which, k_literals, k_count, k_group, k_rule = jax.random.split(key, 5)
    which = jax.random.categorical(k_which, jnp.log(ranges.weight).ravel())
    kind, rule = which // len(RULES), which % len(RULES)
    # One or two literals for a plain goal, two or three to put in order, two to choose from.
    low, high = jnp.asarray([1, 2, 2, 1, 1, 1, 1])[kind], jnp.asarray([2, 3, 2, 1, 1, 1, 1])[kind]
    count = jax.random.randint(k_count, (), low, high + 1)
    literals = sample_literals(k_literals, world, scene, count, count)
    table = table_at_start(world, scene)
    plain = goals.conjunction(spec, *literals)
    group, group_ok = _group(k_group, spec, scene, kind)
    clear, clear_ok = _clear(k_group, spec, scene, table, plain)
    choices = [plain, _in_order(plain), plain.replace(option=jnp.arange(MAX_TERMS)), group, clear]
    enough = literals.used.sum() == count
    oks = jnp.stack([enough, enough, enough & _both_placing(literals), group_ok, enough & clear_ok])
    form = jnp.asarray([0, 1, 2, 3, 3, 3, 4])[kind]  # counts of a group are of one form
    goal = jax.tree.map(lambda *rows: jnp.stack(rows)[form], *choices)
    ruled, rule_ok = _with_rule(k_rule, spec, scene, goal, rule, table)
    return ruled, oks[form] & rule_ok & begins(table, ruled)


def attempt_drive(key: jax.Array, world: World, scene: Scene, weight: jax.Array) -> tuple[Goal, jax.Array]:
    """To be near a thing, or in another room, and whether that is still to be done; key is consumed.

    `weight` [DRIVES]: how often a thing of each kind is the target.
    """
    spec = world.spec
    entity = jnp.arange(num_entities(spec))
    wanted = entity_used(spec, scene) & (entity > 0)
    target = jax.random.categorical(key, jnp.where(wanted, jnp.log(weight)[drive_kind(spec)], -jnp.inf))
    predicate = jnp.where(target >= room_entity(spec, 0), IN_ROOM, NEAR)
    goal = _one_term(spec, predicate, entity == 0, entity == target, 1, MANY)
    return goal, begins(table_at_start(world, scene), goal)


def drive_kind(spec: WorldSpec) -> np.ndarray:
    """Which of DRIVES an entity is the target of [E] int; the robot counts as an object."""
    return np.repeat(np.arange(len(DRIVES)), (1 + spec.objects, spec.tables, spec.bins, spec.rooms))


def kind_of(goal: Goal) -> jax.Array:
    """Which of KINDS a goal is [kinds] bool, as `goals.family` says it in words."""
    main = goal.used & (goal.stage != ALWAYS)
    order, either, clear = (main & (goal.stage > 0)).any(), (main & (goal.option > 0)).any(), (main & (goal.at_most == 0)).any()
    size = goal.subjects[0].sum()
    group, exactly, every = size > 1, goal.at_most[0] < MANY, goal.at_least[0] == size
    plain = ~(order | either | clear | group)
    return jnp.stack([plain, order, either, group & every, group & exactly, group & ~every & ~exactly, clear])


def rule_of(goal: Goal) -> jax.Array:
    """Which of RULES a goal comes with [rules] bool."""
    ruled = goal.used & (goal.stage == ALWAYS)
    rules = [(ruled & (goal.predicate == predicate)).any() for predicate in (HOLDING, IN_ROOM, ON)]
    return jnp.stack([~ruled.any(), *rules])


def begins(table: jax.Array, goal: Goal) -> jax.Array:
    """Whether a goal is open by the truth table at the start: no stage is reached, and nothing is broken [] bool."""
    start = goals.advance(goal, goals.terms(table, goal), goals.start())
    return (start.stage == 0) & ~start.broken


def _in_order(plain: Goal) -> Goal:
    """Up to three literals one after the other: stage k asks for the first k + 1, so that what was placed stays (`goals.carried`)."""
    pad = (0, MAX_TERMS - 6)
    row = jnp.pad(jnp.asarray([0, 0, 1, 0, 1, 2]), pad, constant_values=3)  # the fourth literal is none
    stage = jnp.pad(jnp.asarray([0, 1, 1, 2, 2, 2]), pad)
    goal: Goal = jax.tree.map(lambda x: x[row], plain)
    first = jnp.argmax(~plain.used)  # how many literals there are
    return goal.replace(stage=stage, used=goal.used & (stage < first))


def _both_placing(literals: Literals) -> jax.Array:
    """Whether all are about where objects go: a choice between driving somewhere and doing work is none."""
    return (((literals.predicate == ON) | (literals.predicate == INSIDE)) | ~literals.used).all()


def _one_term(
    spec: WorldSpec,
    predicate: jax.Array | int,
    subjects: jax.Array,
    targets: jax.Array,
    at_least: jax.Array | int,
    at_most: jax.Array | int,
) -> Goal:
    """A goal of one term; subjects and targets [E] bool."""
    n = num_entities(spec)
    first = jnp.arange(MAX_TERMS) == 0
    zero = jnp.zeros(MAX_TERMS, jnp.int32)

    def number(x: jax.Array | int) -> jax.Array:
        return jnp.where(first, x, 0).astype(jnp.int32)

    return Goal(
        predicate=number(predicate),
        subjects=first[:, None] & jnp.broadcast_to(subjects, (MAX_TERMS, n)),
        targets=first[:, None] & jnp.broadcast_to(targets, (MAX_TERMS, n)),
        at_least=number(at_least),
        at_most=number(at_most),
        stage=zero,
        option=zero,
        used=first,
    )


def _objects(spec: WorldSpec, mask: jax.Array) -> jax.Array:
    """A mask over objects [O] as one over entities [E]."""
    return jnp.zeros(num_entities(spec), bool).at[1 : 1 + spec.objects].set(mask)


def _group(key: jax.Array, spec: WorldSpec, scene: Scene, kind: jax.Array) -> tuple[Goal, jax.Array]:
    """All, exactly so many or at least so many of a group of two or more objects, into a bin."""
    k_group, k_bin, k_number = jax.random.split(key, 3)
    used = scene.layout.object_used
    is_ball, used = spec.are("ball"), used & ~spec.are("crate")
    colours = scene.object_colour == jnp.arange(len(COLOURS))[:, None]
    groups = jnp.concatenate([used[None], (used & ~is_ball)[None], (used & is_ball)[None], used & colours])
    order = random_order(k_group, len(groups), groups.sum(1) >= 2)
    group = groups[order[0]]
    size = group.sum()
    # Two of three rather than one: a single one of a group gets there by chance too often.
    number = jnp.where(kind == KINDS.index("all"), size, jax.random.randint(k_number, (), jnp.minimum(2, size - 1), jnp.maximum(size, 2)))
    bin_entity = 1 + spec.objects + spec.tables + jax.random.randint(k_bin, (), 0, max(spec.bins, 1))
    most = jnp.where(kind == KINDS.index("exactly"), number, MANY)
    goal = _one_term(spec, INSIDE, _objects(spec, group), jnp.arange(num_entities(spec)) == bin_entity, number, most)
    return goal, (size >= 2) & (spec.bins > 0)


def _clear(key: jax.Array, spec: WorldSpec, scene: Scene, table: jax.Array, plain: Goal) -> tuple[Goal, jax.Array]:
    """A plain goal of one literal, and nothing on a table on which something lies."""
    taken = table[ON].any(0)  # [E]
    target = jnp.arange(num_entities(spec)) == one_of(key, taken)
    nothing_on_it = _one_term(spec, ON, _objects(spec, scene.layout.object_used & ~spec.are("crate")), target, 0, 0)
    second = jnp.arange(MAX_TERMS) == 1

    def put(one: jax.Array, other: jax.Array) -> jax.Array:
        return jnp.where(second.reshape(-1, *[1] * (one.ndim - 1)), other[0], one)

    return jax.tree.map(put, plain, nothing_on_it), taken.any()


def _with_rule(key: jax.Array, spec: WorldSpec, scene: Scene, goal: Goal, rule: jax.Array, table: jax.Array) -> tuple[Goal, jax.Array]:
    """The goal with a rule that is in its way nowhere: no object, room or table that the goal speaks of."""
    k_object, k_room, k_keep = jax.random.split(key, 3)
    n = num_entities(spec)
    entity = jnp.arange(n)
    touched = goals.touched(table, goal)
    free = _objects(spec, scene.layout.object_used & ~spec.are("crate")) & ~touched

    def pick(k: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
        return entity == one_of(k, allowed), allowed.any()

    hands_off, hands_ok = pick(k_object, free)
    # A room that is no way to anywhere else, in which nothing is that matters and the robot is not.
    rooms = room_entity(spec, jnp.arange(spec.rooms))
    degree = ((scene.door_rooms[:, :, None] == jnp.arange(spec.rooms)) & scene.door_used[:, None, None]).sum((0, 1))
    here = house.room_of(scene, scene.layout.robot_q[:2]) == jnp.arange(spec.rooms)
    needed = (table[IN_ROOM][:, rooms] & touched[:, None]).any(0) | touched[rooms] | here
    leaf, leaf_ok = pick(k_room, jnp.zeros(n, bool).at[rooms].set(scene.room_used & (degree == 1) & ~needed))
    # An object that lies on a table, neither of which the goal speaks of.
    lies = table[ON] & free[:, None] & ~touched[None]
    stays, stays_ok = pick(k_keep, lies.any(1))
    under = (lies & stays[:, None]).any(0)
    robot = entity == 0
    predicate = jnp.asarray([0, HOLDING, IN_ROOM, ON])[rule]
    subjects = jnp.stack([robot, robot, robot, stays])[rule]
    targets = jnp.stack([robot, hands_off, leaf, under])[rule]
    wanted = rule == RULES.index("keep on")
    at = jnp.arange(MAX_TERMS) == _RULE_ROW
    add = at & (rule > 0)
    ruled = goal.replace(
        predicate=jnp.where(add, predicate, goal.predicate),
        subjects=jnp.where(add[:, None], subjects, goal.subjects),
        targets=jnp.where(add[:, None], targets, goal.targets),
        at_least=jnp.where(add, wanted.astype(jnp.int32), goal.at_least),
        at_most=jnp.where(add, jnp.where(wanted, MANY, 0), goal.at_most),
        stage=jnp.where(add, ALWAYS, goal.stage),
        option=jnp.where(add, 0, goal.option),
        used=goal.used | add,
    )
    return ruled, jnp.stack([jnp.asarray(True), hands_ok, leaf_ok, stays_ok])[rule]
