"""Traces played again, several processes at once."""

import numpy as np
import pytest

from workloads.arrivals import NS_PER_S, Arrivals, Bursty, Constant, Gamma, Poisson
from workloads.modulated import sinusoid
from workloads.replay import Replay, Superposition


def times(process: Arrivals, duration_s: float, seed: int = 1) -> list[float]:
    found: list[float] = (process.offsets_ns(duration_s, np.random.default_rng(seed)) / NS_PER_S).tolist()
    return found


def test_a_trace_is_played_again_after_the_mean_gap() -> None:
    replay = Replay.of(np.array([5.0, 5.1, 5.4]))
    assert replay.span_s == pytest.approx(0.6)
    assert times(replay, 1.3) == pytest.approx([0, 0.1, 0.4, 0.6, 0.7, 1.0, 1.2])
    assert replay.mean_rate_rps == pytest.approx(5.0)


def test_moments_may_come_in_any_order() -> None:
    assert Replay.of(np.array([3.0, 1.0, 2.0])).times_s.tolist() == [0.0, 1.0, 2.0]


def test_another_rate_stretches_all_gaps_alike() -> None:
    replay = Replay.of(np.array([0.0, 0.1, 0.4, 0.45]))
    slower = replay.at_rate(replay.mean_rate_rps / 2)
    assert slower.times_s.tolist() == pytest.approx([0.0, 0.2, 0.8, 0.9])
    assert slower.span_s == pytest.approx(2 * replay.span_s)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replay.of(np.array([])), "needs two arrivals at different times, but has 0"),
        (lambda: Replay.of(np.array([1.0, 1.0])), "needs two arrivals at different times"),
        (lambda: Replay(np.array([0.0, 1.0]), 1.0), "must be after the last arrival, at 1 s"),
        (lambda: Replay(np.array([1.0, 0.5]), 2.0), "in the order of time"),
        (lambda: Superposition((Constant(1.0),)), "`parts` must be two or more"),
    ],
)
def test_says_what_is_wrong(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sum_has_the_arrivals_of_all_parts() -> None:
    both = times(Superposition((Constant(10.0), Bursty(2, 0.25))), 1.0)
    assert both == sorted(times(Constant(10.0), 1.0) + times(Bursty(2, 0.25), 1.0))


def test_the_parts_of_a_sum_are_independent_of_each_other() -> None:
    parts = Superposition((Poisson(100.0), Poisson(100.0)))
    one, other = parts, Superposition((Poisson(100.0), Constant(50.0)))
    first = set(times(other, 5.0)) - set(times(Constant(50.0), 5.0))
    assert first <= set(times(one, 5.0))
    assert len(times(one, 5.0)) > 1.5 * len(first)


def test_a_sum_is_long_enough_for_parts_of_very_different_rates() -> None:
    found = np.array(times(Superposition((Constant(200_000.0), Constant(2.0))), 1.0))
    assert len(found) == 200_002
    assert np.all(np.diff(found) >= 0)


def test_a_sum_at_another_rate_keeps_the_parts_shares() -> None:
    twice = Superposition((Constant(10.0), Poisson(30.0))).at_rate(80.0)
    assert [part.mean_rate_rps for part in twice.parts] == pytest.approx([20.0, 60.0])


def test_a_sum_has_the_period_that_its_parts_share() -> None:
    bursts = Bursty(3, 0.5)
    assert Superposition((Poisson(5.0), bursts)).period_s == bursts.period_s
    assert Superposition((Poisson(5.0), bursts)).edge_s == bursts.edge_s
    alike = Superposition((Bursty(10, 0.05, 0.0005), Bursty(5, 0.0545)))
    assert alike.period_s == pytest.approx(0.0545), "the same but for rounding"
    clustered = Superposition((Bursty(40, 1.0), Gamma(50.0, 4.0)))
    assert (clustered.period_s, clustered.least_window_s) == (1.0, 8.0)
    different = Superposition((sinusoid(10.0, 0.5, 2.0), bursts))
    assert different.period_s == 0.0
    assert different.shape_s == 2.0
