"""Charts as plotly's figures, for files. The only module that imports plotly, which takes long: import it late."""

import plotly.graph_objects as go

from reports.charts.colours import THEMES
from reports.charts.drawing import Drawing

WIDTH = 1040
"""Of a chart as a file, in pixels."""


def figure(drawing: Drawing, key: str | None = None) -> go.Figure:
    """Return a chart as plotly's figure in the light theme, checked by plotly.

    Args:
        drawing: the chart.
        key: which of its pictures; None: the one that is seen first.

    Raises:
        ValueError: plotly knows no such property, or not with such a value.
    """
    picture = drawing.first if key is None else drawing.pictures[key]
    # A browser without a window may have no WebGL.
    traces = [{**trace, "type": "scatter"} if trace["type"] == "scattergl" else trace for trace in picture.traces]
    made = go.Figure(traces, picture.layout)
    light = THEMES["light"]
    axis = {"gridcolor": light["grid"], "linecolor": light["line"], "zerolinecolor": light["grid"], "automargin": True}
    made.update_layout(
        template="none",
        height=drawing.height,
        width=WIDTH,
        margin={"l": 60, "r": 20, "t": 30, "b": 60},
        paper_bgcolor="white",
        plot_bgcolor="white",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"family": "sans-serif", "size": 13, "color": light["text"]},
    )
    made.update_xaxes(**axis)
    made.update_yaxes(**axis)
    return made
