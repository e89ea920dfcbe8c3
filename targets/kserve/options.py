"""The `target` section of a study of a server of the Open Inference Protocol that runs already."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from targets.hiding import shown_url
from targets.kserve.parameters import Parameter, free
from targets.options import TargetOptions

Protocol = Literal["http", "grpc"]

_PORTS = {"http": 80, "https": 443, "grpc": None, "grpcs": 443}
"""Scheme to the port that a URL may leave out."""
_EXPECTED = "http://HOST:PORT, https://HOST, grpc://HOST:PORT or grpcs://HOST"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_OWN = ("host", "content-length", "content-type", "transfer-encoding", "connection")


class Place(NamedTuple):
    """Where a URL leads: scheme (`http`, `https`, `grpc` or `grpcs`), host, port, and the prefix of every path."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def grpc(self) -> bool:
        """Whether gRPC is spoken there."""
        return self.scheme in ("grpc", "grpcs")

    @property
    def secure(self) -> bool:
        """Whether it is over TLS."""
        return self.scheme in ("https", "grpcs")


def _place(url: str) -> Place:
    """Return where a URL leads.

    Raises:
        ValueError: it is none, or leaves out a port that has no default.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"expected {_EXPECTED}, but got {shown_url(url)!r}")
    if parts.query or parts.fragment or "@" in parts.netloc:
        told = shown_url(url)
        raise ValueError(f"expected a host, a port and perhaps a path, but got {told!r}; secrets go into `headers`")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        port = None
    if port is None:
        raise ValueError(f"expected a port from 1 to 65535 at the end of {url!r}")
    prefix = parts.path.rstrip("/").removesuffix("/v2")
    place = Place(parts.scheme, parts.hostname, port, prefix)
    if place.grpc and prefix:
        raise ValueError(f"a server of gRPC has no path, but got {url!r}; leave {parts.path!r} out")
    return place


def _of_url(url: str) -> str:
    _place(url)
    return url


def _as_text(version: object) -> object:
    """Take a number for the text that it is written as: YAML makes numbers of versions."""
    return str(version) if isinstance(version, int) and not isinstance(version, bool) else version


def _of_header(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"not the name of a header: {name!r}")
    if name.lower() in _OWN:
        raise ValueError(f"Paretune writes `{name}` itself; leave it out")
    return name


def variables(headers: Mapping[str, str]) -> list[str]:
    """Return the names of the environment variables that headers refer to."""
    return sorted({name for value in headers.values() for name in _VARIABLE.findall(value)})


Url = Annotated[str, AfterValidator(_of_url)]
Headers = dict[Annotated[str, AfterValidator(_of_header)], str]


class KServeOptions(TargetOptions):
    """A model on a server of the Open Inference Protocol that runs already."""

    kind: Literal["kserve"] = "kserve"
    url: Url = Field(
        description="of the server: `http://HOST:PORT`, `https://HOST`, `grpc://HOST:PORT` or `grpcs://HOST`"
    )
    model: str = Field(min_length=1, description="name of the model, as the server has it")
    version: Annotated[str, BeforeValidator(_as_text)] | None = Field(
        None, description="of the model; the server's choice when absent"
    )
    protocol: Protocol | None = Field(None, description="what the requests are sent over; the URL's when absent")
    headers: Headers = Field(
        default={},
        description="sent with every request, with gRPC as metadata; `${NAME}` stands for an environment variable",
    )
    tensors: Literal["binary", "json"] | None = Field(
        None, description="how tensors travel over HTTP; binary where the server says that it takes that, if absent"
    )
    parameters: dict[Annotated[str, AfterValidator(free)], Parameter] = Field(
        default={}, description="name to value, sent with every request for the model to read"
    )
    ca: Path | None = Field(
        None, description="file with the certificates to trust, for https and grpcs; the system's if absent"
    )

    @model_validator(mode="after")
    def _one_protocol(self) -> "KServeOptions":
        spoken = "grpc" if self.place.grpc else "http"
        if self.protocol not in (None, spoken):
            raise ValueError(
                f"`protocol: {self.protocol}` does not go with {self.url!r}: "
                "give the address of that protocol, it has a port of its own"
            )
        if self.tensors == "json" and spoken == "grpc":
            raise ValueError("JSON goes over HTTP only; take `tensors: json` out, or give an http:// URL")
        if self.ca is not None and not self.place.secure:
            raise ValueError(f"`ca` is for https and grpcs, and {self.url!r} is not; take it out")
        return self

    @property
    def place(self) -> Place:
        """Where the URL leads."""
        return _place(self.url)

    @property
    def asked_by(self) -> tuple[str, ...]:
        """The model, its version, and all that goes along with a request."""
        return ("model", "version", "headers", "tensors", "parameters")

    @property
    def takes_priority(self) -> bool:
        """Triton among the servers takes the parameter `priority`; others ignore it."""
        return True

    @property
    def keeps_connections(self) -> bool:
        """Calls of gRPC share connections."""
        return self.place.grpc

    def secrets(self) -> Sequence[str]:
        """Return the variables of the headers."""
        return variables(self.headers)
