"""Films of episodes: what the executor shows becomes a film and a contact sheet."""

from pathlib import Path
from types import TracebackType

import jax
import numpy as np

from palaestra.envs.display.film import Film
from palaestra.envs.display.render import TopDown, contact_sheet, save_png
from palaestra.envs.env import Rearrange
from palaestra.envs.types import State, row
from palaestra.skills.executor import Episode

FPS = 20  # control steps a second
_SHEET = 12  # frames on the contact sheet


class Director:
    """Watches the first episode of an executor and draws every second control step into `film` (mp4); `sheet` (png) is made at the end.

    A context manager; where the block raises there is neither.
    """

    def __init__(self, env: Rearrange, film: Path, sheet: Path):
        self.env, self.sheet = env, sheet
        self.film = Film(film, fps=FPS // 2)
        self.top_down = TopDown(env.world)
        self.frames: list[np.ndarray] = []
        self._look = jax.jit(lambda state: env.terms(state))
        self.last: State | None = None

    def __enter__(self) -> "Director":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.film.close(keep=kind is None)
        if self.frames and kind is None:
            chosen = [self.frames[i] for i in np.linspace(0, len(self.frames) - 1, min(_SHEET, len(self.frames))).astype(int)]
            save_png(self.sheet, contact_sheet(chosen, 3))

    def __call__(self, states: State, episodes: list[Episode]) -> None:
        episode = episodes[0]
        host = jax.device_get(states)
        for k in range(1, len(host.step), 2):
            self.draw(row(host, (k, 0)), episode)

    def finish(self, episode: Episode) -> None:
        """A second of the end, with its verdict."""
        if self.last is not None:
            for _ in range(FPS // 2):
                self.draw(self.last, episode)

    def draw(self, state: State, episode: Episode) -> None:
        holds = np.asarray(self._look(state))
        plan = [f"{c['skill']}({', '.join(c['args'].values())})" for c in episode.plans[-1]] if episode.plans else []
        call = episode.calls[-1] if episode.calls else None
        begun = episode.begun
        lines = [f"{call.text}: {call.verdict}"] if call else []
        lines.append(f"{int(state.step) / FPS:.1f} s" + (f": {episode.outcome}" if episode.over else ""))
        frame = self.top_down.frame(
            state.task.scene,  # the present one: rules make things come and go
            state.physics,
            goal=state.task.goal,
            holds=holds,
            title=episode.instruction,
            lines=tuple(lines),
            plan=tuple(plan),
            current=begun if call is not None and call.verdict == "succeeded" else begun - 1,
            rules=self.env.show_rules,
        )
        self.film.add(frame)
        self.last = state
        self.frames.append(frame)
