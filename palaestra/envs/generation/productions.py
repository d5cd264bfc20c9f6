"""Houses with shut doors and rules, drawn backwards from the goal: what is wanted last is made of things that are made of others.

A chain of productions leads from objects that are there to the one that the goal speaks of: each takes one object on a table, or two on
two tables, and puts its product where the last of them lay. Doors stand shut between the robot and what it needs; what opens
a door (a button, a key carried to it, a weight on a plate) is on the robot's side of it. Other rules destroy what is needed when it
is put on the wrong table. Placing comes first and roles after it, from what the places allow; a draw that allows none is drawn again.
So every task can be solved by construction: first the doors, the nearest first, then the productions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from palaestra.envs import goals, house
from palaestra.envs.generation.doors import Doors, hang_doors, hang_swings, opened
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import Cast, Literals, SceneRange, attempt_scene, random_order, sample_literals
from palaestra.envs.predicates import table_at_start
from palaestra.envs.rules import conditions
from palaestra.envs.types import (
    HOLDING,
    IN_ROOM,
    INSIDE,
    MAX_GOALS,
    NEAR,
    ON,
    OPEN,
    PRESSED,
    Goal,
    Rules,
    Scene,
    Task,
    button_entity,
    leaf_entity,
    opening_entity,
    room_entity,
)
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import World, WorldSpec

_SWINGS = 7  # folded into a task's key, beside the seven that it is split into
_LEFT_OPEN = 0.25  # the probability that a swing door is open at the start,
_ASKED = 0.25  # that the goal asks for one to be opened,
_BARE = 0.15  # and then for nothing else: at random a robot comes by a door soon


@dataclass(frozen=True)
class RuleRange:
    """How many rules and doors of which kind a set draws. Static: it fixes how many rows of `Rules` are in use."""

    productions: tuple[int, int] = (0, 0)  # at least and at most, one after the other
    doors: tuple[int, int] = (0, 0)  # shut, and opened by a rule each
    dead_ends: int = 0  # at most, rules that destroy what is needed
    swings: tuple[int, int] = (0, 0)  # swing doors, some of which are open

    @property
    def rules(self) -> int:
        """How many rules a world needs room for."""
        return self.productions[1] + self.doors[1] + self.dead_ends

    def check(self, spec: WorldSpec) -> None:
        """Refuse a world that has not the slots for it."""
        most = self.productions[1]
        for what, got, least, why in (
            ("objects", spec.objects, 2 * most + 1, f"for {most} productions of up to two objects each"),
            ("tables", spec.tables - spec.plates, 3 * min(most, 1), "for two things and for their product (plates do not count)"),
            ("leaves", spec.locks, self.doors[1], "one for each door (swing doors do not count)"),
            ("swings", spec.swings, self.swings[1], "one for each swing door"),
            ("rules", spec.rules, self.rules, "one for each door, production and dead end"),
        ):
            if got < least:
                raise PalaestraError(
                    f"rules: got a world with {got} {what}, expected {least} or more, {why}. Fix: a WorldSpec with more {what}"
                )


class _Chain(NamedTuple):
    """Which objects the productions take and make; -1: none."""

    depth: jax.Array  # [] int32, productions
    product: jax.Array  # [P] int32
    inputs: jax.Array  # [P, 2] int32: an object that is there, or the product before; a second object that is there, or -1

    def members(self, objects: int) -> jax.Array:
        """Which objects have a part in it [O] bool."""
        number = jnp.arange(objects)
        return (self.product[:, None] == number).any(0) | (self.inputs[:, :, None] == number).any((0, 1))

    def products(self, objects: int) -> jax.Array:
        """Which objects come about by it [O] bool."""
        return (self.product[:, None] == jnp.arange(objects)).any(0)

    @property
    def last(self) -> jax.Array:
        """The object that the last production makes [] int32; -1 without any."""
        return self.product.max(initial=-1, where=jnp.arange(len(self.product)) == self.depth - 1)


def attempt_rules(key: jax.Array, world: World, scenes: SceneRange, ranges: RuleRange) -> tuple[Task, jax.Array]:
    """A task with doors and rules, and whether it is one that may be used; key is consumed."""
    spec = world.spec
    ranges.check(spec)
    k_chain, k_scene, k_doors, k_open, k_make, k_goal, k_ruin = jax.random.split(key, 7)
    chain = _chain(k_chain, spec, ranges)
    members, products = chain.members(spec.objects), chain.products(spec.objects)
    scene, fits = attempt_scene(k_scene, world, scenes, Cast(needed=members & ~products, absent=products))
    scene, doors, doors_fit = hang_doors(k_doors, spec, scene, *ranges.doors)
    k_hang, k_leave, k_ask = jax.random.split(jax.random.fold_in(key, _SWINGS), 3)
    scene, swings, swings_fit = hang_swings(k_hang, spec, scene, *ranges.swings)
    scene = opened(k_leave, spec, scene, _LEFT_OPEN)
    swings = swings._replace(shut=swings.shut & (scene.layout.leaf_angle[spec.locks :] == 0))
    opening, weights, can_open = _opening(k_open, spec, scene, doors, ~members)
    making, places = _making(k_make, spec, chain)
    literals, sensible = _goal(k_goal, world, scene, chain, places, weights)
    literals, asked = _asking(k_ask, spec, literals, swings)
    goal = goals.conjunction(spec, *literals)
    keys = opening.used[:, None] & (opening.predicate[:, :1] == HOLDING) & (opening.target[:, :1] == 1 + jnp.arange(spec.objects))
    put_down = keys.any(0)[:, None] & _at_hand(spec, scene, doors)
    ruining = _ruining(k_ruin, spec, chain, making, places, goal, ranges, put_down)
    rules: Rules = jax.tree.map(lambda *parts: jnp.concatenate(parts), opening, making, ruining)
    scene = scene.replace(rules=rules)
    table = table_at_start(world, scene)
    concerned = jnp.concatenate([making.target.ravel(), making.subject.ravel()])
    concerned = (concerned[:, None] == jnp.arange(table.shape[-1])).any(0) | (goal.subjects | goal.targets).any(0)
    rooms = room_entity(spec, jnp.arange(spec.rooms))
    where = (table[IN_ROOM][:, rooms] & concerned[:, None]).any(0) | concerned[rooms]
    shut, behind = (jnp.concatenate(both) for both in ((doors.shut, swings.shut), (doors.behind, swings.behind)))
    parted = asked | ~shut.any() | (behind & where & shut[:, None]).any()  # some door is in the way of something
    fits &= doors_fit & swings_fit & (swings.shut.any() | (not spec.swings))
    good = fits & can_open & sensible & parted & ~conditions(rules, table).any() & begins(table, goal)
    return Task(scene=scene, goal=goal), good


# --- doors --------------------------------------------------------------------------------------------------------


def _opening(key: jax.Array, spec: WorldSpec, scene: Scene, doors: Doors, spare: jax.Array) -> tuple[Rules, jax.Array, jax.Array]:
    """A rule for each shut door, the objects that are to be weights [O] bool, and whether each door can be opened [] bool.

    What opens a door is in rooms that can be reached before it, by doors that come before it.
    """
    if not spec.locks:
        return Rules.none(), jnp.zeros(spec.objects, bool), jnp.asarray(True)
    rules, weights, good = ways_to_open(key, spec, scene, doors.shut, before_doors(spec, scene, doors), spare)
    # A key that has done its work must be put down before the hand is free for more: on a table, because nothing is picked out of
    # bins, on this side of all doors.
    return rules, weights, good & _at_hand(spec, scene, doors).any()


def before_doors(spec: WorldSpec, scene: Scene, doors: Doors) -> jax.Array:
    """The rooms that can be reached before each door, by doors that come before it [locks, R] bool."""
    return jnp.stack([scene.room_used & ~(doors.behind & ~doors.behind[:, doors.near[leaf], None]).any(0) for leaf in range(spec.locks)])


def ways_to_open(
    key: jax.Array,
    spec: WorldSpec,
    scene: Scene,
    shut: jax.Array,
    rooms: jax.Array,
    spare: jax.Array,
    *,
    first: int = 0,
    by_key: bool = True,
) -> tuple[Rules, jax.Array, jax.Array]:
    """A rule for each shut one of n openings, the objects that are to be weights [O] bool, and whether all can be opened [] bool.

    A button, a key (`by_key`) or a weight on a plate opens one, and no other; a toggle does so while it is on. Key is consumed.

    Args:
        shut: [n] bool; their numbers among `WorldSpec.openings` are those from `first` on.
        rooms: [n, R] bool, where what opens each of them may be.
        spare: [O] bool, which objects may be weights.
    """
    lay, number = scene.layout, jnp.arange(spec.objects)
    room_of_object = house.room_of(scene, lay.object_pos[:, :2])
    room_of_plate = house.room_of(scene, lay.fixture_pos[spec.walls + spec.tables - spec.plates : spec.walls + spec.tables, :2])
    room_of_button = house.room_of(scene, lay.button_pos)
    weights, helpers, good = jnp.zeros(spec.objects, bool), jnp.zeros(spec.objects, bool), jnp.asarray(True)
    buttons, plates = jnp.ones(spec.buttons, bool), jnp.ones(spec.plates, bool)
    rows = []
    for i in range(len(shut)):
        k_kind, k_button, k_key, k_plate, k_weight = jax.random.split(jax.random.fold_in(key, i), 5)
        button, has_button = pick(k_button, buttons & rooms[i][room_of_button])
        here = lay.object_used & rooms[i][room_of_object] & ~helpers
        unlocks, has_key = pick(k_key, here)
        plate, has_plate = pick(k_plate, plates & rooms[i][room_of_plate])
        weight, has_weight = pick(k_weight, here & spare)
        kind, can = pick(k_kind, jnp.stack([has_button, has_key & by_key, has_plate & has_weight]))
        entity = jnp.stack([button_entity(spec, button), 1 + unlocks, 1 + spec.objects + spec.tables - spec.plates + plate])[kind]
        is_button, is_key = kind == 0, kind == 1
        rows.append(
            Rules(
                predicate=jnp.stack([jnp.where(is_key, HOLDING, PRESSED), jnp.asarray(NEAR)]),
                subject=jnp.stack([jnp.where(is_key, 0, entity), jnp.asarray(0)]),
                target=jnp.stack([entity, jnp.asarray(opening_entity(spec, first + i))]),
                needed=jnp.stack([shut[i], is_key]),
                opens=jnp.asarray(first + i),
                lasting=(kind != 2) & ~(is_button & (button >= spec.buttons - spec.toggles)),
                consumes=jnp.full(2, -1),
                product=jnp.asarray(-1),
                used=shut[i],
            )
        )
        good &= can | ~shut[i]
        buttons &= ~(shut[i] & is_button & (jnp.arange(spec.buttons) == button))
        plates &= ~(shut[i] & (kind == 2) & (jnp.arange(spec.plates) == plate))
        key_taken, weight_taken = shut[i] & is_key & (number == unlocks), shut[i] & (kind == 2) & (number == weight)
        helpers |= key_taken | weight_taken
        weights |= weight_taken
    rules: Rules = jax.tree.map(lambda *parts: jnp.stack(parts), *rows)
    return _only(shut, rules), weights, good


def _at_hand(spec: WorldSpec, scene: Scene, doors: Doors) -> jax.Array:
    """The tables on this side of all doors [tables] bool."""
    tables = scene.layout.fixture_pos[spec.walls : spec.walls + spec.tables - spec.plates, :2]
    return ~doors.behind.any(0)[house.room_of(scene, tables)]


def _only(used: jax.Array, rules: Rules) -> Rules:
    """The rules that are used [K] bool, and blank rows instead of the others."""
    blank = Rules.none(len(used))

    def put(new: jax.Array, none: jax.Array) -> jax.Array:
        return jnp.where(used.reshape(-1, *[1] * (none.ndim - 1)), new, none).astype(none.dtype)

    return jax.tree.map(put, rules, blank)


def pick(key: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The number of one that is allowed [n], and whether any is; key is consumed."""
    if not len(allowed):
        return jnp.zeros((), jnp.int32), jnp.asarray(False)
    return jnp.argmax(jnp.where(allowed, jax.random.uniform(key, allowed.shape), -1.0)), allowed.any()


