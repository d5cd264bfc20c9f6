"""The chat model as llama.cpp reads it: one GGUF file with weights, words and the form of a conversation."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tokenizers import Tokenizer

from palaestra.sim.errors import MissingExtraError
from palaestra.skills.planners.chat.corpus import ANSWER, ASK, END, TEMPLATE
from palaestra.skills.planners.chat.model import Size


def tensors(params: Any) -> dict[str, np.ndarray]:
    """The weights by llama.cpp's names: matrices [out, in] in float16, norms in float32."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params["params"]):
        *names, kind = (key.key for key in path)
        name = ".".join(names).replace("blk_", "blk.") + ".weight"
        array = np.asarray(leaf, np.float32)
        found[name] = array if kind == "scale" else (array.T if kind == "kernel" else array).astype(np.float16)
    return found


def save_gguf(path: Path, size: Size, params: Any, words: Tokenizer) -> None:
    """Write the file, whole or not at all."""
    try:
        import gguf
    except ImportError:
        raise MissingExtraError("GGUF files", "gguf", "chat") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    writer = gguf.GGUFWriter(temporary, "llama")
    writer.add_name("palaestra chat")
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.width)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.hidden)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.heads)
    writer.add_rope_dimension_count(size.width // size.heads)
    writer.add_rope_freq_base(size.theta)
    writer.add_layer_norm_rms_eps(size.epsilon)
    writer.add_vocab_size(size.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    learnt = json.loads(words.to_str())["model"]
    names = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__)
    special = (END, ASK, ANSWER)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([gguf.TokenType.CONTROL if name in special else gguf.TokenType.NORMAL for name in names])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in learnt["merges"]])
    writer.add_eos_token_id(names.index(END))
    writer.add_bos_token_id(names.index(ASK))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, array in tensors(params).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    temporary.replace(path)
