"""What each knob does to a metric: its share of the variance, and the metric at each of its values. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
FEWEST_SPARE = 5
"""Observations that the model must have beyond its coefficients."""
MOST_CONTRASTS = 3
"""An ordered knob of more values is fitted with a parabola over their order."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """A knob as it was set.

    Attributes:
        name: the knob's.
        levels: of each observation the position of its value, shape [n].
        count: number of values.
        ordered: whether their order means something.
    """

    name: str
    levels: NDArray[np.int64]
    count: int
    ordered: bool


@dataclass(frozen=True)
class Effect:
    """What one knob explains of ln(metric).

    Attributes:
        name: the knob's.
        share: of the variance, beyond what the other knobs explain; corrected for chance, so it may be 0.
        low: lower bound of its 95% interval.
        high: upper bound.
        distinguishable: whether it is told from noise, at 5% over all knobs together.
        confounded: whether it always changed together with others, so that nothing can be said of it alone.
        ratio: the metric at each value against its geometric mean over the observations, shape [count].
        ratio_low: lower bounds of 95% intervals, shape [count].
        ratio_high: upper bounds.
        partial: ratio of each observation with the other knobs' effects taken out, shape [n].
    """

    name: str
    share: float
    low: float
    high: float
    distinguishable: bool
    confounded: bool
    ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    partial: Floats


def effects(factors: Sequence[Factor], values: Floats) -> list[Effect] | None:
    """Fit an additive model of ln(metric) and return each knob's effect, in the order of the factors.

    Model: ln y = mean + sum over knobs of f_k(value of k) + e, by least squares. f_k has a coefficient for each value
    but one; an ordered knob of more than 3 values has a parabola over the order of its values instead, so that few
    trials suffice. With S_k the growth of the residual sum of squares when knob k is left out (partial, type II sum of
    squares), d_k its coefficients, s2 the residual variance on v degrees of freedom and T the total sum of squares:

        share = max(0, S_k - d_k s2) / (T + s2)                          (omega squared; Hays, Statistics, 1963)
        F = S_k / (d_k s2), its noncentrality l between the bounds that put F at the 97.5% and the 2.5% quantile;
        share's interval = l s2 / (T + s2)                               (Steiger, Psychological Methods 9(2), 2004)

    A knob is told from noise where the p-value of F passes Holm's step-down test at 5% over all knobs. The noise is
    everything that the model leaves: that of the measurements, but also how knobs act together. So a strong interaction
    makes everything uncertain rather than something wrongly certain. The interval of a ratio is that of the fitted
    value against the fit's mean, with Student's t.

    Assumes that the errors are independent, normal on the log scale and of one size. Observations of one deployment
    under several loads share its luck, which makes the intervals too narrow where deployments differ much. A search
    that dwells where the metric is good chooses its trials by earlier ones; least squares stays right under the model,
    but knobs that it changed together are told apart badly, which shows as a wide interval or as confounded. s2 and T
    are taken as known in the interval of the share; the tests check its coverage.

    Args:
        factors: the knobs; one with a single value is not told from noise.
        values: the metric, shape [n], above 0 and finite.

    Returns:
        None where there are too few observations: fewer than 5 beyond the coefficients, or no variance at all.

    Raises:
        ValueError: a value is not above 0 or not finite, or a factor has not one level for each value.
    """
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError("`0 < values < inf` must hold for a logarithm.")
    if any(len(factor.levels) != len(values) for factor in factors):
        raise ValueError(f"each factor has one level for each of the {len(values)} values")
    logs = np.log(values)
    codes = [_code(factor) for factor in factors]
    fit = _Fit.of([code[factor.levels] for code, factor in zip(codes, factors, strict=True)], logs)
    if fit is None:
        return None
    total = float(((logs - logs.mean()) ** 2).sum())
    if total <= 1e-12 * len(logs):
        return None
    tests = [_test(fit, index) for index in range(len(factors))]
    certain = _holm([p for _, _, p in tests])
    return [
        _effect(factor, code, fit, index, tests[index], total, sure)
        for index, (factor, code, sure) in enumerate(zip(factors, codes, certain, strict=True))
    ]


def _code(factor: Factor) -> Floats:
    """Return the columns that stand for each value of a knob, shape [count, coefficients], none for a single value."""
    seen = np.unique(factor.levels)
    if len(seen) < 2:
        return np.zeros((factor.count, 0))
    if factor.ordered and len(seen) > MOST_CONTRASTS:
        at = np.linspace(-1.0, 1.0, factor.count)
        return np.stack([at, at**2], axis=1)
    code = np.zeros((factor.count, len(seen) - 1))
    code[seen[1:], np.arange(len(seen) - 1)] = 1.0
    return code


@dataclass(frozen=True)
class _Fit:
    """Least squares with an intercept: columns, where each knob's are, coefficients and their covariance."""

    design: Floats
    places: Sequence[slice]
    logs: Floats
    coefficients: Floats
    covariance: Floats
    residuals: Floats
    spare: int
    variance: float

    @classmethod
    def of(cls, blocks: Sequence[Floats], logs: Floats) -> "_Fit | None":
        design = np.column_stack([np.ones(len(logs)), *blocks]) if len(logs) else np.zeros((0, 1))
        ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
        places = [slice(int(start), int(end)) for start, end in pairwise(ends)]
        spare = len(logs) - int(np.linalg.matrix_rank(design)) if len(logs) else 0
        if spare < FEWEST_SPARE:
            return None
        inverse = np.linalg.pinv(design.T @ design, hermitian=True)
        coefficients = inverse @ design.T @ logs
        residuals = logs - design @ coefficients
        variance = float(residuals @ residuals) / spare
        return cls(design, places, logs, coefficients, variance * inverse, residuals, spare, variance)


