"""Make the model of the vLLM studies: `python make_model.py FOLDER`, with the Python that has vLLM.

It is a Llama as transformers makes it, with its tokenizer, chat template and generation defaults, but its weights are
drawn at random from a fixed seed: nothing is downloaded, and what it says means nothing. It is small enough for one
CPU core and large enough that reading the weights takes most of a step, as on a GPU: a batch costs little more than
one sequence does. What a server does with it - queueing, batching, its KV cache - is what it does with any model.
"""

import itertools
import string
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 7
SPECIAL = ("<|begin|>", "<|end|>", "<|role|>")
SPACE = "Ġ"
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|role|>{{ message['role'] }}: {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|role|>assistant: {% endif %}"
)


def main(folder: Path) -> None:
    """Write model and tokenizer into a folder."""
    names = tokenizer()
    names.save_pretrained(folder)
    model = llama(len(names), begin=names.bos_token_id, end=names.eos_token_id)
    model.save_pretrained(folder)
    size = sum(weights.numel() for weights in model.parameters())
    print(f"{folder}: {size / 1e6:.1f} million weights, {len(names)} tokens")


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer that takes any text: bytes, and pairs of letters with and without a space."""
    pairs = [(one, other) for one, other in itertools.product(string.ascii_letters[:26], repeat=2)]
    merges = pairs + [(SPACE, one + other) for one, other in pairs] + [(SPACE, one) for one in string.ascii_lowercase]
    known = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(one + other for one, other in merges)]
    words = Tokenizer(models.BPE({name: number for number, name in enumerate(known)}, merges))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    words.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    begin, end, _ = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=begin, eos_token=end, chat_template=CHAT_TEMPLATE, model_max_length=4096
    )


def llama(vocabulary: int, begin: int, end: int) -> LlamaForCausalLM:
    """Return a Llama of eight layers with random weights in bfloat16."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        bos_token_id=begin,
        eos_token_id=end,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config = GenerationConfig(bos_token_id=begin, eos_token_id=end, do_sample=True, temperature=1.0)
    return model


if __name__ == "__main__":
    main(Path(sys.argv[1]))
