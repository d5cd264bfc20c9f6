"""Films show the scene of the moment, not that of the start: rules make things come and go."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from palaestra.skills.director import Director
from tests.envs.worlds import env, one, tasks


def test_frames_show_the_scene_of_their_state(tmp_path: Path) -> None:
    task = one(tasks(), 0)
    gone = task.scene.layout.replace(object_used=np.zeros_like(task.scene.layout.object_used))
    shown: list[Any] = []
    episode: Any = SimpleNamespace(plans=[], calls=[], begun=0, over=False, outcome="", instruction="Go.")
    with Director(env(), tmp_path / "film.mp4", tmp_path / "sheet.png") as director:
        director._look = lambda state: np.ones(8, bool)
        director.top_down.frame = lambda scene, *_, **more: shown.append((scene, more)) or np.zeros((8, 8, 3), np.uint8)  # type: ignore[method-assign, assignment, func-returns-value]
        for layout in (task.scene.layout, gone):
            now = task.replace(scene=task.scene.replace(layout=layout))
            director.draw(SimpleNamespace(task=now, physics=None, step=np.int32(3)), episode)  # type: ignore[arg-type]
    assert [scene.layout.object_used.any() for scene, _ in shown] == [True, False]
    assert all(more["rules"] for _, more in shown)
    assert (tmp_path / "film.mp4").exists()
