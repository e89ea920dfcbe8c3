"""Where a server is, and short questions to it over HTTP."""

import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from targets.base import Tls

_DEFAULT_PORTS = {"http": 80, "https": 443}


class NoAnswer(Exception):
    """A question that was not answered; the message says why."""


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        host: name or number.
        port: TCP port.
        tls: None: in the clear.
        prefix: of every path, "" or `/...` without a slash at its end.
    """

    host: str
    port: int
    tls: Tls | None = None
    prefix: str = ""

    @property
    def authority(self) -> str:
        """Host and port as the header `Host` has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str) -> str:
        """Return the whole URL of a path; one that is whole stays as it is."""
        if not path.startswith("/"):
            return path
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.prefix}{path}"

    def accepts(self, timeout_s: float) -> bool:
        """Whether the port accepts a connection."""
        try:
            with socket.create_connection((self.host, self.port), timeout=timeout_s):
                return True
        except OSError:
            return False


def of_url(url: str, tls: Tls) -> Address:
    """Return the address of a URL; `tls` is for `https`."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return Address(parts.hostname or "", port, tls if parts.scheme == "https" else None, parts.path.rstrip("/"))


def ask(url: str, tls: Tls | None, timeout_s: float, method: str = "GET") -> tuple[int, bytes]:
    """Ask a URL once and return status and body.

    Raises:
        NoAnswer: nothing that is HTTP came back in time.
    """
    at = of_url(url, tls or Tls())
    connection = (
        HTTPSConnection(at.host, at.port, timeout=timeout_s, context=_context(at.tls))
        if at.tls
        else HTTPConnection(at.host, at.port, timeout=timeout_s)
    )
    parts = urlsplit(url)
    try:
        connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise NoAnswer(str(error) or type(error).__name__) from None
    finally:
        connection.close()


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
