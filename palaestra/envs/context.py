"""The physical context of a task: how things grip and weigh, what the motors can do, how late actions come, how well is sensed.

A context is data in the task. Here it is drawn, and here it acts: on the physics at the start, on actions, on what is sensed. Agents
feel it in `Rearrange.step` and skills in their runner; at the nominal context nothing changes by one bit.
"""

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.types import Context, State, Task
from palaestra.sim.engine import Engine, PhysicsState
from palaestra.sim.errors import UnknownNameError

REGIMES = ("train", "interpolation", "extrapolation")
# Of each field and regime the intervals that it is drawn from. No two regimes meet: interpolation lies in gaps of the train range,
# extrapolation outside of it.
RANGES: dict[str, dict[str, tuple[tuple[float, float], ...]]] = {
    "friction": {"train": ((0.7, 0.85), (0.95, 1.2)), "interpolation": ((0.87, 0.93),), "extrapolation": ((0.4, 0.6), (1.4, 1.8))},
    "mass": {"train": ((0.5, 1.1), (1.5, 2.0)), "interpolation": ((1.15, 1.45),), "extrapolation": ((2.5, 4.0),)},
    "strength": {"train": ((0.75, 0.83), (0.92, 1.0)), "interpolation": ((0.84, 0.91),), "extrapolation": ((0.5, 0.7),)},
    "delay": {"train": ((0, 0), (2, 2)), "interpolation": ((1, 1),), "extrapolation": ((3, 3),)},
    "noise": {"train": ((0.0, 0.01), (0.02, 0.03)), "interpolation": ((0.012, 0.018),), "extrapolation": ((0.04, 0.06),)},
}
SIZE = len(RANGES)  # of `features`


def sample_context(key: jax.Array, regime: str) -> Context:
    """A context of a regime: each field from one of its intervals, which are equally likely; key is consumed."""
    if regime not in REGIMES:
        raise UnknownNameError("regime", regime, REGIMES)
    values = {}
    for name, k in zip(RANGES, jax.random.split(key, SIZE), strict=True):
        k_which, k_at = jax.random.split(k)
        low, high = jax.random.choice(k_which, jnp.asarray(RANGES[name][regime], jnp.float32))
        values[name] = jax.random.uniform(k_at, minval=low, maxval=high)
    return Context(**values | {"delay": values["delay"].astype(jnp.int32)})


def features(context: Context) -> jax.Array:
    """The context as numbers [SIZE]: friction, mass, strength, delay, noise."""
    return jnp.stack([getattr(context, name).astype(jnp.float32) for name in RANGES])


def physics_at_start(engine: Engine, task: Task) -> PhysicsState:
    """The start of a task, with its context's masses and friction."""
    world, layout, context = engine.world, task.scene.layout, task.context
    mass = jnp.where(world.spec.are("crate"), 1.0, context.mass)  # a base can push crates as they are, and not much more
    layout = layout.replace(object_density=layout.object_density * mass)
    return engine.at(world.initial_qpos(layout), jnp.zeros(world.model.nv), layout.parameters(context.friction))


def actuate(state: State, action: jax.Array) -> tuple[State, jax.Array]:
    """The state that remembers this action [nu_action], and what reaches the motors now: the action of `delay` steps ago, weakened.

    An action that is not finite passes at once, so that it ends its environment now and not later.
    """
    queue = jnp.concatenate([action[None], state.recent])
    due = jnp.clip(queue[state.task.context.delay], -1.0, 1.0) * state.task.context.strength
    return state.replace(recent=queue[:-1]), jnp.where(jnp.isfinite(action).all(), due, action)


def sense(state: State, readings: jax.Array, exact: tuple[int, ...] = ()) -> jax.Array:
    """What the sensors say of these readings [n]: Gaussian noise on all but the `exact` ones, drawn anew every step."""
    noisy = np.ones(len(readings), bool)
    noisy[list(exact)] = False
    deviation = state.task.context.noise
    noise = deviation * jax.random.normal(jax.random.fold_in(state.key, state.step), readings.shape)
    return jnp.where(noisy & (deviation > 0), readings + noise, readings)
