"""How each thing is trained: `palaestra train <id>` retrains a shipped skill from nothing, with no other argument."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from palaestra.envs.env import Levelled
from palaestra.envs.tasksets import TASK_SETS, TaskSetEnv, task_set
from palaestra.envs.trials import Trials
from palaestra.policies.board import WandbRun
from palaestra.policies.envgen import EnvGen, tally
from palaestra.policies.imitation import Distillation, School
from palaestra.policies.learner import LearnerConfig, learner_config
from palaestra.policies.ppo import PPO, Hyper
from palaestra.policies.progress import TrainingBar
from palaestra.policies.runs import Run, RunConfig
from palaestra.policies.settings import changed, parse
from palaestra.policies.shares import ALONE, Share
from palaestra.sim.engines import make_engine
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.sim.world import world
from palaestra.skills import generalist
from palaestra.skills.authors import author
from palaestra.skills.library import SKILLS
from palaestra.skills.own import load
from palaestra.skills.planners import PlannerChoice
from palaestra.skills.training import SkillEnv


@dataclass(frozen=True)
class Recipe:
    """Settings that a learner was found to do well with."""

    steps: int
    easy: float = 0.0
    ppo: PPO = PPO()


RECIPES = {
    "skill/navigate": Recipe(8_000_000),
    "skill/pick": Recipe(8_000_000, easy=0.3),
    "skill/place": Recipe(8_000_000, easy=0.2),
    "skill/press": Recipe(3_000_000, easy=0.2),
    "skill/open": Recipe(10_000_000, easy=0.3),
    "skill/close": Recipe(10_000_000, easy=0.3),
    "skill/push_open": Recipe(6_000_000, easy=0.2),
    "skill/push": Recipe(14_000_000, easy=0.4),
    "skill/turn_on": Recipe(2_000_000, easy=0.2),
    "skill/turn_off": Recipe(2_000_000, easy=0.2),
    generalist.NAME: Recipe(900_000, easy=0.2),
    "hidden-rules": Recipe(2_500_000, ppo=PPO(hyper=Hyper(reward_scale=1.0))),
}
_RULE = PlannerChoice("scripted")
_ALIASES = {"Palaestra/Rearrange-v0": "rearrange", "long": "long-5"}
_OWN = Recipe(4_000_000, easy=0.3)  # of a skill of one's own
_TASK_SET = Recipe(20_000_000, ppo=PPO(hidden=(256, 256), hyper=Hyper(gamma=0.995, reward_scale=1.0)))


def full_id(name: str) -> str:
    """`pick` and `skill/pick` are one; task sets go by their names, `long` is `long-5`; a file of one's own is loaded, and goes by its
    skill. Unknown ids raise, with the valid ones."""
    if name.endswith(".py"):
        return f"skill/{load(name).name}"
    if name in _ALIASES:
        return _ALIASES[name]
    if name in SKILLS:
        return f"skill/{name}"
    if name == generalist.NAME or name in TASK_SETS or (name.startswith("skill/") and name.removeprefix("skill/") in SKILLS):
        return name
    raise UnknownNameError("id", name, [f"skill/{s}" for s in SKILLS] + [generalist.NAME, *TASK_SETS])


def configuration(name: str, learner: str = "") -> RunConfig:
    """How an id is trained when nothing else is said; by the recipe's own learner where none is named."""
    name = full_id(name)
    recipe = RECIPES.get(name, _OWN if name.startswith("skill/") else _TASK_SET)
    learner = Distillation.name if name == generalist.NAME else learner
    settings: LearnerConfig = recipe.ppo if learner in ("", PPO.name) else _suited(learner_config(learner), recipe)
    return RunConfig(env=name, steps=recipe.steps, easy=recipe.easy, learner=settings)


def environment(
    name: str,
    easy: float = 0.0,
    dump: Path | None = None,
    engine: str = "native",
    *,
    split: str = "train",
    trials: int = 1,
    threads: int = 0,
) -> Levelled[Any]:
    """The functional environment of an id; what diverges is dumped for replay. `trials`: of each task, as one episode."""
    name = full_id(name)
    if name == generalist.NAME:
        raise PalaestraError(f"{name}: got one environment asked for, expected `school`: every skill has a world of its own")
    spec = SKILLS[name.removeprefix("skill/")].train_spec if name.startswith("skill/") else task_set(name).of(split).spec
    made = make_engine(engine, world(spec), threads=threads, dump=dump)
    if name.startswith("skill/"):
        env: Levelled[Any] = SkillEnv(SKILLS[name.removeprefix("skill/")], easy=easy, engine=made)
    else:
        env = TaskSetEnv(name, split, engine=made)
    return Trials(env, trials) if trials > 1 else env


