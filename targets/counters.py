"""What a server counts of itself: readings, what happened between two of them, and metrics made of that. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from targets.answer_cache import CacheCounters
from targets.options import ServerMetric


@dataclass(frozen=True)
class BatchSize:
    """Executions of one batch size: how many, and the mean time of one, in seconds."""

    size: int
    count: int
    compute_mean_s: float


@dataclass(frozen=True)
class ServerCounters:
    """A reading of a deployment's cumulative counters.

    Attributes:
        taken_ns: monotonic time of the reading.
        requests: requests answered so far.
        failures: requests that failed in the server so far.
        executions: batches executed so far.
        total_ns: stage (`queue`, `compute_input`, `compute_infer`, `compute_output`) -> summed ns over the requests.
        batches: executed batch size -> (executions, summed ns).
        counters: other counters by name, for `ServerMetric`.
        gauges: other gauges by name, for `ServerMetric`.
        cache: lookups in the cache of whole answers; all 0 where there is none.
        parts: model that it is composed of, or calls -> its own counters; {} where a model stands alone.
    """

    taken_ns: int
    requests: int = 0
    failures: int = 0
    executions: int = 0
    total_ns: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    cache: CacheCounters = field(default_factory=CacheCounters)
    parts: Mapping[str, "ServerCounters"] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerStats:
    """What the server itself says of a window: the difference of two readings.

    Attributes:
        window_s: time between the readings, in seconds.
        requests: requests the server answered in it.
        failures: requests that failed in the server.
        executions: batches it executed.
        mean_s: stage -> mean seconds per request.
        batch_sizes: executed batch sizes, ascending.
        grown: counter -> how much it grew.
        gauges: gauge -> (sum of its readings, readings).
        cache: lookups in the cache of whole answers; all 0 where there is none.
        parts: model that it is composed of, or calls -> its own numbers; {} where a model stands alone.
    """

    window_s: float
    requests: int
    failures: int
    executions: int
    mean_s: Mapping[str, float]
    batch_sizes: Sequence[BatchSize]
    grown: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    cache: CacheCounters = field(default_factory=CacheCounters)
    parts: Mapping[str, "ServerStats"] = field(default_factory=dict)


def difference(earlier: ServerCounters, later: ServerCounters, between: Sequence[ServerCounters] = ()) -> ServerStats:
    """Return the server's own numbers between two readings of one deployment.

    Args:
        earlier: reading at the start of the window.
        later: reading at its end.
        between: further readings, for the gauges.
    """
    requests = later.requests - earlier.requests
    batches = []
    for size, (count, total_ns) in sorted(later.batches.items()):
        count_before, ns_before = earlier.batches.get(size, (0, 0))
        if executions := count - count_before:
            batches.append(BatchSize(size, executions, (total_ns - ns_before) / executions / 1e9))
    return ServerStats(
        window_s=(later.taken_ns - earlier.taken_ns) / 1e9,
        requests=requests,
        failures=later.failures - earlier.failures,
        executions=later.executions - earlier.executions,
        mean_s={
            stage: (total - earlier.total_ns.get(stage, 0)) / requests / 1e9 if requests else 0.0
            for stage, total in later.total_ns.items()
        },
        batch_sizes=batches,
        grown={name: value - earlier.counters.get(name, 0.0) for name, value in later.counters.items()},
        gauges=_gauges((earlier, *between, later)),
        cache=later.cache - earlier.cache,
        parts={
            name: difference(earlier.parts[name], part) for name, part in later.parts.items() if name in earlier.parts
        },
    )


def _gauges(readings: Sequence[ServerCounters]) -> dict[str, tuple[float, int]]:
    found: dict[str, tuple[float, int]] = {}
    for reading in readings:
        for name, value in reading.gauges.items():
            total, count = found.get(name, (0.0, 0))
            found[name] = (total + value, count + 1)
    return found


def metric_values(stats: ServerStats, metrics: Sequence[ServerMetric]) -> dict[str, float]:
    """Return what a window says of a server's own metrics; one that the server did not give is left out."""
    found = {}
    for metric in metrics:
        if metric.kind == "gauge" and metric.reading in stats.gauges:
            total, count = stats.gauges[metric.reading]
            found[metric.name] = total / count
        elif metric.kind == "rate" and metric.reading in stats.grown and stats.window_s > 0:
            found[metric.name] = stats.grown[metric.reading] / stats.window_s
        elif metric.kind == "ratio" and metric.reading in stats.grown and stats.grown.get(metric.per, 0) > 0:
            found[metric.name] = stats.grown[metric.reading] / stats.grown[metric.per]
        elif metric.kind == "ratio" and metric.reading in stats.grown and metric.idle is not None:
            found[metric.name] = metric.idle
    return found
