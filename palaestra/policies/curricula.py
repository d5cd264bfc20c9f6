"""Samplers that choose levels by how much there is to learn from them: prioritised replay, ACCEL, sampling for learnability.

Episodes end one by one, so levels are scored and drawn one by one, by the papers' own rules: no rollout is put aside for new
levels or for replayed ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.autoreset import Act, Randomise, Sampler
from palaestra.envs.env import Editable, Env, Levelled
from palaestra.envs.types import TimeStep, row
from palaestra.policies.envgen import EnvGen
from palaestra.policies.returns import generalised_advantages
from palaestra.sim.errors import PalaestraError, UnknownNameError

# --- scores -------------------------------------------------------------------------------------------------------


class Episode(struct.PyTreeNode, kw_only=True):
    """What happened in an episode. Entries from `length` on are of others."""

    value: jax.Array  # [H] what the policy expected before each step, in units of reward
    reward: jax.Array  # [H]
    length: jax.Array  # [] int32

    @property
    def lived(self) -> jax.Array:
        """[H] bool."""
        return jnp.arange(len(self.value)) < self.length

    @property
    def total(self) -> jax.Array:
        """The return [], undiscounted."""
        return jnp.where(self.lived, self.reward, 0.0).sum()

    def mean(self, x: jax.Array) -> jax.Array:
        return jnp.where(self.lived, x, 0.0).sum() / jnp.maximum(self.length, 1).astype(jnp.float32)


Score = Callable[[Episode, jax.Array], jax.Array]  # (an episode, the highest return of its level so far []) -> []


def max_monte_carlo(episode: Episode, best: jax.Array) -> jax.Array:
    """Mean over t of R_max − V(sₜ), with R_max the highest return of the level (Jiang et al. 2021)."""
    return episode.mean(best - episode.value)


def positive_value_loss(gamma: float, lam: float) -> Score:
    """Mean over t of max(Aₜ, 0), A by generalised advantage estimation (Jiang et al. 2021). An episode's end counts as the end."""

    def score(episode: Episode, best: jax.Array) -> jax.Array:
        del best
        last = jnp.arange(len(episode.value)) == episode.length - 1
        after = jnp.roll(episode.value, -1)
        advantage = generalised_advantages(episode.reward, episode.value, after, last, last, gamma, lam)
        return episode.mean(jnp.maximum(advantage, 0.0))

    return score


def learnability(success_rate: jax.Array) -> jax.Array:
    """p (1 − p), and a little for p itself, so that of two levels that teach nothing the solved one is taken (Rutherford et al. 2024)."""
    return success_rate * (1.0 - success_rate) + 0.001 * success_rate


# --- prioritised level replay -------------------------------------------------------------------------------------


def replay_distribution(
    score: jax.Array, age: jax.Array, filled: jax.Array, temperature: float | jax.Array, staleness: float | jax.Array
) -> jax.Array:
    """P = (1 − ρ) P_S + ρ P_C over the levels of a buffer [N] (Jiang, Grefenstette and Rocktäschel 2021).

    P_S ∝ (1 / rank)^(1/β), where rank 1 is the highest score, and P_C ∝ age. β: temperature, ρ: staleness.

    Args:
        score: [N].
        age: [N] int32, episodes since the level was last drawn.
        filled: [N] bool, which places of the buffer hold a level; others get none of the probability.
    """
    order = jnp.argsort(jnp.where(filled, -score, jnp.inf), stable=True)
    rank = jnp.zeros(len(score)).at[order].set(jnp.arange(1.0, len(score) + 1))
    by_score = jnp.where(filled, rank ** (-1.0 / temperature), 0.0)
    by_age = jnp.where(filled, age, 0).astype(jnp.float32)
    by_score = by_score / jnp.maximum(by_score.sum(), 1e-9)
    total = by_age.sum()
    by_age = jnp.where(total > 0, by_age / jnp.maximum(total, 1.0), by_score)
    return (1.0 - staleness) * by_score + staleness * by_age


