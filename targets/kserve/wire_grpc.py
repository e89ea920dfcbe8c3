"""The protocol over gRPC: requests encoded once as messages with raw tensors, as tritonclient sends them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import triton_to_np_dtype

from targets.base import Endpoint, Grpc, Value
from targets.kserve.judge import judge_grpc
from targets.kserve.wire import ModelSpec, Place, Request, Said, Site, raw, requests_of
from workloads.datatypes import calculable
from workloads.requests import Dataset

PATH = "/inference.GRPCInferenceService/ModelInfer"
_UNSIGNED = ("priority",)
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
    return encoded(requests_of(dataset, model), model, site)


def encoded(requests: Iterable[Request], model: ModelSpec, site: Site) -> Endpoint:
    """Encode requests as ModelInferRequests, with references to shared memory where their values lie there."""
    return Endpoint(
        site.host,
        site.port,
        tuple(message(one, model).SerializeToString() for one in requests),
        judge_grpc,
        Grpc(PATH, metadata(site)),
        site.tls,
    )


def metadata(site: Site) -> tuple[tuple[str, str], ...]:
    """Return what is sent with every call."""
    return tuple((name.lower(), value) for name, value in site.headers)


def message(request: Request, model: ModelSpec) -> Any:
    """Return a request as a ModelInferRequest."""
    found = service_pb2.ModelInferRequest(model_name=model.name, model_version=model.version, id=request.id)
    for name, value in request.parameters.items():
        _set(found.parameters[name], value, unsigned=name in _UNSIGNED)
    for tensor in request.inputs:
        one = found.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        if tensor.place is None:
            found.raw_input_contents.append(raw(tensor))
        else:
            _refer(one.parameters, tensor.place)
    for wanted in request.outputs:
        two = found.outputs.add(name=wanted.name)
        if wanted.place is not None:
            _refer(two.parameters, wanted.place)
    return found


def _set(parameter: Any, value: Value, *, unsigned: bool = False) -> None:
    """Set an InferParameter to a value of Python's type for it."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        if unsigned:
            parameter.uint64_param = value
        else:
            parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value


def _refer(parameters: Any, place: Place) -> None:
    parameters["shared_memory_region"].string_param = place.region
    parameters["shared_memory_byte_size"].int64_param = place.size
    if place.offset:
        parameters["shared_memory_offset"].int64_param = place.offset


def decode(answer: bytes, outputs: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
    """Return the outputs of one ModelInferResponse, raw or with typed contents, each with the batch axis first.

    BF16 is FP32.
    """
    answered = service_pb2.ModelInferResponse.FromString(answer)
    result = InferResult(answered)
    given = {output.name: output for output in answered.outputs}
    is_raw = bool(answered.raw_output_contents)
    arrays = {name: result.as_numpy(name) if is_raw else _typed(given[name]) for name in outputs or given}
    return {name: calculable(np.asarray(array)) for name, array in arrays.items()}


def said(answer: bytes) -> Said:
    """Return what one ModelInferResponse says of its outputs, apart from their values."""
    found = service_pb2.ModelInferResponse.FromString(answer)
    return Said(found.id, {one.name: (one.datatype, tuple(one.shape)) for one in found.outputs})


def _typed(output: Any) -> NDArray[np.generic]:
    values = getattr(output.contents, _CONTENTS[output.datatype])
    return np.array(list(values), triton_to_np_dtype(output.datatype)).reshape(output.shape)
