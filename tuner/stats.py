"""Estimates with intervals. Plain functions over arrays: no I/O, no clock.

Answers of a queue are not independent: a slow batch is slow for all in it, and a backlog lasts. Every interval here
therefore rests on what the series is worth in independent samples, on batches of neighbouring observations, or on
redeployments, never on the raw count alone. What too short a series cannot tell has infinite bounds, and says why.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when they are used: they take long
from numpy.typing import NDArray

from tuner.autocorrelation import autocorrelation_time, degrees_of_freedom, effective_size, finite

CONFIDENCE = 0.95
BATCHES, MANY_BATCHES = 16, 32
LEAST_FOR_A_MEAN = 150
LEAST_FOR_A_SHARE = 50
NEAR = 2 / 3
FEW_EVENTS = 50
"""With fewer events than this their own correlation is hardly known, and another one takes its place."""
BINS = 256
LEAST_BINS, MANY_BINS = 16, 50
P99_MIN_SAMPLES = 662
"""Fewest samples from which a p99 is claimed without a warning: MLPerf Inference's early-stopping rule for the 99th
percentile at 99% confidence (binomial)."""


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval; an infinite bound says that there is none, and `why` the reason."""

    value: float
    low: float
    high: float
    n: int
    why: str | None = None


def mean(values: NDArray[np.float64], confidence: float = CONFIDENCE, effective: float | None = None) -> Interval:
    """Estimate the mean of a stationary, autocorrelated and skewed series by batch means.

    The series is cut into BATCHES consecutive batches of equal length, MANY_BATCHES where each still holds 30
    independent samples. Bounds: mean - G(+-t) * sqrt(A * s^2 / batches), with t of Student's distribution, A =
    (1 + r) / (1 - r) for the correlation r of neighbouring batch means (A >= 1), and G(t) = ((1 + 6 b (t - b))^(1/3)
    - 1) / (2 b) for their skewness (b = skewness / (6 sqrt(batches))). Source: Tafazzoli, Steiger and Wilson, N-Skart:
    a nonsequential skewness- and autoregression-adjusted batch-means procedure, IEEE Trans. Automatic Control 56(2),
    2011; the adjustment for skewness is Willink's (2005). Not taken over is the search for a batch size: what stands
    for it is that fewer than LEAST_FOR_A_MEAN independent samples have no bounds. Nor has an infinite value.

    Args:
        values: the series in order, shape [n].
        confidence: of the interval.
        effective: independent samples that the series is worth, if known already.
    """
    n = len(values)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0, "no requests")
    value = float(np.mean(values))
    if not math.isfinite(value):
        return Interval(value, -math.inf, math.inf, n, "a request failed")
    worth = effective_size(values) if effective is None else effective
    if worth < LEAST_FOR_A_MEAN:
        return Interval(value, -math.inf, math.inf, n, _too_short(n, worth, LEAST_FOR_A_MEAN))
    below, above = _batch_bounds(values, worth, confidence)
    return Interval(value, value - below, value + above, n)


def rate(
    times_ns: NDArray[np.int64], windows_ns: Sequence[tuple[int, int]], confidence: float = CONFIDENCE
) -> Interval:
    """Estimate a rate per second from event times in one or several windows.

    Each window is cut into equal bins so that about BINS bins come together; the interval is that of `mean` over the
    bins' rates. Bins worth fewer than MANY_BINS independent ones have mean +- t * s / sqrt(worth) with t of Student's
    distribution for the few degrees of freedom of an autocorrelation that is hardly known: wide, but a bound. Below
    LEAST_BINS there is none. Assumes a steady rate in the windows.

    Args:
        times_ns: sorted event times, shape [n].
        windows_ns: windows [start, end); events outside are not counted.
        confidence: of the interval.
    """
    bins = max(1, math.ceil(BINS / len(windows_ns)))
    edges = [np.linspace(start, end, bins + 1) for start, end in windows_ns]
    counts = np.concatenate([np.diff(np.searchsorted(times_ns, one)) for one in edges])
    lengths = np.concatenate([np.diff(one) for one in edges]) / 1e9
    n, value = int(counts.sum()), float(counts.sum() / lengths.sum())
    if n < LEAST_FOR_A_SHARE:
        return Interval(value, 0.0, math.inf, n, _too_short(n, n, LEAST_FOR_A_SHARE))
    rates = counts / lengths
    worth = effective_size(rates)
    if worth < LEAST_BINS:
        return Interval(value, 0.0, math.inf, n, "the rate changes too slowly to be known from so short a window")
    below, above = _batch_bounds(rates, worth, confidence) if worth >= MANY_BINS else _wide(rates, worth, confidence)
    return Interval(value, max(0.0, value - below), value + above, n)


