"""What the starts of a skill differ in. By these contexts cards divide success, and by the same ones it is looked up for a call."""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from palaestra.envs.names import Entity
from palaestra.envs.types import INSIDE, KINDS, entity_kinds, leaf_entity
from palaestra.sim.world import World
from palaestra.skills.library import SKILLS
from palaestra.skills.library.ways import room_around
from palaestra.skills.operators import Call
from palaestra.skills.record import Skill, View

OF_THE_ROBOT = frozenset({"distance_m", "lift_at_start_m", "holds_something"})  # contexts that change with every call
_HEIGHTS = [-0.3, -0.15, 0.0, 0.15, 0.3]  # m, of the lift


class Split(NamedTuple):
    """Starts, divided into groups."""

    names: tuple[str, ...]  # of the groups
    member: np.ndarray  # [n] int, the group of each start; outside of the names' range for none

    def label(self, start: int) -> str:
        """The name of a start's group; empty where it is in none."""
        group = int(self.member[start])
        return self.names[group] if 0 <= group < len(self.names) else ""


def by_range(values: np.ndarray, edges: Sequence[float]) -> Split:
    """Ranges of a number: "low..high", with low and without high."""
    member = np.searchsorted(np.asarray(edges, values.dtype), values, side="right") - 1
    return Split(tuple(f"{low:g}..{high:g}" for low, high in itertools.pairwise(edges)), member)


def by_name(values: npt.ArrayLike, names: Sequence[str] = ("no", "yes")) -> Split:
    """What counts from 0: the names of its values, in their order; those without a name are no group."""
    return Split(tuple(names), np.asarray(values).astype(int))


def contexts(skill: Skill, world: World, seen: View) -> dict[str, Split]:
    """The contexts of n starts of a skill, or of n calls (leading axis of every leaf of `seen`): by distance, size, shape, and where
    things stand; of a skill of one's own, by the kinds of its arguments."""
    name, spec, args, lay = "" if skill.file else skill.name, world.spec, np.asarray(seen.args), seen.scene.layout
    position, robot = np.asarray(seen.geo.position)[..., :2], np.asarray(seen.geo.robot)
    entity, number = args[:, 0], np.arange(len(args))
    rooms = by_name(np.asarray(seen.scene.room_used).sum(1), ("", *map(str, range(1, spec.rooms + 1))))
    holds = by_name(np.asarray(seen.geo.grasped).any(1))
    height = by_range(np.asarray(seen.physics.qpos)[:, 3], _HEIGHTS)

    def away(which: np.ndarray, origin: np.ndarray, edges: list[float]) -> Split:
        return by_range(np.linalg.norm(position[number, which] - origin, axis=-1), edges)

    if name == "navigate":
        return {"distance_m": away(entity, robot, [0, 1, 2, 3, 4, 6]), "rooms": rooms, "holds_something": holds}
    if name == "push_open":
        leaf, _ = world.mechanism_q(np.asarray(seen.physics.qpos).T)
        ajar = np.abs(leaf[entity - leaf_entity(spec, 0), number])
        return {
            "distance_m": away(entity, robot, [0, 0.4, 0.6, 0.8, 1.3]),
            "holds_something": holds,
            "ajar_rad": by_range(ajar, [0, 0.01, 0.6, 1.3]),
        }
    if name == "push":
        kind = np.append(-1, entity_kinds(spec))[args[:, 1]]
        target = np.select([kind == KINDS.index("plate"), kind == KINDS.index("room")], [1, 2], 0)
        return {
            "pushed_to": by_name(target, ("next to a thing", "onto a plate", "into a room")),
            "free_around_it_m": by_range(np.asarray(_rooms_around(world, seen)), [-0.1, 0.15, 0.3, 0.5, 100]),
            "distance_of_target_m": away(args[:, 1], position[number, entity], [0, 1, 2, 3, 4, 8]),
            "rooms": rooms,
            "lift_at_start_m": height,
        }
    goal = args[:, 1] if name == "place" else entity
    context = {"distance_m": away(goal, robot, [0, 0.3, 0.45, 0.6, 1.2]), "lift_at_start_m": height}
    if name in ("open", "close"):
        context["something_lies_in_it"] = by_name(np.asarray(seen.table)[number, INSIDE, :, entity].any(1))
    if not name:
        kinds = np.append(-1, entity_kinds(spec))
        context |= {param.name: by_name(kinds[args[:, i]], KINDS) for i, param in enumerate(skill.params)}
    if name in ("", "open", "close", "press", "turn_on", "turn_off"):
        return context
    context["object_half_size_m"] = by_range(np.asarray(lay.object_half)[number, entity - 1], [0.02, 0.03, 0.04])
    context["object"] = by_name(spec.are("ball")[entity - 1], ("cube", "ball"))
    if name == "pick":
        context["it_lies_on"] = by_name(np.asarray(seen.geo.support)[number, entity - 1] > 0.05, ("the floor", "a table"))
    else:
        kind = (goal >= 1 + spec.objects + spec.tables).astype(int) + (goal >= 1 + spec.objects + spec.receptacles - spec.drawers)
        there = np.minimum(np.asarray(seen.table)[number, INSIDE, :, goal].sum(1), 2)
        context["lies_in_it"] = by_name(there, ("nothing", "one thing", "two or more"))
        context["put_down"] = by_name(kind, ("on a table", "into a bin", "into a drawer"))
    return context


@functools.partial(jax.jit, static_argnames="world")
def _rooms_around(world: World, seen: View) -> jax.Array:
    return jax.vmap(lambda view: room_around(world, view, view.args[0]))(seen)


def labels(world: World, seen: View, things: Sequence[Entity], calls: Sequence[Call]) -> list[dict[str, str]]:
    """Of each call, were it made in this state, its group by context; `seen` is of one state, whatever its arguments."""
    index = {thing.name: thing.index for thing in things}
    found: list[dict[str, str]] = [{} for _ in calls]
    for name in {call.skill for call in calls}:
        those = [i for i, call in enumerate(calls) if call.skill == name]
        many = _repeated(seen, [[index[value] for value in calls[i].args.values()] for i in those])
        for what, split in contexts(SKILLS[name], world, many).items():
            for start, i in enumerate(those):
                if label := split.label(start):
                    found[i][what] = label
    return found


def _repeated(seen: View, args: Sequence[Sequence[int]]) -> View:
    """One state as many, with these arguments (entities)."""
    n = len(args)
    filled = np.zeros((n, len(np.asarray(seen.args))), np.int32)
    for row, values in zip(filled, args, strict=True):
        row[: len(values)] = values
    many: View = jax.tree.map(lambda x: np.broadcast_to(x, (n, *np.shape(x))), seen)
    return many.replace(args=filled)
