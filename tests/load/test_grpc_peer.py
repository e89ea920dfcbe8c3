"""gRPC calls of the load engine against an HTTP/2 server that does what no good one would."""

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from targets.base import Outcome
from tests.support import h2_peer
from tests.support.grpc_runs import MS, all_once, by_request, closed, endpoint, open_files, outcomes, plan, run, texts
from tests.support.h2_peer import OK_HEADERS, OK_TRAILERS, Call, Client, Script, answering, data, goaway, message_of, peer
from tuner.load.plan import RunReport
from tuner.load.wire import http2
from tuner.records import Records

KIB = 1 << 10
Answer = Callable[[Client, Call], bytes]


def play(
    script: Script, folder: Path, requests: list[bytes], concurrency: int = 1, **changes: object
) -> tuple[RunReport, Records]:
    """Send every request once to a peer that follows a script, `concurrency` at a time on one connection."""
    streamed = {"tokens": changes.pop("tokens")} if "tokens" in changes else {}
    with peer(script) as port:
        where = endpoint(port, "/test/call", requests, concurrency, **streamed)
        return all_once(where, folder, concurrency, **({"timeout_ns": 10_000 * MS} | changes))


def connections(script: Script) -> tuple[Script, list[None]]:
    """Return a script that does the same and a list that grows with each connection."""
    made: list[None] = []

    def counted(client: Client) -> None:
        made.append(None)
        script(client)

    return counted, made


# -- opening --


def greet_with_garbage(client: Client) -> None:
    client.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    client.until_it_leaves()


def greet_with_odd_settings(client: Client) -> None:
    client.send(http2.frame(http2.SETTINGS, 0, 0, b"12345"))
    client.until_it_leaves()


def greet_with(name: int, value: int) -> Script:
    def script(client: Client) -> None:
        client.greet((name, value))
        client.until_it_leaves()

    return script


@pytest.mark.parametrize(
    "script",
    [
        greet_with_garbage,
        greet_with_odd_settings,
        greet_with(http2.MAX_FRAME_SIZE, 0),
        greet_with(http2.MAX_FRAME_SIZE, 1 << 24),
        greet_with(http2.INITIAL_WINDOW_SIZE, 1 << 31),
    ],
    ids=["garbage", "odd settings", "no frame size", "huge frame size", "huge window"],
)
def test_an_opening_that_is_not_http2_is_malformed(script: Script, tmp_path: Path) -> None:
    _, records = play(script, tmp_path, [b"x"] * 2)
    assert outcomes(records) == [Outcome.MALFORMED] * 2


def test_settings_that_never_come_are_a_timeout(tmp_path: Path) -> None:
    _, records = play(Client.until_it_leaves, tmp_path, [b"x"], timeout_ns=200 * MS)
    assert outcomes(records) == [Outcome.TIMEOUT]


def test_a_connection_closed_at_once_is_a_connection_error(tmp_path: Path) -> None:
    _, records = play(lambda _: None, tmp_path, [b"x"] * 2)
    assert outcomes(records) == [Outcome.CONNECTION_ERROR] * 2


