"""Schedules: what is sent when, fixed before the run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.arrivals import Bursty, Constant, Poisson
from workloads.order import Order
from workloads.schedule import Schedule, make_schedule

relaxed = settings(deadline=None, max_examples=60)


@relaxed
@given(st.integers(0, 2**63), st.integers(1, 50))
def test_the_same_seed_makes_the_same_schedule(seed: int, n_requests: int) -> None:
    one, other = (make_schedule(Poisson(300.0), 0.5, Order(n_requests), seed) for _ in range(2))
    np.testing.assert_array_equal(one.offsets_ns, other.offsets_ns)
    np.testing.assert_array_equal(one.requests, other.requests)


def test_another_seed_makes_another_schedule() -> None:
    one, other = (make_schedule(Poisson(300.0), 0.5, Order(10), seed) for seed in (1, 2))
    assert one.offsets_ns.tolist() != other.offsets_ns.tolist()


def test_which_requests_are_sent_does_not_depend_on_the_arrivals() -> None:
    constant, bursty = (make_schedule(process, 1.0, Order(7), 3) for process in (Constant(100.0), Bursty(10, 0.1)))
    assert len(constant) == len(bursty) == 100
    np.testing.assert_array_equal(constant.requests, bursty.requests)


def test_when_requests_are_sent_does_not_depend_on_their_number() -> None:
    few, many = (make_schedule(Poisson(300.0), 0.5, Order(n), 3) for n in (2, 200))
    np.testing.assert_array_equal(few.offsets_ns, many.offsets_ns)


@relaxed
@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_a_longer_schedule_only_appends(duration_s: float, more_s: float) -> None:
    short, long = (make_schedule(Poisson(500.0), length, Order(9), 5) for length in (duration_s, duration_s + more_s))
    np.testing.assert_array_equal(long.offsets_ns[: len(short)], short.offsets_ns)
    np.testing.assert_array_equal(long.requests[: len(short)], short.requests)


@relaxed
@given(st.integers(1, 12), st.integers(0, 1000))
def test_shards_add_up_to_the_whole(count: int, seed: int) -> None:
    whole = make_schedule(Poisson(400.0), 0.5, Order(11), seed)
    shards = [whole.shard(index, count) for index in range(count)]
    together = sorted((t, r) for one in shards for t, r in zip(one.offsets_ns, one.requests, strict=True))
    assert together == sorted(zip(whole.offsets_ns, whole.requests, strict=True))


def test_shards_are_interleaved_so_that_each_has_the_whole_duration() -> None:
    whole = make_schedule(Constant(10.0), 1.0, Order(3), 0)
    assert whole.shard(1, 3).offsets_ns.tolist() == [100_000_000, 400_000_000, 700_000_000]


@pytest.mark.parametrize(("index", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_must_be_one_of_the_count(index: int, count: int) -> None:
    with pytest.raises(ValueError, match=rf"got \(index={index}, count={count}\)"):
        make_schedule(Constant(10.0), 1.0, Order(3), 0).shard(index, count)


def test_offsets_and_requests_must_match() -> None:
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2,\)"):
        Schedule(np.zeros(3, np.int64), np.zeros(2, np.int32))
