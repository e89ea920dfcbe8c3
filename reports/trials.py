"""The trials of a run in the terminal."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table

from reports import words
from reports.points import together_with
from tuner.catalog import key_of
from tuner.companions import combinations
from tuner.results import Load, Point, Result, Trial, overall


def table(result: Result) -> Table:
    """Return a row for each point of the primary workload; a trial has one with its reason where none may be used.

    Where only a part of a trial may be used, that reason stands in a row below.
    Where several loads of another workload go with a point, it has a row with each. Workloads that climbed by
    themselves have rows of their own.
    """
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
        none_counts = trial.state != "complete" and not any(map(trial.counts, points))
        if none_counts or not points:
            made.add_row(name, config, trial.state, *("" for _ in goals), trial.reason or "")
            continue
        for load, together in _alone(trial) if trial.own_loads else _ways(result, trial, points):
            values = (_value(result, together, *goal) for goal in goals)
            made.add_row(name, config, load, *values, _verdict(together))
            name = config = ""
        if trial.state != "complete":
            made.add_row("", "", trial.state, *("" for _ in goals), trial.reason or "")
    best = result.best
    apart = best is not None and result.trial(best.trial).own_loads
    at = f"at {words.loads(best.load, best.loads)}; " if best is not None and apart else ""
    made.caption = f"* the best of this run, {at}0 your own configuration"
    return made


def head(result: Result, trial: Trial) -> str:
    """Return what a trial was and what came of it, in lines."""
    named = "your own configuration" if trial.number == 0 else words.config(trial.config, result.knobs)
    lines = [f"trial {trial.number}{_mark(result, trial)}: {named}", f"state    {trial.state}"]
    if trial.reason:
        lines.append(f"reason   {trial.reason}")
    lines.append(f"took     {words.duration(trial.wall_s)}, {words.duration(trial.apply_s)} of it to load it")
    return "\n".join(lines)


def _ways(result: Result, trial: Trial, points: Sequence[Point]) -> Iterator[tuple[str, Sequence[Point]]]:
    """Yield points of the primary workload with what goes with them, in every way, and the loads of each."""
    for point in points:
        ways = combinations(trial, point) or [together_with(result, trial, point)]
        for together in ways:
            yield _loads(ways, together), together


def _alone(trial: Trial) -> Iterator[tuple[str, Sequence[Point]]]:
    """Yield the points of each workload with those of its classes under the same load, and that load."""
    by_load: dict[tuple[str, Load], list[Point]] = {}
    for point in trial.points:
        by_load.setdefault((point.workload.partition(".")[0], point.load), []).append(point)
    workloads = list(dict.fromkeys(name for name, _ in by_load))
    for name in workloads:
        for (other, load), points in by_load.items():
            if other == name:
                yield f"{name} {words.load(load)}" if len(workloads) > 1 else words.load(load), points


def _primary(result: Result) -> str:
    return result.study.workloads[0]


def _goal(result: Result, objective: str) -> tuple[str, str]:
    """Return workload and metric of an objective like `minimize bursty.p99`."""
    name = objective.rsplit(maxsplit=1)[-1]
    workload, _, metric = name.rpartition(".")
    return workload or _primary(result), metric


def _mark(result: Result, trial: Trial) -> str:
    return " *" if result.best is not None and result.best.trial == trial.number else ""


def _value(result: Result, points: Sequence[Point], workload: str, metric: str) -> str:
    found = [point.metrics.get(key_of(metric)) for point in points if point.workload == workload]
    return words.metric_value(metric, found[0].value, result.own_metrics) if found and found[0] else ""


def _loads(ways: Sequence[Sequence[Point]], together: Sequence[Point]) -> str:
    """Return the load of a point, and that of each other workload of which several go with it."""
    others = [
        one
        for at, one in enumerate(together[1:], 1)
        if "." not in one.workload and any(way[at].load != one.load for way in ways)
    ]
    return ", ".join([words.load(together[0].load), *(f"{one.workload} {words.load(one.load)}" for one in others)])


def _verdict(points: Sequence[Point]) -> str:
    """Return `met`, or what is not by the verdicts; where a stored run has none, by the values."""
    if not all(point.validity.valid for point in points):
        return "spoiled, not used"
    several = len({point.workload for point in points}) > 1
    found = {f"{point.workload}.{name}" if several else name: one for point in points
             for name, one in point.verdicts.items()}  # fmt: skip
    if not found:
        missed = [name for point in points for name, over in point.violations.items() if over > 0]
        return f"missed: {', '.join(missed)}" if missed else "met"
    return "met" if overall(found.values()) == "met" else words.verdicts(found)
