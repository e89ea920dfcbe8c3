"""The report's charts. The only module that knows plotly."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import plotly.io
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

from reports import words
from reports.axes import Axis, axes, named
from reports.overtime import Panel
from tuner.catalog import key_of
from tuner.companions import companions
from tuner.results import Estimate, FrontPoint, Point, Result, Trial

FAINTEST = 0.25
"""Opacity of a point that is not on the front; one that certainly is has 1."""

# Okabe and Ito's palette, told apart by colour-blind readers as well.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8f98"
STAGE_COLOURS = (ORANGE, GREY, BLUE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442")


def library() -> str:
    """Return plotly's JavaScript, to be put into the page."""
    script: str = get_plotlyjs()
    return script


def front_chart(result: Result) -> str:
    """Return the two objectives of the primary workload against each other, as a piece of HTML, configs on hover.

    A point is the fainter the less probably it is on the front; those that may be have their intervals as bars.
    """
    primary = result.study.workloads[0]
    across, up = axes(result)
    figure = go.Figure()
    front = {(member.trial, member.point) for member in result.front if member.on_front}
    placed = [
        (trial, index, point)
        for trial in result.trials
        for index, point in enumerate(trial.points)
        if point.workload == primary and max(across.of(point), up.of(point)) < float("inf")
    ]
    groups = [
        ("your configuration", BLUE, "square", [one for one in placed if one[0].number == 0]),
        (
            "misses an SLO",
            GREY,
            "x",
            [one for one in placed if one[0].number and not _meets(result, one[0], one[2])],
        ),
        (
            "meets every SLO",
            GREEN,
            "circle",
            [one for one in placed if one[0].number and _meets(result, one[0], one[2])],
        ),
    ]
    _draw_front_line(figure, across, up, [one for one in placed if (one[0].number, one[1]) in front])
    for name, colour, symbol, group in groups:
        _draw_points(figure, result, name, colour, symbol, group)
    _draw_best(figure, result)
    _draw_slo(figure, result, up, [across.of(point) for _, _, point in placed])
    figure.update_layout(
        xaxis_title=f"{primary}: {across.title}",
        yaxis_title=up.title,
        yaxis_type="log",
        legend={"orientation": "h", "y": -0.2},
    )
    return _html(figure, "front")


def batch_chart(result: Result) -> str:
    """Return where a request's time in the server went, your configuration beside the best, for each workload."""
    made = result.confirmation
    if made is None:
        return ""
    if not any(server.mean_s for side in (made.baseline, made.candidate) for server in side.server.values()):
        return ""
    figure = go.Figure()
    sides = [("yours", made.baseline), ("best", made.candidate)]
    labels = [f"{name}, {workload}" for workload in result.study.workloads for name, _ in sides]
    servers = [server for _, side in sides for server in side.server.values()]
    stages = dict.fromkeys(name for one in servers for name in one.mean_s)
    for stage, colour in zip(stages, STAGE_COLOURS, strict=False):
        values = [
            side.server[workload].mean_s.get(stage, 0) * 1e3 if workload in side.server else 0
            for workload in result.study.workloads
            for _, side in sides
        ]
        figure.add_bar(y=labels, x=values, name=stage.replace("_", " "), orientation="h", marker_color=colour)
    figure.update_layout(
        barmode="stack",
        xaxis_title="mean time in the server per request, ms",
        legend={"orientation": "h", "y": -0.25},
    )
    return _html(figure, "stages", height=90 + 45 * len(labels))


