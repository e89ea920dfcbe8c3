"""Distributions of lengths against their textbooks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.lengths import Constant, Lengths, LogNormal, Normal, Uniform

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


@given(st.integers(1, 50), st.integers(0, 50), st.floats(0.1, 500), st.floats(0, 500), st.integers(0, 9))
def test_lengths_are_within_their_range_and_the_same_for_a_seed(
    low: int, more: int, middle: float, spread: float, seed: int
) -> None:
    high = low + more
    kinds = [Uniform(low, high), Normal(middle, spread, low, high), LogNormal(middle, spread / 100, low, high)]
    for lengths in kinds:
        found = draw(lengths, 50, seed)
        assert found.dtype == np.int64
        assert low <= found.min() <= found.max() <= high
        assert np.array_equal(found, draw(lengths, 50, seed))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(0), "`length` must be >= 1, but got 0"),
        (lambda: Uniform(5, 4), "`1 <= low <= high` must hold, but got low 5 and high 4"),
        (lambda: Normal(5, -1, 1, 9), "`sd` must be >= 0, but got -1"),
        (lambda: LogNormal(0, 1, 1, 9), "`median` must be > 0 and `sigma` >= 0, but got median 0"),
    ],
)
def test_a_distribution_that_is_none_is_named(make: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the message is compared
        make()
    assert message in str(raised.value)
