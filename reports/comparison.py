"""Two configurations or runs beside one another in the terminal."""

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from reports import words
from tuner.results import Comparison, Ratio

_COLOURS = {"better": "green", "worse": "red", "no difference": "", "inconclusive": "yellow"}


def ratios(found: Mapping[str, Mapping[str, Ratio]]) -> Table:
    """Return a row for each workload and metric: the ratio, its interval and the verdict."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("workload", "", "ours / theirs", "95% interval", "ours is"):
        table.add_column(name, justify="right" if name in ("ours / theirs", "95% interval") else "left")
    for workload, by_metric in found.items():
        for key, ratio in by_metric.items():
            verdict = Text(ratio.verdict, style=_COLOURS[ratio.verdict])
            table.add_row(workload, words.gain_of(key), f"{ratio.value:.3f}", words.interval(ratio, 3), verdict)
    return table


def sides(made: Comparison) -> Table:
    """Return what was measured of both configurations, with the verdicts on their SLOs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("workload", "", "throughput", "p50", "p99", "errors", "accuracy", "SLO"):
        words_in_it = name in ("workload", "", "SLO")
        table.add_column(name, justify="left" if words_in_it else "right", overflow="fold")
    for workload in made.ratios:
        for name, side in (("ours", made.ours), ("theirs", made.theirs)):
            metrics = side.metrics[workload]
            table.add_row(
                workload,
                name,
                words.per_second(metrics["throughput_rps"].value),
                *(words.milliseconds(metrics[f"latency_{which}_s"].value) for which in ("p50", "p99")),
                words.percent(metrics["error_rate"].value),
                words.percent(metrics["accuracy"].value) if "accuracy" in metrics else "",
                words.verdicts(side.verdicts[workload]),
            )
    return table
