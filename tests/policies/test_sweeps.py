"""Sweeps: files that are refused by line, runs side by side that are single runs to the bit, tables and curves by hand."""

import csv
import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from palaestra.envs.autoreset import AutoReset
from palaestra.policies.curves import bands, draw
from palaestra.policies.results import by_configuration, t_interval, table, write_result
from palaestra.policies.runs import Run, RunConfig
from palaestra.policies.sweeps import SweepError, read
from palaestra.policies.together import train_together
from palaestra.sim.errors import UnknownNameError
from tests.policies.test_runs import CONFIG, SMALL, probe


def recipe(name: str, learner: str = "") -> RunConfig:
    if name not in ("one", "two"):
        raise UnknownNameError("id", name, ["one", "two"])
    if learner not in ("", "ppo"):
        raise UnknownNameError("learner", learner, ["ppo"])
    return replace(CONFIG, env=name)


def sweep(tmp_path, text):
    (tmp_path / "runs.toml").write_text(text)
    return read(tmp_path / "runs.toml", recipe)


GRID = """
restarts = 5
together = 3
[base]
id = "one"
hyper = { clip = 0.1 }
[grid]
seed = [1, 2]        # a comment
hyper.learning_rate = [
    3e-4,
    1e-3,
]
[[runs]]
easy = 0.5
[[runs]]
num_steps = 8
[[runs]]
"""


def test_a_file_is_every_combination_of_its_grid_for_every_run_of_its_list(tmp_path):
    found = sweep(tmp_path, GRID)
    assert len(found.runs) == 12
    assert found.options.restarts == 5
    names = [run.name for run in found.runs]
    assert names[0] == "one,easy=0.5,hyper.learning_rate=0.0003,seed=1"
    assert names[7] == "one,hyper.learning_rate=0.001,num_steps=8,seed=2"
    assert names[-1] == "one,hyper.learning_rate=0.001,seed=2"
    last = found.runs[7].config
    assert (last.seed, last.learner.num_steps, last.learner.hyper.learning_rate, last.learner.hyper.clip) == (2, 8, 1e-3, 0.1)
    # Those that differ in seed and hyper alone share a program, three at most; other shapes and easy starts do not.
    assert [[names.index(r.name) for r in part] for part in found.parts()] == [[0, 1, 2], [3], [4, 5, 6], [7], [8, 9, 10], [11]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[base]\nid = "one"\nlearning_rat = 1',
            r"runs.toml, line 3: unknown setting 'learning_rat'. Did you mean 'hyper.learning_rate'\?",
        ),
        ('[base]\nid = "one"\n[grid]\nhyper.gama = [\n1]', r"line 4: unknown setting 'hyper.gama'. Did you mean 'hyper.gamma'\?"),
        ('[base]\nid = "one"\n\nseed = "one"', r"line 4: seed: got 'one', expected a whole number"),
        ('[base]\nid = "one"\n[grid]\nnum_envs = [8, 1.5]', r"line 4: num_envs: got 1.5, expected a whole number"),
        ('[base]\nid = "one"\n[grid]\nseed = 3', r"line 4: seed: got 3 in \[grid\], expected a list of values"),
        ('[base]\nid = "one"\nseed = -1', r"line 3: seed: got -1, expected 0 to 2147483647"),
        ('[base]\nid = "one"\neasy = 2', r"line 3: easy: got 2, expected 0 to 1"),
        ('[base]\nid = "one"\nsampler = "prl"', r"line 3: unknown sampler 'prl'.*Did you mean 'plr'"),
        ('[base]\nid = "one"\nhyper = { clip = "x" }', r"line 3: hyper.clip: got 'x', expected a number"),
        ('[base]\nid = "onne"', r"line 2: unknown id 'onne'.*Did you mean 'one'"),
        ('[base]\nid = "one"\nlearner = "pop"', r"line 3: unknown learner 'pop'.*Did you mean 'ppo'"),
        ("[base]\nid = 3", r"line 2: id: got 3, expected a word"),
        ('[base]\nid = "one"\nminibatches = 3', r"lines 3: minibatches: got 3, expected a divisor"),
        ('seed = 1\n[base]\nid = "one"', r"line 1: unknown setting 'seed' of the sweep"),
        ('together = 0\n[base]\nid = "one"', r"line 1: together: got 0, expected 1 or more"),
        ('[base]\nid = "one"\n[[run]]\nseed = 1', r"line 3: got \[\[run\]\], expected \[base\], \[grid\] or \[\[runs\]\]"),
        ('[base]\nid = "one"\n[[runs]]\nseed = 1\n[[runs]]\nseed = 1', r"two runs are the same: one,seed=1"),
        ("[grid]\nseed = [1]", r"no id. Fix"),
        ("[base]\nid = [1,\nseed = 2", r"not TOML: .*line 3"),
        ('[base]\nid = "one"\nseed = 1\nseed = 2', r"not TOML: Cannot overwrite a value"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(SweepError, match=message):
        sweep(tmp_path, text)


def test_the_line_is_that_of_the_statement_whatever_stands_in_its_values(tmp_path):
    text = '[base]\nid = """\\\none"""\n"sampler" = "randomise # [grid]"\n'
    with pytest.raises(SweepError, match=r"line 4: unknown sampler 'randomise # \[grid\]'"):
        sweep(tmp_path, text)


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for leaf, values in ours.items():
        assert values.tobytes() == theirs[leaf].tobytes(), leaf


def test_runs_side_by_side_are_single_runs_but_for_rounding(tmp_path):
    configs = [
        replace(CONFIG, seed=i, learner=replace(SMALL, hyper=SMALL.hyper.replace(learning_rate=r))) for i, r in enumerate((1e-3, 1e-2))
    ]
    env = probe()
    train_together([Run(env, c, tmp_path / f"together{c.seed}") for c in configs])
    for config in configs:
        alone, together = tmp_path / f"alone{config.seed}", tmp_path / f"together{config.seed}"
        Run(env, config, alone).train()
        for name in ("checkpoint-0000012.safetensors", "policy.safetensors"):
            ours, theirs = load_file(alone / name), load_file(together / name)
            assert ours.keys() == theirs.keys()
            for leaf, values in ours.items():
                np.testing.assert_allclose(values, theirs[leaf], rtol=1e-4, atol=1e-5, err_msg=leaf)
        rows = [list(csv.DictReader((folder / "metrics.csv").read_text().splitlines())) for folder in (alone, together)]
        assert [list(r) for r in rows[0]] == [list(r) for r in rows[1]]
        for name in rows[0][0]:
            np.testing.assert_allclose(*([float(r[name]) for r in some] for some in rows), rtol=1e-3, atol=1e-4, err_msg=name)


def test_runs_side_by_side_go_on_together_wherever_their_process_died(tmp_path):
    """After one run's last checkpoint and before the other's, and after one's first and before the other's: to the same bits."""
    env, configs = probe(), [replace(CONFIG, seed=i, steps=32 * 8) for i in range(2)]
    train_together([Run(env, c, tmp_path / f"whole{c.seed}") for c in configs])
    for kept in ([4], []):
        shutil.copytree(tmp_path / "whole0", tmp_path / "broken0", dirs_exist_ok=True)
        shutil.copytree(tmp_path / "whole1", tmp_path / "broken1", dirs_exist_ok=True)
        if not kept:
            (tmp_path / "broken0" / "checkpoint-0000008.safetensors").unlink()
        for path in (tmp_path / "broken1").glob("checkpoint-*"):
            if int(path.stem[-7:]) not in kept:
                path.unlink()
        train_together([Run(env, c, tmp_path / f"broken{c.seed}") for c in configs])
        for c in configs:
            whole, broken = tmp_path / f"whole{c.seed}", tmp_path / f"broken{c.seed}"
            assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes()
            same(load_file(whole / "checkpoint-0000008.safetensors"), load_file(broken / "checkpoint-0000008.safetensors"))


def test_environments_of_many_runs_are_one_batch():
    """Under vmap the engine is called once a step, and episodes begin in one loop: each environment as it would alone."""
    envs, env = 4, probe()
    batch = AutoReset(env, envs)
    keys = jax.random.split(jax.random.key(0), 3 * envs).reshape(3, envs)
    ours, _ = jax.vmap(batch.reset)(keys)
    done = jnp.asarray([[True, False, False, True], [False] * 4, [True] * 4])
    together = jax.jit(jax.vmap(batch.replace))(ours, done)
    for i in range(3):
        alone = batch.replace(jax.tree.map(lambda x: x[i], ours), done[i])  # noqa: B023
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_array_equal(_bits(a), _bits(b[i]))


def _bits(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def test_the_interval_of_a_mean_is_students():
    # Student's t with 4 degrees of freedom: 2.776. Mean 3, s = √2.5, so ± 2.776 √(2.5 / 5).
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 2.7764 * 0.5**0.5, 3 + 2.7764 * 0.5**0.5), abs=1e-4)
    assert t_interval([0.5]) is None


