"""Pauses between an answer and the next request of a closed loop's slot. Pure and seeded."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from workloads.arrivals import require_positive


class Pauses(Protocol):
    """A distribution of times."""

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` independent times in seconds, float64 [count]."""
        ...


@dataclass(frozen=True)
class Always:
    """Always the same time."""

    time_s: float

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:  # noqa: ARG002 - nothing is random
        """Return the time, once where there is room for it: it stands for all."""
        return np.full(min(count, 1), self.time_s)


@dataclass(frozen=True)
class Exponential:
    """Memoryless times with a mean, in seconds."""

    mean_s: float

    def __post_init__(self) -> None:
        require_positive("mean", self.mean_s)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw independent times."""
        return rng.exponential(self.mean_s, count)


@dataclass(frozen=True)
class Uniform:
    """Times from low to high, in seconds, all equally likely."""

    low_s: float
    high_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.low_s <= self.high_s:
            raise ValueError(f"`0 <= low <= high` must hold, but got low {self.low_s:g} s and high {self.high_s:g} s")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw independent times."""
        return rng.uniform(self.low_s, self.high_s, count)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal times: the logarithm is normal with mean ln(median) and standard deviation sigma."""

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        require_positive("median", self.median_s)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw independent times."""
        return rng.lognormal(math.log(self.median_s), self.sigma, count)


NONE = Always(0.0)
"""No pause at all."""
