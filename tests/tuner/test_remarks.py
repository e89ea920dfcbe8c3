"""What a reader is told of a confirmation that could not decide."""

import pytest
from result_builders import estimate

from tuner.remarks import undecided
from tuner.results import Estimate, Load, Side, SloVerdict


def side(verdicts: dict[str, dict[str, SloVerdict]], reasons: list[str] | None = None) -> Side:
    metrics: dict[str, Estimate] = {
        "over_p99_bound": estimate(0.0031),
        "over_p90_bound": estimate(0.124),
        "error_rate": estimate(0.0005),
        "latency_mean_s": estimate(0.0123),
    }
    return Side(
        trial=1,
        config={},
        load=Load(mode="closed", level=4),
        metrics=dict.fromkeys(verdicts, metrics),
        verdicts=verdicts,
        server={},
        valid=not reasons,
        reasons=reasons or [],
    )


@pytest.mark.parametrize(
    ("slo", "said"),
    [
        ("p99", "steady.p99 (0.31% of the requests were over the bound, 1% may be)"),
        ("p90", "steady.p90 (12.40% of the requests were over the bound, 10% may be)"),
        ("error_rate", "steady.error_rate (0.05% measured)"),
        ("mean", "steady.mean (12.3 ms measured)"),
        ("accuracy", "steady.accuracy"),
    ],
)
def test_what_is_open_is_named_with_what_was_measured_of_it(slo: str, said: str) -> None:
    found = undecided(side({"steady": {slo: "undecided", "p50": "met"}}))
    assert found == f"the confirmation could not decide on {said}; a longer `search.budget.time` or a wider bound can"


def test_several_are_all_named() -> None:
    verdicts: dict[str, dict[str, SloVerdict]] = {
        "steady": {"p99": "undecided", "error_rate": "undecided"},
        "bursty": {"p99": "undecided", "error_rate": "met"},
    }
    over = "(0.31% of the requests were over the bound, 1% may be)"
    assert f"on steady.p99 {over}, steady.error_rate (0.05% measured) and bursty.p99 {over};" in undecided(
        side(verdicts)
    )


def test_what_does_not_count_is_named_in_place_of_more_time() -> None:
    reasons = ["steady: the load generator sent late", "bursty: so"]
    spoiled = "what the confirmation measured does not count: steady: the load generator sent late"
    assert undecided(side({"steady": {"p99": "met"}}, reasons)) == spoiled
    found = undecided(side({"steady": {"error_rate": "undecided"}}, reasons))
    assert found == f"the confirmation could not decide on steady.error_rate (0.05% measured); {spoiled}"