def test_the_table_has_a_row_a_run_and_the_summary_one_a_configuration(tmp_path):
    found = sweep(tmp_path, '[base]\nid = "one"\n[grid]\nhyper.clip = [0.1, 0.2]\nseed = [1, 2]\n')
    for run, success in zip(found.runs[:3], (0.4, 0.6, 1.0), strict=True):
        (tmp_path / run.name).mkdir()
        write_result(tmp_path / run.name, {"value": success, "interval": [success / 2, 1.0], "n": 10, "mean_return": 10 * success})
        (tmp_path / run.name / "metrics.csv").write_text(f"steps,success,return\n100,nan,1\n200,{success},2\n300,{success},3\n")
    rows = table(found, tmp_path)
    assert [r["status"] for r in rows] == ["finished", "finished", "finished", "unfinished"]
    with open(tmp_path / "results.csv") as f:
        assert [r["success"] for r in csv.DictReader(f)] == ["0.4", "0.6", "1.0", ""]
    first, second = by_configuration(found, rows, tmp_path)
    assert (first["configuration"], first["seeds"], first["success"]) == ("one hyper.clip=0.1", 2, pytest.approx(0.5))
    assert (first["success_min"], first["success_max"], first["success_low"], first["success_high"]) == (0.4, 0.6, 0.0, 1.0)
    assert first["return_low"] == pytest.approx(5 - 12.7062, abs=1e-3)
    assert (second["seeds"], second["unfinished"], second["success_low"]) == (1, 1, None)
    np.testing.assert_allclose(bands([{1: 0.0, 2: 1.0}, {2: 3.0}]), [[2, 2, 2 - 12.7062, 2 + 12.7062]], rtol=1e-4)
    assert draw(found, tmp_path).read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / found.runs[0].name / "result.json").read_text())["n"] == 10
