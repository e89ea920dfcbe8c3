"""What each knob does: its share of the variance, and the metric over its values with the noise shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.charts.colours import BLUE, GREY, SKY, faint
from reports.charts.drawing import LOG_TICKS, Choice, Drawing, Picture, Trace, text_of
from reports.knob_table import Column, Table
from tuner.effects import Effect, effects

SHARE_NOTE = (
    "An additive model of the metric's logarithm over all points of the primary workload: the share of its variance "
    "that a knob explains beyond the others, with its 95% interval. Grey: not distinguishable from noise, which here "
    "is everything that the model does not explain, measurement noise and knobs that act together."
)
EFFECT_NOTE = (
    "The line is the model's mean at each value of the knob with its 95% interval, relative to the mean of all points; "
    "each dot is a measured point with the effects of the other knobs taken out, so their scatter is the noise."
)
MOST_DOTS = 200
"""Points of a picture; of more every k-th is drawn."""


@dataclass(frozen=True)
class Modelled:
    """A metric with what the knobs do to it.

    Attributes:
        table: the points.
        found: the effect of each of its columns.
    """

    table: Table
    found: Sequence[Effect]


def modelled(found: Sequence[Table]) -> list[Modelled]:
    """Return the tables that have enough points, modelled; [] where there are too few."""
    made = []
    for table in found:
        model = effects([column.factor for column in table.columns], table.values) if table.columns else None
        if model is not None:
            made.append(Modelled(table, model))
    return made


def importance_chart(models: Sequence[Modelled]) -> Drawing | None:
    """Return the knobs by their share of the variance, a picture for each metric; None without a model."""
    if not models:
        return None
    pictures = {str(index): _shares(model) for index, model in enumerate(models)}
    rows = max(len(model.found) for model in models)
    return Drawing("importance", pictures, [_metrics(models)], SHARE_NOTE, 130 + 34 * rows)


def effect_chart(models: Sequence[Modelled]) -> Drawing | None:
    """Return a metric over the values of a knob, a picture for each knob and metric; None without a model."""
    if not models:
        return None
    names = [effect.name for effect in sorted(models[0].found, key=lambda one: -one.share)]
    pictures: dict[str, Picture] = {}
    for number, name in enumerate(names):
        for index, model in enumerate(models):
            pictures[f"{number}-{index}"] = _effect_of(model, name)
    return Drawing("effect", pictures, [Choice("knob", "knob", names), _metrics(models)], EFFECT_NOTE, 400)


def _metrics(models: Sequence[Modelled]) -> Choice:
    return Choice("metric", "metric", [model.table.axis.spoken for model in models])


def _shares(model: Modelled) -> Picture:
    ordered = sorted(model.found, key=lambda one: one.share)
    shares = [100 * one.share for one in ordered]
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [text_of(one.name) for one in ordered],
        "x": shares,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, 100 * (one.high - one.share)) for one in ordered],
            "arrayminus": [max(0.0, 100 * (one.share - one.low)) for one in ordered],
        },
        "marker": {"color": [BLUE if one.distinguishable else GREY for one in ordered]},
        "text": [_said(one) for one in ordered],
        "textposition": "none",
        "hoverinfo": "text",
    }
    metric = model.table.axis.spoken
    layout = {
        "xaxis": {"title": {"text": text_of(f"share of the variance of ln {metric}, %")}, "range": [0, 100]},
        "yaxis": {"type": "category"},
        "hovermode": "closest",
    }
    sure = [one for one in reversed(ordered) if one.distinguishable]
    told = ", ".join(f"{one.name} {one.share:.0%} [{one.low:.0%}, {one.high:.0%}]" for one in sure)
    table = model.table
    text = f"{metric}, {len(table.values)} points of {len(set(table.trials))} trials: {told or 'no knob'} "
    text += "stands out from the noise." if len(sure) < 2 else "stand out from the noise."
    unsure = [one.name for one in ordered if not one.distinguishable]
    if unsure and sure:
        text += f" Not distinguishable from noise: {', '.join(unsure)}."
    if table.left_out:
        text += f" {table.left_out} points are left out: requests failed, or they set other knobs."
    return Picture([trace], layout, text)


def _said(one: Effect) -> str:
    if one.confounded:
        said = "always changed together with other knobs"
    else:
        told = "" if one.distinguishable else ", not distinguishable from noise"
        said = f"{one.share:.0%} of the variance [{one.low:.0%}, {one.high:.0%}]{told}"
    return f"<b>{text_of(one.name)}</b><br>{said}"


def _effect_of(model: Modelled, name: str) -> Picture:
    pairs = zip(model.table.columns, model.found, strict=True)
    column, effect = next(((column, effect) for column, effect in pairs if effect.name == name), (None, None))
    metric = model.table.axis.spoken
    if column is None or effect is None:
        return Picture([], {}, f"{name} has one value where {metric} was measured.")
    layout = {
        "xaxis": {
            "title": {"text": text_of(name)},
            "tickvals": list(range(len(column.shown))),
            "ticktext": [text_of(value) for value in column.shown],
            "range": [-0.5, len(column.shown) - 0.5],
        },
        "yaxis": {
            "title": {"text": text_of(f"{metric}, relative to its mean")},
            "type": "log",
            "tickformat": LOG_TICKS,
        },
        "hovermode": "closest",
    }
    return Picture(
        [_dots(model.table, column, effect), *_fitted(column, effect)], layout, _moves(column, effect, metric)
    )


def _dots(table: Table, column: Column, effect: Effect) -> Trace:
    step = -(-len(effect.partial) // MOST_DOTS)
    levels = column.factor.levels[::step]
    aside = np.random.default_rng(0).uniform(-0.15, 0.15, len(levels))
    return {
        "type": "scatter",
        "x": levels + aside,
        "y": effect.partial[::step],
        "mode": "markers",
        "marker": {"color": faint(SKY, 0.6), "size": 6},
        "name": "points, other knobs' effects taken out",
        "text": [f"trial {number}" for number in table.trials[::step]],
        "hovertemplate": "%{text}: %{y:.2f} times the mean<extra></extra>",
    }


def _fitted(column: Column, effect: Effect) -> list[Trace]:
    """Return the model where the knob has been: what was never set has no error to speak of."""
    seen = np.unique(column.factor.levels)
    return [
        {
            "type": "scatter",
            "x": seen,
            "y": effect.ratio[seen],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": (effect.ratio_high - effect.ratio)[seen],
                "arrayminus": (effect.ratio - effect.ratio_low)[seen],
            },
            "mode": "lines+markers" if column.factor.ordered else "markers",
            "line": {"color": BLUE},
            "marker": {"color": BLUE, "size": 9},
            "name": "model, with its 95% interval",
            "text": [text_of(column.shown[level]) for level in seen],
            "hovertemplate": "%{text}: %{y:.2f} times the mean<extra></extra>",
        }
    ]


def _moves(column: Column, effect: Effect, metric: str) -> str:
    if effect.confounded:
        return f"{effect.name} always changed together with other knobs: nothing can be said of it alone."
    if not effect.distinguishable:
        return f"{effect.name} and {metric}: not distinguishable from noise."
    low, high = int(np.argmin(effect.ratio)), int(np.argmax(effect.ratio))
    times = effect.ratio[high] / effect.ratio[low]
    return (
        f"{metric} is lowest at {effect.name} {column.shown[low]} and highest at {column.shown[high]}, "
        f"{times:.2f} times as much, by the model."
    )
