"""The front: what is maximized against what is minimized or has a bound, a point for each measurement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports import words
from reports.axes import Axis, axes, verticals
from reports.charts.colours import BLUE, GREEN, GREY, ORANGE, RED, faint
from reports.charts.drawing import LOG_TICKS, Choice, Drawing, Layout, Picture, Trace, text_of
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
    "intervals of the points that may be on it. Click a point, then another, to compare the two below."
)


@dataclass(frozen=True)
class _View:
    """What is seen at once.

    Attributes:
        workload: whose points.
        across: the horizontal axis.
        up: the vertical axis.
        bound: the SLO's on the vertical axis, in its base unit; None where it has none there, or nothing is placed.
        placed: the points that have both, finite.
        good: number of a point -> whether it meets the SLO.
        members: number of a point -> what is known of it on the front.
    """

    workload: str
    across: Axis
    up: Axis
    bound: float | None
    placed: Sequence[Placed]
    good: Mapping[int, bool]
    members: Mapping[int, FrontPoint]

    @property
    def on_front(self) -> Sequence[Placed]:
        """The points on the front."""
        return [one for one in self.placed if (member := self.members.get(one.number)) and member.on_front]

    def at(self, one: Point) -> tuple[float, float]:
        """Return where a point is drawn."""
        return self.across.of(one), self.up.of(one)


def front_chart(result: Result) -> Drawing:
    """Return the chart: a picture for each workload and vertical axis; the points' hover texts are the script's.

    The primary workload is first. A point's `customdata` is its number among all points of the run, see
    `points.all_points`.
    """
    workloads, ups = result.study.workloads, verticals(result)
    pictures = {
        f"{row}-{column}": _picture(result, view)
        for row, workload in enumerate(workloads)
        for column, view in enumerate(_views(result, workload, ups))
    }
    axis = Choice("vertical", "vertical axis", [up.spoken for up in ups])
    return Drawing("front", pictures, [Choice("workload", "workload", workloads), axis], NOTE)


def _views(result: Result, workload: str, ups: Sequence[Axis]) -> list[_View]:
    across, _ = axes(result)
    primary = workload == result.study.workloads[0]
    points = [one for one in all_points(result) if one.point.workload == workload]
    good = {
        one.number: meets(result, one.trial, one.point) if primary else meets_alone(one.trial, one.point)
        for one in points
    }
    listed = _listed(result, points)
    found = []
    for up in ups:
        placed = [one for one in points if max(across.of(one.point), up.of(one.point)) < math.inf]
        bound = result.study.bounds_of(workload).get(up.name) if placed else None
        view = _View(workload, across, up, bound, placed, good, listed)
        found.append(view if primary else replace(view, members=_alone(view)))
    return found


def _picture(result: Result, view: _View) -> Picture:
    across, up = view.across, view.up
    bound = None if view.bound is None else view.bound * up.scale
    heights = [up.of(one.point) for one in view.placed] + ([] if bound is None else [bound])
    primary = view.workload == result.study.workloads[0]
    grouped: dict[str, list[Placed]] = {name: [] for name in GROUPS}
    for one in view.placed:
        grouped[_group(one, view.good)].append(one)
    traces = [
        _line(view),
        *(_points(view, name, group, barred=primary) for name, group in grouped.items() if group),
        *_best(result, view),
    ]
    if view.bound is not None:
        traces.append(_slo(result, up, view.bound, max(across.of(one.point) for one in view.placed)))
    layout = _layout(f"{view.workload}: {across.title}", up.title, heights, bound)
    return Picture(traces, layout, _finding(result, view))


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


def _alone(view: _View) -> dict[int, FrontPoint]:
    """Return the front of a workload that is not the primary one: by the measured values, without a probability."""
    across, up = view.across, view.up
    able = [one for one in view.placed if view.good[one.number]]
    leading: list[Placed] = []
    for one in sorted(able, key=lambda one: (-across.of(one.point), up.of(one.point))):
        last = leading[-1].point if leading else None
        if last is None or up.of(one.point) < up.of(last) or view.at(one.point) == view.at(last):
            leading.append(one)
    return {
        one.number: FrontPoint(trial=one.trial.number, point=one.index, meets_slo=True, membership=1.0, on_front=True)
        for one in leading
    }


def _line(view: _View) -> Trace:
    places = sorted((view.at(one.point) for one in view.on_front), key=lambda place: place[0])
    return {
        "type": "scatter",
        "x": [x for x, _ in places],
        "y": [y for _, y in places],
        "mode": "lines",
        "line": {"color": GREEN, "width": 1.5, "dash": "dot"},
        "name": "Pareto front",
        "hoverinfo": "skip",
    }


def _points(view: _View, name: str, group: Sequence[Placed], *, barred: bool) -> Trace:
    across, up = view.across, view.up
    colour, symbol = GROUPS[name]
    found = [view.members.get(one.number) for one in group]
    with_bars = found if barred else [None] * len(found)
    return {
        "type": "scattergl" if len(group) > MOST_AS_SVG else "scatter",
        "x": [across.of(one.point) for one in group],
        "y": [up.of(one.point) for one in group],
        "error_x": _bars([one.point.metrics[across.key] for one in group], with_bars, across.scale, colour),
        "error_y": _bars([one.point.metrics[up.key] for one in group], with_bars, up.scale, colour),
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


def _best(result: Result, view: _View) -> list[Trace]:
    across, up = view.across, view.up
    found = result.best.metrics.get(view.workload, {}) if result.best else {}
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
        "tickformat": LOG_TICKS if logarithmic else "",
        "nticks": 5 if logarithmic else 0,
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


def _finding(result: Result, view: _View) -> str:
    across, placed = view.across, view.placed
    names = f"{across.spoken} against {view.up.spoken}"
    if not placed:
        return f"{view.workload}: no point has both {names}."
    able = [one for one in placed if view.good[one.number]]
    used, leading = sum(one.trial.counts(one.point) for one in placed), len(view.on_front)
    text = (
        f"{view.workload}, {names}: {len(able)} of {used} points meet the SLO, "
        f"{leading} {'is' if leading == 1 else 'are'} on the front."
    )
    if unused := len(placed) - used:
        text += f" {unused} more {'is' if unused == 1 else 'are'} not used: spoiled, or the server was lost."
    if best := max(able, key=lambda one: across.of(one.point), default=None):
        value = words.metric_value(across.name, best.point.metrics[across.key].value, result.own_metrics)
        text += f" The most {across.spoken} within the SLO is {value}, of trial {best.trial.number}."
    if view.bound is not None:
        value = words.metric_value(view.up.name, view.bound, result.own_metrics)
        text += f" The green area is where {view.up.spoken} is within its bound of {value}."
    return text
