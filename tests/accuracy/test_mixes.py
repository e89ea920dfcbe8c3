"""A mix as a whole: classes count by their share of the requests, not by how many labelled items they have."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.accuracy.test_estimates import ENOUGH, MEAN_ERROR, RMS_ERROR, TOO_MUCH, beta, coverage
from tuner.accuracy import estimates
from tuner.accuracy.answers import Outputs
from tuner.accuracy.mixes import Stratum, drop, overall
from tuner.accuracy.scored import scorings_of, shares_of
from tuner.accuracy.scoring import Cosine, Regression, Scores, Scoring, TopK
from tuner.accuracy.variants import Accuracies
from tuner.request_class import RequestClass
from tuner.stats import Interval
from tuner.workload import Workload
from workloads.requests import Dataset

SHARES, COUNTS = (0.9, 0.1), (100, 400)
"""Most requests are of the class with the fewest items."""
Draw = Callable[[np.random.Generator, int], Scores]


def strata(rng: np.random.Generator, *draws: Draw) -> list[Stratum]:
    return [Stratum(share, draw(rng, n)) for share, draw, n in zip(SHARES, draws, COUNTS, strict=True)]


def changed(before: Sequence[Stratum], *losses: Callable[[Scores], Scores]) -> list[Stratum]:
    return [Stratum(one.share, loss(one.scores)) for one, loss in zip(before, losses, strict=True)]


def right(share: float) -> Draw:
    return lambda rng, n: (rng.random(n) < share).astype(float)


def normal(scale: float) -> Draw:
    return lambda rng, n: scale * np.abs(rng.standard_normal(n))


def labelled(name: str, weight: float, items: int, lost: int) -> RequestClass:
    """A class whose variant `small` answers its first `lost` items wrong."""
    wrong = np.arange(items) < lost
    dataset = Dataset({"X": wrong.astype(np.float32)[:, None]}, labels=np.ones(items, np.int64))
    return RequestClass(dataset, 1.0, name=name, weight=weight, scoring=TopK())


def test_the_drop_of_a_mix_is_that_of_the_traffic() -> None:
    """Nine requests in ten are of a class that loses 10%; its items are 1% of all items."""
    classes = (labelled("browse", 9.0, 100, 10), labelled("pay", 1.0, 9_900, 0))
    shop = Workload("shop", classes, None, 1, keep_alive=True, seed=0)
    known = Accuracies(scorings_of([shop]), reference="large", shares=shares_of([shop]))

    def answers(variant: str) -> Callable[[Workload, RequestClass, int], list[Outputs | None]]:
        def ask(_: Workload, one: RequestClass, items: int) -> list[Outputs | None]:
            assert isinstance(one.dataset, Dataset)
            wrong = one.dataset.inputs["X"] if variant == "small" else np.zeros((items, 1))
            return [{"Y": 1 - np.asarray(row, np.int64)} for row in wrong]

        return ask

    for name in ("large", "small"):
        known.learn(name, [shop], answers(name))
    again = Accuracies(scorings_of([shop]), reference="large", shares=shares_of([shop]))
    again.restore(known.stored())
    for one in (known, again):
        found = one.metrics("small", "shop")
        assert found["accuracy"].value == pytest.approx(0.91)
        assert found["accuracy_drop"].value == pytest.approx(0.09)
        assert found["accuracy_drop"].low < 0.09 < found["accuracy_drop"].high
        assert found["accuracy"].n == 10_000
        assert one.metrics("large", "shop")["accuracy_drop"].value == 0.0
        assert one.metrics("small", "shop.browse")["accuracy_drop"].value == pytest.approx(0.10)
        assert one.metrics("small", "shop.pay")["accuracy_drop"].value == 0.0


def test_classes_without_labels_have_no_share_and_unlike_ones_no_whole() -> None:
    one, other = labelled("browse", 3.0, 5, 0), labelled("pay", 1.0, 5, 0)
    bare = RequestClass(Dataset({"X": np.zeros((4, 1))}), 1.0, name="rest", weight=6.0, scoring=TopK())
    far = RequestClass(other.dataset, 1.0, name="pay", scoring=Cosine())
    mixes = [Workload("shop", parts, None, 1, keep_alive=True, seed=0) for parts in ((one, other, bare), (one, far))]
    assert shares_of(mixes[:1]) == {"shop": {"shop.browse": 0.75, "shop.pay": 0.25}}
    assert shares_of(mixes[1:]) == {}


@pytest.mark.parametrize("shares", [(0.8, 0.99), (0.98, 0.5)])
def test_the_interval_of_right_and_wrong_covers(shares: tuple[float, float]) -> None:
    truth = SHARES[0] * shares[0] + SHARES[1] * shares[1]
    found = coverage(truth, lambda rng: overall(TopK(), strata(rng, right(shares[0]), right(shares[1]))))
    assert found >= ENOUGH, "exact intervals hold the truth more often"


def test_the_interval_of_a_mean_score_covers() -> None:
    truth = SHARES[0] * 0.95 + SHARES[1] * 0.475
    found = coverage(truth, lambda rng: overall(Cosine(), strata(rng, beta, lambda rng, n: beta(rng, n) / 2)))
    assert ENOUGH <= found <= TOO_MUCH


@pytest.mark.parametrize(
    ("scoring", "truth"),
    [(MEAN_ERROR, math.sqrt(2 / math.pi) * (0.9 + 0.1 * 3)), (RMS_ERROR, math.sqrt(0.9 + 0.1 * 9))],
)
def test_the_interval_of_an_error_covers(scoring: Regression, truth: float) -> None:
    found = coverage(truth, lambda rng: overall(scoring, strata(rng, normal(1.0), normal(3.0))))
    assert ENOUGH <= found <= TOO_MUCH


@pytest.mark.parametrize("rates", [(0.1, 0.0), (0.01, 0.2), (0.0, 0.0)])
def test_the_interval_of_a_drop_covers(rates: tuple[float, float]) -> None:
    """Of the items that were right, so many are lost."""

    def pair(rng: np.random.Generator) -> Interval:
        before = strata(rng, right(0.9), right(0.9))
        losses = [lambda one, rate=rate: one * (rng.random(len(one)) >= rate) for rate in rates]
        return drop(TopK(), before, changed(before, *losses))

    assert coverage(0.9 * (SHARES[0] * rates[0] + SHARES[1] * rates[1]), pair) >= ENOUGH


def test_the_interval_of_a_drop_of_scores_covers() -> None:
    def pair(rng: np.random.Generator) -> Interval:
        before = strata(rng, beta, beta)
        lost = [lambda one, mean=mean: one - rng.exponential(mean, len(one)) for mean in (0.01, 0.05)]
        return drop(Cosine(), before, changed(before, *lost))

    assert ENOUGH <= coverage(0.9 * 0.01 + 0.1 * 0.05, pair) <= TOO_MUCH


@pytest.mark.parametrize("scoring", [MEAN_ERROR, RMS_ERROR])
def test_the_interval_of_the_growth_of_an_error_covers(scoring: Regression) -> None:
    """The rarer class has the larger errors, and they grow by 30%; those of the other by 10%."""

    def pair(rng: np.random.Generator) -> Interval:
        before = strata(rng, normal(1.0), normal(3.0))
        grown = [lambda one, by=by: one * (by + rng.uniform(-0.3, 0.3, len(one))) for by in (1.1, 1.3)]
        return drop(scoring, before, changed(before, *grown))

    of_means = (0.9 * 1.1 + 0.1 * 3 * 1.3) / (0.9 + 0.1 * 3)
    of_squares = (0.9 * (1.1**2 + 0.03) + 0.1 * 9 * (1.3**2 + 0.03)) / (0.9 + 0.1 * 9)
    truth = math.sqrt(of_squares) if scoring.squared else of_means
    assert ENOUGH <= coverage(truth - 1, pair) <= TOO_MUCH


def test_an_error_that_rarely_grows_is_not_taken_never_to() -> None:
    """One item in 300 gets an error of 2 in place of about 1; most draws of the main class show none of them."""

    def pair(rng: np.random.Generator) -> Interval:
        before = strata(rng, lambda rng, n: rng.uniform(0.5, 1.5, n), lambda rng, n: rng.uniform(0.5, 1.5, n))
        grown = [lambda one: np.where(rng.random(len(one)) < 1 / 300, 2.0, one)] * 2
        return drop(MEAN_ERROR, before, changed(before, *grown))

    assert coverage(1 / 300, pair) >= ENOUGH


@pytest.mark.parametrize("scoring", [TopK(), Cosine(), MEAN_ERROR, RMS_ERROR])
def test_one_class_alone_is_no_mix(scoring: Scoring) -> None:
    rng = np.random.default_rng(6)
    before, after = rng.random(80), rng.random(80)
    one, other = [Stratum(1.0, before)], [Stratum(1.0, after)]
    assert overall(scoring, one) == estimates.overall(scoring, before)
    assert drop(scoring, one, other) == estimates.drop(scoring, before, after)


def test_an_item_without_an_answer_makes_an_error_infinite() -> None:
    good = [Stratum(0.5, np.ones(3)), Stratum(0.5, np.array([1.0, 2.0]))]
    bad = [good[0], Stratum(0.5, np.array([1.0, math.inf]))]
    assert overall(MEAN_ERROR, bad) == Interval(math.inf, -math.inf, math.inf, 5, "an item had no ok answer")
    assert drop(MEAN_ERROR, good, bad).value == math.inf
    assert drop(MEAN_ERROR, bad, good).value == 0.0, "of what both answered"
    assert drop(MEAN_ERROR, [good[0], Stratum(0.5, np.full(2, math.inf))], good).value == math.inf


def test_what_shows_too_little_has_no_bound() -> None:
    nothing, all_in_one = np.zeros(30), np.eye(30)[3]
    none = [Stratum(0.5, nothing), Stratum(0.5, nothing)]
    single = [Stratum(0.5, all_in_one), Stratum(0.5, nothing)]
    assert drop(RMS_ERROR, none, none).value == 0.0
    assert drop(RMS_ERROR, none, single).value == math.inf
    assert drop(MEAN_ERROR, single, single).high == math.inf
    lone = [Stratum(0.5, np.array([0.5])), Stratum(0.5, np.linspace(0, 1, 9))]
    assert (overall(Cosine(), lone).low, overall(Cosine(), lone).why) == (-math.inf, "one item has no spread")
