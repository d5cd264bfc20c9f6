"""The two transformers. Things have no order and no number: attention between them is biased by how they stand to each other.

Axes as in `encoding`, behind one axis B of a batch; H heads, D features.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from palaestra.envs.types import PREDICATES
from palaestra.skills.planners.embedded.encoding import (
    COUNTS,
    EDGES,
    LATER,
    LINKS,
    NODES,
    OPTIONS,
    SAYINGS,
    SENSES,
    sense_attributes,
)
from palaestra.skills.planners.embedded.phrases import UNLISTED

_NO = -1e9  # of what is not there
_DISTANCES = 16  # between words that are told apart, to each side; from half of them on by the logarithm
_FURTHEST = 64


class Attention(nn.Module):
    """Heads that look from some tokens at others."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, to: jax.Array, bias: jax.Array) -> jax.Array:
        """x [B, T, D] looks at `to` [B, S, D]; bias broadcasts to [B, H, T, S]."""
        size = x.shape[-1]
        shape = (*x.shape[:-1], self.heads, size // self.heads)
        q = nn.Dense(size, use_bias=False, name="query")(x).reshape(shape)
        k, v = (nn.Dense(size, use_bias=False, name=n)(to).reshape(*to.shape[:-1], *shape[-2:]) for n in ("key", "value"))
        weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k) / shape[-1] ** 0.5 + bias)
        seen = jnp.einsum("bhts,bshd->bthd", weights, v).reshape(x.shape)
        return nn.Dense(size, use_bias=False, name="out")(seen)


