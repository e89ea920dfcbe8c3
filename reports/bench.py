"""The whole picture of one configuration in the terminal: a section for each workload and load level."""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from reports import requests_by_name, words
from tuner.catalog import METRICS
from tuner.results import Cache, ComposingModel, Failure, NamedRequests, Point, Server, Trial
from tuner.run_info import MetricInfo
from tuner.units import format_duration
from tuner.usage import Telemetry

_POINT_WIDTH, _BETWEEN = 18, 2
"""Columns of the terminal that a point takes in the overview at most, and between two of them."""
_ANY_WIDTH = 1_000
_RARE = 0.05
"""Batch sizes with a smaller share of the executions are shown together."""


def picture(trial: Trial, isolation: str, ceiling_rps: float | None, own: Sequence[MetricInfo] = ()) -> RenderableType:
    """Return everything that was measured of a configuration.

    Args:
        trial: its points.
        isolation: who ran on which CPUs.
        ceiling_rps: what one process of the load generator reaches on this host against a server that does nothing,
            None where that was not measured.
        own: the metrics that only this kind of server has, for their units.
    """
    sections = (part for point in trial.points for part in _section(point, ceiling_rps, own))
    return Group(
        *([_Overview(trial.points)] if len(trial.points) > 1 else []), *sections, Text(f"isolation: {isolation}")
    )