# --- productions --------------------------------------------------------------------------------------------------


def _chain(key: jax.Array, spec: WorldSpec, ranges: RuleRange) -> _Chain:
    """Which slots of objects play which part; key is consumed."""
    k_order, k_depth, k_second = jax.random.split(key, 3)
    count, step = ranges.productions[1], jnp.arange(ranges.productions[1])
    slot = random_order(k_order, spec.objects)
    depth = jax.random.randint(k_depth, (), ranges.productions[0], count + 1)
    there = step < depth
    product = jnp.where(there, slot[1 + 2 * step], -1)
    first = jnp.where(there, slot[jnp.maximum(2 * step - 1, 0)], -1)  # slot 0, then the product before
    second = jnp.where(there & jax.random.bernoulli(k_second, 0.5, (count,)), slot[2 + 2 * step], -1)
    return _Chain(depth, product.astype(jnp.int32), jnp.stack([first, second], -1).astype(jnp.int32))


def _making(key: jax.Array, spec: WorldSpec, chain: _Chain) -> tuple[Rules, jax.Array]:
    """A rule for each production, and the table on which its product appears [P] int32; key is consumed.

    The next production takes nothing from that table: the product has to be moved, and no table has to hold two things.
    """
    tables, last, at = jnp.arange(spec.tables - spec.plates), jnp.asarray(-1), []
    for step in range(len(chain.product)):
        two = random_order(jax.random.fold_in(key, step), len(tables), tables != last)[:2]
        last = two[jnp.where(chain.inputs[step, 1] >= 0, 1, 0)]
        at.append((two, last))
    if not at:
        return Rules.none(), jnp.zeros(0, jnp.int32)
    target = 1 + spec.objects + jnp.stack([two for two, _ in at])
    takes = chain.inputs >= 0
    rules = Rules(
        predicate=jnp.full(takes.shape, ON),
        subject=jnp.where(takes, 1 + chain.inputs, 0),
        target=jnp.where(takes, target, 0),
        needed=takes,
        opens=jnp.full(len(takes), -1),
        lasting=jnp.zeros(len(takes), bool),
        consumes=chain.inputs,
        product=chain.product,
        used=takes[:, 0],
    )
    return _only(takes[:, 0], rules), jnp.stack([last for _, last in at])