class Buffer(struct.PyTreeNode, kw_only=True):
    """Levels [N] and what is known of them."""

    level: Any
    score: jax.Array  # [N]
    best: jax.Array  # [N] the highest return so far
    drawn: jax.Array  # [N] int32, the clock when it was last drawn
    born: jax.Array  # [N] int32, the clock when it came in: tells a level from the one that had its place before; -1: none yet
    clock: jax.Array  # [] int32, episodes begun

    @staticmethod
    def empty(size: int, level: Any) -> "Buffer":
        """Room for `size` levels like this one."""
        none = jnp.zeros(size, jnp.int32)
        return Buffer(
            level=jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), level),
            score=jnp.zeros(size),
            best=jnp.zeros(size),
            drawn=none,
            born=none - 1,
            clock=jnp.zeros((), jnp.int32),
        )

    @property
    def filled(self) -> jax.Array:
        return self.born >= 0

    def probabilities(self, temperature: float, staleness: float) -> jax.Array:
        return replay_distribution(self.score, self.clock - self.drawn, self.filled, temperature, staleness)

    def holds(self, place: jax.Array, born: jax.Array) -> jax.Array:
        """Whether the level that came to `place` at `born` is still there [] bool; a place of -1 is none."""
        return (place >= 0) & (self.born[place] == born)

    def put(
        self, place: jax.Array, level: Any, score: jax.Array, best: jax.Array, born: jax.Array, drawn: jax.Array, *, when: jax.Array
    ) -> "Buffer":
        """With this level at `place`, where `when` [] bool holds."""
        at = jnp.where(when, place, len(self.score))

        def put(old: jax.Array, new: jax.Array) -> jax.Array:
            return old.at[at].set(new, mode="drop")

        new = Buffer(level=level, score=score, best=best, drawn=drawn, born=born, clock=self.clock)
        return jax.tree.map(put, self.replace(clock=None), new.replace(clock=None)).replace(clock=self.clock)


class Playing(struct.PyTreeNode, kw_only=True):
    """The episodes that run [B], and what their levels are to the buffer."""

    level: Any
    place: jax.Array  # [B] int32, where in the buffer the level was drawn from; -1: it was not
    born: jax.Array  # [B] int32, of the level there
    best: jax.Array  # [B] the level's highest return before
    episode: Episode


class ReplayState(struct.PyTreeNode, kw_only=True):
    buffer: Buffer
    playing: Playing


