"""Triton's HTTP wire format: requests encoded once by tritonclient, answers judged and decoded."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from targets.base import TargetError
from targets.triton.judge import HEADER_LENGTH, header_value
from workloads.requests import Dataset


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
    data_type = datatype(tensor)
    expected = triton_to_np_dtype(data_type)
    fits = array.dtype.kind in "SU" if data_type == "BYTES" else expected is not None and array.dtype == expected
    if not fits:
        raise TargetError(f"input {name!r} is {data_type} in the model, but {array.dtype} in the dataset")
    shape = list(array.shape[1:])
    dims = list(tensor.dims)
    if len(shape) != len(dims) or any(dim not in (-1, size) for dim, size in zip(dims, shape, strict=True)):
        raise TargetError(f"input {name!r} has shape {dims} in the model, but {shape} a row in the dataset")


def datatype(tensor: Any) -> str:
    """Return a tensor's type as the inference protocol spells it: TYPE_FP32 -> FP32, TYPE_STRING -> BYTES."""
    name: str = model_config_pb2.DataType.Name(tensor.data_type)
    return "BYTES" if name == "TYPE_STRING" else name.removeprefix("TYPE_")


def encode(dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str) -> tuple[bytes, ...]:
    """Encode each item as a complete HTTP request to `model` with binary tensors in and out.

    Models that batch get each item with a leading batch axis of 1.
    """
    outputs = [tritonclient.http.InferRequestedOutput(tensor.name, binary_data=True) for tensor in config.output]
    batched = config.max_batch_size > 0
    return tuple(
        _request(_inputs(dataset, config, index, batched=batched), outputs, model, host)
        for index in range(len(dataset))
    )


def _inputs(
    dataset: Dataset, config: model_config_pb2.ModelConfig, index: int, *, batched: bool
) -> list[tritonclient.http.InferInput]:
    inputs = []
    for tensor in config.input:
        if tensor.name in dataset.inputs:
            array = dataset.inputs[tensor.name][index : index + 1]
            array = np.char.encode(array.astype(np.str_), "utf-8") if array.dtype.kind == "U" else array
            array = array if batched else array[0]
            one = tritonclient.http.InferInput(tensor.name, list(array.shape), datatype(tensor))
            one.set_data_from_numpy(array, binary_data=True)
            inputs.append(one)
    return inputs


def _request(inputs: list[Any], outputs: list[Any], model: str, host: str) -> bytes:
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body(inputs, outputs=outputs)
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {header_length or len(body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + bytes(body)


def decode(answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
    """Return the output tensors of one complete HTTP answer, each with the batch axis first."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = header_value(head, HEADER_LENGTH)
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        body, header_length=int(length) if length else None
    )
    return {tensor.name: result.as_numpy(tensor.name) for tensor in config.output}
