"""EnvGen (Zala et al. 2024): now and then an author reads the success rates and writes the environments to train in next.

Episodes begin from the original distribution or from one of the author's configurations; the rates are those of the former, as the
policy explores. An author is a language model, or the rule below. What it writes is checked by `envs.configs` and is traced data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from palaestra.envs.autoreset import Randomise
from palaestra.envs.configs import ConfigError, GeneratorConfig, Space, Weights, closed, parse
from palaestra.envs.env import Env
from palaestra.envs.tasksets import TaskRange, TaskSetEnv
from palaestra.envs.types import TimeStep, row
from palaestra.sim.errors import PalaestraError
from palaestra.sim.files import write_atomically

LOG = "envgen.jsonl"  # in a run's folder: a line for every time that the author was asked


# --- authors ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What an author is asked."""

    space: Space
    rates: Mapping[str, tuple[int, int]]  # of every family of tasks: successes, and episodes
    present: Sequence[Mapping[str, Any]]  # the configurations in force
    most: int  # configurations that may be written
    refused: tuple[str, str] | None = None  # the answer before, and what was wrong with it

    def schema(self) -> dict[str, Any]:
        return closed({"environments": {"type": "array", "items": self.space.schema()}})

    def read(self, text: str) -> list[GeneratorConfig]:
        """The configurations of an answer. Raises ConfigError."""
        got = parse(text, "the answer")
        some = got.get("environments") if isinstance(got, dict) and len(got) == 1 else None
        if not isinstance(some, list) or not 1 <= len(some) <= self.most:
            expected = f'an object with the one key "environments", a list of 1 to {self.most} configurations'
            raise ConfigError(f"the answer: got {text[:80]!r}, expected {expected}. Fix: answer with this object alone")
        return [self.space.check(one, f"environments[{number}]") for number, one in enumerate(some)]


@dataclass(frozen=True)
class Answer:
    """What an author wrote, and the tokens that it took."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Author(Protocol):
    """Who writes configurations."""

    @property
    def name(self) -> str: ...

    def answer(self, request: Request) -> Answer:
        """JSON by the request's schema, to be checked. Raises PalaestraError where there is no answer."""
        ...


@dataclass(frozen=True)
class Scripted:
    """A rule in place of a language model: houses of the numbers of rooms, and kinds of goals in the measure, in which success
    is nearest to one half, as p (1 − p) has it."""

    name: str = "scripted"
    environments: int = 2

    def answer(self, request: Request) -> Answer:
        space = request.space

        def gain(family: str) -> float:
            won, tried = request.rates[family]
            p = (won + 1) / (tried + 2)  # so that never to have been tried is half
            return 4 * p * (1 - p)

        def best(name: str, values: Sequence[int]) -> list[int]:
            return sorted(values, key=lambda value: -gain(f"{name}: {value}"))

        config = space.original
        for name, knob in space.knobs.items():
            if isinstance(knob, Weights):
                told: dict[str, Any] = {name: {kind: max(1, round(10 * gain(f"{name}: {kind}"))) for kind in knob.names}}
                config = replace(config, **told)
        if "min_goals" in space.knobs:
            number = best("number of goals", range(config.min_goals, config.max_goals + 1))[0]
            config = replace(config, min_goals=number, max_goals=number)
        made = []
        for rooms in best("rooms", range(config.min_rooms, config.max_rooms + 1))[: min(self.environments, request.most)]:
            goals, rules = (
                {k: 0 if rooms == 1 and k in ("in_room", "keep_out") else w for k, w in x.items()} for x in (config.goals, config.rules)
            )
            made.append(space.as_dict(replace(config, min_rooms=rooms, max_rooms=rooms, goals=goals, rules=rules)))
        return Answer(json.dumps({"environments": made}))


@dataclass(frozen=True)
class Consultation:
    """How asking an author went."""

    answers: list[Answer] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # of answers that were refused, and what kept an answer from coming
    configs: list[GeneratorConfig] | None = None  # None: the old ones stay in force


def consult(author: Author, request: Request) -> Consultation:
    """Ask; where the answer is refused, say why and ask once more."""
    answers: list[Answer] = []
    faults: list[str] = []
    for _ in range(2):
        try:
            answers.append(author.answer(request))
        except PalaestraError as error:
            return Consultation(answers, [*faults, str(error)])
        try:
            return Consultation(answers, faults, request.read(answers[-1].text))
        except ConfigError as error:
            faults.append(str(error))
            request = replace(request, refused=(answers[-1].text, str(error)))
    return Consultation(answers, faults)


# --- the sampler --------------------------------------------------------------------------------------------------


class Tally(struct.PyTreeNode, kw_only=True):
    """What an author's work has come to in a run. [] int32 each."""

    calls: Any = 0
    refused: Any = 0  # answers that could not be used
    failed: Any = 0  # calls without an answer
    prompt_tokens: Any = 0
    completion_tokens: Any = 0


class EnvGenState(struct.PyTreeNode, kw_only=True):
    ranges: TaskRange  # [K] the configurations in force, the first `count` of them
    count: jax.Array  # [] int32
    member: jax.Array  # [B, families] bool, of the running episodes; those of configurations are in none
    won: jax.Array  # [families] int32, since the author was last asked
    tried: jax.Array  # [families] int32
    tally: Tally