def _test(fit: _Fit, index: int) -> tuple[float, int, float]:
    """Return a knob's partial sum of squares, its coefficients that the others do not stand for, and its p-value."""
    others = np.delete(fit.design, fit.places[index], axis=1)
    own = len(fit.logs) - fit.spare - int(np.linalg.matrix_rank(others))
    if own == 0:
        return 0.0, 0, 1.0
    without, *_ = np.linalg.lstsq(others, fit.logs, rcond=None)
    left = fit.logs - others @ without
    gained = max(0.0, float(left @ left) - float(fit.residuals @ fit.residuals))
    ratio = gained / own / max(fit.variance, 1e-300)
    return gained, own, float(scipy.special.fdtrc(own, fit.spare, ratio))


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Return which are significant at 5% together: S. Holm, A simple sequentially rejective test procedure, 1979."""
    found = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values)):
        if p_values[index] > (1 - CONFIDENCE) / (len(p_values) - rank):
            break
        found[index] = True
    return found


def _effect(
    factor: Factor, code: Floats, fit: _Fit, index: int, test: tuple[float, int, float], total: float, sure: bool
) -> Effect:
    gained, own, _ = test
    scale = total + fit.variance
    low, high = _noncentrality(gained, own, fit) if own else (0.0, 0.0)
    place = fit.places[index]
    mean = fit.design[:, place].mean(axis=0)
    away = code - mean
    fitted = away @ fit.coefficients[place]
    spread = np.sqrt(np.maximum(0.0, np.einsum("ij,jk,ik->i", away, fit.covariance[place, place], away)))
    wide = float(scipy.special.stdtrit(fit.spare, (1 + CONFIDENCE) / 2)) * spread
    return Effect(
        factor.name,
        max(0.0, gained - own * fit.variance) / scale,
        min(1.0, low * fit.variance / scale),
        min(1.0, high * fit.variance / scale),
        sure,
        own == 0 and code.shape[1] > 0,
        np.exp(fitted),
        np.exp(fitted - wide),
        np.exp(fitted + wide),
        np.exp(fitted[factor.levels] + fit.residuals),
    )


def _noncentrality(gained: float, own: int, fit: _Fit) -> tuple[float, float]:
    """Return the noncentralities under which the F that was found is the 97.5% and the 2.5% quantile, 0 without one."""
    if fit.variance <= 1e-15 * gained:
        exact = gained / max(fit.variance, 1e-300)
        return exact, exact
    ratio = gained / own / fit.variance
    low, high = ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)
    return _solve(ratio, own, fit.spare, low), _solve(ratio, own, fit.spare, high)


def _solve(ratio: float, own: int, spare: int, probability: float) -> float:
    """Return the l with P(F(own, spare, l) <= ratio) = probability; 0 where even l = 0 gives less."""
    if scipy.special.fdtr(own, spare, ratio) <= probability:
        return 0.0
    low, high = 0.0, max(1.0, own * ratio)
    while scipy.special.ncfdtr(own, spare, high, ratio) > probability and high < 1e9:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if scipy.special.ncfdtr(own, spare, middle, ratio) > probability else (low, middle)
    return (low + high) / 2
