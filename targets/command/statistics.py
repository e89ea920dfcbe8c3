"""The server's Prometheus metrics as the counters and gauges that every target has a place for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from targets.base import ServerCounters, TargetError
from targets.command import server as servers
from targets.command.address import NoAnswer, ask
from targets.command.options import STAGES, CommandOptions, StatisticsSpec
from targets.command.server import Server
from targets.prometheus import BadExposition, Exposition, NoSuchSeries, parse, selector

_NS: dict[str, float] = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}


@dataclass(frozen=True)
class Numbers:
    """Reads what a study maps of its server's metrics.

    Attributes:
        options: of the study.
        url: of the metrics, None: the server has none.
    """

    options: CommandOptions
    url: str | None

    def read(self, server: Server) -> Callable[[], ServerCounters]:
        """Read the metrics now; the function returned parses them.

        Raises:
            ServerDied: the server has ended, or does not answer.
            TargetError: what answers are no metrics.
        """
        taken_ns = time.monotonic_ns()
        if self.url is None:
            server.require_running()
            return lambda: ServerCounters(taken_ns)
        body = self._body(server, self.url)
        return lambda: self._counters(taken_ns, body)

    def _body(self, server: Server, url: str) -> bytes:
        try:
            status, body = ask(url, server.address.tls, servers.CONTROL_TIMEOUT_S)
        except NoAnswer as error:
            raise server.lost(error) from None
        if status != 200:
            raise TargetError(f"target.metrics_url: {url} answers with HTTP {status}: {body[:100]!r}")
        return body

    def _counters(self, taken_ns: int, body: bytes) -> ServerCounters:
        try:
            exposition = parse(body)
        except BadExposition as error:
            raise TargetError(f"target.metrics_url: {self.url}: {error}") from None
        spec = self.options.statistics
        return ServerCounters(
            taken_ns=taken_ns,
            requests=round(_of(exposition, spec.requests, "statistics.requests")),
            failures=round(_failures(exposition, spec)),
            executions=round(_of(exposition, spec.executions, "statistics.executions")),
            total_ns=_stages(exposition, spec),
            counters=self._own_counters(exposition),
            gauges=self._own_gauges(exposition),
        )

    def _own_counters(self, exposition: Exposition) -> dict[str, float]:
        found = {}
        for name, metric in self.options.server_metrics.items():
            if metric.type != "gauge":
                found[name] = metric.scale * _of(exposition, metric.reading, f"server_metrics.{name}.reading")
            if metric.per is not None:
                found[f"{name} per"] = _of(exposition, metric.per, f"server_metrics.{name}.per")
        return found

    def _own_gauges(self, exposition: Exposition) -> dict[str, float]:
        found = {}
        for name, metric in self.options.server_metrics.items():
            if metric.type == "gauge":
                value = _value(exposition, metric.reading, f"server_metrics.{name}.reading")
                if value is not None:  # a gauge that has no series yet says nothing, not 0
                    found[name] = metric.scale * value
        return found


def _of(exposition: Exposition, series: str | None, place: str) -> float:
    """Return a counter; one that is not mapped, or has not counted yet, is 0."""
    return 0.0 if series is None else _value(exposition, series, place) or 0.0


def _value(exposition: Exposition, series: str, place: str) -> float | None:
    try:
        return exposition.value(selector(series))
    except NoSuchSeries as error:
        raise TargetError(f"target.{place}: {error}") from None


def _failures(exposition: Exposition, spec: StatisticsSpec) -> float:
    """Return the failures; many servers do not have the name before something failed."""
    if spec.failures is None:
        return 0.0
    try:
        return exposition.value(selector(spec.failures)) or 0.0
    except NoSuchSeries:
        return 0.0


def _stages(exposition: Exposition, spec: StatisticsSpec) -> dict[str, int]:
    mapped = {stage: series for stage in STAGES if (series := getattr(spec, stage)) is not None}
    return {
        stage: round(_NS[spec.unit] * _of(exposition, series, f"statistics.{stage}"))
        for stage, series in mapped.items()
    }
