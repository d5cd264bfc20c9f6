"""One network for all primitives: distilled from their specialists, and measured beside them.

What the generalist observes is what the skill's specialist would, filled up with zeros to the largest, and after it which skill is
called (one number a skill, 1 for the one). It gives all commands of the body; those that the skill does not drive do nothing.
"""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from palaestra.envs.types import TimeStep
from palaestra.policies.evaluate import evaluate, rate
from palaestra.policies.files import file_hash, load_policy
from palaestra.policies.imitation import Labels, Lesson, School, Teacher, teacher
from palaestra.sim.engines import make_engine
from palaestra.sim.world import world
from palaestra.skills.library import SHIPPED
from palaestra.skills.record import Skill
from palaestra.skills.shipped import LearnedSkill, learned
from palaestra.skills.training import SkillEnv, SkillState

NAME = "generalist"
_PADDED = max(skill.observation_size for skill in SHIPPED)


class GeneralEnv:
    """A skill's training environment as the generalist sees it. An `Env`."""

    name = NAME
    observation_size = _PADDED + len(SHIPPED)

    def __init__(self, env: SkillEnv):
        self.env, self.horizon = env, env.horizon
        self.action_size = len(env.world.body.action_names)
        self._which = jax.nn.one_hot(SHIPPED.index(env.skill), len(SHIPPED))

    def begin(self, key: jax.Array) -> tuple[SkillState, TimeStep]:
        state, timestep = self.env.begin(key)
        return state, self._seen(timestep)

    def step(self, state: SkillState, action: jax.Array) -> tuple[SkillState, TimeStep]:
        state, timestep = self.env.step(state, action[jnp.asarray(self.env.skill.commands)])
        return state, self._seen(timestep)

    def _seen(self, timestep: TimeStep) -> TimeStep:
        own = jnp.pad(timestep.observation, (0, _PADDED - self.env.observation_size))
        return timestep.replace(observation=jnp.concatenate([own, self._which]))


def specialist(one: LearnedSkill, actions: int) -> Teacher:
    """A skill's own policy as a teacher of the generalist: it says nothing of what the skill does not drive (mean 0, deviation 1)."""
    own, commands = teacher(one.network, one.policy), jnp.asarray(one.skill.commands)

    def says(observation: jax.Array) -> Labels:
        mean, log_std = own(observation[..., : one.skill.observation_size])
        everything = jnp.zeros((*mean.shape[:-1], actions))
        return everything.at[..., commands].set(mean), everything.at[..., commands].set(log_std)

    return says


def environment_of(skill: Skill, engine: str = "native", dump: Path | None = None, easy: float = 0.0) -> GeneralEnv:
    """The generalist's environment of one skill."""
    return GeneralEnv(SkillEnv(skill, easy=easy, engine=make_engine(engine, world(skill.train_spec), dump=dump)))


def school(engine: str = "native", dump: Path | None = None, easy: float = 0.2) -> School:
    """All skills as lessons, taught by the shipped weights; `easy`: the share of easy starts, for the states near the end."""
    lessons = []
    for skill in SHIPPED:
        env = environment_of(skill, engine, dump, easy)
        lessons.append(Lesson(env, specialist(learned(skill), env.action_size), skill.commands))
    return School(NAME, tuple(lessons))


def alone(skill: Skill, env: SkillEnv) -> School:
    """One skill as the only lesson, taught by its shipped weights: what comes of it is a policy for the skill itself."""
    own = learned(skill)
    return School(env.name, (Lesson(env, teacher(own.network, own.policy), tuple(range(skill.action_size))),))


def measure_generalist(episodes: int, seed: int, policy: Path, engine: str = "native") -> dict[str, Any]:
    """Of every skill the success of the generalist and of its specialist, on the same starts, `episodes` each, none of them easy.

    `value` is the generalist's success over all skills.
    """
    clock, found, won = time.perf_counter(), {}, 0
    for skill in SHIPPED:
        env = environment_of(skill, engine)
        network, general = load_policy(policy, name=NAME, observation_size=env.observation_size, action_size=env.action_size)
        ours = evaluate(env, network, general, episodes, seed=seed)
        own = learned(skill)
        theirs = evaluate(env.env, own.network, own.policy, episodes, seed=seed)
        found[skill.name] = {
            kind: {key: result.summary()[key] for key in ("value", "n", "interval", "median_steps")}
            for kind, result in (("generalist", ours), ("specialist", theirs))
        }
        won += int(ours.success.sum())
    return {
        "name": NAME,
        **rate(won, episodes * len(SHIPPED)),
        "skills": found,
        "weights": file_hash(policy),
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }
