"""What a run of the load engine says of itself and leaves behind."""

import errno
import gc
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome, Tls
from tests.support.load_runs import MS, arrivals, closed, collected, open_files, outcomes, plan, run
from tuner.load import engine
from tuner.load.generator import Generator, GeneratorError
from tuner.load.plan import ClassPlan
from tuner.load.poller import Poller
from tuner.load.wire.connection import Connection
from tuner.records import AFTER, WINDOW

# What it says.


def test_each_kind_of_failure_is_reported_once_with_its_first_text(port: int, tmp_path: Path) -> None:
    paths = ["/error", "/error-empty", "/half", "/drop", "/garbage", "/long", "/ok"]
    patient = {"timeout_ns": 60_000 * MS, "window_ns": 120_000 * MS}  # a server that gets no CPU is no other failure
    report, _ = run(plan(port, closed(1, 7, 21), tmp_path, paths, **patient))
    *well_put, malformed = [(failure.outcome, failure.code, failure.text) for failure in report.failures]
    assert well_put == [
        (Outcome.HTTP_ERROR, 503, "busy"),
        (Outcome.HTTP_ERROR, 502, "Bad Gateway"),
        (Outcome.CONNECTION_ERROR, 104, "closed in the middle of an answer"),
    ]
    assert malformed[:2] == (Outcome.MALFORMED, 0)
    assert "no HTTP/1.1 status" in malformed[2]


def test_the_text_of_a_failure_is_no_longer_than_needed(port: int, tmp_path: Path) -> None:
    report, _ = run(plan(port, closed(1, total=1), tmp_path, ["/big"], judge=_judge_nothing_good))
    assert report.failures[0].text == "x" * 200


def _judge_nothing_good(status: int, body: bytes) -> Outcome:
    del status, body
    return Outcome.MALFORMED


def test_the_times_of_a_request_are_in_their_order_however_it_ended(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(2, 4, 40), tmp_path, ["/ok", "/half", "/garbage", "/error"]))
    columns = records.columns
    for earlier, later in (("intended", "ready"), ("ready", "sent"), ("sent", "first"), ("first", "done")):
        assert np.all(columns[f"{earlier}_ns"] <= columns[f"{later}_ns"]), f"{earlier} is after {later}"


def test_bytes_are_counted_in_both_directions(port: int, tmp_path: Path) -> None:
    made = plan(port, closed(1, 2, 4), tmp_path, ["/ok?hello", "/chunked"])
    _, records = run(made)
    plain, chunked = len(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), records.columns["bytes_in"][1]
    assert records.columns["bytes_in"].tolist() == [plain, chunked, plain, chunked]
    assert records.columns["bytes_out"].tolist() == [len(request) for request in made.endpoint.requests] * 2


def test_how_many_requests_waited_at_once_is_reported(port: int, tmp_path: Path) -> None:
    report, _ = run(plan(port, arrivals([0] * 20, 4), tmp_path, ["/slow?10"]))
    assert 16 <= report.waiting_max <= 20
    assert 1 <= report.queue_max <= 20


# What it leaves behind.


def test_a_closed_loop_goes_on_until_the_last_request_of_the_window_has_ended(port: int, tmp_path: Path) -> None:
    """One slot has a slow one all the time; the other has no other reason to stop."""
    made = plan(port, closed(2, 20_000), tmp_path, ["/slow?400", *["/ok"] * 19_999], window_ns=100 * MS)
    _, records = run(made)
    inside, after = (records.rows[records.rows["phase"] == phase] for phase in (WINDOW, AFTER))
    assert inside["intended_ns"].max() < made.window[1] <= after["intended_ns"].min()
    slow = inside["done_ns"].max()
    assert slow >= made.window[1] + 250 * MS
    assert len(after) > 5
    assert np.sum(after["intended_ns"] > slow) <= 2, "one of each slot at most"


