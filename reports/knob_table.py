"""The points of the primary workload as a table: the value of each knob that changed, and the metrics of the axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.axes import Axis, axes
from reports.points import LOAD_KNOBS
from tuner.effects import Factor
from tuner.results import Point, Result, Trial, Value
from tuner.units import format_setting


@dataclass(frozen=True)
class Column:
    """A knob over the points.

    Attributes:
        name: the knob's.
        shown: its values as a study spells them, in order.
        factor: the position of each point's value among them.
    """

    name: str
    shown: Sequence[str]
    factor: Factor


@dataclass(frozen=True)
class Table:
    """Points of one metric, those that have it.

    Attributes:
        axis: the metric.
        columns: the knobs that took more than one value, the load level among them.
        values: in the metric's base unit, above 0 and finite, shape [points].
        left_out: points without such a value, or of a trial that does not set every knob.
        trials: the number of each point's trial, shape [points].
    """

    axis: Axis
    columns: Sequence[Column]
    values: NDArray[np.float64]
    left_out: int
    trials: Sequence[int]


def tables(result: Result) -> list[Table]:
    """Return a table for each of the two axes of the front, those with two points or more."""
    return [table for axis in axes(result) if len((table := _table(result, axis)).values) > 1]


def _table(result: Result, axis: Axis) -> Table:
    primary = result.study.workloads[0]
    pairs = [
        (trial, point)
        for trial in result.trials
        for point in trial.points
        if point.workload == primary and trial.counts(point)
    ]
    names = [knob.name for knob in result.knobs]
    usable = [
        pair
        for pair in pairs
        if 0 < axis.of(pair[1]) < math.inf and all(_value(*pair, name) is not None for name in names)
    ]
    found = [_column(result, name, [_value(*pair, name) for pair in usable]) for name in names]
    return Table(
        axis,
        [column for column in found if len(column.shown) > 1],
        np.array([point.metrics[axis.key].value for _, point in usable]),
        len(pairs) - len(usable),
        [trial.number for trial, _ in usable],
    )


def _value(trial: Trial, point: Point, name: str) -> Value | None:
    """Return a knob's value at a point; that of a load level is what the point was measured under."""
    if name in LOAD_KNOBS:
        return point.load.level if point.load.name == name else trial.config.get(name)
    return trial.config.get(name)


def _column(result: Result, name: str, values: Sequence[Value | None]) -> Column:
    unit = next((knob.unit for knob in result.knobs if knob.name == name), "")
    present = [value for value in values if value is not None]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)
    keys = [float(value) if numbers else str(value) for value in present]
    order = sorted(set(keys))
    at = {key: index for index, key in enumerate(order)}
    levels = np.array([at[key] for key in keys], np.int64)
    meant = dict(zip(keys, present, strict=True))
    shown = [
        format_setting(int(key) if isinstance(key, float) and key.is_integer() else meant[key], unit) for key in order
    ]
    return Column(name, shown, Factor(name, levels, len(order), numbers))
