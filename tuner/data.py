"""The base of everything that is stored as plain data, and numbers that may be infinite: JSON has them as null."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema


class Data(BaseModel):
    """Immutable stored data."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def by_key(data: Data) -> dict[str, Any]:
    """Return the fields of data by the keys that they have in JSON; what has null there may be infinite here."""
    return {field.alias or name: getattr(data, name) for name, field in type(data).model_fields.items()}


def _finite_or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None


_Nullable = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]})
Number = Annotated[
    float,
    BeforeValidator(lambda value: math.inf if value is None else value),
    PlainSerializer(_finite_or_null),
    _Nullable,
]
LowerBound = Annotated[
    float,
    BeforeValidator(lambda value: -math.inf if value in (None, math.inf) else value),
    PlainSerializer(_finite_or_null),
    _Nullable,
]