def _ruining(
    key: jax.Array, spec: WorldSpec, chain: _Chain, making: Rules, places: jax.Array, goal: Goal, ranges: RuleRange, put_down: jax.Array
) -> Rules:
    """Rules by which an object that is needed vanishes where it is put on a table on which nothing wants it; key is consumed.

    `put_down` [O, tables] bool: where keys may have to be put down.
    """
    if not ranges.dead_ends:
        return Rules.none()
    k_count, k_which = jax.random.split(key)
    o, t = spec.objects, spec.tables - spec.plates
    objects, tables = jnp.arange(o), jnp.arange(t)
    on_table = making.target - 1 - o  # [P, 2]
    wanted = (
        making.needed[..., None, None] & (making.subject[..., None, None] == 1 + objects[:, None]) & (on_table[..., None, None] == tables)
    ).any((0, 1))
    appears = ((chain.product[:, None, None] == objects[:, None]) & (places[:, None, None] == tables)).any(0)
    asked = (goal.subjects[:, 1 : 1 + o, None] & goal.targets[:, None, 1 + o : 1 + o + t]).any(0)
    allowed = (chain.members(o)[:, None] & ~wanted & ~appears & ~asked & ~put_down).ravel()
    which = random_order(k_which, o * t, allowed)[: ranges.dead_ends]
    count = jax.random.randint(k_count, (), 0, ranges.dead_ends + 1)
    used = (jnp.arange(ranges.dead_ends) < count) & allowed[which]
    none, no = jnp.zeros_like(which), jnp.zeros_like(used)
    return _only(
        used,
        Rules(
            predicate=jnp.stack([none + ON, none], -1),
            subject=jnp.stack([1 + which // t, none], -1),
            target=jnp.stack([1 + o + which % t, none], -1),
            needed=jnp.stack([used, no], -1),
            opens=none - 1,
            lasting=no,
            consumes=jnp.stack([which // t, none - 1], -1),
            product=none - 1,
            used=used,
        ),
    )


def _goal(key: jax.Array, world: World, scene: Scene, chain: _Chain, places: jax.Array, weights: jax.Array) -> tuple[Literals, jax.Array]:
    """Where the last product is to be; without productions one or two literals; and whether the scene has it; key is consumed."""
    k_plain, k_made = jax.random.split(key)
    one = jnp.asarray(1)
    plain = sample_literals(k_plain, world, scene, one, one + 1)
    made = _wish(k_made, world.spec, chain.last, places[chain.depth - 1] if len(places) else jnp.asarray(-1))
    literals: Literals = jax.tree.map(lambda new, old: jnp.where(chain.depth > 0, new, old), made, plain)
    # A weight has to stay on its plate while the robot is behind the door.
    return literals, literals.used[0] & ~moves(literals, weights)


def _asking(key: jax.Array, spec: WorldSpec, literals: Literals, swings: Doors) -> tuple[Literals, jax.Array]:
    """The literals, at times with one more or with no other: a shut swing door is to be open; and whether that is so; key is consumed."""
    if not spec.swings:
        return literals, jnp.asarray(False)
    k_ask, k_which, k_bare = jax.random.split(key, 3)
    which, there = pick(k_which, swings.shut)
    asked = there & jax.random.bernoulli(k_ask, _ASKED)
    door = leaf_entity(spec, spec.locks + which)
    bare = asked & jax.random.bernoulli(k_bare, _BARE)
    more = Literals(*(jnp.stack([x]) for x in (jnp.asarray(OPEN), door, door, asked)))
    literals = literals._replace(used=literals.used & ~bare)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), literals, more), asked


def moves(literals: Literals, objects: jax.Array) -> jax.Array:
    """Whether literals ask for one of these objects [O] bool to be somewhere, or in the hand [] bool."""
    moved = jnp.where(literals.predicate == HOLDING, literals.target, literals.subject)
    return ((moved[:, None] == 1 + jnp.arange(len(objects))) & objects & literals.used[:, None]).any()


def attempt_wish(key: jax.Array, world: World, scene: Scene) -> tuple[Goal, jax.Array]:
    """Of any object that is there or can be made, where it is to be, and whether it is not there yet; key is consumed."""
    k_which, k_wish = jax.random.split(key)
    made = (scene.rules.product[:, None] == jnp.arange(world.spec.objects)).any(0)
    which, _ = pick(k_which, scene.layout.object_used | made)
    goal = goals.conjunction(world.spec, *_wish(k_wish, world.spec, which, jnp.asarray(-1)))
    return goal, begins(table_at_start(world, scene), goal)


def _wish(key: jax.Array, spec: WorldSpec, which: jax.Array, not_on: jax.Array) -> Literals:
    """An object on any table but one, in a bin or in the hand; key is consumed."""
    k_kind, k_table, k_bin = jax.random.split(key, 3)
    tables = jnp.arange(spec.tables - spec.plates)
    table = 1 + spec.objects + random_order(k_table, len(tables), tables != not_on)[0]
    bin_ = 1 + spec.objects + spec.tables + jax.random.randint(k_bin, (), 0, max(spec.bins, 1))
    kind = jax.random.categorical(k_kind, jnp.log(jnp.array([0.4, 0.4 if spec.bins else 0.0, 0.2])))
    first, subject = jnp.arange(MAX_GOALS) == 0, 1 + which
    return Literals(
        predicate=jnp.where(first, jnp.asarray([ON, INSIDE, HOLDING])[kind], 0).astype(jnp.int32),
        subject=jnp.where(first & (kind < 2), subject, 0).astype(jnp.int32),
        target=jnp.where(first, jnp.stack([table, bin_, subject])[kind], 0).astype(jnp.int32),
        used=first,
    )
