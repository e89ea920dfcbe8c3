"""Which of several configurations is the best when there are several objectives. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Preference:
    """How the objectives make one rank.

    Attributes:
        how: `first`: by the first objective; `robust`: by the largest regret over all objectives; `weighted`: by the
            weighted mean of the regrets.
        weights: of the objectives, for `weighted`; at least 0, not all 0.
    """

    how: Literal["first", "robust", "weighted"] = "first"
    weights: tuple[float, ...] = ()

    def scores(self, values: Floats, bests: Floats, maximize: Sequence[bool]) -> Floats:
        """Return a number for each row, larger for better ones.

        Args:
            values: objectives, shape [rows, objectives].
            bests: the best value of each objective that anything reached, shape [objectives].
            maximize: per objective, whether more is better.
        """
        if self.how == "first":
            return np.asarray(values[:, 0] if maximize[0] else -values[:, 0])
        lost = regrets(values, bests, maximize)
        if self.how == "robust":
            return np.asarray(-lost.max(axis=1))
        weights = np.array(self.weights)
        return np.asarray(-(lost @ weights) / weights.sum())


FIRST = Preference()
FURTHEST = 1e9
"""Regret of what has no end, where the best is below 0."""


def regrets(values: Floats, bests: Floats, maximize: Sequence[bool]) -> Floats:
    """Return the share by which each value falls short of the best of its objective, shape [rows, objectives].

    1 - value / best where more is better, 1 - best / value where less is: 0 at the best, towards 1 the worse it is. Of
    a best below 0, as scores of answers may be, it is |value - best| / |best|: 1 at twice the distance from 0, and more
    than that beyond. Where the best is 0, all that is worse has lost all of it.
    """
    more = np.asarray(maximize)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(more, values / bests, bests / values)
        away = np.where(more, bests - values, values - bests) / np.abs(bests)
    away = np.nan_to_num(away, posinf=FURTHEST)
    return np.where(bests < 0, away, 1 - np.nan_to_num(share, nan=1.0, neginf=0.0))


def best_values(values: Floats, maximize: Sequence[bool]) -> Floats:
    """Return the best value of each objective, shape [objectives]."""
    return np.where(np.asarray(maximize), values.max(axis=0), values.min(axis=0))
