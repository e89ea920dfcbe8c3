"""A configuration written back: its files, where they belong, what goes with them, and what a server does with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from workloads.requests import Requests

FOLDER = "{folder}"
"""In the arguments of a `Start`: the folder that the exported files stand in."""


@dataclass(frozen=True)
class Start:
    """How a server is started on exported files.

    Attributes:
        program: the words that the command line begins with.
        files: arguments that say where the files are, with `FOLDER` for their folder.
        home: the folder of the user's own that the paths of the exported files start from.
        image: a container image of the server, "" where none is known.
        in_image: the words of `program` that the image does not begin with by itself.
        folder: where the files' folder is in a container.
        ports: that the server listens on in a container.
        in_container: arguments that it needs in a container only.
        docker: options of `docker run` that it needs.
        env: environment variables that belong to the configuration.
        gpus: that a container of Kubernetes asks for.
        shared_memory: whether it lives on shared memory, of which a container has 64 MB unless it is given more.
    """

    program: tuple[str, ...]
    files: tuple[str, ...]
    home: Path
    image: str = ""
    in_image: tuple[str, ...] = ()
    folder: str = "/models"
    ports: tuple[int, ...] = ()
    in_container: tuple[str, ...] = ()
    docker: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 0
    shared_memory: bool = False


@dataclass(frozen=True)
class Export:
    """A configuration in the server's own format.

    Attributes:
        files: path relative to the export's root -> text.
        originals: the user's own text of the same files, for a diff.
        commented: files in which a line that begins with `#` is a comment.
        places: path of a file -> where the user's own one stands, or would stand.
        folders: path relative to the export's root -> the user's folder or file there that the server needs besides.
        start: how a server is started on the files, None where that is not known.
        flags: arguments of the server's command line besides those of `start`.
        takes_effect: what makes a running server take the files.
    """

    files: Mapping[Path, str]
    originals: Mapping[Path, str]
    commented: frozenset[Path] = frozenset()
    places: Mapping[Path, Path] = field(default_factory=dict)
    folders: Mapping[Path, Path] = field(default_factory=dict)
    start: Start | None = None
    flags: tuple[str, ...] = ()
    takes_effect: str = "restart the server"


@runtime_checkable
class Applying(Protocol):
    """A target whose study names a server that runs already, and that may take a configuration from outside."""

    def why_not_apply(self) -> str:
        """Return why the server takes none, "" where it does. Raises TargetError when it does not answer."""
        ...

    def apply(self, config: Mapping[str, int | float | str | bool]) -> str:
        """Have the server load a configuration, and compare what it then has with it.

        Args:
            config: knob -> value.

        Returns:
            The server's URL.

        Raises:
            ConfigRefused: the server did not take it, and goes on with what it had.
            TargetError: the server did not answer, or has another configuration.
        """
        ...


@runtime_checkable
class KnowsPlaces(Protocol):
    """A target that knows where the files of exports stand, and can be made on other texts of them: `Context.texts`."""

    def place_of(self, path: Path) -> Path | None:
        """Return where the user's own file stands, None where that is not known.

        Args:
            path: of a file in an export.
        """
        ...


@runtime_checkable
class VerifiesCopy(Protocol):
    """A target that can start its server on a folder that `tune export --repository` has copied."""

    def verify_copy(self, folder: Path, export: Export, requests: Mapping[str, Requests]) -> None:
        """Start a server on the folder as it is, compare what it has with the files there, ask it once, and stop it.

        The target need not be started; what it needs for this it starts and stops itself.

        Args:
            folder: with the exported files, and the folders of the export.
            export: that was written there.
            requests: what each model is asked: model -> requests; "" -> requests where the study has one.

        Raises:
            TargetError: it does not serve, with the server's own reason.
        """
        ...


@runtime_checkable
class Reloading(Protocol):
    """A target whose server takes changed files without a restart; the server may run anywhere."""

    def check_server(self, url: str) -> None:
        """Check that a server answers. Raises TargetError with the remedy when it does not."""
        ...

    def reload(self, export: Export, url: str) -> None:
        """Have a server load the files of an export anew, and compare what it then has with what they say.

        Raises:
            ConfigRefused: the server did not take them, and goes on with what it had.
            TargetError: the server did not answer, or has another configuration than the files.
        """
        ...