@dataclass(frozen=True)
class Ordered:
    """A series made ready for several percentiles and shares.

    Attributes:
        values: in order of time, shape [n]; infinite ones (failed requests) are the largest.
        ascending: the same values, sorted.
        effective: independent samples that the series is worth.
    """

    values: NDArray[np.float64]
    ascending: NDArray[np.float64]
    effective: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Ordered":
        """Sort a series and estimate its autocorrelation."""
        return cls(values, np.sort(values), effective_size(finite(values)) if len(values) else 0.0)


def percentile(series: Ordered, fraction: float, confidence: float = CONFIDENCE) -> Interval:
    """Estimate a percentile of a stationary, autocorrelated series.

    The estimate is the order statistic of rank ceil(fraction * n). Its bounds are order statistics too: those above
    which lie the shares whose exact binomial interval just holds 1 - fraction, with as many samples as the indicator
    [value > estimate] is worth (see `share`). A rank beyond the sample is an infinite bound: the p99 has an upper one
    from about 370 independent samples on. Source: the interval of a quantile by the binomial distribution (David and
    Nagaraja, Order Statistics, 3rd ed., 7.1) with the effective sample size of a dependent sequence (Heidelberger and
    Lewis, Operations Research 32(1), 1984).

    Args:
        series: the values; infinite ones take part as the largest.
        fraction: 0.99 for the p99; 0 < fraction < 1.
        confidence: of the interval.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"`0 < fraction < 1` must hold, but got {fraction}.")
    n = len(series.values)
    if n == 0:
        return Interval(math.inf, -math.inf, math.inf, 0, "no requests")
    value = float(series.ascending[max(1, math.ceil(fraction * n - 1e-9)) - 1])
    events = (1 - fraction) * series.effective
    worth = _worth(series.values > value, confidence, series.effective if events < FEW_EVENTS else math.inf)
    if worth.independent < LEAST_FOR_A_SHARE:
        reason = _too_short(n, worth.independent, LEAST_FOR_A_SHARE)
        return Interval(value, -math.inf, math.inf, n, reason)
    fewest, most = _shares_that_admit(1 - fraction, worth.corrected, confidence)
    low, high = math.floor(n * (1 - most)), math.ceil(n * (1 - fewest)) + 1
    no_bound = f"{worth.independent:,.0f} independent requests are too few to bound a p{fraction * 100:g}"
    return Interval(
        value,
        float(series.ascending[low - 1]) if low >= 1 else -math.inf,
        float(series.ascending[high - 1]) if high <= n else math.inf,
        n,
        None if low >= 1 and high <= n else no_bound,
    )


def certain_from(share: float, error: float) -> float:
    """Return how many independent events without a miss show that less than a share misses: (1 - share)^n = error.

    Args:
        share: that may miss; of 0 or less, and of 1 or more, nothing has to be shown: 0 events.
        error: probability to be wrong with.
    """
    return math.log(error) / math.log1p(-share) if 0 < share < 1 else 0.0


def share(series: Ordered, bound: float, confidence: float = CONFIDENCE) -> Interval:
    """Estimate the share of a stationary, autocorrelated series that lies above a bound.

    "p99 <= bound" says that this share is at most 1%, and the share is easier to be sure of than the percentile: it
    needs no density at the percentile.

    Bounds: the exact binomial interval (Clopper and Pearson, 1934) with the independent samples that the indicator
    [value > bound] is worth in the place of n, corrected by (z / t)^2 for an autocorrelation that is itself an
    estimate (Korn and Graubard, Survey Methodology 24(2), 1998). Fewer than FEW_EVENTS independent events, or none,
    tell little about how they hang together; they are then taken as correlated at least as `near` says.
    Fewer than LEAST_FOR_A_SHARE independent samples: [0, 1].

    Args:
        series: the values; infinite ones are above every bound.
        bound: the bound.
        confidence: of the interval.
    """
    n, above = len(series.values), series.values > bound
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, "no requests")
    value = float(np.mean(above))
    most = near(series.values, bound)
    few = min(value, 1 - value) * most < FEW_EVENTS
    worth = _worth(above, confidence, most if few else math.inf)
    if worth.independent < LEAST_FOR_A_SHARE:
        return Interval(value, 0.0, 1.0, n, _too_short(n, worth.independent, LEAST_FOR_A_SHARE))
    low, high = _exact_bounds(value * worth.corrected, worth.corrected, confidence)
    return Interval(value, low, high, n)


def near(values: NDArray[np.float64], bound: float) -> float:
    """Return how many independent samples a series is worth to whoever asks about a bound.

    It is the effective size of the values limited to [NEAR * bound, 2 * bound]: the slow requests and those on the way
    to be slow show how they hang together, while a drift far from the bound, which may last long, is none of its
    business. A series that stays below NEAR * bound is worth its length. Where most are slow, the fast ones are those
    that are few, and the limits are [bound / 2, bound / NEAR]. NEAR is as high as the errors of verdicts near the limit
    allow, see `benchmarks/stopping.py`.

    Args:
        values: the series in order, shape [n]; infinite ones are allowed.
        bound: what is asked about, above 0.
    """
    mostly_above = 2 * np.count_nonzero(values > bound) > len(values)
    low, high = (1 / 2, 1 / NEAR) if mostly_above else (NEAR, 2.0)
    return effective_size(np.clip(values, low * bound, high * bound))


def event_rate(events: NDArray[np.bool_], confidence: float = CONFIDENCE) -> Interval:
    """Estimate the probability of an event (an error) from a series of trials, whether or not they come in clusters.

    The exact binomial interval with the independent samples that the series of events is worth. Without a single
    event it is that of n independent trials: nothing can be known of clusters that were never seen.

    Args:
        events: in order of time, shape [n].
        confidence: of the interval.
    """
    n, count = len(events), int(np.count_nonzero(events))
    if n == 0 or count in (0, n):
        return proportion(count, n, confidence)
    worth = n / autocorrelation_time(events)
    low, high = _exact_bounds(count / n * worth, worth, confidence)
    return Interval(count / n, low, high, n)


def proportion(events: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Estimate a probability from independent trials by the exact binomial interval (Clopper and Pearson, 1934)."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, "nothing to count")
    low, high = _exact_bounds(events, n, confidence)
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
        return Interval(math.nan, -1.0, 1.0, 0, "no pairs")
    lost, won = int(np.sum(before & ~after)), int(np.sum(~before & after))
    p_lost, p_won = (lost + 0.5) / (n + 2), (won + 0.5) / (n + 2)
    centre = p_lost - p_won
    half = float(scipy.special.ndtri((1 + CONFIDENCE) / 2)) * math.sqrt((p_lost + p_won - centre**2) / (n + 2))
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


def ratio(ours: Interval, theirs: Interval) -> Interval:
    """Estimate the ratio of two positive numbers that were measured apart, from their intervals.

    On the log scale, with d = log(ours / theirs): d - sqrt((log ours - log ours.low)^2 + (log theirs.high - log
    theirs)^2) and likewise above. Source: Zou and Donner, Construction of confidence limits about effect measures,
    Statistics in Medicine 27, 2008 (MOVER). Assumes that the two are independent; nothing is assumed of a drift between
    them, so two runs made one after the other tell less than interleaved rounds. `n` is the smaller of the two.
    """
    n = min(ours.n, theirs.n)
    if not (0 < ours.value < math.inf and 0 < theirs.value < math.inf):
        return Interval(math.nan, 0.0, math.inf, n, ours.why or theirs.why)
    value = ours.value / theirs.value
    down = math.hypot(_log_step(ours.low, ours.value), _log_step(theirs.value, theirs.high))
    up = math.hypot(_log_step(ours.value, ours.high), _log_step(theirs.low, theirs.value))
    return Interval(value, value * math.exp(-down), value * math.exp(up), n, ours.why or theirs.why)


def _log_step(low: float, high: float) -> float:
    return math.log(high / low) if low > 0 and high < math.inf else math.inf


def _too_short(n: int, effective: float, least: int) -> str:
    if n < least:
        return f"{n:,} requests, of {least} that an interval needs"
    return f"{n:,} requests are correlated and worth {effective:,.0f} independent ones, of {least} that it needs"


@dataclass(frozen=True)
class _Worth:
    """Independent samples that an indicator is worth, and those left when the doubt about that is counted."""

    independent: float
    corrected: float


def _worth(above: NDArray[np.bool_], confidence: float, most: float = math.inf) -> _Worth:
    worth = min(effective_size(above), most)
    return _Worth(worth, worth * _normal_to_student((1 + confidence) / 2, degrees_of_freedom(worth)) ** 2)


def _normal_to_student(tail: float, freedom: float) -> float:
    """Return z / t, the quantiles of the normal and of Student's distribution at a probability of 0.5 and above.

    In the middle both are 0, and their ratio is that of the densities there, Student's over the normal one.
    """
    if tail - 0.5 < 1e-9:
        return math.sqrt(2 / freedom) * math.exp(
            scipy.special.gammaln((freedom + 1) / 2) - scipy.special.gammaln(freedom / 2)
        )
    return float(scipy.special.ndtri(tail)) / float(scipy.special.stdtrit(freedom, tail))


def _shares_that_admit(wanted: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the smallest and the largest share whose exact binomial interval of n samples holds `wanted`.

    A negative smallest one says that even a share of 0 admits it, a largest one above 1 that a share of 1 does.
    """
    tail = (1 - confidence) / 2
    fewest = _root(lambda s: scipy.special.betainc(s * n + 1, max(n - s * n, 1e-12), wanted) - (1 - tail), 0.0, wanted)
    most = _root(lambda s: scipy.special.betainc(max(s * n, 1e-12), n - s * n + 1, wanted) - tail, wanted, 1.0)
    return (-1.0 if fewest is None else fewest), (2.0 if most is None else most)


