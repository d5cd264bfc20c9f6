"""Run against an installed wheel, outside the repository: the package is whole, and its parts work together."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np

import palaestra

assert "site-packages" in palaestra.__file__, f"{palaestra.__file__}: expected the installed wheel"
assert (Path(palaestra.__file__).parent / "py.typed").exists()

env = gymnasium.make("Palaestra/Rearrange-v0", task_set="rearrange-1")
observation, info = env.reset(seed=1)
for _ in range(3):
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
assert env.observation_space.contains(observation)
assert np.isfinite(reward)
env.close()

command = [str(Path(sys.executable).parent / "palaestra")]
listing = subprocess.run([*command, "skills"], capture_output=True, text=True, check=True).stdout
assert "pick(object: object)" in listing, listing
wrong = subprocess.run([*command, "eval", "skill/fly"], capture_output=True, text=True, check=False)
assert wrong.returncode == 2, wrong
assert "skill/pick" in wrong.stderr, wrong.stderr
print("smoke: the wheel works")
