"""gRPC calls of the load engine against an HTTP/2 server that does what is allowed, and grpcio seldom does."""

import threading
from pathlib import Path

import pytest

from targets.base import Grpc, Outcome
from tests.support import h2_peer
from tests.support.grpc_runs import all_once, by_request, connections, each_outcome, endpoint, play
from tests.support.h2_peer import (
    OK_HEADERS,
    OK_TRAILERS,
    Answer,
    Call,
    Client,
    answering,
    data,
    message_of,
    peer,
)
from tests.support.load_runs import MS
from tuner.load.wire import http2

# -- odd, but allowed --


def padded(client: Client, call: Call) -> bytes:
    first = http2.frame(
        http2.HEADERS,
        http2.END_HEADERS | http2.PADDED | http2.PRIORITISED,
        call.stream,
        b"\x07" + b"\0\0\0\0\x10" + client.block(OK_HEADERS) + bytes(7),
    )
    body = http2.frame(http2.DATA, http2.PADDED, call.stream, b"\xff" + message_of(call.message) + bytes(255))
    only_padding = http2.frame(http2.DATA, http2.PADDED, call.stream, b"\x03" + bytes(3))
    return first + body + only_padding + client.trailers(call.stream)


def continued(client: Client, call: Call) -> bytes:
    """Header blocks in frames of a byte each, the end of the stream announced in the first."""

    def split(block: bytes, flags: int) -> bytes:
        last = len(block) - 1
        return b"".join(
            http2.frame(
                http2.CONTINUATION if at else http2.HEADERS,
                (0 if at else flags) | (http2.END_HEADERS if at == last else 0),
                call.stream,
                block[at : at + 1],
            )
            for at in range(len(block))
        )

    client.ended(call.stream)
    first = split(client.block(OK_HEADERS), 0)
    return first + data(call.stream, message_of(call.message)) + split(client.block(OK_TRAILERS), http2.END_STREAM)


def in_many_frames(client: Client, call: Call) -> bytes:
    """The message a byte to a frame, with empty frames between."""
    whole = message_of(call.message)
    pieces = b"".join(data(call.stream, whole[at : at + 1]) + data(call.stream, b"") for at in range(len(whole)))
    return client.headers(call.stream, OK_HEADERS) + pieces + client.trailers(call.stream)


def after_interim(client: Client, call: Call) -> bytes:
    return client.headers(call.stream, ((":status", "103"),)) + client.answer(call.stream, call.message)


def odd_headers(client: Client, call: Call) -> bytes:
    """Headers that are not UTF-8, literal and never indexed, and one that comes twice."""
    block = client.block((*OK_HEADERS, *OK_HEADERS)) + b"\x10\x01x\x02\xff\xfe"
    first = http2.frame(http2.HEADERS, http2.END_HEADERS, call.stream, block)
    return first + data(call.stream, message_of(call.message)) + client.trailers(call.stream)


def after_table_change(client: Client, call: Call) -> bytes:
    """The peer's table is emptied before every block."""
    client.encoder.header_table_size = 0
    first = client.headers(call.stream, OK_HEADERS)
    client.encoder.header_table_size = 4096
    return first + data(call.stream, message_of(call.message)) + client.trailers(call.stream)


def with_new_entries(client: Client, call: Call) -> bytes:
    """Each block puts new entries into the table, so that the same index means something else each time."""
    fresh = (("x-id", f"{call.stream}"), ("x-other", "y" * (call.stream % 90)))
    return client.answer(call.stream, call.message, (*fresh, *OK_TRAILERS, *fresh))


@pytest.mark.parametrize(
    "answer",
    [padded, continued, in_many_frames, after_interim, odd_headers, after_table_change, with_new_entries],
    ids=lambda answer: answer.__name__,
)
@pytest.mark.parametrize("cut", [None, 1, 7], ids=["whole", "byte by byte", "7 bytes at a time"])
def test_an_odd_answer_is_understood(answer: Answer, cut: int | None, tmp_path: Path) -> None:
    def reply(client: Client, call: Call) -> None:
        whole = answer(client, call)
        for at in range(0, len(whole), cut or len(whole)):
            client.send(whole[at : at + (cut or len(whole))])

    requests = [b"%d" % index * (1 + index % 9) for index in range(12)]
    report, records = play(answering(reply), tmp_path, requests, 3, keep_answers=True)
    assert each_outcome(records) == [Outcome.OK] * 12
    assert dict(report.answers) == dict(enumerate(requests))


