"""Records of requests: captured into memory one fixed-size row each, stored and read as columns.

Times are integer nanoseconds of the monotonic clock. 0 stands for "never happened" (a request that was not sent, an
answer that did not begin).

Columns are what makes millions of requests fit: a file is mapped, not read, and a metric touches the few columns that
it is about.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TypeAlias
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray

from targets.base import Outcome
from tuner.rows import Column, Joined, Rows, Selected, chunks, count_of

WARMUP, WINDOW, AFTER = 0, 1, 2
"""Values of the `phase` column: intended before, in or after the measuring window."""

FIELDS = (
    ("intended_ns", "i8", "when the request was due"),
    ("ready_ns", "i8", "when it was due and a connection was free"),
    ("sent_ns", "i8", "when its bytes were handed to the kernel"),
    ("first_ns", "i8", "when the first byte of the answer was read"),
    ("done_ns", "i8", "when the whole answer was read, or the failure was known"),
    ("last_ns", "i8", "when the last token of a streamed answer was read, 0 otherwise"),
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
EVENT_FIELDS = (
    ("row", "u4", "row of the request whose answer it is part of"),
    ("tokens", "u4", "tokens that it carried"),
    ("at_ns", "i8", "when it was read"),
)
ROW = np.dtype([(name, kind) for name, kind, _ in FIELDS])
EVENT = np.dtype([(name, kind) for name, kind, _ in EVENT_FIELDS])

_CODES = {"i8": "q", "i4": "i", "u4": "I", "i2": "h", "i1": "b"}
_ROW_STRUCT = struct.Struct("<" + "".join(_CODES[kind] for _, kind, _ in FIELDS))
_EVENT_STRUCT = struct.Struct("<" + "".join(_CODES[kind] for _, kind, _ in EVENT_FIELDS))
_pack_row, _ROW_BYTES = _ROW_STRUCT.pack_into, _ROW_STRUCT.size
_pack_event, _EVENT_BYTES = _EVENT_STRUCT.pack_into, _EVENT_STRUCT.size
_INITIAL_ROWS = 1 << 14
ClassOf: TypeAlias = Callable[[Column], NDArray[np.int16]]
_COMPRESSION = 1
"""zlib's fastest level: on these columns it takes a quarter of the default's time for the same size."""

assert ROW.itemsize == _ROW_BYTES
assert EVENT.itemsize == _EVENT_BYTES


class _Capture:
    """Memory for items of a fixed size that grows by doubling.

    It is anonymous, or memory that is shared with whoever looks on (`LiveRows`), but never a file of a disk: writing
    into a mapped file can wait for the disk, and the generator would send late.
    """

    def __init__(self, item: np.dtype[np.void], shared: int | None = None) -> None:
        self._item = item
        self._capacity = _INITIAL_ROWS
        size = self._capacity * item.itemsize
        if shared is None:
            self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        else:
            os.ftruncate(shared, 0)  # what an earlier run left is gone: rows that are not there are zeros
            os.ftruncate(shared, size)
            self._map = mmap.mmap(shared, size)
        self.count = 0

    def _grow(self) -> None:
        self._capacity *= 2
        self._map.resize(self._capacity * self._item.itemsize)

    def _captured(self) -> NDArray[np.void]:
        return np.frombuffer(self._map, self._item, self.count)


class RecordsWriter(_Capture):
    """Appends rows to memory; `close` writes them to a file, column by column.

    A file of events that an earlier run left beside the records is removed.

    Args:
        path: the file of the records.
        worker: index of the generator process, the same in every row.
        shared: file descriptor of shared memory to capture the rows in; None: memory of its own.
    """

    def __init__(self, path: Path, worker: int = 0, shared: int | None = None) -> None:
        super().__init__(ROW, shared)
        self._path = path
        self._worker = worker
        events_path(path).unlink(missing_ok=True)

    def append(
        self,
        times: tuple[int, int, int, int, int],
        sizes: tuple[int, int],
        request: int,
        code: int,
        outcome: int,
        tokens: int = 0,
        last_ns: int = 0,
    ) -> None:
        """Append one request.

        Args:
            times: intended, ready, sent, first and done, in ns.
            sizes: bytes out and in.
            request: index into the request source.
            code: status or errno.
            outcome: an Outcome.
            tokens: of a streamed answer.
            last_ns: when its last token was read.
        """
        count = self.count
        if count == self._capacity:
            self._grow()
        at = count * _ROW_BYTES
        _pack_row(self._map, at, *times, last_ns, *sizes, tokens, request, code, 0, self._worker, outcome, 0)
        self.count = count + 1

    def close(self, window_ns: tuple[int, int], class_of: ClassOf | None = None) -> None:
        """Fill the columns `phase` and `class` and write the file; nothing may be appended afterwards.

        The file appears as a whole under its name; readers of the one that was there before keep what they mapped.

        Args:
            window_ns: the window [start, end).
            class_of: request indices -> indices of their classes; None: all are of class 0.

        Raises:
            OSError: it cannot be written.
        """
        rows = self._captured()
        for part in chunks(self.count):
            intended = rows["intended_ns"][part]
            rows["phase"][part] = np.where(
                intended < window_ns[0], WARMUP, np.where(intended < window_ns[1], WINDOW, AFTER)
            )
            if class_of is not None:
                rows["class"][part] = class_of(rows["request"][part])
        with _replacing(self._path) as file:
            for name, _, _ in FIELDS:
                for part in chunks(self.count):
                    file.write(np.ascontiguousarray(rows[name][part]).data)


class EventsWriter(_Capture):
    """Appends the events of streamed answers to memory; `close` writes them to a file beside the records.

    Args:
        path: the file of the records.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(EVENT)
        self._path = events_path(path)

    def append(self, number: int, tokens: int, at_ns: int) -> None:
        """Append one event.

        Args:
            number: running number of the streamed request.
            tokens: tokens that the event carried.
            at_ns: when it was read.
        """
        count = self.count
        if count == self._capacity:
            self._grow()
        _pack_event(self._map, count * _EVENT_BYTES, number, tokens, at_ns)
        self.count = count + 1

    def close(self, row_of: NDArray[np.int64]) -> None:
        """Write the events that belong to a row; without any no file is written. Nothing may be appended afterwards.

        Args:
            row_of: the row of each streamed request by its number, shape [numbers]; -1 where it has none.

        Raises:
            OSError: the file cannot be written.
        """
        events = self._captured()
        kept = 0
        for part in chunks(self.count):
            rows = row_of[events["row"][part]]
            found = events[part][rows >= 0]
            found["row"] = rows[rows >= 0]
            events[kept : kept + len(found)] = found
            kept += len(found)
        if kept:
            with _replacing(self._path) as file:
                file.write(events[:kept].data)


