"""Scores: from answers and labels to a number per item. Pure, but for the user's own function, which is called."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.accuracy.own_function import OwnFunction
from workloads.labels import Labels

Answer = NDArray[np.generic] | None
"""The compared output of one item without its batch axis; None: there was no ok answer."""
Scores = NDArray[np.float64]
Statistic = Literal["mean", "root_mean_square"]


class ScoringError(Exception):
    """Answers and labels that do not go together; the message says which item and why."""


class Scoring(Protocol):
    """A kind of accuracy."""

    @property
    def statistic(self) -> Statistic:
        """What the scores of all items together are."""
        ...

    @property
    def is_error(self) -> bool:
        """Whether the scores are errors, of which less is better."""
        ...

    @property
    def key(self) -> str:
        """The key of the study's `accuracy` section that an error of scoring is about."""
        ...

    def scores(self, answers: Sequence[Answer], labels: Labels) -> Scores:
        """Return a score per item, shape [n]; without an ok answer 0, or infinite where scores are errors.

        Raises:
            ScoringError: an answer cannot be compared with its label.
            OwnFunctionError: the user's function does not give a score per item.
        """
        ...


@dataclass(frozen=True)
class TopK:
    """1 where the right class is among the k highest scores, else 0. A single whole number is the class itself.

    Equal scores rank by their class, so that k = 1 is the arg-max. Scores with a NaN among them are wrong, and so is a
    single value that is no number or infinite.
    """

    k: int = 1
    statistic: Statistic = "mean"
    is_error: bool = False
    key: str = "k"

    def scores(self, answers: Sequence[Answer], labels: Labels) -> Scores:
        """Return 1 or 0 per item."""
        return np.array(
            [
                0.0 if answer is None else float(self._right(_numbers(index, answer), int(label), index))
                for index, (answer, label) in enumerate(zip(answers, labels.tolist(), strict=True))
            ]
        )

    def _right(self, numbers: Scores, label: int, index: int) -> bool:
        if len(numbers) == 1:
            if self.k > 1:
                raise ScoringError(
                    f"the model's answer is a single value, its class: there is no top {self.k}; take `k: 1`, or name "
                    "the output with the scores in `requests.output`"
                )
            return _is_class(float(numbers[0]), label, index)
        if self.k >= len(numbers):
            raise ScoringError(f"the model tells {len(numbers)} classes apart, so all would be among the top {self.k}")
        if not 0 <= label < len(numbers) or np.isnan(numbers).any():
            return False
        before = np.sum(numbers > numbers[label]) + np.sum(numbers[:label] == numbers[label])
        return bool(before < self.k)


@dataclass(frozen=True)
class Regression:
    """The distance of each answer from its label: the mean of |a - b| over the values of an item, or their RMS."""

    squared: bool
    is_error: bool = True
    key: str = "kind"

    @property
    def statistic(self) -> Statistic:
        """Root mean square of the items' errors, or their mean."""
        return "root_mean_square" if self.squared else "mean"

    def scores(self, answers: Sequence[Answer], labels: Labels) -> Scores:
        """Return the error of each item."""
        return _each(answers, labels, self._error, without=np.inf)

    def _error(self, answer: Scores, label: Scores) -> float:
        distance = np.abs(answer - label)
        return float(np.sqrt(np.mean(distance**2)) if self.squared else np.mean(distance))


@dataclass(frozen=True)
class Cosine:
    """The cosine of the angle between each answer and its reference, -1 to 1; 0 where one of them is all zeros."""

    statistic: Statistic = "mean"
    is_error: bool = False
    key: str = "kind"

    def scores(self, answers: Sequence[Answer], labels: Labels) -> Scores:
        """Return the similarity of each item."""
        return _each(answers, labels, _cosine, without=0.0)


@dataclass(frozen=True)
class Own:
    """The user's own function."""

    function: OwnFunction
    is_error: bool = False
    statistic: Statistic = "mean"
    key: str = "function"

    def scores(self, answers: Sequence[Answer], labels: Labels) -> Scores:
        """Return what the function gives for the items that were answered."""
        answered = np.array([answer is not None for answer in answers], np.bool_)
        found = np.full(len(answers), np.inf if self.is_error else 0.0)
        if answered.any():
            found[answered] = self.function(_together([one for one in answers if one is not None]), labels[answered])
        return found


def _each(
    answers: Sequence[Answer], labels: Labels, score_of: Callable[[Scores, Scores], float], without: float
) -> Scores:
    """Return what comparing each answer with its label gives."""
    found = np.full(len(answers), without)
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        ours, label = _numbers(index, answer), np.asarray(labels[index], np.float64).ravel()
        if len(ours) != len(label):
            raise ScoringError(f"item {index}: the model answers {len(ours)} values, and its label has {len(label)}")
        score = score_of(ours, label)
        found[index] = without if np.isnan(score) else score
    return found


def _numbers(index: int, answer: NDArray[np.generic]) -> Scores:
    """Return the values of an item's answer, shape [k]. Raises ScoringError where they are no numbers."""
    if answer.dtype.kind not in "iubf":
        raise ScoringError(f"item {index}: the model's answer is {answer.dtype}, and only numbers can be compared")
    return answer.astype(np.float64).ravel()


def _is_class(value: float, label: int, index: int) -> bool:
    """Return whether an answer of a single value is this class. Raises ScoringError where it can be no class."""
    if not math.isfinite(value):
        return False
    if not value.is_integer():
        raise ScoringError(
            f"item {index}: the model's answer is the single value {value:g}, which is a score and no class; compare "
            "it with `kind: function` of `requests.accuracy`, or name an output with the class in `requests.output`"
        )
    return int(value) == label


def _cosine(answer: Scores, label: Scores) -> float:
    lengths = float(np.linalg.norm(answer) * np.linalg.norm(label))
    return float(np.clip(answer @ label / lengths, -1.0, 1.0)) if lengths > 0 else 0.0


def _together(answers: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Return answers as one array [n, ...], as an array of n arrays where they differ in shape."""
    if len({answer.shape for answer in answers}) == 1:
        return np.stack(answers)
    each = np.empty(len(answers), object)
    each[:] = answers
    return each


def compared(outputs: Mapping[str, NDArray[np.generic]], name: str | None) -> NDArray[np.generic]:
    """Return the output that is compared with the labels, without its batch axis where that has one row.

    Raises:
        ScoringError: several outputs and none named, or one that the model does not have.
    """
    if name is None and len(outputs) > 1:
        raise ScoringError(f"the model has outputs {', '.join(outputs)}; name one with `requests.output`")
    if name is not None and name not in outputs:
        raise ScoringError(f"`requests.output`: the model has no output {name!r}; it has {', '.join(outputs)}")
    found = np.asarray(outputs[name] if name is not None else next(iter(outputs.values())))
    return found[0] if found.ndim and len(found) == 1 else found
