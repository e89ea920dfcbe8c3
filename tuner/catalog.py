"""The metrics that every target can have: their names in studies, their keys in results, their units and meaning."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
STATISTICS = ("mean", *PERCENTILES)
LATENCY_BOUNDS = STATISTICS


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: as a study spells it.
        key: as results spell it.
        unit: `s`, `/s`, `tokens`, `share` (0 to 1), `J`, `bytes` or `cores`.
        doc: one line.
        better: what an objective may ask for, None where it asks for neither. `asked`: for either, as the study says.
    """

    name: str
    key: str
    unit: str
    doc: str
    better: Literal["more", "less", "asked"] | None = None


@dataclass(frozen=True)
class Timing:
    """A duration that each request has, or each of its tokens; mean and percentiles of it are metrics.

    Attributes:
        prefix: of the metrics' names.
        stem: of their keys.
        doc: what it is.
        streamed: only answers that are streamed token by token have it.
    """

    prefix: str
    stem: str
    doc: str
    streamed: bool = True

    def name(self, statistic: str) -> str:
        """Return the name of the mean or of a percentile."""
        return f"{self.prefix}{statistic}"


LATENCY = Timing("", "latency", "done - intended", streamed=False)
TTFT = Timing("ttft_", "ttft", "first token - intended")
TPOT = Timing("tpot_", "tpot", "(last - first token) / (tokens - 1), answers of 2 tokens or more")
ITL = Timing("itl_", "itl", "gap before each token but the first of its answer")
TIMINGS = (LATENCY, TTFT, TPOT, ITL)


@dataclass(frozen=True)
class Bounded:
    """A mean or percentile of a timing, which may have a bound.

    Attributes:
        timing: what it is of.
        statistic: `mean` or a percentile.
    """

    timing: Timing
    statistic: str

    @property
    def allowed(self) -> float | None:
        """The share of values that may be over the bound: 1% for p99; None for a mean."""
        return 1 - PERCENTILES[self.statistic] if self.statistic in PERCENTILES else None


BOUNDED: Mapping[str, Bounded] = {
    timing.name(statistic): Bounded(timing, statistic) for timing in TIMINGS for statistic in STATISTICS
}
"""Metric -> what it is of."""
SERVICE_PERCENTILES = {f"service_{name}": fraction for name, fraction in PERCENTILES.items()}


def _of_timings() -> list[Metric]:
    return [
        Metric(
            timing.name(statistic),
            f"{timing.stem}_{statistic}_s",
            "s",
            f"{statistic} of {timing.doc}; failures are infinite",
            "less",
        )
        for timing in TIMINGS
        for statistic in STATISTICS
    ]


def _over_bounds() -> list[Metric]:
    return [
        Metric(f"over_{name}", f"over_{name}_bound", "share", f"share of values over the SLO's {name} bound")
        for name, one in BOUNDED.items()
        if one.allowed is not None
    ]


_USED = (
    Metric(
        "energy_per_inference", "energy_per_inference_joules", "J", "energy of the GPUs per request answered ok", "less"
    ),
    Metric("gpu_utilization", "gpu_utilization", "share", "mean share of time with a kernel running", "asked"),
    Metric("gpu_memory", "gpu_memory_bytes", "bytes", "GPU memory of the server, largest value seen", "less"),
    Metric("server_cpu", "server_cpu_cores", "cores", "CPU of the server's processes, in cores", "less"),
    Metric("server_rss", "server_rss_bytes", "bytes", "resident memory of the server's, largest value seen", "less"),
)
_OF_ALL = (
    Metric("total_throughput", "total_throughput_rps", "/s", "throughput of all workloads measured at once", "more"),
    Metric("total_goodput", "total_goodput_rps", "/s", "goodput of all workloads measured at once", "more"),
)
METRICS = {
    metric.name: metric
    for metric in (
        Metric("throughput", "throughput_rps", "/s", "requests answered ok in the window, per second", "more"),
        Metric("goodput", "goodput_rps", "/s", "requests answered ok within the SLO's bounds, per second", "more"),
        *_OF_ALL,
        Metric("offered", "offered_rps", "/s", "requests intended in the window, per second"),
        Metric("token_throughput", "token_throughput_tps", "/s", "tokens received in the window, per second", "more"),
        Metric("output_tokens", "output_tokens_mean", "tokens", "mean tokens of an answer that was ok"),
        *_of_timings(),
        *(
            Metric(f"service_{name}", f"service_time_{name}_s", "s", f"{name} of done - sent, requests answered ok")
            for name in PERCENTILES
        ),
        Metric("error_rate", "error_rate", "share", "share of the window's requests that did not end ok"),
        *_over_bounds(),
        Metric("accuracy", "accuracy", "share", "share of the labelled items answered right, or mean score", "more"),
        Metric("prediction_error", "prediction_error", "", "mean or RMS error of the labelled items' answers", "less"),
        Metric(
            "accuracy_drop",
            "accuracy_drop",
            "share",
            "accuracy lost against the user's config, item by item, or growth of its prediction error",
        ),
        Metric(
            "answer_difference_max",
            "answer_difference_max",
            "",
            "largest |difference| to the answers of the user's config",
        ),
        Metric("answer_difference_mean", "answer_difference_mean", "", "mean |difference| to them, over the items"),
        *_USED,
    )
}
LABELLED = ("accuracy", "prediction_error")
"""Metrics of labelled items: they depend on the variant alone, not on the load."""
THROUGHPUT_BOUND = "throughput_at_least"
FROM_BELOW = {"accuracy": "accuracy", THROUGHPUT_BOUND: "throughput", "gpu_utilization_at_least": "gpu_utilization"}
"""Bound in an SLO that is one from below -> the metric that it is on."""
AT_LEAST = tuple(FROM_BELOW)
"""Bounds in an SLO that are from below."""
ADDED_UP = (THROUGHPUT_BOUND,)
"""Bounds on what the classes of a mix add up to: that of all requests together is none of each class."""
MAXIMIZED = tuple(name for name, metric in METRICS.items() if metric.better in ("more", "asked"))
MINIMIZED = tuple(name for name, metric in METRICS.items() if metric.better in ("less", "asked"))
EITHER = tuple(name for name, metric in METRICS.items() if metric.better == "asked")
"""Metrics of which a study says whether more or less is better."""
STREAMED = ("token_throughput", "output_tokens", *(name for name, one in BOUNDED.items() if one.timing.streamed))
"""Metrics of answers that are streamed token by token."""
TOTALS = {"total_throughput": "throughput", "total_goodput": "goodput"}
"""Metrics of all workloads that are measured at once -> what each of these adds."""
USED = tuple(metric.name for metric in _USED)
"""Metrics of what the server uses, of all of its requests together."""


def metric_of(bound: str) -> str:
    """Return the name of the metric that a bound in an SLO is on: mostly the bound's own."""
    return FROM_BELOW.get(bound, bound)


def on_metric(place: str) -> str:
    """Return `WORKLOAD.METRIC` of a bound's `WORKLOAD.SLO`; either may be without the workload."""
    whose, dot, bound = place.rpartition(".")
    return f"{whose}{dot}{metric_of(bound)}"


@cache
def key_of(name: str) -> str:
    """Return the key in results of a metric, or of that which a bound is on; a server's own has its name for a key."""
    metric = metric_of(name)
    return METRICS[metric].key if metric in METRICS else name
