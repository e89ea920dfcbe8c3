"""What every target signs: how a server is started, configured, asked, observed and written back."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from targets.counters import BatchSize as BatchSize  # noqa: PLC0414 - a part of what a target signs
from targets.counters import ServerCounters as ServerCounters  # noqa: PLC0414 - a part of what a target signs
from targets.counters import ServerStats as ServerStats  # noqa: PLC0414 - a part of what a target signs
from targets.counters import difference as difference  # noqa: PLC0414 - a part of what a target signs
from targets.counters import metric_values as metric_values  # noqa: PLC0414 - a part of what a target signs
from targets.errors import ConfigRefused as ConfigRefused  # noqa: PLC0414 - a part of what a target signs
from targets.errors import ServerDied as ServerDied  # noqa: PLC0414 - a part of what a target signs
from targets.errors import ServerHung as ServerHung  # noqa: PLC0414 - a part of what a target signs
from targets.errors import TargetError as TargetError  # noqa: PLC0414 - a part of what a target signs
from targets.errors import Unfit as Unfit  # noqa: PLC0414 - a part of what a target signs
from targets.exports import Export as Export  # noqa: PLC0414 - a part of what a target signs
from targets.exposed import Exposed as Exposed  # noqa: PLC0414 - a part of what a target signs
from targets.exposed import Exposes as Exposes  # noqa: PLC0414 - a part of what a target signs
from targets.exposed import TellsGpus as TellsGpus  # noqa: PLC0414 - a part of what a target signs
from targets.http_address import HasHttpAddress as HasHttpAddress  # noqa: PLC0414 - a part of what a target signs
from targets.http_address import HttpAddress as HttpAddress  # noqa: PLC0414 - a part of what a target signs
from targets.knob import Config as Config  # noqa: PLC0414 - a part of what a target signs
from targets.knob import Knob as Knob  # noqa: PLC0414 - a part of what a target signs
from targets.knob import KnobType as KnobType  # noqa: PLC0414 - a part of what a target signs
from targets.knob import Value as Value  # noqa: PLC0414 - a part of what a target signs
from targets.options import ServerMetric, TargetOptions
from workloads.requests import Requests

PRIVATE = frozenset({"PGPASSWORD", "PARETUNE_TOKEN"})
"""Environment variables that lead to the storage and to the agents: no server has business with them."""


class Outcome(IntEnum):
    """How a request ended. Everything but OK counts as an infinite latency."""

    OK = 0
    HTTP_ERROR = 1
    GRPC_ERROR = 2
    CONNECTION_ERROR = 3
    TIMEOUT = 4
    MALFORMED = 5
    DROPPED = 6


@dataclass(frozen=True)
class Grpc:
    """Requests are gRPC calls: one message there; one back, or several where the answer is streamed.

    Attributes:
        path: `/PACKAGE.SERVICE/METHOD`.
        metadata: (name in lower case, value) pairs sent with each call.
        streams_per_connection: calls in flight on one connection at most; the server may allow fewer.
    """

    path: str
    metadata: tuple[tuple[str, str], ...] = ()
    streams_per_connection: int = 6


@dataclass(frozen=True)
class Tls:
    """How a connection is secured.

    Attributes:
        ca: file with the certificates to trust; None: those that the system trusts.
        verify: refuse a server whose certificate is not trusted or names another host.
        server_name: the name that the certificate must have; None: the endpoint's host.
        authorities: the certificates of `ca` themselves in PEM, for a host that does not have that file.
    """

    ca: Path | None = None
    verify: bool = True
    server_name: str | None = None
    authorities: str | None = None


class Piece(NamedTuple):
    """What one event or message of a streamed answer says.

    Attributes:
        tokens: that it carries, 0 for none. With `total` only whether it carries any counts.
        total: tokens of the answer up to here as the server counts them, None where the event does not say. An event
            that carries tokens carries as many as are new in it.
        failed: the server says that the answer failed; its outcome is HTTP_ERROR or GRPC_ERROR.
        reason: of the failure, b"" where the event itself is to be read.
    """

    tokens: int
    total: int | None = None
    failed: bool = False
    reason: bytes = b""


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, their encoded bytes and how answers are judged.

    The callables are run in the load generator for every answer or event: they must be light, and importable there
    (functions of a module, no lambdas).

    Attributes:
        host: address to connect to.
        port: TCP port.
        requests: HTTP/1.1: the bytes of each request as they go over the wire, head and body; gRPC: each request's
            serialised message.
        judge: HTTP: (status, body) -> outcome; gRPC: (0, message) -> outcome, asked only about calls whose status is
            OK. Of a streamed answer it gets the last event or message.
        grpc: the call, if the requests are gRPC; None: they are HTTP/1.1.
        tls: None: in the clear.
        tokens: for answers that are streamed as server-sent events or gRPC messages: the data of one of them -> the
            tokens it carries, 0 for none, or a `Piece` where it says more. None: answers are read as a whole.
    """

    host: str
    port: int
    requests: tuple[bytes, ...]
    judge: Callable[[int, bytes], Outcome]
    grpc: Grpc | None = None
    tls: Tls | None = None
    tokens: Callable[[bytes], int | Piece] | None = None


