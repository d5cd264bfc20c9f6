"""Episodes as a data set in Minari's format (the Farama Foundation's, for offline learning). Needs the extra `minari`."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.env import Env
from palaestra.envs.gymnasium import spaces
from palaestra.sim.errors import MissingExtraError, PalaestraError

Act = Callable[[jax.Array], jax.Array]  # observations [B, obs] -> actions [B, a]

_RECORDING = 0x6D696E61  # folded into a seed's key: neither training nor evaluation has these episodes
_BATCH = 64  # episodes that run at once


def record(env: Env[Any], act: Act, episodes: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Episodes of a policy: observations [T + 1, obs], actions [T, a] as the environment took them, rewards, terminations and
    truncations [T], and the metrics after each step [T]."""
    base = jax.random.fold_in(jax.random.key(seed), _RECORDING)
    keys = jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.arange(episodes + -episodes % min(_BATCH, episodes)))
    run = jax.jit(lambda keys: _run(env, act, keys))
    size = min(_BATCH, episodes)
    parts = [_cut(jax.device_get(run(keys[i : i + size]))) for i in range(0, len(keys), size)]
    return [episode for part in parts for episode in part][:episodes]


def _run(env: Env[Any], act: Act, keys: jax.Array) -> dict[str, Any]:
    """A batch of episodes, all as long as the horizon [T, B, ...]; what comes after an end is to be cut off."""
    state, first = jax.vmap(env.begin)(keys)

    def one(carry: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], dict[str, Any]]:
        state, seen = carry
        action = jnp.clip(act(seen), -1.0, 1.0)
        state, timestep = jax.vmap(env.step)(state, action)
        step = {
            "observations": timestep.observation,
            "actions": action,
            "rewards": timestep.reward,
            "terminations": timestep.terminated,
            "truncations": timestep.truncated,
            "metrics": timestep.metrics,
        }
        return (state, timestep.observation), step

    _, steps = jax.lax.scan(one, (state, first.observation), None, length=env.horizon)
    return steps | {"observations": jnp.concatenate([first.observation[None], steps["observations"]])}


def _cut(steps: dict[str, Any]) -> Iterator[dict[str, Any]]:
    over = steps["terminations"] | steps["truncations"]
    for i in range(over.shape[1]):
        length = int(over[:, i].argmax()) + 1
        episode = {name: value[:length, i] for name, value in steps.items() if name not in ("observations", "metrics")}
        metrics = {name: value[:length, i] for name, value in steps["metrics"].items()}
        yield episode | {"observations": steps["observations"][: length + 1, i], "infos": metrics}


def export(
    env: Env[Any],
    episodes: list[dict[str, Any]],
    name: str,
    *,
    folder: Path | None = None,
    spec: Any = None,
    algorithm: str = "",
    description: str = "",
) -> Any:
    """Write recorded episodes as the data set `name`, like palaestra/pick/expert-v0, which `minari.load_dataset` then loads.

    Args:
        folder: of all data sets, instead of Minari's own (MINARI_DATASETS_PATH).
        spec: Gymnasium's, from which the data set can make the environment again.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError:
        raise MissingExtraError("the export of episodes", "minari", "minari") from None
    observation_space, action_space = spaces(env)
    buffers = []
    for number, episode in enumerate(episodes):
        first = {key: np.zeros_like(value[:1]) for key, value in episode["infos"].items()}  # of the start, where nothing has happened
        infos = {key: np.concatenate([first[key], value]) for key, value in episode["infos"].items()}
        buffers.append(EpisodeBuffer(id=number, **(episode | {"infos": infos})))
    with _datasets(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is no author's address, and the like
        try:
            return minari.create_dataset_from_buffers(
                name,
                buffers,
                env=spec,
                observation_space=observation_space,
                action_space=action_space,
                algorithm_name=algorithm or None,
                description=description or None,
                data_format="hdf5",
            )
        except ValueError as error:
            raise PalaestraError(f"{name}: cannot be written ({error})") from error


@contextmanager
def _datasets(folder: Path | None) -> Iterator[None]:
    """Minari's folder of data sets, for as long as the block runs."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    if folder is not None:
        os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        yield
    finally:
        if before is not None:
            os.environ["MINARI_DATASETS_PATH"] = before
        elif folder is not None:
            del os.environ["MINARI_DATASETS_PATH"]
