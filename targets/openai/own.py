"""What a study and the user's own configuration file say of a server together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from targets.base import Config, Context, TargetError, Value


class OwnFile(Protocol):
    """The user's configuration file, or a new one, with what the study adds to it.

    Attributes:
        given: whether there is a file of the user's.
        exported: where an export has it.
        model: file, folder or name of the model.
        served_name: the model's name in requests.
        arguments: of the command line, besides the file.
    """

    given: bool
    exported: Path
    model: str
    served_name: str
    arguments: list[str]

    @property
    def text(self) -> str:
        """The file's text."""

    @property
    def values(self) -> Mapping[str, Value]:
        """What the file gives the knobs."""

    def rewritten(self, config: Config) -> str:
        """Return the file's text with the knobs of a configuration changed."""

    def environment(self) -> dict[str, str]:
        """Return all of the server's environment, but for what the file is."""

    def headers(self) -> dict[str, str]:
        """Return the headers that requests need: with the key, where the server asks for one."""


def read(context: Context, path: Path) -> str:
    """Return the text of `target.config`. Raises TargetError where it cannot be read."""
    try:
        return context.resolve(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise TargetError(f"target.config: {path}: no such file; make it, or leave `config` out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"target.config: {path}: cannot be read: {error}") from None


def exported(path: Path) -> Path:
    """Return where an export has a file: where the study names it, if that is inside of the study's folder."""
    return Path(path.name) if path.is_absolute() or ".." in path.parts else path


def bearer(key: str | None) -> dict[str, str]:
    """Return the headers that bring a key along, none without one."""
    return {"Authorization": f"Bearer {key}"} if key else {}
