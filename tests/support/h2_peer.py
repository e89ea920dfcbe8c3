"""An HTTP/2 server that does as a script says, on a raw socket: what grpcio cannot be made to do.

It is strict with the client: what a client must not do is an AssertionError of the test.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from tuner.load.wire import http2

SETTING = struct.Struct(">HI")
WORD = struct.Struct(">I")
OK_HEADERS = ((":status", "200"), ("content-type", "application/grpc"))
OK_TRAILERS = (("grpc-status", "0"),)
PATIENCE_S = 20.0


class ClientLeft(Exception):
    """The client closed the connection."""


@dataclass
class Call:
    """A request of the client.

    Attributes:
        stream: its stream.
        headers: as they came.
        body: DATA so far: 5 bytes of prefix and the message.
        whole: the client has ended it.
        reset: the error code with which the client gave it up, None if it has not.
        window: bytes that the client may still send.
    """

    stream: int
    headers: dict[str, str]
    window: int
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    reset: int | None = None

    @property
    def message(self) -> bytes:
        return bytes(self.body[5:])


class Client:
    """A client's connection.

    Attributes:
        calls: stream -> request, of all that came.
        refill: give back at once what DATA takes of the windows; without it the script does, with `allow`.
        pings: payloads of the client's answers to pings.
        acknowledged: SETTINGS that the client has acknowledged.
        most_streams: the most that it had open at once.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.calls: dict[int, Call] = {}
        self.refill = True
        self.pings: list[bytes] = []
        self.acknowledged = self.most_streams = 0
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._settings: list[dict[int, int]] = []
        self._frames: list[http2.Frame] = []
        self._cutter = http2.FrameReader(largest=1 << 24)
        self._ended: set[int] = set()
        self._window = self._initial = http2.DEFAULT_WINDOW
        self._frame_size = http2.DEFAULT_FRAME
        self._allowed_streams = 1 << 31

    def greet(self, *settings: tuple[int, int]) -> None:
        """Read the client's preface and settings, send ours."""
        preface = b""
        while len(preface) < len(http2.PREFACE):
            preface += self._received(len(http2.PREFACE) - len(preface))
        assert preface == http2.PREFACE
        kind, flags, stream, _ = self.next_frame()
        assert (kind, flags, stream) == (http2.SETTINGS, 0, 0)
        self.set(*settings)
        self.send(http2.frame(http2.SETTINGS, http2.ACK, 0))

    def set(self, *settings: tuple[int, int]) -> None:
        """Send SETTINGS; they bind the client from its acknowledgement on."""
        self._settings.append(dict(settings))
        self.send(http2.frame(http2.SETTINGS, 0, 0, b"".join(SETTING.pack(*setting) for setting in settings)))

    def send(self, *parts: bytes) -> None:
        """Send bytes, in one piece."""
        try:
            self.socket.sendall(b"".join(parts))
        except (ConnectionError, TimeoutError) as error:
            raise ClientLeft from error

    def ended(self, stream: int) -> None:
        """Take note that a stream is answered, in bytes that no method here made."""
        self._ended.add(stream)

    def allow(self, stream: int, increment: int) -> None:
        """Let the client send that many bytes more on a stream, or on the connection (0)."""
        if stream:
            self.calls[stream].window += increment
        else:
            self._window += increment
        self.send(http2.window_update(stream, increment))

    def block(self, headers: Sequence[tuple[str, str]]) -> bytes:
        """Encode a header block."""
        return self.encoder.encode(headers)

    def headers(self, stream: int, headers: Sequence[tuple[str, str]], flags: int = 0) -> bytes:
        """Return a HEADERS frame."""
        return http2.frame(http2.HEADERS, http2.END_HEADERS | flags, stream, self.block(headers))

    def trailers(self, stream: int, trailers: Sequence[tuple[str, str]] = OK_TRAILERS) -> bytes:
        """Return a HEADERS frame that ends a stream."""
        self.ended(stream)
        return self.headers(stream, trailers, http2.END_STREAM)

    def answer(self, stream: int, message: bytes, trailers: Sequence[tuple[str, str]] = OK_TRAILERS) -> bytes:
        """Return the frames of a whole answer."""
        return self.headers(stream, OK_HEADERS) + data(stream, message_of(message)) + self.trailers(stream, trailers)

    def reset(self, stream: int, code: int) -> bytes:
        """Return a RST_STREAM frame."""
        self.ended(stream)
        return http2.frame(http2.RST_STREAM, 0, stream, WORD.pack(code))

    def next_call(self) -> Call:
        """Return the next request once it is whole."""
        while True:
            kind, flags, stream, _ = self.next_frame()
            if kind in (http2.DATA, http2.HEADERS) and flags & http2.END_STREAM:
                return self.calls[stream]

    def next_calls(self, count: int) -> list[Call]:
        """Return that many whole requests."""
        return [self.next_call() for _ in range(count)]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Read frames until a condition holds."""
        while not condition():
            self.next_frame()

    def until_it_leaves(self) -> None:
        """Read, and pass over, what the client sends until it closes the connection."""
        with suppress(ClientLeft):
            while True:
                self._received(1 << 16)

    def next_frame(self) -> http2.Frame:
        """Return the next frame, after the books on it were kept."""
        while not self._frames:
            self._frames = list(self._cutter.feed(self._received(1 << 16)))
        frame = self._frames.pop(0)
        self._note(*frame)
        return frame

    def _received(self, size: int) -> bytes:
        try:
            received = self.socket.recv(size)
        except (ConnectionError, TimeoutError, OSError) as error:
            raise ClientLeft from error
        if not received:
            raise ClientLeft
        return received

    def _note(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.HEADERS:
            self._note_headers(flags, stream, payload)
        elif kind == http2.DATA:
            self._note_data(flags, stream, payload)
        elif kind == http2.RST_STREAM:
            self.calls[stream].reset = WORD.unpack(payload)[0]
        elif kind == http2.PING:
            assert flags == http2.ACK
            self.pings.append(payload)
        elif kind == http2.SETTINGS and flags & http2.ACK:
            assert not payload
            self._note_acknowledgement()
        elif kind == http2.WINDOW_UPDATE:
            assert 0 < WORD.unpack(payload)[0] < 1 << 31

    def _note_headers(self, flags: int, stream: int, block: bytes) -> None:
        assert flags & http2.END_HEADERS
        assert stream % 2 == 1
        assert stream > max(self.calls, default=0)
        headers = dict(self.decoder.decode(block))
        self.calls[stream] = Call(stream, headers, self._initial, whole=bool(flags & http2.END_STREAM))
        live = [call for call in self.calls.values() if call.reset is None and call.stream not in self._ended]
        assert len(live) <= self._allowed_streams
        self.most_streams = max(self.most_streams, len(live))

    def _note_data(self, flags: int, stream: int, payload: bytes) -> None:
        call = self.calls[stream]
        assert len(payload) <= self._frame_size
        assert not call.whole
        assert call.reset is None
        self._window -= len(payload)
        call.window -= len(payload)
        assert not payload or min(self._window, call.window) >= 0, "the client sends more than it may"
        call.body += payload
        call.whole = bool(flags & http2.END_STREAM)
        if self.refill and payload:
            self.allow(0, len(payload))
            self.allow(stream, len(payload))

    def _note_acknowledgement(self) -> None:
        settings = self._settings.pop(0)
        self.acknowledged += 1
        initial = settings.get(http2.INITIAL_WINDOW_SIZE, self._initial)
        for call in self.calls.values():
            call.window += initial - self._initial
        self._initial = initial
        self._frame_size = settings.get(http2.MAX_FRAME_SIZE, self._frame_size)
        self._allowed_streams = settings.get(http2.MAX_CONCURRENT_STREAMS, self._allowed_streams)
        if (table := settings.get(http2.HEADER_TABLE_SIZE)) is not None:
            self.decoder.max_allowed_table_size = table


Script = Callable[[Client], None]
Answer = Callable[[Client, Call], bytes]


def data(stream: int, payload: bytes, flags: int = 0) -> bytes:
    """Return DATA frames."""
    if len(payload) <= http2.DEFAULT_FRAME:
        return http2.frame(http2.DATA, flags, stream, payload)
    first, rest = payload[: http2.DEFAULT_FRAME], payload[http2.DEFAULT_FRAME :]
    return http2.frame(http2.DATA, 0, stream, first) + data(stream, rest, flags)


def message_of(message: bytes, compressed: int = 0) -> bytes:
    """Return a message as gRPC frames it."""
    return struct.pack(">BI", compressed, len(message)) + message


def goaway(last_stream: int, code: int = 0, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame."""
    return http2.frame(http2.GOAWAY, 0, 0, WORD.pack(last_stream) + WORD.pack(code) + debug)


def answering(answer: Callable[[Client, Call], None]) -> Script:
    """Return a script that greets and then answers each request."""

    def script(client: Client) -> None:
        client.greet()
        while True:
            answer(client, client.next_call())

    return script


def echo(client: Client, call: Call) -> None:
    """Answer a request with its own message."""
    client.send(client.answer(call.stream, call.message))


@contextmanager
def peer(script: Script) -> Iterator[int]:
    """Run a script against each client that connects; yield the port. What an assertion in it says is raised here."""
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def play(connection: socket.socket) -> None:
        with connection, suppress(ClientLeft):
            try:
                script(Client(connection))
            except ClientLeft:
                raise
            except BaseException as failure:
                failures.append(failure)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=play, args=(listener.accept()[0],), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(PATIENCE_S)
        listener.close()
        for thread in threads:
            thread.join(PATIENCE_S)
    if failures:
        raise failures[0]
