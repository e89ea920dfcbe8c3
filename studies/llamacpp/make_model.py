"""Make the model of the llama.cpp studies: `python make_model.py FILE.gguf`.

It is a Llama in the GGUF format, with tokenizer and chat template, but its weights are drawn at random from a fixed
seed: nothing is downloaded, and what it says means nothing. It is small enough for one CPU core. What a server does
with it - slots, batches, its KV cache - is what it does with any model.

    pip install 'paretune[llamacpp]'
    python studies/llamacpp/make_model.py model.gguf
"""

import itertools
import string
import sys
from pathlib import Path

import gguf
import numpy as np

SEED = 7
LAYERS, WIDTH, INNER, HEADS, KV_HEADS, CONTEXT = 4, 256, 768, 4, 2, 4096
SPECIAL = ("<|begin|>", "<|end|>", "<|role|>")
SPACE = "Ġ"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message['role'] }}: {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant: {% endif %}"
)


def main(path: Path) -> None:
    """Write the model into a file."""
    writer = gguf.GGUFWriter(path, "llama")
    names = add_tokenizer(writer)
    add_shape(writer, len(names))
    size = 0
    for name, weights in tensors(names):
        writer.add_tensor(name, weights)
        size += weights.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path}: {size / 1e6:.1f} million weights, {len(names)} tokens")


def byte_letters() -> list[str]:
    """Return the letter that stands for each byte, as GPT-2's tokenizer has them."""
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in own else chr(next(others)) for byte in range(256)]


def add_tokenizer(writer: gguf.GGUFWriter) -> list[str]:
    """Add a byte-level tokenizer that takes any text: bytes, and pairs of letters with and without a space."""
    pairs = list(itertools.product(string.ascii_lowercase, repeat=2))
    merges = pairs + [(SPACE, one + other) for one, other in pairs] + [(SPACE, one) for one in string.ascii_lowercase]
    names = [*SPECIAL, *byte_letters(), *(one + other for one, other in merges)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(names)
    writer.add_token_types([gguf.TokenType.CONTROL if name in SPECIAL else gguf.TokenType.NORMAL for name in names])
    writer.add_token_merges([f"{one} {other}" for one, other in merges])
    writer.add_bos_token_id(names.index("<|begin|>"))
    writer.add_eos_token_id(names.index("<|end|>"))
    writer.add_add_bos_token(True)
    writer.add_chat_template(CHAT_TEMPLATE)
    return names


def add_shape(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """Add the sizes of the model."""
    writer.add_name("random")
    writer.add_vocab_size(vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def tensors(names: list[str]) -> list[tuple[str, np.ndarray]]:
    """Return name and weights of every tensor, by rows: outputs first, as llama.cpp names them."""
    rng = np.random.default_rng(SEED)

    def drawn(rows: int, columns: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(columns), (rows, columns)).astype(np.float16)

    ones, narrow = np.ones(WIDTH, np.float32), WIDTH * KV_HEADS // HEADS
    output = drawn(len(names), WIDTH)
    # A token that is no text by itself, or ends the answer, is never the likeliest: each event then has one token.
    output[[index for index, name in enumerate(names) if name in SPECIAL or not is_text(name)]] = 0
    found = [("token_embd.weight", drawn(len(names), WIDTH)), ("output_norm.weight", ones), ("output.weight", output)]
    for layer in range(LAYERS):
        sizes = {
            "attn_q": (WIDTH, WIDTH), "attn_k": (narrow, WIDTH), "attn_v": (narrow, WIDTH),
            "attn_output": (WIDTH, WIDTH), "ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }  # fmt: skip
        found += [(f"blk.{layer}.{name}.weight", drawn(*size)) for name, size in sizes.items()]
        found += [(f"blk.{layer}.{name}.weight", ones) for name in ("attn_norm", "ffn_norm")]
    return found


def is_text(name: str) -> bool:
    """Whether a token is made of letters that can be printed, with or without a space before them."""
    letters = name.removeprefix(SPACE)
    return bool(letters) and letters.isascii() and letters.isprintable()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
