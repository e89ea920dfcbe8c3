"""Arrival processes: properties that every process has, and the numbers of each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from workloads.arrivals import BLOCK, NS_PER_S, Arrivals, Bursty, Constant, Gamma, Jittered, Poisson
from workloads.modulated import MarkovModulated, Profile, ramp, sinusoid, spike, steps
from workloads.replay import Replay, Superposition

rates = st.floats(1.0, 5_000.0)
durations_ms = st.integers(1, 1_500)
seeds = st.integers(0, 2**32)
bursts = st.builds(
    lambda size, pause_ms, spacing_ms: Bursty(size, pause_ms / 1000, spacing_ms / 1000),
    st.integers(1, 40),
    st.integers(1, 200),
    st.integers(0, 20),
)
traces = (
    st.lists(st.integers(0, 300), min_size=2, max_size=40)
    .filter(lambda at: len(set(at)) > 1)
    .map(lambda at: Replay.of(np.array(at) / 1000))
)
even: st.SearchStrategy[Arrivals] = st.one_of(
    st.builds(Constant, rates), st.builds(Jittered, rates, st.floats(0.01, 1.0)), bursts, traces
)
renewal: st.SearchStrategy[Arrivals] = st.one_of(
    st.builds(Poisson, rates), st.builds(Gamma, rates, st.floats(0.3, 3.0))
)
lengths_s = st.floats(0.05, 0.5)
modulated: st.SearchStrategy[Arrivals] = st.one_of(
    st.builds(ramp, rates, rates, lengths_s),
    st.builds(steps, st.lists(rates, min_size=2, max_size=5), lengths_s),
    st.builds(sinusoid, rates, st.floats(0.0, 1.0), lengths_s),
    st.builds(lambda base, peak, length: spike(base, peak, length, 3 * length), rates, rates, lengths_s),
    st.builds(
        lambda states: MarkovModulated(tuple(rate for rate, _ in states), tuple(dwell for _, dwell in states)),
        st.lists(st.tuples(rates, lengths_s), min_size=2, max_size=4),
    ),
)
simple = st.one_of(even, renewal, modulated)
processes: st.SearchStrategy[Arrivals] = st.one_of(
    simple, st.lists(simple, min_size=2, max_size=3).map(lambda parts: Superposition(tuple(parts)))
)
EXAMPLES = (
    Constant(800.0),
    Jittered(800.0, 0.5),
    Poisson(800.0),
    Gamma(800.0, 2.0),
    Bursty(8, 0.009, 0.0001),
    Bursty(10, 0.02),
    ramp(0.0, 1600.0, 0.25),
    steps([400.0, 0.0, 2000.0], 0.1),
    sinusoid(800.0, 1.0, 0.2),
    spike(500.0, 2000.0, 0.05, 0.25),
    MarkovModulated((0.0, 1600.0), (0.05, 0.05)),
    Replay.of(np.array([0.0, 0.001, 0.0011, 0.004])),
    Superposition((Constant(300.0), Poisson(500.0))),
)
relaxed = settings(deadline=None, max_examples=60)


def offsets(process: Arrivals, duration_s: float, seed: int = 1) -> NDArray[np.int64]:
    return process.offsets_ns(duration_s, np.random.default_rng(seed))


@relaxed
@given(processes, durations_ms, seeds)
def test_offsets_are_sorted_and_not_negative(process: Arrivals, duration_ms: int, seed: int) -> None:
    found = offsets(process, duration_ms / 1000, seed)
    assert found.dtype == np.int64
    assert np.all(np.diff(found) >= 0)
    assert np.all(found >= 0)


@relaxed
@given(processes, durations_ms, seeds)
def test_offsets_lie_below_the_duration(process: Arrivals, duration_ms: int, seed: int) -> None:
    assert np.all(offsets(process, duration_ms / 1000, seed) < duration_ms * 1_000_000)


def test_no_burst_begins_at_the_very_end_of_the_duration() -> None:
    """Three pauses of 9 ms end at 27 ms, whatever 3 * 0.009 is in binary."""
    wrong = [
        (pause_ms, bursts)
        for pause_ms in range(1, 60)
        for bursts in range(1, 8)
        if len(offsets(Bursty(1, pause_ms / 1000), bursts * pause_ms / 1000)) != bursts
    ]
    assert wrong == []


def test_an_arrival_that_rounds_to_the_duration_is_not_in_it() -> None:
    assert offsets(Constant(np.nextafter(1.0, 2.0)), 1.0).tolist() == [0]


@relaxed
@given(processes, durations_ms, seeds)
def test_the_same_seed_gives_the_same_offsets(process: Arrivals, duration_ms: int, seed: int) -> None:
    duration_s = duration_ms / 1000
    np.testing.assert_array_equal(offsets(process, duration_s, seed), offsets(process, duration_s, seed))


@relaxed
@given(processes, durations_ms, durations_ms, seeds)
def test_a_longer_duration_only_appends(process: Arrivals, duration_ms: int, more_ms: int, seed: int) -> None:
    short = offsets(process, duration_ms / 1000, seed)
    long = offsets(process, (duration_ms + more_ms) / 1000, seed)
    np.testing.assert_array_equal(long[: len(short)], short)


@relaxed
@given(even, st.floats(0.2, 5.0), seeds)
def test_the_mean_rate_of_even_arrivals_is_the_one_promised(process: Arrivals, duration_s: float, seed: int) -> None:
    expected = process.mean_rate_rps * duration_s
    most_at_once = process.mean_rate_rps * process.period_s
    assert abs(len(offsets(process, duration_s, seed)) - expected) <= most_at_once + 2


@pytest.mark.parametrize("process", EXAMPLES, ids=lambda one: type(one).__name__)
def test_the_mean_rate_is_the_one_promised(process: Arrivals) -> None:
    """Over 200 s, in 16 runs: the mean lies within 4 standard errors of it, that are not above 3%."""
    counts = [len(offsets(process, 200.0, seed)) for seed in range(16)]
    error = max(np.std(counts, ddof=1) / 4, 1.0)
    assert error < 0.03 * process.mean_rate_rps * 200
    assert abs(np.mean(counts) - process.mean_rate_rps * 200) < 4 * error


@relaxed
@given(processes, rates)
def test_at_rate_gives_the_rate_asked_for(process: Arrivals, rate: float) -> None:
    assert process.at_rate(rate).mean_rate_rps == pytest.approx(rate)


@relaxed
@given(st.one_of(even, renewal), st.floats(0.25, 4.0), seeds)
def test_at_rate_stretches_time_and_keeps_the_shape(process: Arrivals, factor: float, seed: int) -> None:
    slower = process.at_rate(process.mean_rate_rps / factor)
    original, stretched = offsets(process, 0.5, seed), offsets(slower, 0.5 * factor, seed)
    common = min(len(original), len(stretched))
    assert abs(len(original) - len(stretched)) <= process.mean_rate_rps * process.period_s + 1
    np.testing.assert_allclose(stretched[:common], original[:common] * factor, rtol=1e-9, atol=factor + 1)


@pytest.mark.parametrize("process", [one for one in EXAMPLES if isinstance(one, Profile)], ids=lambda one: one.period_s)
def test_at_rate_keeps_the_course_in_time(process: Arrivals) -> None:
    assert process.at_rate(3 * process.mean_rate_rps).period_s == pytest.approx(process.period_s)


@pytest.mark.parametrize("process", EXAMPLES, ids=lambda one: type(one).__name__)
def test_a_duration_of_zero_holds_nothing(process: Arrivals) -> None:
    assert len(offsets(process, 0.0)) == 0


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    assert offsets(Constant(400.0), 0.01).tolist() == [0, 2_500_000, 5_000_000, 7_500_000]


def test_constant_arrivals_do_not_drift() -> None:
    found = offsets(Constant(3.0), 1_000.0)
    assert found[2_999] == round(2_999 / 3 * NS_PER_S)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_gaps_are_exponential(seed: int) -> None:
    gaps = np.diff(offsets(Poisson(1_000.0), 20.0, seed), prepend=0) / NS_PER_S
    assert stats.kstest(gaps, stats.expon(scale=1 / 1_000).cdf).pvalue > 0.01


def test_poisson_gaps_are_independent() -> None:
    gaps = np.diff(offsets(Poisson(1_000.0), 20.0))
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 3 / np.sqrt(len(gaps))


def test_poisson_arrivals_change_with_the_seed() -> None:
    assert offsets(Poisson(100.0), 1.0, 1).tolist() != offsets(Poisson(100.0), 1.0, 2).tolist()


def test_poisson_arrivals_go_on_beyond_one_block_of_draws() -> None:
    found = offsets(Poisson(2.0 * BLOCK), 1.0)
    assert len(found) == pytest.approx(2 * BLOCK, rel=0.03)
    assert found[-1] > 0.99 * NS_PER_S


def test_bursts_come_at_once_without_spacing() -> None:
    assert offsets(Bursty(3, 0.02), 0.05).tolist() == [0, 0, 0, *[20_000_000] * 3, *[40_000_000] * 3]


def test_bursts_have_their_spacing_inside_and_their_pause_between() -> None:
    found = offsets(Bursty(3, 0.010, 0.001), 0.025)
    milliseconds = [0, 1, 2, 12, 13, 14, 24]
    assert found.tolist() == [one * 1_000_000 for one in milliseconds]


def test_a_burst_that_outlasts_the_duration_is_cut() -> None:
    assert offsets(Bursty(100, 0.01, 0.001), 0.0035).tolist() == [0, 1_000_000, 2_000_000, 3_000_000]


def test_bursts_state_their_period_and_mean_rate() -> None:
    process = Bursty(10, 0.02, 0.001)
    assert process.period_s == pytest.approx(0.029)
    assert process.mean_rate_rps == pytest.approx(10 / 0.029)


def test_bursts_keep_their_size_at_another_rate() -> None:
    slower = Bursty(10, 0.02, 0.001).at_rate(Bursty(10, 0.02, 0.001).mean_rate_rps / 2)
    assert slower.burst_size == 10
    assert slower.pause_s == pytest.approx(0.04)
    assert slower.spacing_s == pytest.approx(0.002)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("make", [Constant, Poisson, Bursty(1, 0.1).at_rate], ids=["constant", "poisson", "at_rate"])
def test_a_rate_must_be_positive(make: type[Constant], rate: float) -> None:
    with pytest.raises(ValueError, match=f"`rate` must be > 0, but got {rate}"):
        make(rate)


@pytest.mark.parametrize(
    ("size", "pause", "spacing", "message"),
    [
        (0, 0.1, 0.0, "`burst_size` must be > 0, but got 0"),
        (1, 0.0, 0.0, "`pause` must be > 0, but got 0.0"),
        (1, 0.1, -0.5, "`spacing` must be >= 0, but got -0.5 s"),
    ],
)
def test_a_burst_says_which_of_its_values_is_wrong(size: int, pause: float, spacing: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bursty(size, pause, spacing)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_gamma_gaps_are_gamma_distributed(cv: float, seed: int) -> None:
    """Before they are rounded to nanoseconds: with a CV of 2 some 2% of the gaps are shorter."""
    gaps = np.diff(next(Gamma(1_000.0, cv).blocks(np.random.default_rng(seed))), prepend=0)
    assert stats.kstest(gaps, stats.gamma(cv**-2, scale=cv**2 / 1_000).cdf).pvalue > 0.001
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_jitter_moves_each_arrival_within_its_gap() -> None:
    found = offsets(Jittered(100.0, 0.5), 10.0) / NS_PER_S
    late = found - np.arange(len(found)) / 100
    assert stats.kstest(late, stats.uniform(0, 0.005).cdf).pvalue > 0.01
    gaps = np.diff(found)
    assert gaps.std() / gaps.mean() == pytest.approx(0.5 / np.sqrt(6), rel=0.1)


@pytest.mark.parametrize("jitter", [0.0, 1.5])
def test_jitter_is_a_share_of_a_gap(jitter: float) -> None:
    with pytest.raises(ValueError, match=f"`jitter` must be above 0 and at most 1, but got {jitter:g}"):
        Jittered(1.0, jitter)
