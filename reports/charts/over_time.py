"""Latency and what was used over one time, panels one below the other."""

from collections.abc import Sequence
from itertools import cycle

from reports.charts.colours import STAGES
from reports.charts.drawing import Drawing, Picture, Trace, one, text_of
from reports.overtime import Panel
from tuner.units import format_number

GAP = 0.06
"""Between two panels, of the chart's height."""
NOTE = "The window in the search; latency of the answers that were ok, and what was used meanwhile, on the same clock."


def over_time_chart(panels: Sequence[Panel]) -> Drawing | None:
    """Return panels one below the other, over the same time; None without any."""
    if not panels:
        return None
    colours = cycle(STAGES)
    traces: list[Trace] = []
    last = f"y{len(panels)}" if len(panels) > 1 else "y"
    layout: dict[str, object] = {
        "xaxis": {
            "title": {"text": "time since the window began"},
            "anchor": last,
            "hoverformat": ".3f",
            "ticksuffix": " s",
            "showticksuffix": "last",
        },
        "hovermode": "x unified",
    }
    height = (1 - GAP * (len(panels) - 1)) / len(panels)
    for row, panel in enumerate(panels):
        number = "" if row == 0 else str(row + 1)
        top = 1 - row * (height + GAP)
        layout[f"yaxis{number}"] = {
            "title": {"text": text_of(panel.title)},
            "rangemode": "tozero",
            "domain": [max(0.0, top - height), top],
        }
        traces += [
            {
                "type": "scatter",
                "x": at_s,
                "y": values,
                "yaxis": f"y{number}",
                "mode": "lines",
                "name": text_of(name),
                "line": {"color": next(colours), "shape": "hv"},
                "hovertemplate": f"%{{fullData.name}}: %{{y:,.2f}}{_behind(panel.unit)}<extra></extra>",
            }
            for name, (at_s, values) in panel.lines.items()
        ]
    return one("over-time", Picture(traces, layout, _finding(panels)), NOTE, 120 + 170 * len(panels))


def _behind(unit: str) -> str:
    return unit if unit == "%" else f" {unit}"


def _finding(panels: Sequence[Panel]) -> str:
    parts = [
        f"{name} {panel.name} from {format_number(values.min())} to {format_number(values.max())}{_behind(panel.unit)}"
        for panel in panels
        for name, (_, values) in panel.lines.items()
        if len(values)
    ]
    return f"The best trial over its window: {'; '.join(parts)}."
