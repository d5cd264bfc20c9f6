"""Samplers compared: learning curves on held-out tasks at equal environment steps, and CVaR of the policies that came out.

    python examples/curricula.py                       # the whole comparison; killed, it goes on where it was
    python examples/curricula.py --seeds 0 --steps 500000

Each run is a folder of `palaestra train`; beside it `curve.json` holds its success on the test split at every checkpoint.
Steps that a sampler spends on choosing levels count as its own.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from palaestra.__main__ import set_up_jax
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.policies import PPO, Hyper, Policy, Run, RunConfig, evaluate
from palaestra.skills.scores import cvar, halves

COLOURS = {"randomise": "#718096", "plr": "#2b6cb0", "robust-plr": "#63b3ed", "accel": "#38a169", "learnability": "#dd6b20"}
LEARNER = PPO(num_envs=512, num_steps=32, hyper=Hyper(gamma=0.99, reward_scale=1.0, entropy=1e-3))


@dataclass
class Comparison:
    """What is compared, and for how long."""

    task_set: str = "navigate-houses"
    samplers: tuple[str, ...] = ("randomise", "plr", "accel", "learnability")
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 6_000_000  # environment steps of each run
    points: int = 20  # of a curve
    episodes: int = 500  # held-out tasks, the same for all
    trials: int = 8  # of each task by the exploring policy, for CVaR: half of them rank the tasks
    folder: Path = Path("runs/curricula")

    def run(self) -> None:
        env, held_out = TaskSetEnv(self.task_set), TaskSetEnv(self.task_set, "test")
        results = {(s, seed): self.one(s, seed, env, held_out) for seed in self.seeds for s in self.samplers}
        table = {s: summary([results[s, seed] for seed in self.seeds]) for s in self.samplers}
        (self.folder / "table.json").write_text(json.dumps(table, indent=1) + "\n")
        print(json.dumps(table, indent=1))
        self.draw(results)

    def one(self, sampler: str, seed: int, env: TaskSetEnv, held_out: TaskSetEnv) -> dict:
        """The curve and the CVaR of one run, trained, resumed or read."""
        folder = self.folder / f"{sampler}-seed{seed}"
        done = folder / "result.json"
        if done.exists():
            return json.loads(done.read_text())
        every = max(1, self.steps // LEARNER.batch_size // self.points)
        config = RunConfig(
            env=self.task_set, seed=seed, steps=self.steps, sampler=sampler, log_every=every, checkpoint_every=every, learner=LEARNER
        )
        run = Run(env, config, folder)
        curve: dict[str, float] = {}
        if run.checkpoints():
            curve = {k: v for k, v in json.loads((folder / "curve.json").read_text()).items() if int(k) <= run.steps_done}

        def watch(steps: int, policy: Policy) -> None:
            curve[str(steps)] = float(evaluate(held_out, run.learner.network, policy, self.episodes).success.mean())
            (folder / "curve.json").write_text(json.dumps(curve) + "\n")
            print(f"{sampler} seed {seed}: {steps:>10,} steps  held-out success {curve[str(steps)]:.1%}", flush=True)

        policy = run.train(resume=bool(run.checkpoints()), watch=watch)
        trials = [evaluate(held_out, run.learner.network, policy, self.episodes, noise=n).success for n in range(self.trials)]
        result = {"curve": curve, "cvar": cvar(*halves(np.stack(trials)))}
        done.write_text(json.dumps(result, indent=1) + "\n")
        return result

    def draw(self, results: dict[tuple[str, int], dict]) -> None:
        """Mean over seeds with the lowest and highest: success against steps, and CVaR against its share of tasks."""
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), dpi=160, layout="constrained", width_ratios=(3, 2))
        for sampler in self.samplers:
            runs = [results[sampler, seed] for seed in self.seeds]
            for axis, part, scale in ((left, "curve", 1e6), (right, "cvar", 1)):
                x = np.array([float(k) for k in runs[0][part]]) / scale
                y = 100 * np.array([list(run[part].values()) for run in runs])
                axis.fill_between(x, y.min(0), y.max(0), color=COLOURS[sampler], alpha=0.15, linewidth=0)
                axis.plot(x, y.mean(0), color=COLOURS[sampler], marker="o", markersize=3, label=sampler)
                axis.grid(axis="y", alpha=0.3)
        for axis in (left, right):
            axis.set_ylim(bottom=0)
        left.set_xlabel("million environment steps, the sampler's own included")
        left.set_ylabel("success on held-out tasks, %")
        left.legend(frameon=False)
        right.set_xscale("log")
        right.set_xticks([1, 5, 20, 100], ["1", "5", "20", "100"])
        right.minorticks_off()
        right.set_xlabel("worst tasks, % (CVaR)")
        figure.savefig(self.folder / "curricula.png")


def summary(runs: list[dict]) -> dict[str, list[float]]:
    """Of each figure the mean, the lowest and the highest over seeds."""
    figures = {"final": [list(run["curve"].values())[-1] for run in runs]}
    figures |= {f"cvar {alpha}%": [run["cvar"][alpha] for run in runs] for alpha in ("10", "50", "100")}
    return {name: [float(np.mean(x)), min(x), max(x)] for name, x in figures.items()}


if __name__ == "__main__":
    set_up_jax()
    tyro.cli(Comparison).run()
