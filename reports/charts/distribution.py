"""The latency distribution over its percentiles, on an axis on which each further nine takes the same room."""

from collections.abc import Mapping, Sequence

import numpy as np

from reports import words
from reports.charts.colours import RED, SERIES
from reports.charts.drawing import LOG_TICKS, Choice, Drawing, Picture, Trace, text_of
from reports.latencies import Distribution, of_workload
from tuner.catalog import LATENCY, PERCENTILES
from tuner.results import Result

TICKS = {1.0: "0%", 0.5: "50%", 0.1: "90%", 0.01: "99%", 0.001: "99.9%", 1e-4: "99.99%", 1e-5: "99.999%"}
"""Share of slower requests -> percentile."""
NOTE = (
    "From the records of the search's windows, all requests intended in them; a line that ends early ends where "
    "requests failed. Each line ends with its slowest request: that end is one request, not a percentile to rely on. "
    "The bars are the 95% intervals of p50, p90, p95 and p99."
)


def distribution_chart(result: Result, found: Sequence[Distribution]) -> Drawing | None:
    """Return the chart with a picture for each workload, None without records."""
    workloads = [name for name in result.study.workloads if of_workload(found, name)]
    if not workloads:
        return None
    pictures = {str(index): _picture(result, name, of_workload(found, name)) for index, name in enumerate(workloads)}
    return Drawing("distribution", pictures, [Choice("workload", "workload", workloads)], NOTE, 420)


def _picture(result: Result, workload: str, found: Sequence[Distribution]) -> Picture:
    traces = [
        trace
        for colour, one in zip(SERIES, found, strict=False)
        for trace in (_line(one, colour), _intervals(one, colour))
    ]
    bounds = {name: bound for name, bound in result.study.bounds_of(workload).items() if name in PERCENTILES}
    if bounds:
        traces.append(_bounds(bounds))
    farthest = min(float(one.slower[-1]) for one in found)
    layout = {
        "xaxis": {
            "title": {"text": "percentile of the requests"},
            "type": "log",
            "tickformat": LOG_TICKS,
            "autorange": "reversed",
            "tickvals": [share for share in TICKS if share >= farthest / 3],
            "ticktext": [text for share, text in TICKS.items() if share >= farthest / 3],
        },
        "yaxis": {"title": {"text": "latency, ms"}, "type": "log", "tickformat": LOG_TICKS},
        "hovermode": "closest",
    }
    return Picture(traces, layout, _finding(workload, found))


def _line(one: Distribution, colour: str) -> Trace:
    there = np.isfinite(one.latency_s) & (one.latency_s > 0)
    return {
        "type": "scatter",
        "x": one.slower[there],
        "y": one.latency_s[there] * 1e3,
        "mode": "lines",
        "line": {"color": colour, "shape": "hv"},
        "name": text_of(f"{one.label}: {one.requests:,} requests"),
        "hovertemplate": "%{y:,.2f} ms; %{x:.3~p} of the requests were slower<extra></extra>",
    }


def _intervals(one: Distribution, colour: str) -> Trace:
    known = {
        name: one.point.metrics[key]
        for name in PERCENTILES
        if (key := f"{LATENCY.stem}_{name}_s") in one.point.metrics and np.isfinite(one.point.metrics[key].value)
    }
    return {
        "type": "scatter",
        "x": [1 - PERCENTILES[name] for name in known],
        "y": [estimate.value * 1e3 for estimate in known.values()],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, e.high - e.value) * 1e3 if np.isfinite(e.high) else 0.0 for e in known.values()],
            "arrayminus": [max(0.0, e.value - e.low) * 1e3 if e.low > 0 else 0.0 for e in known.values()],
        },
        "mode": "markers",
        "marker": {"color": colour, "size": 6},
        "showlegend": False,
        "text": [f"{name} {words.milliseconds(e.value)} {words.metric_interval(name, e)}" for name, e in known.items()],
        "hoverinfo": "text",
    }


def _bounds(bounds: Mapping[str, float]) -> Trace:
    return {
        "type": "scatter",
        "x": [1 - PERCENTILES[name] for name in bounds],
        "y": [bound * 1e3 for bound in bounds.values()],
        "mode": "markers",
        "marker": {"color": RED, "symbol": "line-ew-open", "size": 26, "line": {"width": 3, "color": RED}},
        "name": "SLO",
        "text": [f"SLO: {name} {words.milliseconds(bound)}" for name, bound in bounds.items()],
        "hoverinfo": "text",
    }


def _finding(workload: str, found: Sequence[Distribution]) -> str:
    said = []
    for one in found:
        middle, tail = _percentile(one, "p50"), _percentile(one, "p99")
        ratio = f", {tail / middle:.1f} times the median" if np.isfinite(tail) and middle > 0 else ""
        said.append(f"{one.label}: 99% within {words.milliseconds(tail)}{ratio}")
    return f"{workload}: {'; '.join(said)}."


def _percentile(one: Distribution, name: str) -> float:
    """Return a percentile as the tables have it; by the curve, which is drawn at other shares, where they have none."""
    measured = one.point.metrics.get(f"{LATENCY.stem}_{name}_s")
    return measured.value if measured else float(np.interp(PERCENTILES[name] - 1, -one.slower, one.latency_s))
