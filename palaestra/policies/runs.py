"""A training run is a folder: config.json, metrics.csv and TensorBoard events, checkpoints, and the policy.

A run that was killed goes on from its last checkpoint to the same numbers, bit for bit: the checkpoint holds the whole
TrainState, the simulations' float64 rows and every random stream included.
"""

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from palaestra.envs.autoreset import Sampler
from palaestra.envs.env import Env
from palaestra.policies.curricula import sampler
from palaestra.policies.files import CheckpointError, load_train_state, save_policy, save_train_state
from palaestra.policies.health import Fault, broken, fault
from palaestra.policies.learner import Learner, LearnerConfig
from palaestra.policies.networks import Policy, describe
from palaestra.policies.ppo import PPO
from palaestra.policies.shares import ALONE, Share
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import write_atomically
from palaestra.sim.memory import out_of_memory

_KEEP = 2  # checkpoints
RATES = ("success", "lost", "diverged", "overflow", "return")  # figures that are sums over the episodes that ended


class TrainingError(PalaestraError):
    """A run that cannot start or go on; what was saved stays."""


class DivergedError(TrainingError):
    """A run whose learner went wrong; the folder is as its last good checkpoint left it."""

    def __init__(self, folder: Path, update: int, found: Fault, checkpoint: Path | None):
        self.update, self.fault, self.checkpoint = update, found, checkpoint
        last = (
            f"The last good checkpoint is {checkpoint.name}, and policy.safetensors is of it: it can be used, but going on from it with "
            "the same settings would come to the same end"
            if checkpoint
            else "There is no checkpoint yet"
        )
        super().__init__(
            f"{folder}: training diverged in update {update}: {found.statistic}: got {found.value:g}, expected {found.expected}. {last}. "
            f"Try, in another folder: {found.advice}"
        )


@dataclass(frozen=True)
class RunConfig:
    """What defines a run's numbers."""

    env: str  # the environment's id, for example skill/pick
    seed: int = 0
    steps: int = 5_000_000  # environment steps, rounded down to whole updates
    easy: float = 0.0  # the share of easy starts, for skills
    trials: int = 1  # of each task, as one episode (`palaestra.envs.trials`)
    sampler: str = "randomise"  # what episodes begin from, of `curricula.SAMPLERS`
    author: str = ""  # who writes the configurations of the sampler `envgen`: the rule, or a language model by its name
    log_every: int = 10  # updates a row of metrics
    checkpoint_every: int = 50  # updates, a multiple of log_every
    learner: LearnerConfig = PPO()

    def __post_init__(self) -> None:
        if self.checkpoint_every % self.log_every:
            raise ValueError(f"checkpoint_every: got {self.checkpoint_every}, expected a multiple of log_every = {self.log_every}")
        if self.updates < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least one update of num_envs * num_steps = {self.learner.batch_size}")

    @property
    def updates(self) -> int:
        """At most: some samplers spend steps of their own."""
        return self.steps // self.learner.batch_size

    def as_dict(self) -> dict[str, Any]:
        """For config.json: the learner's settings stand under its name."""
        found = asdict(self)
        return found | {self.learner.name: found.pop("learner")}

    @property
    def defaults(self) -> dict[str, Any]:
        """Of all settings with this learner."""
        return RunConfig(env=self.env, learner=type(self.learner)()).as_dict()


Report = Callable[[dict[str, float]], None]
Watch = Callable[[int, Policy], None]


