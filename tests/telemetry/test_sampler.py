"""The sampling thread: when it samples, and where it runs."""

import math
import os
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from targets.process import pinned
from tuner.telemetry.nvml import GpuReader, Gpus
from tuner.telemetry.sampler import JUDGED_AFTER_S, MOST_CPU, Sampler, Spacing
from tuner.telemetry.series import FIELDS


@pytest.fixture
def sampler() -> Sampler:
    return Sampler(Gpus(), 0.05)


def telemetry_thread() -> threading.Thread:
    (found,) = [one for one in threading.enumerate() if one.name == "telemetry"]
    return found


def test_there_is_a_sample_at_once_and_one_at_the_end(sampler: Sampler) -> None:
    began_ns = time.monotonic_ns()
    sampler.start([os.getpid()])
    time.sleep(0.01)
    asked_ns = time.monotonic_ns()
    series = sampler.stop()
    assert series is not None
    assert len(series.time_ns) >= 2
    assert began_ns <= series.time_ns[0] <= series.time_ns[-1] <= time.monotonic_ns()
    assert series.time_ns[-1] >= asked_ns
    assert set(series.host) == {name for name, _, _ in FIELDS}
    assert series.sampler_cpu_s > 0


def test_what_is_stopped_without_a_start_has_nothing(sampler: Sampler) -> None:
    assert sampler.stop() is None


def test_a_sampler_starts_anew(sampler: Sampler) -> None:
    for _ in range(2):
        sampler.start([os.getpid()])
        series = sampler.stop()
        assert series is not None
        assert np.isfinite(series.host["server_cpu_s"][[0, -1]]).all()


def test_the_servers_processes_are_read_less_often_than_the_rest(sampler: Sampler) -> None:
    sampler.start([os.getpid()])
    time.sleep(0.5)
    series = sampler.stop()
    assert series is not None
    read = np.isfinite(series.host["server_cpu_s"])
    assert read[0]
    assert read[-1]
    assert 2 <= read.sum() <= 2 + series.seconds / 0.19
    assert 2 <= np.isfinite(series.host["host_cpu_s"]).sum() <= 2 + series.seconds / 0.9


class Costly(Gpus):
    """GPUs of which a reading takes 5 ms of CPU time."""

    def reader(self, processes: Sequence[int]) -> GpuReader:
        found = super().reader(processes)
        read = found.read

        def slowly(*, slow: bool) -> list[dict[str, float]]:
            until_ns = time.thread_time_ns() + 5_000_000
            while time.thread_time_ns() < until_ns:
                pass
            return read(slow=slow)

        found.read = slowly  # type: ignore[method-assign]
        return found


def test_samples_are_further_apart_while_they_take_more_than_a_hundredth_of_a_core() -> None:
    sampler = Sampler(Costly(), 0.1)
    sampler.start([])
    time.sleep(1.6)
    series = sampler.stop()
    assert series is not None
    (note,) = (one for one in series.notes if one.startswith("sampled every"))
    page = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    assert re.sub(r"[\d.]+ m?s in the end", "400 ms in the end", note) in page
    times_s = (series.time_ns - series.time_ns[0]) / 1e9
    late = int((times_s >= JUDGED_AFTER_S).sum())
    doublings = math.log2((times_s[-1] - JUDGED_AFTER_S) / 0.2 + 1)
    assert late <= doublings + 3, "200, 400, 800 ms apart; the last one comes when it is stopped"
    sampler.start([])
    again = sampler.stop()
    assert again is not None
    assert not [note for note in again.notes if "sampled every" in note], "each window begins as asked"


@pytest.mark.parametrize(("begin_s", "each_s"), [(0.0, 0.0004), (0.02, 0.0004), (0.0, 0.004), (0.05, 0.03)])
def test_sampling_takes_a_hundredth_of_a_core_at_most_however_much_a_sample_takes(
    begin_s: float, each_s: float
) -> None:
    """In a time of its own: a sample every period, each of which takes as long."""
    spacing, now_s, cpu_s, periods = Spacing(0.1), 0.0, begin_s, []
    while now_s < 60.0:
        cpu_s += each_s
        spacing.spent(cpu_s, now_s)
        periods.append(spacing.period_s)
        now_s += spacing.period_s
    assert cpu_s <= MOST_CPU * now_s
    assert periods == sorted(periods)
    assert (periods[-1] == 0.1) is (begin_s == 0.0 and each_s == 0.0004)


def test_the_thread_runs_on_the_tuners_cpus_and_in_its_scheduling_class(sampler: Sampler) -> None:
    cpu = frozenset({max(os.sched_getaffinity(0))})
    policy = os.sched_getscheduler(0)
    with pinned(cpu):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        try:
            sampler.start([])
            of_thread = telemetry_thread().native_id or 0
            found = os.sched_getaffinity(of_thread), os.sched_getscheduler(of_thread)
        finally:
            sampler.stop()
            os.sched_setscheduler(0, policy, os.sched_param(0))
    assert found == (cpu, os.SCHED_BATCH)
