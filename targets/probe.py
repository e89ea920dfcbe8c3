"""Ask an endpoint once, as the load would, to see that it serves."""

import socket
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from http.client import HTTPException, HTTPResponse
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from targets.base import Endpoint, Outcome, Piece, Tls
from targets.trust import roots_of

CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1))
_EVENT = b"data:"


class HttpAnswer(NamedTuple):
    """An answer over HTTP: its status, the type of its content, and its body."""

    status: int
    kind: str
    body: bytes


def failure_of(endpoint: Endpoint, timeout_s: float, index: int = 0) -> str:
    """Send one request and say how it failed, with the status and what the server said; "" when it was answered."""
    answer = _grpc if endpoint.grpc else _http
    return answer(endpoint, timeout_s, index)


def http_answer(endpoint: Endpoint, timeout_s: float, index: int = 0) -> HttpAnswer:
    """Send one request over HTTP and return what came, whatever it is.

    Raises:
        OSError: there is no connection, or no whole answer in time.
        HTTPException: what came is no HTTP.
    """
    with (
        socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s) as plain,
        _secured(plain, endpoint.tls, endpoint.host) if endpoint.tls else nullcontext(plain) as connection,
    ):
        connection.sendall(endpoint.requests[index])
        answer = HTTPResponse(connection)
        answer.begin()
        return HttpAnswer(answer.status, answer.headers.get_content_type(), answer.read())


def http_failure(endpoint: Endpoint, answer: HttpAnswer) -> str:
    """Say how an answer over HTTP is none that counts, "" where it does."""
    status, kind, body = answer
    if kind != "text/event-stream" or endpoint.tokens is None:
        return "" if endpoint.judge(status, body) is Outcome.OK else f"HTTP {status}: {body[:200]!r}"
    return _stream_failure(endpoint, endpoint.tokens, answer)


def events_of(answer: HttpAnswer) -> list[bytes]:
    """Return the data of each event of a stream."""
    return [line.removeprefix(_EVENT).strip() for line in answer.body.splitlines() if line.startswith(_EVENT)]


def _http(endpoint: Endpoint, timeout_s: float, index: int) -> str:
    try:
        answer = http_answer(endpoint, timeout_s, index)
    except (OSError, HTTPException) as error:
        return f"no answer over HTTP: {error!r}"
    return http_failure(endpoint, answer)


def _stream_failure(endpoint: Endpoint, tokens: Callable[[bytes], int | Piece], answer: HttpAnswer) -> str:
    """Say how a stream of events failed: as a whole, or by what one of its events says."""
    status, body, events = answer.status, answer.body, events_of(answer)
    for event in events:
        try:
            said = tokens(event)
        except ValueError:
            return f"HTTP {status} with an event that is none: {event[:200]!r}"
        if isinstance(said, Piece) and said.failed:
            return f"HTTP {status}: {event[:200]!r}"
    last = events[-1] if events else b""
    return "" if endpoint.judge(status, last) is Outcome.OK else f"HTTP {status}: {body[:200]!r}"


def _secured(connection: socket.socket, tls: Tls, host: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection, server_hostname=tls.server_name or host)


def _channel(grpc: ModuleType, endpoint: Endpoint) -> Any:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    place, tls = f"{host}:{endpoint.port}", endpoint.tls
    if tls is None:
        return grpc.insecure_channel(place, options=CHANNEL_OPTIONS)
    named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    credentials = grpc.ssl_channel_credentials(roots_of(tls))
    return grpc.secure_channel(place, credentials, options=[*CHANNEL_OPTIONS, *named])


def _grpc(endpoint: Endpoint, timeout_s: float, index: int) -> str:
    assert endpoint.grpc is not None, "only asked for gRPC"
    grpc = import_module("grpc")  # now: it takes long, and most commands ask nobody
    with _channel(grpc, endpoint) as channel:
        call = channel.unary_stream(endpoint.grpc.path)  # an answer of one message is a stream of one
        try:
            messages = list(call(endpoint.requests[index], timeout=timeout_s, metadata=endpoint.grpc.metadata))
        except grpc.RpcError as error:
            return f"gRPC {error.code().name}: {error.details()}"
    if endpoint.tokens is not None:
        for message in messages:
            said = endpoint.tokens(message)
            if isinstance(said, Piece) and said.failed:
                return f"gRPC OK with a failure in it: {(said.reason or message)[:200]!r}"
    last = messages[-1] if messages else b""
    return "" if endpoint.judge(0, last) is Outcome.OK else "gRPC OK with a message that is none"
