"""Whether a skill can begin where another one has ended: `palaestra eval handover`.

In houses with something for every skill, calls that can be made are made one after the other: of those that can be made next, one whose
pair with the call before is the rarest so far. A pair counts where its first call has succeeded and its second was started at once.
"""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs import goals
from palaestra.envs.env import Rearrange
from palaestra.envs.generation import generator
from palaestra.envs.generation.doors import hang_swings
from palaestra.envs.types import IN_ROOM, Goal, Scene, room_entity
from palaestra.policies.evaluate import evaluation_keys, rate
from palaestra.sim.engine import Engine
from palaestra.sim.engines import make_engine
from palaestra.sim.world import WorldSpec, world
from palaestra.skills.executor import Episode, Executor
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call, Operator, ground
from palaestra.skills.plan import Plan
from palaestra.skills.planners.base import Problem, library
from palaestra.skills.shipped import learned

Pair = tuple[str, str]  # names of skills, one after the other
SPEC = WorldSpec(cubes=3, balls=1, tables=2, bins=1, rooms=2, drawers=2, crates=1, leaves=1, swings=1, buttons=3, toggles=2)
_LANES = 64  # houses at once, and as many between two looks at what is missing
_HOUSES = 10  # at most so many for each time that a pair is wanted
_STEPS = 1200  # control steps in a house
_SWINGS = 3  # folded into a scene's key: the stream of its swing doors


class Course(Rearrange):
    """Houses with something for every skill, and a goal that is never reached: to be in two rooms at once."""

    def __init__(self, engine: Engine):
        spec = engine.world.spec
        ranges = generator.SceneRange.make(spec, min_rooms=2, use=1.0)
        super().__init__(ranges=ranges, horizon=_STEPS, engine=engine)

    def attempt_scene(self, key: jax.Array) -> tuple[Scene, jax.Array]:
        scene, fits = super().attempt_scene(key)
        k_swings, k_toggles = jax.random.split(jax.random.fold_in(key, _SWINGS))
        scene, _, hung = hang_swings(k_swings, self.world.spec, scene, 1, self.world.spec.swings)
        on = jax.random.bernoulli(k_toggles, shape=scene.layout.toggle_on.shape)
        return scene.replace(layout=scene.layout.replace(toggle_on=on)), fits & hung

    def attempt_goal(self, key: jax.Array, scene: Scene) -> tuple[Goal, jax.Array]:
        del key, scene
        spec = self.world.spec
        rooms = jnp.asarray([room_entity(spec, i) for i in range(2)])
        two = jnp.ones(2, jnp.int32)
        return goals.conjunction(spec, IN_ROOM * two, 0 * two, rooms, jnp.ones(2, bool)), jnp.asarray(True)


@dataclass
class Rarest:
    """Plans of one call: of those that can be made, one whose pair with the call before was made least often. What failed is left alone."""

    seed: int
    name: str = "rarest"
    made: Counter[Pair] = field(default_factory=Counter)
    _runs: dict[int, "_Run"] = field(default_factory=dict)  # by the number of the episode

    def plan(self, problem: Problem) -> Plan:
        run = self._runs.setdefault(problem.number, _Run(ground(library(), problem.things, problem.mechanics)))
        if len(problem.history) > run.failures:
            run.failures, run.shunned, run.last = len(problem.history), run.shunned | {run.call}, ""
        able = {o.call for o in run.operators if o.applicable(problem.facts) and o.apply(problem.facts) != problem.facts} - run.shunned
        if not able:
            return Plan(())
        rng = np.random.default_rng([self.seed, problem.number, run.count])
        by_skill: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(able, key=str):
            by_skill[call.skill].append(call)
        names = sorted(by_skill, key=lambda name: (self.made[run.last, name], rng.random()))
        call = by_skill[names[0]][rng.integers(len(by_skill[names[0]]))]
        self.made[run.last, call.skill] += 1
        run.last, run.call, run.count = call.skill, call, run.count + 1
        return Plan((call,))


@dataclass
class _Run:
    """One episode, as `Rarest` knows it."""

    operators: list[Operator]
    last: str = ""  # the skill that has just succeeded; none at the start and after a failure
    call: Call | None = None
    count: int = 0  # calls
    failures: int = 0
    shunned: frozenset[Call | None] = frozenset()  # calls that have failed


def measure_handover(
    episodes: int, seed: int, engine: str = "native", *, spec: WorldSpec = SPEC, lanes: int = _LANES, houses: int | None = None
) -> dict[str, Any]:
    """Success of each skill right after each other one, on `episodes` hand-overs of every pair that is met often enough in at most
    `houses` (ten for each of `episodes`).

    `value` is the least rate among these pairs, with its interval.
    """
    clock = time.perf_counter()
    env = Course(make_engine(engine, world(spec)))
    skills = {name: learned(skill) for name, skill in SKILLS.items() if skill.fits(spec)}
    executor = Executor(env, skills, Rarest(seed), max_replans=_STEPS, lanes=lanes)
    sample = jax.jit(env.sample_tasks)
    won: Counter[Pair] = Counter()
    run: Counter[Pair] = Counter()
    reasons: dict[Pair, Counter[str]] = defaultdict(Counter)
    most = -(-(houses or _HOUSES * episodes) // lanes) * lanes
    keys = evaluation_keys(seed, most)
    for at in range(0, most, lanes):
        for episode in executor.run(sample(keys[at : at + lanes]), numbers=range(at, at + lanes)):
            for pair, verdict in handovers(episode):
                if run[pair] < episodes:
                    run[pair] += 1
                    won[pair] += verdict == "succeeded"
                    if verdict != "succeeded":
                        reasons[pair][verdict] += 1
        if run and min(run.values()) >= episodes:
            break
    return report(won, run, reasons, episodes, list(skills)) | {
        "houses": at + lanes,
        "engine": env.engine.name,
        "seed": seed,
        "seconds": time.perf_counter() - clock,
    }


def handovers(episode: Episode) -> list[tuple[Pair, str]]:
    """Every call that was started right after one that had succeeded: the pair, and the verdict on the second."""
    found = []
    for first, second in zip(episode.calls, episode.calls[1:], strict=False):
        if first.verdict == "succeeded" and second.verdict not in ("precondition", "interrupted", "running"):
            found.append(((first.skill, second.skill), second.verdict))
    return found


def report(won: Counter[Pair], run: Counter[Pair], reasons: dict[Pair, Counter[str]], episodes: int, skills: list[str]) -> dict[str, Any]:
    """Rates by pair, the worst first; pairs that were met less often than wanted stand apart."""
    rates: dict[str, dict[str, Any]] = {f"{a} -> {b}": rate(won[a, b], n) | {"failures": dict(reasons[a, b])} for (a, b), n in run.items()}
    worst = sorted(rates, key=lambda name: (rates[name]["value"], name))
    often = [name for name in worst if rates[name]["n"] >= episodes]
    return {
        "name": "handover",
        **({key: rates[often[0]][key] for key in ("value", "n", "interval")} if often else {"value": None, "n": 0, "interval": None}),
        "pairs": {name: rates[name] for name in often},
        "rarer": {name: rates[name] for name in worst if rates[name]["n"] < episodes},
        "never": [f"{a} -> {b}" for a in skills for b in skills if (a, b) not in run],
    }
