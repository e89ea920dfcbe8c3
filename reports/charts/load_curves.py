"""Latency and goodput against the load: the best configurations and the user's, with knee and SLO capacity."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports import words
from reports.charts.colours import RED, SERIES
from reports.charts.drawing import LOG_TICKS, Choice, Drawing, Picture, Trace, text_of
from reports.points import called, meets_alone, server_part
from tuner.catalog import LATENCY, PERCENTILES
from tuner.load_knee import Knee, knee
from tuner.results import Estimate, Point, Result, Trial
from tuner.units import format_number

MOST_CURVES = 5
ACROSS = {
    "closed": "requests in flight",
    "open": "offered load, requests per second",
    "users": "users of the locustfile",
}
"""Mode of a load -> what its levels are."""
NOTE = (
    "Above the latency percentile with its 95% interval, below the goodput: answers within the SLO per second. The "
    "diamond is the knee, the load with the most throughput per latency (Kleinrock's power); the star is the SLO's "
    "capacity, the most goodput at a load that met the SLO of this workload as it was measured. Loads at which the "
    "measurement was spoiled are left out."
)


@dataclass(frozen=True)
class Curve:
    """A configuration of the server under the loads that it was measured at.

    Attributes:
        label: which.
        points: in ascending order of the load, of one workload and mode.
        capacity: of them the one with the most goodput that met the SLO, None where none did.
        knee: None where it is not between the loads, or not known.
    """

    label: str
    points: Sequence[Point]
    capacity: int | None
    knee: Knee | None


def load_chart(result: Result) -> Drawing | None:
    """Return the chart with a picture for each workload and percentile; None without two loads of anything."""
    found = {workload: curves for workload in result.study.workloads if (curves := curves_of(result, workload))}
    if not found:
        return None
    names = [name for name in reversed(PERCENTILES) if any(_key(name) in _keys(curves) for curves in found.values())]
    pictures = {
        f"{index}-{number}": _picture(result, workload, curves, name)
        for index, (workload, curves) in enumerate(found.items())
        for number, name in enumerate(names)
    }
    choices = [Choice("workload", "workload", list(found)), Choice("percentile", "percentile", names)]
    return Drawing("load", pictures, choices, NOTE, 560)


def curves_of(result: Result, workload: str) -> list[Curve]:
    """Return the user's configuration, the best and the next on the front, those that were measured at two loads."""
    groups: dict[str, list[tuple[Trial, Point]]] = {}
    for trial in result.trials:
        same = [(trial, point) for point in trial.points if point.workload == workload and trial.counts(point)]
        if same:
            groups.setdefault(repr(sorted(server_part(trial.config).items())), []).extend(same)
    front = sorted(result.front, key=lambda member: (-member.on_front, -member.membership))
    numbers = [0, *([result.best.trial] if result.best else []), *(member.trial for member in front)]
    found: dict[str, Curve] = {}
    for number in numbers:
        key = next((key for key, group in groups.items() if any(trial.number == number for trial, _ in group)), None)
        if key is None or key in found or len(found) == MOST_CURVES:
            continue
        label = called(result, number)
        if (curve := _curve(label, groups[key])) is not None:
            found[key] = curve
    return list(found.values())


def _curve(label: str, group: Sequence[tuple[Trial, Point]]) -> Curve | None:
    mode = group[0][1].load.mode
    by_level = {point.load.level: (trial, point) for trial, point in group if point.load.mode == mode}
    if len(by_level) < 2:
        return None
    pairs = [by_level[level] for level in sorted(by_level)]
    points = [point for _, point in pairs]
    able = [index for index, (trial, point) in enumerate(pairs) if meets_alone(trial, point)]
    capacity = max(able, key=lambda index: _goodput(points[index]).value, default=None)
    mean = [point.metrics.get(_key("mean")) or point.metrics.get(_key("p50")) for point in points]
    known = [one for one in mean if one is not None]
    found = knee([point.metrics["throughput_rps"] for point in points], known) if len(known) == len(points) else None
    return Curve(label, points, capacity, found)


def _key(statistic: str) -> str:
    return f"{LATENCY.stem}_{statistic}_s"


def _keys(curves: Sequence[Curve]) -> set[str]:
    return {key for curve in curves for point in curve.points for key in point.metrics}


def _goodput(point: Point) -> Estimate:
    return point.metrics.get("goodput_rps") or point.metrics["throughput_rps"]


def _picture(result: Result, workload: str, curves: Sequence[Curve], percentile: str) -> Picture:
    traces = [
        trace
        for colour, curve in zip(SERIES, curves, strict=False)
        for trace in (
            _latency(curve, percentile, colour),
            _goodputs(curve, colour),
            *_knee(curve, percentile, colour),
            *_capacity(curve, colour),
        )
    ]
    bound = result.study.bounds_of(workload).get(percentile)
    levels = [point.load.level for curve in curves for point in curve.points]
    if bound is not None:
        traces.append(_slo(percentile, bound, min(levels), max(levels)))
    across = ACROSS[curves[0].points[0].load.mode]
    layout = {
        "xaxis": {
            "title": {"text": text_of(f"{workload}: {across}")},
            "type": "log",
            "tickformat": LOG_TICKS,
            "tickvals": sorted(set(levels)) if len(set(levels)) <= 12 else None,
            "ticktext": [format_number(level) for level in sorted(set(levels))] if len(set(levels)) <= 12 else None,
            "anchor": "y2",
        },
        "yaxis": {
            "title": {"text": f"latency {percentile}, ms"},
            "type": "log",
            "tickformat": LOG_TICKS,
            "domain": [0.46, 1],
        },
        "yaxis2": {"title": {"text": "goodput, per second"}, "rangemode": "tozero", "domain": [0, 0.4]},
        "hovermode": "closest",
    }
    return Picture(traces, layout, _finding(workload, curves))


