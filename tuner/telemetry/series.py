"""What was sampled in a window, as columns over time; and the file that keeps them beside the records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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

Samples = Mapping[str, NDArray[np.float64]]
"""Field -> value at each time, shape [n]; NaN where it was not read or could not be."""


@dataclass(frozen=True)
class Series:
    """Samples of a window.

    Attributes:
        time_ns: when each began, int64 [n], on the monotonic clock that the records have too.
        host: of server and host, fields of FIELDS.
        devices: each GPU and MIG instance with its fields.
        notes: what could not be read, and why.
        sampler_cpu_s: CPU time that sampling took.
    """

    time_ns: NDArray[np.int64]
    host: Samples
    devices: Sequence[tuple[Device, Samples]] = ()
    notes: tuple[str, ...] = ()
    sampler_cpu_s: float = 0.0

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

    Raises:
        OSError: it cannot be written.
    """
    arrays = dict(series.host)
    for device, samples in series.devices:
        prefix = f"gpu{device.gpu}_" if device.instance is None else f"gpu{device.gpu}_mig{device.instance}_"
        arrays |= {f"{prefix}{name}": column for name, column in samples.items()}
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, time_ns=series.time_ns, **arrays)
    temporary.replace(path)
