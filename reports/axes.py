"""What the front is drawn over: the study's first objective to maximize against its first to minimize."""

from collections.abc import Sequence
from dataclasses import dataclass

from tuner.catalog import METRICS, key_of
from tuner.results import Point, Result

_TITLES = {"s": "ms", "/s": "per second", "share": "%", "bytes": "MiB", "J": "mJ"}
_SCALES = {"s": 1e3, "share": 100.0, "bytes": 1 / 2**20, "J": 1e3}


@dataclass(frozen=True)
class Axis:
    """A metric of the primary workload as an axis.

    Attributes:
        name: of the metric, as studies spell it.
        unit: its base unit.
    """

    name: str
    unit: str

    @property
    def key(self) -> str:
        """The metric's key in results."""
        return key_of(self.name)

    @property
    def scale(self) -> float:
        """What a value is multiplied with to be drawn."""
        return _SCALES.get(self.unit, 1.0)

    @property
    def title(self) -> str:
        """Name and unit."""
        unit = _TITLES.get(self.unit, self.unit)
        return f"{self.name.replace('_', ' ')}, {unit}" if unit else self.name.replace("_", " ")

    @property
    def suffix(self) -> str:
        """What stands behind a drawn value: ` ms`, `/s`, `%`."""
        unit = _TITLES.get(self.unit, self.unit)
        return {"/s": "/s", "share": "%"}.get(self.unit, f" {unit}" if unit else "")

    def of(self, point: Point) -> float:
        """Return where a point stands on the axis; infinite where it does not have the metric."""
        found = point.metrics.get(self.key)
        return float("inf") if found is None else found.value * self.scale


def axes(result: Result) -> tuple[Axis, Axis]:
    """Return the horizontal axis (more is better) and the vertical one (less is better)."""
    return _axis(result, "maximize", "throughput"), _axis(result, "minimize", "p99")


def named(result: Result) -> Sequence[Axis]:
    """Return every metric of the SLO and of the objectives that is no matter of course in a table of trials."""
    ours = [objective.split(" ")[1].rpartition(".")[2] for objective in result.study.objectives]
    bounded = (name for workload in result.study.workloads for name in result.study.bounds_of(workload))
    names = dict.fromkeys([*ours, *bounded])
    return [_of(result, name) for name in names if name not in ("throughput", "p50", "p99", "error_rate")]


def _axis(result: Result, direction: str, otherwise: str) -> Axis:
    for objective in result.study.objectives:
        wanted, _, metric = objective.partition(" ")
        workload, _, name = metric.rpartition(".")
        if wanted == direction and workload in ("", result.study.workloads[0]):
            return _of(result, name)
    return _of(result, otherwise)


def _of(result: Result, name: str) -> Axis:
    own = {one.name: one.unit for one in result.own_metrics}
    return Axis(name, METRICS[name].unit if name in METRICS else own.get(name, ""))
