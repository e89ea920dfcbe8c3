"""The queue as time goes by, against the same queue in virtual time, whatever the moments at which it is asked."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from targets.simulated.live import Execution, LiveQueue
from targets.simulated.model import Batching, serve, serve_batches

GAPS = st.lists(st.integers(0, 20), min_size=1, max_size=40)
SERVICES = st.lists(st.integers(0, 40), min_size=40, max_size=40)
ASKED = st.lists(st.integers(1, 1000), max_size=10)
"""Moments at which the queue is asked, beside the arrivals. An answer is about what began before."""


def watched(queue: LiveQueue[int], arrivals: Sequence[int], asked: Sequence[int]) -> list[Execution[int]]:
    """Let jobs 0, 1, ... join a queue; ask it now and then, and at the end of time, what began."""
    seen = []
    moments = sorted([(at, 1, job) for job, at in enumerate(arrivals)] + [(at, 0, 0) for at in asked])
    for at, joins, job in moments:
        if joins:
            queue.join(at, job)
        else:
            seen += queue.begun(at)
    return seen + queue.begun(1 << 62)


def times(seen: Sequence[Execution[int]]) -> list[tuple[int, int, int, int]]:
    """Return the job, start, end and batch of each request, by job."""
    rows = [(job, one.started_ns, one.done_ns, len(one.jobs)) for one in seen for job in one.jobs]
    return sorted(rows)


@given(GAPS, ASKED, SERVICES, st.integers(1, 4))
def test_without_batches_it_serves_as_in_virtual_time(
    gaps: list[int], asked: list[int], services: list[int], servers: int
) -> None:
    arrivals = np.cumsum(gaps)
    found = watched(LiveQueue(servers, 1, 0, lambda jobs: services[jobs[0]]), arrivals.tolist(), asked)
    known = serve(arrivals.astype(float), np.array(services[: len(gaps)], float), servers)
    jobs = range(len(gaps))
    assert times(found) == list(zip(jobs, known.start_s, known.done_s, known.batch, strict=True))


@given(GAPS, ASKED, st.integers(1, 6), st.integers(0, 30), st.integers(1, 3))
def test_batches_are_those_of_virtual_time(
    gaps: list[int], asked: list[int], size: int, delay: int, servers: int
) -> None:
    arrivals = np.cumsum(gaps)
    batching = Batching(size, delay, 7, 3)
    queue: LiveQueue[int] = LiveQueue(servers, size, delay, lambda jobs: round(batching.service_s(len(jobs))))
    found = watched(queue, arrivals.tolist(), asked)
    known = serve_batches(arrivals.astype(float), batching, servers)
    jobs = range(len(gaps))
    assert times(found) == list(zip(jobs, known.start_s, known.done_s, known.batch, strict=True))


def test_an_execution_is_told_of_once_and_only_after_its_beginning() -> None:
    queue: LiveQueue[str] = LiveQueue(1, 2, 10, lambda jobs: 5 * len(jobs))
    queue.join(100, "a")
    assert queue.next_ns() == 110
    assert queue.begun(110) == []
    queue.join(110, "b")
    assert queue.begun(111) == [Execution(110, 120, (100, 110), ("a", "b"))]
    assert queue.begun(1000) == []
    assert queue.next_ns() is None


def test_who_is_dismissed_is_not_served() -> None:
    queue: LiveQueue[str] = LiveQueue(1, 1, 0, lambda _: 50)
    for job in "abc":
        queue.join(10, job)
    assert [one.jobs for one in queue.begun(20)] == [("a",)]
    assert queue.dismiss() == ["b", "c"]
    assert queue.begun(1000) == []
