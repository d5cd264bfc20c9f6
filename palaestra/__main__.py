"""The command line: one subcommand a verb, each a thin layer over the rooms."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from palaestra.sim.errors import PalaestraError

if TYPE_CHECKING:
    from palaestra.policies.shares import Share
    from palaestra.skills.planners import PlannerChoice
    from palaestra.skills.tasks import Wanted


_ARGUMENTS: list[str] = []  # of this command, for the processes that it starts as copies of itself


@dataclass(kw_only=True)
class OwnSkills:
    """Skills of one's own, beside those that come with the package."""

    own: Annotated[tuple[Path, ...], tyro.conf.arg(name="with")] = ()  # files with one each, see docs/your-own-skill.md

    def load(self) -> None:
        from palaestra.skills.own import load

        for path in self.own:
            load(path)


@dataclass(kw_only=True)
class EndpointArguments:
    """Where a language model is."""

    base_url: str = "http://localhost:8000/v1"  # of the endpoint
    model: str = ""  # that the endpoint serves
    timeout: float = 30.0  # seconds of a whole conversation with the endpoint
    api_key_variable: str = ""  # the environment variable with the endpoint's key, where it needs one
    replay: Path | None = None  # an endpoint's log (endpoint.jsonl): its answers are taken from there, and nothing is sent
    budget_calls: int = 0  # of the endpoint, at most; 0: as many as it takes
    budget_tokens: int = 0  # of prompts and answers together, at most

    def named(self, name: str) -> "PlannerChoice":
        from palaestra.skills.planners import PlannerChoice
        from palaestra.skills.planners.client import Budget

        budget = Budget(self.budget_calls, self.budget_tokens)
        return PlannerChoice(name, self.base_url, self.model, self.timeout, self.api_key_variable, self.replay, budget)


@dataclass(kw_only=True)
class PlannerArguments(EndpointArguments, OwnSkills):
    """Which planner, and where its endpoint is."""

    # oracle, careful (by cards), embedded (a small language model), openai (any endpoint), program (a file), or a probe: nothing,
    # random-legal, no-language, shuffled
    planner: str = "oracle"
    weights: Path | None = None  # of the planner `embedded`: a run's planner.safetensors instead of what is shipped
    mask: str = "applicable"  # of the planner `embedded`, what it may say: none, grammar, applicable
    form: str = "calls"  # of the planner `openai`, what it is asked for: calls, or program
    program: Path | None = None  # of the planner `program`: the file with it; see docs/planners.md
    permissions: Path | None = None  # a file of rules on what the robot may do, whatever the planner says; see docs/planners.md

    def choice(self) -> "PlannerChoice":
        from dataclasses import replace

        return replace(self.named(self.planner), weights=self.weights, mask=self.mask, form=self.form, program=self.program)


@dataclass
class Demo(PlannerArguments):
    """An instruction in English becomes a plan, skills, physics and a film."""

    seed: int = 0  # of the house and its task
    instruction: str = ""  # what to do, in English or as facts: "on(red_cube, blue_table)"; the task's own words when empty
    folder: Path = Path("runs/demo")  # film, contact sheet and log
    json: bool = False  # print one JSON object last

    def run(self) -> int:
        from palaestra.skills.demo import demo

        return demo(self.seed, self.instruction, self.choice(), self.folder, self.permissions, as_json=self.json)


@dataclass
class Play:
    """Drive the robot by keyboard in the pygame window."""

    task_set: str = "rearrange"
    split: str = "train"
    seed: int = 0

    def run(self) -> int:
        from palaestra.envs.display.play import play

        play(self.task_set, self.split, self.seed)
        return 0


@dataclass(kw_only=True)
class TaskArguments:
    """Which tasks: numbers from `seed` on of one split of a set."""

    task_set: Annotated[str, tyro.conf.arg(name="set")] = "rearrange"
    split: str = "test"
    seed: int = 0  # the first task's number


@dataclass
class Edit(TaskArguments):
    """Change a task in the pygame window: move, add and remove things, set the goal in English; what cannot be solved is shown at once."""

    seed: int = 0  # the task's number, in the split or in the file
    file: Path | None = None  # of `palaestra tasks export`, or saved here before: a task of it, in the world of the set
    to: Path | None = None  # a new file to save to; the file itself, or runs/tasks/<set>-<split>-<seed>.npz, when not given

    def run(self) -> int:
        from palaestra.skills.editing import edit

        edit(self.task_set, self.split, self.seed, self.file, self.to)
        return 0


