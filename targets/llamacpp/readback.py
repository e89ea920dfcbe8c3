"""What a llama-server that runs says of its configuration, compared with what was asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from targets.base import Config, TargetError
from targets.llamacpp import log

_BLOCK = 256
"""llama.cpp rounds the context of a slot up to a multiple of this."""


@dataclass(frozen=True)
class Taken:
    """What a server says of itself; None where its version does not say it.

    Attributes:
        slots: requests that it answers at the same time.
        slot_ctx: context of a slot, in tokens.
        unified: whether the slots share one KV cache.
        trained_ctx: context that the model was trained with, in tokens.
        threads: that compute on the CPU.
        build: its build.
    """

    slots: int | None
    slot_ctx: int | None
    unified: bool | None
    trained_ctx: int | None
    threads: int | None
    build: str


def taken(props: bytes, models: bytes, said: str) -> Taken:
    """Return what the answers of /props and /v1/models and the log say.

    Raises:
        TargetError: the answers are no JSON objects.
    """
    about, listed = _object(props, "/props"), _object(models, "/v1/models")
    settings = about.get("default_generation_settings")
    models_there = listed.get("data")
    first = models_there[0] if isinstance(models_there, list) and models_there else None
    meta = first.get("meta") if isinstance(first, dict) else None
    return Taken(
        slots=_int(about.get("total_slots")),
        slot_ctx=_int(settings.get("n_ctx")) if isinstance(settings, dict) else None,
        unified=log.unified(said),
        trained_ctx=_int(meta.get("n_ctx_train")) if isinstance(meta, dict) else None,
        threads=log.threads(said),
        build=str(about.get("build_info") or ""),
    )


def mismatches(config: Config, took: Taken) -> list[str]:
    """Return every knob of those that the server tells of that it took otherwise.

    Args:
        config: what was asked for.
        took: what the server says.
    """
    told = {"parallel": took.slots, "kv_unified": took.unified, "threads": took.threads}
    wrong = [
        f"{name}: asked {config[name]}, took {value}"
        for name, value in told.items()
        if name in config and value is not None and config[name] != value
    ]
    size = config.get("ctx_size")
    if isinstance(size, int) and (misfit := _ctx_misfit(size, took)):
        wrong.append(misfit)
    return wrong


def _ctx_misfit(size: int, took: Taken) -> str:
    """Say how a slot's context differs from what a context for all makes it, "" where it does not or is not told."""
    if took.slot_ctx is None or not took.slots or took.unified is None or took.trained_ctx is None:
        return ""
    each = size if took.unified else size // took.slots
    low, high = min(each, took.trained_ctx), min(-(-each // _BLOCK) * _BLOCK, took.trained_ctx)
    if low <= took.slot_ctx <= high:
        return ""
    return f"ctx_size: asked {size}, {each} for a slot, took {took.slot_ctx} for a slot"


def _object(answer: bytes, path: str) -> Mapping[str, object]:
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise TargetError(f"llama-server answers {path} with {answer[:60]!r}, which is no JSON object")
    return said


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
