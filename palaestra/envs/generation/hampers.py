"""Tasks about hampers: things put into bins with lids, which open by a button, or only as long as something lies on a plate.

All doors are open, so what opens a hamper is in reach wherever it is. What is to be a weight is not asked for elsewhere: so every task
can be solved, by opening the hampers first and filling them then. One that a weight holds open may have to be shut in the end.
"""

import jax
import jax.numpy as jnp

from palaestra.envs import goals
from palaestra.envs.generation.formulas import begins
from palaestra.envs.generation.generator import SceneRange, attempt_scene, sample_literals
from palaestra.envs.generation.productions import moves, ways_to_open
from palaestra.envs.predicates import table_at_start
from palaestra.envs.rules import conditions
from palaestra.envs.types import INSIDE, OPEN, Goal, Rules, Scene, Task, hamper_entity
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import LID_OPEN, World

_SHUT = 0.75  # the probability that a hamper is shut at the start,
_SHUT_AFTER = 0.5  # and that one which a weight holds open, and that gets something, is to be shut in the end


def attempt_hampers(key: jax.Array, world: World, scenes: SceneRange, min_goals: jax.Array, max_goals: jax.Array) -> tuple[Task, jax.Array]:
    """A task with hampers and with what opens those that are shut, and whether it is one that may be used; key is consumed."""
    spec = world.spec
    if spec.rules < spec.hampers:
        expected = f"{spec.hampers} or more, one for each hamper"
        raise PalaestraError(f"rules: got a world with {spec.rules}, expected {expected}. Fix: a WorldSpec with more rules")
    k_scene, k_shut, k_open, k_goal = jax.random.split(key, 4)
    scene, fits = attempt_scene(k_scene, world, scenes)
    shut = jax.random.bernoulli(k_shut, _SHUT, (spec.hampers,))
    lid = jnp.where(shut, 0.0, LID_OPEN).astype(jnp.float32)
    everywhere = jnp.broadcast_to(scene.room_used, (spec.hampers, spec.rooms))
    every = jnp.ones(spec.objects, bool)
    opening, weights, can_open = ways_to_open(k_open, spec, scene, shut, everywhere, every, first=spec.locks, by_key=False)
    rest = Rules.none(spec.rules - spec.hampers)
    rules: Rules = jax.tree.map(lambda *parts: jnp.concatenate(parts), opening, rest)
    scene = scene.replace(layout=scene.layout.replace(lid_angle=lid), rules=rules)
    goal, sensible = attempt_goal(k_goal, world, scene, min_goals, max_goals, weights)
    table = table_at_start(world, scene)
    return Task(scene=scene, goal=goal), fits & can_open & sensible & ~conditions(rules, table).any() & begins(table, goal)


def attempt_goal(
    key: jax.Array, world: World, scene: Scene, min_goals: jax.Array, max_goals: jax.Array, weights: jax.Array | None = None
) -> tuple[Goal, jax.Array]:
    """`min_goals` to `max_goals` literals as elsewhere, one of them about a hamper, and that hampers are shut again where a weight
    holds them open; whether the goal may be used [] bool: it moves none of the `weights` [O] bool. Key is consumed."""
    spec, rules = world.spec, scene.rules
    k_literals, k_shut = jax.random.split(key)
    literals = sample_literals(k_literals, world, scene, min_goals, max_goals)
    number = jnp.arange(spec.hampers)
    hamper = hamper_entity(spec, number)
    gets = ((literals.target == hamper[:, None]) & (literals.predicate == INSIDE) & literals.used).any(-1)
    fickle = ((rules.opens == spec.locks + number[:, None]) & rules.used & ~rules.lasting).any(-1)
    again = gets & fickle & jax.random.bernoulli(k_shut, _SHUT_AFTER, (spec.hampers,))
    goal = goals.conjunction(
        spec,
        jnp.append(literals.predicate, jnp.full(spec.hampers, OPEN)),
        jnp.append(literals.subject, hamper),
        jnp.append(literals.target, hamper),
        jnp.append(literals.used, again),
        denied=jnp.append(jnp.zeros(len(literals.used), bool), again),
    )
    kept = jnp.asarray(True) if weights is None else ~moves(literals, weights)
    return goal, (literals.used.sum() >= min_goals) & literals.used[0] & gets.any() & kept