@dataclass
class Train(EndpointArguments):
    """Train a skill, or an environment. A run is a folder; --resume goes on after a crash to the same numbers.

    With --sweep, or several seeds, many runs and one table of them; the same command goes on with what is unfinished.
    """

    # A skill (pick, or a file with one of your own), a task set (rearrange), `generalist`: all skills in one network, or `planner`:
    # the planner `embedded`.
    id: tyro.conf.Positional[str] = ""
    seed: str = "0"  # or several: 1..5
    steps: int = 0  # environment steps; 0 takes the recipe's
    learner: str = "ppo"  # ppo, recurrent-ppo, sac or distillation (of shipped weights)
    num_envs: int = 0  # environments stepped at once; 0 takes the learner's own
    trials: int = 1  # of each task, as one episode: what a memory learns in one it can use in the next
    set: tuple[str, ...] = ()  # settings of the learner, for example --set hyper.learning_rate=3e-4 kl_bound=0.02
    sampler: str = "randomise"  # what episodes begin from: randomise, plr, robust-plr, accel, learnability, envgen
    author: str = "scripted"  # who writes the configurations of envgen: scripted (a rule), or openai (any compatible endpoint)
    easy: float = -1.0  # the share of easy starts of a skill; negative takes the recipe's
    folder: Path | None = None  # runs/<id>-seed<seed> when not given
    resume: bool = False
    engine: str = "native"  # native, mjx, warp, or auto
    threads: int = 0  # of the engine native; 0: all, shared out between --jobs
    processes: int = 1  # that are one run of PPO and share out its environments; torchrun and srun can start them too
    sweep: Path | None = None  # a file of runs, see docs/training.md, instead of an id
    jobs: int = 1  # processes at a time, of a sweep
    cluster: str = ""  # ray: the parts of a sweep as tasks of a Ray cluster, that of RAY_ADDRESS or this machine
    part: str = ""  # only part 3/8 of a sweep, in this process, without the table: for array jobs
    wandb: bool = False  # the run's figures to Weights & Biases as well; needs palaestra[wandb]
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.recipes import train

        if self.sweep or ".." in self.seed:
            return self._many()
        if self.id == "planner":
            return self._planner()
        share = self._share()
        if share is None:
            from palaestra.policies.processes import launch

            folder = self.folder or Path("runs")
            return launch([sys.executable, "-m", "palaestra", *_ARGUMENTS], self.processes, folder)
        writer = self.named(self.author)
        result = train(
            self.id,
            numbers(self.seed)[0],
            self.steps,
            self.num_envs,
            self.easy,
            self.folder,
            resume=self.resume,
            engine=self.engine,
            sampler=self.sampler,
            writer=writer,
            learner=self.learner,
            changes=self.set,
            trials=self.trials,
            threads=self.threads,
            share=share,
            wandb=self.wandb,
        )
        if share.leads:
            finish(result, self.json)
        return 0

    def _planner(self) -> int:
        """The planner's own networks."""
        from palaestra.skills.planners.embedded.training import train_planner

        seed = numbers(self.seed)[0]
        folder = self.folder or Path(f"runs/planner-seed{seed}")
        tell = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
        finish(train_planner(folder, seed, self.steps, self.set, self.resume, tell), self.json)
        return 0

    def _share(self) -> "Share | None":
        """Of this process in the run; None where it is still to start the others."""
        from palaestra.policies.processes import die_with_parent
        from palaestra.policies.shares import join, launched

        if self.processes < 1:
            raise PalaestraError(f"processes: got {self.processes}, expected 1 or more")
        if self.processes > 1 and not launched():
            return None
        die_with_parent()
        return join(self.processes)

    def _many(self) -> int:
        """A sweep, or a part of one; status 0 only where all runs are finished."""
        from rich.console import Console

        from palaestra.skills.batches import over_seeds, part, sweep

        if self.sweep and self.part:
            finish(part(self.sweep, self.folder, self.part, self.engine, self.threads), self.json)
            return 0
        if self.sweep and self.id:
            raise PalaestraError(f"--sweep: got an id, {self.id!r}, beside it; expected one of the two: a sweep's file names its ids")
        seeds = numbers(self.seed)
        path = self.sweep or over_seeds(
            self.id, seeds, self.steps, self.num_envs, self.easy, self.trials, self.sampler, self.learner, self.set, self.folder
        )
        folder = self.folder if self.sweep else path.parent
        console = Console(stderr=self.json)
        result = sweep(path, folder, self.jobs, self.engine, self.cluster, lambda line: print(line, file=sys.stderr, flush=True), console)
        finish({k: v for k, v in result.items() if self.json or k != "configurations"}, self.json)
        return 0 if result["finished"] == result["runs"] else 1


