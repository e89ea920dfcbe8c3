"""Arrivals as they were: a trace played again, and several processes at once."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workloads.arrivals import BLOCK, Arrivals, Times, require_positive

_ALIKE = 1e-6
"""Share by which two periods may differ that are meant to be the same."""


@dataclass(frozen=True, eq=False)
class Replay(Arrivals):
    """A trace, played again and again: t_(j,k) = j * span + t_k for its k-th arrival in round j.

    The seed changes nothing.

    Attributes:
        times_s: of the arrivals, sorted, from 0, float64 [n].
        span_s: length of a round in seconds: after the last arrival as long a gap as the mean of the others.
    """

    times_s: NDArray[np.float64]
    span_s: float

    def __post_init__(self) -> None:
        if not len(self.times_s) or self.times_s[0] < 0 or np.any(np.diff(self.times_s) < 0):
            raise ValueError("a trace needs arrivals, in the order of time from 0 on")
        if not self.span_s > self.times_s[-1]:
            raise ValueError(f"the span of {self.span_s:g} s must be after the last arrival, at {self.times_s[-1]:g} s")

    @classmethod
    def of(cls, times_s: NDArray[np.float64]) -> "Replay":
        """Return a replay of moments in any order, from the first of them on.

        Raises:
            ValueError: there are fewer than two of them, or all are the same.
        """
        times = np.sort(times_s) - times_s.min() if len(times_s) else times_s
        if len(times) < 2 or times[-1] <= 0:
            raise ValueError(f"a trace needs two arrivals at different times, but has {len(times)}")
        return cls(times, float(times[-1] * len(times) / (len(times) - 1)))

    @property
    def period_s(self) -> float:
        """The length of the trace."""
        return self.span_s

    @property
    def mean_rate_rps(self) -> float:
        """Arrivals of the trace over its length."""
        return len(self.times_s) / self.span_s

    def at_rate(self, rate_rps: float) -> "Replay":
        """Return the trace, all gaps stretched by the same factor: order, CV and bursts stay."""
        require_positive("rate", rate_rps)
        factor = self.mean_rate_rps / rate_rps
        return replace(self, times_s=self.times_s * factor, span_s=self.span_s * factor)

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:  # noqa: ARG002
        """Yield the trace, round after round."""
        each, first = max(1, BLOCK // len(self.times_s)), 0
        while True:
            starts = np.arange(first, first + each) * self.span_s
            first += each
            yield (starts[:, None] + self.times_s).ravel()


@dataclass(frozen=True)
class Superposition(Arrivals):
    """Several processes at once, independent of each other; the mean rate is the sum of theirs.

    The i-th of them has the i-th stream that is spawned from the seed.
    """

    parts: tuple[Arrivals, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError("`parts` must be two or more")

    @property
    def mean_rate_rps(self) -> float:
        """The sum of the parts' rates."""
        return sum(part.mean_rate_rps for part in self.parts)

    @property
    def period_s(self) -> float:
        """The period that the parts share; 0.0 where they have different ones."""
        periods = [part.period_s for part in self.parts if part.period_s]
        alike = periods and max(periods) - min(periods) <= _ALIKE * max(periods)
        return max(periods) if alike else 0.0

    @property
    def edge_s(self) -> float:
        """The edge of the first part that must not be cut anywhere, if there is one."""
        return next((part.edge_s for part in self.parts if part.edge_s), 0.0)

    @property
    def least_window_s(self) -> float:
        """The longest of the parts'."""
        return max(part.least_window_s for part in self.parts)

    @property
    def shape_s(self) -> float:
        """The longest of the parts'."""
        return max(part.shape_s for part in self.parts)

    def at_rate(self, rate_rps: float) -> "Superposition":
        """Return all parts changed by the same factor."""
        require_positive("rate", rate_rps)
        factor = rate_rps / self.mean_rate_rps
        return Superposition(tuple(part.at_rate(part.mean_rate_rps * factor) for part in self.parts))

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Merge the parts, up to where each of them is known."""
        sources = [part.blocks(one) for part, one in zip(self.parts, rng.spawn(len(self.parts)), strict=True)]
        waiting = [next(source) for source in sources]
        while True:
            known = min(times[-1] for times in waiting)
            cuts = [int(np.searchsorted(times, known, side="right")) for times in waiting]
            yield np.sort(np.concatenate([times[:cut] for times, cut in zip(waiting, cuts, strict=True)]))
            waiting = [
                times[cut:] if cut < len(times) else next(source)
                for times, cut, source in zip(waiting, cuts, sources, strict=True)
            ]
