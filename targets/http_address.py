"""Where a client that is not ours asks a deployment."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class HttpAddress:
    """Where a client of the user's own finds what is deployed.

    Attributes:
        host: name or number.
        port: TCP port, of HTTP.
        secure: over TLS.
        own_path: the path that such a client has for the user's model, "" where it is what the server has as well.
        path: what the server has in its place: what is tuned is deployed under other names than the user's.
    """

    host: str
    port: int
    secure: bool = False
    own_path: str = ""
    path: str = ""


@runtime_checkable
class HasHttpAddress(Protocol):
    """A deployment that a client of the user's own can ask, over HTTP."""

    def http_address(self) -> HttpAddress:
        """Return where it is. Raises TargetError where this one speaks no HTTP."""
        ...