def _root(falling: Callable[[float], float], low: float, high: float) -> float | None:
    """Return where a falling function crosses zero between two points, None where it does not."""
    if falling(low) <= 0 or falling(high) >= 0:
        return None
    return float(scipy.optimize.brentq(falling, low, high, xtol=1e-9))


def _exact_bounds(events: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the bounds of Clopper and Pearson; neither count need be whole."""
    tail = (1 - confidence) / 2
    low = float(scipy.special.betaincinv(events, n - events + 1, tail)) if events > 0 else 0.0
    high = float(scipy.special.betaincinv(events + 1, n - events, 1 - tail)) if events < n else 1.0
    return low, high


def _t_half_width(values: NDArray[np.float64]) -> float:
    k = len(values)
    return float(scipy.special.stdtrit(k - 1, (1 + CONFIDENCE) / 2) * np.std(values, ddof=1) / math.sqrt(k))


def _batch_bounds(values: NDArray[np.float64], effective: float, confidence: float) -> tuple[float, float]:
    """Return how far the bounds of a mean lie below and above it."""
    batches = MANY_BATCHES if effective >= 30 * MANY_BATCHES else BATCHES
    length = len(values) // batches
    means = values[: length * batches].reshape(batches, length).mean(axis=1)
    centred = means - means.mean()
    squares = float(centred @ centred)
    if squares <= 0.0:
        return 0.0, 0.0
    neighbours = min(float(centred[1:] @ centred[:-1]) / squares, 0.95)
    spread = math.sqrt(max(1.0, (1 + neighbours) / (1 - neighbours)) * squares / (batches - 1) / batches)
    skewness = float(np.mean(centred**3)) / (squares / batches) ** 1.5
    b = skewness * math.sqrt(batches - 1) / (batches - 2) / 6
    t = float(scipy.special.stdtrit(batches - 1, (1 + confidence) / 2))
    return spread * unskewed(t, b), -spread * unskewed(-t, b)


def _wide(values: NDArray[np.float64], effective: float, confidence: float) -> tuple[float, float]:
    """Return how far the bounds of a mean lie below and above it when hardly anything is known of the correlation."""
    t = float(scipy.special.stdtrit(degrees_of_freedom(effective), (1 + confidence) / 2))
    half = t * float(np.std(values)) / math.sqrt(effective)
    return half, half


def unskewed(t: float, b: float) -> float:
    """Return Willink's G(t): a bound of a skewed mean in standard errors, in the place of t; b as in `mean`."""
    return t if abs(b) < 1e-6 else (float(np.cbrt(1 + 6 * b * (t - b))) - 1) / (2 * b)
