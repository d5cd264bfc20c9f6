"""What makes a house more than its things: doors that are shut, and rules that turn a condition into an effect.

On device a rule is a row of `types.Rules`; by name, for words, planners and logs, it is a `Rule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from palaestra.envs.names import Fact, entities
from palaestra.envs.types import PREDICATES, Rules, Scene, leaf_entity, opening_entity, room_entity
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec


@dataclass(frozen=True)
class Door:
    """A hinged door in a doorway. Shut doors let no one through; they open by rules alone, or swing doors by being pushed."""

    name: str
    rooms: tuple[str, str]  # that its doorway joins


@dataclass(frozen=True)
class Rule:
    """Whenever all facts of the condition hold, the effect comes about: a door or a hamper opens, or objects turn into another one."""

    condition: tuple[Fact, ...]
    opens: str = ""  # a door or a hamper
    lasting: bool = True  # which stays open; else it is open only while the condition holds
    consumes: tuple[str, ...] = ()  # objects that vanish
    product: str = ""  # the object that appears where the last of the consumed ones was: on, inside or on the floor as that was


@dataclass(frozen=True)
class Mechanics:
    """Doorways and rules of a scene. Rooms and doorways form a tree: between two rooms there is one way."""

    passages: tuple[tuple[str, str], ...] = ()  # rooms joined by a doorway without a door
    doors: tuple[Door, ...] = ()
    rules: tuple[Rule, ...] = ()


def mechanics(spec: WorldSpec, scene: Scene) -> Mechanics:
    """What a scene has of both, by name; on the host, for one scene. Nothing in worlds that have neither: all doorways are open."""
    if not (spec.mechanisms or spec.rules or spec.plates):
        return Mechanics()
    scene = jax.tree.map(np.asarray, scene)
    name = {e.index: e.name for e in entities(spec, scene)}
    hung = {int(scene.leaf_doorway[i]): i for i in np.flatnonzero(scene.leaf_used)}
    passages, doors, found = [], [], []
    for doorway in np.flatnonzero(scene.door_used):
        first, second = (name[room_entity(spec, int(room))] for room in scene.door_rooms[doorway])
        if int(doorway) in hung:
            doors.append(Door(name[leaf_entity(spec, hung[int(doorway)])], (first, second)))
        else:
            passages.append((first, second))
    rules = scene.rules
    for k in np.flatnonzero(rules.used):
        facts = [
            (PREDICATES[p], name[int(s)], name[int(t)])
            for p, s, t, needed in zip(rules.predicate[k], rules.subject[k], rules.target[k], rules.needed[k], strict=True)
            if needed
        ]
        opens = "" if rules.opens[k] < 0 else name[opening_entity(spec, int(rules.opens[k]))]
        consumes = tuple(name[1 + int(o)] for o in rules.consumes[k] if o >= 0)
        product = "" if rules.product[k] < 0 else name[1 + int(rules.product[k])]
        found.append(Rule(tuple(facts), opens, bool(rules.lasting[k]) if opens else True, consumes, product))
    return Mechanics(tuple(passages), tuple(sorted(doors, key=lambda door: door.name)), tuple(found))


def rule_rows(spec: WorldSpec, scene: Scene, rules: Sequence[Rule]) -> Rules:
    """Rules about things of a scene as arrays of NumPy: the way back from `mechanics`. Refused where the world has no room for them."""
    if len(rules) > spec.rules:
        fix = "remove one" if spec.rules else "a set whose world has rules"
        raise PalaestraError(f"rules: got {len(rules)}, expected at most the {spec.rules} that this world has slots for. Fix: {fix}")
    index = {e.name: e.index for e in entities(spec, scene)}
    number = {opening_entity(spec, i): i for i in range(spec.openings)}
    rows: Rules = jax.tree.map(np.array, Rules.none(spec.rules))
    for k, rule in enumerate(rules):
        if not 1 <= len(rule.condition) <= 2 or len(rule.consumes) > 2:
            got = f"{len(rule.condition)} facts and {len(rule.consumes)} objects that vanish"
            raise PalaestraError(f"rule: got {got}, expected one fact or two, and at most two objects")
        for i, (predicate, subject, target) in enumerate(rule.condition):
            rows.predicate[k, i], rows.subject[k, i], rows.target[k, i] = PREDICATES.index(predicate), index[subject], index[target]
            rows.needed[k, i] = True
        rows.consumes[k, : len(rule.consumes)] = [index[name] - 1 for name in rule.consumes]
        rows.opens[k] = number[index[rule.opens]] if rule.opens else -1
        rows.product[k] = index[rule.product] - 1 if rule.product else -1
        rows.lasting[k], rows.used[k] = bool(rule.opens) and rule.lasting, True
    return rows
