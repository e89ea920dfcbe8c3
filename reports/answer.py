"""The answer of a run as the report puts it first: what to deploy, the gain, SLOs, costs, and how sure it is."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reports import words
from reports.points import together_with
from tuner.catalog import BOUNDED, METRICS, key_of
from tuner.results import Best, Confirmation, Estimate, Point, Result
from tuner.units import format_setting
from tuner.usage_metrics import usage_metrics

Found: TypeAlias = Mapping[str, Mapping[str, Estimate]]
"""Workload -> key of a metric -> estimate."""
Tone: TypeAlias = Literal["good", "bad", ""]

MILLION = 1e6
HOUR_S = 3600.0
OF_ANSWERS = ("accuracy", "prediction_error")
OF_USE = ("server_rss", "gpu_memory", "server_cpu", "energy_per_inference")


@dataclass(frozen=True)
class Said:
    """A sentence, and how it is coloured; the words say the same as the colour."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Cost:
    """What the answer costs in one respect.

    Attributes:
        name: of the respect, with the workload where it has one.
        yours: of your configuration, "" where it is not known.
        best: of the best.
        note: the change, with its interval where there is one.
    """

    name: str
    yours: str
    best: str
    note: str = ""


@dataclass(frozen=True)
class Change:
    """A knob, as you have it and as the best does."""

    knob: str
    yours: str
    best: str


def headline(result: Result) -> Said:
    """Return what to deploy, in a line."""
    best = result.best
    if best is None:
        return Said(words.no_best(result), "bad")
    if best.trial == 0:
        as_it_is = f"The server as it is meets the SLO at {words.loads(best.load, best.loads)}"
        return Said(as_it_is if words.only_load(result.knobs) else "Keep your configuration")
    if not best.confirmed:
        return Said(f"Trial {best.trial} did best in the search, and is not confirmed", "bad")
    if best.gain_vs_baseline:
        gain, interval = words.times(best.gain_vs_baseline, lower=words.minimizes(result.study))
        return Said(f"Deploy trial {best.trial}: {gain} {words.gain_of(best.objective)}, {interval}")
    yours_missed = not result.baseline and any(trial.number == 0 for trial in result.trials)
    missed = ": your own configuration meets the SLO at no load level" if yours_missed else ""
    return Said(f"Deploy trial {best.trial}{missed}")


def slos(result: Result) -> Said | None:
    """Return whether every SLO is met on every workload; None without a best."""
    if result.best is None:
        return None
    found = {
        f"{workload}.{name}": verdict
        for workload, verdicts in result.best.verdicts.items()
        for name, verdict in verdicts.items()
    }
    if not found:
        return Said("No SLO was judged", "bad")
    said = words.verdicts(found)
    if said != "met":
        return Said(f"SLO {said}", "bad")
    among = list(dict.fromkeys(name.partition(".")[0] for name, judged in result.best.verdicts.items() if judged))
    where = f"on all {len(among)} workloads" if len(among) > 1 else f"on the workload {among[0]}"
    return Said(f"Every SLO is met {where}", "good")


def surprises(result: Result) -> list[str]:
    """Return a sentence for each percentile that meets its bound while its interval reaches beyond it.

    Both are right: they are different estimates. The verdict is made by the share of requests over the bound, which is
    known sooner than the percentile itself.
    """
    best = result.best
    return [] if best is None else [
        said
        for workload, metrics in best.metrics.items()
        for name, bound in result.study.bounds_of(workload).items()
        if best.verdicts.get(workload, {}).get(name) == "met" and (said := _surprise(workload, name, bound, metrics))
    ]  # fmt: skip


def _surprise(workload: str, name: str, bound: float, metrics: Mapping[str, Estimate]) -> str:
    allowed = BOUNDED[name].allowed if name in BOUNDED else None
    estimate, over = metrics.get(key_of(name)), metrics.get(METRICS[f"over_{name}"].key) if allowed else None
    if allowed is None or estimate is None or over is None or estimate.high <= bound:
        return ""
    limit, reaches = (words.metric_value(name, value) for value in (bound, estimate.high))
    return (
        f"{workload}, {name}: met, although the interval of the {name} reaches {reaches}. The verdict is made by the "
        f"requests over the bound: {words.percent(allowed, 0)} may take longer than {limit}, and "
        f"{words.percent(over.value)} did, 95% interval {words.metric_interval('error_rate', over)}."
    )


def sureness(result: Result) -> Said | None:
    """Return what the answer rests on; None without a best."""
    best, made = result.best, confirmation(result)
    if best is None:
        return None
    if best.confirmed and made is not None:
        return Said(
            f"Confirmed against your configuration: {made.redeployments} redeployments of both, {made.rounds} rounds "
            "of each or more on every workload, in turn; every SLO met for certain.",
            "good",
        )
    if best.trial == 0:
        return Said(f"Measured in the search; {result.message or 'nothing else was better'}.")
    return Said(f"Not confirmed: {result.message or 'the run ended before it could be'}.", "bad")


def confirmation(result: Result) -> Confirmation | None:
    """Return the confirmation of the best, None where the last one was of another trial."""
    made, best = result.confirmation, result.best
    return made if made and best and best.trial in (made.candidate.trial, made.baseline.trial) else None


