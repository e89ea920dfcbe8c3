"""Verdicts on SLOs: met, missed, or undecided. Pure."""

from collections.abc import Mapping

from tuner.catalog import AT_LEAST, BOUNDED, METRICS, key_of
from tuner.results import Estimate, SloVerdict, SteadyState

ROOM = 0.5


def slo_verdicts(metrics: Mapping[str, Estimate], bounds: Mapping[str, float]) -> dict[str, SloVerdict]:
    """Return SLO -> met (the whole interval within the bound), missed (all of it beyond), or undecided.

    A percentile is judged by the share of requests over its bound: "p99 <= 10 ms" is "at most 1% over 10 ms".
    A metric that was not measured (accuracy without labels) has no verdict.

    Args:
        metrics: metric key -> estimate.
        bounds: SLO -> bound.
    """
    verdicts: dict[str, SloVerdict] = {}
    for name, bound in bounds.items():
        share = BOUNDED[name].allowed if name in BOUNDED else None
        if share is not None:
            measured, allowed = metrics.get(METRICS[f"over_{name}"].key), share
        else:
            measured, allowed = metrics.get(key_of(name)), bound
        if measured is not None and name in AT_LEAST:
            verdicts[name] = verdict(-measured.high, -measured.low, -allowed)
        elif measured is not None:
            verdicts[name] = verdict(measured.low, measured.high, allowed)
    return verdicts


def has_room(metrics: Mapping[str, Estimate], bounds: Mapping[str, float]) -> bool:
    """Whether no percentile's bound is so near that a confirmation will hardly be certain of it.

    At most ROOM of the requests that may be over a bound are.

    Args:
        metrics: metric key -> estimate of one workload.
        bounds: SLO -> bound.
    """
    shares = {name: share for name in bounds if name in BOUNDED and (share := BOUNDED[name].allowed) is not None}
    over = {name: metrics.get(METRICS[f"over_{name}"].key) for name in shares}
    return all(one is None or one.value <= ROOM * shares[name] for name, one in over.items())


def verdict(low: float, high: float, allowed: float) -> SloVerdict:
    """Return what an interval [low, high] says of an upper bound."""
    if high <= allowed:
        return "met"
    return "missed" if low > allowed else "undecided"


def in_state(state: SteadyState, verdicts: Mapping[str, SloVerdict]) -> dict[str, SloVerdict]:
    """Return verdicts as the state of the load leaves them.

    An overload misses every bound on latency; what was met while the load had not settled is undecided.
    """
    changed: dict[str, SloVerdict] = dict(verdicts)
    for name in set(verdicts) & set(BOUNDED):
        if state == "overloaded":
            changed[name] = "missed"
        elif state == "unstable" and changed[name] == "met":
            changed[name] = "undecided"
    return changed
