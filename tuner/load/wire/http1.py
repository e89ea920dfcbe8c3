"""HTTP/1.1: one request at a time on a connection, answered as a whole or as a stream of events.

Servers repeat the heads of their answers to the byte, so parsed heads are remembered.
"""

import errno
import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from targets.base import Outcome
from tuner.load.wire.connection import (
    READ_BYTES,
    WOULD_BLOCK,
    Connection,
    Dispatcher,
    Exchange,
    MalformedAnswer,
    Site,
    no_tokens,
)
from tuner.load.wire.events import EventParser

MAX_HEAD_BYTES = 1 << 16
MAX_ANSWER_BYTES = 1 << 30
_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?:[ \r]|$)")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n|$)", re.IGNORECASE)
_ENCODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n|$)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*\bclose\b", re.IGNORECASE)
_KEEP_ALIVE = re.compile(rb"\r\nconnection:[^\r\n]*\bkeep-alive\b", re.IGNORECASE)
_EVENTS = re.compile(rb"\r\ncontent-type:[ \t]*text/event-stream\b", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;|$)")
_BODILESS = (204, 304)
_MAX_DIGITS = 16
_MAX_REMEMBERED = 1024
_SHOWN_BYTES = 200


@dataclass(frozen=True)
class Head:
    """A parsed head.

    Attributes:
        status: of the answer.
        body_start: length of the head.
        length: of the body; None: it is chunked, or ends with the connection.
        chunked: the body comes in chunks.
        keep_alive: the connection stays open after the answer.
        events: the body is a stream of server-sent events.
    """

    status: int
    body_start: int
    length: int | None
    chunked: bool
    keep_alive: bool
    events: bool


_remembered: dict[bytes, Head] = {}


def read_head(data: bytes | bytearray) -> Head | None:
    """Parse the head at the start of `data`; None when it is not complete yet.

    Raises:
        MalformedAnswer: it is no HTTP/1.x head, its length is not one that can be told, or it is too long.
    """
    end = data.find(_HEAD_END)
    if end < 0:
        if len(data) > MAX_HEAD_BYTES or not b"HTTP/1."[: len(data)] == bytes(data[:7]):
            raise MalformedAnswer(f"not the head of an HTTP/1.1 answer: {bytes(data[:40])!r}")
        return None
    key = bytes(data[:end])
    head = _remembered.get(key)
    if head is None:
        head = _parse(key)
        if len(_remembered) >= _MAX_REMEMBERED:
            _remembered.clear()  # dates and lengths change: the old ones do not come back
        _remembered[key] = head
    return head


def _parse(head: bytes) -> Head:
    """RFC 9112, 6.3 says what a body's length is."""
    status = _STATUS.match(head)
    if len(head) > MAX_HEAD_BYTES:
        raise MalformedAnswer(f"a head of {len(head)} bytes: {head[:40]!r}")
    if status is None:
        raise MalformedAnswer(f"no HTTP/1.1 status: {head[:200]!r}")
    code, old = int(status[2]), status[1] == b"0"
    encoding = _ENCODING.search(head)
    lengths = {_length(text) for text in _LENGTH.findall(head)}
    if encoding is not None and encoding[1].lower() != b"chunked":
        raise MalformedAnswer(f"transfer encoding {encoding[1].decode('latin-1')!r} is not understood")
    if len(lengths) > 1 or (encoding is not None and lengths):
        raise MalformedAnswer(f"the length is given twice: {head[:200]!r}")
    length = 0 if code in _BODILESS or code < 200 else next(iter(lengths), None)
    ends_with_connection = length is None and encoding is None
    return Head(
        status=code,
        body_start=len(head) + len(_HEAD_END),
        length=length,
        chunked=encoding is not None and length is None,
        keep_alive=not ends_with_connection and bool(_KEEP_ALIVE.search(head) if old else not _CLOSE.search(head)),
        events=bool(_EVENTS.search(head)),
    )


