"""What a gate says in the end: its state, its exit code, and one line. Pure."""

from collections.abc import Sequence
from itertools import count, takewhile

from tuner.catalog import BOUNDED, ITL
from tuner.gate.deciding import overall
from tuner.gate.document import Form, GateResult, Measurement, RuleFound
from tuner.gate.rules import COLD_START

PASSED, REGRESSION, SLO_MISSED, NOT_DECIDED = 0, 1, 4, 5
NOTHING_COMPARED = "nothing was compared: the study has neither an SLO nor a rule, like `gate: {throughput: -5%}`"
NOTHING_MEASURED_BY = "measured: there is nothing to hold it against"
NOT_ASKED = "no rule says by how much it may get slower, like `gate: {throughput: -5%, p99: +10%}`"
_UNSURE = 0.01


def result(
    *,
    form: Form,
    study: str,
    found: tuple[list[RuleFound], list[RuleFound]],
    sides: tuple[Measurement | None, Measurement],
    planned: tuple[int, ...],
    redeployments: int,
    times_s: tuple[float, float],
    notes: list[str],
) -> GateResult:
    """Put together what a gate found, with its exit code and what is said in a line.

    A side that the load generator spoiled makes the gate invalid. Two sides without any rule decide nothing.
    """
    rules, others = found
    state, said = overall(rules), _said(rules, form)
    if form != "alone" and not rules:
        state = "inconclusive"
    warns = sides[1].inconclusive == "warn"
    undecided = PASSED if warns else NOT_DECIDED
    code = {"pass": PASSED, "fail": _code_of_failure(rules)}.get(state, undecided)
    invalid = [f"{side.label}: {reason}" for side in sides if side is not None for reason in side.invalid]
    if invalid:
        code, said = NOT_DECIDED, "; ".join(invalid)
    return GateResult(
        form=form,
        state="invalid" if invalid else state,
        exit_code=code,
        message=said,
        study=study,
        confidence=sides[1].confidence,
        warns=warns,
        redeployments=redeployments,
        looks=list(planned),
        measured_s=times_s[0],
        wall_s=times_s[1],
        notes=[*notes, *few_requests(rules, sides), *colder(others)],
        rules=rules,
        figures=others,
        old=sides[0],
        new=sides[1],
    )


def decided(found: Sequence[RuleFound], *, spread: bool = True) -> bool:
    """Whether nothing is left to find out: there is a regression for certain, or no rule is open.

    An SLO that the old side may have missed as well leaves open whether the release is slower.

    Args:
        found: what the rules say.
        spread: whether more deployments can decide how figures changed; else SLOs alone may be open.
    """
    if any(map(_is_regression, found)):
        return True
    if not spread:
        return not any(one.state == "inconclusive" and one.kind == "slo" for one in found)
    return not any(one.state == "inconclusive" or _is_open(one) for one in found)


def _changes(rules: Sequence[RuleFound]) -> list[RuleFound]:
    """Return the rules on how a figure changed."""
    return [one for one in rules if one.kind != "slo"]


def _is_regression(one: RuleFound) -> bool:
    """Whether a rule fails and says that the new side is worse: of an SLO, than the old side is."""
    return one.state == "fail" and (one.kind != "slo" or one.worse)


def _is_open(one: RuleFound) -> bool:
    """Whether an SLO is missed, and it is not decided yet whether the old side missed it too."""
    return one.state == "fail" and not _is_regression(one) and one.before == "undecided"


def _code_of_failure(rules: Sequence[RuleFound]) -> int:
    return REGRESSION if any(map(_is_regression, rules)) else SLO_MISSED


def _said(rules: Sequence[RuleFound], form: Form) -> str:
    state = overall(rules)
    if not rules:
        return NOTHING_MEASURED_BY if form == "alone" else NOTHING_COMPARED
    undecided = [one for one in rules if one.state == "inconclusive"]
    if state == "fail":
        failed = _failed([one for one in rules if one.state == "fail"])
        ended = not undecided or any(map(_is_regression, rules))
        return failed if ended else f"{failed}; not decided: {_named(undecided)}"
    if state == "inconclusive":
        return f"not decided: {_named(undecided)}"
    slos, changes = [one for one in rules if one.kind == "slo"], _changes(rules)
    met = [f"{len(slos)} SLO{'s are' if len(slos) > 1 else ' is'} met"] if slos else []
    if changes:
        passed = f"{len(changes)} rule{'s pass' if len(changes) > 1 else ' passes'}"
        return f"no regression: {', '.join([passed, *met])}"
    return f"{met[0]}; {'nothing was compared' if form == 'alone' else NOT_ASKED}"


def _failed(failed: Sequence[RuleFound]) -> str:
    """Say what became worse, and which SLOs are missed by a side of which no more is known than that."""
    worse = [one for one in failed if _is_regression(one)]
    others = [one for one in failed if one not in worse]
    as_before, open_ones = [[one for one in others if one.before == stood] for stood in ("missed", "undecided")]
    missed = [one for one in others if one.before is None]
    what = "a regression"
    if all(one.rule == "cold_start" for one in worse):
        what = f"a slower cold start{'' if others else ', the steady state has not failed'}"
    parts = (
        (what, worse),
        ("an SLO is missed, as on the old side", as_before),
        ("an SLO is missed, and whether the old side met it is not decided", open_ones),
        ("an SLO is missed", missed),
    )
    return "; ".join(f"{said}: {_named(of)}" for said, of in parts if of)


def _named(rules: Sequence[RuleFound]) -> str:
    return ", ".join(f"{one.workload} {'SLO ' if one.kind == 'slo' else ''}{one.rule}" for one in rules)


def colder(others: Sequence[RuleFound]) -> list[str]:
    """Return a note for each workload that begins slower for certain, where no rule asks for that.

    Args:
        others: how the figures changed that have no rule.
    """
    return [
        f"{one.workload}: the cold start is slower for certain, by {one.low:.0%} at least; no rule asks for it, like "
        "`gate: {cold_start: +50%}`"
        for one in others
        if one.rule == COLD_START and one.low is not None and one.low > 0
    ]


def few_requests(rules: Sequence[RuleFound], sides: Sequence[Measurement | None]) -> list[str]:
    """Return a note for each rule on a percentile of which a deployment has too few requests to tell much of it.

    Args:
        rules: of the gate.
        sides: what was measured.
    """
    found = []
    for one in _changes(rules):
        bounded = BOUNDED.get(one.rule)
        if bounded is None or bounded.allowed is None or bounded.timing is ITL:  # a request has many gaps
            continue
        measured = [side.workloads[one.workload] for side in sides if side and one.workload in side.workloads]
        fewest = min((restart.requests for of in measured for restart in of.restarts), default=0)
        if 0 < fewest < (least := least_requests(bounded.allowed)):
            found.append(
                f"{one.workload} {one.rule}: a deployment has {fewest} requests, and of fewer than {least} it is near "
                "the slowest of them; more or longer rounds (`gate.rounds`, `gate.round`) tell more of it"
            )
    return found


def least_requests(share: float) -> int:
    """Return from how many requests a percentile is claimed without a word.

    The fewest n of which two or more are beyond it with 99% certainty: (1 - share)^n + n share (1 - share)^(n - 1) <=
    0.01. That is MLPerf Inference's early-stopping rule; 662 of a p99. Assumes that requests are independent.

    Args:
        share: of the requests that are beyond the percentile: 0.01 of a p99.
    """
    stay = 1 - share
    too_few = takewhile(lambda n: stay**n + n * share * stay ** (n - 1) > _UNSURE, count(1))
    return 1 + sum(1 for _ in too_few)
