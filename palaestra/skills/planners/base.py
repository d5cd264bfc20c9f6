"""What every planner takes and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from palaestra.envs.goals import Formula
from palaestra.envs.mechanics import Mechanics
from palaestra.envs.names import Entity, Fact
from palaestra.envs.types import Scene
from palaestra.skills.chances import Chances, Count
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call, Skills
from palaestra.skills.permissions import Guard
from palaestra.skills.plan import Plan
from palaestra.skills.programs.running import Program


def library() -> Skills:
    """All skills, those of one's own as well."""
    return tuple(SKILLS.values())


Labels = dict[str, str]  # of a call: by context its group, as cards divide success
Labelling = Callable[[Sequence[Call]], list[Labels]]  # of calls, were they made now


@dataclass(frozen=True)
class Tried:
    """A call of this episode that was started, and has ended."""

    call: Call
    succeeded: bool


def chance_of(chances: Chances, call: Call, labels: Labels, tried: Sequence[Tried], before: str | None = None) -> float:
    """Of success of a call, where these were tried; `before`: the skill that will be called right before it, None if it is called next."""
    same = [t.succeeded for t in tried if t.call == call]
    after = before if before is not None else tried[-1].call.skill if tried and tried[-1].succeeded else ""
    return chances.of(call.skill, labels, after, Count(sum(same), len(same)))


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
    tried: tuple[Tried, ...] = ()  # in their order
    labels: Labelling | None = None  # None where there is no state to look at
    guard: Guard | None = None  # what is not permitted; it is enforced, whether a planner looks at it or not


class Planner(Protocol):
    """Turns a problem into a plan, a list of calls or a program, or raises PlanError."""

    name: str

    def plan(self, problem: Problem) -> Plan | Program: ...
