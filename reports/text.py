"""The summary that a run ends with in the terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from reports import words
from reports.points import together_with
from tuner.catalog import key_of
from tuner.results import Estimate, Load, Result, Side, Value
from tuner.run_info import MetricInfo


def summary(result: Result) -> Table | None:
    """Return baseline and best side by side on every workload, with SLO and gain; None when there is neither."""
    rows = side_by_side(result)
    if rows is None:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def side_by_side(result: Result) -> list[list[str]] | None:
    """Return the cells of that, the names of the columns first."""
    columns = _columns(result)
    if not columns:
        return None
    rows = [["", *(name for name, _ in columns)]]
    rows.append(["config", *(words.config(config, result.knobs) for _, (config, _) in columns)])
    for workload in result.study.workloads:
        rows.append(
            [f"{workload}: throughput", *(_measured(found, workload, "throughput", ()) for _, (_, found) in columns)]
        )
        for name in result.study.bounds_of(workload):
            shown = (_measured(found, workload, name, result.own_metrics) for _, (_, found) in columns)
            rows.append([f"{workload}: {name}", *shown])
    return rows


def headline(result: Result) -> str:
    """Return the answer in a line or two."""
    best = result.best
    if best is None:
        return f"{words.no_best(result)}\n{_closest(result)}".strip()
    slo = words.slo(result.study, result.own_metrics)
    if best.trial == 0 and words.only_load(result.knobs):
        return f"The server as it is meets the SLO ({slo}) at {words.load(best.load)}"
    if best.trial == 0:
        why = result.message or "nothing better was found until the run ended"
        return f"Keep your configuration: {why} (SLO: {slo})"
    confirmed = (
        f"SLO met ({slo})" if best.confirmed else f"not confirmed: {result.message or 'the run was interrupted'}"
    )
    what = words.gain_of(best.objective)
    gain = words.gain(best.gain_vs_baseline, lower=words.minimizes(result.study))
    if best.gain_vs_baseline is None and result.baseline is None:
        gain = "none claimed, your configuration meets the SLO at no load level"
    remark = f"\nNote: {result.message}" if best.confirmed and result.message else ""
    return f"Best: trial {best.trial}, {confirmed}\nGain in {what}: {gain}{remark}"


_Found = dict[str, dict[str, Estimate]]


def _columns(result: Result) -> list[tuple[str, tuple[dict[str, Value], _Found]]]:
    columns = []
    made = result.confirmation
    baseline = _side(made.baseline) if made else _baseline(result)
    if baseline is not None:
        columns.append(("yours", baseline))
    if result.best is not None and result.best.trial != 0:
        columns.append(
            (
                f"best (trial {result.best.trial})",
                (_with_load(result.best.config, result.best.load), result.best.metrics),
            )
        )
    return columns


def _side(side: Side) -> tuple[dict[str, Value], _Found]:
    return _with_load(side.config, side.load), side.metrics


def _baseline(result: Result) -> tuple[dict[str, Value], _Found] | None:
    if result.baseline is None:
        return None
    trial = result.trial(0)
    point = trial.points[result.baseline.point]
    found = {one.workload: one.metrics for one in together_with(result, trial, point)}
    return _with_load(trial.config, point.load), found


def _with_load(config: Mapping[str, Value], load: Load) -> dict[str, Value]:
    """Return a configuration with the load it was measured at: the baseline's own has none."""
    level: Value = load.level if load.mode == "open" else int(load.level)
    return {**config, load.name: level}


def _measured(found: _Found, workload: str, name: str, own: Sequence[MetricInfo]) -> str:
    estimate = found.get(workload, {}).get(key_of(name))
    return "not measured" if estimate is None else words.metric_value(name, estimate.value, own)


def _closest(result: Result) -> str:
    if result.closest is None:
        return ""
    over = ", ".join(f"{name} by {words.beyond(name, value)}" for name, value in result.closest.missed.items())
    return f"Closest: trial {result.closest.trial} missed {over}"
