"""The server's own numbers of a window: the difference of two readings."""

from dataclasses import replace

import pytest

from targets.base import BatchSize, ServerCounters, difference, metric_values
from targets.options import ServerMetric

EARLIER = ServerCounters(
    taken_ns=1_000_000_000,
    requests=100,
    failures=2,
    executions=50,
    total_ns={"queue": 5_000_000, "compute_infer": 10_000_000},
    batches={1: (40, 4_000_000), 4: (10, 6_000_000)},
)
LATER = ServerCounters(
    taken_ns=3_500_000_000,
    requests=300,
    failures=5,
    executions=110,
    total_ns={"queue": 25_000_000, "compute_infer": 50_000_000},
    batches={4: (40, 36_000_000), 1: (40, 4_000_000), 8: (30, 45_000_000)},
)


def test_counts_what_happened_between_the_readings() -> None:
    stats = difference(EARLIER, LATER)
    assert (stats.requests, stats.failures, stats.executions) == (200, 3, 60)


def test_the_window_is_the_time_between_the_readings_in_seconds() -> None:
    assert difference(EARLIER, LATER).window_s == 2.5


def test_stages_are_seconds_per_request() -> None:
    assert difference(EARLIER, LATER).mean_s == pytest.approx({"queue": 1e-4, "compute_infer": 2e-4})


def test_batch_sizes_are_ascending_and_only_those_executed() -> None:
    assert [(one.size, one.count) for one in difference(EARLIER, LATER).batch_sizes] == [(4, 30), (8, 30)]


def test_compute_time_is_the_mean_of_one_execution() -> None:
    assert difference(EARLIER, LATER).batch_sizes == [BatchSize(4, 30, 1e-3), BatchSize(8, 30, 1.5e-3)]


def test_a_stage_that_was_not_counted_before_starts_at_zero() -> None:
    later = replace(LATER, total_ns={**LATER.total_ns, "compute_output": 2_000_000})
    assert difference(EARLIER, later).mean_s["compute_output"] == pytest.approx(1e-5)


def test_without_requests_nothing_took_time() -> None:
    stats = difference(EARLIER, replace(EARLIER, taken_ns=2_000_000_000))
    assert (stats.requests, stats.failures, stats.executions) == (0, 0, 0)
    assert stats.mean_s == {"queue": 0.0, "compute_infer": 0.0}
    assert stats.batch_sizes == []
    assert stats.window_s == 1.0


# What only some servers give.

OWN = [
    ServerMetric("cache_use", "share", "of the cache", "gauge", "use"),
    ServerMetric("evictions", "/s", "a second", "rate", "evicted"),
    ServerMetric("hit_rate", "share", "hits of all", "ratio", "hits", "asked"),
]


def reading(at_s: float, use: float, evicted: float, hits: float, asked: float) -> ServerCounters:
    counters = {"evicted": evicted, "hits": hits, "asked": asked}
    return ServerCounters(round(at_s * 1e9), counters=counters, gauges={"use": use})


def test_gauges_are_means_of_the_readings_and_counters_what_they_grew() -> None:
    stats = difference(reading(1, 0.2, 5, 10, 100), reading(5, 0.6, 25, 70, 200), [reading(3, 0.7, 9, 9, 150)])
    assert metric_values(stats, OWN) == pytest.approx({"cache_use": 0.5, "evictions": 5.0, "hit_rate": 0.6})


def test_a_metric_that_the_server_did_not_give_is_left_out() -> None:
    assert metric_values(difference(EARLIER, LATER), OWN) == {}


def test_a_ratio_of_nothing_is_left_out() -> None:
    stats = difference(reading(1, 0.0, 5, 10, 100), reading(2, 0.0, 5, 10, 100))
    assert metric_values(stats, OWN) == {"cache_use": 0.0, "evictions": 0.0}
