"""`palaestra bench learn`: `pick` from nothing to 0.95 on held-out starts, beside Stable-Baselines3's PPO on the same environment.

Both learn with the recipe's numbers: environments at once, rollout, minibatches, network, discount and learning rate. What
Stable-Baselines3 has of its own (`VecNormalize` for observations and rewards) is on. Its weights are put into our network, so that
one program measures both on the same starts. The time is that of learning, compiling included and measuring left out.
"""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from palaestra.bench.protocol import Settings
from palaestra.policies.evaluate import evaluate, wilson
from palaestra.policies.networks import ActorCritic, Policy, Statistics
from palaestra.policies.ppo import PPO
from palaestra.sim.errors import MissingExtraError
from palaestra.skills.recipes import RECIPES, environment

_RECIPE = "skill/pick"
_TARGET, _STARTS = 0.95, 500  # success, on so many held-out starts
_LOOK = 400_000  # steps between two looks
_PATIENCE = 6  # times as long as ours the other one may take


def bench(settings: Settings) -> dict[str, Any]:
    """How many times as long Stable-Baselines3 takes; at least so many where it did not get there."""
    recipe = RECIPES[_RECIPE]
    most = settings.steps or recipe.steps
    config = PPO(num_envs=settings.num_envs, hyper=recipe.ppo.hyper) if settings.num_envs else recipe.ppo
    held_out = environment(_RECIPE)
    ours = _until(held_out, _ours(config, most, recipe.easy))
    theirs = _until(held_out, _theirs(config, most, recipe.easy), at_most=_PATIENCE * ours["seconds"])
    return {
        "value": theirs["seconds"] / ours["seconds"],
        "at_least": not theirs["reached"],
        "target": _TARGET,
        "starts": _STARTS,
        "ours": ours,
        "stable_baselines3": theirs,
        "num_envs": config.num_envs,
    }


Look = tuple[int, float, Policy]  # steps and seconds until then, and the policy


def _until(held_out: Any, looks: Iterator[Look], at_most: float = float("inf")) -> dict[str, Any]:
    """When the target was reached, and the curve until then."""
    curve: list[list[float]] = []
    network, seconds = ActorCritic(held_out.action_size, RECIPES[_RECIPE].ppo.hidden), 0.0
    for steps, seconds, policy in looks:
        won = int(evaluate(held_out, network, policy, _STARTS, seed=0).success.sum())
        curve.append([steps, round(seconds, 1), won / _STARTS])
        if won / _STARTS >= _TARGET or seconds > at_most:
            break
    return {
        "reached": curve[-1][2] >= _TARGET,
        "seconds": seconds,
        "steps": curve[-1][0],
        "success": curve[-1][2],
        "interval": list(wilson(won, _STARTS)),
        "curve": curve,
    }


def _ours(config: PPO, most: int, easy: float) -> Iterator[Look]:
    updates = max(most // config.batch_size, 1)
    seconds, clock = 0.0, time.perf_counter()
    learner = config.make(environment(_RECIPE, easy), updates)
    state = learner.init(jax.random.key(0))
    every = max(_LOOK // config.batch_size, 1)
    for update in range(1, updates + 1):
        state, _ = learner.train_step(state)
        if update % every == 0 or update == updates:
            jax.block_until_ready(state)
            seconds += time.perf_counter() - clock
            yield update * config.batch_size, seconds, learner.policy(state)
            clock = time.perf_counter()


def _theirs(config: PPO, most: int, easy: float) -> Iterator[Look]:
    try:
        from stable_baselines3 import PPO as Theirs
        from stable_baselines3.common.vec_env import VecNormalize
    except ImportError:
        raise MissingExtraError("bench learn", "stable-baselines3", "interop") from None
    from palaestra.envs.sb3 import to_sb3_vec_env

    hyper, seconds, clock = config.hyper, 0.0, time.perf_counter()
    envs = VecNormalize(to_sb3_vec_env(environment(_RECIPE, easy), config.num_envs), gamma=hyper.gamma, clip_obs=8.0)
    done = [0.0]  # the share of all steps: the library's own progress is that of one call of `learn`
    network = dict(net_arch=list(config.hidden), log_std_init=-0.7)  # its layers are tanh by themselves
    model = Theirs(
        "MlpPolicy",
        envs,
        learning_rate=lambda _: hyper.learning_rate * (1.0 - 0.9 * done[0]),
        n_steps=config.num_steps,
        batch_size=config.batch_size // config.minibatches,
        n_epochs=config.epochs,
        gamma=hyper.gamma,
        gae_lambda=hyper.lam,
        clip_range=hyper.clip,
        ent_coef=hyper.entropy,
        vf_coef=hyper.value,
        max_grad_norm=config.max_grad_norm,
        policy_kwargs=network,
        seed=0,
        device="cpu",
    )
    every = max(_LOOK // config.batch_size, 1) * config.batch_size
    while model.num_timesteps < most:
        done[0] = model.num_timesteps / most
        model.learn(min(every, most - model.num_timesteps), reset_num_timesteps=False, log_interval=1_000_000)
        seconds += time.perf_counter() - clock
        yield model.num_timesteps, seconds, translated(model)
        clock = time.perf_counter()


def translated(model: Any) -> Policy:
    """The policy of a Stable-Baselines3 PPO, with tanh layers and `VecNormalize`, in our network: the same actions."""
    policy, seen = model.policy, model.get_vec_normalize_env().obs_rms

    def dense(layers: list[Any]) -> dict[str, Any]:
        found = {}
        for i, layer in enumerate(layers):
            weight, bias = (jnp.asarray(x.detach().cpu().numpy()) for x in (layer.weight, layer.bias))
            found[f"Dense_{i}"] = {"kernel": weight.T, "bias": bias}
        return found

    trunk = policy.mlp_extractor
    params = {
        "actor": dense([*trunk.policy_net[::2], policy.action_net]),
        "critic": dense([*trunk.value_net[::2], policy.value_net]),
        "log_std": jnp.asarray(policy.log_std.detach().cpu().numpy()),
    }
    count = jnp.asarray(seen.count, jnp.float32)
    mean, variance = (jnp.asarray(x, jnp.float32) for x in (seen.mean, seen.var))
    return Policy(params={"params": params}, statistics=Statistics(count=count, mean=mean, m2=variance * count))