def test_a_connection_reset_right_after_its_settings_fails_its_calls_and_ends_the_run(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.greet()

    _, records = play(script, tmp_path, [b"x"] * 12, 6)
    assert outcomes(records) == [Outcome.CONNECTION_ERROR] * 12


def test_unknown_settings_and_frames_are_passed_over(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet((0x99, 7), (http2.HEADER_TABLE_SIZE, 4096), (0xFE03, 1))
        unknown = http2.frame(0x42, 0xFF, 0, b"whatever")
        while True:
            call = client.next_call()
            whole = client.answer(call.stream, call.message)
            client.send(unknown, http2.frame(0x43, 0, call.stream, b""), whole, unknown)

    assert outcomes(play(script, tmp_path, [b"x"] * 3)[1]) == [Outcome.OK] * 3


# -- one call fails, the others on its connection do not --


def reset(code: int) -> Answer:
    return lambda client, call: client.reset(call.stream, code)


def trailers(*headers: tuple[str, str]) -> Answer:
    """The message and these trailers."""
    return lambda client, call: client.answer(call.stream, call.message, headers)


def messages(*payloads: bytes) -> Answer:
    """These bytes and a good status."""
    return lambda client, call: (
        client.headers(call.stream, OK_HEADERS)
        + b"".join(data(call.stream, payload) for payload in payloads)
        + client.trailers(call.stream)
    )


def http_error(status: str, body: bytes = b"") -> Answer:
    def answer(client: Client, call: Call) -> bytes:
        first = client.headers(call.stream, ((":status", status), ("content-type", "text/html")))
        client._answered.add(call.stream)
        return first + data(call.stream, body, http2.END_STREAM)

    return answer


def no_trailers(client: Client, call: Call) -> bytes:
    client._answered.add(call.stream)
    return client.headers(call.stream, OK_HEADERS) + data(call.stream, message_of(b"x"), http2.END_STREAM)


FAILURES: dict[str, tuple[Answer, Outcome, int]] = {
    "reset 0": (reset(0), Outcome.GRPC_ERROR, 13),
    "reset 1": (reset(1), Outcome.GRPC_ERROR, 13),
    "reset 2": (reset(2), Outcome.GRPC_ERROR, 13),
    "reset 3": (reset(3), Outcome.GRPC_ERROR, 13),
    "reset 5": (reset(5), Outcome.GRPC_ERROR, 13),
    "reset 6": (reset(6), Outcome.GRPC_ERROR, 13),
    "cancelled": (reset(8), Outcome.GRPC_ERROR, 1),
    "calm": (reset(11), Outcome.GRPC_ERROR, 8),
    "security": (reset(12), Outcome.GRPC_ERROR, 7),
    "unknown reset": (reset(0xFFFFFFFF), Outcome.GRPC_ERROR, 13),
    "status": (trailers(("grpc-status", "5"), ("grpc-message", "gone")), Outcome.GRPC_ERROR, 5),
    "unknown status": (trailers(("grpc-status", "17")), Outcome.GRPC_ERROR, 2),
    "huge status": (trailers(("grpc-status", "9" * 30)), Outcome.GRPC_ERROR, 2),
    "endless status": (trailers(("grpc-status", "9" * 9000)), Outcome.GRPC_ERROR, 2),
    "no status": (trailers(("x", "y")), Outcome.MALFORMED, 0),
    "no trailers": (no_trailers, Outcome.MALFORMED, 0),
    "status not a number": (trailers(("grpc-status", "OK")), Outcome.MALFORMED, 0),
    "HTTP 503": (http_error("503"), Outcome.HTTP_ERROR, 503),
    "HTTP 503 with a page": (http_error("503", b"<html>busy</html>"), Outcome.HTTP_ERROR, 503),
    "HTTP status not a number": (http_error("busy"), Outcome.MALFORMED, 0),
    "a page instead of a message": (http_error("200", b"<html>hello</html>"), Outcome.MALFORMED, 0),
    "two messages": (messages(message_of(b"a"), message_of(b"b")), Outcome.MALFORMED, 0),
    "no message": (messages(), Outcome.MALFORMED, 0),
    "half a message": (messages(message_of(b"abc")[:-1]), Outcome.MALFORMED, 0),
    "half a prefix": (messages(b"\0\0\0"), Outcome.MALFORMED, 0),
    "a message and a bit": (messages(message_of(b"abc") + b"\0"), Outcome.MALFORMED, 0),
    "compressed": (messages(message_of(b"abc", compressed=1)), Outcome.MALFORMED, 0),
    "a message beyond all bounds": (messages(b"\0\xff\xff\xff\xff" + b"x" * 100), Outcome.MALFORMED, 0),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_call_answered_badly_fails_alone(name: str, tmp_path: Path) -> None:
    """The bad answer comes while another call on the connection waits for its own."""
    answer, outcome, code = FAILURES[name]

    def script(client: Client) -> None:
        client.greet()
        calls = {call.message: call for call in client.next_calls(2)}
        client.send(answer(client, calls[b"bad"]))
        client.send(client.answer(calls[b"good"].stream, b"good"))
        while True:
            h2_peer.echo(client, client.next_call())

    script, made = connections(script)
    report, records = play(script, tmp_path, [b"good", b"bad", b"third", b"fourth"], 2, keep_answers=True)
    assert by_request(records) == [(Outcome.OK, 0), (outcome, code), (Outcome.OK, 0), (Outcome.OK, 0)]
    assert sorted(report.answers) == [(0, b"good"), (2, b"third"), (3, b"fourth")]
    assert len(made) == 1


def test_a_call_that_cannot_be_judged_fails_alone(tmp_path: Path) -> None:
    def judge(_status: int, message: bytes) -> Outcome:
        return Outcome(int(message))

    with peer(answering(h2_peer.echo)) as port:
        where = endpoint(port, "/test/call", [b"0", b"no number", b"0", b"0"], 2, judge=judge)
        report, records = all_once(where, tmp_path, 2)
    assert outcomes(records) == [Outcome.OK, Outcome.MALFORMED, Outcome.OK, Outcome.OK]
    assert "no number" in texts(report)[0]


def test_a_message_whose_tokens_cannot_be_told_fails_its_call_alone(tmp_path: Path) -> None:
    _, records = play(answering(h2_peer.echo), tmp_path, [b"1", b"one", b"2", b"3"], 2, tokens=int)
    assert outcomes(records) == [Outcome.OK, Outcome.MALFORMED, Outcome.OK, Outcome.OK]


def test_a_call_given_up_is_reset_and_what_still_comes_for_it_is_passed_over(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        late = client.next_call()
        client.wait(lambda: late.reset is not None)
        assert late.reset == http2.CANCEL
        client.send(client.answer(late.stream, b"late"), client.headers(late.stream, OK_HEADERS))
        while True:
            h2_peer.echo(client, client.next_call())

    script, made = connections(script)
    _, records = play(script, tmp_path, [b"late", b"x", b"y"], timeout_ns=300 * MS)
    assert outcomes(records) == [Outcome.TIMEOUT, Outcome.OK, Outcome.OK]
    assert len(made) == 1


def test_a_call_reset_by_the_server_after_its_deadline_is_a_timeout(tmp_path: Path) -> None:
    """The server's own timer can be ahead of ours, whose last look was a while ago."""

    def script(client: Client) -> None:
        client.greet()
        client.next_call()
        client.until_it_leaves()

    _, records = play(script, tmp_path, [b"x"], timeout_ns=100 * MS)
    assert outcomes(records) == [Outcome.TIMEOUT]


def test_a_refused_call_is_sent_again(tmp_path: Path) -> None:
    """REFUSED_STREAM: the server has not looked at it. grpcio's servers say so when a stream just ended."""

    def script(client: Client) -> None:
        client.greet()
        client.send(client.reset(client.next_call().stream, http2.REFUSED_STREAM))
        while True:
            h2_peer.echo(client, client.next_call())

    report, records = play(script, tmp_path, [b"x", b"y"], keep_answers=True)
    assert outcomes(records) == [Outcome.OK] * 2
    assert report.answers == ((0, b"x"), (1, b"y"))


def test_a_call_refused_again_and_again_fails(tmp_path: Path) -> None:
    def refuse(client: Client, call: Call) -> None:
        client.send(client.reset(call.stream, http2.REFUSED_STREAM))

    _, records = play(answering(refuse), tmp_path, [b"x", b"y"], 2)
    assert by_request(records) == [(Outcome.GRPC_ERROR, 14)] * 2


# -- the connection fails --


def breaking(*parts: bytes) -> Script:
    """A script that answers two calls with bytes that no connection survives."""

    def script(client: Client) -> None:
        client.greet()
        client.next_calls(2)
        client.send(*parts)
        client.until_it_leaves()

    return script


@pytest.mark.parametrize(
    "script",
    [
        breaking(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")),
        breaking(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, b"\x80")),
        breaking(http2.frame(http2.HEADERS, 0, 1, b"\x88"), http2.frame(http2.DATA, 0, 1, b"")),
        breaking(http2.frame(http2.HEADERS, 0, 1, b"\x88"), http2.frame(http2.CONTINUATION, 4, 3, b"")),
        breaking(http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, b"\x88")),
        breaking(http2.frame(http2.HEADERS, 0, 1, b"\x88"), *[http2.frame(http2.CONTINUATION, 0, 1, bytes(16384))] * 80),
        breaking(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.PADDED, 1, b"\x05\x88")),
        breaking(http2.frame(http2.HEADERS, http2.END_HEADERS | http2.PRIORITISED, 1, b"\x88")),
        breaking(http2.frame(http2.DATA, http2.PADDED, 1, b"\x05abc")),
        breaking(http2.frame(http2.DATA, http2.PADDED, 1, b"")),
        breaking(http2.frame(http2.PUSH_PROMISE, http2.END_HEADERS, 1, b"\0\0\0\x02\x88")),
        breaking(http2.frame(http2.WINDOW_UPDATE, 0, 0, b"\0")),
        breaking(http2.frame(http2.RST_STREAM, 0, 1, b"")),
        breaking(http2.frame(http2.SETTINGS, 0, 0, b"1234567")),
        breaking(http2.frame(http2.GOAWAY, 0, 0, b"")),
        breaking(b"\xff\xff\xff garbage garbage garbage"),
    ],
)
def test_bytes_that_no_connection_survives_fail_its_calls_as_malformed(script: Script, tmp_path: Path) -> None:
    _, records = play(script, tmp_path, [b"x"] * 2, 2)
    assert outcomes(records) == [Outcome.MALFORMED] * 2


def test_answers_before_the_garbage_count(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        one, _ = client.next_calls(2)
        client.send(client.answer(one.stream, b"fine"), b"\xff\xff\xff garbage garbage garbage")
        client.until_it_leaves()

    _, records = play(script, tmp_path, [b"x"] * 2, 2)
    assert sorted(outcomes(records)) == [Outcome.OK, Outcome.MALFORMED]


@pytest.mark.parametrize("part", [0, 5, 12, 40])
def test_a_connection_closed_in_the_middle_of_an_answer_is_a_connection_error(part: int, tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.send(client.answer(client.next_call().stream, b"x" * 100)[:part])

    _, records = play(script, tmp_path, [b"x"] * 2)
    assert outcomes(records) == [Outcome.CONNECTION_ERROR] * 2


def test_after_goaway_the_calls_taken_finish_and_the_others_fail(tmp_path: Path) -> None:
    def first(client: Client) -> None:
        client.greet()
        taken, *_ = client.next_calls(3)
        client.send(goaway(taken.stream, 11, b"too_many_pings"))
        client.send(client.answer(taken.stream, b"taken"))
        client.until_it_leaves()

    scripts = [first]

    def script(client: Client) -> None:
        (scripts.pop() if scripts else answering(h2_peer.echo))(client)

    report, records = play(script, tmp_path, [b"0", b"1", b"2", b"3", b"4"], 3)
    assert outcomes(records) == [Outcome.OK, Outcome.CONNECTION_ERROR, Outcome.CONNECTION_ERROR] + [Outcome.OK] * 2
    assert "too_many_pings" in texts(report)[0]


def test_goaway_on_a_connection_without_calls_leads_to_another(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        call = client.next_call()
        client.send(client.answer(call.stream, b"x"), goaway(call.stream))
        client.until_it_leaves()

    script, made = connections(script)
    with peer(script) as port:
        load = closed(1, total=3, think_ms=20)
        _, records = run(plan(load, endpoint(port, "/test/call", [b"x"]), tmp_path))
    assert list(records.rows["outcome"]) == [Outcome.OK] * 3
    assert len(made) == 3


def test_no_file_descriptor_is_left_open_by_connections_that_break(tmp_path: Path) -> None:
    before = open_files()
    for script in (greet_with_garbage, lambda _: None, breaking(b"\xff" * 40)):
        play(script, tmp_path, [b"x"] * 6, 3)
    assert open_files() == before


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

    client._answered.add(call.stream)
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
    literal = b"\x10\x01x\x02\xff\xfe"
    first = http2.frame(http2.HEADERS, http2.END_HEADERS, call.stream, client.block((*OK_HEADERS, *OK_HEADERS)) + literal)
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
    assert outcomes(records) == [Outcome.OK] * 12
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

    assert outcomes(play(script, tmp_path, [b"x"])[1]) == [Outcome.OK]


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

    requests = [bytes([65 + index]) * (30 * KIB + index) for index in range(3)]
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

    assert outcomes(play(script, tmp_path, [b"x" * 20_000, b"y"], 2)[1]) == [Outcome.OK] * 2


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

    _, records = play(script, tmp_path, [b"x" * 1_000_000, b"y" * 70_000, b"z"], timeout_ns=500 * MS)
    assert outcomes(records) == [Outcome.TIMEOUT, Outcome.OK, Outcome.OK]


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
    assert outcomes(records) == [Outcome.OK] * 60
    assert len(made) == 3


def test_threads_of_the_peer_end(tmp_path: Path) -> None:
    before = threading.active_count()
    play(answering(h2_peer.echo), tmp_path, [b"x"] * 6, 3)
    assert threading.active_count() == before
