"""Distributions of lengths: tokens of a prompt or of an answer. Pure and seeded."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Lengths(Protocol):
    """A distribution of whole numbers of at least 1."""

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return `count` lengths, int64 [count]."""
        ...


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    length: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"`length` must be >= 1, but got {self.length}")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG002 - nothing is random
        """Return the length `count` times."""
        return np.full(count, self.length, np.int64)


@dataclass(frozen=True)
class Uniform:
    """Every whole number from low to high equally often."""

    low: int
    high: int

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw independent lengths."""
        return rng.integers(self.low, self.high, count, np.int64, endpoint=True)


@dataclass(frozen=True)
class Normal:
    """A normal distribution, rounded; what falls outside of low..high is set to the nearer of them."""

    mean: float
    sd: float
    low: int
    high: int

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)
        if self.sd < 0:
            raise ValueError(f"`sd` must be >= 0, but got {self.sd:g}")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw independent lengths."""
        return _clipped(rng.normal(self.mean, self.sd, count), self.low, self.high)


@dataclass(frozen=True)
class LogNormal:
    """A log-normal distribution, clipped like Normal: the logarithm is normal with mean ln(median) and sd sigma."""

    median: float
    sigma: float
    low: int
    high: int

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)
        if self.median <= 0 or self.sigma < 0:
            raise ValueError(
                f"`median` must be > 0 and `sigma` >= 0, but got median {self.median:g}, sigma {self.sigma:g}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw independent lengths."""
        return _clipped(rng.lognormal(math.log(self.median), self.sigma, count), self.low, self.high)


@dataclass(frozen=True)
class Zipf:
    """The length low + i - 1 with probability proportional to i^-skew, for i from 1 to high - low + 1."""

    skew: float
    low: int
    high: int

    def __post_init__(self) -> None:
        _require_range(self.low, self.high)
        if not self.skew > 0:
            raise ValueError(f"`skew` must be > 0, but got {self.skew:g}")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw independent lengths."""
        weights = np.arange(1, self.high - self.low + 2, dtype=np.float64) ** -self.skew
        return self.low + _weighted(weights, count, rng)


@dataclass(frozen=True)
class Histogram:
    """Lengths as they were counted: each value with probability proportional to its weight."""

    values: tuple[int, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != len(self.weights):
            raise ValueError(f"`weights` must be one for each of the {len(self.values)} `values`")
        if min(self.values) < 1 or min(self.weights) < 0 or not sum(self.weights) > 0:
            raise ValueError("`values` must be >= 1 and `weights` >= 0, some of them above 0")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw independent lengths."""
        return np.array(self.values, np.int64)[_weighted(np.array(self.weights), count, rng)]


def _weighted(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw indices with probability proportional to their weights."""
    summed = np.cumsum(weights)
    found: NDArray[np.int64] = np.searchsorted(summed, rng.random(count) * summed[-1], side="right")
    return found


def _clipped(values: NDArray[np.float64], low: int, high: int) -> NDArray[np.int64]:
    return np.clip(np.rint(values), low, high).astype(np.int64)


def _require_range(low: int, high: int) -> None:
    if not 1 <= low <= high:
        raise ValueError(f"`1 <= low <= high` must hold, but got low {low} and high {high}")
