"""The planner `embedded`: reads the instruction once an episode, and plans from the state that really is. No network, no key."""

import functools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.goals import Formula, describe
from palaestra.envs.names import Entity
from palaestra.envs.words.references import Things
from palaestra.sim.errors import UnknownNameError
from palaestra.sim.world import WorldSpec
from palaestra.skills.library import SKILLS
from palaestra.skills.operators import Call
from palaestra.skills.plan import MAX_STEPS, Failure, Fault, Plan, PlanError
from palaestra.skills.planners.base import Problem
from palaestra.skills.planners.embedded import batches, encoding
from palaestra.skills.planners.embedded.decoding import Decoded, decode, may_say
from palaestra.skills.planners.embedded.networks import Actor
from palaestra.skills.planners.embedded.weights import Weights, load_planner
from palaestra.skills.planners.space import Space
from palaestra.skills.record import Skill

MASKS = ("none", "grammar", "applicable")
_REMEMBERED = 4096  # episodes
_TEMPERATURE = 0.7  # of what is drawn after the likeliest


@dataclass
class _Episode:
    """What is known of an episode: what was understood, and how much of it is done."""

    goal: Formula
    facts: frozenset[Any]
    probability: float  # of that reading
    stage: int = 0
    tried: int = 0  # calls that were taken into account


@dataclass
class Attempt:
    """A plan in the making."""

    problem: Problem
    space: Space
    state: int
    stage: int
    steps: list[Call]
    seen: set[tuple[int, int]]
    fault: bool = False  # a call that cannot be made: the plan ends with it
    log_prob: float = 0.0

    def make(self, call: Call) -> None:
        """One more call, and what it leads to."""
        self.steps.append(call)
        step = self.space.calls(self.state).get(call)
        if step is None:
            self.fault = True
            return
        self.state = self.space.made(self.state, step)
        self.stage = self.space.onward(self.stage, self.state)
        self.seen.add((self.state, self.stage))

    @property
    def reached(self) -> bool:
        return self.stage == len(self.space.goal.stages)

    @property
    def open(self) -> bool:
        return not (self.reached or self.fault) and len(self.steps) < MAX_STEPS


