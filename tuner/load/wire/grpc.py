"""gRPC calls over HTTP/2: many at once on a connection, one message there, one or several back.

Framed here and not by grpcio, whose Python layer costs more than a call to a fast server; the tests hold it against
grpcio. Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

import errno
import struct
import time
from collections.abc import Collection

from targets.base import Grpc, Outcome
from tuner.load.wire import http2
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
from tuner.load.wire.status import Ending, malformed, of_failure, of_http, of_reset, of_status

MAX_MESSAGE_BYTES = 1 << 30
MAX_STREAM_ID = http2.MAX_STREAM_ID
REFUSAL_PATIENCE_NS = 1_000_000_000
"""A call that the server refuses to look at is sent again for this long."""
_TOP_UP = http2.RECEIVE_WINDOW // 2
_PREFIX = struct.Struct(">BI")
_PREFIX_BYTES = _PREFIX.size
_BODY_HEAD = struct.Struct(">IBIBI")
"""A DATA frame's head and the prefix of the message in it."""
_MAX_HELD = 8
"""Requests sent in one go: what one system call saves is not to make the first of many wait for the last."""
_MAX_TIMEOUT_MS = 99_999_999
_MAX_BYTES_IN = (1 << 31) - 1
_NOTHING = memoryview(b"")


class _Stream:
    """A call in progress.

    Attributes:
        exchange: the request.
        window: bytes of it that the server takes now.
        unsent: what flow control holds back of it.
        headers: of the answer, so far.
        rest: bytes of a message that is not whole yet.
        message: the last one that is.
        messages: how many there were.
        bytes_in: bytes of the answer.
    """

    __slots__ = ("bytes_in", "exchange", "headers", "message", "messages", "rest", "unsent", "window")

    def __init__(self, exchange: Exchange, window: int) -> None:
        self.exchange, self.window = exchange, window
        self.unsent = _NOTHING
        self.headers: dict[str, str] | None = None
        self.rest: bytearray | None = None
        self.message = b""
        self.messages = self.bytes_in = 0

    @property
    def http_status(self) -> str:
        """As its headers have it."""
        return (self.headers or {}).get(":status", "200")


