"""The Pareto front: which points no other point beats on every objective, and how sure that is of each."""

import math
from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

Z_95 = 1.96
"""Standard deviations from the median to either end of a normal distribution's 95% interval."""
ONE_SIDED = 2.0
"""The distance to a bound that is missing, in distances to the bound on the other side."""
UNBOUNDED = math.log(2)
"""A value without any bound may be half or twice as large."""
BLOCK = 200_000
"""Numbers drawn at once: as many as stay in a processor's cache."""


def non_dominated(values: NDArray[np.float64], maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """Return which rows are on the front.

    A row is dominated when another is at least as good on every objective and better on one. Equal rows are all kept.

    Args:
        values: objectives, shape [points, objectives]; infinite values allowed, NaN not.
        maximize: per objective, whether more is better.

    Returns:
        Shape [points].
    """
    _check_values(values, maximize)
    costs = np.where(np.asarray(maximize), -values, values)
    return np.array([not _dominated(costs, row) for row in costs], dtype=np.bool_)


def membership(
    values: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    maximize: Sequence[bool],
    rng: np.random.Generator,
    draws: int = 2000,
) -> NDArray[np.float64]:
    """Estimate how probable it is of each row to be on the front under its measurement noise.

    Every value is drawn `draws` times from its 95% interval on the log scale, as v * exp(z * s) with z of the standard
    normal distribution, s = (ln high - ln v) / 1.96 for z > 0 and s = (ln v - ln low) / 1.96 for z < 0. So v is the
    median, and 2.5% of the draws lie beyond either bound. The estimate is the share of draws in which the row is
    non-dominated. Its standard error is at most 0.5 / sqrt(draws).

    A bound that is infinite or not above 0 is missing. It is taken to be twice as far away as the other one; with
    both missing, ln v is uniform between ln(v / 2) and ln(2 v). Infinite values and zeros are not noisy.

    Assumes that the noise is independent between rows and between the objectives of a row. It is the noise within a
    measurement: what a redeployment changes for all of it is not in the interval, so it is not in the estimate.

    Args:
        values: objectives, shape [points, objectives]; at least 0, infinite values allowed, NaN not.
        low: lower bounds of their 95% intervals, same shape, at most the value.
        high: upper bounds, same shape, at least the value.
        maximize: per objective, whether more is better.
        rng: what is drawn from.
        draws: number of draws, at least 1.

    Returns:
        Shape [points], from 0 to 1.

    Raises:
        ValueError: a shape is wrong, there is a NaN, a value is below 0 or outside its bounds, or nothing is drawn.
    """
    _check_values(values, maximize)
    _check_bounds(values, low, high)
    if draws < 1:
        raise ValueError(f"`draws >= 1` must hold, but got {draws}.")
    below, above, unbounded = _spreads(values, low, high)
    costs = np.where(np.asarray(maximize), -values, values)
    times_on_front = np.zeros(len(values))
    block = max(1, BLOCK // max(1, values.size))
    for drawn in range(0, draws, block):
        z = rng.standard_normal((min(block, draws - drawn), *values.shape))
        noise = z * np.where(z < 0, below, above)
        noise[:, unbounded] = UNBOUNDED * (2 * scipy.special.ndtr(z[:, unbounded]) - 1)
        times_on_front += np.count_nonzero(_fronts(costs * np.exp(noise)), axis=0)
    return times_on_front / draws


def _check_values(values: NDArray[np.float64], maximize: Sequence[bool]) -> None:
    if values.ndim != 2 or values.shape[1] != len(maximize):
        raise ValueError(f"expected [points, {len(maximize)}] values, but got shape {values.shape}.")
    if np.isnan(values).any():
        raise ValueError("NaN has no place on a front; leave such points out.")


def _check_bounds(values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    if not values.shape == low.shape == high.shape:
        raise ValueError(f"expected bounds of shape {values.shape}, but got {low.shape} and {high.shape}.")
    if (values < 0).any():
        raise ValueError(f"the log scale needs values of at least 0, but got {values.min()}.")
    outside = ~((low <= values) & (values <= high))
    if outside.any():
        least, value, most = (one[outside][0] for one in (low, values, high))
        raise ValueError(f"`low <= value <= high` must hold, but got {least}, {value} and {most}.")


def _spreads(
    values: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return the standard deviations of the logarithms below and above the values, and which have no bound at all."""
    noisy = (values > 0) & np.isfinite(values)
    has_low, has_high = noisy & (low > 0), noisy & np.isfinite(high)
    logs = np.log(values, where=noisy, out=np.zeros_like(values))
    below = np.where(has_low, logs - np.log(low, where=has_low, out=np.zeros_like(values)), 0.0)
    above = np.where(has_high, np.log(high, where=has_high, out=np.zeros_like(values)) - logs, 0.0)
    below = np.where(has_high & ~has_low, ONE_SIDED * above, below)
    above = np.where(has_low & ~has_high, ONE_SIDED * below, above)
    return below / Z_95, above / Z_95, noisy & ~has_low & ~has_high


def _fronts(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of each table are on its front; costs [tables, points, objectives], less is better."""
    if costs.shape[1] == 0:
        return np.ones(costs.shape[:2], dtype=np.bool_)
    if costs.shape[2] == 2:
        return _fronts_of_two(costs[:, :, 0], costs[:, :, 1])
    by_objective = np.ascontiguousarray(np.moveaxis(costs, 2, 0))
    return np.stack([~_dominated_in_each(by_objective, row) for row in range(costs.shape[1])], axis=1)


def _fronts_of_two(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which columns of each row are on its front, by a sweep in ascending order of both costs.

    What dominates a point comes before it in that order. So a point is on the front when its second cost is below all
    those before it; points that are equal share the answer of the first of them.
    """
    order = np.lexsort((second, first), axis=-1)
    first, second = np.take_along_axis(first, order, -1), np.take_along_axis(second, order, -1)
    kept, is_new = np.ones(order.shape, dtype=np.bool_), np.ones(order.shape, dtype=np.bool_)
    kept[:, 1:] = second[:, 1:] < np.minimum.accumulate(second, axis=-1)[:, :-1]
    is_new[:, 1:] = (first[:, 1:] != first[:, :-1]) | (second[:, 1:] != second[:, :-1])
    first_of_equals = np.maximum.accumulate(np.where(is_new, np.arange(order.shape[1]), 0), axis=-1)
    fronts = np.empty_like(kept)
    np.put_along_axis(fronts, order, np.take_along_axis(kept, first_of_equals, -1), -1)
    return fronts


def _dominated(costs: NDArray[np.float64], row: NDArray[np.float64]) -> bool:
    return bool(np.any(np.all(costs <= row, axis=1) & np.any(costs < row, axis=1)))


def _dominated_in_each(costs: NDArray[np.float64], row: int) -> NDArray[np.bool_]:
    """Return in which tables a row is dominated; costs [objectives, tables, points]."""
    no_worse, better = np.ones(costs.shape[1:], dtype=np.bool_), np.zeros(costs.shape[1:], dtype=np.bool_)
    for cost in costs:
        own = cost[:, row : row + 1]
        no_worse &= cost <= own
        better |= cost < own
    dominated: NDArray[np.bool_] = np.any(no_worse & better, axis=1)
    return dominated


def hypervolume(values: NDArray[np.float64], reference: NDArray[np.float64], maximize: Sequence[bool]) -> float:
    """Return the volume that points dominate, up to a reference: how good a front is, as one number.

    The objectives are sliced one after the other (While, Hingston, Barone and Huband, 2006): exact, in a time that
    grows with the points of the front to the power of objectives - 1. The other points add nothing, and are left out.

    Args:
        values: objectives, shape [points, objectives]; finite.
        reference: what every point is at least as good as, shape [objectives]; points that are not are left out.
        maximize: per objective, whether more is better.

    Returns:
        Product of the objectives' units; 0 without points.
    """
    _check_values(values, maximize)
    better_by = np.where(np.asarray(maximize), values - reference, reference - values)
    sides = np.unique(better_by[np.all(better_by > 0, axis=1)], axis=0)
    return _volume(sides[non_dominated(sides, [True] * sides.shape[1])])


def _volume(sides: NDArray[np.float64]) -> float:
    """Return the volume of the union of boxes from the origin to each row."""
    if not len(sides):
        return 0.0
    if sides.shape[1] == 1:
        return float(sides.max())
    if sides.shape[1] == 2:
        return _area(sides)
    by_last = sides[np.argsort(-sides[:, -1])]
    depths = by_last[:, -1] - np.append(by_last[1:, -1], 0.0)
    slices = [(depth, by_last[: index + 1, :-1]) for index, depth in enumerate(depths) if depth > 0]
    return float(sum(depth * _volume(part) for depth, part in slices))


def _area(sides: NDArray[np.float64]) -> float:
    """Return the area of the union of rectangles from the origin to each row."""
    widest_first = sides[np.argsort(-sides[:, 0])]
    widths = widest_first[:, 0] - np.append(widest_first[1:, 0], 0.0)
    return float(widths @ np.maximum.accumulate(widest_first[:, 1]))
