"""NVIDIA GPUs through NVML. No GPU, no driver or a field that a GPU lacks is no error: it is absent, with a reason."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pynvml

from tuner.results import Gpu

PERIOD_S = 0.1


@dataclass
class _Samples:
    utilization: list[float] = field(default_factory=list)
    memory_used_bytes: list[int] = field(default_factory=list)
    power_watts: list[float] = field(default_factory=list)


class GpuSampler:
    """Samples every GPU at 10 Hz in a thread between `start` and `stop`."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._handles: list[Any] = []
        self._names: list[str] = []
        try:
            pynvml.nvmlInit()
            for index in range(pynvml.nvmlDeviceGetCount()):
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                self._handles.append(handle)
                self._names.append(str(pynvml.nvmlDeviceGetName(handle)))
        except pynvml.NVMLError as error:
            self.notes.append(f"no GPU telemetry: {error}")
        self._thread: threading.Thread | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the GPUs found."""
        return tuple(self._names)

    def start(self) -> None:
        """Begin to sample; with no GPU it does nothing."""
        if not self._handles:
            return
        self._samples = [_Samples() for _ in self._handles]
        self._absent: dict[str, None] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="nvml", daemon=True)
        self._thread.start()

    def stop(self) -> list[Gpu]:
        """End sampling and return the means, one entry per GPU."""
        if self._thread is None:
            return []
        self._ended.set()
        self._thread.join()
        self._thread = None
        self.notes = list(self._absent)
        return [
            Gpu(
                index=index,
                name=self._names[index],
                utilization=_mean(samples.utilization),
                memory_used_bytes=None if not samples.memory_used_bytes else max(samples.memory_used_bytes),
                power_watts=_mean(samples.power_watts),
                samples=max(len(samples.utilization), len(samples.memory_used_bytes), len(samples.power_watts)),
            )
            for index, samples in enumerate(self._samples)
        ]

    def _sample(self) -> None:
        while True:
            for index, (handle, samples) in enumerate(zip(self._handles, self._samples, strict=True)):
                self._read(index, "utilization", handle, samples)
                self._read(index, "memory", handle, samples)
                self._read(index, "power", handle, samples)
            if self._ended.wait(PERIOD_S):
                return

    def _read(self, index: int, what: str, handle: Any, samples: _Samples) -> None:
        try:
            if what == "utilization":
                samples.utilization.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
            elif what == "memory":
                samples.memory_used_bytes.append(int(pynvml.nvmlDeviceGetMemoryInfo(handle).used))
            else:
                samples.power_watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
        except pynvml.NVMLError as error:
            self._absent[f"GPU {index}: no {what}: {error}"] = None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
