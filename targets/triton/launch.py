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
        repository: the server's model repository, in `workdir`.
        ports: protocol -> port to listen on.
        cpus: CPUs that it may use, or None.
    """

    name: str
    workdir: Path
    repository: Path
    ports: Mapping[str, int]
    cpus: frozenset[int] | None = None


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
