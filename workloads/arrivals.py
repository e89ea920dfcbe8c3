"""Arrival processes: when requests are due, as pure arithmetic on a seed.

An open loop's process gives offsets in integer nanoseconds from the start of the load; nothing here sleeps or
reads a clock. Every process is prefix-stable: a longer duration only appends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000
_DRAWS = 4096


class Arrivals(Protocol):
    """An open-loop arrival process."""

    @property
    def mean_rate_rps(self) -> float:
        """Long-run requests per second."""
        ...

    def at_rate(self, rate_rps: float) -> "Arrivals":
        """Return the same shape scaled in time to another mean rate."""
        ...

    def offsets_ns(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the sorted offsets of all arrivals in [0, duration_s), in ns, shape [n]."""
        ...


@dataclass(frozen=True)
class Constant:
    """Evenly spaced arrivals: t_k = k / rate."""

    rate_rps: float

    def __post_init__(self) -> None:
        _require_positive("rate", self.rate_rps)

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    def at_rate(self, rate_rps: float) -> "Constant":
        """Return the process with another rate."""
        return Constant(rate_rps)

    def offsets_ns(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG002
        """Return round(k / rate) for every k with k / rate < duration."""
        count = int(np.ceil(duration_s * self.rate_rps))
        return _within(np.arange(count) / self.rate_rps, duration_s)


@dataclass(frozen=True)
class Poisson:
    """Memoryless arrivals: independent gaps, exponential with mean 1 / rate (CV = 1)."""

    rate_rps: float

    def __post_init__(self) -> None:
        _require_positive("rate", self.rate_rps)

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    def at_rate(self, rate_rps: float) -> "Poisson":
        """Return the process with another rate."""
        return Poisson(rate_rps)

    def offsets_ns(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the cumulative sums of exponential gaps below the duration."""
        return _within(np.concatenate([np.empty(0), *self._cumulated(duration_s, rng)]), duration_s)

    def _cumulated(self, duration_s: float, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
        end = 0.0
        while end < duration_s:
            times = end + np.cumsum(rng.exponential(1 / self.rate_rps, _DRAWS))
            end = float(times[-1])
            yield times


@dataclass(frozen=True)
class Bursty:
    """On/off arrivals: `burst_size` requests `spacing_s` apart, then a pause of `pause_s` after the last of them.

    t_(j,i) = j * ((burst_size - 1) * spacing + pause) + i * spacing, for burst j and its i-th request;
    mean rate = burst_size / ((burst_size - 1) * spacing + pause). Deterministic: the seed changes nothing.
    """

    burst_size: int
    pause_s: float
    spacing_s: float = 0.0

    def __post_init__(self) -> None:
        _require_positive("burst_size", self.burst_size)
        _require_positive("pause", self.pause_s)
        if self.spacing_s < 0:
            raise ValueError(f"`spacing` must be >= 0, but got {self.spacing_s} s.")

    @property
    def period_s(self) -> float:
        """From the start of a burst to the start of the next, in seconds."""
        return (self.burst_size - 1) * self.spacing_s + self.pause_s

    @property
    def mean_rate_rps(self) -> float:
        """Requests of a burst over its period."""
        return self.burst_size / self.period_s

    def at_rate(self, rate_rps: float) -> "Bursty":
        """Return bursts of the same size with pause and spacing stretched by the same factor."""
        _require_positive("rate", rate_rps)
        factor = self.mean_rate_rps / rate_rps
        return replace(self, pause_s=self.pause_s * factor, spacing_s=self.spacing_s * factor)

    def offsets_ns(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.int64]:  # noqa: ARG002
        """Return the burst starts with the offsets inside a burst added."""
        bursts = int(np.ceil(duration_s / self.period_s)) + 1
        starts = np.arange(bursts) * self.period_s
        inside = np.arange(self.burst_size) * self.spacing_s
        return _within((starts[:, None] + inside).ravel(), duration_s)


def _within(times_s: NDArray[np.float64], duration_s: float) -> NDArray[np.int64]:
    offsets = np.rint(times_s * NS_PER_S)
    inside: NDArray[np.int64] = offsets[offsets < round(duration_s * NS_PER_S)].astype(np.int64)
    return inside


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"`{name}` must be > 0, but got {value}.")