@dataclass
class Export:
    """Write episodes of a skill's policy in Minari's format, for offline learning; needs palaestra[minari]."""

    id: tyro.conf.Positional[str]  # a skill, or a file with one
    episodes: int = 100
    seed: int = 0
    policy: Path | None = None  # a run's policy.safetensors instead of the shipped weights
    dataset: str = ""  # palaestra/<skill>/policy-v0 when not given
    folder: Path | None = None  # of the data sets; Minari's own when not given
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.export import export_skill

        finish(export_skill(self.id, self.episodes, self.seed, self.policy, self.dataset, self.folder), self.json)
        return 0


@dataclass
class Eval(PlannerArguments):
    """Measure a success rate, with its 95% interval, on seeds that training never saw.

    A task set leaves a folder with a row an episode, of which `palaestra watch` films any.
    """

    # A skill (pick, or a file with one), all `skills`, `handover` (one after the other), a task set (rearrange), `perturbed`, or
    # `planner`: a planner alone, with skills that do what they promise.
    id: tyro.conf.Positional[str]
    episodes: int = 200
    seed: int = 0
    split: str = "test"  # of a task set
    policy: Path | None = None  # a run's policy.safetensors: of a skill, instead of the shipped weights; of a task set, without a planner
    log: Path | None = None  # JSON lines of every episode, for a task set
    folder: Path | None = None  # of a task set: config.json, episodes.csv, summary.json; runs/eval/<set>-<split>-... when not given
    trials: int = 1  # of every task; an even number gives CVaR: half of them rank the tasks, the others are reported
    noise: str = "retries"  # of the skills: retries (only on calls that failed before), or always
    latency: float | Literal["measured"] = 0.0  # seconds of simulated time that a plan takes, while the world goes on
    probes: bool = False  # measure oracle, nothing, random (actions), random-legal (calls), no-language, shuffled beside the planner
    batch: int = 200  # episodes between two writings of the table; no result depends on it
    engine: str = "native"  # native, mjx, warp, or auto
    cluster: str = ""  # ray: the episodes of a skill as tasks of a Ray cluster, that of RAY_ADDRESS or this machine
    suite: str = "language"  # of `planner`: the task set
    protocol: str = "closed-loop"  # of `planner`: one-shot, closed-loop or step-by-step
    failures: float = 0.0  # of `planner`: the rate at which calls have no effect
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.evaluation import Options

        options = Options(
            folder=self.folder,
            batch=self.batch,
            trials=self.trials,
            probes=self.probes,
            noise=self.noise,
            latency=None if self.latency == "measured" else self.latency,
            permissions=self.permissions,
        )
        if self.id == "planner":
            physical = (options, self.policy, self.log, self.cluster)
            if physical != (Options(permissions=self.permissions), None, None, ""):
                given = "--folder, --batch, --trials, --probes, --noise, --latency, --policy, --log, --cluster"
                raise PalaestraError(f"{given}: got some for 'planner', expected a task set with them: here there is no physics")
            from palaestra.skills.permissions import Permissions
            from palaestra.skills.planning import Conditions, measure_planner

            permissions = Permissions.load(self.permissions) if self.permissions else None
            conditions = Conditions(protocol=self.protocol, failures=self.failures, seed=self.seed, permissions=permissions)
            finish(measure_planner(self.choice(), self.suite, self.split, self.episodes, self.seed, conditions), self.json)
            return 0
        if (self.protocol, self.failures) != (Eval.protocol, Eval.failures):
            raise PalaestraError(f"--protocol, --failures: got some for {self.id!r}, expected 'planner' with them")
        from palaestra.skills.measure import measure

        result = measure(
            self.id, self.episodes, self.seed, self.split, self.choice(), self.policy, self.log, self.engine, options, self.cluster
        )
        finish(result, self.json)
        return 0


