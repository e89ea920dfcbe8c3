"""Rows: requests that are stored as columns, selected, ordered and put together without copies of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Column: TypeAlias = NDArray[np.signedinteger[Any]]

_CHUNK = 1 << 18


class Joined(Mapping[str, Column]):
    """The columns of several parts, one after the other: each is put together when it is asked for, and not kept."""

    def __init__(self, parts: Sequence[Mapping[str, Column]]) -> None:
        self._parts = parts
        self.count = sum(map(count_of, parts))

    def __getitem__(self, name: str) -> Column:
        joined: Column = np.concatenate([part[name] for part in self._parts])
        joined.flags.writeable = False
        return joined

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])


class Selected(Mapping[str, Column]):
    """Some of the requests: a column of them is gathered when it is asked for, and not kept.

    Args:
        columns: name -> array [total].
        index: which of them, in 0..total-1.
    """

    def __init__(self, columns: Mapping[str, Column], index: NDArray[np.int64]) -> None:
        self._columns, self._index = columns, index
        self.count = len(index)

    def __getitem__(self, name: str) -> Column:
        found: Column = self._columns[name][self._index]
        found.flags.writeable = False
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def count_of(columns: Mapping[str, Column]) -> int:
    """Return how many requests the columns hold."""
    return columns.count if isinstance(columns, Joined | Selected) else len(next(iter(columns.values())))


class Rows:
    """Requests, by column: `rows["done_ns"]` is that column, `rows[selection]` are some of the requests.

    A selection is a mask [n] or an array of indices in 0..n-1, in any order. It gathers nothing: a column is gathered
    when it is asked for, and only that one. Without a selection a column is the stored array itself.

    Args:
        columns: name -> array [total].
        index: which of them these are, unsigned [n]; None: all.
    """

    __slots__ = ("_columns", "_index", "_total")

    def __init__(self, columns: Mapping[str, Column], index: NDArray[np.unsignedinteger[Any]] | None = None) -> None:
        self._columns = columns
        self._index = index
        self._total = count_of(columns)

    def __len__(self) -> int:
        return self._total if self._index is None else len(self._index)

    @overload
    def __getitem__(self, key: str) -> Column: ...

    @overload
    def __getitem__(self, key: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Rows": ...

    def __getitem__(self, key: str | NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Column | Rows":
        return self._column(key) if isinstance(key, str) else self._selected(key)

    def in_order_of(self, name: str) -> "Rows":
        """Return the same requests by ascending values of a column; equal ones keep their order."""
        keys = self[name]
        if np.all(keys[:-1] <= keys[1:]):
            return self
        order: NDArray[np.int64] = np.argsort(keys, kind="stable")
        return self[order]

    def elapsed_s(self, earlier: str, later: str) -> NDArray[np.float64]:
        """Return the seconds between two columns of times, later - earlier, shape [n]."""
        before, after = self._columns[earlier], self._columns[later]
        elapsed = np.empty(len(self))
        for part in chunks(len(self)):
            at = part if self._index is None else self._index[part]
            elapsed[part] = (after[at] - before[at]) / 1e9
        return elapsed

    def _column(self, name: str) -> Column:
        column = self._columns[name]
        if self._index is None:
            return column
        gathered = np.empty(len(self), column.dtype)
        for part in chunks(len(self)):
            gathered[part] = column[self._index[part]]
        return gathered

    def _selected(self, key: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> "Rows":
        if key.dtype == np.bool_:
            if len(key) != len(self):
                raise IndexError(f"a mask of {len(key)} does not fit {len(self)} requests")
            if key.all():
                return self
        if self._index is not None:
            return Rows(self._columns, self._index[key])
        index = np.flatnonzero(key) if key.dtype == np.bool_ else key
        return Rows(self._columns, index.astype(np.min_scalar_type(self._total)))


def chunks(count: int) -> Iterator[slice]:
    """Cut 0..count into slices of a size that fits the processor's cache, so that what is between stays small."""
    return (slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))
