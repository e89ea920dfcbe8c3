"""The front: the two objectives against each other, a point for each measurement."""

import math
from collections.abc import Mapping, Sequence

from reports import words
from reports.axes import Axis, axes
from reports.charts.colours import BLUE, GREEN, GREY, ORANGE, RED, faint
from reports.charts.drawing import Choice, Drawing, Layout, Picture, Trace, text_of
from reports.points import Placed, all_points, meets, meets_alone
from tuner.results import Estimate, FrontPoint, Point, Result

FAINTEST = 0.25
"""Opacity of a point that is not on the front; one that certainly is has 1."""
MOST_AS_SVG = 1500
"""More points than this are drawn by WebGL."""
OWN, MISSES, MEETS, UNUSED = "your configuration", "misses an SLO", "meets every SLO", "not used"
GROUPS: Mapping[str, tuple[str, str]] = {
    UNUSED: (GREY, "circle-open"),
    OWN: (BLUE, "square"),
    MISSES: (GREY, "x"),
    MEETS: (GREEN, "circle"),
}
"""Group -> colour and symbol."""
NOTE = (
    "The fainter a point, the less probably it is on the front under its measurement noise; the bars are the 95% "
    "intervals of the points that may be on it. The green area is where the SLO's bound on the vertical axis is met. "
    "Click a point, then another, to compare the two below."
)


def front_chart(result: Result) -> Drawing:
    """Return the chart: a picture for each workload, the primary one first; the points' hover texts are the script's.

    A point's `customdata` is its number among all points of the run, see `points.all_points`.
    """
    workloads = result.study.workloads
    placed = all_points(result)
    pictures = {
        str(index): _picture(result, workload, [one for one in placed if one.point.workload == workload])
        for index, workload in enumerate(workloads)
    }
    return Drawing("front", pictures, [Choice("workload", "workload", workloads)], NOTE)


def _picture(result: Result, workload: str, points: Sequence[Placed]) -> Picture:
    across, up = axes(result)
    placed = [one for one in points if max(across.of(one.point), up.of(one.point)) < math.inf]
    primary = workload == result.study.workloads[0]
    good = {
        one.number: meets(result, one.trial, one.point) if primary else meets_alone(one.trial, one.point)
        for one in placed
    }
    members = _listed(result, placed) if primary else _alone(result, placed, good)
    on_front = [one for one in placed if (member := members.get(one.number)) and member.on_front]
    bound = result.study.bounds_of(workload).get(up.name)
    heights = [up.of(one.point) for one in placed] + ([] if bound is None else [bound * up.scale])
    grouped = {name: [one for one in placed if _group(one, good) == name] for name in GROUPS}
    traces = [
        _line(across, up, on_front),
        *(_points(result, name, group, members, primary=primary) for name, group in grouped.items() if group),
        *(_best(result, across, up, workload)),
    ]
    if bound is not None and placed:
        traces.append(_slo(result, up, bound, max(across.of(one.point) for one in placed)))
    layout = _layout(f"{workload}: {across.title}", up.title, heights, None if bound is None else bound * up.scale)
    return Picture(traces, layout, _finding(result, workload, placed, good, on_front))


def _group(one: Placed, good: Mapping[int, bool]) -> str:
    if not one.trial.counts(one.point):
        return UNUSED
    if one.trial.number == 0:
        return OWN
    return MEETS if good[one.number] else MISSES


def _listed(result: Result, placed: Sequence[Placed]) -> dict[int, FrontPoint]:
    found = {(member.trial, member.point): member for member in result.front}
    pairs = ((one.number, found.get((one.trial.number, one.index))) for one in placed)
    return {number: member for number, member in pairs if member is not None}


def _alone(result: Result, placed: Sequence[Placed], good: Mapping[int, bool]) -> dict[int, FrontPoint]:
    """Return the front of a workload that is not the primary one: by the measured values, without a probability."""
    across, up = axes(result)
    able = [one for one in placed if good[one.number]]
    leading: list[Placed] = []
    for one in sorted(able, key=lambda one: (-across.of(one.point), up.of(one.point))):
        last = leading[-1].point if leading else None
        if last is None or up.of(one.point) < up.of(last) or _same(one.point, last, across, up):
            leading.append(one)
    return {
        one.number: FrontPoint(trial=one.trial.number, point=one.index, meets_slo=True, membership=1.0, on_front=True)
        for one in leading
    }


def _same(one: Point, other: Point, across: Axis, up: Axis) -> bool:
    return (across.of(one), up.of(one)) == (across.of(other), up.of(other))


def _line(across: Axis, up: Axis, members: Sequence[Placed]) -> Trace:
    ordered = sorted(members, key=lambda one: across.of(one.point))
    return {
        "type": "scatter",
        "x": [across.of(one.point) for one in ordered],
        "y": [up.of(one.point) for one in ordered],
        "mode": "lines",
        "line": {"color": GREEN, "width": 1.5, "dash": "dot"},
        "name": "Pareto front",
        "hoverinfo": "skip",
    }


