"""The table of all trials: a row for each point, as text that people read and as values that are sorted by."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from reports import words
from reports.axes import named
from reports.digits import short
from tuner.catalog import key_of
from tuner.results import LEVEL_NAMES, ComposingModel, Estimate, Point, Result, Trial, Value, overall
from tuner.units import format_duration, format_setting

MAX_BATCHES_LISTED = 6
DRAWN = 200
"""Rows in the page's own HTML, for readers without scripts; with them the whole table is drawn from the data."""
SORTED_DIGITS = 7
"""Significant digits of the numbers that are sorted by."""
STAGES = ("queue", "compute_infer")
LOADS = tuple(LEVEL_NAMES.values())

Cell: TypeAlias = str | tuple[str, float | None]
"""What is read, and for a number what it is sorted by; None sorts to the end."""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its heading.
        number: whether it holds numbers.
        of: a trial and one of its points, or None -> its cell.
    """

    name: str
    number: bool
    of: Callable[[Trial, Point | None], Cell]


@dataclass(frozen=True)
class Row:
    """A point of a trial, or a trial that has none.

    Attributes:
        trial: its number.
        state: of the trial.
        workload: "" for a trial without a point.
        slo: `met`, `missed` or `undecided`; "" for a trial without a point.
        counts: whether the point may be used, see `Trial.counts`; its trial's state is that of all its points.
        mark: `yours`, `best`, `front` or "".
        cells: in the order of the columns; the last says what came of it.
    """

    trial: int
    state: str
    workload: str
    slo: str
    counts: bool
    mark: str
    cells: tuple[Cell, ...]

    @property
    def tone(self) -> Literal["good", "bad", "faint"]:
        """How the last cell is coloured; its words say the same."""
        if self.slo == "met" and self.counts:
            return "good"
        return "faint" if self.slo == "undecided" else "bad"


@dataclass(frozen=True)
class Table:
    """All rows, in the order of the trials."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def packed_text(self) -> str:
        """Return the document that static/trials.js reads: `rows`, name -> what each row has, and `columns`.

        A column has `name`, `number`, `shown`: the text of each row, and `values`: what each is sorted by, if another.
        """
        names = ("trial", "state", "workload", "slo", "mark", "tone")
        return json.dumps(
            {
                "columns": [
                    {"name": column.name, "number": column.number, **_apart([row.cells[index] for row in self.rows])}
                    for index, column in enumerate(self.columns)
                ],
                "rows": {name: [getattr(row, name) for row in self.rows] for name in names},
            },
            separators=(",", ":"),
            ensure_ascii=False,
        )

    @property
    def drawn(self) -> Sequence[Row]:
        """The rows that stand in the HTML: all where they are few, else those that matter most."""
        if len(self.rows) <= DRAWN:
            return self.rows
        return sorted(self.rows, key=lambda row: not row.mark)[:DRAWN]

    def values(self, name: Literal["state", "workload", "slo"]) -> list[str]:
        """Return what a filter offers, in the order of the rows."""
        return [value for value in dict.fromkeys(getattr(row, name) for row in self.rows) if value]


def _apart(cells: Sequence[Cell]) -> dict[str, object]:
    shown = [cell if isinstance(cell, str) else cell[0] for cell in cells]
    if all(isinstance(cell, str) for cell in cells):
        return {"shown": shown}
    values = [cell if isinstance(cell, str) else cell[1] for cell in cells]
    numbers = map(float, short([value for value in values if isinstance(value, float)], SORTED_DIGITS))
    return {"shown": shown, "values": [next(numbers) if isinstance(value, float) else value for value in values]}


def table(result: Result) -> Table:
    """Return the table of a run."""
    marks = _marks(result)
    columns = tuple(_columns(result, marks))
    cells = [column.of for column in columns]
    rows = tuple(
        Row(
            trial.number,
            trial.state,
            point.workload if point else "",
            overall(point.verdicts.values()) if point and point.verdicts else _by_values(point),
            point is not None and trial.counts(point),
            marks.get((trial.number, index), ""),
            tuple([cell(trial, point) for cell in cells]),
        )
        for trial in result.trials
        for index, point in _points(trial)
    )
    return Table(columns, rows)


