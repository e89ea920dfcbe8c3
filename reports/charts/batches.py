"""Executed batch sizes: how the requests were spread over them, and what each took."""

from collections.abc import Mapping, Sequence

from reports.charts.colours import SERIES
from reports.charts.drawing import Choice, Drawing, Picture, text_of
from reports.points import confirmed_sides, two_sides
from tuner.results import BatchSize, Result

NOTE = (
    "Bars: the share of requests that were computed in a batch of this size, by the server's own statistics; lines, on "
    "the right: the mean time to compute one."
)
Sides = Mapping[str, Sequence[BatchSize]]


def batch_chart(result: Result) -> Drawing | None:
    """Return the chart with a picture for each workload, None where no server told its batches."""
    found = {workload: sides for workload in result.study.workloads if (sides := _sides(result, workload))}
    if not found:
        return None
    pictures = {str(index): _picture(sides) for index, sides in enumerate(found.values())}
    return Drawing("batches", pictures, [Choice("workload", "workload", list(found))], NOTE, 360)


def _sides(result: Result, workload: str) -> Sides:
    if result.confirmation is not None:
        pairs = confirmed_sides(result, result.confirmation)
        made = {name: side.server[workload].batch_sizes for name, side in pairs if workload in side.server}
    else:
        made = {
            name: point.server.batch_sizes for name, _, point in two_sides(result, workload) if point.server is not None
        }
    return {name: sizes for name, sizes in made.items() if sum(one.count for one in sizes)}


def _picture(sides: Sides) -> Picture:
    sizes = sorted({one.size for found in sides.values() for one in found})
    labels = [str(size) for size in sizes]
    traces: list[Mapping[str, object]] = []
    for colour, (name, found) in zip(SERIES, sides.items(), strict=False):
        by_size = {one.size: one for one in found}
        total = sum(one.size * one.count for one in found)
        shares = [100 * by_size[size].size * by_size[size].count / total if size in by_size else 0.0 for size in sizes]
        took = [by_size[size].compute_mean_s * 1e3 if size in by_size else None for size in sizes]
        traces += [
            {
                "type": "bar",
                "x": labels,
                "y": shares,
                "name": text_of(name),
                "marker": {"color": colour},
                "hovertemplate": "batches of %{x}: %{y:.1f}% of the requests<extra>%{fullData.name}</extra>",
            },
            {
                "type": "scatter",
                "x": labels,
                "y": took,
                "yaxis": "y2",
                "mode": "lines+markers",
                "connectgaps": True,
                "name": text_of(f"{name}, time"),
                "line": {"color": colour, "dash": "dot", "width": 1.5},
                "hovertemplate": "a batch of %{x} takes %{y:,.2f} ms<extra>%{fullData.name}</extra>",
            },
        ]
    layout = {
        "barmode": "group",
        "xaxis": {"title": {"text": "executed batch size"}, "type": "category"},
        "yaxis": {"title": {"text": "share of requests, %"}, "rangemode": "tozero"},
        "yaxis2": {
            "title": {"text": "time of a batch, ms"},
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "showgrid": False,
        },
    }
    return Picture(traces, layout, _finding(sides))


def _finding(sides: Sides) -> str:
    means = [
        f"{name} {sum(one.size * one.count for one in found) / sum(one.count for one in found):.1f}"
        for name, found in sides.items()
    ]
    return f"Mean executed batch: {', '.join(means)}."