MANY_ENDS = [
    "/ok",
    "/chunked",
    "/until-close",
    "/close",
    "/no-content",
    "/error",
    "/half",
    "/drop",
    "/garbage",
    "/long",
]


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_no_file_descriptor_is_left_open(
    port: int, files_before: list[str], tmp_path: Path, keep_alive: bool, poller: Poller
) -> None:
    load = closed(8, len(MANY_ENDS), 10 * len(MANY_ENDS))
    run(plan(port, load, tmp_path, MANY_ENDS, keep_alive=keep_alive), poller)
    assert open_files() == files_before


def test_no_file_descriptor_is_left_open_by_a_plan_that_cannot_run(port: int, tmp_path: Path) -> None:
    before = open_files()
    with pytest.raises(OSError, match="No such file"):
        engine.run(plan(port, closed(1), tmp_path, ["/ok"], tls=Tls(ca=tmp_path / "missing.pem")))
    assert open_files() == before


@pytest.mark.parametrize("path", ["/ok", "/chunked", "/until-close", "/garbage", "/half", "/error"])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "new connections"])
def test_nothing_is_left_for_the_garbage_collector_which_is_off(
    port: int, tmp_path: Path, path: str, keep_alive: bool
) -> None:
    made = plan(port, closed(8, total=200), tmp_path, [path], keep_alive=keep_alive)
    with collected() as objects:
        run(made)
    assert sum(objects) < 100, "more than 200 would be some for each request"


def test_the_garbage_collector_is_on_again_whatever_happened(port: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        engine.run(plan(port, closed(1, total=1), tmp_path, ["/ok"], records_path=tmp_path / "missing" / "records"))
    assert gc.isenabled()


# Plans that cannot run.


def test_a_plan_that_cannot_run_says_why_and_the_next_one_runs(port: int, tmp_path: Path) -> None:
    with Generator() as generator:
        with pytest.raises(GeneratorError, match="No such file"):
            generator.run(plan(port, closed(1), tmp_path, ["/ok"], records_path=tmp_path / "missing" / "records"))
        assert outcomes(generator.run(plan(port, closed(1, total=3), tmp_path, ["/ok"])).records) == {Outcome.OK}


def test_a_host_that_runs_out_of_file_descriptors_ends_the_run_and_says_so(port: int, tmp_path: Path) -> None:
    before = open_files()
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 20, most))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            engine.run(plan(port, closed(50, total=50), tmp_path, ["/ok"]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
    assert open_files() == before


@pytest.mark.parametrize("path", ["/ok", "/close"])
def test_a_host_that_runs_out_of_ports_while_answers_come_ends_the_run_and_says_so(
    port: int, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port that is missing is of the connection that follows one with an answer."""
    made: list[Connection] = []
    usual = Connection.connect

    def connect(self: Connection) -> None:
        made.append(self)
        if len(made) > 3:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        usual(self)

    monkeypatch.setattr(Connection, "connect", connect)
    before = open_files()
    keep_alive = path == "/close"  # then it is the server that ends each connection
    with pytest.raises(OSError, match="Cannot assign requested address on the load generator's host"):
        engine.run(plan(port, closed(1, total=9), tmp_path, [path], keep_alive=keep_alive, timeout_ns=500 * MS))
    assert len(made) == 4
    assert open_files() == before


def test_each_class_of_requests_has_its_timeout_and_stands_in_its_rows(port: int, tmp_path: Path) -> None:
    """A request that takes 3 s is too slow for a class that is waited for 1 s, and not for the other."""
    classes = (ClassPlan(0, 10_000 * MS), ClassPlan(1, 1_000 * MS))
    load = arrivals([0, 1, 2, 3], 4, [0, 1, 0, 2])
    report, records = run(plan(port, load, tmp_path, ["/slow?3000", "/slow?3000", "/ok"], classes=classes))
    found = sorted(zip(*(records.columns[name].tolist() for name in ("request", "class", "outcome")), strict=True))
    assert found == [
        (0, 0, Outcome.OK),
        (0, 0, Outcome.OK),
        (1, 1, Outcome.TIMEOUT),
        (2, 1, Outcome.OK),
    ]
    assert [failure.text for failure in report.failures] == ["no answer within 1 s"]
