"""Look on while the load generator records: rows in memory that it shares, without any work on its side."""

import mmap
import os
import struct
import tempfile
import time
from bisect import bisect_left
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.records import FIELDS, ROW

_DONE = struct.Struct("<q")
_BEFORE_DONE = [name for name, _, _ in FIELDS].index("done_ns")
_DONE_AT = sum(np.dtype(kind).itemsize for _, kind, _ in FIELDS[:_BEFORE_DONE])

WRITTEN_NS = 1_000_000
"""A request that ended longer ago than this has been written to the end."""


class LiveRows:
    """Shared memory that the `RecordsWriter` of another process captures rows in, and this one reads."""

    def __init__(self) -> None:
        self.fd = shared_memory()

    def read(self) -> NDArray[np.void]:
        """Return a copy of the rows of requests that have ended so far, structured array [n] of dtype ROW.

        The last one may still be on its way into memory and is left out, unless it ended a while ago.
        """
        most = os.fstat(self.fd).st_size // ROW.itemsize
        if not most:
            return np.zeros(0, ROW)
        with closing(mmap.mmap(self.fd, most * ROW.itemsize, access=mmap.ACCESS_READ)) as shared:
            whole = _ended(shared, most)
            if whole and time.monotonic_ns() - _done_ns(shared, whole - 1) < WRITTEN_NS:
                whole -= 1
            return np.frombuffer(shared[: whole * ROW.itemsize], ROW)

    def close(self) -> None:
        """Give the memory back; safe to call twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def shared_memory() -> int:
    """Return a file descriptor of memory that never waits for a disk; where there is none, of a file without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("paretune-rows")
    handle, name = tempfile.mkstemp(prefix="paretune-rows-")
    Path(name).unlink()
    return handle


def _ended(rows: mmap.mmap, most: int) -> int:
    """Return how many rows are filled: they are so from the first on, and one that is not has no end time."""
    return bisect_left(range(most), 1, key=lambda row: _done_ns(rows, row) == 0)


def _done_ns(rows: mmap.mmap, row: int) -> int:
    done: int = _DONE.unpack_from(rows, row * ROW.itemsize + _DONE_AT)[0]
    return done
