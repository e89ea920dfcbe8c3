"""Steady state: where the transient of a load ends, and whether what follows has settled. Pure functions."""

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from tuner.autocorrelation import autocorrelation_time, degrees_of_freedom, finite
from tuner.results import Steadiness

MSER_BATCH = 5
LEAST_BATCHES = 20
DRIFT = 0.10
"""A drift of the mean latency by less than this share is left alone, however certain it is."""
CERTAINTY = 0.99
UNSERVED = 0.02
"""Share of the arrivals by which the backlog has to grow for an overload."""
LEAST_BACKLOG = 10


def transient(values: NDArray[np.float64]) -> int | None:
    """Return how many values at the start of a series belong to its transient, None if it has not ended.

    MSER-5: of the means of batches of 5 values the first d are cut off that minimise sum (x_i - mean)^2 / (k - d)^2
    over the other k - d. Source: White, Cobb and Spratt, A comparison of five steady-state truncation heuristics for
    simulation, Winter Simulation Conference 2000. A minimum in the second half says that the series is too short for
    its transient; so are fewer than LEAST_BATCHES batches.

    Args:
        values: the series in order, shape [n]; those above the p99 count as the p99, so that a spike is no transient.
    """
    batches = len(values) // MSER_BATCH
    if batches < LEAST_BATCHES:
        return None
    means = _limited(values)[: batches * MSER_BATCH].reshape(batches, MSER_BATCH).mean(axis=1)
    means -= means.mean()
    kept = np.arange(batches, 0, -1)
    sums, squares = np.cumsum(means[::-1])[::-1], np.cumsum((means**2)[::-1])[::-1]
    score = (squares - sums**2 / kept) / kept.astype(float) ** 2
    cut = int(np.argmin(score[: batches - LEAST_BATCHES // 4]))
    return None if cut > batches // 2 else cut * MSER_BATCH


def drift(values: NDArray[np.float64]) -> float:
    """Return by which share the mean at the end of a series certainly differs from that at its start, else 0.

    Geweke's diagnostic: the mean of the first fifth against that of the last half, with the variance of each from the
    autocorrelations inside of it; two-sided at CERTAINTY, by Student's t with the degrees of freedom of the weaker
    variance. Source: Geweke, Evaluating the accuracy of sampling-based approaches to the calculation of posterior
    moments, Bayesian Statistics 4, 1992, section 3.2; the first fifth stands for his first tenth. Values above the p99
    count as the p99, so that a few failures are no drift.

    Args:
        values: the series in order, shape [n], positive; infinite ones are allowed.
    """
    n = len(values)
    if n < 10 * LEAST_BATCHES:
        return 0.0
    limited = _limited(values)
    first, last = limited[: n // 5], limited[n // 2 :]
    worth = [len(part) / autocorrelation_time(part) for part in (first, last)]
    variance = sum(float(np.var(part)) / one for part, one in zip((first, last), worth, strict=True))
    difference = float(last.mean() - first.mean())
    t = float(scipy.special.stdtrit(max(2.0, degrees_of_freedom(min(worth))), (1 + CERTAINTY) / 2))
    return difference / float(first.mean()) if abs(difference) > t * math.sqrt(variance) else 0.0


def _limited(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a series whose largest values, infinite ones among them, are limited to its p99."""
    known = finite(values)
    return np.minimum(known, np.quantile(known, 0.99))


def judge(
    intended_ns: NDArray[np.int64], done_ns: NDArray[np.int64], latencies_s: NDArray[np.float64], *, open_loop: bool
) -> Steadiness:
    """Say whether a window shows a steady state.

    overloaded: an open loop whose latency certainly rises while the backlog grows by more than UNSERVED of the
    arrivals: it would grow for as long as the load lasts. unstable: the mean latency certainly drifts by more than
    DRIFT. What is not certain counts as steady, so a short window says little.

    Args:
        intended_ns: of the requests of one window, in order, shape [n].
        done_ns: when they ended, shape [n].
        latencies_s: infinite for those that failed, shape [n].
        open_loop: whether arrivals wait for nobody.
    """
    moved = drift(np.where(np.isfinite(latencies_s), latencies_s, (done_ns - intended_ns) / 1e9))
    if abs(moved) <= DRIFT:
        return Steadiness(state="steady")
    if open_loop and moved > 0:
        start, end = _backlog(intended_ns, done_ns)
        if end - start > max(LEAST_BACKLOG, UNSERVED * len(intended_ns)):
            waiting = f"{start} requests were unanswered at the start of the window, {end} at its end"
            return Steadiness(
                state="overloaded", reason=f"the queue grows: {waiting}, and the latency rose by {moved:.0%}"
            )
    word = "rose" if moved > 0 else "fell"
    return Steadiness(
        state="unstable", reason=f"the mean latency {word} by {abs(moved):.0%} from the start of the window to its end"
    )


def _backlog(intended_ns: NDArray[np.int64], done_ns: NDArray[np.int64]) -> tuple[int, int]:
    """Return how many of the requests were unanswered after the first tenth of the window and at its end."""
    at_start, at_end = int(np.quantile(intended_ns, 0.1)), int(intended_ns.max())
    return _unanswered(intended_ns, done_ns, at_start), _unanswered(intended_ns, done_ns, at_end)


def _unanswered(intended_ns: NDArray[np.int64], done_ns: NDArray[np.int64], at_ns: int) -> int:
    return int(np.count_nonzero((intended_ns <= at_ns) & (done_ns > at_ns)))
