"""Requests on their way, in memory that two processes share: when each of them was sent.

Locust tells of a request when it has ended. A look at a running load has to know of those that have not: they may be
the slow ones.
"""

import mmap
import os
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 17
"""Requests on their way that there is room for."""
_SIZE = 8 * (MOST + 1)
_BLIND = 0


class OpenCalls:
    """Writes them, in the process that sends them.

    Args:
        fd: of the shared memory.
    """

    def __init__(self, fd: int) -> None:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, _SIZE)
        self._slots = memoryview(mmap.mmap(fd, _SIZE)).cast("q")
        self._free: list[int] = []
        self._used = 0

    def begin(self, at_ns: int) -> int:
        """Take note of a request that is sent now; return its slot."""
        if self._free:
            slot = self._free.pop()
        elif self._used < MOST:
            self._used += 1
            slot = self._used
        else:
            self.miss()
            return _BLIND
        self._slots[slot] = at_ns
        return slot

    def end(self, slot: int) -> None:
        """Take note that it ended."""
        if slot != _BLIND:
            self._slots[slot] = 0
            self._free.append(slot)

    def miss(self) -> None:
        """Take note that a request was sent without being seen here: from now on nobody knows what is on its way."""
        self._slots[_BLIND] = 1

    def clear(self) -> None:
        """Begin anew, for another run."""
        self._slots[_BLIND] = 0


def read(fd: int) -> NDArray[np.int64] | None:
    """Return when the requests that are on their way were sent, int64 [n]; None where not all are known."""
    if os.fstat(fd).st_size < _SIZE:
        return np.zeros(0, np.int64)
    with closing(mmap.mmap(fd, _SIZE, access=mmap.ACCESS_READ)) as shared:
        slots = np.frombuffer(shared[:], np.int64)
    if slots[_BLIND]:
        return None
    open_ns: NDArray[np.int64] = slots[1:][slots[1:] > 0]
    return open_ns