@dataclass(frozen=True)
class Context:
    """Where a study's target runs.

    Attributes:
        folder: what relative paths of the options start from: where the study file stands.
        log_path: where the server's log goes; it is appended to.
        cpus: CPUs the server is pinned to, or None.
        texts: path of a file of the user's -> what is taken for its text; a target that is `KnowsPlaces` minds it.
        private: environment variables that are the tuner's alone; a server has them only where the study gives it one.
        metrics_period_s: how often a server's own numbers are to be read (`Exposes`), in seconds; None: not at all, and
            a server that is started here need not give them.
    """

    folder: Path
    log_path: Path
    cpus: frozenset[int] | None = None
    texts: Mapping[Path, str] = field(default_factory=dict)
    private: frozenset[str] = PRIVATE
    metrics_period_s: float | None = None

    def inherited(self) -> dict[str, str]:
        """Return the environment that a server inherits: this process's without what is private."""
        return {name: value for name, value in os.environ.items() if name not in self.private}

    def resolve(self, path: Path) -> Path:
        """Return a path of the options as an absolute one."""
        return (self.folder / path).resolve()


class Deployment(Protocol):
    """A configuration that is loaded and was read back as the one asked for."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode every request for this deployment. Raises Unfit when they are not what its model takes."""
        ...

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer that was ok: output name -> array with the batch axis first.

        Only asked for requests with labels.

        Args:
            answer: HTTP: the complete answer, head and body; gRPC: the serialised message.

        Raises:
            Unfit: it is not what the study asks for.
        """
        ...

    def processes(self) -> Sequence[int]:
        """Process ids that serve it, for pinning and telemetry; none where the server runs elsewhere."""
        ...

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read the counters now; the function returned makes sense of the reading when there is time for it.

        Called while the load runs, beside the load generator: it must cost next to nothing. Raises ServerDied when
        the server does not answer.
        """
        ...

    def retire(self) -> None:
        """Unload it."""
        ...


class Target(Protocol):
    """A model server under Paretune's control."""

    @property
    def side_by_side(self) -> bool:
        """Whether several deployments may be loaded at once; if not, `deploy` takes the place of the one before."""
        ...

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        ...

    def metrics(self) -> Sequence[ServerMetric]:
        """What the server's statistics give beyond what all servers have."""
        ...

    def user_config(self) -> Config:
        """The values that the user's own files give the knobs: the baseline."""
        ...

    def check_requests(self, requests: Requests) -> None:
        """Check that requests are what the model takes. Raises TargetError naming the input."""
        ...

    def start(self) -> None:
        """Make the target ready for deployments. Raises TargetError with the server's own reason."""
        ...

    def deploy(self, config: Config, alias: str) -> Deployment:
        """Load a configuration under an alias and read it back, in place of what the alias had.

        Raises:
            ConfigRefused: the server does not take it; with its own reason.
            ServerDied: the server was lost; `start` has to be called before the next deployment.
        """
        ...

    def alive(self) -> bool:
        """Whether the server, and all that is deployed, runs and answers."""
        ...

    def export(self, config: Config) -> Export:
        """Write a configuration in the server's own format, from the user's own files."""
        ...

    def verify(self, export: Export, requests: Requests) -> None:
        """Load an export as it is and ask it once. Raises TargetError when it does not serve."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Versions and places that belong beside every number."""
        ...

    def stop(self) -> None:
        """Stop the server and every process it started; safe to call twice."""
        ...


