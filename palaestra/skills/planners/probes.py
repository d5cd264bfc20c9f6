"""Planners that show what a success rate is worth: those that do not read the instruction, or read another one.

Each is deterministic by its seed, and an episode's answers depend on nothing but its number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import jax
import numpy as np

from palaestra.envs.generation.generator import draw_until
from palaestra.envs.goals import Formula, formula
from palaestra.envs.tasksets import TaskSetEnv
from palaestra.envs.types import Goal, Scene, Task
from palaestra.envs.words import parser
from palaestra.skills.operators import Call, ground
from palaestra.skills.plan import MAX_STEPS, Plan
from palaestra.skills.planners.base import Planner, Problem, library
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.space import Space

Seed = tuple[int, ...]
_WALK = 6  # calls of the defiant, at most, before it tries something
_DRAWS = 20  # goals that are drawn, at most, for one that does not hold already


@dataclass
class Nothing:
    """Says that nothing is left to do."""

    name: str = "nothing"

    def plan(self, problem: Problem) -> Plan:
        del problem
        return Plan(())


@dataclass
class RandomCalls:
    """A random walk over calls that can be made and change something, all equally likely."""

    seed: Seed
    name: str = "random-legal"

    def plan(self, problem: Problem) -> Plan:
        rng = np.random.default_rng([*self.seed, problem.number, len(problem.history)])
        operators, facts, steps = ground(library(), problem.things, problem.mechanics), problem.facts, []
        for _ in range(MAX_STEPS):
            able = {o.call: o for o in operators if o.applicable(facts) and o.apply(facts) != facts}
            if not able:
                break
            steps.append(list(able)[rng.integers(len(able))])
            facts = able[steps[-1]].apply(facts)
        return Plan(tuple(steps))


@dataclass
class Defiant:
    """Walks at random, by calls that are permitted, to where something can be done that is not, and tries that: to test permissions."""

    seed: Seed
    name: str = "defiant"

    def plan(self, problem: Problem) -> Plan:
        rng = np.random.default_rng([*self.seed, problem.number, len(problem.history)])
        space, guard = Space(replace(problem, goal=Formula(())), library()), problem.guard
        state, steps = space.start, list[Call]()
        for left in range(int(rng.integers(_WALK)), -1, -1):
            able = [(call, after) for call, step in space.calls(state).items() if (after := space.made(state, step)) != state]
            refused = [call for call, after in able if guard and guard.refuses(call, space.named(state), space.named(after))]
            open_to = [(call, after) for call, after in able if call not in refused]
            if refused and (not left or rng.random() < 0.5):
                return Plan((*steps, refused[rng.integers(len(refused))]))
            if not open_to:
                break
            call, state = open_to[rng.integers(len(open_to))]
            steps.append(call)
        return Plan(tuple(steps))


Imagine = Callable[[Scene, np.random.Generator], Goal]


@dataclass
class Misled:
    """Shortest plans for a goal that comes from elsewhere; one goal an episode, which did not hold when the episode began."""

    name: str
    env: TaskSetEnv
    seed: Seed
    imagine: Imagine
    _left: dict[int, Formula] = field(default_factory=dict)  # of each episode's goal

    def plan(self, problem: Problem) -> Plan:
        left = self._left.get(problem.number) or self._goal(problem)
        self._left[problem.number] = left = left.after(left.onward(0, problem.facts))
        return OraclePlanner().plan(replace(problem, goal=left))

    def _goal(self, problem: Problem) -> Formula:
        if problem.scene is None:
            raise ValueError(f"planner {self.name!r}: got a problem without its scene, expected one that an executor made")
        rng = np.random.default_rng([*self.seed, problem.number])
        for _ in range(_DRAWS):
            goal = formula(self.env.world.spec, Task(scene=problem.scene, goal=self.imagine(problem.scene, rng)))
            if goal.onward(0, problem.facts) < len(goal.stages):
                break
        return goal


def _key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(int(rng.integers(2**31)))


def drawn(env: TaskSetEnv) -> Imagine:
    """A goal as the task set draws them, for this scene: no instruction is read."""
    draw = jax.jit(lambda key, scene: draw_until(key, lambda k: env.attempt_goal(k, scene)))
    return lambda scene, rng: jax.device_get(draw(_key(rng), scene))


def overheard(env: TaskSetEnv) -> Imagine:
    """The goal that the instruction of another task of the set states, as far as it can be read in this scene.

    Where it speaks of things that are not here, the goal is what the parser suggests instead: what it understood, and of what can
    be said here that which is most like the rest.
    """
    spec, another = env.world.spec, jax.jit(env.sample_task)

    def read(scene: Scene, rng: np.random.Generator) -> Goal:
        text = env.instruction(jax.device_get(another(_key(rng))), int(rng.integers(2**31)))
        try:
            return parser.parse(text, spec, scene)
        except parser.InstructionError as error:
            return parser.parse(error.suggestion, spec, scene)

    return read


PROBES: dict[str, Callable[[TaskSetEnv, Seed], Planner]] = {
    "nothing": lambda env, seed: Nothing(),
    "random-legal": lambda env, seed: RandomCalls(seed),
    "no-language": lambda env, seed: Misled("no-language", env, seed, drawn(env)),
    "shuffled": lambda env, seed: Misled("shuffled", env, seed, overheard(env)),
}
