"""A transient is found where it is, a steady queue is left alone, one that grows is called overloaded."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from targets.simulated.model import serve
from tuner.steady import drift, judge, transient

RUNS = 100


def queue(load: float, n: int, seed: int, skipped: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return intended and done times of an M/M/1 queue at a load, its first requests left out."""
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(0.001 / load, n + skipped))
    done = serve(arrivals, rng.exponential(0.001, n + skipped)).done_s
    return (arrivals * 1e9).astype(np.int64)[skipped:], (done * 1e9).astype(np.int64)[skipped:]


def states(load: float, n: int, skipped: int = 0) -> list[str]:
    found = []
    for seed in range(RUNS):
        intended, done = queue(load, n, seed, skipped)
        found.append(judge(intended, done, (done - intended) / 1e9, open_loop=True).state)
    return found


@pytest.mark.parametrize("load", [0.5, 0.9])
def test_a_steady_queue_is_seldom_called_anything_else(load: float) -> None:
    """1% is nominal: 6 of 100 or more would come with a probability of 0.05%."""
    assert states(load, 5000, skipped=4000).count("steady") >= RUNS - 5


def test_a_queue_that_gets_more_than_it_can_serve_is_overloaded() -> None:
    assert states(1.3, 4000, skipped=500).count("overloaded") >= RUNS - 5


def test_a_closed_loop_is_never_overloaded() -> None:
    intended, done = queue(1.3, 4000, 0)
    found = judge(intended, done, (done - intended) / 1e9, open_loop=False)
    assert found.state == "unstable"
    assert found.reason is not None
    assert "the mean latency rose by" in found.reason


def test_an_overload_says_how_the_queue_grew() -> None:
    intended, done = queue(1.5, 4000, 0)
    found = judge(intended, done, (done - intended) / 1e9, open_loop=True)
    assert found.reason is not None
    assert "the queue grows" in found.reason


def test_a_server_that_gets_faster_is_unstable() -> None:
    rng = np.random.default_rng(0)
    latencies = rng.exponential(0.001, 3000) * np.linspace(3, 1, 3000)
    intended = np.arange(3000) * 1_000_000
    found = judge(intended, intended + (latencies * 1e9).astype(np.int64), latencies, open_loop=True)
    assert (found.state, (found.reason or "")[:23]) == ("unstable", "the mean latency fell b")


def test_a_drift_too_small_to_matter_is_left_alone() -> None:
    latencies = np.random.default_rng(0).normal(1.0, 0.01, 50_000) * np.where(np.arange(50_000) < 20_000, 1, 1.05)
    assert drift(latencies) == pytest.approx(0.05, abs=0.005)
    intended = np.arange(50_000) * 1_000
    assert judge(intended, intended + 1000, latencies, open_loop=True).state == "steady"


def test_few_requests_say_nothing_of_a_drift() -> None:
    assert drift(np.arange(1.0, 100.0)) == 0.0


def test_failures_are_no_drift_by_themselves() -> None:
    latencies = np.random.default_rng(0).exponential(1.0, 5000)
    latencies[4000:4010] = math.inf
    assert drift(latencies) == 0.0


def test_the_end_of_a_transient_is_found() -> None:
    """A start that decays over 100 requests is gone after some hundreds."""
    cuts = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        cuts.append(transient(rng.exponential(1.0, 3000) + 5 * np.exp(-np.arange(3000) / 100)))
    assert cuts.count(None) <= 5
    assert 100 <= np.median([cut for cut in cuts if cut is not None]) <= 500


def test_a_series_without_a_transient_keeps_nearly_all() -> None:
    cuts = [transient(np.random.default_rng(seed).exponential(1.0, 3000)) for seed in range(RUNS)]
    assert np.median([cut for cut in cuts if cut is not None]) <= 150


def test_spikes_are_no_transient() -> None:
    """One request of 300 takes a hundred times as long, wherever it falls."""
    cuts = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        cuts.append(transient(rng.normal(1.0, 0.1, 1500) + 100 * (rng.random(1500) < 1 / 300)))
    assert cuts.count(None) <= 0.1 * RUNS


def test_a_transient_that_lasts_is_no_steady_state() -> None:
    assert transient(np.linspace(1.0, 2.0, 1000)) is None


def test_too_few_values_show_no_steady_state() -> None:
    assert transient(np.ones(99)) is None
    assert transient(np.ones(100)) == 0