def prediction_chart(result: Result) -> str:
    """Return what the twin predicted of each trial against what was measured, "" where it predicted nothing."""
    primary, (across, _) = result.study.workloads[0], axes(result)
    pairs = [
        (trial, trial.predicted[primary][across.key], max(found))
        for trial in result.trials
        if across.key in trial.predicted.get(primary, {})
        and (found := [across.of(point) for point in _best_points(trial, primary)])
    ]
    if not pairs:
        return ""
    expected = [estimate.value * across.scale for _, estimate, _ in pairs]
    measured = [value for _, _, value in pairs]
    figure = go.Figure()
    ends = [min(*expected, *measured), max(*expected, *measured)]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}, name="predicted = measured")
    figure.add_scatter(
        x=expected,
        y=measured,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [(one.high - one.value) * across.scale for _, one, _ in pairs],
            "arrayminus": [(one.value - one.low) * across.scale for _, one, _ in pairs],
            "thickness": 0.8,
            "width": 0,
        },
        mode="markers",
        marker={"color": BLUE, "size": 8},
        name="trials, with the 95% interval of the prediction",
        text=[
            f"<b>trial {trial.number}</b><br>{_escaped(words.config(trial.config, result.knobs))}"
            for trial, _, _ in pairs
        ],
        hoverinfo="text",
    )
    figure.update_layout(
        xaxis_title=f"predicted {across.title}",
        yaxis_title=f"measured {across.title}",
        legend={"orientation": "h", "y": -0.25},
    )
    return _html(figure, "predictions", height=380)


