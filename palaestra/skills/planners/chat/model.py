"""A decoder of Llama's architecture (Touvron et al. 2023), with weights named and laid out as llama.cpp reads them."""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

_MASKED = -1e9


@dataclass(frozen=True)
class Size:
    """Of the network; with 512 words the defaults make 0.87 million parameters."""

    vocabulary: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 352  # of the feed-forward parts
    context: int = 1024  # tokens
    theta: float = 10_000.0  # of the rotations: the base of their wavelengths
    epsilon: float = 1e-5


def rotated(x: jax.Array, theta: float) -> jax.Array:
    """Rotary positions (Su et al. 2021) on queries or keys [B, T, heads, D]: the pairs are neighbours, as llama.cpp has them."""
    length, width = x.shape[1], x.shape[-1]
    angles = jnp.arange(length)[:, None] * theta ** (-jnp.arange(0, width, 2) / width)
    cos, sin = jnp.cos(angles)[:, None], jnp.sin(angles)[:, None]
    even, odd = x[..., ::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1).reshape(x.shape)


class Block(nn.Module):
    """Attention to what came before, and a gated feed-forward part; each on the normed stream, added to it."""

    size: Size

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        s = self.size
        width = s.width // s.heads

        def linear(features: int, name: str) -> nn.Dense:
            return nn.Dense(features, use_bias=False, kernel_init=nn.initializers.normal(0.02), name=name)

        seen = nn.RMSNorm(s.epsilon, name="attn_norm")(x)
        q, k, v = (linear(s.width, f"attn_{part}")(seen).reshape(*x.shape[:2], s.heads, width) for part in "qkv")
        scores = jnp.einsum("bqhd,bkhd->bhqk", rotated(q, s.theta), rotated(k, s.theta)) / width**0.5
        past = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool))
        found = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(jnp.where(past, scores, _MASKED)), v)
        x = x + linear(s.width, "attn_output")(found.reshape(x.shape))
        seen = nn.RMSNorm(s.epsilon, name="ffn_norm")(x)
        return x + linear(s.width, "ffn_down")(nn.silu(linear(s.hidden, "ffn_gate")(seen)) * linear(s.hidden, "ffn_up")(seen))


class Llama(nn.Module):
    """From tokens [B, T] int32 to the logits of each one's successor [B, T, vocabulary]."""

    size: Size

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        embedding = nn.Embed(self.size.vocabulary, self.size.width, embedding_init=nn.initializers.normal(0.02), name="token_embd")
        x = embedding(tokens)
        for i in range(self.size.layers):
            x = Block(self.size, name=f"blk_{i}")(x)
        return embedding.attend(nn.RMSNorm(self.size.epsilon, name="output_norm")(x))
