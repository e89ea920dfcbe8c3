"""The load engine against a server that answers as its script says."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from targets.base import Endpoint, Outcome
from targets.triton.judge import judge
from tests.support import scripted_server
from tuner.load import engine
from tuner.load.generator import Generator, GeneratorError
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, RunReport
from tuner.records import Records, issue_delays_s, latencies_s, read_records, service_times_s
from workloads.arrivals import Constant
from workloads.schedule import Schedule, make_schedule

MS = 1_000_000


@pytest.fixture
def port() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, scripted_server.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.kill()
    process.communicate()


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def plan(port: int, load: ClosedLoop | OpenLoop, folder: Path, paths: list[str], **changes: object) -> Plan:
    values = {
        "start_ns": time.monotonic_ns() + 20 * MS,
        "warmup_ns": 0,
        "window_ns": (20_000 if isinstance(load, ClosedLoop) and load.total else 300) * MS,
        "timeout_ns": 500 * MS,
        "records_path": folder / "records.bin",
    } | changes
    endpoint = Endpoint("127.0.0.1", port, tuple(request(path) for path in paths), judge)
    return Plan(endpoint=endpoint, load=load, **values)


def run(made: Plan) -> tuple[RunReport, Records]:
    report = engine.run(made)
    return report, read_records(made.records_path, made.window)


def closed(concurrency: int, requests: int = 1, total: int | None = None, think_ms: int = 0) -> ClosedLoop:
    return ClosedLoop(concurrency, np.arange(requests, dtype=np.int32), think_ms * MS, total)


def served(port: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log") as answer:
        return json.loads(answer.read())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def outcomes(records: Records) -> set[Outcome]:
    return {Outcome(value) for value in records.rows["outcome"]}


def test_a_closed_loop_keeps_its_concurrency_in_flight_and_never_more(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(7), tmp_path, ["/slow?10"]))
    assert served(port)["most_busy"] == 7
    assert outcomes(records) == {Outcome.OK}


def test_a_closed_loop_intends_the_next_request_when_the_answer_came(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(1), tmp_path, ["/ok"]))
    rows = records.rows
    assert len(rows) > 10
    assert np.array_equal(rows["intended_ns"][1:], rows["done_ns"][:-1])


def test_think_time_stands_between_an_answer_and_the_next_request(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(1, think_ms=20), tmp_path, ["/ok"]))
    rows = records.rows
    assert len(rows) > 3
    assert np.array_equal(rows["intended_ns"][1:], rows["done_ns"][:-1] + 20 * MS)
    assert np.all(rows["sent_ns"][1:] >= rows["intended_ns"][1:])


def test_every_item_is_sent_once_when_a_total_is_given_and_answers_are_kept(port: int, tmp_path: Path) -> None:
    paths = [f"/ok?item{index}" for index in range(100)]
    report, records = run(plan(port, closed(8, 100, total=100), tmp_path, paths, keep_answers=True))
    assert sorted(records.rows["request"]) == list(range(100))
    assert {index: answer.rpartition(b"\r\n\r\n")[2].decode() for index, answer in report.answers} == {
        index: f"item{index}" for index in range(100)
    }


def test_the_same_seed_sends_the_same_requests_in_the_same_order(port: int, tmp_path: Path) -> None:
    paths = [f"/ok?{index}" for index in range(10)]
    sent = []
    for _ in range(2):
        schedule = make_schedule(Constant(500.0), 0.2, 10, seed=3)
        before = len(served(port)["paths"])
        run(plan(port, OpenLoop(schedule, 1), tmp_path, paths))
        sent.append([path for path in served(port)["paths"][before:] if path != "/log"])
        assert sent[-1] == [f"/ok?{index}" for index in schedule.requests]
    assert sent[0] == sent[1]


def test_an_open_loop_skips_nothing_of_its_schedule(port: int, tmp_path: Path) -> None:
    schedule = make_schedule(Constant(1000.0), 0.3, 1, seed=0)
    made = plan(port, OpenLoop(schedule, 4), tmp_path, ["/slow?20"])
    _, records = run(made)
    assert len(records.rows) == len(schedule) == 300
    assert np.array_equal(np.sort(records.rows["intended_ns"]), made.start_ns + schedule.offsets_ns)


def test_a_stall_of_the_server_counts_in_every_latency_that_it_delayed(port: int, tmp_path: Path) -> None:
    """One connection, 100 requests/s, a stall of 1 s: arithmetic says who waits how long; service time hides it."""
    offsets = (np.arange(200) * 10 * MS).astype(np.int64)
    requests = np.array([1 if index == 50 else 0 for index in range(200)], dtype=np.int32)
    load = OpenLoop(Schedule(offsets, requests), 1)
    made = plan(port, load, tmp_path, ["/ok", "/stall?1000"], window_ns=2_000 * MS, timeout_ns=5_000 * MS)
    _, records = run(made)
    rows = records.rows.in_order_of("intended_ns")
    latency = latencies_s(rows)
    stall_end_s = rows["done_ns"][50] / 1e9
    held = rows[np.arange(51, 150)]
    assert np.all(latency[51:150] >= stall_end_s - held["intended_ns"] / 1e9)
    assert latency[50] >= 1.0
    assert np.sum(latency > 0.5) >= 50
    assert np.sum(service_times_s(rows) > 0.5) == 1
    assert float(np.median(issue_delays_s(held))) < 0.1, "waiting for a connection is not the generator's delay"


def test_more_requests_due_than_connections_wait_for_one(port: int, tmp_path: Path) -> None:
    offsets = np.zeros(20, dtype=np.int64)
    load = OpenLoop(Schedule(offsets, np.zeros(20, dtype=np.int32)), 5)
    _, records = run(plan(port, load, tmp_path, ["/slow?20"]))
    assert served(port)["most_busy"] == 5
    waited = records.rows["ready_ns"] > records.rows["intended_ns"]
    assert int(waited.sum()) >= 15
    assert outcomes(records) == {Outcome.OK}


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/ok", Outcome.OK),
        ("/drip", Outcome.OK),
        ("/big", Outcome.OK),
        ("/close", Outcome.OK),
        ("/error", Outcome.HTTP_ERROR),
        ("/half", Outcome.CONNECTION_ERROR),
        ("/drop", Outcome.CONNECTION_ERROR),
        ("/garbage", Outcome.MALFORMED),
        ("/long", Outcome.MALFORMED),
        ("/nothing", Outcome.TIMEOUT),
    ],
)
def test_each_way_to_answer_is_counted_under_its_kind(path: str, outcome: Outcome, port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(3, 1, total=12), tmp_path, [path], timeout_ns=150 * MS))
    assert [Outcome(value) for value in records.rows["outcome"]] == [outcome] * 12


def test_an_error_keeps_its_status(port: int, tmp_path: Path) -> None:
    _, records = run(plan(port, closed(1, 1, total=2), tmp_path, ["/error"]))
    assert list(records.rows["code"]) == [503, 503]


def test_a_failing_request_among_good_ones_fails_alone(port: int, tmp_path: Path) -> None:
    paths = ["/ok", "/garbage", "/ok", "/drop", "/ok", "/ok"]
    _, records = run(plan(port, closed(2, 6, total=60), tmp_path, paths))
    by_request = {index: set(records.rows["outcome"][records.rows["request"] == index]) for index in range(6)}
    assert by_request == {0: {0}, 1: {Outcome.MALFORMED}, 2: {0}, 3: {Outcome.CONNECTION_ERROR}, 4: {0}, 5: {0}}


def test_a_server_that_is_not_there_gives_connection_errors_and_an_end(tmp_path: Path) -> None:
    _, records = run(plan(1, closed(4), tmp_path, ["/ok"], window_ns=100 * MS))
    assert outcomes(records) == {Outcome.CONNECTION_ERROR}


def test_an_open_loop_against_nobody_records_every_request_as_failed(tmp_path: Path) -> None:
    schedule = make_schedule(Constant(200.0), 0.1, 1, seed=0)
    _, records = run(plan(1, OpenLoop(schedule, 8), tmp_path, ["/ok"], window_ns=100 * MS, timeout_ns=100 * MS))
    assert len(records.rows) == 20
    assert outcomes(records) <= {Outcome.CONNECTION_ERROR, Outcome.DROPPED}


def test_requests_that_never_get_a_connection_are_dropped(port: int, tmp_path: Path) -> None:
    load = OpenLoop(Schedule(np.zeros(5, dtype=np.int64), np.zeros(5, dtype=np.int32)), 1)
    made = plan(port, load, tmp_path, ["/nothing"], window_ns=50 * MS, timeout_ns=400 * MS)
    _, records = run(made)
    assert sorted(records.rows["outcome"])[-1] == Outcome.DROPPED
    assert np.all(np.isinf(latencies_s(records.rows)))


def test_no_file_descriptor_is_left_open_by_a_run_full_of_failures(port: int, tmp_path: Path) -> None:
    before = open_files()
    run(plan(port, closed(8, 4, total=80), tmp_path, ["/ok", "/garbage", "/drop", "/close"]))
    assert open_files() == before


def test_the_window_excludes_the_warm_up_without_a_pause_between_them(port: int, tmp_path: Path) -> None:
    made = plan(port, closed(1), tmp_path, ["/ok"], warmup_ns=100 * MS, window_ns=100 * MS)
    _, records = run(made)
    inside = records.in_window()
    assert 0 < len(inside) < len(records.rows)
    assert made.window[0] <= inside["intended_ns"].min() < inside["intended_ns"].max() < made.window[1]
    gaps = np.diff(np.sort(records.rows["sent_ns"]))
    assert gaps.max() < 90 * MS


def test_the_generator_runs_plans_in_a_process_of_its_own(port: int, tmp_path: Path) -> None:
    with Generator() as generator:
        made = plan(port, closed(2), tmp_path, ["/ok"])
        report = generator.run(made)
        assert generator.pid != os.getpid()
    assert report.requests == len(read_records(made.records_path, made.window).rows) > 0
    assert 0 < report.cpu_share <= 1.1


def test_a_plan_that_cannot_run_says_why_and_the_next_one_runs(port: int, tmp_path: Path) -> None:
    with Generator() as generator:
        with pytest.raises(GeneratorError, match="No such file"):
            generator.run(plan(port, closed(1), tmp_path, ["/ok"], records_path=tmp_path / "missing" / "r.bin"))
        assert generator.run(plan(port, closed(1), tmp_path, ["/ok"])).requests > 0


def test_a_generator_that_was_killed_is_started_anew(port: int, tmp_path: Path) -> None:
    with Generator() as generator:
        os.kill(generator.pid, 9)
        with pytest.raises(GeneratorError, match="ended with exit code"):
            generator.run(plan(port, closed(1), tmp_path, ["/ok"]))
        assert generator.run(plan(port, closed(1), tmp_path, ["/ok"])).requests > 0
