"""The protocol over HTTP with its extension for binary tensors, encoded by tritonclient."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import tritonclient.http
from numpy.typing import NDArray

from targets.base import Endpoint
from targets.kserve.judge import HEADER_LENGTH, header_value, judge
from targets.kserve.wire import ModelSpec, Request, Said, Site, Tensor, Wanted, requests_of
from workloads.datatypes import calculable
from workloads.requests import Dataset


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request with binary tensors, for binary tensors."""
    return encoded(requests_of(dataset, model), model, site)


def encoded(requests: Iterable[Request], model: ModelSpec, site: Site) -> Endpoint:
    """Encode requests with binary tensors, or with references to shared memory where their values lie there."""
    return Endpoint(site.host, site.port, tuple(_requests(requests, model, site)), judge, tls=site.tls)


def _requests(requests: Iterable[Request], model: ModelSpec, site: Site) -> Iterator[bytes]:
    known: Sequence[Wanted] = ()
    outputs: list[Any] = []
    for request in requests:
        if request.outputs is not known:  # mostly they are the same for all
            known, outputs = request.outputs, [_output(one) for one in request.outputs]
        yield _request(request, outputs, model, site)


def _request(request: Request, outputs: list[Any], model: ModelSpec, site: Site) -> bytes:
    given = dict(request.parameters)
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body(
        [_input(tensor) for tensor in request.inputs],
        outputs=outputs,
        request_id=request.id,
        priority=given.pop("priority", 0),
        timeout=given.pop("timeout", None),
        sequence_id=given.pop("sequence_id", 0),
        sequence_start=given.pop("sequence_start", False),
        sequence_end=given.pop("sequence_end", False),
        parameters=given or None,
    )
    own = f"Inference-Header-Content-Length: {header_length or len(body)}\r\n"
    return head(model, site, "application/octet-stream", len(body), own) + bytes(body)


def _output(wanted: Wanted) -> tritonclient.http.InferRequestedOutput:
    one = tritonclient.http.InferRequestedOutput(wanted.name, binary_data=wanted.place is None)
    if wanted.place is not None:
        one.set_shared_memory(wanted.place.region, wanted.place.size, wanted.place.offset)
    return one


def _input(tensor: Tensor) -> tritonclient.http.InferInput:
    one = tritonclient.http.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
    if tensor.place is None:
        one.set_data_from_numpy(tensor.array, binary_data=True)
    else:
        one.set_shared_memory(tensor.place.region, tensor.place.size, tensor.place.offset)
    return one


def head(model: ModelSpec, site: Site, content_type: str, length: int, own: str = "") -> bytes:
    """Return the head of an inference request.

    Args:
        model: that is asked.
        site: where it goes.
        content_type: of the body.
        length: of the body, in bytes.
        own: further header lines of the format, each with its line end.
    """
    version = f"/versions/{quote(model.version, safe='')}" if model.version else ""
    headers = "".join(f"{name}: {value}\r\n" for name, value in site.headers)
    return (
        f"POST {site.prefix}/v2/models/{quote(model.name, safe='')}{version}/infer HTTP/1.1\r\n"
        f"Host: {site.authority}\r\n"
        f"{headers}"
        f"Content-Type: {content_type}\r\n"
        f"{own}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def decode(answer: bytes, outputs: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
    """Return the outputs of one complete HTTP answer, binary or in JSON, each with the batch axis first.

    BF16 is FP32.
    """
    result = _result(answer)
    names = outputs or [output["name"] for output in result.get_response()["outputs"]]
    return {name: calculable(np.asarray(result.as_numpy(name))) for name in names}


def said(answer: bytes) -> Said:
    """Return what one complete HTTP answer says of its outputs, apart from their values."""
    found = _result(answer).get_response()
    outputs = {one["name"]: (str(one["datatype"]), tuple(one["shape"])) for one in found["outputs"]}
    return Said(str(found.get("id", "")), outputs)


def _result(answer: bytes) -> tritonclient.http.InferResult:
    before, _, body = answer.partition(b"\r\n\r\n")
    length = header_value(before, HEADER_LENGTH)
    return tritonclient.http.InferenceServerClient.parse_response_body(
        body, header_length=int(length) if length else None
    )
