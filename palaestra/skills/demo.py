"""`palaestra demo`: from an instruction to a finished task, with a film, a contact sheet and a log."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape

from palaestra.envs.display.render import colours, floors, save_png
from palaestra.envs.goals import describe, write
from palaestra.envs.predicates import table_at_start
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Goal, State, Task
from palaestra.envs.words import language, parser
from palaestra.sim.camera import Camera
from palaestra.sim.errors import PalaestraError
from palaestra.skills.director import FPS, Director
from palaestra.skills.executor import Executor
from palaestra.skills.library import SKILLS
from palaestra.skills.permissions import Permissions
from palaestra.skills.planners import Planner, PlannerChoice
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planning import problem
from palaestra.skills.shipped import learned

SURE = 0.5  # the probability of a reading below which an instruction counts as not understood
OUTPUTS = ("demo.mp4", "sheet.png", "camera.png", "log.jsonl", "endpoint.jsonl")


def demo(
    seed: int, instruction: str, choice: PlannerChoice, folder: Path, permissions: Path | None = None, *, as_json: bool = False
) -> int:
    """Run the demonstration; 0 only where the goal holds in the simulator's own state at the end."""
    if not 0 <= seed < 2**31:
        raise PalaestraError(f"seed: got {seed}, expected 0 to 2147483647")
    console = Console(stderr=as_json, highlight=False)
    clock = time.perf_counter()
    rules = Permissions.load(permissions) if permissions else None
    env = TaskSetEnv("demo", "test")
    planner = choice.make(env, folder / "endpoint.jsonl", (seed,))
    task = jax.device_get(jax.jit(env.task)(seed))
    spec = env.world.spec
    text = instruction or env.instruction(task, seed)
    note = ""
    if instruction:  # read before anything else: a wrong instruction costs nothing
        goal, note = _goal(env, task, instruction, planner)
        task = task.replace(goal=goal)
    skills = {name: learned(skill) for name, skill in SKILLS.items() if skill.fits(spec)}
    log = _fresh(folder)
    console.print(f"[bold]House {seed}.[/] {language.describe(spec, task.scene)}\n\n[bold]Instruction:[/] {escape(text)}\n{note}")
    with log, Director(env, folder / "demo.mp4", folder / "sheet.png") as director:
        reporter = _Reporter(log, console, planner.name)
        executor = Executor(env, skills, planner, permissions=rules, listen=reporter, watch=director)
        episode = executor.run(jax.tree.map(lambda x: jnp.asarray(x)[None], task), [text])[0]
        director.finish(episode)
    _photograph(env, director.last, folder / "camera.png", console)
    lost = f"[bold red]The goal does not hold: {episode.outcome}.[/] {escape(episode.detail)}"
    console.print("\n[bold green]The goal holds.[/]" if episode.success else f"\n{lost}")
    seconds, made = time.perf_counter() - clock, ", ".join(name for name in OUTPUTS if (folder / name).exists())
    console.print(f"{episode.step / FPS:.0f} s of simulated time in {seconds:.0f} s. In {folder}/: {made}")
    if as_json:
        report = {"name": "demo", "value": float(episode.success), "folder": str(folder), "seconds": seconds}
        print(json.dumps(report | episode.report()))
    return 0 if episode.success else 1


def _goal(env: TaskSetEnv, task: Task, instruction: str, planner: Planner) -> tuple[Goal, str]:
    """The goal by which an instruction is judged: as the grammar reads it; where that cannot, as a planner says that it understands it,
    with a line that tells so."""
    spec = env.world.spec
    try:
        return parser.parse(instruction, spec, task.scene), ""
    except parser.InstructionError:
        if not isinstance(planner, EmbeddedPlanner):
            raise
        asked = problem(env, task, 0, np.asarray(table_at_start(env.world, task.scene)))
        ((formula, probability),) = planner.readings_of([replace(asked, instruction=instruction, goal=None)])
        said = escape("; ".join(describe(formula)))
        if probability < SURE or not formula.stages:
            raise
        note = f"[dim]The grammar does not read this. The planner understands, with probability {probability:.2f}:[/] {said}\n"
        return write(formula, spec, task.scene), note


def _fresh(folder: Path) -> TextIO:
    """The folder without an earlier run's files, and its log."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
        return (folder / "log.jsonl").open("w")
    except OSError as error:
        raise PalaestraError(f"{folder}: cannot write ({error.strerror}). Fix: --folder another") from error


def _photograph(env: TaskSetEnv, state: State | None, path: Path, console: Console) -> None:
    """The last state as a camera sees it, where OpenGL is there; a line that says what is missing where it is not."""
    if state is None:
        return
    try:
        with Camera(env.world, 640, 960) as camera:
            scene = state.task.scene
            picture = camera.image(state.physics.qpos, scene.layout, **colours(scene), floors=floors(scene))
        save_png(path, picture)
    except PalaestraError as error:
        console.print(f"[dim]No camera image: {escape(str(error))}[/]")


class _Reporter:
    """Writes every event to the log, and says what goes on."""

    def __init__(self, log: TextIO, console: Console, planner_name: str):
        self.log, self.console, self.planner_name = log, console, planner_name
        self._plans, self._program = 0, ""
        self._status = console.status("")  # on a terminal: what is going on now

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "end":
            self._status.stop()
        self.log.write(json.dumps(event) + "\n")
        self.log.flush()
        if event["event"] == "plan":
            self._plans += 1
            title = "Plan" if self._plans == 1 else "New plan"
            steps = " → ".join(f"{c['skill']}({', '.join(c['args'].values())})" for c in event["steps"])
            program = event.get("program", "")
            said = "the same program, from here" if program and program == self._program else escape(program)
            self._program = program
            self.console.print(f"[bold]{title}[/] ({self.planner_name}): {steps or said}")
        elif event["event"] == "start":
            self._status.update(f"{event['call']} …")
            self._status.start()
        elif event["event"] == "skill":
            self._status.stop()
            good = event["verdict"] == "succeeded"
            mark = "[green]✓[/]" if good else "[red]✗[/]"
            why = "" if good else f"  [red]{event['verdict']}[/]: {escape(event['reason'])}"
            call = f"{event['skill']}({', '.join(event['args'].values())})"
            self.console.print(f"  {mark} {call:<40} {event['steps'] / FPS:5.1f} s{why}")
