"""Metrics of hand-made records, number by number."""

import math

import numpy as np
import pytest
from record_builders import MS, Request, answered, records, with_events

from targets.base import Outcome
from tuner import stats
from tuner.catalog import BOUNDED, METRICS, PERCENTILES, STREAMED, TOTALS, USED
from tuner.load.plan import Failure, RunReport
from tuner.metrics import (
    estimate,
    failures,
    generator_report,
    outcome_counts,
    summarise,
    violations,
)
from tuner.records import Records, pooled
from tuner.results import Estimate
from tuner.slo import Slo

EVERY_10_MS = [answered(10 * index, index + 1) for index in range(100)]
"""100 requests in a second; latencies 1 ms, 2 ms, ... 100 ms."""
OF_ITEMS = {"accuracy", "prediction_error", "accuracy_drop", "answer_difference_max", "answer_difference_mean"}


def values(of: Records, bounds: dict[str, float] | None = None) -> dict[str, float]:
    return {key: one.value for key, one in summarise(of, Slo(bounds or {})).items()}


def exactly(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=1)


# Rates.


def test_throughput_counts_ok_answers_that_came_in_the_window() -> None:
    requests = [answered(-5, 10), answered(10, 10), answered(995, 10), (20, 20, 30, Outcome.HTTP_ERROR)]
    assert values(records(requests))["throughput_rps"] == pytest.approx(2.0)


def test_goodput_counts_ok_answers_within_the_bound() -> None:
    found = values(records(EVERY_10_MS), {"p99": 0.025})
    assert found["goodput_rps"] == pytest.approx(25.0)
    assert found["throughput_rps"] == pytest.approx(91.0)


def test_an_answer_just_at_the_bound_is_good() -> None:
    assert values(records([answered(0, 10), answered(0, 10.001)]), {"p99": 0.010})["goodput_rps"] == pytest.approx(1.0)


def test_goodput_is_throughput_without_a_bound() -> None:
    found = values(records(EVERY_10_MS))
    assert found["goodput_rps"] == found["throughput_rps"]


def test_a_failure_is_never_good() -> None:
    assert values(records([(0, 0, 1, Outcome.MALFORMED)]), {"p99": 1.0})["goodput_rps"] == 0.0


def test_offered_load_counts_requests_due_in_the_window() -> None:
    requests = [answered(-1, 1), answered(0, 5000), (999, 999, 1000, Outcome.TIMEOUT), answered(1000, 1)]
    found = summarise(records(requests), Slo({}))["offered_rps"]
    assert (found.value, found.low, found.high, found.n) == (2.0, 2.0, 2.0, 2)


def test_rates_are_per_second_of_all_windows() -> None:
    both = pooled([records([answered(1, 1)], (0, 250)), records([answered(1001, 1), answered(1002, 1)], (1000, 1250))])
    assert values(both)["throughput_rps"] == pytest.approx(6.0)
    assert values(both)["offered_rps"] == pytest.approx(6.0)


# Latencies.


def test_percentiles_are_over_the_requests_due_in_the_window() -> None:
    requests = [*EVERY_10_MS, *[answered(-10, 5000)] * 50, *[answered(1000, 5000)] * 50]
    found = values(records(requests))
    assert found["latency_p50_s"] == pytest.approx(0.050)
    assert found["latency_p90_s"] == pytest.approx(0.090)
    assert found["latency_p95_s"] == pytest.approx(0.095)
    assert found["latency_p99_s"] == pytest.approx(0.099)
    assert found["latency_mean_s"] == pytest.approx(0.0505)


def test_a_slow_answer_after_the_window_counts_with_its_whole_latency() -> None:
    assert values(records([answered(999, 7000)]))["latency_p50_s"] == 7.0


def test_waiting_to_be_sent_is_latency_but_no_service_time() -> None:
    found = values(records([(0, 40, 50, Outcome.OK)]))
    assert found["latency_p50_s"] == 0.05
    assert found["service_time_p50_s"] == 0.01


