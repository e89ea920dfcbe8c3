"""Charts as PNG and SVG files, drawn by kaleido in a browser without a window."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

from reports.charts.drawing import Drawing

Format = Literal["png", "svg"]
SCALE = 2
"""A PNG has so many pixels for each of the page's."""
EXTRA = "pip install 'paretune[images]'"


class NoImages(Exception):
    """Charts cannot be drawn as files here; the message says what is missing and how to get it."""


def write_images(drawings: Sequence[Drawing], folder: Path, kind: Format) -> list[Path]:
    """Write charts as NAME.png or NAME.svg, each as it is seen first, in the light theme; return their paths.

    Nothing is loaded from the network.

    Raises:
        NoImages: kaleido or a browser is missing, or the browser did not draw.
        OSError: the folder or a file cannot be written.
    """
    try:
        kaleido, errors = import_module("kaleido"), import_module("kaleido.errors")
    except ImportError as error:
        raise NoImages(f"images need kaleido ({error}); it comes with: {EXTRA}") from None
    figures = import_module("reports.charts.figures")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{drawing.name}.{kind}" for drawing in drawings]
    asked = [
        {
            "fig": figures.figure(drawing).to_plotly_json(),
            "path": path,
            "opts": _options(drawing, kind, figures.WIDTH),
        }
        for drawing, path in zip(drawings, paths, strict=True)
    ]
    try:
        kaleido.write_fig_from_object_sync(asked, cancel_on_error=True, kopts={"mathjax": False})
    except errors.ChromeNotFoundError:
        raise NoImages(
            "images are drawn by Chrome or Chromium, and there is none; install it (Debian: apt-get install chromium), "
            "or name it with the environment variable BROWSER_PATH"
        ) from None
    except (errors.BrowserClosedError, errors.BrowserFailedError, errors.KaleidoError, errors.JavascriptError) as error:
        raise NoImages(
            f"images are drawn by Chrome or Chromium, and it did not draw them ({type(error).__name__}); "
            "name another one with the environment variable BROWSER_PATH"
        ) from None
    return paths


def _options(drawing: Drawing, kind: Format, width: int) -> dict[str, object]:
    return {"format": kind, "width": width, "height": drawing.height, "scale": SCALE if kind == "png" else 1}