class EmbeddedPlanner:
    """Two small transformers: a reader (instruction and scene to formula), and an actor (formula and facts to calls).

    Args:
        spec: the world's, whose scenes are read.
        weights: a file, or what was loaded of one; those that come with the package where it is not given.
        mask: what the actor may say. "none": anything. "grammar": calls of skills with things of the right kinds. "applicable": of those
            the ones that can be made, are permitted, break nothing that must always hold, and lead where the plan has not been yet.
        tries: how many plans are made at most: the likeliest, and while none of them reaches what was understood, drawn ones.
        readings: how many times an instruction is read at most: what is likeliest, and where no plan reaches that, what is drawn.
        seed: of what is drawn.
    """

    name = "embedded"

    def __init__(
        self,
        spec: WorldSpec,
        weights: Weights | Path | None = None,
        mask: str = "applicable",
        tries: int = 8,
        readings: int = 4,
        seed: int = 0,
    ):
        if mask not in MASKS:
            raise UnknownNameError("mask", mask, MASKS)
        self.spec, self.mask, self.tries, self.readings, self.seed = spec, mask, tries, readings, seed
        self.weights = weights if isinstance(weights, Weights) else load_planner(weights)
        self.skills: tuple[Skill, ...] = tuple(SKILLS[name] for name in self.weights.skills)
        self._episodes: OrderedDict[tuple[int, str], _Episode] = OrderedDict()

    def plan(self, problem: Problem) -> Plan:
        """The plan for what is left of an instruction. Raises PlanError: goal, where it makes no sense of it, or limit, without a way."""
        (found,) = self.plans([problem])
        if isinstance(found, PlanError):
            raise found
        return found

    def plans(self, problems: Sequence[Problem]) -> list[Plan | PlanError]:
        """Plans for many problems, side by side."""
        self._read(problems)
        found = self._planned(problems)
        if self.mask != "applicable":
            return found
        first = {i: self._episodes[self._key(problems[i])] for i, plan in enumerate(found) if isinstance(plan, PlanError)}
        for number in range(1, self.readings):
            lost = [i for i in first if isinstance(found[i], PlanError) and not problems[i].tried]
            if not lost:
                break
            self._read_again([problems[i] for i in lost], number)
            for i, plan in zip(lost, self._planned([problems[i] for i in lost]), strict=True):
                if isinstance(plan, Plan):
                    found[i] = plan
        for i, episode in first.items():
            if isinstance(found[i], PlanError):
                self._episodes[self._key(problems[i])] = episode
        return found

    def _planned(self, problems: Sequence[Problem]) -> list[Plan | PlanError]:
        """Plans for what was understood."""
        results: list[Plan | PlanError | None] = [None] * len(problems)
        waiting = list(range(len(problems)))
        best: dict[int, Attempt] = {}
        for number in range(self.tries if self.mask == "applicable" else 1):
            attempts: dict[int, Attempt] = {}
            for i in waiting:
                try:
                    attempts[i] = self.begin(problems[i])
                except PlanError as error:
                    results[i] = error
            self._carry_out(list(attempts.values()), number)
            for i, attempt in attempts.items():
                if i not in best or (attempt.reached, attempt.log_prob) > (best[i].reached, best[i].log_prob):
                    best[i] = attempt
            waiting = [i for i in attempts if not best[i].reached]
            if not waiting:
                break
        for i, attempt in best.items():
            results[i] = Plan(tuple(attempt.steps)) if attempt.reached or self.mask != "applicable" else self._no_way(attempt)
        return [result for result in results if result is not None]

    def understood(self, problems: Sequence[Problem]) -> list[Formula]:
        """What the instructions ask for, as far as the reader makes sense of them."""
        return [goal for goal, _ in self.readings_of(problems)]

    def readings_of(self, problems: Sequence[Problem]) -> list[tuple[Formula, float]]:
        """The same, each with the probability that the reader gives it: little, where it hardly knows what to make of the words."""
        self._read(problems)
        found = [self._episodes[self._key(problem)] for problem in problems]
        return [(episode.goal, episode.probability) for episode in found]

    # --- reading

    def _key(self, problem: Problem) -> tuple[int, str]:
        return problem.number, problem.instruction

    def _read(self, problems: Sequence[Problem]) -> None:
        """Read the instructions that are new, and note how far the others have come."""
        self._read_again([p for p in problems if self._key(p) not in self._episodes or not (p.tried or p.history)], 0)
        while len(self._episodes) > max(_REMEMBERED, len(problems)):
            self._episodes.popitem(last=False)
        for problem in problems:
            self._follow(problem, self._episodes[self._key(problem)])

    def _read_again(self, problems: Sequence[Problem], number: int) -> None:
        """Read instructions for the first time (0), which gives what is likeliest, or once more, by chance."""
        for size, group in _by_size(problems, self.spec).items():
            decoded = self._decoded(group, size, number)
            for i, (problem, _, _) in enumerate(group):
                goal = encoding.formula(decoded.rows(i, len(problem.things)), problem.things)
                self._episodes[self._key(problem)] = _Episode(goal, problem.facts, float(np.exp(decoded.log_prob[i])))

    def _decoded(self, group: Sequence[tuple[Problem, encoding.Sentence, encoding.Look]], size: tuple[int, int], number: int) -> Decoded:
        problems, sentences, looks = zip(*group, strict=True)
        lanes = _lanes(len(group))
        seen = [_filled(a, lanes) for a in batches.read_arrays(sentences, looks, *size)]
        may = _filled(np.stack([may_say(p.things, size[1]) for p in problems]), lanes)
        key = jax.random.fold_in(jax.random.key(self.seed), number)
        heat = jnp.full(lanes, _TEMPERATURE if number else 0.0)
        return decode(self.weights.reader, tuple(seen), may, heat, key, grammar=self.mask != "none")

    def _follow(self, problem: Problem, episode: _Episode) -> None:
        """Which stages were reached by the calls since, and hold now."""
        if not episode.goal.stages:
            return
        tried = problem.tried[episode.tried :]
        if tried and len(episode.goal.stages) > 1:
            space = self._space(problem, episode.goal, episode.facts)
            state = space.start
            for call in (t.call for t in tried if t.succeeded):
                if step := space.calls(state).get(call):
                    state = space.made(state, step)
                    episode.stage = space.onward(episode.stage, state)
        episode.stage = episode.goal.onward(episode.stage, problem.facts)
        episode.facts, episode.tried = problem.facts, len(problem.tried)

    def _space(self, problem: Problem, goal: Formula, facts: frozenset[Any]) -> Space:
        return Space(replace(problem, goal=goal, facts=facts), self.skills)

    # --- planning

    def begin(self, problem: Problem) -> Attempt:
        """A plan with no call yet, towards what was understood. Raises PlanError where that is nothing."""
        episode = self._episodes[self._key(problem)]
        if not episode.goal.stages:
            fix = "say what is to be where, or what the robot is to do"
            got = f"nothing that can be done in {problem.instruction!r}"
            raise PlanError(Fault(Failure.GOAL, "the instruction", got, "something to bring about", fix))
        space = self._space(problem, episode.goal, problem.facts)
        stage = space.onward(episode.stage, space.start)
        return Attempt(problem, space, space.start, stage, [], {(space.start, stage)})

    def _carry_out(self, attempts: Sequence[Attempt], number: int) -> None:
        """Take all attempts to their ends: the actor's likeliest calls the first time, drawn ones after that."""
        rng = np.random.default_rng((self.seed, number))
        while running := [a for a in attempts if a.open]:
            for i, _, table in self.looked_up(running):
                self._advance(running[i], table, rng if number else None)

    def looked_up(self, attempts: Sequence[Attempt]) -> Iterator[tuple[int, encoding.Board, np.ndarray]]:
        """Of each attempt, by its number and in some order: the board, and the log-probabilities [S, N, N] of all calls there."""
        groups: dict[int, list[tuple[int, encoding.Board]]] = {}
        for i, attempt in enumerate(attempts):
            board = batches.board_of(attempt.space, attempt.problem, attempt.state, attempt.stage)
            groups.setdefault(batches.fitting(len(board.node), batches.GRAPH), []).append((i, board))
        for size, group in groups.items():
            for (i, board), table in zip(group, self._tables([board for _, board in group], size), strict=True):
                yield i, board, table

    def _tables(self, boards: Sequence[encoding.Board], size: int) -> list[np.ndarray]:
        """Log-probabilities of all calls, [S, N, N] of each board."""
        lanes = _lanes(len(boards))
        arrays = (_filled(a, lanes) for a in batches.board_arrays(boards, size))
        return list(np.asarray(_act(self.weights.actor, *arrays, skills=len(self.skills)))[: len(boards)])

    def _advance(self, attempt: Attempt, table: np.ndarray, rng: np.random.Generator | None) -> None:
        """One more call."""
        space, things = attempt.space, attempt.problem.things
        able = space.calls(attempt.state)
        if self.mask == "applicable":
            ways = list(able)
        elif self.mask == "grammar":
            ways = _grammatical(self.skills, things)
        else:
            ways = [any_call(self.skills, things, table)[0]]
        index = {t.name: i for i, t in enumerate(things)}
        order = [self.skills.index(SKILLS[c.skill]) for c in ways]
        scores = np.array([_score(table, s, c, index) for s, c in zip(order, ways, strict=True)])
        if rng is not None:
            scores = scores / _TEMPERATURE + rng.gumbel(size=len(scores))
        for i in np.argsort(-scores):
            call = ways[i]
            if call not in able:
                attempt.make(call)
                return
            state = space.made(attempt.state, able[call])
            stage = space.onward(attempt.stage, state)
            if self.mask == "applicable" and ((state, stage) in attempt.seen or not space.allowed(state)):
                continue
            guard = attempt.problem.guard
            if self.mask == "applicable" and guard and guard.refuses(call, space.named(attempt.state), space.named(state)):
                continue
            attempt.make(call)
            attempt.log_prob += float(scores[i])
            return
        attempt.fault = True

    def _no_way(self, attempt: Attempt) -> PlanError:
        got = f"none of {self.tries} plans reaches {', '.join(describe(attempt.space.goal))}"
        fix = "ask for less at once, raise tries, or use the planner oracle"
        return PlanError(Fault(Failure.LIMIT, f"understood {attempt.problem.instruction!r}", got, "a plan that does", fix))


