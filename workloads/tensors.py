"""Tensors drawn for whatever a model takes: every data type, with dynamic axes from distributions. Pure and seeded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.datatypes import FLOATS, NUMPY, STRINGS
from workloads.lengths import Constant, Lengths
from workloads.requests import Dataset, RequestSourceError, Rows, TensorSpec
from workloads.sequences import Sequences

LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
INTEGERS = (0, 100)
"""Whole numbers are drawn from this range unless the study gives another."""


@dataclass(frozen=True)
class Drawn:
    """Random tensors.

    Attributes:
        count: how many requests.
        seed: of lengths, batch sizes and values, which have streams of their own.
        values_seed: of the values alone, so that they can be others while the sizes stay; None: `seed`.
        priority: of the requests in the server's queue.
        sequences: that the requests belong to, None: to none.
        lengths: name -> distribution of a dynamic axis' length; axes of one name have the same length in a request.
        shapes: input -> the names of its dynamic axes, in their order.
        ranges: input -> lowest and highest value; [0, 1) for floats and 0 to 100 for whole numbers if absent.
        strings: lengths of strings, in bytes.
        batch: rows of a request; only where no axis is dynamic. None: one.
    """

    count: int
    seed: int
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    strings: Lengths = field(default_factory=lambda: Constant(16))
    batch: Lengths | None = None
    values_seed: int | None = None
    priority: int = 0
    sequences: Sequences | None = None

    @property
    def labels(self) -> None:
        """Nobody knows the right class of random tensors."""
        return None

    def __len__(self) -> int:
        return self.count

    def at_priority(self, priority: int) -> "Drawn":
        """Return the same with a priority in the server's queue."""
        return replace(self, priority=priority)

    def in_sequences(self, sequences: Sequences) -> "Drawn":
        """Return the same as requests of sequences."""
        return replace(self, sequences=sequences)

    def shaped(self, inputs: Sequence[TensorSpec]) -> Dataset:
        """Draw the tensors: of every input that the model needs, and of optional ones with a shape or range.

        Raises:
            RequestSourceError: an axis has no length, or a value no place in its type; naming the input.
        """
        if not inputs:
            raise RequestSourceError("the server does not tell what its model takes; give `source: dataset`")
        wanted = [one for one in inputs if not one.optional or one.name in self.shapes or one.name in self.ranges]
        self._check_names(inputs)
        lengths, batches = self._lengths(), self._batches()
        values_seed = np.random.SeedSequence(self.seed if self.values_seed is None else self.values_seed).spawn(3)[2]
        rows = self.count if batches is None else int(batches.sum())
        drawn: dict[str, Rows] = {}
        for tensor, seed in zip(wanted, values_seed.spawn(len(wanted)), strict=True):
            rng = np.random.default_rng(seed)
            names = self._axes(tensor)
            if not names:
                drawn[tensor.name] = self._values(tensor, (rows, *tensor.shape), rng)
                continue
            if batches is not None:
                raise RequestSourceError(
                    f"input {tensor.name!r}: requests of several rows need rows of one shape, and it has dynamic axes; "
                    "leave `batch` out"
                )
            drawn[tensor.name] = [
                self._values(tensor, shape, rng) for shape in _shapes(tensor, [lengths[name] for name in names])
            ]
        return Dataset(drawn, None, batches, self.priority, self.sequences)

    def _check_names(self, inputs: Sequence[TensorSpec]) -> None:
        known = [tensor.name for tensor in inputs]
        for name in (*self.shapes, *self.ranges):
            if name not in known:
                raise RequestSourceError(f"the model has no input {name!r}; it has {', '.join(known)}")

    def drawn_lengths(self) -> dict[str, NDArray[np.int64]]:
        """Return what is drawn of each request's size: lengths by their names, and `items`, int64 [count] each."""
        batches = self._batches()
        return {**self._lengths(), **({} if batches is None else {"items": batches})}

    def _lengths(self) -> dict[str, NDArray[np.int64]]:
        """Return name -> the length of each request, int64 [count]."""
        seed = np.random.SeedSequence(self.seed).spawn(3)[0]
        seeds = zip(sorted(self.lengths), seed.spawn(len(self.lengths)), strict=True)
        return {name: self.lengths[name].draw(self.count, np.random.default_rng(one)) for name, one in seeds}

    def _batches(self) -> NDArray[np.int64] | None:
        seed = np.random.SeedSequence(self.seed).spawn(3)[1]
        return None if self.batch is None else self.batch.draw(self.count, np.random.default_rng(seed))

    def _axes(self, tensor: TensorSpec) -> Sequence[str]:
        names, dynamic = self.shapes.get(tensor.name, ()), sum(size < 0 for size in tensor.shape)
        if len(names) != dynamic:
            raise RequestSourceError(
                f"input {tensor.name!r} has the shape {list(tensor.shape)}, so `shapes` must name {dynamic} length"
                f"{'' if dynamic == 1 else 's'} for it, but names {len(names)}"
            )
        if missing := [name for name in names if name not in self.lengths]:
            raise RequestSourceError(f"input {tensor.name!r}: `lengths` has no {missing[0]!r}")
        return names

    def _values(self, tensor: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.generic]:
        if tensor.datatype == STRINGS:
            return self._strings(shape, rng)
        dtype = NUMPY.get(tensor.datatype)
        if dtype is None:
            raise RequestSourceError(f"input {tensor.name!r} is {tensor.datatype}, which cannot be drawn")
        if tensor.datatype == "BOOL":
            return rng.integers(0, 2, shape).astype(dtype)
        if tensor.datatype in FLOATS:
            return rng.uniform(*self._real_range(tensor, dtype), shape).astype(dtype)
        low, high = self._whole_range(tensor, np.iinfo(dtype))
        whole: NDArray[np.generic] = rng.integers(low, high, shape, dtype, endpoint=True)  # type: ignore[arg-type]
        return whole

    def _real_range(self, tensor: TensorSpec, dtype: type[np.generic]) -> tuple[float, float]:
        low, high = self.ranges.get(tensor.name, (0.0, 1.0))
        if not np.isfinite(np.array([low, high]).astype(dtype).astype(np.float64)).all():
            raise RequestSourceError(
                f"input {tensor.name!r} is {tensor.datatype}: its `values` must be numbers that it can hold, but are "
                f"{low:g} to {high:g}"
            )
        return low, high

    def _whole_range(self, tensor: TensorSpec, limits: "np.iinfo[Any]") -> tuple[int, int]:
        low, high = self.ranges.get(tensor.name, INTEGERS)
        whole = bool(np.isfinite([low, high]).all()) and low == int(low) and high == int(high)
        if not whole or not limits.min <= low <= high <= limits.max:
            raise RequestSourceError(
                f"input {tensor.name!r} is {tensor.datatype}: its `values` must be whole numbers from {limits.min} to "
                f"{limits.max}, but are {low:g} to {high:g}"
            )
        return int(low), int(high)

    def _strings(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.generic]:
        lengths = self.strings.draw(int(np.prod(shape)), rng)
        letters = LETTERS[rng.integers(0, len(LETTERS), int(lengths.sum()))].tobytes()
        ends = np.cumsum(lengths)
        texts = [letters[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        return np.array(texts, object).reshape(shape)


def _shapes(tensor: TensorSpec, lengths: Sequence[NDArray[np.int64]]) -> list[tuple[int, ...]]:
    """Return the shape of each request's tensor."""
    found = []
    for sizes in zip(*(one.tolist() for one in lengths), strict=True):
        given = iter(sizes)
        found.append(tuple(next(given) if size < 0 else size for size in tensor.shape))
    return found
