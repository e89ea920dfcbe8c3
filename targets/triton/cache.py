"""The metrics of Triton's response cache."""

from collections.abc import Mapping, Sequence

from targets.answer_cache import CacheCounters
from targets.options import ServerMetric

METRICS: Sequence[ServerMetric] = (
    ServerMetric("cache_hit_rate", "share", "share of the lookups in the response cache that found the answer",
                 "ratio", "cache_hits", per="cache_lookups", better="more", idle=0.0),
)  # fmt: skip


def readings(cache: CacheCounters) -> Mapping[str, float]:
    """Return the counters that the metrics are made of."""
    return {"cache_hits": cache.hits, "cache_lookups": cache.lookups}