@runtime_checkable
class SeveralDeployments(Protocol):
    """A configuration of several models that are loaded together; as a `Deployment` it is the first of them."""

    def of_model(self, name: str) -> Deployment:
        """Return what is loaded of one of the models."""
        ...


@runtime_checkable
class ServesSeveral(Protocol):
    """A target whose deployments are of several models at once: each is one of `SeveralDeployments`.

    Knobs of a model are called `MODEL.KNOB`; those without a model are the server's.
    """

    def check_model(self, name: str, requests: Requests) -> None:
        """Check that requests are what one of the models takes. Raises TargetError naming the input."""
        ...

    def verify_all(self, export: Export, requests: Mapping[str, Requests]) -> None:
        """Load an export as it is, all models together, and ask each once.

        Args:
            export: of a configuration of all models.
            requests: model -> what it is asked.

        Raises:
            TargetError: one of them does not serve.
        """
        ...


@runtime_checkable
class LoadsTogether(Protocol):
    """A target that loads several configurations in less time than one after the other."""

    @property
    def loads_together(self) -> bool:
        """Whether it does, with this study."""
        ...

    def deploy_together(self, wanted: Sequence[tuple[Config, str]]) -> Sequence[Deployment]:
        """Load configurations under aliases that have nothing loaded, and read each back.

        Args:
            wanted: configuration and alias of each.

        Returns:
            Their deployments, in the same order.

        Raises:
            ConfigRefused: the server does not take all of them at once, and has none of them.
            ServerDied: the server was lost; `start` has to be called before the next deployment.
        """
        ...


@runtime_checkable
class Settling(Protocol):
    """A target whose deployments end some time after they were retired; not every target's do."""

    def settle(self) -> None:
        """Wait until they have ended, within reason: what is measured meanwhile would be slower."""
        ...


@runtime_checkable
class KeepsServer(Protocol):
    """A target that may load its deployments into one server that goes on running; others start one for each."""

    @property
    def keeps_server(self) -> bool:
        """Whether it does: then a deployment is on a server of its own only after `start`, which starts it anew."""
        ...


@runtime_checkable
class KnowsRules(Protocol):
    """A target that knows, without its server, what the server's knobs ask of each other; not every target does."""

    def expect(self, knobs: Sequence[str]) -> None:
        """Take note of the knobs that a study sets.

        The user's configuration has values of them, and the server is started so that they can be used.
        """
        ...

    def check(self, config: Config) -> None:
        """Raises ConfigRefused, with the server's rule and the knobs, for a configuration that breaks one."""
        ...


@runtime_checkable
class KnowsOwn(Protocol):
    """A target that can say what the user's files give knobs that a study does not set; not every target can."""

    def own_values(self, knobs: Sequence[str]) -> Config:
        """Return the values that these knobs have in the user's own configuration, of those that it has."""
        ...


class TargetKind(Protocol):
    """What an entry point of `paretune.targets` names: usually the target's class."""

    Options: type[TargetOptions]
    """The shape of the study's `target` section."""

    def __call__(self, options: Any, context: Context) -> Target:
        """Make a target for a study.

        Args:
            options: the `target` section, an instance of `Options`.
            context: where it runs.

        Raises:
            TargetError: the user's files cannot be used.
        """
        ...

    def all_knobs(self) -> Sequence[Knob]:
        """Every knob of this kind of target, as far as it is known without a study."""
        ...

    def availability(self) -> str:
        """Say which server a local launch would take. Raises TargetError with the remedy when there is none."""
        ...
