"""`palaestra bench train`: PPO on `pick`, the whole loop over the rollout alone."""

from typing import Any

import jax
import numpy as np

from palaestra.bench.protocol import Settings, rates, spread, take_turns
from palaestra.policies.ppo import Learner
from palaestra.skills.recipes import RECIPES, environment

_RECIPE = "skill/pick"


def bench(settings: Settings) -> dict[str, Any]:
    """Steps/s of rollout and update together over steps/s of the rollout, in the recipe's own setting."""
    recipe = RECIPES[_RECIPE]
    config = recipe.ppo if not settings.num_envs else recipe.ppo.__class__(num_envs=settings.num_envs, hyper=recipe.ppo.hyper)
    learner = Learner(environment(_RECIPE, recipe.easy, engine=settings.engine or "native"), config, 1000)
    holder = {"state": learner.init(jax.random.key(0))}

    def whole() -> Any:
        holder["state"], _ = learner.train_step(holder["state"])
        return holder["state"]

    def alone() -> Any:
        holder["state"] = learner.collect(holder["state"])[0]
        return holder["state"]

    for _ in range(3):  # past the first episodes, which all begin at once
        jax.block_until_ready(whole())
    seconds = take_turns({"loop": whole, "rollout": alone}, 3 * settings.repetitions)
    ratios = seconds["rollout"] / seconds["loop"]
    return {
        "value": float(np.median(ratios)),
        "spread": spread(ratios),
        "env_steps_per_second": rates(seconds, config.batch_size),
        "engine": settings.engine or "native",
        "num_envs": config.num_envs,
        "num_steps": config.num_steps,
        "epochs": config.epochs,
        "minibatches": config.minibatches,
        "hidden": list(config.hidden),
        "repetitions": 3 * settings.repetitions,
    }
