"""From records to metrics: one pass over a window, every number with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome
from tuner import stats
from tuner.records import Records, issue_delays_s, latencies_s, service_times_s
from tuner.results import Estimate, Generator

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Metric:
    """A metric's name in a study, its key in results, its unit and its meaning."""

    name: str
    key: str
    unit: str
    doc: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("throughput", "throughput_rps", "/s", "requests answered ok in the window, per second"),
        Metric("goodput", "goodput_rps", "/s", "requests answered ok within the SLO's latency bound, per second"),
        Metric("offered", "offered_rps", "/s", "requests intended in the window, per second"),
        Metric("mean", "latency_mean_s", "s", "mean of done - intended"),
        *(
            Metric(name, f"latency_{name}_s", "s", f"{name} of done - intended; failures are infinite")
            for name in PERCENTILES
        ),
        Metric("service_p50", "service_time_p50_s", "s", "p50 of done - sent, requests answered ok"),
        Metric("service_p99", "service_time_p99_s", "s", "p99 of done - sent, requests answered ok"),
        Metric("error_rate", "error_rate", "", "share of the window's requests that did not end ok"),
        *(
            Metric(f"over_{name}", f"over_{name}_bound", "", f"share of requests slower than the SLO's {name} bound")
            for name in PERCENTILES
        ),
        Metric("accuracy", "accuracy", "", "share of the labelled items answered right"),
        Metric("accuracy_drop", "accuracy_drop", "", "accuracy lost against the user's config, item by item"),
    )
}


def summarise(records: Records, bounds: Mapping[str, float], latency_bound_s: float | None) -> dict[str, Estimate]:
    """Summarise the windows of a load.

    Args:
        records: rows and windows; several runs of the same load may be pooled.
        bounds: SLO -> bound; for each percentile among them the share of slower requests is estimated too.
        latency_bound_s: goodput counts answers within it; None: all that are ok.

    Returns:
        Metric key -> estimate. Percentiles are over the requests intended in the windows, throughput over the
        answers that came in them.
    """
    rows = records.in_window()
    latency = latencies_s(rows)
    service = service_times_s(rows)
    completed = records.completed_ns()
    good = _completed_within(records, latency_bound_s)
    offered = len(rows) / records.window_s
    failed = int(np.sum(rows["outcome"] != Outcome.OK))
    values = {
        "throughput": stats.rate_in_bins(completed, records.windows_ns),
        "goodput": stats.rate_in_bins(good, records.windows_ns),
        "offered": stats.Interval(offered, offered, offered, len(rows)),
        "mean": stats.mean_of_batches(latency),
        **{name: stats.percentile(latency, fraction) for name, fraction in PERCENTILES.items()},
        "service_p50": stats.percentile(service, 0.50),
        "service_p99": stats.percentile(service, 0.99),
        "error_rate": stats.proportion(failed, len(rows)),
        **{f"over_{name}": stats.exceedance(latency, bounds[name]) for name in PERCENTILES if name in bounds},
    }
    return {METRICS[name].key: estimate(interval) for name, interval in values.items()}


def estimate(interval: stats.Interval) -> Estimate:
    """Return an interval as it is stored; a value that is undefined for want of requests counts as infinite."""
    value = math.inf if math.isnan(interval.value) else interval.value
    return Estimate(value=value, low=interval.low, high=interval.high, n=interval.n)


def outcome_counts(records: Records) -> dict[str, int]:
    """Count the requests intended in the windows by how they ended, those that occur."""
    counts = np.bincount(records.in_window()["outcome"], minlength=len(Outcome))
    return {outcome.name.lower(): int(counts[outcome]) for outcome in Outcome if counts[outcome]}


def generator_report(records: Records, cpu_share: float) -> Generator:
    """Summarise the generator's own delay over the windows."""
    delays = issue_delays_s(records.in_window())
    p50, p99 = (float(np.quantile(delays, q, method="inverted_cdf")) if len(delays) else 0.0 for q in (0.5, 0.99))
    return Generator(issue_delay_p50_s=p50, issue_delay_p99_s=p99, cpu_share=cpu_share)


def violations(metrics: Mapping[str, Estimate], bounds: Mapping[str, float]) -> dict[str, float]:
    """Return SLO -> (value - bound) / bound, above 0 where it is missed; a bound of 0 is violated by the value itself.

    A metric that was not measured (accuracy without labels) has no entry.
    """
    found = {}
    for name, bound in bounds.items():
        measured = metrics.get(METRICS[name].key)
        if measured is not None:
            found[name] = (measured.value - bound) / bound if bound > 0 else measured.value
    return found


def _completed_within(records: Records, bound_s: float | None) -> NDArray[np.int64]:
    latency = latencies_s(records.rows)
    limit = np.inf if bound_s is None else bound_s
    return np.sort(records.rows["done_ns"][(records.rows["outcome"] == Outcome.OK) & (latency <= limit)])
