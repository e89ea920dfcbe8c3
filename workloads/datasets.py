"""Datasets read from files: arrays, lines of JSON, a folder, and what perf_analyzer takes as `--input-data`."""

import base64
import binascii
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from workloads import labels as labelling
from workloads.datatypes import FLOATS, NUMPY, STRINGS
from workloads.labels import Labels, Wanted
from workloads.requests import Dataset, Requests, RequestSourceError, Rows, TensorSpec
from workloads.sequences import Sequences

LABELS_FILE = "labels.csv"


@dataclass(frozen=True)
class Listed:
    """Requests whose values are lists: what they are in numbers is told by the model.

    Attributes:
        path: of their file, for errors.
        places: where each request stands, for errors: `line 3`.
        rows: input -> value, for each request; a value is a nested list, or `Flat`.
        labels: [n, ...], see `labels.Wanted`, or None.
        priority: of the requests in the server's queue.
        sequences: that the requests belong to, None: to none.
        streams: how many requests each stream of the file has, () where it has none.
    """

    path: Path
    places: Sequence[str]
    rows: Sequence[Mapping[str, object]]
    labels: Labels | None = None
    priority: int = 0
    sequences: Sequences | None = None
    streams: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def at_priority(self, priority: int) -> "Listed":
        """Return the same with a priority in the server's queue."""
        return replace(self, priority=priority)

    def in_sequences(self, sequences: Sequences) -> "Listed":
        """Return the same as requests of sequences."""
        return replace(self, sequences=sequences)

    def shaped(self, inputs: Sequence[TensorSpec]) -> Dataset:
        """Return the values in the model's types and shapes; without inputs, in those that numpy gives them.

        Raises:
            RequestSourceError: a value does not fit; naming file, place and input.
        """
        names = list(self.rows[0])
        for place, row in zip(self.places, self.rows, strict=True):
            if more := [name for name in row if name not in self.rows[0]]:
                raise RequestSourceError(f"{self.path}: {place}: has {more[0]!r}, unlike those before")
        if not inputs:
            return self._dataset({name: self._plain(name) for name in names})
        specs = {tensor.name: tensor for tensor in inputs}
        if unknown := [name for name in names if name not in specs]:
            raise RequestSourceError(
                f"{self.path}: {self.places[0]}: the model has no input {unknown[0]!r}; it has {', '.join(specs)}"
            )
        return self._dataset({name: self._tensors(specs[name]) for name in names})

    def _dataset(self, inputs: Mapping[str, Rows]) -> Dataset:
        return Dataset(inputs, self.labels, priority=self.priority, sequences=self.sequences)

    def _tensors(self, tensor: TensorSpec) -> Rows:
        return self._rows(tensor.name, lambda value: _tensor(value, tensor))

    def _plain(self, name: str) -> Rows:
        return self._rows(name, _as_it_looks)

    def _rows(self, name: str, made: Callable[[object], NDArray[np.generic]]) -> Rows:
        found = []
        for place, row in zip(self.places, self.rows, strict=True):
            if name not in row:
                raise RequestSourceError(f"{self.path}: {place}: has no {name!r}, unlike those before")
            try:
                found.append(made(row[name]))
            except ValueError as error:
                raise RequestSourceError(f"{self.path}: {place}: {name}: {error}") from None
        alike = len({one.shape for one in found}) == 1
        return np.stack(found) if alike else found


@dataclass(frozen=True)
class Flat:
    """Values in row-major order, or raw bytes, and maybe their shape."""

    values: Sequence[object] | bytes
    shape: tuple[int, ...] | None


def _as_it_looks(value: object) -> NDArray[np.generic]:
    content = value.values if isinstance(value, Flat) else value
    return np.array(content, object if isinstance(content, bytes) else None)


def _tensor(value: object, tensor: TensorSpec) -> NDArray[np.generic]:
    """Return a value in the input's type; one that is flat, or differs by axes of length 1, in the input's shape."""
    if isinstance(value, Flat):
        return _reshaped(_typed(value.values, tensor), tensor, value.shape)
    array = _typed(value, tensor)
    if _fits(array.shape, tensor.shape):
        return array
    without = tuple(size for size in array.shape if size != 1)
    if array.ndim > 1 and not _fits(without, tuple(size for size in tensor.shape if size != 1)):
        raise ValueError(f"has the shape {list(array.shape)}, and the model takes {list(tensor.shape)}")
    return _reshaped(array.ravel(), tensor, None)


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    return len(shape) == len(wanted) and all(want in (-1, has) for want, has in zip(wanted, shape, strict=True))


