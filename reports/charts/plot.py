"""Plotly: its library for the page, and charts as files. The only module that knows it."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from reports.charts.colours import THEMES
from reports.charts.drawing import Drawing

SCRIPTS = ("charts.js", "front.js")
WIDTH = 1040
SCALE = 2
"""A PNG has so many pixels for each of the page's."""
Format = Literal["png", "svg"]


class NoImages(Exception):
    """Charts cannot be written as files here; the message says what is missing and how to get it."""


def library() -> str:
    """Return the JavaScript of the charts: plotly's, the themes, and what draws and follows the reader's choices."""
    folder = files("reports") / "scripts"
    ours = [(folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
    themes = f"window.paretuneThemes = {json.dumps(THEMES)};"
    return "\n".join([get_plotlyjs(), themes, *ours])


def figure(drawing: Drawing, key: str | None = None) -> go.Figure:
    """Return a chart as plotly's figure in the light theme, checked by plotly.

    Args:
        drawing: the chart.
        key: which of its pictures; None: the one that is seen first.

    Raises:
        ValueError: plotly knows no such property, or not with such a value.
    """
    picture = drawing.first if key is None else drawing.pictures[key]
    made = go.Figure(list(picture.traces), picture.layout)
    light = THEMES["light"]
    axis = {"gridcolor": light["grid"], "linecolor": light["line"], "zerolinecolor": light["grid"], "automargin": True}
    made.update_layout(
        template="none",
        height=drawing.height,
        width=WIDTH,
        margin={"l": 60, "r": 20, "t": 30, "b": 60},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "sans-serif", "size": 13, "color": light["text"]},
    )
    made.update_xaxes(**axis)
    made.update_yaxes(**axis)
    return made


def write_images(drawings: Sequence[Drawing], folder: Path, kind: Format) -> list[Path]:
    """Write charts as files NAME.png or NAME.svg, each as it is seen first, and return their paths.

    Raises:
        NoImages: kaleido or a browser is missing.
        OSError: a file cannot be written.
    """
    try:
        import kaleido  # noqa: F401, PLC0415 - optional, and slow to import
    except ImportError as error:
        raise NoImages(f"images need kaleido ({error}); it comes with: pip install 'paretune[images]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{drawing.name}.{kind}" for drawing in drawings]
    try:
        plotly.io.write_images([figure(one) for one in drawings], paths, format=kind, scale=SCALE)
    except RuntimeError as error:
        # plotly names the missing browser with a RuntimeError, choreographer with one of its own that is one.
        raise NoImages(
            f"images are drawn by Chrome or Chromium, which did not start ({str(error).strip().splitlines()[0]}); "
            "install one, or name it with the environment variable BROWSER_PATH"
        ) from None
    return paths
