"""The Pareto front."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from tuner import front
from tuner.front import hypervolume, membership, non_dominated

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


# membership


def noisy(
    values: object,
    low: object = None,
    high: object = None,
    maximize: tuple[bool, ...] = (True, False),
    draws: int = 2000,
) -> NDArray[np.float64]:
    """Return the membership of rows; a bound that a test does not say is the value itself."""
    table = np.array(values, float)
    bounds = [table if bound is None else np.array(bound, float) for bound in (low, high)]
    return membership(table, *bounds, maximize, np.random.default_rng(1), draws)


def beyond(threshold: float, value: float, low: float, high: float) -> float:
    """Return how often a value is drawn above a threshold: it then beats a row that sits there without noise."""
    rows = [[value], [threshold]]
    return float(noisy(rows, [[low], [threshold]], [[high], [threshold]], (True,), draws=20_000)[0])


positive = st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf]), st.floats(0, allow_nan=False))


@st.composite
def exact_tables(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[bool]]:
    maximize = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    row = st.tuples(*[positive] * len(maximize))
    return np.array(draw(st.lists(row, min_size=1, max_size=25)), float), maximize


@settings(deadline=None)
@given(exact_tables())
def test_without_noise_the_front_is_certain(table: tuple[NDArray[np.float64], list[bool]]) -> None:
    values, maximize = table
    found = membership(values, values, values, maximize, np.random.default_rng(0), draws=3)
    np.testing.assert_array_equal(found, non_dominated(values, maximize))


def drawn_slowly(value: float, low: float, high: float, rng: np.random.Generator) -> float:
    """Draw a value as the definition says it, one at a time."""
    if value == 0 or math.isinf(value):
        return value
    below = math.log(value / low) if low > 0 else None
    above = math.log(high / value) if math.isfinite(high) else None
    if below is None and above is None:
        return value * math.exp(rng.uniform(-math.log(2), math.log(2)))
    below, above = 2 * above if below is None else below, 2 * below if above is None else above
    z = rng.standard_normal()
    return value * math.exp(z * (above if z > 0 else below) / 1.96)


def estimates(rng: np.random.Generator, objectives: int) -> list[NDArray[np.float64]]:
    """Return values and bounds of 12 rows of about equal worth: some bounds missing, some values infinite or exact."""
    values = np.round(rng.lognormal(3, 0.2, (12, objectives)))
    low = values * rng.choice([0.8, 0.95, 0.0, -math.inf], values.shape)
    high = values * rng.choice([1.05, 1.5, math.inf], values.shape)
    if objectives > 1:
        for exact in (values, low, high):
            exact[[1, 2], -1] = 20.0
            exact[[3, 4], -1] = math.inf
            exact[5, 0] = 0.0
    return [values, low, high]


@pytest.mark.parametrize("maximize", [(True,), (True, False), (True, False, False)])
def test_membership_agrees_with_drawing_one_value_at_a_time(maximize: tuple[bool, ...]) -> None:
    rng, draws = np.random.default_rng(7), 4000
    values, low, high = estimates(rng, len(maximize))
    slow = np.zeros(len(values))
    for _ in range(draws):
        drawn = [drawn_slowly(*one, rng) for one in zip(values.flat, low.flat, high.flat, strict=True)]
        slow += non_dominated(np.reshape(drawn, values.shape), maximize)
    fast = membership(values, low, high, maximize, rng, draws)
    np.testing.assert_allclose(fast, slow / draws, atol=5 * math.sqrt(0.5 / draws))
    assert np.count_nonzero((fast > 0.1) & (fast < 0.9)) > 3


def test_of_two_rows_that_are_equally_good_each_is_on_the_front_half_of_the_time() -> None:
    found = noisy([[100, 5], [100, 5]], low=[[90, 5], [90, 5]], high=[[120, 5], [120, 5]])
    np.testing.assert_allclose(found, 0.5, atol=0.05)
    assert found.sum() == 1.0


def test_of_one_objective_equally_good_rows_share_the_front() -> None:
    found = noisy([[100]] * 5, [[80]] * 5, [[125]] * 5, (True,))
    np.testing.assert_allclose(found, 0.2, atol=0.05)
    assert found.sum() == pytest.approx(1.0)


def test_membership_is_the_probability_of_a_larger_normal_value() -> None:
    one, other = 100.0, 104.0
    found = noisy([[one], [other]], [[one / 1.1], [other / 1.05]], [[one * 1.1], [other * 1.05]], (True,), draws=20_000)
    spread = math.hypot(math.log(1.1), math.log(1.05)) / 1.96
    expected = stats.norm.sf(math.log(other / one) / spread)
    np.testing.assert_allclose(found, [expected, 1 - expected], atol=0.015)


@pytest.mark.parametrize(("low", "high"), [(90, 110), (50, 101), (99, 200)])
def test_the_value_is_the_median_and_the_bounds_are_those_of_95_percent(low: float, high: float) -> None:
    assert beyond(100, 100, low, high) == pytest.approx(0.5, abs=0.015)
    assert beyond(high, 100, low, high) == pytest.approx(0.025, abs=0.005)
    assert beyond(low, 100, low, high) == pytest.approx(0.975, abs=0.005)


@pytest.mark.parametrize("missing", [0.0, -1.0, -math.inf])
def test_a_missing_lower_bound_is_twice_as_far_away_as_the_upper_one(missing: float) -> None:
    assert beyond(100 / 1.1**2, 100, missing, 110) == pytest.approx(0.975, abs=0.005)


def test_a_missing_upper_bound_is_twice_as_far_away_as_the_lower_one() -> None:
    assert beyond(100 * 1.1**2, 100, 100 / 1.1, math.inf) == pytest.approx(0.025, abs=0.005)


@pytest.mark.parametrize(("factor", "share"), [(0.49, 1.0), (2**-0.5, 0.75), (1.0, 0.5), (2**0.5, 0.25), (2.01, 0.0)])
def test_a_value_without_bounds_is_uniform_from_half_to_twice_on_the_log_scale(factor: float, share: float) -> None:
    assert beyond(100 * factor, 100, 0.0, math.inf) == pytest.approx(share, abs=0.015)


def test_an_infinite_percentile_is_beaten_by_every_finite_one() -> None:
    found = noisy([[100, math.inf], [100, 5]], low=[[100, 1], [100, -math.inf]], high=[[100, math.inf]] * 2)
    assert found.tolist() == [0.0, 1.0]


def test_an_infinite_percentile_may_still_have_the_largest_throughput() -> None:
    found = noisy([[100, math.inf], [100, 5]], low=[[90, 1], [100, 5]], high=[[110, math.inf], [100, 5]])
    np.testing.assert_allclose(found, [0.5, 1.0], atol=0.05)


def test_zero_has_no_noise() -> None:
    assert noisy([[0.0, 5.0], [1e-9, 5.0]], low=[[0.0, 5.0], [0.0, 5.0]], high=[[1.0, 5.0], [1.0, 5.0]]).tolist() == [
        0,
        1,
    ]


def test_a_row_that_is_far_behind_is_never_on_the_front() -> None:
    found = noisy([[100, 5], [10, 50]], low=[[95, 4.8], [9, 45]], high=[[105, 5.2], [11, 55]])
    assert found.tolist() == [1.0, 0.0]


def test_the_same_seed_gives_the_same_membership() -> None:
    values = np.random.default_rng(3).lognormal(size=(30, 2))
    assert noisy(values, values * 0.5, values * 2).tolist() == noisy(values, values * 0.5, values * 2).tolist()


def test_many_draws_are_made_in_blocks_of_few() -> None:
    values = np.random.default_rng(3).lognormal(size=(400, 2))
    found = noisy(values, values * 0.9, values * 1.1, draws=1001)
    counts = found * 1001
    np.testing.assert_allclose(counts, np.round(counts))
    assert found.max() <= 1.0
    assert found.sum() > 1.0


def test_no_rows_have_no_membership() -> None:
    assert noisy(np.empty((0, 2))).tolist() == []


def test_membership_refuses_what_has_no_logarithm_or_no_interval() -> None:
    with pytest.raises(ValueError, match="NaN has no place on a front"):
        noisy([[1.0, math.nan]])
    with pytest.raises(ValueError, match=r"values of at least 0, but got -2\.0"):
        noisy([[1.0, -2.0]])
    with pytest.raises(ValueError, match=r"expected \[points, 2\] values, but got shape \(1, 1\)"):
        noisy([[1.0]])
    with pytest.raises(ValueError, match=r"expected bounds of shape \(1, 2\), but got \(1, 1\) and \(1, 2\)"):
        noisy([[1.0, 2.0]], low=[[1.0]])
    with pytest.raises(ValueError, match="`draws >= 1` must hold, but got 0"):
        noisy([[1.0, 2.0]], draws=0)


@pytest.mark.parametrize(("low", "high"), [(2.5, 3.0), (1.0, 1.5), (math.nan, 3.0), (1.0, math.nan)])
def test_membership_refuses_a_value_outside_its_interval(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"`low <= value <= high` must hold, but got \S+, 2\.0 and"):
        noisy([[1.0, 2.0]], low=[[1.0, low]], high=[[1.0, high]])


# The hypervolume.


def test_the_volume_of_two_steps_is_that_of_their_union() -> None:
    values = np.array([[3.0, 1.0], [1.0, 2.0], [0.5, 0.5]])
    assert hypervolume(values, np.zeros(2), [True, True]) == 3 * 1 + 1 * 1


def test_less_is_better_where_it_is_minimized() -> None:
    values = np.array([[3.0, 8.0], [1.0, 5.0]])
    assert hypervolume(values, np.array([0.0, 10.0]), [True, False]) == 3 * 2 + 1 * 3


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 8))
def test_the_volume_is_that_of_a_count_of_cells(seed: int, objectives: int, points: int) -> None:
    values = np.random.default_rng(seed).integers(0, 5, (points, objectives)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(5)] * objectives, indexing="ij"), axis=-1).reshape(-1, objectives)
    inside = (cells[:, None, :] < values[None, :, :]).all(axis=2).any(axis=1)
    assert hypervolume(values, np.zeros(objectives), [True] * objectives) == inside.sum()


def test_what_is_no_better_than_the_reference_dominates_nothing() -> None:
    assert hypervolume(np.array([[1.0, 0.0], [-1.0, 9.0]]), np.zeros(2), [True, True]) == 0
    assert hypervolume(np.empty((0, 2)), np.zeros(2), [True, True]) == 0


def test_a_volume_takes_as_long_as_the_front_has_points(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    area = front._area

    def counted(sides: NDArray[np.float64]) -> float:
        measured.append(len(sides))
        return area(sides)

    monkeypatch.setattr(front, "_area", counted)
    best = np.array([[9.0, 4.0, 5.0], [5.0, 9.0, 4.0], [4.0, 5.0, 9.0]])
    many = np.vstack([best, best, np.random.default_rng(5).uniform(0.0, 4.0, (1000, 3))])
    assert hypervolume(many, np.zeros(3), [True] * 3) == pytest.approx(hypervolume(best, np.zeros(3), [True] * 3))
    assert max(measured) == len(best)
    assert len(measured) == 2 * len(best)
