"""What is known of the answers of each variant: measured once, as most knobs do not change answers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.base import ServerDied, ServerHung, TargetError, Unfit
from tuner.accuracy import answers as answering
from tuner.accuracy import estimates, mixes
from tuner.accuracy.answers import Answers, Outputs
from tuner.accuracy.mixes import Stratum
from tuner.accuracy.own_function import OwnFunctionError
from tuner.accuracy.scored import classes_of
from tuner.accuracy.scoring import Scores, Scoring, ScoringError, compared
from tuner.catalog import METRICS
from tuner.metrics import estimate
from tuner.request_class import RequestClass
from tuner.results import Estimate
from tuner.stats import Interval
from tuner.workload import Workload
from workloads.requests import Prompts

UNLABELLED_ITEMS = 200
"""Items without labels that are compared with the baseline's answers at most; labelled ones all are."""

Ask = Callable[[Workload, RequestClass, int], Sequence[Outputs | None]]
"""Sends the first so many items of a class and returns their outputs."""


@dataclass
class Accuracies:
    """Scores and differences of each variant, by workload, or `WORKLOAD.CLASS` of a mix.

    Attributes:
        scorings: of each part that has labels, how.
        compares: whether variants differ, so that their answers are worth comparing.
        folder: where the baseline's answers are kept for a later session; None: nowhere.
        reference: the baseline's variant.
        shares: mix that is scored as a whole -> class of it with labels -> its share of their requests.
        scores: variant ("" without one) -> part, but a mix as a whole -> score of each item.
        differences: variant -> part -> metric key -> how far its answers are from the baseline's.
    """

    scorings: Mapping[str, Scoring] = field(default_factory=dict)
    compares: bool = False
    folder: Path | None = None
    reference: str = ""
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    scores: dict[str, dict[str, Scores]] = field(default_factory=dict)
    differences: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    _answers: dict[str, Answers] = field(default_factory=dict)

    @property
    def variants(self) -> frozenset[str]:
        """Those that are known."""
        return frozenset(self.scores)

    def learn(self, variant: str, workloads: Sequence[Workload], ask: Ask) -> None:
        """Ask a variant all labelled items, and some of the others if variants are compared; once.

        Raises:
            ServerDied, GeneratorError: it cannot be asked.
            Unfit: its answers and the labels do not go together, and the baseline's do.
            StudyError: the baseline's do not, or the user's function fails; at its line.
        """
        if variant in self.scores:
            return
        asked: dict[tuple[str, int, int], Sequence[Outputs | None]] = {}
        scores: dict[str, Scores] = {}
        for workload in workloads:
            for part, one in classes_of(workload):
                key = (workload.model, id(one.dataset), items := self._items(one))
                if items and key not in asked:
                    asked[key] = _asked(ask, workload, one, items)
                outputs = asked.get(key, ())
                if one.scoring is not None and one.dataset.labels is not None:
                    scores[part] = _scored(one, outputs, "" if variant == self.reference else variant)
                self._compare(variant, part, outputs)
        self.scores[variant] = scores

    def _items(self, one: RequestClass) -> int:
        if one.dataset.labels is not None:
            return len(one.dataset)
        unasked = not self.compares or isinstance(one.dataset, Prompts)
        return 0 if unasked else min(len(one.dataset), UNLABELLED_ITEMS)

    def _compare(self, variant: str, part: str, outputs: Sequence[Outputs | None]) -> None:
        """Keep the baseline's answers; compare another variant's with them."""
        if not self.compares or not outputs:
            return
        own = answering.as_numbers(outputs)
        if variant == self.reference:
            self._answers[part] = own
            if self.folder is not None:
                answering.save(self.folder / f"{part}.npz", own)
            return
        if part not in self._answers and self.folder is not None:
            self._answers[part] = answering.load(self.folder / f"{part}.npz")
        found = answering.difference(own, self._answers.get(part, {}))
        if found is not None:
            n = len(found.of_items)
            largest = Interval(found.largest, found.largest, found.largest, n)
            made = {"answer_difference_max": largest, "answer_difference_mean": _mean_difference(found.of_items)}
            self.differences.setdefault(variant, {})[part] = _estimates(made)

    def metrics(self, variant: str, part: str) -> dict[str, Estimate]:
        """Return what is known of a variant on a workload or class: how right it is, what it lost, how it differs."""
        found: dict[str, Interval] = {}
        strata, scoring = self.strata(variant, part), self.scorings.get(part)
        if strata and scoring is not None:
            whole = mixes.overall(scoring, strata)
            found["prediction_error" if scoring.is_error else "accuracy"] = whole
            before = self.strata(self.reference, part)
            if variant == self.reference:
                found["accuracy_drop"] = Interval(0.0, 0.0, 0.0, whole.n)
            elif before:
                found["accuracy_drop"] = mixes.drop(scoring, before, strata)
        return {**_estimates(found), **self.differences.get(variant, {}).get(part, {})}

    def strata(self, variant: str, part: str) -> list[Stratum]:
        """Return the scores of a workload or class: those of each class of a mix; [] where one is not known."""
        known, shares = self.scores.get(variant, {}), self.shares.get(part, {part: 1.0})
        if not known.keys() >= shares.keys():
            return []
        return [Stratum(share, known[name]) for name, share in shares.items()]

    def stored(self) -> dict[str, dict[str, Any]]:
        """Return scores and differences as JSON values."""
        return {
            "scores": {name: {part: _short(one) for part, one in parts.items()} for name, parts in self.scores.items()},
            "differences": {
                name: {
                    part: {key: one.model_dump(mode="json") for key, one in by_key.items()}
                    for part, by_key in parts.items()
                }
                for name, parts in self.differences.items()
            },
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take up what `stored` gave in an earlier session."""
        self.scores = {
            name: {part: np.array(one, np.float64) for part, one in parts.items()}
            for name, parts in stored.get("scores", {}).items()
        }
        self.differences = {
            name: {
                part: {key: Estimate.model_validate(one) for key, one in by_key.items()}
                for part, by_key in parts.items()
            }
            for name, parts in stored.get("differences", {}).items()
        }


def _asked(ask: Ask, workload: Workload, one: RequestClass, items: int) -> Sequence[Outputs | None]:
    if one.dataset.labels is not None:
        return ask(workload, one, items)
    try:
        return ask(workload, one, items)
    except ServerHung:
        return ()  # too slow to be asked beside the measurement
    except ServerDied:
        raise
    except TargetError:
        return ()  # answers that nobody wanted to read may be anything


def _scored(one: RequestClass, outputs: Sequence[Outputs | None], other: str) -> Scores:
    """Return the score of each item.

    Args:
        one: what was asked.
        outputs: what was answered.
        other: the variant whose answers these are, "" for the baseline's.

    Raises:
        Unfit, StudyError: as `learn`.
    """
    assert one.scoring is not None, "asked of labelled requests only"
    assert one.dataset.labels is not None, "asked of labelled requests only"
    try:
        found = [None if every is None else compared(every, one.output) for every in outputs]
    except ScoringError as error:
        if other:
            raise Unfit(f"{other}: {error}") from None
        raise one.scoring_error(("output",), str(error)) from None
    try:
        return one.scoring.scores(found, one.dataset.labels)
    except (ScoringError, OwnFunctionError) as error:
        if other and isinstance(error, ScoringError):
            raise Unfit(f"{other}: {error}") from None
        raise one.scoring_error(("accuracy", one.scoring.key), str(error)) from None


def _estimates(found: Mapping[str, Interval]) -> dict[str, Estimate]:
    return {METRICS[name].key: estimate(interval) for name, interval in found.items()}


def _short(scores: Scores) -> list[float]:
    """Return scores as a list; whole numbers, as those of classes, without a point."""
    whole = np.isfinite(scores).all() and np.array_equal(scores, np.rint(scores))
    return list((scores.astype(np.int64) if whole else scores).tolist())


def _mean_difference(of_items: NDArray[np.float64]) -> Interval:
    if not np.isfinite(of_items).all():
        return Interval(math.inf, -math.inf, math.inf, len(of_items), "answers differ in shape, or in what is a number")
    found = estimates.mean(of_items)
    return Interval(found.value, max(0.0, found.low), found.high, found.n, found.why)