class GrpcConnection(Connection):
    """gRPC on a connection."""

    def __init__(self, site: Site, dispatcher: Dispatcher, call: Grpc, places: int) -> None:
        super().__init__(site, dispatcher, places)
        endpoint = site.endpoint
        self._requests, self._judge = endpoint.requests, endpoint.judge
        self._streamed = endpoint.tokens is not None
        self._tokens = endpoint.tokens or no_tokens
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1
        self._window = http2.DEFAULT_WINDOW
        self._stream_window = http2.DEFAULT_WINDOW
        self._frame_size = http2.DEFAULT_FRAME
        self._received = 0
        self._frames = http2.FrameReader()
        self._reader = http2.HeaderReader()
        self._writer = http2.HeaderWriter(_headers(site, call))
        self._blocked = False
        self._reading = False
        self._held: list[bytes] = []
        self._held_exchanges: list[Exchange] = []

    def on_open(self) -> bool:
        """Send the preface; requests wait for the server's settings."""
        self.transmit(http2.opening())
        return False

    def exchanges(self) -> Collection[Exchange]:
        """Return what is on the connection."""
        return [stream.exchange for stream in self._streams.values()]

    def start(self, exchange: Exchange) -> None:
        """Send a request."""
        stream_id = self._next_id
        self._next_id = stream_id + 2
        if self._next_id > MAX_STREAM_ID:
            self.closing = True
        message = self._requests[exchange.request]
        stream = self._streams[stream_id] = _Stream(exchange, self._stream_window)
        headers = http2.headers(stream_id, self._writer.block())
        size = len(message) + _PREFIX_BYTES
        if self._blocked or size > self._window or size > self._stream_window or size > self._frame_size:
            stream.unsent = memoryview(_PREFIX.pack(0, len(message)) + message)
            self._blocked = True
            self._hand_over(exchange, headers)
            if not self._reading:
                self._send_what_fits()
            return
        self._window -= size
        head = _BODY_HEAD.pack(size << 8 | http2.DATA, http2.END_STREAM, stream_id, 0, size - _PREFIX_BYTES)
        self._hand_over(exchange, headers + head + message)

    def _hand_over(self, exchange: Exchange, frames: bytes) -> None:
        """Send what begins a request; while answers are read, hold it back to send several in one go."""
        if self._reading:
            self._held.append(frames)
            self._held_exchanges.append(exchange)
        else:
            exchange.sent_ns = exchange.sent_ns or time.monotonic_ns()
            self.transmit(frames)

    def _send_held(self) -> None:
        frames = b"".join(self._held)
        now = time.monotonic_ns()
        for exchange in self._held_exchanges:
            exchange.sent_ns = exchange.sent_ns or now
        self._forget_held()
        self.transmit(frames)

    def _forget_held(self) -> None:
        self._held.clear()
        self._held_exchanges.clear()

    def abandon(self, exchange: Exchange) -> bool:
        """Cancel a call; the connection goes on."""
        for stream_id, stream in self._streams.items():
            if stream.exchange is exchange:
                self.transmit(http2.reset(stream_id, http2.CANCEL))
                del self._streams[stream_id]  # not before: what is on the connection fails with it
                break
        return True

    def read(self) -> None:
        """Read what there is."""
        try:
            data = self._recv(READ_BYTES)
        except WOULD_BLOCK:
            return
        now = time.monotonic_ns()
        if not data:
            raise OSError(errno.ECONNRESET, "closed by the server")
        self._reading = True
        for kind, flags, stream_id, payload in self._frames.feed(data):
            if kind == http2.DATA:
                self._on_data(stream_id, flags, payload, now)
            elif kind == http2.HEADERS:
                self._on_headers(stream_id, flags, payload, now)
            else:
                self._on_control(kind, flags, stream_id, payload, now)
            if self.closed:
                return
            if len(self._held) >= _MAX_HELD:
                self._send_held()
        self._reading = False
        self._catch_up()

    def _catch_up(self) -> None:
        """Send what the frames just read gave cause to."""
        if self._held:
            self._send_held()
        if self._blocked:
            self._send_what_fits()
        if self._received >= _TOP_UP:
            self.transmit(http2.window_update(0, self._received))
            self._received = 0

    # -- answers --

    def _on_headers(self, stream_id: int, flags: int, payload: bytes, now: int) -> None:
        headers = self._reader.read(http2.block_of(flags, payload))  # even of a call given up: the table depends on it
        if (stream := self._streams.get(stream_id)) is None:
            return
        exchange = stream.exchange
        if not exchange.first_ns and not self._streamed:
            exchange.first_ns = now
        if flags & http2.END_STREAM:
            self._finish(stream_id, stream, headers, now)
        else:
            stream.headers = {**stream.headers, **headers} if stream.headers else headers

    def _on_data(self, stream_id: int, flags: int, payload: bytes, now: int) -> None:
        size = len(payload)
        self._received += size
        if (stream := self._streams.get(stream_id)) is None:
            return
        stream.bytes_in += size
        if size and stream.bytes_in >= _TOP_UP:
            self.transmit(http2.window_update(stream_id, size))
        try:
            self._take(stream, http2.content(flags, payload), now)
        except _UnusableAnswer as error:
            self._give_up(stream_id, stream, now, str(error))
            return
        if flags & http2.END_STREAM:
            self._finish(stream_id, stream, {}, now)

    def _take(self, stream: _Stream, data: bytes, now: int) -> None:
        """Take bytes of a call's messages: each has a prefix of 5 bytes, whether it is compressed and its length."""
        if stream.rest is None and len(data) >= _PREFIX_BYTES:
            compressed, length = _PREFIX.unpack_from(data)
            if length + _PREFIX_BYTES == len(data) and not compressed:
                self._on_message(stream, data[_PREFIX_BYTES:], now)
                return
        rest = stream.rest = stream.rest or bytearray()
        rest += data
        while len(rest) >= _PREFIX_BYTES:
            compressed, length = _PREFIX.unpack_from(rest)
            if compressed or length > MAX_MESSAGE_BYTES:
                raise _UnusableAnswer("a message is compressed though it was not asked to be, or too long")
            end = _PREFIX_BYTES + length
            if end > len(rest):
                return
            with memoryview(rest) as view:
                message = bytes(view[_PREFIX_BYTES:end])
            del rest[:end]
            self._on_message(stream, message, now)
        if not rest:
            stream.rest = None

    def _on_message(self, stream: _Stream, message: bytes, now: int) -> None:
        stream.message = message
        stream.messages += 1
        if self._streamed:
            exchange = stream.exchange
            try:
                tokens, total = exchange.news(message, self._tokens(message))
            except Exception as error:
                raise _UnusableAnswer(f"the tokens of a message cannot be told: {error!r}") from None
            self.dispatcher.event(exchange, now, tokens)
            exchange.add(tokens, total, now)

    def _finish(self, stream_id: int, stream: _Stream, trailers: dict[str, str], now: int) -> None:
        """A call ended as the protocol has it."""
        if stream.unsent:
            self.transmit(http2.reset(stream_id, http2.CANCEL))  # answered before the request was through
        if trailers.get("grpc-status") == "0" and not stream.rest and (stream.messages == 1 or self._streamed):
            ending = of_failure(stream.exchange.failure) if stream.exchange.failure else self._judged(stream.message)
        else:
            ending = _failure(stream, trailers)
        self._end(stream_id, stream, now, ending)

    def _judged(self, message: bytes) -> Ending:
        try:
            return 0, self._judge(0, message), ""
        except Exception as error:  # a target's judge; the other calls have nothing to do with it
            return malformed(f"the answer could not be judged: {error!r}")

    def _give_up(self, stream_id: int, stream: _Stream, now: int, text: str) -> None:
        """What came cannot be used; the other calls have nothing to do with it."""
        self.transmit(http2.reset(stream_id, http2.CANCEL))
        status = stream.http_status
        self._end(stream_id, stream, now, malformed(text) if status == "200" else of_http(status))

    def _end(self, stream_id: int, stream: _Stream, now: int, ending: Ending) -> None:
        del self._streams[stream_id]
        self.served += 1
        code, outcome, text = ending
        bytes_in = min(stream.bytes_in, _MAX_BYTES_IN)
        self.dispatcher.done(self, stream.exchange, now, bytes_in, code, outcome, stream.message, text)

    # -- the connection --

    def _on_control(self, kind: int, flags: int, stream_id: int, payload: bytes, now: int) -> None:
        match kind:
            case http2.WINDOW_UPDATE:
                self._on_window(stream_id, http2.word(payload))
            case http2.SETTINGS if not flags & http2.ACK:
                self._on_settings(payload)
            case http2.PING if not flags & http2.ACK:
                self.transmit(http2.frame(http2.PING, http2.ACK, 0, payload))
            case http2.RST_STREAM:
                self._on_reset(stream_id, http2.word(payload), now)
            case http2.GOAWAY:
                self._on_goaway(http2.word(payload), http2.word(payload, 4), payload[8:], now)
            case http2.PUSH_PROMISE:
                raise MalformedAnswer("the server pushes though it must not")

    def _on_settings(self, payload: bytes) -> None:
        for name, value in http2.settings_of(payload):
            if name == http2.INITIAL_WINDOW_SIZE:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif name == http2.MAX_FRAME_SIZE:
                self._frame_size = value
            elif name == http2.HEADER_TABLE_SIZE:
                self._writer.resize(value)
            elif name == http2.MAX_CONCURRENT_STREAMS and not self.is_open:
                self.places = max(1, min(self.places, value))
        self.transmit(http2.frame(http2.SETTINGS, http2.ACK, 0))
        if not self.is_open:
            self.take_requests()

    def _on_window(self, stream_id: int, increment: int) -> None:
        if stream_id == 0:
            self._window += increment
        elif stream := self._streams.get(stream_id):
            stream.window += increment

    def _send_what_fits(self) -> None:
        """Send as much of the requests that flow control held back as it allows now."""
        self._blocked = False
        for stream_id, stream in self._streams.items():
            while stream.unsent:
                size = min(len(stream.unsent), self._window, stream.window, self._frame_size)
                if size <= 0:
                    self._blocked = True
                    break
                part, stream.unsent = stream.unsent[:size], stream.unsent[size:]
                self._window -= size
                stream.window -= size
                self.transmit(http2.frame(http2.DATA, 0 if stream.unsent else http2.END_STREAM, stream_id, part))

    def _on_reset(self, stream_id: int, reason: int, now: int) -> None:
        if (stream := self._streams.get(stream_id)) is None:
            return
        if reason != http2.REFUSED_STREAM or not _goes_again(stream.exchange, now):
            late = now - stream.exchange.sent_ns >= self.site.timeout_ns
            self._end(stream_id, stream, now, of_reset(reason, late=late))
            return
        del self._streams[stream_id]  # grpcio's servers count streams a while after they have ended them
        if self.closing:
            self.dispatcher.put_back(self, [stream.exchange])
        else:
            self.start(stream.exchange)

    def _on_goaway(self, last_id: int, reason: int, debug: bytes, now: int) -> None:
        """The server takes no more calls: those it has taken are finished, the others go to another connection."""
        self.closing = True
        if last_id < self._next_id - 2 * len(self._held):  # what is held has the last numbers
            self._forget_held()
        text = f"the server went away (HTTP/2 error {reason}) {debug[:200].decode(errors='replace')}".rstrip()
        unseen = [(stream_id, stream) for stream_id, stream in self._streams.items() if stream_id > last_id]
        for stream_id, stream in unseen:
            if not _goes_again(stream.exchange, now):
                self._end(stream_id, stream, now, (0, Outcome.CONNECTION_ERROR, text))
        if again := [self._streams.pop(stream_id).exchange for stream_id, _ in unseen if stream_id in self._streams]:
            self.dispatcher.put_back(self, again)
        if not self._streams:
            raise OSError(errno.ECONNRESET, text)


