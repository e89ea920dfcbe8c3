"""What vLLM says of itself at /metrics, and what of it a study can use."""

from collections.abc import Mapping, Sequence

from targets.base import ServerCounters
from targets.options import ServerMetric
from targets.prometheus import Exposition, NoSuchSeries, Selector, parse

METRICS: Sequence[ServerMetric] = (
    ServerMetric("kv_cache_use", "", "share of the KV cache in use, 0 to 1", "gauge", "kv_cache_use"),
    ServerMetric("requests_running", "", "requests in the batches that the model executes", "gauge", "running"),
    ServerMetric("requests_waiting", "", "requests that wait to be scheduled", "gauge", "waiting", better="less"),
    ServerMetric("preemptions", "/s", "requests put back because the KV cache was full", "rate", "preemptions",
                 better="less"),
    ServerMetric("prefix_cache_hit_rate", "", "share of the prompts' tokens found in the prefix cache", "ratio",
                 "prefix_hits", per="prefix_queries", better="more"),
    ServerMetric("prompt_tokens_rate", "/s", "tokens of prompts processed", "rate", "prompt_tokens", better="more"),
    ServerMetric("tokens_per_step", "tokens", "tokens that a step of the engine processes", "ratio", "step_tokens",
                 per="steps"),
    ServerMetric("draft_acceptance_rate", "", "share of the speculated tokens that were right", "ratio", "accepted",
                 per="drafted", better="more"),
)  # fmt: skip

# Reading -> the names it has had, the newest first.
_GAUGES: Mapping[str, Sequence[str]] = {
    "kv_cache_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
}
_COUNTERS: Mapping[str, Sequence[str]] = {
    "preemptions": ("vllm:num_preemptions_total",),
    "prefix_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "prefix_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "step_tokens": ("vllm:iteration_tokens_total_sum",),
    "steps": ("vllm:iteration_tokens_total_count",),
    "accepted": ("vllm:spec_decode_num_accepted_tokens_total",),
    "drafted": ("vllm:spec_decode_num_draft_tokens_total",),
}
_STAGES: Mapping[str, Sequence[str]] = {
    "queue": ("vllm:request_queue_time_seconds_sum",),
    "prefill": ("vllm:request_prefill_time_seconds_sum",),
    "decode": ("vllm:request_decode_time_seconds_sum",),
}
_ENDED = "vllm:request_success_total"
_NOT_ANSWERED = ("error", "abort")


def counters(taken_ns: int, text: bytes) -> ServerCounters:
    """Return what an answer of /metrics says; what a version of vLLM does not give is left out.

    Args:
        taken_ns: monotonic time of the reading.
        text: the exposition.

    Raises:
        BadExposition: it is none.
    """
    said = parse(text)
    ended = _sum(said, _ENDED)
    lost = {reason: _sum(said, _ENDED, finished_reason=reason) for reason in _NOT_ANSWERED}
    return ServerCounters(
        taken_ns=taken_ns,
        requests=round(ended - sum(lost.values())),
        failures=round(lost["error"]),
        total_ns={stage: round(seconds * 1e9) for stage, seconds in _found(said, _STAGES).items()},
        counters=_found(said, _COUNTERS),
        gauges=_gauges(said),
    )


def _gauges(said: Exposition) -> dict[str, float]:
    found = _found(said, _GAUGES)
    if "kv_cache_use" in found:  # a share does not add up over the engines, as the counts do
        found["kv_cache_use"] /= len(said.series.get(_GAUGES["running"][0], ())) or 1
    return found


def _found(said: Exposition, readings: Mapping[str, Sequence[str]]) -> dict[str, float]:
    values = {reading: _first(said, names) for reading, names in readings.items()}
    return {reading: value for reading, value in values.items() if value is not None}


def _first(said: Exposition, names: Sequence[str]) -> float | None:
    """Return the first of several series that there is, summed over its engines."""
    for name in names:
        try:
            return said.value(Selector(name, {}))
        except NoSuchSeries:
            continue
    return None


def _sum(said: Exposition, name: str, **labels: str) -> float:
    try:
        return said.value(Selector(name, labels)) or 0.0
    except NoSuchSeries:
        return 0.0
