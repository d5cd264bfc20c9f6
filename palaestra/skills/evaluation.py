"""Task sets, measured with planners: `palaestra eval rearrange`. A run is a folder, from which every episode can be watched.

What is random in an episode, its task given: the noise of skills that are tried again after they failed, the words of the
instruction, and what a planner draws. The physics and the first try of every skill are not, so trials of a task on which nothing
fails are equal (`same_in_all_trials` says how many). With noise "always" every call is drawn from its skill's own distribution.

The same episode goes the same to the bit whatever the number of others beside it; XLA may round differently on another kind of
processor or in another version, and contacts make much of little, so elsewhere single episodes differ and rates agree within
their intervals.
"""

import importlib.metadata
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.env import Rearrange
from palaestra.envs.tasksets import SPLITS, TaskSetEnv, task_set
from palaestra.envs.types import Task
from palaestra.policies.evaluate import evaluate_random, evaluation_keys
from palaestra.policies.files import file_hash, write_atomically
from palaestra.sim.engines import best, make_engine
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import WorldSpec, world
from palaestra.skills import table
from palaestra.skills.chances import shipped_chances
from palaestra.skills.executor import LANES, Episode, Executor
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Skills
from palaestra.skills.permissions import Permissions
from palaestra.skills.plan import PlanError
from palaestra.skills.planners import PROBES, Planner, PlannerChoice, Problem, fresh_log
from palaestra.skills.planners.base import library
from palaestra.skills.planners.careful import CarefulPlanner
from palaestra.skills.planners.openai_chat import OpenAIPlanner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.runner import Runner
from palaestra.skills.shipped import cards, learned, weights_file
from palaestra.skills.summary import of_calls, of_chances, of_permissions, summary
from palaestra.skills.table import Row