def _points(trial: Trial) -> Sequence[tuple[int, Point | None]]:
    """Return the points of a trial with their indices; of a trial without any one place for what is said of it."""
    return list(enumerate(trial.points)) or [(0, None)]


def _by_values(point: Point | None) -> str:
    if point is None:
        return ""
    return "missed" if any(over > 0 for over in point.violations.values()) else "met"


def _marks(result: Result) -> dict[tuple[int, int], str]:
    """Return (trial, index of the point) -> what it is among all."""
    found = {(one.trial, one.point): "front" for one in result.front if one.on_front}
    yours = [trial for trial in result.trials if trial.number == 0]
    found |= {(0, index): "yours" for trial in yours for index in range(max(1, len(trial.points)))}
    if result.best is not None:
        found[result.best.trial, result.best.point] = "best"
    return found


def _columns(result: Result, marks: dict[tuple[int, int], str]) -> Iterator[Column]:
    marked = {number for number, _ in marks}

    def role(trial: Trial, point: Point | None) -> Cell:
        if trial.number not in marked:
            return ""
        index = next((index for index, one in enumerate(trial.points) if one is point), 0)
        return marks.get((trial.number, index), "")

    yield Column("trial", True, lambda trial, _: (str(trial.number), float(trial.number)))
    yield Column("role", False, role)
    yield Column("state", False, lambda trial, _: trial.state)
    if any(trial.host is not None for trial in result.trials):
        yield Column("host", False, lambda trial, _: trial.host or "")
    for knob in result.knobs:
        if knob.name not in LOADS:
            yield _knob(knob.name, knob.unit)
    yield Column("workload", False, lambda _, point: point.workload if point else "")
    yield Column("load", True, lambda _, point: (words.load(point.load), point.load.level) if point else ("", None))
    for name, key in (("throughput", "throughput"), ("p50", "p50"), ("p99", "p99"), ("errors", "error_rate")):
        yield _metric(result, name, key)
    for axis in named(result):
        yield _metric(result, axis.name.replace("_", " "), axis.name)
    yield from _server_columns(result)
    yield Column("server CPU", True, _cpu)
    yield Column("server memory", True, _memory)
    yield Column("SLO", False, _said)


def _knob(name: str, unit: str) -> Column:
    @lru_cache(typed=True)  # a knob has few values
    def spelled(value: Value | None) -> Cell:
        if value is None:
            return ("", None)
        number = float(value) if isinstance(value, int | float) else None
        return (format_setting(value, unit), number) if number is not None else str(value)

    return Column(name, False, lambda trial, _: spelled(trial.config.get(name)))


def _metric(result: Result, heading: str, name: str) -> Column:
    key, shown = key_of(name), words.metric_shown(name, result.own_metrics)

    def cell(_: Trial, point: Point | None) -> Cell:
        found = point.metrics.get(key) if point else None
        return ("", None) if found is None else (shown(found.value), _sortable(found.value))

    return Column(heading, True, cell)


def _sortable(value: float) -> float | None:
    """Return a value as JSON can have it: an infinite one is larger than any that is measured."""
    return min(max(value, -1e300), 1e300) if not math.isnan(value) else None


def _server_columns(result: Result) -> Iterator[Column]:
    points = [point for trial in result.trials for point in trial.points if point.server is not None]
    for stage in STAGES:
        if any(point.server is not None and stage in point.server.mean_s for point in points):
            yield _stage(stage)
    yield Column("mean batch", True, _mean_batch)
    yield Column("executed batch sizes, share of requests", False, lambda _, point: _batches(point))
    if any(point.server is not None and point.server.cache for point in points):
        yield Column("response cache, in the server", False, lambda _, point: _cache(point))
        yield Column("latency of cache hits and misses: p50, p90, p99", False, lambda _, point: _cache_latencies(point))


def _stage(stage: str) -> Column:
    def cell(_: Trial, point: Point | None) -> Cell:
        value = point.server.mean_s.get(stage) if point and point.server else None
        return ("", None) if value is None else (words.milliseconds(value), _sortable(value))

    return Column(stage.partition("_")[0], True, cell)


