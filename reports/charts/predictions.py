"""What the twin predicted of each trial against what was measured."""

from collections.abc import Sequence

from reports import words
from reports.axes import Axis, axes
from reports.charts.colours import BLUE, GREY
from reports.charts.drawing import Drawing, Picture, Trace, one, text_of
from reports.points import meets_alone
from tuner.results import Estimate, Point, Result, Trial

Pair = tuple[Trial, Estimate, float]
"""A trial, what was expected of it, and what was measured as it is drawn."""


def prediction_chart(result: Result) -> Drawing | None:
    """Return the chart, None where the twin predicted nothing."""
    primary, (across, _) = result.study.workloads[0], axes(result)
    pairs = [
        (trial, trial.predicted[primary][across.key], max(found))
        for trial in result.trials
        if across.key in trial.predicted.get(primary, {})
        and (found := [across.of(point) for point in _best_points(trial, primary)])
    ]
    if not pairs:
        return None
    layout = {
        "xaxis": {"title": {"text": text_of(f"predicted {across.title}")}},
        "yaxis": {"title": {"text": text_of(f"measured {across.title}")}},
        "hovermode": "closest",
    }
    inside = sum(pair[1].low <= pair[2] / across.scale <= pair[1].high for pair in pairs)
    finding = f"{inside} of {len(pairs)} trials were measured within the 95% interval of their prediction."
    return one("predictions", Picture(_traces(result, across, pairs), layout, finding), height=380)


def _traces(result: Result, across: Axis, pairs: Sequence[Pair]) -> list[Trace]:
    expected = [estimate.value * across.scale for _, estimate, _ in pairs]
    measured = [value for _, _, value in pairs]
    ends = [min(*expected, *measured), max(*expected, *measured)]
    return [
        {
            "type": "scatter",
            "x": ends,
            "y": ends,
            "mode": "lines",
            "line": {"color": GREY, "dash": "dot"},
            "name": "predicted = measured",
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "x": expected,
            "y": measured,
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [(estimate.high - estimate.value) * across.scale for _, estimate, _ in pairs],
                "arrayminus": [(estimate.value - estimate.low) * across.scale for _, estimate, _ in pairs],
                "thickness": 0.8,
                "width": 0,
            },
            "mode": "markers",
            "marker": {"color": BLUE, "size": 8},
            "name": "trials, with the 95% interval of the prediction",
            "text": [
                f"<b>trial {trial.number}</b><br>{text_of(words.config(trial.config, result.knobs))}"
                for trial, _, _ in pairs
            ],
            "hoverinfo": "text",
        },
    ]


def _best_points(trial: Trial, workload: str) -> list[Point]:
    """Return a trial's points of a workload that meet its SLOs, or all that count where none does."""
    points = [point for point in trial.points if point.workload == workload and trial.counts(point)]
    return [point for point in points if meets_alone(trial, point)] or points
