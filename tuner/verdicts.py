"""Verdicts on SLOs: met, missed, or undecided. Pure."""

from collections.abc import Mapping

from tuner.catalog import AT_LEAST, BOUNDED, METRICS, THROUGHPUT_BOUND, key_of
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
        if measured is not None:
            whole = measured.low, measured.high
            verdicts[name] = verdict_on(name, whole, whole, allowed)
    return verdicts


def has_room(metrics: Mapping[str, Estimate], bounds: Mapping[str, float]) -> bool:
    """Whether no bound of a percentile or the throughput is so near that a confirmation will hardly be certain of it.

    At most ROOM of the requests that may be over a bound are. Of the throughput the whole interval keeps its bound.

    Args:
        metrics: metric key -> estimate of one workload.
        bounds: SLO -> bound.
    """
    shares = {name: share for name in bounds if name in BOUNDED and (share := BOUNDED[name].allowed) is not None}
    over = {name: metrics.get(METRICS[f"over_{name}"].key) for name in shares}
    least, measured = bounds.get(THROUGHPUT_BOUND, 0.0), metrics.get(key_of(THROUGHPUT_BOUND))
    if measured is not None and measured.low < least:
        return False
    return all(one is None or one.value <= ROOM * shares[name] for name, one in over.items())


def verdict_on(name: str, failing: tuple[float, float], passing: tuple[float, float], allowed: float) -> SloVerdict:
    """Return what intervals say of a bound, which is one from below or from above.

    Args:
        name: of the SLO.
        failing: (low, high) as sure as `missed` has to be.
        passing: as sure as `met` has to be.
        allowed: the bound; of a percentile the share that may be over it.
    """
    if name in AT_LEAST:
        return verdict(-failing[1], -passing[0], -allowed)
    return verdict(failing[0], passing[1], allowed)


def verdict(low: float, high: float, allowed: float) -> SloVerdict:
    """Return what an interval [low, high] says of an upper bound."""
    if high <= allowed:
        return "met"
    return "missed" if low > allowed else "undecided"


def in_state(state: SteadyState, verdicts: Mapping[str, SloVerdict]) -> dict[str, SloVerdict]:
    """Return verdicts as the state of the load leaves them.

    An overload misses every bound on latency; what was met while the load had not settled is undecided, the bound on
    the throughput included: it drifts with the latency. An overload shows the throughput that the server is able to.
    """
    changed: dict[str, SloVerdict] = dict(verdicts)
    for name in set(verdicts) & {*BOUNDED, THROUGHPUT_BOUND}:
        if state == "overloaded":
            changed[name] = "missed" if name in BOUNDED else changed[name]
        elif state == "unstable" and changed[name] == "met":
            changed[name] = "undecided"
    return changed
