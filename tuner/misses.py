"""What missed an SLO when it was measured again, and at which loads. Pure."""

from collections.abc import Mapping, Sequence

from tuner.metrics import violations
from tuner.results import Load, Side

Bounds = Mapping[str, Mapping[str, float]]
"""Workload, or class of a mix -> SLO -> bound."""


def over(side: Side, bounds: Bounds) -> dict[str, dict[str, float]]:
    """Return workload, or class, -> SLO -> the share of its bound by which a value is over it, where one is."""
    found = {name: violations(metrics, bounds[name]) for name, metrics in side.metrics.items()}
    return {name: {slo: share for slo, share in by_slo.items() if share > 0} for name, by_slo in found.items()}


def missed_loads(
    side: Side, loads: Mapping[str, Load], together: Sequence[Sequence[str]], bounds: Bounds
) -> list[dict[str, Load]]:
    """Return the loads at which an SLO was missed, or a value was over its bound without that being certain.

    A workload misses its SLO at its own load, whatever the loads of those are that were measured before or after it.
    Workloads that share a window miss it together, at the loads of all of them.

    Args:
        side: what was measured again.
        loads: workload and class -> its load then. Where that of a workload is not known, all that are stand for it.
        together: names of the workloads, with their classes, that share a window.
        bounds: of each.

    Returns:
        For each window in which something was missed: workload and class -> load.
    """
    beyond, found = over(side, bounds), []
    for names in together:
        measured = [name for name in names if name in side.metrics]
        if any(beyond[name] or "missed" in side.verdicts.get(name, {}).values() for name in measured):
            found.append({name: loads[name] for name in names if name in loads} or dict(loads))
    return found


def is_missed_at(loads: Mapping[str, Load], missed: Sequence[Mapping[str, Load]]) -> bool:
    """Whether a configuration under some loads is one that missed an SLO, as `missed_loads` returns them."""
    return any(one.items() <= loads.items() for one in missed)
