"""The summary that a run ends with in the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from reports import words
from reports.points import together_with
from tuner.catalog import key_of, metric_of
from tuner.results import Best, Estimate, Load, Result, Side, Value
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
    rows = [["", *(one.name for one in columns)]]
    rows.append(["config", *(words.config(one.config, result.knobs) for one in columns)])
    for workload in result.study.workloads:
        loads = [words.load(one.loads[workload]) if workload in one.loads else "" for one in columns]
        if any(loads):
            rows.append([f"{workload}: load", *loads])
        rows.append([f"{workload}: throughput", *(_measured(one.found, workload, "throughput", ()) for one in columns)])
        for name in (one for one in result.study.bounds_of(workload) if metric_of(one) != "throughput"):
            shown = (_measured(one.found, workload, name, result.own_metrics) for one in columns)
            rows.append([f"{workload}: {name}", *shown])
    return rows


def load_from(result: Result) -> str:
    """Return whence the load of the valid measurements came, "" where no agents made it."""
    valid = [point for trial in result.trials for point in trial.points if point.validity.valid]
    return words.load_from([point.generator.agents for point in valid])


def headline(result: Result) -> str:
    """Return the answer in a line or two."""
    best = result.best
    if best is None:
        return f"{words.no_best(result)}\n{_closest(result)}".strip()
    slo = words.slo(result.study, result.own_metrics)
    if best.trial == 0 and words.only_load(result.knobs):
        return f"The server as it is meets the SLO ({slo}) at {words.loads(best.load, best.loads)}"
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


@dataclass(frozen=True)
class _Column:
    """One configuration of the summary.

    Attributes:
        name: what it is called.
        config: with the load of the primary workload.
        loads: of the other workloads, where they are known.
        found: workload -> metric -> estimate.
    """

    name: str
    config: dict[str, Value]
    loads: Mapping[str, Load]
    found: _Found


def _columns(result: Result) -> list[_Column]:
    made, best = result.confirmation, result.best
    yours = _of(made.baseline, "yours") if made else _baseline(result)
    columns = [] if yours is None else [yours]
    if best is not None and best.trial != 0:
        columns.append(_of(best, f"best (trial {best.trial})"))
    return columns


def _of(one: Side | Best, name: str) -> _Column:
    return _Column(name, _with_load(one.config, one.load), one.loads, one.metrics)


def _baseline(result: Result) -> _Column | None:
    if result.baseline is None:
        return None
    trial = result.trial(0)
    point = trial.points[result.baseline.point]
    together = together_with(result, trial, point)
    found = {one.workload: one.metrics for one in together}
    loads = {one.workload: one.load for one in together[1:]}
    return _Column("yours", _with_load(trial.config, point.load), loads, found)


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