class Block(nn.Module):
    """Attention among the tokens, then, where there is something else to look at, at that, then each token for itself."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array, to: jax.Array | None = None, to_bias: jax.Array | None = None) -> jax.Array:
        h = nn.LayerNorm(name="norm_self")(x)
        x = x + Attention(self.heads, name="self")(h, h, bias)
        if to is not None and to_bias is not None:
            x = x + Attention(self.heads, name="other")(nn.LayerNorm(name="norm_other")(x), to, to_bias)
        h = nn.Dense(4 * x.shape[-1], name="up")(nn.LayerNorm(name="norm_each")(x))
        return x + nn.Dense(x.shape[-1], name="down")(nn.gelu(h))


def _bits(values: jax.Array, count: int) -> jax.Array:
    """Integers as their bits [..., count] float32."""
    return (values[..., None].astype(jnp.int32) >> jnp.arange(count) & 1).astype(jnp.float32)


def _distance(size: int) -> jax.Array:
    """Numbers of the distances between words [W, W], from 0 to 2 * _DISTANCES."""
    offset = jnp.arange(size)[None] - jnp.arange(size)[:, None]
    half = _DISTANCES // 2
    far = half + jnp.log(jnp.maximum(abs(offset), 1) / half) / jnp.log(_FURTHEST / half) * (_DISTANCES - half)
    steps = jnp.where(abs(offset) < half, abs(offset), jnp.minimum(far, _DISTANCES)).astype(jnp.int32)
    return _DISTANCES + jnp.sign(offset) * steps


class Said(struct.PyTreeNode):
    """Logits of the rows of a formula, one row each."""

    link: jax.Array  # [B, G, links]
    predicate: jax.Array  # [B, G, SAYINGS]
    low: jax.Array  # [B, G, COUNTS]
    high: jax.Array  # [B, G, COUNTS]
    subjects: jax.Array  # [B, G, E]
    targets: jax.Array  # [B, G, E]
    stepwise: jax.Array  # [B]


class Memory(struct.PyTreeNode):
    """An instruction and a scene, once read."""

    tokens: jax.Array  # [B, W + E, D]
    there: jax.Array  # [B, W + E] bool
    words: int = struct.field(pytree_node=False)

    @property
    def things(self) -> jax.Array:
        return self.tokens[:, self.words :]


class Reader(nn.Module):
    """From an instruction in a scene to a formula, row by row."""

    size: int = 128
    heads: int = 4
    layers: int = 4
    row_layers: int = 2

    def setup(self) -> None:
        size = self.size
        self.sense = nn.Embed(len(SENSES), size)
        self.word = nn.Embed(len(UNLISTED) + 1, size)
        self.attribute = nn.Dense(size, use_bias=False)  # one for words and things: what is called red, and what is
        self.thing = self.param("thing", nn.initializers.normal(0.02), (size,))
        self.distance = nn.Embed(2 * _DISTANCES + 1, self.layers * self.heads)
        self.called = [nn.Dense(self.layers * self.heads, use_bias=False) for _ in range(2)]
        self.relation = nn.Dense(32)
        self.relation_bias = nn.Dense(self.layers * self.heads)
        self.blocks = [Block(self.heads) for _ in range(self.layers)]
        self.norm = nn.LayerNorm()
        self.row_blocks = [Block(self.heads) for _ in range(self.row_layers)]
        self.row_norm = nn.LayerNorm()
        self.numbers = [nn.Embed(n, size) for n in (len(LINKS), SAYINGS, COUNTS, COUNTS)]
        self.masks = [nn.Dense(size, use_bias=False) for _ in range(2)]
        self.begin = self.param("begin", nn.initializers.normal(0.02), (size,))
        self.number_heads = [nn.Dense(n) for n in (len(LINKS), SAYINGS, COUNTS, COUNTS)]
        self.pointers = [nn.Dense(size) for _ in range(2)]
        self.keys = [nn.Dense(size) for _ in range(2)]
        self.threshold = self.param("threshold", nn.initializers.zeros, (2,))
        self.stepwise_head = nn.Dense(1)

    def __call__(
        self,
        sense: jax.Array,
        word: jax.Array,
        attributes: jax.Array,
        at: jax.Array,
        facts: jax.Array,
        numbers: jax.Array,
        masks: jax.Array,
    ) -> Said:
        """Logits of each row from those before it (as in `examples.Readings`)."""
        return self.rows(self.read(sense, word, attributes, at, facts), numbers, masks)

    def read(self, sense: jax.Array, word: jax.Array, attributes: jax.Array, at: jax.Array, facts: jax.Array) -> Memory:
        """sense, word [B, W], attributes [B, E, A], at [B, E, 2], facts [B, E, E]."""
        named = jnp.asarray(sense_attributes())[sense]
        words = self.sense(sense) + self.word(word) + self.attribute(named)
        things = self.thing + self.attribute(attributes.astype(jnp.float32))
        there = jnp.concatenate([sense > 0, attributes.any(-1)], 1)
        x = jnp.concatenate([words, things], 1)
        w, n = words.shape[1], x.shape[1]
        among = jnp.moveaxis(self._among(at, facts), -1, 1)  # [B, layers * heads, E, E]
        near = jnp.moveaxis(self.distance(_distance(w)), -1, 0)
        fits = jnp.einsum("bwa,bea->bwe", named, attributes.astype(jnp.float32))[..., None]
        fits = jnp.concatenate([fits, named.any(-1)[:, :, None, None] * (1.0 - fits)], -1)  # whether a word says what a thing is, or not is
        to_things, to_words = (jnp.moveaxis(dense(fits), -1, 1) for dense in self.called)
        hidden = jnp.where(there, 0.0, _NO)[:, None, None]
        for i, block in enumerate(self.blocks):
            mine = slice(i * self.heads, (i + 1) * self.heads)
            words_bias = jnp.zeros((1, self.heads, n, n)).at[0, :, :w, :w].set(near[mine])
            bias = (words_bias + hidden).at[:, :, w:, w:].add(among[:, mine]).at[:, :, :w, w:].add(to_things[:, mine])
            x = block(x, bias.at[:, :, w:, :w].add(jnp.swapaxes(to_words[:, mine], 2, 3)))
        return Memory(tokens=self.norm(x), there=there, words=w)

    def _among(self, at: jax.Array, facts: jax.Array) -> jax.Array:
        """How things stand to each other: facts either way, directions, and distances."""
        bits = _bits(facts, len(PREDICATES))
        offset = at[:, None].astype(jnp.float32) - at[:, :, None].astype(jnp.float32)
        distance = jnp.linalg.norm(offset + 1e-6, axis=-1, keepdims=True)
        slope = offset / (abs(offset).sum(-1, keepdims=True) + 0.05)
        parts = [bits, jnp.swapaxes(bits, 1, 2), jnp.tanh(offset / 0.3), slope, distance / 3.0, jnp.exp(-distance)]
        return self.relation_bias(nn.gelu(self.relation(jnp.concatenate(parts, -1))))

    def rows(self, memory: Memory, numbers: jax.Array, masks: jax.Array) -> Said:
        """Logits of rows [B, G], each from those before it: numbers [B, 4, G] and masks [B, 2, G, E] of all."""
        embedded: jax.Array = sum((embed(numbers[:, i]) for i, embed in enumerate(self.numbers)), jnp.zeros(()))
        for i, dense in enumerate(self.masks):
            mask = masks[:, i].astype(jnp.float32)
            embedded += dense(jnp.einsum("bge,bed->bgd", mask, memory.things) / jnp.maximum(mask.sum(-1, keepdims=True), 1.0))
        begin = jnp.broadcast_to(self.begin, (embedded.shape[0], 1, self.size))
        x = jnp.concatenate([begin, embedded[:, :-1]], 1)
        g = x.shape[1]
        causal = jnp.where(jnp.tril(jnp.ones((g, g), bool)), 0.0, _NO)[None, None]
        to_bias = jnp.where(memory.there, 0.0, _NO)[:, None, None]
        for block in self.row_blocks:
            x = block(x, causal, memory.tokens, to_bias)
        x = self.row_norm(x)
        link, predicate, low, high = (head(x) for head in self.number_heads)
        there = memory.there[:, None, memory.words :]
        pointed = [
            jnp.where(there, jnp.einsum("bgd,bed->bge", ask(x), key(memory.things)) / self.size**0.5 + self.threshold[i], _NO)
            for i, (ask, key) in enumerate(zip(self.pointers, self.keys, strict=True))
        ]
        return Said(
            link=link,
            predicate=predicate,
            low=low,
            high=high,
            subjects=pointed[0],
            targets=pointed[1],
            stepwise=self.stepwise_head(x[:, 0])[:, 0],
        )


class Actor(nn.Module):
    """From a board to a call."""

    skills: int
    size: int = 128
    heads: int = 4
    layers: int = 4

    @nn.compact
    def __call__(self, numbers: jax.Array, edges: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """numbers [B, 6, N], edges [B, N, N] -> logits of skills [B, S], of first arguments [B, S, N], and of second ones [B, S, N, N]."""
        size = self.size
        node, *rest = jnp.moveaxis(numbers, 1, 0)
        x = nn.Embed(NODES + 1, size, name="node")(node)
        is_row = (node >= NODES - 2) & (node < NODES)
        for name, values, count in zip(
            ("predicate", "low", "high", "stage", "option"), rest, (len(PREDICATES), COUNTS, COUNTS, LATER + 1, OPTIONS), strict=True
        ):
            x += jnp.where(is_row[..., None], nn.Embed(count, size, name=name)(values), 0.0)
        bits = _bits(edges, len(EDGES))
        bias = nn.Dense(self.layers * self.heads, name="edges")(jnp.concatenate([bits, jnp.swapaxes(bits, 1, 2)], -1))
        there = node < NODES
        bias = jnp.moveaxis(bias, -1, 1) + jnp.where(there, 0.0, _NO)[:, None, None]
        for i in range(self.layers):
            x = Block(self.heads, name=f"block_{i}")(x, bias[:, i * self.heads : (i + 1) * self.heads])
        x = nn.LayerNorm(name="norm")(x)
        whole = jnp.concatenate([x[:, 0], jnp.where(there[..., None], x, 0.0).sum(1) / there.sum(1, keepdims=True)], -1)
        skill = nn.Dense(self.skills, name="skill")(nn.gelu(nn.Dense(size, name="whole")(whole)))
        hidden = jnp.where(there, 0.0, _NO)
        ask = nn.Dense(size, name="ask")(whole)[:, None] + nn.Embed(self.skills, size, name="first")(jnp.arange(self.skills))
        first = jnp.einsum("bsd,bnd->bsn", ask, nn.Dense(size, name="first_key")(x)) / size**0.5 + hidden[:, None]
        half = size // 2
        ask = nn.Embed(self.skills, half, name="second")(jnp.arange(self.skills))[None, :, None] + nn.Dense(half, name="given")(x)[:, None]
        second = jnp.einsum("bsnd,bmd->bsnm", nn.gelu(ask), nn.Dense(half, name="second_key")(x)) / half**0.5
        return skill, first, second + hidden[:, None, None]
