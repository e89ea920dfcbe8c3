"""NVIDIA GPUs through NVML. No GPU, no driver or a field that a GPU lacks is no error: it is absent, with a reason."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import pynvml

FIELDS = (
    ("utilization", "share", "share of time with a kernel running, over the driver's last sample period"),
    ("memory_utilization", "share", "share of that time in which its memory was read or written"),
    ("memory_used_bytes", "bytes", "memory in use, of all processes"),
    ("power_watts", "W", "power drawn by the whole board"),
    ("energy_joules", "J", "energy drawn since the driver was loaded; it only grows"),
    ("sm_clock_hz", "Hz", "clock of its multiprocessors"),
    ("memory_clock_hz", "Hz", "clock of its memory"),
    ("temperature_c", "degrees Celsius", "of the chip"),
    ("throttle_reasons", "bits", "why its clocks are below their highest, see the reasons below"),
    ("pcie_rx_bytes_per_s", "bytes/s", "received over PCIe, over 20 ms; read once a second"),
    ("pcie_tx_bytes_per_s", "bytes/s", "sent over PCIe, over 20 ms; read once a second"),
    ("server_processes", "count", "processes of the server that use it; read once a second"),
    ("server_memory_bytes", "bytes", "memory of these processes"),
)
"""What a GPU tells: name, unit, meaning. Of a MIG instance it is the memory."""
REASONS = {
    "gpu_idle": pynvml.nvmlClocksEventReasonGpuIdle,
    "applications_clocks_setting": pynvml.nvmlClocksEventReasonApplicationsClocksSetting,
    "sw_power_cap": pynvml.nvmlClocksEventReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksEventReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksEventReasonSyncBoost,
    "sw_thermal_slowdown": pynvml.nvmlClocksEventReasonSwThermalSlowdown,
    "hw_thermal_slowdown": pynvml.nvmlClocksEventReasonHwThermalSlowdown,
    "hw_power_brake_slowdown": pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    "display_clock_setting": pynvml.nvmlClocksEventReasonDisplayClockSetting,
}
"""Name of a reason -> its bit in `throttle_reasons`."""

Handle: TypeAlias = Any
Value = TypeVar("Value")
_FAILURES = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError)
_OLDER = (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
_LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_GPU_NOT_FOUND, pynvml.NVML_ERROR_RESET_REQUIRED)
_PASSING = (
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_IN_USE,
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_NOT_READY,
    pynvml.NVML_ERROR_UNKNOWN,
)
"""Errors that may be gone at the next reading; after any other one the field is not asked for again."""


@dataclass(frozen=True)
class Device:
    """A GPU, or a MIG instance of one.

    Attributes:
        gpu: its index.
        instance: index of the MIG instance, None: the whole GPU.
        name: of it.
        memory_total_bytes: None where it is not told.
        mig: whether it is divided into instances; None where it cannot be.
        handle: NVML's.
    """

    gpu: int
    instance: int | None
    name: str
    memory_total_bytes: int | None
    mig: bool | None
    handle: Handle

    @property
    def label(self) -> str:
        """What notes call it."""
        return f"GPU {self.gpu}" if self.instance is None else f"GPU {self.gpu} MIG {self.instance}"


@dataclass(frozen=True)
class _Probe:
    """A question to NVML: which fields it answers, and with what numbers.

    Attributes:
        what: the fields, in words.
        fields: their names.
        read: handle and process ids of the server -> their values.
        slow: it takes so long that it is asked once a second only.
        of_instances: whether it is asked of MIG instances too.
        older: how a driver is asked that does not know `read`; None: there is no other way.
    """

    what: str
    fields: tuple[str, ...]
    read: Callable[[Handle, frozenset[int]], tuple[float, ...]]
    slow: bool = False
    of_instances: bool = False
    older: Callable[[Handle, frozenset[int]], tuple[float, ...]] | None = None


class Gpus:
    """The GPUs of this host.

    Attributes:
        devices: each GPU, followed by its MIG instances.
        notes: what could not be had, and why.
    """

    def __init__(self) -> None:
        self.devices: list[Device] = []
        self.notes: list[str] = []
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except _FAILURES as error:
            self.notes.append(f"no GPU telemetry: {error}")
            return
        for index in range(count):
            try:
                self._add(index)
            except _FAILURES as error:
                self.notes.append(f"GPU {index}: cannot be used: {error}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the GPUs, without those of their MIG instances."""
        return tuple(one.name for one in self.devices if one.instance is None)

    @property
    def driver(self) -> str:
        """Version of the driver, "" without GPUs."""
        try:
            return str(pynvml.nvmlSystemGetDriverVersion()) if self.devices else ""
        except _FAILURES:
            return ""

    def reader(self, processes: Sequence[int]) -> "GpuReader":
        """Return what reads them, for a server of these processes."""
        return GpuReader(self.devices, frozenset(processes))

    def lacking(self, *alternatives: str) -> str | None:
        """Return why no GPU tells any of these fields, None when one does.

        Args:
            alternatives: names of FIELDS.
        """
        if not self.devices:
            return "; ".join(self.notes) or "this host has no GPU"
        reader = self.reader(())
        told = {name for values in reader.read(slow=True) for name in values}
        if told & set(alternatives):
            return None
        about = [f": no {one.what}: " for one in _PROBES if set(one.fields) & set(alternatives)] + [": lost: "]
        why = [note for note in reader.notes if any(part in note for part in about)]
        return "; ".join(why) or "no GPU has it"

    def _add(self, index: int) -> None:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        mig = self._told(f"GPU {index}: no MIG mode", lambda: bool(pynvml.nvmlDeviceGetMigMode(handle)[0]))
        self.devices.append(self._device(index, None, handle, mig))
        if mig:
            slots = self._told(f"GPU {index}: no MIG instances", lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
            for instance in range(slots or 0):
                self._add_instance(index, instance, handle)

    def _add_instance(self, index: int, instance: int, whole: Handle) -> None:
        """Add the MIG instance of a slot; most slots are empty."""
        try:
            handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(whole, instance)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_FOUND:
                self.notes.append(f"GPU {index} MIG {instance}: cannot be used: {error}")
            return
        self.devices.append(self._device(index, instance, handle, None))

    def _device(self, index: int, instance: int | None, handle: Handle, mig: bool | None) -> Device:
        name = self._told(f"GPU {index}: no name", lambda: str(pynvml.nvmlDeviceGetName(handle)))
        total = self._told("", lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total))
        return Device(index, instance, name or "unnamed", total, mig, handle)

    def _told(self, missing: str, ask: Callable[[], Value]) -> Value | None:
        try:
            return ask()
        except _FAILURES as error:
            if missing:
                self.notes.append(f"{missing}: {error}")
            return None