@dataclass
class Improve:
    """The planner `embedded` practises: it learns from what comes of its own plans, in tasks that nobody has solved for it."""

    method: str = "grpo"  # or imitation
    task_set: Annotated[str, tyro.conf.arg(name="set")] = "rules-medium"
    rounds: int = 12
    tasks: int = 32  # of a round
    draws: int = 8  # plans of each
    learning_rate: float = 1e-4
    verifier: str = "simulator"  # who carries plans out: the learned skills in physics, or `model`, skills that do what they promise
    episodes: int = 200  # of the test split, before and after
    seed: tuple[int, ...] = (0,)  # one, or several: a run each
    folder: Path = Path("runs/improve")
    weights: Path | None = None  # to begin with, instead of those that come with the package
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.planners.embedded.improving import Practice
        from palaestra.skills.practice import improve_planner

        practice = Practice(
            method=self.method,
            task_set=self.task_set,
            rounds=self.rounds,
            tasks=self.tasks,
            draws=self.draws,
            learning_rate=self.learning_rate,
        )
        finish(improve_planner(practice, self.folder, self.weights, self.verifier, self.episodes, self.seed), self.json)
        return 0


@dataclass
class Watch(OwnSkills):
    """Repeat one episode of an evaluation and film it; status 0 only where it goes as the table says."""

    run_folder: tyro.conf.Positional[Path]  # of `palaestra eval` with a task set
    episode: int = 0
    planner: str = ""  # one that was measured beside it (--probes)
    trial: int = 0
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.watch import watch

        result = watch(self.run_folder, self.episode, self.trial, self.planner)
        finish(result, self.json)
        return 0 if result["value"] else 1


@dataclass
class Bench:
    """Measure: engine, mjx-cpu, ant, vector, reset, scaling, train, learn, startup, step, world, tasks, kills, planner, words, gpu; or
    all, with plots."""

    id: tyro.conf.Positional[str]
    num_envs: int = 0  # 0: the benchmark's own, as for steps
    steps: int = 0  # control steps a repetition
    repetitions: int = 7
    threads: int = 0  # 0: all
    engine: str = ""  # of those that can run on several: native, mjx, warp
    folder: Path = Path("runs/bench")  # results and plots of `all`
    json: bool = False

    def run(self) -> int:
        from palaestra.bench.protocol import Settings, run

        settings = Settings(self.num_envs, self.steps, self.repetitions, self.threads, self.engine, self.folder)
        finish(run(self.id, settings), self.json)
        return 0


@dataclass
class Admit:
    """Measure a run's policy and ship it with its card, if it passes the skill's gate; without a run, measure what is shipped again."""

    id: tyro.conf.Positional[str]  # a skill, a file with one, or handover: the card of how each skill does after each other one
    run_folder: tyro.conf.Positional[Path | None] = None  # of the training run
    episodes: int = 2000  # of handover: for each pair
    seed: int = 1  # not that of `eval`: the gate and the figure are measured on different episodes
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.admission import admit

        finish(admit(self.id, self.run_folder, self.episodes, self.seed), self.json)
        return 0


@dataclass
class Skills(OwnSkills):
    """List the skills: what they do, take and need, and how well they were measured to work."""

    pages: Path | None = None  # a folder for a page a skill, with plots of its card (extra: bench)
    films: int = 0  # beside the pages, so many failures of each skill filmed
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.measure import library_table

        result = library_table()
        if self.pages is not None:
            from palaestra.skills.pages import write_pages

            result |= {"pages": [str(path) for path in write_pages(self.pages, self.films)]}
        finish(result, self.json)
        return 0


@dataclass(kw_only=True)
class WantedTasks(TaskArguments):
    """Of these only the ones that are wanted."""

    count: int = 5
    rooms: tuple[int, ...] = ()  # take only tasks with so many rooms
    terms: tuple[int, ...] = ()  # with goals of so many terms
    lengths: tuple[int, ...] = ()  # with shortest plans of so many calls
    json: bool = False

    def wanted(self) -> "Wanted":
        from palaestra.skills.tasks import Wanted

        return Wanted(self.rooms, self.terms, self.lengths)


@dataclass
class TasksList:
    """The task sets, their splits, and what they hold."""

    json: bool = False

    def run(self) -> int:
        from palaestra.skills.tasks import list_sets

        finish(list_sets(), self.json)
        return 0