class _UnusableAnswer(Exception):
    """What came for a call is no answer; the connection is sound."""


def _goes_again(exchange: Exchange, now: int) -> bool:
    """Whether a call is sent again that the server has not looked at, by its own word (RFC 9113, 8.7)."""
    return not exchange.first_ns and (not exchange.sent_ns or now - exchange.sent_ns < REFUSAL_PATIENCE_NS)


def _failure(stream: _Stream, trailers: dict[str, str]) -> Ending:
    """Return how a call ended whose trailers, if any, do not say that all is well."""
    status = trailers.get("grpc-status")
    if status is None:
        return of_http(trailers.get(":status") or stream.http_status)
    if status != "0":
        return of_status(status, trailers.get("grpc-message", ""))
    rest = " and a part of one" if stream.rest else ""
    return malformed(f"{stream.messages} messages{rest} answered a call of one")


def _headers(site: Site, call: Grpc) -> http2.Headers:
    timeout_ms = min(_MAX_TIMEOUT_MS, -(-site.timeout_ns // 1_000_000))
    host = site.server_name or site.endpoint.host
    return [
        (":method", "POST"),
        (":scheme", "https" if site.context else "http"),
        (":path", call.path),
        (":authority", f"[{host}]:{site.endpoint.port}" if ":" in host else f"{host}:{site.endpoint.port}"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "paretune"),
        ("grpc-timeout", f"{timeout_ms}m"),
        *call.metadata,
    ]
