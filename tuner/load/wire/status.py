"""How a gRPC call ended that did not end well: its code, its outcome and a text.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Responses" and "Errors".
"""

from urllib.parse import unquote

from targets.base import Outcome
from tuner.load.wire import http2

_UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _LAST_CODE = 2, 4, 13, 16
_CODE_OF_RESET = {http2.REFUSED_STREAM: 14, http2.CANCEL: 1, 11: 8, 12: 7}
"""HTTP/2 error code -> gRPC status; others are INTERNAL."""
_SHOWN_BYTES = 200
Ending = tuple[int, Outcome, str]


def of_status(status: str, message: str) -> Ending:
    """Return how a call ended with this `grpc-status`, other than "0", and this `grpc-message`.

    A status that gRPC does not know is UNKNOWN, as for its own clients.
    """
    if not (status.isascii() and status.isdecimal()):
        return malformed(f"not a gRPC status: {status[:40]!r}")
    code = int(status) if len(status) <= 2 and int(status) <= _LAST_CODE else _UNKNOWN
    outcome = Outcome.TIMEOUT if code == _DEADLINE_EXCEEDED else Outcome.GRPC_ERROR
    return code, outcome, unquote(message)


def of_http(status: str) -> Ending:
    """Return how a call ended with this HTTP status and without a gRPC status."""
    if status == "200":
        return malformed("the call ended without a gRPC status")
    if len(status) == 3 and status.isascii() and status.isdecimal():
        return int(status), Outcome.HTTP_ERROR, f"HTTP {status}"
    return malformed(f"not an HTTP status: {status[:40]!r}")


def of_reset(reason: int, *, late: bool) -> Ending:
    """Return how a call ended that the server reset with this HTTP/2 error, after its deadline (`late`) or before."""
    text = f"the server reset the call (HTTP/2 error {reason})"
    if reason == http2.CANCEL and late:
        return _DEADLINE_EXCEEDED, Outcome.TIMEOUT, text
    return _CODE_OF_RESET.get(reason, _INTERNAL), Outcome.GRPC_ERROR, text


def of_failure(message: bytes) -> Ending:
    """Return how a call ended whose answer said, with this message, that it failed."""
    return 0, Outcome.GRPC_ERROR, message[:_SHOWN_BYTES].decode("utf-8", "replace")


def malformed(text: str) -> Ending:
    """Return how a call ended whose answer cannot be used."""
    return 0, Outcome.MALFORMED, text
