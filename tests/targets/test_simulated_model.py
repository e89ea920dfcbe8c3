"""The queue in virtual time against hand-made examples, a slow reference and known formulas."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.simulated.model import Batching, Service, serve, serve_batches

TIMES = st.lists(st.floats(0, 10, allow_nan=False).map(lambda value: round(value, 3)), min_size=1, max_size=40)


def reference(arrivals: list[float], services: list[float], servers: int) -> list[float]:
    """Serve one by one, as the definition says."""
    free = [0.0] * servers
    done = []
    for arrival, service in zip(arrivals, services, strict=True):
        end = max(arrival, heapq.heappop(free)) + service
        heapq.heappush(free, end)
        done.append(end)
    return done


@given(TIMES, TIMES, st.integers(1, 4))
def test_each_request_goes_to_the_server_that_is_free_first(gaps: list[float], services: list[float], c: int) -> None:
    n = min(len(gaps), len(services))
    arrivals = np.cumsum(gaps[:n])
    found = serve(arrivals, np.array(services[:n]), c)
    assert found.done_s == pytest.approx(reference(arrivals.tolist(), services[:n], c), abs=1e-9)
    assert np.all(found.start_s >= arrivals - 1e-9)


@pytest.mark.parametrize(
    ("servers", "mean_s"),
    [(1, 1 / (1 - 0.7)), (2, 1 / (1 - 0.7**2))],
    ids=["M/M/1", "M/M/2"],
)
def test_the_mean_time_in_an_exponential_queue_is_the_textbooks(servers: int, mean_s: float) -> None:
    rng = np.random.default_rng(1)
    n = 1_000_000
    arrivals = np.cumsum(rng.exponential(1 / (0.7 * servers), n))
    found = serve(arrivals, Service("exponential", 1.0).draw(n, rng), servers)
    assert float(np.mean(found.done_s - arrivals)) == pytest.approx(mean_s, rel=0.03)


@pytest.mark.parametrize(("kind", "cv"), [("deterministic", 0.0), ("lognormal", 2.0)])
def test_the_mean_wait_is_pollaczek_and_khinchines(kind: str, cv: float) -> None:
    rng = np.random.default_rng(2)
    n, rho = 2_000_000, 0.5
    arrivals = np.cumsum(rng.exponential(1 / rho, n))
    found = serve(arrivals, Service(kind, 1.0, cv or 1.0).draw(n, rng))
    expected = rho * (1 + cv**2) / (2 * (1 - rho))
    assert float(np.mean(found.start_s - arrivals)) == pytest.approx(expected, rel=0.05)


def test_service_times_have_the_mean_and_the_variation_asked_for() -> None:
    drawn = Service("lognormal", 0.01, 0.5).draw(1_000_000, np.random.default_rng(3))
    assert float(drawn.mean()) == pytest.approx(0.01, rel=0.01)
    assert float(drawn.std() / drawn.mean()) == pytest.approx(0.5, rel=0.02)


BATCHING = Batching(max_size=3, max_delay_s=2.0, fixed_s=1.0, each_s=0.5)


def batches(arrivals: list[float], batching: Batching = BATCHING, servers: int = 1) -> list[tuple[float, float, int]]:
    found = serve_batches(np.array(arrivals), batching, servers)
    return list(zip(found.start_s.tolist(), found.done_s.tolist(), found.batch.tolist(), strict=True))


def test_a_full_batch_begins_at_once() -> None:
    assert batches([0.0, 0.1, 0.2]) == [(0.2, 2.7, 3)] * 3


def test_a_batch_that_does_not_fill_begins_when_its_oldest_has_waited_long_enough() -> None:
    assert batches([0.0, 0.5]) == [(2.0, 4.0, 2)] * 2


def test_what_comes_while_the_server_works_waits_for_the_next_batch() -> None:
    assert batches([0.0, 0.0, 0.0, 0.1, 1.0]) == [(0.0, 2.5, 3)] * 3 + [(2.5, 4.5, 2)] * 2


def test_a_batch_is_never_larger_than_allowed() -> None:
    assert batches([0.0] * 4) == [(0.0, 2.5, 3)] * 3 + [(2.5, 4.0, 1)]


def test_several_servers_work_on_several_batches() -> None:
    assert batches([0.0] * 4 + [3.0], servers=2) == [(0.0, 2.5, 3)] * 3 + [(2.0, 3.5, 1)] + [(5.0, 6.5, 1)]


def test_without_a_delay_a_free_server_takes_what_there_is() -> None:
    eager = Batching(8, 0.0, 1.0, 0.0)
    assert batches([0.0, 0.2, 0.4, 5.0], eager) == [(0.0, 1.0, 1), (1.0, 2.0, 2), (1.0, 2.0, 2), (5.0, 6.0, 1)]


@given(TIMES, st.integers(1, 6), st.floats(0, 3), st.integers(1, 3))
def test_batches_keep_the_order_the_size_and_the_delay(gaps: list[float], size: int, delay: float, c: int) -> None:
    arrivals = np.cumsum(gaps)
    batching = Batching(size, delay, 0.5, 0.1)
    found = serve_batches(arrivals, batching, c)
    assert np.all(np.diff(found.start_s) >= 0)
    assert np.all(found.start_s >= arrivals - 1e-9)
    assert found.batch.max() <= size
    assert found.done_s - found.start_s == pytest.approx([batching.service_s(b) for b in found.batch.tolist()])
    _, counts = np.unique(found.start_s, return_counts=True)
    assert counts.sum() == len(arrivals)


def test_batches_of_one_without_delay_are_a_queue_without_batches() -> None:
    rng = np.random.default_rng(4)
    arrivals = np.cumsum(rng.exponential(1.0, 5000))
    one_by_one = serve(arrivals, np.full(5000, 0.8), 2)
    batched = serve_batches(arrivals, Batching(1, 0.0, 0.8, 0.0), 2)
    assert batched.done_s == pytest.approx(one_by_one.done_s)


def test_nothing_arrives_and_nothing_is_served() -> None:
    assert len(serve_batches(np.empty(0), BATCHING).done_s) == 0
    assert len(serve(np.empty(0), np.empty(0)).done_s) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Service("uniform", 1.0),
        lambda: Service("exponential", 0.0),
        lambda: Batching(0, 0.0, 1.0, 0.0),
        lambda: Batching(1, -1.0, 1.0, 0.0),
        lambda: serve(np.zeros(2), np.zeros(3)),
        lambda: serve_batches(np.zeros(2), BATCHING, 0),
    ],
)
def test_what_makes_no_sense_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must hold|service is|as many"):
        make()  # type: ignore[operator]


def test_the_log_normal_is_drawn_from_its_own_formula() -> None:
    a, b = (Service("lognormal", 1.0, 1.0).draw(10, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a, b)
    assert not math.isclose(float(a[0]), float(a[1]))
