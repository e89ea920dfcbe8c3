"""Triton over gRPC."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from targets.base import Endpoint, Grpc
from targets.kserve import wire_grpc
from targets.kserve.wire import Site
from targets.triton.wire import described, output_names
from workloads.requests import Dataset

INFER = Grpc(wire_grpc.PATH)


def endpoint(dataset: Dataset, config: model_config_pb2.ModelConfig, model: str, host: str, port: int) -> Endpoint:
    """Encode each item of a dataset as a ModelInferRequest to `model`."""
    return wire_grpc.endpoint(dataset, described(config, model), Site(host, port))


def decode(answer: bytes, config: model_config_pb2.ModelConfig) -> Mapping[str, NDArray[np.generic]]:
    """Return the output tensors of one ModelInferResponse, each with the batch axis first."""
    return wire_grpc.decode(answer, output_names(config))
