"""Runs that were stopped and went on, against runs that never were."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from palaestra.policies.runs import Run


class Stop(Exception):
    pass


def resumed_like_whole(make: Callable[[Path], Run], folder: Path, update: int) -> dict[str, np.ndarray]:
    """One run goes through, another is stopped after this update and resumed; they come to the same bits, those of the last checkpoint."""
    whole, broken = folder / "whole", folder / "broken"

    def stop(row):
        if row["update"] == update:
            raise Stop

    make(whole).train()
    with pytest.raises(Stop):
        make(broken).train(report=stop)
    make(broken).train(resume=True)
    return same_bits(whole, broken)


def same_bits(whole: Path, broken: Path) -> dict[str, np.ndarray]:
    """The metrics, the last checkpoint and the policy of two runs are the same; what the checkpoint holds."""
    assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes()
    last = sorted(path.name for path in whole.glob("checkpoint-*"))[-1]
    for name in ("policy.safetensors", last):
        ours, theirs = load_file(whole / name), load_file(broken / name)
        assert ours.keys() == theirs.keys()
        for leaf, values in ours.items():
            assert values.tobytes() == theirs[leaf].tobytes(), (name, leaf)
    return ours
