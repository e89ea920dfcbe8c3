"""A gRPC connection on its own: what it hands to the kernel, and when, without a network."""

import struct
from collections.abc import Callable, Iterator, Sequence

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.base import Endpoint, Grpc, Outcome
from tests.support.grpc_runs import accept
from tests.support.h2_peer import OK_HEADERS, OK_TRAILERS, data, goaway, message_of
from tuner.load.wire import http2
from tuner.load.wire.connection import Connection, Exchange, MalformedAnswer, resolved
from tuner.load.wire.grpc import GrpcConnection

ENCODER = Encoder()
ENCODER.header_table_size = 0
FIRST, LAST = ENCODER.encode(OK_HEADERS), ENCODER.encode(OK_TRAILERS)
TIMEOUT_NS = 1_000_000_500
KINDS = st.integers(0, 10)
FLAGS = st.sampled_from([0, 1, 4, 5, 8, 9, 0x2C, 0x2D, 255])
PAYLOADS = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([FIRST, LAST, message_of(b"x"), message_of(b"xyz")[:-1], b"\0\0\0\1", struct.pack(">HI", 4, 7)]),
)


class Kernel:
    """Stands for the engine and the kernel: sends the next request when one ends, and keeps what was sent."""

    def __init__(
        self, requests: int, places: int = 4, tokens: Callable[[bytes], int] | None = None, host: str = "127.0.0.1"
    ) -> None:
        call = Grpc("/test/call")
        where = Endpoint(host, 1, (b"request",), accept, call, tokens=tokens)
        self.left = requests
        self.sent: list[bytes] = []
        self.ended: list[tuple[Exchange, Outcome]] = []
        self.returned: list[Exchange] = []
        self.bytes_in: list[object] = []
        self.connection = GrpcConnection(resolved(where, TIMEOUT_NS), self, call, places)
        self.connection._connected = True
        self.connection._send = self.send
        self.connection.on_open()
        self.give(http2.frame(http2.SETTINGS, 0, 0))

    def give(self, answer: bytes) -> None:
        """Let the connection read these bytes, at one go."""
        self.sent.clear()
        self.connection._recv = lambda _: answer
        self.connection.read()

    def send(self, frames: bytes) -> int:
        self.sent.append(bytes(frames))
        return len(frames)

    def watch(self, connection: Connection, mask: int) -> None:
        pass

    def opened(self, connection: Connection) -> None:
        for _ in range(connection.places):
            self.start_next()

    def event(self, exchange: Exchange, at_ns: int, tokens: int) -> None:
        pass

    def put_back(self, connection: Connection, exchanges: Sequence[Exchange]) -> None:
        assert connection.closing
        self.returned += exchanges

    def done(self, connection: Connection, exchange: Exchange, *rest: object) -> None:
        _, bytes_in, _, outcome, *_ = rest
        self.ended.append((exchange, Outcome(outcome)))
        self.bytes_in.append(bytes_in)
        if not connection.closing:
            self.start_next()

    def start_next(self) -> None:
        if self.left:
            self.left -= 1
            self.connection.start(Exchange(0, 1, 1))


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(1000)
    yield kernel
    kernel.connection.close()


def answer(stream: int, message: bytes = b"answer") -> bytes:
    first = http2.frame(http2.HEADERS, http2.END_HEADERS, stream, FIRST)
    last = http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, stream, LAST)
    return first + data(stream, message_of(message)) + last


def streams(sent: list[bytes]) -> list[int]:
    """Return the streams of the requests in what was sent."""
    frames = http2.FrameReader().feed(b"".join(sent))
    return [stream for kind, flags, stream, _ in frames if kind == http2.DATA and flags & http2.END_STREAM]


def test_requests_that_answers_in_one_read_make_room_for_go_out_together(kernel: Kernel) -> None:
    kernel.give(answer(1) + answer(3) + answer(5))
    assert len(kernel.sent) == 1
    assert streams(kernel.sent) == [9, 11, 13]
    times = {exchange.sent_ns for exchange in kernel.connection.exchanges()}
    assert len(times) == 2
    assert 0 not in times


def test_the_first_of_many_does_not_wait_for_the_last() -> None:
    kernel = Kernel(1000, places=20)
    kernel.give(b"".join(answer(stream) for stream in range(1, 40, 2)))
    kernel.connection.close()
    assert [len(streams([sent])) for sent in kernel.sent] == [8, 8, 4]


def test_requests_not_sent_yet_when_the_server_goes_away_are_put_back(kernel: Kernel) -> None:
    kernel.give(answer(1) + goaway(7) + answer(3))
    assert streams(kernel.sent) == []
    assert [exchange.sent_ns for exchange in kernel.returned] == [0]
    assert [outcome for _, outcome in kernel.ended] == [Outcome.OK] * 2


