"""From samples to what a point says of them: means, largest values, energy. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuner.telemetry.exposed import with_metrics
from tuner.telemetry.nvml import REASONS, Device
from tuner.telemetry.series import Metrics, Samples, Series
from tuner.usage import Gpu, MigInstance, ServerReading, Telemetry

COVERED = 0.9
"""Energy is given where it was told for at least this share of the window; it is brought to the whole of it."""
NOTHING: NDArray[np.float64] = np.zeros(0)
MOST_METRICS = 100
"""Of the server's own metrics a point has so many at most; the samples have all."""


def told(series: Series | None) -> tuple[Series | None, Telemetry]:
    """Make sense of samples when the window has ended.

    Returns:
        The samples with what the server told of itself, and their summary.
    """
    if series is None:
        return None, Telemetry()
    whole = with_metrics(series)
    return whole, summarised(whole)


def summarised(series: Series) -> Telemetry:
    """Summarise samples: what was used per second of them, in the mean and at most.

    A field that was never read is absent.
    """
    host, seconds = series.host, series.seconds
    rss = _finite(host, "server_rss_bytes")
    cpus = _rates(series.time_ns, host.get("server_cpu_s", NOTHING))
    whole = _grown(host, "host_cpu_s")
    used, stolen = _grown(host, "host_used_s"), _grown(host, "host_steal_s")
    load = _finite(host, "host_load")
    readings = [] if series.metrics is None else list(_readings(series.metrics))
    left_out = _left_out(len(readings))
    gpus = (
        _gpus(series) if series.metrics is None or series.metrics.gpus is None else _told_gpus(series.metrics, seconds)
    )
    return Telemetry(
        cpu_cores=_rate(series.time_ns, host.get("server_cpu_s", NOTHING)),
        cpu_cores_max=_largest(cpus),
        rss_bytes=_whole(_largest(rss)),
        rss_mean_bytes=_mean(rss),
        host_cpu_share=used / whole if whole and used is not None else None,
        host_load=_mean(load),
        steal_share=stolen / whole if whole and stolen is not None else None,
        gpu=gpus,
        server_metrics=readings[:MOST_METRICS],
        samples=len(series.time_ns),
        sampled_s=seconds,
        sampler_cpu_share=series.sampler_cpu_s / seconds if seconds > 0 else None,
        notes=[*series.notes, *left_out, *_still(gpus)],
    )


def _left_out(readings: int) -> list[str]:
    """Return a note where a server tells more of itself than a point has."""
    more = readings - MOST_METRICS
    return [f"server metrics: {more} of {readings} are in the file of the samples alone"] if more > 0 else []


def _readings(metrics: Metrics) -> Iterator[ServerReading]:
    """Yield gauges, and counters that grew.

    The last reading is of the time right after the window, when what waited has been answered: it ends what counters
    say, and is none of a gauge's unless it is the only one.
    """
    for name, column in metrics.values.items():
        if name in metrics.counters:
            if rate := _rate(metrics.time_ns, column):
                yield ServerReading(name=name, per_s=rate)
            continue
        inside = column[:-1] if len(column) > 1 else column
        values = inside[np.isfinite(inside)]
        if len(values):
            yield ServerReading(name=name, mean=_mean(values), max=_largest(values))


def _still(gpus: Sequence[Gpu]) -> list[str]:
    """Return a note for each GPU whose energy did not grow: it draws power at all times, but may be read less often."""
    return [
        f"GPU {gpu.index}: its energy counter did not move in the window: it is renewed less often than that"
        for gpu in gpus
        if gpu.energy_from == "counter" and gpu.energy_joules == 0
    ]


def _told_gpus(metrics: Metrics, seconds: float) -> list[Gpu]:
    """Summarise the GPUs that a server elsewhere tells of.

    The first reading and the last one are not quite those of the samples, so the energy between them is brought to
    the samples' time. The last reading counts, for it is of the time right before: GPUs are read every so often.

    Args:
        metrics: of the server.
        seconds: from the first sample to the last.
    """
    span = float(metrics.time_ns[-1] - metrics.time_ns[0]) / 1e9 if len(metrics.time_ns) else 0.0
    found = []
    for index, (name, samples) in enumerate((metrics.gpus or {}).items()):
        total = _whole(_largest(_finite(samples, "memory_total_bytes")))
        made = _gpu(Device(index, None, name, total, None, None), samples, metrics.time_ns, (), [])
        if made.energy_joules is not None:
            covered = span >= COVERED * seconds > 0
            energy = {"energy_joules": made.energy_joules * seconds / span} if covered else _NO_ENERGY
            made = made.model_copy(update=energy)
        found.append(made)
    return found


_NO_ENERGY = {"energy_joules": None, "energy_from": None}


def _gpus(series: Series) -> list[Gpu]:
    instances: dict[int, list[MigInstance]] = {}
    for device, samples in series.devices:
        if device.instance is not None:
            instances.setdefault(device.gpu, []).append(_instance(device, device.instance, samples))
    seen = {
        device.gpu
        for device, samples in series.devices
        if (processes := _largest(_finite(samples, "server_processes"))) is not None and processes > 0
    }
    return [
        _gpu(device, samples, series.time_ns, seen, instances.get(device.gpu, []))
        for device, samples in series.devices
        if device.instance is None
    ]


