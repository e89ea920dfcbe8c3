"""A model that is served: requests encoded for it, its answers decoded."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, TargetError
from targets.common import Encoded, a_dataset
from targets.kserve import wire_grpc, wire_http, wire_json
from targets.kserve.control import ServerInfo
from targets.kserve.wire import ModelSpec, Site, Wire, fitted, items_of
from targets.probe import failure_of
from workloads.requests import Requests

BINARY = "binary_tensor_data"
ANSWER_TIMEOUT_S = 60.0


def wire_of(server: ServerInfo, *, grpc: bool) -> Wire:
    """Return the format to take: over HTTP binary tensors where the server has that extension, else JSON."""
    if grpc:
        return wire_grpc
    return wire_http if BINARY in server.extensions else wire_json


class ServedModel:
    """A model at its place.

    Args:
        model: with the server's shapes.
        wire: the format of requests and answers.
        site: where requests go.
    """

    def __init__(self, model: ModelSpec, wire: Wire, site: Site) -> None:
        self._model, self._wire, self._site = model, wire, site
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode requests, once.

        Raises:
            TargetError: it does not fit the model; naming the input.
        """
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        dataset = a_dataset(requests, items_of(self._model))
        return self._wire.endpoint(dataset, fitted(self._model, dataset), self._site)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer.

        Raises:
            TargetError: it lacks an output that was asked for.
        """
        found = self._wire.decode(answer, self._model.outputs)
        if missing := [name for name, array in found.items() if array is None]:
            raise TargetError(f"an answer of model {self._model.name!r} lacks the output {missing[0]!r}")
        return found

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        if failure := failure_of(self.endpoint(requests), ANSWER_TIMEOUT_S):
            raise TargetError(f"a request to model {self._model.name!r} failed: {failure}")
