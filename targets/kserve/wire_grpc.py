"""The protocol over gRPC: requests encoded once as messages with raw tensors, as tritonclient sends them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from targets.base import Endpoint, Grpc
from targets.kserve.judge import judge_grpc
from targets.kserve.wire import ModelSpec, Site, Tensor, items
from workloads.datatypes import STRINGS
from workloads.requests import Dataset

PATH = "/inference.GRPCInferenceService/ModelInfer"
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as a ModelInferRequest."""
    requests = tuple(_request(tensors, model, dataset.priority) for tensors in items(dataset, model))
    metadata = tuple((name.lower(), value) for name, value in site.headers)
    return Endpoint(site.host, site.port, requests, judge_grpc, Grpc(PATH, metadata), site.tls)


def _request(tensors: list[Tensor], model: ModelSpec, priority: int) -> bytes:
    message = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version)
    if priority:
        message.parameters["priority"].uint64_param = priority
    for tensor in tensors:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        message.raw_input_contents.append(_raw(tensor))
    for name in model.outputs:
        message.outputs.add(name=name)
    return bytes(message.SerializeToString())


def _raw(tensor: Tensor) -> bytes:
    """Return the values in row-major order; a string is its length in 4 bytes, little-endian, and its bytes."""
    if tensor.datatype != STRINGS:
        return tensor.array.tobytes()
    return bytes(serialize_byte_tensor(tensor.array).item()) if tensor.array.size else b""


def decode(answer: bytes, outputs: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
    """Return the outputs of one ModelInferResponse, raw or with typed contents, each with the batch axis first."""
    message = service_pb2.ModelInferResponse.FromString(answer)
    result = InferResult(message)
    given = {output.name: output for output in message.outputs}
    raw = bool(message.raw_output_contents)
    return {name: result.as_numpy(name) if raw else _typed(given[name]) for name in outputs or given}


def _typed(output: Any) -> NDArray[np.generic]:
    values = getattr(output.contents, _CONTENTS[output.datatype])
    return np.array(list(values), triton_to_np_dtype(output.datatype)).reshape(output.shape)
