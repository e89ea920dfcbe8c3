"""A queue with levels does what events one after the other say, and what Cobham's formula says of its waits."""

import heapq
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.simulated import priorities, queue
from targets.simulated.many import Classes, Queues, Simulated, closed_loops, linear, open_loop
from targets.simulated.queue import Queue

SERVICE_S = 0.001


def by_events(one: Queue, levels: Sequence[int], arrived: Sequence[float], wanted: int, *, back: bool) -> list[float]:
    """Return when each request left, by its number, inf for those that did not; one event after the other."""
    events = [(at, number, "comes", [number]) for number, at in enumerate(arrived)]
    came, left, waiting, free, count, front_end = list(arrived), dict[int, float](), [], one.servers, 10**6, 0.0
    heapq.heapify(events)
    while len(left) < wanted:
        now = events[0][0]
        while events and events[0][0] == now:
            _, _, kind, members = heapq.heappop(events)
            count += 1
            if kind == "comes":
                waiting += members
                heapq.heappush(events, (now + one.delay_s, count, "is ripe", []))
            elif kind == "is free":
                free += 1
            elif kind == "ends":
                heapq.heappush(events, (now + one.held_s * len(members), count, "is free", []))
                front_end = max(front_end, now)
                for place, number in enumerate(members, 1):
                    left[number] = front_end + one.handling_s * place
                    if back:
                        came.append(left[number] + one.turnaround_s)
                        heapq.heappush(events, (came[-1], len(came) - 1, "comes", [len(came) - 1]))
                front_end += one.handling_s * len(members)
        while free and waiting and (len(waiting) >= one.size or came[min(waiting)] + one.delay_s <= now):
            waiting.sort(key=lambda number: (levels[number % len(levels)], number))
            members, waiting = waiting[: one.size], waiting[one.size :]
            free, count = free - 1, count + 1
            heapq.heappush(events, (now + one.service_s[len(members)], count, "ends", members))
    first = sorted(left, key=lambda number: left[number])[:wanted]
    return [left[number] if number in first else np.inf for number in range(max(first) + 1)]


def in_order(numbers: Sequence[int], left: Sequence[float]) -> list[float]:
    found = np.full(max(numbers) + 1, np.inf)
    found[list(numbers)] = left
    return found.tolist()


def a_queue(size: int, delay_ms: float, servers: int, held_us: float = 0.0) -> Queue:
    service_s = tuple(SERVICE_S + 2e-4 * batch for batch in range(size + 1))
    return Queue(size, delay_ms / 1e3 if size > 1 else 0.0, servers, service_s, 3e-5, 4.1e-4, held_us / 1e6)


QUEUES = st.builds(
    a_queue, st.integers(1, 8), st.sampled_from([0.0, 0.5, 3.0]), st.integers(1, 3), st.sampled_from([0.0, 20.0, 700.0])
)


