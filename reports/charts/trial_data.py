"""What the page's script knows of every point, once for all charts: for hover texts, colours, filters, comparisons."""

import math
from collections.abc import Iterable, Mapping, Sequence

from reports import words
from reports.axes import axes, named, verticals
from reports.points import Placed, all_points, best_point, meets, own_point
from reports.variants import variant_names, variant_of
from tuner.catalog import METRICS, key_of
from tuner.results import LEVEL_NAMES, Result, Value
from tuner.units import format_setting

MOST_WITH_INTERVALS = 1000
"""With more points than this only the metrics of the axes keep their intervals, for the page's size."""
ALWAYS = ("throughput", "goodput", "mean", "p50", "p90", "p95", "p99", "error_rate")
SHORT = ("throughput", "p50", "p99")
"""Metrics of a hover text, beside those that the study asks for."""

Column = Mapping[str, object]


def trial_data(result: Result) -> dict[str, object]:
    """Return columns over all points of a run, in the order of `all_points`.

    Keys: `knobs` (`name`, `values` as they are shown, in ascending order, `ordered`: whether they are numbers,
    `level`: whether it is the load's),
    `trials` (`number`, `variant`: position among `variants.variant_names`, `config`: the position of its value of each
    knob, the user's where it does not set the knob, -1 where neither does), `points` (`trial`: position among the
    trials, `workload`, `load`, `slo`, `member`: probability of being on the front), `metrics` (`label`, `unit`,
    `short`: whether it is in the hover text, `value`, `low`, `high`; None where it was not measured, `inf` and `-inf`
    for infinite numbers), `pair`: the two points that are compared to begin with.
    """
    placed = all_points(result)
    names = knob_names(result)
    units = {knob.name: knob.unit for knob in result.knobs}
    values = {name: _distinct(trial.config.get(name) for trial in result.trials) for name in names}
    listed = {(member.trial, member.point): member.membership for member in result.front}
    rows = {trial.number: row for row, trial in enumerate(result.trials)}
    variants = variant_names(result)
    positions = {name: {repr(value): at for at, value in enumerate(values[name])} for name in names}
    configs = _full_configs(result)
    return {
        "knobs": [
            {
                "name": name,
                "values": [format_setting(value, units.get(name, "")) for value in values[name]],
                "ordered": all(_is_number(value) for value in values[name]),
                "level": name in LEVEL_NAMES.values(),
            }
            for name in names
        ],
        "trials": {
            "number": [trial.number for trial in result.trials],
            "variant": [variants.index(variant_of(result, trial)) for trial in result.trials],
            "config": [
                [positions[name][repr(config[name])] if name in config else -1 for name in names] for config in configs
            ],
        },
        "points": {
            "trial": [rows[one.trial.number] for one in placed],
            "workload": [one.point.workload for one in placed],
            "load": [words.load(one.point.load) for one in placed],
            "slo": [_slo(result, one) for one in placed],
            "member": [listed.get((one.trial.number, one.index)) for one in placed],
        },
        "metrics": _metrics(result, placed),
        "pair": _pair(result, placed),
    }


def knob_names(result: Result) -> list[str]:
    """Return every knob that a trial has: the searched ones first."""
    used = dict.fromkeys(name for trial in result.trials for name in trial.config)
    searched = [knob.name for knob in result.knobs if knob.name in used]
    return list(dict.fromkeys([*searched, *used]))


def _full_configs(result: Result) -> list[Mapping[str, Value]]:
    """Return each trial's configuration, with the user's values of the server's knobs that it leaves as they are."""
    yours = next((trial.config for trial in result.trials if trial.number == 0), {})
    kept = {name: value for name, value in yours.items() if name not in LEVEL_NAMES.values()}
    return [{**kept, **trial.config} for trial in result.trials]


def _distinct(values: Iterable[Value | None]) -> list[Value]:
    found = list({repr(value): value for value in values if value is not None}.values())
    if all(_is_number(value) for value in found):
        return sorted(found, key=float)
    return sorted(found, key=str)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _slo(result: Result, one: Placed) -> str:
    if not one.trial.counts(one.point):
        return "not used: " + ("; ".join(one.point.validity.reasons) or f"the trial {one.trial.state}")
    if one.point.workload == result.study.workloads[0] and meets(result, one.trial, one.point):
        return "meets every SLO"
    missed = [words.off(name, over) for name, over in one.point.violations.items() if over > 0]
    if missed:
        return f"misses {', '.join(missed)}"
    return "meets the SLO of this workload"


def _metrics(result: Result, placed: Sequence[Placed]) -> list[Column]:
    keys = {axis.key for axis in (*axes(result), *verticals(result))}
    stages = dict.fromkeys(name for one in placed for name in (one.point.server.mean_s if one.point.server else ()))
    chosen = dict.fromkeys([*ALWAYS, *(axis.name for axis in (*axes(result), *named(result)))])
    wide = len(placed) <= MOST_WITH_INTERVALS
    columns = [_metric(result, name, placed, wide=wide or key_of(name) in keys) for name in chosen]
    return [
        *(column for column in columns if any(value is not None for value in _values(column))),
        *(_stage(name, placed) for name in stages),
    ]


def _values(column: Column) -> Sequence[object]:
    found = column["value"]
    assert isinstance(found, list)
    return found


def _metric(result: Result, name: str, placed: Sequence[Placed], *, wide: bool) -> Column:
    own = {one.name: one.unit for one in result.own_metrics}
    asked = {axis.name for axis in (*axes(result), *named(result))}
    key = key_of(name)
    found = [one.point.metrics.get(key) for one in placed]
    column: dict[str, object] = {
        "label": name.replace("_", " ") if name != "mean" else "mean latency",
        "unit": METRICS[name].unit if name in METRICS else own.get(name, ""),
        "short": name in SHORT or name in asked,
        "value": _numbers([None if one is None else one.value for one in found]),
    }
    if wide:
        column["low"] = _numbers([None if one is None else one.low for one in found])
        column["high"] = _numbers([None if one is None else one.high for one in found])
    return column


def _stage(name: str, placed: Sequence[Placed]) -> Column:
    return {
        "label": f"{name.replace('_', ' ')} in the server, mean",
        "unit": "s",
        "short": False,
        "value": _numbers([one.point.server.mean_s.get(name) if one.point.server else None for one in placed]),
    }


def _numbers(values: Sequence[float | None]) -> list[float | str | None]:
    """Return numbers as the page's JSON keeps them: `inf` and `-inf` as words, for null is what was not measured."""
    return [value if value is None or not math.isinf(value) else "inf" if value > 0 else "-inf" for value in values]


def _pair(result: Result, placed: Sequence[Placed]) -> list[int]:
    """Return the numbers of the user's point and the best one, or of what there is instead; [] without points."""
    at = {(one.trial.number, one.index): one.number for one in placed}
    found = [
        at[trial.number, trial.points.index(point)]
        for trial, point in filter(None, (own_point(result), best_point(result)))
    ]
    others = [at[member.trial, member.point] for member in result.front if (member.trial, member.point) in at]
    pair = list(dict.fromkeys([*found, *others, *range(len(placed))]))[:2]
    return [*pair, *pair][:2]
