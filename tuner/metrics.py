"""From records to metrics: one pass over a window, every number with its interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome
from tuner import stats
from tuner.load.plan import RunReport
from tuner.records import Records, issue_delays_s, latencies_s, service_times_s
from tuner.results import Estimate, Failure, Generator

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
LATENCY_BOUNDS = ("mean", *PERCENTILES)
OVERLOADED = 0.01
SERVICE_PERCENTILES = {f"service_{name}": fraction for name, fraction in PERCENTILES.items()}


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
        *(
            Metric(f"service_{name}", f"service_time_{name}_s", "s", f"{name} of done - sent, requests answered ok")
            for name in PERCENTILES
        ),
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
        records: requests and windows; several runs of the same load may be pooled.
        bounds: SLO -> bound; for each percentile among them the share of slower requests is estimated too.
        latency_bound_s: goodput counts answers within it; None: all that are ok.

    Returns:
        Metric key -> estimate. Percentiles are over the requests intended in the windows, throughput over the
        answers that came in them.
    """
    throughput = stats.rate(records.completed_ns(), records.windows_ns)
    rows = records.in_window()
    offered = len(rows) / records.window_s
    values = {
        "throughput": throughput,
        "goodput": throughput if latency_bound_s is None else _goodput(records, latency_bound_s),
        "offered": stats.Interval(offered, offered, offered, len(rows)),
        **_latency(latencies_s(rows), bounds),
        **_percentiles(stats.Ordered.of(service_times_s(rows)), SERVICE_PERCENTILES),
        "error_rate": stats.event_rate(rows["outcome"] != Outcome.OK),
    }
    return {metric.key: estimate(values[name]) for name, metric in METRICS.items() if name in values}


def estimate(interval: stats.Interval) -> Estimate:
    """Return an interval as it is stored; a value that is undefined for want of requests counts as infinite."""
    value = math.inf if math.isnan(interval.value) else interval.value
    return Estimate(value=value, low=interval.low, high=interval.high, n=interval.n, note=interval.why)


def outcome_counts(records: Records) -> dict[str, int]:
    """Count the requests intended in the windows by how they ended, those that occur."""
    counts = np.bincount(records.in_window(ordered=False)["outcome"], minlength=len(Outcome))
    return {outcome.name.lower(): int(counts[outcome]) for outcome in Outcome if counts[outcome]}


def failures(records: Records, report: RunReport) -> list[Failure]:
    """Count the requests intended in the windows that did not end ok by outcome and code, the most frequent first."""
    rows = records.in_window(ordered=False)
    failed = rows[rows["outcome"] != Outcome.OK]
    if not len(failed):
        return []
    kinds, counts = np.unique(np.stack([failed["outcome"], failed["code"]]), axis=1, return_counts=True)
    texts = {(failure.outcome, failure.code): failure.text for failure in report.failures}
    found = [
        Failure(outcome=Outcome(outcome).name.lower(), code=code, count=count, text=texts.get((outcome, code), ""))
        for (outcome, code), count in zip(kinds.T.tolist(), counts.tolist(), strict=True)
    ]
    return sorted(found, key=lambda failure: -failure.count)


def generator_report(records: Records, report: RunReport) -> Generator:
    """Summarise what the generator did of itself: its delay over the windows, and what it reports."""
    workers = records.columns["worker"]
    delays = issue_delays_s(records.in_window(ordered=False))
    p50, p99 = np.quantile(delays, (0.5, 0.99), method="inverted_cdf", overwrite_input=True) if len(delays) else (0, 0)
    return Generator(
        issue_delay_p50_s=float(p50),
        issue_delay_p99_s=float(p99),
        cpu_share=report.cpu_share,
        processes=int(workers.max()) + 1 if len(workers) else 1,
        stalls=report.stalls,
        longest_stall_s=report.longest_stall_s,
        queue_max=report.queue_max,
        waiting_max=report.waiting_max,
    )


def violations(
    metrics: Mapping[str, Estimate], bounds: Mapping[str, float], *, overloaded: bool = False
) -> dict[str, float]:
    """Return SLO -> (value - bound) / bound, above 0 where it is missed; a bound of 0 is violated by the value itself.

    A metric that was not measured (accuracy without labels) has no entry. An overload misses every bound on latency,
    by OVERLOADED at least: the queue was on its way beyond it when the window ended.
    """
    found = {}
    for name, bound in bounds.items():
        measured = metrics.get(METRICS[name].key)
        if measured is not None:
            found[name] = (measured.value - bound) / bound if bound > 0 else measured.value
        if overloaded and name in LATENCY_BOUNDS and name in found:
            found[name] = max(found[name], OVERLOADED)
    return found


def _goodput(records: Records, bound_s: float) -> stats.Interval:
    return stats.rate(records.completed_ns(bound_s), records.windows_ns)


def _latency(latency: NDArray[np.float64], bounds: Mapping[str, float]) -> dict[str, stats.Interval]:
    series = stats.Ordered.of(latency)
    return {
        "mean": stats.mean(latency, effective=series.effective),
        **_percentiles(series, PERCENTILES),
        **{f"over_{name}": stats.share(series, bounds[name]) for name in PERCENTILES if name in bounds},
    }


def _percentiles(series: stats.Ordered, fractions: Mapping[str, float]) -> dict[str, stats.Interval]:
    return {name: stats.percentile(series, fraction) for name, fraction in fractions.items()}
