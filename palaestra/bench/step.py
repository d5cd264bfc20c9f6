"""`palaestra bench step`: where the time of a control step goes.

The same houses and actions, with one more part in each run: the bare batch; the engine under JAX; observation, predicates and
reward; auto-reset; a policy with two hidden layers of 256. A part's time is the difference to the run before it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.bench.engine import Bare
from palaestra.bench.protocol import Settings, take_turns
from palaestra.envs.autoreset import AutoReset
from palaestra.envs.tasksets import TaskSetEnv, task_set
from palaestra.sim.native import NativeEngine
from palaestra.sim.world import world

PARTS = ("physics", "engine under JAX", "observation and reward", "fresh tasks", "policy")


def bench(settings: Settings) -> dict[str, Any]:
    """Milliseconds of each part in a control step of the whole batch; the value is the share of physics."""
    num_envs, steps = settings.num_envs or 512, settings.steps or 50
    engine = NativeEngine(world(task_set("rearrange").spec), settings.threads)
    env = TaskSetEnv("rearrange", engine=engine)
    envs = AutoReset(env, num_envs)
    start = jax.jit(envs.reset)(jax.random.split(jax.random.key(0), num_envs))[0]
    actions = jax.random.uniform(jax.random.key(1), (steps, num_envs, env.action_size), minval=-1.0, maxval=1.0)
    sizes = (env.observation_size, 256, 256, env.action_size)
    keys = jax.random.split(jax.random.key(2), 3)
    weights = [jax.random.normal(k, (i, o)) / i**0.5 for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)]

    def engine_only(carry: Any, action: jax.Array) -> Any:
        physics, ctrl = carry
        ctrl = jax.vmap(env.world.control)(physics.qpos, ctrl, action)
        return (jax.vmap(engine.step)(physics, ctrl), ctrl), ctrl

    def environment(state: Any, action: jax.Array) -> Any:
        state, timestep = jax.vmap(env.step)(state, action)
        return state, (timestep.reward, timestep.observation.sum())

    def with_reset(state: Any, action: jax.Array) -> Any:
        state, timestep = envs.step(state, action)
        return state, timestep.reward

    def with_policy(state: Any, action: jax.Array) -> Any:
        x = jnp.tanh(jnp.tanh(state.observation @ weights[0]) @ weights[1]) @ weights[2]
        state, timestep = envs.step(state, action + 1e-6 * x)
        return state, timestep.reward

    scan = [jax.jit(lambda state, f=f: jax.lax.scan(f, state, actions)) for f in (engine_only, environment, with_reset, with_policy)]
    physics = start.env.physics
    controls = np.asarray(scan[0]((physics, start.env.ctrl))[1])
    bare = Bare(engine, physics)

    def alone() -> None:
        bare.reset(physics)
        bare.run(controls)

    runs = dict(
        zip(
            PARTS,
            (
                alone,
                lambda: scan[0]((physics, start.env.ctrl)),
                lambda: scan[1](start.env),
                lambda: scan[2](start),
                lambda: scan[3](start),
            ),
            strict=True,
        )
    )
    seconds = take_turns(runs, settings.repetitions)
    total = np.array([1e3 * np.median(seconds[name]) / steps for name in PARTS])
    parts = np.diff(total, prepend=0.0)
    return {
        "value": float(total[0] / total[-1]),
        "milliseconds": dict(zip(PARTS, map(float, parts), strict=True)),
        "milliseconds_in_all": float(total[-1]),
        "control_steps_per_second": float(1e3 * num_envs / total[-1]),
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
    }
