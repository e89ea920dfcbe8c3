"""The queue of model.py as time goes by: told of arrivals, it says when which of them are served, and in which batch.

The times are those of the queue's arithmetic, not those at which somebody asks: a server that got free at t takes what
waited at t, however late the question comes, so delays of whoever asks do not add up. Times are integer nanoseconds;
no clock is read here.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class Execution(Generic[Job]):
    """A batch that is or was in service; without batching, a batch of one.

    Attributes:
        started_ns: when its service began.
        done_ns: when its service ends.
        arrived_ns: when each of its requests joined the queue.
        jobs: its requests, in the order of arrival.
    """

    started_ns: int
    done_ns: int
    arrived_ns: Sequence[int]
    jobs: Sequence[Job]


class LiveQueue(Generic[Job]):
    """First come, first served, by several servers, in batches; batches of one without delay are no batching.

    Args:
        servers: batches in service at once at most, >= 1.
        max_size: requests of a batch at most, >= 1.
        max_delay_ns: how long the oldest request may wait for its batch to fill.
        service_ns: the jobs of a batch -> how long it is served.
    """

    def __init__(
        self, servers: int, max_size: int, max_delay_ns: int, service_ns: Callable[[Sequence[Job]], int]
    ) -> None:
        self._max_size, self._max_delay_ns, self._service_ns = max_size, max_delay_ns, service_ns
        self._free_ns = [0] * servers
        self._waiting: deque[tuple[int, Job]] = deque()
        self._begun: list[Execution[Job]] = []

    def join(self, at_ns: int, job: Job) -> None:
        """Let a request join at a time that is not before any the queue was told of so far."""
        self._begin_before(at_ns)
        self._waiting.append((at_ns, job))

    def next_ns(self) -> int | None:
        """Return when the next batch begins if nothing joins, None while nothing waits."""
        waiting = self._waiting
        if not waiting:
            return None
        ready = waiting[0][0] + self._max_delay_ns
        if len(waiting) >= self._max_size:
            ready = min(ready, waiting[self._max_size - 1][0])
        return max(self._free_ns[0], ready)

    def begun(self, now_ns: int) -> list[Execution[Job]]:
        """Return the executions that began before `now_ns` and were not returned yet.

        What joins at the very time a batch begins belongs to it, so an execution is certain only after its beginning.
        """
        self._begin_before(now_ns)
        begun, self._begun = self._begun, []
        return begun

    def dismiss(self) -> list[Job]:
        """Take out what waits, in the order of arrival; ask for what has `begun` first."""
        jobs = [job for _, job in self._waiting]
        self._waiting.clear()
        return jobs

    def _begin_before(self, limit_ns: int) -> None:
        # Whoever joins is let in only after all batches that began before, so everybody who waits came before the next
        # batch begins: its size is what there is.
        while (begin := self.next_ns()) is not None and begin < limit_ns:
            size = min(len(self._waiting), self._max_size)
            arrived, jobs = zip(*(self._waiting.popleft() for _ in range(size)), strict=True)
            done = begin + self._service_ns(jobs)
            heapq.heapreplace(self._free_ns, done)
            self._begun.append(Execution(begin, done, arrived, jobs))
