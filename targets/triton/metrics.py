"""What Triton's own metrics say beyond its statistics: how busy the machine is, and what waits."""

from collections.abc import Mapping, Sequence
from math import isfinite

from targets.base import ServerHung
from targets.exposed import ToldOfGpus
from targets.options import ServerMetric
from targets.prometheus import BadExposition, Exposition, parse

METRICS: Sequence[ServerMetric] = (
    ServerMetric("pending_requests", "", "requests that wait in the server for an instance of the model", "gauge",
                 "pending_requests", better="less"),
    ServerMetric("machine_cpu", "share", "CPU of the server's machine that is in use", "gauge", "machine_cpu"),
    ServerMetric("machine_gpu", "share", "GPUs of the server that are in use, their mean", "gauge", "machine_gpu"),
)  # fmt: skip
GPUS = {
    "utilization": "nv_gpu_utilization",
    "memory_used_bytes": "nv_gpu_memory_used_bytes",
    "memory_total_bytes": "nv_gpu_memory_total_bytes",
    "power_watts": "nv_gpu_power_usage",
    "energy_joules": "nv_energy_consumption",
}
"""Field of a GPU -> Triton's name; each is in the field's unit."""


def gauges(text: bytes, model: str) -> dict[str, float]:
    """Return the gauges that an answer of /metrics has; one that the server does not give is left out.

    Args:
        text: in Prometheus' text format.
        model: whose requests are meant.

    Raises:
        ServerHung: it is in no such format.
    """
    found = _parsed(text)
    pending = _values(found, "nv_inference_pending_request_count", {"model": model})
    of_machine = {"machine_cpu": "nv_cpu_utilization", "machine_gpu": "nv_gpu_utilization"}
    means = {name: _values(found, series, {}) for name, series in of_machine.items()}
    result = {name: sum(values) / len(values) for name, values in means.items() if values}
    return result | ({"pending_requests": sum(pending)} if pending else {})


def gpus(text: bytes) -> ToldOfGpus:
    """Return what an answer of /metrics says of the server's GPUs, by their UUIDs; {} of a server without any.

    Raises:
        ServerHung: it is in no such format.
    """
    found, told = _parsed(text), dict[str, dict[str, float]]()
    for field, name in GPUS.items():
        for labels, value in (*found.series.get(name, ()), *found.series.get(f"{name}_total", ())):
            if "gpu_uuid" in labels and isfinite(value):  # the parser ends a counter's name with `_total`
                told.setdefault(labels["gpu_uuid"], {})[field] = value
    return told


def lacking(text: bytes, fields: Sequence[str]) -> str:
    """Return why an answer of /metrics tells none of these fields of any GPU, "" where it does. Raises as `gpus`."""
    told = gpus(text)
    if any(field in one for one in told.values() for field in fields):
        return ""
    wanted = " or ".join(f"`{GPUS[field]}`" for field in fields)
    nothing = "" if told else ", nor anything of a GPU: it has none, or does not see it"
    return f"its metrics have no {wanted}{nothing}"


def _parsed(text: bytes) -> Exposition:
    try:
        return parse(text)
    except BadExposition as error:
        raise ServerHung(f"target.metrics_url: {error}") from None


def _values(found: Exposition, name: str, labels: Mapping[str, str]) -> list[float]:
    return [value for given, value in found.series.get(name, ()) if labels.items() <= given.items()]
