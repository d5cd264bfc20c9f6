"""`palaestra edit`: the oracle behind the editor's window, and the task that lies in it."""

from pathlib import Path

import jax
import numpy as np

from palaestra.envs.display.render import Window
from palaestra.envs.editing.board import Board
from palaestra.envs.editing.edit import Desk
from palaestra.envs.editing.editor import Document, Editor, Judge
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Task
from palaestra.sim.errors import PalaestraError
from palaestra.sim.world import WorldSpec
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.tasks import problem

_FOLDER = Path("runs/tasks")


def judge(spec: WorldSpec) -> Judge:
    """The oracle's plan for a task, a text a call; raises PlanError where it finds none."""
    oracle = OraclePlanner()

    def plan(task: Task, table: np.ndarray) -> tuple[str, ...]:
        return tuple(str(call) for call in oracle.plan(problem(spec, task, table)).steps)

    return plan


def numbered(env: TaskSetEnv, seed: int, to: Path | None = None) -> Document:
    """Task number `seed` of a set and a split, to be saved `to` a new file, by default one that is named after it."""
    if not 0 <= seed < 2**31:
        raise PalaestraError(f"seed: got {seed}, expected 0 to {2**31 - 1}")
    name = f"{env.task_set}-{env.split}-{seed}"
    paths = [to] if to else [_FOLDER / f"{name}{end}.npz" for end in ("", *(f"-{k}" for k in range(2, 1000)))]
    path = next((path for path in paths if not path.exists()), paths[0])
    task = jax.device_get(jax.jit(env.task)(np.int32(seed)))
    meta = {"task_set": env.task_set, "split": env.split, "numbers": [seed]}
    return Document.of_task(task, f"{env.task_set}, {env.split}, task {seed}", path, meta)


def edit(task_set: str, split: str, seed: int, file: Path | None = None, to: Path | None = None, *, size: int = 640) -> None:
    """Open a window on task number `seed` of a split, or of a file; see `palaestra.envs.editing.edit` for mouse and keys."""
    env = TaskSetEnv(task_set, split)
    board = Board(env.world, size)
    document = None if file is None else Document.of_file(file, env.world.spec, seed, to)
    with Window(board.width, board.height, "palaestra edit", repeat=True) as window:
        window.show(board.card("Compiling…", ["the generator, once: up to half a minute"]))
        editor = Editor(env.world, document or numbered(env, seed, to), judge(env.world.spec))
        Desk(editor, window, board).run()
