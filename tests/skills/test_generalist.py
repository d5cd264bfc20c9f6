"""The generalist's view of the skills: its teachers say there what the specialists do in their own environments."""

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.types import restart
from palaestra.skills.generalist import GeneralEnv, specialist
from palaestra.skills.library import SKILLS
from palaestra.skills.shipped import learned
from palaestra.skills.training import SkillEnv


class Recorded(SkillEnv):
    """Begins with a random observation, and what is done is what is observed next."""

    def begin(self, key):
        return None, restart(jax.random.normal(key, (self.observation_size,)), {})

    def step(self, state, action):
        return action, restart(jnp.pad(action, (0, self.observation_size - len(action))), {})


def test_specialists_teach_what_they_do_and_skills_are_told_apart():
    told = set()
    for name, skill in SKILLS.items():
        env, own = GeneralEnv(Recorded(skill)), learned(skill)
        _, timestep = env.begin(jax.random.key(1))
        assert timestep.observation.shape == (env.observation_size,)
        mean, log_std = specialist(own, env.action_size)(timestep.observation)
        alone = env.env.begin(jax.random.key(1))[1].observation
        done, after = env.step(None, mean)
        np.testing.assert_allclose(done, own.act(alone), atol=1e-6)
        np.testing.assert_allclose(log_std[jnp.asarray(skill.commands)], jnp.log(own.explore(alone)[1]), atol=1e-6)
        rest = [i for i in range(env.action_size) if i not in skill.commands]
        np.testing.assert_array_equal(np.asarray(mean)[rest], 0.0)
        called = np.flatnonzero(after.observation[-len(SKILLS) :]).tolist()
        assert called == [list(SKILLS).index(name)]
        told.add(called[0])
    assert len(told) == len(SKILLS)
