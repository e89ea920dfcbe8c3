"""The rules of a gate as rows of words, the same in every format."""

import math
from dataclasses import dataclass

from reports import words
from tuner.catalog import AT_LEAST, METRICS
from tuner.gate.document import GateResult, RuleFound

HEADINGS = ("workload", "rule", "old", "new", "change", "interval", "limit", "verdict")
ADVICE = {
    "pass": "passed",
    "fail": "FAILED",
    "inconclusive": "inconclusive",
    "info": "",
}
_HEADLINES = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    "invalid": "NOT VALID",
    "unfinished": "NOT FINISHED",
}
_SHOWN = {
    "cold_start": ("s", "cold start"),
    "cold_start_s": ("s", "cold start"),
    "cpu": ("cpu", "CPU per request"),
    "cpu_per_request_s": ("cpu", "CPU per request"),
    "memory": ("bytes", "memory"),
    "memory_bytes": ("bytes", "memory"),
    "energy": ("J", "energy per request"),
}
_BY_KEY = {one.key: name for name, one in METRICS.items()}
_UNIT_METRIC = {"s": "p50", "bytes": "server_rss", "J": "energy_per_inference"}


@dataclass(frozen=True)
class Row:
    """A rule in words; the attributes are those of HEADINGS, in that order."""

    workload: str
    rule: str
    old: str
    new: str
    change: str
    interval: str
    limit: str
    verdict: str
    state: str
    note: str

    def cells(self) -> tuple[str, ...]:
        """Return the words in the order of HEADINGS."""
        return (
            self.workload,
            self.rule,
            self.old,
            self.new,
            self.change,
            self.interval,
            self.limit,
            f"{self.verdict}{f': {self.note}' if self.note else ''}",
        )


def rows(found: list[RuleFound]) -> list[Row]:
    """Return a row for each rule or figure."""
    return [_row(one) for one in found]


def headline(result: GateResult) -> str:
    """Say in a line how the gate ended."""
    said = _HEADLINES[result.state]
    warned = " (only a warning, as the study says)" if result.state == "inconclusive" and result.warns else ""
    return f"{said}{warned}: {result.message}"


def how(result: GateResult) -> str:
    """Say in a line how it was found out."""
    sure = f"{100 * result.confidence:.6g}% confidence over all looks and rules"
    if result.form == "compare":
        counts = [side.restarts for side in (result.old, result.new) if side is not None]
        return f"stored measurements of {' and '.join(map(str, counts))} restarts, {sure}"
    spent = f"{words.duration(result.measured_s)} of measuring, {words.duration(result.wall_s)} in all"
    both = f"redeployments of both sides, {'one after the other' if result.in_turn else 'interleaved'}"
    in_what = both if result.form == "ab" else "restarts"
    return f"{result.redeployments} {in_what}, {spent}; {sure}"


def name_of(rule: str) -> str:
    """Return a rule, or a figure's key, as people say it."""
    if rule in _SHOWN:
        return _SHOWN[rule][1]
    return words.gain_of(rule) if rule in _BY_KEY else rule.replace("_", " ")


def value(rule: str, number: float | None) -> str:
    """Return a figure in its unit; "" where it is not known."""
    if number is None or math.isnan(number):
        return ""
    unit = _SHOWN.get(rule, ("", ""))[0]
    if unit == "cpu":
        return f"{number * 1e6:,.1f} us"
    return words.metric_value(_UNIT_METRIC.get(unit, _BY_KEY.get(rule, rule)), number)


def change(kind: str, number: float | None) -> str:
    """Return a change with its sign: +4.2% of a ratio, +0.10 points."""
    if number == math.inf:
        return "endless"
    if number is None or not math.isfinite(number):
        return "?"
    return f"{number * 100:+.2f}{' points' if kind == 'points' else '%'}"


def _interval(one: RuleFound) -> str:
    if one.low == -math.inf and one.high == math.inf:
        return "[?, ?]"
    return f"[{change(one.kind, one.low)}, {change(one.kind, one.high)}]"


def _row(one: RuleFound) -> Row:
    slo = one.kind == "slo"
    limit = ""
    if slo and one.limit is not None:
        limit = f"{'>=' if one.rule in AT_LEAST else '<='} {value(one.rule, one.limit)}"
    elif one.limit is not None:
        limit = change(one.kind, one.limit)
    return Row(
        workload=one.workload,
        rule=f"SLO {name_of(one.rule)}" if slo else name_of(one.rule),
        old=value(one.rule, one.old),
        new=value(one.rule, one.new),
        change="" if slo else change(one.kind, one.change),
        interval="" if slo else _interval(one),
        limit=limit,
        verdict=ADVICE[one.state],
        state=one.state,
        note=one.note,
    )
