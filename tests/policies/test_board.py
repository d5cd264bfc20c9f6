"""Weights & Biases: what it is told, by a module that notes the calls of its interface; and what is said where it is absent."""

import sys
import types
from pathlib import Path

import pytest

from palaestra.policies.board import WandbRun
from palaestra.policies.runs import Run
from palaestra.sim.errors import MissingExtraError
from tests.policies.test_runs import CONFIG, probe


class Noted:
    def __init__(self):
        self.opened, self.rows, self.ended = [], [], []

    def init(self, **arguments):
        self.opened.append(arguments)
        return types.SimpleNamespace(
            log=lambda row, step: self.rows.append((step, row)), finish=lambda exit_code: self.ended.append(exit_code)
        )


def test_rows_go_there_at_their_steps_and_a_resumed_run_to_the_same_place(tmp_path, monkeypatch):
    noted, seen = Noted(), []
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=noted.init))
    with WandbRun(CONFIG, tmp_path / "run") as board:
        Run(probe(), CONFIG, tmp_path / "run").train(report=lambda row: (seen.append(row), board.report(row)))
    assert [step for step, _ in noted.rows] == [64, 128, 192, 256, 320, 384]
    assert [row for _, row in noted.rows] == seen
    assert noted.opened[0]["config"]["ppo"]["num_envs"] == 8
    with pytest.raises(KeyError), WandbRun(CONFIG, tmp_path / "run"):
        raise KeyError
    assert len({o["id"] for o in noted.opened}) == 1
    assert noted.ended == [0, 1]


def test_where_it_is_not_installed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"--wandb needs the package 'wandb'.*palaestra\[wandb\]"):
        WandbRun(CONFIG, Path("unused"))
