"""`palaestra bench vector`: what Gymnasium's interface costs over the functional rollout, of the same environment."""

from typing import Any

import jax
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.envs.autoreset import AutoReset
from palaestra.envs.gymnasium import make_vector
from palaestra.envs.host import task_set_env


def bench(settings: Settings) -> dict[str, Any]:
    """Ratio of `gym.make_vec("Palaestra/Rearrange-v0")` over a scan of AutoReset, random actions, resets included."""
    num_envs, steps = settings.num_envs or 512, settings.steps or 50
    env = task_set_env("rearrange", "train")
    functional = Functional(env, num_envs, steps)
    vector = make_vector("Palaestra/Rearrange-v0", num_envs)
    vector.reset(seed=0)
    rng = np.random.default_rng(0)

    def through_gymnasium() -> None:
        for _ in range(steps):
            vector.step(rng.uniform(-1, 1, (num_envs, env.action_size)).astype(np.float32))

    seconds = take_turns({"functional": functional.run, "make_vec": through_gymnasium}, settings.repetitions)
    vector.close()
    ratios = seconds["functional"] / seconds["make_vec"]
    return {
        "value": float(np.median(ratios)),
        "spread": spread(ratios),
        "control_steps_per_second": rates(seconds, num_envs * steps),
        "num_envs": num_envs,
        "steps": steps,
        "repetitions": settings.repetitions,
    }


class Functional:
    """A jitted scan of an environment with auto-reset under random actions."""

    def __init__(self, env: Any, num_envs: int, steps: int):
        self.envs = AutoReset(env, num_envs)
        self.state = jax.jit(self.envs.reset)(jax.random.split(jax.random.key(0), num_envs))[0]
        self.key = jax.random.key(1)
        self.episodes = 0  # that ended in the last run
        shape = (num_envs, env.action_size)

        def one(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
            action = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
            state, timestep = self.envs.step(state, action)
            return state, timestep.done.sum()

        self._roll = jax.jit(lambda state, key: jax.lax.scan(one, state, jax.random.split(key, steps)))

    def run(self) -> Any:
        """Go on from where the last run ended, with new actions."""
        self.key, key = jax.random.split(self.key)
        self.state, done = self._roll(self.state, key)
        self.episodes = int(done.sum())
        return self.state

    def again(self) -> Any:
        """From the same states with the same actions, however often."""
        return self._roll(self.state, self.key)