def _points(
    result: Result, name: str, group: Sequence[Placed], members: Mapping[int, FrontPoint], *, primary: bool
) -> Trace:
    across, up = axes(result)
    colour, symbol = GROUPS[name]
    found = [members.get(one.number) for one in group]
    barred = found if primary else [None] * len(found)
    return {
        "type": "scattergl" if len(group) > MOST_AS_SVG else "scatter",
        "x": [across.of(one.point) for one in group],
        "y": [up.of(one.point) for one in group],
        "error_x": _bars([one.point.metrics[across.key] for one in group], barred, across.scale, colour),
        "error_y": _bars([one.point.metrics[up.key] for one in group], barred, up.scale, colour),
        "mode": "markers",
        "marker": {
            "color": colour,
            "symbol": symbol,
            "size": 9,
            "opacity": [FAINTEST + (1 - FAINTEST) * (member.membership if member else 0.0) for member in found],
        },
        "name": name,
        "customdata": [one.number for one in group],
        "hoverinfo": "text",
    }


def _bars(
    estimates: Sequence[Estimate], members: Sequence[FrontPoint | None], scale: float, colour: str
) -> dict[str, object]:
    """Return error bars from the intervals of the points that are listed; a bound that is missing has none."""

    def lengths(bounds: Sequence[float]) -> list[float]:
        return [
            abs(bound - one.value) * scale if member and 0 < bound < math.inf else 0.0
            for one, bound, member in zip(estimates, bounds, members, strict=True)
        ]

    if not any(members):
        return {"visible": False}
    return {
        "type": "data",
        "symmetric": False,
        "array": lengths([one.high for one in estimates]),
        "arrayminus": lengths([one.low for one in estimates]),
        "color": colour,
        "thickness": 0.8,
        "width": 0,
    }


def _best(result: Result, across: Axis, up: Axis, workload: str) -> list[Trace]:
    found = result.best.metrics.get(workload, {}) if result.best else {}
    if result.best is None or across.key not in found or up.key not in found:
        return []
    label = "best, confirmed" if result.best.confirmed else "best, not confirmed"
    config = words.config(result.best.config, result.knobs)
    return [
        {
            "type": "scatter",
            "x": [found[across.key].value * across.scale],
            "y": [found[up.key].value * up.scale],
            "mode": "markers",
            "marker": {"color": ORANGE, "symbol": "star", "size": 18, "line": {"color": "#000000", "width": 1}},
            "name": label,
            "text": [f"<b>{label}: trial {result.best.trial}</b><br>{text_of(config).replace(', ', '<br>')}"],
            "hoverinfo": "text",
        }
    ]


def _slo(result: Result, up: Axis, bound: float, widest: float) -> Trace:
    return {
        "type": "scatter",
        "x": [0, widest * 1.05],
        "y": [bound * up.scale, bound * up.scale],
        "mode": "lines",
        "line": {"color": RED, "dash": "dash"},
        "name": text_of(f"SLO: {up.name} {words.metric_value(up.name, bound, result.own_metrics)}"),
        "hoverinfo": "skip",
    }


def _layout(across: str, up: str, heights: Sequence[float], bound: float | None) -> Layout:
    """Return axes, and the region that an SLO leaves; the vertical axis is logarithmic where nothing stands at 0."""
    layout: dict[str, object] = {
        "xaxis": {"title": {"text": text_of(across)}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": text_of(up)}},
        "hovermode": "closest",
    }
    if not heights:
        return layout
    lowest, highest, logarithmic = min(heights), max(heights), min(heights) > 0
    bottom, top = (lowest * 0.8, highest * 1.3) if logarithmic else (min(0.0, lowest), highest * 1.1 or 1.0)
    ends = [math.log10(bottom), math.log10(top)] if logarithmic else [bottom, top]
    layout["yaxis"] = {
        "title": {"text": text_of(up)},
        "type": "log" if logarithmic else "linear",
        "tickformat": "~g" if logarithmic else "",
        "range": ends,
    }
    if bound is not None:
        layout["shapes"] = [
            {
                "type": "rect",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": bottom,
                "y1": bound,
                "fillcolor": faint(GREEN, 0.07),
                "line": {"width": 0},
                "layer": "below",
            }
        ]
    return layout


def _finding(
    result: Result, workload: str, placed: Sequence[Placed], good: Mapping[int, bool], on_front: Sequence[Placed]
) -> str:
    across, up = axes(result)
    names = f"{across.name.replace('_', ' ')} against {up.name.replace('_', ' ')}"
    if not placed:
        return f"{workload}: no point has both {names}."
    used = sum(one.trial.counts(one.point) for one in placed)
    text = (
        f"{workload}, {names}: {sum(good.values())} of {used} points meet the SLO, "
        f"{len(on_front)} {'is' if len(on_front) == 1 else 'are'} on the front."
    )
    if unused := len(placed) - used:
        text += f" {unused} more {'is' if unused == 1 else 'are'} not used: spoiled, or the server was lost."
    best = max((one for one in placed if good[one.number]), key=lambda one: across.of(one.point), default=None)
    if best is None:
        return text
    value = words.metric_value(across.name, best.point.metrics[across.key].value, result.own_metrics)
    return f"{text} The most {across.name.replace('_', ' ')} within the SLO is {value}, of trial {best.trial.number}."
