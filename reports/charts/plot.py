"""The script of the charts: plotly's library for the page, and ours."""

import json
from importlib.resources import files

from reports.charts.colours import THEMES

SCRIPTS = ("charts.js", "numbers.js", "front.js")


def library() -> str:
    """Return the JavaScript of the charts: plotly's, the themes, and what draws and follows the reader's choices."""
    # Plotly's own function for this would import all of plotly, which takes longer than making the page.
    plotly = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    folder = files("reports") / "scripts"
    ours = [(folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
    themes = f"window.paretuneThemes = {json.dumps(THEMES)};"
    return "\n".join([plotly, themes, *ours])
