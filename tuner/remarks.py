"""What a reader should know of a confirmation, in words. Pure."""

from collections.abc import Mapping, Sequence

from tuner import confirm
from tuner.catalog import BOUNDED, METRICS, key_of, metric_of
from tuner.results import Confirmation, Estimate, Side
from tuner.units import format_measured, format_share

APART = "both could not be measured side by side, so they were measured one after the other"
OWN_MISSED_AGAIN = (
    "your own configuration missed an SLO when it was measured again; the gain is against it all the same"
)


def remark(made: Confirmation, *, apart: bool = False) -> str | None:
    """Say what a reader of the gain should know of the confirmation.

    Args:
        made: the confirmation.
        apart: both could not be measured side by side.
    """
    said = [one for one in (_decided(made), APART if apart else None) if one is not None]
    return "; ".join(said) or None


def _decided(made: Confirmation) -> str | None:
    if made.verdict != "met":
        return undecided(made.candidate)
    return OWN_MISSED_AGAIN if confirm.overall(made.baseline) == "missed" else None


def undecided(one: Side) -> str:
    """Say which SLOs of a side could not be decided on, what was measured of them, and what decides them.

    Where a measurement is not valid, its reason says what to do: more of the same would not help.
    """
    places = [
        f"{workload}.{slo}{_measured(one.metrics[workload], slo)}"
        for workload, by_slo in one.verdicts.items()
        for slo, verdict in by_slo.items()
        if verdict == "undecided"
    ]
    said = [f"the confirmation could not decide on {_listed(places)}"] if places else []
    if one.valid:
        said.append("a longer `search.budget.time` or a wider bound can")
    else:
        said.append(f"what the confirmation measured does not count: {one.reasons[0]}")
    return "; ".join(said)


def _listed(places: Sequence[str]) -> str:
    return " and ".join((", ".join(places[:-1]), places[-1])) if len(places) > 1 else places[0]


def _measured(metrics: Mapping[str, Estimate], slo: str) -> str:
    share = BOUNDED[slo].allowed if slo in BOUNDED else None
    found = metrics.get(key_of(slo) if share is None else METRICS[f"over_{slo}"].key)
    if found is None:
        return ""
    if share is not None:
        return f" ({format_share(found.value)} of the requests were over the bound, {format_share(share, 0)} may be)"
    unit = METRICS[metric_of(slo)].unit if metric_of(slo) in METRICS else ""
    return f" ({format_measured(found.value, unit)} measured)"
