"""SLOs in a gate: judged as surely as the other rules, look by look, with the deployments as what varies."""

import math

import numpy as np
import pytest

from tests.tuner.record_builders import answered, records
from tuner.accuracy.estimates import overall
from tuner.accuracy.scoring import TopK
from tuner.gate import slos
from tuner.gate.deciding import Look
from tuner.gate.intervals import looks
from tuner.records import Records
from tuner.stats import Interval, Ordered

GATES, ERROR = 150, 0.1
MOST_FALSE = 24
"""Of GATES at ERROR: a binomial distribution has more in 1% of the cases."""
PLANNED = looks(3, 9)
REQUESTS, LUCK_SD, SPREAD_SD = 200, 0.15, 0.5
LUCKY_P90 = math.exp(1.2816 * math.hypot(LUCK_SD, SPREAD_SD))
"""The p90 of all deployments together: exactly a tenth of their requests takes longer."""


def ever(state: str, rng: np.random.Generator, *, clustered: bool) -> bool:
    """Whether a gate of deployments that each have a luck of their own ever says so of a p90 that is the bound."""
    shape = (PLANNED[-1], REQUESTS)
    latencies = np.exp(rng.normal(0, LUCK_SD, (PLANNED[-1], 1)) + rng.normal(0, SPREAD_SD, shape))
    over = [(int(count), REQUESTS) for count in (latencies > LUCKY_P90).sum(axis=1)]
    for index, count in enumerate(PLANNED):
        found = slos.of_shares(Ordered.of(latencies[:count].ravel()), LUCKY_P90, over[:count])
        evidence = found if clustered else slos.Evidence(found.together)
        if slos.judged("p90", LUCKY_P90, evidence, Look(ERROR, PLANNED, index, 1)) == state:
            return True
    return False


@pytest.mark.parametrize("state", ["missed", "met"])
def test_a_bound_that_is_just_kept_is_called_missed_or_met_no_more_often_than_nominal(state: str) -> None:
    rng = np.random.default_rng(5)
    assert sum(ever(state, rng, clustered=True) for _ in range(GATES)) <= MOST_FALSE


def test_requests_that_are_taken_as_independent_of_their_deployment_raise_false_alarms() -> None:
    """What the deployments' own interval is for."""
    rng = np.random.default_rng(5)
    assert sum(ever("missed", rng, clustered=False) for _ in range(GATES // 3)) > MOST_FALSE // 3


@pytest.mark.parametrize(("name", "bound"), [("p99", 0.1), ("mean", 0.1), ("error_rate", 0.1), ("server_rss", 0.1)])
def test_a_verdict_has_the_error_that_a_rule_of_the_look_has(name: str, bound: float) -> None:
    asked = []

    def together(confidence: float) -> Interval:
        asked.append(round((1 - confidence) / 2, 12))
        return Interval(0.1, 0.0, 1.0, 100)

    look = Look(0.01, (3, 5), 0, 4)
    assert slos.judged(name, bound, slos.Evidence(together), look) == "undecided"
    assert asked == [pytest.approx(look.failing), pytest.approx(look.passing)]


def test_a_bound_from_below_fails_by_what_is_at_most_and_passes_by_what_is_at_least() -> None:
    look = Look(0.01, (3,), 0, 1)
    for low, high, verdict in ((0.96, 0.99, "met"), (0.90, 0.94, "missed"), (0.90, 0.99, "undecided")):
        evidence = slos.known(Interval((low + high) / 2, low, high, 600))
        assert slos.judged("accuracy", 0.95, evidence, look) == verdict


def served(number: int, rate: int) -> Records:
    """Records of a deployment: a second of requests that come at random and are answered at once."""
    first_ms = 5000 * number
    due_ms = first_ms + np.sort(np.random.default_rng(number).uniform(0, 998, rate))
    return records([answered(float(at), 1.5) for at in due_ms], (first_ms, first_ms + 1000))


@pytest.mark.parametrize(
    ("rates", "bound", "verdict"),
    [
        ((1000, 1010, 990), 800, "met"),
        ((1000, 1010, 990), 1300, "missed"),
        ((1000, 1010, 990), 1000, "undecided"),
        ((1300, 700, 1000), 800, "undecided"),
    ],
)
def test_a_throughput_is_judged_by_its_windows_and_by_its_deployments(
    rates: tuple[int, ...], bound: float, verdict: str
) -> None:
    bounds = {"throughput_at_least": float(bound)}
    found = slos.of_requests([served(number, rate) for number, rate in enumerate(rates)], bounds)
    look = Look(0.05, (3,), 0, 1)
    assert slos.judged("throughput_at_least", bound, found["throughput_at_least"], look) == verdict


def test_deployments_that_lie_apart_leave_a_bound_undecided_and_ones_that_agree_do_not() -> None:
    told, look = Interval(0.5, 0.45, 0.55, 1_000), Look(0.01, (5,), 0, 1)
    for each, verdict in (([0.50, 0.51, 0.49, 0.50, 0.50], "met"), ([0.1, 0.9, 0.5, 0.2, 0.8], "undecided")):
        assert slos.judged("server_cpu", 0.6, slos.known(told, each), look) == verdict


@pytest.mark.parametrize(
    ("each", "bounds"),
    [
        ([0.1], (-math.inf, math.inf)),
        ([0.1, math.nan], (-math.inf, math.inf)),
        ([0.1, math.inf], (-math.inf, math.inf)),
        ([math.inf, math.inf], (math.inf, math.inf)),
        ([0.1, 0.1, 0.1], (pytest.approx(0.1), pytest.approx(0.1))),
    ],
)
def test_what_few_or_broken_deployments_tell(each: list[float], bounds: tuple[float, float]) -> None:
    assert slos.of_deployments(each, 0.01) == bounds


def test_a_small_share_has_more_room_above_than_below() -> None:
    low, high = slos.shares_of_deployments([(1, 1000), (3, 1000), (20, 1000), (2, 1000)], 0.05)
    mean = 26 / 4000
    assert (low, mean) < (mean, high)
    assert high - mean > 1.5 * (mean - low)
    assert slos.shares_of_deployments([(1, 1000), (0, 0)], 0.05) == (-math.inf, math.inf)


def test_a_mean_that_is_infinite_in_every_deployment_is_missed() -> None:
    lost = slos.of_means(Ordered.of(np.full(400, np.inf)), [math.inf, math.inf])
    assert slos.judged("mean", 0.1, lost, Look(0.01, (3,), 0, 1)) == "missed"


def test_what_every_look_sees_alike_has_the_whole_error() -> None:
    look = Look(0.01, (3, 5, 8), 0, 2)
    assert (look.once.passing, look.once.failing) == (0.01, 0.005)


@pytest.mark.parametrize("scores", [np.arange(600) < 590, np.linspace(0.5, 1.0, 600)], ids=["right or wrong", "scores"])
def test_labelled_items_are_as_sure_as_they_are_asked_to_be(scores: np.ndarray) -> None:
    usual, surer = (overall(TopK(), scores.astype(float), confidence) for confidence in (0.95, 0.99))
    assert surer.low < usual.low < usual.value < usual.high < surer.high
    assert overall(TopK(), scores.astype(float)) == usual
