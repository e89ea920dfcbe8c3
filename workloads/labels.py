"""Labels: what the answers to requests are compared with: a class, numbers, or what a user's own function takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workloads.requests import RequestSourceError

Labels: TypeAlias = NDArray[np.generic]
Wanted = Literal["classes", "numbers", "any"]
"""One whole number a row; finite numbers, of one shape in all rows; or anything."""
_HIGHEST_CLASS = 2**31


def from_array(path: Path, key: str, labels: Labels, wanted: Wanted) -> Labels:
    """Return the labels of an .npz file, as int64 [n], float64 [n, ...] or as they are.

    Raises:
        RequestSourceError: they are not what is wanted.
    """
    if wanted == "classes":
        if labels.dtype.kind not in "iub" or labels.ndim != 1:
            raise RequestSourceError(
                f"{path}: `{key}` must hold one whole number per item, its right class; "
                f"it is {labels.dtype} of shape {labels.shape}"
            )
        return labels.astype(np.int64)
    if labels.ndim == 0:
        raise RequestSourceError(f"{path}: `{key}` must have a row for each item, but is a single value")
    if wanted == "any":
        return labels
    if labels.dtype.kind not in "iubf":
        raise RequestSourceError(f"{path}: `{key}` must hold numbers; it is {labels.dtype} of shape {labels.shape}")
    numbers = labels.astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.argwhere(~np.isfinite(numbers))[0][0])
        raise RequestSourceError(f"{path}: `{key}`: item {row} is not finite")
    return numbers


def from_values(path: Path, key: str, places: Sequence[int], values: Sequence[object], wanted: Wanted) -> Labels | None:
    """Return the labels of a .jsonl file, None where no line has one.

    Args:
        path: the file.
        key: of the labels.
        places: number of each line.
        values: what each line has, None for nothing.
        wanted: what they have to be.

    Raises:
        RequestSourceError: a line has none, or not what is wanted; naming the line.
    """
    present = [value is not None for value in values]
    if not any(present):
        return None
    for number, value in zip(places, values, strict=True):
        if value is not None and not _fits(value, wanted):
            expected = "a whole number" if wanted == "classes" else "a finite number, or a list of them"
            raise RequestSourceError(f"{path}:{number}: {key}: expected {expected}, but got {str(value)[:40]!r}")
    if not all(present):
        raise RequestSourceError(f"{path}: line {places[present.index(False)]}: has no {key!r}, unlike others")
    if wanted == "classes":
        return np.array(values, np.int64)
    if wanted == "numbers":
        return _stacked(path, key, places, [np.array(value, np.float64) for value in values])
    return _anything(values)


def from_table(path: Path, files: Sequence[Path], wanted: Wanted) -> Labels:
    """Return the labels of the files of a folder from a table with lines `file,label`, in the order of the files.

    Raises:
        RequestSourceError: a line is malformed, or a file has no label.
    """
    known: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for number, line in enumerate(lines, 1):
            name, comma, label = (part.strip() for part in line.strip().rpartition(","))
            if not comma or not _readable(label, wanted):
                expected = {"classes": " with a whole number", "numbers": " with a number", "any": ""}[wanted]
                raise RequestSourceError(
                    f"{path}:{number}: expected `file,label`{expected}, but got {line.strip()[:60]!r}"
                )
            known[name] = label
    if missing := [one.name for one in files if one.name not in known]:
        raise RequestSourceError(f"{path}: has no label for {missing[0]}")
    dtypes: Mapping[Wanted, type] = {"classes": np.int64, "numbers": np.float64, "any": np.str_}
    return np.array([known[one.name] for one in files]).astype(dtypes[wanted])


def _fits(value: object, wanted: Wanted) -> bool:
    if wanted == "any":
        return True
    if wanted == "classes":
        return type(value) is int and 0 <= value <= _HIGHEST_CLASS
    try:
        array = np.array(value)
    except ValueError:  # its lists differ in length
        return False
    return array.dtype.kind in "iuf" and bool(np.isfinite(array.astype(np.float64)).all())


def _readable(label: str, wanted: Wanted) -> bool:
    if wanted == "classes":
        return label.isdigit() and int(label) <= _HIGHEST_CLASS
    if wanted == "any":
        return True
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False


def _stacked(path: Path, key: str, places: Sequence[int], rows: Sequence[NDArray[np.float64]]) -> Labels:
    for number, row in zip(places, rows, strict=True):
        if row.shape != rows[0].shape:
            raise RequestSourceError(
                f"{path}:{number}: {key}: has the shape {list(row.shape)}, those before have {list(rows[0].shape)}"
            )
    return np.stack(rows)


def _anything(values: Sequence[object]) -> Labels:
    """Return values as an array where they make one of numbers or texts, else each by itself."""
    try:
        array = np.array(values)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind in "iufbU":
        return array
    each = np.empty(len(values), object)
    each[:] = values
    return each
