"""The Pareto front: which points no other point beats on every objective."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def non_dominated(values: NDArray[np.float64], maximize: Sequence[bool]) -> NDArray[np.bool_]:
    """Return which rows are on the front.

    A row is dominated when another is at least as good on every objective and better on one. Equal rows are all kept.

    Args:
        values: objectives, shape [points, objectives]; infinite values allowed, NaN not.
        maximize: per objective, whether more is better.

    Returns:
        Shape [points].
    """
    if values.ndim != 2 or values.shape[1] != len(maximize):
        raise ValueError(f"expected [points, {len(maximize)}] values, but got shape {values.shape}.")
    if np.isnan(values).any():
        raise ValueError("NaN has no place on a front; leave such points out.")
    costs = np.where(np.asarray(maximize), -values, values)
    return np.array([not _dominated(costs, row) for row in costs], dtype=np.bool_)


def _dominated(costs: NDArray[np.float64], row: NDArray[np.float64]) -> bool:
    return bool(np.any(np.all(costs <= row, axis=1) & np.any(costs < row, axis=1)))
