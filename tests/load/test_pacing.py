"""When the load engine sends: open and closed loops, connections, the window; with each way to wait."""

import time
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome
from tests.support.load_runs import MS, Server, arrivals, closed, outcomes, outcomes_by_request, plan, post, run
from tuner.load import engine
from tuner.load.plan import OpenLoop
from tuner.load.poller import Poller
from tuner.records import issue_delays_s, latencies_s, service_times_s
from workloads.arrivals import Constant
from workloads.order import Order
from workloads.schedule import make_schedule

# Closed loops.


def test_a_closed_loop_keeps_its_concurrency_in_flight_and_never_more(
    server: Server, tmp_path: Path, poller: Poller
) -> None:
    _, records = run(plan(server.port, closed(7, total=70), tmp_path, ["/slow?10"]), poller)
    assert server.saw()["most_busy"] == 7
    assert outcomes(records) == {Outcome.OK}


def test_a_closed_loop_intends_the_next_request_when_the_answer_came(port: int, tmp_path: Path, poller: Poller) -> None:
    _, records = run(plan(port, closed(1, total=50), tmp_path, ["/ok"]), poller)
    rows = records.rows
    assert len(rows) == 50
    assert np.array_equal(rows["intended_ns"][1:], rows["done_ns"][:-1])


def test_think_time_stands_between_an_answer_and_the_next_request(port: int, tmp_path: Path, poller: Poller) -> None:
    _, records = run(plan(port, closed(1, total=5, think_ms=20), tmp_path, ["/ok"]), poller)
    rows = records.rows
    assert np.array_equal(rows["intended_ns"][1:], rows["done_ns"][:-1] + 20 * MS)
    assert np.all(rows["sent_ns"][1:] >= rows["intended_ns"][1:])


def test_every_item_is_sent_once_when_a_total_is_given_and_answers_are_kept(port: int, tmp_path: Path) -> None:
    paths = [f"/ok?item{index}" for index in range(100)]
    report, records = run(plan(port, closed(8, 100, total=100), tmp_path, paths, keep_answers=True))
    assert sorted(records.rows["request"]) == list(range(100))
    assert {index: answer.rpartition(b"\r\n\r\n")[2].decode() for index, answer in report.answers} == {
        index: f"item{index}" for index in range(100)
    }


def test_a_total_smaller_than_the_concurrency_is_kept(port: int, tmp_path: Path, poller: Poller) -> None:
    report, _ = run(plan(port, closed(8, total=3), tmp_path, ["/ok"]), poller)
    assert report.requests == 3


def test_a_closed_loop_goes_on_at_once_after_a_timeout(port: int, tmp_path: Path, poller: Poller) -> None:
    _, records = run(plan(port, closed(1, total=3), tmp_path, ["/nothing"], timeout_ns=100 * MS), poller)
    pauses_ms = (records.rows["sent_ns"][1:] - records.rows["done_ns"][:-1]) / MS
    assert outcomes(records) == {Outcome.TIMEOUT}
    assert pauses_ms.min() < 10, f"{pauses_ms} ms"


# Open loops.


def test_the_same_seed_sends_the_same_bytes_in_the_same_order(server: Server, tmp_path: Path) -> None:
    requests = [post(f"/ok?{index}", bytes([index]) * 1000) for index in range(10)]
    for _ in range(2):
        schedule = make_schedule(Constant(500.0), 0.2, Order(10), seed=3)
        run(plan(server.port, OpenLoop(schedule, 1), tmp_path, requests))
    saw = server.saw()
    assert saw["paths"] == [f"/ok?{index}" for index in schedule.requests] * 2
    assert saw["bodies"][:100] == saw["bodies"][100:]


def test_an_open_loop_skips_nothing_of_its_schedule(port: int, tmp_path: Path, poller: Poller) -> None:
    schedule = make_schedule(Constant(1000.0), 0.3, Order(1), seed=0)
    made = plan(port, OpenLoop(schedule, 4), tmp_path, ["/slow?20"])
    _, records = run(made, poller)
    assert len(records.rows) == len(schedule) == 300
    assert np.array_equal(np.sort(records.rows["intended_ns"]), made.start_ns + schedule.offsets_ns)
    assert outcomes(records) == {Outcome.OK}


def test_nothing_is_sent_before_it_is_due(port: int, tmp_path: Path, poller: Poller) -> None:
    _, records = run(plan(port, arrivals(list(range(0, 200, 7)), 8), tmp_path, ["/ok"]), poller)
    assert np.all(records.rows["sent_ns"] >= records.rows["intended_ns"])


