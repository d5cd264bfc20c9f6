"""Formulas out of the reader, on device; and what may be said of which things."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palaestra.envs.names import Entity
from palaestra.envs.types import PREDICATES
from palaestra.skills.operators import DOMAIN
from palaestra.skills.planners.embedded.encoding import END, FREE, MAX_ROWS, RULE, SAYINGS, THEN, Rows
from palaestra.skills.planners.embedded.networks import Memory, Reader, Said

_NO = -1e9
_Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def may_say(things: Sequence[Entity], count: int) -> np.ndarray:
    """Which things can be subjects and targets of what a row says [SAYINGS, 2, count] bool, by the kinds that predicates are of."""
    found = np.zeros((SAYINGS, 2, count), bool)
    for p, predicate in enumerate(PREDICATES):
        kinds = DOMAIN[predicate]
        targets = {kind for subject in kinds.subjects for kind in kinds.of(subject)}
        for i, thing in enumerate(things):
            found[p, :, i] = thing.type in kinds.subjects, thing.type in targets
    found[FREE, 0] = [i < len(things) and things[i].type == "object" for i in range(count)]
    return found


class Decoded(NamedTuple):
    """Formulas as arrays, side by side; `log_prob` of each [B]."""

    numbers: jax.Array  # [B, 4, G]
    masks: jax.Array  # [B, 2, G, E]
    stepwise: jax.Array  # [B]
    log_prob: jax.Array  # [B]

    def rows(self, i: int, things: int) -> Rows:
        """One of them, on the host."""
        numbers, masks = np.asarray(self.numbers[i]), np.asarray(self.masks[i])[..., :things]
        link, predicate, low, high = numbers
        return Rows(link, predicate, low, high, masks[0], masks[1], np.asarray(self.stepwise[i]))


@functools.partial(jax.jit, static_argnames="grammar")
def decode(
    params: Any, seen: tuple[jax.Array, ...], may: jax.Array, temperature: jax.Array, key: jax.Array, grammar: bool = True
) -> Decoded:
    """Formulas for what is seen (`batches.read_arrays`), row by row, each the likeliest, or drawn where the temperature [B] is above 0.

    `may` [B, SAYINGS, 2, E] (`may_say`). With the grammar a formula begins with a stage or a rule, a row speaks of things of the kinds
    that its predicate is of, and of one subject and one target at least.
    """
    reader = Reader()
    memory: Memory = reader.apply(params, *seen, method="read")  # type: ignore[assignment]
    n, things = seen[0].shape[0], seen[2].shape[1]
    hot = temperature > 0
    scale = 1.0 / jnp.where(hot, temperature, 1.0)
    there = memory.there[:, memory.words :]

    def one(key: jax.Array, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        drawn = jax.random.categorical(key, logits * scale[:, None])
        chosen = jnp.where(hot, drawn, logits.argmax(-1))
        return chosen, jnp.take_along_axis(jax.nn.log_softmax(logits), chosen[:, None], 1)[:, 0]

    def some(key: jax.Array, logits: jax.Array, allowed: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = jnp.where(allowed, logits, _NO)
        drawn = jax.random.bernoulli(key, jax.nn.sigmoid(logits * scale[:, None]))
        mask = jnp.where(hot[:, None], drawn, logits > 0) & there
        if grammar:  # at least the likeliest
            mask |= (~mask.any(1) & allowed.any(1))[:, None] & (jnp.arange(things) == logits.argmax(1)[:, None])
        mask &= wanted[:, None]
        sure = jnp.where(there & allowed & wanted[:, None], jax.nn.log_sigmoid(jnp.where(mask, logits, -logits)), 0.0)
        return mask, sure.sum(1)

    def row(carry: _Carry) -> _Carry:
        g, numbers, masks, over, log_prob, stepwise = carry
        said: Said = reader.apply(params, memory, numbers, masks, method="rows")  # type: ignore[assignment]
        keys = jax.random.split(jax.random.fold_in(key, g), 6)
        logits = jax.tree.map(lambda x: x[:, g] if x.ndim > 1 else x, said)
        link_logits = logits.link
        if grammar:
            kinds = jnp.arange(link_logits.shape[1])
            ruled = (g > 0) & (numbers[:, 0, jnp.maximum(g - 1, 0)] == RULE)
            first = (g == 0) & (kinds != THEN) & (kinds != RULE)
            link_logits = jnp.where(first | (ruled[:, None] & (kinds != RULE) & (kinds != END)), _NO, link_logits)
        link, p_link = one(keys[0], link_logits)
        link = jnp.where(over | (g == MAX_ROWS - 1), END, link)
        over = link == END
        predicate_logits = jnp.where(may[:, :, 0].any(-1), logits.predicate, _NO) if grammar else logits.predicate
        predicate, p_predicate = one(keys[1], predicate_logits)
        low, p_low = one(keys[2], logits.low)
        high, p_high = one(keys[3], logits.high)
        allowed = may[jnp.arange(n), predicate] if grammar else jnp.broadcast_to(there[:, None], (n, 2, things))
        free = predicate == FREE
        subjects, p_subjects = some(keys[4], logits.subjects, allowed[:, 0], ~over)
        targets, p_targets = some(keys[5], logits.targets, allowed[:, 1], ~over & ~free)
        sure = p_link + jnp.where(over, 0.0, p_predicate + p_subjects + jnp.where(free, 0.0, p_low + p_high + p_targets))
        log_prob += jnp.where(carry[3], 0.0, sure)
        column = jnp.where(over, 0, jnp.stack([link, predicate, low, high])).T.astype(numbers.dtype)
        numbers = numbers.at[:, :, g].set(column)
        masks = masks.at[:, :, g].set(jnp.stack([subjects, targets], 1))
        return g + 1, numbers, masks, over, log_prob, jnp.where(g == 0, said.stepwise > 0, stepwise)

    begin = (
        jnp.zeros((), jnp.int32),
        jnp.zeros((n, 4, MAX_ROWS), jnp.int8),
        jnp.zeros((n, 2, MAX_ROWS, things), bool),
        jnp.zeros(n, bool),
        jnp.zeros(n),
        jnp.zeros(n, bool),
    )
    _, numbers, masks, _, log_prob, stepwise = jax.lax.while_loop(lambda c: (c[0] < MAX_ROWS) & ~c[3].all(), row, begin)
    return Decoded(numbers, masks, stepwise, log_prob)
