"""A line or bars over numbers, for the preview of traffic."""

import numpy as np
from numpy.typing import NDArray

from reports.charts.colours import BLUE
from reports.charts.drawing import Drawing, Picture, Trace, one, text_of
from tuner.units import format_number

HEIGHT = 300
Values = NDArray[np.float64]


def line_chart(name: str, across: Values, up: Values, across_title: str, up_title: str) -> Drawing:
    """Return values over others as a line."""
    trace = {"type": "scatter", "x": across, "y": up, "mode": "lines", "line": {"color": BLUE}}
    return _plain(name, trace, up, across_title, up_title)


def bar_chart(name: str, across: Values, up: Values, across_title: str, up_title: str) -> Drawing:
    """Return values over others as bars without gaps."""
    trace = {"type": "bar", "x": across, "y": up, "marker": {"color": BLUE}}
    return _plain(name, trace, up, across_title, up_title)


def _plain(name: str, trace: Trace, up: Values, across_title: str, up_title: str) -> Drawing:
    layout = {
        "xaxis": {"title": {"text": text_of(across_title)}},
        "yaxis": {"title": {"text": text_of(up_title)}, "rangemode": "tozero"},
        "bargap": 0,
    }
    most = f", {format_number(up.max())} at most" if len(up) else ""
    return one(name, Picture([trace], layout, f"{up_title} over {across_title}{most}."), height=HEIGHT)
