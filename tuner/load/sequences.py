"""Which request of which sequence goes next: one at a time in each, in order, as many sequences at once as may be."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SequenceOrder:
    """The sequences of a load, in the order in which they begin; after the last one the first begins again.

    Attributes:
        firsts: int64 [s], index of the first request of each.
        lengths: int64 [s], how many requests follow one another from there on.
    """

    firsts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def shard(self, index: int, count: int) -> "SequenceOrder":
        """Return the `index`-th of `count` parts: sequences are dealt out whole, in turn."""
        return SequenceOrder(self.firsts[index::count], self.lengths[index::count])


class SequencePool:
    """Sequences that are live, each with one request on its way at most, and those whose turn comes.

    A sequence whose request failed is given up: what it would go on with has a state that nobody knows. It begins anew
    when its turn comes.

    Args:
        order: of the sequences, as many as are live at once or more.
        at_once: sequences that are live at once.
    """

    def __init__(self, order: SequenceOrder, at_once: int) -> None:
        self._firsts, self._lengths = order.firsts.tolist(), order.lengths.tolist()
        self._sent = [0] * len(self._firsts)
        self._coming = deque(range(len(self._firsts)))
        self._idle: deque[int] = deque()
        self._under_way: dict[int, int] = {}
        self._live, self._most = 0, at_once

    @property
    def idle(self) -> int:
        """How many live sequences wait for their next request."""
        return len(self._idle)

    def next(self) -> int:
        """Return the next request: the first of a new sequence, or of the live one that has waited longest."""
        if self._coming and (self._live < self._most or not self._idle):
            self._live += 1
            return self._start(self._coming.popleft())
        return self._start(self._idle.popleft())

    def last(self) -> int:
        """Return the last request of the live sequence that has waited longest: what would be between is left out."""
        sequence = self._idle.popleft()
        self._sent[sequence] = self._lengths[sequence] - 1
        return self._start(sequence)

    def _start(self, sequence: int) -> int:
        request: int = self._firsts[sequence] + self._sent[sequence]
        self._under_way[request] = sequence
        return request

    def done(self, request: int, *, ok: bool) -> None:
        """Take note that a request ended."""
        sequence = self._under_way.pop(request)
        self._sent[sequence] += 1
        if ok and self._sent[sequence] < self._lengths[sequence]:
            self._idle.append(sequence)
            return
        self._sent[sequence] = 0
        self._live -= 1
        self._coming.append(sequence)
