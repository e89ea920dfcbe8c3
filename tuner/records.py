"""Records of requests: one fixed-size row each, captured into memory, stored in a file, read as columns.

Times are integer nanoseconds of the monotonic clock. 0 stands for "never happened" (a request that was not sent, an
answer that did not begin).
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome

WARMUP, WINDOW, AFTER = 0, 1, 2
"""Values of the `phase` column: intended before, in or after the measuring window."""

FIELDS = (
    ("intended_ns", "i8", "when the request was due"),
    ("ready_ns", "i8", "when it was due and a connection was free"),
    ("sent_ns", "i8", "when its bytes were handed to the kernel"),
    ("first_ns", "i8", "when the first byte of the answer was read"),
    ("done_ns", "i8", "when the whole answer was read, or the failure was known"),
    ("bytes_out", "i4", "bytes sent"),
    ("bytes_in", "i4", "bytes read"),
    ("tokens", "i4", "tokens of a streamed answer, 0 otherwise"),
    ("request", "i4", "index into the request source"),
    ("code", "i4", "HTTP status, gRPC code or errno; 0 when there is none"),
    ("class", "i2", "index of the request class"),
    ("worker", "i2", "index of the generator process"),
    ("outcome", "i1", "how it ended: an Outcome"),
    ("phase", "i1", "warm-up, window or after"),
)
ROW = np.dtype([(name, kind) for name, kind, _ in FIELDS])
_PACK = struct.Struct("<" + "".join({"i8": "q", "i4": "i", "i2": "h", "i1": "b"}[kind] for _, kind, _ in FIELDS))
_INITIAL_ROWS = 1 << 14

assert _PACK.size == ROW.itemsize


class RecordsWriter:
    """Appends rows to memory that grows by doubling; `close` fills the phases and writes them to a file.

    The memory is anonymous: writing into a mapped file can wait for the disk, and the generator would send late.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capacity = _INITIAL_ROWS
        self._map = mmap.mmap(-1, self._capacity * ROW.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.count = 0

    def append(
        self,
        times: tuple[int, int, int, int, int],
        sizes: tuple[int, int],
        request: int,
        code: int,
        outcome: int,
    ) -> None:
        """Append one request.

        Args:
            times: intended, ready, sent, first and done, in ns.
            sizes: bytes out and in.
            request: index into the request source.
            code: status or errno.
            outcome: an Outcome.
        """
        if self.count == self._capacity:
            self._capacity *= 2
            self._map.resize(self._capacity * ROW.itemsize)
        _PACK.pack_into(self._map, self.count * ROW.itemsize, *times, *sizes, 0, request, code, 0, 0, outcome, 0)
        self.count += 1

    def close(self, window_ns: tuple[int, int]) -> None:
        """Fill the `phase` column for a window [start, end) and write the rows."""
        rows = np.frombuffer(self._map, ROW, self.count)
        intended = rows["intended_ns"]
        rows["phase"] = np.where(intended < window_ns[0], WARMUP, np.where(intended < window_ns[1], WINDOW, AFTER))
        rows.tofile(self._path)


@dataclass(frozen=True)
class Records:
    """Rows of one or several runs of the same load, with the windows they were measured in.

    Attributes:
        rows: structured array [n] of dtype ROW.
        windows_ns: the measuring windows [start, end), one per run.
    """

    rows: NDArray[np.void]
    windows_ns: Sequence[tuple[int, int]]

    @property
    def window_s(self) -> float:
        """Length of all windows together, in seconds."""
        return sum(end - start for start, end in self.windows_ns) / 1e9

    def in_window(self) -> NDArray[np.void]:
        """Return the requests intended in a window, in the order of their intended times."""
        inside = self.rows[self.rows["phase"] == WINDOW]
        ordered: NDArray[np.void] = inside[np.argsort(inside["intended_ns"], kind="stable")]
        return ordered

    def completed_ns(self) -> NDArray[np.int64]:
        """Return the sorted completion times of answers that were ok, all phases."""
        return np.sort(self.rows["done_ns"][self.rows["outcome"] == Outcome.OK])


def read_records(path: Path, window_ns: tuple[int, int]) -> Records:
    """Read a stored run.

    Raises:
        OSError: the file cannot be read.
        ValueError: its size is no multiple of a row.
    """
    if (size := path.stat().st_size) % ROW.itemsize:
        raise ValueError(f"{path}: {size} bytes are no whole number of rows of {ROW.itemsize}")
    return Records(np.fromfile(path, ROW), [window_ns])


def save_records(records: Records, path: Path) -> None:
    """Store rows and windows as an .npz file: `rows` of dtype ROW, `windows_ns` int64 [runs, 2]."""
    np.savez_compressed(path, rows=records.rows, windows_ns=np.array(records.windows_ns, np.int64))


def load_records(path: Path) -> Records:
    """Read what `save_records` stored.

    Raises:
        OSError, KeyError, ValueError: the file cannot be read or is something else.
    """
    with np.load(path) as stored:
        return Records(stored["rows"], [(int(start), int(end)) for start, end in stored["windows_ns"]])


def pooled(parts: Sequence[Records]) -> Records:
    """Put runs of the same load together: rows and windows are appended, nothing is averaged."""
    rows = np.concatenate([part.rows for part in parts])
    return Records(rows, [window for part in parts for window in part.windows_ns])


def latencies_s(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Return done - intended in seconds, shape [n]; infinite for every request that did not end ok."""
    latency = (rows["done_ns"] - rows["intended_ns"]) / 1e9
    return np.where(rows["outcome"] == Outcome.OK, latency, np.inf)


def service_times_s(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Return done - sent in seconds for the requests that ended ok."""
    ok = rows[rows["outcome"] == Outcome.OK]
    times: NDArray[np.float64] = (ok["done_ns"] - ok["sent_ns"]) / 1e9
    return times


def issue_delays_s(rows: NDArray[np.void]) -> NDArray[np.float64]:
    """Return sent - ready in seconds, the generator's own delay, for the requests that were sent."""
    sent = rows[rows["sent_ns"] > 0]
    delays: NDArray[np.float64] = (sent["sent_ns"] - sent["ready_ns"]) / 1e9
    return delays
