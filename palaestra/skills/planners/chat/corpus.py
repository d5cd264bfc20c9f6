"""What the chat model learns from: of each task what the planner `openai` would ask, cut to what the model reads, and the oracle's plan."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import jax
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from palaestra.skills import tasks
from palaestra.skills.plan import Plan, PlanError
from palaestra.skills.planners.base import Problem, library
from palaestra.skills.planners.openai_chat import messages
from palaestra.skills.planners.oracle import cheapest
from palaestra.skills.planners.space import Space

ASK, ANSWER, END = "<|ask|>", "<|answer|>", "<|end|>"
_NAMES = "Names, by kind:\n"  # and what follows it: what holds, what was tried and the instruction

# The same cut, as the server makes it of a conversation; whatever else it is asked goes in whole.
TEMPLATE = (
    "{%- for message in messages -%}{%- if message['role'] == 'user' and (loop.first or messages[loop.index0 - 1]['role'] == 'system') -%}"
    f"{ASK}"
    "{%- set said = message['content'] -%}"
    f"{{%- if {_NAMES!r} in said -%}}{{{{- said.split({_NAMES!r})[1] -}}}}{{%- else -%}}{{{{- said -}}}}{{%- endif -%}}"
    f"{ANSWER}"
    "{%- endif -%}{%- endfor -%}"
)


def prompt(problem: Problem) -> str:
    """What the model reads of a problem: all but the description of the scene, which says the same in prose."""
    return f"{ASK}{messages(problem, library())[1]['content'].split(_NAMES)[1]}{ANSWER}"


def pairs(task_set: str, split: str, first: int, count: int) -> Iterator[tuple[str, str]]:
    """Prompts and answers of tasks from a number on; those for which the oracle finds no plan soon are left out."""
    source = tasks.source(task_set, split)
    for start in range(first, first + count, tasks.CHUNK):
        states, tables = source.chunk(start)
        for i in range(min(tasks.CHUNK, first + count - start)):
            example = tasks.Example(source.env, start + i, jax.tree.map(lambda x, i=i: x[i], states), tables[i])
            problem = replace(example.problem, instruction=example.instruction)
            try:
                plan: Plan = cheapest(Space(problem, library()), 3_000)
            except PlanError:
                continue
            yield prompt(problem), plan.to_json() + END


def tokenizer(texts: Sequence[str], size: int = 512) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) as GPT-2 has it, learnt from texts: nothing is unknown to it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, ASK, ANSWER],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return made


def encoded(made: Tokenizer, examples: Sequence[tuple[str, str]], longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [N, T] int32, padded with the end's (0), and where the answer's begin [N]; examples that are longer are left out."""
    asked = [made.encode(ask).ids for ask, _ in examples]
    given = [made.encode(answer).ids for _, answer in examples]
    rows = [(a, g) for a, g in zip(asked, given, strict=True) if len(a) + len(g) <= longest]
    tokens = np.zeros((len(rows), longest), np.int32)
    for i, (a, g) in enumerate(rows):
        tokens[i, : len(a) + len(g)] = a + g
    return tokens, np.array([len(a) for a, _ in rows])
