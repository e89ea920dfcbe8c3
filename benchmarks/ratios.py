"""Ratios from interleaved rounds: the noise of a shared machine lasts for seconds, so it meets both sides alike."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MIN_PAIRS = 8


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs.

    Attributes:
        median: of the pairs' ratios.
        mean: geometric mean.
        low, high: 95% interval of the geometric mean, exp(mean +- t * s / sqrt(n)) over the pairs' log ratios, which
            are taken as independent.
        pairs: how many.
    """

    median: float
    mean: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.pairs} pairs)"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return the ratio of paired positive values."""
    logs = np.log(np.asarray(ours, float) / np.asarray(theirs, float))
    n = len(logs)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(logs, ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    mean = float(np.mean(logs))
    return Ratio(math.exp(float(np.median(logs))), math.exp(mean), math.exp(mean - half), math.exp(mean + half), n)


def tight(found: Ratio, tolerance: float = 0.03) -> bool:
    """Whether the interval lies within +-tolerance of the mean."""
    return found.high / found.mean - 1 <= tolerance and 1 - found.low / found.mean <= tolerance


def at_least(found: Ratio, bar: float) -> bool:
    """Whether a bar from below is met: the interval's upper end reaches it and the median is within 3% of it."""
    return found.high >= bar and found.median >= 0.97 * bar


def at_most(found: Ratio, bar: float) -> bool:
    """Whether a bar from above is met, in the same way."""
    return found.low <= bar and found.median <= 1.03 * bar


def in_turn(
    sides: Sequence[Callable[[], None]], enough: Callable[[], bool], seconds: float, rounds: int | None = None
) -> None:
    """Run the sides in ABBA order until there is enough, the time is over, or the rounds are done.

    Args:
        sides: each runs one round and keeps what it measured.
        enough: asked after each turn.
        seconds: time at most.
        rounds: turns at most.
    """
    end = time.monotonic() + seconds
    turn = 0
    while (rounds is None or turn < rounds) and not (turn >= MIN_PAIRS and (enough() or time.monotonic() > end)):
        for side in sides if turn % 2 == 0 else reversed(sides):
            side()
        turn += 1
