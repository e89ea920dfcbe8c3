"""Numbers and configurations as people read them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from tuner.catalog import AT_LEAST, METRICS
from tuner.results import LEVEL_NAMES, Ending, Estimate, KnobInfo, Load, Result, SloVerdict, Value
from tuner.run_info import MetricInfo, StudyInfo
from tuner.units import format_rate, format_value

Shown: TypeAlias = Callable[[float], str]
"""How a kind of number is written."""

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


def per_second(rate: float) -> str:
    """Return 11,776/s or 2.41/s."""
    return format_rate(rate)


def percent(fraction: float, digits: int = 2) -> str:
    """Return 98.50%."""
    return f"{fraction * 100:.{digits}f}%" if math.isfinite(fraction) else "?"


def joules(energy: float) -> str:
    """Return 4.21 mJ or 1.20 J; ∞ where nothing was answered or it was not told."""
    if not math.isfinite(energy):
        return "∞"
    return f"{energy:,.2f} J" if energy >= 1 else f"{energy * 1e3:,.3g} mJ"


def mebibytes(size: float) -> str:
    """Return 512.0 MiB."""
    return f"{size / 2**20:,.1f} MiB" if math.isfinite(size) else "∞"


def dollars(amount: float) -> str:
    """Return $1,204.50 or $0.0417; ∞ where nothing was answered."""
    if not math.isfinite(amount):
        return "∞"
    digits = 2 if amount == 0 or amount >= 1 else 2 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"


_UNITS: Mapping[str, Shown] = {
    "s": milliseconds,
    "/s": per_second,
    "share": percent,
    "tokens": lambda value: f"{value:,.1f} tokens",
    "bytes": mebibytes,
    "J": joules,
    "cores": lambda value: f"{value:,.2f} cores" if math.isfinite(value) else "∞",
}


def metric_value(name: str, value: float, own: Sequence[MetricInfo] = ()) -> str:
    """Return a metric's value, or a bound on it, in its unit.

    Args:
        name: of the metric.
        value: in the unit's base: seconds, per second, bytes, a share of 1.
        own: the metrics that only this kind of server has.
    """
    known = METRICS.get(name) or next((one for one in own if one.name == name), None)
    shown = _UNITS.get(known.unit if known else "")
    return shown(value) if shown else f"{value:,.4g}"


def metric_interval(name: str, estimate: Estimate, own: Sequence[MetricInfo] = ()) -> str:
    """Return a metric's interval in its unit: [4.93 ms, ∞]; "" for a number that has none."""
    if estimate.low == estimate.value == estimate.high:
        return ""
    low = metric_value(name, estimate.low, own) if math.isfinite(estimate.low) else "-∞"
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


def slo(study: StudyInfo, own: Sequence[MetricInfo] = ()) -> str:
    """Return every bound: those that all workloads have once, those of one workload or class with its name."""
    found: dict[str, str] = {}
    for workload in study.workloads:
        for name, bound in study.bounds_of(workload).items():
            shared = study.slo.get(name) == bound
            found[name if shared else f"{workload}.{name}"] = metric_value(name, bound, own)
    return ", ".join(f"{name} {_relation(name)} {value}" for name, value in found.items())


def _relation(name: str) -> str:
    return ">=" if name.rpartition(".")[2] in AT_LEAST else "<="


def gain(estimate: Estimate | None) -> str:
    """Return `1.77x  95% interval [1.71, 1.83]`, or why there is none."""
    if estimate is None:
        return "none claimed"
    return f"{estimate.value:.2f}x, 95% interval {interval(estimate)}"


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
    return ", ".join(f"{knob.name} {format_value(values[knob.name], knob.unit)}" for knob in known)


def load(one: Load) -> str:
    """Return `16 in flight`, `500/s offered` or `50 users`."""
    match one.mode:
        case "closed":
            return f"{one.level:g} in flight"
        case "users":
            return f"{one.level:g} users"
    return f"{one.level:,.4g}/s offered"


def duration(seconds: float) -> str:
    """Return `3 min 24 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
