"""SGLang's knobs: their legal values, and how they stand in the YAML of its `--config`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from targets.base import Config, Knob, Value
from targets.openai.help import Option

NONE = "none"
"""The name of the choice that leaves quantization to the model's own configuration."""
AUTO = "auto"
LEFT_OUT: Mapping[str, str] = {"quantization": NONE, "attention_backend": AUTO}
"""Knob -> its value that stands nowhere: SGLang decides when it is not told."""

KNOBS: Sequence[Knob] = (
    Knob("mem_fraction_static", "float", 0.01, 1, 0.0, "", "restart",
         "share of the device's memory for the model and its KV cache; the server decides when it is not given"),
    Knob("max_running_requests", "int", 1, None, 0, "", "restart",
         "requests that run at the same time at most; by the memory when it is not given"),
    Knob("max_total_tokens", "int", 1, None, 0, "tokens", "restart",
         "tokens in the KV cache; by `mem_fraction_static` when it is not given"),
    Knob("chunked_prefill_size", "int", -1, None, 0, "tokens", "restart",
         "prompts are processed in parts of this size; -1: whole; the server decides when it is not given"),
    Knob("max_prefill_tokens", "int", 1, None, 16384, "tokens", "restart",
         "tokens of prompts in a step at most; never less than the longest prompt"),
    Knob("enable_mixed_chunk", "bool", None, None, False, "", "restart",
         "process parts of prompts together with answers under way"),
    Knob("schedule_policy", "choice", None, None, "fcfs", "", "restart", "which request comes next",
         choices=("fcfs", "lpm", "random", "dfs-weight", "lof")),
    Knob("schedule_conservativeness", "float", 0, None, 1.0, "", "restart",
         "how much room is kept for answers under way; more means fewer requests are put back"),
    Knob("page_size", "int", 1, None, 1, "tokens", "restart", "tokens in a page of the KV cache"),
    Knob("disable_radix_cache", "bool", None, None, False, "", "restart",
         "throw away the KV cache of beginnings that prompts share"),
    Knob("kv_cache_dtype", "choice", None, None, AUTO, "", "restart", "type of the numbers in the KV cache",
         choices=(AUTO, "bfloat16", "fp8_e5m2", "fp8_e4m3"), changes_answers=True),
    Knob("dtype", "choice", None, None, AUTO, "", "restart", "type of weights and activations",
         choices=(AUTO, "bfloat16", "float16", "float32"), changes_answers=True),
    Knob("quantization", "choice", None, None, NONE, "", "restart",
         "method that quantizes the weights; `none` leaves it to the model's own configuration",
         choices=(NONE, "fp8", "awq", "awq_marlin", "gptq", "gptq_marlin", "bitsandbytes", "compressed-tensors",
                  "modelopt_fp8", "modelopt_fp4", "w8a8_int8", "w8a8_fp8"), changes_answers=True),
    Knob("attention_backend", "choice", None, None, AUTO, "", "restart",
         "kernels of the attention; `auto` leaves it to the server",
         choices=(AUTO, "triton", "flashinfer", "fa3", "fa4", "flashmla", "torch_native")),
    Knob("cuda_graph_max_bs", "int", 1, None, 0, "", "restart",
         "largest batch with a CUDA graph, in versions that have one number for it"),
    Knob("cuda_graph_max_bs_decode", "int", 1, None, 0, "", "restart",
         "largest batch of answers with a CUDA graph, in newer versions"),
    Knob("disable_overlap_schedule", "bool", None, None, False, "", "restart",
         "plan a step only when the one before it is done"),
    Knob("num_continuous_decode_steps", "int", 1, None, 1, "", "restart", "steps of answers between two plans"),
    Knob("stream_interval", "int", 1, None, 1, "tokens", "restart", "tokens that are sent together"),
    Knob("enable_torch_compile", "bool", None, None, False, "", "restart", "compile the model with torch.compile"),
    Knob("tp_size", "int", 1, None, 1, "", "restart", "devices that share each layer"),
    Knob("pp_size", "int", 1, None, 1, "", "restart", "devices that the layers are dealt to"),
)  # fmt: skip

BY_NAME: Mapping[str, Knob] = {knob.name: knob for knob in KNOBS}
_HUMAN = ("max_total_tokens", "max_prefill_tokens")
_POWERS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "K": 1}


def key_of(name: str) -> str:
    """Return how a knob is written in the YAML: SGLang takes dashes only."""
    return name.replace("_", "-")


def knobs(own: Config) -> list[Knob]:
    """Return the knobs of a study, whose choices include what the user's file says."""
    return [
        replace(knob, choices=(*knob.choices, str(own[knob.name])))
        if knob.type == "choice" and knob.name in own and own[knob.name] not in knob.choices
        else knob
        for knob in KNOBS
    ]


def read(name: str, given: object) -> Value:
    """Return a knob's value as the YAML of a user writes it.

    Raises:
        ValueError: it is of another type, or out of the legal range.
    """
    knob = BY_NAME[name]
    if given is None:
        raise ValueError("has no value; give it one, or take the line out")
    if knob.type == "bool":
        if not isinstance(given, bool):
            raise ValueError(f"expected true or false, but got {given!r}")
        return given
    if knob.type == "choice":
        if not isinstance(given, str):
            raise ValueError(f"expected a name, but got {given!r}")
        return given
    value = _scaled(given) if isinstance(given, str) and name in _HUMAN else given
    wanted = "a whole number" if knob.type == "int" else "a number"
    if isinstance(value, bool) or not isinstance(value, int if knob.type == "int" else int | float):
        raise ValueError(f"expected {wanted}, but got {given!r}")
    if (knob.low is not None and value < knob.low) or (knob.high is not None and value > knob.high):
        legal = f"{knob.low:g} to {knob.high:g}" if knob.high is not None else f"{knob.low:g} or more"
        raise ValueError(f"is {given!r}; legal is {legal}")
    return value


def _scaled(text: str) -> object:
    """Return the number that SGLang reads from `25.6k` or `16Ki`; what is none as it is."""
    match = re.fullmatch(r"(\d+)(?:([KMGT])i)?|(\d+(?:\.\d+)?)([kMGT])", text.strip())
    if match is None:
        return text
    if match[1]:
        return int(match[1]) * 1024 ** _POWERS[match[2] or ""]
    return round(float(match[3]) * 1000 ** _POWERS[match[4]])


def written(name: str, value: Value) -> Value | None:
    """Return what the YAML says for a value; None where the line is left out."""
    return None if LEFT_OUT.get(name) == value else value


def misfit(name: str, value: Value, options: Mapping[str, Option]) -> str:
    """Say why a version of SGLang cannot be told a value, "" when it can.

    Args:
        name: of the knob.
        value: of the configuration.
        options: of that version.
    """
    if name not in BY_NAME:
        return f"has no knob `{name}`; known: {', '.join(BY_NAME)}"
    if written(name, value) is None:
        return ""
    option = options.get(key_of(name))
    if option is None:
        close = ", ".join(other for other in options if other.startswith(key_of(name)))
        return f"has no --{key_of(name)}{f', but {close}' if close else ''}, so `{name}` cannot be tuned"
    if BY_NAME[name].type == "choice" and option.choices and value not in option.choices:
        return f"does not know `{name}` {value}; it knows {', '.join(option.choices)}"
    return ""