@dataclass(frozen=True)
class Replay(Randomise):
    """Prioritised level replay, robust and plain, and ACCEL (Parker-Holder et al. 2022) where `edited` is above 0.

    An episode begins from a level of the buffer with probability `replay`, else from one that is fresh, or that is edited: drawn
    from the buffer and then changed. Such a level, once played, enters where it beats the one that is least likely to be drawn.
    """

    score: Score = max_monte_carlo
    size: int = 1000  # levels in the buffer
    replay: float = 0.5  # the probability that an episode replays
    staleness: float = 0.3  # ρ, the share of the distribution that goes by age
    temperature: float = 0.3  # β of the ranks: the lower, the more the first ones get
    fill: float = 0.5  # the share of the buffer that is filled before anything is replayed
    robust: bool = False  # learn from replayed levels alone
    edited: float = 0.0  # of the episodes that do not replay, the share that play an edited level
    edits: int = 5  # changes that make one

    def init(self, env: Env, keys: jax.Array) -> tuple[ReplayState, Any, TimeStep]:
        levelled = _levelled(env)
        level = jax.vmap(levelled.level)(keys)
        none, zero, history = jnp.full(len(keys), -1, jnp.int32), jnp.zeros(len(keys)), jnp.zeros((len(keys), env.horizon))
        episode = Episode(value=history, reward=history, length=none + 1)
        playing = Playing(level=level, place=none, born=none, best=zero - jnp.inf, episode=episode)
        buffer = Buffer.empty(self.size, row(level, 0)).replace(clock=jnp.asarray(len(keys), jnp.int32))
        return ReplayState(buffer=buffer, playing=playing), *jax.vmap(levelled.reset)(keys, level)

    def watch(self, state: ReplayState, value: jax.Array, timestep: TimeStep) -> ReplayState:
        episode = state.playing.episode
        at = jnp.arange(len(value)), episode.length
        episode = Episode(
            value=episode.value.at[at].set(value, mode="drop"),
            reward=episode.reward.at[at].set(timestep.reward, mode="drop"),
            length=episode.length + 1,
        )
        return state.replace(playing=state.playing.replace(episode=episode))

    def turn(self, env: Env, state: ReplayState, ids: jax.Array, keys: jax.Array) -> tuple[ReplayState, Any, TimeStep]:
        levelled = _levelled(env)
        count = len(state.playing.place)
        k_fresh, k_draw, k_edit, k_reset = jax.vmap(lambda key: jax.random.split(key, 4), out_axes=1)(keys)

        def one(buffer: Buffer, x: tuple[Playing, jax.Array, jax.Array]) -> tuple[Buffer, Any]:
            over, real, key = x
            return self.draw(key, self.remember(buffer, over, real), real)

        over = row(state.playing, jnp.minimum(ids, count - 1))
        buffer, (drawn, place, replays, edited) = jax.lax.scan(one, state.buffer, (over, ids < count, k_draw))
        level = _where(replays, drawn, jax.vmap(levelled.level)(k_fresh))
        if self.edited:
            level = _where(edited, jax.vmap(self._edit, in_axes=(None, 0, 0))(env, k_edit, drawn), level)
        history = jnp.zeros((len(ids), env.horizon))
        begun = Playing(
            level=level,
            place=jnp.where(replays, place, -1),
            born=jnp.where(replays, buffer.born[place], -1),
            best=jnp.where(replays, buffer.best[place], -jnp.inf),
            episode=Episode(value=history, reward=history, length=jnp.zeros(len(ids), jnp.int32)),
        )
        playing = jax.tree.map(lambda old, new: old.at[ids].set(new, mode="drop"), state.playing, begun)
        return ReplayState(buffer=buffer, playing=playing), *jax.vmap(levelled.reset)(k_reset, level)

    def remember(self, buffer: Buffer, over: Playing, real: jax.Array) -> Buffer:
        """The buffer after one episode: its level's score renewed, or the level taken in where it deserves it."""
        known = buffer.holds(over.place, over.born)
        best = jnp.maximum(over.best, over.episode.total)
        score = self.score(over.episode, best)
        weight = jnp.where(buffer.filled, buffer.probabilities(self.temperature, self.staleness), -1.0)
        lowest = jnp.argmin(weight)  # an empty place, while there is one
        wins = ~buffer.filled[lowest] | (score > buffer.score[lowest])
        place = jnp.where(known, over.place, lowest).astype(jnp.int32)
        born, drawn = jnp.where(known, over.born, buffer.clock), jnp.where(known, buffer.drawn[place], buffer.clock)
        return buffer.put(place, over.level, score, best, born, drawn, when=real & (known | wins))

    def draw(self, key: jax.Array, buffer: Buffer, real: jax.Array) -> tuple[Buffer, tuple[Any, jax.Array, jax.Array, jax.Array]]:
        """A level for one episode and its place, and whether it is replayed, or is to be edited first; else a fresh one is due."""
        k_place, k_how = jax.random.split(key)
        place = jax.random.categorical(k_place, jnp.log(buffer.probabilities(self.temperature, self.staleness))).astype(jnp.int32)
        ready, u = buffer.filled.mean() >= self.fill, jax.random.uniform(k_how)
        replays = ready & (u < self.replay)
        edited = ready & ~replays & (u < self.replay + (1.0 - self.replay) * self.edited)
        level, at = row(buffer.level, place), jnp.where(replays & real, place, self.size)
        clock = buffer.clock + real.astype(jnp.int32)
        return buffer.replace(drawn=buffer.drawn.at[at].set(clock, mode="drop"), clock=clock), (level, place, replays, edited)

    def _edit(self, env: Env, key: jax.Array, level: Any) -> Any:
        if not isinstance(env, Editable):
            raise PalaestraError(f"{env.name}: its levels cannot be edited, so there is no ACCEL for it; plr and robust-plr need no edits")
        keys = jax.random.split(key, self.edits)
        return jax.lax.scan(lambda level, key: (env.edit(key, level), None), level, keys)[0]

    def learns(self, state: ReplayState) -> jax.Array | None:  # type: ignore[override]
        return state.playing.place >= 0 if self.robust else None


# --- sampling for learnability ------------------------------------------------------------------------------------


class LearnableState(struct.PyTreeNode, kw_only=True):
    level: Any  # [keep] the levels that are trained on
    score: jax.Array  # [keep]
    rollouts: jax.Array  # [] int32, made so far


