"""Steps in a series: where a figure changed for good. Pure.

E-divisive: Matteson and James, A nonparametric approach for multiple change point analysis of multivariate data,
Journal of the American Statistical Association 109(505), 2014; used on benchmark results by Daly et al., The use of
change point detection to identify software performance regressions in a continuous integration system, ICPE 2020. It
assumes nothing of the distribution but that observations between two steps are independent draws of the same one.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE = 0.01
PERMUTATIONS = 499
LEAST = 3
"""Observations on each side of a step, at least."""


def steps(values: Sequence[float], rng: np.random.Generator, significance: float = SIGNIFICANCE) -> tuple[int, ...]:
    """Return where the steps are: the index of the first observation after each, sorted.

    Again and again the split with the largest energy statistic over all segments found so far is taken, until a
    permutation test no longer finds it: of PERMUTATIONS shuffles within the segments, the share whose best split is at
    least as good, the series itself counted among them, must be `significance` at most. That share cannot be small in
    a short series: ten observations or so are needed before there is any step.

    Args:
        values: the series in order, finite, shape [n].
        rng: of the permutations.
        significance: of each step.
    """
    series = np.asarray(values, float)
    found: list[int] = []
    while (best := _best(series, _segments(found, len(series)))) is not None:
        place, statistic = best
        if _p_value(series, _segments(found, len(series)), statistic, rng) > significance:
            break
        found = sorted([*found, place])
    return tuple(found)


def _segments(found: Sequence[int], n: int) -> list[tuple[int, int]]:
    edges = [0, *found, n]
    return list(pairwise(edges))


def _best(series: NDArray[np.float64], segments: Sequence[tuple[int, int]]) -> tuple[int, float] | None:
    """Return the best split of all segments and its statistic, None where no segment can be split."""
    candidates = []
    for start, end in segments:
        if end - start >= 2 * LEAST:
            place, statistic = _best_split(series[start:end])
            candidates.append((statistic, start + place))
    if not candidates:
        return None
    statistic, place = max(candidates)
    return place, statistic


def _best_split(values: NDArray[np.float64]) -> tuple[int, float]:
    """Return the split of a segment with the largest energy statistic.

    Q = m k / (m + k) (2 E|X - Y| - E|X - X'| - E|Y - Y'|) for the m observations X before the split and the k after it,
    each mean over pairs; X and X' are different observations.
    """
    n = len(values)
    distances = np.abs(values[:, None] - values[None, :])
    sums = distances.cumsum(axis=0).cumsum(axis=1)
    before = np.arange(LEAST, n - LEAST + 1)
    after = n - before
    within = sums[before - 1, before - 1]
    across = sums[before - 1, n - 1] - within
    beyond = sums[n - 1, n - 1] - within - 2 * across
    energy = 2 * across / (before * after) - within / (before * (before - 1)) - beyond / (after * (after - 1))
    statistic = before * after / n * energy
    best = int(np.argmax(statistic))
    return int(before[best]), float(statistic[best])


def _p_value(
    series: NDArray[np.float64], segments: Sequence[tuple[int, int]], statistic: float, rng: np.random.Generator
) -> float:
    """Return how often shuffled segments have a split that is as good."""
    as_good = 1
    for _ in range(PERMUTATIONS):
        shuffled = series.copy()
        for start, end in segments:
            rng.shuffle(shuffled[start:end])
        best = _best(shuffled, segments)
        as_good += best is not None and best[1] >= statistic * (1 - 1e-12)
    return as_good / (PERMUTATIONS + 1)
