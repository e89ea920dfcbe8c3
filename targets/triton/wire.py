"""Triton's model configuration as the Open Inference Protocol's description of a model."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Unfit
from targets.kserve import wire
from targets.kserve.wire import ModelSpec
from workloads.datatypes import FLOATS, NUMPY, STRINGS
from workloads.requests import Dataset, Rows, TensorSpec

_FLOATS = tuple(np.dtype(NUMPY[name]) for name in FLOATS)


def described(config: model_config_pb2.ModelConfig, name: str) -> ModelSpec:
    """Return what a model takes and gives, under the name that requests ask for.

    Models that batch get each item with a leading batch axis of 1.
    """
    inputs = (
        TensorSpec(tensor.name, _datatype(tensor), tuple(tensor.dims), tensor.optional) for tensor in config.input
    )
    return ModelSpec(name, tuple(inputs), output_names(config), config.max_batch_size > 0)


def output_names(config: model_config_pb2.ModelConfig) -> tuple[str, ...]:
    """Return the names of a model's outputs."""
    return tuple(tensor.name for tensor in config.output)


def output_bytes(config: model_config_pb2.ModelConfig, name: str) -> dict[str, int]:
    """Return the bytes that each output of a model takes for one item.

    Raises:
        Unfit: an output whose size is not known before it is there.
    """
    found = {}
    for tensor in config.output:
        datatype, dims = _datatype(tensor), list(tensor.dims)
        if datatype == STRINGS or any(size < 0 for size in dims):
            what = "is of strings" if datatype == STRINGS else f"has the shape {dims}"
            raise Unfit(
                f"target.outputs: output {tensor.name!r} of model {name!r} {what}, so that nobody knows "
                "beforehand how much shared memory it takes; take `outputs` out, and outputs come in the answer"
            )
        found[tensor.name] = math.prod(dims) * np.dtype(NUMPY[datatype]).itemsize
    return found


def check_inputs(dataset: Dataset, config: model_config_pb2.ModelConfig) -> None:
    """Check that a dataset has every input of the model, in its type and shape.

    Raises:
        Unfit: naming the input, what the model wants and what the dataset has.
    """
    wire.check_inputs(dataset, described(config, config.name))


def in_types_of(dataset: Dataset, config: model_config_pb2.ModelConfig) -> Dataset:
    """Return a dataset with its floats rounded to the float type that a model takes.

    A variant in a lower precision often takes its inputs in it, and is asked the same all the same.

    Raises:
        Unfit: a number is too large for the model's type; naming the input.
    """
    taken = {tensor.name: tensor.datatype for tensor in described(config, config.name).inputs}
    return replace(dataset, inputs={name: _floats(name, rows, taken) for name, rows in dataset.inputs.items()})


def _floats(name: str, rows: Rows, taken: Mapping[str, str]) -> Rows:
    datatype = taken.get(name, "")
    if datatype not in FLOATS:
        return rows
    return (
        _rounded(name, rows, datatype)
        if isinstance(rows, np.ndarray)
        else [_rounded(name, row, datatype) for row in rows]
    )


def _rounded(name: str, values: NDArray[np.generic], datatype: str) -> NDArray[np.generic]:
    if values.dtype not in _FLOATS or values.dtype == NUMPY[datatype]:
        return values
    with np.errstate(over="ignore"):
        found = values.astype(NUMPY[datatype])
    if (beyond := np.isfinite(values) & ~np.isfinite(found)).any():
        raise Unfit(f"input {name!r} is {datatype} in the model, which cannot hold {values[beyond][0]}")
    return found


def check_sequences(dataset: Dataset, config: model_config_pb2.ModelConfig) -> None:
    """Check that requests to a model that batches sequences belong to some.

    Raises:
        Unfit: they do not; Triton would refuse each of them.
    """
    if config.HasField("sequence_batching") and dataset.sequences is None:
        raise Unfit(
            f"model {config.name!r} has sequence_batching, so that each request has to belong to a sequence; give the "
            "workload `sequences: {length: ...}`"
        )


def _datatype(tensor: Any) -> str:
    """Return a tensor's type as the inference protocol spells it: TYPE_FP32 -> FP32, TYPE_STRING -> BYTES."""
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return STRINGS if name == "TYPE_STRING" else name.removeprefix("TYPE_")
