"""What rules do: after each control step, conditions that hold turn into effects. Pure, for one environment.

Doors, hampers and buttons keep no state of their own: a leaf's or a lid's set point that has begun to rise goes on, a button that
was pressed is drawn down by its servo, and a toggle's set point tells whether it is on (`palaestra.envs.toggles`). Objects come and go by
a new state of the physics, and by `object_used` in the state's own scene.
"""

from typing import Any

import jax
import jax.numpy as jnp

from palaestra.envs import toggles
from palaestra.envs.types import PRESSED, Rules, Scene, button_entity
from palaestra.sim.engine import Engine, PhysicsState
from palaestra.sim.world import BUTTON_TRAVEL, LEAF_OPEN, LEAF_RATE, LID_OPEN, Layout, World, parked_object


def conditions(rules: Rules, table: jax.Array) -> jax.Array:
    """Which rules' conditions hold [K] bool, by the truth table [predicates, E, E]."""
    facts = table[rules.predicate, rules.subject, rules.target]
    return (facts | ~rules.needed).all(-1) & rules.used


def apply(engine: Engine, state: Any, table: jax.Array) -> Any:
    """The state (with `physics`, `ctrl`, `task`) after all rules whose conditions hold by `table` had their effects."""
    world: World = engine.world
    scene = state.task.scene
    holds = conditions(scene.rules, table)
    if world.spec.servos:
        _, up = world.mechanism_q(state.physics.qpos)
        state = state.replace(ctrl=_set_points(world, scene.rules, holds, table, up, state.ctrl))
    if not world.spec.rules:
        return state
    layout, physics = _transformed(engine, scene, holds, state.physics)
    happens = (holds & (scene.rules.consumes[:, 0] >= 0)).any()
    physics = jax.tree.map(lambda new, old: jnp.where(happens, new, old), physics, state.physics)
    return state.replace(physics=physics, task=state.task.replace(scene=scene.replace(layout=layout)))


def _set_points(world: World, rules: Rules, holds: jax.Array, table: jax.Array, up: jax.Array, ctrl: jax.Array) -> jax.Array:
    """The set points [nu] with leaves and lids on their way to open or shut, pressed buttons down, and toggles as they were pushed;
    `up` [U] m: how far buttons are up."""
    spec = world.spec
    at = len(ctrl) - spec.servos
    body, leaves, buttons, lids = jnp.split(ctrl, [at, at + spec.locks, len(ctrl) - spec.hampers])
    hinged = jnp.concatenate([leaves, lids])
    mine = rules.used[:, None] & (rules.opens[:, None] == jnp.arange(spec.openings))  # [K, openings]
    opening = (mine & holds[:, None]).any(0)
    only_while = (mine & ~rules.lasting[:, None]).any(0)
    far = jnp.where(jnp.arange(spec.openings) < spec.locks, LEAF_OPEN, LID_OPEN)
    to = jnp.where(opening | (~only_while & (hinged > 0)), far, 0.0)
    leaves, lids = jnp.split(hinged + jnp.clip(to - hinged, -LEAF_RATE, LEAF_RATE), [spec.locks])
    button = button_entity(spec, jnp.arange(spec.buttons))
    stays = table[PRESSED, button, button] & (jnp.arange(spec.buttons) < spec.buttons - spec.toggles)
    buttons = jnp.where(stays, -BUTTON_TRAVEL, buttons)
    return toggles.toggled(spec, jnp.concatenate([body, leaves, buttons, lids]), up)


def _transformed(engine: Engine, scene: Scene, holds: jax.Array, physics: PhysicsState) -> tuple[Layout, PhysicsState]:
    """Which objects are there, and the physics, after the rules that hold have made some vanish and others appear."""
    world, rules, lay = engine.world, scene.rules, scene.layout
    o, nq = world.spec.objects, world.body.num_joints
    number = jnp.arange(o)
    gone = (holds[:, None, None] & (rules.consumes[:, :, None] == number)).any((0, 1))
    makes = holds[:, None] & (rules.product[:, None] == number)  # [K, O]
    born, by = makes.any(0), jnp.argmax(makes, axis=0)
    replaced = jnp.where(rules.consumes[:, 1] >= 0, rules.consumes[:, 1], rules.consumes[:, 0])[by]  # [O] whose place each takes
    position, quat = world.object_pose(physics.qpos)
    lifted = lay.object_half - lay.object_half[replaced]  # both stand on the same ground
    place = position[replaced] + jnp.stack([jnp.zeros(o), jnp.zeros(o), lifted], -1)
    parked = jnp.stack([jnp.asarray(parked_object(i)) for i in range(o)])
    upright = jnp.array([1.0, 0.0, 0.0, 0.0])
    position = jnp.where(born[:, None], place, jnp.where(gone[:, None], parked, position))
    quat = jnp.where((born | gone)[:, None], upright, quat)
    free = slice(nq, nq + 7 * o)
    qpos = physics.qpos.at[free].set(jnp.concatenate([position, quat], -1).ravel())
    still = jnp.repeat(born | gone, 6)
    v = slice(nq, nq + 6 * o)
    qvel = physics.qvel.at[v].set(jnp.where(still, 0.0, physics.qvel[v]))
    layout = lay.replace(object_used=(lay.object_used & ~gone) | born)
    return layout, engine.at(qpos, qvel, world.with_objects(physics.parameters, layout.object_used))
