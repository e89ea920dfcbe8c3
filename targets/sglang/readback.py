"""What an SGLang that runs says of its configuration, compared with what was asked for."""

import json
import math
from collections.abc import Mapping

from targets.base import Config, TargetError, Value
from targets.sglang.knobs import AUTO, written

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
    return [
        f"{name}: asked {value}, took {said[name]}"
        for name, value in config.items()
        if name in said and value != AUTO and written(name, value) is not None and not _agree(value, said[name])
    ]


def _agree(asked: Value, took: object) -> bool:
    if isinstance(asked, float) and isinstance(took, int | float):
        return math.isclose(asked, took)
    if isinstance(asked, str) and isinstance(took, str):
        return _SAME.get(asked, asked) == _SAME.get(took, took)
    return asked == took