def _length(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MAX_DIGITS:
        raise MalformedAnswer(f"not a length: {text[:40].decode('latin-1')!r}")
    if (length := int(text)) > MAX_ANSWER_BYTES:
        raise MalformedAnswer(f"an answer of {length} bytes; {MAX_ANSWER_BYTES} are read at most")
    return length


class Http1Connection(Connection):
    """HTTP/1.1 on a connection."""

    def __init__(self, site: Site, dispatcher: Dispatcher, keep_alive: bool) -> None:
        super().__init__(site, dispatcher, 1)
        self._keep_alive = keep_alive
        self._requests, self._judge = site.endpoint.requests, site.endpoint.judge
        self._streamed = site.endpoint.tokens is not None
        self._tokens = site.endpoint.tokens or no_tokens
        self._exchange: Exchange | None = None
        self._buffer = bytearray()
        self._body: _Body | None = None

    def start(self, exchange: Exchange) -> None:
        """Send a request."""
        self._exchange = exchange
        exchange.sent_ns = time.monotonic_ns()
        self.transmit(self._requests[exchange.request])

    def exchanges(self) -> Collection[Exchange]:
        """Return what is on the connection."""
        return () if self._exchange is None else (self._exchange,)

    def abandon(self, exchange: Exchange) -> bool:  # noqa: ARG002 - there is only one
        """An answer that is given up may still come: the connection cannot go on."""
        return False

    def read(self) -> None:
        """Read what there is."""
        try:
            data: bytes | bytearray = self._recv(READ_BYTES)
        except WOULD_BLOCK:
            return
        done = time.monotonic_ns()
        exchange = self._exchange
        if exchange is None:
            raise OSError(errno.ECONNRESET, "closed between requests" if not data else "bytes that nobody asked for")
        if not data:
            self._on_end(exchange, done)
            return
        if self._body is not None:
            self._on_piece(exchange, self._body, data, done)
            return
        if not exchange.first_ns:
            exchange.first_ns = done
        if self._buffer:
            self._buffer += data
            data = self._buffer
        head = read_head(data)
        if head is not None and head.status < 200:
            head, data = self._after_interim(head, data)
            exchange.first_ns = done if data else 0
        if head is None or head.length is None or (head.events and self._streamed):
            self._on_head(exchange, head, data, done)
        else:
            self._on_whole(exchange, head, data, head.length, done)

    def _on_whole(self, exchange: Exchange, head: Head, data: bytes | bytearray, length: int, done: int) -> None:
        """Finish an answer of known length if it is all there."""
        missing = head.body_start + length - len(data)
        if missing > 0:
            self._keep(data)
            return
        if missing < 0:
            raise MalformedAnswer(f"{-missing} bytes more than the answer's length")
        body = data[head.body_start :] if isinstance(data, bytes) else bytes(memoryview(data)[head.body_start :])
        outcome = self._judge(head.status, body)
        self._finish(exchange, head, done, len(data), outcome, data)

    def _finish(
        self, exchange: Exchange, head: Head, done: int, bytes_in: int, outcome: Outcome, answer: bytes | bytearray
    ) -> None:
        self._exchange = self._body = None
        self._buffer = bytearray() if self._buffer else self._buffer
        self.served += 1
        self.closing = not (head.keep_alive and self._keep_alive) or bool(self.out)
        text = "" if outcome is Outcome.OK else _said(head, answer)
        self.dispatcher.done(self, exchange, done, bytes_in, head.status, outcome, answer, text)

    def _keep(self, data: bytes | bytearray) -> None:
        if data is not self._buffer:
            self._buffer += data
        if len(self._buffer) > MAX_ANSWER_BYTES:
            raise MalformedAnswer(f"an answer of more than {MAX_ANSWER_BYTES} bytes")

    def _after_interim(self, head: Head | None, data: bytes | bytearray) -> tuple[Head | None, bytes | bytearray]:
        """Pass over 1xx answers; the real one follows."""
        while head is not None and head.status < 200:
            data = bytes(data[head.body_start :])
            head = read_head(data)
        self._buffer = bytearray()
        return head, data

    def _on_head(self, exchange: Exchange, head: Head | None, data: bytes | bytearray, done: int) -> None:
        """Go on with an answer that is read piece by piece, once its head is there."""
        if head is None:
            self._keep(data)
            return
        events = EventParser() if head.events and self._streamed else None
        if events is not None:
            exchange.first_ns = 0
        self._body = _Body(head, bytes(data[: head.body_start]), events)
        rest = bytes(data[head.body_start :])
        self._buffer = bytearray()
        self._on_piece(exchange, self._body, rest, done)

    def _on_piece(self, exchange: Exchange, body: "_Body", data: bytes | bytearray, done: int) -> None:
        for event in body.feed(bytes(data)):
            self._on_event_data(exchange, event, done)
        if body.complete:
            self._finish_body(exchange, body, done)

    def _on_event_data(self, exchange: Exchange, event: bytes, done: int) -> None:
        tokens, total = exchange.news(event, self._tokens(event))
        self.dispatcher.event(exchange, done, tokens)
        exchange.add(tokens, total, done)

    def _finish_body(self, exchange: Exchange, body: "_Body", done: int) -> None:
        last = exchange.failure or body.last
        outcome = Outcome.HTTP_ERROR if exchange.failure else self._judge(body.head.status, last)
        self._finish(exchange, body.head, done, body.received, outcome, body.start + last)

    def _on_end(self, exchange: Exchange, done: int) -> None:
        """The server closed the connection: that ends an answer without a length, and breaks off any other."""
        body = self._body
        if body is None or body.head.chunked or body.head.length is not None:
            begun = body is not None or self._buffer
            raise ConnectionResetError(
                errno.ECONNRESET, "closed in the middle of an answer" if begun else "closed without an answer"
            )
        self._finish_body(exchange, body, done)


class _Body:
    """A body read piece by piece: kept whole, or as the last of its events.

    Attributes:
        head: of the answer.
        start: its bytes.
        last: the body so far; of a stream, the data of the last event.
        received: bytes of head and body, chunk sizes not counted.
        complete: nothing more is to come.
    """

    def __init__(self, head: Head, start: bytes, events: EventParser | None) -> None:
        self.head, self.start = head, start
        self.received = len(start)
        self._events = events
        self._content = bytearray()
        self._last_event = b""
        self._chunks = _Chunks() if head.chunked else None
        self._left = head.length
        self.complete = head.length == 0

    @property
    def last(self) -> bytes:
        return bytes(self._content) if self._events is None else self._last_event

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the connection; return the data of the events that they complete."""
        if self._chunks is not None:
            pieces = self._chunks.feed(data)
            self.complete = self._chunks.complete
        else:
            pieces = [data] if data else []
            self._count_down(len(data))
        found: list[bytes] = []
        for piece in pieces:
            self.received += len(piece)
            if self._events is None:
                self._content += piece
            else:
                found += self._events.feed(piece)
        if found:
            self._last_event = found[-1]
        if self.received > MAX_ANSWER_BYTES:
            raise MalformedAnswer(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return found

    def _count_down(self, count: int) -> None:
        if self._left is not None:
            self._left -= count
            if self._left < 0:
                raise MalformedAnswer(f"{-self._left} bytes more than the answer's length")
            self.complete = self._left == 0


class _Chunks:
    """The chunked transfer encoding (RFC 9112, 7.1), undone as the bytes come."""

    def __init__(self) -> None:
        self.complete = False
        self._rest = b""
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the pieces of content in these bytes.

        Raises:
            MalformedAnswer: a chunk's size or end is not what it must be, or bytes follow the last chunk.
        """
        data = self._rest + data
        self._rest = b""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self.complete:
                raise MalformedAnswer("bytes after the last chunk")
            if self._left > 2:  # content, the last two of these bytes are the chunk's line end
                piece = data[at : at + self._left - 2]
                pieces.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._rest = data[at:]
                if len(self._rest) > MAX_HEAD_BYTES:
                    raise MalformedAnswer("a chunk's size does not end")
                break
            self._on_line(data[at:end].removesuffix(b"\r"))
            at = end + 1
        return pieces

    def _on_line(self, line: bytes) -> None:
        if self._left:
            if line:
                raise MalformedAnswer(f"a chunk is longer than its size: {line[:40]!r}")
            self._left = 0
        elif self._in_trailers:
            self.complete = not line
        elif (size := _CHUNK_SIZE.match(line)) is None or len(size[1]) > _MAX_DIGITS:
            raise MalformedAnswer(f"not a chunk's size: {line[:40]!r}")
        else:
            count = int(size[1], 16)
            self._in_trailers = count == 0
            self._left = count + 2 if count else 0


def _said(head: Head, answer: bytes | bytearray) -> str:
    """Return what the server said with an answer that is no success: the body's beginning, or else the reason."""
    body = answer[head.body_start : head.body_start + _SHOWN_BYTES].decode("utf-8", "replace").strip()
    return body or answer[: answer.find(b"\r\n")].decode("latin-1")[len("HTTP/1.1 200 ") :][:_SHOWN_BYTES]
