"""Where the mean latency goes: the server's stages by its own statistics, the generator, and what neither claims."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import words
from reports.charts.colours import PINK, SKY, STAGES
from reports.charts.drawing import Drawing, Picture, one, text_of
from reports.points import confirmed_sides, two_sides
from tuner.results import Result

REST, GENERATOR = "network and waiting", "load generator (median)"
FIXED = {REST: PINK, GENERATOR: SKY}
NOTE = (
    "Mean over the requests of the window. The stages are the server's own statistics; the load generator's part is "
    "the median delay from when a request could be sent until it was; network and waiting is what neither claims: the "
    "network, the server's front, and waiting for a connection."
)


@dataclass(frozen=True)
class Parts:
    """A configuration's mean latency on a workload.

    Attributes:
        label: which configuration and workload.
        mean_s: part -> seconds.
        latency_s: all of it; infinite where requests failed.
    """

    label: str
    mean_s: Mapping[str, float]
    latency_s: float


def stage_chart(result: Result) -> Drawing | None:
    """Return the chart, None where no server told its stages."""
    bars = _bars(result)
    if not bars:
        return None
    names = list(dict.fromkeys(name for bar in bars for name in bar.mean_s))
    server = [name for name in names if name not in FIXED]
    colours = dict(zip(server, STAGES, strict=False)) | FIXED
    labels = [text_of(bar.label) for bar in bars]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "y": labels,
            "x": [bar.mean_s.get(name, 0.0) * 1e3 for bar in bars],
            "name": text_of(name.replace("_", " ")),
            "marker": {"color": colours.get(name, PINK)},
            "hovertemplate": "%{y}<br>%{fullData.name}: %{x:,.3f} ms<extra></extra>",
        }
        for name in [*server, *(name for name in FIXED if name in names)]
    ]
    layout = {
        "barmode": "stack",
        "legend": {"traceorder": "normal"},
        "xaxis": {"title": {"text": "mean latency of a request, ms"}},
        "yaxis": {"autorange": "reversed"},
    }
    return one("stages", Picture(traces, layout, _finding(bars)), NOTE, 150 + 45 * len(bars))


def _bars(result: Result) -> list[Parts]:
    """Return both sides of each workload: those of the confirmation, or those of the search where there is none."""
    found = []
    for workload in result.study.workloads:
        if result.confirmation is not None:
            measured = [
                (name, side.server.get(workload), side.metrics.get(workload, {}), side.generator.get(workload))
                for name, side in confirmed_sides(result, result.confirmation)
            ]
        else:
            measured = [
                (name, point.server, point.metrics, point.generator) for name, _, point in two_sides(result, workload)
            ]
        for name, server, metrics, generator in measured:
            if server is not None and server.mean_s:
                latency = metrics.get("latency_mean_s")
                whole_s = math.inf if latency is None else latency.value
                late_s = None if generator is None else generator.issue_delay_p50_s
                found.append(_parts(f"{name}, {workload}", server.mean_s, whole_s, late_s))
    return found


def _parts(label: str, stages: Mapping[str, float], latency_s: float, generator_s: float | None) -> Parts:
    """Part a mean latency; the rest cannot be below 0, and is not known where requests failed.

    Where the generator's part is not known, as in a confirmation that an older version stored, it is in the rest.
    """
    rest_s = latency_s - sum(stages.values()) - (generator_s or 0.0)
    others = {REST: max(0.0, rest_s)} if math.isfinite(latency_s) else {}
    if others and generator_s is not None:
        others[GENERATOR] = generator_s
    return Parts(label, {**stages, **others}, latency_s)


def _finding(bars: Sequence[Parts]) -> str:
    said = []
    for bar in bars:
        whole = sum(bar.mean_s.values())
        most = max(bar.mean_s, key=lambda name: bar.mean_s[name])
        share = f", {bar.mean_s[most] / whole:.0%} of {words.milliseconds(whole)}" if whole > 0 else ""
        said.append(f"{bar.label}: most in {most.replace('_', ' ')}{share}")
    return "; ".join(said) + "."
