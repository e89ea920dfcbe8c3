"""A mix as a whole: each class counts by its share of the requests, however many labelled items it has. Pure.

The classes are strata: each has items of its own, and its share of the requests is known. The estimate is the
stratified one, the sum of share * mean over the classes (Cochran, Sampling Techniques, 3rd edition 1977, chapter 5).
Its bounds are put together from those of the classes, see `_together`. Items are independent, in a class and between
classes. One class alone is what `estimates` says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.accuracy import estimates
from tuner.accuracy.scoring import Scores, Scoring
from tuner.stats import CONFIDENCE, Interval


@dataclass(frozen=True)
class Stratum:
    """A class of requests with its labelled items.

    Attributes:
        share: of the requests, > 0; those of all strata together are 1.
        scores: of its items, shape [n].
    """

    share: float
    scores: Scores


def overall(scoring: Scoring, strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Interval:
    """Estimate what the requests score: the mean over them, or the root mean square.

    Args:
        scoring: the kind of accuracy, that of all classes.
        strata: one or more; an infinite score, of an item without an answer, makes the result infinite.
        confidence: of the interval.
    """
    if len(strata) == 1:
        return estimates.overall(scoring, strata[0].scores, confidence)
    if not all(np.isfinite(one.scores).all() for one in strata):
        return _unanswered(sum(len(one.scores) for one in strata))
    if scoring.statistic == "mean":
        return _together(strata, [estimates.overall(scoring, one.scores, confidence) for one in strata])
    return estimates.root(_together(strata, [estimates.mean(one.scores**2, confidence) for one in strata]))


def drop(scoring: Scoring, before: Sequence[Stratum], after: Sequence[Stratum]) -> Interval:
    """Estimate what the requests lose from one variant to another, item by item.

    Of scores of which more is better: the sum of share * (mean(before) - mean(after)). Of errors: their relative
    growth, the combined ratio of the two stratified means, less 1. The ratio's bounds are those of the stratified mean
    of (after - ratio * before) / mean(before), its linear part (Cochran 1977, section 6.11). Items that were not
    answered before are left out of errors; a class of which none was leaves no finite growth.

    Args:
        scoring: the kind of accuracy, that of all classes.
        before: the classes, with scores of the one variant.
        after: the same classes in the same order, with scores of the other for the same items.
    """
    pairs = list(zip(before, after, strict=True))
    if len(pairs) == 1:
        return estimates.drop(scoring, before[0].scores, after[0].scores)
    if scoring.is_error:
        return _growth(scoring, [_both_answered(*pair) for pair in pairs])
    return _together(before, [estimates.drop(scoring, one.scores, other.scores) for one, other in pairs])


def _growth(scoring: Scoring, pairs: Sequence[tuple[Stratum, Stratum]]) -> Interval:
    """Return after / before - 1 of the errors of two variants."""
    n = sum(len(one.scores) for one, _ in pairs)
    if not all(len(one.scores) and np.isfinite(other.scores).all() for one, other in pairs):
        return _unanswered(n)
    if scoring.statistic == "root_mean_square":
        pairs = [(Stratum(a.share, a.scores**2), Stratum(b.share, b.scores**2)) for a, b in pairs]
    base, later = (sum(one.share * float(np.mean(one.scores)) for one in side) for side in zip(*pairs, strict=True))
    if base == 0.0:
        return estimates.growth_of_nothing(same=later == 0.0, n=n)
    found = _ratio(pairs, base, later / base, n)
    if scoring.statistic == "root_mean_square":
        found = estimates.root(found)
    return Interval(found.value - 1, found.low - 1, found.high - 1, n, found.why)


def _ratio(pairs: Sequence[tuple[Stratum, Stratum]], base: float, ratio: float, n: int) -> Interval:
    for side in zip(*pairs, strict=True):
        if sum(int(np.count_nonzero(one.scores)) for one in side) < 2:
            return Interval(ratio, 0.0, math.inf, n, estimates.SINGLE_ITEM)
    of_classes = [
        estimates.mean(
            (other.scores - ratio * one.scores) / base,
            different=int(np.count_nonzero(other.scores - one.scores)),
            spread=estimates.spread(one.scores, other.scores) / base,
        )
        for one, other in pairs
    ]
    around = _together([one for one, _ in pairs], of_classes)
    low, high = around.low - around.value, around.high - around.value
    return Interval(ratio, max(0.0, ratio + low), ratio + high, n, around.why)


def _together(strata: Sequence[Stratum], of_classes: Sequence[Interval]) -> Interval:
    """Put together the estimates of the classes: the sum of share * value.

    Bounds by MOVER: value - sqrt(sum (share * (value_h - low_h))^2), and likewise above (Zou, Huang and Zhang, A note
    on confidence interval estimation for a linear function of binomial proportions, Computational Statistics and Data
    Analysis 53, 2009; Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine
    27, 2008). Of normal estimates that is the stratified variance, sum share^2 * variance_h; of others it keeps what
    their own intervals know, so that a class without an error is not taken to have none. A class without a bound
    leaves none.
    """
    parts = [(one.share, each) for one, each in zip(strata, of_classes, strict=True)]
    value = sum(share * each.value for share, each in parts)
    down = math.hypot(*(share * max(0.0, each.value - each.low) for share, each in parts))
    up = math.hypot(*(share * max(0.0, each.high - each.value) for share, each in parts))
    why = next((each.why for each in of_classes if each.why), None)
    return Interval(value, value - down, value + up, sum(each.n for each in of_classes), why)


def _both_answered(before: Stratum, after: Stratum) -> tuple[Stratum, Stratum]:
    """Return the pairs of a class of which the first was answered."""
    if before.scores.shape != after.scores.shape:
        raise ValueError(f"pairs must match, but got {before.scores.shape} and {after.scores.shape}.")
    answered = np.isfinite(before.scores)
    return Stratum(before.share, before.scores[answered]), Stratum(after.share, after.scores[answered])


def _unanswered(n: int) -> Interval:
    return Interval(math.inf, -math.inf, math.inf, n, estimates.NO_ANSWER)
