"""Triton over HTTP, with binary tensors in and out."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Endpoint
from targets.kserve import wire_http
from targets.kserve.judge import header_value
from targets.kserve.wire import Site
from targets.triton.wire import described, output_names
from workloads.requests import Dataset

__all__ = ["decode", "endpoint", "header_value"]


def endpoint(dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int) -> Endpoint:
    """Encode each item of a dataset as a complete HTTP request to `model`."""
    return wire_http.endpoint(dataset, described(config, model), Site(host, port))


def decode(answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
    """Return the output tensors of one complete HTTP answer, each with the batch axis first."""
    return wire_http.decode(answer, output_names(config))
