"""What SGLang says of itself at /metrics, and what of it a study can use."""

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
    ServerMetric("prefix_cache_hit_rate", "", "share of the prompts' tokens found in the cache, of ended requests",
                 "ratio", "cached_tokens", per="prompt_tokens", better="more"),
    ServerMetric("prompt_tokens_rate", "/s", "tokens of prompts of ended requests", "rate", "prompt_tokens",
                 better="more"),
    ServerMetric("gen_throughput", "/s", "tokens of answers, as SGLang counts them over its last steps", "gauge",
                 "gen_throughput", better="more"),
    ServerMetric("draft_accept_length", "tokens", "tokens that a step of speculative decoding gives", "gauge",
                 "accept_length", better="more"),
)  # fmt: skip

_SUMMED: Mapping[str, str] = {
    "running": "sglang:num_running_reqs",
    "waiting": "sglang:num_queue_reqs",
    "gen_throughput": "sglang:gen_throughput",
}
_AVERAGED: Mapping[str, str] = {
    "kv_cache_use": "sglang:token_usage",
    "accept_length": "sglang:spec_accept_length",
}
_COUNTERS: Mapping[str, str] = {
    "preemptions": "sglang:num_retracted_requests_total",
    "prompt_tokens": "sglang:prompt_tokens_total",
    "cached_tokens": "sglang:cached_tokens_total",
}
_ENDED = "sglang:num_requests_total"
_QUEUED_S = "sglang:queue_time_seconds_sum"


def counters(taken_ns: int, text: bytes) -> ServerCounters:
    """Return what an answer of /metrics says; what a version of SGLang does not give is left out.

    Args:
        taken_ns: monotonic time of the reading.
        text: the exposition.

    Raises:
        BadExposition: it is none.
    """
    said = parse(text)
    queued = _value(said, _QUEUED_S)
    return ServerCounters(
        taken_ns=taken_ns,
        requests=round(_value(said, _ENDED) or 0),
        total_ns={} if queued is None else {"queue": round(queued * 1e9)},
        counters=_counted(said),
        gauges={**_sums(said), **_means(said)},
    )


def _found(said: Exposition, names: Mapping[str, str]) -> dict[str, float]:
    values = {reading: _value(said, name) for reading, name in names.items()}
    return {reading: value for reading, value in values.items() if value is not None}


def _counted(said: Exposition) -> dict[str, float]:
    """Return the counters; one that is declared and has not counted yet is 0."""
    names = {reading: name for reading, name in _COUNTERS.items() if name in said.declared}
    return dict.fromkeys(names, 0.0) | _found(said, names)


def _sums(said: Exposition) -> dict[str, float]:
    """Return the gauges that add up over the schedulers; the series of a priority is in that without one already."""
    return {
        reading: sum(value for labels, value in said.series[name] if not labels.get("priority"))
        for reading, name in _SUMMED.items()
        if name in said.series
    }


def _means(said: Exposition) -> dict[str, float]:
    """Return the gauges that do not add up over the schedulers, as counts do."""
    return {reading: value / len(said.series[_AVERAGED[reading]]) for reading, value in _found(said, _AVERAGED).items()}


def _value(said: Exposition, name: str) -> float | None:
    try:
        return said.value(Selector(name, {}))
    except NoSuchSeries:
        return None
