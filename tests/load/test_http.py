"""Whatever an HTTP server does, it is counted under its kind, the run ends, and the others are served."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome, Tls
from tests.support.load_runs import (
    MS,
    Server,
    arrivals,
    closed,
    collected,
    get,
    open_files,
    outcomes,
    outcomes_by_request,
    plan,
    post,
    run,
)
from tests.support.peak_memory import measured
from tuner.load import engine
from tuner.load.plan import ClosedLoop, OpenLoop
from tuner.load.poller import Poller

GOOD = {
    "/ok": b"ok",
    "/drip": b"ok",
    "/big": b"x" * 4194304,
    "/close": b"ok",
    "/idle?20": b"ok",
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
    made = plan(port, closed(3, 6, 36), tmp_path, [*["/ok"] * 5, path], timeout_ns=_patience(path))
    _, records = run(made)
    assert len(records.rows) == 36
    assert outcomes_by_request(records) == {index: {Outcome.OK} for index in range(5)} | {5: {BAD[path][0]}}


def _patience(path: str) -> int:
    return 200 * MS if path == "/nothing" else 10_000 * MS


def test_each_kind_of_failure_is_reported_once_with_its_first_text(port: int, tmp_path: Path) -> None:
    paths = ["/error", "/error-empty", "/half", "/drop", "/garbage", "/long", "/ok"]
    report, _ = run(plan(port, closed(1, 7, 70), tmp_path, paths))
    assert [(failure.outcome, failure.code, failure.text) for failure in report.failures] == [
        (Outcome.HTTP_ERROR, 503, "busy"),
        (Outcome.HTTP_ERROR, 502, "Bad Gateway"),
        (Outcome.CONNECTION_ERROR, 104, "closed in the middle of an answer"),
        (Outcome.MALFORMED, 0, report.failures[3].text),
    ]
    assert "no HTTP/1.1 status" in report.failures[3].text


def test_a_failure_stands_at_its_time(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(2, 4, 40), tmp_path, ["/ok", "/half", "/garbage", "/error"]))
    rows = records.rows
    assert np.all(rows["intended_ns"] <= rows["ready_ns"])
    assert np.all(rows["ready_ns"] <= rows["sent_ns"])
    assert np.all(rows["sent_ns"] <= rows["first_ns"])
    assert np.all(rows["first_ns"] <= rows["done_ns"])


def test_the_answer_begins_with_its_head_and_not_with_what_is_sent_before_it(tmp_path: Path) -> None:
    """103 Early Hints come 100 ms before the answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    with _answering([b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.1, head, 0.1, b"ok"]) as port:
        _, records = run(plan(port, closed(1, total=1), tmp_path, ["/"]))
    (first_ms,), (done_ms,) = ((records.columns[name] - records.columns["sent_ns"]) / MS for name in ("first_ns", "done_ns"))
    assert first_ms >= 100
    assert done_ms >= first_ms + 90


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
    """The server closes after 20 ms, requests come every 150 ms: each finds its connection gone and opens another."""
    load = arrivals([index * 150 for index in range(5)], 1)
    report, records = run(plan(port, load, tmp_path, ["/idle?20"], window_ns=1_000 * MS), poller)
    assert outcomes(records) == {Outcome.OK}, report.failures
    rows = records.rows.in_order_of("intended_ns")
    assert np.all(rows["ready_ns"][1:] > rows["intended_ns"][1:]), "the time to open it is the server's doing"


@pytest.mark.parametrize("load", [closed(4), arrivals(list(range(0, 100, 5)), 8)])
def test_a_server_that_is_not_there_gives_connection_errors_and_an_end(
    tmp_path: Path, load: ClosedLoop | OpenLoop, poller: Poller
) -> None:
    report, records = run(plan(1, load, tmp_path, ["/ok"], window_ns=100 * MS, timeout_ns=200 * MS), poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert report.failures[0].text == "Connection refused"
    assert isinstance(load, ClosedLoop) or len(records.rows) == len(load.schedule)


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_a_server_that_closes_what_it_accepts_gives_connection_errors_and_an_end(
    shared_server: Server, tmp_path: Path, keep_alive: bool, poller: Poller
) -> None:
    load = arrivals(list(range(0, 100, 5)), 8)
    made = plan(shared_server.slamming_port, load, tmp_path, ["/ok"], keep_alive=keep_alive, window_ns=200 * MS)
    _, records = run(made, poller)
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}
    assert len(records.rows) == 20


def test_a_dead_server_is_not_hammered(tmp_path: Path) -> None:
    _, records = run(plan(1, closed(4), tmp_path, ["/ok"], window_ns=500 * MS))
    assert len(records.rows) < 4 * 100


def test_a_server_that_does_not_accept_makes_requests_time_out(tmp_path: Path, poller: Poller) -> None:
    """Its queue of connections is full; further ones are not answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.1)
        made = plan(address[1], arrivals([0] * 4, 4), tmp_path, ["/ok"], window_ns=50 * MS, timeout_ns=200 * MS)
        report, records = run(made, poller)
        for filler in fillers:
            filler.close()
    assert outcomes(records) == {Outcome.TIMEOUT}, report.failures
    assert report.failures[0].text == "the connection did not open in time"


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


# What a run leaves behind.


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_no_file_descriptor_is_left_open_by_a_run_full_of_failures(
    port: int, tmp_path: Path, keep_alive: bool, poller: Poller
) -> None:
    paths = [path for path in BAD if path != "/nothing"] + list(GOOD)
    run(plan(port, closed(8, len(paths), 4 * len(paths)), tmp_path, paths, keep_alive=keep_alive), poller)
    assert [name for name in open_files() if name.startswith(("socket", "anon_inode"))] == []


def test_no_file_descriptor_is_left_open_by_a_plan_that_cannot_run(port: int, tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(OSError, match="No such file"):
        engine.run(plan(port, closed(1), tmp_path, ["/ok"], tls=Tls(ca=tmp_path / "missing.pem")))
    assert open_files() == before


@pytest.mark.parametrize("path", ["/huge?100", "/huge-chunked?100"])
def test_many_huge_answers_take_no_more_memory_than_one(port: int, tmp_path: Path, path: str) -> None:
    measure = measured(port, tmp_path, path, total=8)
    assert measure["outcomes"] == ["OK"]
    assert measure["requests"] == 8
    assert measure["peak_mib"] < 400, "an answer of 100 MiB, and copies of it"


@pytest.mark.parametrize("path", ["/ok", "/chunked", "/until-close", "/garbage", "/half", "/error"])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_a_run_leaves_nothing_for_the_garbage_collector_which_is_off(
    port: int, tmp_path: Path, path: str, keep_alive: bool
) -> None:
    made = plan(port, closed(8, total=200), tmp_path, [path], keep_alive=keep_alive)
    with collected() as objects:
        run(made)
    assert sum(objects) < 100, "more than 200 would be some for each request"


@contextmanager
def _answering(script: list[bytes | float]) -> Iterator[int]:
    """Serve one connection: pieces of an answer and pauses in seconds, after its request came."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            for step in script:
                if isinstance(step, float):
                    time.sleep(step)
                else:
                    connection.sendall(step)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()
