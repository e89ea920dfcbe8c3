"""A histogram of latencies that can be merged and is small: buckets that grow by a fixed share. Pure.

A value v > 0 is counted in the bucket ceil(log(v) / log(GROWTH)), so that the middle of its bucket is within
(GROWTH - 1) / 2 of it, whatever its size. Counts of two histograms add up to that of both together, without a loss.
Source: Masson, Rim and Lee, DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees,
PVLDB 12(12), 2019.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

GROWTH = 1.04
"""From one edge to the next: a value is known within 2%."""
SHORTEST_S = 1e-6


def counted(latencies_s: NDArray[np.float64]) -> dict[int, int]:
    """Count latencies by bucket.

    Args:
        latencies_s: seconds, shape [n], in any order. Infinite ones, of requests that failed, are left out; what is
            shorter than SHORTEST_S counts as that.

    Returns:
        Bucket -> count, sorted by bucket, those that are not empty.
    """
    finite = np.maximum(latencies_s[np.isfinite(latencies_s)], SHORTEST_S)
    buckets = np.ceil(np.log(finite) / math.log(GROWTH) - 1e-9).astype(np.int64)
    numbers, counts = np.unique(buckets, return_counts=True)
    return {int(number): int(count) for number, count in zip(numbers, counts, strict=True)}


def merged(parts: Sequence[dict[int, int]]) -> dict[int, int]:
    """Put histograms together: counts add up."""
    total: Counter[int] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))


def upper_s(bucket: int) -> float:
    """Return the upper edge of a bucket in seconds; it belongs to the bucket."""
    return float(GROWTH**bucket)
