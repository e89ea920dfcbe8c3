"""Arrival processes: when requests are due, as pure arithmetic on a seed.

An open loop's process gives offsets in integer nanoseconds from the start of the load; nothing here sleeps or
reads a clock. Every process is prefix-stable: a longer duration only appends. Here are those whose gaps all come from
one law; `workloads.modulated` has rates that change with time, `workloads.replay` traces and sums of several processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000
BLOCK = 1 << 16
"""Arrivals that are made at once; part of what a seed means."""

Times = NDArray[np.float64]
"""Moments in seconds from the start of the load, sorted."""


class Arrivals(ABC):
    """An open-loop arrival process.

    Attributes:
        period_s: after this long the process repeats itself, in seconds; 0.0: it does not.
        edge_s: where in a period a window may begin and end without cutting anything, in seconds.
        least_window_s: a shorter window would not do the process justice, in seconds: a period, or some clusters.
        shape_s: a load this long shows the shape, in seconds.
    """

    @property
    @abstractmethod
    def mean_rate_rps(self) -> float:
        """Long-run requests per second."""

    @property
    def period_s(self) -> float:
        """Nothing repeats itself."""
        return 0.0

    @property
    def edge_s(self) -> float:
        """A period may be cut at its start."""
        return 0.0

    @property
    def least_window_s(self) -> float:
        """A period."""
        return self.period_s

    @property
    def shape_s(self) -> float:
        """The least window shows the shape."""
        return self.least_window_s

    @abstractmethod
    def at_rate(self, rate_rps: float) -> "Arrivals":
        """Return the same shape at another mean rate."""

    @abstractmethod
    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield the arrivals' times in seconds, block after block, without end; each block is sorted, and after it."""

    def offsets_ns(self, duration_s: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the sorted offsets of all arrivals in [0, duration_s), in ns, int64 [n]."""
        end_ns = round(duration_s * NS_PER_S)
        kept = [np.empty(0, np.int64)]
        blocks = self.blocks(rng) if end_ns > 0 else iter(())
        for block in blocks:
            offsets = np.rint(block * NS_PER_S).astype(np.int64)
            inside = int(np.searchsorted(offsets, end_ns))
            kept.append(offsets[:inside])
            if inside < len(offsets):
                break
        return np.concatenate(kept)


@dataclass(frozen=True)
class Constant(Arrivals):
    """Evenly spaced arrivals: t_k = k / rate for k = 0, 1, ... (CV 0). The seed changes nothing."""

    rate_rps: float

    def __post_init__(self) -> None:
        require_positive("rate", self.rate_rps)

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    def at_rate(self, rate_rps: float) -> "Constant":
        """Return the process with another rate."""
        return Constant(rate_rps)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:  # noqa: ARG002
        """Yield k / rate."""
        for numbers in _counted():
            yield numbers / self.rate_rps


@dataclass(frozen=True)
class Jittered(Arrivals):
    """Evenly spaced arrivals, each late by its own share of a gap: t_k = (k + jitter * u_k) / rate.

    u_k is uniform on [0, 1). The gaps have mean 1 / rate and CV = jitter / sqrt(6).

    Attributes:
        rate_rps: mean rate in requests per second.
        jitter: in (0, 1]; 1 spreads each arrival over its whole gap.
    """

    rate_rps: float
    jitter: float

    def __post_init__(self) -> None:
        require_positive("rate", self.rate_rps)
        if not 0 < self.jitter <= 1:
            raise ValueError(f"`jitter` must be above 0 and at most 1, but got {self.jitter:g}")

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    def at_rate(self, rate_rps: float) -> "Jittered":
        """Return the process with another rate."""
        return replace(self, rate_rps=rate_rps)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield (k + jitter * u_k) / rate."""
        for numbers in _counted():
            yield (numbers + self.jitter * rng.random(BLOCK)) / self.rate_rps


@dataclass(frozen=True)
class Poisson(Arrivals):
    """Memoryless arrivals: independent gaps, exponential with mean 1 / rate (CV 1)."""

    rate_rps: float

    def __post_init__(self) -> None:
        require_positive("rate", self.rate_rps)

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    def at_rate(self, rate_rps: float) -> "Poisson":
        """Return the process with another rate."""
        return Poisson(rate_rps)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield the cumulative sums of exponential gaps."""
        end = 0.0
        while True:
            times = end + np.cumsum(rng.exponential(1 / self.rate_rps, BLOCK))
            end = float(times[-1])
            yield times


@dataclass(frozen=True)
class Gamma(Arrivals):
    """A renewal process: independent gaps, gamma-distributed with mean 1 / rate and coefficient of variation `cv`.

    Shape k = 1 / cv^2 and scale theta = cv^2 / rate, so that the mean is k * theta = 1 / rate and the variance
    k * theta^2 = (cv / rate)^2. `cv` 1 is Poisson; below it arrivals are more even, above it they come in clusters.
    """

    rate_rps: float
    cv: float

    def __post_init__(self) -> None:
        require_positive("rate", self.rate_rps)
        require_positive("cv", self.cv)

    @property
    def mean_rate_rps(self) -> float:
        """The given rate."""
        return self.rate_rps

    @property
    def least_window_s(self) -> float:
        """Some clusters: 25 * cv^2 gaps."""
        return 25 * self.cv**2 / self.rate_rps

    def at_rate(self, rate_rps: float) -> "Gamma":
        """Return the process with another rate."""
        return replace(self, rate_rps=rate_rps)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield the cumulative sums of gamma-distributed gaps."""
        shape, end = self.cv**-2, 0.0
        while True:
            times = end + np.cumsum(rng.gamma(shape, 1 / (shape * self.rate_rps), BLOCK))
            end = float(times[-1])
            yield times


@dataclass(frozen=True)
class Bursty(Arrivals):
    """On/off arrivals: `burst_size` requests `spacing_s` apart, then a pause of `pause_s` after the last of them.

    t_(j,i) = j * ((burst_size - 1) * spacing + pause) + i * spacing, for burst j and its i-th request;
    mean rate = burst_size / ((burst_size - 1) * spacing + pause). Deterministic: the seed changes nothing.
    """

    burst_size: int
    pause_s: float
    spacing_s: float = 0.0

    def __post_init__(self) -> None:
        require_positive("burst_size", self.burst_size)
        require_positive("pause", self.pause_s)
        if self.spacing_s < 0:
            raise ValueError(f"`spacing` must be >= 0, but got {self.spacing_s} s.")

    @property
    def period_s(self) -> float:
        """From the start of a burst to the start of the next, in seconds."""
        return (self.burst_size - 1) * self.spacing_s + self.pause_s

    @property
    def edge_s(self) -> float:
        """The middle of a pause: a cut burst would be counted by half, and looking would disturb what is due."""
        return self.period_s - self.pause_s / 2

    @property
    def shape_s(self) -> float:
        """Four bursts."""
        return 4 * self.period_s

    @property
    def mean_rate_rps(self) -> float:
        """Requests of a burst over its period."""
        return self.burst_size / self.period_s

    def at_rate(self, rate_rps: float) -> "Bursty":
        """Return bursts of the same size with pause and spacing stretched by the same factor."""
        require_positive("rate", rate_rps)
        factor = self.mean_rate_rps / rate_rps
        return replace(self, pause_s=self.pause_s * factor, spacing_s=self.spacing_s * factor)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:  # noqa: ARG002
        """Yield the burst starts with the offsets inside a burst added."""
        inside = np.arange(self.burst_size) * self.spacing_s
        each = max(1, BLOCK // self.burst_size)
        first = 0
        while True:
            starts = np.arange(first, first + each) * self.period_s
            first += each
            yield (starts[:, None] + inside).ravel()


def _counted() -> Iterator[Times]:
    """Yield 0, 1, 2, ... in blocks."""
    first = 0
    while True:
        yield np.arange(first, first + BLOCK, dtype=np.float64)
        first += BLOCK


def require_positive(name: str, value: float) -> None:
    """Raise ValueError where a value is not above 0."""
    if not value > 0:
        raise ValueError(f"`{name}` must be > 0, but got {value}.")