class _Overview:
    """The points side by side: a row each where the terminal is wide enough for all figures, else a column each."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._columns = [_figures(point) for point in points]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield one table, or as many as the points need at this width."""
        wide = self._wide()
        if console.measure(wide, options=options.update(width=_ANY_WIDTH)).maximum <= options.max_width:
            yield wide
            return
        for columns in self._fitting(options.max_width - max(map(len, self._columns[0]))):
            yield self._turned(columns)

    def _fitting(self, width: int) -> Iterator[list[dict[str, str]]]:
        """Yield the points that fit beside one another, one at least."""
        row: list[dict[str, str]] = []
        left = width
        for one in self._columns:
            needed = min(_POINT_WIDTH, max(map(len, one.values()))) + _BETWEEN
            if row and needed > left:
                yield row
                row, left = [], width
            row.append(one)
            left -= needed
        yield row

    def _wide(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in self._columns[0]:
            table.add_column(name, justify="left" if name in ("workload", "load", "SLO") else "right")
        for one in self._columns:
            table.add_row(*one.values())
        return table

    @staticmethod
    def _turned(columns: Sequence[Mapping[str, str]]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        names = list(columns[0])
        for name in ("", *(one[names[0]] for one in columns)):
            table.add_column(name, justify="right" if name else "left", overflow="fold", max_width=_POINT_WIDTH)
        for name in names[1:]:
            if any(one[name] for one in columns):
                table.add_row(name, *(one[name] for one in columns))
        return table


def _figures(point: Point) -> dict[str, str]:
    """Return what the overview tells of a point, by name; "" where there is nothing to tell."""
    metrics, server = point.metrics, point.server
    return {
        "workload": point.workload,
        "load": words.load(point.load),
        "offered": words.per_second(metrics["offered_rps"].value),
        "throughput": words.per_second(metrics["throughput_rps"].value),
        **{name: words.milliseconds(metrics[f"latency_{name}_s"].value) for name in ("p50", "p90", "p99")},
        "errors": words.percent(metrics["error_rate"].value),
        "queue": _stage(server, "queue"),
        "compute": _stage(server, "compute_infer"),
        "batch": f"{server.requests / server.executions:.1f}" if server and server.executions else "",
        "issue delay p99": words.milliseconds(point.generator.issue_delay_p99_s),
        "SLO": _verdict(point).removeprefix("SLO "),
    }


def _stage(server: Server | None, stage: str) -> str:
    return words.milliseconds(server.mean_s[stage]) if server and stage in server.mean_s else ""


def _section(point: Point, ceiling_rps: float | None, own: Sequence[MetricInfo]) -> Iterator[RenderableType]:
    yield Text(f"{point.workload}, {words.load(point.load)}: {_verdict(point)}", style="bold")
    yield _metrics(point, own)
    yield Text(f"window {point.window_s:.2f} s after {point.warmup_s:.2f} s of warm-up, {words.ENDINGS[point.ended]}")
    yield from _notes(point)
    if point.named:
        yield _named(point.named)
    if point.failures:
        yield _failures(point.failures)
    if point.server is not None:
        yield _server(point.server)
        if point.server.composing:
            yield _composing(point.server.composing)
    yield from _used(point.telemetry)
    yield Text(f"load generator: {_generator(point, ceiling_rps)}")
    for warning in point.validity.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    for reason in point.validity.reasons:
        yield Text(f"not valid: {reason}", style="red")
    yield Text("")


def _verdict(point: Point) -> str:
    """Return a point's SLOs in a few words: met, or those that are missed or undecided."""
    return f"SLO {words.verdicts(point.verdicts)}" if point.validity.valid else "not valid"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    return table


def _metrics(point: Point, own: Sequence[MetricInfo]) -> Table:
    table = _table("", "value", "95% interval", "requests")
    named = {metric.key: name for name, metric in METRICS.items() if not name.startswith("over_")}
    others = [key for key in point.metrics if key not in {metric.key for metric in METRICS.values()}]
    for key in (*named, *others):
        if (estimate := point.metrics.get(key)) is not None:
            name = named.get(key, key)
            interval = words.metric_interval(name, estimate, own)
            value = words.metric_value(name, estimate.value, own)
            table.add_row(words.gain_of(key), value, interval, f"{estimate.n:,}")
        if key == METRICS["p99"].key and point.server is not None and point.server.cache is not None:
            _add_latencies(table, point.server.cache)
    return table


def _add_latencies(table: Table, cache: Cache) -> None:
    """Add the latencies of the requests that the server's cache answered, and of the others apart."""
    for kind, latency in (("hits", cache.hit_latency), ("misses", cache.miss_latency)):
        for name, estimate in latency.items():
            value, interval = words.metric_value(name, estimate.value), words.metric_interval(name, estimate)
            table.add_row(f"latency {name} of cache {kind}", value, interval, f"{estimate.n:,}")


def _notes(point: Point) -> Iterator[RenderableType]:
    """Yield what a reader should know of the numbers: a load that did not settle, and why bounds are missing."""
    if point.steadiness.state != "steady":
        yield Text(f"{point.steadiness.state}: {point.steadiness.reason}", style="yellow")
    names: dict[str, list[str]] = {}
    for key, estimate in point.metrics.items():
        if estimate.note is not None:
            names.setdefault(estimate.note, []).append(words.gain_of(key))
    for note, about in names.items():
        yield Text(f"no bound for {', '.join(about)}: {note}")
    cache = point.server.cache if point.server else None
    if cache is not None and cache.latency_note:
        yield Text(f"latencies of cache hits and misses are not told apart: {cache.latency_note}")
    elif cache is not None and cache.either:
        yield Text(f"{cache.either:,} requests may be cache hits or misses: they were on their way with their like")


def _named(named: Sequence[NamedRequests]) -> Table:
    table = _table("requests named", "requests", *requests_by_name.COLUMNS)
    for one in named:
        table.add_row(Text(requests_by_name.called(one)), f"{one.requests:,}", *requests_by_name.figures(one))
    return table


def _failures(failures: list[Failure]) -> Table:
    table = _table("failed as", "code", "requests", "the first of them")
    table.columns[3].justify = "left"
    for failure in failures:
        table.add_row(
            failure.outcome.replace("_", " "), str(failure.code or ""), f"{failure.count:,}", Text(failure.text)
        )
    return table


def _server(server: Server) -> Table:
    """Return the server's own numbers: time per stage, and its batches."""
    table = _table("server's own numbers", "", "")
    for stage, mean_s in server.mean_s.items():
        table.add_row(
            f"{stage.replace('_', ' ')}, mean of {server.requests:,} requests", words.milliseconds(mean_s), ""
        )
    if server.cache is not None:
        _add_cache(table, server.cache)
    executions = max(1, server.executions)
    often = [batch for batch in server.batch_sizes if batch.count / executions >= _RARE]
    for batch in often:
        name = f"batch size {batch.size}: {batch.count:,} executions"
        table.add_row(name, words.milliseconds(batch.compute_mean_s), words.percent(batch.count / executions, 0))
    if rare := [batch for batch in server.batch_sizes if batch not in often]:
        count = sum(batch.count for batch in rare)
        mean_s = sum(batch.count * batch.compute_mean_s for batch in rare) / count
        name = f"other batch sizes: {count:,} executions"
        table.add_row(name, words.milliseconds(mean_s), words.percent(count / executions, 0))
    if server.failures:
        table.add_row("failures", f"{server.failures:,}", "")
    return table


def _used(used: Telemetry) -> Iterator[RenderableType]:
    """Yield what server, host and each GPU used, as far as it was told."""
    parts = [
        f"{used.cpu_cores:.2f} cores" if used.cpu_cores is not None else "",
        f"{words.mebibytes(used.rss_bytes)} resident" if used.rss_bytes is not None else "",
        f"host {words.percent(used.host_cpu_share, 0)} busy" if used.host_cpu_share is not None else "",
        f"{words.percent(used.steal_share, 1)} stolen from it" if used.steal_share else "",
    ]
    if said := ", ".join(part for part in parts if part):
        yield Text(f"used: {said}")
    for gpu in used.gpu:
        parts = [
            f"utilisation {words.percent(gpu.utilization, 0)}" if gpu.utilization is not None else "",
            words.mebibytes(gpu.memory_used_bytes) if gpu.memory_used_bytes is not None else "",
            f"{gpu.power_watts:.1f} W" if gpu.power_watts is not None else "",
            f"{words.joules(gpu.energy_joules)} in {used.sampled_s:.2f} s" if gpu.energy_joules is not None else "",
            f"{gpu.temperature_c:.0f} degrees Celsius" if gpu.temperature_c is not None else "",
        ]
        yield Text(f"GPU {gpu.index}, {gpu.name}: {', '.join(part for part in parts if part) or 'told nothing'}")


def _add_cache(table: Table, cache: Cache) -> None:
    """Add what lookups in the server's cache took, those that found an answer apart from the others."""
    lookups = cache.hits + cache.misses
    for name, count, mean_s in (("hit", cache.hits, cache.hit_mean_s), ("miss", cache.misses, cache.miss_mean_s)):
        if mean_s is not None:
            share = words.percent(count / lookups, 1)
            table.add_row(f"cache {name}, mean of {count:,} lookups", format_duration(mean_s), share)


def _generator(point: Point, ceiling_rps: float | None) -> str:
    own = point.generator
    throughput = point.metrics["throughput_rps"].value
    parts = [
        f"sent {format_duration(own.issue_delay_p50_s)} after a request was ready at p50, "
        f"{format_duration(own.issue_delay_p99_s)} at p99",
        f"used {words.percent(own.cpu_share, 1)} of its core"
        + (f" ({own.processes} processes, the busiest)" if own.processes > 1 else ""),
        f"{own.stalls} stalls over 1 ms, longest time away from its sockets {words.milliseconds(own.longest_stall_s)}",
        f"at most {own.queue_max} requests due at once and {own.waiting_max} waiting for a connection",
    ]
    if said := words.load_from([own.agents]):
        parts.append(f"load from {said}")
    if ceiling_rps:
        share = throughput / (ceiling_rps * own.processes)
        parts.append(
            f"{words.percent(share, 0)} of what it reaches on this host ({words.per_second(ceiling_rps)} a process)"
        )
    return "; ".join(parts)


def _composing(composing: Mapping[str, ComposingModel]) -> Table:
    """Return where the time of an ensemble goes: waiting and computing in each of its models, and their batches."""
    table = _table("composing model", "queue", "compute", "in and out", "batch", "batches")
    for name, model in composing.items():
        stages = {stage: model.mean_s.get(stage, 0.0) for stage in ("queue", "compute_infer")}
        rest = model.mean_s.get("compute_input", 0.0) + model.mean_s.get("compute_output", 0.0)
        table.add_row(
            name,
            *(words.milliseconds(mean_s) for mean_s in stages.values()),
            words.milliseconds(rest),
            f"{model.requests / model.executions:.1f}" if model.executions else "",
            f"{model.executions:,}",
        )
    return table
