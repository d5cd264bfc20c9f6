"""`scripts/train_chat_model.py`: the chat model learns the oracle's plans, word by word; of the prompt nothing is learnt by heart."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from palaestra.policies.runs import TrainingError
from palaestra.skills.planners.chat.corpus import encoded, pairs, tokenizer
from palaestra.skills.planners.chat.gguf_file import save_gguf
from palaestra.skills.planners.chat.model import Llama, Size

_SHOWN = 50  # steps a line
_LIKE = 16  # batches' worth of examples among which one is drawn


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What the model learns, and for how long."""

    task_set: str = "rearrange"
    tasks: int = 16_384
    steps: int = 400
    batch: int = 32
    longest: int = 512  # tokens of prompt and answer
    learning_rate: float = 3e-3
    warmup: int = 50  # steps
    seed: int = 0


def loss(logits: Any, tokens: jax.Array, begins: jax.Array) -> jax.Array:
    """The mean negative log-likelihood of the answers' tokens, the end included: logits [B, T, V], tokens [B, T], begins [B]."""
    at = jnp.arange(1, tokens.shape[1])
    ended = jnp.cumsum((tokens == 0) & (jnp.arange(tokens.shape[1]) >= begins[:, None]), 1)[:, 1:]
    counts = (at >= begins[:, None]) & ((ended == 0) | ((ended == 1) & (tokens[:, 1:] == 0)))
    each = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], tokens[:, 1:])
    return jnp.where(counts, each, 0.0).sum() / counts.sum()


def train(path: Path, lesson: Lesson, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Train to the end; the GGUF file is written now and then, and last."""
    clock = time.perf_counter()
    texts = list(pairs(lesson.task_set, "train", 0, lesson.tasks))
    words = tokenizer([ask + answer for ask, answer in texts[:2000]])
    tokens, begins = encoded(words, texts, lesson.longest)
    if len(tokens) <= _LIKE * lesson.batch:
        raise TrainingError(
            f"chat: got {len(tokens)} examples, expected more than {_LIKE * lesson.batch}. Fix: more tasks, or a smaller batch"
        )
    tell(f"{len(tokens)} examples of {lesson.tasks} tasks, {words.get_vocab_size()} words, {time.perf_counter() - clock:.0f} s")
    size = Size(words.get_vocab_size())
    network = Llama(size)
    params = network.init(jax.random.key(lesson.seed), jnp.asarray(tokens[:1]))
    rate = optax.warmup_cosine_decay_schedule(0.0, lesson.learning_rate, lesson.warmup, lesson.steps)
    transform = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.98, weight_decay=0.01))

    @jax.jit
    def descend(params: Any, state: Any, tokens: jax.Array, begins: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, grads = jax.value_and_grad(lambda p: loss(network.apply(p, tokens), tokens, begins))(params)
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state, values = transform.init(params), []
    by_length = np.argsort((tokens != 0).sum(1), kind="stable")
    for step in range(lesson.steps):
        rng = np.random.default_rng((lesson.seed, step))
        at = rng.integers(len(tokens) - _LIKE * lesson.batch)  # of examples that are about as long, so that little is padding
        rows = by_length[rng.choice(np.arange(at, at + _LIKE * lesson.batch), lesson.batch, replace=False)]
        longest = -(-int((tokens[rows] != 0).sum(1).max() + 1) // 64) * 64  # few lengths, so few programs
        params, state, value = descend(params, state, jnp.asarray(tokens[rows, :longest]), jnp.asarray(begins[rows]))
        values.append(value)
        if (step + 1) % _SHOWN == 0 or step + 1 == lesson.steps:
            tell(f"step {step + 1}: loss {np.mean([float(v) for v in values]):.4f}, {time.perf_counter() - clock:.0f} s")
            values = []
        if (step + 1) % (2 * _SHOWN) == 0 or step + 1 == lesson.steps:
            save_gguf(path, size, params, words)
    return {"name": "chat", "examples": len(tokens), "lesson": asdict(lesson), "file": str(path), "seconds": time.perf_counter() - clock}
