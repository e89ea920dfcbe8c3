"""What every target signs: how a server is started, configured, asked, observed and written back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from workloads.requests import Dataset

Value = int | float | str | bool
Config = Mapping[str, Value]
"""Knob name -> value, in the knob's own unit (durations in seconds)."""


class Outcome(IntEnum):
    """How a request ended. Everything but OK counts as an infinite latency."""

    OK = 0
    HTTP_ERROR = 1
    GRPC_ERROR = 2
    CONNECTION_ERROR = 3
    TIMEOUT = 4
    MALFORMED = 5
    DROPPED = 6


class TargetError(Exception):
    """The target cannot be used. The message says what failed, with which value, and the remedy."""


class ConfigRefused(TargetError):
    """The server refused a configuration; it is an observation about that configuration."""


class ServerDied(TargetError):
    """The server ended or stopped answering; it has to be started again before the next deployment."""


class ServerHung(ServerDied):
    """The server's process is there, but it does not answer."""


@dataclass(frozen=True)
class Knob:
    """A parameter that a target can apply.

    Attributes:
        name: as the study file spells it.
        type: `int`, `duration` (seconds) or `variant` (a name of `target.variants`).
        low: smallest legal value, or None.
        high: largest legal value, or None.
        default: what the server takes where the user's config is silent.
        unit: of the value, "" for a count or a name.
        applied: what it takes to change it.
        doc: one line.
    """

    name: str
    type: Literal["int", "duration", "variant"]
    low: float | None
    high: float | None
    default: Value
    unit: str
    applied: Literal["live", "reload", "restart"]
    doc: str


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
    """

    ca: Path | None = None
    verify: bool = True
    server_name: str | None = None


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
            tokens it carries, 0 for none. None: answers are read as a whole.
    """

    host: str
    port: int
    requests: tuple[bytes, ...]
    judge: Callable[[int, bytes], Outcome]
    grpc: Grpc | None = None
    tls: Tls | None = None
    tokens: Callable[[bytes], int] | None = None


@dataclass(frozen=True)
class BatchSize:
    """Executions of one batch size: how many, and the mean time of one, in seconds."""

    size: int
    count: int
    compute_mean_s: float


@dataclass(frozen=True)
class ServerCounters:
    """A reading of a deployment's cumulative counters.

    Attributes:
        taken_ns: monotonic time of the reading.
        requests: requests answered so far.
        failures: requests that failed in the server so far.
        executions: batches executed so far.
        total_ns: stage (`queue`, `compute_input`, `compute_infer`, `compute_output`) -> summed ns over the requests.
        batches: executed batch size -> (executions, summed ns).
    """

    taken_ns: int
    requests: int
    failures: int
    executions: int
    total_ns: Mapping[str, int]
    batches: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class ServerStats:
    """What the server itself says of a window: the difference of two readings.

    Attributes:
        window_s: time between the readings, in seconds.
        requests: requests the server answered in it.
        failures: requests that failed in the server.
        executions: batches it executed.
        mean_s: stage -> mean seconds per request.
        batch_sizes: executed batch sizes, ascending.
    """

    window_s: float
    requests: int
    failures: int
    executions: int
    mean_s: Mapping[str, float]
    batch_sizes: Sequence[BatchSize]


def difference(earlier: ServerCounters, later: ServerCounters) -> ServerStats:
    """Return the server's own numbers between two readings of one deployment."""
    requests = later.requests - earlier.requests
    batches = []
    for size, (count, total_ns) in sorted(later.batches.items()):
        count_before, ns_before = earlier.batches.get(size, (0, 0))
        if executions := count - count_before:
            batches.append(BatchSize(size, executions, (total_ns - ns_before) / executions / 1e9))
    return ServerStats(
        window_s=(later.taken_ns - earlier.taken_ns) / 1e9,
        requests=requests,
        failures=later.failures - earlier.failures,
        executions=later.executions - earlier.executions,
        mean_s={
            stage: (total - earlier.total_ns.get(stage, 0)) / requests / 1e9 if requests else 0.0
            for stage, total in later.total_ns.items()
        },
        batch_sizes=batches,
    )


@dataclass(frozen=True)
class Export:
    """A configuration in the server's own format.

    Attributes:
        files: path relative to the export's root -> text.
        originals: the user's own text of the same files, for a diff.
    """

    files: Mapping[Path, str]
    originals: Mapping[Path, str]


@dataclass(frozen=True)
class TargetSettings:
    """The study's `target` section, as a target gets it.

    Attributes:
        model: name of the model to tune.
        repository: the model repository.
        log_path: where the server's log goes; it is appended to.
        variants: name -> overlay of the model's config.
        server: path of the server's executable, or None to look for it.
        protocol: what the requests are sent over.
        http_port: port to serve HTTP on, or None for a free one.
        grpc_port: port to serve gRPC on, or None for a free one; unused where the protocol is `http`.
        apply_timeout_s: how long a start or a load may take.
        cpus: CPUs the server is pinned to, or None.
    """

    model: str
    repository: Path
    log_path: Path
    variants: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    server: Path | None = None
    protocol: Literal["http", "grpc"] = "http"
    http_port: int | None = None
    grpc_port: int | None = None
    apply_timeout_s: float = 60.0
    cpus: frozenset[int] | None = None


class Deployment(Protocol):
    """A configuration that is loaded and was read back as the one asked for."""

    @property
    def config(self) -> Config:
        """The configuration."""
        ...

    def endpoint(self, dataset: Dataset) -> Endpoint:
        """Encode every item of the dataset for this deployment."""
        ...

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode one answer that was ok: output name -> array with the batch axis first.

        Args:
            answer: HTTP: the complete answer, head and body; gRPC: the serialised message.
        """
        ...

    def processes(self) -> Sequence[int]:
        """Process ids that serve it, for pinning and telemetry."""
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

    def knobs(self) -> Sequence[Knob]:
        """Every knob, whether or not the study searches it."""
        ...

    def user_config(self) -> Config:
        """The values that the user's own files give the knobs: the baseline."""
        ...

    def check_requests(self, dataset: Dataset) -> None:
        """Check that a dataset has what the model takes. Raises TargetError naming the input."""
        ...

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises TargetError with the server's own reason."""
        ...

    def deploy(self, config: Config, alias: str) -> Deployment:
        """Load a configuration under an alias and read it back. Raises ConfigRefused or ServerDied."""
        ...

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        ...

    def export(self, config: Config) -> Export:
        """Write a configuration in the server's own format, from the user's own files."""
        ...

    def verify(self, export: Export, dataset: Dataset) -> None:
        """Load an export as it is and ask it once. Raises TargetError when it does not serve."""
        ...

    def environment(self) -> Mapping[str, str]:
        """Versions and places that belong beside every number."""
        ...

    def stop(self) -> None:
        """Stop the server and every process it started; safe to call twice."""
        ...


class TargetKind(Protocol):
    """What an entry point of `paretune.targets` names: usually the target's class."""

    def __call__(self, settings: TargetSettings) -> Target:
        """Make a target for a study. Raises TargetError when the user's files cannot be used."""
        ...

    def all_knobs(self) -> Sequence[Knob]:
        """Every knob of this kind of target."""
        ...

    def availability(self) -> str:
        """Say which server a local launch would take. Raises TargetError with the remedy when there is none."""
        ...
