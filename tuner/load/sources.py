"""When the next request is due: from a schedule, or from the answers of a closed loop."""

import heapq
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.load.plan import ClosedLoop, OpenLoop, Plan, UsersLoop
from tuner.load.sequences import SequencePool

_FIRST_CONNECTIONS = 64
_CHUNK = 1 << 16
_NEVER = 1 << 63
_AN_END = -1
"""Stands for the last request of whichever sequence is to be ended."""


class Source(Protocol):
    """Requests in the order in which they are due.

    Attributes:
        most_places: requests that may be on their way at once.
        first_places: as many are provided for before the load starts.
    """

    most_places: int
    first_places: int

    @property
    def goes_on(self) -> bool:
        """Requests are due, as answers come, until `end_at` is called: the load has no end of its own.

        A closed loop goes on until the last request of the window has ended. With none behind them the last ones would
        be answered sooner, or, by a server that waits for more, later.
        """
        ...

    @property
    def exhausted(self) -> bool:
        """No request is due any more, whatever is answered."""
        ...

    def next_ns(self) -> int | None:
        """Return when the next request is due, None if none is as things stand."""
        ...

    def take(self) -> int:
        """Return the next request's index and move on."""
        ...

    def bound(self, request: int) -> int:
        """Return what is sent in place of a request that was taken, now that there is a connection for it."""
        ...

    def on_done(self, done: int, request: int | None = None, *, ok: bool = False) -> bool:
        """Take note that a request ended; return whether another is due because of it.

        Args:
            done: when.
            request: what was bound; None: it never had a connection.
            ok: whether it was answered.
        """
        ...

    def end_at(self, end_ns: int) -> None:
        """Have nothing due any more from this time on."""
        ...


def make_source(plan: Plan) -> Source:
    """Return the source of a plan's load."""
    assert not isinstance(plan.load, UsersLoop), "users are Locust's"
    if plan.sequences is None:
        return _ClosedSource(plan.load, plan) if isinstance(plan.load, ClosedLoop) else _OpenSource(plan.load, plan)
    source = (
        _ClosedSource(plan.load, plan, plan.window[1])  # sequences are ended with the window
        if isinstance(plan.load, ClosedLoop)
        else _OpenSource(plan.load, plan)
    )
    # What is counted and not timed is in no window that ends of sequences could disturb.
    counted = isinstance(plan.load, ClosedLoop) and plan.load.total is not None
    end_ns = plan.start_ns if counted else plan.window[1]
    return _SequencedSource(source, SequencePool(plan.sequences, source.most_places), end_ns)


class _OpenSource:
    """Arrivals from a schedule."""

    goes_on = False

    def __init__(self, load: OpenLoop, plan: Plan) -> None:
        self._intended = _numbers(load.schedule.offsets_ns, plan.start_ns)
        self._requests = _numbers(load.schedule.requests, 0)
        self._end = _NEVER
        self._next = self._due()
        self.most_places = load.connections
        self.first_places = min(load.connections, len(load.schedule), _FIRST_CONNECTIONS)

    @property
    def exhausted(self) -> bool:
        return self._next is None

    def next_ns(self) -> int | None:
        return self._next

    def take(self) -> int:
        self._next = self._due()
        return next(self._requests)

    def _due(self) -> int | None:
        due = next(self._intended, None)
        return due if due is not None and due < self._end else None

    def bound(self, request: int) -> int:
        return request

    def on_done(self, done: int, request: int | None = None, *, ok: bool = False) -> bool:  # noqa: ARG002 - waits for none
        return False

    def end_at(self, end_ns: int) -> None:
        self._end = end_ns
        if self._next is not None and self._next >= end_ns:
            self._next = None


class _ClosedSource:
    """Slots: a request is due when a slot's answer came and its think time is over."""

    def __init__(self, load: ClosedLoop, plan: Plan, end_ns: int = _NEVER) -> None:
        self._order = load.order.tolist()
        self._left = load.total if load.total is not None else -1
        self._think = load.think_ns.tolist()
        self._end = end_ns
        self._due = sorted((plan.start_ns + load.first_due_ns()).tolist()) if self._left else []
        self._position = 0
        self.most_places = self.first_places = load.concurrency

    @property
    def goes_on(self) -> bool:
        return self._end == _NEVER

    @property
    def exhausted(self) -> bool:
        return not self._due

    def next_ns(self) -> int | None:
        return self._due[0] if self._due else None

    def take(self) -> int:
        heapq.heappop(self._due)
        request: int = self._order[self._position]
        self._position = (self._position + 1) % len(self._order)
        self._left -= 1
        if self._left == 0:
            self._due.clear()
        return request

    def bound(self, request: int) -> int:
        return request

    def on_done(self, done: int, request: int | None = None, *, ok: bool = False) -> bool:  # noqa: ARG002 - all ends alike
        due: int = done + self._think[done % len(self._think)]
        if due >= self._end or self._left == 0:
            return False
        heapq.heappush(self._due, due)
        return True

    def end_at(self, end_ns: int) -> None:
        self._end = end_ns
        self._due = [due for due in self._due if due < end_ns]
        heapq.heapify(self._due)


class _SequencedSource:
    """Another source's times, for the requests of sequences: which one is sent is known when it is.

    When the load is over, each sequence that is live still is ended with its last request, after the window, so that
    the server forgets it.
    """

    goes_on = False

    def __init__(self, times: Source, pool: SequencePool, end_ns: int) -> None:
        self._times, self._pool, self._end = times, pool, end_ns
        self._ends_taken = 0
        self.most_places, self.first_places = times.most_places, times.first_places

    @property
    def _to_end(self) -> bool:
        return self._pool.idle > self._ends_taken

    @property
    def exhausted(self) -> bool:
        return self._times.exhausted and not self._to_end

    def next_ns(self) -> int | None:
        due = self._times.next_ns()
        return self._end if due is None and self._to_end else due

    def take(self) -> int:
        if self._times.next_ns() is not None:
            return self._times.take()
        self._ends_taken += 1
        return _AN_END

    def bound(self, request: int) -> int:
        if request != _AN_END:
            return self._pool.next()
        self._ends_taken -= 1
        return self._pool.last() if self._pool.idle else self._pool.next()

    def on_done(self, done: int, request: int | None = None, *, ok: bool = False) -> bool:
        if request is not None:
            self._pool.done(request, ok=ok)
        return self._times.on_done(done) or self._to_end

    def end_at(self, end_ns: int) -> None:
        self._end = end_ns
        self._times.end_at(end_ns)


def _numbers(values: NDArray[np.int64] | NDArray[np.int32], offset: int) -> Iterator[int]:
    """Iterate over an array as Python numbers, without a list of all of them."""
    for start in range(0, len(values), _CHUNK):
        yield from (values[start : start + _CHUNK] + offset).tolist()
