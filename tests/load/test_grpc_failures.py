"""gRPC calls of the load engine against an HTTP/2 server that does what no good one would."""

import socket
import struct
import threading
from pathlib import Path

import pytest

from targets.base import Outcome
from tests.support import h2_peer
from tests.support.grpc_runs import all_once, by_request, connections, each_outcome, endpoint, plan, play, texts
from tests.support.h2_peer import (
    OK_HEADERS,
    Answer,
    Call,
    Client,
    Script,
    answering,
    data,
    goaway,
    message_of,
    peer,
)
from tests.support.load_runs import MS, closed, open_files, run
from tuner.load.wire import http2

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
    assert each_outcome(records) == [Outcome.MALFORMED] * 2


def test_settings_that_never_come_are_a_timeout(tmp_path: Path) -> None:
    _, records = play(Client.until_it_leaves, tmp_path, [b"x"], timeout_ns=200 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT]


def test_a_connection_closed_at_once_is_a_connection_error(tmp_path: Path) -> None:
    _, records = play(lambda _: None, tmp_path, [b"x"] * 2)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR] * 2


def test_a_connection_reset_right_after_its_settings_fails_its_calls_and_ends_the_run(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.greet()

    _, records = play(script, tmp_path, [b"x"] * 12, 6)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR] * 12


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
        client.ended(call.stream)
        return first + data(call.stream, body, http2.END_STREAM)

    return answer


def endless_message(client: Client, call: Call) -> bytes:
    client.ended(call.stream)
    return client.headers(call.stream, OK_HEADERS) + data(call.stream, b"\0\xff\xff\xff\xff" + b"x" * 100)


def no_trailers(client: Client, call: Call) -> bytes:
    client.ended(call.stream)
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
    "a message beyond all bounds": (endless_message, Outcome.MALFORMED, 0),
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
    assert each_outcome(records) == [Outcome.OK, Outcome.MALFORMED, Outcome.OK, Outcome.OK]
    assert "no number" in texts(report)[0]


def test_a_message_whose_tokens_cannot_be_told_fails_its_call_alone(tmp_path: Path) -> None:
    _, records = play(answering(h2_peer.echo), tmp_path, [b"1", b"one", b"2", b"3"], 2, tokens=int)
    assert each_outcome(records) == [Outcome.OK, Outcome.MALFORMED, Outcome.OK, Outcome.OK]


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
    _, records = play(script, tmp_path, [b"late", b"x", b"y"], timeout_ns=1_000 * MS)
    assert each_outcome(records) == [Outcome.TIMEOUT, Outcome.OK, Outcome.OK]
    assert len(made) == 1


def test_a_refused_call_is_sent_again(tmp_path: Path) -> None:
    """REFUSED_STREAM: the server has not looked at it. grpcio's servers say so when a stream just ended."""

    def script(client: Client) -> None:
        client.greet()
        client.send(client.reset(client.next_call().stream, http2.REFUSED_STREAM))
        while True:
            h2_peer.echo(client, client.next_call())

    report, records = play(script, tmp_path, [b"x", b"y"], keep_answers=True)
    assert each_outcome(records) == [Outcome.OK] * 2
    assert report.answers == ((0, b"x"), (1, b"y"))


def test_a_call_refused_again_and_again_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.load.wire.grpc.REFUSAL_PATIENCE_NS", 100 * MS)

    def refuse(client: Client, call: Call) -> None:
        client.send(client.reset(call.stream, http2.REFUSED_STREAM))

    _, records = play(answering(refuse), tmp_path, [b"x", b"y"], 2)
    assert by_request(records) == [(Outcome.GRPC_ERROR, 14)] * 2


# -- the connection fails --


UNENDING = http2.frame(http2.HEADERS, 0, 1, b"\x88") + http2.frame(http2.CONTINUATION, 0, 1, bytes(16384)) * 80


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
        breaking(UNENDING),
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
    assert each_outcome(records) == [Outcome.MALFORMED] * 2


def test_answers_before_the_garbage_count(tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        one, _ = client.next_calls(2)
        client.send(client.answer(one.stream, b"fine"), b"\xff\xff\xff garbage garbage garbage")
        client.until_it_leaves()

    _, records = play(script, tmp_path, [b"x"] * 2, 2)
    assert sorted(each_outcome(records)) == [Outcome.OK, Outcome.MALFORMED]


@pytest.mark.parametrize("part", [0, 5, 12, 40])
def test_a_connection_closed_in_the_middle_of_an_answer_is_a_connection_error(part: int, tmp_path: Path) -> None:
    def script(client: Client) -> None:
        client.greet()
        client.send(client.answer(client.next_call().stream, b"x" * 100)[:part])

    _, records = play(script, tmp_path, [b"x"] * 2)
    assert each_outcome(records) == [Outcome.CONNECTION_ERROR] * 2


def test_after_goaway_a_slow_call_does_not_hold_the_places_of_those_that_ended(tmp_path: Path) -> None:
    others_served = threading.Semaphore(0)

    def first(client: Client) -> None:
        client.greet()
        one, two, slow = client.next_calls(3)
        client.send(goaway(slow.stream), client.answer(one.stream, b"1"), client.answer(two.stream, b"2"))
        for _ in range(3):
            assert others_served.acquire(timeout=10)
        client.send(client.answer(slow.stream, b"slow"))
        client.until_it_leaves()

    def answer(client: Client, call: h2_peer.Call) -> None:
        client.send(client.answer(call.stream, b"x"))
        others_served.release()

    scripts = [first]

    def script(client: Client) -> None:
        (scripts.pop() if scripts else answering(answer))(client)

    _, records = play(script, tmp_path, [b"x"] * 6, 3)
    assert each_outcome(records) == [Outcome.OK] * 6


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