def over_time_chart(panels: Sequence[Panel]) -> str:
    """Return panels one below the other, over the same time, "" without any."""
    if not panels:
        return ""
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.06)
    colours = iter(STAGE_COLOURS * (1 + sum(len(panel.lines) for panel in panels) // len(STAGE_COLOURS)))
    for row, panel in enumerate(panels, 1):
        for name, (at_s, values) in panel.lines.items():
            line = go.Scatter(x=at_s, y=values, mode="lines", name=name, line={"color": next(colours), "shape": "hv"})
            figure.add_trace(line, row=row, col=1)
        figure.update_yaxes(title_text=panel.title, rangemode="tozero", row=row, col=1)
    figure.update_xaxes(title_text="time since the window began, s", row=len(panels), col=1)
    return _html(figure, "over-time", height=120 + 170 * len(panels))


def _best_points(trial: Trial, workload: str) -> list[Point]:
    """Return a trial's points of a workload that meet its SLOs, or all of them where none does."""
    points = [point for point in trial.points if point.workload == workload]
    return [point for point in points if all(over <= 0 for over in point.violations.values())] or points


def line_chart(
    name: str, across: NDArray[np.float64], up: NDArray[np.float64], across_title: str, up_title: str
) -> str:
    """Return values over others as a line."""
    return _plain(name, go.Scatter(x=across, y=up, mode="lines", line={"color": BLUE}), across_title, up_title)


def bar_chart(name: str, across: NDArray[np.float64], up: NDArray[np.float64], across_title: str, up_title: str) -> str:
    """Return values over others as bars without gaps."""
    return _plain(name, go.Bar(x=across, y=up, marker_color=BLUE), across_title, up_title)


def _plain(name: str, trace: go.Scatter | go.Bar, across_title: str, up_title: str) -> str:
    figure = go.Figure(trace)
    figure.update_layout(xaxis_title=across_title, yaxis_title=up_title, yaxis_rangemode="tozero", bargap=0)
    return _html(figure, name, height=300)


def _draw_front_line(figure: go.Figure, across: Axis, up: Axis, members: Sequence[tuple[Trial, int, Point]]) -> None:
    ordered = sorted(members, key=lambda one: across.of(one[2]))
    figure.add_scatter(
        x=[across.of(point) for _, _, point in ordered],
        y=[up.of(point) for _, _, point in ordered],
        mode="lines",
        line={"color": GREEN, "width": 1.5, "dash": "dot"},
        name="Pareto front",
        hoverinfo="skip",
    )


def _draw_points(
    figure: go.Figure,
    result: Result,
    name: str,
    colour: str,
    symbol: str,
    group: Sequence[tuple[Trial, int, Point]],
) -> None:
    if not group:
        return
    listed = {(member.trial, member.point): member for member in result.front}
    members = [listed.get((trial.number, index)) for trial, index, _ in group]
    across, up = axes(result)
    figure.add_scatter(
        x=[across.of(point) for _, _, point in group],
        y=[up.of(point) for _, _, point in group],
        error_x=_bars([point.metrics[across.key] for _, _, point in group], members, across.scale),
        error_y=_bars([point.metrics[up.key] for _, _, point in group], members, up.scale),
        mode="markers",
        marker={
            "color": colour,
            "symbol": symbol,
            "size": 9,
            "opacity": [FAINTEST + (1 - FAINTEST) * (member.membership if member else 0.0) for member in members],
        },
        name=name,
        text=[_hover(result, trial, point, member) for (trial, _, point), member in zip(group, members, strict=True)],
        hoverinfo="text",
    )


def _bars(estimates: Sequence[Estimate], members: Sequence[FrontPoint | None], scale: float) -> dict[str, object]:
    """Return error bars from the intervals of the points that are listed; a bound that is missing has none."""

    def lengths(bounds: Sequence[float]) -> list[float]:
        return [
            abs(bound - one.value) * scale if member and 0 < bound < float("inf") else 0.0
            for one, bound, member in zip(estimates, bounds, members, strict=True)
        ]

    return {
        "type": "data",
        "symmetric": False,
        "array": lengths([one.high for one in estimates]),
        "arrayminus": lengths([one.low for one in estimates]),
        "thickness": 0.8,
        "width": 0,
    }


def _draw_slo(figure: go.Figure, result: Result, up: Axis, across: Sequence[float]) -> None:
    asked = result.study.bounds_of(result.study.workloads[0]).get(up.name)
    if asked is None or not across:
        return
    bound = asked * up.scale
    figure.add_scatter(
        x=[0, max(across) * 1.05],
        y=[bound, bound],
        mode="lines",
        line={"color": RED, "dash": "dash"},
        name=f"SLO: {up.name} {words.metric_value(up.name, asked, result.own_metrics)}",
        hoverinfo="skip",
    )


def _draw_best(figure: go.Figure, result: Result) -> None:
    if result.best is None:
        return
    found, (across, up) = result.best.metrics[result.study.workloads[0]], axes(result)
    if across.key not in found or up.key not in found:
        return
    figure.add_scatter(
        x=[found[across.key].value * across.scale],
        y=[found[up.key].value * up.scale],
        mode="markers",
        marker={"color": ORANGE, "symbol": "star", "size": 18, "line": {"color": "black", "width": 1}},
        name="best, confirmed" if result.best.confirmed else "best, not confirmed",
        text=[f"<b>best: trial {result.best.trial}</b><br>{_escaped(words.config(result.best.config, result.knobs))}"],
        hoverinfo="text",
    )


def _hover(result: Result, trial: Trial, point: Point, member: FrontPoint | None) -> str:
    metrics = point.metrics
    lines = [
        f"<b>trial {trial.number}</b>, {words.load(point.load)}",
        *[_escaped(item) for item in words.config(trial.config, result.knobs).split(", ")],
        *(
            f"{name.replace('_', ' ')} {words.metric_value(name, metrics[key_of(name)].value, result.own_metrics)}"
            for name in ("throughput", "p50", "p99", *(axis.name for axis in named(result)))
            if key_of(name) in metrics
        ),
        *([f"on the front with probability {words.percent(member.membership, 0)}"] if member else []),
    ]
    return "<br>".join(lines)


def _meets(result: Result, trial: Trial, point: Point) -> bool:
    """Whether a point and what goes with it on the other workloads meet every SLO."""
    together = (point, *companions(trial, point))
    names = {one.workload for one in together}
    return (
        trial.state == "complete"
        and names == set(result.study.workloads)
        and all(violation <= 0 for one in together for violation in one.violations.values())
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _html(figure: go.Figure, name: str, height: int = 480) -> str:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 60},
        paper_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    html: str = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        div_id=name,
        config={"displaylogo": False, "responsive": True},
    )
    return html
