"""Triton's extension of the protocol over gRPC for any number of answers: each request is a stream of its own."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2, service_pb2

from targets.base import Endpoint, Grpc, Unfit
from targets.kserve import wire_grpc
from targets.kserve.wire import ModelSpec, Request, Said, Site, requests_of
from targets.triton.stream import judge, read_answer
from workloads.requests import Dataset, Requests

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


def endpoint(dataset: Dataset, model: ModelSpec, site: Site) -> Endpoint:
    """Encode each item of a dataset as one request, on a stream of its own."""
    return encoded(requests_of(dataset, model), model, site)


def encoded(requests: Iterable[Request], model: ModelSpec, site: Site) -> Endpoint:
    """Encode requests; each answer with outputs counts as a token, and the final response ends a request."""
    return Endpoint(
        site.host,
        site.port,
        tuple(_request(one, model) for one in requests),
        judge,
        Grpc(PATH, wire_grpc.metadata(site)),
        site.tls,
        read_answer,
    )


def _request(request: Request, model: ModelSpec) -> bytes:
    made = wire_grpc.message(request, model)
    made.parameters["triton_enable_empty_final_response"].bool_param = True
    return bytes(made.SerializeToString())


def decode(answer: bytes, outputs: Sequence[str]) -> Mapping[str, NDArray[np.generic]]:
    """Return the outputs of the last answer to a request, each with the batch axis first."""
    return wire_grpc.decode(_response(answer), outputs)


def said(answer: bytes) -> Said:
    """Return what the last answer to a request says of its outputs, apart from their values."""
    return wire_grpc.said(_response(answer))


def _response(answer: bytes) -> bytes:
    return bytes(service_pb2.ModelStreamInferResponse.FromString(answer).infer_response.SerializeToString())


def check_labels(requests: Requests, config: model_config_pb2.ModelConfig) -> None:
    """Check that nobody wants to know whether a decoupled model is right. Raises Unfit."""
    if config.model_transaction_policy.decoupled and requests.labels is not None:
        raise Unfit(
            "the requests have labels, but the model is decoupled: the last answer to a request need not "
            "have any output to compare with them; give requests without labels"
        )
