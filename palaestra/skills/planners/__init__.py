"""Planners, by name."""

import inspect
from typing import Any

from palaestra.sim.errors import PalaestraError, UnknownNameError
from palaestra.skills.planners.base import Planner as Planner
from palaestra.skills.planners.base import Problem as Problem
from palaestra.skills.planners.openai_chat import OpenAIPlanner
from palaestra.skills.planners.oracle import OraclePlanner

PLANNERS: dict[str, type] = {p.name: p for p in (OraclePlanner, OpenAIPlanner)}


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
