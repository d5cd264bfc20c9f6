"""The executor: from a plan to physics. Check the precondition, run the policy, check the effect, replan; a reason for each
failure. Any number of environments at once: the host decides for those whose skill has ended, all others move on."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.env import Rearrange
from palaestra.envs.generation.styles import STYLES, style_of
from palaestra.envs.goals import Formula, describe, formula, term_phrase
from palaestra.envs.mechanics import Mechanics, mechanics
from palaestra.envs.names import Entity, Fact, entities, facts
from palaestra.envs.types import State, Task, row
from palaestra.envs.words import language
from palaestra.sim.world import World
from palaestra.skills import contexts
from palaestra.skills.chances import Chances
from palaestra.skills.operators import Call, Operator, contracts, fact_text
from palaestra.skills.permissions import Guard, Permissions
from palaestra.skills.plan import Plan, PlanError, Steps
from palaestra.skills.planners.base import Labelling, Planner, Problem, Tried, chance_of, library
from palaestra.skills.planners.space import Space
from palaestra.skills.programs.running import Run
from palaestra.skills.record import View
from palaestra.skills.rules import Rulebook
from palaestra.skills.runner import Motion, Outcome, Runner
from palaestra.skills.shipped import LearnedSkill

CHUNK = 8  # control steps between two looks of the host: 0.4 s
WAIT = 80  # control steps, an episode, in which the robot may stand still until rules have done their work
LANES = 16  # environments of one program. Another width is another program, which XLA may round differently


@dataclass
class CallRecord:
    """One skill call, as it went."""

    skill: str
    args: dict[str, str]
    begun: int  # control step of the episode
    verdict: str = "running"  # succeeded, precondition, permission, effect, lost, timeout, diverged, interrupted
    steps: int = 0
    reason: str = ""
    chance: float | None = None  # of success when it was started, where the executor knows chances

    @property
    def text(self) -> str:
        return f"{self.skill}({', '.join(self.args.values())})"


@dataclass
class Episode:
    """One task, from the instruction to its end."""

    number: int
    instruction: str
    things: tuple[Entity, ...]
    goal: Formula
    contracts: dict[Call, Operator]
    mechanics: Mechanics = Mechanics()
    style: str = ""  # of the house's layout
    under_way: "Steps | Run | None" = None  # the present plan
    asked: int = 0  # how often the planner was
    begun: int = 0  # calls of the last list in `plans` that were come to
    idle: bool = False  # the plan that came to its end was a program without a call
    calls: list[CallRecord] = field(default_factory=list)
    plans: list[list[dict[str, Any]]] = field(default_factory=list)  # the calls of each; of a program those that it came to
    programs: list[bool] = field(default_factory=list)  # which of them are some
    history: list[str] = field(default_factory=list)
    stage: int = 0  # of the goal, reached
    outcome: str = "running"  # success, or why not
    detail: str = ""
    step: int = 0
    waited: int = 0  # control steps of these in which the robot stood still until rules had done their work
    thinking: int = 0  # control steps until the plan is there
    thought: int = 0  # control steps spent so, in all
    over: bool = False
    start: frozenset[Fact] = frozenset()  # what held before anything was done
    recall_at_start: float = 0.0  # the goal's share (see `Progress`) then
    recall: float = 0.0  # and at the end
    guard: Guard | None = None

    @property
    def success(self) -> bool:
        return self.outcome == "success"

    @property
    def tried(self) -> tuple[Tried, ...]:
        """The calls that were started and have ended."""
        ended = [c for c in self.calls if c.verdict not in ("running", "precondition", "permission", "interrupted")]
        return tuple(Tried(Call(c.skill, c.args), c.verdict == "succeeded") for c in ended)

    def next_call(self, now: frozenset[Fact]) -> Call | None:
        """The present plan's next call; None where there is none, or no more of it."""
        plan = self.under_way
        call = plan.next(now) if plan else None
        if plan and plan.stopped:
            self.history.append(f"the program was stopped: {plan.stopped}")
        if call is None:
            self.idle = plan is not None and not isinstance(plan, Steps) and plan.calls == 0 and not plan.stopped
            self.under_way = None
            return None
        self.begun += 1
        if self.begun > len(self.plans[-1]):
            self.plans[-1].append({"skill": call.skill, "args": dict(call.args)})
        return call

    def failed(self, started: bool = True) -> None:
        """The last call failed, or was not started: a list of calls ends with it, a program may go on."""
        if self.under_way:
            self.under_way.failed(started)

    def has_failed(self, call: Call) -> bool:
        """Whether this call was run before in vain: then the next try adds the policy's own noise."""
        return any(c.verdict in ("timeout", "lost", "effect") and (c.skill, c.args) == (call.skill, dict(call.args)) for c in self.calls)

    def report(self) -> dict[str, Any]:
        return {
            "instruction": self.instruction,
            "goal": describe(self.goal),
            "outcome": self.outcome,
            "detail": self.detail,
            "steps": self.step,
            "plans": self.plans,
            "calls": [asdict(call) for call in self.calls],
        }


