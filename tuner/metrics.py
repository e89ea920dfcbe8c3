"""From records to metrics: one pass over a window, every number with its interval."""

import math
from collections.abc import Mapping

import numpy as np

from targets.base import Outcome
from tuner import stats
from tuner.catalog import (
    AT_LEAST,
    BOUNDED,
    LATENCY,
    METRICS,
    PERCENTILES,
    SERVICE_PERCENTILES,
    TIMINGS,
    Timing,
    key_of,
)
from tuner.catalog import STREAMED as STREAMED_METRICS
from tuner.load.plan import AgentReport, RunReport
from tuner.records import Records, issue_delays_s, service_times_s
from tuner.results import Estimate, Failure, Generator
from tuner.run_info import Agent
from tuner.runs import Run
from tuner.slo import Slo
from tuner.timings import good, tokens_came_ns, values_s

OVERLOADED = 0.01


def summarise(records: Records, slo: Slo) -> dict[str, Estimate]:
    """Summarise the windows of a load.

    Args:
        records: requests and windows; several runs of the same load may be pooled.
        slo: for each percentile among its bounds the share of slower requests is estimated too; goodput counts answers
            within the bounds that a request can keep (`timings.good`).

    Returns:
        Metric key -> estimate. Percentiles are over the requests intended in the windows, throughput over the
        answers that came in them.
    """
    throughput = stats.rate(records.completed_ns(), records.windows_ns)
    rows = records.in_window()
    offered = len(rows) / records.window_s
    bounds, among = slo.bounds, good(records, slo)
    values = {
        "throughput": throughput,
        "goodput": stats.rate(records.completed_ns(among), records.windows_ns),
        "offered": stats.Interval(offered, offered, offered, len(rows)),
        **timing_statistics(LATENCY, records, bounds),
        **_percentiles(stats.Ordered.of(service_times_s(rows)), SERVICE_PERCENTILES),
        "error_rate": stats.event_rate(rows["outcome"] != Outcome.OK),
    }
    if len(records.events) or set(bounds) & set(STREAMED_METRICS):
        values |= _streamed(records, bounds)
    return {metric.key: estimate(values[name]) for name, metric in METRICS.items() if name in values}


def totals(run: Run, name: str, slos: Mapping[str, Slo]) -> dict[str, Estimate]:
    """Return metric key -> estimate of all workloads that were measured at once; {} where one was measured alone.

    Args:
        run: of one of them.
        name: of that one.
        slos: workload -> what is asked of it.
    """
    if not run.beside:
        return {}
    every = {name: run.records, **{other: beside.records for other, beside in run.beside.items()}}
    completed = [one.completed_ns() for one in every.values()]
    among = [one.completed_ns(good(one, slos[of])) for of, one in every.items()]
    windows = run.records.windows_ns
    return {
        METRICS[metric].key: estimate(stats.rate(np.sort(np.concatenate(times)), windows))
        for metric, times in (("total_throughput", completed), ("total_goodput", among))
    }


def _streamed(records: Records, bounds: Mapping[str, float]) -> dict[str, stats.Interval]:
    """Summarise what only answers have that are streamed token by token."""
    rows = records.in_window()
    answered = rows["tokens"][rows["outcome"] == Outcome.OK].astype(np.float64)
    found = {
        "token_throughput": stats.rate(tokens_came_ns(records), records.windows_ns),
        "output_tokens": stats.mean(answered),
    }
    for timing in TIMINGS:
        if timing.streamed:
            found |= timing_statistics(timing, records, bounds)
    return found


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
    processes = sum(end - first for first, end in (agent.workers for agent in report.agents))
    return Generator(
        issue_delay_p50_s=float(p50),
        issue_delay_p99_s=float(p99),
        cpu_share=report.cpu_share,
        processes=processes or (int(workers.max()) + 1 if len(workers) else 1),
        stalls=report.stalls,
        longest_stall_s=report.longest_stall_s,
        queue_max=report.queue_max,
        waiting_max=report.waiting_max,
        agents=[_agent(records, one) for one in report.agents],
    )


def _agent(records: Records, report: AgentReport) -> Agent:
    """Summarise what one agent did: the share of the records that its processes made."""
    rows = records.in_window(ordered=False)
    own = rows[(rows["worker"] >= report.workers[0]) & (rows["worker"] < report.workers[1])]
    delays = issue_delays_s(own)
    return Agent(
        name=report.name,
        cores=report.cores,
        requests=len(own),
        issue_delay_p99_s=float(np.quantile(delays, 0.99, method="inverted_cdf")) if len(delays) else 0.0,
        cpu_share=report.cpu_share,
        longest_stall_s=report.longest_stall_s,
        rtt_s=report.rtt_s,
        start_skew_s=report.start_skew_s,
        late_s=report.late_s,
    )


def violations(
    metrics: Mapping[str, Estimate], bounds: Mapping[str, float], *, overloaded: bool = False
) -> dict[str, float]:
    """Return SLO -> (value - bound) / bound, above 0 where it is missed; a bound of 0 is violated by the value itself.

    Of a bound from below it is (bound - value) / bound.

    A metric that was not measured (accuracy without labels) has no entry; one that should have been, and is not known
    (see `usage_metrics.untold`), is beyond any bound. An overload misses every bound on latency, by OVERLOADED at
    least: the queue was on its way beyond it when the window ended.
    """
    found = {}
    for name, bound in bounds.items():
        measured = metrics.get(key_of(name))
        if measured is not None:
            over = bound - measured.value if name in AT_LEAST else measured.value - bound
            unknown = not measured.n and math.isinf(measured.value)
            found[name] = math.inf if unknown else over / bound if bound > 0 else over
        if overloaded and name in BOUNDED and name in found:
            found[name] = max(found[name], OVERLOADED)
    return found


def timing_statistics(timing: Timing, records: Records, bounds: Mapping[str, float]) -> dict[str, stats.Interval]:
    """Return mean and percentiles of a timing, and of each bound on a percentile the share of values over it."""
    values = values_s(timing, records)
    series = stats.Ordered.of(values)
    over = {timing.name(name): name for name in PERCENTILES if timing.name(name) in bounds}
    return {
        timing.name("mean"): stats.mean(values, effective=series.effective),
        **{timing.name(name): stats.percentile(series, fraction) for name, fraction in PERCENTILES.items()},
        **{f"over_{name}": stats.share(series, bounds[name]) for name in over},
    }


def _percentiles(series: stats.Ordered, fractions: Mapping[str, float]) -> dict[str, stats.Interval]:
    return {name: stats.percentile(series, fraction) for name, fraction in fractions.items()}
