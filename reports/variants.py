"""What is known of each variant's answers, as rows of a table."""

from collections.abc import Iterator
from dataclasses import dataclass

from tuner.catalog import METRICS
from tuner.results import Estimate, Result, Trial
from tuner.units import format_setting

SHOWN = ("accuracy", "prediction_error", "accuracy_drop", "answer_difference_max", "answer_difference_mean")


@dataclass(frozen=True)
class Row:
    """One number of a variant on a workload, or on a class of one.

    Attributes:
        workload: the workload's name, or `WORKLOAD.CLASS`.
        variant: its knobs that change answers; `yours` where it has none of them.
        metric: by name.
        estimate: the number.
    """

    workload: str
    variant: str
    metric: str
    estimate: Estimate


def rows(result: Result) -> list[Row]:
    """Return a row for each workload, variant and metric of its answers, in the order in which they were met."""
    found = {(row.workload, row.variant, row.metric): row for trial in result.trials for row in _rows(result, trial)}
    order = {name: index for index, name in enumerate(result.study.workloads)}
    return sorted(found.values(), key=lambda row: order.get(row.workload, len(order)))


def variant_of(result: Result, trial: Trial) -> str:
    """Return a trial's knobs that change answers with their values; `yours` where it has none of them."""
    knobs = [knob for knob in result.knobs if knob.changes_answers and knob.name in trial.config]
    return ", ".join(f"{knob.name} {format_setting(trial.config[knob.name], knob.unit)}" for knob in knobs) or "yours"


def variant_names(result: Result) -> list[str]:
    """Return every variant that was tried, in the order in which they were."""
    return list(dict.fromkeys(variant_of(result, trial) for trial in result.trials))


def _rows(result: Result, trial: Trial) -> Iterator[Row]:
    variant = variant_of(result, trial)
    for point in trial.points:
        for name in SHOWN:
            if (estimate := point.metrics.get(METRICS[name].key)) is not None:
                yield Row(point.workload, variant, name, estimate)
