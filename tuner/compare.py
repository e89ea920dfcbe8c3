"""Compare two configurations or two runs: ratios with intervals, and a verdict on each. Pure.

Rounds of both sides in turn, both deployed anew several times, tell most (`ratios_of_pairs`): what drifts on the
machine meets both sides alike. Two runs made at different times are compared by their own intervals
(`ratios_of_runs`), which know nothing of what the machine did between them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner import stats
from tuner.catalog import LABELLED, METRICS, USED, key_of
from tuner.metrics import estimate
from tuner.results import Estimate, Ratio, Verdict

Directions = Mapping[str, bool]
"""Metric -> whether more of it is better."""
COMPARED: Directions = {
    name: metric.better == "more"
    for name, metric in METRICS.items()
    if metric.better in ("more", "less") and name not in LABELLED
}
"""Accuracies are compared item by item, see `accuracy_drop`, not as ratios. Of what may be asked for in either way only
the study says which is better."""
NONE: Directions = {}
SAME = 0.05
"""Two numbers that certainly differ by less than this share are called no different."""

Metrics = Mapping[str, Estimate]


def ratios_of_pairs(
    pairs: Sequence[tuple[Metrics, Metrics]], same: float = SAME, own: Directions = NONE
) -> dict[str, Ratio]:
    """Compare two sides from rounds in turn.

    Args:
        pairs: for each redeployment the metrics of ours and of theirs.
        same: see `verdict`.
        own: further metrics: those that only this kind of server has, and those that the study says the direction of.

    Returns:
        Metric key -> ours / theirs, by `stats.ratio_of_clusters` over the pairs. A metric that is infinite, 0
        or missing somewhere has none.
    """
    found = {}
    for name, more_is_better in {**COMPARED, **own}.items():
        key = key_of(name)
        ratios = [_log_ratio(ours.get(key), theirs.get(key)) for ours, theirs in pairs]
        if np.all(np.isfinite(ratios)):
            found[key] = _ratio(stats.ratio_of_clusters(ratios), more_is_better, same)
    return found


def ratios_of_runs(ours: Metrics, theirs: Metrics, same: float = SAME) -> dict[str, Ratio]:
    """Compare two runs that were made at different times, by `stats.ratio` of their intervals.

    Args:
        ours: metric key -> estimate of the one run.
        theirs: of the other.
        same: see `verdict`.

    Returns:
        Metric key -> ours / theirs. A metric that is infinite, 0 or missing on a side has none, and neither has what
        the server used: from one run to another it varies by more than its interval says.
    """
    found = {}
    for name, more_is_better in COMPARED.items():
        key = key_of(name)
        if name not in USED and key in ours and key in theirs:
            interval = stats.ratio(_interval(ours[key]), _interval(theirs[key]))
            if math.isfinite(interval.value):
                found[key] = _ratio(interval, more_is_better, same)
    return found


@dataclass(frozen=True)
class Standing:
    """Who may be the best of several.

    Attributes:
        order: their indices, best first, without those that are certainly worse than the first.
        certain: nothing is left to find out: one is left, or the others are no different from the first.
    """

    order: tuple[int, ...]
    certain: bool


def standing(
    measured: Sequence[Sequence[Metrics]], metric: str, same: float = SAME, own: Directions = NONE
) -> Standing:
    """Rank several sides that were measured in turn.

    Args:
        measured: for each side, for each redeployment, its metrics; all have as many redeployments.
        metric: by name, one of COMPARED or of `own`.
        same: see `verdict`.
        own: further metrics, see `ratios_of_pairs`.
    """
    key, sign = key_of(metric), -1 if {**COMPARED, **own}[metric] else 1
    values = [sign * float(np.mean([one[key].value for one in side])) for side in measured]
    order = sorted(range(len(measured)), key=lambda index: values[index])
    first, rest = order[0], order[1:]
    against = {}
    for index in rest:
        ratio = ratios_of_pairs(list(zip(measured[first], measured[index], strict=True)), same, own).get(key)
        against[index] = ratio.verdict if ratio else "inconclusive"
    kept = [index for index in rest if against[index] != "better"]
    return Standing((first, *kept), all(against[index] == "no difference" for index in kept))


def verdict(low: float, high: float, *, more_is_better: bool, same: float = SAME) -> Verdict:
    """Return what the interval of a ratio says: an effect counts when the interval leaves no doubt about its direction.

    Args:
        low: its lower bound.
        high: its upper bound.
        more_is_better: as with throughput; False: as with a latency.
        same: an interval within [1 / (1 + same), 1 + same] that holds 1 is no difference; a wider one is inconclusive.
    """
    if low > 1:
        return "better" if more_is_better else "worse"
    if high < 1:
        return "worse" if more_is_better else "better"
    return "no difference" if 1 / (1 + same) <= low and high <= 1 + same else "inconclusive"


def _ratio(interval: stats.Interval, more_is_better: bool, same: float) -> Ratio:
    made = estimate(interval)
    judged = verdict(made.low, made.high, more_is_better=more_is_better, same=same)
    return Ratio(**made.model_dump(), verdict=judged)


def _interval(one: Estimate) -> stats.Interval:
    return stats.Interval(one.value, one.low, one.high, one.n, one.note)


def _log_ratio(ours: Estimate | None, theirs: Estimate | None) -> float:
    values = [one.value if one else math.nan for one in (ours, theirs)]
    return math.log(values[0] / values[1]) if all(0 < value < math.inf for value in values) else math.nan