def school(name: str, easy: float, dump: Path | None = None, engine: str = "native") -> School:
    """What is learned from the shipped weights: a skill from its own, the generalist from all."""
    if name == generalist.NAME:
        return generalist.school(engine, dump, easy)
    if not name.startswith("skill/"):
        raise PalaestraError(f"distillation: got {name!r}, expected a skill or {generalist.NAME!r}: their teachers are the shipped weights")
    skill = SKILLS[name.removeprefix("skill/")]
    return generalist.alone(skill, SkillEnv(skill, easy=easy, engine=make_engine(engine, world(skill.train_spec), dump=dump)))


def lessons(config: RunConfig, dump: Path | None = None, engine: str = "native", threads: int = 0) -> Any:
    """What a run of this configuration learns from: an environment, or the school of a distillation."""
    if not isinstance(config.learner, Distillation):
        return environment(config.env, config.easy, dump, engine, trials=config.trials, threads=threads)
    if (config.trials, config.sampler) != (1, "randomise"):
        raise PalaestraError("distillation: got --trials or --sampler, expected neither: lessons are as their teachers know them")
    return school(config.env, config.easy, dump, engine)


def _suited(config: LearnerConfig, recipe: Recipe) -> LearnerConfig:
    """With what of the recipe is the environment's rather than PPO's."""
    if isinstance(config, Distillation):
        return config  # rewards are nothing to it
    return changed(config, {f"hyper.{name}": getattr(recipe.ppo.hyper, name) for name in ("gamma", "reward_scale")})


def train(
    name: str,
    seed: int,
    steps: int,
    num_envs: int,
    easy: float,
    folder: Path | None,
    *,
    resume: bool,
    engine: str = "native",
    sampler: str = "randomise",
    writer: PlannerChoice = _RULE,
    learner: str = "ppo",
    changes: Sequence[str] = (),
    trials: int = 1,
    threads: int = 0,
    share: Share = ALONE,
    wandb: bool = False,
) -> dict[str, Any]:
    """Train by the recipe, with these changes to it; the figures of the last row.

    num_envs: 0 takes the learner's own. writer: who writes for the sampler `envgen`. changes: to the learner's settings, in
    words that `settings.parse` takes. trials: of each task, as one episode. share: of several processes; nothing comes back to those
    that do not lead.
    """
    config = configuration(name, learner)
    name, learner, easy = config.env, config.learner.name, config.easy if easy < 0 else easy
    if not 0 <= easy <= 1:
        raise PalaestraError(f"easy: got {easy}, expected a share from 0 to 1")
    if trials < 1:
        raise PalaestraError(f"trials: got {trials}, expected 1 or more")
    other = [x for x, usual in ((sampler, "randomise"), (learner, PPO.name), (f"trials{trials}", "trials1")) if x != usual]
    folder = folder or Path("runs") / "-".join([name.replace("/", "-"), *other, f"seed{seed}"])
    made = replace(EnvGen(), author=author(writer, folder / "author.jsonl")) if sampler == "envgen" else None
    try:
        config = replace(
            config,
            seed=seed,
            steps=steps or config.steps,
            easy=easy,
            trials=trials,
            sampler=sampler,
            author=made.author.name if made else "",
            learner=changed(config.learner, ({"num_envs": num_envs} if num_envs else {}) | parse(changes)),
        )
    except ValueError as error:
        raise PalaestraError(str(error)) from error
    run = Run(lessons(config, folder / "diverged", engine, threads), config, folder, made, share)
    if not share.leads:
        run.train(resume=resume)
        return {}
    last = _reported(run, resume, wandb)
    asked = {"author": tally(run.folder)} if made else {}
    return {"name": f"train {name}", "value": last.get("success", last.get("return")), "folder": str(run.folder), **last, **asked}


def _reported(run: Run, resume: bool, wandb: bool) -> dict[str, float]:
    """Train with a progress bar, and Weights & Biases where asked for; the figures of the last row."""
    last: dict[str, float] = {}
    with ExitStack() as stack:
        bar = stack.enter_context(TrainingBar(run.config.env, run.steps_at(run.updates), run.steps_done if resume else 0))

        board = stack.enter_context(WandbRun(run.config, run.folder)) if wandb else None

        def report(row: dict[str, float]) -> None:
            last.update(row)
            bar.report(row)
            if board:
                board.report(row)

        run.train(resume=resume, report=report)
    return last
