"""The load generator's processes: plans dealt out, run side by side, put together again."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from targets.base import Endpoint, Outcome
from tests.support.load_runs import ends_behind_window
from tuner.load.generator import Generator, GeneratorError, LoadRun
from tuner.load.null_server import NullServer
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, Rewindow
from workloads.arrivals import Poisson
from workloads.order import Order
from workloads.schedule import make_schedule

MS = 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[NullServer]:
    with NullServer() as made:
        yield made


def plan(endpoint: Endpoint, load: ClosedLoop | OpenLoop, folder: Path, window_ms: int = 300) -> Plan:
    return Plan(
        endpoint=endpoint,
        load=load,
        start_ns=time.monotonic_ns() + 50 * MS,
        warmup_ns=0,
        window_ns=window_ms * MS,
        timeout_ns=10_000 * MS,
        records_path=folder / "records.bin",
    )


def closed(concurrency: int, total: int | None = None) -> ClosedLoop:
    return ClosedLoop(concurrency, np.arange(1, dtype=np.int32), total=total)


def workers(run: LoadRun) -> set[int]:
    return set(run.records.rows["worker"].tolist())


def test_the_processes_of_an_open_loop_together_send_the_schedule(server: NullServer, tmp_path: Path) -> None:
    schedule = make_schedule(Poisson(2000.0), 0.3, Order(1), seed=4)
    with Generator(processes=3) as generator:
        made = plan(server.endpoint, OpenLoop(schedule, 30), tmp_path)
        run = generator.run(made)
    assert np.array_equal(np.sort(run.records.rows["intended_ns"]), made.start_ns + schedule.offsets_ns)
    assert workers(run) == {0, 1, 2}
    assert run.report.requests == len(schedule)
    assert run.records.windows_ns == [made.window]


def test_the_processes_of_a_closed_loop_share_its_slots_and_its_total(server: NullServer, tmp_path: Path) -> None:
    with Generator(processes=2) as generator:
        run = generator.run(plan(server.endpoint, closed(5, total=101), tmp_path, window_ms=20_000))
    assert len(run.records.rows) == 101
    assert np.all(run.records.rows["outcome"] == Outcome.OK)
    assert workers(run) == {0, 1}


def test_a_load_of_one_slot_takes_one_process(server: NullServer, tmp_path: Path) -> None:
    with Generator(processes=2) as generator:
        run = generator.run(plan(server.endpoint, closed(1, total=10), tmp_path, window_ms=20_000))
    assert workers(run) == {0}
    assert len(run.records.rows) == 10


def test_records_of_an_earlier_run_stay_as_they_were(server: NullServer, tmp_path: Path) -> None:
    with Generator(processes=2) as generator:
        first = generator.run(plan(server.endpoint, closed(4, total=50), tmp_path, window_ms=20_000))
        before = first.records.rows["done_ns"].copy()
        generator.run(plan(server.endpoint, closed(4, total=70), tmp_path, window_ms=20_000))
        assert np.array_equal(first.records.rows["done_ns"], before)


def test_each_process_has_a_cpu_of_its_own_where_there_are_enough() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    with Generator(frozenset(cpus), processes=2) as generator:
        affinities = [set(psutil.Process(pid).cpu_affinity()) for pid in generator.pids]
    if len(cpus) >= 2:
        assert not affinities[0] & affinities[1]
    assert set.union(*affinities) == set(cpus)


def test_a_process_that_is_lost_is_an_error_and_started_anew(server: NullServer, tmp_path: Path) -> None:
    with Generator(processes=2) as generator:
        generator.begin(plan(server.endpoint, closed(4), tmp_path, window_ms=500))
        os.kill(generator.pids[1], 9)
        with pytest.raises(GeneratorError, match="ended with exit code"):
            generator.finish()
        run = generator.run(plan(server.endpoint, closed(4, total=20), tmp_path, window_ms=20_000))
        assert len(run.records.rows) == 20


def test_no_process_is_left_behind() -> None:
    generator = Generator(processes=2)
    pids = generator.pids
    generator.close()
    generator.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_the_cpu_of_an_open_loop_that_ends_before_its_window_is_known(server: NullServer, tmp_path: Path) -> None:
    schedule = make_schedule(Poisson(1000.0), 0.1, Order(1), seed=0)
    with Generator() as generator:
        run = generator.run(plan(server.endpoint, OpenLoop(schedule, 8), tmp_path, window_ms=200))
    assert 0 < run.report.cpu_share <= 1.1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_running_plan_can_be_looked_at_and_given_another_window(
    server: NullServer, tmp_path: Path, processes: int
) -> None:
    with Generator(processes=processes) as generator:
        made = plan(server.endpoint, closed(4), tmp_path, window_ms=60_000)
        generator.begin(made)
        deadline = time.monotonic() + 20
        while len(seen := generator.look()) < 50:
            assert time.monotonic() < deadline, "no requests to be seen"
            time.sleep(0.01)
        window = Rewindow(time.monotonic_ns() + 50 * MS, time.monotonic_ns() + 150 * MS)
        generator.rewindow(window)
        run = generator.finish()
    assert set(seen["outcome"]) == {Outcome.OK}
    assert seen["intended_ns"].min() >= made.start_ns
    assert run.records.windows_ns == [(window.start_ns, window.end_ns)]
    rows = run.records.rows
    assert len(rows) > len(seen)
    assert 0 < len(run.records.in_window()) < len(rows)
    assert ends_behind_window(run.records, 4)
