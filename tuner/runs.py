"""What a run of a load gave, and runs of the same load put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from targets.answer_cache import CacheCounters
from targets.base import BatchSize, ServerStats
from tuner import results
from tuner.cached_answers import Lookups, together
from tuner.load.plan import RunReport, merged_reports
from tuner.records import Records, pooled
from tuner.request_class import Part
from tuner.stopping import Decision
from tuner.telemetry.series import Series
from tuner.usage import Telemetry
from tuner.usage_metrics import pooled_use


@dataclass(frozen=True)
class Beside:
    """What another workload gave that was measured at the same time.

    Attributes:
        records: of its requests.
        report: what its load generator says of itself.
    """

    records: Records
    report: RunReport


@dataclass(frozen=True)
class Run:
    """One run of a load, or several of the same load pooled.

    Attributes:
        records: of the requests.
        server: the server's own numbers of the window; None for one class, which it does not tell apart.
        warmup_s: load before each window.
        report: what the load generator says of itself.
        used: what server, host and GPUs used.
        decision: what the window was ended for, None where it took its longest length.
        series: the samples that `used` is from; None of runs that were pooled.
        of_all: whether it is of all requests, not of one class.
        beside: workload -> what it gave, of those that were measured at the same time; their windows are the same.
        lookups: which requests the server's cache answered; None where it has none, and of a class.
    """

    records: Records
    server: ServerStats | None
    warmup_s: float
    report: RunReport
    used: Telemetry = field(default_factory=Telemetry)
    decision: Decision | None = None
    series: Series | None = None
    of_all: bool = True
    beside: Mapping[str, Beside] = field(default_factory=dict)
    lookups: Lookups | None = None

    def of_part(self, part: Part) -> "Run":
        """Return what it gave of a part of its workload."""
        if part.index is None:
            return self
        return replace(self, records=self.records.of_class(part.index), server=None, of_all=False, lookups=None)


def pooled_runs(runs: Sequence[Run]) -> Run:
    """Put runs of the same load together."""
    return Run(
        records=pooled([run.records for run in runs]),
        server=_summed([run.server for run in runs if run.server]),
        warmup_s=runs[-1].warmup_s,
        report=_pooled_reports([run.report for run in runs]),
        used=pooled_use([run.used for run in runs]),
        beside={
            name: Beside(
                pooled([run.beside[name].records for run in runs]),
                _pooled_reports([run.beside[name].report for run in runs]),
            )
            for name in runs[0].beside
        },
        lookups=together([run.lookups for run in runs]),
    )


def _pooled_reports(reports: Sequence[RunReport]) -> RunReport:
    """Return what several runs say together: how busy it was is the mean over them, of an agent over those it was in.

    One short run in which something else kept a host busy says little of all of them.
    """
    merged = merged_reports(reports)
    shares: dict[str, list[float]] = {}
    for agent in (agent for report in reports for agent in report.agents):
        shares.setdefault(agent.name, []).append(agent.cpu_share)
    agents = tuple(replace(one, cpu_share=float(np.mean(shares[one.name]))) for one in merged.agents)
    return replace(merged, cpu_share=float(np.mean([one.cpu_share for one in reports])), agents=agents)


def stored_server(stats: ServerStats) -> results.Server:
    """Return the server's numbers as they are stored."""
    return results.Server(
        window_s=stats.window_s,
        requests=stats.requests,
        failures=stats.failures,
        executions=stats.executions,
        mean_s=dict(stats.mean_s),
        batch_sizes=_stored_batches(stats),
        cache=_stored_cache(stats.cache) if stats.cache.lookups else None,
        composing={
            name: results.ComposingModel(
                requests=part.requests,
                failures=part.failures,
                executions=part.executions,
                mean_s=dict(part.mean_s),
                batch_sizes=_stored_batches(part),
            )
            for name, part in stats.parts.items()
        },
    )


def _stored_batches(stats: ServerStats) -> list[results.BatchSize]:
    return [
        results.BatchSize(size=batch.size, count=batch.count, compute_mean_s=batch.compute_mean_s)
        for batch in stats.batch_sizes
    ]


def _stored_cache(cache: CacheCounters) -> results.Cache:
    return results.Cache(
        hits=cache.hits,
        misses=cache.misses,
        hit_mean_s=cache.hits_ns / cache.hits / 1e9 if cache.hits else None,
        miss_mean_s=cache.misses_ns / cache.misses / 1e9 if cache.misses else None,
    )


def _summed(parts: Sequence[ServerStats]) -> ServerStats | None:
    if not parts:
        return None
    requests = sum(part.requests for part in parts)
    totals: dict[int, list[float]] = {}
    for part in parts:
        for batch in part.batch_sizes:
            entry = totals.setdefault(batch.size, [0, 0.0])
            entry[0] += batch.count
            entry[1] += batch.count * batch.compute_mean_s
    return ServerStats(
        window_s=sum(part.window_s for part in parts),
        requests=requests,
        failures=sum(part.failures for part in parts),
        executions=sum(part.executions for part in parts),
        mean_s={
            stage: sum(part.mean_s[stage] * part.requests for part in parts) / max(1, requests)
            for stage in parts[0].mean_s
        },
        batch_sizes=[BatchSize(size, int(count), total / count) for size, (count, total) in sorted(totals.items())],
        grown={name: sum(part.grown.get(name, 0.0) for part in parts) for name in parts[0].grown},
        gauges={
            name: (sum(part.gauges[name][0] for part in parts), sum(part.gauges[name][1] for part in parts))
            for name in parts[0].gauges
        },
        cache=sum((part.cache for part in parts), CacheCounters()),
        parts={
            name: summed
            for name in parts[0].parts
            if (summed := _summed([part.parts[name] for part in parts if name in part.parts]))
        },
    )
