"""Intervals of scores. Items are taken as independent draws from what the model will be asked. Pure.

Scores that are 0 or 1 are proportions: `stats.proportion`, `stats.paired_drop`. For any others the interval is
Johnson's t for skewed means in Willink's form (A confidence interval and test for the mean of an asymmetric
distribution, Communications in Statistics: Theory and Methods 34, 2005): mean - G(+-t) * s / sqrt(n), t of Student's
distribution with n - 1 degrees of freedom, G as in `stats.mean`. It needs no resampling, so the same items give the
same interval.

Two variants answer the same items, so they are compared item by item: what is hard for both cancels out.
"""

import math

import numpy as np
import scipy

from tuner.accuracy.scoring import Scores, Scoring
from tuner.stats import CONFIDENCE, Interval, paired_drop, proportion, unskewed

FEW_DIFFERENT = 10
"""With fewer items than this that differ at all, their spread is hardly known."""
NO_ANSWER = "an item had no ok answer"
SINGLE_ITEM = "a single item makes all of the error"
_TAIL = (1 + CONFIDENCE) / 2


def overall(scoring: Scoring, scores: Scores, confidence: float = CONFIDENCE) -> Interval:
    """Estimate what all items together score: the mean, or the root mean square.

    Args:
        scoring: the kind of accuracy.
        scores: shape [n]; infinite ones, of items without an answer, make it infinite.
        confidence: of the interval.
    """
    if not np.isfinite(scores).all():
        return Interval(math.inf, -math.inf, math.inf, len(scores), NO_ANSWER)
    if _binary(scores) and not scoring.is_error:
        return proportion(int(scores.sum()), len(scores), confidence)
    if scoring.statistic == "mean":
        return mean(scores, confidence)
    return root(mean(scores**2, confidence))


def drop(scoring: Scoring, before: Scores, after: Scores) -> Interval:
    """Estimate what is lost from one variant to another, item by item.

    Of scores of which more is better: mean(before) - mean(after). Of errors: their relative growth, after / before - 1,
    with the jackknife's interval of the log ratio: t of Student's distribution over the pseudo-values of leaving out
    one pair each (Miller, The jackknife - a review, Biometrika 61, 1974). It needs items enough to show the errors'
    tail. Items that were not answered before are left out of errors.

    Args:
        scoring: the kind of accuracy.
        before: scores of the one, shape [n].
        after: of the other, for the same items.
    """
    if before.shape != after.shape:
        raise ValueError(f"pairs must match, but got {before.shape} and {after.shape}.")
    if scoring.is_error:
        return _growth(scoring, before, after)
    if _binary(before) and _binary(after):
        return paired_drop(before > 0, after > 0)
    lost = before - after
    return mean(lost, different=int(np.count_nonzero(lost)), spread=spread(before, after))


def _growth(scoring: Scoring, before: Scores, after: Scores) -> Interval:
    """Return after / before - 1 of two errors."""
    answered = np.isfinite(before)
    first, second = before[answered], after[answered]
    n = len(first)
    if n == 0 or not np.isfinite(second).all():
        return Interval(math.inf, -math.inf, math.inf, n, NO_ANSWER)
    if scoring.statistic == "root_mean_square":
        first, second = first**2, second**2
    base = float(np.mean(first))
    if base == 0.0:
        return growth_of_nothing(same=not second.any(), n=n)
    found = _ratio(first, second)
    if scoring.statistic == "root_mean_square":
        found = root(found)
    return Interval(found.value - 1, found.low - 1, found.high - 1, n, found.why)


def growth_of_nothing(*, same: bool, n: int) -> Interval:
    """Return the growth of an error that was 0, of n pairs: 0 where it is still `same`, else infinite; no bounds."""
    return Interval(0.0 if same else math.inf, -math.inf, math.inf, n, "the baseline makes no error to compare with")


def _ratio(first: Scores, second: Scores) -> Interval:
    """Return mean(second) / mean(first) of pairs of numbers of at least 0, the first of which are not all 0."""
    n, base = len(first), float(np.mean(first))
    ratio, different = float(np.mean(second)) / base, int(np.count_nonzero(second - first))
    if different < FEW_DIFFERENT:
        around = mean((second - ratio * first) / base, different=different, spread=spread(first, second) / base)
        return Interval(ratio, max(0.0, ratio + around.low), ratio + around.high, n, around.why)
    left_first, left_second = first.sum() - first, second.sum() - second
    if min(left_first.min(), left_second.min()) <= 0.0:
        return Interval(ratio, 0.0, math.inf, n, SINGLE_ITEM)
    whole = math.log(ratio)
    pseudo = n * whole - (n - 1) * (np.log(left_second) - np.log(left_first))
    centre = float(np.mean(pseudo))
    half = float(scipy.special.stdtrit(n - 1, _TAIL) * np.std(pseudo, ddof=1) / math.sqrt(n))
    return Interval(ratio, min(ratio, math.exp(centre - half)), max(ratio, math.exp(centre + half)), n)


def mean(values: Scores, confidence: float = CONFIDENCE, *, different: int = 0, spread: float = 0.0) -> Interval:
    """Estimate the mean of independent values; none has no value, one no bounds.

    Where they are differences of pairs, fewer than FEW_DIFFERENT of which differ at all, it is the interval of Agresti
    and Min for pairs (2005), with the spread of the scores in the place of 1: half a pair lost by that much and half a
    pair won, so that items that all came out alike do not leave an interval without width.

    Args:
        values: shape [n].
        confidence: of the interval.
        different: of pairs, how many differ.
        spread: of pairs, that of their scores; 0: they are no pairs.
    """
    n, tail = len(values), (1 + confidence) / 2
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0, "no items")
    value = float(np.mean(values))
    if n == 1:
        return Interval(value, -math.inf, math.inf, 1, "one item has no spread")
    if different < FEW_DIFFERENT and spread > 0:
        centre = float(values.sum()) / (n + 2)
        variance = (float(values @ values) + spread**2) / (n + 2) - centre**2
        half = float(scipy.special.ndtri(tail)) * math.sqrt(max(0.0, variance) / (n + 2))
        return Interval(value, min(value, centre - half), max(value, centre + half), n)
    deviation = float(np.std(values, ddof=1))
    if deviation == 0.0:
        return Interval(value, value, value, n)
    skewness = float(np.mean((values - value) ** 3)) / deviation**3
    b, t = skewness / (6 * math.sqrt(n)), float(scipy.special.stdtrit(n - 1, tail))
    error = deviation / math.sqrt(n)
    return Interval(value, value - error * unskewed(t, b), value - error * unskewed(-t, b), n)


def root(squares: Interval) -> Interval:
    """Return the root of an estimate of at least 0, and those of its bounds."""
    low = math.sqrt(max(0.0, squares.low)) if math.isfinite(squares.low) else squares.low
    return Interval(math.sqrt(squares.value), low, math.sqrt(squares.high), squares.n, squares.why)


def _binary(scores: Scores) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())


def spread(first: Scores, second: Scores) -> float:
    """Return how far the highest of all scores is above the lowest, 0 where there are none."""
    both = np.concatenate([first, second])
    return float(both.max() - both.min()) if len(both) else 0.0
