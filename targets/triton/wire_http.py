"""Triton over HTTP: requests encoded once by tritonclient, binary tensors in and out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tritonclient.http
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Endpoint
from targets.triton.judge import HEADER_LENGTH, header_value, judge
from targets.triton.wire import Tensor, items
from workloads.requests import Dataset


def endpoint(dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request to `model`."""
    outputs = [tritonclient.http.InferRequestedOutput(tensor.name, binary_data=True) for tensor in config.output]
    requests = tuple(_request(tensors, outputs, model, f"{host}:{port}") for tensors in items(dataset, config))
    return Endpoint(host, port, requests, judge)


def _request(tensors: list[Tensor], outputs: list[Any], model: str, host: str) -> bytes:
    inputs = [_input(tensor) for tensor in tensors]
    body, header_length = tritonclient.http.InferenceServerClient.generate_request_body(inputs, outputs=outputs)
    head = (
        f"POST /v2/models/{model}/infer HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {header_length or len(body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + bytes(body)


def _input(tensor: Tensor) -> tritonclient.http.InferInput:
    one = tritonclient.http.InferInput(tensor.name, list(tensor.array.shape), tensor.datatype)
    one.set_data_from_numpy(tensor.array, binary_data=True)
    return one


def decode(answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
    """Return the output tensors of one complete HTTP answer, each with the batch axis first."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = header_value(head, HEADER_LENGTH)
    result = tritonclient.http.InferenceServerClient.parse_response_body(
        body, header_length=int(length) if length else None
    )
    return {tensor.name: result.as_numpy(tensor.name) for tensor in config.output}