@dataclass(frozen=True)
class Learnable(Randomise):
    """Sampling for learnability (Rutherford et al. 2024): now and then, fresh levels are tried, and those with the largest p (1 − p)
    kept; until the next time a share of the episodes begins from these, the others from fresh levels."""

    candidates: int = 256  # levels that are tried
    tries: int = 4  # episodes of each
    keep: int = 64  # of them
    every: int = 32  # rollouts
    share: float = 0.5  # of the episodes that begin from levels that were kept

    def init(self, env: Env, keys: jax.Array) -> tuple[LearnableState, Any, TimeStep]:
        levelled = _levelled(env)
        level = jax.eval_shape(levelled.level, keys[0])
        state = LearnableState(
            level=jax.tree.map(lambda x: jnp.zeros((self.keep, *x.shape), x.dtype), level),
            score=jnp.zeros(self.keep),
            rollouts=jnp.zeros((), jnp.int32),
        )
        return state, *jax.vmap(env.begin)(keys)

    def refresh(self, env: Env, state: LearnableState, key: jax.Array, act: Act) -> LearnableState:
        due = state.rollouts % self.every == 0
        fresh = jax.lax.cond(due, lambda: self.sweep(env, key, act), lambda: (state.level, state.score))
        return LearnableState(level=fresh[0], score=fresh[1], rollouts=state.rollouts + 1)

    def sweep(self, env: Env, key: jax.Array, act: Act) -> tuple[Any, jax.Array]:
        """The levels to keep, and their scores, from `tries` episodes of each candidate; key is consumed."""
        levelled = _levelled(env)
        k_level, k_reset, k_act = jax.random.split(key, 3)
        level = jax.vmap(levelled.level)(jax.random.split(k_level, self.candidates))
        lots = jax.tree.map(lambda x: jnp.repeat(x, self.tries, axis=0), level)
        state, first = jax.vmap(levelled.reset)(jax.random.split(k_reset, self.candidates * self.tries), lots)

        def one(carry: tuple[Any, ...], key: jax.Array) -> tuple[tuple[Any, ...], None]:
            state, observation, over, won = carry
            state, timestep = jax.vmap(env.step)(state, act(key, observation))
            won |= ~over & timestep.done & timestep.metrics["success"]
            return (state, timestep.observation, over | timestep.done, won), None

        no = jnp.zeros(self.candidates * self.tries, bool)
        carry, _ = jax.lax.scan(one, (state, first.observation, no, no), jax.random.split(k_act, env.horizon))
        score, best = jax.lax.top_k(learnability(carry[3].reshape(-1, self.tries).mean(-1)), self.keep)
        return row(level, best), score

    def turn(self, env: Env, state: LearnableState, ids: jax.Array, keys: jax.Array) -> tuple[LearnableState, Any, TimeStep]:
        del ids
        levelled = _levelled(env)
        k_fresh, k_which, k_share, k_reset = jax.vmap(lambda key: jax.random.split(key, 4), out_axes=1)(keys)
        kept = row(state.level, jax.vmap(lambda key: jax.random.randint(key, (), 0, self.keep))(k_which))
        chosen = jax.vmap(jax.random.uniform)(k_share) < self.share
        level = _where(chosen, kept, jax.vmap(levelled.level)(k_fresh))
        return state, *jax.vmap(levelled.reset)(k_reset, level)

    def cost(self, env: Env, rollouts: int) -> int:
        return -(-rollouts // self.every) * self.candidates * self.tries * env.horizon


# --- by name ------------------------------------------------------------------------------------------------------

SAMPLERS: dict[str, Sampler] = {
    "randomise": Randomise(),
    "plr": Replay(),
    "robust-plr": Replay(robust=True),
    # Of nine episodes four replay, four play an edited level and one a fresh one: the paper's rate of replay, 0.8, with an edit each.
    "accel": Replay(robust=True, replay=4 / 9, staleness=0.5, edited=0.8),
    "learnability": Learnable(),
    "envgen": EnvGen(),
}


def sampler(name: str) -> Sampler:
    """The sampler of this name, with the settings of its paper."""
    if name not in SAMPLERS:
        raise UnknownNameError("sampler", name, SAMPLERS)
    return SAMPLERS[name]


def _levelled(env: Env) -> Levelled:
    if not isinstance(env, Levelled):
        raise PalaestraError(f"{env.name}: has no levels to choose among; randomise is the sampler that needs none")
    return env


def _where(chosen: jax.Array, one: Any, other: Any) -> Any:
    """Rows [k] of `one` where `chosen` [k] holds, else of `other`."""
    return jax.tree.map(lambda a, b: jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b), one, other)
