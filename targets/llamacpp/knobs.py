"""llama.cpp's knobs: their legal values, and how they stand in an environment file of `llama-server`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from targets.base import Config, Knob, Value

_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
_TRUE = ("on", "enabled", "true", "1")
_FALSE = ("off", "disabled", "false", "0")


@dataclass(frozen=True)
class Setting:
    """A knob with llama-server's own names for it.

    Attributes:
        knob: as a study sees it.
        variable: of the environment.
        flags: of the command line, those that take it back included.
        automatic: values that leave it to the server.
    """

    knob: Knob
    variable: str
    flags: tuple[str, ...]
    automatic: tuple[str, ...] = ()


def _int(name: str, low: int, default: int, unit: str, doc: str) -> Knob:
    return Knob(name, "int", low, None, default, unit, "restart", doc)


def _bool(name: str, doc: str) -> Knob:
    return Knob(name, "bool", None, None, True, "", "restart", doc)


def _cache(name: str, doc: str) -> Knob:
    return Knob(name, "choice", None, None, "f16", "", "restart", doc, choices=_CACHE_TYPES, changes_answers=True)


SETTINGS: Sequence[Setting] = (
    Setting(_int("parallel", 1, 4, "", "slots: requests that are answered at the same time"),
            "LLAMA_ARG_N_PARALLEL", ("-np", "--parallel"), ("-1",)),
    Setting(_int("ctx_size", 1, 0, "tokens", "context of all slots together, shared out evenly unless `kv_unified`; "
                 "the model's own when it is not given"),
            "LLAMA_ARG_CTX_SIZE", ("-c", "--ctx-size"), ("0",)),
    Setting(_bool("kv_unified", "one KV cache that all slots take from; on when `parallel` is not given, else off"),
            "LLAMA_ARG_KV_UNIFIED", ("-kvu", "--kv-unified", "-no-kvu", "--no-kv-unified")),
    Setting(_int("batch_size", 1, 2048, "tokens", "tokens of prompts and answers in a step of the server at most"),
            "LLAMA_ARG_BATCH", ("-b", "--batch-size")),
    Setting(_int("ubatch_size", 1, 512, "tokens", "tokens that the model computes at once; at most `batch_size`"),
            "LLAMA_ARG_UBATCH", ("-ub", "--ubatch-size"), ("0",)),
    Setting(_int("threads", 1, 0, "", "threads that compute on the CPU; the number of cores when it is not given"),
            "LLAMA_ARG_THREADS", ("-t", "--threads"), ("-1", "0")),
    Setting(_int("threads_http", 1, 0, "", "threads that answer HTTP; the server decides when it is not given"),
            "LLAMA_ARG_THREADS_HTTP", ("--threads-http",), ("-1",)),
    Setting(_int("n_gpu_layers", 0, 0, "", "layers on the GPU at most; as many as fit when it is not given"),
            "LLAMA_ARG_N_GPU_LAYERS", ("-ngl", "--gpu-layers", "--n-gpu-layers"), ("auto", "all", "-1", "-2")),
    Setting(_int("n_cpu_moe", 0, 0, "", "layers whose experts stay on the CPU"),
            "LLAMA_ARG_N_CPU_MOE", ("-ncmoe", "--n-cpu-moe")),
    Setting(Knob("split_mode", "choice", None, None, "layer", "", "restart", "how several GPUs share the model",
                 choices=("none", "layer", "row", "tensor")),
            "LLAMA_ARG_SPLIT_MODE", ("-sm", "--split-mode")),
    Setting(_bool("kv_offload", "keep the KV cache on the GPU"),
            "LLAMA_ARG_KV_OFFLOAD", ("-kvo", "--kv-offload", "-nkvo", "--no-kv-offload")),
    Setting(Knob("flash_attn", "choice", None, None, "auto", "", "restart",
                 "compute attention without storing its weights", choices=("auto", "on", "off")),
            "LLAMA_ARG_FLASH_ATTN", ("-fa", "--flash-attn")),
    Setting(_cache("cache_type_k", "type of the keys in the KV cache"),
            "LLAMA_ARG_CACHE_TYPE_K", ("-ctk", "--cache-type-k")),
    Setting(_cache("cache_type_v", "type of the values in the KV cache; one with q needs `flash_attn`"),
            "LLAMA_ARG_CACHE_TYPE_V", ("-ctv", "--cache-type-v")),
    Setting(_bool("repack", "rearrange the weights for the CPU when they are loaded"),
            "LLAMA_ARG_REPACK", ("--repack", "-nr", "--no-repack")),
    Setting(_bool("cont_batching", "take a new request into the running batch as soon as a slot is free"),
            "LLAMA_ARG_CONT_BATCHING", ("-cb", "--cont-batching", "-nocb", "--no-cont-batching")),
    Setting(_bool("cache_prompt", "keep the KV cache of a slot for the next prompt that begins like its last one"),
            "LLAMA_ARG_CACHE_PROMPT", ("--cache-prompt", "--no-cache-prompt")),
    Setting(_int("cache_reuse", 0, 0, "tokens", "shortest part inside a prompt that is taken from the cache; 0: none"),
            "LLAMA_ARG_CACHE_REUSE", ("--cache-reuse",)),
    Setting(_int("cache_ram", -1, 8192, "MiB", "memory for the cache of prompts; 0: none, -1: no limit"),
            "LLAMA_ARG_CACHE_RAM", ("-cram", "--cache-ram")),
    Setting(_int("spec_draft_n_max", 0, 3, "tokens", "tokens that speculative decoding guesses ahead at most"),
            "LLAMA_ARG_SPEC_DRAFT_N_MAX", ("--spec-draft-n-max",)),
)  # fmt: skip

KNOBS: Sequence[Knob] = tuple(setting.knob for setting in SETTINGS)
BY_NAME: Mapping[str, Setting] = {setting.knob.name: setting for setting in SETTINGS}
BY_FLAG: Mapping[str, str] = {flag: setting.knob.name for setting in SETTINGS for flag in setting.flags}


def negative(variable: str) -> str:
    """Return the variable that, whatever its value, says that another one is false."""
    return variable.replace("LLAMA_ARG_", "LLAMA_ARG_NO_", 1)


def knobs(own: Config) -> list[Knob]:
    """Return the knobs of a study, whose choices include what the user's file says."""
    return [
        replace(knob, choices=(*knob.choices, str(own[knob.name])))
        if knob.type == "choice" and knob.name in own and own[knob.name] not in knob.choices
        else knob
        for knob in KNOBS
    ]


def read(name: str, given: str) -> Value | None:
    """Return a knob's value as the environment gives it, None where it leaves the value to the server.

    Raises:
        ValueError: it is of another type, or out of the legal range.
    """
    knob, automatic = BY_NAME[name].knob, BY_NAME[name].automatic
    if given in automatic:
        return None
    if knob.type == "bool" and given in _TRUE + _FALSE:
        return given in _TRUE
    if knob.type == "bool":
        raise ValueError(f"expected true or false, but got {given!r}")
    if name == "flash_attn":
        return "on" if given in _TRUE else "off" if given in _FALSE else "auto" if given == "-1" else given
    if knob.type == "choice":
        return given
    if not re.fullmatch(r"-?\d+", given):
        raise ValueError(f"expected a whole number, but got {given!r}")
    value = int(given)
    if knob.low is not None and value < knob.low:
        more = f", or {', '.join(automatic)}" if automatic else ""
        raise ValueError(f"is {value}; legal is {knob.low:g} or more{more}")
    return value


def written(value: Value) -> str:
    """Return how a value stands in the environment."""
    return str(value).lower() if isinstance(value, bool) else str(value)