def _typed(value: object, tensor: TensorSpec) -> NDArray[np.generic]:
    if tensor.datatype not in NUMPY:
        raise ValueError(f"is {tensor.datatype} in the model, which cannot be read from a file")
    dtype = NUMPY[tensor.datatype]
    if isinstance(value, bytes):
        if tensor.datatype == STRINGS:
            return np.array([value], object)
        return _from_bytes(value, dtype)
    if tensor.datatype == STRINGS:
        return _strings(value)
    try:
        array = np.array(value)
    except ValueError:
        raise ValueError("its lists differ in length") from None
    kinds = "biuf" if tensor.datatype in FLOATS else "b" if tensor.datatype == "BOOL" else "iu"
    if tensor.datatype == "BOOL" and array.dtype.kind in "iu" and np.isin(array, (0, 1)).all():
        return array.astype(np.bool_)
    if array.dtype.kind not in kinds:
        raise ValueError(f"expected values of {tensor.datatype}, but got {str(value)[:40]}")
    typed = array.astype(dtype)
    if tensor.datatype not in FLOATS and not np.array_equal(typed, array):
        raise ValueError(f"{str(value)[:40]} is outside of {tensor.datatype}")
    return typed


def _from_bytes(value: bytes, dtype: type[np.generic]) -> NDArray[np.generic]:
    if len(value) % np.dtype(dtype).itemsize:
        raise ValueError(f"{len(value)} bytes are no whole number of values of {np.dtype(dtype).itemsize} bytes")
    return np.frombuffer(value, dtype)


def _strings(value: object) -> NDArray[np.generic]:
    array = np.array(value, object)
    flat = array.ravel()
    if not all(isinstance(one, str) for one in flat):
        raise ValueError(f"expected texts, but got {str(value)[:40]}")
    encoded = np.empty(flat.shape, object)
    encoded[:] = [one.encode() for one in flat]
    return encoded.reshape(array.shape)


def _reshaped(flat: NDArray[np.generic], tensor: TensorSpec, shape: tuple[int, ...] | None) -> NDArray[np.generic]:
    """Return flat values in the shape given, or in the input's, where one axis may be any size."""
    wanted = tensor.shape if shape is None else shape
    try:
        return flat.reshape(wanted)
    except ValueError:
        raise ValueError(f"has {flat.size} values, which is no {list(wanted)}") from None


def load_dataset(
    path: Path, labels_key: str = "labels", name: str | None = None, wanted: Wanted = "classes"
) -> Requests:
    """Read a dataset by what its path is: .npz, .npy, .jsonl or a folder.

    Args:
        path: `.npz`: one array per model input and maybe one of labels; `.npy`: the array of the only input; `.jsonl`:
            an object a line, input -> value; a folder: a file a request, hidden ones left out, `.npy` a tensor and
            others as they are, with labels in `labels.csv` (lines `file,label`).
        labels_key: array or key of the labels.
        name: input that a .npy file or a folder is for; the path's own name without its ending if None.
        wanted: what the labels have to be.

    Raises:
        RequestSourceError: it cannot be read, or is not as expected; naming file and line.
    """
    if path.is_dir():
        return _folder(path, name or path.name, wanted)
    if path.suffix == ".jsonl":
        return _lines(path, labels_key, wanted)
    if path.suffix == ".npy":
        return Dataset({name or path.stem: _array(path)})
    return load_npz(path, labels_key, wanted)


def _array(path: Path) -> NDArray[np.generic]:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except (OSError, EOFError, ValueError) as error:
        raise RequestSourceError(f"{path}: not an .npy file of a plain array ({error})") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0 or not len(array):
        raise RequestSourceError(f"{path}: expected an array with a row for each request")
    return array


def files_of(folder: Path) -> list[Path]:
    """Return the files that are read of a folder, its labels among them."""
    shown = (one for one in folder.iterdir() if not one.name.startswith("."))  # desktops put a .DS_Store beside others
    return sorted(one for one in shown if one.is_file())


def _folder(path: Path, name: str, wanted: Wanted) -> Requests:
    files = [one for one in files_of(path) if one.name != LABELS_FILE]
    if not files:
        raise RequestSourceError(f"{path}: no files; each that is not hidden would be a request")
    table = path / LABELS_FILE
    labels = labelling.from_table(table, files, wanted) if table.is_file() else None
    arrays = [one.suffix == ".npy" for one in files]
    if any(arrays) and not all(arrays):
        odd = files[arrays.index(not arrays[0])]
        raise RequestSourceError(f"{odd}: all files of a folder must be .npy, or none of them")
    if all(arrays):
        values: list[NDArray[np.generic]] = [_array(one) for one in files]
        alike = len({(one.shape, one.dtype) for one in values}) == 1
        return Dataset({name: np.stack(values) if alike else values}, labels)
    rows = [{name: Flat(one.read_bytes(), None)} for one in files]
    return Listed(path, [one.name for one in files], rows, labels)


