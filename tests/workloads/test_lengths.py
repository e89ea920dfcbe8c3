"""Distributions of lengths against their textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.lengths import Constant, Histogram, Lengths, LogNormal, Normal, Uniform, Zipf

N = 20_000


def draw(lengths: Lengths, count: int = N, seed: int = 1) -> np.ndarray:
    return lengths.draw(count, np.random.default_rng(seed))


def test_a_constant_length_is_always_the_same() -> None:
    assert set(draw(Constant(7))) == {7}


def test_every_length_of_a_uniform_distribution_is_as_frequent() -> None:
    values, counts = np.unique(draw(Uniform(3, 12)), return_counts=True)
    assert list(values) == list(range(3, 13))
    assert np.all(np.abs(counts - N / 10) < 5 * np.sqrt(N / 10))


def test_a_normal_distribution_has_its_mean_and_deviation() -> None:
    found = draw(Normal(100, 15, 1, 1000))
    assert found.mean() == pytest.approx(100, abs=5 * 15 / np.sqrt(N))
    assert found.std() == pytest.approx(15, rel=0.05)


def test_a_lognormal_distribution_has_its_median_and_sigma() -> None:
    found = draw(LogNormal(200, 0.5, 1, 100_000))
    assert np.median(found) == pytest.approx(200, rel=0.03)
    assert np.log(found).std() == pytest.approx(0.5, rel=0.05)


def test_the_lengths_of_zipf_fall_off_as_a_power() -> None:
    found = draw(Zipf(1.5, 10, 60))
    counts = np.bincount(found, minlength=61)[10:]
    weights = np.arange(1, 52) ** -1.5
    expected = N * weights / weights.sum()
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 1)


def test_a_histogram_has_its_shares() -> None:
    values, counts = np.unique(draw(Histogram((5, 50, 500), (1.0, 0.0, 3.0))), return_counts=True)
    assert list(values) == [5, 500]
    assert counts[0] == pytest.approx(N / 4, abs=5 * np.sqrt(N * 3 / 16))


@given(st.integers(1, 50), st.integers(0, 50), st.floats(0.1, 500), st.floats(0, 500), st.integers(0, 9))
def test_lengths_are_within_their_range_and_the_same_for_a_seed(
    low: int, more: int, middle: float, spread: float, seed: int
) -> None:
    high = low + more
    kinds: list[Lengths] = [
        Uniform(low, high),
        Normal(middle, spread, low, high),
        LogNormal(middle, spread / 100, low, high),
        Zipf(middle / 100, low, high),
        Histogram((low, high), (middle, spread)),
    ]
    for lengths in kinds:
        found = draw(lengths, 50, seed)
        assert found.dtype == np.int64
        assert low <= found.min() <= found.max() <= high
        assert np.array_equal(found, draw(lengths, 50, seed))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0), "`length` must be >= 1, but got 0"),
        (lambda: Zipf(0, 1, 5), "`skew` must be > 0, but got 0"),
        (lambda: Histogram((1, 2), (1.0,)), "`weights` must be one for each of the 2 `values`"),
        (lambda: Histogram((1,), (0.0,)), "some of them above 0"),
        (lambda: Uniform(5, 4), "`1 <= low <= high` must hold, but got low 5 and high 4"),
        (lambda: Normal(5, -1, 1, 9), "`sd` must be >= 0, but got -1"),
        (lambda: LogNormal(0, 1, 1, 9), "`median` must be > 0 and `sigma` >= 0, but got median 0"),
    ],
)
def test_a_distribution_that_is_none_is_named(make: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        make()
    assert message in str(raised.value)
