"""What the front is drawn over: the first objective to maximize against one to minimize, or a latency with a bound."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tuner.catalog import BOUNDED, METRICS, key_of, metric_of
from tuner.results import Point, Result

_TITLES = {"s": "ms", "/s": "per second", "share": "%", "bytes": "MiB", "J": "mJ"}
_SCALES = {"s": 1e3, "share": 100.0, "bytes": 1 / 2**20, "J": 1e3}
MOST_VERTICAL = 4
"""Metrics that the front can be drawn over upwards: each has a picture, and the page has to stay small."""


@dataclass(frozen=True)
class Axis:
    """A metric of the primary workload as an axis.

    Attributes:
        name: of the metric, as studies spell it.
        unit: its base unit.
    """

    name: str
    unit: str

    @cached_property
    def key(self) -> str:
        """The metric's key in results."""
        return key_of(self.name)

    @property
    def spoken(self) -> str:
        """The name with spaces."""
        return self.name.replace("_", " ")

    @cached_property
    def scale(self) -> float:
        """What a value is multiplied with to be drawn."""
        return _SCALES.get(self.unit, 1.0)

    @property
    def title(self) -> str:
        """Name and unit."""
        unit = _TITLES.get(self.unit, self.unit)
        return f"{self.spoken}, {unit}" if unit else self.spoken

    @property
    def suffix(self) -> str:
        """What stands behind a drawn value: ` ms`, `/s`, `%`."""
        unit = _TITLES.get(self.unit, self.unit)
        return {"/s": "/s", "share": "%"}.get(self.unit, f" {unit}" if unit else "")

    def of(self, point: Point) -> float:
        """Return where a point stands on the axis; infinite where it does not have the metric."""
        found = point.metrics.get(self.key)
        return math.inf if found is None else found.value * self.scale


def axes(result: Result) -> tuple[Axis, Axis]:
    """Return the first objective to maximize (else throughput) and the first to minimize (else p99)."""
    return _of(result, _asked(result, "maximize", "throughput")[0]), _of(result, _asked(result, "minimize", "p99")[0])


def verticals(result: Result) -> Sequence[Axis]:
    """Return what the front can be drawn over upwards, 1 to MOST_VERTICAL metrics, what is seen first at the head.

    They are the objectives to minimize, p99 without one, and every latency with a bound. The first objective is seen
    first; where it has no bound on the primary workload but a latency has one, that latency is: an SLO has to be seen.
    """
    bounds, *others = (result.study.bounds_of(workload) for workload in result.study.workloads)
    asked, bounded = _asked(result, "minimize", "p99"), _latencies(bounds)
    first = bounded[:1] if asked[0] not in bounds else []
    elsewhere = [name for found in others for name in _latencies(found)]
    names = list(dict.fromkeys([*first, *asked, *bounded, *elsewhere]))
    return [_of(result, name) for name in names[:MOST_VERTICAL]]


def _latencies(bounds: Iterable[str]) -> list[str]:
    """Return the latencies among what has a bound, the highest percentiles first, means last."""
    return sorted((name for name in bounds if name in BOUNDED), key=lambda name: BOUNDED[name].allowed or 1.0)


def named(result: Result) -> Sequence[Axis]:
    """Return every metric of the SLO and of the objectives that is no matter of course in a table of trials."""
    ours = [objective.split(" ")[1].rpartition(".")[2] for objective in result.study.objectives]
    bounded = (metric_of(name) for workload in result.study.workloads for name in result.study.bounds_of(workload))
    names = dict.fromkeys([*ours, *bounded])
    return [_of(result, name) for name in names if name not in ("throughput", "p50", "p99", "error_rate")]


def _asked(result: Result, direction: str, otherwise: str) -> list[str]:
    """Return the metrics of the primary workload that the objectives of a direction are of."""
    found = []
    for objective in result.study.objectives:
        wanted, _, metric = objective.partition(" ")
        workload, _, name = metric.rpartition(".")
        if wanted == direction and workload in ("", result.study.workloads[0]):
            found.append(name)
    return found or [otherwise]


def _of(result: Result, name: str) -> Axis:
    own = {one.name: one.unit for one in result.own_metrics}
    return Axis(name, METRICS[name].unit if name in METRICS else own.get(name, ""))