def test_failures_are_infinite_latencies() -> None:
    requests: list[Request] = [*EVERY_10_MS[:98], *[(990, 990, 991, Outcome.CONNECTION_ERROR)] * 2]
    found = values(records(requests))
    assert found["latency_p95_s"] == pytest.approx(0.095)
    assert found["latency_p99_s"] == math.inf
    assert found["latency_mean_s"] == math.inf


def test_service_times_are_of_ok_answers_only() -> None:
    requests: list[Request] = [answered(0, 5), (0, 0, 900, Outcome.HTTP_ERROR)]
    assert values(records(requests))["service_time_p99_s"] == 0.005


def test_a_percentile_carries_its_interval_and_samples() -> None:
    found = summarise(records(EVERY_10_MS), Slo({}))["latency_p50_s"]
    expected = stats.percentile(stats.Ordered.of(np.arange(1, 101) / 1000), 0.5)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.n == 100


# Shares.


def test_the_error_rate_is_over_the_requests_due_in_the_window() -> None:
    requests: list[Request] = [
        *EVERY_10_MS[:97],
        (970, 970, 975, Outcome.TIMEOUT),
        (980, 980, 985, Outcome.HTTP_ERROR),
        (990, 990, 995, Outcome.DROPPED),
        (-1, -1, 0, Outcome.HTTP_ERROR),
        (1000, 1000, 1001, Outcome.HTTP_ERROR),
    ]
    found = summarise(records(requests), Slo({}))["error_rate"]
    assert (found.value, found.n) == (0.03, 100)
    assert 0 < found.low < 0.03 < found.high < 0.2


def test_the_share_over_a_bound_is_given_for_percentiles_of_the_slo() -> None:
    found = values(records(EVERY_10_MS), {"p99": 0.0905, "p50": 0.0505, "error_rate": 0.01})
    assert found["over_p99_bound"] == pytest.approx(0.10)
    assert found["over_p50_bound"] == pytest.approx(0.50)
    assert "over_p90_bound" not in found


def test_every_metric_is_known_by_its_key() -> None:
    streamed = {*STREAMED, *(f"over_{name}" for name in STREAMED)}
    others = OF_ITEMS | {METRICS[name].key for name in (*USED, *TOTALS)}
    keys = {metric.key for name, metric in METRICS.items() if name not in streamed} - others
    assert set(values(records(EVERY_10_MS), dict.fromkeys(PERCENTILES, 0.01))) == keys
    bounds = dict.fromkeys(BOUNDED, 0.01)
    with_tokens = values(with_events(records(EVERY_10_MS), (0, 1, 5 * MS)), bounds)
    assert set(with_tokens) == {metric.key for metric in METRICS.values()} - others


def test_a_window_without_requests_is_unknown_rather_than_good() -> None:
    found = summarise(records([answered(-5, 1)], (0, 1000)), Slo({"p99": 0.01}))
    assert found["offered_rps"].value == 0.0
    assert found["latency_p99_s"].value == math.inf
    assert (found["over_p99_bound"].low, found["over_p99_bound"].high) == (0.0, 1.0)


# What goes with them.


def test_outcomes_are_counted_by_name_and_only_those_that_occur() -> None:
    requests: list[Request] = [
        answered(0, 1),
        answered(1, 1),
        (2, 2, 3, Outcome.TIMEOUT),
        (3, 3, 4, Outcome.DROPPED),
        (-1, -1, 0, Outcome.MALFORMED),
    ]
    assert outcome_counts(records(requests)) == {"ok": 2, "timeout": 1, "dropped": 1}


OWN = RunReport(
    requests=100,
    cpu_share=0.25,
    stalls=3,
    longest_stall_s=0.004,
    queue_max=7,
    waiting_max=9,
    failures=(Failure(Outcome.HTTP_ERROR, 503, "busy"), Failure(Outcome.TIMEOUT, 0, "no answer within 2 s")),
)


