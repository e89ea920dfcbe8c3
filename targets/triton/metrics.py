"""What Triton's own metrics say beyond its statistics: how busy the machine is, and what waits."""

from collections.abc import Mapping, Sequence

from targets.base import ServerHung
from targets.options import ServerMetric
from targets.prometheus import BadExposition, Exposition, parse

METRICS: Sequence[ServerMetric] = (
    ServerMetric("pending_requests", "", "requests that wait in the server for an instance of the model", "gauge",
                 "pending_requests", better="less"),
    ServerMetric("machine_cpu", "share", "CPU of the server's machine that is in use", "gauge", "machine_cpu"),
    ServerMetric("machine_gpu", "share", "GPUs of the server that are in use, their mean", "gauge", "machine_gpu"),
)  # fmt: skip


def gauges(text: bytes, model: str) -> dict[str, float]:
    """Return the gauges that an answer of /metrics has; one that the server does not give is left out.

    Args:
        text: in Prometheus' text format.
        model: whose requests are meant.

    Raises:
        ServerHung: it is in no such format.
    """
    try:
        found = parse(text)
    except BadExposition as error:
        raise ServerHung(f"target.metrics_url: {error}") from None
    pending = _values(found, "nv_inference_pending_request_count", {"model": model})
    of_machine = {"machine_cpu": "nv_cpu_utilization", "machine_gpu": "nv_gpu_utilization"}
    means = {name: _values(found, series, {}) for name, series in of_machine.items()}
    result = {name: sum(values) / len(values) for name, values in means.items() if values}
    return result | ({"pending_requests": sum(pending)} if pending else {})


def _values(found: Exposition, name: str, labels: Mapping[str, str]) -> list[float]:
    return [value for given, value in found.series.get(name, ()) if labels.items() <= given.items()]
