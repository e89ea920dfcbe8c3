"""Rates that change with time: the course of each shape, the shares of an MMPP's states, and what is refused."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from workloads.arrivals import NS_PER_S, Arrivals
from workloads.modulated import MarkovModulated, Profile, ramp, sinusoid, spike, steps, unit_arrivals


def times(process: Arrivals, duration_s: float, seed: int = 1) -> NDArray[np.float64]:
    return process.offsets_ns(duration_s, np.random.default_rng(seed)) / NS_PER_S


def rates_in(found: NDArray[np.float64], period_s: float, bins: int) -> NDArray[np.float64]:
    """Return the mean rate in each part of a period."""
    counts, _ = np.histogram(found % period_s, bins, (0.0, period_s))
    periods = np.ceil(found[-1] / period_s)
    return counts / (periods * period_s / bins)


def test_a_ramp_goes_up_in_a_straight_line() -> None:
    found = rates_in(times(ramp(100.0, 900.0, 10.0), 2_000.0), 10.0, 4)
    assert found == pytest.approx([200, 400, 600, 800], rel=0.03)


def test_steps_hold_their_rates() -> None:
    found = rates_in(times(steps([100.0, 0.0, 500.0], 2.0), 1_200.0), 6.0, 3)
    assert found == pytest.approx([100, 0, 500], rel=0.05)


def test_a_sinusoid_follows_its_wave() -> None:
    process = sinusoid(400.0, 0.5, 10.0)
    found = rates_in(times(process, 2_000.0), 10.0, 10)
    middles = np.arange(0.5, 10) / 10
    assert found == pytest.approx(400 * (1 + 0.5 * np.sin(2 * np.pi * middles)), rel=0.05)
    assert process.mean_rate_rps == pytest.approx(400, rel=1e-9)


def test_a_spike_is_in_the_middle_of_its_period() -> None:
    process = spike(100.0, 1_000.0, 1.0, 5.0)
    assert process.mean_rate_rps == pytest.approx((4 * 100 + 1_000) / 5)
    found = rates_in(times(process, 1_000.0), 5.0, 5)
    assert found == pytest.approx([100, 100, 1_000, 100, 100], rel=0.08)


@pytest.mark.parametrize("process", [ramp(10.0, 500.0, 3.0), spike(20.0, 800.0, 0.5, 4.0), sinusoid(200.0, 1.0, 2.0)])
def test_arrivals_are_poisson_once_the_rate_is_taken_out(process: Profile) -> None:
    """The integral of the rate up to each arrival is a sum of exponential gaps of mean 1."""
    found = times(process, 60.0)
    grid = np.linspace(0, process.period_s, 200_001)
    rates = np.interp(grid, process.times_s, process.rates_rps)
    if process.period_s == 4.0:
        rates = np.where((grid >= 1.75) & (grid < 2.25), 800.0, 20.0)
    cumulated = np.concatenate([[0], np.cumsum((rates[1:] + rates[:-1]) / 2 * np.diff(grid))])
    periods, rest = np.divmod(found, process.period_s)
    passed = periods * cumulated[-1] + np.interp(rest, grid, cumulated)
    gaps = np.diff(passed, prepend=0)
    assert stats.kstest(gaps, stats.expon().cdf).pvalue > 0.01


def test_nothing_comes_while_the_rate_is_zero() -> None:
    found = times(steps([0.0, 300.0], 0.5), 100.0) % 1.0
    assert found.min() >= 0.5


def test_the_states_of_an_mmpp_have_their_shares_of_the_time_and_their_rates() -> None:
    """States of 50/s and 5,000/s, 3 s and 1 s long: windows of 10 ms tell which of them it is."""
    process = MarkovModulated((50.0, 5_000.0), (3.0, 1.0))
    assert process.mean_rate_rps == pytest.approx((50 * 3 + 5_000) / 4)
    counts, _ = np.histogram(times(process, 4_000.0), 400_000, (0, 4_000.0))
    busy = counts > 15
    assert busy.mean() == pytest.approx(0.25, abs=0.025)
    assert counts[busy].mean() == pytest.approx(50, rel=0.03)
    assert counts[~busy].mean() == pytest.approx(0.5, rel=0.1)
    changes = np.count_nonzero(np.diff(busy.astype(int)) == 1)
    assert changes == pytest.approx(1_000, rel=0.1)


def test_from_a_state_each_of_the_others_follows_equally_often() -> None:
    process = MarkovModulated((0.0, 1_000.0, 20_000.0), (1.0, 1.0, 1.0))
    counts, _ = np.histogram(times(process, 1_000.0), 100_000, (0, 1_000.0))
    state = np.digitize(counts, [2, 60])
    shares = np.bincount(state) / len(state)
    assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 3], abs=0.06)


def test_an_mmpp_is_more_bursty_than_poisson() -> None:
    """The index of dispersion of counts is above 1."""
    counts, _ = np.histogram(times(MarkovModulated((100.0, 900.0), (0.5, 0.5)), 500.0), 1_000, (0, 500.0))
    assert counts.var() / counts.mean() > 20


def test_the_first_state_is_drawn_with_the_states_shares() -> None:
    process = MarkovModulated((0.0, 1_000.0), (3.0, 1.0))
    begun = [len(times(process, 0.02, seed)) > 0 for seed in range(400)]
    assert np.mean(begun) == pytest.approx(0.25, abs=0.08)


def test_the_arrivals_of_rate_one_have_exponential_gaps() -> None:
    block = next(unit_arrivals(np.random.default_rng(0)))
    assert stats.kstest(np.diff(block, prepend=0), stats.expon().cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ramp(0.0, 0.0, 1.0), "some of them above 0"),
        (lambda: ramp(1.0, 2.0, 0.0), "`over` must be > 0"),
        (lambda: ramp(-1.0, 2.0, 1.0), "rates must be >= 0"),
        (lambda: steps([1.0, 2.0], -1.0), "`each` must be > 0"),
        (lambda: sinusoid(1.0, 1.5, 1.0), "`amplitude` must be from 0 to 1"),
        (lambda: sinusoid(1.0, 0.5, 0.0), "`period` must be > 0"),
        (lambda: spike(1.0, 2.0, 2.0, 1.0), "`every` must be longer than `length`"),
        (lambda: Profile((0.0, 2.0, 1.0), (1.0, 1.0, 1.0)), "in the order of time"),
        (lambda: Profile((0.5, 2.0), (1.0, 1.0)), "the first of them at 0 s"),
        (lambda: MarkovModulated((1.0,), (1.0,)), "`states` must be two or more"),
        (lambda: MarkovModulated((1.0, 2.0), (1.0, 0.0)), "`dwell` must be > 0"),
        (lambda: MarkovModulated((0.0, 0.0), (1.0, 1.0)), "some of them above 0"),
        (lambda: sinusoid(5.0, 0.5, 1.0).at_rate(0.0), "`rate` must be > 0"),
        (lambda: MarkovModulated((1.0, 2.0), (1.0, 1.0)).at_rate(-1.0), "`rate` must be > 0"),
    ],
)
def test_says_what_is_wrong_with_a_shape(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
