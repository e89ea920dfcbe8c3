"""Requests of the Open Inference Protocol (KServe v2) over HTTP, for a server that a command starts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Endpoint, TargetError
from targets.command.address import Address
from targets.command.options import AnswerSpec, RequestSpec
from targets.kserve import wire
from targets.kserve.control import HttpControl
from targets.kserve.served import wire_of
from targets.kserve.wire import Site, fitted
from workloads.requests import Dataset


class KServeWire:
    """Tensors in and out; the server is asked for what its model takes when the requests are encoded."""

    def __init__(self, request: RequestSpec, answer: AnswerSpec) -> None:  # noqa: ARG002 - the protocol says what is ok
        assert request.model is not None, "the options were validated"
        self._model = request.model
        self._format: wire.Wire | None = None
        self._outputs: Sequence[str] = ()

    @property
    def secrets(self) -> frozenset[str]:
        """The requests hold none."""
        return frozenset()

    def check(self, dataset: Dataset, values: Config) -> None:
        """What the model takes is known once the server runs."""

    def endpoint(
        self,
        dataset: Dataset,
        values: Config,  # noqa: ARG002 - tensors depend on no knob
        at: Address,
        environment: Mapping[str, str],  # noqa: ARG002 - nor on the environment
    ) -> Endpoint:
        """Encode each item as a request to the model, in binary tensors where the server has them, else in JSON.

        Raises:
            TargetError: the server does not have the model, or the dataset does not fit it.
        """
        site = Site(at.host, at.port, tls=at.tls, prefix=at.prefix)
        control = HttpControl(site)
        info = control.server()
        if not control.model_ready(self._model, ""):
            known = ", ".join(control.models()) or "no model that it tells of"
            raise TargetError(f"target.request.model: the server has no model {self._model!r} ready; it has {known}")
        model = control.model(self._model, "")
        self._format, self._outputs = wire_of(info, grpc=False), model.outputs
        return self._format.endpoint(dataset, fitted(model, dataset), site)

    def decode(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Return the model's outputs."""
        assert self._format is not None, "an answer comes to a request"
        return self._format.decode(answer, self._outputs)
