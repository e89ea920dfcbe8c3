"""What was sampled in a window, as columns over time; and the file that keeps them beside the records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets.exposed import Told, ToldOfGpus
from tuner.telemetry.nvml import Device

FIELDS = (
    ("server_cpu_s", "s", "CPU time of the server's processes since their start; read every 200 ms at most"),
    ("server_rss_bytes", "bytes", "resident memory of the server's processes; read with it"),
    ("host_load", "processes", "the kernel's load average over a minute; read once a second"),
    (
        "host_cpu_s",
        "s",
        "CPU time of the host since its start, over all CPUs; read once a second, as the next two",
    ),
    ("host_used_s", "s", "of it what was used, by anything"),
    ("host_steal_s", "s", "of it what other virtual machines took"),
)
"""What is sampled beside the GPUs: name, unit, meaning."""

METRIC = "metric:"
"""What begins the name of an array of the server's own metrics; the name that the server gives it follows."""

Samples = Mapping[str, NDArray[np.float64]]
"""Field -> value at each time, shape [n]; NaN where it was not read or could not be."""


@dataclass(frozen=True)
class Texts:
    """What a server told of itself, as it came.

    Attributes:
        told: makes sense of a text. Raises TargetError when it is none.
        got: when, on the monotonic clock, and the text.
        gpus: what a text says of the server's GPUs; None where they are not told this way. Raises TargetError.
    """

    told: Callable[[bytes], Sequence[Told]]
    got: Sequence[tuple[int, bytes]]
    gpus: Callable[[bytes], ToldOfGpus] | None = None


@dataclass(frozen=True)
class Metrics:
    """A server's own metrics over a window.

    Attributes:
        time_ns: when each reading began, int64 [m].
        values: at each of these times, by the names that the server gives them.
        counters: names of those that only grow.
        gpus: name -> fields of each of the server's GPUs; None where they are not told this way.
    """

    time_ns: NDArray[np.int64]
    values: Samples
    counters: frozenset[str] = frozenset()
    gpus: Mapping[str, Samples] | None = None


@dataclass(frozen=True)
class Series:
    """Samples of a window.

    Attributes:
        time_ns: when each began, int64 [n], on the monotonic clock that the records have too.
        host: of server and host, fields of FIELDS.
        devices: each GPU and MIG instance with its fields.
        notes: what could not be read, and why.
        sampler_cpu_s: CPU time that sampling took.
        metrics: the server's own, None where they were not read.
        texts: what `metrics` will be made of, None where that was done or there is nothing.
    """

    time_ns: NDArray[np.int64]
    host: Samples
    devices: Sequence[tuple[Device, Samples]] = ()
    notes: tuple[str, ...] = ()
    sampler_cpu_s: float = 0.0
    metrics: Metrics | None = None
    texts: Texts | None = None

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return float(self.time_ns[-1] - self.time_ns[0]) / 1e9 if len(self.time_ns) else 0.0


def columns(rows: Sequence[Mapping[str, float]]) -> Samples:
    """Return rows of samples as columns, those of fields that were read at least once."""
    names = dict.fromkeys(name for row in rows for name in row)
    made = {name: np.array([row.get(name, np.nan) for row in rows], np.float64) for name in names}
    return {name: column for name, column in made.items() if np.isfinite(column).any()}


def series_path(records: str) -> str:
    """Return where the samples of a point are kept: beside its records."""
    return f"{records.removesuffix('.npz')}.telemetry.npz"


def save_series(series: Series, path: Path) -> None:
    """Store samples as an .npz file: `time_ns`, an array per field, `gpuN_` and `gpuN_migM_` before those of devices.

    The server's own metrics are over a time of their own, `metric_time_ns`; `metric:` stands before their names.

    Raises:
        OSError: it cannot be written.
    """
    arrays, times = dict(series.host), {"time_ns": series.time_ns}
    for device, samples in series.devices:
        prefix = f"gpu{device.gpu}_" if device.instance is None else f"gpu{device.gpu}_mig{device.instance}_"
        arrays |= {f"{prefix}{name}": column for name, column in samples.items()}
    if series.metrics is not None:
        times["metric_time_ns"] = series.metrics.time_ns
        arrays |= {f"{METRIC}{name}": column for name, column in series.metrics.values.items()}
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **times, **arrays)
    temporary.replace(path)
