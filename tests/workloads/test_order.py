"""Which request is sent when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workloads.order import Order

relaxed = settings(deadline=None, max_examples=60)
seeds = st.integers(0, 1000)


def order(which: Order, length: int, seed: int = 0) -> NDArray[np.int32]:
    return which.indices(length, np.random.default_rng(seed))


@relaxed
@given(st.integers(1, 30), st.integers(0, 200), st.booleans(), seeds)
def test_every_request_is_sent_equally_often(count: int, length: int, shuffled: bool, seed: int) -> None:
    found = order(Order(count, shuffled), length, seed)
    counts = np.bincount(found, minlength=count)
    assert found.dtype == np.int32
    assert counts.sum() == length
    assert len(counts) == count
    assert counts.max() - counts.min() <= 1


def test_the_order_of_requests_is_shuffled_anew_in_every_pass() -> None:
    found = order(Order(50), 100)
    assert found[:50].tolist() != list(range(50))
    assert found[:50].tolist() != found[50:].tolist()


def test_requests_that_are_not_shuffled_come_in_their_own_order() -> None:
    assert order(Order(3, shuffled=False), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]


@relaxed
@given(st.integers(1, 30), st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.0, 0.3, 0.9]), seeds)
def test_a_longer_order_only_appends(count: int, length: int, more: int, repeats: float, seed: int) -> None:
    which = Order(count, repeats=repeats)
    assert order(which, length + more, seed)[:length].tolist() == order(which, length, seed).tolist()


@pytest.mark.parametrize("repeats", [0.2, 0.4])
def test_the_asked_share_of_requests_was_sent_before(repeats: float) -> None:
    found = order(Order(50_000, repeats=repeats), 40_000)
    first = np.zeros(len(found), bool)
    first[np.unique(found, return_index=True)[1]] = True
    assert 1 - first.mean() == pytest.approx(repeats, abs=4 * np.sqrt(repeats * (1 - repeats) / 40_000))


@relaxed
@given(st.integers(1, 40), st.integers(1, 300), st.floats(0.05, 0.95), st.floats(0.0, 3.0), seeds)
def test_a_repeat_was_sent_before(count: int, length: int, repeats: float, skew: float, seed: int) -> None:
    found = order(Order(count, repeats=repeats, skew=skew), length, seed).tolist()
    fresh = order(Order(count, repeats=repeats, skew=skew), length, seed)
    assert set(found) <= set(range(count))
    seen: list[int] = []
    news = iter(dict.fromkeys(found))
    for one in found:
        if one not in seen:
            assert one == next(news)
            seen.append(one)
    assert len(fresh) == length


def test_repeats_prefer_what_came_first_as_zipf_says() -> None:
    """Once 20 requests are known, the i-th of them is repeated in proportion to 1 / i."""
    which = Order(20, repeats=0.9, skew=1.0)
    found = order(which, 400_000)
    ranks = {request: rank for rank, request in enumerate(dict.fromkeys(found.tolist()), 1)}
    counts = np.bincount([ranks[one] for one in found[10_000:].tolist()], minlength=21)[1:]
    shares = counts / counts.sum()
    weights = 1 / np.arange(1, 21)
    assert shares == pytest.approx(0.9 * weights / weights.sum() + 0.1 / 20, abs=0.006)


def test_without_skew_all_that_were_sent_are_equally_popular() -> None:
    found = order(Order(10, repeats=0.9, skew=0.0), 100_000)
    assert np.bincount(found) / len(found) == pytest.approx(np.full(10, 0.1), abs=0.006)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Order(0), "`count` must be >= 1, but got 0"),
        (lambda: Order(1, repeats=1.0), "`repeats` must be at least 0 and below 1, but got 1"),
        (lambda: Order(1, skew=-1.0), "`skew` must be >= 0, but got -1"),
    ],
)
def test_says_what_is_wrong(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