Watcher = Callable[[State, list[Episode]], None]
Listener = Callable[[dict[str, Any]], None]


class Executor:
    """Runs plans of one planner with learned skills.

    Args:
        env: the world; its engine steps all environments.
        skills: the library.
        planner: makes plans, and new ones from the real state when one fails.
        max_replans: plans after the first one, an episode.
        max_steps: control steps, an episode; the environment's horizon without it.
        max_calls: of skills, an episode; 0: as many as there is time for.
        noise: "retries", where the policies are deterministic but for calls that have failed before; "always", where every call adds
            its policy's own noise.
        latency: seconds of simulated time that every plan takes; the robot stands still, and the world goes on. None: as long as the
            planner really takes, which no episode repeats.
        runner: one of this world and these skills that is compiled already.
        lanes: environments that are stepped together. Always so many, however many tasks there are, so that a task goes the same to
            the bit, alone or among others; where one ends the next begins.
        chances: of success, by the cards; what they say of each call as it starts is kept with it.
        permissions: what the robot may do. A call that they forbid is not started, whoever planned it; where what must never be comes
            about all the same, by physics alone, the robot stops there, and the episode is over.
        listen: called with every event (an episode's plan, a skill's start and end, the episode's end) as a dict.
        watch: called with the states [steps, lanes] of every chunk and the episodes in the lanes that are in use, for films.
    """

    def __init__(
        self,
        env: Rearrange,
        skills: Mapping[str, LearnedSkill],
        planner: Planner,
        *,
        max_replans: int = 6,
        max_steps: int | None = None,
        max_calls: int = 0,
        noise: str = "retries",
        latency: float | None = 0.0,
        runner: Runner | None = None,
        lanes: int = LANES,
        chances: Chances | None = None,
        permissions: Permissions | None = None,
        listen: Listener | None = None,
        watch: Watcher | None = None,
    ):
        self.env, self.skills, self.planner = env, skills, planner
        self.runner = runner or Runner(env, skills)
        self.max_replans, self.max_steps = max_replans, max_steps or env.horizon
        self.max_calls, self.noise, self.lanes, self.chances = max_calls, noise, lanes, chances
        self.latency = latency
        self.permissions, self._listen, self.watch = permissions, listen, watch

    def run(
        self, tasks: Task, instructions: Sequence[str | None] | None = None, *, numbers: Sequence[int] | None = None, trial: int = 0
    ) -> list[Episode]:
        """Carry out the tasks (leading axis B) and say how each went.

        `instructions`: what the planner is told; rendered from the goals where absent. `numbers`: of the episodes, from 0 where absent.
        A number and a trial choose the words and the noise. Success is judged by the goal in the simulator's own truth table at every
        control step, never by the plan.
        """
        host = jax.device_get(tasks)
        count = len(jax.tree.leaves(host)[0])
        numbers, words = numbers or range(count), instructions or [None] * count
        episodes = [self._episode(row(host, i), text, numbers[i], trial) for i, text in enumerate(words)]
        seats = list(range(min(count, self.lanes)))  # which task each lane carries out
        waiting = iter(range(len(seats), count))
        motion = self._begin(host, seats, episodes, trial)
        while True:
            motion = self._decide(motion, host, episodes, seats)
            free = [lane for lane, i in enumerate(seats) if episodes[i].over]
            fresh = dict(zip(free, waiting, strict=False))
            if fresh:
                seats = [fresh.get(lane, i) for lane, i in enumerate(seats)]
                which = jnp.asarray([lane in fresh for lane in range(self.lanes)])
                motion = self.runner.put(which, self._begin(host, seats, episodes, trial), motion)
                continue
            if len(free) == len(seats):
                return episodes
            motion, states = self.runner.run(motion, CHUNK)
            here = [episodes[i] for i in seats]
            for episode in here:
                episode.step += 0 if episode.over else CHUNK
            if self.watch:
                self.watch(states, here)

    def _begin(self, tasks: Task, seats: Sequence[int], episodes: Sequence[Episode], trial: int) -> Motion:
        """The start of the task in each seat; in lanes that are left over the first one stands still."""
        lanes = np.append(seats, np.zeros(self.lanes - len(seats), int)).astype(int)
        keys = jax.vmap(jax.random.key)(jnp.asarray([episodes[i].number for i in lanes]))
        return self.runner.begin(row(tasks, lanes), jax.vmap(jax.random.fold_in, (0, None))(keys, trial) if trial else keys)

    def _episode(self, task: Task, instruction: str | None, number: int, trial: int) -> Episode:
        spec = self.env.world.spec
        things = entities(spec, task.scene)
        text = instruction or self.env.instruction(task, number + (trial << 32))
        promised = contracts([s.skill for s in self.skills.values()], things)
        style = STYLES[int(style_of(task.scene))]
        guard = self.permissions.guard(things, task.scene) if self.permissions else None
        return Episode(number, text, things, formula(spec, task), promised, mechanics(spec, task.scene), style, guard=guard)

    def _decide(self, motion: Motion, tasks: Task, episodes: list[Episode], seats: list[int]) -> Motion:
        """Judge what has ended, and start what comes next."""
        sight = jax.device_get(self.runner.look(motion))
        outcomes, monitor = np.asarray(motion.outcome), jax.device_get(motion.monitor)
        lanes = len(outcomes)
        start, noisy = np.zeros(lanes, bool), np.zeros(lanes, bool)
        skill, args = np.zeros(lanes, np.int32), np.zeros((lanes, 2), np.int32)
        seen = functools.cache(lambda: jax.device_get(self.runner.see(motion)))
        for lane, i in enumerate(seats):
            episode = episodes[i]
            done, broken = sight.progress.done[lane], sight.progress.broken[lane]
            late = episode.step >= self.max_steps
            breach = "" if episode.over or not episode.guard else episode.guard.broken(facts(episode.things, sight.table[lane]))
            if episode.over or (outcomes[lane] == Outcome.RUNNING and not (broken or late or breach)):
                continue
            now = facts(episode.things, sight.table[lane])
            episode.stage = int(sight.progress.stage[lane])
            self._judge(episode, Outcome(int(outcomes[lane])), int(monitor.step[lane]), now)
            episode.recall = round(float(sight.progress.share[lane]), 6)
            if episode.step == 0:
                episode.start, episode.recall_at_start = now, episode.recall
            if outcomes[lane] == Outcome.DIVERGED:
                self._end(episode, "diverged", "the physics of this environment was not finite")
            elif breach:
                self._end(episode, "permission", f"what must never be came about: {breach}")
            elif done:
                self._end(episode, "success")
            elif broken:
                self._end(episode, "forbidden", f"must always hold: {', '.join(map(term_phrase, episode.goal.always))}")
            elif late:
                self._end(episode, f"timeout ({_last_failure(episode)})", f"the goal did not hold after {self.max_steps} control steps")
            else:
                labels = _labelling(self.env.world, seen, lane, episode.things)
                call = self._next_call(episode, now, row(tasks, i), labels)
                if call is not None:
                    start[lane] = True
                    noisy[lane] = self.noise == "always" or episode.has_failed(call)
                    index = {t.name: t.index for t in episode.things}
                    skill[lane] = self.runner.names.index(call.skill)
                    values = [index[v] for v in dict(call.args).values()]
                    args[lane, : len(values)] = values
        if not start.any():
            return motion
        return self.runner.start(motion, *map(jnp.asarray, (start, skill, args, noisy)))

    def _judge(self, episode: Episode, outcome: Outcome, steps: int, now: frozenset[Fact]) -> None:
        """The verdict on the call that has ended."""
        if not episode.calls or episode.calls[-1].verdict != "running":
            return
        call = episode.calls[-1]
        call.steps = steps
        contract = episode.contracts[Call(call.skill, call.args)]
        missing = _unmet(contract.add, contract.delete, now)
        if outcome == Outcome.CONSUMED or (outcome == Outcome.SUCCEEDED and not missing):
            call.verdict = "succeeded"
        elif outcome == Outcome.SUCCEEDED:
            call.verdict, call.reason = "effect", f"the effect did not last: {missing}"
        elif outcome == Outcome.RUNNING:
            call.verdict, call.reason = "interrupted", "the episode was over"
        else:
            call.verdict = outcome.name.lower()
            call.reason = f"after {steps} steps; still missing: {missing or 'nothing'}"
        if call.verdict != "succeeded":
            episode.history.append(f"{call.text} failed ({call.verdict}): {call.reason}")
            episode.failed()
        self._tell("skill", episode, {**asdict(call)})

    def _next_call(self, episode: Episode, now: frozenset[Fact], task: Task, labels: Labelling) -> Call | None:
        """The next call whose precondition holds, from a new plan if need be; None where the episode has ended, or the robot waits."""
        while True:
            if episode.thinking > 0:
                episode.thinking -= CHUNK
                episode.thought += CHUNK
                return None
            spent = self.max_calls and len(episode.calls) >= self.max_calls
            call = None if spent else episode.next_call(now)
            if call is None:
                if _under_way(episode, now):
                    episode.waited += CHUNK
                    return None
                if spent:
                    made = f"{self.max_calls} call{'s' if self.max_calls > 1 else ''}"
                    self._end(episode, f"out of calls ({_last_failure(episode)})", f"the goal did not hold after {made}")
                    return None
                if episode.idle:
                    self._end(episode, "incomplete plan", "the program finds nothing to do, and the goal does not hold")
                    return None
                if not self._replan(episode, now, task, labels):
                    return None
                continue
            record = CallRecord(call.skill, dict(call.args), episode.step)
            contract = episode.contracts[call]
            if contract.add <= now and not contract.delete & now:
                continue  # an additional step: its effect holds already
            unmet = _unmet(contract.pre, contract.neg, now)
            refused = "" if unmet or not episode.guard else episode.guard.refuses(call, now, _after(episode, call, now))
            if not (unmet or refused) and self.chances:
                record.chance = chance_of(self.chances, call, labels([call])[0], episode.tried)
            episode.calls.append(record)
            if not (unmet or refused):
                self._tell("start", episode, {"call": record.text})
                return call
            why = ("precondition", f"does not hold: {unmet}") if unmet else ("permission", f"not permitted: {refused}")
            record.verdict, record.reason = why
            episode.history.append(f"{record.text} not started: {record.reason}")
            episode.failed(started=False)
            self._tell("skill", episode, asdict(record))

    def _replan(self, episode: Episode, now: frozenset[Fact], task: Task, labels: Labelling) -> bool:
        """A plan from the state that really is; False, and the episode's end, where there is none."""
        if episode.asked > self.max_replans:
            self._end(episode, f"skill failure ({_last_failure(episode)})", f"{self.max_replans} new plans did not help")
            return False
        scene_text = language.describe(self.env.world.spec, task.scene, with_rules=self.env.show_rules, with_positions=True)
        left, history = episode.goal.after(episode.stage), tuple(episode.history)
        problem = Problem(
            episode.instruction,
            episode.things,
            now,
            left,
            scene_text,
            history,
            episode.number,
            task.scene,
            episode.mechanics,
            episode.tried,
            labels,
            episode.guard,
        )
        clock = time.perf_counter()
        try:
            episode.asked += 1
            plan = self.planner.plan(problem)
            # Whatever the planner promised: nothing runs that does not validate.
            for fault in plan.static_faults([s.skill for s in self.skills.values()], episode.things):
                raise PlanError(fault)
        except PlanError as error:
            self._end(episode, f"planner: {error.failure}", str(error))
            return False
        seconds = time.perf_counter() - clock
        steps = [{"skill": c.skill, "args": dict(c.args)} for c in plan.steps] if isinstance(plan, Plan) else []
        program = {} if isinstance(plan, Plan) else {"program": str(plan)}
        episode.plans.append(steps)
        episode.programs.append(bool(program))
        self._tell("plan", episode, {"steps": steps, "seconds": seconds, **program})
        episode.thinking = math.ceil((seconds if self.latency is None else self.latency) / self.env.world.spec.control_dt)
        if not steps and not program:
            self._end(episode, "incomplete plan", "the planner says that nothing is left to do, and the goal does not hold")
            return False
        episode.under_way, episode.begun = plan.begin(episode.things), 0
        return True

    def _end(self, episode: Episode, outcome: str, detail: str = "") -> None:
        episode.over, episode.outcome, episode.detail = True, outcome, detail
        self._tell("end", episode, {"outcome": outcome, "detail": detail})

    def _tell(self, event: str, episode: Episode, more: dict[str, Any]) -> None:
        if self._listen is not None:
            self._listen({"event": event, "step": episode.step, **more})


