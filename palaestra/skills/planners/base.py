"""What every planner takes and gives."""

from dataclasses import dataclass
from typing import Protocol

from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import Scene
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Skills
from palaestra.skills.plan import Plan

LIBRARY: Skills = tuple(SKILLS.values())


@dataclass(frozen=True)
class Problem:
    """What is to be planned, from the present moment."""

    instruction: str
    things: tuple[Entity, ...]
    facts: frozenset[Fact]  # what holds now; everything else is false
    goal: Formula | None = None  # what is left of it; for planners that search; language models go by the instruction
    scene_text: str = ""
    history: tuple[str, ...] = ()  # what was tried, and how it failed
    number: int = 0  # of the episode, for planners that draw at random
    scene: Scene | None = None  # in arrays, for planners that imagine other tasks in it
    mechanics: Mechanics = Mechanics()  # doors and rules; in houses without any there are none


class Planner(Protocol):
    """Turns a problem into a plan, or raises PlanError."""

    name: str

    def plan(self, problem: Problem) -> Plan: ...