def _latency(curve: Curve, percentile: str, colour: str) -> Trace:
    known = [
        (point, point.metrics[_key(percentile)])
        for point in curve.points
        if _key(percentile) in point.metrics and math.isfinite(point.metrics[_key(percentile)].value)
    ]
    return {
        "type": "scatter",
        "x": [point.load.level for point, _ in known],
        "y": [estimate.value * 1e3 for _, estimate in known],
        "error_y": _bars([estimate for _, estimate in known], 1e3),
        "mode": "lines+markers",
        "line": {"color": colour},
        "name": text_of(curve.label),
        "text": [
            f"<b>{text_of(curve.label)}</b>, {words.load(point.load)}<br>{percentile} "
            f"{words.milliseconds(estimate.value)} {words.metric_interval(percentile, estimate)}"
            for point, estimate in known
        ],
        "hoverinfo": "text",
    }


def _goodputs(curve: Curve, colour: str) -> Trace:
    goodputs = [_goodput(point) for point in curve.points]
    return {
        "type": "scatter",
        "x": [point.load.level for point in curve.points],
        "y": [one.value for one in goodputs],
        "error_y": _bars(goodputs, 1.0),
        "yaxis": "y2",
        "mode": "lines+markers",
        "line": {"color": colour},
        "name": text_of(f"{curve.label}, goodput"),
        "showlegend": False,
        "text": [
            f"<b>{text_of(curve.label)}</b>, {words.load(point.load)}<br>goodput {words.per_second(one.value)}"
            for point, one in zip(curve.points, goodputs, strict=True)
        ],
        "hoverinfo": "text",
    }


def _bars(estimates: Sequence[Estimate], scale: float) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [(one.high - one.value) * scale if math.isfinite(one.high) else 0.0 for one in estimates],
        "arrayminus": [(one.value - one.low) * scale if one.low > 0 else 0.0 for one in estimates],
        "thickness": 0.8,
        "width": 3,
    }


def _knee(curve: Curve, percentile: str, colour: str) -> list[Trace]:
    if curve.knee is None:
        return []
    point = curve.points[curve.knee.index]
    estimate = point.metrics.get(_key(percentile))
    if estimate is None or not math.isfinite(estimate.value):
        return []
    marker = {"color": colour, "symbol": "diamond-open", "size": 15, "line": {"width": 2}}
    return [_mark(point, estimate.value * 1e3, marker, f"{curve.label}: knee {_knee_range(curve, curve.knee)}", "y")]


def _capacity(curve: Curve, colour: str) -> list[Trace]:
    if curve.capacity is None:
        return []
    point = curve.points[curve.capacity]
    goodput = _goodput(point).value
    marker = {"color": colour, "symbol": "star", "size": 15}
    said = f"{curve.label}: SLO capacity {words.per_second(goodput)} at {words.load(point.load)}"
    return [_mark(point, goodput, marker, said, "y2")]


def _mark(point: Point, height: float, marker: dict[str, object], said: str, axis: str) -> Trace:
    return {
        "type": "scatter",
        "x": [point.load.level],
        "y": [height],
        "yaxis": axis,
        "mode": "markers",
        "marker": marker,
        "name": text_of(said),
        "showlegend": False,
        "text": [text_of(said)],
        "hoverinfo": "text",
    }


def _slo(percentile: str, bound: float, lowest: float, highest: float) -> Trace:
    return {
        "type": "scatter",
        "x": [lowest, highest],
        "y": [bound * 1e3, bound * 1e3],
        "mode": "lines",
        "line": {"color": RED, "dash": "dash"},
        "name": f"SLO: {percentile} {words.milliseconds(bound)}",
        "hoverinfo": "skip",
    }


def _knee_range(curve: Curve, found: Knee) -> str:
    """Return at which load the knee is, and between which it may be: `at 16 in flight, 8 to 32 under the noise`."""
    at, first, last = (curve.points[index].load for index in (found.index, found.first, found.last))
    between = f", {format_number(first.level)} to {format_number(last.level)} under the noise" if first != last else ""
    return f"at {words.load(at)}{between}"


def _finding(workload: str, curves: Sequence[Curve]) -> str:
    said = []
    for curve in curves:
        if curve.capacity is None:
            capacity = "meets the SLO at no load"
        else:
            point = curve.points[curve.capacity]
            capacity = f"SLO capacity {words.per_second(_goodput(point).value)} at {words.load(point.load)}"
            capacity += ", the highest load measured" if curve.capacity == len(curve.points) - 1 else ""
        found = f", knee {_knee_range(curve, curve.knee)}" if curve.knee else ""
        said.append(f"{curve.label}: {capacity}{found}")
    without = "" if any(curve.knee for curve in curves) else " No curve has its knee between the loads measured."
    return f"{workload}: {'; '.join(said)}.{without}"
