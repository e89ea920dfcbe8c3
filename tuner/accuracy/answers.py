"""What a variant answered, as numbers, and how far another one's answers are from it. No labels are needed."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.files import write_atomically

Outputs = Mapping[str, NDArray[np.generic]]
_PARTS = ("values", "sizes")


@dataclass(frozen=True)
class Numbers:
    """One output of all items, one item's values after the other's.

    Attributes:
        values: [sum of the sizes].
        sizes: int64 [n], how many values each item has; -1 without an ok answer.
    """

    values: NDArray[np.generic]
    sizes: NDArray[np.int64]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.sizes.clip(0))

    def item(self, index: int) -> NDArray[np.float64]:
        """Return the values of one item that was answered."""
        end = int(self._ends[index])
        return self.values[end - int(self.sizes[index]) : end].astype(np.float64)


Answers = Mapping[str, Numbers]
"""Output -> its numbers; outputs that are no numbers are left out."""


@dataclass(frozen=True)
class Difference:
    """How far two variants' answers are from one another, of the items that both answered.

    Attributes:
        of_items: mean absolute difference of each item's values, all outputs together; infinite where they differ in
            number.
        largest: of all values of all items.
    """

    of_items: NDArray[np.float64]
    largest: float


def as_numbers(answers: Sequence[Outputs | None]) -> Answers:
    """Return the outputs that are numbers, of every item; None stands for an item without an ok answer."""
    answered = [one for one in answers if one is not None]
    names = [name for name, array in (answered[0] if answered else {}).items() if array.dtype.kind in "iubf"]
    return {name: _numbers([None if one is None else one.get(name) for one in answers]) for name in names}


def _numbers(arrays: Sequence[NDArray[np.generic] | None]) -> Numbers:
    present = [array.ravel() for array in arrays if array is not None]
    sizes = np.array([-1 if array is None else array.size for array in arrays], np.int64)
    return Numbers(np.concatenate(present) if present else np.empty(0), sizes)


def difference(ours: Answers, theirs: Answers) -> Difference | None:
    """Compare the answers of two variants to the same items, None where there is nothing to compare.

    Two values that are both NaN, or the same infinity, do not differ; one alone differs infinitely.
    """
    common = [(one, theirs[name]) for name, one in ours.items() if name in theirs]
    if not common:
        return None
    answered = np.all([(own.sizes >= 0) & (other.sizes >= 0) for own, other in common], axis=0)
    if not answered.any():
        return None
    apart = [
        np.concatenate([_apart(own.item(index), other.item(index)) for own, other in common])
        for index in np.flatnonzero(answered)
    ]
    return Difference(
        np.array([one.mean() if len(one) else 0.0 for one in apart]), max(float(one.max(initial=0.0)) for one in apart)
    )


def _apart(own: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(own) != len(other):
        return np.array([np.inf])
    same = (own == other) | (np.isnan(own) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(own - other))
    return np.where(np.isnan(apart), np.inf, apart)


def save(path: Path, answers: Answers) -> None:
    """Write answers as .npz: of each output the arrays `NAME.values` and `NAME.sizes`, see `Numbers`."""
    content = io.BytesIO()
    arrays = {f"{name}.{part}": getattr(one, part) for name, one in answers.items() for part in _PARTS}
    np.savez_compressed(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue())


def load(path: Path) -> Answers:
    """Read what `save` wrote; {} where there is no such file."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as archive:
        names = dict.fromkeys(name.rpartition(".")[0] for name in archive.files)
        return {name: Numbers(*(archive[f"{name}.{part}"] for part in _PARTS)) for name in names}
