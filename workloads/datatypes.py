"""The data types of the Open Inference Protocol (KServe v2) as numpy has them."""

from collections.abc import Mapping

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

STRINGS = "BYTES"
FLOATS = ("FP16", "BF16", "FP32", "FP64")
NUMPY: Mapping[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "BF16": bfloat16,
    "FP32": np.float32,
    "FP64": np.float64,
    STRINGS: np.bytes_,
}
"""data type -> numpy's type; strings are bytes."""


def calculable(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return an output's values as numpy calculates with them: BF16, which it does not know, as FP32."""
    return values.astype(np.float32) if values.dtype == bfloat16 else values