def test_the_timer_wakes_the_engine_for_what_is_due(
    port: int, tmp_path: Path, poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it requests would wait for the next look for late answers, 5 s later."""
    monkeypatch.setattr(engine, "_SWEEP_NS", 5_000 * MS)
    _, records = run(plan(port, arrivals(list(range(0, 400, 10)), 8), tmp_path, ["/ok"]), poller)
    late_ms = float(np.median(records.rows.elapsed_s("intended_ns", "sent_ns"))) * 1e3
    assert late_ms < 500, f"{poller.pacing}: {late_ms:.3f} ms"


def test_a_stall_of_the_server_counts_in_every_latency_that_it_delayed(
    server: Server, tmp_path: Path, poller: Poller
) -> None:
    """One connection, 100 requests/s, a stall of 1 s: arithmetic says who waits how long; service time hides it."""
    load = arrivals([index * 10 for index in range(200)], 1, [int(index == 50) for index in range(200)])
    made = plan(server.port, load, tmp_path, ["/ok", "/stall?1000"], window_ns=2_000 * MS)
    _, records = run(made, poller)
    rows = records.rows.in_order_of("intended_ns")
    latency = latencies_s(rows)
    stall_end_s = rows["done_ns"][50] / 1e9
    held = rows[np.arange(51, 150)]
    assert np.all(latency[51:150] >= stall_end_s - held["intended_ns"] / 1e9)
    assert latency[50] >= 1.0
    assert np.sum(latency > 0.5) >= 50
    assert np.sum(service_times_s(rows) > 0.5) == 1
    assert float(np.median(issue_delays_s(held))) < 0.1, "waiting for a connection is not the generator's delay"


def test_more_requests_due_than_connections_wait_for_one(server: Server, tmp_path: Path, poller: Poller) -> None:
    report, records = run(plan(server.port, arrivals([0] * 20, 5), tmp_path, ["/slow?20"]), poller)
    assert server.saw()["most_busy"] == 5
    waited = records.rows["ready_ns"] > records.rows["intended_ns"]
    assert int(waited.sum()) >= 15
    assert report.waiting_max >= 15
    assert outcomes(records) == {Outcome.OK}


def test_requests_that_never_get_a_connection_are_dropped(port: int, tmp_path: Path, poller: Poller) -> None:
    made = plan(port, arrivals([0] * 5, 1), tmp_path, ["/nothing"], window_ns=50 * MS, timeout_ns=400 * MS)
    report, records = run(made, poller)
    assert outcomes(records) == {Outcome.TIMEOUT, Outcome.DROPPED}
    assert np.all(np.isinf(latencies_s(records.rows)))
    assert any("no connection became free" in failure.text for failure in report.failures)


def test_the_window_excludes_the_warm_up_without_a_pause_between_them(
    port: int, tmp_path: Path, poller: Poller
) -> None:
    made = plan(port, closed(1), tmp_path, ["/ok"], warmup_ns=500 * MS, window_ns=500 * MS)
    _, records = run(made, poller)
    inside = records.in_window()
    assert 0 < len(inside) < len(records.rows)
    assert made.window[0] <= inside["intended_ns"].min() < inside["intended_ns"].max() < made.window[1]
    rows = records.rows.in_order_of("intended_ns")
    assert rows["intended_ns"][1:].tolist() == rows["done_ns"][:-1].tolist(), "each follows the answer before it"


# Many connections.


def test_a_thousand_idle_connections_do_not_keep_others_from_being_served(
    server: Server, tmp_path: Path, poller: Poller
) -> None:
    """A closed loop of 1,000 slots that think for long: all of them are open, few of them busy."""
    load = closed(1_000, total=3_000, think_ms=500)
    start_ns = time.monotonic_ns() + 1_000 * MS
    _, records = run(plan(server.port, load, tmp_path, ["/ok"], start_ns=start_ns), poller)
    saw = server.saw()
    assert outcomes(records) == {Outcome.OK}
    assert len(records.rows) == 3_000
    assert saw["most_open"] == 1_000
    assert saw["connections"] == 1_000 + 1, "one for each slot, used again and again, and one to ask for the log"


# A new connection for each request.


@pytest.mark.parametrize("load", [closed(5, total=100), arrivals([index * 2 for index in range(100)], 5)])
def test_without_keep_alive_each_request_has_a_connection_of_its_own(
    load: OpenLoop, server: Server, tmp_path: Path, poller: Poller
) -> None:
    _, records = run(plan(server.port, load, tmp_path, ["/ok"], keep_alive=False), poller)
    saw = server.saw()
    assert outcomes(records) == {Outcome.OK}
    assert len(saw["paths"]) == 100
    assert saw["connections"] == 100 + 1, "one for each request, one to ask for the log"


def test_without_keep_alive_the_concurrency_is_kept(server: Server, tmp_path: Path, poller: Poller) -> None:
    run(plan(server.port, closed(7, total=70), tmp_path, ["/slow?20"], keep_alive=False), poller)
    assert server.saw()["most_busy"] == 7


def test_opening_a_connection_is_back_pressure_and_not_the_generators_delay(
    server: Server, tmp_path: Path, poller: Poller
) -> None:
    _, records = run(plan(server.port, closed(1, total=50), tmp_path, ["/ok"], keep_alive=False), poller)
    rows = records.rows
    assert np.all(rows["ready_ns"] > rows["intended_ns"])
    assert np.array_equal(rows["intended_ns"][1:], rows["done_ns"][:-1])
    opening, delay = (rows["ready_ns"] - rows["intended_ns"]) / MS, (rows["sent_ns"] - rows["ready_ns"]) / MS
    assert np.median(delay) < np.median(opening), f"{np.median(delay)} ms, {np.median(opening)} ms"


def test_a_connection_that_served_nothing_does_not_hold_up_the_next_ones(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only many in a row do, when the server is dead; with a pause of an hour no request would get through here."""
    monkeypatch.setattr(engine, "_RECONNECT_PAUSE_NS", 3_600_000 * MS)
    _, records = run(plan(port, closed(2, 2, 60), tmp_path, ["/ok", "/drop"], keep_alive=False, window_ns=5_000 * MS))
    assert outcomes_by_request(records) == {0: {Outcome.OK}, 1: {Outcome.CONNECTION_ERROR}}
    assert len(records.rows) == 60