def test_a_call_refused_on_a_connection_that_takes_no_more_is_put_back(kernel: Kernel) -> None:
    before = list(kernel.connection.exchanges())
    kernel.give(goaway(http2.MAX_STREAM_ID) + http2.reset(5, http2.REFUSED_STREAM))
    assert kernel.returned == before[2:3]
    assert list(kernel.connection.exchanges()) == before[:2] + before[3:]


def test_a_server_that_announces_that_it_will_go_still_gets_what_was_on_its_way(kernel: Kernel) -> None:
    kernel.give(answer(1) + goaway(http2.MAX_STREAM_ID))
    assert streams(kernel.sent) == [9]
    kernel.give(b"".join(answer(stream) for stream in (3, 5, 7, 9)))
    assert [outcome for _, outcome in kernel.ended] == [Outcome.OK] * 5


def test_a_call_that_cannot_be_cancelled_fails_with_its_connection(kernel: Kernel) -> None:
    exchange = next(iter(kernel.connection.exchanges()))

    def broken(_: bytes) -> None:
        raise ConnectionResetError

    kernel.connection.transmit = broken
    with pytest.raises(ConnectionResetError):
        kernel.connection.abandon(exchange)
    assert exchange in kernel.connection.exchanges()


def test_the_last_stream_of_a_connection_closes_it(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.load.wire.grpc.MAX_STREAM_ID", 9)
    kernel.give(answer(1))
    assert streams(kernel.sent) == [9]
    assert kernel.connection.closing
    kernel.give(b"".join(answer(stream) for stream in (3, 5, 7, 9)))
    assert [outcome for _, outcome in kernel.ended] == [Outcome.OK] * 5


def test_the_windows_are_topped_up_before_they_run_dry(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.load.wire.grpc._TOP_UP", 1000)
    kernel.give(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, FIRST) + data(1, message_of(b"x" * 1500)))
    kernel.give(data(1, message_of(b"x" * 95)) + data(1, b""))
    assert updates(kernel.sent) == [(1, 100)]
    kernel.give(data(1, message_of(b"x" * 995)))
    assert updates(kernel.sent) == [(1, 1000), (0, 1100)]


def updates(sent: list[bytes]) -> list[tuple[int, int]]:
    """Return (stream, increment) of the window updates that were sent, and of nothing else."""
    frames = list(http2.FrameReader().feed(b"".join(sent)))
    assert {kind for kind, *_ in frames} == {http2.WINDOW_UPDATE}
    return [(stream, http2.word(payload)) for _, _, stream, payload in frames]


def test_more_bytes_than_a_row_can_tell_are_told_as_the_most_it_can(kernel: Kernel) -> None:
    kernel.connection._streams[1].bytes_in = 1 << 32
    kernel.give(answer(1))
    assert kernel.bytes_in == [(1 << 31) - 1]


@pytest.mark.parametrize(("since_sent_ns", "outcome"), [(0, Outcome.GRPC_ERROR), (TIMEOUT_NS, Outcome.TIMEOUT)])
def test_a_call_cancelled_by_the_server_has_timed_out_when_its_deadline_is_past(
    since_sent_ns: int, outcome: Outcome, kernel: Kernel
) -> None:
    """A server's timer may be ahead of the load engine's look at the clock."""
    for exchange in kernel.connection.exchanges():
        exchange.sent_ns -= since_sent_ns
    kernel.give(http2.reset(1, http2.CANCEL))
    assert [found for _, found in kernel.ended] == [outcome]


@pytest.mark.parametrize(("host", "authority"), [("127.0.0.1", "127.0.0.1:1"), ("::1", "[::1]:1")])
def test_a_call_says_whom_it_asks_and_how_long_it_waits(host: str, authority: str) -> None:
    kernel = Kernel(1, host=host)
    kernel.connection.close()
    frames = http2.FrameReader().feed(b"".join(kernel.sent))
    headers = [dict(Decoder().decode(payload)) for kind, _, _, payload in frames if kind == http2.HEADERS]
    assert headers == [
        {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/test/call",
            ":authority": authority,
            "te": "trailers",
            "content-type": "application/grpc",
            "user-agent": "paretune",
            "grpc-timeout": "1001m",
        }
    ]


@settings(deadline=None)
@given(st.lists(st.tuples(KINDS, FLAGS, st.integers(0, 9), PAYLOADS), max_size=12), st.booleans())
def test_no_frames_whatever_do_more_than_break_the_connection(frames: list[http2.Frame], streamed: bool) -> None:
    kernel = Kernel(50, tokens=len if streamed else None)
    try:
        for frame in frames:
            kernel.give(http2.frame(*frame))
    except (MalformedAnswer, OSError):
        pass
    finally:
        kernel.connection.close()
    exchanges = [exchange for exchange, _ in kernel.ended] + kernel.returned + list(kernel.connection.exchanges())
    assert len(set(exchanges)) == len(exchanges) == 50 - kernel.left
