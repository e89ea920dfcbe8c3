"""How a tritonserver comes to run on this machine: as a process, or in a container."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from targets.ports import HOST
from targets.triton.installation import find_installation


@dataclass(frozen=True)
class Place:
    """What one run of the server is given.

    Attributes:
        name: of the run; nothing else on this machine has it.
        workdir: folder for what is temporary.
        repository: the server's model repository; one of the user's is not changed.
        ports: protocol -> port to listen on.
        cpus: CPUs that it may use, or None.
        metrics_period_s: how often its metrics are read, in seconds; None: it has none.
    """

    name: str
    workdir: Path
    repository: Path
    ports: Mapping[str, int]
    cpus: frozenset[int] | None = None
    metrics_period_s: float | None = None


def own_flags(place: Place, address: str) -> list[str]:
    """Return the flags that Paretune sets itself.

    Metrics, where they are wanted, are served on the address that HTTP has.

    Args:
        place: of the run.
        address: to listen on.
    """
    grpc_port = place.ports.get("grpc")
    grpc = ["--allow-grpc=false"] if grpc_port is None else [f"--grpc-address={address}", f"--grpc-port={grpc_port}"]
    metrics = ["--allow-metrics=false"]
    if place.metrics_period_s is not None:
        interval_ms = max(1, round(place.metrics_period_s * 1000))
        metrics = [f"--metrics-port={place.ports['metrics']}", f"--metrics-interval-ms={interval_ms}"]
    return [
        f"--model-repository={place.repository}",
        "--model-control-mode=explicit",
        f"--http-address={address}",
        f"--http-port={place.ports['http']}",
        *grpc,
        *metrics,
        "--exit-timeout-secs=2",
        f"--backend-config=python,shm-region-prefix-name={place.name}_",
    ]


@dataclass(frozen=True)
class Launch:
    """A command that runs a server until it ends.

    Attributes:
        command: the command line.
        env: its environment variables.
        found: what is known of the server before it runs, for the record.
        farewell: command that ends what may have outlived the first one; () for none.
        asks_pid: command that prints the server's process id where it is no descendant of the first; () where it is.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    found: Mapping[str, str] = field(default_factory=dict)
    farewell: Sequence[str] = ()
    asks_pid: Sequence[str] = ()


class Launcher(Protocol):
    """A way to start servers."""

    @property
    def address(self) -> str:
        """The address that the server listens on, as it sees it."""
        ...

    def launch(self, place: Place, flags: Sequence[str]) -> Launch:
        """Return how a server is started with flags. Raises TargetError, with the remedy, where it cannot be."""
        ...


@dataclass(frozen=True)
class LocalLauncher:
    """Start tritonserver as a process.

    Attributes:
        executable: the study's, or None to look for one.
        inherited: the environment, but for what is found with it.
    """

    executable: Path | None
    inherited: Mapping[str, str]
    address: str = HOST

    def launch(self, place: Place, flags: Sequence[str]) -> Launch:
        """Find the server and return its command line."""
        found = find_installation(self.executable, place.workdir)
        return Launch(
            command=[str(found.executable), *found.flags, *flags],
            env={**self.inherited, **found.env},
            found={"server_found_in": found.source, "server_executable": str(found.executable)},
        )
