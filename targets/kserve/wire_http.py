"""The protocol over HTTP with its extension for binary tensors, encoded by tritonclient."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import tritonclient.http
from numpy.typing import NDArray

from targets.base import Endpoint
from targets.kserve.judge import HEADER_LENGTH, header_value, judge
from targets.kserve.wire import ModelSpec, Site, Tensor, items
from workloads.requests import Dataset


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request with binary tensors, for binary tensors."""
    outputs = [tritonclient.http.InferRequestedOutput(name, binary_data=True) for name in model.outputs]
    priority = dataset.priority
    requests = tuple(_request(tensors, outputs, model, site, priority) for tensors in items(dataset, model))
    return Endpoint(site.host, site.port, requests, judge, tls=site.tls)


def _request(tensors: list[Tensor], outputs: list[Any], model: ModelSpec, site: Site, priority: int) -> bytes:
    inputs = [_input(tensor) for tensor in tensors]
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body(
        inputs, outputs=outputs, priority=priority
    )
    own = f"Inference-Header-Content-Length: {header_length or len(body)}\r\n"
    return head(model, site, "application/octet-stream", len(body), own) + bytes(body)


def _input(tensor: Tensor) -> tritonclient.http.InferInput:
    one = tritonclient.http.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
    one.set_data_from_numpy(tensor.array, binary_data=True)
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
    """Return the outputs of one complete HTTP answer, binary or in JSON, each with the batch axis first."""
    before, _, body = answer.partition(b"\r\n\r\n")
    length = header_value(before, HEADER_LENGTH)
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        body, header_length=int(length) if length else None
    )
    names = outputs or [output["name"] for output in result.get_response()["outputs"]]
    return {name: result.as_numpy(name) for name in names}