def _lines(path: Path, labels_key: str, wanted: Wanted) -> Listed:
    rows, numbers, labels = [], [], []
    for number, data in json_lines(path):
        labels.append(data.pop(labels_key, None))
        if not data:
            raise RequestSourceError(f"{path}:{number}: expected a value for each input of the model")
        rows.append(data)
        numbers.append(number)
    if not rows:
        raise RequestSourceError(f"{path}: no requests; expected a JSON object a line")
    places = [f"line {number}" for number in numbers]
    return Listed(path, places, rows, labelling.from_values(path, labels_key, numbers, labels, wanted))


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line that is not empty.

    Raises:
        RequestSourceError: the file cannot be read, or a line is no object.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestSourceError(f"{path}: cannot be read: {error}") from None
    yield from objects(path, text)


def objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and object of each line of a text that is not empty.

    Raises:
        RequestSourceError: a line is no object.
    """
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold other characters that end a line in Python
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            raise RequestSourceError(f"{path}:{number}: not JSON: {getattr(error, 'msg', error)}") from None
        if not isinstance(data, dict):
            raise RequestSourceError(f"{path}:{number}: expected an object, but got {line.strip()[:40]!r}")
        yield number, data


def load_perf_analyzer(path: Path) -> Listed:
    """Read a JSON file as perf_analyzer's `--input-data` takes it.

    `data` is a list of requests, or of streams that are lists of requests, which may be taken for sequences. A value is
    a flat list in row-major order, `{"content": [...], "shape": [...]}`, or `{"b64": "..."}` with raw bytes.

    Raises:
        RequestSourceError: it cannot be read, or is not as expected; naming the request.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise RequestSourceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except (OSError, ValueError) as error:
        raise RequestSourceError(f"{path}: cannot be read: {error}") from None
    steps = data.get("data") if isinstance(data, dict) else None
    if not isinstance(steps, list) or not steps:
        raise RequestSourceError(f'{path}: expected {{"data": [...]}} with a request in it')
    places, rows = [], []
    for number, step in enumerate(steps):
        if step == []:
            raise RequestSourceError(f"{path}: data[{number}]: is a stream without a request; take it out")
        for inner, request in enumerate(step) if isinstance(step, list) else [(None, step)]:
            place = f"data[{number}]" if inner is None else f"data[{number}][{inner}]"
            if not isinstance(request, dict) or not request:
                raise RequestSourceError(f"{path}: {place}: expected an object, input -> values")
            places.append(place)
            rows.append({name: _flat(path, f"{place}.{name}", value) for name, value in request.items()})
    streams = [len(step) for step in steps] if all(isinstance(step, list) for step in steps) else []
    return Listed(path, places, rows, streams=streams)


def _flat(path: Path, place: str, value: object) -> Flat:
    shape = None
    if isinstance(value, dict):
        shape = _shape(path, place, value.get("shape"))
        content = value.get("content", value)
    else:
        content = value
    if isinstance(content, dict) and isinstance(content.get("b64"), str):
        try:
            return Flat(base64.b64decode(content["b64"], validate=True), shape)
        except binascii.Error as error:
            raise RequestSourceError(f"{path}: {place}: not base64: {error}") from None
    if not isinstance(content, list):
        raise RequestSourceError(
            f'{path}: {place}: expected a list, {{"content": ..., "shape": ...}} or {{"b64": "..."}}, '
            f"but got {str(value)[:40]}"
        )
    return Flat(content, shape)


def _shape(path: Path, place: str, given: object) -> tuple[int, ...] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(size) is int and size >= 0 for size in given):
        raise RequestSourceError(f"{path}: {place}: `shape` must be a list of whole numbers, but is {given!r}")
    return tuple(given)


def load_npz(path: Path, labels_key: str = "labels", wanted: Wanted = "classes") -> Dataset:
    """Read an .npz file: one array per model input, rows are items, and optionally an array of labels.

    Raises:
        RequestSourceError: the file is missing, is no .npz, holds no input, or its arrays differ in length.
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise RequestSourceError(
                    f"{path}: not an .npz file but a single array; expected one array per model input"
                )
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise RequestSourceError(f"{path}: no such file") from None
    except RequestSourceError:
        raise
    except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
        raise RequestSourceError(f"{path}: not an .npz file of plain arrays ({error})") from error
    labels = arrays.pop(labels_key, None)
    if labels is not None:
        labels = labelling.from_array(path, labels_key, labels, wanted)
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if labels is not None:
        lengths[labels_key] = len(labels)
    if not arrays or 0 in lengths.values() or len(set(lengths.values())) != 1:
        raise RequestSourceError(
            f"{path}: expected one array per model input, all with the same number of rows; found {lengths}"
        )
    return Dataset(arrays, labels)
