"""The sampling thread: when it samples, and where it runs."""

import os
import threading
import time

import numpy as np
import pytest

from targets.process import pinned
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
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
