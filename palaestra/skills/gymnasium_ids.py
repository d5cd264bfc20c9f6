"""The skills' training environments as Gymnasium ids. Light: jax and mujoco load when an environment is made."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from palaestra.envs import arguments
from palaestra.envs.gymnasium import FunctionalEnv, FunctionalVectorEnv, register_id

if TYPE_CHECKING:
    from palaestra.skills.record import Skill
    from palaestra.skills.training import SkillEnv


class SkillGymEnv(FunctionalEnv):
    """`Palaestra/Skill-v0`: one skill, in the worlds that its record names.

    Args:
        skill: a name of `palaestra.skills.library.SKILLS`.
        horizon: control steps after which an episode is truncated; the skill's own without it.
        render_mode: `human`, `rgb_array` or None.
    """

    def __init__(self, skill: str = "pick", *, horizon: int | None = None, render_mode: str | None = None):
        super().__init__(_skill_env(skill, horizon), render_mode=render_mode)


class SkillGymVectorEnv(FunctionalVectorEnv):
    """The vector environment of `Palaestra/Skill-v0`; `kwargs` as in `RearrangeVectorEnv`."""

    def __init__(
        self, num_envs: int = 1, skill: str = "pick", *, horizon: int | None = None, max_episode_steps: int | None = None, **kwargs: Any
    ):
        super().__init__(_skill_env(skill, horizon, max_episode_steps), num_envs, **kwargs)


def register() -> None:
    """Make `Palaestra/Skill-v0` known to Gymnasium."""
    register_id("Palaestra/Skill-v0", f"{__name__}:SkillGymEnv", f"{__name__}:SkillGymVectorEnv", skill="pick")


def _skill_env(name: str, horizon: int | None = None, at_most: int | None = None) -> "SkillEnv":
    from palaestra.skills.library import skill

    return _cached(skill(name), arguments.horizon(skill(name).horizon, horizon, at_most))


@lru_cache(maxsize=16)
def _cached(skill: "Skill", horizon: int) -> "SkillEnv":
    """The one object for a skill and a horizon, so that it compiles once."""
    from palaestra.skills.training import SkillEnv

    env = SkillEnv(skill)
    env.horizon = horizon
    return env