@settings(max_examples=60, deadline=None)
@given(one=QUEUES, seed=st.integers(0, 2**32), classes=st.integers(1, 3))
def test_arrivals_are_served_as_one_event_after_the_other_says(one: Queue, seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    levels, arrivals = rng.integers(0, classes, 80).tolist(), np.cumsum(rng.exponential(7e-4, 80)).tolist()
    found = priorities.served(one, levels, list(arrivals), 80, back=False)
    assert in_order(*found) == pytest.approx(by_events(one, levels, arrivals, 80, back=False), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(one=QUEUES, seed=st.integers(0, 2**32), in_flight=st.integers(1, 20))
def test_a_closed_loop_is_served_as_one_event_after_the_other_says(one: Queue, seed: int, in_flight: int) -> None:
    rng = np.random.default_rng(seed)
    levels, begin = rng.integers(0, 2, 50).tolist(), np.sort(rng.uniform(0, 1e-3, in_flight)).tolist()
    found = priorities.served(one, levels, list(begin), 100, back=True)
    assert in_order(*found) == pytest.approx(by_events(one, levels, begin, 100, back=True), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(one=QUEUES, seed=st.integers(0, 2**32))
def test_a_queue_of_one_level_serves_in_the_order_of_arrival(one: Queue, seed: int) -> None:
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(7e-4, 80)).tolist()
    _, expected = queue.served(one, list(arrivals), 80, back=False)
    assert in_order(*priorities.served(one, [0], list(arrivals), 80, back=False)) == pytest.approx(expected)


def test_a_batch_is_ripe_when_the_one_that_came_first_has_waited_on_whichever_level() -> None:
    """While three are served one of the last level comes, and then four others: three of these are served, two stay."""
    one = Queue(3, 0.010, 1, (0.0, 0.001, 0.001, 0.001), 1e-9, 0.0, 0.0)
    levels, arrivals = [0, 0, 0, 1, 0, 0, 0, 0], [0.0, 0.0, 0.0, 1e-4, 2e-4, 3e-4, 4e-4, 5e-4]
    numbers, left = priorities.served(one, levels, arrivals, 8, back=False)
    assert numbers == [0, 1, 2, 4, 5, 6, 7, 3]
    assert left == pytest.approx([0.001] * 3 + [0.002] * 3 + [0.0101 + 0.001] * 2, abs=1e-7)


def queues(max_size: int = 1, servers: int = 1, each_s: float = 0.0, turnaround_s: float = 0.0) -> Queues:
    one = np.ones(1)
    return Queues(
        np.array([max_size]), 0 * one, np.array([servers]), linear(SERVICE_S * one, each_s * one, max_size),
        1e-9 * one, turnaround_s * one, 0 * one,
    )  # fmt: skip


def classes(shares: Sequence[float], levels: Sequence[int], count: int = 4096) -> Classes:
    order = np.random.default_rng(1).choice(len(shares), count, p=shares)
    return Classes(order, np.array(shares), np.array([levels]))


def means_s(found: Simulated) -> list[float]:
    return [float(one.mean_s[0]) for one in found.classes]


@pytest.mark.parametrize("shares", [(0.3, 0.7), (0.6, 0.3, 0.1)])
def test_mean_waits_are_those_of_a_queue_with_priorities(shares: Sequence[float]) -> None:
    """Service is deterministic, arrivals are Poisson, nothing is interrupted (Cobham, 1954).

    W_k = R / ((1 - s_(k-1)) (1 - s_k)), with R = rate * service^2 / 2, and s_k the load of the levels up to k.
    """
    rate, count = 800.0, 200_000
    arrivals_s = np.cumsum(np.random.default_rng(0).exponential(1 / rate, count))
    found = open_loop(queues(), arrivals_s, classes(shares, range(len(shares)), count))
    up_to = rate * SERVICE_S * np.cumsum([0.0, *shares])
    waits_s = rate * SERVICE_S**2 / 2 / ((1 - up_to[:-1]) * (1 - up_to[1:]))
    assert np.array(means_s(found)) - SERVICE_S == pytest.approx(waits_s, rel=0.06)
    assert [one.throughput_rps[0] for one in found.classes] == pytest.approx(rate * np.array(shares), rel=0.02)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_closed_loop_answers_as_much_and_its_requests_wait_where_they_are_last(share: float) -> None:
    of_all, shares = queues(max_size=4, each_s=1e-4, turnaround_s=5e-4), np.array([1 - share, share])
    usual = closed_loops(of_all, np.array([32]))
    found = closed_loops(of_all, np.array([32]), classes(shares, [2, 1]))
    assert found.throughput_rps == pytest.approx(usual.throughput_rps, rel=0.02)
    rates = np.array([one.throughput_rps[0] for one in found.classes])
    assert rates == pytest.approx(found.throughput_rps[0] * shares)
    assert rates @ means_s(found) == pytest.approx(32, rel=0.1), "what is in flight (Little, 1961)"
    assert 1.5 * means_s(found)[1] < usual.mean_s[0] < means_s(found)[0]


def test_a_slow_way_is_no_reason_to_wait() -> None:
    found = closed_loops(queues(turnaround_s=0.1), np.array([4]), classes([0.5, 0.5], [0, 1]))
    assert found.throughput_rps[0] == pytest.approx(4 / 0.101, rel=0.02)
    assert means_s(found) == pytest.approx([0.101, 0.101], rel=0.05)


def test_requests_beyond_those_that_are_simulated_wait_on_the_last_level() -> None:
    mix = classes([0.5, 0.5], [1, 2])
    found = closed_loops(queues(), np.array([4096]), mix, most=np.array([64]))
    assert found.throughput_rps[0] == pytest.approx(1000, rel=0.01)
    assert means_s(found)[0] < 0.004
    assert means_s(found)[1] == pytest.approx(4096 / 500, rel=0.05)
    assert found.mean_s[0] == pytest.approx(4.096, rel=0.1)
    assert (np.diff(found.latencies_s[0]) >= 0).all()


def test_classes_on_one_level_are_alike_and_have_their_shares() -> None:
    found = closed_loops(queues(), np.array([8]), classes([0.25, 0.75], [3, 3]))
    usual = closed_loops(queues(), np.array([8]))
    assert (found.latencies_s == usual.latencies_s).all()
    for one, share in zip(found.classes, (0.25, 0.75), strict=True):
        assert (one.latencies_s == usual.latencies_s).all()
        assert one.throughput_rps[0] == pytest.approx(share * 1000)


def test_under_an_overload_the_first_level_has_what_it_asks_for_and_the_last_the_rest() -> None:
    arrivals_s = np.arange(5000) / 2000
    found = open_loop(queues(), arrivals_s, classes([0.8, 0.2], [2, 1], 5000))
    bulk, urgent = found.classes
    assert found.throughput_rps[0] == pytest.approx(1000, rel=0.01)
    assert urgent.throughput_rps[0] == pytest.approx(400, rel=0.05)
    assert bulk.throughput_rps[0] == pytest.approx(600, rel=0.05)
    assert urgent.percentile(0.99)[0] < 0.01
    assert bulk.percentile(0.5)[0] > 0.5


def test_a_burst_of_all_requests_at_once_says_nothing_of_who_is_left_behind() -> None:
    found = open_loop(queues(), np.zeros(100), classes([0.5, 0.5], [2, 1], 100))
    assert [one.throughput_rps[0] for one in found.classes] == pytest.approx([500, 500])
    bulk, urgent = found.classes
    assert urgent.percentile(1.0)[0] < bulk.percentile(0.01)[0]


def test_a_class_that_no_simulated_request_is_of_has_the_latencies_of_all() -> None:
    never = Classes(np.zeros(100, int), np.array([0.999, 0.001]), np.array([[2, 1]]))
    found = open_loop(queues(), np.arange(100) / 500, never)
    assert found.classes[1].mean_s[0] == pytest.approx(found.mean_s[0])
    assert found.classes[1].throughput_rps[0] == pytest.approx(0.5, rel=0.05)
