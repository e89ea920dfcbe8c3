"""The trials of a run in the terminal."""

from rich import box
from rich.table import Table

from reports import words
from tuner.catalog import key_of
from tuner.companions import companions
from tuner.results import Point, Result, Trial, overall


def table(result: Result) -> Table:
    """Return a row for each point of the primary workload; a trial without a point has one with its reason."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    goals = [_goal(result, objective) for objective in result.study.objectives]
    made.add_column("trial", justify="right")
    made.add_column("config", overflow="fold", ratio=1)
    made.add_column("load", overflow="fold")
    for workload, metric in goals:
        made.add_column(metric if workload == _primary(result) else f"{workload}: {metric}", justify="right")
    made.add_column("SLO", overflow="fold")
    for trial in result.trials:
        name = f"{trial.number}{_mark(result, trial)}"
        config = words.config(trial.config, result.knobs)
        points = [point for point in trial.points if point.workload == _primary(result)]
        if trial.state != "complete" or not points:
            made.add_row(name, config, trial.state, *("" for _ in goals), trial.reason or "")
            continue
        for point in points:
            together = [point, *companions(trial, point)]
            values = (_value(result, together, *goal) for goal in goals)
            made.add_row(name, config, words.load(point.load), *values, _verdict(together))
            name = config = ""
    made.caption = "* the best of this run, 0 your own configuration"
    return made


def head(result: Result, trial: Trial) -> str:
    """Return what a trial was and what came of it, in lines."""
    named = "your own configuration" if trial.number == 0 else words.config(trial.config, result.knobs)
    lines = [f"trial {trial.number}{_mark(result, trial)}: {named}", f"state    {trial.state}"]
    if trial.reason:
        lines.append(f"reason   {trial.reason}")
    lines.append(f"took     {words.duration(trial.wall_s)}, {words.duration(trial.apply_s)} of it to load it")
    return "\n".join(lines)


def _primary(result: Result) -> str:
    return result.study.workloads[0]


def _goal(result: Result, objective: str) -> tuple[str, str]:
    """Return workload and metric of an objective like `minimize bursty.p99`."""
    name = objective.rsplit(maxsplit=1)[-1]
    workload, _, metric = name.rpartition(".")
    return workload or _primary(result), metric


def _mark(result: Result, trial: Trial) -> str:
    return " *" if result.best is not None and result.best.trial == trial.number else ""


def _value(result: Result, points: list[Point], workload: str, metric: str) -> str:
    found = [point.metrics.get(key_of(metric)) for point in points if point.workload == workload]
    return words.metric_value(metric, found[0].value, result.own_metrics) if found and found[0] else ""


def _verdict(points: list[Point]) -> str:
    """Return `met`, or what is not by the verdicts; where a stored run has none, by the values."""
    several = len({point.workload for point in points}) > 1
    found = {f"{point.workload}.{name}" if several else name: one for point in points
             for name, one in point.verdicts.items()}  # fmt: skip
    if not found:
        missed = [name for point in points for name, over in point.violations.items() if over > 0]
        return f"missed: {', '.join(missed)}" if missed else "met"
    return "met" if overall(found.values()) == "met" else words.verdicts(found)