@dataclass(frozen=True)
class EnvGen(Randomise):
    """A share of the episodes is drawn from configurations that an author writes by the success rates, the rest as ever."""

    author: Author = Scripted()
    every: int = 32  # rollouts between two times that the author is asked
    share: float = 0.5  # of the episodes that are drawn from configurations
    size: int = 4  # configurations at most

    def init(self, env: Env, keys: jax.Array) -> tuple[EnvGenState, Any, TimeStep]:
        tasks = _task_set(env)
        space, zero = Space(tasks), jnp.zeros((), jnp.int32)
        none = jnp.zeros(len(space.families), jnp.int32)
        level = jax.vmap(tasks.level)(keys)
        state = EnvGenState(
            ranges=jax.tree.map(lambda x: jnp.broadcast_to(x, (self.size, *x.shape)), space.ranges(space.original)),
            count=zero,
            member=jax.vmap(space.members)(level),
            won=none,
            tried=none,
            tally=jax.tree.map(lambda _: zero, Tally()),
        )
        return state, *jax.vmap(tasks.reset)(keys, level)

    def watch(self, state: EnvGenState, value: jax.Array, timestep: TimeStep) -> EnvGenState:
        del value
        over = state.member & timestep.done[:, None]
        won = over & timestep.metrics["success"][:, None]
        return state.replace(tried=state.tried + over.sum(0), won=state.won + won.sum(0))

    def turn(self, env: Env, state: EnvGenState, ids: jax.Array, keys: jax.Array) -> tuple[EnvGenState, Any, TimeStep]:
        tasks = _task_set(env)
        space, original = Space(tasks), tasks.task_range

        def one(key: jax.Array) -> tuple[jax.Array, Any, TimeStep]:
            k_level, k_which, k_share, k_reset = jax.random.split(key, 4)
            written = (jax.random.uniform(k_share) < self.share) & (state.count > 0)
            which = row(state.ranges, jax.random.randint(k_which, (), 0, jnp.maximum(state.count, 1)))
            ranges = jax.tree.map(lambda new, old: jnp.where(written, new, old), which, original)
            level = tasks.within(ranges).level(k_level)
            return space.members(level) & ~written, *tasks.reset(k_reset, level)

        member, begun, timestep = jax.vmap(one)(keys)
        return state.replace(member=state.member.at[ids].set(member, mode="drop")), begun, timestep

    def renew(self, env: Env, state: EnvGenState, rollouts: int, folder: Path) -> EnvGenState:
        """The state after the author was asked, if it is time. Its answers are kept in the run's folder; a run that goes on from
        a checkpoint takes those to the same question from there, so it goes on to the same numbers."""
        if rollouts % self.every:
            return state
        space = Space(_task_set(env))
        won, tried = np.asarray(state.won).tolist(), np.asarray(state.tried).tolist()
        rates = dict(zip(space.families, zip(won, tried, strict=True), strict=True))
        kept = _read_log(folder / LOG)
        past = [line for line in kept if line["rollouts"] < rollouts]
        present = past[-1]["environments"] if past else []
        question = {"rollouts": rollouts, "author": self.author.name, "rates": {k: list(v) for k, v in rates.items()}, "present": present}
        known = [line for line in kept if all(line.get(name) == value for name, value in question.items())]
        request = Request(space, rates, present, self.size)
        went = consult(_Recorded(known[0]) if known else self.author, request)
        refused = len(went.answers) - (went.configs is not None)
        spent = Tally(
            calls=len(went.answers) + len(went.faults) - refused,
            refused=refused,
            failed=len(went.faults) - refused,
            prompt_tokens=sum(answer.prompt_tokens for answer in went.answers),
            completion_tokens=sum(answer.completion_tokens for answer in went.answers),
        )
        tally = jax.tree.map(lambda old, new: old + jnp.int32(new), state.tally, spent)
        line = question | {
            "answers": [asdict(answer) for answer in went.answers],
            "faults": went.faults,
            "environments": present if went.configs is None else [space.as_dict(config) for config in went.configs],
            "tally": {name: int(value) for name, value in vars(tally).items()},
        }
        write_atomically(folder / LOG, "".join(f"{json.dumps(x)}\n" for x in [*past, line]).encode())
        fresh = state.replace(won=jnp.zeros_like(state.won), tried=jnp.zeros_like(state.tried), tally=tally)
        if went.configs is None:
            return fresh
        filled = [space.ranges(config) for config in went.configs]
        stack = jax.tree.map(lambda *rows: jnp.stack(rows), *filled, *[filled[0]] * (self.size - len(filled)))
        return fresh.replace(ranges=stack, count=jnp.int32(len(filled)))


class _Recorded:
    """The answers of a line of the log, once more."""

    def __init__(self, line: dict[str, Any]):
        self.name = line["author"]
        self._answers, self._faults = list(line["answers"]), line["faults"]

    def answer(self, request: Request) -> Answer:
        del request
        if not self._answers:
            raise PalaestraError(self._faults[-1])
        return Answer(**self._answers.pop(0))


def _read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def tally(folder: Path) -> dict[str, int]:
    """What the author's work has come to in the run of this folder, as `Tally` has it."""
    lines = _read_log(folder / LOG)
    return dict(lines[-1]["tally"]) if lines else {}


def _task_set(env: Env) -> TaskSetEnv:
    if not isinstance(env, TaskSetEnv):
        raise PalaestraError(f"{env.name}: has no generator that can be configured; the sampler envgen is for task sets")
    return env
