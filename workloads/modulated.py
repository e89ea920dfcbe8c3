"""Arrival processes whose rate changes with time: Poisson arrivals under a rate function.

Arrivals of an inhomogeneous Poisson process are those of a process of rate 1, moved by the inverse of the cumulative
rate: t_k = L^-1(g_k), where L(t) is the integral of the rate from 0 to t, and g_k is the sum of k exponential gaps of
mean 1 (time rescaling, see Cinlar, Introduction to Stochastic Processes, 1975, section 4.7).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workloads.arrivals import BLOCK, Arrivals, Times, require_positive

_SINUSOID_PIECES = 256
_DWELLS = 1024
MMPP_BLOCK = 4096
"""Arrivals of a Markov-modulated process that are made at once: between two of them there may be many states."""


@dataclass(frozen=True)
class Profile(Arrivals):
    """Poisson arrivals under a rate that is made of straight pieces and repeats itself.

    Between the corners (t_i, r_i) and (t_j, r_j), j = i + 1, the rate is r_i + (t - t_i) * (r_j - r_i) / (t_j - t_i);
    two corners at the same time are a jump. The last corner's time is the period. The mean rate is the integral over a
    period, over the period.

    Attributes:
        times_s: of the corners, from 0, not falling, [n].
        rates_rps: at the corners, not negative, [n].
    """

    times_s: tuple[float, ...]
    rates_rps: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.rates_rps) or len(self.times_s) < 2 or self.times_s[0] != 0:
            raise ValueError("a profile needs a rate for each of its corners, the first of them at 0 s")
        if any(later < earlier for earlier, later in zip(self.times_s, self.times_s[1:], strict=False)):
            raise ValueError("the corners of a profile must be in the order of time")
        if min(self.rates_rps) < 0 or not self._cumulated()[-1] > 0:
            raise ValueError("rates must be >= 0, and some of them above 0")

    @property
    def period_s(self) -> float:
        """The last corner's time."""
        return self.times_s[-1]

    @property
    def mean_rate_rps(self) -> float:
        """Requests of a period over its length."""
        return float(self._cumulated()[-1]) / self.period_s

    def at_rate(self, rate_rps: float) -> "Profile":
        """Return the same course in time with all rates changed by the same factor."""
        require_positive("rate", rate_rps)
        factor = rate_rps / self.mean_rate_rps
        return replace(self, rates_rps=tuple(rate * factor for rate in self.rates_rps))

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield the arrivals of a process of rate 1, moved by the inverse of the cumulative rate."""
        cumulated = self._cumulated()
        times, rates = np.array(self.times_s), np.array(self.rates_rps)
        lengths = np.diff(times)
        slopes = np.divide(np.diff(rates), lengths, out=np.zeros_like(lengths), where=lengths > 0)
        for sums in unit_arrivals(rng):
            periods = np.floor(sums / cumulated[-1])
            wanted = np.clip(sums - periods * cumulated[-1], 0.0, np.nextafter(cumulated[-1], 0.0))
            piece = np.searchsorted(cumulated, wanted, side="right") - 1
            left, rate = wanted - cumulated[piece], rates[piece]
            # The integral of the rate from the piece's start is a parabola; this form of its root is exact for slope 0.
            divisor = rate + np.sqrt(np.maximum(rate * rate + 2 * slopes[piece] * left, 0.0))
            inside = np.divide(2 * left, divisor, out=np.zeros_like(left), where=divisor > 0)
            yield periods * self.period_s + np.minimum(times[piece] + inside, times[piece + 1])

    def _cumulated(self) -> NDArray[np.float64]:
        """Return the integral of the rate up to each corner, [n]."""
        times, rates = np.array(self.times_s), np.array(self.rates_rps)
        return np.concatenate([[0.0], np.cumsum(np.diff(times) * (rates[1:] + rates[:-1]) / 2)])


def ramp(from_rps: float, to_rps: float, over_s: float) -> Profile:
    """Return a rate that goes from one to another in a straight line, and starts again."""
    require_positive("over", over_s)
    return Profile((0.0, over_s), (from_rps, to_rps))


def steps(rates_rps: Sequence[float], each_s: float) -> Profile:
    """Return rates that are held for `each_s` seconds, one after the other, and start again."""
    require_positive("each", each_s)
    times = [number * each_s for number in range(len(rates_rps) + 1)]
    corners = [(times[number + side], rate) for number, rate in enumerate(rates_rps) for side in (0, 1)]
    return Profile(tuple(time for time, _ in corners), tuple(rate for _, rate in corners))


def sinusoid(mean_rps: float, amplitude: float, period_s: float) -> Profile:
    """Return rate(t) = mean * (1 + amplitude * sin(2 pi t / period)), as of a day.

    It is drawn in 256 straight pieces, less than 0.0001 * amplitude * mean off.

    Args:
        mean_rps: mean rate in requests per second.
        amplitude: 0 to 1, as a share of the mean.
        period_s: length of a period in seconds.
    """
    require_positive("rate", mean_rps)
    require_positive("period", period_s)
    if not 0 <= amplitude <= 1:
        raise ValueError(f"`amplitude` must be from 0 to 1, a share of the rate, but got {amplitude:g}")
    corners = np.linspace(0.0, 1.0, _SINUSOID_PIECES + 1)
    rates = mean_rps * (1 + amplitude * np.sin(2 * math.pi * corners))
    return Profile(tuple((corners * period_s).tolist()), tuple(np.maximum(rates, 0.0).tolist()))


def spike(base_rps: float, peak_rps: float, length_s: float, every_s: float) -> Profile:
    """Return a base rate with a spike of another rate in the middle of every `every_s` seconds."""
    require_positive("length", length_s)
    if not length_s < every_s:
        raise ValueError(f"`every` must be longer than `length`, but got {every_s:g} s and {length_s:g} s")
    begin = (every_s - length_s) / 2
    times = (0.0, begin, begin, begin + length_s, begin + length_s, every_s)
    return Profile(times, (base_rps, base_rps, peak_rps, peak_rps, base_rps, base_rps))


@dataclass(frozen=True)
class MarkovModulated(Arrivals):
    """A Markov-modulated Poisson process (MMPP): Poisson arrivals whose rate is that of a hidden state.

    The time in state i is exponential with mean d_i; from there each of the others follows with equal probability, so
    the state is i for a share of d_i / sum(d) of the time. The mean rate is sum(r_i * d_i) / sum(d). The first state is
    drawn with these shares. (Fischer and Meier-Hellstern, The Markov-modulated Poisson process cookbook, 1993.)

    Attributes:
        rates_rps: of each state, >= 0.
        dwells_s: mean time in each state, in seconds.
    """

    rates_rps: tuple[float, ...]
    dwells_s: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rates_rps) < 2 or len(self.rates_rps) != len(self.dwells_s):
            raise ValueError("`states` must be two or more, each with a rate and a dwell")
        for dwell in self.dwells_s:
            require_positive("dwell", dwell)
        if min(self.rates_rps) < 0 or max(self.rates_rps) <= 0:
            raise ValueError("rates must be >= 0, and some of them above 0")

    @property
    def mean_rate_rps(self) -> float:
        """The states' rates, weighted with their share of the time."""
        return float(np.dot(self.rates_rps, self.dwells_s) / sum(self.dwells_s))

    @property
    def least_window_s(self) -> float:
        """As long as ten visits to every state take."""
        return 10 * sum(self.dwells_s)

    def at_rate(self, rate_rps: float) -> "MarkovModulated":
        """Return the same states with all rates changed by the same factor."""
        require_positive("rate", rate_rps)
        factor = rate_rps / self.mean_rate_rps
        return replace(self, rates_rps=tuple(rate * factor for rate in self.rates_rps))

    def blocks(self, rng: np.random.Generator) -> Iterator[Times]:
        """Yield the arrivals of a process of rate 1, moved by the inverse of the states' cumulative rate."""
        hidden, visible = rng.spawn(2)
        times, cumulated = np.zeros(1), np.zeros(1)
        visits = self._visits(hidden)
        for sums in unit_arrivals(visible, MMPP_BLOCK):
            new_times, new_cumulated, time, reached = [times], [cumulated], times[-1], cumulated[-1]
            while reached <= sums[-1]:
                states, stays = next(visits)
                new_times.append(time + np.cumsum(stays))
                new_cumulated.append(reached + np.cumsum(np.array(self.rates_rps)[states] * stays))
                time, reached = new_times[-1][-1], new_cumulated[-1][-1]
            times, cumulated = np.concatenate(new_times), np.concatenate(new_cumulated)
            yield np.interp(sums, cumulated, times)
            done = max(0, int(np.searchsorted(cumulated, sums[-1], side="right")) - 1)
            times, cumulated = times[done:], cumulated[done:]

    def _visits(self, rng: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield states and the time in each, without end, in blocks."""
        count, dwells = len(self.dwells_s), np.array(self.dwells_s)
        state = int(rng.choice(count, p=dwells / dwells.sum()))
        while True:
            jumps = rng.integers(1, count, _DWELLS)
            states = (state + np.concatenate([[0], np.cumsum(jumps)])) % count
            state = int(states[-1])
            yield states[:-1], rng.exponential(dwells[states[:-1]])


def unit_arrivals(rng: np.random.Generator, block: int = BLOCK) -> Iterator[Times]:
    """Yield the arrivals of a Poisson process of rate 1, in blocks."""
    end = 0.0
    while True:
        sums = end + np.cumsum(rng.exponential(1.0, block))
        end = float(sums[-1])
        yield sums
