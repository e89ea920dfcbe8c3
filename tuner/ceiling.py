"""What the load generator itself can reach on this host: measured against a server that does nothing but answer.

It takes about three seconds, so it is kept in the user's cache until something that it depends on has changed.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from targets.process import pinned
from tuner import __version__
from tuner.cpus import format_cpus
from tuner.files import write_atomically
from tuner.isolation import divide_host
from tuner.load.generator import Generator, GeneratorError, LoadRun
from tuner.load.null_server import NullServer, NullServerError
from tuner.load.plan import ClosedLoop, OpenLoop, Plan
from tuner.metrics import generator_report, outcome_counts
from tuner.telemetry.host import cpu_model
from workloads.arrivals import Constant
from workloads.order import Order
from workloads.schedule import make_schedule

CONCURRENCY = 16
PACED_RPS = 1000.0
WARMUP_S = 0.2
WINDOW_S = 1.0
_TIMEOUT_S = 1.0
_LEAD_S = 0.03
_CONNECTIONS = 16


class CeilingError(Exception):
    """This host's ceiling cannot be measured; the message says why."""


@dataclass(frozen=True)
class Ceiling:
    """What one process of the load generator reaches over HTTP against a null server.

    Attributes:
        throughput_rps: answers per second in a closed loop of CONCURRENCY in flight.
        cpu_per_request_s: the generator's CPU for each of them.
        issue_delay_p50_s: sent - ready in an open loop of PACED_RPS, evenly spaced.
        issue_delay_p99_s: the same, p99.
        paced_cpu_share: the generator's CPU in that open loop, as a share of one core.
        measured: when, as `YYYY-MM-DD HH:MM UTC`.
    """

    throughput_rps: float
    cpu_per_request_s: float
    issue_delay_p50_s: float
    issue_delay_p99_s: float
    paced_cpu_share: float
    measured: str

    @property
    def core_rps(self) -> float:
        """Requests per second that a core of its own is enough for, however busy this one was."""
        return 1 / max(self.cpu_per_request_s, 1e-9)

    @property
    def cpu_share(self) -> float:
        """The generator's CPU in the closed loop, as a share of one core; below 1 something else was the limit."""
        return self.throughput_rps * self.cpu_per_request_s


@dataclass(frozen=True)
class _Cached:
    """A ceiling and what it was measured on."""

    host: dict[str, str]
    ceiling: Ceiling


_STORED = TypeAdapter(_Cached)


def measure() -> Ceiling:
    """Measure, with generator and null server on the cores that `isolation: auto` would give them.

    Raises:
        CeilingError: a process does not start or ends, or requests fail.
    """
    cores = divide_host("auto")
    try:
        with (
            pinned(cores.tuner),
            tempfile.TemporaryDirectory(prefix="paretune-ceiling-") as scratch,
            NullServer(cores.server) as server,
            Generator(cores.generator) as generator,
        ):
            return _measured(server, generator, Path(scratch))
    except (GeneratorError, NullServerError, OSError) as error:
        raise CeilingError(f"cannot be measured: {error}") from error


def cached_ceiling() -> Ceiling | None:
    """Return this host's ceiling if it was measured before and still holds; measure nothing.

    Ask before this process is pinned: the CPUs that it may use are part of what a ceiling holds for.
    """
    path = _cache_path()
    try:
        stored = _STORED.validate_json(path.read_bytes()) if path else None
    except (OSError, ValueError):
        return None
    return stored.ceiling if stored and stored.host == _host() else None


def host_ceiling(measure: Callable[[], Ceiling] = measure, *, fresh: bool = False) -> Ceiling:
    """Return this host's ceiling from the cache, or measure it and put it there.

    Args:
        measure: measures it.
        fresh: measure even if it is in the cache.

    Raises:
        CeilingError: it cannot be measured.
    """
    ceiling = None if fresh else cached_ceiling()
    if ceiling is None:
        ceiling = measure()
        _store(ceiling)
    return ceiling


def _measured(server: NullServer, generator: Generator, scratch: Path) -> Ceiling:
    closed = _run(server, generator, ClosedLoop(CONCURRENCY, np.zeros(1, np.int32)), scratch)
    schedule = make_schedule(Constant(PACED_RPS), WARMUP_S + WINDOW_S, Order(1), seed=0)
    paced = _run(server, generator, OpenLoop(schedule, _CONNECTIONS), scratch)
    (window,) = closed.records.windows_ns
    answers = int(np.diff(np.searchsorted(closed.records.completed_ns(), window))[0])
    own = generator_report(paced.records, paced.report)
    return Ceiling(
        throughput_rps=answers / WINDOW_S,
        cpu_per_request_s=closed.report.cpu_share * WINDOW_S / max(1, answers),
        issue_delay_p50_s=own.issue_delay_p50_s,
        issue_delay_p99_s=own.issue_delay_p99_s,
        paced_cpu_share=own.cpu_share,
        measured=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _run(server: NullServer, generator: Generator, load: ClosedLoop | OpenLoop, scratch: Path) -> LoadRun:
    plan = Plan(
        endpoint=server.endpoint,
        load=load,
        start_ns=time.monotonic_ns() + round(_LEAD_S * 1e9),
        warmup_ns=round(WARMUP_S * 1e9),
        window_ns=round(WINDOW_S * 1e9),
        timeout_ns=round(_TIMEOUT_S * 1e9),
        records_path=scratch / "records.bin",
    )
    run = generator.run(plan)
    if set(outcomes := outcome_counts(run.records)) != {"ok"}:
        raise CeilingError(f"cannot be measured: the requests to the null server ended as {outcomes}")
    return run


def _store(ceiling: Ceiling) -> None:
    path = _cache_path()
    if path is None:
        return
    with suppress(OSError):  # without a cache it is measured again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _STORED.dump_json(_Cached(_host(), ceiling), indent=1))


def _cache_path() -> Path | None:
    """Return where ceilings are kept, None for a user without a home."""
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (root if root.is_absolute() else Path.home() / ".cache") / "paretune" / "ceiling.json"
    except RuntimeError:
        return None


def _host() -> dict[str, str]:
    """Return what a ceiling holds for."""
    return {
        "cpu": cpu_model(),
        "cpus": str(os.cpu_count()),
        "affinity": format_cpus(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "paretune": __version__,
    }
