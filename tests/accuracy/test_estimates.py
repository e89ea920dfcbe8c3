"""Intervals of scores: how often they hold the true value, in simulations with a known one."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from tuner.accuracy import estimates
from tuner.accuracy.estimates import drop, overall
from tuner.accuracy.scoring import Cosine, Regression, TopK
from tuner.stats import Interval, paired_drop, proportion

RUNS = 1500
ENOUGH, TOO_MUCH = 0.93, 0.985
"""Coverage of a 95% interval: 1500 runs tell it within 0.011 at two standard deviations."""
MEAN_ERROR, RMS_ERROR = Regression(squared=False), Regression(squared=True)


def coverage(truth: float, made: Callable[[np.random.Generator], Interval]) -> float:
    found = [made(np.random.default_rng(seed)) for seed in range(RUNS)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def beta(rng: np.random.Generator, n: int) -> np.ndarray:
    """Similarities near 1, skewed to the left; their mean is 0.95."""
    return rng.beta(19.0, 1.0, n)


@pytest.mark.parametrize("n", [100, 600])
def test_the_interval_of_a_mean_score_covers(n: int) -> None:
    found = coverage(0.95, lambda rng: overall(Cosine(), beta(rng, n)))
    assert ENOUGH <= found <= TOO_MUCH


@pytest.mark.parametrize("n", [100, 600])
@pytest.mark.parametrize(("scoring", "truth"), [(MEAN_ERROR, math.sqrt(2 / math.pi)), (RMS_ERROR, 1.0)])
def test_the_interval_of_an_error_covers(scoring: Regression, truth: float, n: int) -> None:
    """Residuals are normal with variance 1."""
    found = coverage(truth, lambda rng: overall(scoring, np.abs(rng.standard_normal(n))))
    assert ENOUGH <= found <= TOO_MUCH


@pytest.mark.parametrize("n", [100, 600])
def test_the_interval_of_a_drop_of_scores_covers(n: int) -> None:
    """The second variant loses an exponential 0.01 a score."""

    def pair(rng: np.random.Generator) -> Interval:
        before = beta(rng, n)
        return drop(Cosine(), before, before - rng.exponential(0.01, n))

    assert ENOUGH <= coverage(0.01, pair) <= TOO_MUCH


@pytest.mark.parametrize("n", [100, 600])
@pytest.mark.parametrize(("scoring", "truth"), [(MEAN_ERROR, 0.1), (RMS_ERROR, math.sqrt(1.21 + 0.03) - 1)])
def test_the_interval_of_the_growth_of_an_error_covers(scoring: Regression, truth: float, n: int) -> None:
    """after = before (1.1 + noise): E after = 1.1 E before, E after^2 = (1.21 + var noise) E before^2."""

    def pair(rng: np.random.Generator) -> Interval:
        before = np.abs(rng.standard_normal(n))
        return drop(scoring, before, before * (1.1 + rng.uniform(-0.3, 0.3, n)))

    assert ENOUGH <= coverage(truth, pair) <= TOO_MUCH


def test_heavy_tails_need_more_items() -> None:
    """Exponential errors, squared: 100 items hardly show their tail, 600 do."""

    def pair(rng: np.random.Generator, n: int) -> Interval:
        before = rng.exponential(1.0, n)
        return drop(RMS_ERROR, before, before * (1.1 + rng.uniform(-0.3, 0.3, n)))

    truth = math.sqrt(1.24) - 1
    assert coverage(truth, lambda rng: pair(rng, 100)) >= 0.90
    assert ENOUGH <= coverage(truth, lambda rng: pair(rng, 600)) <= TOO_MUCH


@pytest.mark.parametrize("rate", [0.0, 0.003])
def test_a_rare_loss_of_a_whole_score_is_covered(rate: float) -> None:
    """Most items score alike in both variants; some lose all of it. Their spread alone would say too little."""

    def pair(rng: np.random.Generator) -> Interval:
        before = rng.choice([0.0, 0.5, 1.0], 300)
        return drop(Cosine(), before, np.where(rng.random(300) < rate, 0.0, before))

    assert coverage(0.5 * rate, pair) >= ENOUGH


def test_a_paired_drop_is_known_better_than_the_difference_of_two_means() -> None:
    rng = np.random.default_rng(3)
    before = beta(rng, 600)
    after = before - rng.exponential(0.001, 600)
    one, other, paired = overall(Cosine(), before), overall(Cosine(), after), drop(Cosine(), before, after)
    assert paired.value == pytest.approx(one.value - other.value)
    assert paired.high - paired.low < (one.high - one.low) / 20


def test_right_and_wrong_are_proportions() -> None:
    rng = np.random.default_rng(4)
    before, after = (rng.random(200) < 0.9).astype(float), (rng.random(200) < 0.8).astype(float)
    assert overall(TopK(), before) == proportion(int(before.sum()), 200)
    assert drop(TopK(), before, after) == paired_drop(before > 0, after > 0)
    assert drop(Cosine(), before, after) == paired_drop(before > 0, after > 0)


def test_an_item_without_an_answer_makes_an_error_infinite() -> None:
    errors = np.array([1.0, math.inf])
    assert overall(MEAN_ERROR, errors) == Interval(math.inf, -math.inf, math.inf, 2, "an item had no ok answer")
    assert drop(MEAN_ERROR, np.ones(2), errors).value == math.inf
    assert drop(MEAN_ERROR, errors, np.array([1.5, 1.0])).value == pytest.approx(0.5), "of what both answered"


def test_a_baseline_without_errors_has_none_to_grow() -> None:
    assert drop(RMS_ERROR, np.zeros(20), np.zeros(20)).value == 0.0
    assert drop(RMS_ERROR, np.zeros(20), np.ones(20)).value == math.inf


def test_a_single_item_that_makes_all_of_the_error_leaves_no_bound() -> None:
    before, after = np.full(30, 0.5), np.zeros(30)
    after[4] = 3.0
    assert drop(MEAN_ERROR, before, after).high == math.inf


def test_one_item_has_no_bounds_and_none_no_value() -> None:
    one = estimates.mean(np.array([0.5]))
    assert (one.value, one.low, one.high, one.why) == (0.5, -math.inf, math.inf, "one item has no spread")
    assert math.isnan(estimates.mean(np.empty(0)).value)


def test_items_have_to_match() -> None:
    with pytest.raises(ValueError, match=r"pairs must match, but got \(3,\) and \(4,\)"):
        drop(Cosine(), np.zeros(3), np.zeros(4))