@functools.partial(jax.jit, static_argnames="skills")
def _act(params: Any, numbers: jax.Array, edges: jax.Array, skills: int) -> jax.Array:
    """Log-probabilities of all calls [B, S, N, N]: skill, first and second argument; without a second one the sum over it is meant."""
    logits: Any = Actor(skills).apply(params, numbers, edges)
    skill, first, second = (jax.nn.log_softmax(x) for x in logits)
    return (skill[..., None] + first)[..., None] + second


def _score(table: np.ndarray, skill: int, call: Call, index: dict[str, int]) -> float:
    """The log-probability of a call."""
    where = [index.get(name, -1) for name in call.args.values()]
    row = table[skill, where[0]]
    return float(row[where[1]]) if len(where) > 1 else float(np.logaddexp.reduce(row))


def any_call(
    skills: Sequence[Skill], things: Sequence[Entity], table: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[Call, np.ndarray]:
    """The likeliest call, or one that is drawn, whether it makes sense or not; and its numbers [3]: skill, first and second argument.

    A pointer to what is no thing has no name; the second argument of a skill of one is 0.
    """

    def pick(logits: np.ndarray) -> int:
        return int((logits if rng is None else logits + rng.gumbel(size=len(logits))).argmax())

    one = np.logaddexp.reduce(table, axis=-1)  # [S, N]
    skill = pick(np.logaddexp.reduce(one, axis=-1))
    first = pick(one[skill])
    where = [first, pick(table[skill, first])][: len(skills[skill].params)]
    names = [things[i].name if i < len(things) else "nothing" for i in where]
    call = Call(skills[skill].name, dict(zip((p.name for p in skills[skill].params), names, strict=True)))
    return call, np.array([skill, *where, 0][:3], np.int16)


def _grammatical(skills: Sequence[Skill], things: Sequence[Entity]) -> list[Call]:
    """Calls of skills with things of the kinds that they take."""
    found = []
    for skill in skills:
        ways: list[dict[str, str]] = [{}]
        for param in skill.params:
            ways = [{**way, param.name: t.name} for way in ways for t in things if t.type in param.kinds]
        found += [Call(skill.name, way) for way in ways]
    return found


def _by_size(problems: Sequence[Problem], spec: WorldSpec) -> dict[tuple[int, int], list[tuple[Problem, encoding.Sentence, encoding.Look]]]:
    """What is to be read, by the sizes to which it is padded."""
    groups: dict[tuple[int, int], list[tuple[Problem, encoding.Sentence, encoding.Look]]] = {}
    for problem in problems:
        if problem.scene is None:
            raise ValueError("planner 'embedded': got a problem without its scene, expected one with it: instructions say where things are")
        sentence = encoding.sentence(problem.instruction)
        look = encoding.look(Things.of(spec, problem.scene), problem.things, problem.facts)
        size = batches.fitting(max(len(sentence.sense), 1), batches.WORDS), batches.fitting(len(problem.things), batches.THINGS)
        groups.setdefault(size, []).append((problem, sentence, look))
    return groups


def _lanes(count: int) -> int:
    """The width of a program for so many: a power of two."""
    return 1 << (count - 1).bit_length()


def _filled(array: np.ndarray, lanes: int) -> jax.Array:
    """With copies of the first row up to the width of a program."""
    return jnp.asarray(np.concatenate([array, np.repeat(array[:1], lanes - len(array), 0)]))
