"""Quantities in a study file: texts with units, as pydantic types."""

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tuner.cpus import format_cpus, parse_cpus
from workloads.units import parse_energy, parse_fraction, parse_price, parse_rate, parse_rate_or_zero, parse_size

Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(s|min|h)\s*$", "examples": ["200/s"]}),
]
RateOrZero = Annotated[
    float,
    BeforeValidator(parse_rate_or_zero),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(s|min|h)\s*$", "examples": ["0/s", "200/s"]}),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "examples": ["1%"]}),
]
Size = Annotated[
    float,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([KMGT]i|[kMGT])?B\s*$", "examples": ["8 GiB"]}),
]
Energy = Annotated[
    float,
    BeforeValidator(parse_energy),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[um]?J\s*$", "examples": ["500 mJ"]}),
]
Price = Annotated[
    float,
    BeforeValidator(parse_price),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\$\s*\d+(\.\d+)?\s*/\s*h\s*$", "examples": ["$1.20/h"]}),
]
CpuSet = Annotated[
    frozenset[int],
    BeforeValidator(parse_cpus),
    PlainSerializer(format_cpus),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "pattern": r"^\s*\d+(-\d+)?\s*(,\s*\d+(-\d+)?\s*)*$",
                    "examples": ["0,2-5"],
                },
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
            ]
        }
    ),
]
