"""Palaestra: where embodied agents train. Importing it makes the Gymnasium ids known; jax and mujoco load when one is made."""

from palaestra.envs.gymnasium import register
from palaestra.skills.gymnasium_ids import register as register_skills

register()
register_skills()
