"""The functional environments as Gymnasium's `Env` and `VectorEnv`. The only module that imports gymnasium.

Seeds: every environment draws one number below 2³¹ from its own generator at each reset, and that number is the episode's
seed. A generator is made from the seed given to `reset`, so environment i of a batch reset with `seed` runs through the
episodes of a single environment reset with `seed + i`: the same physics to the last bit, the same observations to the
rounding of float32.

Time: an episode is truncated by the environment itself, after its task set's horizon or after `horizon` steps; the
registered specs therefore name no `max_episode_steps`. Given to `make` it adds a TimeLimit, to `make_vec` it shortens the
horizon, to the same effect.

Actions are clipped to [-1, 1]. One that is not finite is an error in a single environment; in a batch it ends that
environment alone: truncated, with `diverged` in its info.

jax and mujoco are imported when an environment is made, so that `import palaestra` is light.
"""

import copy
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from palaestra.envs import arguments
from palaestra.sim.errors import UnknownNameError

if TYPE_CHECKING:
    from palaestra.envs.env import Env

FPS = 20  # control steps a second


class FunctionalEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Any functional environment as a Gymnasium environment.

    `reset(options={"task": n})` starts task number n of a task set's split. Info: the metrics as Python numbers and, where
    the task has words, `instruction`; the same keys at reset and at every step.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(self, env: "Env[Any]", *, render_mode: str | None = None):
        from palaestra.envs.host import host

        self.functional = env
        self.render_mode = arguments.known("render mode", render_mode, self.metadata["render_modes"])
        self.observation_space, self.action_space = spaces(env)
        self._host = host(env)
        self._state: Any = None
        self._words: dict[str, str] = {}
        self._window: Any = None
        self._next_frame = 0.0  # s, on the clock of time.monotonic

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """A fresh episode. `options`: {"task": n} for task number n of the split, instead of a random one."""
        task = arguments.task_number(arguments.options(options, self._host.options).get("task"))
        super().reset(seed=seed)
        number = _draw(self.np_random)
        self._state, timestep = self._host.begin(number, task)
        self._words = self._host.words(self._state, number if task is None else task)
        self._show()
        return np.array(timestep.observation), self._host.metrics(timestep) | self._words

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One control step (1/20 s). Raises ValueError for an action that is not finite."""
        if self._state is None:
            raise ResetNeeded("step() before the first reset(). Fix: call reset() once")
        clipped = arguments.actions(action, (self.functional.action_size,))
        if not np.isfinite(clipped).all():
            raise ValueError(f"action: got {np.asarray(action).tolist()}, expected finite numbers; those outside [-1, 1] are clipped")
        self._state, timestep = self._host.step(self._state, clipped)
        self._show()
        ended = bool(timestep.terminated), bool(timestep.truncated)
        return np.array(timestep.observation), float(timestep.reward), *ended, self._host.metrics(timestep) | self._words

    def render(self) -> np.ndarray | None:
        """The frame [H, W, 3] in mode `rgb_array`; None in mode `human`, whose window each reset and step brings up to date."""
        if self._state is None:
            raise ResetNeeded("render() before the first reset(). Fix: call reset() once")
        if self.render_mode is None:
            gymnasium.logger.warn("render() of an environment without render_mode. Fix: make(..., render_mode='rgb_array')")
        return self._frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        if self._window is None:
            from palaestra.envs.display.render import Window

            self._window = Window()
        time.sleep(max(0.0, self._next_frame - time.monotonic()))
        self._next_frame = time.monotonic() + 1.0 / FPS
        self._window.show(self._frame())
        self._window.poll()  # or the desktop takes it for dead

    def _frame(self) -> np.ndarray:
        return self._host.frame(self._state, self._words.get("instruction", ""))


class RearrangeEnv(FunctionalEnv):
    """`Palaestra/Rearrange-v0`: the tasks of one split of a task set.

    Args:
        task_set: a name of `palaestra.envs.tasksets.TASK_SETS`.
        split: `train`, `validation` or `test`.
        horizon: control steps after which an episode is truncated; the task set's own without it.
        render_mode: `human`, `rgb_array` or None.
    """

    def __init__(self, task_set: str = "rearrange", split: str = "train", *, horizon: int | None = None, render_mode: str | None = None):
        from palaestra.envs.host import task_set_env

        super().__init__(task_set_env(task_set, split, horizon), render_mode=render_mode)


class FunctionalVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Any functional environment as a Gymnasium vector environment: one program steps the whole batch.

    Auto-reset: `next_step` (the step after an end ignores its action and returns the new episode's first observation),
    `same_step` (the terminal observation and info are in `final_obs` and `final_info`), or `disabled` (those that ended
    are reset by `reset(options={"reset_mask": ended})`). Every info is an array with a `_key` mask beside it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS, "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self, env: "Env[Any]", num_envs: int = 1, *, autoreset_mode: str | AutoresetMode = "next_step", render_mode: str | None = None
    ):
        from palaestra.envs.host import host

        if num_envs < 1:
            raise ValueError(f"num_envs: got {num_envs}, expected 1 or more")
        self.functional, self.num_envs = env, num_envs
        self._mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._mode}
        self.render_mode = arguments.known("render mode of a batch", render_mode, self.metadata["render_modes"])
        self.single_observation_space, self.single_action_space = spaces(env)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._host = host(env)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self._states: Any = None
        self._ended = np.zeros(num_envs, bool)  # and not yet reset
        self._observations = np.zeros((num_envs, env.observation_size), np.float32)
        self._columns: dict[str, np.ndarray] = {}  # of infos, each [num_envs]

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """One generator for each environment."""
        return tuple(self._generators)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Fresh episodes, in all environments or where `options["reset_mask"]` holds.

        `seed`: one number, which environment i takes as seed + i, or one for each. `options["task"]`: as in one environment.
        """
        options = arguments.options(options, (*self._host.options, "reset_mask"))
        task, seeds = arguments.task_number(options.get("task")), arguments.seeds(seed, self.num_envs)
        mask = arguments.reset_mask(options.get("reset_mask"), self.num_envs)
        if self._states is None and not mask.all():
            raise ResetNeeded("reset_mask leaves out environments that never began. Fix: call reset() without it first")
        for i in np.flatnonzero(mask):
            if seeds[i] is not None:
                self._generators[i] = seeding.np_random(seeds[i])[0]
        self._begin(mask, task)
        self._ended &= ~mask
        return self._observations.copy(), self._infos(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control step (1/20 s) of all."""
        if self._states is None:
            raise ResetNeeded("step() before the first reset(). Fix: call reset() once")
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            ended = np.flatnonzero(self._ended).tolist()
            raise ResetNeeded(f"environments {ended} have ended. Fix: reset(options={{'reset_mask': terminated | truncated}})")
        actions = arguments.actions(actions, (self.num_envs, self.functional.action_size))
        stale = self._ended  # to be reset instead of stepped; none but in mode next_step
        self._states, timestep = self._host.step_all(self._states, np.where(stale[:, None], np.float32(0), actions))
        self._observations = np.array(timestep.observation)
        self._columns |= self._host.columns(timestep)
        reward = np.where(stale, 0.0, np.asarray(timestep.reward, np.float64))
        terminated, truncated = np.asarray(timestep.terminated) & ~stale, np.asarray(timestep.truncated) & ~stale
        self._begin(stale)
        self._ended = terminated | truncated
        final = self._end_now() if self._mode is AutoresetMode.SAME_STEP and self._ended.any() else {}
        return self._observations.copy(), reward, terminated, truncated, final | self._infos(np.ones(self.num_envs, bool))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One frame [H, W, 3] for each environment."""
        if self._states is None:
            raise ResetNeeded("render() before the first reset(). Fix: call reset() once")
        if self.render_mode is None:
            gymnasium.logger.warn("render() of an environment without render_mode. Fix: make_vec(..., render_mode='rgb_array')")
            return None
        titles = self._columns.get("instruction", [""] * self.num_envs)
        return tuple(self._host.frame(self._host.row(self._states, i), title) for i, title in enumerate(titles))

    def _begin(self, mask: np.ndarray, task: int | None = None) -> None:
        """Begin a new episode where `mask` [num_envs] holds."""
        for i in np.flatnonzero(mask):
            number = _draw(self._generators[i])
            state, timestep = self._host.begin(number, task)
            if self._states is None:
                self._states = self._host.tile(state, self.num_envs)
            self._states = self._host.put(self._states, np.int32(i), state)
            self._observations[i] = timestep.observation
            words = self._host.words(state, number if task is None else task)
            for key, value in (self._host.metrics(timestep) | words).items():
                dtype = object if isinstance(value, str) else type(value)
                self._columns.setdefault(key, np.zeros(self.num_envs, dtype))[i] = value

    def _end_now(self) -> dict[str, Any]:
        """Replace the episodes that ended; their last observations and infos."""
        ended, observations = self._ended, np.full(self.num_envs, None, object)
        for i in np.flatnonzero(ended):
            observations[i] = self._observations[i].copy()
        final = {"final_obs": observations, "_final_obs": ended.copy(), "final_info": self._infos(ended), "_final_info": ended.copy()}
        self._begin(ended)
        self._ended = np.zeros(self.num_envs, bool)
        return final

    def _infos(self, mask: np.ndarray) -> dict[str, Any]:
        """The metrics and words where `mask` holds, zero or None elsewhere, and the mask beside each."""
        infos: dict[str, Any] = {}
        for key, value in self._columns.items():
            infos[key] = np.where(mask, value, np.full_like(value, None if value.dtype == object else 0))
            infos[f"_{key}"] = mask.copy()
        return infos


class RearrangeVectorEnv(FunctionalVectorEnv):
    """The vector environment of `Palaestra/Rearrange-v0`.

    Args:
        num_envs: the size of the batch.
        task_set, split, horizon: as in `RearrangeEnv`.
        max_episode_steps: no episode is longer; `make_vec` hands it in, as `make` adds a TimeLimit.
        autoreset_mode: `next_step`, `same_step` or `disabled`.
        render_mode: `rgb_array` or None.
    """

    def __init__(
        self,
        num_envs: int = 1,
        task_set: str = "rearrange",
        split: str = "train",
        *,
        horizon: int | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = "next_step",
        render_mode: str | None = None,
    ):
        from palaestra.envs.host import task_set_env

        env = task_set_env(task_set, split, horizon, max_episode_steps)
        super().__init__(env, num_envs, autoreset_mode=autoreset_mode, render_mode=render_mode)


def _draw(generator: np.random.Generator) -> int:
    """The next episode's seed."""
    return int(generator.integers(arguments.SEEDS))


def spaces(env: "Env[Any]") -> tuple[Box, Box]:
    """The observation and the action space of one environment."""
    return Box(-10.0, 10.0, (env.observation_size,), np.float32), Box(-1.0, 1.0, (env.action_size,), np.float32)


def spec(name: str, **kwargs: Any) -> Any:
    """What Gymnasium knows of an id, with these arguments: from it, and its JSON, the environment can be made again."""
    found = copy.deepcopy(gymnasium.spec(name))
    found.kwargs.update(kwargs)
    return found


def _autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    if isinstance(mode, AutoresetMode):
        return mode
    names = {member.name.lower(): member for member in AutoresetMode}
    if mode not in names:
        raise UnknownNameError("autoreset mode", mode, names)
    return names[mode]


def register() -> None:
    """Make `Palaestra/Rearrange-v0` known to Gymnasium."""
    register_id("Palaestra/Rearrange-v0", f"{__name__}:RearrangeEnv", f"{__name__}:RearrangeVectorEnv", task_set="rearrange", split="train")


def register_id(name: str, entry_point: str, vector_entry_point: str, **kwargs: Any) -> None:
    """Make an id known to Gymnasium, once. Entry points are strings and kwargs plain values, so that its spec can be stored."""
    if name not in gymnasium.registry:
        gymnasium.register(id=name, entry_point=entry_point, vector_entry_point=vector_entry_point, kwargs=kwargs)


def make_vector(env: "str | Env[Any]", num_envs: int, **kwargs: Any) -> VectorEnv[np.ndarray, np.ndarray, np.ndarray]:
    """The vector environment of a registered id or of a functional environment."""
    return gymnasium.make_vec(env, num_envs=num_envs, **kwargs) if isinstance(env, str) else FunctionalVectorEnv(env, num_envs, **kwargs)
