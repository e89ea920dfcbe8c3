"""Triton's statistics extension of the protocol."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from targets.answer_cache import CacheCounters
from targets.base import ServerCounters

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")


def counters(taken_ns: int, model_stats: Sequence[Mapping[str, Any]]) -> ServerCounters:
    """Return a reading of a model's statistics, its versions together.

    Args:
        taken_ns: monotonic time of the reading.
        model_stats: what the server has under `model_stats`; whole numbers may be texts, zeros may be absent.
    """
    total_ns: dict[str, int] = dict.fromkeys(STAGES, 0)
    batches: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for stats in model_stats:
        for stage in STAGES:
            total_ns[stage] += _number(stats, "inference_stats", stage, "ns")
        for batch in stats.get("batch_stats", ()):
            size = int(batch["batch_size"])
            count, spent_ns = batches[size]
            added = (_number(batch, "compute_infer", "count"), _number(batch, "compute_infer", "ns"))
            batches[size] = (count + added[0], spent_ns + added[1])
    return ServerCounters(
        taken_ns=taken_ns,
        requests=sum(_number(stats, "inference_stats", "success", "count") for stats in model_stats),
        failures=sum(_number(stats, "inference_stats", "fail", "count") for stats in model_stats),
        executions=sum(_number(stats, "execution_count") for stats in model_stats),
        total_ns=total_ns,
        batches=dict(batches),
        cache=sum(map(cache_of, model_stats), CacheCounters()),
    )


def cache_of(stats: Mapping[str, Any]) -> CacheCounters:
    """Return what a version's statistics say of lookups in the response cache."""
    counted = (
        (_number(stats, "inference_stats", name, "count"), _number(stats, "inference_stats", name, "ns"))
        for name in ("cache_hit", "cache_miss")
    )
    (hits, hits_ns), (misses, misses_ns) = counted
    return CacheCounters(hits, hits_ns, misses, misses_ns)


def _number(stats: Mapping[str, Any], *path: str) -> int:
    found: Any = stats
    for key in path:
        found = found.get(key, {})
    return int(found or 0)
