"""Bounds on a change, from deployments of two sides. Pure.

A deployment is one draw: what happens inside it (many rounds, many requests) counts through its figure alone. Bounds
are one-sided, each wrong with probability `error` at most; both at once with twice that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from tuner import stats

LEAST_OF_A_SPREAD = 5
"""Restarts from which the spread of a stored side is known well enough to be held against another."""
LEAST_BROKEN = 2
"""Deployments that have to agree before a figure counts as lost."""
FROM_NOTHING = "0 in every deployment of the old side"
LOOKS_GROW = 1.4
"""Each look comes after this many times the deployments of the one before."""
SPENDING_POWER = 2
"""The error of a look grows with this power of the deployments that it sees."""


@dataclass(frozen=True)
class Change:
    """How much a figure changed, with a lower and an upper bound; infinite ones say that nothing is known, and why.

    Attributes:
        value: new / old - 1, or new - old.
        low: bound from below.
        high: bound from above.
        n: deployments, of the side that has fewer.
        why: why there is no bound.
    """

    value: float
    low: float
    high: float
    n: int
    why: str = ""


def unknown(why: str, n: int = 0, value: float = math.nan) -> Change:
    """Return a change of which nothing is known."""
    return Change(value, -math.inf, math.inf, n, why)


def looks(first: int, most: int) -> tuple[int, ...]:
    """Return after how many deployments the verdicts are looked at: fixed before the first of them.

    A look shortly before the last one would take error from it and see almost the same: it is left out.

    Args:
        first: of the first look.
        most: of the last look; not below `first`.
    """
    found = [first]
    while found[-1] < most:
        following = max(found[-1] + 1, math.floor(found[-1] * LOOKS_GROW))
        found.append(following if following * math.sqrt(LOOKS_GROW) <= most else most)
    return tuple(found)


def spent(error: float, planned: Sequence[int], look: int) -> float:
    """Return the part of an error that a look may make: error * n^2 / sum(n^2), n the deployments that looks see.

    Looking often and ending at the first look that seems certain is wrong more often than one look is. So the error is
    divided among all looks beforehand; by the union bound (Bonferroni's inequality) all of them together are wrong no
    more often than that, however they hang together. Any division is allowed that does not depend on what is seen;
    looks that see more get more, since early ones, of few deployments, can hardly decide anything. With the square the
    error spent so far grows about as in the power family of Kim and DeMets (Design and analysis of group sequential
    tests based on the type I error spending rate function, Biometrika 74, 1987) with exponent 2: a large change is
    still found early, and the last look keeps 38% of the error or more.

    Args:
        error: of all looks together.
        planned: deployments of every look, see `looks`.
        look: index of this one.
    """
    weights = [float(count) ** SPENDING_POWER for count in planned]
    return error * weights[look] / sum(weights)


def paired(old: Sequence[float], new: Sequence[float], error: float) -> Change:
    """Bound new / old - 1 from deployments of both sides in the same minutes, pair by pair.

    With d the log ratios of the k pairs: exp(mean(d) -+ t * s / sqrt(k)) - 1, t of Student's distribution with k - 1
    degrees of freedom. Assumes that pairs are independent and their mean is normal; what both sides of a pair share,
    the machine's speed in these seconds above all, cancels out. k < 2, or a figure that is 0 or infinite: no bounds,
    unless it is that in every deployment of one side and in none of the other.

    Args:
        old: the figure of each deployment, shape [k].
        new: of the other side, shape [k].
        error: of each bound.
    """
    if len(old) != len(new):
        raise ValueError(f"pairs must match, but got {len(old)} and {len(new)}.")
    if certain := _lost(old, new) or _regained(old, new):
        return certain
    if why := _unusable([*old, *new]):
        return unknown(why, len(old))
    logs = np.log(np.asarray(new, float) / np.asarray(old, float))
    value, k = math.expm1(float(np.mean(logs))), len(logs)
    if k < 2:
        return unknown("one deployment has no spread", k, value)
    half = float(scipy.special.stdtrit(k - 1, 1 - error)) * float(np.std(logs, ddof=1)) / math.sqrt(k)
    return _of_logs(float(np.mean(logs)), half, k)


def apart(old: Sequence[float], new: Sequence[float], error: float) -> Change:
    """Bound new / old - 1 from deployments of two sides at different times.

    On the log scale, with v = s^2 / n of each side: difference of the means -+ t * sqrt(v_old + v_new), with t of
    Student's distribution for (v_old + v_new)^2 / (v_old^2 / (n_old - 1) + v_new^2 / (n_new - 1)) degrees of freedom.
    Source: Welch, The generalization of "Student's" problem when several different population variances are involved,
    Biometrika 34, 1947. Assumes that deployments are independent, and that the machine is no other than it was: a drift
    from the one time to the other counts as a change. Fewer than LEAST_OF_A_SPREAD of a side: no bounds, whatever the
    figure; else those of one that is 0 or infinite are as in `paired`.

    Args:
        old: the figure of each deployment, shape [n_old].
        new: of the other side, shape [n_new].
        error: of each bound.
    """
    n, why, few = min(len(old), len(new)), _unusable(old) or _unusable(new), too_few(len(old), len(new))
    if not few and (certain := _lost(old, new) or _regained(old, new)):
        return certain
    if why:
        return unknown(few if n and few else why, n)
    before, now = np.log(np.asarray(old, float)), np.log(np.asarray(new, float))
    mean = float(np.mean(now) - np.mean(before))
    if few:
        return unknown(few, n, math.expm1(mean))
    parts = [float(np.var(one, ddof=1)) / len(one) for one in (before, now)]
    total = sum(parts)
    if total <= 0:
        return _of_logs(mean, 0.0, n)
    freedom = total**2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, (before, now), strict=True))
    return _of_logs(mean, float(scipy.special.stdtrit(freedom, 1 - error)) * math.sqrt(total), n)


def too_few(old: int, new: int) -> str:
    """Say which of two sides, measured at different times, has too few restarts; "" where both have enough.

    Args:
        old: restarts of the baseline.
        new: of the side that is held against it.
    """
    for which, count in (("the baseline", old), ("the new side", new)):
        if count < LEAST_OF_A_SPREAD:
            return f"{which} has {count} restarts, of {LEAST_OF_A_SPREAD} that a spread needs"
    return ""


def share_difference(old: Sequence[tuple[int, int]], new: Sequence[tuple[int, int]], error: float) -> Change:
    """Bound the difference of two shares of requests, new - old: the wider of two intervals.

    The one takes requests as independent: exact binomial intervals of both sides (Clopper and Pearson, 1934) put
    together by MOVER (Zou and Donner, Statistics in Medicine 27, 2008). The other takes deployments as independent:
    Welch's interval of their shares, where some differ. Failures come in clusters, which the first does not know;
    without one on either side the second knows nothing. A deployment without a request has no share and is left out.

    Args:
        old: (events, requests) of each deployment.
        new: of the other side.
        error: of each bound.
    """
    asked = [[(events, requests) for events, requests in side if requests] for side in (old, new)]
    n = min(map(len, asked))
    if n == 0:
        return unknown("no requests")
    sums = [tuple(map(sum, zip(*side, strict=True))) for side in asked]
    one, two = (stats.proportion(events, requests, 1 - 2 * error) for events, requests in sums)
    value = two.value - one.value
    low = value - math.hypot(two.value - two.low, one.high - one.value)
    high = value + math.hypot(two.high - two.value, one.value - one.low)
    shares = [np.array([events / requests for events, requests in side]) for side in asked]
    variances = [float(np.var(one, ddof=1)) / len(one) if len(one) > 1 else 0.0 for one in shares]
    if sum(variances) > 0:
        half = float(scipy.special.stdtrit(max(1, n - 1), 1 - error)) * math.sqrt(sum(variances))
        low, high = min(low, value - half), max(high, value + half)
    return Change(value, low, high, n)


def exact(value: float, n: int) -> Change:
    """Return a change that is known: there is nothing to infer."""
    return Change(value, value, value, n)


def _of_logs(mean: float, half: float, n: int) -> Change:
    return Change(math.expm1(mean), math.expm1(mean - half), math.expm1(mean + half), n)


def _lost(old: Sequence[float], new: Sequence[float]) -> Change | None:
    """Return the change of a figure that is infinite, or 0, in every deployment of the new side and in no old one."""
    n = min(len(old), len(new))
    if n < LEAST_BROKEN or _unusable(old):
        return None
    if all(math.isinf(value) for value in new):
        return Change(math.inf, math.inf, math.inf, n, "infinite in every deployment: too many requests failed")
    if not any(new):
        return Change(-1.0, -1.0, -1.0, n, "0 in every deployment")
    return None


def _regained(old: Sequence[float], new: Sequence[float]) -> Change | None:
    """Return the change of a figure that was infinite, or 0, in every deployment of the old side and is in no new one.

    As a ratio it fell to nothing of what it was, or grew beyond any bound.
    """
    n = min(len(old), len(new))
    if n < LEAST_BROKEN or _unusable(new):
        return None
    if all(math.isinf(value) for value in old):
        why = "infinite in every deployment of the old side, too many of whose requests failed"
        return Change(-1.0, -1.0, -1.0, n, why)
    return None if any(old) else Change(math.inf, math.inf, math.inf, n, FROM_NOTHING)


def _unusable(values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    if not all(math.isfinite(value) for value in values):
        return "infinite in some deployment: too many requests failed, or there were none"
    return "" if min(values) > 0 else "0 in some deployment"
