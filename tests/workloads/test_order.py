"""Which request is sent when."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workloads.order import Mixed, Order

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


# A mix of classes.


def mixed(weights: list[float], counts: list[int], length: int, seed: int = 0) -> tuple[Mixed, NDArray[np.int32]]:
    mix = Mixed([Order(count) for count in counts], weights)
    return mix, mix.indices(length, np.random.default_rng(seed))


@pytest.mark.parametrize("weights", [[9, 1], [0.5, 0.25, 0.25], [1e-3, 1]])
def test_each_class_gets_its_share_of_a_mix(weights: list[float]) -> None:
    length = 100_000
    mix, found = mixed(weights, [7] * len(weights), length)
    classes = np.searchsorted(mix.firsts[1:], found, side="right")
    for index, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(np.mean(classes == index) - share) < 4 * np.sqrt(share * (1 - share) / length)


def test_who_follows_whom_in_a_mix_is_independent() -> None:
    mix, found = mixed([1, 1], [3, 5], 50_000)
    first = found < mix.firsts[1]
    assert np.mean(first[1:][first[:-1]]) == pytest.approx(np.mean(first), abs=0.02)


@relaxed
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 200), st.integers(0, 200), seeds)
def test_a_longer_mix_only_appends(counts: list[int], length: int, more: int, seed: int) -> None:
    weights = [1.0 + index for index in range(len(counts))]
    _, short = mixed(weights, counts, length, seed)
    _, long = mixed(weights, counts, length + more, seed)
    assert long[:length].tolist() == short.tolist()


@relaxed
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 300), seeds)
def test_the_requests_of_a_class_are_sent_equally_often_in_a_mix(counts: list[int], length: int, seed: int) -> None:
    mix, found = mixed([1.0] * len(counts), counts, length, seed)
    assert found.dtype == np.int32
    for first, count in zip(mix.firsts.tolist(), counts, strict=True):
        sent = np.bincount(found[(found >= first) & (found < first + count)] - first, minlength=count)
        assert sent.max() - sent.min() <= 1


@pytest.mark.parametrize(
    ("orders", "weights", "says"),
    [
        ([], [], "each class has a weight"),
        ([Order(1)], [1, 2], "each class has a weight, but got 1 orders, 2 weights"),
        ([Order(1), Order(1)], [1, 0], "weights must be above 0"),
        ([Order(1)], [float("inf")], "weights must be above 0"),
    ],
)
def test_a_mix_of_nothing_or_with_wrong_weights_is_refused(
    orders: list[Order], weights: list[float], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Mixed(orders, weights)
