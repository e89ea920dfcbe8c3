"""Where a server of the protocol is, what it is sent along with every request, and how it is asked about itself."""

import os
import re

from targets.base import Context, TargetError, Tls
from targets.kserve.control import Control, GrpcControl, HttpControl
from targets.kserve.options import KServeOptions
from targets.kserve.wire import Site

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def tls_of(options: KServeOptions, context: Context) -> Tls | None:
    """Return how connections are secured, None where they are not.

    Raises:
        TargetError: the file of trusted certificates is not there.
    """
    ca = context.resolve(options.ca) if options.ca else None
    if ca is not None and not ca.is_file():
        raise TargetError(f"target.ca: {ca}: no such file")
    return Tls(ca) if options.place.secure else None


def site_of(options: KServeOptions, tls: Tls | None) -> Site:
    """Return where requests go, and the headers that they have.

    Raises:
        TargetError: a header names an environment variable that is not set.
    """
    place = options.place
    headers = tuple((name, _resolved(name, value)) for name, value in options.headers.items())
    return Site(place.host, place.port, headers, tls, place.prefix)


def control_of(options: KServeOptions, site: Site) -> Control:
    """Return how a server is asked about itself: as the URL says."""
    return GrpcControl(site) if options.place.grpc else HttpControl(site)


def _resolved(name: str, value: str) -> str:
    """Return a header's value with the environment's variables in it."""

    def of(found: re.Match[str]) -> str:
        given = os.environ.get(found[1], "").strip()
        if not given:
            raise TargetError(
                f"target.headers.{name}: the environment variable {found[1]} is not set; export the value in it"
            )
        return given

    resolved = _VARIABLE.sub(of, value)
    if not resolved.isascii() or not resolved.isprintable():
        raise TargetError(f"target.headers.{name}: the value cannot be sent: it has to be printable ASCII characters")
    return resolved
