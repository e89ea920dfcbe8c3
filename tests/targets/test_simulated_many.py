"""Many queues at once do what one queue alone does, and what arithmetic says of a closed loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.simulated.many import Queues, closed_loops, linear, open_loop
from targets.simulated.model import Batching, serve_batches


def queues(
    *,
    max_size: int | list[int] = 1,
    delay_s: float = 0.0,
    servers: int = 1,
    fixed_s: float = 0.001,
    each_s: float = 0.0,
    handling_s: float = 1e-9,
    turnaround_s: float = 0.0,
    held_s: float = 0.0,
) -> Queues:
    sizes = np.atleast_1d(np.asarray(max_size))
    like = np.ones(len(sizes))
    return Queues(
        sizes,
        delay_s * like,
        np.full(len(sizes), servers),
        linear(fixed_s * like, each_s * like, int(sizes.max())),
        handling_s * like,
        turnaround_s * like,
        held_s * like,
    )


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 16), min_size=1, max_size=4),
    delay_ms=st.sampled_from([0.0, 0.5, 3.0]),
    servers=st.integers(1, 3),
)
def test_an_open_loop_is_served_as_by_the_one_queue_of_the_model(
    seed: int, sizes: list[int], delay_ms: float, servers: int
) -> None:
    arrivals_s = np.cumsum(np.random.default_rng(seed).exponential(0.001, 80))
    found = open_loop(
        queues(max_size=sizes, delay_s=delay_ms / 1e3, servers=servers, each_s=2e-4, handling_s=1e-12), arrivals_s
    )
    for index, size in enumerate(sizes):
        served = serve_batches(arrivals_s, Batching(size, delay_ms / 1e3, 0.001, 2e-4), servers)
        expected = np.sort(served.done_s - arrivals_s)
        assert found.latencies_s[index, : len(expected)] == pytest.approx(expected, abs=1e-9)
        assert found.throughput_rps[index] == pytest.approx(80 / (served.done_s[-1] - arrivals_s[0]))


@pytest.mark.parametrize("in_flight", [1, 2, 7, 64])
def test_a_loop_without_batches_is_as_fast_as_the_server_or_as_the_way_allows(in_flight: int) -> None:
    found = closed_loops(queues(fixed_s=0.001, turnaround_s=0.003), np.array([in_flight]))
    assert found.throughput_rps[0] == pytest.approx(min(in_flight / 0.004, 1000))
    assert found.mean_s[0] == pytest.approx(max(0.004, in_flight * 0.001))


def test_batches_as_large_as_the_loop_take_a_whole_round_trip_each() -> None:
    """Handling of every answer, the way there and back, the service of all: one after the other."""
    one = queues(max_size=16, delay_s=0.05, fixed_s=0.001, each_s=1e-4, handling_s=2e-5, turnaround_s=4e-4)
    found = closed_loops(one, np.array([16]))
    assert found.throughput_rps[0] == pytest.approx(16 / (16 * 2e-5 + 4e-4 + 0.001 + 16e-4))


def test_a_batch_that_cannot_fill_waits_out_its_delay() -> None:
    one = queues(max_size=16, delay_s=0.002, fixed_s=0.001, each_s=1e-4, handling_s=1e-5, turnaround_s=4e-4)
    found = closed_loops(one, np.array([4]))
    assert found.throughput_rps[0] == pytest.approx(4 / (1e-5 + 4e-4 + 0.002 + 0.001 + 4e-4))


def test_more_servers_serve_more_until_the_front_end_is_the_limit() -> None:
    def throughput(servers: int) -> float:
        one = queues(servers=servers, fixed_s=0.001, handling_s=4e-4)
        return float(closed_loops(one, np.array([32])).throughput_rps[0])

    assert throughput(1) == pytest.approx(1000, rel=0.01)
    assert throughput(2) == pytest.approx(2000, rel=0.01)
    assert throughput(8) == pytest.approx(2500, rel=0.01)


def test_each_queue_has_a_loop_of_its_own() -> None:
    found = closed_loops(queues(max_size=[1, 4, 1], delay_s=0.001), np.array([1, 4, 8]))
    assert found.throughput_rps == pytest.approx([1000, 4000, 1000], rel=0.01)


def test_percentiles_are_of_the_requests_that_were_counted() -> None:
    found = open_loop(queues(fixed_s=0.001), np.zeros(100))
    assert found.percentile(0.5)[0] == pytest.approx(0.050)
    assert found.percentile(0.99)[0] == pytest.approx(0.099)
    assert found.percentile(1.0)[0] == pytest.approx(0.100)


def test_answers_keep_their_instance_from_the_next_batch_and_not_from_their_way() -> None:
    """Two batches in turn: every one waits until the answers of the one before are gone; one alone never waits."""
    held = queues(max_size=8, fixed_s=0.001, turnaround_s=1e-4, held_s=1e-4)
    pipelined, alone = closed_loops(held, np.array([16])), closed_loops(held, np.array([8]))
    assert pipelined.throughput_rps[0] == pytest.approx(8 / 0.0018)
    assert alone.mean_s[0] == pytest.approx(0.0018), "the first answer comes back before its instance is free"
    slow_way = queues(max_size=8, delay_s=0.01, fixed_s=0.001, turnaround_s=0.002, held_s=1e-4)
    assert closed_loops(slow_way, np.array([8])).mean_s[0] == pytest.approx(0.003, rel=1e-4)


def test_of_one_request_at_a_time_every_instance_counts_that_is_held_beyond_its_answers_way() -> None:
    held = {"fixed_s": 3e-4, "handling_s": 1e-4, "held_s": 4e-4}
    one, four = (closed_loops(queues(servers=servers, **held), np.array([1])) for servers in (1, 4))
    assert one.throughput_rps[0] == pytest.approx(1 / 7e-4)
    assert four.throughput_rps[0] == pytest.approx(1 / 4e-4)


@pytest.mark.parametrize(("servers", "slow"), [(8, 48.0), (4, 60.0)])
def test_a_large_batch_that_is_slow_is_waited_for_however_many_servers_go_on_meanwhile(
    servers: int, slow: float
) -> None:
    like = np.ones(3)
    table = np.minimum.accumulate(np.full((3, 33), 1e-3)) * np.where(np.arange(33) > 16, slow, 1.0)
    one = Queues(np.full(3, 32), 0.0 * like, np.full(3, servers), table, 1e-5 * like, 1e-4 * like, 0.0 * like)
    found = closed_loops(one, np.array([29, 36, 64]))
    assert np.isfinite(found.throughput_rps).all()
    counted = np.count_nonzero(np.isfinite(found.latencies_s), axis=1)
    assert (counted >= 120).all()
