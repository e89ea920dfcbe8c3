"""Estimates with intervals. Plain functions over arrays: no I/O, no clock.

Answers of a queue are not independent: a slow batch is slow for all in it, and a backlog lasts. Every interval here
therefore rests on batches of neighbouring observations (or on redeployments), never on the raw count alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
BATCHES = 20
P99_MIN_SAMPLES = 662
"""Fewest samples from which a p99 is claimed without a warning: MLPerf Inference's early-stopping rule for the 99th
percentile at 99% confidence (binomial)."""


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval at CONFIDENCE; an infinite bound says that there is none."""

    value: float
    low: float
    high: float
    n: int


def mean_of_batches(values: NDArray[np.float64]) -> Interval:
    """Estimate the mean of a stationary series by batch means.

    The series is cut into BATCHES consecutive batches of equal length (a rest is left out of the interval, not of the
    mean); their means are taken as independent and normal: mean +- t * s / sqrt(BATCHES). Source: Law, Simulation
    Modeling and Analysis, 5th ed., 9.5.3. Fewer than 2 values per batch, or an infinite value: no bounds.

    Args:
        values: the series in order, shape [n].
    """
    n = len(values)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0)
    mean = float(np.mean(values))
    if n < 2 * BATCHES or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf, n)
    half = _t_half_width(_batch_means(values))
    return Interval(mean, mean - half, mean + half, n)


def rate_in_bins(times_ns: NDArray[np.int64], windows_ns: Sequence[tuple[int, int]]) -> Interval:
    """Estimate a rate per second from event times in one or several windows.

    Each window is cut into equal bins so that about BATCHES bins come together (at least one a window); the counts
    per second of the bins are taken as independent and normal. Assumes a steady rate in the windows.

    Args:
        times_ns: sorted event times, shape [n].
        windows_ns: windows [start, end); events outside are not counted.
    """
    bins = max(1, math.ceil(BATCHES / len(windows_ns)))
    counts: list[int] = []
    lengths: list[float] = []
    for start, end in windows_ns:
        edges = np.linspace(start, end, bins + 1)
        counts.extend(np.diff(np.searchsorted(times_ns, edges)))
        lengths.extend([(end - start) / bins / 1e9] * bins)
    rates = np.array(counts) / np.array(lengths)
    value = float(np.sum(counts) / np.sum(lengths))
    if len(rates) < 2:
        return Interval(value, -math.inf, math.inf, int(np.sum(counts)))
    half = _t_half_width(rates)
    return Interval(value, max(0.0, value - half), value + half, int(np.sum(counts)))


def percentile(values: NDArray[np.float64], fraction: float, ordered: NDArray[np.float64] | None = None) -> Interval:
    """Estimate a percentile of a stationary, autocorrelated series.

    The estimate is the order statistic of rank ceil(fraction * n). Its bounds are order statistics too, of ranks
    fraction * n -+ t * n * s_I / sqrt(BATCHES), where s_I is the standard deviation over BATCHES consecutive batches
    of the mean of the indicator [value > estimate]; never narrower than the binomial interval of independent samples.
    A rank beyond the sample is an infinite bound. Source: Heidelberger and Lewis, Quantile estimation in dependent
    sequences, Operations Research 32(1), 1984. Infinite values (failed requests) take part as the largest ones.

    Args:
        values: the series in order, shape [n].
        fraction: 0.99 for the p99; 0 < fraction < 1.
        ordered: the same values in ascending order, where several percentiles share the sorting.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`0 < fraction < 1` must hold, but got {fraction}.")
    n = len(values)
    if n == 0:
        return Interval(math.inf, -math.inf, math.inf, 0)
    if ordered is None:
        ordered = np.sort(values)
    rank = max(1, math.ceil(fraction * n - 1e-9))
    estimate = float(ordered[rank - 1])
    spread = _rank_spread(values, estimate, fraction)
    low, high = math.floor(fraction * n - spread), math.ceil(fraction * n + spread) + 1
    return Interval(
        estimate,
        float(ordered[low - 1]) if low >= 1 else -math.inf,
        float(ordered[high - 1]) if high <= n else math.inf,
        n,
    )


def exceedance(values: NDArray[np.float64], bound: float) -> Interval:
    """Estimate the share of a stationary, autocorrelated series that lies above a bound.

    "p99 <= bound" says that this share is at most 1%, and the share is easier to be sure of than the percentile: it
    needs no density at the percentile.

    The variance of the share comes from BATCHES consecutive batch means of the indicator [value > bound]; its ratio to
    the binomial variance, the design effect (not below 1), makes n independent samples of fewer, and with those the
    exact binomial interval is taken, with the correction (z / t)^2 for a variance from few batches. Source: Korn and
    Graubard, Confidence intervals for proportions with small expected number of positive counts estimated from survey
    data, Survey Methodology 24(2), 1998. Without a single exceedance it is the exact interval of n samples.

    Args:
        values: the series in order, shape [n]; infinite values are above every bound.
        bound: the bound.
    """
    above = values > bound
    n, share = len(values), float(np.mean(above)) if len(values) else math.nan
    if n < 2 * BATCHES or share in (0.0, 1.0):
        return proportion(int(above.sum()), n)
    batch_variance = float(np.var(_batch_means(above), ddof=1)) / BATCHES
    effect = max(1.0, batch_variance / (share * (1 - share) / n))
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, BATCHES - 1))
    effective = n / effect * (float(stats.norm.ppf((1 + CONFIDENCE) / 2)) / t) ** 2
    low, high = _exact_bounds(share * effective, effective)
    return Interval(share, low, high, n)


def proportion(events: int, n: int) -> Interval:
    """Estimate a probability from independent trials by the exact binomial interval (Clopper and Pearson, 1934)."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    low, high = _exact_bounds(events, n)
    return Interval(events / n, low, high, n)


