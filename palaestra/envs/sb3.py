"""The batched environments as a `VecEnv` of Stable-Baselines3. Needs the extra `interop`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from palaestra.envs.env import Env
from palaestra.envs.gymnasium import make_vector
from palaestra.sim.errors import MissingExtraError

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise MissingExtraError("palaestra.envs.sb3", "stable-baselines3", "interop") from error


def to_sb3_vec_env(env: str | Env[Any], num_envs: int, seed: int | None = 0, **kwargs: Any) -> "BatchedVecEnv":
    """A registered id or a functional environment for Stable-Baselines3: one program steps the whole batch.

    Args:
        env: e.g. "Palaestra/Rearrange-v0", or an `Env`.
        num_envs: the size of the batch.
        seed: environment i begins with seed + i; None for random ones.
        kwargs: of the vector environment, e.g. task_set, horizon, render_mode.
    """
    vec_env = BatchedVecEnv(make_vector(env, num_envs, autoreset_mode="same_step", **kwargs))
    vec_env.seed(seed)
    return vec_env


class BatchedVecEnv(VecEnv):
    """A vector environment of auto-reset mode `same_step` in the shape that Stable-Baselines3 expects.

    Rewards are float32. An ended episode's info carries its last observation as `terminal_observation`, and
    `TimeLimit.truncated`; `is_success`, which the library's statistics read, is the metric `success`.
    """

    def __init__(self, batch: Any):
        self.batch = batch  # the Gymnasium vector environment
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)
        self.metadata = batch.metadata
        self._actions = np.zeros(batch.action_space.shape, np.float32)

    def reset(self) -> np.ndarray:
        """Fresh episodes, with the seeds and options set since the last reset; both are used once."""
        if any(options != self._options[0] for options in self._options):
            raise ValueError("options: got different ones for different environments, expected the same for all of a batch")
        observations, infos = self.batch.reset(seed=self._seeds, options=self._options[0])
        self.reset_infos = _rows(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions [num_envs, action] of the next `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step all. Returns observations (of the new episode where one ended), rewards, dones and infos."""
        observations, rewards, terminated, truncated, infos = self.batch.step(self._actions)
        done = terminated | truncated
        last, final = infos.pop("final_obs", None), infos.pop("final_info", {})
        rows, final_rows = _rows(infos, self.num_envs), _rows(final, self.num_envs)
        for i in np.flatnonzero(done).tolist():
            self.reset_infos[i] = rows[i]
            rows[i] = {**final_rows[i], "terminal_observation": last[i]}
        for i, info in enumerate(rows):
            info["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            if "success" in info:
                info["is_success"] = info["success"]
        return observations, rewards.astype(np.float32), done, rows

    def close(self) -> None:
        """Release what the batch holds."""
        self.batch.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame for each environment, in render mode `rgb_array`."""
        return self.batch.render()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The batch's attribute, once for each index: the environments are one object."""
        return [getattr(self.batch, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Not offered."""
        raise NotImplementedError(
            f"set_attr({attr_name!r}): the {self.num_envs} environments are one program and have no attributes of their own"
        )

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Not offered."""
        raise NotImplementedError(
            f"env_method({method_name!r}): the {self.num_envs} environments are one program and have no methods of their own"
        )

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never: there are no single environments to wrap. Wrap this with the library's own, e.g. VecMonitor."""
        return [False for _ in self._get_indices(indices)]


def _rows(infos: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Arrays with masks as one dict of Python values for each environment."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, values in infos.items():
        if f"_{key}" not in infos:
            continue
        for i, value in zip(np.flatnonzero(infos[f"_{key}"]), values[infos[f"_{key}"]].tolist(), strict=True):
            rows[i][key] = value
    return rows
