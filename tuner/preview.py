"""What a workload would send, in numbers: nothing is sent, no server is needed. Pure arithmetic on a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SHORT_S, MIDDLE_S, LONG_S = 0.01, 0.1, 1.0
PEAKS_S = (SHORT_S, MIDDLE_S, LONG_S)
"""Windows in which the highest rate is looked for."""


@dataclass(frozen=True)
class Preview:
    """A workload's traffic over a time.

    Attributes:
        workload: its name.
        arrival: the process in words.
        duration_s: of the schedule.
        offsets_s: float64 [n], when requests are due; none in a closed loop, whose answers decide that.
        requests: int64 [n], which request each of them is.
        sizes: what is measured of a request (`input tokens`, `bytes`) -> int64 [number of requests].
        notes: what else there is to know.
    """

    workload: str
    arrival: str
    duration_s: float
    offsets_s: NDArray[np.float64]
    requests: NDArray[np.int64]
    sizes: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mean_rate_rps(self) -> float:
        """Arrivals over the duration, per second."""
        return len(self.offsets_s) / self.duration_s

    @property
    def gaps_s(self) -> NDArray[np.float64]:
        """Times between an arrival and the next, float64 [n - 1]."""
        return np.diff(self.offsets_s)

    @property
    def cv(self) -> float:
        """Coefficient of variation of the gaps: their standard deviation over their mean; NaN below two gaps."""
        gaps = self.gaps_s
        return float(gaps.std() / gaps.mean()) if len(gaps) > 1 and gaps.mean() > 0 else float("nan")

    def peak_rate_rps(self, window_s: float) -> float:
        """Return the most arrivals in any window of a length, over that length, per second."""
        if not len(self.offsets_s):
            return 0.0
        ends = np.searchsorted(self.offsets_s, self.offsets_s + window_s * (1 - 1e-12), side="left")
        return float((ends - np.arange(len(self.offsets_s))).max() / window_s)

    def dispersion(self, window_s: float) -> float:
        """Return the index of dispersion of counts: variance over mean of the arrivals in windows side by side.

        1 for Poisson arrivals, 0 for even ones, more for bursts longer than the window. NaN below two windows.
        """
        windows = int(self.duration_s / window_s * (1 + 1e-12))
        counts = self._counts(window_s, windows)
        return float(counts.var() / counts.mean()) if windows >= 2 and counts.any() else float("nan")

    def _counts(self, window_s: float, windows: int) -> NDArray[np.int64]:
        """Return the arrivals in each of so many windows from the start on, in whole nanoseconds: edges are exact."""
        numbers = np.rint(self.offsets_s * 1e9).astype(np.int64) // max(1, round(window_s * 1e9))
        return np.bincount(numbers[numbers < windows], minlength=windows)

    @property
    def distinct(self) -> int:
        """How many different requests are sent."""
        return len(np.unique(self.requests))

    @property
    def repeated(self) -> float:
        """Share of the requests that were sent before in this schedule."""
        return 1 - self.distinct / len(self.requests) if len(self.requests) else 0.0

    def sent(self, size: str) -> NDArray[np.int64]:
        """Return a size of each request that is sent, in their order, int64 [n]."""
        return self.sizes[size][self.requests]

    def rates_rps(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the rate over time: the middles of the bins in seconds, and the rate in each, float64 [bins] both."""
        width_s = self.duration_s / bins
        return (np.arange(bins) + 0.5) * width_s, self._counts(width_s, bins) / width_s