def changes(result: Result) -> list[Change]:
    """Return the knobs in which the best differs from your configuration."""
    yours = next((trial.config for trial in result.trials if trial.number == 0), None)
    if result.best is None or result.best.trial == 0 or yours is None:
        return []
    best = result.best.config
    return [
        Change(knob.name, format_setting(yours[knob.name], knob.unit), format_setting(best[knob.name], knob.unit))
        for knob in result.knobs
        if knob.name in yours and knob.name in best and yours[knob.name] != best[knob.name]
    ]


def costs(result: Result) -> list[Cost]:
    """Return what the best costs beside your configuration: accuracy, memory, CPU, energy, and dollars with a price."""
    best = result.best
    if best is None or not best.metrics:
        return []
    yours = _yours(result)
    used = _used(_point(result, best.trial, best.point)), _used(_baseline_point(result))
    return [
        *_answers(result, best.metrics, yours),
        *_use(result, best.metrics, yours, *used),
        *_dollars(result, best, yours),
    ]


def _yours(result: Result) -> Found:
    """Return what was measured of your configuration: in the confirmation, or in the search at its best load."""
    made = confirmation(result)
    if made is not None:
        return made.baseline.metrics
    point = _baseline_point(result)
    if point is None:
        return {}
    return {one.workload: one.metrics for one in together_with(result, result.trial(0), point)}


def _baseline_point(result: Result) -> Point | None:
    return None if result.baseline is None else _point(result, result.baseline.trial, result.baseline.point)


def _point(result: Result, trial: int, point: int) -> Point | None:
    found = next((one for one in result.trials if one.number == trial), None)
    return found.points[point] if found and point < len(found.points) else None


def _used(point: Point | None) -> Mapping[str, Estimate]:
    """Return the metrics of use of a point of the search: those of the confirmation may not have been asked for."""
    rate = point.metrics.get("throughput_rps") if point else None
    return {} if point is None or rate is None else usage_metrics(point.telemetry, rate)


def _answers(result: Result, best: Found, yours: Found) -> Iterator[Cost]:
    for workload, found in best.items():
        for name in OF_ANSWERS:
            key = METRICS[name].key
            if key in found:
                drop = found.get(METRICS["accuracy_drop"].key)
                interval = words.metric_interval("accuracy_drop", drop) if drop else ""
                note = f"{words.percent(drop.value)} lost, item by item {interval}".rstrip() if drop else ""
                before = _shown(result, name, yours.get(workload, {}).get(key))
                yield Cost(f"{name.replace('_', ' ')}, {workload}", before, _shown(result, name, found[key]), note)


def _use(
    result: Result, best: Found, yours: Found, best_used: Mapping[str, Estimate], yours_used: Mapping[str, Estimate]
) -> Iterator[Cost]:
    primary = result.study.workloads[0]
    for name in OF_USE:
        key = METRICS[name].key
        after = best.get(primary, {}).get(key) or best_used.get(key)
        if after is None or not math.isfinite(after.value):
            continue
        before = yours.get(primary, {}).get(key) or yours_used.get(key)
        known = before is not None and math.isfinite(before.value) and before.value > 0
        note = f"{after.value / before.value - 1:+.1%}" if before is not None and known else ""
        heading = {"server_rss": "memory of the server", "server_cpu": "CPU of the server"}.get(name)
        shown = _shown(result, name, before) if known else ""
        yield Cost(heading or name.replace("_", " "), shown, _shown(result, name, after), note)


def _dollars(result: Result, best: Best, yours: Found) -> Iterator[Cost]:
    """Yield what a million requests cost: of each workload, or of all together where they share the server's hours."""
    price = result.study.price_usd_per_h
    if price is None:
        return
    whole = [name for name in result.study.workloads if "." not in name]  # classes are parts of their workload
    total, each = METRICS["total_throughput"].key, METRICS["throughput"].key
    together = total in best.metrics.get(whole[0], {})
    for workload in whole[:1] if together else whole:
        rate, before = (found.get(workload, {}).get(total if together else each) for found in (best.metrics, yours))
        if rate is None:
            continue
        at = "the throughput of all workloads together" if together else f"its throughput of {workload}"
        one_of_several = len(whole) > 1 and not together
        name = f"a million requests, {workload}" if one_of_several else "a million requests"
        note = f"one server at {words.dollars(price)}/h, at {at}" + (" and nothing else" if one_of_several else "")
        yield Cost(name, _million(price, before) if before else "", _million(price, rate), note)


def _million(price: float, rate: Estimate) -> str:
    """Return what a million requests cost, with the interval of the rate: $0.0347 [$0.0339, $0.0356]."""

    def cost(per_second: float) -> float:
        return price / HOUR_S / per_second * MILLION if per_second > 0 else math.inf

    if rate.low == rate.value == rate.high:
        return words.dollars(cost(rate.value))
    lowest = cost(rate.high) if math.isfinite(rate.high) else 0.0
    return f"{words.dollars(cost(rate.value))} [{words.dollars(lowest)}, {words.dollars(cost(rate.low))}]"


def _shown(result: Result, name: str, estimate: Estimate | None) -> str:
    return "" if estimate is None else words.metric_value(name, estimate.value, result.own_metrics)
