"""What `palaestra eval` says of failures."""

import numpy as np

from palaestra.policies.evaluate import Result
from palaestra.skills import measure


def test_every_failure_of_a_skill_is_counted_once_under_its_reason(monkeypatch):
    """Six episodes: won, lost, timed out, diverged, and two whose contacts found no room, which end as diverged do."""
    success, lost, diverged, overflow = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]], bool)
    metrics = {"success": success, "lost": lost, "diverged": diverged, "overflow": overflow}
    result = Result(success=success, steps=np.full(6, 9), total=np.zeros(6), metrics=metrics)
    monkeypatch.setattr(measure, "evaluate", lambda *args, **options: result)
    assert measure.measure_skill("pick", 6, 0)["failures"] == {"lost": 1, "timeout": 1, "diverged": 1, "overflow": 2}