class Run:
    """One run of a learner on one environment, in a folder."""

    def __init__(self, env: Env, config: RunConfig, folder: Path, made: Sampler | None = None, share: Share = ALONE):
        """`made`: the sampler that `config` names, where it has settings of its own. `share`: where several processes are one run,
        in a folder that all see."""
        self.env, self.config, self.folder, self.share = env, config, folder, share
        self._sampler = made or sampler(config.sampler)
        self.updates = next(n for n in range(config.updates, -1, -1) if self.steps_at(n) <= config.steps)
        if not self.updates:
            raise TrainingError(
                f"steps: got {config.steps}, expected {self.steps_at(1)} or more: one update by the sampler {config.sampler}"
            )
        self.learner: Learner = self._made()

    def _made(self) -> Learner:
        config, count = self.config, self.share.count
        if count == 1:
            return config.learner.make(self.env, self.updates, self._sampler)
        if not isinstance(config.learner, PPO) or config.sampler != "randomise":
            got = f"the learner {config.learner.name} with the sampler {config.sampler}"
            raise TrainingError(f"processes: got {count} for {got}, expected ppo or recurrent-ppo with randomise")
        learner = config.learner
        if learner.num_envs % (count * learner.minibatches):  # whole environments too are shared out, and sequences stay whole
            expected = f"a divisor of num_envs / minibatches = {learner.num_envs} / {learner.minibatches}"
            raise TrainingError(f"processes: got {count}, expected {expected}")
        return learner.make(self.env, self.updates, self._sampler, self.share)

    def steps_at(self, update: int) -> int:
        """Environment steps, the sampler's own included, that this many updates take."""
        return update * self.config.learner.batch_size + self._sampler.cost(self.env, update)

    @property
    def policy_path(self) -> Path:
        return self.folder / "policy.safetensors"

    def train(self, *, resume: bool = False, report: Report = lambda row: None, watch: Watch = lambda steps, policy: None) -> Policy:
        """Train to the end. `report` is called with every row of metrics, `watch` with the steps and the policy of every checkpoint.

        Raises TrainingError where the folder holds another run, or cannot be written, or the learner diverges (DivergedError); the last
        checkpoint stays intact.
        """
        with self.guarded():
            self._check(resume)
            return self._loop(self.begin(self.saved()[-1] if resume else 0), report, watch)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say what is kept where the disk or the memory is full."""
        try:
            with out_of_memory(self.config.learner.num_envs):
                yield
        except OSError as error:
            kept = self.checkpoints()
            last = f"the last checkpoint, {kept[-1].name}, is intact: --resume goes on from it" if kept else "no checkpoint was written yet"
            raise TrainingError(f"{self.folder}: cannot write ({error.strerror or error}); {last}") from error

    def begin(self, update: int) -> Any:
        """The state of the checkpoint of that update; of a fresh run, whose configuration is noted, where that is 0."""
        if self.share.leads:
            self.folder.mkdir(parents=True, exist_ok=True)
            for half in self.folder.glob(".*.tmp"):  # of a process that was killed while it wrote
                half.unlink(missing_ok=True)
        if update:
            return self._load(update)
        if self.share.leads:
            write_atomically(self.folder / "config.json", json.dumps(self.config.as_dict(), indent=2).encode())
        return self.learner.init(jax.random.key(self.config.seed))

    def forget(self, update: int) -> None:
        """Remove the checkpoints after that update."""
        for path in self.checkpoints():
            if path > self._checkpoint(update):
                path.unlink()

    def checkpoints(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"))

    def saved(self) -> list[int]:
        """The updates of the checkpoints, oldest first."""
        return [int(path.stem.removeprefix("checkpoint-")) for path in self.checkpoints()]

    @property
    def steps_done(self) -> int:
        """Environment steps up to the last checkpoint."""
        return self.steps_at(self.saved()[-1]) if self.saved() else 0

    def _check(self, resume: bool) -> None:
        """Refuse what would overwrite a run."""
        if self.checkpoints() and not resume:
            raise TrainingError(f"{self.folder}: holds a run already. Fix: --resume to go on with it, or another --folder")
        if resume and not self.checkpoints():
            raise TrainingError(f"{self.folder}: nothing to resume, there is no checkpoint. Fix: start without --resume")

    def _load(self, update: int) -> Any:
        like = self.share.whole(self.learner.init(jax.random.key(self.config.seed)))
        older = [path for path in self.checkpoints() if path < self._checkpoint(update)]
        try:
            return self.share.part(load_train_state(self._checkpoint(update), like, self.config.as_dict(), self.config.defaults))
        except CheckpointError as error:
            others = f"; an older one is {older[-1]}: remove the damaged file to resume from it" if older else ""
            raise CheckpointError(f"{error}{others}") from None

    def _checkpoint(self, update: int) -> Path:
        return self.folder / f"checkpoint-{update:07d}.safetensors"

    def _loop(self, state: Any, report: Report, watch: Watch) -> Policy:
        start = int(state.update)
        with closing(Record(self, start, report)) as record:
            for update in range(start + 1, self.updates + 1):
                state, metrics = self.learner.train_step(state)
                state = self._renewed(state, update)
                record.add(update, self.checked(metrics, update))
                if self.due(update):
                    watch(self.steps_at(update), self.learner.policy(state))
                    self.save(state, update)
        return self.learner.policy(state)

    def due(self, update: int) -> bool:
        """Whether a checkpoint is."""
        return update % self.config.checkpoint_every == 0 or update == self.updates

    def checked(self, metrics: Mapping[str, Any], update: int) -> dict[str, float]:
        """The figures of an update on the host. Raises DivergedError where they show that it went wrong."""
        figures = {name: float(figure) for name, figure in metrics.items()}
        self.stop_if(fault(figures, self.env.action_size), update)
        return figures

    def stop_if(self, found: Fault | None, update: int) -> None:
        """Raise DivergedError where there is a fault."""
        if found:
            raise DivergedError(self.folder, update, found, next(iter(self.checkpoints()[::-1]), None))

    def _renewed(self, state: Any, update: int) -> Any:
        """The state after the sampler has done what it does on the host; learners that step no environments have none."""
        batch = getattr(state, "batch", None)
        if batch is None:
            return state
        chooser = self._sampler.renew(self.env, batch.sampler, update, self.folder)
        return state.replace(batch=batch.replace(sampler=chooser))

    def save(self, state: Any, update: int) -> None:
        """The policy as it is now, and a checkpoint: last, because where the process dies between them, a run that is resumed makes
        the policy again. Raises DivergedError where there are weights that are not finite."""
        state = self.share.whole(state)
        self.stop_if(broken(state), update)
        if not self.share.leads:
            return
        save_policy(self.policy_path, self.learner.policy(state), self.about(update))
        save_train_state(self._checkpoint(update), state, self.config.as_dict())
        for old in self.checkpoints()[:-_KEEP]:
            old.unlink()

    def about(self, update: int) -> dict[str, Any]:
        """What a file of weights says of itself."""
        return {
            "name": self.env.name,
            "observation_size": self.env.observation_size,
            "action_size": self.env.action_size,
            **describe(self.learner.network),
            "steps": self.steps_at(update),
            "sampler": self.config.sampler,
            "trials": self.config.trials,
            "seed": self.config.seed,
        }


class Record:
    """A run's figures: gathered an update, written every `log_every` to metrics.csv and for TensorBoard, and reported. Where
    several processes are one run, the first does."""

    def __init__(self, run: Run, start: int, report: Report):
        from tensorboardX import SummaryWriter

        self._run, self._report = run, report
        self._sums: dict[str, float] = {}
        self._clock, self._since = time.perf_counter(), start
        if not run.share.leads:
            return
        self._rows = _Rows(run.folder / "metrics.csv", start)
        # Its thread dies on a full disk; an unbounded queue then cannot block the training.
        self._board = SummaryWriter(str(run.folder), purge_step=run.steps_at(start), max_queue=1_000_000)

    def add(self, update: int, metrics: Mapping[str, Any]) -> None:
        """The figures of one update."""
        run = self._run
        if not run.share.leads:
            return
        for name, figure in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(figure)
        if update % run.config.log_every and update != run.updates:
            return
        row = self._row(update, self._sums, update - self._since)
        speed = (run.steps_at(update) - run.steps_at(self._since)) / (time.perf_counter() - self._clock)
        self._rows.write(row)
        for name, value in row.items():
            self._board.add_scalar(name, value, int(row["steps"]))
        self._report(row | {"steps_per_second": speed})
        self._sums, self._clock, self._since = {}, time.perf_counter(), update

    def _row(self, update: int, sums: dict[str, float], updates: int) -> dict[str, float]:
        """Rates over the episodes that ended, means over the updates."""
        episodes = sums.get("episodes", 0.0)
        row = {"update": float(update), "steps": float(self._run.steps_at(update)), "episodes": episodes}
        for name, value in sums.items():
            if name in RATES or name.startswith("trial_"):
                row[name] = value / episodes if episodes else float("nan")
            elif name != "episodes":
                row[name] = value / updates
        return row

    def close(self) -> None:
        if self._run.share.leads:
            self._board.close()


class _Rows:
    """metrics.csv: appended to; when a run resumes, the rows after its checkpoint are dropped first."""

    def __init__(self, path: Path, update: int):
        self.path = path
        kept: list[dict[str, str]] = []
        if update and path.exists():
            kept = [row for row in csv.DictReader(path.read_text().splitlines()) if float(row["update"]) <= update]
        self.names = list(kept[0]) if kept else []
        lines = [",".join(self.names)] * bool(kept) + [",".join(row.values()) for row in kept]
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())

    def write(self, row: dict[str, float]) -> None:
        self._append({name: repr(float(np.float32(value))) for name, value in row.items()})

    def _append(self, row: dict[str, Any]) -> None:
        with open(self.path, "a", newline="") as f:
            writer = csv.DictWriter(f, self.names or list(row), lineterminator="\n")
            if not self.names:
                self.names = list(row)
                writer.writeheader()
            writer.writerow(row)
