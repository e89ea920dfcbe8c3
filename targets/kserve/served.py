"""A model that is served: requests encoded for it, its answers decoded."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, HttpAddress, TargetError, Unfit, Value
from targets.common import Encoded, a_dataset
from targets.kserve import wire_grpc, wire_http, wire_json
from targets.kserve.control import ServerInfo
from targets.kserve.wire import ModelSpec, Site, Wire, fitted, items_of, requests_of
from targets.probe import failure_of
from workloads.requests import Requests

BINARY = "binary_tensor_data"
ANSWER_TIMEOUT_S = 60.0


def wire_of(server: ServerInfo, *, grpc: bool, tensors: str | None = None) -> Wire:
    """Return the format to take.

    Args:
        server: what it says of itself.
        grpc: whether it is asked over gRPC.
        tensors: over HTTP: `binary` or `json`; None: binary where the server has that extension.
    """
    if grpc:
        return wire_grpc
    binary = BINARY in server.extensions if tensors is None else tensors == "binary"
    return wire_http if binary else wire_json


class ServedModel:
    """A model at its place.

    Args:
        model: with the server's shapes.
        wire: the format of requests and answers.
        site: where requests go.
        parameters: of every request.
    """

    def __init__(self, model: ModelSpec, wire: Wire, site: Site, parameters: Mapping[str, Value] | None = None) -> None:
        self._model, self._wire, self._site, self._parameters = model, wire, site, parameters
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode requests, once.

        Raises:
            Unfit: it does not fit the model; naming the input.
        """
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        dataset = a_dataset(requests, items_of(self._model))
        model = fitted(self._model, dataset)
        return self._wire.encoded(requests_of(dataset, model, self._parameters), model, self._site)

    def http_address(self) -> HttpAddress:
        """Return where the server is, its paths without the site's prefix. Raises TargetError where it speaks gRPC."""
        site = self._site
        if self._wire is wire_grpc:
            raise TargetError(
                f"{site.host}:{site.port} speaks gRPC, and the client HTTP; give the server's HTTP address"
            )
        own = "/v2" if site.prefix else ""
        return HttpAddress(site.host, site.port, site.tls is not None, own, f"{site.prefix}{own}")

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer.

        Raises:
            Unfit: it lacks an output that was asked for.
        """
        found = self._wire.decode(answer, self._model.outputs)
        if missing := [name for name, array in found.items() if array is None]:
            raise Unfit(f"an answer of model {self._model.name!r} lacks the output {missing[0]!r}")
        return found

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        if len(requests) and (failure := failure_of(self.endpoint(requests), ANSWER_TIMEOUT_S)):
            raise TargetError(f"a request to model {self._model.name!r} failed: {failure}")