@dataclass(frozen=True)
class Records:
    """Requests of one or several runs of the same load, with the windows they were measured in.

    Attributes:
        columns: name -> array [n], one for each of FIELDS; read-only where a file is mapped or runs are put together.
        windows_ns: the measuring windows [start, end), one per run.
        events: events of streamed answers, structured array [events] of dtype EVENT.
    """

    columns: Mapping[str, Column]
    windows_ns: Sequence[tuple[int, int]]
    events: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, EVENT))

    @property
    def rows(self) -> Rows:
        """All requests, of all phases, as they were stored."""
        return Rows(self.columns)

    @property
    def window_s(self) -> float:
        """Length of all windows together, in seconds."""
        return sum(end - start for start, end in self.windows_ns) / 1e9

    def in_window(self, *, ordered: bool = True) -> Rows:
        """Return the requests intended in a window, in the order of their intended times or as they were stored."""
        rows = self.rows
        due_inside: NDArray[np.bool_] = rows["phase"] == WINDOW
        inside = rows[due_inside]
        return inside.in_order_of("intended_ns") if ordered else inside

    def of_class(self, *indices: int) -> "Records":
        """Return the requests of a class, or of several, with the same windows; their events are numbered anew."""
        return self._only(np.isin(self.columns["class"], indices))

    def of_requests(self, numbers: Sequence[int]) -> "Records":
        """Return the rows of these requests, by their numbers, likewise."""
        return self._only(np.isin(self.columns["request"], numbers))

    def _only(self, mine: NDArray[np.bool_]) -> "Records":
        events = self.events[mine[self.events["row"]]]
        events["row"] = (np.cumsum(mine) - 1)[events["row"]]
        return Records(Selected(self.columns, np.flatnonzero(mine)), self.windows_ns, events)

    def completed_ns(self, among: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return the sorted completion times of answers that were ok, all phases.

        Args:
            among: only of these requests, mask [n]; None: of all.
        """
        good = self.columns["outcome"] == Outcome.OK
        if among is not None:
            good &= among
        completed: NDArray[np.int64] = self.columns["done_ns"][good].astype(np.int64, copy=False)
        completed.sort(kind="stable")  # fast on what is sorted in long runs: each process appends as answers come
        return completed


def events_path(path: Path) -> Path:
    """Return where the events of a file of records are."""
    return path.with_name(f"{path.name}.events")


def read_records(path: Path, window_ns: tuple[int, int]) -> Records:
    """Map a stored run and its events, if it has any.

    The files may be deleted or written anew by a writer while the records are in use: what was mapped stays.

    Raises:
        OSError: a file cannot be read.
        ValueError: its size is no multiple of a row.
    """
    stored, count = _mapped(path, ROW.itemsize)
    columns, offset = {}, 0
    for name, kind, _ in FIELDS:
        columns[name] = np.frombuffer(stored, kind, count, offset)
        offset += columns[name].nbytes
    if not events_path(path).exists():
        return Records(columns, [window_ns])
    stored, count = _mapped(events_path(path), EVENT.itemsize)
    return Records(columns, [window_ns], np.frombuffer(stored, EVENT, count))


def save_records(records: Records, path: Path) -> None:
    """Store records as an .npz file: an array per column, `events` of dtype EVENT, `windows_ns` int64 [runs, 2].

    Raises:
        OSError: it cannot be written.
    """
    others = {"events": records.events, "windows_ns": np.array(records.windows_ns, np.int64)}
    with _replacing(path) as file, ZipFile(file, "w", ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
        for name, array in chain(records.columns.items(), others.items()):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.save(member, array, allow_pickle=False)


def load_records(path: Path) -> Records:
    """Read what `save_records` stored.

    Raises:
        OSError, KeyError, ValueError: the file cannot be read or is something else.
    """
    with np.load(path) as stored:
        columns = {name: stored[name] for name, _, _ in FIELDS}
        return Records(columns, [(int(start), int(end)) for start, end in stored["windows_ns"]], stored["events"])


def pooled(parts: Sequence[Records]) -> Records:
    """Put runs of the same load together: requests and windows are appended, nothing is averaged.

    The parts are not copied; a column of them is put together when it is asked for.
    """
    return _joined(parts, [window for part in parts for window in part.windows_ns])


def merged(parts: Sequence[Records]) -> Records:
    """Put together what several generator processes recorded of one run, as `pooled` does; they share its windows.

    Raises:
        ValueError: the windows differ.
    """
    windows = parts[0].windows_ns
    if any(list(part.windows_ns) != list(windows) for part in parts):
        raise ValueError(f"parts of one run have the same windows, but got {[part.windows_ns for part in parts]}")
    return _joined(parts, windows)


def latencies_s(rows: Rows) -> NDArray[np.float64]:
    """Return done - intended in seconds, shape [n]; infinite for every request that did not end ok."""
    latency = rows.elapsed_s("intended_ns", "done_ns")
    latency[rows["outcome"] != Outcome.OK] = np.inf
    return latency


def service_times_s(rows: Rows) -> NDArray[np.float64]:
    """Return done - sent in seconds for the requests that ended ok."""
    ok: NDArray[np.bool_] = rows["outcome"] == Outcome.OK
    return rows[ok].elapsed_s("sent_ns", "done_ns")


def issue_delays_s(rows: Rows) -> NDArray[np.float64]:
    """Return sent - ready in seconds, the generator's own delay, for the requests that were sent."""
    sent: NDArray[np.bool_] = rows["sent_ns"] > 0
    return rows[sent].elapsed_s("ready_ns", "sent_ns")


def _joined(parts: Sequence[Records], windows_ns: Sequence[tuple[int, int]]) -> Records:
    if len(parts) == 1:
        return parts[0]
    events = np.concatenate([part.events for part in parts])
    rows_before = events_before = 0
    for part in parts:
        events["row"][events_before : events_before + len(part.events)] += rows_before
        rows_before += count_of(part.columns)
        events_before += len(part.events)
    return Records(Joined([part.columns for part in parts]), windows_ns, events)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when it is complete; the old one lives on where it is mapped.

    Write with its own `write`: `ndarray.tofile` says nothing of a disk that is full.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mapped(path: Path, item_bytes: int) -> tuple[mmap.mmap | bytes, int]:
    """Return the contents of a file, not yet read, and how many items they are."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size % item_bytes:
            raise ValueError(f"{path}: {size} bytes are no whole number of rows of {item_bytes}")
        content = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
    return content, size // item_bytes
