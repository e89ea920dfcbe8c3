"""A configuration on a Triton that runs already: how it is asked, and what the server tells of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Endpoint, Exposed, HttpAddress, ServerCounters, TargetError
from targets.kserve.control import HttpControl
from targets.kserve.served import ANSWER_TIMEOUT_S
from targets.kserve.target import KServeDeployment
from targets.prometheus import told
from targets.triton import metrics
from targets.triton.cache import readings
from targets.triton.transport import Transport
from workloads.requests import Requests

Reading = Callable[[], Callable[[], ServerCounters]]
"""Reads the statistics of a model; what it returns makes sense of them."""


class RemoteDeployment:
    """A configuration that the server has now."""

    def __init__(
        self,
        config: Config,
        served: KServeDeployment,
        transport: Transport,
        model: str,
        page: HttpControl | None,
        composing: Mapping[str, Reading],
    ) -> None:
        self.config = config
        self._served, self._transport, self._model = served, transport, model
        self._page, self._composing = page, composing

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for the model, once."""
        return self._transport.endpoint(requests)

    def http_address(self) -> HttpAddress:
        """Return where the server is. Raises TargetError where it is asked over gRPC."""
        return self._served.http_address()

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer."""
        return self._transport.outputs(answer)

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered. Raises TargetError with what came instead."""
        self._transport.ask_once(requests, ANSWER_TIMEOUT_S)

    def processes(self) -> Sequence[int]:
        """Return none: the server runs elsewhere."""
        return ()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's statistics of the model, and its metrics where the study says where they are.

        Of an ensemble those of its composing models are read one after the other.
        """
        reading = self._served.statistics()
        of_parts = {name: read() for name, read in self._composing.items()}
        text = None if self._page is None else self._page.get("")

        def counters() -> ServerCounters:
            found = reading()
            gauges = found.gauges if text is None else metrics.gauges(text, self._model)
            parts = {name: part() for name, part in of_parts.items()}
            return replace(found, gauges=gauges, counters={**found.counters, **readings(found.cache)}, parts=parts)

        return counters

    def exposed(self) -> Exposed:
        """Return how the server's metrics are read. Raises TargetError where the study does not say where they are."""
        if self._page is None:
            raise TargetError("it is not known where they are; give `target.metrics_url`")
        names = {name: name for name in (self._model, *self._composing)}
        return Exposed(partial(self._page.get, ""), partial(told, models=names), metrics.gpus)

    def retire(self) -> None:
        """Give back its shared memory; it stays until another one takes its place, or the target is stopped."""
        self._transport.close()
