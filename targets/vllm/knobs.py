"""vLLM's knobs: their legal values, and how they stand in the YAML of `vllm serve --config`."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from targets.base import Config, ConfigRefused, Knob, Value
from targets.common import named_choices
from targets.openai.help import Option

SPECULATIVE, QUANTIZATION = "speculative_config", "quantization"
NONE = "none"
"""The name of the choice that leaves quantization to the model's own configuration."""

KNOBS: Sequence[Knob] = (
    Knob("max_num_seqs", "int", 1, None, 0, "", "restart",
         "sequences in a step of the engine at most; the server decides by the device when it is not given"),
    Knob("max_num_batched_tokens", "int", 1, None, 0, "tokens", "restart",
         "tokens in a step of the engine at most; with chunked prefill long prompts are cut to fit"),
    Knob("max_model_len", "int", 1, None, 0, "tokens", "restart",
         "longest prompt with its answer; the model's own limit when it is not given"),
    Knob("block_size", "int", 1, None, 0, "tokens", "restart", "tokens in a block of the KV cache"),
    Knob("gpu_memory_utilization", "float", 0.01, 1, 0.92, "", "restart",
         "share of the device's memory for the model and its KV cache"),
    Knob("kv_cache_dtype", "choice", None, None, "auto", "", "restart", "type of the numbers in the KV cache",
         choices=("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2"), changes_answers=True),
    Knob("dtype", "choice", None, None, "auto", "", "restart", "type of weights and activations",
         choices=("auto", "bfloat16", "float16", "float32"), changes_answers=True),
    Knob(QUANTIZATION, "choice", None, None, NONE, "", "restart",
         "method that quantizes the weights; `none` leaves it to the model's own configuration",
         choices=(NONE, "fp8", "bitsandbytes", "awq", "awq_marlin", "gptq", "gptq_marlin", "compressed-tensors",
                  "modelopt", "torchao", "experts_int8"), changes_answers=True),
    Knob("enable_prefix_caching", "bool", None, None, True, "", "restart",
         "keep the KV cache of beginnings that prompts share"),
    Knob("enable_chunked_prefill", "bool", None, None, True, "", "restart",
         "cut long prompts, so that answers under way go on between the parts"),
    Knob("long_prefill_token_threshold", "int", 0, None, 0, "tokens", "restart",
         "prompts longer than this are cut to it in each step; 0: no limit"),
    Knob("async_scheduling", "bool", None, None, True, "", "restart",
         "plan the next step while the device works on this one"),
    Knob("enforce_eager", "bool", None, None, False, "", "restart",
         "no compilation and no CUDA graphs: quick to start, slower to serve"),
    Knob("performance_mode", "choice", None, None, "balanced", "", "restart",
         "what kernels and graphs are chosen for", choices=("balanced", "interactivity", "throughput")),
    Knob("tensor_parallel_size", "int", 1, None, 1, "", "restart", "devices that share each layer"),
    Knob("pipeline_parallel_size", "int", 1, None, 1, "", "restart", "devices that the layers are dealt to"),
    Knob(SPECULATIVE, "choice", None, None, "", "", "restart",
         "one of the study's target.speculative: how tokens are guessed ahead",
         choices_from="target.speculative"),
)  # fmt: skip

BY_NAME: Mapping[str, Knob] = {knob.name: knob for knob in KNOBS}
_SCALES = {"k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}
_HUMAN = ("max_num_batched_tokens", "max_model_len")
_AUTOMATIC = ("auto", "-1")

Speculative = Mapping[str, Mapping[str, Any]]


def key_of(name: str) -> str:
    """Return the option of a knob, as vLLM's help and a new line of the YAML have it."""
    return name.replace("_", "-")


def knobs(speculative: Speculative, own: Config) -> list[Knob]:
    """Return the knobs of a study, whose choices include what the user's file says."""
    listed = named_choices(KNOBS, SPECULATIVE, speculative)
    return [
        replace(knob, choices=(*knob.choices, str(own[knob.name])))
        if knob.type == "choice" and knob.name in own and own[knob.name] not in knob.choices
        else knob
        for knob in listed
    ]


def read(name: str, given: object, speculative: Speculative) -> Value | None:
    """Return a knob's value as the YAML of a user writes it, None where it leaves the value to the server.

    Raises:
        ValueError: it is of another type, or out of the legal range.
    """
    knob = BY_NAME[name]
    if given is None:
        raise ValueError("has no value; give it one, or take the line out")
    if name == SPECULATIVE:
        return _speculative_name(given, speculative)
    if knob.type == "bool":
        if not isinstance(given, bool):
            raise ValueError(f"expected true or false, but got {given!r}")
        return given
    if knob.type == "choice":
        if not isinstance(given, str):
            raise ValueError(f"expected a name, but got {given!r}")
        return given
    if name == "max_model_len" and str(given) in _AUTOMATIC:
        return None
    return _number(knob, given)


def _number(knob: Knob, given: object) -> Value:
    value = _scaled(given) if isinstance(given, str) and knob.name in _HUMAN else given
    wanted = "a whole number" if knob.type == "int" else "a number"
    if isinstance(value, bool) or not isinstance(value, int if knob.type == "int" else int | float):
        raise ValueError(f"expected {wanted}, but got {given!r}")
    if (knob.low is not None and value < knob.low) or (knob.high is not None and value > knob.high):
        legal = f"{knob.low:g} to {knob.high:g}" if knob.high is not None else f"{knob.low:g} or more"
        raise ValueError(f"is {given!r}; legal is {legal}")
    return value


def _scaled(text: str) -> object:
    """Return the number that vLLM reads from `8k` or `2.5K`; what is none as it is."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG]?)", text.strip())
    return round(float(match[1]) * _SCALES.get(match[2], 1)) if match else text


def _speculative_name(given: object, speculative: Speculative) -> str | None:
    try:
        said = json.loads(given) if isinstance(given, str) else given
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from None
    if not isinstance(said, dict):
        raise ValueError(f"expected a mapping, but got {given!r}")
    return next((name for name, config in speculative.items() if dict(config) == said), None)


def written(name: str, value: Value, speculative: Speculative) -> object:
    """Return what the YAML says for a value; None where the line is left out.

    Raises:
        ConfigRefused: a name that the study does not give.
    """
    if name == SPECULATIVE:
        if value not in speculative:
            raise ConfigRefused(f"{name}: {value!r} is none of target.speculative: {', '.join(speculative) or 'none'}")
        return dict(speculative[str(value)]) or None
    return None if (name, value) == (QUANTIZATION, NONE) else value


def misfit(name: str, value: Value, options: Mapping[str, Option]) -> str:
    """Say why a version of vLLM cannot be told a value, "" when it can.

    Args:
        name: of the knob.
        value: of the configuration.
        options: of that version.
    """
    if name not in BY_NAME:
        return f"has no knob `{name}`; known: {', '.join(BY_NAME)}"
    if (name, value) == (QUANTIZATION, NONE):
        return ""
    option = options.get(key_of(name))
    if option is None:
        return f"has no --{key_of(name)}, so `{name}` cannot be tuned"
    if value is False and f"no-{key_of(name)}" not in options:
        return f"has no --no-{key_of(name)}, so `{name}` cannot be false"
    if name != SPECULATIVE and option.choices and BY_NAME[name].type == "choice" and value not in option.choices:
        return f"does not know `{name}` {value}; it knows {', '.join(option.choices)}"
    return ""
