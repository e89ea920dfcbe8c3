"""A non-blocking connection, in the clear or over TLS, and what the engine and its connections say to each other."""

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from targets.base import Endpoint, Outcome, Piece, Tls

READ_BYTES = 1 << 18
MAX_TOKENS = (1 << 31) - 1
READABLE, WRITABLE = select.POLLIN, select.POLLOUT
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
CUT_OFF = (ConnectionError, ssl.SSLEOFError)
_PROBE_S = 0.25


class MalformedAnswer(Exception):
    """The bytes received are not what the protocol allows."""


@dataclass(frozen=True)
class Site:
    """An endpoint made ready to connect to.

    Attributes:
        endpoint: what to send and how to judge.
        family: address family.
        address: resolved address, as `socket.connect` takes it.
        context: TLS, None in the clear.
        server_name: the name that the server's certificate must have.
        timeout_ns: of a request; gRPC sends it as the deadline.
    """

    endpoint: Endpoint
    family: int
    address: Any
    context: ssl.SSLContext | None
    server_name: str
    timeout_ns: int


def resolved(endpoint: Endpoint, timeout_ns: int) -> Site:
    """Look the endpoint's host up and load what its TLS needs.

    Where the host has several addresses, it stands for the first that takes a connection.

    Raises:
        OSError: the host has no address, or the file of trusted certificates cannot be read.
    """
    family, address = _listening(endpoint.host, endpoint.port)
    tls = endpoint.tls
    return Site(
        endpoint=endpoint,
        family=family,
        address=address,
        context=_context(tls, ["h2" if endpoint.grpc else "http/1.1"]) if tls else None,
        server_name=tls.server_name or endpoint.host if tls else "",
        timeout_ns=timeout_ns,
    )


class Exchange:
    """One request on its way and, when it comes, its answer. Times are monotonic ns, 0 for "not yet".

    Attributes:
        request: index into the endpoint's requests.
        intended: when it was due.
        ready: when it was due and a connection was free.
        sent_ns: when its bytes were handed to the kernel.
        first_ns: when the first byte of the answer, or the first token of a streamed one, was read.
        last_ns: when the last token so far was read.
        tokens: tokens received so far; once the server has said how many, those.
        number: running number among the streamed requests, -1 if its answer is not streamed.
        failure: what the server said when it said that the answer failed, b"" if it did not.
    """

    __slots__ = ("failure", "first_ns", "intended", "last_ns", "number", "ready", "request", "sent_ns", "tokens")

    def __init__(self, request: int, intended: int, ready: int) -> None:
        self.request, self.intended, self.ready = request, intended, ready
        self.sent_ns = self.first_ns = self.last_ns = self.tokens = 0
        self.number = -1
        self.failure = b""

    def news(self, event: bytes, said: int | Piece) -> tuple[int, int]:
        """Return the tokens that are new in an event of the answer, and the tokens of the answer up to here."""
        if not isinstance(said, Piece):
            return said, self.tokens + said
        if said.failed:
            self.failure = self.failure or said.reason or event
        if said.total is None:
            return said.tokens, self.tokens + said.tokens
        return (max(0, said.total - self.tokens) if said.tokens else 0), said.total

    def add(self, tokens: int, total: int, at_ns: int) -> None:
        """Take note of tokens that came.

        Raises:
            MalformedAnswer: there are more than a record can hold.
        """
        if total > MAX_TOKENS:
            raise MalformedAnswer(f"an answer of more than {MAX_TOKENS} tokens")
        self.tokens = total
        if tokens:
            self.first_ns = self.first_ns or at_ns
            self.last_ns = at_ns


class Dispatcher(Protocol):
    """What a connection tells the engine."""

    def watch(self, connection: "Connection", mask: int) -> None:
        """Wait for these events of the connection from now on."""
        ...

    def opened(self, connection: "Connection") -> None:
        """The connection takes requests, `connection.places` at a time."""
        ...

    def event(self, exchange: Exchange, at_ns: int, tokens: int) -> None:
        """An event of a streamed answer was read."""
        ...

    def put_back(self, connection: "Connection", exchanges: Sequence[Exchange]) -> None:
        """The server has not looked at exchanges, and their connection is `closing`: they are for others."""
        ...

    def done(
        self,
        connection: "Connection",
        exchange: Exchange,
        done_ns: int,
        bytes_in: int,
        code: int,
        outcome: Outcome,
        answer: bytes | bytearray,
        text: str = "",
    ) -> None:
        """An exchange ended, well or not; its place on the connection is free unless the connection is `closing`.

        Args:
            connection: that it was on.
            exchange: what ended.
            done_ns: when the last byte was read, or the failure was known.
            bytes_in: bytes of the answer.
            code: HTTP status, gRPC code or errno.
            outcome: how it ended.
            answer: HTTP: head and body; gRPC: the (last) message.
            text: what is known of a failure.
        """
        ...


