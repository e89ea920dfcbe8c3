"""trials.csv and front.csv: one row a point, units in the names of the columns."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from tuner.results import LEVEL_NAMES, KnobInfo, Point, Result, Server, Trial, Value, overall

BOUNDED = ("throughput_rps", "goodput_rps", "latency_p50_s", "latency_p99_s")
"""Metrics whose interval gets columns of its own."""


def trials_csv(result: Result) -> str:
    """Return every point of every trial; a trial without a point has one row with its state and reason."""
    return _csv(trial_rows(result))


def trial_rows(result: Result) -> list[dict[str, object]]:
    """Return the rows of trials.csv: column -> value; a row may lack columns."""
    return [row for trial in result.trials for row in _trial_rows(result, trial)]


def front_csv(result: Result) -> str:
    """Return the points that are on the front or may be, in the order of the first objective.

    A column for each other workload says at which of its loads a point is judged: its verdict may be another elsewhere.
    """
    rows = []
    for member in result.front:
        trial = result.trial(member.trial)
        others = {f"load_level_{name}": load.level for name, load in member.loads.items()}
        of_front = {"meets_slo": member.meets_slo, "membership": member.membership, "on_front": member.on_front}
        row = _row(_trial_columns(result, trial), trial.points[member.point])
        rows.append({**row, **others, **of_front})
    return _csv(rows)


def _trial_rows(result: Result, trial: Trial) -> Iterator[dict[str, object]]:
    of_trial = _trial_columns(result, trial)
    if not trial.points:
        yield of_trial
    for point in trial.points:
        yield _row(of_trial, point)


def _trial_columns(result: Result, trial: Trial) -> dict[str, object]:
    config = {name: value for name, value in trial.config.items() if name not in LEVEL_NAMES.values()}
    return {
        "trial": trial.number,
        "state": trial.state,
        "reason": trial.reason or "",
        **flat_config(config, result.knobs),
        "apply_s": round(trial.apply_s, 3),
        **({} if trial.host is None else {"host": trial.host}),
    }


def _row(of_trial: Mapping[str, object], point: Point) -> dict[str, object]:
    row: dict[str, object] = {
        **of_trial,
        "workload": point.workload,
        "load_mode": point.load.mode,
        "load_level": point.load.level,
        **({} if point.window is None else {"window": point.window}),
        "window_s": round(point.window_s, 3),
        "requests": sum(point.outcomes.values()),
    }
    for key, estimate in point.metrics.items():
        row[key] = estimate.value
        if key in BOUNDED:
            row[f"{key}_low"], row[f"{key}_high"] = estimate.low, estimate.high
    if point.server:
        row |= {f"server_{stage}_mean_s": value for stage, value in point.server.mean_s.items()}
        row["server_batch_size_mean"] = (
            point.server.requests / point.server.executions if point.server.executions else math.nan
        )
        row |= _composing_columns(point.server)
    row["server_cpu_cores"] = point.telemetry.cpu_cores
    row["issue_delay_p99_s"] = point.generator.issue_delay_p99_s
    row["valid"] = point.validity.valid
    row["slo_verdict"] = overall(point.verdicts.values())
    row["ended"] = point.ended
    row["meets_slo"] = all(violation <= 0 for violation in point.violations.values())
    return row


def _composing_columns(server: Server) -> dict[str, object]:
    row: dict[str, object] = {}
    for name, model in server.composing.items():
        row |= {f"server_{name}_{stage}_mean_s": value for stage, value in model.mean_s.items()}
        row[f"server_{name}_batch_size_mean"] = model.requests / model.executions if model.executions else math.nan
    return row


def _csv(rows: list[dict[str, object]]) -> str:
    """Return rows as CSV; a row may lack columns, which are then empty in it."""
    text = io.StringIO()
    names = list(dict.fromkeys(chain.from_iterable(dict.fromkeys(map(tuple, rows)))))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(_cells(list(map(row.get, names))) for row in rows)
    return text.getvalue()


def _cells(values: Sequence[object]) -> list[object]:
    """Return values as they stand in a CSV file: floats with nine digits, nothing where there is no number."""
    return [value if not isinstance(value, float) else "" if math.isnan(value) else f"{value:.9g}" for value in values]


def flat_config(config: Mapping[str, Value], knobs: list[KnobInfo]) -> dict[str, Value]:
    """Return a configuration with each knob's unit in its name, as the CSV files have it."""
    named = {knob.name: f"{knob.name}_{knob.unit}" for knob in knobs if knob.unit in ("s", "bytes")}
    return {named.get(name, name): value for name, value in config.items()}