def paired_drop(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """Estimate how much a probability drops, from pairs: mean(before) - mean(after).

    Bounds: the adjusted Wald interval for matched pairs, half a pair added to each of the four cells (Agresti and
    Min, Simple improved confidence intervals for comparing matched proportions, Statistics in Medicine 24, 2005).

    Args:
        before: whether item i was right in the one condition, shape [n].
        after: the same items in the other condition, shape [n].
    """
    if before.shape != after.shape:
        raise ValueError(f"pairs must match, but got {before.shape} and {after.shape}.")
    n = len(before)
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    lost, won = int(np.sum(before & ~after)), int(np.sum(~before & after))
    p_lost, p_won = (lost + 0.5) / (n + 2), (won + 0.5) / (n + 2)
    centre = p_lost - p_won
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt((p_lost + p_won - centre**2) / (n + 2))
    value = (lost - won) / n
    return Interval(value, max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half)), n)


def ratio_of_clusters(log_ratios: Sequence[float]) -> Interval:
    """Estimate a ratio from one log ratio per cluster (here: per redeployment).

    exp(mean +- t * s / sqrt(k)) over k clusters, taken as independent and normal; what happens inside a cluster only
    counts through its mean, so many rounds on one deployment stay one draw of it. k < 2: no bounds.
    """
    values = np.asarray(log_ratios, float)
    if len(values) == 0 or not np.all(np.isfinite(values)):
        return Interval(math.nan, 0.0, math.inf, len(values))
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(math.exp(mean), 0.0, math.inf, 1)
    half = _t_half_width(values)
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(values))


def _exact_bounds(events: float, n: float) -> tuple[float, float]:
    """Return the bounds of Clopper and Pearson; neither count need be whole."""
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, events, n - events + 1)) if events > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, events + 1, n - events)) if events < n else 1.0
    return low, high


def _t_half_width(values: NDArray[np.float64]) -> float:
    k = len(values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, k - 1) * np.std(values, ddof=1) / math.sqrt(k))


def _batch_means(values: NDArray[np.float64] | NDArray[np.bool_]) -> NDArray[np.float64]:
    length = len(values) // BATCHES
    means: NDArray[np.float64] = values[: length * BATCHES].reshape(BATCHES, length).mean(axis=1)
    return means


def _rank_spread(values: NDArray[np.float64], estimate: float, fraction: float) -> float:
    """Return half the width of the interval in ranks."""
    n = len(values)
    independent = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(n * fraction * (1 - fraction))
    if n < 2 * BATCHES:
        return independent
    return max(independent, n * _t_half_width(_batch_means(values > estimate)))
