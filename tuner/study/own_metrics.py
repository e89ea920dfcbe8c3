"""What a study says of metrics that depend on its target: bounds on the server's own, objectives of any."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from targets.options import ServerMetric, TargetOptions
from tuner.catalog import (
    AT_LEAST,
    EITHER,
    FROM_BELOW,
    MAXIMIZED,
    METRICS,
    MINIMIZED,
    STREAMED,
    TOTALS,
    USED,
    metric_of,
)
from tuner.nesting import knob_names
from tuner.study.slo import SloSpec
from tuner.study.source import Source
from tuner.study.spec import OBJECTIVE, StudySpec
from tuner.study.traffic import WorkloadSpec
from workloads.units import parse_duration, parse_fraction, parse_rate


def own_bounds(source: Source, data: Mapping[str, Any], target: TargetOptions | None) -> dict[str, Any]:
    """Return the `slo` section with the bounds on the server's own metrics as numbers; {} where there is none.

    Raises:
        StudyError: a key is no metric of this target, or its bound is not in its unit.
    """
    section = data.get("slo")
    if not isinstance(section, dict) or target is None:
        return {}
    space = data.get("space")
    own = {metric.name: metric for metric in target.metrics_with(knob_names(space) if isinstance(space, dict) else ())}
    if taken := sorted(set(own) & {*METRICS, *FROM_BELOW}):
        raise source.error(("target",), f"the server's metric `{taken[0]}` has the name of one of ours; rename it")
    read = dict(section)
    for name, given in section.items():
        if name in own:
            read[name] = _bound(source, own[name], given)
        elif name not in SloSpec.model_fields:
            known = [one for one in SloSpec.model_fields if one not in STREAMED or target.streams] + list(own)
            close = get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
            raise source.error(("slo", str(name)), f"unknown key `{name}`; {hint}")
        elif name in STREAMED and not target.streams:
            raise source.error(("slo", name), streams_none(target))
    return {"slo": read}


def streams_none(target: TargetOptions) -> str:
    """Say why there are no tokens to measure on a server that streams none."""
    return f"{target.kind} does not stream tokens, so its answers have none"


def check_classes(source: Source, spec: StudySpec) -> None:
    """Check that workloads and the classes of mixes ask for what the target has.

    Raises:
        StudyError: a bound on tokens of a server that streams none, a priority for a server that takes none, or
            sequences for a server that knows none.
    """
    for name, workload in spec.workloads.items():
        for metric in workload.slo.bounds():
            if metric in STREAMED and not spec.target.streams:
                raise source.error(("workloads", name, "slo", metric), streams_none(spec.target))
        if workload.sequences is not None and not spec.target.takes_sequences:
            raise source.error(
                ("workloads", name, "sequences"), f"{spec.target.kind} knows no sequences of requests; take it out"
            )
        for of_class, one in (workload.mix or {}).items() if isinstance(workload, WorkloadSpec) else ():
            place = ("workloads", name, "mix", of_class)
            for metric in one.slo.bounds():
                if metric in STREAMED and not spec.target.streams:
                    raise source.error((*place, "slo", metric), streams_none(spec.target))
            if one.priority and not spec.target.takes_priority:
                raise source.error(
                    (*place, "priority"), f"{spec.target.kind} takes no priorities of requests; take it out"
                )


def _bound(source: Source, metric: ServerMetric, given: object) -> float:
    parse = {"s": parse_duration, "/s": parse_rate}.get(metric.unit)
    try:
        if parse is not None:
            return parse(given)
        if metric.unit == "share":
            return parse_fraction(given)
    except ValueError as error:
        raise source.error(("slo", metric.name), str(error)) from None
    if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
        raise source.error(("slo", metric.name), f"expected a number, but got {given!r}")
    return float(given)


def asked_of_use(spec: StudySpec) -> list[tuple[tuple[str | int, ...], str]]:
    """Return the metrics of what the server uses that a study asks for, with the place of each in its file."""
    bounds = [(("slo", name), metric_of(name)) for name in spec.slo.bounds() if metric_of(name) in USED]
    matches = ((index, OBJECTIVE.fullmatch(text)) for index, text in enumerate(spec.objectives))
    goals = [(("objectives", index), match["metric"]) for index, match in matches if match and match["metric"] in USED]
    return [*bounds, *goals]


def asked_for_more(spec: StudySpec) -> frozenset[str]:
    """Return the metrics of which a study asks for more, of those that it may ask for in either way.

    An objective says so; without one on the metric a bound from below does, where there is none from above.
    """
    bounds = spec.slo.bounds()
    bounded = {metric_of(name): name in AT_LEAST and metric_of(name) not in bounds for name in bounds}
    goals = {match["metric"]: match["direction"] == "maximize" for match in map(OBJECTIVE.fullmatch, spec.objectives)
             if match}  # fmt: skip
    return frozenset(name for name, more in (bounded | goals).items() if more and name in EITHER)


def check_bounds(source: Source, spec: StudySpec) -> None:
    """Check that a bound from below on what the server uses goes with the search of loads. Raises StudyError."""
    for name in spec.slo.bounds() if spec.load.search == "max_under_slo" else ():
        if name in AT_LEAST and metric_of(name) in USED:
            raise source.error(
                ("slo", name),
                "with `load.search: max_under_slo` the climb begins at a low load, where a server has little to do, "
                "and stops at the first one that misses a bound; take it out, or take `load.search: sampled`",
            )


def check_objectives(source: Source, spec: StudySpec) -> None:
    """Check that every objective is a metric of this target that one can ask for in this direction.

    Raises:
        StudyError: it is not.
    """
    own = spec.target.metrics_with(knob_names(spec.space))
    allowed = {
        "maximize": [*MAXIMIZED, *(metric.name for metric in own if metric.better == "more")],
        "minimize": [*MINIMIZED, *(metric.name for metric in own if metric.better == "less")],
    }
    if not spec.target.streams:
        allowed = {direction: [name for name in names if name not in STREAMED] for direction, names in allowed.items()}
    if not spec.target.several:
        allowed = {direction: [name for name in names if name not in TOTALS] for direction, names in allowed.items()}
    for index, text in enumerate(spec.objectives):
        match = OBJECTIVE.fullmatch(text)
        of_all = [*USED, *TOTALS, *(metric.name for metric in own)]
        if match and "." in (match["workload"] or "") and match["metric"] in of_all:
            raise source.error(("objectives", index), f"the server does not tell `{match['metric']}` of one class")
        if match is None or match["metric"] not in allowed.get(match["direction"], ()):
            usable = {direction: "|".join(names) for direction, names in allowed.items()}
            raise source.error(
                ("objectives", index),
                f"expected `maximize {usable['maximize']}` or `minimize {usable['minimize']}`, "
                f"with `WORKLOAD.` before the metric if it is not the primary one, but got {text!r}",
            )
        other = {"maximize": "minimize", "minimize": "maximize"}[match["direction"]]
        before = map(OBJECTIVE.fullmatch, spec.objectives[:index])
        if any(one and (one["direction"], one["metric"]) == (other, match["metric"]) for one in before):
            raise source.error(
                ("objectives", index),
                f"another objective is to {other} `{match['metric']}` already; keep one of the two",
            )
