"""Decide: what deployments of two sides say of each rule. Pure.

A rule fails when the harm is beyond its limit for certain, passes when it is within it for certain, and is
inconclusive otherwise. One rule is enough to fail a gate, so the error of failing is divided among the rules
(Bonferroni): that holds however the figures of a release hang together, and Holm's refinement would sharpen only the
rules after the first that fails, when the gate has failed already. All rules have to pass for a gate to pass, so each
may pass with the whole error (the intersection-union test: Berger, Multiparameter hypothesis testing and acceptance
sampling, Technometrics 24, 1982).
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain

from tuner.gate import hosts, intervals
from tuner.gate.bounds import bounds_behind
from tuner.gate.document import Accuracy, Measured, Measurement, Restart, RuleFound, RuleState
from tuner.gate.intervals import Change
from tuner.gate.rules import OF_ITEMS, POINTS, Kind, Rule
from tuner.results import SloVerdict

BEFORE_MEASURED = "not measured"
OF_TWO_SIDES = "accuracy_drop"
"""The SLO that is itself about a change: a side that misses it is worse than the other one."""
_STOOD: dict[SloVerdict | None, str] = {
    "met": "met on the old side",
    "missed": "missed on the old side, too",
    "undecided": "undecided on the old side",
    None: "the old side was not held against this bound",
}
OTHER_BOUNDS = "its SLO's bounds are others now"
NOT_RESTARTED = (
    "a server elsewhere is not restarted, so that there is no spread of restarts: compare both in one run with --ab, "
    "or see `gate.elsewhere`"
)


@dataclass(frozen=True)
class Look:
    """How sure a look at the figures has to be.

    Attributes:
        error: of a verdict, over all looks: 1 - confidence.
        planned: deployments of every look.
        index: of this look.
        rules: how many there are.
    """

    error: float
    planned: tuple[int, ...]
    index: int
    rules: int

    @property
    def passing(self) -> float:
        """Error of a rule that passes at this look."""
        return intervals.spent(self.error, self.planned, self.index)

    @property
    def failing(self) -> float:
        """Error of a rule that fails at this look."""
        return self.passing / max(1, self.rules)

    @property
    def once(self) -> "Look":
        """How sure to be of what is the same at every look: it can be wrong only once, so that one look spends all."""
        return Look(self.error, (1,), 0, self.rules)

    @classmethod
    def single(cls, confidence: float, rules: int) -> "Look":
        """Return the one look at what is stored."""
        return cls(1 - confidence, (1,), 0, rules)


def decide(
    rules: Sequence[Rule], old: Measurement | None, new: Measurement, look: Look, *, together: bool
) -> list[RuleFound]:
    """Return what each rule says.

    Args:
        rules: of the gate.
        old: what is compared with; None: SLOs alone are judged.
        new: what is judged.
        look: how sure to be.
        together: whether the deployments of both sides were made in pairs, in the same minutes.
    """
    judge = {"slo": _slo, "ratio": _change, "points": _change}
    return [judge[rule.kind](rule, old, new, look, together) for rule in rules]


def figures(old: Measurement, new: Measurement, rules: Sequence[Rule], confidence: float, *, together: bool) -> list[
    RuleFound
]:  # fmt: skip
    """Return how everything that has no rule changed, each with its own two-sided interval."""
    ruled = {(rule.workload, rule.key) for rule in rules if rule.kind != "slo"}
    found = []
    for workload, now in new.workloads.items():
        before = old.workloads.get(workload)
        if before is None:
            continue
        for rule in _without_limit(workload, now):
            same_bounds = bounds_behind(rule.key, old, workload) == bounds_behind(rule.key, new, workload)
            if (workload, rule.key) in ruled or not same_bounds:
                continue
            change = _bounded(rule, old, new, (1 - confidence) / 2, together)
            if not math.isnan(change.value):
                found.append(_found(rule, before, now, change, "info", None))
    return found


def _without_limit(workload: str, now: Measured) -> list[Rule]:
    """Return every figure of a workload as a rule that allows any change."""
    names = list(dict.fromkeys(chain.from_iterable(one.metrics for one in now.restarts)))
    names += ["error_rate"] if now.restarts else []
    names += [now.accuracy.of] if now.accuracy else []
    return [Rule(workload, name, "points" if name in POINTS else "ratio", math.inf, falls=True) for name in names]


def _change(rule: Rule, old: Measurement | None, new: Measurement, look: Look, together: bool) -> RuleFound:
    before, now = old.workloads.get(rule.workload) if old else None, new.workloads.get(rule.workload)
    if old is None or before is None or now is None:
        return _absent(rule, "the workload was not measured on both sides")
    if bounds_behind(rule.key, old, rule.workload) != bounds_behind(rule.key, new, rule.workload):
        return _found(rule, before, now, intervals.unknown(OTHER_BOUNDS), "inconclusive", rule.worst)
    failing, passing = (_bounded(rule, old, new, error, together) for error in (look.failing, look.passing))
    state: RuleState = "inconclusive"
    if _least_harm(rule, failing) > rule.limit:
        state = "fail"
    elif _most_harm(rule, passing) <= rule.limit:
        state = "pass"
    return _found(rule, before, now, failing if state == "fail" else passing, state, rule.worst)


def _least_harm(rule: Rule, change: Change) -> float:
    return rule.harm(change.high if rule.falls else change.low)


def _most_harm(rule: Rule, change: Change) -> float:
    return rule.harm(change.low if rule.falls else change.high)


def unspread(places: Set[str], elsewhere: str) -> str:
    """Say why sides that are measured at different times have no spread of restarts, "" where they may have.

    What Paretune does not start it does not restart: a Triton elsewhere loads the model anew, other servers do nothing.
    What differs from one start of a process to the next (memory layout, threads, placement) is then in no deployment.

    Args:
        places: of their servers, see `hosts.place_of`.
        elsewhere: `gate.elsewhere` of the study.
    """
    return "" if elsewhere == "as_restarts" or places == {hosts.HERE} else NOT_RESTARTED


def _bounded(rule: Rule, old: Measurement, new: Measurement, error: float, together: bool) -> Change:
    """Return how a figure changed on a workload that both sides have."""
    change = _measured(rule, old.workloads[rule.workload], new.workloads[rule.workload], error, together)
    places = {hosts.place_of(old), hosts.place_of(new)}
    why = "" if together or rule.name in OF_ITEMS else unspread(places, new.elsewhere)
    return intervals.unknown(why, change.n, change.value) if why else change


def _measured(rule: Rule, before: Measured, now: Measured, error: float, together: bool) -> Change:
    if rule.name in OF_ITEMS:
        return _of_items(rule, before, now, error)
    if rule.kind == "points":
        change = intervals.share_difference(_errors(before.restarts), _errors(now.restarts), error)
        few = "" if together else intervals.too_few(len(before.restarts), len(now.restarts))
        return intervals.unknown(few, change.n, change.value) if few else change
    change = _bounds(before, now, rule.key, error, together)
    if (
        change.why == intervals.FROM_NOTHING and not rule.falls
    ):  # what a server uses is never 0: it was too little to see
        return intervals.unknown(change.why, change.n)
    return change


def _bounds(before: Measured, now: Measured, key: str, error: float, together: bool) -> Change:
    """Bound the change of a figure; of two sides in the same minutes by those pairs in which both have it."""
    old, new = _values(before, key), _values(now, key)
    if bool(old) != bool(new):
        return intervals.unknown(f"{BEFORE_MEASURED} on the {'new' if old else 'old'} side: no request tells of it")
    if not (together and len(before.restarts) == len(now.restarts)):
        return intervals.apart(old, new, error)
    pairs = list(zip(before.restarts, now.restarts, strict=True))
    both = [(one.metrics[key], two.metrics[key]) for one, two in pairs if key in one.metrics and key in two.metrics]
    change = intervals.paired([one for one, _ in both], [two for _, two in both], error)
    if change.why or len(both) == len(pairs):
        return change
    return replace(change, why=f"in {len(both)} of {len(pairs)} redeployments, no request of the others tells of it")


def _of_items(rule: Rule, before: Measured, now: Measured, error: float) -> Change:
    """Return how the answers to the labelled items changed: both sides are asked all of them, so that is exact.

    Where they were asked another number of items there are no pairs: both are then samples of what may be asked.
    """
    if before.accuracy is None or now.accuracy is None:
        return intervals.unknown("the workload's requests have no labels")
    one, two = before.accuracy, now.accuracy
    if not (math.isfinite(one.value) and math.isfinite(two.value)):
        return intervals.unknown("an item had no ok answer")
    if one.items != two.items:
        return _of_samples(rule, one, two, error)
    if rule.kind == "points":
        return intervals.exact(round(two.value - one.value, 12), two.items)
    if one.value <= 0:
        return intervals.unknown("it was 0")
    return intervals.exact(round(two.value / one.value - 1, 12), two.items)


def _of_samples(rule: Rule, one: Accuracy, two: Accuracy, error: float) -> Change:
    """Return the change of the share of items answered right, from two samples of items."""
    n, why = min(one.items, two.items), f"{one.items} labelled items then and {two.items} now, so not item by item"
    if rule.kind != "points" or one.right is None or two.right is None:
        return intervals.unknown(why, n)
    then, now = ([(round(side.value * side.items), side.items)] for side in (one, two))
    return replace(intervals.share_difference(then, now, error), why=why)


def _slo(rule: Rule, old: Measurement | None, new: Measurement, look: Look, together: bool) -> RuleFound:
    now = new.workloads.get(rule.workload)
    verdict = now.slo.get(rule.name) if now else None
    if now is None or verdict is None:
        return _absent(rule, BEFORE_MEASURED)
    states: dict[SloVerdict, RuleState] = {"met": "pass", "missed": "fail", "undecided": "inconclusive"}
    before = _stood(rule, old) if old is not None else None
    then = old.workloads.get(rule.workload) if old else None
    worse, note = False, ""
    if old is not None and verdict == "missed":
        worse, note = rule.name == OF_TWO_SIDES or before == "met", "" if rule.name == OF_TWO_SIDES else _STOOD[before]
        if before == "undecided" and _certainly_worse(rule, old, new, look, together):
            worse, note = True, f"{note}, and worse now for certain"
    return RuleFound(
        workload=rule.workload,
        rule=rule.name,
        kind="slo",
        limit=rule.limit,
        old=None if then is None else _value(rule, then),
        new=_value(rule, now),
        change=None,
        low=None,
        high=None,
        state=states[verdict],
        before=before,
        worse=worse,
        note=note,
    )


def _certainly_worse(rule: Rule, old: Measurement, new: Measurement, look: Look, together: bool) -> bool:
    """Whether the figure that a bound is on is worse than on the old side, by whatever little."""
    kind: Kind = "points" if rule.name in POINTS else "ratio"
    as_change = Rule(rule.workload, rule.name, kind, 0.0, rule.falls)
    return _least_harm(as_change, _bounded(as_change, old, new, look.failing, together)) > 0


def _value(rule: Rule, measured: Measured) -> float:
    return measured.accuracy.value if rule.name in OF_ITEMS and measured.accuracy else typical(measured, rule.key)


def _stood(rule: Rule, old: Measurement) -> SloVerdict | None:
    """Return how the old side stood to a bound; None where it had another one, or none."""
    measured = old.workloads.get(rule.workload)
    if measured is None or old.bounds.get(rule.workload, {}).get(rule.name) != rule.limit:
        return None
    return measured.slo.get(rule.name)


def _found(
    rule: Rule, before: Measured, now: Measured, change: Change, state: RuleState, limit: float | None
) -> RuleFound:
    return RuleFound(
        workload=rule.workload,
        rule=rule.name,
        kind=rule.kind,
        limit=limit,
        old=_value(rule, before),
        new=_value(rule, now),
        change=None if math.isnan(change.value) else change.value,
        low=change.low,
        high=change.high,
        state=state,
        note=change.why,
    )


def _absent(rule: Rule, why: str) -> RuleFound:
    return RuleFound(
        workload=rule.workload,
        rule=rule.name,
        kind=rule.kind,
        limit=rule.limit if rule.kind == "slo" else rule.worst,
        old=None,
        new=None,
        change=None,
        low=None,
        high=None,
        state="inconclusive",
        note=why,
    )


def typical(measured: Measured, key: str) -> float:
    """Return the geometric mean of a figure over the restarts; the arithmetic one where some are 0; nan without any."""
    values = _values(measured, key)
    if key == "error_rate":
        requests = sum(one.requests for one in measured.restarts)
        return sum(one.errors for one in measured.restarts) / requests if requests else math.nan
    if not values:
        return math.nan
    if min(values) <= 0 or not all(map(math.isfinite, values)):
        return sum(values) / len(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def _values(measured: Measured, key: str) -> list[float]:
    return [one.metrics[key] for one in measured.restarts if key in one.metrics]


def _errors(restarts: Sequence[Restart]) -> list[tuple[int, int]]:
    return [(one.errors, one.requests) for one in restarts]


def overall(found: Sequence[RuleFound]) -> RuleState:
    """Return what rules say together: one that fails fails, else one inconclusive is inconclusive."""
    states = {one.state for one in found}
    if "fail" in states:
        return "fail"
    return "inconclusive" if "inconclusive" in states else "pass"