def _labelling(world: World, seen: Callable[[], View], lane: int, things: Sequence[Entity]) -> Labelling:
    """The contexts of calls in a lane, for whoever asks; `seen` looks at all lanes, and is asked only then."""
    return lambda calls: contexts.labels(world, row(seen(), lane), things, calls)


def _after(episode: Episode, call: Call, now: frozenset[Fact]) -> frozenset[Fact]:
    """What will hold after a call that can be made, as the operators say; what the record promises, where none of them fits."""
    space = Space(Problem("", episode.things, now, Formula(()), mechanics=episode.mechanics), library())
    if step := space.calls(space.start).get(call):
        return space.named(space.made(space.start, step))
    contract = episode.contracts[call]
    return now - contract.delete | contract.add


def _under_way(episode: Episode, now: frozenset[Fact]) -> bool:
    """Whether a plan has run out while rules are still at work, and not for long: the last call may have set off a door that shuts."""
    if episode.waited >= WAIT or not episode.mechanics.rules or not episode.calls or episode.calls[-1].verdict != "succeeded":
        return False
    return Rulebook(episode.things, episode.mechanics).settled(now) != now


def _last_failure(episode: Episode) -> str:
    """The last call that failed, with its verdict."""
    failed = [c for c in episode.calls if c.verdict not in ("running", "succeeded", "interrupted")]
    return f"{failed[-1].skill}: {failed[-1].verdict}" if failed else "no call failed"


def _unmet(wanted: frozenset[Fact], unwanted: frozenset[Fact], now: frozenset[Fact]) -> str:
    """What is missing and what is in the way, in words; empty where all is as it should be."""
    return ", ".join([fact_text(f) for f in sorted(wanted - now)] + [f"not {fact_text(f)}" for f in sorted(unwanted & now)])
