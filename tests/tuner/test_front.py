"""The Pareto front."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tuner.front import non_dominated

numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))


@st.composite
def tables(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[bool]]:
    maximize = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    row = st.tuples(*[numbers] * len(maximize))
    return np.array(draw(st.lists(row, min_size=1, max_size=25)), float), maximize


def dominates(one: NDArray[np.float64], other: NDArray[np.float64], maximize: list[bool]) -> bool:
    """Say it as the definition does, one objective at a time."""
    pairs = [(a, b) if more else (b, a) for a, b, more in zip(one, other, maximize, strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@settings(deadline=None)
@given(tables())
def test_no_row_of_the_front_is_dominated(table: tuple[NDArray[np.float64], list[bool]]) -> None:
    values, maximize = table
    front = values[non_dominated(values, maximize)]
    assert len(front) > 0
    assert not any(dominates(one, other, maximize) for one in values for other in front)


@settings(deadline=None)
@given(tables())
def test_every_other_row_is_dominated_by_one_of_the_front(table: tuple[NDArray[np.float64], list[bool]]) -> None:
    values, maximize = table
    kept = non_dominated(values, maximize)
    assert all(any(dominates(one, other, maximize) for one in values[kept]) for other in values[~kept])


@settings(deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table: tuple[NDArray[np.float64], list[bool]], random: object) -> None:
    values, maximize = table
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_array_equal(non_dominated(values[order], maximize), non_dominated(values, maximize)[order])


def test_equal_rows_are_all_kept() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 3.0]])
    assert non_dominated(values, [True, False]).tolist() == [True, True, False]


def test_a_known_front() -> None:
    throughput_and_p99 = np.array([[100, 5], [200, 9], [150, 9], [200, 12], [300, math.inf]])
    assert non_dominated(throughput_and_p99, [True, False]).tolist() == [True, True, False, False, True]


def test_one_objective_has_its_best_rows_only() -> None:
    assert non_dominated(np.array([[1.0], [3.0], [3.0], [2.0]]), [True]).tolist() == [False, True, True, False]


def test_no_rows_have_no_front() -> None:
    assert non_dominated(np.empty((0, 2)), [True, False]).tolist() == []


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN has no place on a front"):
        non_dominated(np.array([[1.0, math.nan]]), [True, False])


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3)])
def test_every_objective_needs_a_direction(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[points, 2\] values, but got shape"):
        non_dominated(np.zeros(shape), [True, False])
