"""What llama-server says of itself at /metrics, and what of it a study can use."""

from collections.abc import Mapping, Sequence

from targets.base import ServerCounters
from targets.options import ServerMetric
from targets.prometheus import Exposition, NoSuchSeries, Selector, parse

METRICS: Sequence[ServerMetric] = (
    ServerMetric("requests_running", "", "requests that have a slot", "gauge", "running"),
    ServerMetric("requests_waiting", "", "requests that wait for a slot", "gauge", "waiting", better="less"),
    ServerMetric("busy_slots", "", "slots at work in a step of the server", "ratio", "busy_slots", per="steps"),
    ServerMetric("tokens_per_step", "tokens", "tokens that a step of the server processes", "ratio", "tokens",
                 per="steps"),
    ServerMetric("prompt_tokens_rate", "/s", "tokens of prompts processed", "rate", "prompt_tokens", better="more"),
    ServerMetric("prefix_cache_hit_rate", "", "share of the prompts' tokens found in the cache", "ratio",
                 "cached_tokens", per="asked_tokens", better="more"),
    ServerMetric("draft_acceptance_rate", "", "share of the speculated tokens that were right", "ratio", "accepted",
                 per="drafted", better="more"),
)  # fmt: skip

_GAUGES: Mapping[str, str] = {
    "running": "llamacpp:requests_processing",
    "waiting": "llamacpp:requests_deferred",
}
_COUNTERS: Mapping[str, str] = {
    "prompt_tokens": "llamacpp:prompt_tokens_total",
    "answer_tokens": "llamacpp:tokens_predicted_total",
    "cached_tokens": "llamacpp:prompt_tokens_cached_total",
    "steps": "llamacpp:n_decode_total",
    "accepted": "llamacpp:spec_decode_num_accepted_tokens_total",
    "drafted": "llamacpp:spec_decode_num_draft_tokens_total",
}
_BUSY_SINCE_START = "llamacpp:n_busy_slots_per_decode"


def counters(taken_ns: int, text: bytes) -> ServerCounters:
    """Return what an answer of /metrics says; what a version of llama.cpp does not give is left out.

    Requests that ended are not among it: llama-server does not count them.

    Args:
        taken_ns: monotonic time of the reading.
        text: the exposition.

    Raises:
        BadExposition: it is none.
    """
    said = parse(text)
    found = _found(said, _COUNTERS)
    busy = _value(said, _BUSY_SINCE_START)
    sums = {
        # It gives the mean since its start; times the steps, that grows with them like a counter.
        "busy_slots": busy * found["steps"] if busy is not None and "steps" in found else None,
        "tokens": _sum(found, "prompt_tokens", "answer_tokens"),
        "asked_tokens": _sum(found, "prompt_tokens", "cached_tokens"),
    }
    found |= {name: value for name, value in sums.items() if value is not None}
    return ServerCounters(taken_ns=taken_ns, counters=found, gauges=_found(said, _GAUGES))


def _found(said: Exposition, names: Mapping[str, str]) -> dict[str, float]:
    values = {reading: _value(said, name) for reading, name in names.items()}
    return {reading: value for reading, value in values.items() if value is not None}


def _sum(found: Mapping[str, float], one: str, other: str) -> float | None:
    return found[one] + found[other] if one in found and other in found else None


def _value(said: Exposition, name: str) -> float | None:
    try:
        return said.value(Selector(name, {}))
    except NoSuchSeries:
        return None
