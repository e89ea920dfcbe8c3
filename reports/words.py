"""Numbers and configurations as people read them."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

from tuner.catalog import AT_LEAST, BOUNDED, METRICS, metric_of, on_metric
from tuner.load_words import load_in_words, loads_in_words
from tuner.results import LEVEL_NAMES, Ending, Estimate, KnobInfo, Load, Ratio, Result, SloVerdict, Value
from tuner.run_info import Agent, MetricInfo, StudyInfo
from tuner.units import (
    Shown,
    format_energy,
    format_measured,
    format_rate,
    format_setting,
    format_share,
    format_size,
)

ENDINGS: Mapping[Ending, str] = {
    "certain": "ended when everything asked was certain",
    "missed": "ended when a missed SLO was certain",
    "dominated": "ended when it was certain that the front is better",
    "cap": "the longest that the study allows",
}
"""Why a window ended."""


def milliseconds(seconds: float) -> str:
    """Return 4.21 ms from seconds; ∞ where requests failed."""
    return f"{seconds * 1e3:,.2f} ms" if math.isfinite(seconds) else "∞"


def load_from(agents: Sequence[Sequence[Agent]]) -> str:
    """Return how many agents made the load of some measurements, and how well their starts agree; "" where none did.

    Args:
        agents: of each measurement.
    """
    starts = [one.start_skew_s for some in agents for one in some]
    if not starts:
        return ""
    fewest, most = (find(len(some) for some in agents if some) for find in (min, max))
    many = f"{most} agents" if most > 1 else "1 agent"
    made = many if fewest == most else f"{fewest} to {many}"
    return f"{made}, starts at most {milliseconds(max(starts))} off the agreed moment"


def per_second(rate: float) -> str:
    """Return 11,776/s or 2.41/s."""
    return format_rate(rate)


def percent(fraction: float, digits: int = 2) -> str:
    """Return 98.50%; ∞ for a share without end."""
    return format_share(fraction, digits)


def joules(energy: float) -> str:
    """Return 4.21 mJ or 1.20 J; ∞ where nothing was answered or it was not told."""
    return format_energy(energy)


def mebibytes(size: float) -> str:
    """Return 512.0 MiB."""
    return format_size(size)


def dollars(amount: float) -> str:
    """Return $1,204.50 or $0.0417; ∞ where nothing was answered."""
    if not math.isfinite(amount):
        return "∞"
    digits = 2 if amount == 0 or amount >= 1 else 2 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"


def metric_value(name: str, value: float, own: Sequence[MetricInfo] = ()) -> str:
    """Return a metric's value, or a bound on it, in its unit.

    Args:
        name: of the metric, or of the bound.
        value: in the unit's base: seconds, per second, bytes, a share of 1.
        own: the metrics that only this kind of server has.
    """
    return metric_shown(name, own)(value)


def metric_shown(name: str, own: Sequence[MetricInfo] = ()) -> Shown:
    """Return what writes the values of a metric, as `metric_value` does."""
    unit = _unit(name, own)
    return milliseconds if unit == "s" else partial(format_measured, unit=unit)


def _unit(name: str, own: Sequence[MetricInfo]) -> str:
    known = METRICS.get(metric_of(name)) or next((one for one in own if one.name == name), None)
    return known.unit if known else ""


def metric_interval(name: str, estimate: Estimate, own: Sequence[MetricInfo] = ()) -> str:
    """Return a metric's interval in its unit: [4.93 ms, ∞]; "" for a number that has none.

    Where its lower end is not known it is 0 for a time or a rate, which are never below that.
    """
    if estimate.low == estimate.value == estimate.high:
        return ""
    least = 0.0 if _unit(name, own) in ("s", "/s") else -math.inf
    lowest = max(estimate.low, least)
    low = metric_value(name, lowest, own) if math.isfinite(lowest) else "-∞"
    high = metric_value(name, estimate.high, own) if math.isfinite(estimate.high) else "∞"
    return f"[{low}, {high}]"


def gain_of(objective: str) -> str:
    """Return a metric's key as people say it: throughput_rps -> throughput, latency_p99_s -> latency p99."""
    for unit in ("_rps", "_tps", "_s", "_joules", "_bytes"):
        objective = objective.removesuffix(unit)
    return objective.replace("_", " ")