def test_answers_to_many_calls_in_one_packet_are_told_apart(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        while True:
            calls = client.next_calls(10)
            starts = [client.headers(call.stream, OK_HEADERS) for call in calls]
            bodies = [data(call.stream, message_of(call.message)) for call in reversed(calls)]
            ends = [client.trailers(call.stream) for call in calls]
            client.send(*starts, *bodies, *ends)

    requests = [b"%d" % index for index in range(50)]
    report, _ = play(script, tmp_path, requests, 10, keep_answers=True)
    assert dict(report.answers) == dict(enumerate(requests))


def test_several_messages_in_one_frame_are_events_of_their_own(tmp_path: Path) -> None:
    def reply(client: Client, call: Call) -> None:
        whole = b"".join(message_of(b"%d" % number) for number in range(5)) + message_of(b"")
        client.send(client.headers(call.stream, OK_HEADERS))
        client.send(data(call.stream, whole[:16]), data(call.stream, whole[16:]), client.trailers(call.stream))

    _, records = play(answering(reply), tmp_path, [b"x"], tokens=lambda message: int(message or b"0"))
    assert list(records.events["tokens"]) == [0, 1, 2, 3, 4, 0]
    assert records.rows["tokens"][0] == 10


def test_pings_are_answered_with_their_own_bytes(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        call = client.next_call()
        client.send(http2.frame(http2.PING, 0, 0, b"12345678"), http2.frame(http2.PING, http2.ACK, 0, b"unasked."))
        client.wait(lambda: bool(client.pings))
        assert client.pings == [b"12345678"]
        client.send(client.answer(call.stream, b"x"))
        client.until_it_leaves()

    assert each_outcome(play(script, tmp_path, [b"x"])[1]) == [Outcome.OK]


def test_unknown_settings_and_frames_are_passed_over(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet((0x99, 7), (http2.HEADER_TABLE_SIZE, 4096), (0xFE03, 1))
        unknown = http2.frame(0x42, 0xFF, 0, b"whatever")
        while True:
            call = client.next_call()
            whole = client.answer(call.stream, call.message)
            client.send(unknown, http2.frame(0x43, 0, call.stream, b""), whole, unknown)

    assert each_outcome(play(script, tmp_path, [b"x"] * 3)[1]) == [Outcome.OK] * 3


# -- requests under flow control --


def test_windows_that_open_a_little_at_a_time_let_every_request_through(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet((http2.INITIAL_WINDOW_SIZE, 10))
        client.wait(lambda: len(client.calls) == 3)
        while not all(call.whole for call in client.calls.values()):
            for call in client.calls.values():
                if not call.whole:
                    client.allow(call.stream, 1000)
                    client.allow(0, 1000)
            client.wait(lambda: all(call.whole or call.window == 0 for call in client.calls.values()))
        for call in client.calls.values():
            client.send(client.answer(call.stream, call.message))
        client.until_it_leaves()

    requests = [bytes([65 + index]) * (30_000 + index) for index in range(3)]
    report, _ = play(script, tmp_path, requests, 3, keep_answers=True)
    assert dict(report.answers) == dict(enumerate(requests))


def test_a_small_request_overtakes_one_that_its_own_window_holds_back(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet((http2.INITIAL_WINDOW_SIZE, 100))
        small = client.next_call()
        assert small.message == b"small"
        client.send(client.answer(small.stream, b"small"))
        (large,) = (call for call in client.calls.values() if call is not small)
        client.allow(large.stream, 1000)
        h2_peer.echo(client, client.next_call())
        client.until_it_leaves()

    report, _ = play(script, tmp_path, [b"large" * 200, b"small"], 2, keep_answers=True)
    assert dict(report.answers) == {0: b"large" * 200, 1: b"small"}


def test_an_initial_window_cut_below_what_was_sent_holds_until_it_is_made_up_for(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet((http2.INITIAL_WINDOW_SIZE, 20_000))
        client.wait(lambda: bool(client.calls) and client.calls[1].window == 0)
        client.set((http2.INITIAL_WINDOW_SIZE, 5_000))
        client.wait(lambda: client.acknowledged == 2)
        call = client.calls[1]
        assert call.window == -15_000
        client.allow(1, 15_000)
        client.send(http2.frame(http2.PING, 0, 0, b"anything"))
        client.wait(lambda: bool(client.pings))
        assert (len(call.body), call.window) == (20_000, 0)
        client.allow(1, 100_000)
        h2_peer.echo(client, client.next_call())
        client.until_it_leaves()

    report, _ = play(script, tmp_path, [b"x" * 50_000], keep_answers=True)
    assert report.answers == ((0, b"x" * 50_000),)


def test_an_initial_window_made_larger_lets_what_waits_go(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet((http2.INITIAL_WINDOW_SIZE, 0))
        client.wait(lambda: len(client.calls) == 2)
        assert not any(call.body for call in client.calls.values())
        client.set((http2.INITIAL_WINDOW_SIZE, 30_000))
        for call in client.next_calls(2):
            h2_peer.echo(client, call)
        client.until_it_leaves()

    assert each_outcome(play(script, tmp_path, [b"x" * 20_000, b"y"], 2)[1]) == [Outcome.OK] * 2


def test_larger_frames_are_used_where_the_server_allows_them(tmp_path: Path) -> None:
    sizes: list[int] = []

    def script(client: Client) -> None:
        client.greet((http2.MAX_FRAME_SIZE, 40_000))
        while True:
            kind, flags, stream, payload = client.next_frame()
            if kind == http2.DATA:
                sizes.append(len(payload))
                if flags & http2.END_STREAM:
                    h2_peer.echo(client, client.calls[stream])

    requests = [b"x", b"z" * 30_000, b"y" * 60_000]
    report, _ = play(script, tmp_path, requests, keep_answers=True)
    assert dict(report.answers) == dict(enumerate(requests))
    assert max(sizes) == 40_000


def test_a_call_answered_before_its_request_is_through_is_reset_and_the_next_goes_on(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet()
        client.wait(lambda: bool(client.calls))
        early = client.calls[1]
        client.send(client.answer(1, b"", (("grpc-status", "8"), ("grpc-message", "too large"))))
        client.wait(lambda: early.reset is not None)
        client.refill = True
        client.allow(0, len(early.body))
        while True:
            h2_peer.echo(client, client.next_call())

    report, records = play(script, tmp_path, [b"x" * 1_000_000, b"y"], keep_answers=True)
    assert by_request(records) == [(Outcome.GRPC_ERROR, 8), (Outcome.OK, 0)]
    assert report.answers == ((1, b"y"),)


def test_a_large_request_given_up_under_way_does_not_hold_up_the_next(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.refill = False
        client.greet()
        client.wait(lambda: bool(client.calls) and client.calls[1].reset is not None)
        client.refill = True
        client.allow(0, http2.DEFAULT_WINDOW)
        while True:
            h2_peer.echo(client, client.next_call())

    _, records = play(script, tmp_path, [b"x" * 1_000_000, b"y" * 70_000, b"z"], timeout_ns=1_000 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT, Outcome.OK, Outcome.OK]


# -- request headers --


@pytest.mark.parametrize("sizes", [[0], [100], [4096, 0], [0, 4096], [1 << 20], [60, 60]])
def test_request_headers_stay_readable_whatever_table_the_server_keeps(sizes: list[int], tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def script(client: Client) -> None:
        client.greet((http2.HEADER_TABLE_SIZE, sizes[0]))
        for index in range(20):
            call = client.next_call()
            seen.append(call.headers)
            if index == 5:
                for size in sizes[1:] * 2:
                    client.set((http2.HEADER_TABLE_SIZE, size))
            h2_peer.echo(client, call)
        client.until_it_leaves()

    play(script, tmp_path, [b"x"] * 20)
    assert len(seen) == 20
    assert all(headers == seen[0] for headers in seen)
    assert (seen[0][":path"], seen[0]["te"], seen[0]["grpc-timeout"]) == ("/test/call", "trailers", "10000m")


def test_no_more_streams_are_opened_than_the_server_allows(tmp_path: Path) -> None:
    all_here = threading.Barrier(3)

    def script(client: Client) -> None:
        client.greet((http2.MAX_CONCURRENT_STREAMS, 2))
        for _ in range(10):
            calls = client.next_calls(2)
            all_here.wait(h2_peer.PATIENCE_S)
            client.send(*(client.answer(call.stream, b"x") for call in calls))
        client.until_it_leaves()

    script, made = connections(script)
    _, records = play(script, tmp_path, [b"x"] * 60, 6)
    assert each_outcome(records) == [Outcome.OK] * 60
    assert len(made) == 3


def test_metadata_too_long_for_a_frame_arrives_whole(tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []

    def reply(client: Client, call: Call) -> None:
        seen.append(call.headers)
        h2_peer.echo(client, call)

    call = Grpc("/test/call", (("x-short", "1"), ("x-long", "long " * 8000), ("x-last", "2")))
    with peer(answering(reply)) as port:
        _, records = all_once(endpoint(port, "", [b"x"] * 4, grpc=call), tmp_path)
    assert each_outcome(records) == [Outcome.OK] * 4
    assert all(call.metadata == tuple((name, headers[name]) for name, _ in call.metadata) for headers in seen)


def test_no_connection_carries_more_streams_than_asked_for(tmp_path: Path) -> None:
    clients: list[Client] = []
    all_here = threading.Barrier(3)

    def script(client: Client) -> None:
        clients.append(client)
        client.greet()
        for _ in range(10):
            calls = client.next_calls(2)
            all_here.wait(h2_peer.PATIENCE_S)
            client.send(*(client.answer(call.stream, b"x") for call in calls))
        client.until_it_leaves()

    with peer(script) as port:
        all_once(endpoint(port, "/test/call", [b"x"] * 60, streams=2), tmp_path, 6)
    assert [client.most_streams for client in clients] == [2, 2, 2]
