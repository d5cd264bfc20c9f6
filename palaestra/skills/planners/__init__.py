"""Planners, by name."""

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaestra.envs.tasksets import TaskSetEnv
from palaestra.policies.files import file_hash
from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.planners.base import Planner as Planner
from palaestra.skills.planners.base import Problem as Problem
from palaestra.skills.planners.careful import CarefulPlanner
from palaestra.skills.planners.client import Budget
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planners.embedded.weights import SHIPPED
from palaestra.skills.planners.openai_chat import OpenAIPlanner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.probes import PROBES as PROBES
from palaestra.skills.planners.probes import Defiant
from palaestra.skills.planners.written import WrittenPlanner

PLANNERS: dict[str, type] = {p.name: p for p in (OraclePlanner, CarefulPlanner, EmbeddedPlanner, OpenAIPlanner, WrittenPlanner)}


@dataclass(frozen=True)
class PlannerChoice:
    """A planner (or an author of configurations) as the command line names it; all but the name is for some of them."""

    name: str = "oracle"
    base_url: str = ""
    model: str = ""
    timeout: float = 30.0  # s, of a whole conversation
    api_key_variable: str = ""  # the environment variable that holds the key, where the endpoint needs one
    replay: Path | None = None  # a log of an endpoint, that answers in its place
    budget: Budget = Budget()  # of calls of the endpoint
    weights: Path | None = None  # of `embedded`, instead of those that come with the package
    mask: str = "applicable"  # of `embedded`: what it may say (none, grammar, applicable)
    form: str = "calls"  # of `openai`, what it is asked for: calls, or program
    program: Path | None = None  # of `program`: its file

    def make(self, env: TaskSetEnv, log: Path | None = None, seed: tuple[int, ...] = (0,)) -> Planner:
        """The planner; an endpoint's calls are written to `log`, but for a replay's. Probes imagine tasks of `env`, and draw by `seed`."""
        if self.name in PROBES:
            return PROBES[self.name](env, seed)
        if self.name == Defiant.name:
            return Defiant(seed)
        if self.name not in PLANNERS:
            raise UnknownNameError("planner", self.name, [*PLANNERS, *PROBES, Defiant.name])
        if self.name == EmbeddedPlanner.name:
            return planner("embedded", spec=env.world.spec, weights=self.weights, mask=self.mask, seed=sum(seed))
        if self.name == WrittenPlanner.name:
            if self.program is None:
                raise PalaestraError("planner 'program': got no file, expected the one with the program. Fix: --program FILE")
            return planner("program", file=self.program)
        if self.name != "openai":
            return planner(self.name)
        return planner("openai", **self.endpoint("planner"), log=None if self.replay else log, form=self.form)

    @property
    def about(self) -> str:
        """What its results depend on beside its name: an endpoint's model and form, weights' hash and the mask, a program's hash."""
        if self.name == EmbeddedPlanner.name:
            path = self.weights or SHIPPED
            return f"{file_hash(path) if path.exists() else 'none'} {self.mask}"  # without a file, `make` says what is missing
        if self.name == WrittenPlanner.name and self.program and self.program.exists():
            return file_hash(self.program)
        return f"{self.model} {self.form}" if self.name == "openai" else ""

    def endpoint(self, what: str) -> dict[str, Any]:
        """The endpoint's own options."""
        if not self.model:
            raise PalaestraError(f"{what} 'openai': got no model, expected the name of one that the endpoint serves. Fix: --model NAME")
        key = os.environ.get(self.api_key_variable) if self.api_key_variable else None
        if self.api_key_variable and not key:
            raise PalaestraError(f"--api-key-variable: {self.api_key_variable!r} is not set in the environment. Fix: export it")
        return {
            "base_url": self.base_url,
            "model": self.model,
            "api_key": key,
            "timeout": self.timeout,
            "replay": self.replay,
            "budget": self.budget,
        }


def fresh_log(path: Path, choice: PlannerChoice) -> None:
    """Put aside what an endpoint said in an earlier run; where one is replayed, all stays where it is."""
    if choice.name == OpenAIPlanner.name and choice.replay is None and path.exists():
        path.replace(path.with_suffix(".before.jsonl"))


def planner(name: str, **options: Any) -> Planner:
    """The planner registered as `name`, made with its own options."""
    if name not in PLANNERS:
        raise UnknownNameError("planner", name, PLANNERS)
    signature = inspect.signature(PLANNERS[name])
    try:
        signature.bind(**options)
    except TypeError as error:
        expected = ", ".join(f"{p.name}{'' if p.default is p.empty else ' (optional)'}" for p in signature.parameters.values())
        raise PalaestraError(f"planner {name!r}: {error}; got {sorted(options)}, expected {expected}. Fix: give these options") from None
    made: Planner = PLANNERS[name](**options)
    return made