def interval(estimate: Estimate, digits: int = 2) -> str:
    """Return the bounds of a ratio: [1.71, 1.83]."""
    high = f"{estimate.high:.{digits}f}" if math.isfinite(estimate.high) else "∞"
    return f"[{estimate.low:.{digits}f}, {high}]"


def verdicts(found: Mapping[str, SloVerdict]) -> str:
    """Return `met`, or what is not: `missed: p99; undecided: error_rate`."""
    kinds = {kind: [name for name, verdict in found.items() if verdict == kind] for kind in ("missed", "undecided")}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names) or "met"


def beyond(name: str, share: float, digits: int = 0) -> str:
    """Return by how much a bound is missed: `50%`, or `∞ (too many requests failed)`.

    Args:
        name: of the SLO, with its workload or without.
        share: of the bound that the value is beyond it; infinite where the value is.
        digits: behind the point.
    """
    why = " (too many requests failed)" if math.isinf(share) and name.rpartition(".")[2] in BOUNDED else ""
    return f"{percent(share, digits)}{why}"


def off(name: str, share: float) -> str:
    """Return a bound and by how much a value misses it, with the direction: `p99 +50%`, `throughput_at_least -20%`."""
    return f"{name} {'-' if _from_below(name) else '+'}{beyond(name, share)}"


def side(name: str) -> str:
    """Return on which side of its bound a value is that misses it: `over` or `below`."""
    return "below" if _from_below(name) else "over"


def slo(study: StudyInfo, own: Sequence[MetricInfo] = ()) -> str:
    """Return every bound: those that all workloads have once, those of one workload or class with its name."""
    found: dict[str, str] = {}
    for workload in study.workloads:
        for name, bound in study.bounds_of(workload).items():
            shared = study.slo.get(name) == bound
            found[name if shared else f"{workload}.{name}"] = metric_value(name, bound, own)
    return ", ".join(f"{on_metric(name)} {_relation(name)} {value}" for name, value in found.items())


def _relation(name: str) -> str:
    return ">=" if _from_below(name) else "<="


def _from_below(name: str) -> bool:
    return name.rpartition(".")[2] in AT_LEAST


def minimizes(study: StudyInfo) -> bool:
    """Whether the first objective, which a gain is of, is the better the lower it is."""
    return study.objectives[0].startswith("minimize")


def times(ratio: Ratio, *, lower: bool) -> tuple[str, str]:
    """Return how many times better the best is than yours, and the interval: (`1.77x`, `95% interval [1.71, 1.83]`).

    Args:
        ratio: the best's number divided by yours.
        lower: it is the better the lower it is: `1.85x lower` for a ratio of 0.54.
    """
    shown = ratio.turned() if lower else ratio
    return f"{shown.value:.2f}x{' lower' if lower else ''}", f"95% interval {interval(shown)}"


def gain(ratio: Ratio | None, *, lower: bool = False) -> str:
    """Return `1.77x, 95% interval [1.71, 1.83]`, or that there is none; see `times`."""
    return "none claimed" if ratio is None else ", ".join(times(ratio, lower=lower))


def no_best(result: Result) -> str:
    """Return why a run has no best configuration: its message, or how far it came where it had no time for one."""
    if result.message:
        return result.message
    if not any(trial.points for trial in result.trials):
        return "Nothing was measured yet"
    if result.state == "running":
        return "Nothing is recommended yet: the run is under way"
    return "Nothing that was measured meets the SLO"


def only_load(knobs: Sequence[KnobInfo]) -> bool:
    """Whether nothing of the server was searched, only its load."""
    return all(knob.name in LEVEL_NAMES.values() for knob in knobs)


def config(values: Mapping[str, Value], knobs: Sequence[KnobInfo]) -> str:
    """Return the searched knobs of a configuration in one line."""
    known = [knob for knob in knobs if knob.name in values]
    return ", ".join(f"{knob.name} {format_setting(values[knob.name], knob.unit)}" for knob in known)


def load(one: Load) -> str:
    """Return `16 in flight`, `500/s offered` or `50 users`."""
    return load_in_words(one)


def loads(first: Load, others: Mapping[str, Load]) -> str:
    """Return `16 in flight, web 500/s offered`: the load of the primary workload, then that of each other one."""
    return loads_in_words({"": first, **others})


def duration(seconds: float) -> str:
    """Return `24.3 s`, `3 min 24 s` or `5 h 3 min`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