NOISE = ("retries", "always")
_FORMAT = "palaestra/evaluation/2"
_PARTIAL = "episodes.partial.csv"  # until all are done; an earlier table of the same run stays until then
_PACKAGES = ("palaestra", "mujoco", "jax", "jaxlib", "numpy")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a task set is measured."""

    folder: Path | None = None  # runs/eval/<set>-<split>-<planner>-seed<seed>-n<episodes> when not given
    batch: int = 200  # episodes between two writings of the table; no result depends on it
    trials: int = 1  # of every task; an even number, half of them to rank the tasks by, gives CVaR
    probes: bool = False  # measure the probes and the oracle beside the planner
    noise: str = "retries"  # of the skills: on calls that failed before, or always
    latency: float | None = 0.0  # s of simulated time that a plan takes; None: as long as it really takes
    permissions: Path | None = None  # a file of rules on what the robot may do

    def check(self) -> None:
        if self.batch < 1:
            raise PalaestraError(f"batch: got {self.batch}, expected 1 or more")
        if self.trials < 1 or (self.trials > 1 and self.trials % 2):
            raise PalaestraError(f"trials: got {self.trials}, expected 1 or an even number: half rank the tasks, half are reported")
        if self.noise not in NOISE:
            raise UnknownNameError("noise", self.noise, NOISE)
        if self.latency is not None and not 0 <= self.latency < math.inf:
            raise PalaestraError(f"latency: got {self.latency}, expected seconds, 0 or more, or measured")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an evaluation's results depend on: enough to repeat any episode."""

    set: str
    split: str
    seed: int
    episodes: int
    trials: int
    noise: str
    planners: list[str]  # the one that is measured, then those beside it
    model: str  # of an endpoint
    engine: str
    lanes: int
    max_steps: int
    max_calls: int = 0  # 0: as many as there is time for
    weights: dict[str, str]  # of the skills, hashes
    versions: dict[str, str]
    cards: dict[str, str] = field(default_factory=dict)  # hashes, where a planner goes by them
    permissions: str = ""  # the file's text
    latency: float | None = 0.0
    format: str = _FORMAT

    @property
    def rows(self) -> int:
        return self.episodes * self.trials * len(self.planners)

    @staticmethod
    def read(folder: Path) -> "Config":
        """The configuration of a run. Raises PalaestraError where there is none."""
        path = folder / "config.json"
        try:
            found = json.loads(path.read_text())
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']!r}")
            return Config(**found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PalaestraError(f"{path}: got {error}, expected the folder of an evaluation. Fix: one that palaestra eval made") from None


def weights() -> dict[str, str]:
    return {name: file_hash(weights_file(skill)) for name, skill in SKILLS.items()}


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


@lru_cache(maxsize=2)
def shared_runner(engine: str, spec: WorldSpec, skills: Skills) -> Runner:
    """The skills in a world, compiled once for all sets of it: tasks are data."""
    return Runner(Rearrange(engine=make_engine(engine, world(spec))), {skill.name: learned(skill) for skill in skills if skill.fits(spec)})


class Arena:
    """The compiled executor of a configuration, and its tasks."""

    def __init__(self, config: Config):
        self.config = config
        runner = shared_runner(config.engine, task_set(config.set).of(config.split).spec, library())
        self.env = TaskSetEnv(config.set, config.split, engine=runner.env.engine)
        self.executor = Executor(
            self.env,
            runner.skills,
            OraclePlanner(),
            max_steps=config.max_steps,
            max_calls=config.max_calls,
            noise=config.noise,
            latency=config.latency,
            runner=runner,
            lanes=config.lanes,
            chances=shipped_chances() if config.cards else None,
            permissions=Permissions.read(config.permissions) if config.permissions else None,
        )
        # One at a time, by one program, so that no task depends on how many there are.
        self._sample = jax.jit(self.env.sample_task)
        self._difficulty: dict[int, int] = {}

    def tasks(self, numbers: Sequence[int]) -> Task:
        """The tasks of these numbers, leading axis B, on the host."""
        split, keys = SPLITS.index(self.config.split), evaluation_keys(self.config.seed, max(numbers) + 1)
        found = [jax.device_get(self._sample(jax.random.fold_in(keys[i], split))) for i in numbers]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *found)

    def run(self, planner: Planner, numbers: Sequence[int], trial: int, tasks: Task | None = None) -> list[Episode]:
        """The episodes of these numbers, each as it goes alone."""
        self.executor.planner = planner
        return self.executor.run(self.tasks(numbers) if tasks is None else tasks, numbers=numbers, trial=trial)

    def flail(self, episodes: int) -> dict[str, Any]:
        """What actions of the body come to that are drawn at random, in the same tasks."""
        numbers = range(episodes)
        return evaluate_random(self.env, self.tasks(numbers), numbers, seed=self.config.seed).summary()

    def row(self, name: str, trial: int, episode: Episode) -> Row:
        """The episode as a row of the table, under a planner's name."""
        if episode.number not in self._difficulty:
            self._difficulty[episode.number] = _difficulty(episode)
        config, difficulty = self.config, self._difficulty[episode.number]
        return Row.of(episode, planner=name, trial=trial, seed=config.seed, set=config.set, split=config.split, difficulty=difficulty)


def _difficulty(episode: Episode) -> int:
    """The length of the oracle's plan from the episode's start; 0 where it finds none."""
    try:
        return len(
            OraclePlanner()
            .plan(Problem(episode.instruction, episode.things, episode.start, episode.goal, mechanics=episode.mechanics))
            .steps
        )
    except PlanError:
        return 0


