"""Permissions: what a file may say, what it forbids in a house by hand, and that nothing gets past it."""

from pathlib import Path

import jax
import numpy as np
import pytest

from palaestra.envs.tasksets import TaskSetEnv
from palaestra.sim.errors import PalaestraError
from palaestra.skills import tasks
from palaestra.skills.executor import Executor
from palaestra.skills.operators import Call
from palaestra.skills.permissions import Permissions
from palaestra.skills.plan import Plan
from palaestra.skills.planners import Problem
from palaestra.skills.planners.base import library
from palaestra.skills.planners.embedded.planner import EmbeddedPlanner
from palaestra.skills.planners.oracle import OraclePlanner
from palaestra.skills.planners.probes import Defiant
from palaestra.skills.planning import Conditions, carry_out, problems
from palaestra.skills.shipped import learned

EXAMPLE = Path("examples/permissions.toml")


def asked(name: str, count: int) -> list[Problem]:
    return problems(tasks.source(name, "test").env, "test", 0, range(count))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[forbid]]\nskills = ['pik']", "pick"),
        ("[[forbid]]\nthings = ['red_cub']", "red_cube"),
        ("[[forbid]]\nrooms = ['kitchn']", "kitchen"),
        ("[[forbid]]\nroom = ['kitchen']", "rooms"),
        ("[[forbit]]\nrooms = ['kitchen']", "forbid"),
        ("[[never]]\nfacts = 'holds(robot, ball)'", "holding"),
        ("[[never]]\nfacts = 'holding(robot, bal)'", "ball"),
        ("[[never]]\nfacts = 'holding(robot)'", "two things"),
        ("[[never]]\nfacts = 'open(red_door, red_door)'", "one thing"),
        ("[[never]]\nfacts = 'holding robot'", "expected facts like"),
        ("[[never]]\nreason = 'because'", "got nothing"),
        ("[[forbid]]\nskills = 'pick'", "list of strings"),
        ("forbid = 3", r"\[\[forbid\]\]"),
        ("", "no rule"),
        ("[[forbid]", "TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused_whole(tmp_path, text, said):
    path = tmp_path / "permissions.toml"
    path.write_text("[[allow]]\nskills = ['pick']\n" * bool(text) + text if text.startswith("[[") else text)
    with pytest.raises(PalaestraError, match=said):
        Permissions.load(path)
    with pytest.raises(PalaestraError, match="nowhere"):
        Permissions.load(tmp_path / "nowhere.toml")


def house() -> Problem:
    """A house of three rooms in a row, of which the robot has to pass the middle one."""
    for p in asked("rearrange", 60):
        assert p.scene is not None
        doors = np.asarray(p.scene.door_rooms)[np.asarray(p.scene.door_used)]
        rooms = np.flatnonzero(np.asarray(p.scene.room_used))
        if len(rooms) == 3 and any(t.type == "object" for t in p.things) and len(doors) == 2:
            return p
    raise AssertionError("no such house")


def test_rules_by_hand():
    p = house()
    assert p.scene is not None
    names = [t.name for t in p.things if t.type == "room"]
    doors = np.asarray(p.scene.door_rooms)[np.asarray(p.scene.door_used)].tolist()
    numbers = dict(zip(np.flatnonzero(np.asarray(p.scene.room_used)).tolist(), names, strict=True))
    (middle,) = {numbers[a] for a, b in doors} & {numbers[b] for a, b in doors} or {
        name for name in names if sum(name in (numbers[a], numbers[b]) for a, b in doors) == 2
    }
    first, last = (name for name in names if name != middle)
    thing = next(t.name for t in p.things if t.type == "object")
    facts = frozenset(f for f in p.facts if not (f[0] in ("in_room", "near") and f[1] == "robot")) | {("in_room", "robot", first)}
    target = next(t.name for t in p.things if t.type in ("table", "bin"))
    after = facts - {("in_room", "robot", first)} | {("in_room", "robot", last), ("near", "robot", target)}
    drive = Call("navigate", {"target": target})

    def refuses(text: str, facts=facts, after=after, call: Call = drive) -> str:
        return Permissions.read(text).guard(p.things, p.scene).refuses(call, facts, after)

    assert refuses(f"[[forbid]]\nrooms = ['{middle}']\nreason = 'not through there'") == "not through there"
    assert refuses(f"[[forbid]]\nrooms = ['{last}']")
    assert not refuses(f"[[forbid]]\nrooms = ['{first}']")  # it is there, and leaves
    holding = f"[[forbid]]\nrooms = ['{middle}']\nwhile = 'holding(robot, object)'"
    assert not refuses(holding)
    carries = {("holding", "robot", thing)}
    assert refuses(holding, facts | carries, after | carries)
    never = f"[[never]]\nfacts = 'holding(robot, _), in_room(robot, {middle})'"
    assert not refuses(never)
    assert refuses(never, facts | carries, after | carries)  # on the way, where no plan stops
    assert refuses("[[allow]]\nskills = ['pick']") == "none of what is allowed"
    assert not refuses("[[allow]]\nskills = ['navigate']")
    kind = next(t.kind for t in p.things if t.name == target)
    assert refuses(f"[[forbid]]\nthings = ['{kind}']")
    assert not refuses("[[forbid]]\nthings = ['crate']")


def test_in_a_ring_both_ways_count():
    """One goes through the kitchen; which way the robot takes is not the planner's to say."""
    for p in problems(tasks.source("layouts", "test").env, "test", 0, range(40)):
        assert p.scene is not None
        doors = np.asarray(p.scene.door_rooms)[np.asarray(p.scene.door_used)].tolist()
        names = [t.name for t in p.things if t.type == "room"]
        numbers = dict(zip(np.flatnonzero(np.asarray(p.scene.room_used)).tolist(), names, strict=True))
        beside = {name: {numbers[b if numbers[a] == name else a] for a, b in doors if name in (numbers[a], numbers[b])} for name in names}
        if len(doors) == len(names) and all(len(others) == 2 for others in beside.values()):
            break
    else:
        raise AssertionError("no ring")
    start = names[0]
    facts = frozenset({("in_room", "robot", start)})
    for end in beside[start]:
        for room in set(names) - {start, end}:
            guard = Permissions.read(f"[[forbid]]\nrooms = ['{room}']").guard(p.things, p.scene)
            assert guard.refuses(Call("navigate", {"target": end}), facts, frozenset({("in_room", "robot", end)}))


def test_no_planner_gets_past_it():
    """Not even one that tries to; and the embedded planner plans around what it may not do."""
    permissions = Permissions.load(EXAMPLE)
    p = asked("rearrange", 40)
    done = carry_out(Defiant((0,)), p, Conditions(permissions=permissions))
    assert sum(a.refused for a in done) > 20
    assert sum(a.breaches for a in done) == 0
    for attempt in done:
        assert attempt.problem.guard is not None
        assert not any(t.call.skill == "place" and any("purple" in v for v in t.call.args.values()) for t in attempt.tried)
    free = carry_out(Defiant((0,)), p, Conditions())
    assert sum(a.refused for a in free) == 0
    planner = EmbeddedPlanner(tasks.source("rearrange", "test").spec)
    assert sum(a.refused for a in carry_out(planner, p, Conditions(permissions=permissions))) == 0


class Fixed:
    """One plan, whatever it is asked."""

    name = "fixed"

    def __init__(self, *steps: Call):
        self.steps = steps

    def plan(self, problem: Problem) -> Plan:
        del problem
        return Plan(self.steps)


@pytest.mark.slow
def test_the_executor_starts_nothing_that_is_not_permitted():
    env = TaskSetEnv("rearrange", "test")
    task = jax.device_get(jax.jit(env.task)(3))
    tasks_ = jax.tree.map(lambda x: np.asarray(x)[None], task)
    skills = {s.name: learned(s) for s in library() if s.fits(env.world.spec)}
    plain = Executor(env, skills, OraclePlanner(), lanes=1)
    (free,) = plain.run(tasks_)
    assert free.success
    runner = plain.runner
    nothing = Permissions.read("[[forbid]]\nskills = ['pick']\nreason = 'hands off'")
    (held,) = Executor(env, skills, OraclePlanner(), permissions=nothing, runner=runner, lanes=1).run(tasks_)
    assert not held.success
    assert {c.verdict for c in held.calls if c.skill == "pick"} <= {"permission"}
    assert any("hands off" in line for line in held.history)
    first = free.calls[0]
    room = next(t for p, s, t in free.start if (p, s) == ("in_room", "robot"))
    always = Permissions.read(f"[[never]]\nfacts = 'in_room(robot, {room})'")  # it is broken as things stand
    (stopped,) = Executor(env, skills, Fixed(Call(first.skill, first.args)), permissions=always, runner=runner, lanes=1).run(tasks_)
    assert (stopped.outcome, stopped.calls) == ("permission", [])
