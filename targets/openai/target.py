"""The OpenAI target: a server that runs already and is asked; nothing of it can be changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Endpoint,
    Export,
    HttpAddress,
    Knob,
    ServerCounters,
    TargetError,
)
from targets.common import prompts
from targets.found import FoundModel
from targets.openai import wire
from targets.openai.control import CONTROL_TIMEOUT_S, REFUSED, Control, listed
from targets.openai.found import models_of
from targets.openai.options import OpenAIOptions
from targets.options import ServerMetric
from targets.probe import failure_of
from workloads.requests import Requests


class OpenAITarget:
    """A server with OpenAI's API, found by its URL.

    Raises:
        TargetError: the URL or the environment cannot be used.
    """

    Options: ClassVar = OpenAIOptions
    side_by_side: ClassVar = True

    def __init__(self, options: OpenAIOptions, context: Context) -> None:
        self._options = options
        ca = context.resolve(Path(options.ca)) if options.ca else None
        if ca is not None and not ca.is_file():
            raise TargetError(f"target.ca: {ca}: no such file")
        self._control = Control(options, ca)
        self._served_by: str | None = None

    @staticmethod
    def all_knobs() -> Sequence[Knob]:
        """Nothing of a remote server can be tuned; only the load levels are searched."""
        return ()

    @staticmethod
    def availability() -> str:
        """Say what is needed: nothing."""
        return "built in; asks a server that runs already, by its URL"

    @staticmethod
    def models_served(url: str, model: str | None, key_env: str | None) -> Sequence[FoundModel]:
        """Return the models of the server at a URL; one alone is asked how it takes prompts."""
        return models_of(url, model, key_env)

    def knobs(self) -> Sequence[Knob]:
        """Nothing of a remote server can be tuned."""
        return ()

    def metrics(self) -> Sequence[ServerMetric]:
        """There are none: OpenAI's API has no statistics."""
        return ()

    def user_config(self) -> Config:
        """Return no values: there are no knobs."""
        return {}

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are prompts that the endpoint takes."""
        wire.check_prompts(prompts(requests), self._options)

    def start(self) -> None:
        """Check that the server answers and has the model."""
        status, answer, server = self._control.models()
        if status in REFUSED:
            named = self._options.api_key_env
            hint = f"check the key in {named}" if named else "name the variable of its key with `target.api_key_env`"
            raise TargetError(f"{self._options.url} refuses us (HTTP {status}); {hint}")
        if status != 200:
            raise TargetError(f"{self._options.url}: GET /v1/models: HTTP {status}: {answer[:200]!r}")
        self._require_model(answer)
        self._served_by = server

    def deploy(self, config: Config, alias: str) -> "OpenAIDeployment":  # noqa: ARG002 - nothing is deployed
        """Return the server as it is."""
        if self._served_by is None:
            raise TargetError("the target was not started")
        if config:
            raise ConfigRefused(f"nothing of a remote server can be changed, so not {', '.join(config)}")
        return OpenAIDeployment(self)

    def alive(self) -> bool:
        """Whether the server answers."""
        if self._served_by is None:
            return False
        try:
            return self._control.models().status == 200
        except TargetError:
            return False

    def export(self, config: Config) -> Export:  # noqa: ARG002 - there is nothing to write
        """Return no file: there is nothing to change."""
        return Export({}, {})

    def verify(self, export: Export, requests: Requests) -> None:  # noqa: ARG002 - there is nothing to load
        """Ask the server once."""
        deployment = self.deploy({}, "verified")
        if len(requests) and (failure := failure_of(deployment.endpoint(requests), CONTROL_TIMEOUT_S * 6)):
            raise TargetError(f"{self._options.url}: a request failed: {failure}")

    def http_address(self) -> HttpAddress:
        """Return where the server is, its paths without what the URL has before `/v1`."""
        where = self._control.address
        own = "/v1" if where.path != "/v1" else ""
        return HttpAddress(where.host, where.port, where.secure, own, where.path if own else "")

    def environment(self) -> Mapping[str, str]:
        """Return where the server is and how it names itself."""
        return {"server": self._served_by or "unknown", "server_url": self._options.url, "model": self._options.model}

    def stop(self) -> None:
        """Leave the server alone."""
        self._served_by = None

    def encoded(self, requests: Requests) -> Endpoint:
        """Encode prompts for this server."""
        return wire.endpoint(
            prompts(requests),
            model=self._options.model,
            address=self._control.address,
            options=self._options,
            usage=self._options.usage,
            headers=self._control.headers(),
            tls=self._control.tls,
        )

    def reading(self) -> ServerCounters:
        """Return a reading that only has its time: the server has no statistics."""
        return ServerCounters(time.monotonic_ns())

    def _require_model(self, answer: bytes) -> None:
        names = listed(answer)
        if names is None:
            raise TargetError(f"{self._options.url}: /v1/models is no list of models: {answer[:200]!r}")
        model = self._options.model
        if model not in names:
            close = get_close_matches(model, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names) or 'none'}"
            raise TargetError(f"target.model: {self._options.url} has no model {model!r}; {hint}")


class OpenAIDeployment:
    """The server as it is."""

    def __init__(self, target: OpenAITarget) -> None:
        self._target = target
        self._encoded: tuple[Requests, Endpoint] | None = None

    @property
    def config(self) -> Config:
        """Nothing of it can be changed."""
        return {}

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode prompts, those asked for last only once."""
        if self._encoded is None or self._encoded[0] is not requests:
            self._encoded = (requests, self._target.encoded(requests))
        return self._encoded[1]

    def http_address(self) -> HttpAddress:
        """Return where the server is, its paths without what the URL has before `/v1`."""
        return self._target.http_address()

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:  # noqa: ARG002 - it has none
        """Texts have no right class."""
        raise TargetError("answers of a language model are not compared with labels")

    def processes(self) -> Sequence[int]:
        """Return none: the server runs elsewhere."""
        return ()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Return a reading that only has its time."""
        reading = self._target.reading()
        return lambda: reading

    def retire(self) -> None:
        """Leave the server alone."""
