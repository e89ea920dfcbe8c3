"""A metric over any two knobs."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reports.charts.drawing import Choice, Drawing, Picture, text_of
from reports.charts.effects import Modelled
from reports.knob_table import Column, Table

MOST_KNOBS = 8
"""Knobs whose pairs are drawn, those that matter most: the page has to stay small."""
MOST_VALUES = 16
"""Rows and columns; neighbouring values of a knob with more share one."""
NOTE = (
    "Each field is the median of the points measured there, over all values of the other knobs, so it shows what the "
    "search saw, not what the two knobs alone do; hover for the number of points. Empty: nothing was measured."
)


def heat_chart(found: Sequence[Table], models: Sequence[Modelled]) -> Drawing | None:
    """Return the chart with a picture for each pair of knobs and metric; None with fewer than two knobs that changed.

    Args:
        found: the metrics that are drawn.
        models: which knobs matter, so that the pair that is seen first is of those that do; may be empty.
    """
    if not found:
        return None
    shares = {effect.name: effect.share for effect in models[0].found} if models else {}
    ranked = sorted(found[0].columns, key=lambda column: -shares.get(column.name, 0.0))
    columns = ranked[:MOST_KNOBS]
    pairs = list(combinations([column.name for column in columns], 2))
    if not pairs:
        return None
    pictures = {
        f"{number}-{index}": _picture(table, *pair)
        for number, pair in enumerate(pairs)
        for index, table in enumerate(found)
    }
    choices = [
        Choice("knobs", "knobs", [f"{one} and {other}" for one, other in pairs]),
        Choice("metric", "metric", [table.axis.spoken for table in found]),
    ]
    return Drawing("heat", pictures, choices, _note(columns, ranked[MOST_KNOBS:], ranked=bool(shares)), 420)


def _note(columns: Sequence[Column], left_out: Sequence[Column], *, ranked: bool) -> str:
    """Return how the chart is read, and what of the knobs it does not have."""
    shared = [column.name for column in columns if len(column.shown) > MOST_VALUES]
    text = NOTE
    if shared:
        text += f" Values that are next to one another share a field where a knob has many: {', '.join(shared)}."
    if left_out:
        count, names = len(columns), ", ".join(column.name for column in left_out)
        which = f"the {count} that explain the most" if ranked else f"the first {count}"
        changed = count + len(left_out)
        text += f" Of the {changed} knobs that changed it has {which}, to keep the page small, and not {names}."
    return text


def _picture(table: Table, one: str, other: str) -> Picture:
    columns = {column.name: column for column in table.columns}
    metric = table.axis.spoken
    if one not in columns or other not in columns:
        return Picture([], {}, f"{one} and {other} did not both change where {metric} was measured.")
    across, across_names = _binned(columns[one])
    up, up_names = _binned(columns[other])
    middle = np.full((len(up_names), len(across_names)), np.nan)
    counts = np.zeros(middle.shape, np.int64)
    for row, column in {*zip(up.tolist(), across.tolist(), strict=True)}:
        there = table.values[(up == row) & (across == column)]
        middle[row, column], counts[row, column] = np.median(there) * table.axis.scale, len(there)
    trace = {
        "type": "heatmap",
        "x": [text_of(name) for name in across_names],
        "y": [text_of(name) for name in up_names],
        "z": middle,
        "customdata": counts,
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": text_of(table.axis.title), "side": "right"}},
        "hoverongaps": False,
        "hovertemplate": f"{text_of(one)} %{{x}}<br>{text_of(other)} %{{y}}<br>"
        f"{text_of(metric)} %{{z:,.5~r}}{text_of(table.axis.suffix)}, median of %{{customdata}} points<extra></extra>",
    }
    layout = {
        "xaxis": {"title": {"text": text_of(one)}, "type": "category", "showgrid": False},
        "yaxis": {"title": {"text": text_of(other)}, "type": "category", "showgrid": False},
    }
    return Picture([trace], layout, _finding(table, (one, across_names), (other, up_names), middle))


def _binned(column: Column) -> tuple[NDArray[np.int64], Sequence[str]]:
    """Return the field of each point and the fields' names; where there are many values, neighbours share one."""
    values = len(column.shown)
    if values <= MOST_VALUES:
        return column.factor.levels, column.shown
    field = np.arange(values) * MOST_VALUES // values
    names = []
    for index in range(MOST_VALUES):
        mine = np.flatnonzero(field == index)
        names.append(f"{column.shown[mine[0]]} to {column.shown[mine[-1]]}")
    return field[column.factor.levels], names


def _finding(
    table: Table, across: tuple[str, Sequence[str]], up: tuple[str, Sequence[str]], middle: NDArray[np.float64]
) -> str:
    metric = table.axis.spoken
    ends = [divmod(int(where(middle)), middle.shape[1]) for where in (np.nanargmax, np.nanargmin)]
    places = [f"{across[0]} {across[1][column]}, {up[0]} {up[1][row]}" for row, column in ends]
    return f"The median {metric} is highest at {places[0]} and lowest at {places[1]}."
