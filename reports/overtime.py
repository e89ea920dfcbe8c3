"""Latency and what was used over a window, from the files of the best point's records and samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tuner.results import Point, Result

STEPS = 40
"""Into how many steps the window is divided, for the latency."""
GAUGES = 3
"""How many of the server's own metrics are drawn at most."""

Line = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Seconds since the window began, and values."""


@dataclass(frozen=True)
class Panel:
    """Lines that share an axis.

    Attributes:
        name: what they are.
        unit: of their values.
        lines: name -> line.
    """

    name: str
    unit: str
    lines: Mapping[str, Line]

    @property
    def title(self) -> str:
        """Of the axis: name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


def panels(result: Result, run: Path) -> list[Panel]:
    """Return latency, CPU, GPU utilisation and what the server tells of the best trial's point; [] without the files.

    Args:
        result: of the run.
        run: its directory.
    """
    if result.best is None:
        return []
    point = result.trial(result.best.trial).points[result.best.point]
    if point.records is None or point.telemetry.series is None:
        return []
    try:
        with np.load(run / point.records) as records, np.load(run / point.telemetry.series) as samples:
            start_ns, end_ns = (int(edge) for edge in records["windows_ns"][0])
            latency = _latency(records["intended_ns"], records["done_ns"], records["outcome"], start_ns, end_ns)
            used = {name: samples[name] for name in samples.files}
    except (OSError, KeyError, ValueError, BadZipFile):
        return []
    found = [Panel("latency", "ms", latency), _cpu(used, start_ns), _gpus(point, used, start_ns)]
    found += _own(point, used, start_ns)
    return [panel for panel in found if panel.lines]


def _latency(
    intended_ns: NDArray[np.int64],
    done_ns: NDArray[np.int64],
    outcome: NDArray[np.int8],
    start_ns: int,
    end_ns: int,
) -> dict[str, Line]:
    """Return median and largest latency of the requests that were answered ok in each step."""
    inside = (outcome == 0) & (done_ns >= start_ns) & (done_ns < end_ns)
    latency_ms, done_s = (done_ns - intended_ns)[inside] / 1e6, (done_ns[inside] - start_ns) / 1e9
    step_s = (end_ns - start_ns) / 1e9 / STEPS
    step = np.minimum((done_s / step_s).astype(np.int64), STEPS - 1)
    there = np.unique(step)
    groups: Sequence[NDArray[np.float64]] = [latency_ms[step == index] for index in there]
    at_s = (there + 0.5) * step_s
    return {
        "median": (at_s, np.array([np.median(group) for group in groups])),
        "largest": (at_s, np.array([group.max() for group in groups])),
    }


def _cpu(used: Mapping[str, NDArray[np.float64]], start_ns: int) -> Panel:
    """Return the CPU of the server from each of its readings to the next."""
    cpu_s = used.get("server_cpu_s", np.zeros(0))
    read = np.flatnonzero(np.isfinite(cpu_s))
    times_s = (used["time_ns"][read] - start_ns) / 1e9
    seconds = np.diff(times_s)
    long = seconds >= np.median(seconds) / 2 if len(seconds) else np.zeros(0, np.bool_)
    at_s, cores = (times_s[:-1] + seconds / 2)[long], (np.diff(cpu_s[read]) / np.maximum(seconds, 1e-9))[long]
    return Panel("CPU", "cores", {"server's processes": (at_s, cores)} if len(at_s) else {})


def _gpus(point: Point, used: Mapping[str, NDArray[np.float64]], start_ns: int) -> Panel:
    lines = {}
    at_s = (used["time_ns"] - start_ns) / 1e9
    for gpu in point.telemetry.gpu:
        column = used.get(f"gpu{gpu.index}_utilization")
        if column is not None:
            read = np.isfinite(column)
            lines[f"GPU {gpu.index}"] = (at_s[read], column[read] * 100)
    return Panel("GPU utilisation", "%", lines)


def _own(point: Point, used: Mapping[str, NDArray[np.float64]], start_ns: int) -> list[Panel]:
    """Return the first gauges of the server's own that moved in the window, each by itself: units differ."""
    moved = [one.name for one in point.telemetry.server_metrics if one.max is not None and one.max != one.mean]
    at_s = (used.get("metric_time_ns", np.zeros(0)) - start_ns) / 1e9
    columns = {name: used[f"metric:{name}"] for name in moved if f"metric:{name}" in used}
    return [
        Panel("value", "", {name: (at_s[read], column[read])})
        for name, column in list(columns.items())[:GAUGES]
        if (read := np.isfinite(column)).any()
    ]