def _gpu(
    device: Device,
    samples: Samples,
    time_ns: NDArray[np.int64],
    serving: Collection[int],
    instances: Sequence[MigInstance],
) -> Gpu:
    """Summarise a whole GPU.

    Args:
        device: the GPU.
        samples: of it.
        time_ns: of the samples.
        serving: the GPUs that a process of the server's was seen on. Where there are none, nothing is known of any: in
            a container NVML has other process ids, or none.
        instances: of MIG.
    """
    seen = device.gpu in serving
    energy = _energy(time_ns, samples)
    told = "server_processes" in samples or any(one.server_memory_bytes is not None for one in instances)
    statistics: dict[str, float | None] = {}
    for name in _AVERAGED:
        values = _finite(samples, name)
        statistics |= {name: _mean(values), f"{name}_max": _largest(values)}
    memory = _finite(samples, "memory_used_bytes")
    return Gpu(
        index=device.gpu,
        name=device.name,
        server=seen if serving and (told or seen) else None,
        memory_total_bytes=device.memory_total_bytes,
        memory_used_bytes=_whole(_largest(memory)),
        memory_used_mean_bytes=_mean(memory),
        server_memory_bytes=_whole(_largest(_finite(samples, "server_memory_bytes"))),
        energy_joules=energy.joules if energy else None,
        energy_from=energy.source if energy else None,
        throttle=_throttle(samples),
        mig=device.mig,
        instances=list(instances),
        samples=int(max((np.isfinite(column).sum() for column in samples.values()), default=0)),
        **statistics,
    )


_AVERAGED = (
    "utilization",
    "memory_utilization",
    "power_watts",
    "sm_clock_hz",
    "memory_clock_hz",
    "temperature_c",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
)


def _instance(device: Device, index: int, samples: Samples) -> MigInstance:
    memory = _finite(samples, "memory_used_bytes")
    return MigInstance(
        index=index,
        name=device.name,
        memory_total_bytes=device.memory_total_bytes,
        memory_used_bytes=_whole(_largest(memory)),
        memory_used_mean_bytes=_mean(memory),
        server_memory_bytes=_whole(_largest(_finite(samples, "server_memory_bytes"))),
    )


@dataclass(frozen=True)
class _Energy:
    joules: float
    source: Literal["counter", "power"]


def _energy(time_ns: NDArray[np.int64], samples: Samples) -> _Energy | None:
    """Return the energy of the window: the counter's growth, else the power integrated.

    Power between two samples is taken as their mean (trapezoids).
    """
    for name in ("energy_joules", "power_watts"):
        column = samples.get(name, NOTHING)
        known = np.flatnonzero(np.isfinite(column))
        if len(known) < 2:
            continue
        times_s = (time_ns[known] - time_ns[0]) / 1e9
        span, whole = times_s[-1] - times_s[0], (time_ns[-1] - time_ns[0]) / 1e9
        if span < COVERED * whole or span <= 0:
            continue
        values = column[known]
        if name == "energy_joules":
            return _Energy(float(values[-1] - values[0]) * whole / span, "counter")
        integral = float(np.sum(np.diff(times_s) * (values[1:] + values[:-1]) / 2))
        return _Energy(integral * whole / span, "power")
    return None


def _throttle(samples: Samples) -> dict[str, float] | None:
    """Return each reason that was there -> share of the samples, None where reasons are not told."""
    read = _finite(samples, "throttle_reasons").astype(np.int64)
    if not len(read):
        return None
    shares = {name: float(np.mean((read & bit) != 0)) for name, bit in REASONS.items()}
    return {name: share for name, share in shares.items() if share > 0}


def _rates(time_ns: NDArray[np.int64], column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much a growing column grew per second from each of its samples to the next.

    The last sample may come right after the one before; so short a time says nothing, the kernel counts in ticks.
    """
    known = np.flatnonzero(np.isfinite(column))
    seconds = np.diff(time_ns[known]) / 1e9
    rates: NDArray[np.float64] = np.diff(column[known]) / np.maximum(seconds, 1e-9)
    return rates[seconds >= np.median(seconds) / 2] if len(seconds) else rates


def _rate(time_ns: NDArray[np.int64], column: NDArray[np.float64]) -> float | None:
    """Return how much a growing column grew per second over all of its samples."""
    known = np.flatnonzero(np.isfinite(column))
    if len(known) < 2:
        return None
    seconds = float(time_ns[known[-1]] - time_ns[known[0]]) / 1e9
    return float(column[known[-1]] - column[known[0]]) / max(seconds, 1e-9)


def _grown(samples: Samples, name: str) -> float | None:
    values = _finite(samples, name)
    return float(values[-1] - values[0]) if len(values) > 1 else None


def _finite(samples: Samples, name: str) -> NDArray[np.float64]:
    column = samples.get(name, NOTHING)
    known: NDArray[np.float64] = column[np.isfinite(column)]
    return known


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _largest(values: NDArray[np.float64]) -> float | None:
    return float(values.max()) if len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