def test_failures_are_counted_by_outcome_and_code_with_the_first_text() -> None:
    some = records(
        [answered(0, 1), *[(at, at, at + 1, Outcome.HTTP_ERROR) for at in range(3)], (-1, -1, 5, Outcome.TIMEOUT)]
    )
    some.columns["code"][:] = [200, 503, 429, 503, 0]
    found = [(failure.outcome, failure.code, failure.count, failure.text) for failure in failures(some, OWN)]
    assert found == [("http_error", 503, 2, "busy"), ("http_error", 429, 1, "")]


def test_a_window_without_a_failure_has_none() -> None:
    assert failures(records([answered(0, 1), (-1, -1, 5, Outcome.TIMEOUT)]), OWN) == []


def test_what_the_generator_says_of_itself_is_passed_on() -> None:
    some = records(EVERY_10_MS)
    some.columns["worker"][50:] = 1
    report = generator_report(some, OWN)
    assert (report.processes, report.stalls, report.longest_stall_s) == (2, 3, 0.004)
    assert (report.queue_max, report.waiting_max) == (7, 9)


def test_the_generators_delay_is_an_order_statistic() -> None:
    some = records(EVERY_10_MS)
    some.columns["sent_ns"][:] = some.columns["ready_ns"] + np.arange(1, 101) * MS
    report = generator_report(some, OWN)
    assert (report.issue_delay_p50_s, report.issue_delay_p99_s, report.cpu_share) == pytest.approx((0.05, 0.099, 0.25))


def test_a_generator_that_sent_nothing_has_no_delay() -> None:
    report = generator_report(records([(0, 0, 5, Outcome.DROPPED)]), OWN)
    assert (report.issue_delay_p50_s, report.issue_delay_p99_s) == (0.0, 0.0)


def test_an_interval_is_stored_as_it_is() -> None:
    found = estimate(stats.Interval(1.0, 0.5, math.inf, 7, "too few"))
    assert found == Estimate(value=1.0, low=0.5, high=math.inf, n=7, note="too few")


# Violations.


def test_a_violation_is_relative_to_its_bound() -> None:
    metrics = {"latency_p99_s": exactly(0.015), "error_rate": exactly(0.0005)}
    found = violations(metrics, {"p99": 0.01, "error_rate": 0.001})
    assert found == pytest.approx({"p99": 0.5, "error_rate": -0.5})


def test_a_value_at_its_bound_is_no_violation() -> None:
    assert violations({"latency_p99_s": exactly(0.01)}, {"p99": 0.01}) == {"p99": 0.0}


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_a_bound_of_zero_is_violated_by_the_value_itself(share: float) -> None:
    assert violations({"error_rate": exactly(share)}, {"error_rate": 0.0}) == {"error_rate": share}


def test_accuracy_that_was_gained_is_no_violation() -> None:
    found = violations({"accuracy_drop": exactly(-0.01)}, {"accuracy_drop": 0.01})
    assert found["accuracy_drop"] == pytest.approx(-2.0)


def test_an_overload_misses_every_bound_on_latency() -> None:
    metrics = {"latency_p99_s": exactly(0.005), "error_rate": exactly(0.0)}
    found = violations(metrics, {"p99": 0.01, "error_rate": 0.001}, overloaded=True)
    assert found == pytest.approx({"p99": 0.01, "error_rate": -1.0})


def test_an_infinite_percentile_is_a_violation() -> None:
    assert violations({"latency_p99_s": exactly(math.inf)}, {"p99": 0.01})["p99"] > 0


def test_what_was_not_measured_is_not_violated() -> None:
    assert violations({}, {"p99": 0.01, "accuracy_drop": 0.01}) == {}


def test_a_bound_from_below_is_violated_by_what_is_missing() -> None:
    assert violations({"accuracy": exactly(0.95)}, {"accuracy": 0.9})["accuracy"] == pytest.approx(-0.05 / 0.9)
    assert violations({"accuracy": exactly(0.81)}, {"accuracy": 0.9})["accuracy"] == pytest.approx(0.1)
    least = {"throughput_at_least": 500.0}
    assert violations({"throughput_rps": exactly(400)}, least, overloaded=True) == {"throughput_at_least": 0.2}
    assert violations({"throughput_rps": exactly(600)}, least, overloaded=True) == {"throughput_at_least": -0.2}
