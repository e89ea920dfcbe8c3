"""How much a series says: its integrated autocorrelation time and the independent samples that it is worth. Pure."""

import math

import numpy as np
from numpy.typing import NDArray

WINDOW = 8.0
"""Autocorrelations are summed up to a lag of this many autocorrelation times: few enough to keep the noise of the far
ones out, enough for the long tails of a busy queue."""
_MOST_BLOCKS = 1 << 14

Values = NDArray[np.float64] | NDArray[np.bool_]


def autocorrelation_time(values: Values) -> float:
    """Estimate the integrated autocorrelation time of a stationary series, in samples, at least 1.

    tau = 1 + 2 * sum of rho_k for k = 1..M, with the smallest M >= WINDOW * tau (Sokal, Monte Carlo Methods in
    Statistical Mechanics, 1989, section 3). The mean of n samples has the variance of n / tau independent ones. Above
    2^14 samples the series is averaged in blocks first, and tau counts the correlation inside a block through the
    blocks' variance. Its relative standard error is about sqrt(4 * WINDOW * tau / n); in a series shorter than a few
    dozen tau it comes out too small. A constant series, or fewer than 2 values, has 1.

    Args:
        values: the series in order, shape [n]; finite.
    """
    n = len(values)
    if n < 2 or np.all(values == values[0]):  # rounding may give even a constant series a variance
        return 1.0
    variance = float(np.var(values))
    if variance <= 0.0:
        return 1.0
    size = -(-n // _MOST_BLOCKS)
    blocks = n // size
    means = values[: blocks * size].reshape(blocks, size).mean(axis=1)
    means -= means.mean()
    return max(1.0, size * float(np.mean(means**2)) / variance * _windowed_sum(means))


def effective_size(values: Values) -> float:
    """Return how many independent samples a stationary series is worth: n / `autocorrelation_time`."""
    return len(values) / autocorrelation_time(values)


def degrees_of_freedom(effective: float) -> float:
    """Return the degrees of freedom of a variance that rests on `autocorrelation_time`: 2 / (relative variance of it).

    Args:
        effective: n / tau.
    """
    return max(1.0, effective / (2 * WINDOW))


def finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a series whose infinite values (failed requests) are as large as the largest finite one."""
    good = np.isfinite(values)
    if good.all():
        return values
    return np.where(good, values, values[good].max(initial=0.0) or 1.0)


def _windowed_sum(centred: NDArray[np.float64]) -> float:
    """Return 1 + 2 * sum of the autocorrelations of a centred series over Sokal's window."""
    n = len(centred)
    spectrum = np.fft.rfft(centred, 1 << math.ceil(math.log2(2 * n)))
    products = np.fft.irfft(spectrum * np.conj(spectrum))[:n]
    if products[0] <= 0.0:
        return 1.0
    sums = 2 * np.cumsum(products / products[0]) - 1
    enough = np.flatnonzero(np.arange(n) >= WINDOW * sums)
    return max(0.0, float(sums[enough[0] if len(enough) else -1]))
