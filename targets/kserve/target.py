"""The kserve target: a server of the Open Inference Protocol that runs already; nothing of it can be changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
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
from targets.common import check_tensors
from targets.found import FoundModel
from targets.kserve import wire_json
from targets.kserve.control import Control, ServerInfo
from targets.kserve.found import models_of
from targets.kserve.options import KServeOptions
from targets.kserve.served import ServedModel, wire_of
from targets.kserve.site import control_of, site_of, tls_of
from targets.kserve.wire import ModelSpec, Site
from targets.options import ServerMetric
from workloads.requests import Requests

STATISTICS = "statistics"


class KServeTarget:
    """A model on a server of the Open Inference Protocol, found by its URL.

    Raises:
        TargetError: the file of trusted certificates is not there.
    """

    Options: ClassVar = KServeOptions
    side_by_side: ClassVar = True

    def __init__(self, options: KServeOptions, context: Context) -> None:
        self._options = options
        self._tls = tls_of(options, context)
        self._remote: _Remote | None = None

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
        """Return the models of the server at a URL."""
        return models_of(url, model, key_env)

    def knobs(self) -> Sequence[Knob]:
        """Nothing of a remote server can be tuned."""
        return ()

    def metrics(self) -> Sequence[ServerMetric]:
        """There are none but those that all targets have a place for."""
        return ()

    def user_config(self) -> Config:
        """Return no values: there are no knobs."""
        return {}

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are tensors; what the model takes is known once the server was asked."""
        check_tensors(requests)

    def start(self) -> None:
        """Check that server and model are ready, and read what the model takes.

        Raises:
            TargetError: one of them is not; with the server's own message.
        """
        self.stop()
        site = site_of(self._options, self._tls)
        control = control_of(self._options, site)
        try:
            self._remote = self._checked(control, site)
        except BaseException:
            control.close()
            raise

    def _checked(self, control: Control, site: Site) -> "_Remote":
        options, version = self._options, self._options.version or ""
        if not control.ready():
            raise TargetError(f"target.url: {options.url} answers that it is not ready; wait for it, or read its log")
        info = control.server()
        if not control.model_ready(options.model, version):
            raise TargetError(_not_ready(options, control.models()))
        return _Remote(control, site, info, control.model(options.model, version))

    def deploy(self, config: Config, alias: str) -> "KServeDeployment":  # noqa: ARG002 - nothing is deployed
        """Return the server as it is."""
        if self._remote is None:
            raise TargetError("the target was not started")
        if config:
            raise ConfigRefused(f"nothing of a remote server can be changed, so not {', '.join(config)}")
        return KServeDeployment(self._remote, self._options)

    def alive(self) -> bool:
        """Whether server and model answer that they are ready."""
        if self._remote is None:
            return False
        try:
            return self._remote.control.model_ready(self._options.model, self._options.version or "")
        except TargetError:
            return False

    def export(self, config: Config) -> Export:  # noqa: ARG002 - there is nothing to write
        """Return no file: there is nothing to change."""
        return Export({}, {})

    def verify(self, export: Export, requests: Requests) -> None:  # noqa: ARG002 - there is nothing to load
        """Ask the server once."""
        self.deploy({}, "verified").ask_once(requests)

    def environment(self) -> Mapping[str, str]:
        """Return where the server is, what it is and how it is asked."""
        if self._remote is None:
            raise TargetError("the target was not started")
        info, place = self._remote.info, self._options.place
        wire = wire_of(info, grpc=place.grpc, tensors=self._options.tensors)
        tensors = "JSON" if wire is wire_json else "binary"
        return {
            "server": f"{info.name} {info.version}".strip() or "unknown",
            "server_url": self._options.url,
            "model": self._options.model,
            "protocol": f"{place.scheme}, {tensors} tensors",
        }

    def stop(self) -> None:
        """Leave the server alone."""
        if self._remote is not None:
            self._remote.control.close()
            self._remote = None


@dataclass(frozen=True)
class _Remote:
    """A server that was found ready, and what it said."""

    control: Control
    site: Site
    info: ServerInfo
    model: ModelSpec


class KServeDeployment:
    """The server as it is."""

    def __init__(self, remote: _Remote, options: KServeOptions) -> None:
        self._remote, self._options = remote, options
        wire = wire_of(remote.info, grpc=options.place.grpc, tensors=options.tensors)
        self._served = ServedModel(remote.model, wire, remote.site, options.parameters)

    @property
    def config(self) -> Config:
        """Nothing of it can be changed."""
        return {}

    @property
    def site(self) -> Site:
        """Where requests go."""
        return self._remote.site

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode the dataset for the model, once."""
        return self._served.endpoint(requests)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer."""
        return self._served.outputs(answer)

    def http_address(self) -> HttpAddress:
        """Return where the server is. Raises TargetError where it is asked over gRPC."""
        return self._served.http_address()

    def ask_once(self, requests: Requests) -> None:
        """Send the first item and check that it is answered."""
        self._served.ask_once(requests)

    def processes(self) -> Sequence[int]:
        """Return none: the server runs elsewhere."""
        return ()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the statistics extension where the server has it; else only that the server answers."""
        control, model = self._remote.control, self._remote.model
        if STATISTICS in self._remote.info.extensions:
            return control.statistics(model.name, model.version)
        reading = ServerCounters(time.monotonic_ns())
        control.live()
        return lambda: reading

    def retire(self) -> None:
        """Leave the server alone."""


def _not_ready(options: KServeOptions, known: Sequence[str]) -> str:
    """Say that a model is not ready, and what the server has."""
    version = f" in version {options.version}" if options.version is not None else ""
    what = f"target.model: {options.url} has no model {options.model!r}{version} that is ready"
    others = [name for name in dict.fromkeys(known) if name != options.model]
    if not known or options.model in known:
        return f"{what}; look into the server's log"
    close = get_close_matches(options.model, others, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(others)}"
    return f"{what}; {hint}"