@dataclass
class TasksSample(WantedTasks):
    """Print tasks: scene and goal in English, and the oracle's plan."""

    pddl: bool = False  # domain, problem and plan too
    config: Path | None = None  # a file of JSON that says which tasks to draw instead, see docs/curricula.md

    def run(self) -> int:
        from palaestra.skills.tasks import sample

        result = sample(self.task_set, self.split, self.seed, self.count, self.wanted(), self.pddl, self.json, self.config)
        if self.json:
            print(json.dumps(result))
        return 0


@dataclass
class TasksDraw(WantedTasks):
    """Draw tasks from above, with their instructions, on one sheet."""

    count: int = 9
    file: Path = Path("runs/tasks.png")
    columns: int = 3

    def run(self) -> int:
        from palaestra.skills.tasks import draw

        finish(draw(self.task_set, self.split, self.seed, self.count, self.wanted(), self.file, self.columns), self.json)
        return 0


@dataclass
class TasksExport(WantedTasks):
    """Write tasks to a file, which `load_tasks` reads back to the bit."""

    count: int = 1000
    file: Path = Path("runs/tasks.npz")
    pddl: Path | None = None  # a folder for each task's domain, problem and plan in PDDL

    def run(self) -> int:
        from palaestra.skills.tasks import export

        finish(export(self.task_set, self.split, self.seed, self.count, self.wanted(), self.file, self.pddl), self.json)
        return 0


@dataclass
class TasksVerify(TaskArguments):
    """Check tasks one by one: overlaps, duplicates, the oracle's plan, English there and back; status 0 only where all is well."""

    count: int = 1000
    pddl: int = 0  # how many of them another planner and validator judge as well; needs palaestra[pddl]
    workers: int = 2  # processes
    json: bool = False

    def run(self) -> int:
        from palaestra.skills.verify import verify

        result = verify(self.task_set, self.split, self.seed, self.count, self.pddl, self.workers)
        finish(result, self.json)
        return 0 if result["value"] == 1.0 else 1


@dataclass
class Tasks:
    """Task sets: list, sample, draw, export and verify."""

    action: tyro.conf.OmitSubcommandPrefixes[
        Annotated[TasksList, tyro.conf.subcommand("list")]
        | Annotated[TasksSample, tyro.conf.subcommand("sample")]
        | Annotated[TasksDraw, tyro.conf.subcommand("draw")]
        | Annotated[TasksExport, tyro.conf.subcommand("export")]
        | Annotated[TasksVerify, tyro.conf.subcommand("verify")]
    ]

    def run(self) -> int:
        return self.action.run()


Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Play, tyro.conf.subcommand("play")]
    | Annotated[Edit, tyro.conf.subcommand("edit")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Eval, tyro.conf.subcommand("eval")]
    | Annotated[Improve, tyro.conf.subcommand("improve")]
    | Annotated[Watch, tyro.conf.subcommand("watch")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[Admit, tyro.conf.subcommand("admit")]
    | Annotated[Skills, tyro.conf.subcommand("skills")]
    | Annotated[Tasks, tyro.conf.subcommand("tasks")]
)


def numbers(words: str) -> range:
    """`3` or `1..5` as whole numbers."""
    first, dots, last = words.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()) or int(last or first) < int(first):
        raise PalaestraError(f"seed: got {words!r}, expected a number from 0, or the first and the last of several: 1..5")
    return range(int(first), int(last or first) + 1)


def finish(result: dict[str, Any], as_json: bool) -> None:
    """Print a result for people, and as one JSON object last where asked for."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in result.items():
        shown = "\n".join(f"{k}: {_short(v)}" for k, v in value.items()) if isinstance(value, dict) else _short(value)
        table.add_row(f"[bold]{name}", shown)
    Console(stderr=as_json).print(table)
    if as_json:
        print(json.dumps(result))


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {f'[{_short(v)}]' if isinstance(v, list) else _short(v)}" for k, v in value.items() if not isinstance(v, dict)
        )
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)


def set_up_jax() -> None:
    """XLA's persistent compilation cache, in the user's cache folder; JAX_COMPILATION_CACHE_DIR chooses another."""
    import os

    import jax

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palaestra" / "xla"
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit status."""
    _ARGUMENTS[:] = sys.argv[1:] if arguments is None else arguments
    command = tyro.cli(Command, prog="palaestra", description=__doc__, args=arguments)
    try:
        set_up_jax()
        if isinstance(command, OwnSkills):
            command.load()
        return command.run()
    except PalaestraError as error:
        print(f"palaestra: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("palaestra: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
