"""Whatever an HTTP server does, it is counted under its kind, the run ends, and the others are served."""

import socket
from pathlib import Path
from typing import Never

import numpy as np
import pytest

from targets.base import Endpoint, Outcome
from tests.support.load_runs import (
    MS,
    Server,
    answering,
    arrivals,
    closed,
    deaf_server,
    get,
    judge,
    outcomes,
    outcomes_by_request,
    plan,
    post,
    run,
)
from tests.support.peak_memory import measured
from tuner.load.plan import ClosedLoop, OpenLoop
from tuner.load.poller import Poller
from tuner.load.wire.connection import READABLE, resolved
from tuner.load.wire.http1 import Http1Connection

GOOD = {
    "/ok": b"ok",
    "/drip": b"ok",
    "/big": b"x" * 4194304,
    "/close": b"ok",
    "/until-close": b"to the end",
    "/no-content": b"",
    "/interim": b"ok",
    "/interim-apart": b"ok",
    "/chunked": b"hello, world",
    "/chunked-drip": b"hello, world",
    "/chunked-apart": b"hello, world",
    "/chunk-extensions": b"hello, world",
    "/chunk-trailers": b"hello, world",
    "/chunk-empty": b"",
}
BAD = {
    "/error": (Outcome.HTTP_ERROR, 503, "busy"),
    "/error-empty": (Outcome.HTTP_ERROR, 502, "Bad Gateway"),
    "/too-large": (Outcome.HTTP_ERROR, 413, "too large"),
    "/half": (Outcome.CONNECTION_ERROR, 104, "closed in the middle of an answer"),
    "/drop": (Outcome.CONNECTION_ERROR, 104, "closed without an answer"),
    "/interim-only": (Outcome.CONNECTION_ERROR, 104, "closed without an answer"),
    "/chunk-cut": (Outcome.CONNECTION_ERROR, 104, "closed in the middle of an answer"),
    "/garbage": (Outcome.MALFORMED, 0, "no HTTP/1.1 status"),
    "/long": (Outcome.MALFORMED, 0, "9 bytes more than the answer's length"),
    "/bad-length": (Outcome.MALFORMED, 0, "'-2'"),
    "/endless-head": (Outcome.MALFORMED, 0, "not the head of an HTTP/1.1 answer"),
    "/chunk-too-long": (Outcome.MALFORMED, 0, "a chunk is longer than its size"),
    "/chunk-bad-size": (Outcome.MALFORMED, 0, "not a chunk's size"),
    "/chunk-after": (Outcome.MALFORMED, 0, "bytes after the last chunk"),
    "/nothing": (Outcome.TIMEOUT, 0, "no answer within 0.2 s"),
}


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_an_answer_is_read_to_its_end_and_judged(port: int, tmp_path: Path, path: str, keep_alive: bool) -> None:
    made = plan(port, closed(3, total=12), tmp_path, [path], keep_answers=True, keep_alive=keep_alive)
    report, records = run(made)
    assert outcomes(records) == {Outcome.OK}, report.failures
    assert len(records.rows) == 12
    assert {answer.partition(b"\r\n\r\n")[2] for _, answer in report.answers} == {GOOD[path]}
    assert report.failures == ()


@pytest.mark.parametrize("path", BAD)
def test_each_way_to_fail_is_counted_under_its_kind(port: int, tmp_path: Path, path: str, poller: Poller) -> None:
    outcome, code, text = BAD[path]
    report, records = run(plan(port, closed(3, total=12), tmp_path, [path], timeout_ns=_patience(path)), poller)
    assert [Outcome(value) for value in records.columns["outcome"]] == [outcome] * 12
    assert set(records.columns["code"]) == {code}
    (failure,) = report.failures
    assert (failure.outcome, failure.code) == (outcome, code)
    assert text in failure.text


