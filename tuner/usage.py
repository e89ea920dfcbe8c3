"""What server, host and GPUs used in a window, as plain data: the telemetry of a point in result.json."""

from typing import Literal

from pydantic import Field

from tuner.data import Data


class MigInstance(Data):
    """A MIG instance: a part of a GPU that is a GPU of its own to those who use it."""

    index: int = Field(description="of the instance on its GPU")
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = Field(None, description="largest value seen")
    memory_used_mean_bytes: float | None = None
    server_memory_bytes: int | None = Field(None, description="of the server's processes, largest value seen")


class Gpu(Data):
    """One GPU over the window. A name without `_max` is of the mean, unless its description says otherwise."""

    index: int
    name: str
    server: bool | None = Field(
        None, description="whether a process of the server's is on it; null: not told, or seen on none"
    )
    utilization: float | None = Field(None, description="share of time with a kernel running, 0..1")
    utilization_max: float | None = None
    memory_utilization: float | None = Field(None, description="share of time in which its memory was read or written")
    memory_utilization_max: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = Field(None, description="of all processes, largest value seen")
    memory_used_mean_bytes: float | None = None
    server_memory_bytes: int | None = Field(None, description="of the server's processes, largest value seen")
    power_watts: float | None = None
    power_watts_max: float | None = None
    energy_joules: float | None = Field(None, description="over the telemetry's `sampled_s`")
    energy_from: Literal["counter", "power"] | None = Field(None, description="its counter, or its power integrated")
    sm_clock_hz: float | None = None
    sm_clock_hz_max: float | None = None
    memory_clock_hz: float | None = None
    memory_clock_hz_max: float | None = None
    temperature_c: float | None = Field(None, description="degrees Celsius")
    temperature_c_max: float | None = None
    throttle: dict[str, float] | None = Field(None, description="reason -> share of the samples that its clocks had it")
    pcie_rx_bytes_per_s: float | None = None
    pcie_rx_bytes_per_s_max: float | None = None
    pcie_tx_bytes_per_s: float | None = None
    pcie_tx_bytes_per_s_max: float | None = None
    mig: bool | None = Field(None, description="whether it is divided into MIG instances; null: it cannot be")
    instances: list[MigInstance] = Field([])
    samples: int = Field(description="readings that told something")


class ServerReading(Data):
    """One of the server's own metrics over the window: of a gauge mean and largest value, of a counter the rate."""

    name: str = Field(description="that the server gives it, with its labels")
    mean: float | None = Field(None, description="of a gauge, over the readings in the window")
    max: float | None = Field(None, description="of a gauge")
    per_s: float | None = Field(None, description="of a counter: by how much it grew, per second")


class Telemetry(Data):
    """What was used in the window. A field that cannot be had is absent, with its reason in `notes`."""

    cpu_cores: float | None = Field(None, description="CPU of the server's process tree, in cores")
    cpu_cores_max: float | None = Field(None, description="between two samples")
    rss_bytes: int | None = Field(None, description="resident memory of the server's process tree, largest value seen")
    rss_mean_bytes: float | None = None
    host_cpu_share: float | None = Field(None, description="share of the host's CPU time that was used, by anything")
    host_load: float | None = Field(None, description="the kernel's load average over a minute")
    steal_share: float | None = Field(None, description="share of the host's CPU time that other virtual machines took")
    gpu: list[Gpu] = Field([])
    server_metrics: list[ServerReading] = Field(
        [], description="what the server tells of itself; counters that did not grow are left out"
    )
    samples: int = 0
    sampled_s: float = Field(0.0, description="from the first sample to the last")
    sampler_cpu_share: float | None = Field(None, description="CPU that sampling took, of one core")
    series: str | None = Field(None, description="file of the samples, relative to the run directory")
    notes: list[str] = Field([])
