"""The server's own numbers as they are stored, with the latencies of what its cache answered and of the rest apart."""

import numpy as np
from numpy.typing import NDArray

from tuner import stats
from tuner.cached_answers import EITHER, HIT, MISS, Lookups, Range
from tuner.metrics import estimate
from tuner.records import WINDOW, Records, latencies_s
from tuner.results import Cache, Estimate, Server
from tuner.runs import Run, stored_server

TOLERANCE = 0.005
"""Share of the hits, and of the misses, of the windows by which the server's count may be off: half of what the p99 of
either leaves above it, so that those that are taken for the others cannot make it."""
SHOWN = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def server_of(run: Run) -> Server | None:
    """Return the server's numbers of a run as they are stored, None where it gave none."""
    if run.server is None:
        return None
    stored = stored_server(run.server)
    if stored.cache is None or run.lookups is None:
        return stored
    cache = with_latencies(stored.cache, run.records, run.lookups)
    return stored.model_copy(update={"cache": cache})


def with_latencies(cache: Cache, records: Records, lookups: Lookups) -> Cache:
    """Return a cache's numbers with the latencies of hits and misses, or with the reason why they are not told apart.

    Args:
        cache: as it is stored.
        records: of the loads.
        lookups: what is known of them.
    """
    inside = records.columns["phase"] == WINDOW
    if why := _not_told(lookups, inside):
        return cache.model_copy(update={"latency_note": why})
    of = {kind: inside & (lookups.expected == kind) for kind in (EITHER, HIT, MISS)}
    return cache.model_copy(
        update={
            "hit_latency": _percentiles(records, of[HIT]),
            "miss_latency": _percentiles(records, of[MISS]),
            "either": int(of[EITHER].sum()),
        }
    )


def _not_told(lookups: Lookups, inside: NDArray[np.bool_]) -> str:
    if lookups.unknown:
        return lookups.unknown
    counted, (off_hits, off_misses) = lookups.counted, _allowed(lookups, inside)
    hits, misses = lookups.hits, lookups.misses
    if (
        hits[0] - off_hits <= counted.hits <= hits[1] + off_misses
        and misses[0] - off_misses <= counted.misses <= misses[1] + off_hits
    ):
        return ""
    return (
        f"what was sent makes {_between(hits)} hits and {_between(misses)} misses, warm-up included, but the server "
        f"counted {counted.hits:,} and {counted.misses:,}: its cache did not keep every answer, or others ask it too"
    )


def _allowed(lookups: Lookups, inside: NDArray[np.bool_]) -> tuple[float, float]:
    """Return how many of the windows' hits may have been misses, and the other way round."""
    hits, misses = (TOLERANCE * int((lookups.expected[inside] == kind).sum()) for kind in (HIT, MISS))
    return hits, misses


def _between(count: Range) -> str:
    fewest, most = count
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _percentiles(records: Records, of: NDArray[np.bool_]) -> dict[str, Estimate]:
    """Return p50, p90 and p99 of some requests' latencies; {} without any."""
    rows = records.rows[of].in_order_of("intended_ns")
    if not len(rows):
        return {}
    series = stats.Ordered.of(latencies_s(rows))
    return {name: estimate(stats.percentile(series, fraction)) for name, fraction in SHOWN.items()}
