"""Triton over gRPC: requests encoded once as messages with raw tensors, as tritonclient sends them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, model_config_pb2, service_pb2
from tritonclient.utils import serialize_byte_tensor

from targets.base import Endpoint, Grpc
from targets.triton.judge import judge_grpc
from targets.triton.wire import Tensor, items
from workloads.requests import Dataset

INFER = Grpc("/inference.GRPCInferenceService/ModelInfer")


def endpoint(dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int) -> Endpoint:
    """Encode each item of a dataset as a ModelInferRequest to `model`."""
    outputs = [tensor.name for tensor in config.output]
    requests = tuple(_request(tensors, outputs, model) for tensors in items(dataset, config))
    return Endpoint(host, port, requests, judge_grpc, INFER)


def _request(tensors: list[Tensor], outputs: list[str], model: str) -> bytes:
    message = service_pb2.ModelInferRequest(model_name=model)
    for tensor in tensors:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_input_contents.append(_raw(tensor))
    for name in outputs:
        message.outputs.add(name=name)
    return bytes(message.SerializeToString())


def _raw(tensor: Tensor) -> bytes:
    """Return the values in row-major order; a string is its length in 4 bytes, little-endian, and its bytes."""
    if tensor.datatype != "BYTES":
        return tensor.array.tobytes()
    return bytes(serialize_byte_tensor(tensor.array).item()) if tensor.array.size else b""


def decode(answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
    """Return the output tensors of one ModelInferResponse, each with the batch axis first."""
    result = InferResult(service_pb2.ModelInferResponse.FromString(answer))
    return {tensor.name: result.as_numpy(tensor.name) for tensor in config.output}