class Connection:
    """A connection to an endpoint: it is opened, secured, written and read without ever waiting.

    Subclasses give it a protocol. Their methods raise OSError or MalformedAnswer when the connection cannot go on; the
    engine then fails whatever is on it.

    Attributes:
        fd: file descriptor.
        places: requests that it carries at once.
        is_open: it takes requests.
        closing: it takes no more.
        closed: it is no more.
        served: answers that it has carried.
        since_ns: when it was made.
        out: bytes that the kernel would not take yet.
    """

    def __init__(self, site: Site, dispatcher: Dispatcher, places: int) -> None:
        self.site = site
        self.dispatcher = dispatcher
        self.places = places
        self.is_open = self.closing = self.closed = False
        self.served = 0
        self.since_ns = time.monotonic_ns()
        self.out = bytearray()
        self._connected = False
        self.socket = socket.socket(site.family, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: ssl.SSLSocket | None = None
        if site.context is not None:
            self.socket = self._tls = site.context.wrap_socket(
                self.socket, do_handshake_on_connect=False, server_hostname=site.server_name
            )
        self.fd = self.socket.fileno()
        self._recv, self._send = self.socket.recv, self.socket.send

    def connect(self) -> None:
        """Begin to open; it is writable when TCP is through.

        Raises:
            OSError: it failed at once.
        """
        if (code := self.socket.connect_ex(self.site.address)) not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))

    def start(self, exchange: Exchange) -> None:
        """Send a request; there must be a place for it."""
        raise NotImplementedError

    def exchanges(self) -> Collection[Exchange]:
        """Return what is on the connection."""
        raise NotImplementedError

    def abandon(self, exchange: Exchange) -> bool:
        """Give up an exchange that took too long; return whether the connection can go on without it."""
        raise NotImplementedError

    def on_open(self) -> bool:
        """Begin the protocol on a connection just opened; return whether requests may be sent at once."""
        return True

    def read(self) -> None:
        """Read what there is."""
        raise NotImplementedError

    def on_event(self, mask: int) -> None:
        """Go on after the poller reported an event."""
        if not self._connected:
            self._advance()
            return
        if mask & ~WRITABLE:
            self.read()
            while self._tls is not None and not self.closed and self._tls.pending():
                self.read()  # decrypted bytes that the poller cannot see
        if self.out and mask & ~READABLE and not self.closed:
            self._flush()

    def transmit(self, data: bytes) -> None:
        """Hand bytes to the kernel; what it does not take now is sent when it does.

        A server that takes no more may have answered before it closed: that is for `read` to find out.
        """
        if self.out:
            self.out += data
            return
        try:
            sent = self._send(data)
        except WOULD_BLOCK:
            sent = 0
        except CUT_OFF:
            self.out += data
            return
        if sent < len(data):
            self.out += memoryview(data)[sent:]
            self.dispatcher.watch(self, READABLE | WRITABLE)

    def close(self) -> None:
        """Close the socket."""
        self.closing = self.closed = True
        self.is_open = False
        self.socket.close()

    def _flush(self) -> None:
        try:
            sent = self._send(self.out)
        except WOULD_BLOCK:
            return
        except CUT_OFF:
            self.dispatcher.watch(self, READABLE)
            return
        del self.out[:sent]
        if not self.out:
            self.dispatcher.watch(self, READABLE)

    def _advance(self) -> None:
        """Take the next step of opening: TCP, then TLS, then the protocol."""
        if code := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(code, os.strerror(code))
        if not self._has_peer() or (self._tls is not None and not self._shaken_hands(self._tls)):
            return
        self._connected = True
        self.dispatcher.watch(self, READABLE)
        if self.on_open():
            self.take_requests()

    def take_requests(self) -> None:
        """Tell the engine that requests may be sent."""
        self.is_open = True
        self.dispatcher.opened(self)

    def _has_peer(self) -> bool:
        """Return whether TCP is through: the event may be of a connection that had the same file descriptor before."""
        try:
            self.socket.getpeername()
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return False
            raise
        return True

    def _shaken_hands(self, tls: ssl.SSLSocket) -> bool:
        """Go on with the TLS handshake; return whether it is over."""
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self.dispatcher.watch(self, READABLE)
            return False
        except ssl.SSLWantWriteError:
            self.dispatcher.watch(self, WRITABLE)
            return False
        return True


def no_tokens(data: bytes) -> int | Piece:  # noqa: ARG001 - stands where a target counts tokens
    """Say that an event carries no tokens."""
    return 0


def _listening(host: str, port: int) -> tuple[int, Any]:
    """Return family and address to connect to: `localhost` may be ::1 first, and the server on 127.0.0.1 only.

    Where none of several takes a connection at once, it is the first that does not refuse, as a busy server does not.

    Raises:
        OSError: the host has no address.
    """
    found = [(family, address) for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if len(found) == 1:
        return found[0]
    silent = []
    for family, address in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.settimeout(_PROBE_S)
                probe.connect(address)
                return family, address
        except TimeoutError:
            silent.append((family, address))
        except OSError:
            continue
    return [*silent, *found][0]


def _context(tls: Tls, protocols: list[str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None, cadata=tls.authorities)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    return context
