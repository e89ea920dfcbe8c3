"""Judge the SLOs of a side by what its deployments say, as surely as a look has to be. Pure.

The requests of a deployment share its luck, so that all requests together know less than their number says. A bound is
met, or missed, for certain only where two intervals say so: that of all requests together (`stats`), which knows how
requests hang together in time, and one over the figures of the deployments, which knows how far these lie apart. The
second alone would be sure of a share that no deployment has seen an event of.

One bound is enough to fail a gate and all have to be met for it to pass, so `missed` is given the error of a rule that
fails, `met` that of one that passes, see `deciding`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from targets.base import Outcome
from tuner import stats
from tuner.catalog import BOUNDED, THROUGHPUT_BOUND
from tuner.gate.deciding import Look
from tuner.records import Records, pooled
from tuner.results import SloVerdict
from tuner.stats import Interval
from tuner.stopping import JUDGED
from tuner.timings import judged_by, values_s
from tuner.verdicts import verdict_on

LEAST_DEPLOYMENTS = 2


@dataclass(frozen=True)
class Evidence:
    """What is known of the figure that a bound is about.

    Attributes:
        together: confidence -> two-sided interval of everything that was measured, taken as one series.
        apart: error -> bounds of the mean over deployments, each wrong with that; None: it is no figure of deployments.
    """

    together: Callable[[float], Interval]
    apart: Callable[[float], tuple[float, float]] | None = None

    def bounds(self, error: float) -> tuple[float, float]:
        """Return a lower and an upper bound, each wrong with probability `error` at most; infinite: not known."""
        one = self.together(1 - 2 * error)
        if self.apart is None:
            return one.low, one.high
        low, high = self.apart(error)
        return min(one.low, low), max(one.high, high)


def of_deployments(each: Sequence[float], error: float) -> tuple[float, float]:
    """Bound the mean of a figure over deployments: mean -+ t * s / sqrt(n), t of Student's with n - 1 degrees.

    Assumes that deployments are independent. Of fewer than LEAST_DEPLOYMENTS, and of a figure that is infinite or
    unknown in some of them, nothing is known; one that is infinite in all of them is infinite.

    Args:
        each: shape [n].
        error: of each bound.
    """
    if len(each) < LEAST_DEPLOYMENTS or any(math.isnan(value) for value in each):
        return -math.inf, math.inf
    if all(math.isinf(value) for value in each):
        return math.inf, math.inf
    if any(math.isinf(value) for value in each):
        return -math.inf, math.inf
    mean, n = float(np.mean(each)), len(each)
    half = float(scipy.special.stdtrit(n - 1, 1 - error)) * float(np.std(each, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def shares_of_deployments(each: Sequence[tuple[int, int]], error: float) -> tuple[float, float]:
    """Bound the mean of a share over deployments.

    From below as `of_deployments`. Small shares are skewed: one deployment has many slow requests, most have few, so
    that a symmetric upper bound is too low. So the upper one is the higher of that and of Student's t on the scale of
    log odds, where the spread of small shares is more even: logit(mean) + t * s / sqrt(n), s of the log odds of the
    deployments, half an event added to either side of each (Haldane, The estimation and significance of the logarithm
    of a ratio of frequencies, Annals of Human Genetics 20, 1956).

    Args:
        each: (events, requests) of each deployment.
        error: of each bound.
    """
    shares = [events / requests if requests else math.nan for events, requests in each]
    low, high = of_deployments(shares, error)
    if not math.isfinite(high):
        return low, high
    n, odds = len(each), [math.log((events + 0.5) / (requests - events + 0.5)) for events, requests in each]
    half = float(scipy.special.stdtrit(n - 1, 1 - error)) * float(np.std(odds, ddof=1)) / math.sqrt(n)
    added = 0.5 / max(requests for _, requests in each)
    mean = float(np.mean(shares))
    centre = math.log((mean + added) / (1 - mean + added))
    return low, max(high, float(scipy.special.expit(centre + half)))


def of_requests(deployments: Sequence[Records], bounds: Mapping[str, float]) -> dict[str, Evidence]:
    """Return SLO -> evidence, of those that records can tell of: percentiles by the share of values over the bound.

    Args:
        deployments: the records of each.
        bounds: SLO -> bound.
    """
    judged = {name: bound for name, bound in bounds.items() if name in JUDGED}
    whole, found = pooled(list(deployments)), {}
    series = {timing: stats.Ordered.of(values_s(timing, whole)) for timing in judged_by(judged)}
    for name, bound in judged.items():
        if name not in BOUNDED:
            found[name] = (_of_throughput if name == THROUGHPUT_BOUND else _of_errors)(deployments, whole)
            continue
        timing = BOUNDED[name].timing
        each = [values_s(timing, one) for one in deployments]
        if BOUNDED[name].allowed is None:
            found[name] = of_means(series[timing], [_mean(values) for values in each])
        else:
            found[name] = of_shares(series[timing], bound, [_counted(values > bound) for values in each])
    return found


def of_shares(series: stats.Ordered, bound: float, each: Sequence[tuple[int, int]]) -> Evidence:
    """Return the evidence on the share of values over a bound.

    Args:
        series: the values of all deployments.
        bound: that they are held against.
        each: (values over the bound, values) of each deployment.
    """
    return Evidence(
        lambda confidence: stats.share(series, bound, confidence), lambda error: shares_of_deployments(each, error)
    )


def of_means(series: stats.Ordered, each: Sequence[float]) -> Evidence:
    """Return the evidence on a mean: of all values, and of each deployment."""
    if len(each) >= LEAST_DEPLOYMENTS and all(math.isinf(value) for value in each):
        lost = Interval(math.inf, math.inf, math.inf, len(series.values), "requests failed in every deployment")
        return known(lost, each)
    return Evidence(
        lambda confidence: stats.mean(series.values, confidence, series.effective),
        lambda error: of_deployments(each, error),
    )


def known(told: Interval, each: Sequence[float] | None = None) -> Evidence:
    """Return the evidence on what is told with an interval of its own, or is exact."""
    return Evidence(lambda _: told, None if each is None else lambda error: of_deployments(each, error))


def _of_errors(deployments: Sequence[Records], whole: Records) -> Evidence:
    failed = whole.in_window()["outcome"] != Outcome.OK
    each = [_counted(one.in_window(ordered=False)["outcome"] != Outcome.OK) for one in deployments]
    return Evidence(
        lambda confidence: stats.event_rate(failed, confidence), lambda error: shares_of_deployments(each, error)
    )


def _of_throughput(deployments: Sequence[Records], whole: Records) -> Evidence:
    each = [stats.rate(one.completed_ns(), one.windows_ns).value for one in deployments]
    completed = whole.completed_ns()
    return Evidence(
        lambda confidence: stats.rate(completed, whole.windows_ns, confidence),
        lambda error: of_deployments(each, error),
    )


def _counted(events: NDArray[np.bool_]) -> tuple[int, int]:
    return int(np.count_nonzero(events)), len(events)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def judged(name: str, bound: float, evidence: Evidence, look: Look) -> SloVerdict:
    """Return the verdict on a bound.

    Args:
        name: of the SLO.
        bound: as the study has it.
        evidence: on the figure; of a percentile on the share over its bound.
        look: how sure to be.
    """
    share = BOUNDED[name].allowed if name in BOUNDED else None
    allowed = bound if share is None else share
    return verdict_on(name, evidence.bounds(look.failing), evidence.bounds(look.passing), allowed)