class GpuReader:
    """Reads devices again and again.

    Attributes:
        notes: what could not be read, and why; each reason once.
    """

    def __init__(self, devices: Sequence[Device], processes: frozenset[int]) -> None:
        self.notes: dict[str, None] = {}
        self._devices = devices
        self._processes = processes
        self._asked = [[one for one in _PROBES if one.of_instances or at.instance is None] for at in devices]

    def read(self, *, slow: bool) -> list[dict[str, float]]:
        """Return for each device field -> value; what cannot be read is left out.

        Args:
            slow: whether what takes long is asked too; it comes last.
        """
        found: list[dict[str, float]] = [{} for _ in self._devices]
        for taken in (False, True) if slow else (False,):
            for device, asked, values in zip(self._devices, self._asked, found, strict=True):
                for probe in [one for one in asked if one.slow is taken]:
                    self._ask(device, asked, probe, values)
        return found

    def _ask(self, device: Device, asked: list[_Probe], probe: _Probe, values: dict[str, float]) -> None:
        if probe not in asked:  # the device was lost a moment ago
            return
        try:
            values.update(zip(probe.fields, probe.read(device.handle, self._processes), strict=True))
        except _FAILURES as error:
            code = getattr(error, "value", None)
            if code in _OLDER and probe.older is not None:
                known = replace(probe, read=probe.older, older=None)
                asked[asked.index(probe)] = known
                self._ask(device, asked, known, values)
                return
            if code in _LOST:
                asked.clear()
                self.notes[f"{device.label}: lost: {error}"] = None
                return
            self.notes[f"{device.label}: no {probe.what}: {error}"] = None
            if code not in _PASSING:
                asked.remove(probe)


def _utilization(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    rates = pynvml.nvmlDeviceGetUtilizationRates(handle)
    return rates.gpu / 100, rates.memory / 100


def _memory(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (float(pynvml.nvmlDeviceGetMemoryInfo(handle).used),)


def _power(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3,)


def _energy(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,)


def _sm_clock(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6,)


def _memory_clock(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM) * 1e6,)


def _temperature(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (float(_newer("nvmlDeviceGetTemperatureV")(handle, pynvml.NVML_TEMPERATURE_GPU)),)


def _temperature_of_old(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),)


def _newer(name: str) -> Callable[..., float]:
    """Return a function of the bindings. Older ones without it are as a driver without it: raises NVMLError."""
    found: Callable[..., float] | None = getattr(pynvml, name, None)
    if found is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    return found


def _throttle(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (float(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)),)


def _throttle_of_old(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    return (float(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),)


def _pcie(handle: Handle, _: frozenset[int]) -> tuple[float, ...]:
    ways = (pynvml.NVML_PCIE_UTIL_RX_BYTES, pynvml.NVML_PCIE_UTIL_TX_BYTES)
    return tuple(pynvml.nvmlDeviceGetPcieThroughput(handle, way) * 1024.0 for way in ways)  # NVML says KiB/s


def _server_memory(handle: Handle, processes: frozenset[int]) -> tuple[float, ...]:
    return _of_processes(pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle), processes)


def _server_memory_of_old(handle: Handle, processes: frozenset[int]) -> tuple[float, ...]:
    return _of_processes(pynvml.nvmlDeviceGetComputeRunningProcesses_v2(handle), processes)


def _of_processes(running: Sequence[Any], processes: frozenset[int]) -> tuple[float, ...]:
    """Return how many of the server's processes are among those on a device, and their memory."""
    used = [one.usedGpuMemory for one in running if one.pid in processes]
    told = math.nan if None in used else float(sum(used))  # None: the driver does not tell it of this process
    return float(len(used)), told


_PROBES = (
    _Probe("utilization", ("utilization", "memory_utilization"), _utilization),
    _Probe("memory", ("memory_used_bytes",), _memory, of_instances=True),
    _Probe("power", ("power_watts",), _power),
    _Probe("energy counter", ("energy_joules",), _energy),
    _Probe("SM clock", ("sm_clock_hz",), _sm_clock),
    _Probe("memory clock", ("memory_clock_hz",), _memory_clock),
    _Probe("temperature", ("temperature_c",), _temperature, older=_temperature_of_old),
    _Probe("throttle reasons", ("throttle_reasons",), _throttle, older=_throttle_of_old),
    _Probe(
        "memory of processes",
        ("server_processes", "server_memory_bytes"),
        _server_memory,
        slow=True,
        of_instances=True,
        older=_server_memory_of_old,
    ),
    _Probe("PCIe throughput", ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s"), _pcie, slow=True),
)