def measure_task_set(
    name: str, episodes: int, seed: int, split: str, choice: PlannerChoice, log: Path | None, engine: str, options: Options
) -> dict[str, Any]:
    """Success of a planner with the learned skills, on houses of a split; failures counted by reason."""
    options.check()
    config = _config(name, episodes, seed, split, choice, engine, options)
    folder = options.folder or Path(f"runs/eval/{name}-{split}-{choice.name}-seed{seed}-n{episodes}")
    clock, arena = time.perf_counter(), Arena(config)
    choice.make(arena.env)  # refused before any work is done, as what follows
    _claim(folder, config)
    if log is not None:
        _writable(log)
    rows: list[Row] = []
    first: list[Episode] = []  # of the planner that is measured
    spoken = log.with_suffix(".endpoint.jsonl") if log else folder / "endpoint.jsonl"
    fresh_log(spoken, choice)
    told: dict[str, Any] = {}
    for which in config.planners:
        for trial in range(options.trials):
            if trial == 0 or which != OpenAIPlanner.name:  # an endpoint has one budget, and one log
                made = replace(choice, name=which).make(arena.env, spoken, (seed, trial))
            for at in range(0, episodes, options.batch):
                done = arena.run(made, range(at, min(at + options.batch, episodes)), trial)
                first += done if which == choice.name and trial == 0 else []
                rows += [arena.row(which, trial, episode) for episode in done]
                table.write(folder / _PARTIAL, rows)
        told |= {"endpoint": made.report()} if isinstance(made, OpenAIPlanner) else {}
    if log is not None:
        log.write_text("".join(json.dumps(e.report()) + "\n" for e in first))
    result = {
        "name": name,
        **summary([row for row in rows if row.planner == choice.name]),
        **of_calls(first),
        **(of_chances(first, arena.executor.chances) if arena.executor.chances else {}),
        **(of_permissions(first) if config.permissions else {}),
        "engine": arena.env.engine.name,
        "planner": choice.name,
        **told,
        **({"thought": float(np.mean([e.thought for e in first])) * arena.env.world.spec.control_dt} if options.latency != 0 else {}),
        "max_steps": config.max_steps,
        "split": split,
        "seed": seed,
    }
    beside = [which for which in config.planners if which != choice.name]
    if beside:
        result["beside"] = {which: summary([row for row in rows if row.planner == which]) for which in beside}
        result["beside"]["random"] = arena.flail(episodes)
    (folder / _PARTIAL).replace(folder / "episodes.csv")
    write_atomically(folder / "summary.json", (json.dumps(result, indent=1) + "\n").encode())
    return result | {"folder": str(folder), "seconds": time.perf_counter() - clock}


def _config(name: str, episodes: int, seed: int, split: str, choice: PlannerChoice, engine: str, options: Options) -> Config:
    beside = [which for which in ("oracle", *PROBES) if which != choice.name] if options.probes else []
    planners = [choice.name, *beside]
    engine = best() if engine == "auto" else engine
    return Config(
        set=name,
        split=split,
        seed=seed,
        episodes=episodes,
        trials=options.trials,
        noise=options.noise,
        planners=planners,
        model=choice.about,
        engine=engine,
        lanes=LANES if engine == "native" else min(options.batch, episodes),  # a GPU takes many or is slow, and is exact at one width only
        max_steps=task_set(name).of(split).horizon,
        max_calls=task_set(name).of(split).calls,
        weights=weights(),
        versions=versions(),
        cards={path.stem: file_hash(path) for path in cards()} if CarefulPlanner.name in planners else {},
        latency=options.latency,
        permissions=Permissions.load(options.permissions).text if options.permissions else "",
    )


def _claim(folder: Path, config: Config) -> None:
    """The run's folder, with its configuration; refused where another run lies there, before any work is done."""
    path = folder / "config.json"
    if path.exists() and (other := Config.read(folder)) != config:
        differ = ", ".join(name for name, value in asdict(config).items() if value != getattr(other, name))
        raise PalaestraError(f"{folder}: got another evaluation there, with other {differ}. Fix: --folder another, or remove that one")
    _writable(folder / _PARTIAL)
    write_atomically(path, (json.dumps(asdict(config), indent=1) + "\n").encode())


def _writable(path: Path) -> None:
    """Refuse before the work is done what could not be written after it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise PalaestraError(f"{path}: cannot write ({error.strerror}). Fix: another path") from error
