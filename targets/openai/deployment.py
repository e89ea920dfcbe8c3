"""A configuration on a server of language models of its own."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Endpoint, Exposed, HttpAddress, ServerCounters, TargetError
from targets.common import Encoded, prompts
from targets.openai import wire
from targets.openai.options import RequestOptions
from targets.openai.process import HOST, ModelServer
from targets.probe import failure_of
from targets.prometheus import told
from workloads.requests import Requests

FIRST_ANSWER_S = 300.0


@dataclass
class ModelDeployment:
    """A configuration that a server of its own serves.

    Attributes:
        config: the configuration.
        server: that has it.
        model: its name in requests.
        options: how requests are made.
        headers: that requests need.
        usage: how the server tells the number of tokens in a stream.
        counters: (monotonic time in ns, answer of /metrics) -> what it says.
    """

    config: Config
    server: ModelServer
    model: str
    options: RequestOptions
    headers: Mapping[str, str]
    usage: wire.Usage
    counters: Callable[[int, bytes], ServerCounters]

    def __post_init__(self) -> None:
        self._encoded = Encoded(self._encode)

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode prompts for this deployment, once."""
        return self._encoded(requests)

    def _encode(self, requests: Requests) -> Endpoint:
        return wire.endpoint(
            prompts(requests),
            model=self.model,
            address=wire.Address(HOST, self.server.port, secure=False, path="/v1"),
            options=self.options,
            usage=self.usage,
            headers=self.headers,
        )

    def http_address(self) -> HttpAddress:
        """Return where the server is."""
        return HttpAddress(HOST, self.server.port)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:  # noqa: ARG002 - it has none
        """Texts have no right class."""
        raise TargetError("answers of a language model are not compared with labels")

    def processes(self) -> Sequence[int]:
        """Return the server's processes."""
        return self.server.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the server's metrics."""
        taken_ns, text = time.monotonic_ns(), self.server.get("/metrics")
        return lambda: self.counters(taken_ns, text)

    def exposed(self) -> Exposed:
        """Return how the server's metrics are read."""
        return Exposed(self.server.metrics, told)

    def ask_once(self, requests: Requests) -> None:
        """Send the first prompt and check that it is answered. Raises TargetError with what came instead."""
        if len(requests) and (failure := failure_of(self.endpoint(requests), FIRST_ANSWER_S)):
            raise TargetError(f"a request to {self.server.name} failed: {failure}")

    def retire(self) -> None:
        """End its server."""
        self.server.stop()