@pytest.mark.parametrize("path", BAD)
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_a_failing_request_among_good_ones_fails_alone(port: int, tmp_path: Path, path: str, keep_alive: bool) -> None:
    paths = [*["/ok"] * 5, path]
    made = plan(port, closed(3, 6, 36), tmp_path, paths, keep_alive=keep_alive, timeout_ns=_patience(path))
    _, records = run(made)
    assert len(records.rows) == 36
    assert outcomes_by_request(records) == {index: {Outcome.OK} for index in range(5)} | {5: {BAD[path][0]}}


def _patience(path: str) -> int:
    return 200 * MS if path == "/nothing" else 10_000 * MS


def test_the_answer_begins_with_its_head_and_not_with_what_is_sent_before_it(tmp_path: Path) -> None:
    """103 Early Hints come 100 ms before the answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    with answering([b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.1, head, 0.1, b"ok"]) as port:
        _, records = run(plan(port, closed(1, total=1), tmp_path, ["/"]))
    (first_ms,) = (records.columns["first_ns"] - records.columns["sent_ns"]) / MS
    (done_ms,) = (records.columns["done_ns"] - records.columns["sent_ns"]) / MS
    assert first_ms >= 100
    assert done_ms >= 200
    assert done_ms > first_ms


# Requests.


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_a_large_request_arrives_as_it_was(server: Server, tmp_path: Path, keep_alive: bool, poller: Poller) -> None:
    requests = [post("/ok", bytes([index]) * (16 << 20)) for index in range(2)]
    _, records = run(plan(server.port, closed(2, 2, 8), tmp_path, requests, keep_alive=keep_alive), poller)
    assert outcomes(records) == {Outcome.OK}
    assert len(set(server.saw()["bodies"])) == 2


def test_an_answer_that_comes_before_the_request_was_sent_counts(port: int, tmp_path: Path, poller: Poller) -> None:
    """The server refuses 32 MiB at their head and closes the connection while they are on their way."""
    requests = [post("/too-large", b"x" * (32 << 20)), get("/ok")]
    report, records = run(plan(port, closed(2, 2, 20), tmp_path, requests), poller)
    assert outcomes_by_request(records) == {0: {Outcome.HTTP_ERROR}, 1: {Outcome.OK}}, report.failures
    assert set(records.columns["code"]) == {413, 200}


# Connections.


def test_connections_that_stay_open_are_used_again(server: Server, tmp_path: Path, poller: Poller) -> None:
    run(plan(server.port, closed(4, 3, 120), tmp_path, ["/ok", "/chunked", "/no-content"]), poller)
    assert server.saw()["connections"] == 4 + 1


def test_every_tenth_connection_that_is_dropped_costs_one_request(server: Server, tmp_path: Path) -> None:
    _, records = run(plan(server.port, closed(2, total=100), tmp_path, ["/tenth"], keep_alive=False))
    counts = np.bincount(records.columns["outcome"], minlength=len(Outcome))
    assert (counts[Outcome.OK], counts[Outcome.CONNECTION_ERROR]) == (90, 10)


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced(
    port: int, tmp_path: Path, poller: Poller
) -> None:
    """The server closes after 1 ms, requests come every 500 ms: each finds its connection gone and opens another."""
    load = arrivals([0, 500, 1000], 1)
    report, records = run(plan(port, load, tmp_path, ["/idle?1"], window_ns=1_500 * MS), poller)
    assert outcomes(records) == {Outcome.OK}, report.failures
    rows = records.rows.in_order_of("intended_ns")
    assert np.all(rows["ready_ns"][1:] > rows["intended_ns"][1:]), "the time to open it is the server's doing"


@pytest.mark.parametrize("load", [closed(4), arrivals(list(range(0, 100, 5)), 8)])
def test_a_server_that_is_not_there_gives_connection_errors_and_an_end(
    tmp_path: Path, load: ClosedLoop | OpenLoop, poller: Poller
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and nobody listens
        made = plan(nobody.getsockname()[1], load, tmp_path, ["/ok"], window_ns=100 * MS, timeout_ns=2_000 * MS)
        report, records = run(made, poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert report.failures[0].text == "Connection refused"
    assert isinstance(load, ClosedLoop) or len(records.rows) == len(load.schedule)


@pytest.mark.parametrize("load", [closed(4), arrivals(list(range(0, 100, 5)), 8)])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_a_server_that_closes_what_it_accepts_gives_connection_errors_and_an_end(
    shared_server: Server, tmp_path: Path, load: ClosedLoop | OpenLoop, keep_alive: bool, poller: Poller
) -> None:
    made = plan(shared_server.slamming_port, load, tmp_path, ["/ok"], keep_alive=keep_alive, window_ns=200 * MS)
    _, records = run(made, poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert isinstance(load, ClosedLoop) or len(records.rows) == len(load.schedule)


def test_a_dead_server_is_not_hammered(tmp_path: Path) -> None:
    _, records = run(plan(1, closed(4), tmp_path, ["/ok"], window_ns=500 * MS))
    assert len(records.rows) < 4 * 100


def test_a_server_that_does_not_accept_makes_requests_time_out(tmp_path: Path, poller: Poller) -> None:
    with deaf_server() as port:
        made = plan(port, arrivals([0] * 4, 4), tmp_path, ["/ok"], window_ns=1_000 * MS, timeout_ns=200 * MS)
        report, records = run(made, poller)
    assert outcomes(records) == {Outcome.TIMEOUT}, report.failures
    assert report.failures[0].text == "the connection did not open in time"


def test_an_event_of_an_earlier_connection_with_the_same_number_does_not_open_a_new_one() -> None:
    with deaf_server() as port:
        site = resolved(Endpoint("127.0.0.1", port, (get("/"),), judge), 10_000 * MS)
        connection = Http1Connection(site, _Untold(), keep_alive=True)
        connection.connect()
        connection.on_event(READABLE)
        assert not connection.is_open
        connection.close()


class _Untold:
    """An engine that is told nothing."""

    def __getattr__(self, name: str) -> Never:
        raise AssertionError(f"{name} was called")


# Addresses.


def _named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every name two addresses; on the first nobody listens."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_a_name_of_several_addresses_stands_for_one_that_is_served(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _named(port, monkeypatch)
    report, records = run(plan(port, closed(2, total=6), tmp_path, ["/ok"], host="twofold.invalid"))
    assert outcomes(records) == {Outcome.OK}, report.failures


def test_of_several_addresses_a_server_that_is_busy_is_taken_before_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with deaf_server() as port:
        _named(port, monkeypatch)
        assert resolved(Endpoint("twofold.invalid", port, (get("/"),), judge), MS).address == ("127.0.0.1", port)


def test_of_several_addresses_that_are_not_served_the_first_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _named(1, monkeypatch)
    assert resolved(Endpoint("twofold.invalid", 1, (get("/"),), judge), MS).address == ("127.0.0.2", 1)
    _, records = run(plan(1, closed(1, total=2), tmp_path, ["/ok"], host="twofold.invalid"))
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}


# Judges.


def _judge_that_raises(status: int, body: bytes) -> Outcome:
    if body == b"ok":
        return Outcome.OK
    raise KeyError(f"no output in an answer with status {status}")


@pytest.mark.parametrize("path", ["/ok?strange", "/chunked", "/until-close"])
def test_an_answer_that_the_judge_cannot_read_is_malformed_and_the_run_goes_on(
    port: int, tmp_path: Path, path: str
) -> None:
    report, records = run(plan(port, closed(2, 2, 40), tmp_path, [path, "/ok"], judge=_judge_that_raises))
    assert len(records.rows) == 40
    assert outcomes_by_request(records) == {0: {Outcome.MALFORMED}, 1: {Outcome.OK}}
    assert "KeyError('no output in an answer with status 200')" in report.failures[0].text


# Memory.


@pytest.mark.parametrize("path", ["/huge?100", "/huge-chunked?100"])
def test_many_huge_answers_take_no_more_memory_than_one(port: int, tmp_path: Path, path: str) -> None:
    measure = measured(port, tmp_path, path, total=8)
    assert measure["outcomes"] == ["OK"]
    assert measure["requests"] == 8
    assert measure["peak_mib"] < 400, "an answer of 100 MiB, and copies of it"
