"""The robot at the keyboard: `play("rearrange", "train", seed=0)`.

W A S D or the arrows drive, Q and E turn, R and F move the lift, Space or G opens and closes the gripper. P pauses, N or the
full stop makes one step, + and - change the speed, Backspace restarts, Enter goes to the next task, C or F12 saves a picture,
Esc quits. Buttons are pressed from above, with the closed gripper.
"""

import time
from collections import deque
from pathlib import Path

import jax
import numpy as np

from palaestra.envs.display.render import Input, TopDown, Window, save_png
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import State, TimeStep

# Held keys, the component of the action that they drive, and which way.
DRIVE = (
    (("w", "up"), 0, 1.0),
    (("s", "down"), 0, -1.0),
    (("a", "left"), 1, 1.0),
    (("d", "right"), 1, -1.0),
    (("q",), 2, 1.0),
    (("e",), 2, -1.0),
    (("r",), 3, 1.0),
    (("f",), 3, -1.0),
)
GRIPPER, PAUSE, STEP, RESTART = ("space", "g"), ("p",), ("n", "."), ("backspace",)
FASTER, SLOWER = ("+", "=", "[+]", "keypad +"), ("-", "[-]", "keypad -")
NEXT, SCREENSHOT, QUIT = ("return", "enter", "keypad enter"), ("c", "f12"), ("escape",)
SPEEDS = (0.25, 0.5, 1, 2, 4)
LEGEND = (
    "W A S D, arrows: drive     Q E: turn",
    "R F: lift     Space: open, close",
    "P: pause     N: one step     + -: speed",
    "Backspace: restart     Enter: next task",
    "C: picture     Esc: quit",
)


class Player:
    """One environment, driven by keys. `handle` takes what the window saw, `tick` makes a step if time runs."""

    def __init__(self, env: TaskSetEnv, window: Window, *, seed: int = 0, size: int = 640, screenshots: str | Path = "runs/screenshots"):
        self.env, self.window, self.screenshots = env, window, Path(screenshots)
        self.pictures = TopDown(env.world, size)
        self.paused, self.speed = False, SPEEDS.index(1)
        self.reset = jax.jit(lambda seed: env.reset(jax.random.key(0), env.task(seed)))
        self.step = jax.jit(env.step)
        self.holds = jax.jit(env.terms)
        self.window.show(self.pictures.card("Compiling…", ["the generator and the simulation, once: up to a minute"]))
        self.load(seed)
        self.window.show(self.pictures.card("Compiling…", ["the first step"]))
        jax.block_until_ready(self.step(self.state, np.zeros(env.action_size, np.float32)))  # pure: nothing has moved
        self.draw()

    def load(self, seed: int) -> None:
        """Task number `seed`, at its start."""
        self.seed = seed
        self.state: State
        self.timestep: TimeStep
        self.state, self.timestep = self.reset(np.int32(seed))
        self.instruction = self.env.instruction(jax.tree.map(np.asarray, self.state.task), seed)
        self.truth = np.asarray(self.holds(self.state))
        self.total, self.closing, self.keys, self.notice, self._single = 0.0, False, frozenset[str](), "", False
        self.trail: deque[np.ndarray] = deque(maxlen=80)

    @property
    def done(self) -> bool:
        """The episode is over; time stands still until another is loaded."""
        return bool(self.timestep.done)

    @property
    def steps(self) -> int:
        """Control steps since the start."""
        return int(self.state.step)

    def action(self) -> np.ndarray:
        """What the held keys ask for, [5] in [-1, 1]."""
        action = np.zeros(self.env.action_size, np.float32)
        for keys, component, sign in DRIVE:
            if self.keys & set(keys):
                action[component] += sign
        action[4] = 1.0 if self.closing else -1.0
        return action

    def handle(self, seen: Input) -> bool:
        """Do what the keys say; whether to go on."""
        self.keys = seen.held | set(seen.pressed)  # a short tap counts as well
        for key in seen.pressed:
            if key in GRIPPER:
                self.closing = not self.closing
            elif key in PAUSE:
                self.paused = not self.paused
            elif key in STEP:
                self.paused = self._single = True
            elif key in FASTER:
                self.speed = min(self.speed + 1, len(SPEEDS) - 1)
            elif key in SLOWER:
                self.speed = max(self.speed - 1, 0)
            elif key in RESTART:
                self.load(self.seed)
            elif key in NEXT:
                self.load(self.seed + 1)
            elif key in SCREENSHOT:
                self.screenshot()
        return not seen.closed and not set(QUIT) & set(seen.pressed)

    def tick(self) -> bool:
        """One control step, unless time stands still; whether there was one."""
        if self.done or (self.paused and not self._single):
            return False
        self._single = False
        self.state, self.timestep = self.step(self.state, self.action())
        self.truth = np.asarray(self.holds(self.state))
        self.total += float(self.timestep.reward)
        if self.steps % 4 == 1:
            self.trail.append(np.asarray(self.state.physics.qpos)[:2])
        return True

    def frame(self) -> np.ndarray:
        """The present picture."""
        return self.pictures.frame(
            self.state.task.scene,
            self.state.physics,
            goal=self.state.task.goal,
            holds=self.truth,
            title=self.instruction,
            lines=(*self._status(), "", *LEGEND),
            trail=np.reshape(self.trail, (-1, 2)),
            rules=self.env.show_rules,
        )

    def draw(self) -> None:
        self.window.show(self.frame())

    def screenshot(self) -> Path:
        """Save the present picture."""
        name = f"{self.env.task_set}-{self.env.split}-{self.seed}-{self.steps:04d}.png"
        path = save_png(self.screenshots / name, self.frame())
        self.notice = f"saved {path.name}"
        return path

    def run(self) -> None:
        """Until the user leaves."""
        while self.handle(self.window.poll()):
            begun, speed = time.perf_counter(), SPEEDS[self.speed]
            for _ in range(max(1, int(speed))):
                self.tick()
            self.draw()
            period = self.env.world.spec.control_dt / min(speed, 1)
            time.sleep(max(0.0, period - (time.perf_counter() - begun)))

    def _status(self) -> list[str]:
        if bool(self.timestep.terminated):
            clock = "goal reached: Enter for the next task"
        elif self.done:
            clock = "over: Backspace to try again"
        else:
            clock = "paused" if self.paused else f"speed {SPEEDS[self.speed]:g}"
        return [
            f"{self.env.task_set}, {self.env.split}, task {self.seed}",
            f"step {self.steps} of {self.env.horizon}     reward {self.total:.2f}",
            f"{'gripper closes' if self.closing else 'gripper opens'}     {clock}",
            *([self.notice] if self.notice else []),
        ]


def play(task_set: str = "rearrange", split: str = "train", seed: int = 0, *, size: int = 640) -> None:
    """Open a window and drive the robot through the tasks of a set, from number `seed` on; see the module for the keys."""
    env = TaskSetEnv(task_set, split)
    with Window(size * 3 // 2, size) as window:
        Player(env, window, seed=seed, size=size).run()