def _mean_batch(_: Trial, point: Point | None) -> Cell:
    server = point.server if point else None
    if server is None or not server.executions:
        return ("", None)
    mean = server.requests / server.executions
    return f"{mean:.1f} requests", mean


def _batches(point: Point | None) -> str:
    """Return the executed batch sizes that took most requests: `16: 92%, 1: 3%`; of an ensemble those of its parts."""
    if point is None or point.server is None or not point.server.requests:
        return ""
    if point.server.composing:
        return "; ".join(_composing(name, model) for name, model in point.server.composing.items())
    total = sum(batch.size * batch.count for batch in point.server.batch_sizes)
    largest = sorted(point.server.batch_sizes, key=lambda batch: -batch.size * batch.count)[:MAX_BATCHES_LISTED]
    return ", ".join(f"{batch.size}: {batch.size * batch.count / total:.0%}" for batch in largest)


def _composing(name: str, model: ComposingModel) -> str:
    """Return where the time goes in a composing model: `classify: queue 6.01 ms, compute 4.36 ms, batch 1.5`."""
    times = ((word, model.mean_s.get(key, 0.0)) for word, key in (("queue", "queue"), ("compute", "compute_infer")))
    batch = f", batch {model.requests / model.executions:.1f}" if model.executions else ""
    return f"{name}: {', '.join(f'{word} {words.milliseconds(mean_s)}' for word, mean_s in times)}{batch}"


def _cache(point: Point | None) -> str:
    """Return what the server's cache did: `30.1% hits, 11 us each; a miss 25 us more`, "" where it has none."""
    cache = point.server.cache if point and point.server else None
    if cache is None:
        return ""
    share = words.percent(cache.hits / (cache.hits + cache.misses), 1)
    hit = "" if cache.hit_mean_s is None else f", {format_duration(cache.hit_mean_s)} each"
    miss = "" if cache.miss_mean_s is None else f"; a miss {format_duration(cache.miss_mean_s)} more"
    return f"{share} hits{hit}{miss}"


def _cache_latencies(point: Point | None) -> str:
    """Return `hits 0.41, 0.52, 0.90 ms; misses 2.10, 2.60, 3.35 ms`, or why they are not told apart."""
    cache = point.server.cache if point and point.server else None
    if cache is None:
        return ""
    if cache.latency_note:
        return f"not told apart: {cache.latency_note}"
    found = (("hits", cache.hit_latency), ("misses", cache.miss_latency))
    return "; ".join(f"{kind} {_in_a_row(latency)}" for kind, latency in found if latency)


def _in_a_row(latency: Mapping[str, Estimate]) -> str:
    return ", ".join(words.milliseconds(one.value).removesuffix(" ms") for one in latency.values()) + " ms"


def _cpu(_: Trial, point: Point | None) -> Cell:
    cores = point.telemetry.cpu_cores if point else None
    return ("", None) if cores is None else (f"{cores:.2f} cores", cores)


def _memory(_: Trial, point: Point | None) -> Cell:
    size = point.telemetry.rss_bytes if point else None
    return ("", None) if size is None else (words.mebibytes(size), float(size))


def _said(trial: Trial, point: Point | None) -> Cell:
    """Return what came of it, in lines: the verdict, by how much bounds are missed, and what is to be known of it."""
    used = trial.state == "complete" or (point is not None and trial.counts(point))
    lines = [] if used else [f"{trial.state}: {trial.reason}"]
    if point is None:
        return "\n".join(lines)
    lines.append(words.verdicts(point.verdicts))
    for side in ("over", "below"):
        missed = {name: share for name, share in point.violations.items() if share > 0 and words.side(name) == side}
        if missed:
            lines.append(f"{side} its bound: {', '.join(words.off(name, share) for name, share in missed.items())}")
    if point.steadiness.state != "steady":
        lines.append(f"{point.steadiness.state}: {point.steadiness.reason}")
    return "\n".join([*lines, *point.validity.reasons, *point.validity.warnings])
