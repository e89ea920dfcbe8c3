"""Colours of the charts, told apart by colour-blind readers as well: Okabe and Ito's palette, and two themes."""

from collections.abc import Mapping

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8a8f98"
PINK, SKY, YELLOW = "#CC79A7", "#56B4E9", "#F0E442"
SERIES = (BLUE, ORANGE, GREEN, RED, PINK, SKY, YELLOW, GREY)
"""For lines and bars that stand beside each other, in this order."""
STAGES = (ORANGE, GREY, BLUE, GREEN, RED, PINK, SKY, YELLOW)

THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {"text": "#1b1f24", "grid": "#d8dee4", "line": "#8c959f", "panel": "#ffffff"},
    "dark": {"text": "#e6edf3", "grid": "#30363d", "line": "#7d8590", "panel": "#161b22"},
}
"""What surrounds the data: text, grid lines, axes, and the ground of hover texts."""


def faint(colour: str, opacity: float) -> str:
    """Return #rrggbb with an opacity as CSS spells it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
