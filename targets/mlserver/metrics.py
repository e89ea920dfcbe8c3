"""What MLServer's Prometheus metrics say of a model."""

from collections.abc import Sequence

from targets import prometheus
from targets.base import ServerCounters
from targets.options import ServerMetric
from targets.prometheus import Exposition, Selector

_REQUEST_S, _REQUESTS = "model_infer_request_duration_sum", "model_infer_request_duration_count"
_WAITING, _JOINED = "batch_request_queue_sum", "batch_request_queue_count"

METRICS: Sequence[ServerMetric] = (
    ServerMetric("request_duration", "s", "mean time of a request in MLServer, the wait for its batch included",
                 "ratio", _REQUEST_S, _REQUESTS, "less"),
    ServerMetric("batch_queue", "", "mean number of requests that one finds waiting for the next batch; "
                 "MLServer tells it with batching on and workers of its own", "ratio", _WAITING, _JOINED),
)  # fmt: skip


def counters(taken_ns: int, exposition: bytes, model: str) -> ServerCounters:
    """Return what an exposition says of a model.

    Args:
        taken_ns: monotonic time of the reading.
        exposition: Prometheus' text format.
        model: name of the model.
    """
    found = prometheus.parse(exposition)
    own = {
        _REQUEST_S: {"model": model}, _REQUESTS: {"model": model},
        _WAITING: {"model_name": model}, _JOINED: {"model_name": model},
    }  # fmt: skip
    values = {name: _value(found, name, labels) for name, labels in own.items()}
    return ServerCounters(
        taken_ns=taken_ns,
        requests=round(_value(found, "model_infer_request_success_total", {"model": model}) or 0),
        failures=round(_value(found, "model_infer_request_failure_total", {"model": model}) or 0),
        counters={name: value for name, value in values.items() if value is not None},
    )


def _value(found: Exposition, name: str, labels: dict[str, str]) -> float | None:
    try:
        return found.value(Selector(name, labels))
    except prometheus.NoSuchSeries:  # MLServer names a series once it has counted
        return None
