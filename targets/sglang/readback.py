"""What an SGLang that runs says of its configuration, compared with what was asked for."""

import json
import math
from collections.abc import Mapping

from targets.base import Config, TargetError, Value
from targets.sglang.knobs import AUTO, written

_DP_CONSERVATIVENESS = 0.3
_SAME = {"half": "float16", "float": "float32", "bf16": "bfloat16"}


def server_info(answer: bytes) -> Mapping[str, object]:
    """Return what an answer of /server_info says.

    Raises:
        TargetError: it is no JSON object.
    """
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise TargetError(f"SGLang answers /server_info with {answer[:60]!r}, which is no JSON object")
    return said


def mismatches(config: Config, said: Mapping[str, object]) -> list[str]:
    """Return every knob that SGLang took otherwise; one that it does not tell of is left out.

    Args:
        config: what was asked for.
        said: its arguments, as it resolved them: of `auto` it tells what it became.
    """
    found = []
    for name, value in config.items():
        if name not in said or value == AUTO or written(name, value) is None:
            continue
        shared, took = _with_dp_attention(name, value, said), said[name]
        # Either is right: it depends on the version whether it tells what it was given or what it made of it.
        if not _agree(value, took) and not _agree(shared, took):
            meant = "" if shared == value else f", with DP attention {shared:g}"
            found.append(f"{name}: asked {value}{meant}, took {took}")
    return found


def _with_dp_attention(name: str, value: Value, said: Mapping[str, object]) -> Value:
    """Return what SGLang makes of a value where it has attention in data parallel, see `_handle_data_parallelism`."""
    ranks = said.get("dp_size")
    if said.get("enable_dp_attention") is not True or not isinstance(value, int | float):
        return value
    if name == "schedule_conservativeness":
        return value * _DP_CONSERVATIVENESS
    if name == "chunked_prefill_size" and isinstance(ranks, int) and ranks > 0:
        return value // ranks
    return value


def _agree(asked: Value, took: object) -> bool:
    if isinstance(asked, float) and isinstance(took, int | float):
        return math.isclose(asked, took)
    if isinstance(asked, str) and isinstance(took, str):
        return _SAME.get(asked, asked) == _SAME.get(took, took)
    return asked == took
