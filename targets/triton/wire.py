"""What Triton's wire formats have in common: the check of a dataset against a model, and the tensors of one item."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from targets.base import Endpoint, TargetError
from workloads.requests import Dataset


class Wire(Protocol):
    """One protocol: requests encoded, answers decoded."""

    def endpoint(
        self, dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int
    ) -> Endpoint:
        """Encode each item of a dataset, as one request to `model` that has all outputs of `config` sent back."""
        ...

    def decode(self, answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
        """Return the output tensors of one answer that was ok, each with the batch axis first."""
        ...


@dataclass(frozen=True)
class Tensor:
    """An input of one request.

    Attributes:
        name: of the model's input.
        datatype: as the inference protocol spells it, e.g. FP32 or BYTES.
        array: the values; strings are bytes.
    """

    name: str
    datatype: str
    array: NDArray[np.generic]


def check_inputs(dataset: Dataset, config: model_config_pb2.ModelConfig) -> None:
    """Check that a dataset has every input of the model, in its type and shape.

    Raises:
        TargetError: naming the input, what the model wants and what the dataset has.
    """
    wanted = {tensor.name: tensor for tensor in config.input if not tensor.optional}
    known = {tensor.name for tensor in config.input}
    if missing := sorted(set(wanted) - set(dataset.inputs)):
        raise TargetError(
            f"the dataset lacks the model's input {missing[0]!r}; it has {', '.join(sorted(dataset.inputs))}"
        )
    if extra := sorted(set(dataset.inputs) - known):
        raise TargetError(
            f"the dataset has an array {extra[0]!r}, which is no input of model {config.name!r} "
            f"({', '.join(sorted(known))})"
        )
    for name, tensor in wanted.items():
        _check_input(name, dataset.inputs[name], tensor)


def _check_input(name: str, array: NDArray[np.generic], tensor: Any) -> None:
    data_type = _datatype(tensor)
    expected = triton_to_np_dtype(data_type)
    fits = array.dtype.kind in "SU" if data_type == "BYTES" else expected is not None and array.dtype == expected
    if not fits:
        raise TargetError(f"input {name!r} is {data_type} in the model, but {array.dtype} in the dataset")
    shape = list(array.shape[1:])
    dims = list(tensor.dims)
    if len(shape) != len(dims) or any(dim not in (-1, size) for dim, size in zip(dims, shape, strict=True)):
        raise TargetError(f"input {name!r} has shape {dims} in the model, but {shape} a row in the dataset")


def _datatype(tensor: Any) -> str:
    """Return a tensor's type as the inference protocol spells it: TYPE_FP32 -> FP32, TYPE_STRING -> BYTES."""
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return "BYTES" if name == "TYPE_STRING" else name.removeprefix("TYPE_")


def items(dataset: Dataset, config: model_config_pb2.ModelConfig) -> Iterator[list[Tensor]]:
    """Yield the input tensors of each item, in the model's order.

    Models that batch get each item with a leading batch axis of 1.
    """
    for index in range(len(dataset)):
        yield [
            Tensor(tensor.name, _datatype(tensor), _row(dataset.inputs[tensor.name], index, config.max_batch_size > 0))
            for tensor in config.input
            if tensor.name in dataset.inputs
        ]


def _row(array: NDArray[np.generic], index: int, batched: bool) -> NDArray[np.generic]:
    rows = array[index : index + 1]
    rows = np.char.encode(rows.astype(np.str_), "utf-8") if rows.dtype.kind == "U" else rows
    return rows if batched else rows[0]
