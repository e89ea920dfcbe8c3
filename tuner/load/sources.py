"""When the next request is due: from a schedule, or from the answers of a closed loop."""

import heapq
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.load.plan import ClosedLoop, OpenLoop, Plan

_FIRST_CONNECTIONS = 64
_CHUNK = 1 << 16
_NEVER = 1 << 63


class Source(Protocol):
    """Requests in the order in which they are due.

    Attributes:
        most_places: requests that may be on their way at once.
        first_places: as many are provided for before the load starts.
    """

    most_places: int
    first_places: int

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

    def on_done(self, done: int) -> bool:
        """Take note that a request ended; return whether another is due because of it."""
        ...

    def end_at(self, end_ns: int) -> None:
        """Have nothing due any more from this time on."""
        ...


def make_source(plan: Plan) -> Source:
    """Return the source of a plan's load."""
    return _ClosedSource(plan.load, plan) if isinstance(plan.load, ClosedLoop) else _OpenSource(plan.load, plan)


class _OpenSource:
    """Arrivals from a schedule."""

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

    def on_done(self, done: int) -> bool:  # noqa: ARG002 - a schedule does not wait for answers
        return False

    def end_at(self, end_ns: int) -> None:
        self._end = end_ns
        if self._next is not None and self._next >= end_ns:
            self._next = None


class _ClosedSource:
    """Slots: a request is due when a slot's answer came and its think time is over."""

    def __init__(self, load: ClosedLoop, plan: Plan) -> None:
        self._order = load.order.tolist()
        self._left = load.total if load.total is not None else -1
        self._think = load.think_ns.tolist()
        self._end = plan.window[1]
        self._due = sorted((plan.start_ns + load.first_due_ns()).tolist()) if self._left else []
        self._position = 0
        self.most_places = self.first_places = load.concurrency

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

    def on_done(self, done: int) -> bool:
        due: int = done + self._think[done % len(self._think)]
        if due >= self._end or self._left == 0:
            return False
        heapq.heappush(self._due, due)
        return True

    def end_at(self, end_ns: int) -> None:
        self._end = end_ns
        self._due = [due for due in self._due if due < end_ns]
        heapq.heapify(self._due)


def _numbers(values: NDArray[np.int64] | NDArray[np.int32], offset: int) -> Iterator[int]:
    """Iterate over an array as Python numbers, without a list of all of them."""
    for start in range(0, len(values), _CHUNK):
        yield from (values[start : start + _CHUNK] + offset).tolist()
