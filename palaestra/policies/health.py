"""When training has gone wrong: the statistics that tell, their limits, and what to try. All limits stand here.

Healthy runs of every learner stay orders of magnitude inside them (of PPO on the skills, a mean KL of at most 0.02, entropies of
-0.5 to 0.8 nats a component, value losses below 0.1): a limit is no judgement of how well a run goes.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from palaestra.sim.files import named_leaves


class Limit(NamedTuple):
    """From where to where a figure may go; `a_component`: of the action."""

    low: float = -math.inf
    high: float = math.inf
    a_component: bool = False
    when_low: str = ""
    when_high: str = ""


_SLOWER = "a lower hyper.learning_rate, or fewer gradient steps on the same data"
_SMALLER = "a smaller hyper.reward_scale, a lower hyper.gamma, or a lower hyper.learning_rate"
_BROKEN = "to look for rewards and observations that are not finite in the environment; if there are none, a lower hyper.learning_rate"

LIMITS = {  # causes before what they lead to: the first that is wrong is named
    "value_loss": Limit(high=1e12, when_high=_SMALLER),  # values that are a million off
    "critic_loss": Limit(high=1e12, when_high=_SMALLER),
    "kl": Limit(high=10.0, when_high=f"{_SLOWER}; PPO holds a bound with kl_bound"),  # nats, of one update
    "entropy": Limit(  # nats: deviations of 1e-4 and 40, where actions go from -1 to 1
        low=-8.0,
        high=5.0,
        a_component=True,
        when_low="a higher hyper.entropy, or a target_entropy",
        when_high="a lower hyper.entropy, or a lower hyper.learning_rate",
    ),
    "temperature": Limit(high=1e6, when_high="a lower hyper.target_entropy, or a lower hyper.learning_rate"),
}


class Fault(NamedTuple):
    """A statistic that went wrong."""

    statistic: str
    value: float
    expected: str
    advice: str


def fault(figures: Mapping[str, float], action_size: int) -> Fault | None:
    """What is wrong with an update's figures, if anything."""
    for name in sorted(figures, key=lambda name: (name not in LIMITS, [*LIMITS, name].index(name))):
        if not math.isfinite(figures[name]):
            return Fault(name, figures[name], "a finite number", _BROKEN)
    for name, limit in LIMITS.items():
        if name not in figures:
            continue
        scale, unit = (action_size, f" for {action_size} components") if limit.a_component else (1, "")
        low, high = limit.low * scale, limit.high * scale
        if figures[name] > high:
            return Fault(name, figures[name], f"at most {high:g}{unit}", limit.when_high)
        if figures[name] < low:
            return Fault(name, figures[name], f"at least {low:g}{unit}", limit.when_low)
    return None


def broken(state: Any) -> Fault | None:
    """The first number of a learner's state that is not finite, if any. Its environments are not looked at: they end by themselves."""
    for name, leaf in named_leaves(state).items():
        if name.startswith(("batch/", "batches/")) or not jnp.issubdtype(leaf.dtype, jnp.floating) or jnp.isfinite(leaf).all():
            continue
        flat = jax.device_get(leaf).ravel()
        return Fault(name, float(next(x for x in flat if not math.isfinite(x))), "finite numbers", _BROKEN)
    return None
